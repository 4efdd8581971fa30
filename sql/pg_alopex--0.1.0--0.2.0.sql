-- From version 0.1.0 to 0.2.0.

-- An index scan is told of its bounds in another way, and operator classes have lost support
-- function 2, which did that. ALTER OPERATOR FAMILY removes no member that a class requires, and
-- without the class its indexes would go. So the rows of the catalogs go.
DELETE FROM pg_catalog.pg_depend
    WHERE classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_amproc'::pg_catalog.regclass
        AND objid IN (SELECT oid FROM pg_catalog.pg_amproc
            WHERE amproc OPERATOR(pg_catalog.=) 'hnsw_within(internal, double precision)'::pg_catalog.regprocedure);
DELETE FROM pg_catalog.pg_amproc
    WHERE amproc OPERATOR(pg_catalog.=) 'hnsw_within(internal, double precision)'::pg_catalog.regprocedure;
DROP FUNCTION hnsw_within(internal, double precision);

-- Temporary indexes cannot be read by parallel workers.
ALTER FUNCTION hnsw_compaction(regclass) PARALLEL RESTRICTED;
ALTER FUNCTION hnsw_stats(regclass) PARALLEL RESTRICTED;

COMMENT ON ACCESS METHOD hnsw IS 'approximate nearest neighbors: hierarchical navigable small world graph';

-- One column more.
DROP FUNCTION hnsw_last_search();
CREATE FUNCTION hnsw_last_search(
    OUT nodes_visited bigint,
    OUT estimates bigint,
    OUT pages bigint,
    OUT tails_read bigint,
    OUT rows_skipped bigint,
    OUT search_time_us double precision,
    OUT passes bigint,
    OUT width integer,
    OUT target_recall double precision
) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'hnsw_last_search_with_width_wrapper' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 1;
COMMENT ON FUNCTION hnsw_last_search() IS 'what the last scan of an hnsw index in this session did';

-- The size of an index with filter columns.
DROP FUNCTION hnsw_estimate(bigint, integer, integer);
CREATE FUNCTION hnsw_estimate(
    rows bigint,
    dims integer,
    m integer DEFAULT 16,
    filters integer DEFAULT 0,
    storage text DEFAULT 'full',
    OUT index_bytes bigint,
    OUT build_memory_bytes bigint
) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'hnsw_estimate_of_storage_wrapper' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE ROWS 1;
COMMENT ON FUNCTION hnsw_estimate(bigint, integer, integer, integer, text) IS
    'about how large an hnsw index over so many different vectors is (vector or halfvec; L2 or cosine, above 64 dimensions also inner product)';

CREATE FUNCTION alopex_version() RETURNS text
    AS 'MODULE_PATHNAME', 'alopex_version_wrapper' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION alopex_version() IS 'version of the loaded library, and the commit that it was built from';

-- It was of PL/pgSQL, with settings of its own.
CREATE OR REPLACE FUNCTION hnsw_recall(index regclass, queries anyarray, k integer DEFAULT 10) RETURNS double precision
    AS 'MODULE_PATHNAME', 'hnsw_recall_wrapper' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

CREATE FUNCTION hnsw_tune(
    index regclass,
    queries anyarray,
    target double precision DEFAULT 0.95,
    k integer DEFAULT 10,
    apply boolean DEFAULT false,
    OUT width integer,
    OUT recall double precision,
    OUT microseconds double precision,
    OUT pages double precision,
    OUT chosen boolean
) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'hnsw_tune_wrapper' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

COMMENT ON FUNCTION hnsw_tune(regclass, anyarray, double precision, integer, boolean) IS
    'recall, time and pages of searches by an hnsw index over their width, for an array of queries, and the width that a recall takes; with apply the index keeps it';

CREATE FUNCTION hnsw_tune(
    index regclass,
    target double precision DEFAULT 0.95,
    k integer DEFAULT 10,
    apply boolean DEFAULT false,
    OUT width integer,
    OUT recall double precision,
    OUT microseconds double precision,
    OUT pages double precision,
    OUT chosen boolean
) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'hnsw_tune_sampled_wrapper' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

COMMENT ON FUNCTION hnsw_tune(regclass, double precision, integer, boolean) IS
    'the same for the queries that the index has sampled';

CREATE FUNCTION hnsw_sampled_queries(
    index regclass,
    OUT sampled_at timestamptz,
    OUT query text
) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'hnsw_sampled_queries_wrapper' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED;

