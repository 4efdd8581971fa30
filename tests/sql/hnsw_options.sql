-- Options of an index and settings of a session, with their bounds.
CREATE TABLE t (id int, val vector(3));
INSERT INTO t SELECT n, ARRAY[n, n, n]::vector FROM generate_series(1, 100) n;

CREATE INDEX t_defaults ON t USING hnsw (val vector_l2_ops);
CREATE INDEX t_small ON t USING hnsw (val vector_l2_ops) WITH (m = 2, ef_construction = 4);
CREATE INDEX t_large ON t USING hnsw (val vector_l2_ops) WITH (m = 100, ef_construction = 1000);
CREATE INDEX t_just ON t USING hnsw (val vector_l2_ops) WITH (m = 32, ef_construction = 64);
SELECT relname, reloptions FROM pg_class WHERE relname LIKE 't\_%' ORDER BY relname;
SELECT pg_get_indexdef('t_just'::regclass);

CREATE INDEX ON t USING hnsw (val vector_l2_ops) WITH (m = 1);
CREATE INDEX ON t USING hnsw (val vector_l2_ops) WITH (m = 101);
CREATE INDEX ON t USING hnsw (val vector_l2_ops) WITH (m = 'many');
CREATE INDEX ON t USING hnsw (val vector_l2_ops) WITH (ef_construction = 3);
CREATE INDEX ON t USING hnsw (val vector_l2_ops) WITH (ef_construction = 1001);
CREATE INDEX ON t USING hnsw (val vector_l2_ops) WITH (m = 16, ef_construction = 31);
CREATE INDEX ON t USING hnsw (val vector_l2_ops) WITH (m = 33);
CREATE INDEX ON t USING hnsw (val vector_l2_ops) WITH (fillfactor = 50);
CREATE INDEX ON t USING hnsw (val vector_l2_ops) WITH (storage = small);

-- Changed options take effect with REINDEX.
ALTER INDEX t_small SET (ef_construction = 100);
REINDEX INDEX t_small;
ALTER INDEX t_small SET (m = 101);
ALTER INDEX t_small RESET (ef_construction, m);
REINDEX INDEX t_small;
SELECT reloptions FROM pg_class WHERE relname = 't_small';

SHOW hnsw.ef_search;
SET hnsw.ef_search = 0;
SET hnsw.ef_search = 1001;
SET hnsw.ef_search = 'wide';
SET hnsw.ef_search = 1000;
SET hnsw.ef_search = 1;
SET enable_seqscan = off;
-- A LIMIT above ef_search still gives that many rows.
SELECT count(*) FROM (SELECT id FROM t ORDER BY val <-> '[50,50,50]' LIMIT 70) rows;
SELECT id FROM t ORDER BY val <-> '[50,50,50]' LIMIT 1;
RESET hnsw.ef_search;

-- An index may have a width of its own, for who does not set one.
ALTER INDEX t_small SET (ef_search = 0);
ALTER INDEX t_small SET (ef_search = 1001);
DROP INDEX t_defaults, t_large, t_just;
SET hnsw.iterative_scan = off;
CREATE FUNCTION width() RETURNS bigint LANGUAGE sql AS $$ SELECT count(*) FROM (SELECT id FROM t ORDER BY val <-> '[50,50,50]' LIMIT 100) rows $$;
SELECT width();
ALTER INDEX t_small SET (ef_search = 7);
SELECT width();
BEGIN;
SET LOCAL hnsw.ef_search = 12;
SELECT width();
SAVEPOINT s;
SET LOCAL hnsw.ef_search = 40;
SELECT width();
ROLLBACK TO s;
SELECT width();
COMMIT;
SELECT width();
SET hnsw.ef_search = 20;
SELECT width();
RESET hnsw.ef_search;
SELECT width();
RESET hnsw.iterative_scan;
SELECT pg_get_indexdef('t_small'::regclass);

SHOW hnsw.iterative_scan;
SET hnsw.iterative_scan = strict_order;
SET hnsw.iterative_scan = relaxed_order;
SET hnsw.iterative_scan = on;
SET hnsw.iterative_scan = off;
SHOW hnsw.max_scan_tuples;
SET hnsw.max_scan_tuples = 0;
SHOW hnsw.scan_mem_multiplier;
SET hnsw.scan_mem_multiplier = 0;
SET hnsw.scan_mem_multiplier = 1001;
SHOW hnsw.enable_bitmap_filter;
SET hnsw.enable_bitmap_filter = maybe;
-- The prefix is ours: a mistyped setting is an error.
SET hnsw.ef_serch = 10;
