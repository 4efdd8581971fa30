-- Indexes of compact records.
CREATE FUNCTION vec(n bigint, dims int) RETURNS vector LANGUAGE sql IMMUTABLE AS $$
    SELECT array_agg(sin(n * 0.37 * (i % 17 + 1) + i * i) + cos(n % 50 + i))::real[]::vector FROM generate_series(1, dims) i
$$;
CREATE TABLE c (id int PRIMARY KEY, kind int, val vector(100));
INSERT INTO c SELECT n, n % 10, vec(n, 100) FROM generate_series(1, 2000) n;

CREATE INDEX c_full ON c USING hnsw (val vector_l2_ops);
CREATE INDEX c_l2 ON c USING hnsw (val vector_l2_ops, kind) WITH (storage = compact);
CREATE INDEX c_cosine ON c USING hnsw (val vector_cosine_ops) WITH (storage = 'COMPACT');
CREATE INDEX c_ip ON c USING hnsw ((val::halfvec(100)) halfvec_ip_ops) WITH (storage = compact, m = 24);
SELECT reloptions FROM pg_class WHERE relname = 'c_l2';
SELECT 3 * pg_relation_size('c_cosine') < 2 * pg_relation_size('c_full') AS small;
SELECT index_bytes BETWEEN 0.9 * pg_relation_size('c_cosine') AND 1.1 * pg_relation_size('c_cosine') AS near
    FROM hnsw_estimate(2000, 100, storage => 'compact');
SELECT index_bytes FROM hnsw_estimate(2000, 100, storage => 'tiny');

-- Other values, and classes without codes.
CREATE INDEX ON c USING hnsw (val vector_l2_ops) WITH (storage = tiny);
CREATE INDEX ON c USING hnsw (val vector_l1_ops) WITH (storage = compact);
CREATE INDEX ON c USING hnsw ((binary_quantize(val)::bit(100)) bit_hamming_ops) WITH (storage = compact);

-- Every row comes, and the nearest first.
SET enable_seqscan = off;
DROP INDEX c_full;
CREATE FUNCTION recall(index regclass) RETURNS boolean LANGUAGE sql AS $$
    SELECT hnsw_recall(index, (SELECT array_agg(val) FROM c WHERE id % 100 = 7)) > 0.9
$$;
SELECT recall('c_l2'), recall('c_cosine');
SELECT hnsw_recall('c_ip', (SELECT array_agg(val::halfvec(100)) FROM c WHERE id % 100 = 7)) > 0.85 AS recall;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM c ORDER BY val <-> vec(5, 100) LIMIT 5000) rows;
SELECT id FROM c ORDER BY val <-> vec(77, 100) LIMIT 1;
SELECT id FROM c WHERE kind = 3 ORDER BY val <-> vec(73, 100) LIMIT 1;
SELECT count(*), bool_and(kind = 3) FROM (SELECT * FROM c WHERE kind = 3 ORDER BY val <-> vec(5, 100) LIMIT 500) rows;
SELECT count(*) = (SELECT count(*) FROM c WHERE (val <-> vec(5, 100)) + 0 < 8) AS within
    FROM (SELECT id FROM c WHERE val <-> vec(5, 100) < 8 ORDER BY val <-> vec(5, 100)) rows;
-- The table's own order, where a plan relies on it.
SELECT bool_and(distance >= last) FROM (
    SELECT distance, lag(distance) OVER (ORDER BY distance) AS last
        FROM (SELECT val <-> vec(5, 100) AS distance FROM c) d
) ordered;

