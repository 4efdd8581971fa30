-- Targets of recall: EXPLAIN, costs, partitions, functions with settings.
CREATE TABLE t (id int PRIMARY KEY, val vector(16));
INSERT INTO t SELECT n, ARRAY(SELECT sin(n * i * 0.37) + cos(n * 0.11 + i) FROM generate_series(1, 16) i)::vector FROM generate_series(1, 4000) n;
CREATE TABLE q AS SELECT n AS id, ARRAY(SELECT sin((n + 0.5) * i * 0.37) + cos((n + 0.5) * 0.11 + i) FROM generate_series(1, 16) i)::vector AS val
    FROM generate_series(1, 4000, 40) n;
CREATE INDEX t_val ON t USING hnsw (val vector_l2_ops) WITH (target_recall = 0.98);
ANALYZE t;
SET enable_seqscan = off;

-- From PostgreSQL 18 on EXPLAIN (ANALYZE) names width and target of each scan.
CREATE FUNCTION of_plan(query text, VARIADIC names text[]) RETURNS TABLE (name text, value jsonb) LANGUAGE plpgsql AS $$
DECLARE
    plan jsonb;
BEGIN
    EXECUTE 'EXPLAIN (ANALYZE, FORMAT json) ' || query INTO plan;
    RETURN QUERY SELECT n, line FROM unnest(names) WITH ORDINALITY u(n, place),
        LATERAL jsonb_path_query(plan, format('strict $.**.%I', n)::jsonpath) line ORDER BY place;
END $$;
CREATE FUNCTION lines(query text) RETURNS text LANGUAGE sql AS $$
    SELECT CASE WHEN current_setting('server_version_num')::int >= 180000 THEN
        (SELECT coalesce(string_agg(name || ': ' || trim_scale(value::text::numeric), ', '), 'none') FROM of_plan(query, 'Search Width', 'Target Recall')) END $$;
CREATE FUNCTION shows(query text, expected text) RETURNS boolean LANGUAGE sql AS $$ SELECT coalesce(lines(query) ~ ('^' || expected || '$'), true) $$;
\set nearest 'SELECT id FROM t ORDER BY val <-> (SELECT val FROM q LIMIT 1) LIMIT 10'
SELECT shows(:'nearest', 'Search Width: \d+, Target Recall: 0.98');
SET hnsw.target_recall = 0.9;
SELECT shows(:'nearest', 'Search Width: \d+, Target Recall: 0.9');
SET hnsw.ef_search = 123;
SELECT shows(:'nearest', 'Search Width: 123');
RESET hnsw.ef_search;
RESET hnsw.target_recall;
-- The line is the width that hnsw_last_search() tells, and no line of a scan that never began.
SELECT coalesce(substring(line FROM 'Search Width: (\d+),')::int = (SELECT width FROM hnsw_last_search()), true) AS same
    FROM (SELECT lines(:'nearest') AS line OFFSET 0) l;
SELECT shows('SELECT q.id, n.id FROM (SELECT * FROM q WHERE id < 0) q CROSS JOIN LATERAL (SELECT id FROM t ORDER BY val <-> q.val LIMIT 3) n', 'none');

-- The planner takes the measured visits, where a target gives the width. A visit costs so much in memory.
CREATE FUNCTION cost(query text) RETURNS float8 LANGUAGE plpgsql AS $$
DECLARE
    plan jsonb;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
    RETURN jsonb_path_query_first(plan, '$.**."Plans"[*] ? (@."Node Type" == "Index Scan")."Startup Cost"');
END $$;
CREATE FUNCTION planned_visits() RETURNS float8 LANGUAGE sql AS $$
    SELECT cost('SELECT id FROM t ORDER BY val <-> ''[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]'' LIMIT 10')
        / (current_setting('cpu_index_tuple_cost')::float8 + (4 + 16 / 32.0) * current_setting('cpu_operator_cost')::float8) $$;
