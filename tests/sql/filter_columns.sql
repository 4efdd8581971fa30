-- Filter columns: columns behind the vector of an index, whose conditions the index scan tests itself.
SET client_min_messages = warning;
SET max_parallel_maintenance_workers = 0;

CREATE TYPE mood AS ENUM ('low', 'mid', 'high');
CREATE DOMAIN tenant AS int CHECK (VALUE >= 0);
CREATE DOMAIN label AS varchar(20);
CREATE TABLE t (id int, v vector(4), b boolean, i2 smallint, i4 int, i8 bigint, f4 real, f8 double precision, n numeric, d date,
    ts timestamp, tz timestamptz, u uuid, x text, vc varchar(20), c text COLLATE "C", m mood, ia int[], ta text[], dom tenant, lab label, meta jsonb);
INSERT INTO t SELECT i, CASE WHEN i % 97 <> 0 THEN ARRAY[i * 7919 % 1009, i * 104729 % 1013, i * 1299709 % 1019, i * 611953 % 1021]::vector END,
    nullif(i % 3, 2)::boolean, nullif(i % 13, 7) - 6, nullif(i % 50, 7), nullif(i % 29, 7) * 10000000000 - 100000000000,
    ('{-Infinity,-1.5,-0.0,0.0,0.1,3,1e30,Infinity,NaN,NULL}'::real[])[1 + i % 10],
    ('{-Infinity,-1.5,-0.0,0.0,0.1,3,1e300,Infinity,NaN,NULL}'::double precision[])[1 + i % 10],
    ('{-Infinity,-1.5,0,0.1,0.10000000000000000000001,3,1e400,1e401,-1e500,Infinity,NaN,NULL,1e-400,0.000}'::numeric[])[1 + i % 14],
    CASE i % 23 WHEN 1 THEN 'infinity' WHEN 2 THEN '-infinity' WHEN 3 THEN NULL ELSE '2026-01-01'::date + i % 23 END,
    CASE i % 23 WHEN 1 THEN 'infinity' WHEN 2 THEN '-infinity' WHEN 3 THEN NULL ELSE '2026-01-01'::timestamp + i % 23 * interval '1 hour' END,
    CASE i % 23 WHEN 1 THEN 'infinity' WHEN 2 THEN '-infinity' WHEN 3 THEN NULL ELSE '2026-01-01 00:00+00'::timestamptz + i % 23 * interval '1 hour' END,
    CASE WHEN i % 17 <> 3 THEN ('00000000-0000-00' || lpad(to_hex(i % 17 / 2), 2, '0') || '-0000-0000000000' || lpad(to_hex(i % 17), 2, '0'))::uuid END,
    nullif('word ' || i % 19, 'word 3'), nullif('name' || i % 21, 'name3'), nullif('Key' || i % 19, 'Key3'),
    (ARRAY['low', 'mid', 'high', NULL]::mood[])[1 + i % 4],
    CASE i % 8 WHEN 0 THEN NULL WHEN 1 THEN '{}' WHEN 2 THEN ARRAY[NULL, i % 5] WHEN 3 THEN ARRAY[[i % 7, 1], [2, i % 11]]::int[]
        WHEN 4 THEN ARRAY(SELECT i * k % 37 FROM generate_series(1, 5 + i % 7) k) ELSE ARRAY[i % 30, i % 31] END,
    CASE i % 8 WHEN 0 THEN NULL WHEN 1 THEN '{}' WHEN 2 THEN ARRAY[NULL, 't' || i % 5] WHEN 3 THEN ARRAY[['t' || i % 7, 't1'], ['', 't' || i % 11]]
        WHEN 4 THEN ARRAY(SELECT 't' || i * k % 37 FROM generate_series(1, 5 + i % 7) k)
        ELSE ARRAY['t' || i % 30, 't' || i % 31] END,
    nullif(i % 9, 4), nullif('l' || i % 9, 'l4'), jsonb_build_object('lang', (ARRAY['de', 'en', 'fr', NULL])[1 + i % 4])
FROM generate_series(1, 700) i;

