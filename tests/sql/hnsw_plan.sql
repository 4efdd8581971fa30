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
SELECT id FROM t ORDER BY val <-> '[50,19,4.5]' LIMIT 1;
SELECT id, val <-> '[50,19,4.5]' AS distance FROM t ORDER BY distance LIMIT 1;
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
RESET enable_seqscan;

-- Costs: with a condition that leaves few rows, those are read and sorted; with one that leaves many, or none at all, the index.
CREATE TABLE c (id int PRIMARY KEY, tenant int, val vector(64));
INSERT INTO c SELECT n, n % 100, (SELECT array_agg(sin(n * 0.01 * i)) FROM generate_series(1, 64) i)::vector FROM generate_series(1, 10000) n;
CREATE INDEX c_tenant ON c (tenant);
CREATE INDEX c_val ON c USING hnsw (val vector_l2_ops);
VACUUM ANALYZE c;
SELECT '[' || string_agg(sin(7.7 * i)::text, ',') || ']' AS q FROM generate_series(1, 64) i \gset
SELECT condition, scans(format('SELECT id FROM c WHERE %s ORDER BY val <-> %L LIMIT 20', condition, :'q')) FROM (VALUES
    ('true'), ('tenant = 1'), ('tenant < 2'), ('tenant < 30'), ('tenant < 70'), ('id < 20')) conditions (condition);
-- A condition that PostgreSQL knows nothing about may leave more than it guesses.
SELECT scans(format('SELECT id FROM c WHERE id %% 3 = 0 ORDER BY val <-> %L LIMIT 5', :'q'));
SELECT settings, wanted, scans(format('SELECT id FROM c WHERE %s ORDER BY val <-> %L %s', condition, :'q', wanted)) FROM (VALUES
    ('off', 'true', 'LIMIT 20'), ('off', 'true', 'LIMIT 60'), ('off', 'tenant < 70', 'LIMIT 20'), ('off', 'tenant < 30', 'LIMIT 20'),
    ('off', 'true', 'LIMIT 20 OFFSET 40'), ('off', 'true', ''), ('strict_order', 'true', 'LIMIT 60')) queries (settings, condition, wanted),
    LATERAL (SELECT set_config('hnsw.iterative_scan', settings, false) OFFSET 0) s WHERE s IS NOT NULL;
RESET hnsw.iterative_scan;
-- Without a LIMIT rows are read and sorted, whoever asks for the order.
SELECT query, scans(format(query, :'q')) FROM (VALUES
    ('SELECT id FROM c ORDER BY val <-> %L'),
    ('SELECT * FROM c ORDER BY val <-> %L'),
    ('SELECT id FROM c ORDER BY val <-> %L LIMIT NULL'),
    ('SELECT id FROM c ORDER BY val <-> %L LIMIT ALL OFFSET 5'),
    ('SELECT id FROM c ORDER BY val <-> %L OFFSET 9000 LIMIT 20'),
    ('SELECT id FROM c ORDER BY val <-> %L LIMIT 9000'),
    ('SELECT rank() OVER (ORDER BY val <-> %L) FROM c'),
    ('SELECT DISTINCT val <-> %L AS d FROM c ORDER BY d LIMIT 5'),
    ('SELECT val <-> %L AS d, count(*) FROM c GROUP BY d ORDER BY d LIMIT 5')) queries (query);
SET random_page_cost = 1.1;
SELECT scans(format('SELECT * FROM c ORDER BY val <-> %L', :'q'));
SELECT scans(format('SELECT * FROM c ORDER BY val <-> %L LIMIT 20', :'q'));
RESET random_page_cost;
-- A LIMIT that is a parameter.
PREPARE any_limit(vector, int) AS SELECT id FROM c ORDER BY val <-> $1 LIMIT $2;
SET plan_cache_mode = force_generic_plan;
SELECT scans(format('EXECUTE any_limit(%L, 10)', :'q'));
RESET plan_cache_mode;
-- Small tables of many, each with an index.
CREATE TABLE few (id int, part int, val vector(64)) PARTITION BY LIST (part);
SELECT format('CREATE TABLE few%1$s PARTITION OF few FOR VALUES IN (%1$s)', n) FROM generate_series(0, 7) n \gexec
INSERT INTO few SELECT id, id % 8, val FROM c;
CREATE INDEX ON few USING hnsw (val vector_l2_ops);
VACUUM ANALYZE few;
SELECT count(*) FROM regexp_matches(scans(format('SELECT id FROM few ORDER BY val <-> %L LIMIT 5', :'q')), 'Index Scan using few', 'g');
SELECT scans(format('SELECT id FROM few WHERE part = 3 ORDER BY val <-> %L LIMIT 5', :'q'));
DROP TABLE few;