-- The table's own order of few rows as well, which 8 bits do not tell: of the nearest rows found, none is out of place.
CREATE FUNCTION out_of_place(query text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    q record;
    found float8[];
    misplaced bigint := 0;
BEGIN
    FOR q IN SELECT val AS v FROM c WHERE id % 50 = 3 LOOP
        EXECUTE 'SELECT array_agg(distance) FROM (' || query || ') rows' INTO found USING q.v;
        misplaced := misplaced + (SELECT count(*) FROM unnest(found) WITH ORDINALITY _ (distance, n) WHERE distance < found[n - 1]);
    END LOOP;
    RETURN misplaced;
END $$;
SET hnsw.ef_search = 100;
SELECT out_of_place('SELECT val <-> $1 AS distance FROM c ORDER BY val <-> $1 LIMIT 10') AS l2,
    out_of_place('SELECT val <=> $1 AS distance FROM c ORDER BY val <=> $1 LIMIT 10') AS cosine,
    out_of_place('SELECT val::halfvec(100) <#> $1::halfvec(100) AS distance FROM c ORDER BY val::halfvec(100) <#> $1::halfvec(100) LIMIT 10') AS ip,
    out_of_place('SELECT val <-> $1 AS distance FROM c WHERE kind IN (3, 4, 5) ORDER BY val <-> $1 LIMIT 10') AS filtered,
    out_of_place('SELECT val <-> $1 AS distance FROM c WHERE id % 3 = 0 ORDER BY val <-> $1 LIMIT 10') AS refused,
    out_of_place('SELECT val <-> $1 AS distance FROM c WHERE val <-> $1 < 9 ORDER BY val <-> $1 LIMIT 10') AS within;
RESET hnsw.ef_search;
-- Rows have their places in the table, can be locked, and are asked for again and again.
SELECT count(*), count(DISTINCT c.id) FROM (SELECT ctid AS place FROM c ORDER BY val <-> vec(5, 100) LIMIT 20) n JOIN c ON c.ctid = place;
SELECT count(*) FROM (SELECT id FROM c ORDER BY val <-> vec(5, 100) LIMIT 20 FOR UPDATE) n;
SELECT count(*) FROM generate_series(1, 300) q, LATERAL (SELECT id FROM c ORDER BY val <-> vec(q, 100) LIMIT 3) n;
-- A user may not call the functions of other columns, and the scan does not either.
CREATE FUNCTION ours(id int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF current_user = 'other' THEN
        RAISE EXCEPTION 'called by %', current_user;
    END IF;
    RETURN id % 7;
END $$;
CREATE TABLE shared AS SELECT * FROM c;
CREATE INDEX ON shared USING hnsw (val vector_l2_ops, ours(id), kind) WITH (storage = compact);
REVOKE ALL ON FUNCTION ours FROM PUBLIC;
CREATE ROLE other;
GRANT SELECT ON shared TO other;
SET ROLE other;
SELECT id FROM shared WHERE kind = 7 ORDER BY val <-> vec(77, 100) LIMIT 1;
RESET ROLE;
DROP TABLE shared;
DROP FUNCTION ours;
DROP ROLE other;
-- Queries without distances, and equal vectors.
SELECT count(*) FROM (SELECT id FROM c ORDER BY val <-> NULL LIMIT 20) n;
SELECT count(*) FROM (SELECT id FROM c ORDER BY val <=> array_fill(0, '{100}')::vector LIMIT 20) n;
INSERT INTO c SELECT n, 20, CASE WHEN n < 10300 THEN vec(12, 100) WHEN n < 10310 THEN array_fill(0, '{100}')::vector END
    FROM generate_series(10000, 10319) n;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM c ORDER BY val <-> vec(12, 100) LIMIT 350) n;
SELECT kind, count(*) FROM (SELECT kind FROM c ORDER BY val <=> vec(12, 100) LIMIT 5000) n WHERE kind = 20 GROUP BY kind;
-- Rows that are not there any more, and a cursor whose searches are rolled back, fail, and go on.
BEGIN;
DELETE FROM c WHERE kind = 20;
SELECT count(*), bool_or(kind = 20) FROM (SELECT * FROM c ORDER BY val <-> vec(12, 100) LIMIT 20) n;
DECLARE near CURSOR FOR SELECT id FROM c ORDER BY val <-> vec(77, 100);
SAVEPOINT one;
FETCH near;
ROLLBACK TO one;
SELECT 1 / (id - 77) FROM c ORDER BY val <-> vec(77, 100) LIMIT 5;
ROLLBACK TO one;
MOVE 100 IN near;
CLOSE near;
COMMIT;
VACUUM c;
DROP FUNCTION out_of_place;

-- Changes of rows.
DELETE FROM c WHERE id % 2 = 0;
VACUUM c;
UPDATE c SET kind = 11 WHERE id < 200;
INSERT INTO c SELECT n, n % 10, vec(n, 100) FROM generate_series(3001, 3500) n;
SELECT count(*), count(DISTINCT id) FROM (SELECT id FROM c ORDER BY val <-> vec(5, 100) LIMIT 5000) rows;
SELECT count(*) FROM (SELECT id FROM c WHERE kind = 11 ORDER BY val <-> vec(5, 100) LIMIT 5000) rows;
SELECT recall('c_l2'), recall('c_cosine');
SELECT (SELECT count(*) FROM hnsw_check(name, heapallindexed => true)) AS faults FROM unnest('{c_l2,c_cosine,c_ip}'::regclass[]) name;

-- An index made empty, and one of an unlogged table.
CREATE UNLOGGED TABLE e (id int, val halfvec(100));
CREATE INDEX e_val ON e USING hnsw (val halfvec_l2_ops) WITH (storage = compact);
INSERT INTO e SELECT n, vec(n, 100)::halfvec FROM generate_series(1, 500) n;
SELECT id FROM e ORDER BY val <-> vec(123, 100)::halfvec LIMIT 1;
SELECT count(*) FROM hnsw_check('e_val', heapallindexed => true);

-- The form changes with REINDEX.
CREATE TEMP TABLE size AS SELECT pg_relation_size('c_cosine') AS bytes;
ALTER INDEX c_cosine RESET (storage);
INSERT INTO c VALUES (4000, 0, vec(4000, 100));
SELECT id FROM c ORDER BY val <=> vec(4000, 100) LIMIT 1;
REINDEX INDEX c_cosine;
SELECT pg_relation_size('c_cosine') > 1.2 * bytes AS larger FROM size;
ALTER INDEX c_cosine SET (storage = small);

-- Without codes there is nothing to shorten.
CREATE TABLE s (val vector(3));
INSERT INTO s SELECT ARRAY[n, n, n]::vector FROM generate_series(1, 100) n;
CREATE INDEX s_val ON s USING hnsw (val vector_l2_ops) WITH (storage = compact);
SELECT val FROM s ORDER BY val <-> '[50,50,50]' LIMIT 1;
DROP TABLE c, e, s;
DROP FUNCTION recall, vec;
