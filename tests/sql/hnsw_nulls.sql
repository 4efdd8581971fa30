-- Rows without a vector, and under cosine distance those whose vector is zero: the index has them, and a scan returns them last, zero vectors
-- (NaN) before NULL.
SET client_min_messages = warning;

-- Reads all that an index scan returns: how many rows have a number, NaN and NULL for a distance, whether these are the rows of the table,
-- and whether they come in that order.
CREATE FUNCTION read_all(source text, distance text, OUT by_index boolean, OUT numbers bigint, OUT nans bigint, OUT nulls bigint,
                         OUT same_rows boolean, OUT in_order boolean) LANGUAGE plpgsql
    SET enable_seqscan = off SET enable_sort = off SET enable_bitmapscan = off AS $$
DECLARE
    line text;
    ids int[];
    kinds int[];
    rows int[];
BEGIN
    by_index := false;
    FOR line IN EXECUTE format('EXPLAIN SELECT id FROM %s ORDER BY %s', source, distance) LOOP
        by_index := by_index OR line LIKE '%Index Scan using%';
    END LOOP;
    EXECUTE format($q$
        SELECT coalesce(array_agg(id), '{}'), coalesce(array_agg(CASE WHEN d IS NULL THEN 2 WHEN d = 'NaN' THEN 1 ELSE 0 END), '{}')
            FROM (SELECT id, %2$s AS d FROM %1$s ORDER BY %2$s) found
    $q$, source, distance) INTO ids, kinds;
    PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_indexscan', 'off', true);
    EXECUTE format('SELECT coalesce(array_agg(id ORDER BY id), ''{}'') FROM %s', source) INTO rows;
    PERFORM set_config('enable_indexscan', 'on', true);
    SELECT count(*) FILTER (WHERE kind = 0), count(*) FILTER (WHERE kind = 1), count(*) FILTER (WHERE kind = 2)
        INTO numbers, nans, nulls FROM unnest(kinds) kind;
    same_rows := rows = (SELECT coalesce(array_agg(id ORDER BY id), '{}') FROM unnest(ids) id);
    in_order := kinds = (SELECT coalesce(array_agg(kind ORDER BY kind), '{}') FROM unnest(kinds) kind);
END $$;

-- Every type and metric, with no, one and many rows of each kind; in an index that is built over them, and one that they are inserted into.
CREATE FUNCTION value_of(type text, n int) RETURNS text LANGUAGE sql AS $$
    SELECT CASE type WHEN 'bit' THEN (n % 200)::bit(8)::text
                     WHEN 'sparsevec' THEN format('{1:%s,3:%s}/3', 1 + n % 17, 1 + n % 13)
                     ELSE format('[%s,%s,1]', n % 17, n % 13) END
$$;
CREATE FUNCTION zero_of(type text) RETURNS text LANGUAGE sql AS $$
    SELECT CASE type WHEN 'bit' THEN '00000000' WHEN 'sparsevec' THEN '{}/3' ELSE '[0,0,0]' END
$$;
CREATE FUNCTION try(type text, opclass text, operator text, many int, build boolean, OUT rows bigint, OUT result text, OUT faults bigint)
    LANGUAGE plpgsql AS $$
DECLARE
    index text := format('CREATE INDEX tried_val ON tried USING hnsw (val %s)', opclass);
    declared text := format('%s(%s)', type, CASE type WHEN 'bit' THEN 8 ELSE 3 END);
    found record;
BEGIN
    EXECUTE format('CREATE TABLE tried (id int, val %s)', declared);
    IF NOT build THEN EXECUTE index; END IF;
    EXECUTE format($q$
        INSERT INTO tried SELECT n, NULL FROM generate_series(1, %1$s / 2) n
            UNION ALL SELECT 10000 + n, value_of(%2$L, n)::%3$s FROM generate_series(1, 100) n
            UNION ALL SELECT 20000 + n, zero_of(%2$L)::%3$s FROM generate_series(1, %1$s) n
            UNION ALL SELECT 30000 + n, value_of(%2$L, n)::%3$s FROM generate_series(1, 100) n
            UNION ALL SELECT n, NULL FROM generate_series(%1$s / 2 + 1, %1$s) n
    $q$, many, type, declared);
    IF build THEN EXECUTE index; END IF;
    found := read_all('tried', format('val %s %L::%s', operator, value_of(type, 5), declared));
    rows := found.numbers + found.nans + found.nulls;
    result := CASE WHEN found.by_index AND found.same_rows AND found.in_order AND found.nulls = many
                        AND found.nans = CASE operator WHEN '<=>' THEN many ELSE 0 END
                   THEN 'right' ELSE found::text END;
    SELECT count(*) INTO faults FROM hnsw_check('tried_val', true) WHERE severity = 'corruption';
    DROP TABLE tried;
