-- ALTER EXTENSION UPDATE and CREATE EXTENSION make the same objects: every member, with its
-- dependencies, its comment and its privileges.
CREATE FUNCTION objects() RETURNS TABLE (object text, what text) LANGUAGE sql AS $$
    WITH members AS (
        SELECT classid, objid, pg_describe_object(classid, objid, 0) AS object FROM pg_depend d
        JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
        WHERE deptype = 'e' AND extname = 'pg_alopex'
    ), parts AS (
        -- Members of operator families are no members of the extension.
        SELECT classid, objid, object FROM members
        UNION SELECT d.classid, d.objid, pg_describe_object(d.classid, d.objid, 0) FROM pg_depend d
        JOIN members m ON (m.classid, m.objid) = (d.refclassid, d.refobjid)
        LEFT JOIN pg_amop o ON (d.classid, d.objid) = ('pg_amop'::regclass, o.oid)
        LEFT JOIN pg_amproc p ON (d.classid, d.objid) = ('pg_amproc'::regclass, p.oid)
        WHERE ('pg_opfamily'::regclass, coalesce(amopfamily, amprocfamily)) IN (SELECT classid, objid FROM members)
    )
    SELECT object, '' FROM parts
    UNION ALL SELECT 'extension', (to_jsonb(e) - 'oid') #>> '{}' FROM pg_extension e WHERE extname = 'pg_alopex'
    UNION ALL SELECT object, format('depends on %s, %s', pg_describe_object(refclassid, refobjid, refobjsubid), deptype)
    FROM parts JOIN pg_depend USING (classid, objid)
    UNION ALL SELECT object, 'comment ' || description FROM parts JOIN pg_description ON (classoid, objoid) = (classid, objid)
    UNION ALL SELECT object, format('privileges %s, %s', privtype, initprivs) FROM parts JOIN pg_init_privs i
        ON (i.classoid, i.objoid) = (classid, objid)
    UNION ALL SELECT object, pg_get_functiondef(oid) || coalesce(proacl::text, '') FROM parts JOIN pg_proc ON oid = objid
        WHERE classid = 'pg_proc'::regclass AND prokind <> 'a'
    UNION ALL SELECT object, to_jsonb(p) - '{oid,proargtypes,proallargtypes,prorettype,proargdefaults}'::text[] #>> '{}'
        FROM parts JOIN pg_proc p ON p.oid = objid WHERE classid = 'pg_proc'::regclass
    UNION ALL SELECT object, to_jsonb(a) - 'aggtranstype' - 'aggfnoid' || jsonb_build_object('state', aggtranstype::regtype) #>> '{}'
        FROM parts JOIN pg_aggregate a ON a.aggfnoid = objid WHERE classid = 'pg_proc'::regclass
    UNION ALL SELECT object, to_jsonb(t) - '{oid,typarray,typelem,typrelid}'::text[]
            || jsonb_build_object('array', typarray::regtype, 'element', typelem::regtype) #>> '{}'
        FROM parts JOIN pg_type t ON t.oid = objid WHERE classid = 'pg_type'::regclass
    UNION ALL SELECT object, pg_get_viewdef(objid) FROM parts WHERE classid = 'pg_class'::regclass
    UNION ALL SELECT object, to_jsonb(o) - '{oid,oprcom,oprnegate,oprleft,oprright,oprresult}'::text[] || jsonb_build_object(
            'result', oprresult::regtype, 'commutator', oprcom::regoperator, 'negator', oprnegate::regoperator) #>> '{}'
        FROM parts JOIN pg_operator o ON o.oid = objid WHERE classid = 'pg_operator'::regclass
    UNION ALL SELECT object, format('%s %s %s', castfunc::regprocedure, castcontext, castmethod)
        FROM parts JOIN pg_cast c ON c.oid = objid WHERE classid = 'pg_cast'::regclass
    UNION ALL SELECT object, format('%s %s', amhandler, amtype)
        FROM parts JOIN pg_am a ON a.oid = objid WHERE classid = 'pg_am'::regclass
    UNION ALL SELECT object, format('%s %s %s %s', opcintype::regtype, opckeytype::regtype, opcdefault, opfname)
        FROM parts JOIN pg_opclass c ON c.oid = objid JOIN pg_opfamily f ON f.oid = opcfamily
        WHERE classid = 'pg_opclass'::regclass
    UNION ALL SELECT object, format('%s %s %s %s %s', amopstrategy, amoppurpose, amopopr::regoperator, f.opfname, s.opfname)
        FROM parts JOIN pg_amop o ON o.oid = objid JOIN pg_opfamily f ON f.oid = amopfamily LEFT JOIN pg_opfamily s ON s.oid = amopsortfamily
        WHERE classid = 'pg_amop'::regclass
    UNION ALL SELECT object, format('%s %s %s', amprocnum, amproc::oid::regprocedure, f.opfname)
        FROM parts JOIN pg_amproc p ON p.oid = objid JOIN pg_opfamily f ON f.oid = amprocfamily
        WHERE classid = 'pg_amproc'::regclass
