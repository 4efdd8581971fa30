-- Functions that look into an index.

CREATE FUNCTION hnsw_check(
    index regclass,
    heapallindexed boolean DEFAULT false,
    OUT severity text,
    OUT block bigint,
    OUT slot integer,
    OUT fault text
) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'hnsw_check_wrapper' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

COMMENT ON FUNCTION hnsw_check(regclass, boolean) IS
    'reads a whole hnsw index: one row for each fault, none if it is sound; with heapallindexed its table too, for rows that it lacks';

CREATE FUNCTION hnsw_compaction(
    index regclass,
    OUT finished_at timestamptz,
    OUT nodes_removed bigint,
    OUT links_repaired bigint,
    OUT slots_freed bigint,
    OUT pages_truncated bigint,
    OUT bytes_returned bigint,
    OUT duration interval
) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'hnsw_compaction_wrapper' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 1;

COMMENT ON FUNCTION hnsw_compaction(regclass) IS 'what the last VACUUM that removed anything did to an hnsw index';

CREATE FUNCTION hnsw_stats(
    index regclass,
    OUT node_count bigint,
    OUT deleted_count bigint,
    OUT level_distribution bigint[],
    OUT avg_edges_per_node double precision,
    OUT index_bytes bigint,
    OUT memory_bytes bigint,
    OUT page_fill double precision,
    OUT format_version integer
) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'hnsw_stats_wrapper' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 1;

COMMENT ON FUNCTION hnsw_stats(regclass) IS 'reads a whole hnsw index and counts what it consists of';

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

CREATE FUNCTION hnsw_last_insert(
    OUT node_id bigint,
    OUT level integer,
    OUT connected_neighbors integer,
    OUT rows bigint,
    OUT pages bigint,
    OUT wal_bytes bigint
) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'hnsw_last_insert_wrapper' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 1;

COMMENT ON FUNCTION hnsw_last_insert() IS 'what inserting rows into an hnsw index did that this session did last: those of a transaction go there together';

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

-- The share of the k nearest rows that queries find by an index, with the settings of the session: rows as near as the kth count.
CREATE FUNCTION hnsw_recall(index regclass, queries anyarray, k integer DEFAULT 10) RETURNS double precision
    AS 'MODULE_PATHNAME', 'hnsw_recall_wrapper' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;

COMMENT ON FUNCTION hnsw_recall(regclass, anyarray, integer) IS
    'share of the k nearest rows that an hnsw index finds for an array of queries, as the session''s settings are; compares with an exact search for each';

-- Commits after each index, so that a call after a cancel goes on where the last one ended.
CREATE PROCEDURE alopex_rebuild()
    AS 'MODULE_PATHNAME', 'alopex_rebuild_wrapper' LANGUAGE C;

COMMENT ON PROCEDURE alopex_rebuild() IS
    'rebuilds the caller''s hnsw and ivfflat indexes that are not valid, or that another version or pgvector built: small tables first';

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