CREATE FUNCTION search(query vector, OUT width int, OUT visits float8) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM id FROM t ORDER BY t.val <-> query LIMIT 10;
    SELECT s.width, s.nodes_visited INTO search.width, search.visits FROM hnsw_last_search() s;
END $$;
CREATE TABLE seen (target float8, width int, visits float8, planned float8);
DO $$
DECLARE
    t float8;
BEGIN
    FOREACH t IN ARRAY '{0.9,0.98,0.999}'::float8[] LOOP
        PERFORM set_config('hnsw.target_recall', t::text, false);
        INSERT INTO seen SELECT t, min(s.width), avg(s.visits), planned_visits() FROM q, search(q.val) s;
    END LOOP;
END $$;
RESET hnsw.target_recall;
SELECT target, planned / visits BETWEEN 0.7 AND 1.3 AS as_measured, width > coalesce(lag(width) OVER w, 0) AS wider,
        planned > coalesce(lag(planned) OVER w, 0) AS dearer FROM seen WINDOW w AS (ORDER BY target) ORDER BY target;
-- With a width of the session or of the index it takes its model.
SET hnsw.ef_search = 40;
SELECT planned_visits() AS by_model \gset
RESET hnsw.ef_search;
ALTER INDEX t_val SET (ef_search = 40);
SELECT planned_visits() = :by_model AS same;
SET hnsw.target_recall = 0.999;
SELECT planned_visits() = (SELECT planned FROM seen WHERE target = 0.999) AS same;
RESET hnsw.target_recall;
ALTER INDEX t_val RESET (ef_search, target_recall);
SELECT planned_visits() = :by_model AS same;
ALTER INDEX t_val SET (target_recall = 0.98);
SELECT planned_visits() = (SELECT planned FROM seen WHERE target = 0.98) AS same;
-- Without a measurement a target has the default's width and costs.
CREATE TABLE few (id int PRIMARY KEY, val vector(16));
INSERT INTO few SELECT * FROM t WHERE id <= 500;
CREATE INDEX few_val ON few USING hnsw (val vector_l2_ops);
ANALYZE few;
SELECT cost('SELECT id FROM few ORDER BY val <-> ''[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]'' LIMIT 10') AS unmeasured \gset
ALTER INDEX few_val SET (target_recall = 0.98);
SELECT cost('SELECT id FROM few ORDER BY val <-> ''[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]'' LIMIT 10') = :unmeasured AS same;

-- Each partition is measured and has a width of its own; the target comes with the index of the whole.
CREATE TABLE parted (id int, val vector(16)) PARTITION BY RANGE (id);
CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (2001);
CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (2001) TO (10000);
INSERT INTO parted SELECT * FROM t;
CREATE INDEX parted_val ON parted USING hnsw (val vector_l2_ops) WITH (target_recall = 0.97);
CREATE TABLE parted_3 PARTITION OF parted FOR VALUES FROM (10000) TO (20000);
ANALYZE parted;
SELECT index, target_recall, recall IS NOT NULL AS measured FROM hnsw_index_health WHERE "table"::text LIKE 'parted%' ORDER BY 1;
\set nearest 'SELECT id FROM parted ORDER BY val <-> (SELECT val FROM q LIMIT 1) LIMIT 10'
SELECT shows(:'nearest', '(Search Width: \d+, ){3}(Target Recall: 0.97(, )?){3}');
SELECT error_of('ALTER INDEX parted_val SET (target_recall = 0.9)') LIKE '42809 %' AS refused;
ALTER INDEX parted_2_val_idx SET (target_recall = 0.8);
SELECT shows(:'nearest', '(Search Width: \d+, ){3}Target Recall: 0.97, Target Recall: 0.8, Target Recall: 0.97');
ALTER INDEX parted_1_val_idx SET (ef_search = 33);
SELECT shows(:'nearest', 'Search Width: 33, Search Width: \d+, Search Width: 40, Target Recall: 0.8, Target Recall: 0.97');
BEGIN;
SET LOCAL hnsw.target_recall = 0.6;
SELECT shows(:'nearest', '(Search Width: \d+, ){3}(Target Recall: 0.6(, )?){3}');
SAVEPOINT s;
SET LOCAL hnsw.ef_search = 50;
SELECT shows(:'nearest', 'Search Width: 50, Search Width: 50, Search Width: 50');
ROLLBACK TO s;
SELECT shows(:'nearest', '(Search Width: \d+, ){3}(Target Recall: 0.6(, )?){3}');
COMMIT;
SELECT shows(:'nearest', 'Search Width: 33, Search Width: \d+, Search Width: 40, Target Recall: 0.8, Target Recall: 0.97');