COMMENT ON FUNCTION hnsw_sampled_queries(regclass) IS
    'queries that an hnsw index has sampled (hnsw.sample_queries), the newest first; for its owner alone';

CREATE FUNCTION hnsw_forget_queries(index regclass) RETURNS bigint
    AS 'MODULE_PATHNAME', 'hnsw_forget_queries_wrapper' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

COMMENT ON FUNCTION hnsw_forget_queries(regclass) IS 'makes an hnsw index forget its sampled queries, and returns their number';

CREATE FUNCTION hnsw_health(
    index regclass,
    OUT format_version integer,
    OUT is_readable boolean,
    OUT target_recall double precision,
    OUT width integer,
    OUT recall double precision,
    OUT calibrated_at timestamptz,
    OUT calibrated_by text,
    OUT has_changed boolean,
    OUT unreachable_share double precision,
    OUT vacuumed_at timestamptz
) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'hnsw_health_wrapper' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 1;

COMMENT ON FUNCTION hnsw_health(regclass) IS
    'state of an hnsw index as its meta page has it; no row for a caller who may not look into it';

-- Each function and operator has an exact match in pg_catalog, or here: a user's that fits as well is none of these.
CREATE VIEW hnsw_index_health AS
    SELECT index, "table", rows, bytes, dead_share, last_vacuum, is_valid, format_version, is_readable, target_recall, width, recall,
        calibrated_at, calibrated_by, has_changed, unreachable_share, vacuumed_at, CASE
            WHEN NOT is_valid THEN 'REINDEX: the build of the index did not end.'
            WHEN NOT is_readable THEN 'REINDEX: the index is damaged, or of another format than the library reads.'
            WHEN dead_share > 0.2::double precision THEN 'VACUUM: a fifth of the table''s rows or more are dead.'
            WHEN unreachable_share > 0.01::double precision THEN 'REINDEX: the last VACUUM could not reach a hundredth of the nodes or more, and linked them anew.'
            WHEN has_lists AND recall < 0.9::double precision
                THEN 'Raise ivfflat.probes: searches find less than nine of ten of the nearest rows.'
            WHEN has_lists THEN 'Nothing is to be done.'
            WHEN target_recall IS NOT NULL AND recall IS NULL AND rows >= 1000::bigint
                THEN 'ANALYZE: the index has a target of recall and was never measured.'
            WHEN has_changed AND calibrated_by OPERATOR(pg_catalog.=) 'queries' THEN 'hnsw_tune(): the index has changed much since queries measured it.'
            WHEN has_changed THEN 'ANALYZE: the index has changed much since it was measured.'
            WHEN recall < target_recall - 0.02::double precision
                THEN 'REINDEX with a greater m or ef_construction: no width reaches the target of recall.'
            WHEN target_recall IS NULL AND recall < 0.9::double precision
                THEN 'Set target_recall, or raise it: searches find less than nine of ten of the nearest rows.'
            ELSE 'Nothing is to be done.'
        END AS advice
    FROM (SELECT i.oid::regclass AS index, t.oid::regclass AS "table", i.reltuples::bigint AS rows,
            pg_catalog.pg_relation_size(i.oid::regclass) AS bytes,
            s.n_dead_tup::double precision / nullif(s.n_live_tup + s.n_dead_tup, 0::bigint)::double precision AS dead_share,
            greatest(s.last_vacuum, s.last_autovacuum) AS last_vacuum,
            x.indisvalid AS is_valid, a.amname = 'ivfflat'::name AS has_lists, h.*
        FROM pg_am a
        JOIN pg_class i ON i.relam = a.oid AND i.relkind = 'i'::"char"
        JOIN pg_index x ON x.indexrelid = i.oid
        JOIN pg_class t ON t.oid = x.indrelid
        LEFT JOIN pg_stat_all_tables s ON s.relid = t.oid
        CROSS JOIN LATERAL hnsw_health(i.oid::regclass) h
        WHERE a.amname IN ('hnsw'::name, 'ivfflat'::name)) indexes;

COMMENT ON VIEW hnsw_index_health IS 'state of all hnsw and ivfflat indexes that the caller may look into, with advice in one sentence';

GRANT SELECT ON hnsw_index_health TO PUBLIC;

-- Lists of vectors.

