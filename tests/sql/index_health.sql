-- The view of all indexes.
CREATE TABLE t (id int PRIMARY KEY, val vector(16));
INSERT INTO t SELECT n, ARRAY(SELECT sin(n * i * 0.37) + cos(n * 0.11 + i) FROM generate_series(1, 16) i)::vector FROM generate_series(1, 3000) n;
CREATE INDEX t_val ON t USING hnsw (val vector_l2_ops) WITH (target_recall = 0.95);
CREATE TABLE e (val vector(3));
CREATE INDEX e_val ON e USING hnsw (val vector_l2_ops) WITH (target_recall = 0.9);
CREATE INDEX e_wide ON e USING hnsw (val vector_l2_ops) WITH (ef_search = 123);
VACUUM ANALYZE t;

SELECT index, "table", rows, bytes = pg_relation_size(index) AS bytes, dead_share, last_vacuum IS NOT NULL AS vacuumed, is_valid, format_version,
       is_readable, target_recall, width BETWEEN 1 AND 1000 AS width, recall BETWEEN 0.9 AND 1 AS recall, calibrated_at <= now() AS calibrated,
       calibrated_by, has_changed, unreachable_share, vacuumed_at, advice
    FROM hnsw_index_health ORDER BY index::text;
SELECT index, width FROM hnsw_index_health WHERE index = 'e_wide'::regclass;
CREATE TABLE of_lists (val vector(3));
CREATE INDEX of_lists_val ON of_lists USING ivfflat (val);
SELECT index, is_readable, advice FROM hnsw_index_health WHERE index = 'of_lists_val'::regclass;
DROP TABLE of_lists;
-- A measured one: it has the graph of hnsw.
CREATE TABLE far (val vector(100));
SELECT setseed(0.5);
INSERT INTO far SELECT ARRAY(SELECT random() FROM generate_series(1, 100) WHERE n > 0)::vector FROM generate_series(1, 6000) n;
CREATE INDEX far_val ON far USING hnsw (val vector_l2_ops) WITH (m = 6, ef_construction = 12);
SELECT count(*) > 10 AS rows FROM hnsw_tune('far_val', (SELECT array_agg(ARRAY(SELECT random() FROM generate_series(1, 100) WHERE n > 0)::vector) FROM generate_series(1, 50) n), apply => true);
BEGIN;
UPDATE pg_class SET relam = (SELECT oid FROM pg_am WHERE amname = 'ivfflat'), reloptions = '{lists=1000}' WHERE oid = 'far_val'::regclass;
SELECT width, recall < 0.88 AS recall, calibrated_by, target_recall, advice FROM hnsw_index_health WHERE index = 'far_val'::regclass;
SET LOCAL ivfflat.probes = 900;
SELECT width, recall > 0.9 AS recall, advice FROM hnsw_index_health WHERE index = 'far_val'::regclass;
ROLLBACK;
DROP TABLE far;
SET hnsw.ef_search = 17;
SELECT DISTINCT width, target_recall FROM hnsw_index_health;
RESET hnsw.ef_search;

-- What is to be done.
DELETE FROM t WHERE id % 2 = 0;
VACUUM t;
SELECT has_changed, unreachable_share < 0.1 AS walked, vacuumed_at IS NOT NULL AS vacuumed FROM hnsw_index_health WHERE index = 't_val'::regclass;
SELECT count(*) > 10 AS rows FROM hnsw_tune('t_val', (SELECT array_agg(val) FROM t WHERE id % 100 = 1), apply => true);
SELECT has_changed, calibrated_by FROM hnsw_index_health WHERE index = 't_val'::regclass;
INSERT INTO t SELECT n, ARRAY(SELECT sin(n * i * 0.37) + cos(n * 0.11 + i) FROM generate_series(1, 16) i)::vector FROM generate_series(3001, 6000) n;
VACUUM ANALYZE t;
SELECT pg_stat_force_next_flush();
SELECT has_changed, calibrated_by, advice FROM hnsw_index_health WHERE index = 't_val'::regclass;
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'e_val'::regclass;
SELECT is_valid, advice FROM hnsw_index_health WHERE index = 'e_val'::regclass;

-- Who sees what.
SELECT count(*) FROM hnsw_health('t_pkey');
SELECT count(*) FROM hnsw_health(0);
SELECT count(*) FROM hnsw_health('t');
CREATE ROLE regress_alopex_health;
SET ROLE regress_alopex_health;
SELECT count(*) FROM hnsw_index_health;
CREATE TEMP TABLE own (val vector(3));
CREATE INDEX own_val ON own USING hnsw (val vector_l2_ops);
SELECT index, advice FROM hnsw_index_health;
RESET ROLE;
GRANT pg_stat_scan_tables TO regress_alopex_health;
SET ROLE regress_alopex_health;
SELECT count(*) FROM hnsw_index_health;
RESET ROLE;
DROP TABLE own;
DROP ROLE regress_alopex_health;

-- Functions and operators of users in the extension's schema, before it is there.
SET client_min_messages = warning;
DROP EXTENSION pg_alopex CASCADE;
RESET client_min_messages;
CREATE SCHEMA s;
SET search_path = s, public;
CREATE FUNCTION trapped() RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'trapped'; END$$;
CREATE FUNCTION pg_relation_size(oid) RETURNS bigint LANGUAGE sql AS 'SELECT s.trapped()::int::bigint';
CREATE FUNCTION hnsw_health(oid, OUT format_version int, OUT is_readable boolean, OUT target_recall float8, OUT width int, OUT recall float8,
    OUT calibrated_at timestamptz, OUT calibrated_by text, OUT has_changed boolean, OUT unreachable_share float8, OUT vacuumed_at timestamptz)
    RETURNS SETOF record LANGUAGE sql AS 'SELECT 1, s.trapped(), 1.0::float8, 1, 1.0::float8, now(), ''rows''::text, true, 0.0::float8, now()';
DO $$
DECLARE
    operand text[];
    operator text;
BEGIN
    FOREACH operand SLICE 1 IN ARRAY '{{float8,numeric},{float8,bigint},{float8,int},{bigint,numeric},{name,text},{text,name},{oid,int}}'::text[] LOOP
        EXECUTE format('CREATE FUNCTION trap(%s, %s) RETURNS boolean LANGUAGE sql AS ''SELECT s.trapped()''', operand[1], operand[2]);
        EXECUTE format('CREATE FUNCTION number(%s, %s) RETURNS float8 LANGUAGE sql AS ''SELECT s.trapped()::int::float8''', operand[1], operand[2]);
        FOREACH operator IN ARRAY '{<,>,<=,>=,=,+,-,/}'::text[] LOOP
            EXECUTE format('CREATE OPERATOR s.%s (LEFTARG = %s, RIGHTARG = %s, FUNCTION = s.%s)', operator, operand[1], operand[2],
                CASE WHEN operator IN ('+', '-', '/') THEN 'number' ELSE 'trap' END);
        END LOOP;
    END LOOP;
END $$;
CREATE EXTENSION pg_alopex SCHEMA s;
CREATE TABLE public.u (val vector(3));
CREATE INDEX u_val ON u USING hnsw (val vector_l2_ops);
SELECT "table", bytes > 0 AS bytes, advice FROM hnsw_index_health;
SELECT pg_describe_object(d.refclassid, d.refobjid, 0) AS function FROM pg_depend d JOIN pg_rewrite r ON (d.classid, d.objid) = ('pg_rewrite'::regclass, r.oid)
    WHERE ev_class = 'hnsw_index_health'::regclass AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass);
