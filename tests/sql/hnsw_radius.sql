-- A scan ends at the radius that a condition gives.
CREATE TABLE t (id int PRIMARY KEY, val vector(70), h halfvec(3), b bit(32), s sparsevec(100));
INSERT INTO t SELECT n, ARRAY(SELECT sin(n * i / 50.0) FROM generate_series(1, 70) i)::vector, ARRAY[n % 101, n / 101, 1]::halfvec,
        (n * 2654435761)::bit(32), format('{1:%s,2:%s}/100', n % 50 + 1, n / 50 + 1)::sparsevec
    FROM generate_series(1, 5000) n;
CREATE INDEX t_l2 ON t USING hnsw (val vector_l2_ops);
CREATE INDEX t_cosine ON t USING hnsw (val vector_cosine_ops);
CREATE INDEX t_ip ON t USING hnsw (val vector_ip_ops);
CREATE INDEX t_l1 ON t USING hnsw (val vector_l1_ops);
CREATE INDEX t_h ON t USING hnsw (h halfvec_l2_ops);
CREATE INDEX t_b ON t USING hnsw (b bit_hamming_ops);
CREATE INDEX t_s ON t USING hnsw (s sparsevec_l2_ops);
SELECT val AS q FROM t WHERE id = 1000 \gset

-- Rows by the index and by an exact scan, whether the index was used and whether it read little.
CREATE FUNCTION compare(expression text, radius text) RETURNS TABLE (rows bigint, same boolean, part boolean) LANGUAGE plpgsql AS $$
DECLARE
    query text := format('SELECT id FROM t WHERE %1$s < %2$s ORDER BY %1$s', expression, radius);
    exact int[];
    found int[];
BEGIN
    PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_indexscan', 'off', true);
    EXECUTE format('SELECT array_agg(id ORDER BY id) FROM (%s) rows', query) INTO exact;
    PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true),
        set_config('enable_indexscan', 'on', true);
    EXECUTE format('SELECT array_agg(id ORDER BY id) FROM (SELECT * FROM (%s) rows LIMIT 100000) rows', query) INTO found;
    RETURN QUERY SELECT cardinality(exact)::bigint, exact IS NOT DISTINCT FROM found, nodes_visited < 2000 FROM hnsw_last_search();
END
$$;
SELECT * FROM compare(format('val <-> %L', :'q'), '0.5');
SELECT * FROM compare(format('val <=> %L', :'q'), '0.01');
SELECT * FROM compare(format('val <+> %L', :'q'), '3.0');
SELECT * FROM compare('h <-> ''[50,20,1]''', '3');
SELECT * FROM compare('b <~> ''10101010101010101010101010101010''', '8');
SELECT * FROM compare('s <-> ''{1:20,2:30}/100''', '1.5');
SELECT * FROM compare(format('val <-> %L', :'q'), '-1');

-- Other ways to say it: commuted, from a parameter, from another table; <= is inclusive.
SET enable_seqscan = off;
SET enable_sort = off;
PREPARE within(vector, double precision) AS SELECT count(*) FROM (SELECT id FROM t WHERE $2 > val <-> $1 ORDER BY val <-> $1 LIMIT 1000) rows;
EXECUTE within(:'q', 0.5);
SELECT nodes_visited < 2000 AS part FROM hnsw_last_search();
SET plan_cache_mode = force_generic_plan;
EXECUTE within(:'q', 0.5);
SELECT nodes_visited < 2000 AS part FROM hnsw_last_search();
EXECUTE within(:'q', NULL);
EXECUTE within(NULL, 0.5);
RESET plan_cache_mode;
SELECT id FROM t WHERE val <-> :'q' <= 0 ORDER BY val <-> :'q' LIMIT 10;
SELECT nodes_visited < 2000 AS part FROM hnsw_last_search();
CREATE TABLE queries AS SELECT t.id, t.val, r.radius
    FROM (VALUES (1000, 0.5::double precision), (2000, 0.2), (3000, 'NaN'), (4000, 'infinity'), (5000, NULL)) r(id, radius) JOIN t USING (id);
SELECT q.id, count(rows) FROM queries q
    LEFT JOIN LATERAL (SELECT t.id FROM t WHERE t.val <-> q.val < q.radius ORDER BY t.val <-> q.val LIMIT 5) rows ON true
    GROUP BY q.id ORDER BY q.id;
