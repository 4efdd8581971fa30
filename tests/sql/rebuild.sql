-- alopex_rebuild() builds anew what queries do without, as far as the caller owns it.
CREATE VIEW unusable AS SELECT indexrelid::regclass AS index FROM pg_index
    WHERE indexrelid::regclass::text ~ '^rebuilt_|temporary_' AND NOT (indisvalid AND indisready) ORDER BY 1;
CREATE TABLE rebuilt (v vector(3), w vector(3));
INSERT INTO rebuilt SELECT ARRAY[i, 1, 1], ARRAY[1, i, 1] FROM generate_series(1, 100) i;
CREATE TEMP TABLE temporary (v vector(3));
SET client_min_messages = warning;
CREATE INDEX rebuilt_v ON rebuilt USING hnsw (v vector_l2_ops);
CREATE INDEX rebuilt_w ON rebuilt USING ivfflat (w);
CREATE INDEX temporary_v ON temporary USING hnsw (v vector_l2_ops);
RESET client_min_messages;
CALL alopex_rebuild();
UPDATE pg_index SET indisvalid = false, indisready = false WHERE indrelid IN ('rebuilt'::regclass, 'temporary'::regclass);
CREATE ROLE rebuilds_nothing;
SET ROLE rebuilds_nothing;
CALL alopex_rebuild();
RESET ROLE;
DROP ROLE rebuilds_nothing;
BEGIN;
CALL alopex_rebuild();
ROLLBACK;
SELECT count(*) FROM unusable;
CALL alopex_rebuild();
SELECT * FROM unusable;
CALL alopex_rebuild();
SELECT * FROM hnsw_check('rebuilt_w', true);

-- An index that fails stays as it is, and the others are built.
CREATE FUNCTION fragile(v vector) RETURNS vector IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    IF current_setting('rebuild.fails', true) <> '' THEN
        RAISE 'this function fails' USING ERRCODE = current_setting('rebuild.fails'), DETAIL = 'It was told to.', HINT = 'Tell it otherwise.';
    END IF;
    RETURN v;
END
$$;
CREATE TABLE small (v vector);
INSERT INTO small VALUES ('[1,2,3]');
CREATE INDEX rebuilt_long ON small USING hnsw ((v::vector(3)) vector_l2_ops);
CREATE INDEX rebuilt_fragile ON small USING hnsw ((fragile(v)::vector(3)) vector_l2_ops);
CREATE INDEX "rebuilt last" ON rebuilt USING hnsw (v vector_cosine_ops);
UPDATE pg_index SET indisvalid = false, indisready = false
    WHERE indexrelid IN ('rebuilt_v'::regclass, 'rebuilt_long'::regclass, 'rebuilt_fragile'::regclass, '"rebuilt last"'::regclass);
-- Nothing refuses a row for an index that is not ready.
INSERT INTO small VALUES ('[1,2,3,4]');
SET rebuild.fails = 'raise_exception';
CALL alopex_rebuild();
SELECT :'LAST_ERROR_SQLSTATE' AS state;
-- An SQLSTATE of the user's own is the warning's and the error's.
SET rebuild.fails = 'ZZ123';
CALL alopex_rebuild();
\set VERBOSITY sqlstate
CALL alopex_rebuild();
REINDEX INDEX rebuilt_fragile;
\set VERBOSITY default
-- One that was caught before is not another error's.
CREATE FUNCTION failing(v vector) RETURNS vector IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    BEGIN
        PERFORM public.fragile(v);
    EXCEPTION WHEN OTHERS THEN
        RAISE 'failed after %', SQLSTATE USING ERRCODE = 'internal_error';
    END;
END
$$;
CREATE INDEX ON small USING hnsw ((failing(v)::vector(3)) vector_l2_ops);
SELECT :'LAST_ERROR_SQLSTATE' AS state;
SET rebuild.fails = 'raise_exception';
SELECT * FROM unusable;
SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'relation' AND relation = 'small'::regclass;

-- A further call takes up those that are left, and only these.
DELETE FROM small WHERE vector_dims(v) = 4;
CALL alopex_rebuild();
SELECT * FROM unusable;

-- In a transaction of the caller's the first error ends it.
UPDATE pg_index SET indisvalid = false, indisready = false WHERE indexrelid = 'rebuilt_v'::regclass;
BEGIN;
CALL alopex_rebuild();
ROLLBACK;
DO 'BEGIN CALL alopex_rebuild(); END';
SELECT * FROM unusable;

-- A cancel ends the call.
SET rebuild.fails = 'query_canceled';
CALL alopex_rebuild();
SELECT * FROM unusable;

RESET rebuild.fails;
CALL alopex_rebuild();
SELECT * FROM unusable;
SELECT * FROM hnsw_check('rebuilt_fragile', true);
CALL alopex_rebuild();
