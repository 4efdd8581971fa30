-- Scans of an index of vectors that a bitmap of other indexes filters.
SET max_parallel_maintenance_workers = 0;
SELECT setseed(0.25);
CREATE TABLE items (id int PRIMARY KEY, tenant int, lang text, tags int[], n int, note text, embedding vector(8));
INSERT INTO items SELECT i, i % 40, (ARRAY['de', 'en', 'fr', 'it'])[1 + i / 40 % 4], ARRAY[i % 30, 100 + i % 7], i / 40,
        repeat('x', 200), CASE WHEN i % 50 > 0 THEN (SELECT array_agg(random() + 0 * i * j) FROM generate_series(1, 8) j)::vector END
    FROM generate_series(1, 10000) i;
CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops);
CREATE INDEX items_tenant ON items (tenant);
CREATE INDEX items_lang ON items (lang);
CREATE INDEX items_tags ON items USING gin (tags);
CREATE INDEX items_parity ON items ((n * 7 % 11));
CREATE INDEX items_rare ON items (n) WHERE lang = 'it';
VACUUM ANALYZE items;

-- Settings that lead to a way: rows on pages that no cache holds cost much, so rows are passed over before they are read; or a
-- search costs much, so rows are read and sorted; or numbers of rows decide.
CREATE FUNCTION way(name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('hnsw.enable_bitmap_filter', CASE name WHEN 'none' THEN 'off' ELSE 'on' END, false),
        set_config('enable_indexscan', CASE name WHEN 'none' THEN 'off' ELSE 'on' END, false),
        set_config('enable_sort', CASE name WHEN 'none' THEN 'on' ELSE 'off' END, false),
        set_config('enable_seqscan', CASE name WHEN 'none' THEN 'on' ELSE 'off' END, false),
        set_config('cpu_tuple_cost', CASE name WHEN 'graph' THEN '100' ELSE '0.01' END, false),
        set_config('effective_cache_size', CASE name WHEN 'graph' THEN '8kB' ELSE '4GB' END, false),
        set_config('cpu_index_tuple_cost', CASE name WHEN 'exact' THEN '1' ELSE '0.005' END, false),
        set_config('hnsw.ef_search', CASE name WHEN 'exact' THEN '1000' ELSE '200' END, false);
END $$;

-- The ways that a query takes.
CREATE FUNCTION ways(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    line text;
    found text := '';
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || query LOOP
        found := found || coalesce(substring(line FROM '(HNSW Bitmap Scan|Exact Searches: \d+|Graph Searches: \d+|Lossy Bitmap Pages)') || ' ', '');
    END LOOP;
    RETURN found;
END $$;

-- Whether a query returns the rows and distances that it returns without the index.
CREATE FUNCTION compare(query text) RETURNS TABLE (exact text, graph text) LANGUAGE plpgsql AS $$
DECLARE
    expected text;
    got text;
    name text;
    answers text[] := '{}';
BEGIN
    PERFORM way('none');
    EXECUTE 'SELECT string_agg(r::text, '' '') FROM (' || query || ') r' INTO expected;
    FOREACH name IN ARRAY ARRAY['exact', 'graph'] LOOP
        PERFORM way(name);
        EXECUTE 'SELECT string_agg(r::text, '' '') FROM (' || query || ') r' INTO got;
        answers := answers || concat(CASE WHEN got IS NOT DISTINCT FROM expected THEN 'same, ' ELSE 'DIFFERENT, ' END, ways(query));
    END LOOP;
    RETURN QUERY SELECT answers[1], answers[2];
END $$;

CREATE FUNCTION q() RETURNS text IMMUTABLE LANGUAGE sql RETURN '''[.5,.5,.5,.5,.5,.5,.5,.5]''';
SELECT q() AS q \gset
CREATE VIEW conditions AS SELECT * FROM unnest(ARRAY[
    'tenant = 7',
    'tenant = 7 AND lang = ''de''',
    'tenant IN (1, 2, 3)',
    'tenant < 4',
    'tenant = 7 OR tags @> ''{3}''',
    'tags @> ''{3}''',
    'tags @> ''{3, 101}''',
    'n * 7 % 11 = 3',
    'lang = ''it'' AND n < 100',
    'tenant = 7 AND n % 5 = 0',
    format('tenant = 7 AND embedding <-> %s < 0.6', q())
]) condition;

-- Plans
SELECT way('graph');
EXPLAIN (COSTS OFF) SELECT id FROM items WHERE tenant = 7 ORDER BY embedding <-> :q LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM items WHERE tenant = 7 AND lang = 'de' ORDER BY embedding <-> :q LIMIT 5;
SELECT way('exact');
EXPLAIN (COSTS OFF) SELECT id FROM items WHERE tenant = 7 AND lang = 'de' ORDER BY embedding <-> :q LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM items WHERE (tenant = 7 OR tags @> '{3}') AND n > 5 ORDER BY embedding <-> :q LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM items WHERE n * 7 % 11 = 3 ORDER BY embedding <-> :q LIMIT 5;
EXPLAIN (COSTS OFF) SELECT id FROM items WHERE lang = 'it' AND n < 10 ORDER BY embedding <-> :q LIMIT 5;
-- Hidden distances are left out, shown ones are not.
EXPLAIN (COSTS OFF, VERBOSE) SELECT id FROM items WHERE tenant = 7 ORDER BY embedding <-> :q LIMIT 5;
EXPLAIN (COSTS OFF, VERBOSE) SELECT embedding <-> :q, id FROM items WHERE tenant = 7 ORDER BY embedding <-> :q LIMIT 5;
-- Settings that take the plan away
SELECT way('graph');
SET hnsw.enable_bitmap_filter = off;
EXPLAIN (COSTS OFF) SELECT id FROM items WHERE tenant = 7 ORDER BY embedding <-> :q LIMIT 5;
RESET hnsw.enable_bitmap_filter;
SET enable_bitmapscan = off;
SELECT * FROM plan('SELECT id FROM items WHERE tenant = 7 ORDER BY embedding <-> ' || q() || ' LIMIT 5');
RESET enable_bitmapscan;
-- No condition with an index, no order, another order
SELECT ways('SELECT id FROM items WHERE note < ''y'' ORDER BY embedding <-> ' || q() || ' LIMIT 5');
SELECT ways('SELECT id FROM items WHERE tenant = 7 LIMIT 5');
SELECT ways('SELECT id FROM items WHERE tenant = 7 ORDER BY embedding <=> ' || q() || ' LIMIT 5');

-- Few rows
SELECT condition, (compare(format('SELECT id, embedding <-> %s AS d FROM items WHERE %s ORDER BY embedding <-> %1$s LIMIT 5', q(), condition))).*
    FROM conditions;
-- As many rows as there are, so with those without a vector
SELECT condition, (compare(format('SELECT count(*), count(d), count(DISTINCT id), max(d), (array_agg(d))[count(*)] FROM (
        SELECT id, embedding <-> %s AS d FROM items WHERE %s ORDER BY embedding <-> %1$s LIMIT 9000 - (SELECT 1)) r', q(), condition))).*
    FROM conditions;
-- Rows behind an offset
SELECT (compare('SELECT id FROM items WHERE tenant = 7 ORDER BY embedding <-> ' || q() || ' OFFSET 240 - (SELECT 1) LIMIT 6')).*;

-- Bitmaps that have blocks only as a whole
SET work_mem = '64kB';
CREATE TABLE wide (id int, tenant int, filler text, embedding vector(3));
ALTER TABLE wide ALTER filler SET STORAGE PLAIN;
INSERT INTO wide SELECT i, i % 3, repeat('x', 1500), ARRAY[i * 7919 % 8009, i * 104729 % 8011, 1] FROM generate_series(1, 8000) i;
CREATE INDEX wide_embedding ON wide USING hnsw (embedding vector_l2_ops);
CREATE INDEX wide_tenant ON wide (tenant);
CREATE INDEX wide_id ON wide USING brin (id) WITH (pages_per_range = 1);
VACUUM ANALYZE wide;
SELECT condition, (compare(format('SELECT id FROM wide WHERE %s ORDER BY embedding <-> ''[4000,4000,1]'' LIMIT 5', condition))).*,
        (compare(format('SELECT count(*), sum(id) FROM (SELECT id FROM wide WHERE %s ORDER BY embedding <-> ''[4000,4000,1]'' LIMIT 9000 - (SELECT 1)) r', condition))).*
    FROM unnest(ARRAY['tenant = 1', 'id BETWEEN 1000 AND 1100']) condition;
RESET work_mem;
SELECT (compare('SELECT id FROM wide WHERE id BETWEEN 1000 AND 1100 ORDER BY embedding <-> ''[4000,4000,1]'' LIMIT 5')).*;

-- Generic plans: the number of rows is known when the plan runs.
CREATE TABLE skewed (id int, tenant int, embedding vector(3));
INSERT INTO skewed SELECT i, CASE WHEN i <= 7000 THEN 0 ELSE i % 100 END, ARRAY[i * 7919 % 8009, i * 104729 % 8011, 1] FROM generate_series(1, 8000) i;
CREATE INDEX skewed_embedding ON skewed USING hnsw (embedding vector_l2_ops);
CREATE INDEX skewed_tenant ON skewed (tenant);
VACUUM ANALYZE skewed;
SELECT way('any');
SET plan_cache_mode = force_generic_plan;
PREPARE nearest(int, vector, int) AS SELECT id FROM skewed WHERE tenant = $1 ORDER BY embedding <-> $2 LIMIT $3;
SELECT ways('EXECUTE nearest(1, ''[4000,4000,1]'', 5)'), ways('EXECUTE nearest(0, ''[4000,4000,1]'', 5)'), ways('EXECUTE nearest(-1, ''[4000,4000,1]'', 5)');
EXECUTE nearest(1, '[4000,4000,1]', 5);
EXECUTE nearest(0, '[4000,4000,1]', 5);
EXECUTE nearest(1, '[1,1,1]', 2);
EXECUTE nearest(1, NULL, 2);
EXECUTE nearest(NULL, '[1,1,1]', 2);
EXECUTE nearest(1, '[1,1]', 2);
EXECUTE nearest(0, '[1,1]', 2);
SELECT way('none');
PREPARE without(int, vector, int) AS SELECT id FROM skewed WHERE tenant = $1 ORDER BY embedding <-> $2 LIMIT $3;
EXECUTE without(1, '[4000,4000,1]', 5);
EXECUTE without(0, '[4000,4000,1]', 5);
EXECUTE without(1, '[1,1,1]', 2);
RESET plan_cache_mode;

-- A range with an unknown end may be of few rows: a plan for all values is one that few rows do not make slow, and the planner makes
-- another for each value, where it knows better.
CREATE TABLE dated (id int, day int, hour int, embedding vector(3));
INSERT INTO dated SELECT i, i * 7 % 1000, i % 24, ARRAY[i * 7919 % 8009, i * 104729 % 8011, 1] FROM generate_series(1, 20000) i;
CREATE INDEX dated_embedding ON dated USING hnsw (embedding vector_l2_ops);
CREATE INDEX dated_day ON dated (day);
VACUUM ANALYZE dated;
SELECT way('any');
PREPARE before(int) AS SELECT id FROM dated WHERE day < $1 ORDER BY embedding <-> '[4000,4000,1]' LIMIT 5;
PREPARE in_hours(int) AS SELECT id FROM dated WHERE hour < $1 ORDER BY embedding <-> '[4000,4000,1]' LIMIT 5;
SET plan_cache_mode = force_generic_plan;
EXPLAIN (COSTS OFF) EXECUTE before(3);
SELECT ways('EXECUTE before(3)'), ways('EXECUTE before(900)');
-- No other index answers it.
EXPLAIN (COSTS OFF) EXECUTE in_hours(3);
RESET plan_cache_mode;
DO $$ BEGIN FOR i IN 1..10 LOOP PERFORM ways('EXECUTE before(900)'); END LOOP; END $$;
SELECT generic_plans, custom_plans > 5 AS custom FROM pg_prepared_statements WHERE name = 'before';
SELECT way('none');

-- Rescans: each takes its own way.
SELECT way('any');
SELECT ways('SELECT p.tenant, near.id FROM (VALUES (0, ''[4000,4000,1]''::vector), (1, ''[4000,4000,1]''), (2, ''[9,9,9]''), (0, ''[1,2,3]'')) p (tenant, q),
    LATERAL (SELECT id FROM skewed WHERE skewed.tenant = p.tenant ORDER BY embedding <-> p.q LIMIT 2) near');
CREATE VIEW nearest_of_each AS SELECT p.tenant, near.id
    FROM (VALUES (0, '[4000,4000,1]'::vector), (1, '[4000,4000,1]'), (2, '[9,9,9]'), (0, '[1,2,3]')) p (tenant, q),
        LATERAL (SELECT id FROM skewed WHERE skewed.tenant = p.tenant ORDER BY embedding <-> p.q LIMIT 2) near;
SELECT * FROM nearest_of_each;
SELECT way('none');
SELECT * FROM nearest_of_each;

-- Sub-plans in conditions and columns
SELECT left(exact, 4) AS exact, left(graph, 4) AS graph FROM compare('SELECT id, (SELECT count(*) FROM skewed s WHERE s.id < t.id AND s.id < 10) FROM items t
    WHERE tenant = 7 AND id NOT IN (SELECT id FROM skewed WHERE id % 2 = 0) ORDER BY embedding <-> ' || q() || ' LIMIT 5');

-- Nodes above
SELECT query, compared.* FROM (VALUES
    ('SELECT id, rank() OVER (ORDER BY embedding <-> %1$s) FROM items WHERE tenant = 7 ORDER BY embedding <-> %1$s LIMIT 5'),
    ('SELECT id FROM items WHERE tenant = 7 ORDER BY embedding <-> %1$s FETCH FIRST 5 ROWS WITH TIES'),
    ('SELECT * FROM (SELECT id, embedding <-> %1$s AS d FROM items WHERE tenant = 7 ORDER BY d LIMIT 5) a
        UNION ALL SELECT * FROM (SELECT id, embedding <-> %1$s AS d FROM items WHERE tenant = 8 ORDER BY d LIMIT 5) b')
) q (query), LATERAL compare(format(query, q())) compared;
SELECT query, left(exact, 4) AS exact, left(graph, 4) AS graph FROM (VALUES
    ('SELECT id FROM items WHERE tenant = 7 ORDER BY embedding <-> %1$s, id LIMIT 5'),
    ('SELECT i.id, s.id FROM items i JOIN skewed s USING (id) WHERE i.tenant = 7 ORDER BY i.embedding <-> %1$s LIMIT 5'),
    ('SELECT min(embedding <-> %1$s) FROM items WHERE tenant = 7'),
    ('SELECT DISTINCT embedding <-> %1$s AS d FROM items WHERE tenant = 7 ORDER BY d LIMIT 5'),
    ('SELECT DISTINCT ON (embedding <-> %1$s) id FROM items WHERE tenant = 7 ORDER BY embedding <-> %1$s LIMIT 5'),
    ('SELECT id FROM items WHERE tenant = 7 ORDER BY embedding <-> %1$s')
) q (query), LATERAL compare(format(query, q()));

-- Partitions
CREATE TABLE parts (id int, tenant int, lang text, embedding vector(8)) PARTITION BY LIST (lang);
CREATE TABLE parts_de PARTITION OF parts FOR VALUES IN ('de');
CREATE TABLE parts_en PARTITION OF parts FOR VALUES IN ('en');
INSERT INTO parts SELECT id, tenant, lang, embedding FROM items WHERE lang IN ('de', 'en');
CREATE INDEX ON parts USING hnsw (embedding vector_l2_ops);
CREATE INDEX ON parts (tenant);
VACUUM ANALYZE parts;
SELECT way('graph');
EXPLAIN (COSTS OFF) SELECT id FROM parts WHERE tenant = 7 ORDER BY embedding <-> :q LIMIT 5;
SELECT (compare('SELECT id, tableoid::regclass FROM parts WHERE tenant IN (7, 8) ORDER BY embedding <-> ' || q() || ' LIMIT 8')).*;

-- Row security: conditions of the policy are tested before those of the query.
CREATE FUNCTION seen(lang text) RETURNS boolean COST 0.0001 LANGUAGE plpgsql AS $$
BEGIN
    IF lang <> 'de' THEN RAISE EXCEPTION 'saw %', lang; END IF;
    RETURN true;
END $$;
CREATE ROLE bitmap_filter_user;
GRANT SELECT ON items TO bitmap_filter_user;
CREATE POLICY german ON items USING (lang = 'de' AND tenant < 20);
ALTER TABLE items ENABLE ROW LEVEL SECURITY;
SET ROLE bitmap_filter_user;
SELECT (compare('SELECT id FROM items WHERE tenant IN (5, 6, 7, 8) AND seen(lang) ORDER BY embedding <-> ' || q() || ' LIMIT 5')).*;
SELECT (compare('SELECT count(*) FROM (SELECT id FROM items WHERE tenant BETWEEN 19 AND 21 AND seen(lang) ORDER BY embedding <-> ' || q() || ' LIMIT 5000 - (SELECT 1)) r')).*;
RESET ROLE;
ALTER TABLE items DISABLE ROW LEVEL SECURITY;
DROP OWNED BY bitmap_filter_user;
DROP ROLE bitmap_filter_user;

-- An error in a condition keeps its context.
SELECT way('exact');
SELECT id FROM items WHERE tenant = 8 AND seen(lang) ORDER BY embedding <-> :q LIMIT 5;
SELECT way('graph');
SELECT id FROM items WHERE tenant = 8 AND seen(lang) ORDER BY embedding <-> :q LIMIT 5;

-- Cursors
SELECT way('exact');
BEGIN;
DECLARE forward_only CURSOR FOR SELECT id FROM items WHERE tenant = 7 ORDER BY embedding <-> '[.5,.5,.5,.5,.5,.5,.5,.5]' LIMIT 50;
FETCH 2 FROM forward_only;
DELETE FROM items WHERE id IN (SELECT id FROM items WHERE tenant = 7 ORDER BY embedding <-> :q LIMIT 3);
FETCH 2 FROM forward_only;
DECLARE scrolled SCROLL CURSOR FOR SELECT id FROM items WHERE tenant = 7 ORDER BY embedding <-> '[.5,.5,.5,.5,.5,.5,.5,.5]' LIMIT 50;
FETCH 2 FROM scrolled;
FETCH BACKWARD 1 FROM scrolled;
FETCH ABSOLUTE 1 FROM scrolled;
ROLLBACK;

-- Rows of this transaction: inserted, updated, deleted, rolled back
BEGIN;
INSERT INTO items (id, tenant, lang, n, embedding) VALUES (20001, 7, 'de', 0, '[.5,.5,.5,.5,.5,.5,.5,.5]'), (20002, 7, 'de', 0, NULL);
SAVEPOINT s;
INSERT INTO items (id, tenant, lang, n, embedding) VALUES (20003, 7, 'de', 0, '[.5,.5,.5,.5,.5,.5,.5,.5]');
ROLLBACK TO s;
UPDATE items SET note = 'hot' WHERE tenant = 7 AND id % 3 = 0;
UPDATE items SET tenant = 7, embedding = '[.5,.5,.5,.5,.5,.5,.5,.6]' WHERE id = 6;
UPDATE items SET tenant = 6 WHERE id = 4887;
DELETE FROM items WHERE id = 9247;
SELECT (compare('SELECT id, note, embedding <-> ' || q() || ' AS d FROM items WHERE tenant = 7 ORDER BY d LIMIT 6')).*;
SELECT way('graph');
SELECT id FROM items WHERE tenant = 7 ORDER BY embedding <-> :q LIMIT 3;
SELECT (compare('SELECT count(*), sum(id) FROM (SELECT id FROM items WHERE tenant = 7 ORDER BY embedding <-> ' || q() || ' LIMIT 5000 - (SELECT 1)) r')).*;
COMMIT;
SELECT (compare('SELECT id, note, embedding <-> ' || q() || ' AS d FROM items WHERE tenant = 7 ORDER BY d LIMIT 6')).*;

-- Chains of versions in a page (HOT), versions on others, dead rows, and rows that take their places
CREATE TABLE churned (id int, tenant int, counter int, embedding vector(3)) WITH (fillfactor = 50, autovacuum_enabled = off);
INSERT INTO churned SELECT i, i % 10, 0, ARRAY[i * 7919 % 4001, i * 104729 % 4003, 1] FROM generate_series(1, 3000) i;
CREATE INDEX churned_embedding ON churned USING hnsw (embedding vector_l2_ops);
CREATE INDEX churned_tenant ON churned (tenant);
ANALYZE churned;
CREATE VIEW churned_answers AS
    SELECT (compare('SELECT embedding <-> ''[2000,2000,1]'' AS d FROM churned WHERE tenant = 3 ORDER BY d LIMIT 3')).*
    UNION ALL SELECT (compare('SELECT count(*), sum(id), sum(counter) FROM (
        SELECT * FROM churned WHERE tenant = 3 ORDER BY embedding <-> ''[2000,2000,1]'' LIMIT 5000 - (SELECT 1)) r')).*;
UPDATE churned SET counter = counter + 1 WHERE id % 2 = 0;
UPDATE churned SET counter = counter + 1 WHERE id % 4 = 0;
SELECT * FROM churned_answers;
UPDATE churned SET tenant = 3 WHERE tenant = 4;
UPDATE churned SET embedding = '[2000,2000,1]' WHERE id % 100 = 3;
SELECT * FROM churned_answers;
DELETE FROM churned WHERE id % 5 = 3;
SELECT * FROM churned_answers;
VACUUM churned;
SELECT * FROM churned_answers;
INSERT INTO churned SELECT i, i % 10, 0, ARRAY[i * 7919 % 4001, i * 104729 % 4003, 1] FROM generate_series(3001, 4000) i;
SELECT * FROM churned_answers;
DELETE FROM churned WHERE tenant = 3;
SELECT left(exact, 4) AS exact, left(graph, 4) AS graph FROM churned_answers;

-- Locked rows, and rows changed by their order
SELECT way('exact');
BEGIN;
SELECT id FROM items WHERE tenant = 8 ORDER BY embedding <-> :q LIMIT 3 FOR UPDATE;
ROLLBACK;
SELECT way('graph');
BEGIN;
SELECT id FROM items WHERE tenant = 8 ORDER BY embedding <-> :q LIMIT 3 FOR UPDATE;
UPDATE items SET note = 'near' WHERE id IN (SELECT id FROM items WHERE tenant = 8 ORDER BY embedding <-> :q LIMIT 3) RETURNING id;
ROLLBACK;

-- The row that a cursor is at
SELECT way('exact');
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM items WHERE tenant = 8 ORDER BY embedding <-> :q;
FETCH 2 FROM c;
UPDATE items SET note = 'here' WHERE CURRENT OF c RETURNING id;
DELETE FROM items WHERE CURRENT OF c;
FETCH 1 FROM c;
DELETE FROM items WHERE CURRENT OF c RETURNING id;
ROLLBACK;
SELECT way('graph');
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM items WHERE tenant = 8 ORDER BY embedding <-> :q;
FETCH 2 FROM c;
UPDATE items SET note = 'here' WHERE CURRENT OF c RETURNING id;
DELETE FROM items WHERE CURRENT OF c;
FETCH 1 FROM c;
DELETE FROM items WHERE CURRENT OF c RETURNING id;
EXPLAIN (COSTS OFF) DECLARE d CURSOR FOR SELECT id FROM items WHERE tenant = 8 ORDER BY embedding <-> :q;
ROLLBACK;

-- A temporary table
CREATE TEMP TABLE own AS SELECT * FROM items;
CREATE INDEX ON own USING hnsw (embedding vector_l2_ops);
CREATE INDEX ON own (tenant);
ANALYZE own;
SELECT (compare('SELECT id FROM own WHERE tenant = 8 ORDER BY embedding <-> ' || q() || ' LIMIT 5')).*;

-- Other distances
CREATE INDEX items_cosine ON items USING hnsw (embedding vector_cosine_ops);
CREATE INDEX items_product ON items USING hnsw (embedding vector_ip_ops);
SELECT operator, (compare(format('SELECT id FROM items WHERE tenant = 8 ORDER BY embedding %s ''[1,2,3,4,5,6,7,8]'' LIMIT 5', operator))).*
    FROM unnest(ARRAY['<=>', '<#>', '<->']) operator;
