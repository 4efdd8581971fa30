-- Functions of vectors
SELECT l2_distance('[0,0]'::vector, '[3,4]'::vector), inner_product('[1,2]'::vector, '[3,4]'::vector),
    cosine_distance('[1,0]'::vector, '[0,1]'::vector), l1_distance('[0,0]'::vector, '[3,-4]'::vector);
SELECT vector_l2_squared_distance('[0,0]', '[3,4]'), vector_negative_inner_product('[1,2]', '[3,4]'),
    vector_spherical_distance('[1,0]', '[0,1]'), vector_spherical_distance('[2,0]', '[2,0]') AS same,
    vector_spherical_distance('[1]', '[-1]') AS opposite;
SELECT vector_dims('[1,2,3]'::vector), vector_norm('[3,4]'), vector_norm('[0]') AS zero,
    vector_norm('[3e37,4e37]')::numeric(2) IS NOT NULL AS large;
SELECT vector_norm('[3e38,3e38]') > 4.2e38 AS beyond_float, vector_norm('[1e-30]') AS small;

SELECT l2_normalize('[3,4]'::vector), l2_normalize('[0,0]'::vector) AS zero, l2_normalize('[3e38]'::vector) AS large,
    l2_normalize('[1e-45,0]'::vector) AS small;

SELECT binary_quantize('[1,0,-1,0.5]'::vector), binary_quantize('[-0,1e-45,0,0,0,0,0,1,1]'::vector) AS two_bytes,
    length(binary_quantize(array_fill(1, ARRAY[16000])::vector)) AS longest;
SELECT bit_count(binary_quantize(array_fill(1, ARRAY[67])::vector)), pg_typeof(binary_quantize('[1]'::vector));
SELECT binary_quantize('[1,-1,1]'::vector)::bit(3) = B'101' AS equal;

SELECT start, count, subvector('[1,2,3,4,5]'::vector, start, count)
FROM (VALUES (1, 5), (2, 3), (5, 1), (1, 1), (3, 100), (-1, 3), (0, 2), (3, 2147483647)) cuts (start, count);
SELECT start, count, error_of(format('SELECT subvector(''[1,2,3]''::vector, %s, %s)', start, count))
FROM (VALUES (4, 1), (1, 0), (2, -1), (-5, 2), (2147483647, 2147483647), (-2147483647, 2147483647)) cuts (start, count);
-- An expression index on a part
CREATE TABLE parts (v vector(3));
CREATE INDEX ON parts (subvector(v, 1, 2));
INSERT INTO parts VALUES ('[1,2,3]');
SELECT * FROM parts WHERE subvector(v, 1, 2) = '[1,2]';
DROP TABLE parts;

SELECT functions.name, error_of(format('SELECT %s(''[1,2]''::vector, ''[1]''::vector)', functions.name))
FROM unnest(ARRAY['l2_distance', 'inner_product', 'cosine_distance', 'l1_distance', 'vector_l2_squared_distance',
    'vector_negative_inner_product', 'vector_spherical_distance', 'vector_add', 'vector_sub', 'vector_mul']) functions (name);

-- Every function is immutable, strict and parallel safe (aggregates are not strict)
SELECT p.oid::regprocedure AS function, prorettype::regtype AS returns
FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
    JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
WHERE extname = 'pg_alopex' AND p.prokind = 'f' AND (p.oid::regprocedure::text ~ 'vector' OR prorettype = 'vector'::regtype)
    AND p.oid::regprocedure::text !~ 'halfvec|sparsevec|hnsw'
    AND p.provolatile = 'i' AND p.proparallel = 's' AND p.proisstrict
ORDER BY p.oid::regprocedure::text COLLATE "C";

-- A vector has no distance from its multiples, and lengths of any magnitude may meet.
SELECT cosine_distance('[1,1]'::vector, '[1,1]'), cosine_distance('[1,2]'::vector, '[2,4]'),
       cosine_distance('[3e30,1e30]'::vector, '[3e30,1e30]');
SELECT round(cosine_distance('[3e19,0]'::vector, '[1,1]')::numeric, 4) AS long, round(cosine_distance('[3e-23,0]'::vector, '[1,1]')::numeric, 4) AS short,
       round(cosine_distance('[3e-23,0]'::vector, '[3e19,3e19]')::numeric, 4) AS both;
