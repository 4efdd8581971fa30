-- A scan ends at the radius that a condition gives.
CREATE TABLE t (id int PRIMARY KEY, val vector(70), h halfvec(3), b bit(32), s sparsevec(100));
INSERT INTO t SELECT n, ARRAY(SELECT sin(n * i / 50.0) FROM generate_series(1, 70) i)::vector, ARRAY[n % 101, n / 101, 1]::halfvec,
        (n * 2654435761)::bit(32), format('{%s:1,%s:2}/100', n % 50 + 1, n % 49 + 51)::sparsevec
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
SELECT * FROM compare('s <-> ''{3:1,52:2}/100''', '0.1');
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
SELECT hnsw_within('[1,2,3]'::vector, 1);
