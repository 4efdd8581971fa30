-- Functions that look into an index.
CREATE TABLE t (id int PRIMARY KEY, val vector(3));
INSERT INTO t SELECT n, ARRAY[n % 97, n % 89, n]::vector FROM generate_series(1, 3000) n;
CREATE INDEX t_val ON t USING hnsw (val vector_l2_ops);
CREATE INDEX t_l1 ON t USING hnsw (val vector_l1_ops);
CREATE INDEX t_cosine ON t USING hnsw (val vector_cosine_ops) WHERE id % 2 = 0;

-- Nothing is wrong.
SELECT * FROM hnsw_check('t_val');
SELECT * FROM hnsw_check('t_val', true);
SELECT * FROM hnsw_check('t_l1', heapallindexed => true);
SELECT * FROM hnsw_check('t_cosine', heapallindexed => true);

-- What is staged is in the index when that is checked, rows without a vector and zero vectors too.
BEGIN;
INSERT INTO t VALUES (4000, '[1,2,3]'), (4002, '[0,0,0]'), (4004, NULL);
UPDATE t SET val = val + '[1,1,1]' WHERE id < 100;
SELECT * FROM hnsw_check('t_val', true) UNION ALL SELECT * FROM hnsw_check('t_cosine', true);
ROLLBACK;
SELECT count(*) FROM hnsw_check('t_val', true) WHERE severity = 'corruption';

-- No VACUUM, no result.
SELECT * FROM hnsw_compaction('t_val');
DELETE FROM t WHERE id % 3 = 0;
VACUUM t;
SELECT nodes_removed, links_repaired > 1000 AS links, slots_freed >= nodes_removed AS slots, pages_truncated, bytes_returned,
       finished_at BETWEEN now() - interval '1 hour' AND clock_timestamp() AS finished, duration > interval '0' AS lasted
    FROM hnsw_compaction('t_val');
SELECT * FROM hnsw_check('t_val', true) UNION ALL SELECT * FROM hnsw_check('t_l1', true) UNION ALL SELECT * FROM hnsw_check('t_cosine', true);

-- Pages without records go back, unless the table's owner says no.
SELECT pg_relation_size('t_val') AS before \gset
ALTER TABLE t SET (vacuum_truncate = false);
DELETE FROM t WHERE id > 300;
VACUUM t;
SELECT pg_relation_size('t_val') = :before AS kept, pages_truncated FROM hnsw_compaction('t_val');
ALTER TABLE t RESET (vacuum_truncate);
VACUUM (PARALLEL 0) t;
SELECT pg_relation_size('t_val') = :before - bytes_returned AS returned, bytes_returned > :before / 2 AS most,
       bytes_returned = pages_truncated * current_setting('block_size')::int AS bytes
    FROM hnsw_compaction('t_val');
SELECT * FROM hnsw_check('t_val', true);
INSERT INTO t SELECT n, ARRAY[n % 97, n % 89, n]::vector FROM generate_series(301, 3000) n;
SELECT count(*) FROM hnsw_check('t_val', true);
SET enable_seqscan = off;
SELECT id FROM t ORDER BY val <-> '[70,5,1234]' LIMIT 1;
RESET enable_seqscan;
DELETE FROM t;
VACUUM t;
SELECT pg_relation_size('t_val') <= 2 * current_setting('block_size')::int AS all_gone;
SELECT * FROM hnsw_check('t_val', true);

-- A VACUUM with workers returns pages too, when it is done.
INSERT INTO t SELECT n, ARRAY[n % 97, n % 89, n]::vector FROM generate_series(1, 3000) n;
DELETE FROM t;
SET min_parallel_index_scan_size = 0;
VACUUM (PARALLEL 2) t;
RESET min_parallel_index_scan_size;
SELECT pg_relation_size('t_val') <= 2 * current_setting('block_size')::int AS all_gone, nodes_removed, pages_truncated > 0 AS truncated
    FROM hnsw_compaction('t_val');

-- Rows that the index lacks, or has with another vector.
INSERT INTO t SELECT n, ARRAY[n % 97, n % 89, n]::vector FROM generate_series(1, 10) n;
UPDATE pg_index SET indisready = false WHERE indexrelid = 't_val'::regclass;
INSERT INTO t VALUES (11, '[1,2,3]');
DELETE FROM t WHERE id = 5;
VACUUM t;
INSERT INTO t VALUES (12, '[4,5,6]');
UPDATE pg_index SET indisready = true WHERE indexrelid = 't_val'::regclass;
SELECT * FROM hnsw_check('t_val');
SELECT * FROM hnsw_check('t_val', true);
REINDEX INDEX t_val;
SELECT * FROM hnsw_check('t_val', true);

