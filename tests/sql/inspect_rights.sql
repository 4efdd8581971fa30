-- Functions that look into an index run no code of its owner with the rights of who calls them.
SET client_min_messages = warning;
CREATE ROLE regress_alopex_mallory;
CREATE ROLE regress_alopex_scanner IN ROLE pg_stat_scan_tables;
CREATE ROLE regress_alopex_reader;
CREATE SCHEMA mallory AUTHORIZATION regress_alopex_mallory;
GRANT USAGE ON SCHEMA mallory TO PUBLIC;
SET SESSION AUTHORIZATION regress_alopex_mallory;
SET search_path = mallory, public;
-- What an IMMUTABLE function runs itself is read-only; what a VOLATILE one below it runs is not.
CREATE TABLE seen (who name, path text, tried text, result text);
CREATE FUNCTION try(statement text) RETURNS void LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    BEGIN
        EXECUTE statement;
        INSERT INTO mallory.seen VALUES (current_user, current_setting('search_path'), statement, 'done');
    EXCEPTION WHEN OTHERS THEN
        INSERT INTO mallory.seen VALUES (current_user, current_setting('search_path'), statement, SQLSTATE);
    END;
END $$;
CREATE FUNCTION idx(v public.vector) RETURNS public.vector LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    PERFORM mallory.try('ALTER ROLE regress_alopex_mallory SUPERUSER');
    PERFORM mallory.try('RESET SESSION AUTHORIZATION');
    PERFORM mallory.try('SET ROLE NONE');
    PERFORM mallory.try('SET work_mem = ''1MB''');
    RETURN v;
