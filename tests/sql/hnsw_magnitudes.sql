-- Huge and tiny numbers: distances have the range of double precision, and the index orders by them.
SELECT '[1e20,2e19]'::vector <-> '[0,0]' AS l2, '[1e20,2e19]'::vector <#> '[1e20,0]' AS negative_inner_product,
    '[1e20,0]'::vector <=> '[1e20,1e20]' AS cosine, '[3e38,3e38]'::vector <+> '[-3e38,-3e38]' AS l1;
SELECT '[1e-25,0]'::vector <-> '[3e-25,0]' AS l2, '[1e-25,1]'::vector <#> '[1e-25,0]' AS negative_inner_product,
    '[1e-25,0]'::vector <=> '[1e-25,1e-25]' AS cosine, '[1e-45,0]'::vector <+> '[0,1e-45]' AS l1;
-- Squares that vanish beside one that does not quite.
SELECT ('[3e-23,3e-23,3e-23,3e-23,4e-23]'::vector <-> '[0,0,0,0,0]') / sqrt(52e-46::float8) BETWEEN 0.999999 AND 1.000001 AS precise,
    inner_product('[3e19,1,-3e19]'::vector, '[3e19,1,3e19]') AS cancelled, '[3e38,-3e38]'::vector <#> '[3e38,3e38]' AS no_nan;
SELECT l2_distance('[1e30]'::vector, '[-1e30]'), vector_l2_squared_distance('[1e30]'::vector, '[-1e30]'),
    inner_product('[1e30]'::vector, '[-1e30]'), l1_distance('[3e38]'::vector, '[-3e38]'),
    vector_spherical_distance('[1e30,1e30]'::vector, '[1e30,-1e30]'), vector_norm('[3e38,3e38]'::vector);
SELECT l2_distance('{1:1e-40}/2'::sparsevec, '{2:1e-40}/2') > 1.4e-40 AS l2, cosine_distance('{1:1e-40}/2'::sparsevec, '{1:1e38}/2') AS cosine,
    inner_product('{1:3e38}/2'::sparsevec, '{1:3e38}/2') > 8e76 AS inner_product;
SELECT '[6e-8,0]'::halfvec <-> '[0,6e-8]' > 8e-8 AS l2, '[65504,65504]'::halfvec <=> '[65504,0]' AS cosine;
SELECT avg(v), l2_normalize(avg(v)) FROM (VALUES ('[3e38,1e-45]'::vector), ('[3e38,0]')) t (v);

-- The nearest rows by the index and by an exact scan: how many there are, and how many ranks have another distance, by more than is stored.
CREATE FUNCTION compare(expression text, error double precision DEFAULT 1e-5)
    RETURNS TABLE (rows bigint, different bigint) LANGUAGE plpgsql AS $$
DECLARE
    query text := format('SELECT array_agg(d) FROM (SELECT %1$s AS d FROM t ORDER BY %1$s LIMIT 30) s', expression);
    plan json;
    exact double precision[];
    found double precision[];
BEGIN
    PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_indexscan', 'off', true);
    EXECUTE query INTO exact;
    PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'on', true);
    EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
    IF plan::text NOT LIKE '%"Index Scan"%' THEN
        RAISE 'the index is not used: %', plan;
    END IF;
    EXECUTE query INTO found;
    RETURN QUERY SELECT count(*), count(*) FILTER (WHERE a IS DISTINCT FROM b AND (abs(a - b) <= error * abs(a)) IS NOT TRUE)
        FROM unnest(exact, found) ranks (a, b);
END
$$;
SET hnsw.ef_search = 200;

-- Rows of one magnitude, short vectors (stored as they are) and long ones (quantized).
CREATE TABLE seeds AS SELECT n AS id, ARRAY(SELECT sin(n * i * i) FROM generate_series(1, 8) i)::real[] AS short,
        ARRAY(SELECT sin(n * i * i) FROM generate_series(1, 100) i)::real[] AS long FROM generate_series(1, 600) n;
CREATE FUNCTION times(numbers real[], factor double precision) RETURNS vector LANGUAGE sql IMMUTABLE AS
    'SELECT array_agg((n * factor)::real ORDER BY i)::vector FROM unnest(numbers) WITH ORDINALITY u (n, i)';