END $$;
SELECT type, operator, count(*), string_agg(DISTINCT result, ', ') AS results, sum(rows) AS rows, sum(faults) AS faults
    FROM (VALUES (0), (1), (5000)) rows(many), (VALUES (true), (false)) how(build),
         (VALUES ('vector', 'l2', '<->'), ('vector', 'ip', '<#>'), ('vector', 'cosine', '<=>'), ('vector', 'l1', '<+>'),
                 ('halfvec', 'l2', '<->'), ('halfvec', 'ip', '<#>'), ('halfvec', 'cosine', '<=>'), ('halfvec', 'l1', '<+>'),
                 ('sparsevec', 'l2', '<->'), ('sparsevec', 'ip', '<#>'), ('sparsevec', 'cosine', '<=>'), ('sparsevec', 'l1', '<+>'),
                 ('bit', 'hamming', '<~>'), ('bit', 'jaccard', '<%>')) classes(type, metric, operator),
         try(type, type || '_' || metric || '_ops', operator, many, build) tried
    GROUP BY type, operator ORDER BY type, operator;

-- What comes and goes.
CREATE TABLE t (id int PRIMARY KEY, val vector(3), active boolean DEFAULT true);
INSERT INTO t SELECT n, CASE n % 4 WHEN 0 THEN NULL WHEN 1 THEN '[0,0,0]' ELSE ARRAY[n % 97, n % 89, 1]::vector END FROM generate_series(1, 4000) n;
CREATE INDEX t_val ON t USING hnsw (val vector_cosine_ops);
-- The index has a row for each of the table.
SELECT reltuples FROM pg_class WHERE relname = 't_val';
SELECT * FROM read_all('t', 'val <=> ''[1,2,3]''');
SELECT * FROM hnsw_check('t_val', true);
-- A LIMIT is filled, whatever the rows have.
SET enable_seqscan = off;
SELECT count(*), count(val) FROM (SELECT val FROM t WHERE id % 100 < 3 ORDER BY val <=> '[1,2,3]' LIMIT 100) rows;
-- Within a radius is none of them.
SELECT count(*) FROM (SELECT id FROM t WHERE val <=> '[1,2,3]' < 3 ORDER BY val <=> '[1,2,3]') rows;
RESET enable_seqscan;
-- No vector to search for: all rows, in any order. A zero one: rows with a vector have NaN too.
SELECT by_index, numbers, nans, nulls, same_rows FROM read_all('t', 'val <=> (SELECT NULL::vector)');
SELECT * FROM read_all('t', 'val <=> ''[0,0,0]''');
-- To and fro.
UPDATE t SET val = NULL WHERE id % 4 = 2 AND id < 1000;
UPDATE t SET val = '[0,0,0]' WHERE id % 4 = 0 AND id < 1000;
UPDATE t SET val = '[1,2,4]' WHERE id % 4 = 1 AND id < 1000;
UPDATE t SET active = false WHERE id % 7 = 0;
SELECT * FROM read_all('t', 'val <=> ''[1,2,3]''');
SELECT * FROM hnsw_check('t_val', true);
-- Twice: the second time dead rows are marked. Then VACUUM takes them out.
SELECT * FROM read_all('t', 'val <=> ''[1,2,3]''');
VACUUM t;
SELECT reltuples FROM pg_class WHERE relname = 't_val';
SELECT * FROM read_all('t', 'val <=> ''[1,2,3]''');
SELECT * FROM hnsw_check('t_val', true);
DELETE FROM t WHERE id % 2 = 0;
VACUUM t;
SELECT * FROM read_all('t', 'val <=> ''[1,2,3]''');
SELECT * FROM hnsw_check('t_val', true);

