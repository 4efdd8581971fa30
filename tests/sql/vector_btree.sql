-- The order of vectors: ORDER BY, DISTINCT, GROUP BY, unique constraints, joins
CREATE TABLE ordered (v vector);
INSERT INTO ordered VALUES ('[1,2]'), ('[0]'), (NULL), ('[1]'), ('[-1,5]'), ('[1,1,9]'), ('[1,2]'), ('[-0]'), ('[1,2,0]');
SELECT v FROM ordered ORDER BY v, v::text;
SELECT v FROM ordered WHERE v > '[1]' ORDER BY v DESC;
SELECT min(c) AS rows, count(DISTINCT c) FROM (SELECT count(*) AS c FROM ordered GROUP BY v) t;
SELECT count(*) FROM (SELECT DISTINCT v FROM ordered) t;
SELECT v, count(*) FROM ordered WHERE v >= '[1,1]' GROUP BY v ORDER BY v;
SELECT '[1,2]'::vector IN ('[1]', '[1,2]') AS found, '[2]'::vector IN (SELECT v FROM ordered WHERE v IS NOT NULL) AS not_found;

CREATE INDEX ON ordered (v);
SET enable_seqscan = off;
SET enable_bitmapscan = off;
EXPLAIN (COSTS OFF) SELECT v FROM ordered WHERE v = '[1,2]';
SELECT v FROM ordered WHERE v = '[1,2]';
SELECT v FROM ordered WHERE v BETWEEN '[1]' AND '[1,2]' ORDER BY v;
SELECT v FROM ordered WHERE v = ANY (ARRAY['[0]', '[1]']::vector[]) ORDER BY v, v::text;
EXPLAIN (COSTS OFF) SELECT v FROM ordered ORDER BY v DESC LIMIT 2;
SELECT v FROM ordered WHERE v IS NOT NULL ORDER BY v DESC LIMIT 2;
SET enable_nestloop = off;
EXPLAIN (COSTS OFF) SELECT * FROM ordered a JOIN ordered b USING (v);
SELECT count(*) FROM ordered a JOIN ordered b USING (v);
RESET ALL;
DROP TABLE ordered;

-- An upsert by value
CREATE TABLE seen (v vector(2) PRIMARY KEY, times int NOT NULL DEFAULT 1);
INSERT INTO seen VALUES ('[1,2]'), ('[3,4]');
INSERT INTO seen VALUES ('[1,2]');
INSERT INTO seen VALUES ('[1,2]'), ('[5,6]') ON CONFLICT (v) DO UPDATE SET times = seen.times + 1;
SELECT * FROM seen ORDER BY v;
UPDATE seen SET v = '[9,9]' WHERE v = '[3,4]';
DELETE FROM seen WHERE v <> '[1,2]' AND v < '[9,9]';
SELECT * FROM seen ORDER BY v;
DROP TABLE seen;

-- Partitions by range
CREATE TABLE ranges (v vector(1)) PARTITION BY RANGE (v);
CREATE TABLE negative PARTITION OF ranges FOR VALUES FROM (MINVALUE) TO ('[0]');
CREATE TABLE positive PARTITION OF ranges FOR VALUES FROM ('[0]') TO (MAXVALUE);
INSERT INTO ranges VALUES ('[-1]'), ('[0]'), ('[1]');
SELECT tableoid::regclass, v FROM ranges ORDER BY v;
DROP TABLE ranges;

-- Sorting more than memory holds
SET work_mem = '64kB';
SELECT count(*), bool_and(previous <= v) AS sorted
FROM (SELECT v, lag(v, 1, v) OVER (ORDER BY v) AS previous
    FROM (SELECT ARRAY[i * 7919 % 1000, i]::vector AS v FROM generate_series(1, 5000) i) unsorted) sorted;
RESET work_mem;

-- Statistics for the planner
CREATE TABLE counted AS SELECT ARRAY[i % 10]::vector AS v FROM generate_series(1, 1000) i;
ANALYZE counted;
SELECT n_distinct, most_common_vals IS NOT NULL AS common FROM pg_stats WHERE tablename = 'counted';
DROP TABLE counted;

SELECT opcname, opcdefault, amopstrategy, amopopr::regoperator
FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod JOIN pg_amop ON amopfamily = opcfamily
WHERE amname = 'btree' AND opcintype = 'vector'::regtype ORDER BY amopstrategy;
SELECT opcname, amvalidate FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod, amvalidate(c.oid)
WHERE amname = 'btree' AND opcintype = 'vector'::regtype;