-- Who may, and what.
SELECT hnsw_check('t');
SELECT hnsw_check('t_pkey');
SELECT hnsw_check(1);
SELECT hnsw_compaction('t');
SELECT hnsw_check(NULL);
CREATE TABLE p (val vector(3)) PARTITION BY RANGE (val);
CREATE INDEX p_val ON p USING hnsw (val vector_l2_ops);
SELECT hnsw_check('p_val');
CREATE ROLE regress_alopex_other;
SET ROLE regress_alopex_other;
SELECT hnsw_check('t_val');
SELECT hnsw_compaction('t_val');
RESET ROLE;
GRANT pg_stat_scan_tables TO regress_alopex_other;
SET ROLE regress_alopex_other;
SELECT hnsw_check('t_val', true);
SELECT count(*) FROM hnsw_compaction('t_val');
RESET ROLE;
REVOKE pg_stat_scan_tables FROM regress_alopex_other;
ALTER TABLE t OWNER TO regress_alopex_other;
SET ROLE regress_alopex_other;
SELECT hnsw_check('t_val', true);
RESET ROLE;
DROP TABLE t, p;
DROP ROLE regress_alopex_other;
CREATE TEMPORARY TABLE temporary AS SELECT ARRAY[n, n % 7, 1]::vector(3) AS val FROM generate_series(1, 500) n;
CREATE INDEX temporary_val ON temporary USING hnsw (val vector_ip_ops);
SELECT * FROM hnsw_check('temporary_val', true);
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'temporary_val'::regclass;
SELECT * FROM hnsw_check('temporary_val');

-- What an index consists of.
CREATE TABLE u (id int PRIMARY KEY, val vector(8));
INSERT INTO u SELECT n, ARRAY(SELECT sin(n * i) FROM generate_series(1, 8) i)::vector FROM generate_series(1, 2000) n;
CREATE INDEX u_val ON u USING hnsw (val vector_l2_ops);
SELECT node_count, deleted_count, level_distribution[1] AS lowest, array_length(level_distribution, 1) > 1 AS levels,
       avg_edges_per_node BETWEEN 8 AND 32 AS edges, index_bytes = pg_relation_size('u_val') AS bytes,
       memory_bytes BETWEEN 1 AND index_bytes AS memory, page_fill BETWEEN 0.9 AND 1 AS fill, format_version
    FROM hnsw_stats('u_val');
DELETE FROM u WHERE id % 4 = 0;
VACUUM u;
SELECT node_count, deleted_count, page_fill < 0.9 AS holes FROM hnsw_stats('u_val');
CREATE TEMP TABLE v (val vector(2));
CREATE INDEX v_val ON v USING hnsw (val vector_l2_ops);
SELECT * FROM hnsw_stats('v_val');

-- An estimate of its size.
SELECT index_bytes BETWEEN 0.9 * pg_relation_size('u_val') AND 1.1 * pg_relation_size('u_val') AS near FROM hnsw_estimate(2000, 8);
SELECT index_bytes = build_memory_bytes AS memory, index_bytes > 1000000 AS large FROM hnsw_estimate(1000, 1536, m => 32);
SELECT * FROM hnsw_estimate(1000, 16001);
SELECT * FROM hnsw_estimate(1000, 0);
SELECT * FROM hnsw_estimate(-1, 3);
SELECT * FROM hnsw_estimate(1, 3, 101);
SELECT * FROM hnsw_estimate(1, 3, filters => 5);
SELECT * FROM hnsw_estimate(1, 3, filters => -1);
SELECT index_bytes / 8192 AS pages FROM hnsw_estimate(0, 3, 16, 4);

-- What the session did last.
SET enable_seqscan = off;
SELECT count(*) FROM (SELECT id FROM u ORDER BY val <-> '[0,0,0,0,0,0,0,1]' LIMIT 10) rows;
SELECT nodes_visited BETWEEN 10 AND 1000 AS visited, estimates >= nodes_visited AS estimates, pages >= nodes_visited AS pages,
       tails_read, rows_skipped, search_time_us > 0 AS time
    FROM hnsw_last_search();
INSERT INTO u VALUES (3000, '[3,1,4,1,5,9,2,6]');
SELECT node_id > 0 AS node, level >= 0 AS level, connected_neighbors BETWEEN 8 AND 32 AS neighbors, rows, pages > 1 AS pages,
       wal_bytes > 500 AS wal
    FROM hnsw_last_insert();
