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

-- Domains have the dimensions of the type beneath: with checks, over domains, over the other types.
CREATE DOMAIN embedding AS vector(3) CHECK (vector_norm(VALUE) > 0);
CREATE DOMAIN title AS embedding;
CREATE DOMAIN short AS halfvec(3) NOT NULL;
CREATE DOMAIN terms AS sparsevec(10);
CREATE DOMAIN marks AS bit(8);
CREATE DOMAIN loose AS vector;
CREATE TABLE d (id int PRIMARY KEY, e embedding, t title, h short, s terms, b marks, l loose);
INSERT INTO d SELECT n, v, v, v, format('{%s:%s}/10', n % 10 + 1, n)::sparsevec, n::bit(8), v
    FROM generate_series(1, 200) n, LATERAL (SELECT ARRAY[n, n % 7, 1]::vector AS v) vectors;
CREATE INDEX d_e ON d USING hnsw (e vector_l2_ops);
CREATE INDEX CONCURRENTLY d_t ON d USING hnsw (t vector_cosine_ops);
CREATE INDEX d_h ON d USING hnsw (h halfvec_l2_ops);
CREATE INDEX d_s ON d USING hnsw (s sparsevec_l2_ops);
CREATE INDEX d_b ON d USING hnsw (b bit_hamming_ops);
CREATE INDEX d_l ON d USING hnsw (l vector_l2_ops);
CREATE INDEX d_l ON d USING hnsw ((l::vector(3)) vector_l2_ops);
CREATE INDEX d_cast ON d USING hnsw ((e::vector(3)) vector_ip_ops);
INSERT INTO d SELECT 1000, e, t, h, s, b, l FROM d WHERE id = 100;
INSERT INTO d (id, e, h) VALUES (1001, '[1,2]', '[1,2,3]');
INSERT INTO d (id, e, h) VALUES (1001, '[0,0,0]', '[1,2,3]');
INSERT INTO d (id, h, l) VALUES (1001, '[1,2,3]', '[1,2]');
SELECT * FROM plan($$SELECT id FROM d ORDER BY e <-> '[100,2,1]' LIMIT 2$$);
SELECT id FROM d ORDER BY e <-> '[100,2,1]', id LIMIT 2;
SELECT id FROM d ORDER BY t <=> '[100,2,1]', id LIMIT 2;
SELECT id FROM d ORDER BY h <-> '[100,2,1]', id LIMIT 2;
SELECT id FROM d ORDER BY s <-> '{1:100}/10', id LIMIT 2;
SELECT id FROM d ORDER BY b <~> 100::bit(8), id LIMIT 2;
SELECT id FROM d ORDER BY l::vector(3) <-> '[100,2,1]', id LIMIT 2;
SELECT * FROM plan($$SELECT id FROM d ORDER BY e::vector(3) <#> '[100,2,1]' LIMIT 1$$);
PREPARE nearest(title) AS SELECT id FROM d ORDER BY e <-> $1 LIMIT 1;
EXECUTE nearest('[50,1,1]');
SET plan_cache_mode = force_generic_plan;
EXECUTE nearest('[50,1,1]');
EXECUTE nearest('[50,1]');
RESET plan_cache_mode;
DEALLOCATE nearest;
ALTER DOMAIN title DROP NOT NULL;
ALTER DOMAIN embedding ADD CONSTRAINT small CHECK (vector_norm(VALUE) < 1000);
REINDEX TABLE CONCURRENTLY d;
SELECT id FROM d ORDER BY e <-> '[50,1,1]' LIMIT 1;
SELECT * FROM hnsw_check('d_e', true) UNION ALL SELECT * FROM hnsw_check('d_t', true);
CREATE TABLE parts (id int, e embedding) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
CREATE INDEX ON parts USING hnsw (e vector_l2_ops);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (100) TO (1000);
INSERT INTO parts SELECT id, e FROM d WHERE id < 1000;
SELECT id FROM parts ORDER BY e <-> '[150,3,1]' LIMIT 1;

-- A column that loses its dimensions would leave an index that nothing could make again: refused, and all is as it was.
CREATE TABLE a (id int, v vector(3), h halfvec(3), s sparsevec(3), b bit(3));
INSERT INTO a SELECT n, v, v, v::sparsevec, n::bit(3)
    FROM generate_series(1, 100) n, LATERAL (SELECT ARRAY[n, n % 10, 1]::vector AS v) vectors;
CREATE INDEX a_v ON a USING hnsw (v vector_l2_ops);
CREATE INDEX a_h ON a USING hnsw (h halfvec_l2_ops);
CREATE INDEX a_s ON a USING hnsw (s sparsevec_l2_ops);
CREATE INDEX a_b ON a USING hnsw (b bit_hamming_ops);
ALTER TABLE a ALTER v TYPE vector;
SELECT column_name, error_of(format('ALTER TABLE a ALTER %I TYPE %s', column_name, type)) AS error
    FROM (VALUES ('v', 'vector'), ('v', 'loose'), ('v', 'vector(4)'), ('v', 'halfvec(3)'), ('h', 'halfvec'), ('s', 'sparsevec'),
        ('s', 'sparsevec(5)'), ('b', 'bit varying'), ('b', 'bit varying(3)'), ('b', 'bit(5)')) changes (column_name, type);
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'a'::regclass AND attnum > 0 ORDER BY attnum;
-- What leaves them is allowed, with the same file or another.
ALTER TABLE a ALTER v TYPE terms USING v::sparsevec;
SELECT pg_relation_filenode('a_v') AS file \gset
ALTER TABLE a ALTER v TYPE vector(3);
CREATE DOMAIN three AS vector(3);
ALTER TABLE a ALTER v TYPE three;
SELECT pg_relation_filenode('a_v') = :file AS same_file;
REINDEX TABLE a;
SELECT id FROM a ORDER BY v <-> '[50,0,1]' LIMIT 1;
ALTER TABLE a ALTER v TYPE vector;
ALTER TABLE a ALTER v TYPE vector(2) USING subvector(v, 1, 2);
SELECT id FROM a ORDER BY v <-> '[50,0]' LIMIT 1;
INSERT INTO a (id, v) VALUES (200, '[1,2,3]');
-- In a transaction that has rows for the index: they stay.
BEGIN;
INSERT INTO a (id, v) VALUES (201, '[1000,0]');
SAVEPOINT s;
ALTER TABLE a ALTER v TYPE vector;
ROLLBACK TO s;
SELECT id FROM a ORDER BY v <-> '[1000,0]' LIMIT 1;
COMMIT;
SELECT id FROM a ORDER BY v <-> '[1000,0]' LIMIT 1;
-- Without the index, or with one of an expression that has them.
DROP INDEX a_v;
ALTER TABLE a ALTER v TYPE vector;
CREATE INDEX a_v ON a USING hnsw ((v::vector(2)) vector_l2_ops);
ALTER TABLE a ALTER v TYPE loose;
REINDEX INDEX a_v;
SELECT id FROM a ORDER BY v::vector(2) <-> '[1000,0]' LIMIT 1;
INSERT INTO a (id, v) VALUES (202, '[1,2,3]');
-- Partitions, and one to be.
ALTER TABLE parts ALTER e TYPE vector;
ALTER TABLE parts ALTER e TYPE vector(3);
REINDEX TABLE parts;
SELECT id FROM parts ORDER BY e <-> '[150,3,1]' LIMIT 1;
CREATE TABLE empty (id int, v vector(3)) PARTITION BY RANGE (id);
CREATE INDEX ON empty USING hnsw (v vector_l2_ops);
ALTER TABLE empty ALTER v TYPE vector;
CREATE TABLE others (id int, v vector) PARTITION BY RANGE (id);
CREATE INDEX ON others USING hnsw (v vector_l2_ops);
-- Nothing is left of an index that could not be made.
CREATE INDEX CONCURRENTLY others_v ON d USING hnsw (l vector_l2_ops);
SELECT count(*) FROM pg_class WHERE relname = 'others_v';
DROP TABLE a, d, parts, empty, others;

-- Everything of the extension goes with it.
DROP TABLE t;
CREATE TABLE t (id int, val vector(3));
CREATE INDEX t_val ON t USING hnsw (val vector_l2_ops);
SELECT amname FROM pg_am WHERE amname = 'hnsw';
SET client_min_messages = warning;
DROP EXTENSION pg_alopex CASCADE;
SELECT amname FROM pg_am WHERE amname = 'hnsw';
SELECT attname FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 0 AND NOT attisdropped;
