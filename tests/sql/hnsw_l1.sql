-- The index under L1 distance.
SET enable_seqscan = off;
CREATE TABLE t (id int, val vector(3));
INSERT INTO t VALUES (1, '[0,0,0]'), (2, '[1,2,3]'), (3, '[1,1,1]'), (4, NULL), (5, '[3,3,9]');
CREATE INDEX t_val ON t USING hnsw (val vector_l1_ops);
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY val <+> '[3,3,3]' LIMIT 3;
-- Exactly, in an order that the index does not have.
SELECT id, val <+> '[3,3,3]' AS distance FROM t ORDER BY (val <+> '[3,3,3]') + 0, id;
INSERT INTO t VALUES (6, '[1,2,4]'), (7, '[3,3,3.5]');
SELECT id FROM t ORDER BY val <+> '[3,3,3]' LIMIT 2;
SELECT id FROM t WHERE id <> 7 ORDER BY val <+> '[3,3,3]' LIMIT 1;
DELETE FROM t WHERE id = 7;
VACUUM t;
SELECT id FROM t ORDER BY val <+> '[3,3,3]' LIMIT 1;
SELECT count(*) FROM (SELECT id FROM t ORDER BY val <+> (SELECT NULL::vector) LIMIT 100) rows;
SELECT id FROM t ORDER BY val <+> '[1,2]' LIMIT 1;
