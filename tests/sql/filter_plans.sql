-- Plans under conditions that leave from half of 20,000 rows down to two: with filter columns, with btrees beside an index of the
-- vectors alone, with both, and with neither. Each plan takes at most twice the time of the fastest one that there is
-- (docs/measurements.md, Selective conditions).
SET max_parallel_maintenance_workers = 0;
SET max_parallel_workers_per_gather = 0;
SELECT setseed(0.5);
-- Values of n are different. One tenant has half of the rows, another a tenth, and so on; the others have about eight each.
CREATE TABLE items (id int, n int, tenant int, embedding vector(48));
INSERT INTO items SELECT i, n, CASE WHEN n < 10000 THEN 1 WHEN n < 12000 THEN 2 WHEN n < 12200 THEN 3 WHEN n < 12220 THEN 4 WHEN n < 12222 THEN 5
        ELSE 6 + n % 1000 END, (SELECT array_agg(random() + 0 * i * j) FROM generate_series(1, 48) j)::vector
    FROM generate_series(1, 20000) i, LATERAL (SELECT i * 7919 % 20000 AS n) r;
SELECT '[' || string_agg((0.5 + 0.3 * sin(7.7 * i))::text, ',') || ']' AS q FROM generate_series(1, 48) i \gset
CREATE TABLE conditions (share text, condition text);
INSERT INTO conditions VALUES ('50%', 'n < 10000'), ('10%', 'n < 2000'), ('1%', 'n < 200'), ('0.1%', 'n < 20'), ('0.01%', 'n < 2'),
    ('1%', 'n BETWEEN 10000 AND 10199'), ('0.1%', 'n BETWEEN 10000 AND 10019'),
    ('50%', 'tenant = 1'), ('10%', 'tenant = 2'), ('1%', 'tenant = 3'), ('0.1%', 'tenant = 4'), ('0.01%', 'tenant = 5');

-- Filter columns
CREATE INDEX items_filtered ON items USING hnsw (embedding vector_l2_ops, n, tenant);
VACUUM ANALYZE items;
SELECT share, condition, scans(format('SELECT id FROM items WHERE %s ORDER BY embedding <-> %L LIMIT 10', condition, :'q')) FROM conditions;

-- Filter columns and btrees
CREATE INDEX items_n ON items (n);
CREATE INDEX items_tenant ON items (tenant);
SELECT share, condition, scans(format('SELECT id FROM items WHERE %s ORDER BY embedding <-> %L LIMIT 10', condition, :'q')) FROM conditions;

-- Btrees beside an index of the vectors alone
DROP INDEX items_filtered;
CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops);
SELECT share, condition, scans(format('SELECT id FROM items WHERE %s ORDER BY embedding <-> %L LIMIT 10', condition, :'q')) FROM conditions;

-- An index of the vectors alone
DROP INDEX items_n, items_tenant;
SELECT share, condition, scans(format('SELECT id FROM items WHERE %s ORDER BY embedding <-> %L LIMIT 10', condition, :'q')) FROM conditions;

-- Arrays: three of 200 tags, three of 10,000, long arrays, and a twentieth of long ones; then GIN indexes beside
CREATE TABLE tagged (id int, few int[], many int[], long int[], mixed int[], embedding vector(48));
INSERT INTO tagged SELECT id, (SELECT array_agg((id * 7919 + j * 61) % 200) FROM generate_series(1, 3) j),
        (SELECT array_agg((id * 7919 + j * 3001) % 10000) FROM generate_series(1, 3) j),
        (SELECT array_agg((id * 7919 + j * 61) % 2000) FROM generate_series(1, 12) j),
        (SELECT array_agg((id * 7919 + j * 61) % 2000) FROM generate_series(1, CASE WHEN id % 20 = 0 THEN 12 ELSE 3 END) j), embedding
    FROM items;
CREATE TABLE array_conditions (condition text);
INSERT INTO array_conditions VALUES ('few @> ''{7}'''), ('few && ''{7,8,9}'''), ('few @> ''{61,122}'''), ('many @> ''{7}'''),
    ('many && ''{7,8,9}'''), ('long @> ''{7}'''), ('mixed @> ''{7}''');
CREATE INDEX tagged_filtered ON tagged USING hnsw (embedding vector_l2_ops, few, many, long, mixed);
VACUUM ANALYZE tagged;
SELECT condition, scans(format('SELECT id FROM tagged WHERE %s ORDER BY embedding <-> %L LIMIT 10', condition, :'q')) FROM array_conditions;
CREATE INDEX tagged_few ON tagged USING gin (few);
CREATE INDEX tagged_many ON tagged USING gin (many);
CREATE INDEX tagged_long ON tagged USING gin (long);
CREATE INDEX tagged_mixed ON tagged USING gin (mixed);
SELECT condition, scans(format('SELECT id FROM tagged WHERE %s ORDER BY embedding <-> %L LIMIT 10', condition, :'q')) FROM array_conditions;
