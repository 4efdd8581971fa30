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

-- What is staged is in the index when that is checked; what is not indexed is not missed.
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
