-- The access method ivfflat: the graph of hnsw, with the options, settings and operator classes of that name.
CREATE TABLE t (id int, v vector(3), h halfvec(3), b bit(8), w vector);
INSERT INTO t SELECT n, ARRAY[n % 37, n % 11, n / 100.0]::vector, ARRAY[n % 37, n % 11, n / 100.0]::halfvec, (n % 256)::bit(8)
FROM generate_series(1, 1000) n;

-- What is built is told; vector_l2_ops is the default for vector.
CREATE INDEX t_v ON t USING ivfflat (v) WITH (lists = 10);
CREATE INDEX ON t USING ivfflat (h halfvec_cosine_ops);
SET client_min_messages = warning;
SELECT pg_get_indexdef('t_v'::regclass);
CREATE INDEX ON t USING ivfflat (h);
CREATE INDEX ON t USING ivfflat (v vector_l1_ops);
CREATE INDEX ON t USING ivfflat (w);
CREATE INDEX ON t USING ivfflat (v, id);
CREATE TABLE wide (b bit(64001), v vector(16000));
CREATE INDEX ON wide USING ivfflat (b bit_hamming_ops);
CREATE INDEX ON wide USING ivfflat (v);

-- Options
CREATE INDEX ON t USING ivfflat (v) WITH (lists = 0);
CREATE INDEX ON t USING ivfflat (v) WITH (lists = 32769);
CREATE INDEX ON t USING ivfflat (v) WITH (m = 8);
CREATE INDEX ON t USING hnsw (v vector_l2_ops) WITH (lists = 8);
ALTER INDEX t_v SET (lists = 20);
ALTER INDEX t_v SET (lists = 10);

-- Settings
SELECT name, setting, min_val, max_val, enumvals, boot_val, context FROM pg_settings WHERE name LIKE 'ivfflat.%' ORDER BY 1;
SET ivfflat.probes = 0;
SET ivfflat.probes = 32769;
SET ivfflat.iterative_scan = on;
SET ivfflat.iterative_scan = strict_order;
SET ivfflat.max_probes = 0;
SET ivfflat.foo = 1;

-- Answers: with all lists they are exact.
SET enable_seqscan = off;
SELECT plan('SELECT id FROM t ORDER BY v <-> ''[1,2,3]'' LIMIT 3');
SELECT id FROM t ORDER BY v <-> '[5,6,7]' LIMIT 3;
SELECT hnsw_recall('t_v', ARRAY['[1,2,3]'::vector, '[30,2,9]', '[7,7,7]']) > 0.9 AS found;
SET ivfflat.probes = 10;
SET enable_sort = off;
SELECT plan('SELECT id FROM t ORDER BY v <-> ''[1,2,3]'' LIMIT 3');
SELECT hnsw_recall('t_v', ARRAY['[1,2,3]'::vector, '[30,2,9]', '[7,7,7]'], 200) AS exact;
SELECT passes > 0 AS passes FROM hnsw_last_search();
RESET ivfflat.probes;
-- A scan goes on, unless somebody says where it ends: after a tenth of the rows here, and the first round.
SELECT count(*) FROM (SELECT FROM t ORDER BY v <-> '[5,6,7]' LIMIT 1000) x;
BEGIN;
SET LOCAL ivfflat.iterative_scan = off;
SELECT count(*) BETWEEN 100 AND 500 AS bounded FROM (SELECT FROM t ORDER BY v <-> '[5,6,7]' LIMIT 900) x;
SET LOCAL ivfflat.probes = 10;
SELECT count(*) FROM (SELECT FROM t ORDER BY v <-> '[5,6,7]' LIMIT 1000) x;
SET LOCAL ivfflat.probes = 1;
SET LOCAL ivfflat.iterative_scan = relaxed_order;
SELECT count(*) FROM (SELECT FROM t ORDER BY v <-> '[5,6,7]' LIMIT 1000) x;
SET LOCAL ivfflat.max_probes = 2;
SELECT count(*) BETWEEN 200 AND 600 AS bounded FROM (SELECT FROM t ORDER BY v <-> '[5,6,7]' LIMIT 900) x;
ROLLBACK;
SELECT count(*) FROM (SELECT FROM t ORDER BY v <-> '[5,6,7]' LIMIT 1000) x;
-- Searches grow with the share of the lists.
SELECT id FROM t ORDER BY v <-> '[5,6,7]' LIMIT 1;
SELECT nodes_visited AS narrow FROM hnsw_last_search() \gset
SET ivfflat.probes = 5;
SELECT id FROM t ORDER BY v <-> '[5,6,7]' LIMIT 1;
SELECT nodes_visited > :narrow AS wider FROM hnsw_last_search();
RESET ivfflat.probes;

-- Changes, and functions that look into an index
INSERT INTO t VALUES (2000, '[500,500,500]', '[1,1,1]', B'11111111'), (2001, NULL, NULL, NULL);
SELECT id FROM t ORDER BY v <-> '[500,500,501]' LIMIT 1;
DELETE FROM t WHERE id % 2 = 1;
VACUUM t;
SELECT * FROM hnsw_check('t_v', true);
SELECT node_count FROM hnsw_stats('t_v');
SET client_min_messages = notice;
REINDEX INDEX t_v;
SET client_min_messages = warning;
REINDEX INDEX CONCURRENTLY t_v;
CREATE INDEX CONCURRENTLY t_b ON t USING ivfflat (b bit_hamming_ops);
SELECT * FROM hnsw_check('t_b', true);
SELECT id FROM t ORDER BY b <~> B'10101010' LIMIT 1;
CREATE TABLE p (k int, v vector(3)) PARTITION BY LIST (k);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE INDEX ON p USING ivfflat (v vector_cosine_ops);
CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2);
INSERT INTO p SELECT i % 2 + 1, ARRAY[i, 1, 1] FROM generate_series(1, 200) i;
SELECT count(*) FROM (SELECT FROM p ORDER BY v <=> '[5,6,7]' LIMIT 200) x;

-- Operator classes
SELECT opcname, opcintype::regtype, opcdefault, amvalidate(c.oid) FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod
WHERE amname = 'ivfflat' ORDER BY 1;
CREATE OPERATOR CLASS strange_ops FOR TYPE vector USING ivfflat AS
    OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops, FUNCTION 1 vector_norm(vector);
SELECT amvalidate(oid) FROM pg_opclass WHERE opcname = 'strange_ops';
CREATE INDEX ON t USING ivfflat (v strange_ops);
