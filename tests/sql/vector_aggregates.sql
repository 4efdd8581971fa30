-- avg and sum
SELECT avg(v), sum(v) FROM (VALUES ('[1,2,3]'::vector), ('[3,5,7]'), (NULL)) t (v);
SELECT avg(v), sum(v) FROM (SELECT NULL::vector AS v) t;
SELECT avg(v), sum(v) FROM (SELECT '[1]'::vector AS v WHERE false) t;
SELECT avg(v), sum(v) FROM (VALUES ('[-1,1e-45]'::vector)) t (v);
SELECT avg(v) FROM (VALUES ('[3e38]'::vector), ('[3e38]')) t (v);
SELECT sum(v) FROM (VALUES ('[3e38]'::vector), ('[3e38]')) t (v);
SELECT avg(v) FROM (VALUES ('[1,2]'::vector), ('[1]')) t (v);
SELECT sum(v) FROM (VALUES ('[1,2]'::vector), ('[1]')) t (v);

CREATE TABLE numbered (id int, part int, v vector(3));
-- Every sum is an integer that a float holds exactly, in whatever order it is made
INSERT INTO numbered SELECT i, i % 4, ARRAY[i % 1000, -(i % 1000), 1]::vector FROM generate_series(1, 20000) i;
ANALYZE numbered;
SELECT part, count(*), avg(v), sum(v) FROM numbered GROUP BY part ORDER BY part;
SELECT id, avg(v) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM numbered ORDER BY id LIMIT 4;
SELECT id, avg(v) OVER (ORDER BY id), sum(v) OVER (ORDER BY id) FROM numbered ORDER BY id LIMIT 4;
SELECT avg(v) FILTER (WHERE id <= 2), avg(DISTINCT v) FILTER (WHERE id <= 3), avg(v ORDER BY id DESC) FROM numbered;

-- In parallel
SET parallel_setup_cost = 0;
SET parallel_tuple_cost = 0;
SET min_parallel_table_scan_size = 0;
SET max_parallel_workers_per_gather = 2;
EXPLAIN (COSTS OFF) SELECT avg(v), sum(v) FROM numbered;
SELECT avg(v), sum(v) FROM numbered;
SELECT part, avg(v), sum(v) FROM numbered GROUP BY part ORDER BY part;
-- Workers that see no row have an empty state
SELECT avg(v), sum(v) FROM numbered WHERE id = 1;
SELECT avg(v), sum(v) FROM numbered WHERE id < 0;
RESET ALL;
DROP TABLE numbered;

-- Out of line
CREATE TABLE large (v vector);
INSERT INTO large SELECT array_fill(i, ARRAY[4000])::vector FROM generate_series(1, 10) i;
SELECT vector_dims(avg(v)), subvector(avg(v), 3999, 2), subvector(sum(v), 1, 2) FROM large;
DROP TABLE large;

-- The support functions
SELECT vector_accum('{0}', '[1,2]'), vector_accum('{1,1,2}', '[3,4]');
SELECT vector_combine('{0}', '{1,2}'), vector_combine('{1,2}', '{0}'), vector_combine('{0}', '{0}'),
    vector_combine('{1,2,3}', '{2,10,20}');
SELECT vector_avg('{0}') IS NULL AS none, vector_avg('{2,1,2}');
SELECT expression, error_of('SELECT ' || expression) FROM unnest(ARRAY[
    'vector_accum(''{}'', ''[1]'')',
    'vector_accum(''{{1,2}}'', ''[1]'')',
    'vector_accum(''{1,NULL}'', ''[1]'')',
    'vector_accum(''{NaN,1}'', ''[1]'')',
    'vector_accum(''{1,2}'', ''[1,2]'')',
    'vector_combine(''{}'', ''{0}'')',
    'vector_combine(''{1,2}'', ''{1,3,4}'')',
    'vector_combine(''{1,1e308}'', ''{1,1e308}'')',
    'vector_avg(''{}'')',
    'vector_avg(''{-1,1}'')',
    'vector_avg(''{1}'')',
    'vector_avg(''{1,1e300}'')',
    'vector_avg(''{1,NaN}'')']) AS expression;
-- A state that is not an aggregate's is not changed
SELECT vector_accum(state, '[1]') AS next, state FROM (VALUES ('{1,2}'::float8[])) states (state);

SELECT aggfnoid::regprocedure, aggtransfn, aggfinalfn, aggcombinefn, aggtranstype::regtype, agginitval, proparallel
FROM pg_aggregate JOIN pg_proc p ON p.oid = aggfnoid WHERE proargtypes[0] = 'vector'::regtype ORDER BY 1::text;
