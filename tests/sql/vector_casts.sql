-- Casts between arrays and vectors, and the length check
SELECT ARRAY[1,2,3]::vector, ARRAY[1.5,2]::real[]::vector, ARRAY[0.1,1e-3]::float8[]::vector, ARRAY[0.1,2]::vector;
SELECT ARRAY[16777217]::vector, ARRAY[1e-60]::float8[]::vector, ARRAY['-0']::float8[]::vector;
SELECT ARRAY[1,2]::vector(2), '[1,2]'::vector::vector(2), '[1,2]'::vector::real[];
SELECT array_agg(i)::vector FROM generate_series(1, 5) i;
SELECT ('[0:2]={1,2,3}'::int[])::vector;
SELECT vector_dims(array_fill(1, ARRAY[16000])::vector);
-- A NULL element that was removed leaves a bitmap behind
SELECT array_remove(ARRAY[1,NULL,3], NULL)::vector, (ARRAY[1,NULL,3])[3:3]::vector;

SELECT expression, error_of('SELECT ' || expression) FROM unnest(ARRAY[
    'ARRAY[1,2]::vector(3)',
    '''[1,2]''::vector::vector(3)',
    '''{}''::int[]::vector',
    '''{}''::numeric[]::vector',
    'ARRAY[[1,2],[3,4]]::vector',
    'ARRAY[[1.5]]::numeric[]::vector',
    'ARRAY[1,NULL]::vector',
    'ARRAY[1.5,NULL]::numeric[]::vector',
    'ARRAY[''NaN'']::real[]::vector',
    'ARRAY[''Infinity'']::float8[]::vector',
    'ARRAY[1e39]::float8[]::vector',
    'ARRAY[''NaN'']::numeric[]::vector',
    'ARRAY[1e39]::numeric[]::vector',
    'array_fill(1, ARRAY[16001])::vector',
    'array_fill(1.5, ARRAY[16001])::vector',
    '''[1,2]''::vector::int[]']) AS expression;

-- Assignment from arrays, implicit to real[]
CREATE TABLE assigned (v vector(2), r real[]);
INSERT INTO assigned VALUES (ARRAY[1,2], '[3,4]'::vector), (ARRAY[1.5,2]::float8[], NULL);
INSERT INTO assigned VALUES (ARRAY[1,2,3]);
SELECT v, r, v::real[] FROM assigned;
SELECT array_length('[1,2,3]'::vector, 1), unnest('[1,2]'::vector);
SELECT '[1,2]'::vector = ARRAY[1,2]::vector AS explicit;
DROP TABLE assigned;

-- A variable of PL/pgSQL is an expanded array
DO $$
DECLARE
    numbers real[] := '{}';
BEGIN
    FOR i IN 1..3 LOOP numbers := numbers || i::real; END LOOP;
    RAISE NOTICE '%', numbers::vector;
END $$;

SELECT castsource::regtype, casttarget::regtype, castfunc::regprocedure, castcontext, castmethod
FROM pg_cast WHERE 'vector'::regtype IN (castsource, casttarget)
    AND (castsource::regtype || ' ' || casttarget::regtype) !~ 'halfvec|sparsevec'
ORDER BY castsource::regtype::text, casttarget::regtype::text;