CREATE FUNCTION try(factor double precision) RETURNS TABLE (operator text, rows bigint, different bigint) LANGUAGE plpgsql AS $$
BEGIN
    CREATE TABLE t (id int, v vector(8), w vector(100));
    INSERT INTO t SELECT id, times(short, factor), times(long, factor) FROM seeds WHERE id <= 500;
    CREATE INDEX ON t USING hnsw (v vector_l2_ops);
    CREATE INDEX ON t USING hnsw (v vector_ip_ops);
    CREATE INDEX ON t USING hnsw (v vector_cosine_ops);
    CREATE INDEX ON t USING hnsw (v vector_l1_ops);
    CREATE INDEX ON t USING hnsw (w vector_l2_ops);
    CREATE INDEX ON t USING hnsw (w vector_ip_ops);
    -- Some come later.
    INSERT INTO t SELECT id, times(short, factor), times(long, factor) FROM seeds WHERE id > 500;
    FOREACH operator IN ARRAY ARRAY['<->', '<#>', '<=>', '<+>'] LOOP
        RETURN QUERY SELECT 'v ' || operator, * FROM compare(format('v %s %L::vector', operator,
            (SELECT times(short, factor) FROM seeds WHERE id = 100)));
    END LOOP;
    FOREACH operator IN ARRAY ARRAY['<->', '<#>'] LOOP
        RETURN QUERY SELECT 'w ' || operator, * FROM compare(format('w %s %L::vector', operator,
            (SELECT times(long, factor) FROM seeds WHERE id = 100)), 0.01);
    END LOOP;
    DROP TABLE t;
END
$$;
SELECT factor, try.* FROM unnest(ARRAY[1e35, 1e20, 1, 1e-20, 1e-30]::float8[]) factor, try(factor);

-- Of all magnitudes together. Few links lead from one to another: the search has to be wide.
SET hnsw.ef_search = 1000;
CREATE TABLE t (id int, v vector(8));
CREATE INDEX ON t USING hnsw (v vector_l2_ops);
CREATE INDEX ON t USING hnsw (v vector_ip_ops);
CREATE INDEX ON t USING hnsw (v vector_l1_ops);
INSERT INTO t SELECT id, times(short, 10.0::float8 ^ (id % 75 - 37)) FROM seeds;
SELECT * FROM compare($$v <-> '[0,0,0,0,0,0,0,0]'$$);
SELECT * FROM compare($$v <-> '[1e20,0,0,0,0,0,0,0]'$$);
SELECT * FROM compare($$v <-> '[1e-30,0,0,0,0,0,0,0]'$$);
SELECT * FROM compare($$v <-> '[3e38,3e38,0,0,0,0,0,0]'$$);
SELECT * FROM compare($$v <#> '[1e20,1e20,0,0,0,0,0,0]'$$);
SELECT * FROM compare($$v <#> '[1e-20,1e-20,0,0,0,0,0,0]'$$);
SELECT * FROM compare($$v <+> '[1e36,0,0,0,0,0,0,0]'$$);
-- A radius beyond single precision.
SET enable_seqscan = off;
SELECT count(*), max(id % 75) FROM (SELECT id FROM t WHERE v <-> '[0,0,0,0,0,0,0,0]' < 1e25 ORDER BY v <-> '[0,0,0,0,0,0,0,0]' LIMIT 1000) rows;
SELECT count(*), max(id % 75) FROM (SELECT id FROM t WHERE v <-> '[0,0,0,0,0,0,0,0]' < 1e-25 ORDER BY v <-> '[0,0,0,0,0,0,0,0]' LIMIT 1000) rows;
DROP TABLE t;
RESET enable_seqscan;
CREATE TABLE t (id int, s sparsevec(20));
INSERT INTO t SELECT id, ('{' || id % 20 + 1 || ':' || (10.0::float8 ^ (id % 75 - 37))::real || '}/20')::sparsevec FROM seeds;
CREATE INDEX ON t USING hnsw (s sparsevec_l2_ops);
CREATE INDEX ON t USING hnsw (s sparsevec_ip_ops);
SELECT * FROM compare($$s <-> '{}/20'$$);
SELECT * FROM compare($$s <-> '{3:1e30}/20'$$);
SELECT * FROM compare($$s <#> '{3:1e30}/20'$$);
DROP TABLE t;

-- Quantized coordinates have an end.
CREATE TABLE t (id int, w vector(100));
INSERT INTO t VALUES (1, array_fill(1e30::real, ARRAY[100])::vector), (2, array_fill(2e36::real, ARRAY[100])::vector);
CREATE INDEX ON t USING hnsw (w vector_l2_ops);
DELETE FROM t WHERE id = 2;
CREATE INDEX t_w ON t USING hnsw (w vector_l2_ops);
INSERT INTO t VALUES (3, array_fill(2e36::real, ARRAY[100])::vector);
INSERT INTO t VALUES (4, array_fill(9e35::real, ARRAY[100])::vector);
SET enable_seqscan = off;
SELECT id FROM t ORDER BY w <-> array_fill(2e36::real, ARRAY[100])::vector LIMIT 1;
SELECT id FROM t ORDER BY w <-> array_fill(1e36::real, ARRAY[100])::vector LIMIT 1;
DROP INDEX t_w;
CREATE INDEX t_w ON t USING hnsw (w vector_cosine_ops);
INSERT INTO t VALUES (5, array_fill(3e38::real, ARRAY[100])::vector);
SELECT count(*) FROM (SELECT id FROM t ORDER BY w <=> array_fill(3e38::real, ARRAY[100])::vector LIMIT 5) rows;