-- A function's own target lasts as long as the function, and a plan kept for later takes the target of each execution.
CREATE FUNCTION aims(OUT target float8) LANGUAGE plpgsql SET hnsw.target_recall = 0.75 AS $$
BEGIN
    PERFORM id FROM t ORDER BY val <-> (SELECT val FROM q LIMIT 1) LIMIT 10;
    SELECT target_recall INTO target FROM hnsw_last_search();
END $$;
SELECT target FROM aims();
SHOW hnsw.target_recall;
SET plan_cache_mode = force_generic_plan;
PREPARE nearest(vector) AS SELECT count(*) FROM (SELECT id FROM t ORDER BY val <-> $1 LIMIT 10) n;
EXECUTE nearest('[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]');
SELECT target_recall FROM hnsw_last_search();
SET hnsw.target_recall = 0.95;
EXECUTE nearest('[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]');
SELECT target_recall FROM hnsw_last_search();

-- Conditions on filter columns take a wider search, where a target gives the width.
RESET hnsw.target_recall;
CREATE TABLE filtered AS SELECT id, id % 4 AS kind, val FROM t;
CREATE INDEX filtered_val ON filtered USING hnsw (val vector_l2_ops, kind) WITH (target_recall = 0.98);
ANALYZE filtered;
CREATE FUNCTION width(condition text, OUT width int) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SELECT count(*) FROM (SELECT id FROM filtered WHERE %s ORDER BY val <-> (SELECT val FROM q LIMIT 1) LIMIT 10) n', condition);
    SELECT s.width INTO width FROM hnsw_last_search() s;
END $$;
SELECT width('kind < 2') - width('true') AS more, width('id > 0') = width('true') AS same;
SELECT hnsw_recall('filtered_val', (SELECT array_agg(val) FROM q)) > 0.96 AS reached;
SET hnsw.ef_search = 40;
SELECT width('kind < 2'), width('true');
RESET hnsw.ef_search;
SET hnsw.target_recall = 0.9999;
SELECT width('kind < 2') <= 1000 AS bounded;
RESET hnsw.target_recall;

-- So do a LIMIT of more rows, and a condition that the index does not know: the tenth row that meets it is about the hundredth.
CREATE FUNCTION width_for(query text, OUT width int) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE query;
    SELECT s.width INTO width FROM hnsw_last_search() s;
END $$;
ALTER TABLE t ADD tenth boolean GENERATED ALWAYS AS (id % 10 = 3) STORED;
ANALYZE t;
\set nearest 'ORDER BY val <-> (SELECT val FROM q LIMIT 1)'
SELECT width_for('SELECT id FROM t ' || :'nearest' || ' LIMIT 10') AS ten, width_for('SELECT id FROM t ' || :'nearest' || ' LIMIT 100') AS hundred \gset
SELECT :ten < 100 AS narrow, :hundred >= 100 AS wide;
SELECT width_for('SELECT id FROM t ' || :'nearest' || ' LIMIT 3') = :ten AS same, width_for('SELECT id FROM t ' || :'nearest' || ' LIMIT 10 OFFSET 90') = :hundred AS by_offset,
    width_for('SELECT id FROM t ' || :'nearest' || ' LIMIT 30') BETWEEN :ten + 1 AND :hundred - 1 AS between,
    width_for('SELECT id FROM t ' || :'nearest' || ' LIMIT 2000') AS most;
