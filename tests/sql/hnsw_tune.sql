-- Recall as the setting, and hnsw_tune().
CREATE TABLE t (id int PRIMARY KEY, val vector(16));
INSERT INTO t SELECT n, ARRAY(SELECT sin(n * i * 0.37) + cos(n * 0.11 + i) FROM generate_series(1, 16) i)::vector FROM generate_series(1, 3000) n;
CREATE TABLE q AS SELECT ARRAY(SELECT sin((n + 0.5) * i * 0.37) + cos((n + 0.5) * 0.11 + i) FROM generate_series(1, 16) i)::vector AS val
    FROM generate_series(1, 3000, 60) n;

-- The options and their bounds.
SELECT error_of($$CREATE INDEX ON t USING hnsw (val vector_l2_ops) WITH (target_recall = 0.4)$$);
SELECT error_of($$CREATE INDEX ON t USING hnsw (val vector_l2_ops) WITH (target_recall = 1)$$);
SELECT error_of($$CREATE INDEX ON t USING hnsw (val vector_l2_ops) WITH (target_recall = much)$$);
SELECT error_of($$SET hnsw.target_recall = 1$$);
SELECT error_of($$SET hnsw.target_recall = -0.1$$);
SHOW hnsw.target_recall;

-- What gives the width: the session before the index, and of each a width before a recall.
CREATE INDEX t_val ON t USING hnsw (val vector_l2_ops) WITH (target_recall = 0.98);
SET enable_seqscan = off;
CREATE FUNCTION search(OUT width int, OUT target_recall float8) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM id FROM t ORDER BY t.val <-> (SELECT val FROM q LIMIT 1) LIMIT 10;
    SELECT s.width, s.target_recall INTO search.width, search.target_recall FROM hnsw_last_search() s;
END $$;
SELECT width BETWEEN 1 AND 1000 AS width, target_recall FROM search();
ALTER INDEX t_val SET (ef_search = 77);
SELECT * FROM search();
SET hnsw.target_recall = 0.5;
SELECT width < 77 AS narrow, target_recall FROM search();
SET hnsw.target_recall = 0.9999;
SELECT target_recall FROM search();
SET hnsw.ef_search = 55;
SELECT * FROM search();
RESET hnsw.ef_search;
BEGIN;
SET LOCAL hnsw.target_recall = 0.7;
SELECT target_recall FROM search();
ROLLBACK;
SET hnsw.target_recall = 0;
SELECT * FROM search();
ALTER INDEX t_val RESET (ef_search);
SELECT target_recall FROM search();
ALTER INDEX t_val RESET (target_recall);
SELECT * FROM search();
ALTER INDEX t_val SET (target_recall = 0.98);
RESET hnsw.target_recall;
SELECT hnsw_recall('t_val', (SELECT array_agg(val) FROM q)) > 0.95 AS reached;

-- An index on an empty table is measured by VACUUM or ANALYZE, and so are its new rows.
CREATE TABLE e (id int PRIMARY KEY, val vector(16));
CREATE INDEX e_val ON e USING hnsw (val vector_l2_ops) WITH (target_recall = 0.9999);
CREATE FUNCTION width_of_e() RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    PERFORM id FROM e ORDER BY e.val <-> (SELECT val FROM q LIMIT 1) LIMIT 10;
    RETURN (SELECT width FROM hnsw_last_search());
END $$;
INSERT INTO e SELECT * FROM t WHERE id <= 900;
VACUUM e;
SELECT width_of_e();
INSERT INTO e SELECT * FROM t WHERE id > 900;
SELECT width_of_e();
ANALYZE e;
SELECT width_of_e() <> 40 AS measured;
SELECT * FROM hnsw_check('e_val', true);
DROP TABLE e;

-- hnsw_tune() with the user's queries.
CREATE TABLE tuned AS SELECT * FROM hnsw_tune('t_val', (SELECT array_agg(val) FROM q), target => 0.9);
SELECT count(*) >= 11 AS rows, min(width), max(width), count(*) FILTER (WHERE chosen) AS chosen,
        bool_and(recall BETWEEN 0 AND 1 AND microseconds > 0 AND pages > 0) AS sound,
        bool_and(recall >= 0.88) FILTER (WHERE chosen) AS reached, max(recall) > 0.99 AS complete
    FROM tuned;