-- A radius as small as the rounding of distances.
SELECT count(*) FROM (SELECT id FROM t WHERE val <=> :'q' < 1e-9 ORDER BY val <=> :'q' LIMIT 10) rows;
-- A bound that is another one for each row is none.
SELECT count(*) FROM (SELECT id FROM t WHERE val <-> :'q' < id / 5000.0 ORDER BY val <-> :'q' LIMIT 20) rows;
-- Under inner product there is none either: the scan goes on to its end.
SET hnsw.max_scan_tuples = 10000;
SELECT count(*) > 0 AS some FROM (SELECT id FROM t WHERE val <#> :'q' < -30 ORDER BY val <#> :'q' LIMIT 5000) rows;
RESET hnsw.max_scan_tuples;
EXPLAIN (COSTS OFF) SELECT id FROM t WHERE h <-> '[1,2,3]' < 2 ORDER BY h <-> '[1,2,3]' LIMIT 5;
-- Rows of the transaction.
BEGIN;
INSERT INTO t (id, h) VALUES (6000, '[50,20,1.5]'), (6001, '[50,20,9]');
SELECT id FROM t WHERE h <-> '[50,20,1.5]' < 0.6 ORDER BY h <-> '[50,20,1.5]' LIMIT 10;
ROLLBACK;

-- However it is written, it is one radius: the rows of an exact scan, and at most three times the nodes of the plain form.
CREATE FUNCTION spelled(condition text, distance text) RETURNS TABLE (rows bigint, found bigint, same boolean, few boolean) LANGUAGE plpgsql AS $$
DECLARE
    query text := 'SELECT id FROM t WHERE %s ORDER BY %s LIMIT 1000';
    exact int[];
    by_index int[];
    plain bigint;
BEGIN
    PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_indexscan', 'off', true);
    EXECUTE 'SELECT array_agg(id ORDER BY id) FROM (' || format(query, condition, distance) || ') rows' INTO exact;
    PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true),
        set_config('enable_indexscan', 'on', true);
    EXECUTE 'SELECT array_agg(id) FROM (' || format(query, distance || ' < 0.01', distance) || ') rows' INTO by_index;
    SELECT nodes_visited INTO plain FROM hnsw_last_search();
    EXECUTE 'SELECT array_agg(id ORDER BY id) FROM (' || format(query, condition, distance) || ') rows' INTO by_index;
    RETURN QUERY SELECT cardinality(exact)::bigint, cardinality(by_index)::bigint, exact IS NOT DISTINCT FROM by_index,
        nodes_visited <= 3 * plain FROM hnsw_last_search();
END
$$;
CREATE TABLE spellings (number serial, condition text);
INSERT INTO spellings (condition) VALUES ('d < 0.01'), ('0.01 >= d'), ('1 - d > 0.99'), ('0.99 <= 1 - d'), ('d * -1 > -0.01'), ('-(d) >= -0.01'),
    ('d - 0.01 < 0'), ('0 > d - 0.01'), ('d * 100 < 1'), ('d / 0.01 < 1'), ('0.5 + d / 2 < 0.505'),
    ('d BETWEEN 0 AND 0.01'), ('NOT (d >= 0.01)'), ('NOT (1 - d <= 0.99)'), ('d < 0.5 AND d < 0.01 AND d < 0.2'),
    ('d < 0.01::real'), ('1 - d > 0.99::real'), ('d::real < 0.01::real'), ('1 - d::real > 0.99::real'),
    ('d < 0.01::numeric'), ('d::numeric < 0.01::numeric'), ('round((1 - d)::numeric, 4) > 0.99'), ('(1 - d)::numeric(6,5) > 0.99'),
    ('1 / (1 + d) > 1 / 1.01::float8'), ('sqrt(d) < 0.1'), ('d ^ 2 < 0.0001'), ('power(d, 2) < 0.0001'), ('exp(-d) > 0.9900498'), ('ln(1 + d) < 0.00995'),
    ('cosine_distance(val, q) < 0.01'), ('(q <=> val) < 0.01'), ('1 - cosine_distance(q, val) > 0.99'),
    ('d < (SELECT 0.01::float8)'), ('d < (SELECT 0.01::real)'), ('d < (SELECT 0.01::numeric)'), ('1 - d > (SELECT 0.99::real)'),
    ('d < least((SELECT 0.01::float8), 0.5)'), ('d < coalesce((SELECT NULL::float8), 0.01)'), ('d < (SELECT 2::float8) * 0.005'), ('d < (SELECT 1) * 0.01'),
    ('(val <=> (SELECT val FROM t WHERE id = 1000)) < 0.01'), ('1 - (val <=> (SELECT val FROM t WHERE id = 1000)) > 0.99');
