-- Indexes that learned the directions in which their rows differ most.
CREATE FUNCTION vec(n bigint, dims int) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
    SELECT array_agg(sin(n * 0.37 * (i % 17 + 1) + i * i) + cos(n % 50 + i) + 1e-3 * sin(n * i))::real[]::vector
        FROM generate_series(1, dims) i
$$;
CREATE TABLE d (id int PRIMARY KEY, kind int, val vector(600));
INSERT INTO d SELECT n, n % 100, vec(n, 600) FROM generate_series(1, 10000) n;
CREATE INDEX d_l2 ON d USING hnsw (val vector_l2_ops);
CREATE INDEX d_filter ON d USING hnsw (val vector_cosine_ops, kind);
CREATE INDEX d_half ON d USING hnsw ((val::halfvec(600)) halfvec_cosine_ops);
CREATE INDEX d_ip ON d USING hnsw (val vector_ip_ops);
-- Few rows have none.
CREATE INDEX d_few ON d USING hnsw (val vector_l2_ops) WHERE id <= 4000;
SELECT name, pg_relation_size(name) < 0.9 * 2.5 * pg_relation_size('d_few') AS smaller FROM unnest('{d_l2,d_filter,d_half,d_ip}'::regclass[]) name;

-- Every row comes, and the nearest first.
SET enable_seqscan = off;
DROP INDEX d_few;
CREATE FUNCTION recall(index regclass) RETURNS boolean LANGUAGE sql AS $$
    SELECT hnsw_recall(index, (SELECT array_agg(val) FROM d WHERE id % 500 = 7)) > 0.95
$$;
SELECT recall('d_l2'), recall('d_filter'), recall('d_ip');
SELECT hnsw_recall('d_half', (SELECT array_agg(val::halfvec(600)) FROM d WHERE id % 500 = 7)) > 0.95 AS recall;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM d ORDER BY val <-> vec(5, 600) LIMIT 20000) rows;
SELECT id FROM d ORDER BY val <-> vec(77, 600) LIMIT 1;
SELECT id FROM d WHERE kind = 73 ORDER BY val <=> vec(173, 600) LIMIT 1;
SELECT count(*), bool_and(kind = 73) FROM (SELECT * FROM d WHERE kind = 73 ORDER BY val <=> vec(5, 600) LIMIT 200) rows;
SELECT count(*) = (SELECT count(*) FROM d WHERE (val <-> vec(5, 600)) + 0 < 20) AS within
    FROM (SELECT id FROM d WHERE val <-> vec(5, 600) < 20 ORDER BY val <-> vec(5, 600)) rows;

-- Changes of rows, also by rows unlike those that directions were learned from.
DELETE FROM d WHERE id % 10 = 0;
VACUUM d;
UPDATE d SET kind = 101 WHERE id < 200;
INSERT INTO d SELECT n, n % 100, vec(n, 600) FROM generate_series(20001, 20100) n;
INSERT INTO d SELECT 30000 + n, 0, array_agg(sin(n * i * i))::real[]::vector
    FROM generate_series(1, 100) n, generate_series(1, 600) i GROUP BY n;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM d ORDER BY val <-> vec(5, 600) LIMIT 20000) rows;
SELECT count(*) FROM (SELECT id FROM d WHERE kind = 101 ORDER BY val <=> vec(5, 600) LIMIT 5000) rows;
SELECT recall('d_l2'), recall('d_filter'), recall('d_ip');
SELECT hnsw_recall('d_l2', (SELECT array_agg(val) FROM d WHERE id > 30000)) > 0.95 AS recall;
SELECT (SELECT count(*) FROM hnsw_check(name, heapallindexed => true)) AS faults
    FROM unnest('{d_l2,d_filter,d_half,d_ip}'::regclass[]) name;

-- An index made empty has none, REINDEX learns them.
CREATE TEMP TABLE size AS SELECT pg_relation_size('d_l2') AS bytes;
CREATE TEMP TABLE rows AS TABLE d;
DROP INDEX d_filter, d_half, d_ip;
TRUNCATE d;
INSERT INTO d SELECT * FROM rows ORDER BY id LIMIT 2000;
SELECT id FROM d ORDER BY val <-> vec(77, 600) LIMIT 1;
SELECT count(*) FROM hnsw_check('d_l2', heapallindexed => true);
INSERT INTO d SELECT * FROM rows WHERE id NOT IN (SELECT id FROM d) ORDER BY id;
SELECT pg_relation_size('d_l2') > 1.1 * bytes AS larger FROM size;
REINDEX INDEX d_l2;
SELECT pg_relation_size('d_l2') < 1.1 * bytes AS as_before FROM size;
SELECT recall('d_l2');
DROP TABLE d, rows, size;
DROP FUNCTION recall, vec;
