-- The index over halfvec, sparsevec and bit: under every distance the answers of a small table are those of an exact scan.
CREATE TABLE t (id int PRIMARY KEY, v vector(3), h halfvec(3), s sparsevec(1000), b bit(20));
INSERT INTO t SELECT n, v, v::halfvec, format('{%s:%s,%s:1,%s:-2}/1000', n % 40 + 1, n, n % 7 + 50, n % 11 + 60)::sparsevec,
        ((n * 7919) % 1048576)::bit(20)
    FROM generate_series(1, 500) n, LATERAL (SELECT ARRAY[n % 23, n % 19, n % 17 - 8]::vector AS v) vectors;
INSERT INTO t VALUES (600, NULL, NULL, NULL, NULL), (601, '[0,0,0]', '[0,0,0]', '{}/1000', B'00000000000000000000');

-- Rows of the index, as far as they differ from those of an exact scan: none.
CREATE FUNCTION differs(expression text, target text) RETURNS SETOF double precision LANGUAGE plpgsql AS $$
DECLARE
    query text := format('SELECT %1$s %2$s AS distance FROM t WHERE id <> 600 ORDER BY %1$s %2$s LIMIT 50', expression, target);
    plan json;
    exact double precision[];
    found double precision[];
BEGIN
    PERFORM set_config('enable_seqscan', 'on', true), set_config('enable_indexscan', 'off', true);
    EXECUTE format('SELECT array_agg(distance) FROM (%s) rows', query) INTO exact;
    PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_indexscan', 'on', true);
    EXECUTE format('EXPLAIN (FORMAT json) %s', query) INTO plan;
    IF plan::text NOT LIKE '%"Index Name": "t_idx"%' THEN
        RAISE 'the index is not used: %', plan;
    END IF;
    EXECUTE format('SELECT array_agg(distance) FROM (%s) rows', query) INTO found;
    RETURN QUERY SELECT d FROM (SELECT unnest(found) EXCEPT ALL SELECT unnest(exact)) rows(d);
END
$$;

SET hnsw.ef_search = 400;

CREATE INDEX t_idx ON t USING hnsw (h halfvec_l2_ops);
SELECT differs('h <->', '''[10,10,1]''');
SELECT * FROM hnsw_check('t_idx', true);
DROP INDEX t_idx;
CREATE INDEX t_idx ON t USING hnsw (h halfvec_ip_ops);
SELECT differs('h <#>', '''[10,10,1]''');
DROP INDEX t_idx;
CREATE INDEX t_idx ON t USING hnsw (h halfvec_cosine_ops);
SELECT differs('h <=>', '''[10,10,1]''');
SELECT * FROM hnsw_check('t_idx', true);
DROP INDEX t_idx;
CREATE INDEX t_idx ON t USING hnsw (h halfvec_l1_ops);
SELECT differs('h <+>', '''[10,10,1]''');
DROP INDEX t_idx;

CREATE INDEX t_idx ON t USING hnsw (s sparsevec_l2_ops);
SELECT differs('s <->', '''{5:100,52:1,63:-1}/1000''');
SELECT * FROM hnsw_check('t_idx', true);
DROP INDEX t_idx;
CREATE INDEX t_idx ON t USING hnsw (s sparsevec_ip_ops);
SELECT differs('s <#>', '''{5:100,52:1,63:-1}/1000''');
DROP INDEX t_idx;
CREATE INDEX t_idx ON t USING hnsw (s sparsevec_cosine_ops);
SELECT differs('s <=>', '''{5:100,52:1,63:-1}/1000''');
SELECT * FROM hnsw_check('t_idx', true);
DROP INDEX t_idx;
CREATE INDEX t_idx ON t USING hnsw (s sparsevec_l1_ops);
SELECT differs('s <+>', '''{5:100,52:1,63:-1}/1000''');
DROP INDEX t_idx;