INSERT INTO u VALUES (3001, '[3,1,4,1,5,9,2,6]');
SELECT level, connected_neighbors, rows, pages FROM hnsw_last_insert();
INSERT INTO u SELECT n, ARRAY(SELECT cos(n * i) FROM generate_series(1, 8) i)::vector FROM generate_series(4000, 4099) n;
SELECT rows FROM hnsw_last_insert();

-- How many of the nearest rows it finds.
SELECT hnsw_recall('u_val', (SELECT array_agg(val) FROM u WHERE id % 100 = 1)) >= 0.95 AS high;
SET hnsw.ef_search = 1;
SET hnsw.iterative_scan = off;
SELECT hnsw_recall('u_val', (SELECT array_agg(val) FROM u WHERE id % 100 = 1), 10) <= 0.3 AS low;
SELECT hnsw_recall('u_val', ARRAY['[1,2,3,4,5,6,7,8]'::vector], 1);
RESET hnsw.ef_search;
RESET hnsw.iterative_scan;
SHOW enable_indexscan;
SELECT hnsw_recall('u_pkey', ARRAY['[1,2,3]'::vector]);
SELECT hnsw_recall('u_val', ARRAY['[1,2,3,4,5,6,7,8]'::vector], 0);
SELECT hnsw_recall('u_val', ARRAY[]::vector[]);
SELECT hnsw_recall('u_val', ARRAY[NULL, '[1,2,3,4,5,6,7,8]'::vector], 1);
-- It measures the index that it names, or none.
CREATE INDEX u_part ON u USING hnsw (val vector_l2_ops) WHERE id % 2 = 0;
SELECT hnsw_recall('u_part', ARRAY['[1,2,3,4,5,6,7,8]'::vector]) > 0.8 AS high;
CREATE INDEX u_l2 ON u USING hnsw (val vector_l2_ops) WITH (ef_search = 1000);
SELECT hnsw_recall('u_l2', ARRAY['[1,2,3,4,5,6,7,8]'::vector]);
UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'u_part'::regclass;
SELECT hnsw_recall('u_part', ARRAY['[1,2,3,4,5,6,7,8]'::vector]);

-- An index with filter columns: searches without conditions are measured, and pages of value lists have no slots to fill.
CREATE TABLE f (id int PRIMARY KEY, val vector(8));
INSERT INTO f SELECT n, ARRAY(SELECT sin(n * i) FROM generate_series(1, 8) i)::vector FROM generate_series(1, 2000) n;
CREATE INDEX f_val ON f USING hnsw (val vector_l2_ops, id, (id % 10));
SELECT node_count, deleted_count, page_fill BETWEEN 0.9 AND 1 AS fill, index_bytes = pg_relation_size('f_val') AS bytes FROM hnsw_stats('f_val');
-- The estimate is off by a twentieth at most where columns have many values, and arrays one element. Columns with few values have
-- fewer pages of lists: up to 128 pages less for each, where the rows are few.
CREATE TABLE g (val vector(8), wide vector(200), a int, b text, c uuid, d float8, few boolean, rare int, tags int[]);
INSERT INTO g SELECT ARRAY(SELECT sin(n * i) FROM generate_series(1, 8) i)::vector, ARRAY(SELECT sin(n * i) FROM generate_series(1, 200) i)::vector,
        n, n::text, md5(n::text)::uuid, sqrt(n), n % 2 = 0, n % 4, ARRAY[n]
    FROM generate_series(1, 4000) n;
CREATE FUNCTION estimated(columns text, dims int, filters int, OUT share numeric, OUT pages_more bigint) LANGUAGE plpgsql AS $$
DECLARE
    real bigint;
    estimate bigint;
BEGIN
    EXECUTE 'CREATE INDEX g_estimated ON g USING hnsw (' || columns || ')';
    real := pg_relation_size('g_estimated');
    estimate := (SELECT index_bytes FROM hnsw_estimate(4000, dims, filters => filters));
    DROP INDEX g_estimated;
    share := estimate::numeric / real;
    pages_more := (estimate - real) / 8192;
END $$;
SELECT columns, dims, filters, share BETWEEN 0.95 AND 1.05 AS near
    FROM (VALUES ('val vector_l2_ops', 8, 0), ('val vector_l2_ops, a', 8, 1), ('val vector_l2_ops, b, c', 8, 2), ('val vector_l2_ops, a, tags', 8, 2), ('val vector_l2_ops, a, b, c, d', 8, 4),
        ('wide vector_l2_ops', 200, 0), ('wide vector_l2_ops, b', 200, 1), ('wide vector_l2_ops, a, d', 200, 2), ('wide vector_l2_ops, a, b, c, d', 200, 4)) _ (columns, dims, filters),
    LATERAL estimated(columns, dims, filters);
