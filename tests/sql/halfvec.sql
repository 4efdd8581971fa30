-- halfvec: text and binary form, the type modifier
SELECT '[1,2,3]'::halfvec, ' [ 1.5 ,-2,	+3e2 ] '::halfvec, '[0.1,0.333333,-0,65504,-65504]'::halfvec;
-- To the nearest half, ties to even
SELECT '[2049,2051,65519.99,1e-8,5.96e-8,2.9e-8,3e-8,1e-400]'::halfvec;
SELECT halfvec_send('[1,-2,0.1,65504]'), halfvec_send('[6e-8]') AS least;
CREATE TABLE halves (id int PRIMARY KEY, v halfvec(3));
INSERT INTO halves VALUES (1, '[1,2,3]'), (2, '[0.1,-0.2,65504]'), (3, NULL);
INSERT INTO halves VALUES (4, '[1,2]');
SELECT format_type(atttypid, atttypmod), atttypmod, attstorage FROM pg_attribute WHERE attrelid = 'halves'::regclass AND attname = 'v';
-- Through the binary form
CREATE TABLE copied (id int, v halfvec);
SELECT current_setting('data_directory') || '/halfvec.copy' AS file \gset
SELECT format('cat %1$s; rm %1$s', quote_literal(:'file')) AS read_and_remove \gset
COPY halves TO :'file' (FORMAT binary);
COPY copied FROM PROGRAM :'read_and_remove' (FORMAT binary);
SELECT count(*), bool_and(halves.v IS NOT DISTINCT FROM copied.v) AS equal FROM halves JOIN copied USING (id);
-- Stored short, plain, out of line
CREATE TABLE stored AS
SELECT n, array_agg(i % 100 - 50.5)::halfvec AS v FROM unnest(ARRAY[1, 2, 61, 62, 500, 5000, 16000]) n, generate_series(1, n) i GROUP BY n;
SELECT n, vector_dims(v), pg_column_size(v) AS size, subvector(v, n, 1) AS last, v::text::halfvec = v AS reads_back FROM stored ORDER BY n;
DROP TABLE copied, stored;

SELECT input, error_of(format('SELECT %L::halfvec', input)) FROM unnest(ARRAY['[65520]', '[-1e39]', '[nan]', '[-inf]', '[]', '[1,]',
    '[1', '1]', '[1]x', '', '[0x10]']) input;
SELECT error_of('SELECT ''[1]''::halfvec(' || modifier || ')') FROM unnest(ARRAY['0', '16001', '1,2', '2']) modifier;

-- Operators and functions
SELECT '[1,2]'::halfvec <-> '[4,6]' AS l2, '[1,2]'::halfvec <#> '[3,4]' AS ip, '[1,0]'::halfvec <=> '[0,1]' AS cosine,
    '[1,2]'::halfvec <+> '[3,-4]' AS l1;
SELECT '[0,0]'::halfvec <=> '[1,1]' AS of_zero, '[65504]'::halfvec <-> '[-65504]' AS largest, '[6e-8,0]'::halfvec <=> '[6e-8,6e-8]' AS least;
SELECT l2_distance('[0,0]'::halfvec, '[3,4]'::halfvec), inner_product('[1,2]'::halfvec, '[3,4]'::halfvec),
    cosine_distance('[1,1]'::halfvec, '[2,2]'::halfvec), l1_distance('[0,0]'::halfvec, '[3,-4]'::halfvec),
    halfvec_l2_squared_distance('[0,0]', '[3,4]'), halfvec_negative_inner_product('[1,2]', '[3,4]'),
    halfvec_spherical_distance('[1,0]', '[0,1]');
