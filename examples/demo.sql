-- The tour of the extension that `make demo` runs, on 20,000 English words with an embedding of 50 dimensions each.
-- Run from the top of the checkout, in an empty database. Every claim it prints is checked: it stops with an error otherwise.

\echo
\echo '=== 1. Twenty thousand words and their embeddings'
CREATE EXTENSION pg_alopex;
CREATE TABLE words (word text PRIMARY KEY, embedding vector(50) NOT NULL) WITH (autovacuum_enabled = off);
\copy words FROM PROGRAM 'gzip -dc examples/words.csv.gz' WITH (FORMAT csv)
SELECT count(*) AS words, pg_size_pretty(pg_total_relation_size('words')) AS "table size",
       left((SELECT embedding::text FROM words WHERE word = 'king'), 40) || '...' AS "king"
FROM words;

\echo '=== 2. An index for cosine distance'
\timing on
CREATE INDEX words_embedding ON words USING hnsw (embedding vector_cosine_ops);
\timing off
VACUUM ANALYZE words;
SELECT pg_size_pretty(pg_relation_size('words_embedding')) AS "index size";

\echo '=== 3. The planner uses it for ORDER BY .. LIMIT'
SELECT embedding AS king FROM words WHERE word = 'king' \gset
EXPLAIN (COSTS OFF) SELECT word FROM words ORDER BY embedding <=> (SELECT embedding FROM words WHERE word = 'king') LIMIT 10;
DO $$
DECLARE plan text := '';
        line text;
BEGIN
    FOR line IN EXPLAIN SELECT word FROM words ORDER BY embedding <=> (SELECT embedding FROM words WHERE word = 'king') LIMIT 10 LOOP
        plan := plan || line;
    END LOOP;
    IF plan NOT LIKE '%Index Scan using words_embedding%' THEN
        RAISE EXCEPTION 'the index is not used: %', plan;
    END IF;
END $$;

\echo
\echo '=== 4. The ten words nearest to a word'
SELECT w.word, string_agg(n.word, ', ' ORDER BY n.distance) AS "nearest first"
FROM words w CROSS JOIN LATERAL (
    SELECT word, embedding <=> w.embedding AS distance
    FROM words ORDER BY embedding <=> w.embedding LIMIT 11
) n
WHERE w.word IN ('king', 'paris', 'music', 'seven', 'computer') AND n.word <> w.word
GROUP BY w.word ORDER BY w.word;

\echo '=== 5. king - man + woman is near to ...'
SELECT k.embedding - m.embedding + w.embedding AS target
FROM words k, words m, words w WHERE k.word = 'king' AND m.word = 'man' AND w.word = 'woman' \gset
SELECT word, round((embedding <=> :'target')::numeric, 3) AS "cosine distance"
FROM words WHERE word NOT IN ('king', 'man', 'woman') ORDER BY embedding <=> :'target' LIMIT 10;

\echo '=== 6. How often the index finds what an exact scan finds: 200 words, 10 neighbors each'
CREATE TEMP TABLE probes AS SELECT word, embedding FROM words ORDER BY md5(word) LIMIT 200;
ANALYZE probes;
-- One query a probe, as an application sends them: what the server spends is measured inside it.
CREATE FUNCTION pg_temp.search(use_index boolean, OUT probe text, OUT neighbor text, OUT distance float8) RETURNS SETOF record
LANGUAGE plpgsql AS $$
DECLARE target vector(50);
BEGIN
    PERFORM set_config('enable_indexscan', use_index::text, true), set_config('enable_seqscan', (NOT use_index)::text, true);
    FOR probe, target IN SELECT p.word, p.embedding FROM probes p LOOP
        FOR neighbor, distance IN EXECUTE 'SELECT word, embedding <=> $1 FROM words ORDER BY embedding <=> $1 LIMIT 10' USING target LOOP
            RETURN NEXT;
        END LOOP;
    END LOOP;