-- Compares an index scan with a sequential scan: whether it has conditions, the number of rows, and whether the complete answer (by passes over the
-- index, and by rounds of a search) and the nearest ten of a wide search are the same.
CREATE FUNCTION compared(source text, condition text, OUT by_index boolean, OUT rows int, OUT same boolean) LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_sort = off SET enable_bitmapscan = off AS $$
DECLARE
    query text := format('SELECT id, v <-> ''[500,500,500,500]'' AS distance FROM %s WHERE %s ORDER BY v <-> ''[500,500,500,500]''', source, condition);
    line text;
    expected int[];
    passes int[];
    rounds int[];
    nearest float8[];
    found float8[];
BEGIN
    by_index := false;
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query || ' LIMIT 10' LOOP
        by_index := by_index OR line LIKE '%Index Cond:%';
    END LOOP;
    EXECUTE format('SELECT array_agg(id ORDER BY id) FROM (%s) answer', query) INTO passes;
    EXECUTE format('SELECT array_agg(id ORDER BY id) FROM (%s LIMIT (SELECT 1000)) answer', query) INTO rounds;
    PERFORM set_config('hnsw.ef_search', '1000', true);
    EXECUTE format('SELECT array_agg(distance) FROM (%s LIMIT (SELECT 10)) answer', query) INTO found;
    PERFORM set_config('hnsw.ef_search', '40', true);
    PERFORM set_config('enable_indexscan', 'off', true), set_config('enable_seqscan', 'on', true), set_config('enable_sort', 'on', true);
    EXECUTE format('SELECT array_agg(id ORDER BY id) FROM (%s) answer', query) INTO expected;
    EXECUTE format('SELECT array_agg(distance ORDER BY distance) FROM (%s LIMIT 10) answer', query) INTO nearest;
    PERFORM set_config('enable_indexscan', 'on', true);
    rows := coalesce(cardinality(expected), 0);
    same := (passes, rounds, found) IS NOT DISTINCT FROM (expected, expected, nearest);
END $$;

-- Every comparison with every value.
CREATE FUNCTION comparisons(name text, type text, literals text[]) RETURNS SETOF text LANGUAGE sql AS $$
    SELECT format('%s %s %L::%s', name, op, literal, type) FROM unnest(literals) literal, unnest('{=,<,<=,>=,>}'::text[]) op
    UNION ALL SELECT format('%s BETWEEN %L::%s AND %L::%s', name, a, type, b, type) FROM unnest(literals) a, unnest(literals) b
    UNION ALL SELECT format('%s IN (%s)', name, string_agg(format('%L::%s', literal, type), ', ')) FROM unnest(literals) literal
    UNION ALL SELECT format('%s %s ANY (%L::%s[])', name, op, (literals[1:2] || NULL)::text, type) FROM unnest('{=,<,<=,>=,>}'::text[]) op
    UNION ALL SELECT format('%s %s ANY (%L::%s[])', name, op, list, type)
        FROM unnest('{=,<,<=,>=,>}'::text[]) op, unnest('{"{}","{NULL}"}'::text[]) list
    UNION ALL SELECT format('%s = ALL (%L::%s[])', name, literals[1:2], type)
    UNION ALL SELECT format('%s <> %L::%s', name, literals[1], type)
    UNION ALL SELECT name || what FROM unnest('{" IS NULL"," IS NOT NULL"}'::text[]) what
    UNION ALL SELECT format('%s = NULL::%s', name, type)
$$;
-- Compares them all; the conditions that are not the index's are shown.
CREATE FUNCTION checked(source text, conditions text[], OUT count bigint, OUT rows bigint, OUT others text, OUT wrong text) LANGUAGE sql AS $$
    SELECT count(*), sum(c.rows), string_agg(condition, '; ') FILTER (WHERE NOT by_index), string_agg(condition, '; ') FILTER (WHERE NOT same)
    FROM unnest(conditions) condition, compared(source, condition) c
$$;
-- The same with an index of one column, built over the rows and filled by inserts.
CREATE FUNCTION indexed(name text, conditions text[], OUT count bigint, OUT rows bigint, OUT others text, OUT wrong text) LANGUAGE plpgsql AS $$
DECLARE
    wrong_later text;