-- It agrees with hnsw_recall(), which compares with the table.
SET hnsw.ef_search = 10;
SELECT abs(recall - hnsw_recall('t_val', (SELECT array_agg(val) FROM q))) < 0.03 AS same FROM tuned WHERE width = 10;
RESET hnsw.ef_search;
SELECT target_recall FROM search();
SELECT count(*) > 10 AS rows FROM hnsw_tune('t_val', (SELECT array_agg(val) FROM q), 0.8, k => 3, apply => true);
SELECT width < 1000 AS width, target_recall FROM search();
SELECT reloptions FROM pg_class WHERE relname = 't_val';
SELECT count(*) > 10 AS rows FROM hnsw_tune('t_val', (SELECT array_agg(val) FROM q), 0.8, k => 150);

-- Arguments.
SELECT count(*) FROM hnsw_tune('t_val', ARRAY[]::vector[]);
SELECT count(*) FROM hnsw_tune('t_val', ARRAY[NULL]::vector[], apply => true);
SELECT error_of($$SELECT * FROM hnsw_tune('t_val', ARRAY['[1,2]'::vector])$$);
SELECT error_of($$SELECT * FROM hnsw_tune('t_val', ARRAY[1, 2])$$);
SELECT error_of($$SELECT * FROM hnsw_tune('t_val', (SELECT array_agg(val) FROM q), 0.3)$$);
SELECT error_of($$SELECT * FROM hnsw_tune('t_val', (SELECT array_agg(val) FROM q), 'NaN')$$);
SELECT error_of($$SELECT * FROM hnsw_tune('t_val', (SELECT array_agg(val) FROM q), k => 0)$$);
SELECT error_of($$SELECT * FROM hnsw_tune('t_pkey', (SELECT array_agg(val) FROM q))$$);
BEGIN READ ONLY;
SELECT count(*) > 10 AS rows FROM hnsw_tune('t_val', (SELECT array_agg(val) FROM q));
SELECT error_of($$SELECT * FROM hnsw_tune('t_val', (SELECT array_agg(val) FROM q), apply => true)$$);
ROLLBACK;

-- The owner may apply, a monitoring role only look.
CREATE ROLE regress_alopex_tuner ROLE CURRENT_USER;
GRANT SELECT ON q TO regress_alopex_tuner;
SET ROLE regress_alopex_tuner;
SELECT error_of($$SELECT * FROM hnsw_tune('t_val', (SELECT array_agg(val) FROM q))$$);
RESET ROLE;
GRANT pg_stat_scan_tables TO regress_alopex_tuner;
SET ROLE regress_alopex_tuner;
SELECT count(*) > 10 AS rows FROM hnsw_tune('t_val', (SELECT array_agg(val) FROM q));
SELECT error_of($$SELECT * FROM hnsw_tune('t_val', (SELECT array_agg(val) FROM q), apply => true)$$);
RESET ROLE;
REVOKE ALL ON q FROM regress_alopex_tuner;
DROP ROLE regress_alopex_tuner;

-- Other types and metrics.
CREATE TABLE o AS SELECT id, val::halfvec(16) AS h, val::sparsevec(16) AS s, binary_quantize(val)::bit(16) AS b FROM t;
CREATE INDEX o_h ON o USING hnsw (h halfvec_cosine_ops) WITH (target_recall = 0.9);
CREATE INDEX o_s ON o USING hnsw (s sparsevec_ip_ops) WITH (target_recall = 0.9);
CREATE INDEX o_b ON o USING hnsw (b bit_hamming_ops) WITH (target_recall = 0.9);
SELECT max(recall) > 0.9 AS half FROM hnsw_tune('o_h', (SELECT array_agg(val::halfvec) FROM q));
SELECT max(recall) > 0.9 AS sparse FROM hnsw_tune('o_s', (SELECT array_agg(val::sparsevec(16)) FROM q));
SELECT max(recall) > 0.9 AS bits FROM hnsw_tune('o_b', (SELECT array_agg(b) FROM o WHERE id <= 50), k => 1);

-- An index without nodes keeps no measurement, and one of ivfflat no target.
CREATE TABLE nothing (val vector(3));
CREATE INDEX nothing_val ON nothing USING hnsw (val vector_l2_ops);
CREATE INDEX nothing_lists ON nothing USING ivfflat (val);
SELECT count(*) FROM hnsw_tune('nothing_val', ARRAY['[1,2,3]']::vector[], apply => true);
SELECT recall, target_recall FROM hnsw_health('nothing_val');
SELECT count(*) FROM hnsw_tune('nothing_lists', ARRAY['[1,2,3]']::vector[], apply => true);
INSERT INTO nothing SELECT ARRAY[n, n % 3, 1]::vector FROM generate_series(1, 20) n;
SELECT bool_and(recall = 1) FROM hnsw_tune('nothing_val', ARRAY['[1,2,3]', '[9,0,1]']::vector[], k => 50);
DROP TABLE nothing;