CREATE FUNCTION maxsim(document vector[], query vector[]) RETURNS double precision
    AS 'MODULE_PATHNAME', 'vector_maxsim' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION vector_negative_maxsim(vector[], vector[]) RETURNS double precision
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR @# (LEFTARG = vector[], RIGHTARG = vector[], FUNCTION = vector_negative_maxsim);

CREATE FUNCTION maxsim(document halfvec[], query halfvec[]) RETURNS double precision
    AS 'MODULE_PATHNAME', 'halfvec_maxsim' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE FUNCTION halfvec_negative_maxsim(halfvec[], halfvec[]) RETURNS double precision
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR @# (LEFTARG = halfvec[], RIGHTARG = halfvec[], FUNCTION = halfvec_negative_maxsim);

-- Operator classes of filter columns, which an index of the access method hnsw has behind its vector. They are the defaults of
-- their types. Strategies of comparisons have btree's numbers, those of arrays have gin's.

-- boolean

CREATE FUNCTION hnsw_bool_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR CLASS bool_ops DEFAULT FOR TYPE boolean USING hnsw AS
    OPERATOR 1 < (boolean, boolean),
    OPERATOR 2 <= (boolean, boolean),
    OPERATOR 3 = (boolean, boolean),
    OPERATOR 4 >= (boolean, boolean),
    OPERATOR 5 > (boolean, boolean),
    FUNCTION 1 hnsw_bool_support(internal);

-- integers, which compare with each other

CREATE OPERATOR FAMILY integer_ops USING hnsw;

CREATE FUNCTION hnsw_int2_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR CLASS int2_ops DEFAULT FOR TYPE smallint USING hnsw FAMILY integer_ops AS
    OPERATOR 1 < (smallint, smallint),
    OPERATOR 2 <= (smallint, smallint),
    OPERATOR 3 = (smallint, smallint),
    OPERATOR 4 >= (smallint, smallint),
    OPERATOR 5 > (smallint, smallint),
    FUNCTION 1 hnsw_int2_support(internal);

CREATE FUNCTION hnsw_int4_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR CLASS int4_ops DEFAULT FOR TYPE integer USING hnsw FAMILY integer_ops AS
    OPERATOR 1 < (integer, integer),
    OPERATOR 2 <= (integer, integer),
    OPERATOR 3 = (integer, integer),
    OPERATOR 4 >= (integer, integer),
    OPERATOR 5 > (integer, integer),
    FUNCTION 1 hnsw_int4_support(internal);

CREATE FUNCTION hnsw_int8_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR CLASS int8_ops DEFAULT FOR TYPE bigint USING hnsw FAMILY integer_ops AS
    OPERATOR 1 < (bigint, bigint),
    OPERATOR 2 <= (bigint, bigint),
    OPERATOR 3 = (bigint, bigint),
    OPERATOR 4 >= (bigint, bigint),
    OPERATOR 5 > (bigint, bigint),
    FUNCTION 1 hnsw_int8_support(internal);

ALTER OPERATOR FAMILY integer_ops USING hnsw ADD
    OPERATOR 1 < (smallint, integer),
    OPERATOR 2 <= (smallint, integer),
    OPERATOR 3 = (smallint, integer),
    OPERATOR 4 >= (smallint, integer),
    OPERATOR 5 > (smallint, integer),
    OPERATOR 1 < (smallint, bigint),
    OPERATOR 2 <= (smallint, bigint),
    OPERATOR 3 = (smallint, bigint),
    OPERATOR 4 >= (smallint, bigint),
    OPERATOR 5 > (smallint, bigint),
    OPERATOR 1 < (integer, smallint),
    OPERATOR 2 <= (integer, smallint),
    OPERATOR 3 = (integer, smallint),
    OPERATOR 4 >= (integer, smallint),
    OPERATOR 5 > (integer, smallint),
    OPERATOR 1 < (integer, bigint),
    OPERATOR 2 <= (integer, bigint),
    OPERATOR 3 = (integer, bigint),
    OPERATOR 4 >= (integer, bigint),
    OPERATOR 5 > (integer, bigint),
    OPERATOR 1 < (bigint, smallint),
    OPERATOR 2 <= (bigint, smallint),
    OPERATOR 3 = (bigint, smallint),
    OPERATOR 4 >= (bigint, smallint),
    OPERATOR 5 > (bigint, smallint),
    OPERATOR 1 < (bigint, integer),
    OPERATOR 2 <= (bigint, integer),
    OPERATOR 3 = (bigint, integer),
    OPERATOR 4 >= (bigint, integer),
    OPERATOR 5 > (bigint, integer);

