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
