-- Distances, arithmetic, comparison
SELECT '[0,0]'::vector <-> '[3,4]' AS l2, '[1,2]'::vector <#> '[3,4]' AS negative_inner_product,
    '[1,0]'::vector <=> '[0,2]' AS cosine, '[1,2]'::vector <+> '[-3,4]' AS l1;
SELECT '[1,1]'::vector <=> '[2,2]' AS same, '[1,1]'::vector <=> '[-1,-1]' AS opposite,
    '[0,0]'::vector <=> '[1,1]' AS zero, '[0.1,0.7,0.3]'::vector <=> '[0.1,0.7,0.3]' AS never_below_zero;
-- Sums that single precision does not hold
SELECT '[3e38]'::vector <-> '[-3e38]' AS l2, '[3e38]'::vector <#> '[3e38]' AS negative_inner_product,
    '[3e38]'::vector <=> '[3e38]' AS cosine, '[3e38]'::vector <+> '[-3e38]' AS l1;
-- Every length, against the same sums in SQL
SELECT count(*) AS lengths, max(abs((a <-> b) - l2)) < 1e-5 AS l2, max(abs((a <#> b) + ip)) < 1e-4 AS inner_product,
    max(abs((a <=> b) - (1 - ip / sqrt(aa * bb)))) < 1e-6 AS cosine, max(abs((a <+> b) - l1)) < 1e-4 AS l1
FROM (
    SELECT array_agg(x)::vector AS a, array_agg(y)::vector AS b, sqrt(sum((x - y) ^ 2)) AS l2, sum(x * y) AS ip,
        sum(x * x) AS aa, sum(y * y) AS bb, sum(abs(x - y)) AS l1
    FROM generate_series(1, 70) n, generate_series(1, n) i,
        LATERAL (SELECT sin(i + n) AS x, cos(i * 3 + n) AS y) element
    GROUP BY n
) sums;

SELECT '[1,2]'::vector + '[3,4]' AS add, '[1,2]'::vector - '[3,5]' AS sub, '[2,3]'::vector * '[4,-5]' AS mul,
    '[1,2]'::vector || '[3]' AS concat;
SELECT '[0,1e-30]'::vector * '[1e-30,0]' AS no_underflow;
-- king - man + woman
SELECT '[5,1]'::vector - '[4,1]' + '[4,-1]' AS word;

SELECT operator, error_of(format('SELECT ''[1,2]''::vector %s ''[3]''', operator))
FROM unnest(ARRAY['<->', '<#>', '<=>', '<+>', '+', '-', '*']) AS operator;
SELECT expression, error_of('SELECT ' || expression) FROM unnest(ARRAY[
    '''[3e38]''::vector + ''[3e38]''',
    '''[3e38]''::vector - ''[-3e38]''',
    '''[1e20]''::vector * ''[1e20]''',
    '''[1,1e-30]''::vector * ''[1,1e-30]''',
    'array_fill(0, ARRAY[9000])::vector || array_fill(0, ARRAY[9000])::vector']) AS expression;
SELECT vector_dims(array_fill(0, ARRAY[8000])::vector || array_fill(0, ARRAY[8000])::vector);
SELECT NULL::vector <-> '[1]' AS distance, '[1]'::vector + NULL::vector AS sum, '[1]'::vector < NULL::vector AS less;

-- Element by element, then the shorter one first; -0 is 0
SELECT a, b, a < b AS lt, a <= b AS le, a = b AS eq, a <> b AS ne, a >= b AS ge, a > b AS gt, vector_cmp(a, b) AS cmp
FROM (VALUES ('[1,2]'::vector, '[1,2]'::vector), ('[1,2]', '[1,3]'), ('[2]', '[1,5]'), ('[1]', '[1,0]'),
    ('[1,-1]', '[1]'), ('[-0]', '[0]'), ('[-2,9]', '[-1]')) pairs (a, b);

-- The catalog
SELECT oprname, oprcode::regprocedure, oprresult::regtype, oprcom::regoperator AS commutator,
    oprnegate::regoperator AS negator, oprrest, oprjoin, oprcanmerge AS merges
FROM pg_operator WHERE oprleft = 'vector'::regtype AND oprright = 'vector'::regtype ORDER BY oprname COLLATE "C";
-- No operator that was only announced
SELECT count(*) FROM pg_operator WHERE oprcode = 0 AND 'vector'::regtype IN (oprleft, oprright);