-- Rows of a transaction, of a subtransaction that is taken back, and of a transaction that is.
BEGIN;
INSERT INTO t SELECT 10000 + n, CASE WHEN n % 2 = 0 THEN '[0,0,0]'::vector END FROM generate_series(1, 500) n;
SAVEPOINT s;
INSERT INTO t SELECT 11000 + n, CASE WHEN n % 2 = 0 THEN '[0,0,0]'::vector END FROM generate_series(1, 300) n;
SELECT * FROM read_all('t', 'val <=> ''[1,2,3]''');
ROLLBACK TO s;
SELECT * FROM read_all('t', 'val <=> ''[1,2,3]''');
DELETE FROM t WHERE id = 10001;
COMMIT;
SELECT * FROM read_all('t', 'val <=> ''[1,2,3]''');
BEGIN;
INSERT INTO t SELECT 12000 + n, NULL FROM generate_series(1, 500) n;
SELECT pg_relation_size('t_val') AS size \gset
SELECT * FROM read_all('t', 'val <=> ''[1,2,3]''');
ROLLBACK;
SELECT pg_relation_size('t_val') = :size AS as_before;
SELECT * FROM read_all('t', 'val <=> ''[1,2,3]''');
SELECT * FROM hnsw_check('t_val', true);
-- Into the index at once, and under a cursor.
BEGIN;
SET LOCAL enable_seqscan = off;
INSERT INTO t SELECT 13000 + n, NULL FROM generate_series(1, 300) n;
CREATE FUNCTION read_while_inserting() RETURNS TABLE (rows int, distinct_rows bigint, new_rows bigint) LANGUAGE plpgsql AS $$
DECLARE
    c CURSOR FOR SELECT id FROM t ORDER BY val <=> '[1,2,3]';
    id int;
    ids int[];
BEGIN
    OPEN c;
    LOOP
        FETCH c INTO id;
        EXIT WHEN NOT FOUND;
        ids := ids || id;
        IF cardinality(ids) % 1000 = 0 THEN
            INSERT INTO t SELECT 14000 + n, NULL FROM generate_series(cardinality(ids), cardinality(ids) + 300) n;
        END IF;
    END LOOP;
    RETURN QUERY SELECT cardinality(ids), count(DISTINCT i), count(*) FILTER (WHERE i > 14000) FROM unnest(ids) i;
END $$;
SELECT count(*) FROM t;
SET LOCAL hnsw.staging_memory = '1kB';
SELECT * FROM read_while_inserting();
SELECT * FROM read_all('t', 'val <=> ''[1,2,3]''');
ROLLBACK;
SET hnsw.staging_memory = 0;
BEGIN;
INSERT INTO t SELECT 15000 + n, NULL FROM generate_series(1, 1000) n;
ROLLBACK;
INSERT INTO t VALUES (16001, NULL), (16002, '[0,0,0]');
RESET hnsw.staging_memory;
SELECT * FROM read_all('t', 'val <=> ''[1,2,3]''');
SELECT * FROM hnsw_check('t_val', true);
VACUUM t;
SELECT * FROM hnsw_check('t_val', true);

-- Rows that are there already.
INSERT INTO t VALUES (16001, '[1,1,1]'), (16003, NULL), (16004, '[0,0,0]'), (16002, NULL)
    ON CONFLICT (id) DO UPDATE SET val = EXCLUDED.val;
INSERT INTO t VALUES (16001, NULL), (16005, NULL) ON CONFLICT DO NOTHING;
SELECT id, val FROM t WHERE id > 16000 ORDER BY id;
SELECT * FROM read_all('t', 'val <=> ''[1,2,3]''');
SELECT * FROM hnsw_check('t_val', true);