-- Answers: with the index as without it, each row once and in order, whatever is above the scan.
CREATE TABLE s (id int PRIMARY KEY, val vector(4));
INSERT INTO s SELECT n, ARRAY[sin(n * 1.7), cos(n * 2.3), sin(n * 3.1), n / 2200.0]::vector FROM generate_series(1, 22000) n;
INSERT INTO s SELECT n, NULL FROM generate_series(22001, 22005) n;
CREATE INDEX s_val ON s USING hnsw (val vector_l2_ops);
CREATE TABLE labels AS SELECT n * 37 AS item, val <-> '[0.1,0.2,0.3,0.4]' AS d FROM generate_series(1, 590) n JOIN s ON id = n * 37;
VACUUM ANALYZE s, labels;
-- The rows of a query by the index and without it, and whether the index was used, as text in the order in which they come.
CREATE FUNCTION compared(query text, OUT rows bigint, OUT by_index boolean, OUT same boolean, OUT same_order boolean) LANGUAGE plpgsql AS $$
DECLARE
    found text[];
    exact text[];
BEGIN
    PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true), set_config('enable_hashagg', 'off', true),
        set_config('enable_hashjoin', 'off', true);
    by_index := scans(query) ~ 'Index Scan using (s|p\d)_val';
    EXECUTE 'SELECT array_agg(x::text) FROM (' || query || ') x' INTO found;
    PERFORM set_config('enable_indexscan', 'off', true), set_config('enable_seqscan', 'on', true), set_config('enable_sort', 'on', true);
    EXECUTE 'SELECT array_agg(x::text) FROM (' || query || ') x' INTO exact;
    PERFORM set_config('enable_indexscan', 'on', true), set_config('enable_hashagg', 'on', true), set_config('enable_hashjoin', 'on', true);
    rows := cardinality(exact);
    same := (SELECT array_agg(x ORDER BY x) FROM unnest(found) x) IS NOT DISTINCT FROM (SELECT array_agg(x ORDER BY x) FROM unnest(exact) x);
    -- Rows at the same distance come as they like.
    same_order := (SELECT array_agg(coalesce((val <-> '[0.1,0.2,0.3,0.4]')::text, x) ORDER BY n) FROM unnest(found) WITH ORDINALITY f (x, n)
            LEFT JOIN s ON x ~ '^\(\d+[,)]' AND id = substring(x FROM '^\((\d+)')::int WHERE val IS NOT NULL OR s.id IS NULL)
        IS NOT DISTINCT FROM (SELECT array_agg(coalesce((val <-> '[0.1,0.2,0.3,0.4]')::text, x) ORDER BY n) FROM unnest(exact) WITH ORDINALITY f (x, n)
            LEFT JOIN s ON x ~ '^\(\d+[,)]' AND id = substring(x FROM '^\((\d+)')::int WHERE val IS NOT NULL OR s.id IS NULL);