-- No rows, and numbers at the ends of their types.
INSERT INTO spellings (condition) VALUES ('1 - d > 1.5'), ('d * 0 > 1'), ('d < ''-infinity'''), ('-(d) > ''infinity'''), ('d < NULL::float8'),
    ('1 - d > (SELECT NULL::real)'), ('d < (SELECT -1e308::float8) * 1.5'), ('d <= 0'), ('d = 0.003'),
    ('d < (SELECT 1::float8 / 3) AND (val <=> (SELECT val FROM t WHERE id = 77)) < 2 AND d < 0.02');
SELECT s.condition, r.rows, r.same, r.few FROM spellings s, spelled(regexp_replace(regexp_replace(s.condition, '\mq\M', format('%L::vector', :'q'), 'g'),
        '\md\M', format('(val <=> %L)', :'q'), 'g'), format('(val <=> %L)', :'q')) r
    ORDER BY number;
-- Bounds that are none: the answer is that of a scan without.
TRUNCATE spellings;
INSERT INTO spellings (condition) VALUES ('1 - d > -1e308'), ('d < ''NaN'''), ('d < ''infinity'''), ('d > 0.01'), ('1 - d < 0.99'),
    ('d * (SELECT -1::float8) > ''-infinity'''), ('1 - d > ''-infinity'''), ('abs(d - 0.5) < 0.25'), ('d < random() + 2'), ('d * 0 < 1'), ('1 / (d - 3) < 100');
SELECT s.condition, r.rows, r.found FROM spellings s, spelled(regexp_replace(s.condition, '\md\M', format('(val <=> %L)', :'q'), 'g'),
        format('(val <=> %L)', :'q')) r
    ORDER BY number;
-- Where the distance and the threshold come from: the value once in a LATERAL or a sub-query, thresholds of a table, two parameters with one value.
CREATE TABLE thresholds AS SELECT 0.01::float8 AS d, 0.01::real AS r, 0.01::numeric AS n, 0.99::real AS score;
CREATE FUNCTION visited(query text, OUT rows bigint, OUT nodes bigint) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_sort', 'off', true);
    EXECUTE format('SELECT count(*) FROM (%s LIMIT 100) rows', query) INTO rows;
    SELECT nodes_visited INTO nodes FROM hnsw_last_search();
END $$;
WITH plain AS (SELECT * FROM visited(format('SELECT id FROM t WHERE val <=> %1$L < 0.01 ORDER BY val <=> %1$L', :'q')))
SELECT name, v.rows = plain.rows AS same, v.nodes <= 3 * plain.nodes AS few FROM plain, (VALUES
    ('LATERAL over one sub-select', 'SELECT t.id FROM t CROSS JOIN LATERAL (SELECT val <=> (SELECT val FROM t WHERE id = 1000) AS d) x WHERE x.d < 0.01 ORDER BY x.d'),
    ('the same, a score', 'SELECT t.id FROM t CROSS JOIN LATERAL (SELECT val <=> (SELECT val FROM t WHERE id = 1000) AS d) x WHERE 1 - x.d > 0.99 ORDER BY x.d'),
    ('a column of a sub-query', 'SELECT id FROM (SELECT id, val <=> (SELECT val FROM t WHERE id = 1000) AS d FROM t) x WHERE d < 0.01 ORDER BY d'),
    ('a score of a sub-query', format('SELECT id FROM (SELECT id, val <=> %1$L AS d, 1 - (val <=> %1$L) AS score FROM t) x WHERE score > 0.99 ORDER BY d', :'q')),
    ('a CTE', 'WITH x AS (SELECT id, val <=> (SELECT val FROM t WHERE id = 1000) AS d FROM t) SELECT id FROM x WHERE d < 0.01 ORDER BY d'),
    ('the vector of a sub-query', 'SELECT n.id FROM (SELECT val AS q FROM t WHERE id = 1000 OFFSET 0) o CROSS JOIN LATERAL (
        SELECT id FROM t WHERE 1 - (val <=> o.q) >= 0.99 ORDER BY val <=> o.q LIMIT 100) n'),
    ('double precision of a table', format('SELECT n.id FROM thresholds s CROSS JOIN LATERAL (SELECT id FROM t WHERE val <=> %1$L < s.d ORDER BY val <=> %1$L LIMIT 100) n', :'q')),
    ('real', format('SELECT n.id FROM thresholds s CROSS JOIN LATERAL (SELECT id FROM t WHERE val <=> %1$L < s.r ORDER BY val <=> %1$L LIMIT 100) n', :'q')),
    ('numeric', format('SELECT n.id FROM thresholds s CROSS JOIN LATERAL (SELECT id FROM t WHERE val <=> %1$L < s.n ORDER BY val <=> %1$L LIMIT 100) n', :'q')),
    ('a score of real', format('SELECT n.id FROM thresholds s CROSS JOIN LATERAL (SELECT id FROM t WHERE 1 - (val <=> %1$L) > s.score ORDER BY val <=> %1$L LIMIT 100) n', :'q'))
) forms (name, query), visited(query) v;
SET plan_cache_mode = force_generic_plan;
PREPARE twice(vector, vector, real) AS SELECT count(*) FROM (SELECT id FROM t WHERE 1 - (val <=> $1) > $3 ORDER BY val <=> $2 LIMIT 100) rows;
EXECUTE twice(:'q', :'q', 0.99);
SELECT nodes_visited < 1000 AS few FROM hnsw_last_search();
EXECUTE twice(('[' || repeat('1,', 69) || '1]')::vector, :'q', 0.99);
EXECUTE twice(NULL, :'q', 0.99);
EXECUTE twice(:'q', NULL, 0.99);
EXECUTE twice(:'q', :'q', NULL);
EXECUTE twice(:'q', :'q', 'NaN');
CREATE FUNCTION matches(query vector, threshold float DEFAULT NULL, wanted int DEFAULT NULL) RETURNS TABLE (id int, similarity float) LANGUAGE sql STABLE AS $$
    SELECT id, 1 - (val <=> query) FROM t WHERE 1 - (val <=> query) > coalesce(threshold, 0.99) ORDER BY val <=> query LIMIT least(wanted, 200) $$;