-- floating-point numbers, which compare with each other

CREATE OPERATOR FAMILY float_ops USING hnsw;

CREATE FUNCTION hnsw_float4_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR CLASS float4_ops DEFAULT FOR TYPE real USING hnsw FAMILY float_ops AS
    OPERATOR 1 < (real, real),
    OPERATOR 2 <= (real, real),
    OPERATOR 3 = (real, real),
    OPERATOR 4 >= (real, real),
    OPERATOR 5 > (real, real),
    FUNCTION 1 hnsw_float4_support(internal);

CREATE FUNCTION hnsw_float8_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR CLASS float8_ops DEFAULT FOR TYPE double precision USING hnsw FAMILY float_ops AS
    OPERATOR 1 < (double precision, double precision),
    OPERATOR 2 <= (double precision, double precision),
    OPERATOR 3 = (double precision, double precision),
    OPERATOR 4 >= (double precision, double precision),
    OPERATOR 5 > (double precision, double precision),
    FUNCTION 1 hnsw_float8_support(internal);

ALTER OPERATOR FAMILY float_ops USING hnsw ADD
    OPERATOR 1 < (real, double precision),
    OPERATOR 2 <= (real, double precision),
    OPERATOR 3 = (real, double precision),
    OPERATOR 4 >= (real, double precision),
    OPERATOR 5 > (real, double precision),
    OPERATOR 1 < (double precision, real),
    OPERATOR 2 <= (double precision, real),
    OPERATOR 3 = (double precision, real),
    OPERATOR 4 >= (double precision, real),
    OPERATOR 5 > (double precision, real);

-- numeric

CREATE FUNCTION hnsw_numeric_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR CLASS numeric_ops DEFAULT FOR TYPE numeric USING hnsw AS
    OPERATOR 1 < (numeric, numeric),
    OPERATOR 2 <= (numeric, numeric),
    OPERATOR 3 = (numeric, numeric),
    OPERATOR 4 >= (numeric, numeric),
    OPERATOR 5 > (numeric, numeric),
    FUNCTION 1 hnsw_numeric_support(internal);

-- dates and times

CREATE FUNCTION hnsw_date_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR CLASS date_ops DEFAULT FOR TYPE date USING hnsw AS
    OPERATOR 1 < (date, date),
    OPERATOR 2 <= (date, date),
    OPERATOR 3 = (date, date),
    OPERATOR 4 >= (date, date),
    OPERATOR 5 > (date, date),
    FUNCTION 1 hnsw_date_support(internal);

CREATE FUNCTION hnsw_timestamp_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR CLASS timestamp_ops DEFAULT FOR TYPE timestamp USING hnsw AS
    OPERATOR 1 < (timestamp, timestamp),
    OPERATOR 2 <= (timestamp, timestamp),
    OPERATOR 3 = (timestamp, timestamp),
    OPERATOR 4 >= (timestamp, timestamp),
    OPERATOR 5 > (timestamp, timestamp),
    FUNCTION 1 hnsw_timestamp_support(internal);

CREATE FUNCTION hnsw_timestamptz_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR CLASS timestamptz_ops DEFAULT FOR TYPE timestamptz USING hnsw AS
    OPERATOR 1 < (timestamptz, timestamptz),
    OPERATOR 2 <= (timestamptz, timestamptz),
    OPERATOR 3 = (timestamptz, timestamptz),
    OPERATOR 4 >= (timestamptz, timestamptz),
    OPERATOR 5 > (timestamptz, timestamptz),
    FUNCTION 1 hnsw_timestamptz_support(internal);

-- uuid

CREATE FUNCTION hnsw_uuid_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR CLASS uuid_ops DEFAULT FOR TYPE uuid USING hnsw AS
    OPERATOR 1 < (uuid, uuid),
    OPERATOR 2 <= (uuid, uuid),
    OPERATOR 3 = (uuid, uuid),
    OPERATOR 4 >= (uuid, uuid),
    OPERATOR 5 > (uuid, uuid),
    FUNCTION 1 hnsw_uuid_support(internal);

-- text, and varchar with it

CREATE FUNCTION hnsw_text_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR CLASS text_ops DEFAULT FOR TYPE text USING hnsw AS
    OPERATOR 1 < (text, text),
    OPERATOR 2 <= (text, text),
    OPERATOR 3 = (text, text),
    OPERATOR 4 >= (text, text),
    OPERATOR 5 > (text, text),
    FUNCTION 1 hnsw_text_support(internal);

