-- sparsevec: text and binary form, the type modifier
SELECT '{1:1.5,3:2}/5'::sparsevec, ' { 3 : 2 , 1 : +1.5e0 } / 5 '::sparsevec AS unsorted, '{}/3'::sparsevec AS zero,
    '{1:0,2:-0,3:1e-45}/3'::sparsevec AS zeros_dropped, '{1000000000:-1}/1000000000'::sparsevec AS last;
SELECT sparsevec_send('{1:1.5,3:-2}/5'), sparsevec_send('{}/5');
CREATE TABLE sparse (id int PRIMARY KEY, v sparsevec(5));
INSERT INTO sparse VALUES (1, '{1:1.5,3:2}/5'), (2, '{}/5'), (3, NULL), (4, '{5:-0.1}/5');
INSERT INTO sparse VALUES (5, '{1:1}/4');
SELECT format_type(atttypid, atttypmod), atttypmod, attstorage FROM pg_attribute WHERE attrelid = 'sparse'::regclass AND attname = 'v';
-- Through the binary form
CREATE TABLE copied (id int, v sparsevec);
SELECT current_setting('data_directory') || '/sparsevec.copy' AS file \gset
SELECT format('cat %1$s; rm %1$s', quote_literal(:'file')) AS read_and_remove \gset
COPY sparse TO :'file' (FORMAT binary);
COPY copied FROM PROGRAM :'read_and_remove' (FORMAT binary);
SELECT count(*), bool_and(sparse.v IS NOT DISTINCT FROM copied.v) AS equal FROM sparse JOIN copied USING (id);
-- Stored short, plain, out of line
CREATE TABLE stored AS
SELECT n, ('{' || string_agg(i * 3 || ':' || i + 0.5, ',') || '}/50000')::sparsevec AS v
FROM unnest(ARRAY[1, 13, 14, 15, 100, 1000, 16000]) n, generate_series(1, n) i GROUP BY n;
SELECT n, pg_column_size(v) AS size, v::text::sparsevec = v AS reads_back, l2_norm(v)::numeric(10, 2) FROM stored ORDER BY n;
DROP TABLE copied, stored;

SELECT input, error_of(format('SELECT %L::sparsevec', input)) FROM unnest(ARRAY['{1:1,1:2}/5', '{6:1}/5', '{0:1}/5', '{-1:1}/5',
    '{99999999999999999999:1}/5', '{}/0', '{}/-1', '{}/1000000001', '{1:nan}/1', '{1:-inf}/1', '{1:4e38}/1', '{1:1e-46}/1', '', '{', '{}', '{}/',
    '{}/5x', '[1,2]', '{1}/5', '{1:}/5', '{:1}/5', '{1:1,}/5', '{1:1 2:1}/5', '{1.5:1}/5', '{1:0x1}/5']) input;
SELECT error_of('SELECT ''{}/5''::sparsevec(' || modifier || ')') FROM unnest(ARRAY['0', '1000000001', '1,2', '6', '5']) modifier;
SELECT n, error_of(format('SELECT %L::sparsevec', '{' || string_agg(i || ':1', ',') || '}/20000'))
FROM unnest(ARRAY[16000, 16001]) n, generate_series(1, n) i GROUP BY n ORDER BY n;

-- Operators and functions
SELECT a <-> b AS l2, a <#> b AS ip, a <=> b AS cosine, a <+> b AS l1
FROM (VALUES ('{1:1,2:2}/4'::sparsevec, '{2:5,4:4}/4'::sparsevec), ('{1:3}/9', '{9:-4}/9'), ('{}/2', '{1:1}/2'), ('{}/2', '{}/2'),
    ('{1:1}/1', '{1:-1}/1')) pairs (a, b);
SELECT '{1:3e38}/1'::sparsevec <=> '{1:2e38}/1' AS large, '{1:1e-30}/1'::sparsevec <=> '{1:2e-30}/1' AS small;
SELECT l2_distance('{1:3}/2'::sparsevec, '{2:4}/2'::sparsevec), inner_product('{1:3}/2'::sparsevec, '{1:4}/2'::sparsevec),
    cosine_distance('{1:3}/2'::sparsevec, '{1:4}/2'::sparsevec), l1_distance('{1:3}/2'::sparsevec, '{2:-4}/2'::sparsevec),
    sparsevec_l2_squared_distance('{1:3}/2', '{2:4}/2'), sparsevec_negative_inner_product('{1:3}/2', '{1:4}/2');
SELECT l2_norm('{1:3,2:4}/9'::sparsevec), l2_norm('{}/9'::sparsevec) AS zero, l2_norm('{1:3e38,2:3e38}/2'::sparsevec) > 4.2e38 AS beyond_float,
    l2_normalize('{1:3,2:4}/9'::sparsevec), l2_normalize('{}/9'::sparsevec) AS of_zero, l2_normalize('{1:3e38,2:1e-20}/2'::sparsevec) AS vanishes;