BEGIN
    EXECUTE format('CREATE INDEX t_filter ON t USING hnsw (v vector_l2_ops, %s)', name);
    ANALYZE t;
    SELECT * FROM checked('t', conditions) INTO count, rows, others, wrong;
    DROP INDEX t_filter;
    CREATE TABLE later (LIKE t);
    EXECUTE format('CREATE INDEX later_filter ON later USING hnsw (v vector_l2_ops, %s)', name);
    INSERT INTO later SELECT * FROM t;
    ANALYZE later;
    SELECT c.wrong FROM checked('later', conditions) c INTO wrong_later;
    wrong := coalesce(wrong, wrong_later);
    SELECT coalesce(wrong, string_agg(fault, '; ')) FROM hnsw_check('later_filter', true) INTO wrong;
    DROP TABLE later;
END $$;

-- Up to version 15 PostgreSQL makes no index conditions of b = true and b = false.
SELECT name, count, rows, CASE name WHEN 'b' THEN '..' ELSE others END AS others, wrong FROM (VALUES
    ('b', 'boolean', '{t,f}'::text[]),
    ('i2', 'smallint', '{-6,0,5,32767}'), ('i2', 'int', '{-6,0,5,70000}'), ('i2', 'bigint', '{-6,0,5,70000000000}'),
    ('i4', 'smallint', '{0,48,49,-1}'), ('i4', 'int', '{0,48,49,-1}'), ('i4', 'bigint', '{0,48,49,-70000000000}'),
    ('i8', 'smallint', '{0,48}'), ('i8', 'int', '{0,-1}'), ('i8', 'bigint', '{0,-100000000000,10000000000,9223372036854775807}'),
    ('f4', 'real', '{-Infinity,-1.5,-0,0.1,3,Infinity,NaN}'), ('f4', 'double precision', '{-Infinity,-1.5,0,0.1,3,1e300,NaN}'),
    ('f8', 'real', '{-Infinity,-1.5,0,0.1,3,Infinity,NaN}'), ('f8', 'double precision', '{-Infinity,-1.5,-0,0.1,1e300,Infinity,NaN}'),
    ('n', 'numeric', '{-Infinity,-1e501,0,0.1,0.10000000000000000000001,1e400,1e401,Infinity,NaN,1e-400,3.000}'),
    ('d', 'date', '{-infinity,infinity,2026-01-07,2026-01-30}'),
    ('ts', 'timestamp', '{-infinity,infinity,2026-01-01 07:00,2026-01-30}'),
    ('tz', 'timestamptz', '{-infinity,infinity,2026-01-01 07:00+00,2026-01-30}'),
    ('u', 'uuid', '{00000000-0000-0000-0000-000000000000,00000000-0000-0003-0000-000000000006,00000000-0000-0003-0000-000000000007,ffffffff-ffff-ffff-ffff-ffffffffffff}'),
    ('x', 'text', '{word 1,word 18,"",nothing}'), ('vc', 'varchar', '{name1,name20,""}'), ('vc', 'text', '{name1,name20}'),
    ('c', 'text', '{Key1,Key18,key1}'), ('m', 'mood', '{low,mid,high}'), ('dom', 'int', '{0,8,-1}'), ('dom', 'tenant', '{0,8}'),
    ('lab', 'varchar', '{l0,l8}')
) columns (name, type, literals), indexed(name, ARRAY(SELECT * FROM comparisons(name, type, literals))) result;
SELECT result.* FROM indexed('ia', ARRAY(
    SELECT format('ia %s %L::int[]', op, list) FROM unnest('{&&,@>}'::text[]) op,
        unnest('{"{}","{1}","{2,1}","{1,1,1}","{29,30}","{NULL}","{NULL,3}","{{1,2},{2,9}}","{-5}"}'::text[]) list
    UNION ALL SELECT unnest('{ia IS NULL,ia IS NOT NULL,ia && NULL,ia @> ARRAY[1] AND ia && ARRAY[2\,5],ARRAY[3] <@ ia}'::text[]))) result;
SELECT result.* FROM indexed('ta', ARRAY(
    SELECT format('ta %s %L::text[]', op, list) FROM unnest('{&&,@>}'::text[]) op,
        unnest('{"{}","{t1}","{t2,t1}","{t1,t1}","{t29,t30}","{NULL}","{NULL,t3}","{{t1,t2},{t2,t9}}","{none}","{\"\"}"}'::text[]) list
    UNION ALL SELECT unnest('{ta IS NULL,ta IS NOT NULL,ta @> ARRAY[''t1''] AND ta && ARRAY[''t2''\,''t5''],ARRAY[''t3''] <@ ta}'::text[]))) result;

