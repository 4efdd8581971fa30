-- From the objects of pg_alopex to those of pgvector 0.8, whose library and scripts are in place again. An index with filter
-- columns has to be dropped before: pgvector has no operator classes for these.

-- Objects of users are not to be taken for PostgreSQL's.
SET LOCAL search_path = pg_catalog, pg_temp;

-- The pages of the indexes are read by pg_alopex alone. Until REINDEX queries do without these indexes.
UPDATE pg_index SET indisvalid = false, indisready = false FROM pg_class c, pg_am a, pg_proc h
    WHERE c.oid = indexrelid AND a.oid = c.relam AND h.oid = a.amhandler AND c.relkind = 'i'
        AND h.prosrc IN ('hnswhandler', 'ivfflathandler') AND h.probin <> 'MODULE_PATHNAME';

-- The handlers first: PostgreSQL 18 asks them about any operator that their classes have when it plans, and a session cannot load
-- both libraries.
UPDATE pg_proc SET probin = 'MODULE_PATHNAME'
    WHERE oid IN (SELECT amhandler FROM pg_am WHERE amname IN ('hnsw', 'ivfflat'));

-- Operator classes of filter columns.
DO $update$
DECLARE
    member record;
BEGIN
    FOR member IN
        SELECT opcname, nspname
        FROM pg_depend JOIN pg_extension e ON (refclassid, refobjid) = ('pg_extension'::regclass, e.oid) AND extname = 'vector'
        JOIN pg_opclass c ON (classid, objid) = ('pg_opclass'::regclass, c.oid) JOIN pg_am a ON a.oid = opcmethod
        JOIN pg_namespace n ON n.oid = opcnamespace
        WHERE deptype = 'e' AND amname = 'hnsw' AND opcname !~ '^(vector|halfvec|sparsevec|bit)_'
    LOOP
        EXECUTE format('DROP OPERATOR CLASS %I.%I USING hnsw', member.nspname, member.opcname);
    END LOOP;
    FOR member IN
        SELECT opfname, nspname
        FROM pg_depend JOIN pg_extension e ON (refclassid, refobjid) = ('pg_extension'::regclass, e.oid) AND extname = 'vector'
        JOIN pg_opfamily f ON (classid, objid) = ('pg_opfamily'::regclass, f.oid) JOIN pg_am a ON a.oid = opfmethod
        JOIN pg_namespace n ON n.oid = opfnamespace
        WHERE deptype = 'e' AND amname = 'hnsw' AND opfname !~ '^(vector|halfvec|sparsevec|bit)_'
    LOOP
        EXECUTE format('DROP OPERATOR FAMILY %I.%I USING hnsw', member.nspname, member.opfname);
    END LOOP;
END $update$;

-- Functions get pgvector's library and C names.
UPDATE pg_proc SET probin = 'MODULE_PATHNAME', prosrc = CASE
        WHEN prosrc ~ '^(vector|halfvec|sparsevec)_from_[a-z0-9]+_array$' THEN 'array_to_' || split_part(prosrc, '_', 1)
        WHEN prosrc ~ '_check_length$' THEN split_part(prosrc, '_', 1)
        WHEN prosrc IN ('vector_l2_distance', 'vector_inner_product', 'vector_cosine_distance', 'vector_l1_distance',
            'vector_l2_normalize', 'vector_binary_quantize', 'vector_subvector') THEN substr(prosrc, 8)
        WHEN prosrc IN ('bit_hamming_distance', 'bit_jaccard_distance') THEN substr(prosrc, 5)
        WHEN prosrc = 'halfvec_combine' THEN 'vector_combine'
        ELSE prosrc
    END
    FROM pg_depend JOIN pg_extension e ON (refclassid, refobjid) = ('pg_extension'::regclass, e.oid) AND extname = 'vector'
    WHERE deptype = 'e' AND (classid, objid) = ('pg_proc'::regclass, pg_proc.oid) AND prolang = 13
        AND probin <> 'MODULE_PATHNAME';

-- Operator classes get pgvector's support functions: their names, and whether they take two values of the type of the class, one,
-- or an internal value.
DO $update$
DECLARE
    class record;
    number int;
    support regprocedure;
    member oid;
