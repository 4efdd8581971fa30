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
    AS 'MODULE_PATHNAME', 'hnsw_compaction_wrapper' LANGUAGE C VOLATILE STRICT PARALLEL SAFE ROWS 1;

COMMENT ON FUNCTION hnsw_compaction(regclass) IS 'what the last VACUUM that removed anything did to an hnsw index';