-- Conditions of several columns, of columns without conditions, and of the vector itself.
CREATE INDEX t_four ON t USING hnsw (v vector_l2_ops, i4, x, b, ta);
ANALYZE t;
SELECT condition, c.* FROM (VALUES ('i4 = 7'), ('i4 = 8'), ('i4 < 20 AND i4 >= 10 AND x = ''word 5'''), ('b AND i4 > 40'), ('NOT b AND ta && ''{t2}'''),
    ('x IN (''word 1'', ''word 2'') AND i4 IN (1, 2, 3)'), ('i4 IS NULL AND x IS NOT NULL'), ('i4 > 10 AND i4 > 20 AND i4 <= 30 AND i4 < 30'),
    ('i4 IN (3, 5) AND i4 = 4'), ('i4 > 5 AND i4 < 3'), ('v IS NULL AND i4 < 25'), ('v IS NOT NULL AND i4 < 25'), ('i4 = 5 AND id % 2 = 0'),
    ('i4 = 5 AND v <-> ''[500,500,500,500]'' < 400'), ('v <-> ''[500,500,500,500]'' < 400'), ('i4 = 1 OR b'), ('i4 = (SELECT 6)'),
    ('i4 = ANY (ARRAY(SELECT id FROM t WHERE id < 5))'), ('i4 = id')) conditions (condition), compared('t', condition) c;
