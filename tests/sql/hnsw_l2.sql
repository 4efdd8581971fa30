-- The index under L2 distance: on small tables its answers are exact and in order.
SET enable_seqscan = off;
CREATE TABLE t (id int, val vector(3));
INSERT INTO t VALUES (1, '[0,0,0]'), (2, '[1,2,3]'), (3, '[1,1,1]'), (4, NULL), (5, '[-1,0,4]');
CREATE INDEX t_val ON t USING hnsw (val vector_l2_ops);

-- Nearest first; a row without a vector comes last.
SELECT id, val, val <-> '[3,3,3]' AS distance FROM t ORDER BY val <-> '[3,3,3]';
SELECT id FROM t ORDER BY val <-> '[3,3,3]' LIMIT 2;
SELECT id FROM t ORDER BY val <-> '[3,3,3]' LIMIT 100;
SELECT id FROM t ORDER BY val <-> '[3,3,3]' LIMIT 0;
SELECT id FROM t ORDER BY val <-> '[3,3,3]' LIMIT 2 OFFSET 1;

-- Rows that come later.
INSERT INTO t VALUES (6, '[1,2,4]'), (7, NULL), (8, '[3,3,3]');
SELECT id FROM t ORDER BY val <-> '[3,3,3]' LIMIT 3;
UPDATE t SET val = '[9,9,9]' WHERE id = 8;
SELECT id FROM t ORDER BY val <-> '[3,3,3]' LIMIT 3;
UPDATE t SET val = '[3,3,4]' WHERE id = 4;
SELECT id FROM t ORDER BY val <-> '[3,3,3]' LIMIT 3;
DELETE FROM t WHERE id = 4;
SELECT id FROM t ORDER BY val <-> '[3,3,3]' LIMIT 3;
VACUUM t;
SELECT id FROM t ORDER BY val <-> '[3,3,3]' LIMIT 3;

-- A condition takes rows away and the scan goes on until there are enough.
SELECT id FROM t WHERE id > 4 ORDER BY val <-> '[3,3,3]' LIMIT 3;
SELECT id FROM t WHERE id < 0 ORDER BY val <-> '[3,3,3]' LIMIT 3;

-- NULL as the target: no distance, no order, every row of the index.
SELECT count(*) FROM (SELECT id FROM t ORDER BY val <-> NULL::vector LIMIT 10) rows;
SELECT count(*) FROM (SELECT id FROM t ORDER BY val <-> (SELECT NULL::vector) LIMIT 10) rows;

-- A target of another dimension.
SELECT id FROM t ORDER BY val <-> '[1,2]' LIMIT 1;

-- The same vector many times: all rows come.
CREATE TABLE same (id int, val vector(2));
INSERT INTO same SELECT n, '[1,1]' FROM generate_series(1, 100) n;
CREATE INDEX ON same USING hnsw (val vector_l2_ops);
INSERT INTO same SELECT n, '[1,1]' FROM generate_series(101, 200) n;
SELECT count(DISTINCT id) FROM (SELECT id FROM same ORDER BY val <-> '[0,0]' LIMIT 1000) rows;
DELETE FROM same WHERE id % 2 = 0;
VACUUM same;
SELECT count(DISTINCT id) FROM (SELECT id FROM same ORDER BY val <-> '[0,0]' LIMIT 1000) rows;

-- An empty table, and its index after the first rows.
CREATE TABLE empty (id int, val vector(3));
CREATE INDEX ON empty USING hnsw (val vector_l2_ops);
SELECT id FROM empty ORDER BY val <-> '[1,2,3]' LIMIT 5;
VACUUM empty;
INSERT INTO empty VALUES (1, NULL);
SELECT id FROM empty ORDER BY val <-> '[1,2,3]' LIMIT 5;
INSERT INTO empty VALUES (2, '[1,2,3]'), (3, '[1,1,1]');
SELECT id FROM empty ORDER BY val <-> '[1,2,3]' LIMIT 5;
DELETE FROM empty;
VACUUM empty;
SELECT id FROM empty ORDER BY val <-> '[1,2,3]' LIMIT 5;
INSERT INTO empty VALUES (4, '[1,1,2]');
SELECT id FROM empty ORDER BY val <-> '[1,2,3]' LIMIT 5;

-- One dimension, and many.
CREATE TABLE narrow (val vector(1));
INSERT INTO narrow SELECT array_fill(n, ARRAY[1])::vector FROM generate_series(1, 50) n;
CREATE INDEX ON narrow USING hnsw (val vector_l2_ops);
SELECT val FROM narrow ORDER BY val <-> '[25.2]' LIMIT 3;
CREATE TABLE wide (id int, val vector(1536));
INSERT INTO wide SELECT n, array_fill(n, ARRAY[1536])::vector FROM generate_series(1, 50) n;
CREATE INDEX ON wide USING hnsw (val vector_l2_ops);
SELECT id FROM wide ORDER BY val <-> array_fill(25.2::real, ARRAY[1536])::vector LIMIT 3;
