-- When the planner takes the index and when it must not.
CREATE TABLE t (id int PRIMARY KEY, category int, val vector(3));
INSERT INTO t SELECT n, n % 10, ARRAY[n % 100, n / 100, n % 7]::vector FROM generate_series(1, 5000) n;
CREATE INDEX t_val ON t USING hnsw (val vector_l2_ops);
ANALYZE t;

-- With ORDER BY and LIMIT, by itself.
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY val <-> '[1,2,3]' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY '[1,2,3]' <-> val LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE category = 3 ORDER BY val <-> '[1,2,3]' LIMIT 5;
-- With a second order within equal distances.
SELECT id FROM t ORDER BY val <-> '[50.5,20,3]', id DESC LIMIT 3;
-- The distance that only the index orders by is not computed below a LIMIT; one that is looked at is.
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM t ORDER BY val <-> '[1,2,3]' LIMIT 5;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id, val <-> '[1,2,3]' AS distance FROM t ORDER BY distance LIMIT 5;
-- PostgreSQL 15 never sorts on what an index orders by a distance, newer ones do where it costs less.
SET enable_incremental_sort = off;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM t ORDER BY val <-> '[1,2,3]', id LIMIT 5;
RESET enable_incremental_sort;
SET enable_seqscan = off;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM t ORDER BY val <-> '[1,2,3]' FETCH FIRST 5 ROWS WITH TIES;
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM t ORDER BY val <-> '[1,2,3]' LIMIT 1 FOR UPDATE;
RESET enable_seqscan;
EXPLAIN (VERBOSE, COSTS OFF) SELECT array_agg(id) FROM (SELECT id FROM t ORDER BY val <-> '[1,2,3]' LIMIT 5) nearest;
SELECT id FROM t ORDER BY val <-> '[50,20,3]' LIMIT 1;
SELECT id, val <-> '[50,20,3]' AS distance FROM t ORDER BY distance LIMIT 1;
SELECT ARRAY(SELECT id FROM t ORDER BY val <-> o.val LIMIT 1) FROM t o WHERE id IN (1, 2500) ORDER BY id;
-- One row by its key is cheaper without it.
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE id = 7 ORDER BY val <-> '[1,2,3]' LIMIT 5;

-- Not without ORDER BY, not for another order, not even when it is the only thing left.
SET enable_seqscan = off;
SELECT * FROM plan($$SELECT count(*) FROM t WHERE val IS NOT NULL$$);
SELECT * FROM plan($$SELECT id FROM t WHERE val = '[1,2,3]'$$);
SELECT * FROM plan($$SELECT id FROM t WHERE val <-> '[1,2,3]' < 1$$);
SELECT * FROM plan($$SELECT id FROM t ORDER BY val <-> '[1,2,3]' DESC LIMIT 5$$);
SELECT * FROM plan($$SELECT id FROM t ORDER BY val <=> '[1,2,3]' LIMIT 5$$);
SELECT * FROM plan($$SELECT id FROM t ORDER BY (val <-> '[1,2,3]') + 1 LIMIT 5$$);
SELECT * FROM plan($$SELECT id FROM t ORDER BY val LIMIT 5$$);
RESET enable_seqscan;

-- The target from another row, and from a parameter.
EXPLAIN (COSTS OFF) SELECT o.id, n.id FROM (SELECT * FROM t LIMIT 3) o
CROSS JOIN LATERAL (SELECT id FROM t ORDER BY val <-> o.val LIMIT 2) n;
SELECT o.id, array_agg(n.id ORDER BY n.d, n.id) FROM t o
CROSS JOIN LATERAL (SELECT id, val <-> o.val AS d FROM t ORDER BY val <-> o.val LIMIT 1) n
WHERE o.id IN (1, 2500, 5000) GROUP BY o.id ORDER BY o.id;
PREPARE nearest(vector) AS SELECT id FROM t ORDER BY val <-> $1 LIMIT 1;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE nearest('[1,2,3]');
EXECUTE nearest('[50,30,5]');
EXECUTE nearest('[0,50,2]');
RESET plan_cache_mode;
DEALLOCATE nearest;

-- A cursor reads on where it stopped.
BEGIN;
DECLARE c CURSOR FOR SELECT val <-> '[1,2,3]' < 10 AS near FROM t ORDER BY val <-> '[1,2,3]';
FETCH 2 FROM c;
MOVE 1000 FROM c;
FETCH 1 FROM c;
COMMIT;

-- A part of the table, and an expression.
DROP INDEX t_val;
CREATE INDEX t_partial ON t USING hnsw (val vector_l2_ops) WHERE category = 3;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE category = 3 ORDER BY val <-> '[1,2,3]' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE category = 4 ORDER BY val <-> '[1,2,3]' LIMIT 5;
SELECT count(*), bool_and(category = 3) FROM (SELECT category FROM t WHERE category = 3 ORDER BY val <-> '[1,2,3]' LIMIT 20) rows;
DROP INDEX t_partial;
CREATE INDEX t_expression ON t USING hnsw (l2_normalize(val) vector_l2_ops);
CREATE INDEX t_expression ON t USING hnsw ((l2_normalize(val)::vector(3)) vector_l2_ops);
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY l2_normalize(val)::vector(3) <-> '[1,0,0]' LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM t ORDER BY val <-> '[1,0,0]' LIMIT 5;

-- Partitions: one scan each, merged.
CREATE TABLE p (id int, val vector(3)) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (1000);
CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (1000) TO (2000);
INSERT INTO p SELECT n, ARRAY[n % 40, n / 40, 1]::vector FROM generate_series(0, 1999) n;
CREATE INDEX ON p USING hnsw (val vector_l2_ops);
ANALYZE p;
EXPLAIN (COSTS OFF) SELECT id FROM p ORDER BY val <-> '[20,25,1]' LIMIT 3;
SELECT id FROM p ORDER BY val <-> '[0.1,24.9,1]' LIMIT 3;

-- Temporary and unlogged tables.
CREATE TEMP TABLE temporary (id int, val vector(3)) ON COMMIT DELETE ROWS;
CREATE INDEX ON temporary USING hnsw (val vector_l2_ops);
SET enable_seqscan = off;
BEGIN;
INSERT INTO temporary VALUES (1, '[1,2,3]'), (2, '[4,5,6]');
SELECT id FROM temporary ORDER BY val <-> '[4,4,4]' LIMIT 1;
COMMIT;
SELECT id FROM temporary ORDER BY val <-> '[4,4,4]' LIMIT 1;
CREATE UNLOGGED TABLE unlogged (id int, val vector(3));
CREATE INDEX ON unlogged USING hnsw (val vector_l2_ops);
INSERT INTO unlogged VALUES (1, '[1,2,3]'), (2, '[4,5,6]');
SELECT id FROM unlogged ORDER BY val <-> '[4,4,4]' LIMIT 1;

-- Two distances are no order of the index
SELECT * FROM plan($$SELECT id FROM t ORDER BY val <-> '[1,1,1]', val <-> '[0,0,0]' LIMIT 3$$);
SELECT count(*) FROM (SELECT id FROM t ORDER BY val <-> '[1,1,1]', val <-> '[0,0,0]' LIMIT 3) AS nearest;