BEGIN
    FOR class IN
        SELECT c.oid, opcfamily, opcintype, functions, e.oid AS extension FROM (VALUES
            ('hnsw', 'vector_l2_ops', '{vector_l2_squared_distance/2}'),
            ('hnsw', 'vector_ip_ops', '{vector_negative_inner_product/2}'),
            ('hnsw', 'vector_cosine_ops', '{vector_negative_inner_product/2,vector_norm/1}'),
            ('hnsw', 'vector_l1_ops', '{l1_distance/2}'),
            ('hnsw', 'halfvec_l2_ops', '{halfvec_l2_squared_distance/2,NULL,hnsw_halfvec_support/i}'),
            ('hnsw', 'halfvec_ip_ops', '{halfvec_negative_inner_product/2,NULL,hnsw_halfvec_support/i}'),
            ('hnsw', 'halfvec_cosine_ops',
                '{halfvec_negative_inner_product/2,l2_norm/1,hnsw_halfvec_support/i}'),
            ('hnsw', 'halfvec_l1_ops', '{l1_distance/2,NULL,hnsw_halfvec_support/i}'),
            ('hnsw', 'sparsevec_l2_ops',
                '{sparsevec_l2_squared_distance/2,NULL,hnsw_sparsevec_support/i}'),
            ('hnsw', 'sparsevec_ip_ops',
                '{sparsevec_negative_inner_product/2,NULL,hnsw_sparsevec_support/i}'),
            ('hnsw', 'sparsevec_cosine_ops',
                '{sparsevec_negative_inner_product/2,l2_norm/1,hnsw_sparsevec_support/i}'),
            ('hnsw', 'sparsevec_l1_ops', '{l1_distance/2,NULL,hnsw_sparsevec_support/i}'),
            ('hnsw', 'bit_hamming_ops', '{hamming_distance/2,NULL,hnsw_bit_support/i}'),
            ('hnsw', 'bit_jaccard_ops', '{jaccard_distance/2,NULL,hnsw_bit_support/i}'),
            ('ivfflat', 'vector_l2_ops', '{vector_l2_squared_distance/2,NULL,l2_distance/2}'),
            ('ivfflat', 'vector_ip_ops',
                '{vector_negative_inner_product/2,NULL,vector_spherical_distance/2,vector_norm/1}'),
            ('ivfflat', 'vector_cosine_ops',
                '{vector_negative_inner_product/2,vector_norm/1,vector_spherical_distance/2,vector_norm/1}'),
            ('ivfflat', 'halfvec_l2_ops',
                '{halfvec_l2_squared_distance/2,NULL,l2_distance/2,NULL,ivfflat_halfvec_support/i}'),
            ('ivfflat', 'halfvec_ip_ops',
                '{halfvec_negative_inner_product/2,NULL,halfvec_spherical_distance/2,l2_norm/1,ivfflat_halfvec_support/i}'),
            ('ivfflat', 'halfvec_cosine_ops',
                '{halfvec_negative_inner_product/2,l2_norm/1,halfvec_spherical_distance/2,l2_norm/1,ivfflat_halfvec_support/i}'),
            ('ivfflat', 'bit_hamming_ops',
                '{hamming_distance/2,NULL,hamming_distance/2,NULL,ivfflat_bit_support/i}')
        ) theirs (method, name, functions)
        JOIN pg_am ON amname = method JOIN pg_opclass c ON opcmethod = pg_am.oid AND opcname = name
        JOIN pg_depend d ON (classid, objid, deptype) = ('pg_opclass'::regclass, c.oid, 'e')
        JOIN pg_extension e ON (refclassid, refobjid) = ('pg_extension'::regclass, e.oid) AND extname = 'vector'
    LOOP
        DELETE FROM pg_depend WHERE (classid, refclassid) = ('pg_amproc'::regclass, 'pg_type'::regclass) AND objid IN
            (SELECT oid FROM pg_amproc WHERE (amprocfamily, amproclefttype) = (class.opcfamily, class.opcintype));
        FOR number, support IN
            SELECT i, p.oid FROM unnest(class.functions::text[]) WITH ORDINALITY u (f, i) JOIN pg_proc p
                ON proname = split_part(f, '/', 1) AND pronargs = CASE split_part(f, '/', 2) WHEN '2' THEN 2 ELSE 1 END
                AND proargtypes[0] = CASE split_part(f, '/', 2) WHEN 'i' THEN 'internal'::regtype ELSE class.opcintype END
                AND (pronargs = 1 OR proargtypes[1] = class.opcintype)
            JOIN pg_depend ON (classid, objid, deptype) = ('pg_proc'::regclass, p.oid, 'e')
                AND (refclassid, refobjid) = ('pg_extension'::regclass, class.extension)
            ORDER BY i
        LOOP
            SELECT oid INTO member FROM pg_amproc
                WHERE (amprocfamily, amproclefttype, amprocnum) = (class.opcfamily, class.opcintype, number);
            IF FOUND THEN
                UPDATE pg_amproc SET amproc = support WHERE oid = member;
                UPDATE pg_depend SET refobjid = support
                    WHERE (classid, refclassid, objid) = ('pg_amproc'::regclass, 'pg_proc'::regclass, member);
            ELSE
                -- By ALTER OPERATOR FAMILY a class would not own its functions.
                INSERT INTO pg_amproc (oid, amprocfamily, amproclefttype, amprocrighttype, amprocnum, amproc)
                    VALUES (pg_nextoid('pg_amproc', 'oid', 'pg_amproc_oid_index'), class.opcfamily, class.opcintype, class.opcintype,
                        number, support)
                    RETURNING oid INTO member;
                INSERT INTO pg_depend VALUES
                    ('pg_amproc'::regclass, member, 0, 'pg_proc'::regclass, support, 0, 'n'),
                    ('pg_amproc'::regclass, member, 0, 'pg_opclass'::regclass, class.oid, 0, 'i');
            END IF;
            INSERT INTO pg_depend SELECT 'pg_amproc'::regclass, member, 0, 'pg_type'::regclass, class.opcintype, 0, 'n'
                WHERE class.opcintype >= 16384 AND EXISTS (SELECT FROM pg_proc WHERE oid = support AND proargtypes = '2281');
        END LOOP;
    END LOOP;
