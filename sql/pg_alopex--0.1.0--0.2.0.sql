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
    OUT passes bigint
) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'hnsw_last_search_with_passes_wrapper' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED ROWS 1;
COMMENT ON FUNCTION hnsw_last_search() IS 'what the last scan of an hnsw index in this session did';

CREATE FUNCTION alopex_version() RETURNS text
    AS 'MODULE_PATHNAME', 'alopex_version_wrapper' LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION alopex_version() IS 'version of the loaded library, and the commit that it was built from';

-- It was of PL/pgSQL, with settings of its own.
CREATE OR REPLACE FUNCTION hnsw_recall(index regclass, queries anyarray, k integer DEFAULT 10) RETURNS double precision
    AS 'MODULE_PATHNAME', 'hnsw_recall_wrapper' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
