-- hnsw.sample_queries: queries in the pages of their index.
CREATE TABLE t (id int PRIMARY KEY, val vector(8));
INSERT INTO t SELECT n, ARRAY(SELECT sin(n * i * 0.37) + cos(n * 0.11 + i) FROM generate_series(1, 8) i)::vector FROM generate_series(1, 2000) n;
CREATE INDEX t_val ON t USING hnsw (val vector_l2_ops);
CREATE TABLE q AS SELECT n, ARRAY(SELECT sin((n + 0.5) * i * 0.37) + cos((n + 0.5) * 0.11 + i) FROM generate_series(1, 8) i)::vector AS val
    FROM generate_series(1, 1000) n;
SET enable_seqscan = off;
CREATE FUNCTION search(VARIADIC numbers int[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    query vector;
BEGIN
    FOR query IN SELECT val FROM q WHERE n = ANY (numbers) ORDER BY n LOOP
        PERFORM id FROM t ORDER BY t.val <-> query LIMIT 5;
    END LOOP;
END $$;
CREATE FUNCTION sampled() RETURNS int[] LANGUAGE sql AS $$
    SELECT array_agg(n ORDER BY n) FROM hnsw_sampled_queries('t_val') s JOIN q ON q.val = s.query::vector
$$;

-- Off by default, and then an index has none.
SHOW hnsw.sample_queries;
SELECT search(1);
SELECT count(*) FROM hnsw_sampled_queries('t_val');
SELECT error_of($$SELECT * FROM hnsw_tune('t_val')$$);
SELECT * FROM hnsw_tune('t_val', target => 0.9);
SELECT hnsw_forget_queries('t_val');
SELECT error_of($$SET hnsw.sample_queries = -0.1$$);
SELECT error_of($$SET hnsw.sample_queries = 1.1$$);
SET hnsw.sample_queries = 'NaN';

-- All queries: statements, prepared ones, subqueries of a join; a rollback takes none back; no query takes a transaction ID.
SET hnsw.sample_queries = 1;
SELECT search(1, 2, 3);
PREPARE nearest(vector) AS SELECT id FROM t ORDER BY val <-> $1 LIMIT 1;
SET plan_cache_mode = force_generic_plan;
SELECT val AS query FROM q WHERE n = 4 \gset
EXECUTE nearest(:'query');
SET plan_cache_mode = force_custom_plan;
SELECT val AS query FROM q WHERE n = 5 \gset
EXECUTE nearest(:'query');
RESET plan_cache_mode;
SELECT count(*) FROM q, LATERAL (SELECT id FROM t ORDER BY t.val <-> q.val LIMIT 2) nearest WHERE n BETWEEN 10 AND 14;
BEGIN;
SELECT hnsw_forget_queries('t_val');
SELECT search(20);
SAVEPOINT s;
SELECT search(21);
ROLLBACK TO s;
SELECT pg_current_xact_id_if_assigned() IS NULL AS without_id;
ROLLBACK;
DECLARE c CURSOR WITH HOLD FOR SELECT id FROM t ORDER BY val <-> (SELECT val FROM q WHERE n = 22);
FETCH 1 FROM c;
CLOSE c;
SELECT count(*) FROM (SELECT id FROM t ORDER BY val <-> (SELECT val FROM q WHERE n = 0) LIMIT 1) r;
SELECT sampled();
SELECT count(*), bool_and(sampled_at BETWEEN now() - interval '1 hour' AND clock_timestamp()) AS recent,
        bool_and(sampled_at <= before) IS NOT false AS newest_first
    FROM (SELECT sampled_at, lag(sampled_at) OVER () AS before FROM hnsw_sampled_queries('t_val')) s;

-- No query of a read-only transaction, of hnsw_recall() and of hnsw_tune().
BEGIN READ ONLY;
SELECT search(30);
SELECT error_of($$SELECT hnsw_forget_queries('t_val')$$);
SELECT count(*) FROM hnsw_sampled_queries('t_val');
ROLLBACK;
SELECT hnsw_recall('t_val', (SELECT array_agg(val) FROM q WHERE n BETWEEN 31 AND 33)) > 0.5 AS measured;
SHOW hnsw.sample_queries;
SELECT count(*) > 10 AS rows FROM hnsw_tune('t_val', (SELECT array_agg(val) FROM q WHERE n BETWEEN 31 AND 33));
SELECT 30 = ANY (sampled()) OR 31 = ANY (sampled()) AS too_many;

-- The last ones stay: 64 a page of four.
DO $$ BEGIN PERFORM search(VARIADIC array_agg(n)) FROM q; END $$;
SELECT count(*), min(n), max(n) FROM hnsw_sampled_queries('t_val') s JOIN q ON q.val = s.query::vector;
SELECT pg_relation_size('t_val') AS size \gset
DO $$ BEGIN PERFORM search(VARIADIC array_agg(n)) FROM q; END $$;
SELECT pg_relation_size('t_val') = :size AS bounded;
SELECT * FROM hnsw_check('t_val', true);

-- The width that they take, as by the same queries as an argument.
CREATE TABLE tuned AS SELECT * FROM hnsw_tune('t_val', target => 0.9, k => 7);
SELECT count(*) >= 11 AS rows, count(*) FILTER (WHERE chosen) AS chosen, bool_and(recall >= 0.88) FILTER (WHERE chosen) AS reached FROM tuned;
SELECT count(*) AS different
    FROM tuned a JOIN hnsw_tune('t_val', (SELECT array_agg(query::vector) FROM hnsw_sampled_queries('t_val')), 0.9, 7) b USING (width)
    WHERE abs(a.recall - b.recall) > 1e-9;
SELECT count(*) > 10 AS rows FROM hnsw_tune('t_val', 0.97, apply => true);
SELECT calibrated_by, target_recall FROM hnsw_health('t_val');

-- A share.
SELECT hnsw_forget_queries('t_val') BETWEEN 192 AND 256 AS forgotten;
SELECT sampled();
SET hnsw.sample_queries = 0.1;
DO $$ BEGIN PERFORM search(VARIADIC array_agg(n)) FROM q; END $$;
SELECT count(*) BETWEEN 50 AND 160 AS a_tenth FROM hnsw_sampled_queries('t_val');

-- VACUUM and growth leave them; REINDEX and TRUNCATE do not.
SET hnsw.sample_queries = 1;
SELECT hnsw_forget_queries('t_val') > 0;
SELECT search(1, 2, 3);
DELETE FROM t WHERE id % 3 = 0;
VACUUM t;
INSERT INTO t SELECT n, ARRAY[n, n % 7, 1, 2, 3, 4, 5, 6]::vector FROM generate_series(5001, 5500) n;
SELECT sampled();
REINDEX INDEX t_val;
SELECT sampled();
SELECT search(4);
BEGIN;
TRUNCATE t;
SELECT search(5);
SELECT sampled();
ROLLBACK;
SELECT sampled();
SELECT * FROM hnsw_check('t_val', true);

-- For the owner alone, and set by superusers alone.
CREATE ROLE regress_alopex_other;
CREATE ROLE regress_alopex_owner;
GRANT regress_alopex_other, regress_alopex_owner TO CURRENT_USER;
GRANT SELECT ON t, q TO regress_alopex_other;
GRANT pg_stat_scan_tables TO regress_alopex_other;
SET ROLE regress_alopex_other;
SELECT error_of($$SET hnsw.sample_queries = 0$$);
SELECT error_of($$SELECT * FROM hnsw_sampled_queries('t_val')$$);
SELECT error_of($$SELECT hnsw_forget_queries('t_val')$$);
SELECT error_of($$SELECT * FROM hnsw_tune('t_val', apply => true)$$);
SELECT count(*) > 10 AS rows FROM hnsw_tune('t_val');
SELECT search(6);
SELECT hnsw_recall('t_val', (SELECT array_agg(val) FROM q WHERE n BETWEEN 31 AND 33)) > 0.5 AS measured;
RESET ROLE;
ALTER TABLE t OWNER TO regress_alopex_owner;
SET ROLE regress_alopex_owner;
SELECT count(*) FROM hnsw_sampled_queries('t_val');
SELECT hnsw_forget_queries('t_val');
RESET ROLE;
SELECT error_of($$SELECT * FROM hnsw_sampled_queries('t_pkey')$$);
SELECT error_of($$SELECT * FROM hnsw_sampled_queries('t')$$);
SELECT error_of($$SELECT * FROM hnsw_sampled_queries(0)$$);
REVOKE ALL ON t, q FROM regress_alopex_other;
ALTER TABLE t OWNER TO CURRENT_USER;
DROP ROLE regress_alopex_other, regress_alopex_owner;

-- Every type, and other tables.
CREATE TABLE o AS SELECT id, val::halfvec(8) AS h, val::sparsevec(8) AS s, binary_quantize(val)::bit(8) AS b FROM t;
CREATE INDEX o_h ON o USING hnsw (h halfvec_cosine_ops);
CREATE INDEX o_s ON o USING hnsw (s sparsevec_ip_ops);
CREATE INDEX o_b ON o USING hnsw (b bit_hamming_ops);
SELECT count(*) FROM (SELECT id FROM o ORDER BY h <=> '[1,2,3,4,5,6,7,8.5]' LIMIT 3) r;
SELECT count(*) FROM (SELECT id FROM o ORDER BY s <#> '{1:0.5,7:-2}/8' LIMIT 3) r;
SELECT count(*) FROM (SELECT id FROM o ORDER BY b <~> B'10110010' LIMIT 3) r;
SELECT query FROM hnsw_sampled_queries('o_h') UNION ALL SELECT query FROM hnsw_sampled_queries('o_s') UNION ALL
    SELECT query FROM hnsw_sampled_queries('o_b');
SELECT count(*) > 10 AS rows FROM hnsw_tune('o_h', k => 1) UNION ALL SELECT count(*) > 10 FROM hnsw_tune('o_s', k => 1) UNION ALL
    SELECT count(*) > 10 FROM hnsw_tune('o_b', k => 1);

-- A value with a short header, one of the table itself, and those that a page holds and does not.
CREATE TABLE long (id int, val vector(2034), longer vector(2035));
INSERT INTO long SELECT n, array_fill(n::real, ARRAY[2034])::vector, array_fill(n::real, ARRAY[2035])::vector FROM generate_series(1, 5) n;
CREATE INDEX long_val ON long USING hnsw (val vector_l2_ops);
CREATE INDEX long_longer ON long USING hnsw (longer vector_l2_ops);
SELECT id FROM long ORDER BY val <-> (SELECT val FROM long WHERE id = 3) LIMIT 1;
SELECT id FROM long ORDER BY longer <-> (SELECT longer FROM long WHERE id = 3) LIMIT 1;
SELECT query::vector = val AS same FROM hnsw_sampled_queries('long_val'), long WHERE id = 3;
SELECT count(*) FROM hnsw_sampled_queries('long_longer');

-- Temporary and unlogged tables, and ivfflat.
CREATE TEMP TABLE temporary AS SELECT * FROM t;
CREATE INDEX temporary_val ON temporary USING hnsw (val vector_l2_ops);
SELECT count(*) FROM (SELECT id FROM temporary ORDER BY val <-> (SELECT val FROM q WHERE n = 1) LIMIT 3) r;
SELECT count(*) FROM hnsw_sampled_queries('temporary_val');
CREATE UNLOGGED TABLE unlogged AS SELECT * FROM t;
CREATE INDEX unlogged_val ON unlogged USING ivfflat (val vector_l2_ops);
SELECT count(*) FROM (SELECT id FROM unlogged ORDER BY val <-> (SELECT val FROM q WHERE n = 1) LIMIT 3) r;
SELECT count(*) FROM hnsw_sampled_queries('unlogged_val');

-- DROP INDEX leaves nothing.
DROP INDEX t_val;
SELECT count(*) FROM pg_class WHERE relname ~ 'sampl';