END $update$;

-- The view, operators and functions that pgvector does not have, each before the functions that it calls.
DO $update$
DECLARE
    member record;
BEGIN
    FOR member IN
        SELECT CASE classid WHEN 'pg_class'::regclass THEN format('VIEW %s', objid::regclass)
                WHEN 'pg_operator'::regclass THEN format('OPERATOR %s', objid::regoperator)
                ELSE format('ROUTINE %s', objid::regprocedure) END AS name
        FROM pg_depend JOIN pg_extension e ON (refclassid, refobjid) = ('pg_extension'::regclass, e.oid) AND extname = 'vector'
        LEFT JOIN pg_class c ON (classid, objid) = ('pg_class'::regclass, c.oid)
        LEFT JOIN pg_operator o ON (classid, objid) = ('pg_operator'::regclass, o.oid)
        LEFT JOIN pg_proc p ON (classid, objid) = ('pg_proc'::regclass, p.oid)
        WHERE deptype = 'e' AND (relname = 'hnsw_index_health' OR oprname = '@#' OR proname ~ '^(alopex|hnsw)_|maxsim$'
            AND proname NOT IN ('hnsw_halfvec_support', 'hnsw_bit_support', 'hnsw_sparsevec_support'))
        ORDER BY c.oid IS NULL, o.oid IS NULL
    LOOP
        EXECUTE 'DROP ' || member.name;
    END LOOP;
END $update$;

-- Properties of functions and operators that differ.
UPDATE pg_proc SET provolatile = 'v', proisstrict = false, proparallel = 'u'
    FROM pg_depend JOIN pg_extension e ON (refclassid, refobjid) = ('pg_extension'::regclass, e.oid) AND extname = 'vector'
    WHERE deptype = 'e' AND (classid, objid) = ('pg_proc'::regclass, pg_proc.oid) AND proname IN ('hnsw_halfvec_support',
        'hnsw_bit_support', 'hnsw_sparsevec_support', 'ivfflat_halfvec_support', 'ivfflat_bit_support');
UPDATE pg_operator SET oprrest = 'eqsel', oprjoin = 'eqjoinsel'
    FROM pg_depend JOIN pg_extension e ON (refclassid, refobjid) = ('pg_extension'::regclass, e.oid) AND extname = 'vector'
    WHERE deptype = 'e' AND (classid, objid) = ('pg_operator'::regclass, pg_operator.oid) AND oprname = '<>';
UPDATE pg_operator SET oprcanmerge = false
    FROM pg_depend JOIN pg_extension e ON (refclassid, refobjid) = ('pg_extension'::regclass, e.oid) AND extname = 'vector'
    WHERE deptype = 'e' AND (classid, objid) = ('pg_operator'::regclass, pg_operator.oid) AND oprname = '=';

COMMENT ON ACCESS METHOD hnsw IS 'hnsw index access method';
COMMENT ON ACCESS METHOD ivfflat IS 'ivfflat index access method';
