-- The index under cosine distance: only directions count.
SET enable_seqscan = off;
CREATE TABLE t (id int, val vector(3));
INSERT INTO t VALUES (1, '[0,0,0]'), (2, '[1,2,3]'), (3, '[1,1,1]'), (4, NULL), (5, '[-1,0,0]'), (6, '[10,20,31]');
CREATE INDEX t_val ON t USING hnsw (val vector_cosine_ops);
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY val <=> '[3,3,3]' LIMIT 3;
-- A zero vector has no direction: its distance is NaN, which comes before NULL.
SELECT id, round((val <=> '[3,3,3]')::numeric, 4) AS distance FROM t ORDER BY val <=> '[3,3,3]';
SELECT count(*) FROM t;
INSERT INTO t VALUES (7, '[0,0,0]'), (8, '[1,1,1.1]');
SELECT id FROM t ORDER BY val <=> '[3,3,3]' LIMIT 3;
UPDATE t SET val = '[0,0,0]' WHERE id = 8;
SELECT id FROM t ORDER BY val <=> '[3,3,3]' LIMIT 3;
UPDATE t SET val = '[2,2,2.1]' WHERE id = 7;
SELECT id FROM t ORDER BY val <=> '[3,3,3]' LIMIT 3;
-- A zero vector as the target: all distances are NaN, every row comes.
SELECT count(*) FROM (SELECT id FROM t ORDER BY val <=> '[0,0,0]' LIMIT 100) rows;
SELECT count(*) FROM (SELECT id FROM t ORDER BY val <=> (SELECT NULL::vector) LIMIT 100) rows;
-- Lengths far apart, one direction.
CREATE TABLE scaled (id int, val vector(3));
INSERT INTO scaled VALUES (1, '[1e-15,0,0]'), (2, '[1e15,1e13,0]'), (3, '[1,1,0]'), (4, '[0,1e-15,0]');
CREATE INDEX ON scaled USING hnsw (val vector_cosine_ops);
SELECT id FROM scaled ORDER BY val <=> '[1,0,0]' LIMIT 4;
SELECT id FROM t ORDER BY val <=> '[1,2]' LIMIT 1;