$$;
CREATE TABLE fresh AS SELECT * FROM objects();
SELECT count(*) > 1000 AS many, count(*) FILTER (WHERE object LIKE 'function 1 (vector, vector) of operator family%') > 3 AS functions,
    count(*) FILTER (WHERE what LIKE 'comment %') > 5 AS comments FROM fresh;
SELECT extversion AS current FROM pg_extension WHERE extname = 'pg_alopex' \gset
DROP EXTENSION pg_alopex;
SELECT count(*) FROM objects();

CREATE EXTENSION pg_alopex VERSION '0.1.0';
-- It differs, so that the comparison has something to find.
SELECT object FROM (SELECT object FROM objects() EXCEPT SELECT object FROM fresh) o ORDER BY object COLLATE "C" LIMIT 3;

-- The library alone is new: types, indexes and functions work as they did.
CREATE TABLE items (id int, v vector(3), s sparsevec(3));
INSERT INTO items SELECT i, ARRAY[i, 1, 1]::vector, format('{1:%s}/3', i)::sparsevec FROM generate_series(1, 100) i;
CREATE INDEX items_v ON items USING hnsw (v vector_l2_ops);
CREATE INDEX items_s ON items USING hnsw (s sparsevec_ip_ops);
CREATE OPERATOR CLASS own_ops FOR TYPE vector USING hnsw AS
    OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
    FUNCTION 1 hnsw_vector_l2_support(internal), FUNCTION 2 hnsw_within(internal, double precision);
CREATE INDEX items_own ON items USING hnsw (v own_ops) WHERE id % 2 = 0;
SELECT opcname FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod WHERE amname = 'hnsw' AND NOT amvalidate(c.oid);
SET enable_seqscan = off;
SELECT plan('SELECT id FROM items ORDER BY v <-> ''[50,1,1]'' LIMIT 3');
SELECT id FROM items ORDER BY v <-> '[50.1,1,1]' LIMIT 3;
SELECT hnsw_recall('items_v', ARRAY['[50,1,1]'::vector]);
SELECT * FROM hnsw_check('items_v', true);
SELECT nodes_visited > 0 AS searched FROM hnsw_last_search();

ALTER EXTENSION pg_alopex UPDATE;
SELECT extversion = :'current' AS is_current FROM pg_extension WHERE extname = 'pg_alopex';
SELECT 'is there no more' AS difference, * FROM (SELECT * FROM fresh EXCEPT ALL SELECT * FROM objects()) o
UNION ALL SELECT 'is there besides', * FROM (SELECT * FROM objects() EXCEPT ALL SELECT * FROM fresh) o ORDER BY 1, 2, 3;

-- Indexes stay and work, in this session and in others, and so does a class of somebody else.
SELECT opcname FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod WHERE amname = 'hnsw' AND NOT amvalidate(c.oid);
SELECT id FROM items ORDER BY v <-> '[50.1,1,1]' LIMIT 3;
SELECT passes FROM hnsw_last_search();
\c
SET enable_seqscan = off;
SELECT plan('SELECT id FROM items ORDER BY v <-> ''[50,1,1]'' LIMIT 3');
SELECT id FROM items ORDER BY v <-> '[50.1,1,1]' LIMIT 3;
SELECT id FROM items WHERE id % 2 = 0 ORDER BY v <-> '[50.1,1,1]' LIMIT 3;
SELECT id FROM items ORDER BY s <#> '{1:1}/3' LIMIT 3;
SELECT hnsw_recall('items_v', ARRAY['[50,1,1]'::vector]), alopex_version() IS NOT NULL AS version;
REINDEX TABLE items;
SELECT * FROM hnsw_check('items_own', true);
-- No support function 2 is left.
SELECT count(*) FROM pg_amproc p JOIN pg_opfamily f ON f.oid = amprocfamily JOIN pg_am a ON a.oid = opfmethod
WHERE amname = 'hnsw' AND amprocnum <> 1;
DROP OPERATOR FAMILY own_ops USING hnsw CASCADE;
DROP EXTENSION pg_alopex CASCADE;
SELECT count(*) FROM pg_depend d WHERE classid = 'pg_amproc'::regclass AND objid >= 16384;