-- Built anew, also beside others, and in part.
REINDEX INDEX t_val;
SELECT * FROM read_all('t', 'val <=> ''[1,2,3]''');
SELECT * FROM hnsw_check('t_val', true);
DROP INDEX t_val;
CREATE INDEX CONCURRENTLY t_val ON t USING hnsw (val vector_cosine_ops);
SELECT * FROM read_all('t', 'val <=> ''[1,2,3]''');
SELECT * FROM hnsw_check('t_val', true);
REINDEX INDEX CONCURRENTLY t_val;
SELECT * FROM hnsw_check('t_val', true);
DROP INDEX t_val;
CREATE INDEX t_active ON t USING hnsw (val vector_cosine_ops) WHERE active;
INSERT INTO t VALUES (17001, NULL, false), (17002, NULL, true), (17003, '[0,0,0]', false), (17004, '[0,0,0]', true);
SELECT * FROM read_all('t WHERE active', 'val <=> ''[1,2,3]''');
SELECT * FROM hnsw_check('t_active', true);
DROP INDEX t_active;
-- An index that NULL is kept out of.
CREATE INDEX t_given ON t USING hnsw (val vector_cosine_ops) WHERE val IS NOT NULL;
INSERT INTO t VALUES (18001, NULL), (18002, '[0,0,0]');
SELECT * FROM read_all('t WHERE val IS NOT NULL', 'val <=> ''[1,2,3]''');
SELECT * FROM hnsw_check('t_given', true);
DROP INDEX t_given;
-- An expression, NULL for some.
CREATE INDEX t_expression ON t USING hnsw ((CASE WHEN id % 3 = 0 THEN val END::vector(3)) vector_cosine_ops);
SELECT * FROM hnsw_check('t_expression', true);
DROP INDEX t_expression;

-- Emptied.
CREATE INDEX t_val ON t USING hnsw (val vector_cosine_ops);
TRUNCATE t;
SELECT * FROM read_all('t', 'val <=> ''[1,2,3]''');
BEGIN;
INSERT INTO t VALUES (1, NULL), (2, '[0,0,0]');
TRUNCATE t;
INSERT INTO t VALUES (3, NULL), (4, '[0,0,0]'), (5, '[1,1,1]');
SELECT * FROM read_all('t', 'val <=> ''[1,2,3]''');
COMMIT;
SELECT * FROM read_all('t', 'val <=> ''[1,2,3]''');
SELECT * FROM hnsw_check('t_val', true);
DELETE FROM t;
VACUUM t;
SELECT * FROM read_all('t', 'val <=> ''[1,2,3]''');
SELECT * FROM hnsw_check('t_val', true);
CREATE UNLOGGED TABLE unlogged (id int, val vector(3));
CREATE INDEX unlogged_val ON unlogged USING hnsw (val vector_cosine_ops);
INSERT INTO unlogged SELECT n, NULL FROM generate_series(1, 300) n;
SELECT * FROM read_all('unlogged', 'val <=> ''[1,2,3]''');
CREATE TEMP TABLE temporary (id int, val vector(3));
CREATE INDEX temporary_val ON temporary USING hnsw (val vector_cosine_ops);
INSERT INTO temporary SELECT n, NULL FROM generate_series(1, 300) n;
SELECT * FROM read_all('temporary', 'val <=> ''[1,2,3]''');

-- A queue of rows of one vector, or of none, takes no more room than its rows: 50 rounds of new ones, the oldest deleted.
CREATE TABLE queue (id int PRIMARY KEY, val vector(3)) WITH (vacuum_truncate = false);
CREATE INDEX queue_val ON queue USING hnsw (val vector_cosine_ops);
\set ECHO none
SELECT format('INSERT INTO queue SELECT n, %s FROM generate_series(%s, %s) n', val, 1000 * n, 1000 * n + 999),
       format('DELETE FROM queue WHERE id < %s', 1000 * n - 500),
       'VACUUM queue',
       CASE WHEN n % 50 = 10 THEN format('CREATE TABLE size_%s AS SELECT pg_relation_size(''queue_val'') AS bytes', n) END
    FROM (VALUES (1, '''[1,2,3]'''), (2, '''[0,0,0]'''), (3, 'NULL')) kinds(kind, val),
         LATERAL generate_series(50 * kind + 1, 50 * kind + 50) n
    ORDER BY n \gexec
\set ECHO all
SELECT (pg_relation_size('queue_val') - bytes) / current_setting('block_size')::int <= 2 AS bounded FROM size_160;
SELECT s2.bytes - s1.bytes <= 2 * current_setting('block_size')::int AS bounded FROM size_60 s1, size_110 s2;
SELECT * FROM read_all('queue', 'val <=> ''[1,2,3]''');
SELECT * FROM hnsw_check('queue_val', true);