-- As the dense vectors
SELECT count(*) AS pairs, max(abs((a <-> b) - (x <-> y))) < 1e-5 AS l2, max(abs((a <#> b) - (x <#> y))) < 1e-4 AS inner_product,
    max(abs((a <=> b) - (x <=> y))) < 1e-6 AS cosine, max(abs((a <+> b) - (x <+> y))) < 1e-4 AS l1,
    bool_and(a::vector = x AND x::sparsevec = a AND a::halfvec::sparsevec = a) AS casts,
    bool_and(sparsevec_cmp(a, b) = vector_cmp(x, y)) AS ordered, bool_and(abs(l2_norm(a) - vector_norm(x)) < 1e-12) AS norm
FROM (
    -- Multiples of 1/64, of which most are zero
    SELECT x, y, x::sparsevec AS a, y::sparsevec AS b
    FROM (
        SELECT array_agg(CASE (i * i + n) % 5 WHEN 0 THEN i % 129 / 64.0 - 1 ELSE 0 END ORDER BY i)::vector AS x,
            array_agg(CASE (i * 7 + n * n) % 3 WHEN 0 THEN i % 127 / 64.0 - 1 ELSE 0 END ORDER BY i)::vector AS y
        FROM generate_series(5, 150) n, generate_series(1, n) i GROUP BY n
    ) dense WHERE vector_norm(x) > 0 AND vector_norm(y) > 0
) pairs;
SELECT operator, error_of(format('SELECT ''{}/2''::sparsevec %s ''{}/3''', operator)) FROM unnest(ARRAY['<->', '<#>', '<=>', '<+>', '+']) AS operator;

-- Casts
SELECT ARRAY[1,0,2]::sparsevec, ARRAY[0,0.1]::real[]::sparsevec, ARRAY[1e-60,0.1]::float8[]::sparsevec, ARRAY[0,0.1]::numeric[]::sparsevec,
    '[1,0,-0,2]'::vector::sparsevec, '[0,0.1]'::halfvec::sparsevec, '{1:1,3:0.1}/3'::sparsevec::vector, '{1:1,3:0.1}/3'::sparsevec::halfvec,
    '{2:1e-20}/2'::sparsevec::halfvec AS vanishes;
SELECT (array_fill(0, ARRAY[100000]) || 1)::sparsevec;
-- Dense vectors go where a sparse one is wanted
SELECT '[1,2]'::vector <-> '{1:4,2:6}/2'::sparsevec AS vector, '[1,2]'::halfvec <-> '{1:4,2:6}/2'::sparsevec AS halfvec;
INSERT INTO sparse VALUES (6, '[0,0,0,0,1]'::vector), (7, '[0,2,0,0,0]'::halfvec), (8, ARRAY[0,0,3,0,0]);
SELECT id, v FROM sparse ORDER BY id;
SELECT expression, error_of('SELECT ' || expression) FROM unnest(ARRAY[
    'ARRAY[1e60]::float8[]::sparsevec', 'ARRAY[''NaN'']::real[]::sparsevec', 'ARRAY[1,NULL]::sparsevec', 'ARRAY[[1]]::sparsevec',
    '''{}''::int[]::sparsevec', 'array_fill(1, ARRAY[16001])::sparsevec', 'ARRAY[1]::sparsevec(2)', '''[1]''::vector::sparsevec(2)',
    '''[1]''::halfvec::sparsevec(2)', '''{}/1''::sparsevec::sparsevec(2)', '''{}/1''::sparsevec::vector(2)', '''{}/1''::sparsevec::halfvec(2)',
    '''{}/16001''::sparsevec::vector', '''{}/16001''::sparsevec::halfvec', '''{1:65520}/1''::sparsevec::halfvec',
    '''{}/1''::sparsevec::real[]']) AS expression;
DROP TABLE sparse;

-- Order: that of the dense vectors
SELECT a, b, a < b AS lt, a <= b AS le, a = b AS eq, a <> b AS ne, a >= b AS ge, a > b AS gt, sparsevec_cmp(a, b) AS cmp
FROM (VALUES ('{1:1}/2'::sparsevec, '{1:1}/2'::sparsevec), ('{1:1}/2', '{1:1}/3'), ('{2:1}/3', '{1:1}/3'), ('{1:-1}/3', '{2:1}/3'),
    ('{2:-1}/3', '{}/3'), ('{3:-1}/3', '{}/2'), ('{1:1,3:1}/5', '{1:1,3:2}/3')) pairs (a, b);
CREATE TABLE ordered (v sparsevec PRIMARY KEY);
INSERT INTO ordered VALUES ('{2:1}/2'), ('{1:1}/2'), ('{}/2'), ('{}/1'), ('{1:-1,2:5}/2');
INSERT INTO ordered VALUES ('{1:1}/2');
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT v FROM ordered WHERE v > '{}/1' ORDER BY v;
SELECT v FROM ordered WHERE v > '{}/1' ORDER BY v;
SELECT v FROM ordered ORDER BY v DESC;
RESET ALL;
DROP TABLE ordered;

-- A vector has no distance from its multiples.
SELECT '{1:1,2:1}/2'::sparsevec <=> '{1:1,2:1}/2' AS same, '{1:1,2:2}/2'::sparsevec <=> '{1:2,2:4}/2' AS twice;