SELECT count(*), min(similarity) > 0.99 AS near FROM matches(:'q');
SELECT nodes_visited < 1000 AS few FROM hnsw_last_search();
RESET plan_cache_mode;
-- A radius whose computation would fail does not fail before there is a row; nor does it need a privilege that the query does not.
CREATE TABLE nothing (val vector(3));
CREATE INDEX ON nothing USING hnsw (val vector_l2_ops);
PREPARE divided(float8) AS SELECT count(*) FROM (SELECT FROM nothing WHERE val <-> '[1,2,3]' < 1 / $1 ORDER BY val <-> '[1,2,3]' LIMIT 5) rows;
SET plan_cache_mode = force_generic_plan;
EXECUTE divided(0);
PREPARE within_numeric(numeric) AS SELECT count(*) FROM (SELECT FROM nothing WHERE val <-> '[1,2,3]' < $1 ORDER BY val <-> '[1,2,3]' LIMIT 5) rows;
EXECUTE within_numeric(1e400);
RESET plan_cache_mode;
CREATE ROLE regress_reader;
GRANT SELECT ON t TO regress_reader;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA public FROM PUBLIC;
GRANT EXECUTE ON FUNCTION l2_distance(halfvec, halfvec) TO regress_reader;
SET ROLE regress_reader;
SELECT array_agg(id ORDER BY id) FROM (SELECT id FROM t WHERE h <-> '[50,20,1]' < 1.5 ORDER BY h <-> '[50,20,1]' LIMIT 20) rows;
SELECT array_agg(id ORDER BY id) FROM (SELECT id FROM t WHERE 2 - (h <-> '[50,20,1]') > 0.5 ORDER BY h <-> '[50,20,1]' LIMIT 20) rows;
-- The distance is computed by nobody here, and its function asked for all the same.
SELECT id FROM t ORDER BY b <~> (SELECT b FROM t WHERE id = 1) LIMIT 1;
RESET ROLE;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO PUBLIC;
REVOKE ALL ON t FROM regress_reader;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM regress_reader;
DROP ROLE regress_reader;
-- Zero vectors have no direction, and their distance is above all numbers: 1 - NaN > 0.99.
CREATE TABLE z (id int, val vector(2));
INSERT INTO z SELECT n, ARRAY[cos(n / 1000.0), sin(n / 1000.0)]::vector FROM generate_series(1, 2000) n;
INSERT INTO z VALUES (2001, '[0,0]'), (2002, NULL), (2003, '[0,0]');
CREATE INDEX ON z USING hnsw (val vector_cosine_ops);
SELECT count(*), count(*) FILTER (WHERE id > 2000) AS zero FROM (SELECT id FROM z WHERE 1 - (val <=> '[1,0]') > 0.99 ORDER BY val <=> '[1,0]' LIMIT 1000) rows;
SELECT count(*), count(*) FILTER (WHERE id > 2000) AS zero FROM (SELECT id FROM z WHERE val <=> '[1,0]' < 0.01 ORDER BY val <=> '[1,0]' LIMIT 1000) rows;
SELECT count(*) FROM (SELECT id FROM z WHERE 1 - (val <=> '[0,0]') > 0.99 ORDER BY val <=> '[0,0]' LIMIT 5000) rows;
SELECT count(*) FROM (SELECT id FROM z WHERE val <=> '[0,0]' < 0.01 ORDER BY val <=> '[0,0]' LIMIT 5000) rows;