CREATE INDEX t_idx ON t USING hnsw (b bit_hamming_ops);
SELECT differs('b <~>', 'B''10101010101010101010''');
SELECT * FROM hnsw_check('t_idx', true);
DROP INDEX t_idx;
CREATE INDEX t_idx ON t USING hnsw (b bit_jaccard_ops);
SELECT differs('b <%>', 'B''10101010101010101010''');
SELECT * FROM hnsw_check('t_idx', true);

-- Staged rows, changes and VACUUM.
CREATE INDEX t_s ON t USING hnsw (s sparsevec_l2_ops) WITH (m = 4, ef_construction = 10);
CREATE INDEX t_h ON t USING hnsw (h halfvec_l2_ops);
SET enable_seqscan = off;
BEGIN;
INSERT INTO t VALUES (701, NULL, '[7,7,7]', '{1:7,1000:7}/1000', B'11111111111111111111');
SELECT id FROM t ORDER BY s <-> '{1:7,1000:7}/1000' LIMIT 1;
SELECT id FROM t ORDER BY h <-> '[7,7,7.001]' LIMIT 1;
SELECT id FROM t ORDER BY b <%> B'11111111111111111111' LIMIT 1;
COMMIT;
SELECT id FROM t ORDER BY s <-> '{1:7,1000:7}/1000' LIMIT 1;
DELETE FROM t WHERE id % 2 = 1;
VACUUM t;
SELECT count(*) FROM (SELECT id FROM t ORDER BY s <-> '{}/1000' LIMIT 1000) rows;
SELECT * FROM hnsw_check('t_s', true) UNION ALL SELECT * FROM hnsw_check('t_h', true) UNION ALL SELECT * FROM hnsw_check('t_idx', true);

-- What does not fit.
SELECT id FROM t ORDER BY h <-> '[1,2]' LIMIT 1;
SELECT id FROM t ORDER BY s <-> '{1:1}/10' LIMIT 1;
SELECT id FROM t ORDER BY b <%> B'101' LIMIT 1;
CREATE TABLE long (h halfvec, s sparsevec, b bit(64001), c bit(64000), d halfvec(16000));
CREATE INDEX ON long USING hnsw (h halfvec_l2_ops);
CREATE INDEX ON long USING hnsw (s sparsevec_l2_ops);
CREATE INDEX ON long USING hnsw (b bit_hamming_ops);
CREATE INDEX ON long USING hnsw (c bit_hamming_ops);
CREATE INDEX ON long USING hnsw (d halfvec_cosine_ops);

-- Long values: 64,000 bits, 16,000 components, neither of which fits a page.
INSERT INTO long (c, d) SELECT repeat(n::bit(8)::text, 8000)::bit(64000), array_fill(n, ARRAY[16000])::halfvec
    FROM generate_series(1, 30) n;
SELECT DISTINCT substring(c, 1, 8) FROM (SELECT c FROM long ORDER BY c <~> repeat('00000111', 8000)::bit(64000) LIMIT 1) rows;
CREATE TABLE many (id int, s sparsevec(1000000000));
INSERT INTO many SELECT n, (SELECT '{' || string_agg(format('%s:%s', i * 60000 + n, 1 + i % n), ',') || '}/1000000000'
                           FROM generate_series(1, n * 530) i)::sparsevec
    FROM generate_series(1, 30) n;
CREATE INDEX ON many USING hnsw (s sparsevec_l2_ops);
INSERT INTO many SELECT id + 100, s FROM many WHERE id % 10 = 0;
SELECT q.id, array_agg(m.id ORDER BY m.id) FROM many q, LATERAL (SELECT id FROM many ORDER BY s <-> q.s LIMIT 2) m
    WHERE q.id IN (10, 20, 30) GROUP BY q.id ORDER BY q.id;
SELECT * FROM hnsw_check('many_s_idx', true);
DELETE FROM many WHERE id < 20;
VACUUM many;
SELECT * FROM hnsw_check('many_s_idx', true);