-- About as many are read as the tenth of them takes on average, and their standard deviation.
SELECT width_for('SELECT id FROM t WHERE tenth ' || :'nearest' || ' LIMIT 10') BETWEEN width_for('SELECT id FROM t ' || :'nearest' || ' LIMIT 120')
        AND width_for('SELECT id FROM t ' || :'nearest' || ' LIMIT 140') AS of_a_tenth,
    width_for('SELECT id FROM t WHERE id > 0 ' || :'nearest' || ' LIMIT 10') = :ten AS of_all,
    width_for('SELECT id FROM t WHERE val <-> (SELECT val FROM q LIMIT 1) < 1 ' || :'nearest' || ' LIMIT 10') = :ten AS within;
PREPARE nearest_of(int) AS SELECT id FROM t ORDER BY val <-> (SELECT val FROM q LIMIT 1) LIMIT $1;
SELECT width_for('EXECUTE nearest_of(10)') = :ten AS ten, width_for('EXECUTE nearest_of(100)') = :hundred AS hundred;
PREPARE page_of(int, int) AS SELECT id FROM t ORDER BY val <-> (SELECT val FROM q LIMIT 1) LIMIT $1 OFFSET $2;
PREPARE later(int) AS SELECT id FROM t ORDER BY val <-> (SELECT val FROM q LIMIT 1) LIMIT 10 OFFSET $1;
SET plan_cache_mode = force_generic_plan;
SELECT width_for('EXECUTE nearest_of(100)') = :hundred AS hundred, width_for('EXECUTE page_of(10, 90)') = :hundred AS by_offset,
    width_for('EXECUTE page_of(10, NULL)') = :ten AS without, width_for('EXECUTE later(90)') = :hundred AS later, width_for('EXECUTE later(0)') = :ten AS first;
RESET plan_cache_mode;
-- A width that is set is wider for a LIMIT beyond it, unless the scan ends after one round, at a radius, or at a bound that is set.
SET hnsw.ef_search = 40;
SELECT width_for('SELECT id FROM t ' || :'nearest' || ' LIMIT 40') AS as_set, width_for('SELECT id FROM t ' || :'nearest' || ' LIMIT 100') AS wider,
    width_for('EXECUTE nearest_of(60)') AS by_parameter,
    width_for('SELECT id FROM t WHERE val <-> (SELECT val FROM q LIMIT 1) < 1 ' || :'nearest' || ' LIMIT 100') AS within;
-- Nobody knows how many rows of a LIMIT another one reads, or a cursor.
SELECT width_for('SELECT id FROM (SELECT id FROM t ' || :'nearest' || ' LIMIT 100) n LIMIT 10') AS below_another;
CREATE FUNCTION width_of_cursor(OUT width int) LANGUAGE plpgsql AS $$
DECLARE
    rows CURSOR FOR SELECT id FROM t ORDER BY val <-> (SELECT val FROM q LIMIT 1) LIMIT 100;
BEGIN
    OPEN rows;
    FETCH rows INTO width;
    CLOSE rows;
    SELECT s.width INTO width FROM hnsw_last_search() s;
END $$;
SELECT width_of_cursor();
SET hnsw.iterative_scan = off;
SELECT width_for('SELECT id FROM t ' || :'nearest' || ' LIMIT 100') AS one_round;
RESET hnsw.iterative_scan;
SET hnsw.max_scan_tuples = 500;
SELECT width_for('SELECT id FROM t ' || :'nearest' || ' LIMIT 100') AS bounded;
RESET hnsw.max_scan_tuples;
RESET hnsw.ef_search;
-- Partitions that are merged share the rows, but for a target, because one of them may have all of the nearest. The first is wider
-- than its own 33, the second has the width of 150 rows, and the third is empty.
SELECT shows('SELECT id FROM parted ' || :'nearest' || ' LIMIT 150', 'Search Width: 73, Search Width: 150, Search Width: 40, Target Recall: 0.8, Target Recall: 0.97');
DROP TABLE few, filtered, parted;