SELECT columns, pages_more BETWEEN 84 * filters AND 128 * filters + 10 AS at_most
    FROM (VALUES ('val vector_l2_ops, few', 1), ('val vector_l2_ops, few, rare', 2)) _ (columns, filters),
    LATERAL estimated(columns, 8, filters);
DROP TABLE g;
DROP FUNCTION estimated;
-- The share of the ten nearest rows of each query, by hand.
CREATE FUNCTION recall_by_hand(queries vector[]) RETURNS double precision LANGUAGE plpgsql AS $$
DECLARE
    query vector;
    farthest double precision;
    hits int := 0;
BEGIN
    FOREACH query IN ARRAY queries LOOP
        PERFORM set_config('enable_indexscan', 'off', true), set_config('enable_seqscan', 'on', true);
        EXECUTE 'SELECT max(d) FROM (SELECT val <-> $1 AS d FROM f ORDER BY val <-> $1 LIMIT 10) r' INTO farthest USING query;
        PERFORM set_config('enable_indexscan', 'on', true), set_config('enable_seqscan', 'off', true);
        hits := hits + (SELECT count(*) FILTER (WHERE d <= farthest) FROM (SELECT val <-> query AS d FROM f ORDER BY val <-> query LIMIT 10) r);
    END LOOP;
    RETURN hits / (10.0 * cardinality(queries));
END $$;
SELECT ef_search, recall = by_hand AS same, recall > 0.9 AS high FROM unnest(ARRAY[1, 100]) ef_search,
    LATERAL (SELECT set_config('hnsw.ef_search', ef_search::text, false), set_config('hnsw.iterative_scan', 'off', false) OFFSET 0) s,
    LATERAL (SELECT array_agg(val) AS queries FROM f WHERE id % 100 = 1 AND s IS NOT NULL) q,
    LATERAL (SELECT hnsw_recall('f_val', queries) AS recall, recall_by_hand(queries) AS by_hand OFFSET 0) r;
RESET hnsw.ef_search;
RESET hnsw.iterative_scan;
DROP TABLE f;

-- From PostgreSQL 18 on EXPLAIN (ANALYZE) says what a scan read.
CREATE FUNCTION explained(name text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    plan jsonb;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, FORMAT json) SELECT id FROM u ORDER BY val <-> ''[0,0,0,0,0,0,0,1]'' LIMIT 10' INTO plan;
    RETURN jsonb_path_query_first(plan, format('$.**.%I', name)::jsonpath);
END
$$;
SELECT name, CASE WHEN current_setting('server_version_num')::int < 180000 THEN value IS NULL ELSE value::int BETWEEN 10 AND 2000 END AS as_expected
    FROM unnest(ARRAY['Nodes Visited', 'Distances Estimated', 'Index Pages Read']) name, explained(name) value;

-- A check whose rows do not fit the memory for them looks at one part of the table after the other
CREATE TABLE many (id int, val vector(3)) WITH (fillfactor = 50, autovacuum_enabled = off);
INSERT INTO many SELECT n, ARRAY[n % 50, n % 7, 1]::vector FROM generate_series(1, 100000) n;
CREATE INDEX many_val ON many USING hnsw (val vector_l2_ops);
-- New rows beside the first, one in the midst and the last, that the index does not get
UPDATE pg_index SET indisready = false WHERE indexrelid = 'many_val'::regclass;
UPDATE many SET val = '[60,60,60]' WHERE id IN (1, 2, 50000, 100000);
UPDATE pg_index SET indisready = true WHERE indexrelid = 'many_val'::regclass;
SET maintenance_work_mem = '1MB';
CREATE TABLE missed AS SELECT * FROM hnsw_check('many_val', heapallindexed => true);
SET maintenance_work_mem = '64MB';
SELECT count(*) AS missed, bool_and(fault = format('row %s of the table is not in the index', m.ctid)) AS named
FROM missed JOIN many m ON position(m.ctid::text IN fault) > 0;
SELECT count(*) FROM (SELECT * FROM hnsw_check('many_val', heapallindexed => true) EXCEPT SELECT * FROM missed) s;
RESET maintenance_work_mem;
DROP TABLE many, missed;