-- Every length, against the same sums in SQL
SELECT count(*) AS lengths, max(abs((a <-> b) - l2)) < 1e-5 AS l2, max(abs((a <#> b) + ip)) < 1e-4 AS inner_product,
    max(abs((a <=> b) - (1 - ip / sqrt(aa * bb)))) < 1e-6 AS cosine, max(abs((a <+> b) - l1)) < 1e-4 AS l1
FROM (
    SELECT array_agg(x ORDER BY i)::halfvec AS a, array_agg(y ORDER BY i)::halfvec AS b, sqrt(sum((x - y) ^ 2)) AS l2, sum(x * y) AS ip,
        sum(x * x) AS aa, sum(y * y) AS bb, sum(abs(x - y)) AS l1
    -- Multiples of 1/64: halves hold them
    FROM generate_series(1, 140) n, generate_series(1, n) i,
        LATERAL (SELECT (i * 37 + n) % 129 / 64.0 - 1 AS x, (i * 61 - n) % 127 / 64.0 AS y) element
    GROUP BY n
) sums;
SELECT '[1,2]'::halfvec + '[3,4]' AS add, '[1,2]'::halfvec - '[3,5]' AS sub, '[2,3]'::halfvec * '[4,-5]' AS mul,
    '[1,2]'::halfvec || '[3]' AS concat, '[0.1,65504]'::halfvec + '[0.2,1]' AS rounded, '[0,1e-7]'::halfvec * '[1e-7,0]' AS no_underflow;
SELECT vector_dims('[1,2,3]'::halfvec), l2_norm('[3,4]'::halfvec), l2_norm('[65504,65504]'::halfvec) AS large,
    l2_normalize('[3,4]'::halfvec), l2_normalize('[0,0]'::halfvec) AS zero, l2_normalize('[6e-8]'::halfvec) AS small,
    binary_quantize('[1,0,-1,0.5,6e-8,-0,0,0,1]'::halfvec), subvector('[1,2,3,4,5]'::halfvec, 2, 3), subvector('[1,2,3]'::halfvec, -1, 3) AS first;
SELECT expression, error_of('SELECT ' || expression) FROM unnest(ARRAY[
    '''[1,2]''::halfvec <-> ''[3]''', '''[1,2]''::halfvec <#> ''[3]''', '''[1,2]''::halfvec <=> ''[3]''', '''[1,2]''::halfvec <+> ''[3]''',
    '''[1,2]''::halfvec + ''[3]''', '''[65504]''::halfvec + ''[65504]''', '''[65504]''::halfvec - ''[-65504]''', '''[300]''::halfvec * ''[300]''',
    '''[1e-4]''::halfvec * ''[1e-4]''', 'subvector(''[1]''::halfvec, 2, 1)', 'vector_norm(''[1]''::halfvec)',
    'array_fill(0, ARRAY[9000])::halfvec || array_fill(0, ARRAY[9000])::halfvec']) AS expression;

-- Aggregates
CREATE TABLE numbered AS SELECT i, i % 4 AS part, ARRAY[i % 3, -(i % 2), 1]::halfvec(3) AS v FROM generate_series(1, 6000) i;
SELECT avg(v), sum(v) FROM numbered WHERE i <= 6;
SELECT avg(v), sum(v) FROM numbered WHERE false;
SELECT avg(v) FROM (VALUES ('[65504]'::halfvec), ('[65504]')) t (v);
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
ANALYZE numbered;
EXPLAIN (COSTS OFF) SELECT avg(v) FROM numbered;
SELECT part, avg(v) FROM numbered GROUP BY part ORDER BY part;
RESET ALL;
SELECT halfvec_accum('{0}', '[1,2]'), halfvec_accum('{1,1,2}', '[3,4]'), halfvec_combine('{1,2}', '{3,4}'), halfvec_avg('{2,1,2}'),
    halfvec_avg('{0}') IS NULL AS none;
SELECT expression, error_of('SELECT ' || expression) FROM unnest(ARRAY[
    'sum(v) FROM (VALUES (''[65504]''::halfvec), (''[65504]'')) t (v)', 'avg(v) FROM (VALUES (''[1]''::halfvec), (''[1,2]'')) t (v)',
    'halfvec_accum(''{}'', ''[1]'')', 'halfvec_accum(''{1,2}'', ''[1,2]'')', 'halfvec_combine(''{1,2}'', ''{1,2,3}'')',
    'halfvec_avg(''{1,65520}'')', 'halfvec_avg(''{1,1e60}'')', 'halfvec_avg(''{1,NaN}'')', 'halfvec_avg(''{1}'')']) AS expression;

-- Casts
SELECT ARRAY[1,2]::halfvec, ARRAY[0.1,2]::real[]::halfvec, ARRAY[0.1,1e-60]::float8[]::halfvec, ARRAY[0.1,2]::numeric[]::halfvec,
    '[0.1,2]'::halfvec::real[], '[0.1,2]'::halfvec::vector, '[0.1,65519]'::vector::halfvec, '[1,2]'::vector::halfvec(2);
-- A vector goes where a halfvec is wanted
SELECT pg_typeof('[1]'::vector || '[2]'::halfvec), '[1,2]'::vector <-> '[4,6]'::halfvec AS distance;
INSERT INTO halves VALUES (5, '[1,2,3]'::vector), (6, ARRAY[1,2,3]);
SELECT id, v FROM halves ORDER BY id;
SELECT expression, error_of('SELECT ' || expression) FROM unnest(ARRAY[
    'ARRAY[70000]::halfvec', 'ARRAY[-1e10]::float8[]::halfvec', 'ARRAY[1e60]::float8[]::halfvec', 'ARRAY[''NaN'']::real[]::halfvec',
    'ARRAY[1e6]::numeric[]::halfvec', '''[1e6]''::vector::halfvec', '''[65520]''::vector::halfvec', 'ARRAY[1,NULL]::halfvec', 'ARRAY[[1]]::halfvec',
    '''{}''::int[]::halfvec', 'array_fill(1, ARRAY[16001])::halfvec', 'ARRAY[1]::halfvec(2)', '''[1]''::vector::halfvec(2)',
    '''[1]''::halfvec::vector(2)', '''[1]''::halfvec::halfvec(2)', '''[1]''::halfvec <-> ARRAY[1]::real[]']) AS expression;
DROP TABLE halves;

-- Order
SELECT a, b, a < b AS lt, a <= b AS le, a = b AS eq, a <> b AS ne, a >= b AS ge, a > b AS gt, halfvec_cmp(a, b) AS cmp
FROM (VALUES ('[1,2]'::halfvec, '[1,2]'::halfvec), ('[1,2]', '[1,3]'), ('[2]', '[1,5]'), ('[1]', '[1,0]'), ('[-0]', '[0]'),
    ('[-65504]', '[65504]')) pairs (a, b);
CREATE TABLE ordered (v halfvec PRIMARY KEY);
INSERT INTO ordered VALUES ('[2]'), ('[1]'), ('[1,0]'), ('[-1,5]');
INSERT INTO ordered VALUES ('[1]');
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT v FROM ordered WHERE v > '[1]' ORDER BY v;
SELECT v FROM ordered WHERE v >= '[1]' ORDER BY v;
SELECT v FROM ordered ORDER BY v DESC;
RESET ALL;
DROP TABLE ordered, numbered;
