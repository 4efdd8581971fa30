-- What an index refuses.
CREATE TABLE t (id int, val vector(3), other vector(3), loose vector, name text);
INSERT INTO t VALUES (1, '[1,2,3]', '[1,2,3]', '[1,2]', 'one');

CREATE INDEX ON t USING hnsw (loose vector_l2_ops);
CREATE INDEX ON t USING hnsw ((loose::vector(2)) vector_l2_ops);
CREATE INDEX ON t USING hnsw (val);
CREATE INDEX ON t USING hnsw (name);
CREATE INDEX ON t USING hnsw (id vector_l2_ops);
CREATE INDEX ON t USING hnsw (val vector_l2_ops, other vector_l2_ops);
CREATE UNIQUE INDEX ON t USING hnsw (val vector_l2_ops);
CREATE INDEX ON t USING hnsw (val vector_l2_ops) INCLUDE (id);
CREATE INDEX ON t USING hnsw (val vector_l2_ops DESC);
CREATE INDEX ON t USING hnsw (val vector_l2_ops NULLS FIRST);
-- Its text names the operator with its schema from PostgreSQL 18 on.
\set VERBOSITY sqlstate
ALTER TABLE t ADD EXCLUDE USING hnsw (val vector_l2_ops WITH =);
\set VERBOSITY default

-- An expression that yields another dimension than it says fails when the row comes, and only that statement.
CREATE TABLE e (id int, val vector);
CREATE INDEX ON e USING hnsw ((val::vector(3)) vector_l2_ops);
INSERT INTO e VALUES (1, '[1,2,3]');
INSERT INTO e VALUES (2, '[1,2]');
SELECT id FROM e;

-- Clustering needs an order that the index does not have.
CREATE INDEX t_val ON t USING hnsw (val vector_l2_ops);
CLUSTER t USING t_val;

-- The wrong dimension, on the way in and as a target.
INSERT INTO t (val) VALUES ('[1,2]');
SET enable_seqscan = off;
SELECT id FROM t ORDER BY val <-> '[1,2]' LIMIT 1;
SELECT id FROM t ORDER BY val <-> '[1,2,3]' LIMIT 1;

-- Bits of varying length have no common dimensions: in a column, behind a domain, on a partitioned table, by a change of type.
CREATE TABLE varying (v varbit(8), w varbit, b bit(8));
CREATE DOMAIN eight AS varbit(8);
CREATE TABLE domains (v eight);
CREATE TABLE parts (v varbit(8)) PARTITION BY LIST (v);
CREATE INDEX ON varying USING hnsw (v bit_hamming_ops);
CREATE INDEX CONCURRENTLY ON varying USING hnsw (w bit_jaccard_ops);
CREATE INDEX ON varying USING hnsw ((w || v) bit_hamming_ops);
CREATE INDEX ON domains USING hnsw (v bit_hamming_ops);
CREATE INDEX ON parts USING hnsw (v bit_hamming_ops);
CREATE INDEX ON varying USING hnsw (b bit_hamming_ops);
ALTER TABLE varying ALTER b TYPE varbit(8);
-- An expression gives them some.
CREATE INDEX ON varying USING hnsw ((v::bit(8)) bit_hamming_ops);
INSERT INTO varying VALUES ('101', '', B'11110000');
SELECT v FROM varying ORDER BY v::bit(8) <~> B'10100000' LIMIT 1;
SELECT relname FROM pg_class JOIN pg_am a ON a.oid = relam WHERE amname = 'hnsw' AND relname ~ 'varying|domains|parts' ORDER BY relname;
DROP TABLE varying, domains, parts;
DROP DOMAIN eight;
