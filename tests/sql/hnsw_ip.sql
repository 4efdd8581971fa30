-- The index under inner product: greatest product first, written as its negative.
SET enable_seqscan = off;
CREATE TABLE t (id int, val vector(3));
INSERT INTO t VALUES (1, '[0,0,0]'), (2, '[1,2,3]'), (3, '[1,1,1]'), (4, NULL), (5, '[-2,-2,-2]');
CREATE INDEX t_val ON t USING hnsw (val vector_ip_ops);
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY val <#> '[3,3,3]' LIMIT 3;
-- A zero vector has a product like any other.
SELECT id, val <#> '[3,3,3]' AS distance FROM t ORDER BY val <#> '[3,3,3]';
INSERT INTO t VALUES (6, '[1,2,4]'), (7, '[100,0,0]');
SELECT id, val <#> '[3,3,3]' AS distance FROM t ORDER BY val <#> '[3,3,3]' LIMIT 3;
SELECT id FROM t WHERE id < 4 ORDER BY val <#> '[3,3,3]' LIMIT 2;
DELETE FROM t WHERE id = 7;
VACUUM t;
SELECT id FROM t ORDER BY val <#> '[3,3,3]' LIMIT 3;
SELECT count(*) FROM (SELECT id FROM t ORDER BY val <#> '[0,0,0]' LIMIT 100) rows;
SELECT count(*) FROM (SELECT id FROM t ORDER BY val <#> (SELECT NULL::vector) LIMIT 100) rows;
SELECT id FROM t ORDER BY val <#> '[1,2]' LIMIT 1;
-- Another operator than the one of the operator class is no use to this index.
SELECT * FROM plan($$SELECT id FROM t ORDER BY val <-> '[3,3,3]' LIMIT 3$$);