END $$;
CREATE FUNCTION part(id int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    PERFORM mallory.try('CREATE ROLE regress_alopex_more SUPERUSER');
    RETURN true;
END $$;
CREATE TABLE bait (id int, v vector(3));
INSERT INTO bait SELECT n, ARRAY[n, n % 7, 1]::vector FROM generate_series(1, 3) n;
CREATE INDEX bait_idx ON bait USING hnsw ((idx(v)::vector(3)) vector_l2_ops) WHERE part(id);
DELETE FROM seen;
GRANT SELECT ON bait TO regress_alopex_reader;
RESET SESSION AUTHORIZATION;
RESET search_path;
CREATE VIEW harm AS SELECT DISTINCT who, path, tried, result FROM mallory.seen ORDER BY tried;

-- A superuser checks the index, and measures it.
SELECT * FROM hnsw_check('mallory.bait_idx', heapallindexed => true);
SELECT * FROM harm;
DELETE FROM mallory.seen;
SELECT hnsw_recall('mallory.bait_idx', ARRAY['[1,2,3]'::vector], 2);
SELECT * FROM harm;
DELETE FROM mallory.seen;
-- To plan a query is to evaluate parts of other indexes.
CREATE INDEX bait_v ON mallory.bait USING hnsw (v vector_cosine_ops);
CREATE INDEX bait_trap ON mallory.bait USING hnsw (v vector_l1_ops) WHERE mallory.part(0);
DELETE FROM mallory.seen;
SELECT hnsw_recall('mallory.bait_v', ARRAY['[1,2,3]'::vector], 2);
SELECT * FROM harm;
DROP INDEX mallory.bait_v, mallory.bait_trap;
DELETE FROM mallory.seen;
SELECT rolsuper FROM pg_roles WHERE rolname ~ 'regress_alopex_m';
SELECT current_user = session_user AS same, current_setting('search_path') AS path, current_setting('work_mem') AS work_mem;

-- So does who may look into all tables. What such a role has in its search_path is not run as the owner.
CREATE SCHEMA scanner AUTHORIZATION regress_alopex_scanner;
SET SESSION AUTHORIZATION regress_alopex_scanner;
SET search_path = scanner, public;
SELECT * FROM hnsw_check('mallory.bait_idx', heapallindexed => true);
SELECT current_user, current_setting('search_path') AS path;
SELECT hnsw_recall('mallory.bait_idx', ARRAY['[1,2,3]'::vector], 2);
RESET search_path;
RESET SESSION AUTHORIZATION;
SELECT DISTINCT who, path FROM harm;
DELETE FROM mallory.seen;

-- Who may read the table measures the index as its owner, unless policies decide what there is to read.
SET SESSION AUTHORIZATION regress_alopex_reader;
SELECT hnsw_check('mallory.bait_idx');
SELECT hnsw_recall('mallory.bait_idx', ARRAY['[1,2,3]'::vector], 2);
RESET SESSION AUTHORIZATION;
SELECT DISTINCT who, path FROM harm;
DELETE FROM mallory.seen;
ALTER TABLE mallory.bait ENABLE ROW LEVEL SECURITY;
CREATE POLICY few ON mallory.bait USING (id = 1);
CREATE INDEX bait_v ON mallory.bait USING hnsw (v vector_cosine_ops);
SET SESSION AUTHORIZATION regress_alopex_reader;
SELECT hnsw_recall('mallory.bait_idx', ARRAY['[1,2,3]'::vector], 2);
-- An index without code of its own is measured on the rows that the caller sees.
SELECT hnsw_recall('mallory.bait_v', ARRAY['[1,2,3]'::vector], 2);
-- Of the type that the index is for alone: the cast of another would run as the owner.
SELECT error_of($$SELECT hnsw_recall('mallory.bait_v', ARRAY['{1:1}/3'::sparsevec], 1)$$);
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM harm;

-- Nor is an operator that somebody else made for a domain, in the schema of the extension: the index's own is.
CREATE DOMAIN mallory.point AS vector(3);
CREATE TABLE of_domain (v mallory.point);
INSERT INTO of_domain SELECT ARRAY[n, n % 7, 1]::vector FROM generate_series(1, 30) n;
CREATE INDEX of_domain_v ON of_domain USING hnsw (v vector_l2_ops);
GRANT SELECT ON of_domain TO regress_alopex_mallory;
GRANT CREATE ON SCHEMA public TO regress_alopex_mallory;
SET SESSION AUTHORIZATION regress_alopex_mallory;
CREATE FUNCTION mallory.distance(v mallory.point, w vector) RETURNS double precision LANGUAGE plpgsql AS $$
BEGIN
    PERFORM mallory.try('SELECT 1');
    RETURN 0;
END $$;
CREATE OPERATOR public.<-> (LEFTARG = mallory.point, RIGHTARG = vector, FUNCTION = mallory.distance);
SELECT hnsw_recall('of_domain_v', ARRAY['[1,2,3]'::vector], 2);
RESET SESSION AUTHORIZATION;
SELECT count(*) FROM harm;
SELECT DISTINCT v <-> '[1,2,3]'::vector AS of_mallory FROM of_domain;
DELETE FROM mallory.seen;
DROP OPERATOR public.<-> (mallory.point, vector);
REVOKE CREATE ON SCHEMA public FROM regress_alopex_mallory;
DROP TABLE of_domain;

-- An error within gives everything back.
CREATE FUNCTION fails(v vector) RETURNS vector LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF current_setting('regress.fail', true) = 'yes' THEN RAISE 'no'; END IF;
    RETURN v;
END $$;
CREATE TABLE mallory.own (v vector(3));
INSERT INTO mallory.own VALUES ('[1,2,3]');
CREATE INDEX own_idx ON mallory.own USING hnsw ((public.fails(v)::vector(3)) vector_l2_ops);
ALTER TABLE mallory.own OWNER TO regress_alopex_mallory;
SET regress.fail = 'yes';
SELECT error_of($$SELECT hnsw_check('mallory.own_idx', heapallindexed => true)$$);
SELECT error_of($$SELECT hnsw_recall('mallory.own_idx', ARRAY['[1,2,3]'::vector], 2)$$);
RESET regress.fail;
SELECT current_user = session_user AS same, current_setting('search_path') AS path;
SELECT * FROM hnsw_check('mallory.own_idx', heapallindexed => true);

-- Who does not own an index takes no lock that keeps others from work.
CREATE TABLE mallory.plain (v vector(3));
INSERT INTO mallory.plain VALUES ('[1,2,3]');
CREATE INDEX plain_v ON mallory.plain USING hnsw (v vector_l2_ops);
CREATE FUNCTION locks() RETURNS TABLE (relation regclass, mode text) LANGUAGE sql AS $$
    SELECT relation::regclass, mode FROM pg_locks
    WHERE pid = pg_backend_pid() AND relation IN ('mallory.plain'::regclass, 'mallory.plain_v'::regclass)
    ORDER BY relation::regclass::text, mode
$$;
-- Locks are released when the function returns: a condition of the index sees them while it is at work.
CREATE TABLE locked (relation regclass, mode text);
GRANT INSERT ON locked TO PUBLIC;
CREATE FUNCTION note() RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$
BEGIN
    INSERT INTO public.locked SELECT * FROM public.locks();
    RETURN true;
END $$;
CREATE FUNCTION noting(v vector) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN public.note(); END $$;
DROP INDEX mallory.plain_v;
SET client_min_messages = error;
CREATE INDEX plain_v ON mallory.plain USING hnsw (v vector_l2_ops) WHERE public.noting(v);
DELETE FROM locked;
SELECT * FROM hnsw_check('mallory.plain_v', true);
SELECT DISTINCT mode FROM locked WHERE relation = 'mallory.plain'::regclass;
DELETE FROM locked;
SET SESSION AUTHORIZATION regress_alopex_scanner;
SELECT * FROM hnsw_check('mallory.plain_v', true);
RESET SESSION AUTHORIZATION;
SELECT DISTINCT mode FROM locked WHERE relation = 'mallory.plain'::regclass;

-- As VACUUM may be at work then, faults are looked for twice; this one stays.
CREATE TABLE mallory.lacking (v vector(3));
CREATE INDEX lacking_v ON mallory.lacking USING hnsw (v vector_l2_ops);
UPDATE pg_index SET indisready = false WHERE indexrelid = 'mallory.lacking_v'::regclass;
INSERT INTO mallory.lacking VALUES ('[1,2,3]');
UPDATE pg_index SET indisready = true WHERE indexrelid = 'mallory.lacking_v'::regclass;
SET SESSION AUTHORIZATION regress_alopex_scanner;
SELECT * FROM hnsw_check('mallory.lacking_v', true);
RESET SESSION AUTHORIZATION;

DROP TABLE mallory.bait, mallory.own, mallory.plain, mallory.lacking CASCADE;
DROP VIEW harm;
DROP SCHEMA mallory, scanner CASCADE;
DROP ROLE regress_alopex_mallory, regress_alopex_scanner, regress_alopex_reader;