-- enums

CREATE FUNCTION hnsw_enum_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR CLASS enum_ops DEFAULT FOR TYPE anyenum USING hnsw AS
    OPERATOR 1 < (anyenum, anyenum),
    OPERATOR 2 <= (anyenum, anyenum),
    OPERATOR 3 = (anyenum, anyenum),
    OPERATOR 4 >= (anyenum, anyenum),
    OPERATOR 5 > (anyenum, anyenum),
    FUNCTION 1 hnsw_enum_support(internal);

-- arrays

CREATE FUNCTION hnsw_int4_array_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR CLASS _int4_ops DEFAULT FOR TYPE integer[] USING hnsw AS
    OPERATOR 1 && (anyarray, anyarray),
    OPERATOR 2 @> (anyarray, anyarray),
    FUNCTION 1 hnsw_int4_array_support(internal);

CREATE FUNCTION hnsw_text_array_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

CREATE OPERATOR CLASS _text_ops DEFAULT FOR TYPE text[] USING hnsw AS
    OPERATOR 1 && (anyarray, anyarray),
    OPERATOR 2 @> (anyarray, anyarray),
    FUNCTION 1 hnsw_text_array_support(internal);

-- Functions of pgvector that nobody calls: a dump may grant privileges on them.

CREATE FUNCTION hnsw_halfvec_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION hnsw_bit_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION hnsw_sparsevec_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION ivfflat_halfvec_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
CREATE FUNCTION ivfflat_bit_support(internal) RETURNS internal
    AS 'MODULE_PATHNAME' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;

-- The access method ivfflat: the graph of hnsw for schemas and dumps that name pgvector's. It has pgvector's operator classes of
-- that name, of which vector_l2_ops is the default.

CREATE FUNCTION ivfflathandler(internal) RETURNS index_am_handler
    AS 'MODULE_PATHNAME' LANGUAGE C;

CREATE ACCESS METHOD ivfflat TYPE INDEX HANDLER ivfflathandler;

COMMENT ON ACCESS METHOD ivfflat IS 'approximate nearest neighbors: the graph of hnsw, for schemas that name ivfflat';

CREATE OPERATOR CLASS vector_l2_ops DEFAULT FOR TYPE vector USING ivfflat AS
    OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 hnsw_vector_l2_support(internal);

CREATE OPERATOR CLASS vector_ip_ops FOR TYPE vector USING ivfflat AS
    OPERATOR 1 <#> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 hnsw_vector_ip_support(internal);

CREATE OPERATOR CLASS vector_cosine_ops FOR TYPE vector USING ivfflat AS
    OPERATOR 1 <=> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 hnsw_vector_cosine_support(internal);

CREATE OPERATOR CLASS halfvec_l2_ops FOR TYPE halfvec USING ivfflat AS
    OPERATOR 1 <-> (halfvec, halfvec) FOR ORDER BY float_ops,
    FUNCTION 1 hnsw_halfvec_l2_support(internal);

CREATE OPERATOR CLASS halfvec_ip_ops FOR TYPE halfvec USING ivfflat AS
    OPERATOR 1 <#> (halfvec, halfvec) FOR ORDER BY float_ops,
    FUNCTION 1 hnsw_halfvec_ip_support(internal);

CREATE OPERATOR CLASS halfvec_cosine_ops FOR TYPE halfvec USING ivfflat AS
    OPERATOR 1 <=> (halfvec, halfvec) FOR ORDER BY float_ops,
    FUNCTION 1 hnsw_halfvec_cosine_support(internal);

CREATE OPERATOR CLASS bit_hamming_ops FOR TYPE bit USING ivfflat AS
    OPERATOR 1 <~> (bit, bit) FOR ORDER BY float_ops,
    FUNCTION 1 hnsw_bit_hamming_support(internal);

-- Commits after each index, so that a call after a cancel goes on where the last one ended.
CREATE PROCEDURE alopex_rebuild()
    AS 'MODULE_PATHNAME', 'alopex_rebuild_wrapper' LANGUAGE C;

COMMENT ON PROCEDURE alopex_rebuild() IS
    'rebuilds the caller''s hnsw and ivfflat indexes that are not valid, or that another version or pgvector built: small tables first';