END $$;
SET enable_incremental_sort = off;
CREATE TABLE answers AS SELECT name, compared.* FROM (VALUES
    ('no LIMIT', 'SELECT id FROM s ORDER BY val <-> %L'),
    ('with the distance', 'SELECT id, val <-> %L AS d FROM s ORDER BY d'),
    ('LIMIT NULL', 'SELECT id FROM s ORDER BY val <-> %L LIMIT NULL'),
    ('LIMIT of all rows', 'SELECT id FROM s ORDER BY val <-> %L LIMIT 30000'),
    ('OFFSET', 'SELECT id FROM s ORDER BY val <-> %L OFFSET 21000'),
    ('OFFSET and LIMIT', 'SELECT id FROM s ORDER BY val <-> %L OFFSET 21900 LIMIT 300'),
    ('a condition far away', 'SELECT id FROM s WHERE id > 21950 ORDER BY val <-> %L LIMIT 40'),
    ('row_number', 'SELECT val <-> %1$L, row_number() OVER (ORDER BY val <-> %1$L) FROM s'),
    ('rank with LIMIT', 'SELECT id, rank() OVER (ORDER BY val <-> %L) AS r FROM s ORDER BY r LIMIT 100'),
    ('lag', 'SELECT val <-> %1$L, lag(val <-> %1$L) OVER (ORDER BY val <-> %1$L) FROM s'),
    ('a window and a condition', 'SELECT * FROM (SELECT id, rank() OVER (ORDER BY val <-> %L) AS r FROM s) w WHERE id + 0 > 21950 LIMIT 100'),
    ('a frame to the end', 'SELECT id, nth_value(id, 21900) OVER (ORDER BY val <-> %1$L ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
        FROM s ORDER BY val <-> %1$L LIMIT 5'),
    ('ntile', 'SELECT id, ntile(1000) OVER (ORDER BY val <-> %1$L) FROM s ORDER BY val <-> %1$L LIMIT 5000'),
    ('count', 'SELECT id, count(*) OVER () FROM s ORDER BY val <-> %L LIMIT 5'),
    ('an ordered aggregate', 'SELECT array_agg(val <-> %1$L ORDER BY val <-> %1$L) FROM s'),
    ('min', 'SELECT min(val <-> %L) FROM s WHERE id + 0 > 21990'),
    ('DISTINCT', 'SELECT DISTINCT val <-> %L AS d FROM s ORDER BY d'),
    ('DISTINCT and LIMIT', 'SELECT DISTINCT val <-> %L AS d FROM s ORDER BY d LIMIT 500'),
    ('DISTINCT ON', 'SELECT DISTINCT ON (val <-> %1$L) val <-> %1$L AS d FROM s ORDER BY val <-> %1$L LIMIT 500'),
    ('GROUP BY', 'SELECT val <-> %L AS d, count(*) FROM s GROUP BY d ORDER BY d'),
    ('a merge join', 'SELECT s.id FROM s JOIN labels l ON s.val <-> %1$L = l.d ORDER BY s.val <-> %1$L'),
    ('a join below LIMIT', 'SELECT s.id FROM s JOIN labels l ON l.item = s.id ORDER BY s.val <-> %L LIMIT 40'),
    ('a join of all', 'SELECT s.id FROM s JOIN labels l ON l.item = s.id ORDER BY s.val <-> %L'),
    ('not in a list', 'SELECT s.id FROM s WHERE NOT EXISTS (SELECT FROM labels l WHERE l.item = s.id) ORDER BY s.val <-> %L LIMIT 400'),
    ('LATERAL', 'SELECT l.item, n.id FROM labels l CROSS JOIN LATERAL (SELECT id FROM s WHERE s.id <> l.item ORDER BY val <-> %L LIMIT 2) n ORDER BY l.item'),
    ('UNION ALL', 'SELECT id FROM (SELECT id FROM s ORDER BY val <-> %1$L LIMIT 10) a UNION ALL SELECT id FROM (SELECT id FROM s ORDER BY val <-> %1$L OFFSET 21995) b'),
    ('WITH TIES', 'SELECT id FROM s ORDER BY val <-> %L FETCH FIRST 50 ROWS WITH TIES'),
    ('a CTE', 'WITH n AS MATERIALIZED (SELECT id, val <-> %L AS d FROM s ORDER BY d) SELECT count(*), max(d) FROM n'),
    ('an array', 'SELECT cardinality(ARRAY(SELECT id FROM s ORDER BY val <-> %L))')
) queries (name, query), compared(format(query, '[0.1,0.2,0.3,0.4]')) compared;
SELECT name, rows, same, same_order FROM answers;
-- Which versions of PostgreSQL can go by the index is another matter: nearly all.
SELECT count(*) >= 20 AS most FROM answers WHERE by_index;
RESET enable_incremental_sort;
-- The same by plans of the planner's choice, in relaxed order.
SET hnsw.iterative_scan = relaxed_order;
SELECT name, compared.same, compared.same_order FROM (VALUES
    ('no LIMIT', 'SELECT id FROM s ORDER BY val <-> %L'),
    ('DISTINCT and LIMIT', 'SELECT DISTINCT val <-> %L AS d FROM s ORDER BY d LIMIT 500'),
    ('GROUP BY', 'SELECT val <-> %L AS d, count(*) FROM s GROUP BY d ORDER BY d LIMIT 500'),
    ('rank with LIMIT', 'SELECT id, rank() OVER (ORDER BY val <-> %L) AS r FROM s ORDER BY r LIMIT 500'),
    ('a merge join', 'SELECT s.id FROM s JOIN labels l ON s.val <-> %1$L = l.d ORDER BY s.val <-> %1$L')
) queries (name, query), compared(format(query, '[0.1,0.2,0.3,0.4]')) compared;
RESET hnsw.iterative_scan;
-- A LIMIT that is NULL in a generic plan, in a prepared statement and in functions; a cursor; rows for another table.
SET enable_seqscan = off;
SET enable_sort = off;
SET plan_cache_mode = force_generic_plan;
PREPARE at_most(bigint) AS SELECT id FROM s ORDER BY val <-> '[0.1,0.2,0.3,0.4]' LIMIT $1;
CREATE TABLE ids AS EXECUTE at_most(NULL);
SELECT count(*), count(DISTINCT id) FROM ids;
DROP TABLE ids;
CREATE TABLE ids AS EXECUTE at_most(12);
SELECT count(*), count(DISTINCT id) FROM ids;
RESET plan_cache_mode;
CREATE FUNCTION nearest(wanted int) RETURNS SETOF int LANGUAGE sql STABLE AS $$ SELECT id FROM s ORDER BY val <-> '[0.1,0.2,0.3,0.4]' LIMIT wanted $$;
SELECT count(*), count(DISTINCT nearest) FROM nearest(NULL);
SELECT count(*), count(DISTINCT nearest) FROM nearest(7);
DO $$
DECLARE
    c CURSOR FOR SELECT id FROM s ORDER BY val <-> '[0.1,0.2,0.3,0.4]';
    ids int[] := '{}';
BEGIN
    FOR r IN c LOOP ids := ids || r.id; END LOOP;
    RAISE NOTICE '% rows, % of them different', cardinality(ids), (SELECT count(DISTINCT id) FROM unnest(ids) id);
END $$;
INSERT INTO ids SELECT id FROM s ORDER BY val <-> '[0.1,0.2,0.3,0.4]';
SELECT count(*) FROM ids;
-- Window functions that see the last row, of a table of which narrow rounds find some rows late.
CREATE TABLE late (id int, val vector(16));
INSERT INTO late SELECT n, (SELECT array_agg(sin(n * 1.7 * i) + cos(n * n * 0.013 * i)) FROM generate_series(1, 16) i)::vector FROM generate_series(1, 22000) n;
CREATE INDEX late_val ON late USING hnsw (val vector_l2_ops);
VACUUM ANALYZE late;
SELECT '[.1,.2,.3,.4,.5,.6,.7,.8,.1,.2,.3,.4,.5,.6,.7,.8]' AS q \gset
CREATE FUNCTION windows(query text) RETURNS TABLE (name text, answer text) LANGUAGE plpgsql AS $$
DECLARE
    c refcursor;
    r record;
    last float8 := 0;
    rows int := 0;
    misplaced int := 0;
BEGIN
    OPEN c FOR EXECUTE format('SELECT val <-> %1$L AS d, row_number() OVER (ORDER BY val <-> %1$L) AS n FROM late', query);
    LOOP
        FETCH c INTO r;
        EXIT WHEN NOT FOUND;
        rows := rows + 1;
        misplaced := misplaced + (r.n <> rows OR r.d < last)::int;
        last := r.d;
    END LOOP;
    RETURN QUERY SELECT 'a cursor', format('%s rows, %s misplaced', rows, misplaced);
    RETURN QUERY EXECUTE format('SELECT ''a condition above'', sum(r)::text FROM (SELECT * FROM
        (SELECT id, rank() OVER (ORDER BY val <-> %L) AS r FROM late) w WHERE id + 0 > 21950 LIMIT 100) w', query);
    RETURN QUERY EXECUTE format('SELECT ''a frame to the end'', string_agg(id || '' '' || n, '', '') FROM (SELECT id, nth_value(id, 21900)
        OVER (ORDER BY val <-> %1$L ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS n FROM late ORDER BY val <-> %1$L LIMIT 2) w', query);
    RETURN QUERY EXECUTE format('SELECT ''all peers'', string_agg(id || '' '' || n, '', '') FROM (SELECT id, count(*) OVER () AS n
        FROM late ORDER BY val <-> %1$L LIMIT 2) w', query);
END $$;
SET hnsw.ef_search = 10;
SELECT scans(format('SELECT id, row_number() OVER (ORDER BY val <-> %1$L) FROM late ORDER BY val <-> %1$L LIMIT 5', :'q'));
CREATE TABLE by_index AS SELECT * FROM windows(:'q');
SET enable_indexscan = off;
RESET enable_seqscan;
RESET enable_sort;
SELECT name, i.answer, i.answer = e.answer AS same FROM by_index i JOIN windows(:'q') e USING (name);
RESET enable_indexscan;
RESET hnsw.ef_search;
SET enable_seqscan = off;
SET enable_sort = off;
DROP TABLE by_index, late;
-- Partitions.
DROP TABLE p;
CREATE TABLE q (id int, val vector(4)) PARTITION BY RANGE (id);
CREATE TABLE p1 PARTITION OF q FOR VALUES FROM (0) TO (9000);
CREATE TABLE p2 PARTITION OF q FOR VALUES FROM (9000) TO (30000);
INSERT INTO q SELECT * FROM s;
CREATE INDEX p1_val ON p1 USING hnsw (val vector_l2_ops);
CREATE INDEX p2_val ON p2 USING hnsw (val vector_l2_ops);
VACUUM ANALYZE q;
RESET enable_seqscan;
RESET enable_sort;
SELECT name, rows, same, same_order FROM (VALUES
    ('no LIMIT', 'SELECT id FROM q ORDER BY val <-> %L'),
    ('LIMIT', 'SELECT id FROM q ORDER BY val <-> %L LIMIT 20'),
    ('OFFSET', 'SELECT id FROM q ORDER BY val <-> %L OFFSET 21000'),
    ('row_number', 'SELECT val <-> %1$L, row_number() OVER (ORDER BY val <-> %1$L) FROM q'),
    ('DISTINCT', 'SELECT DISTINCT val <-> %L AS d FROM q ORDER BY d LIMIT 500')
) queries (name, query), compared(format(query, '[0.1,0.2,0.3,0.4]')) compared;

-- The first statement of a session is planned before the library is there, and changed all the same.
\c
EXPLAIN (VERBOSE, COSTS OFF) SELECT id FROM s ORDER BY val <-> '[0.1,0.2,0.3,0.4]' LIMIT 5;
\c
SET plan_cache_mode = force_generic_plan;
PREPARE first AS SELECT id FROM s ORDER BY val <-> '[0.1,0.2,0.3,0.4]' LIMIT 5;
EXPLAIN (VERBOSE, COSTS OFF) EXECUTE first;
EXPLAIN (VERBOSE, COSTS OFF) EXECUTE first;
\c
SET enable_seqscan = off;
SELECT count(*) FROM (SELECT id FROM s WHERE val <-> '[0.1,0.2,0.3,0.4]' < 0.5 ORDER BY val <-> '[0.1,0.2,0.3,0.4]' LIMIT 100) rows;
SELECT nodes_visited < 1000 AS few FROM hnsw_last_search();
-- Statements of the command that loads the library pass twice: through the planner, and when they start.
\c
CREATE FUNCTION within_radius() RETURNS TABLE (rows bigint, few boolean) LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..3 LOOP
        SELECT count(*) INTO rows FROM (SELECT id FROM s WHERE val <-> '[0.1,0.2,0.3,0.4]' < 0.5 ORDER BY val <-> '[0.1,0.2,0.3,0.4]' LIMIT 100) s;
        SELECT nodes_visited < 1000 INTO few FROM hnsw_last_search();
        RETURN NEXT;
    END LOOP;
END $$;
\c
SET enable_seqscan = off;
SELECT * FROM within_radius();
