-- Everything the extension brings: what clients find in the catalog. From PostgreSQL 18 on arrays of its types and row types are
-- members, too.
CREATE TEMP TABLE members AS
SELECT classid, objid FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
WHERE deptype = 'e' AND extname = 'pg_alopex'
    AND NOT (classid = 'pg_type'::regclass AND objid IN (SELECT oid FROM pg_type WHERE typcategory IN ('A', 'C')));

SELECT classid::regclass AS catalog, count(*) FROM members GROUP BY classid ORDER BY classid::regclass::text COLLATE "C";

SELECT oid::regtype AS type, typtype AS kind, typlen AS len, typalign AS align, typstorage AS storage, typbyval AS by_value,
    typcategory AS category, typdelim AS delimiter, typarray::regtype AS array
FROM pg_type WHERE oid IN (SELECT objid FROM members WHERE classid = 'pg_type'::regclass)
ORDER BY typname COLLATE "C";
SELECT oid::regtype AS type, typinput, typoutput, typreceive, typsend, typmodin, typmodout, typanalyze
FROM pg_type WHERE oid IN (SELECT objid FROM members WHERE classid = 'pg_type'::regclass) AND typelem = 0
ORDER BY typname COLLATE "C";

SELECT oid::regprocedure AS function, prorettype::regtype AS returns, proretset AS set, prokind AS kind, provolatile AS volatility,
    proisstrict AS strict, proparallel AS parallel
FROM pg_proc WHERE oid IN (SELECT objid FROM members WHERE classid = 'pg_proc'::regclass)
ORDER BY oid::regprocedure::text COLLATE "C";

SELECT aggfnoid::regprocedure AS aggregate, aggtransfn, aggcombinefn, aggfinalfn, aggtranstype::regtype AS state, agginitval
FROM pg_aggregate WHERE aggfnoid IN (SELECT objid FROM members WHERE classid = 'pg_proc'::regclass)
ORDER BY aggfnoid::regprocedure::text COLLATE "C";

SELECT oid::regoperator AS operator, oprresult::regtype AS result, oprcode::oid::regprocedure AS function,
    oprcom::regoperator AS commutator, oprnegate::regoperator AS negator, oprrest AS restrict, oprjoin AS join,
    oprcanmerge AS merges, oprcanhash AS hashes
FROM pg_operator WHERE oid IN (SELECT objid FROM members WHERE classid = 'pg_operator'::regclass)
ORDER BY oid::regoperator::text COLLATE "C";

SELECT castsource::regtype AS source, casttarget::regtype AS target, castfunc::regprocedure AS function,
    castcontext AS context, castmethod AS method
FROM pg_cast WHERE oid IN (SELECT objid FROM members WHERE classid = 'pg_cast'::regclass)
ORDER BY castsource::regtype::text COLLATE "C", casttarget::regtype::text COLLATE "C";

SELECT amname AS method, amtype AS type, amhandler AS handler
FROM pg_am WHERE oid IN (SELECT objid FROM members WHERE classid = 'pg_am'::regclass) ORDER BY 1;
SELECT amname AS method, opcname AS class, opcintype::regtype AS type, opcdefault AS default, opckeytype::regtype AS stored
FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod
WHERE c.oid IN (SELECT objid FROM members WHERE classid = 'pg_opclass'::regclass)
ORDER BY amname, opcname;
SELECT amname AS method, opfname AS family, amopstrategy AS strategy, amopopr::regoperator AS operator, amoppurpose AS purpose,
    (SELECT s.opfname FROM pg_opfamily s WHERE s.oid = amopsortfamily) AS sorted_by
FROM pg_opfamily f JOIN pg_am a ON a.oid = opfmethod JOIN pg_amop ON amopfamily = f.oid
WHERE f.oid IN (SELECT objid FROM members WHERE classid = 'pg_opfamily'::regclass)
ORDER BY amname, opfname, 3, 4;
SELECT amname AS method, opfname AS family, amprocnum AS number, amproc::oid::regprocedure AS function
FROM pg_opfamily f JOIN pg_am a ON a.oid = opfmethod JOIN pg_amproc p ON amprocfamily = f.oid
WHERE f.oid IN (SELECT objid FROM members WHERE classid = 'pg_opfamily'::regclass)
ORDER BY amname, opfname, 3, 4;

-- Nothing that was only announced, and operator classes that make sense
SELECT count(*) FROM pg_operator WHERE oprcode = 0 AND oid >= 16384;
SELECT opcname FROM pg_opclass WHERE oid IN (SELECT objid FROM members WHERE classid = 'pg_opclass'::regclass)
    AND NOT amvalidate(oid);