SET enable_seqscan = off;
SET enable_sort = off;
SELECT plan('SELECT id FROM t WHERE i4 = 7 AND x = ''word 5'' AND d > ''2026-01-01'' ORDER BY v <-> ''[1,1,1,1]'' LIMIT 10');
SELECT plan('SELECT id FROM t WHERE i4 IN (7, 9) AND ta && ''{t1}'' AND x IS NOT NULL ORDER BY v <-> ''[1,1,1,1]'' LIMIT 10');
-- Rows that do not match are not read from the table, except rows without a vector (7), and under conditions that the index cannot test.
CREATE FUNCTION removed(condition text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    line text;
    count int := 0;
BEGIN
    FOR line IN EXECUTE format('EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF, BUFFERS OFF)
        SELECT id FROM t WHERE %s ORDER BY v <-> ''[500,500,500,500]'' LIMIT (SELECT 1000)', condition) LOOP
        count := count + coalesce(substring(line FROM 'Rows Removed by .*: (\d+)')::int, 0);
    END LOOP;
    RETURN count;
END $$;
SELECT condition, removed(condition) FROM (VALUES ('i4 = 8'), ('i4 BETWEEN 3 AND 5'), ('i4 IS NULL'), ('x = ''word 5'''), ('x IN (''word 1'', ''word 2'')'),
    ('x < ''word 5'''), ('ta && ''{t1}'''), ('i4 = 8 AND id % 2 = 0')) conditions (condition);
SELECT count(*) FROM t WHERE NOT x < 'word 5' AND v IS NOT NULL;
-- Conditions that no row can meet take no search.
SET enable_seqscan = off;
SELECT id FROM t WHERE i4 > 5 AND i4 < 3 ORDER BY v <-> '[1,1,1,1]' LIMIT 10;
SELECT nodes_visited, pages FROM hnsw_last_search();
SELECT id FROM t WHERE i4 = ANY ('{NULL}') AND x = 'word 5' ORDER BY v <-> '[1,1,1,1]' LIMIT 10;
SELECT nodes_visited, pages FROM hnsw_last_search();
-- Without an order there is no such scan.
SELECT plan('SELECT id FROM t WHERE i4 = 8') LIKE '%Index%' AS by_index;
RESET enable_seqscan;
RESET enable_sort;

-- Updates of a value, of the vector and of neither; deletions; rows of the transaction, of savepoints that stay and that go.
UPDATE t SET i4 = 8 WHERE id % 10 = 0;
UPDATE t SET v = '[1,2,3,4]' WHERE id % 50 = 1;
UPDATE t SET d = d WHERE id % 7 = 0;
SELECT c.* FROM compared('t', 'i4 = 8') c;
DELETE FROM t WHERE id % 4 = 1;
SELECT condition, c.* FROM unnest('{i4 = 8,i4 < 10,x = ''word 4''}'::text[]) condition, compared('t', condition) c;
VACUUM t;
SELECT condition, c.* FROM unnest('{i4 = 8,i4 < 10,x = ''word 4''}'::text[]) condition, compared('t', condition) c;
SELECT * FROM hnsw_check('t_four', true);
BEGIN;
INSERT INTO t (id, v, i4, x) SELECT 1000 + i, ARRAY[i, 500, 500, 500]::vector, i % 10, 'word 4' FROM generate_series(1, 100) i;
SAVEPOINT a;
INSERT INTO t (id, v, i4, x) SELECT 2000 + i, ARRAY[i, 500, 500, 500]::vector, i % 10, 'word 4' FROM generate_series(1, 100) i;
ROLLBACK TO a;
INSERT INTO t (id, v, i4) VALUES (3000, '[500,500,500,500]', 8), (3001, '[500,500,500,500]', 9), (3002, NULL, 8), (3003, '[500,500,500,500]', NULL);
UPDATE t SET i4 = 9 WHERE id BETWEEN 1000 AND 1020;
SELECT condition, c.* FROM unnest('{i4 = 8,i4 < 10,x = ''word 4'',i4 IS NULL,i4 = 9 AND x = ''word 4''}'::text[]) condition, compared('t', condition) c;
COMMIT;
SELECT condition, c.* FROM unnest('{i4 = 8,i4 < 10,x = ''word 4'',i4 IS NULL,i4 = 9 AND x = ''word 4''}'::text[]) condition, compared('t', condition) c;
BEGIN;
INSERT INTO t (id, v, i4) SELECT 4000 + i, '[500,500,500,500]', 8 FROM generate_series(1, 20) i;
ROLLBACK;
SELECT c.* FROM compared('t', 'i4 = 8') c;
REINDEX INDEX t_four;
SELECT condition, c.* FROM unnest('{i4 = 8,i4 < 10,x = ''word 4'',i4 IS NULL}'::text[]) condition, compared('t', condition) c;
-- Equal vectors with other values are other rows.
CREATE TABLE equal (id int, v vector(2), tenant int);
INSERT INTO equal SELECT i, '[1,1]', i % 5 FROM generate_series(1, 300) i;
CREATE INDEX equal_v ON equal USING hnsw (v vector_l2_ops, tenant);
INSERT INTO equal SELECT i, '[1,1]', i % 5 FROM generate_series(301, 400) i;
SET enable_seqscan = off;
SELECT count(*), min(tenant), max(tenant) FROM (SELECT * FROM equal WHERE tenant = 3 ORDER BY v <-> '[1,1]') found;
SELECT count(*), min(tenant), max(tenant) FROM (SELECT * FROM equal WHERE tenant = 3 ORDER BY v <-> '[1,1]' LIMIT (SELECT 500)) found;
SELECT * FROM hnsw_check('equal_v', true);
RESET enable_seqscan;
-- The check compares values.
CREATE FUNCTION key_of(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN $1; END';
CREATE INDEX equal_key ON equal USING hnsw (v vector_l2_ops, (key_of(tenant)));
SELECT * FROM hnsw_check('equal_key', true);
CREATE OR REPLACE FUNCTION key_of(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN CASE $1 WHEN 4 THEN 5 ELSE $1 END; END';
SELECT count(*), min(fault COLLATE "C") FROM hnsw_check('equal_key', true);
DROP TABLE equal;

-- A value of an enum that is added later.
CREATE TABLE e (id int, v vector(4), m mood);
INSERT INTO e SELECT id, v, m FROM t WHERE id < 1000;
CREATE INDEX ON e USING hnsw (v vector_l2_ops, m);
ALTER TYPE mood ADD VALUE 'never' BEFORE 'low';
UPDATE e SET m = 'never' WHERE id % 5 = 0;
SELECT condition, c.* FROM unnest('{m = ''never'',m < ''low'',m >= ''never'',m = ''low'',"m IN (''never'', ''mid'')"}'::text[]) condition, compared('e', condition) c;

-- Kinds of tables and of builds, a domain over an array, and patterns that are equalities.
CREATE DOMAIN labels AS text[];
CREATE UNLOGGED TABLE unlogged (id int, v vector(4), x text COLLATE "C", l labels);
CREATE INDEX unlogged_v ON unlogged USING hnsw (v vector_l2_ops, x, l);
INSERT INTO unlogged SELECT id, v, x, ta FROM t WHERE id < 1000;
CREATE INDEX CONCURRENTLY unlogged_later ON unlogged USING hnsw (v vector_l2_ops, x, l);
DROP INDEX unlogged_v;
REINDEX INDEX CONCURRENTLY unlogged_later;
SELECT condition, c.* FROM (VALUES ('x LIKE ''word 5'''), ('x LIKE ''word 1%'''), ('l && ''{t1}'''), ('l @> ARRAY[''t2'', ''t3'']'), ('l IS NULL')) conditions (condition),
    compared('unlogged', condition) c;
SELECT * FROM hnsw_check('unlogged_later', true);
CREATE TEMP TABLE temporary (id int, v vector(4), d date) ON COMMIT DELETE ROWS;
CREATE INDEX temporary_v ON temporary USING hnsw (v vector_l2_ops, d);
BEGIN;
INSERT INTO temporary SELECT id, v, d FROM t WHERE id < 1000;
SELECT c.* FROM compared('temporary', 'd > ''2026-01-07'' AND d <= ''2026-01-15''') c;
COMMIT;
SELECT c.* FROM compared('temporary', 'd > ''2026-01-07''') c;

-- Collations: under one that calls different texts equal no text is excluded.
CREATE TABLE words (id int, v vector(4), w text, ws text[]);
INSERT INTO words SELECT i, ARRAY[i, i * 7 % 101, 1, 1]::vector, (ARRAY['Straße', 'STRASSE', 'a', 'A', 'á'])[1 + i % 5], ARRAY[(ARRAY['a', 'A', 'b'])[1 + i % 3]]
FROM generate_series(1, 200) i;
DO $$ BEGIN
    CREATE COLLATION folded (provider = icu, locale = 'und-u-ks-level1', deterministic = false);
EXCEPTION WHEN OTHERS THEN
    CREATE COLLATION folded FROM "C";
END $$;
ALTER TABLE words ALTER w TYPE text COLLATE folded, ALTER ws TYPE text[] COLLATE folded;
CREATE INDEX words_w ON words USING hnsw (v vector_l2_ops, w, ws);
SELECT condition, same FROM unnest(ARRAY['w = ''A''', 'w < ''b''', 'w IN (''strasse'', ''b'')', 'w = ''A'' COLLATE "C"', 'ws && ''{B}''', 'ws @> ''{A}''',
    'ws && ''{}''', 'w IS NULL']) condition, compared('words', condition) c;
SELECT * FROM hnsw_check('words_w', true);

-- Expressions and conditions of an index.
CREATE INDEX t_expression ON t USING hnsw (v vector_l2_ops, (meta ->> 'lang'), (i4 % 3)) WHERE d IS NOT NULL;
ANALYZE t;
SELECT condition, c.* FROM (VALUES ('d IS NOT NULL AND meta ->> ''lang'' = ''de'''), ('d IS NOT NULL AND meta ->> ''lang'' IN (''de'', ''fr'') AND i4 % 3 = 1'),
    ('d > ''2026-01-05'' AND meta ->> ''lang'' IS NULL'), ('meta ->> ''lang'' = ''de''')) conditions (condition), compared('t', condition) c;
SELECT pg_get_indexdef('t_expression'::regclass);
SELECT pg_get_indexdef('t_four'::regclass);
SELECT hnsw_recall('t_four', ARRAY['[500,500,500,500]', '[1,2,3,4]']::vector[]);

-- Parameters: of a join, of prepared statements with generic plans, of cursors.
SET enable_seqscan = off;
SET enable_sort = off;
SELECT i, array_agg(near.id ORDER BY near.id) = ARRAY(SELECT id FROM t WHERE i4 = i ORDER BY id) AS same
FROM generate_series(5, 8) i, LATERAL (SELECT id FROM t WHERE i4 = i ORDER BY v <-> '[500,500,500,500]' LIMIT 1000) near GROUP BY i ORDER BY i;
SET plan_cache_mode = force_generic_plan;
PREPARE nearest(int[], text, int) AS SELECT count(*), min(i4), max(i4) FROM (SELECT i4 FROM t WHERE i4 = ANY ($1) AND x = $2 ORDER BY v <-> '[500,500,500,500]' LIMIT $3) found;
EXPLAIN (COSTS OFF) EXECUTE nearest('{1,2}', 'word 4', 1000);
EXECUTE nearest('{1,2}', 'word 4', 1000);
EXECUTE nearest('{}', 'word 4', 1000);
EXECUTE nearest(NULL, 'word 4', 1000);
EXECUTE nearest('{1,2,NULL}', NULL, 1000);
EXECUTE nearest('{3,NULL}', 'word 4', NULL);
RESET plan_cache_mode;
BEGIN;
DECLARE c CURSOR FOR SELECT id FROM t WHERE i4 BETWEEN 8 AND 9 ORDER BY v <-> '[94.1,500,500,500]';
FETCH 3 FROM c;
MOVE ALL FROM c;
COMMIT;
RESET enable_seqscan;
RESET enable_sort;

-- Partitions and row-level security.
CREATE TABLE p (id int, v vector(4), i4 int, tenant int) PARTITION BY LIST (tenant);
CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);
CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2);
INSERT INTO p SELECT id, v, i4, 1 + id % 2 FROM t;
CREATE INDEX p_v ON p USING hnsw (v vector_l2_ops, i4, tenant);
ANALYZE p;
SELECT condition, c.* FROM unnest('{i4 = 8,"i4 IN (5, 6)",i4 < 10 AND tenant = 2}'::text[]) condition, compared('p', condition) c;
CREATE ROLE reader_of_filters;
GRANT SELECT ON t TO reader_of_filters;
ALTER TABLE t ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON t USING (i4 = current_setting('app.tenant')::int);
SET app.tenant = '8';
SET ROLE reader_of_filters;
SELECT c.* FROM compared('t', 'x = ''word 4''') c;
SELECT c.* FROM compared('t', 'true') c;
RESET ROLE;
DROP POLICY own ON t;
ALTER TABLE t DISABLE ROW LEVEL SECURITY;
REVOKE ALL ON t FROM reader_of_filters;
DROP ROLE reader_of_filters;

-- Other kinds of vectors, with and without codes.
CREATE TABLE kinds (id int, v vector(4), h halfvec(4), s sparsevec(4), bits bit(16), i4 int);
INSERT INTO kinds SELECT id, v, v::halfvec, v::sparsevec, (id * 7919 % 65536)::bit(16), i4 FROM t WHERE v IS NOT NULL;
CREATE INDEX kinds_h ON kinds USING hnsw (h halfvec_cosine_ops, i4);
CREATE INDEX kinds_s ON kinds USING hnsw (s sparsevec_l2_ops, i4);
CREATE INDEX kinds_b ON kinds USING hnsw (bits bit_hamming_ops, i4);
CREATE INDEX kinds_ip ON kinds USING hnsw (v vector_ip_ops, i4);
CREATE INDEX kinds_l1 ON kinds USING hnsw (v vector_l1_ops, i4);
ANALYZE kinds;
SET enable_seqscan = off;
SET enable_sort = off;
SELECT count(*), min(i4), max(i4) FROM (SELECT i4 FROM kinds WHERE i4 = 8 ORDER BY h <=> '[1,2,3,4]' LIMIT (SELECT 1000)) found;
SELECT count(*), min(i4), max(i4) FROM (SELECT i4 FROM kinds WHERE i4 = 8 ORDER BY s <-> '{1:1}/4' LIMIT (SELECT 1000)) found;
SELECT count(*), min(i4), max(i4) FROM (SELECT i4 FROM kinds WHERE i4 = 8 ORDER BY bits <~> '1010101010101010' LIMIT (SELECT 1000)) found;
SELECT count(*), min(i4), max(i4) FROM (SELECT i4 FROM kinds WHERE i4 = 8 ORDER BY v <#> '[1,2,3,4]' LIMIT (SELECT 1000)) found;
SELECT count(*), min(i4), max(i4) FROM (SELECT i4 FROM kinds WHERE i4 = 8 ORDER BY v <+> '[1,2,3,4]' LIMIT (SELECT 1000)) found;
SELECT index, count(fault) AS faults FROM unnest('{kinds_h,kinds_s,kinds_b,kinds_ip,kinds_l1}'::text[]) index
LEFT JOIN LATERAL hnsw_check(index::regclass, true) fault ON true GROUP BY index ORDER BY index;
RESET enable_seqscan;
RESET enable_sort;

-- Indexes that there cannot be.
CREATE TABLE refused (v vector(3), w halfvec(3), a int, b int, c int, d int, e int, j jsonb, bp char(3));
\set VERBOSITY default
CREATE INDEX ON refused USING hnsw (a, v vector_l2_ops);
CREATE INDEX ON refused USING hnsw (a);
CREATE INDEX ON refused USING hnsw (v vector_l2_ops, w halfvec_l2_ops);
CREATE INDEX ON refused USING hnsw (v vector_l2_ops, a, b, c, d, e);
CREATE INDEX ON refused USING hnsw (v vector_l2_ops, j);
CREATE INDEX ON refused USING hnsw (v vector_l2_ops, bp);
CREATE INDEX ON refused USING hnsw (v vector_l2_ops) INCLUDE (a);
CREATE INDEX ON refused USING hnsw (v vector_l2_ops, a DESC);
CREATE UNIQUE INDEX ON refused USING hnsw (v vector_l2_ops, a);
CREATE TABLE parted (v vector(3), a int) PARTITION BY LIST (a);
CREATE INDEX ON parted USING hnsw (a, v vector_l2_ops);
CREATE INDEX ON parted USING hnsw (v vector_l2_ops, v vector_ip_ops);
CREATE INDEX refused_v ON refused USING hnsw (v vector_l2_ops, a, b, c, d);
ALTER TABLE refused ALTER a TYPE bigint;
SELECT pg_get_indexdef('refused_v'::regclass);
SELECT * FROM hnsw_check('refused_v', true);

-- Operator classes that somebody else made.
CREATE OPERATOR CLASS own_int_ops FOR TYPE int USING hnsw AS OPERATOR 1 <, OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >,
    FUNCTION 1 hnsw_int4_support(internal);
CREATE OPERATOR CLASS wrong_int_ops FOR TYPE int USING hnsw AS OPERATOR 1 >, OPERATOR 3 =, FUNCTION 1 hnsw_int4_support(internal);
CREATE OPERATOR CLASS other_int_ops FOR TYPE int USING hnsw AS OPERATOR 3 =, FUNCTION 1 hnsw_int8_support(internal);
CREATE OPERATOR CLASS vector_int_ops FOR TYPE int USING hnsw AS OPERATOR 3 =, FUNCTION 1 hnsw_vector_l2_support(internal);
CREATE OPERATOR CLASS bare_int_ops FOR TYPE int USING hnsw AS OPERATOR 3 =;
CREATE OPERATOR CLASS order_int_ops FOR TYPE int USING hnsw AS OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops, FUNCTION 1 hnsw_int4_support(internal);
SET client_min_messages = info;
SELECT opcname, amvalidate(c.oid) FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod WHERE amname = 'hnsw' AND opcname LIKE '%\_int\_ops' ORDER BY opcname;
SET client_min_messages = warning;
DROP INDEX t_four, t_expression;
CREATE INDEX t_own ON t USING hnsw (v vector_l2_ops, i4 own_int_ops);
SELECT c.* FROM compared('t', 'i4 < 9') c;
DROP INDEX t_own;
CREATE INDEX t_wrong ON t USING hnsw (v vector_l2_ops, i4 wrong_int_ops);
SELECT condition, c.* FROM unnest('{i4 > 20,i4 = 8}'::text[]) condition, compared('t', condition) c;
DROP INDEX t_wrong;
CREATE INDEX ON t USING hnsw (v vector_l2_ops, i4 other_int_ops);
CREATE INDEX ON t USING hnsw (v vector_l2_ops, i4 vector_int_ops);
CREATE INDEX ON t USING hnsw (v vector_l2_ops, i4 bare_int_ops);
CREATE INDEX ON t USING hnsw (i4 own_int_ops);
CREATE FUNCTION alike(int, int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE STRICT AS 'BEGIN RETURN $1 % 2 = $2 % 2; END';
CREATE OPERATOR %= (LEFTARG = int, RIGHTARG = int, FUNCTION = alike);
CREATE OPERATOR CLASS odd_int_ops FOR TYPE int USING hnsw AS OPERATOR 3 %=, FUNCTION 1 hnsw_int4_support(internal);
CREATE INDEX t_odd ON t USING hnsw (v vector_l2_ops, i4 odd_int_ops);
SELECT condition, c.* FROM unnest('{i4 %= 3,i4 = 8}'::text[]) condition, compared('t', condition) c;
