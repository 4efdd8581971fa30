-- What happens to an index when its table or itself is created, rebuilt, rewritten, dropped, rolled back.
SET enable_seqscan = off;
CREATE TABLE t (id int, val vector(3));
INSERT INTO t SELECT n, ARRAY[n, n % 10, 1]::vector FROM generate_series(1, 500) n;

CREATE INDEX CONCURRENTLY t_val ON t USING hnsw (val vector_l2_ops);
SELECT indisvalid FROM pg_index WHERE indexrelid = 't_val'::regclass;
SELECT id FROM t ORDER BY val <-> '[100.1,0,1]' LIMIT 1;
REINDEX INDEX t_val;
SELECT id FROM t ORDER BY val <-> '[200.1,0,1]' LIMIT 1;
REINDEX INDEX CONCURRENTLY t_val;
SELECT id FROM t ORDER BY val <-> '[300.1,0,1]' LIMIT 1;
REINDEX TABLE t;
SELECT id FROM t ORDER BY val <-> '[400.1,0,1]' LIMIT 1;

-- Several indexes on a table, on a column even: each for its own operator.
CREATE INDEX t_cosine ON t USING hnsw (val vector_cosine_ops);
CREATE INDEX t_id ON t (id);
SELECT * FROM plan($$SELECT id FROM t ORDER BY val <=> '[1,1,1]' LIMIT 1$$);
SELECT * FROM plan($$SELECT id FROM t ORDER BY val <-> '[1,1,1]' LIMIT 1$$);
INSERT INTO t VALUES (501, '[0,0,1000]');
SELECT id FROM t ORDER BY val <=> '[0,0,1]' LIMIT 1;
SELECT id FROM t ORDER BY val <-> '[0,0,999]' LIMIT 1;
DROP INDEX t_cosine;

-- Rewrites of the table build the index anew.
ALTER TABLE t ALTER id TYPE bigint;
SELECT id FROM t ORDER BY val <-> '[0,0,999]' LIMIT 1;
VACUUM FULL t;
SELECT id FROM t ORDER BY val <-> '[0,0,999]' LIMIT 1;
ALTER TABLE t SET UNLOGGED;
SELECT id FROM t ORDER BY val <-> '[0,0,999]' LIMIT 1;
INSERT INTO t VALUES (502, '[0,0,2000]');
SELECT id FROM t ORDER BY val <-> '[0,0,1999]' LIMIT 1;
ALTER TABLE t SET LOGGED;
SELECT id FROM t ORDER BY val <-> '[0,0,1999]' LIMIT 1;
CLUSTER t USING t_id;
SELECT id FROM t ORDER BY val <-> '[0,0,1999]' LIMIT 1;
ALTER TABLE t ALTER val TYPE vector(2) USING subvector(val, 1, 2);
SELECT id FROM t ORDER BY val <-> '[100.1,0]' LIMIT 1;

-- Columns come and go around it.
ALTER TABLE t ADD extra int DEFAULT 1;
ALTER TABLE t RENAME val TO embedding;
SELECT id FROM t ORDER BY embedding <-> '[100.1,0]' LIMIT 1;

-- TRUNCATE, also when it is taken back.
BEGIN;
TRUNCATE t;
SELECT id FROM t ORDER BY embedding <-> '[100.1,0]' LIMIT 1;
INSERT INTO t VALUES (1000, '[7,7]');
SELECT id FROM t ORDER BY embedding <-> '[100.1,0]' LIMIT 1;
ROLLBACK;
SELECT id FROM t ORDER BY embedding <-> '[100.1,0]' LIMIT 1;
TRUNCATE t;
SELECT id FROM t ORDER BY embedding <-> '[100.1,0]' LIMIT 1;
INSERT INTO t VALUES (1001, '[7,7]');
SELECT id FROM t ORDER BY embedding <-> '[100.1,0]' LIMIT 1;

-- Rolled back: rows, parts of a transaction, the index itself.
BEGIN;
INSERT INTO t VALUES (1002, '[8,8]');
SAVEPOINT s;
INSERT INTO t VALUES (1003, '[9,9]');
SELECT id FROM t ORDER BY embedding <-> '[9,9]' LIMIT 3;
ROLLBACK TO s;
SELECT id FROM t ORDER BY embedding <-> '[9,9]' LIMIT 3;
COMMIT;
SELECT id FROM t ORDER BY embedding <-> '[9,9]' LIMIT 3;
BEGIN;
DROP INDEX t_val;
CREATE INDEX t_new ON t USING hnsw (embedding vector_l2_ops) WITH (m = 8);
SELECT id FROM t ORDER BY embedding <-> '[9,9]' LIMIT 3;
ROLLBACK;
SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 't'::regclass ORDER BY 1;
SELECT id FROM t ORDER BY embedding <-> '[9,9]' LIMIT 3;

-- Everything of the extension goes with it.
DROP TABLE t;
CREATE TABLE t (id int, val vector(3));
CREATE INDEX t_val ON t USING hnsw (val vector_l2_ops);
SELECT amname FROM pg_am WHERE amname = 'hnsw';
SET client_min_messages = warning;
DROP EXTENSION pg_alopex CASCADE;
SELECT amname FROM pg_am WHERE amname = 'hnsw';
SELECT attname FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped;