END $$;
SELECT clock_timestamp() AS started \gset
CREATE TEMP TABLE exact AS SELECT * FROM pg_temp.search(false);
SELECT round(extract(epoch FROM clock_timestamp() - :'started') * 1000) AS exact_ms \gset
SELECT clock_timestamp() AS started \gset
CREATE TEMP TABLE indexed AS SELECT * FROM pg_temp.search(true);
SELECT round(extract(epoch FROM clock_timestamp() - :'started') * 1000) AS indexed_ms \gset
-- A word as near as the tenth of the exact scan is as good an answer, whatever its name.
SELECT count(*) FILTER (WHERE i.distance <= e.farthest)::numeric / (SELECT count(*) FROM exact) AS recall
FROM indexed i JOIN (SELECT probe, max(distance) AS farthest FROM exact GROUP BY probe) e USING (probe) \gset
SELECT 200 AS queries, round(:recall, 4) AS "recall@10", :exact_ms AS "exact scan, ms", :indexed_ms AS "index, ms",
       round(:exact_ms / greatest(:indexed_ms, 1.0), 1) || ' x' AS faster;
SELECT :recall < 0.95 AS failed \gset
\if :failed
    DO $$ BEGIN RAISE EXCEPTION 'recall@10 is below .95'; END $$;
\endif

\echo '=== 7. An upsert moves a word: banana goes to where guitar is'
SELECT embedding AS guitar FROM words WHERE word = 'guitar' \gset
SELECT string_agg(word, ', ' ORDER BY d) AS "nearest to guitar, before"
FROM (SELECT word, embedding <=> :'guitar' AS d FROM words ORDER BY d LIMIT 5) n;
INSERT INTO words VALUES ('banana', :'guitar') ON CONFLICT (word) DO UPDATE SET embedding = EXCLUDED.embedding;
SELECT string_agg(word, ', ' ORDER BY d, word) AS nearest, bool_or(word = 'banana' AND d < 1e-6) IS NOT TRUE AS failed
FROM (SELECT word, embedding <=> :'guitar' AS d FROM words ORDER BY d LIMIT 5) n \gset
SELECT :'nearest' AS "nearest to guitar, after";
\if :failed
    DO $$ BEGIN RAISE EXCEPTION 'the index does not find the moved word'; END $$;
\endif

\echo '=== 8. A ROLLBACK leaves no trace'
SELECT count(*) AS words_before FROM words \gset
SELECT string_agg(word, ', ' ORDER BY d) AS nearest_before
FROM (SELECT word, embedding <=> :'king' AS d FROM words ORDER BY d LIMIT 5) n \gset
BEGIN;
INSERT INTO words SELECT 'heir number ' || n, :'king' FROM generate_series(1, 100) n;
SELECT count(*) AS words_within FROM words \gset
SELECT string_agg(word, ', ' ORDER BY d, length(word), word) AS nearest_within
FROM (SELECT word, embedding <=> :'king' AS d FROM words ORDER BY d LIMIT 5) n \gset
ROLLBACK;
SELECT count(*) AS words_after FROM words \gset
SELECT string_agg(word, ', ' ORDER BY d) AS nearest_after
FROM (SELECT word, embedding <=> :'king' AS d FROM words ORDER BY d LIMIT 5) n \gset
SELECT * FROM (VALUES ('before BEGIN', :words_before, :'nearest_before'), ('after INSERT', :words_within, :'nearest_within'),
                      ('after ROLLBACK', :words_after, :'nearest_after')) AS steps ("when", words, "nearest to king by the index");
SELECT :words_after <> :words_before OR :'nearest_after' <> :'nearest_before' OR :words_within <> :words_before + 100
       OR :'nearest_within' NOT LIKE '%heir number%' AS failed \gset
\if :failed
    DO $$ BEGIN RAISE EXCEPTION 'the rollback left a trace'; END $$;
\endif

\echo '=== 9. DELETE and VACUUM: the space of the index is used again'
CREATE TEMP TABLE taken_out AS SELECT * FROM words ORDER BY md5(word) LIMIT 5000;
SELECT pg_relation_size('words_embedding') AS size_before \gset
DELETE FROM words WHERE word IN (SELECT word FROM taken_out);
VACUUM words;
SELECT pg_relation_size('words_embedding') AS size_vacuumed \gset
INSERT INTO words SELECT * FROM taken_out;
SELECT pg_relation_size('words_embedding') AS size_after \gset
SELECT * FROM (VALUES ('20,000 words', :size_before), ('5,000 deleted, vacuumed', :size_vacuumed),
                      ('the 5,000 inserted again', :size_after)) AS steps ("when", "index size, bytes");
SELECT :size_after > :size_before AS failed \gset
\if :failed
    DO $$ BEGIN RAISE EXCEPTION 'the index has grown'; END $$;
\endif

\echo '=== Everything was as expected.'
