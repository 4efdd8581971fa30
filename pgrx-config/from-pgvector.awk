# Makes of the script of the extension one that brings any catalog state of pgvector from 0.5.0 on, or of ours, to the objects of
# that script: functions and views are replaced, other objects made where they are missing, and operator classes get their
# support functions. Reads statements that end with a line's end.

BEGIN {
    print "-- From the objects of pgvector, or earlier ones of pg_alopex, to those of pg_alopex.\n"
    begin_safe()
    print "-- The pages of pgvector's indexes are read by pgvector alone. Until REINDEX queries do without these indexes, and rows are not"
    print "-- inserted into them."
    print "UPDATE pg_index SET indisvalid = false, indisready = false FROM pg_class c, pg_am a, pg_proc h"
    print "    WHERE c.oid = indexrelid AND a.oid = c.relam AND h.oid = a.amhandler AND c.relkind = 'i'"
    print "        AND h.prosrc IN ('hnswhandler', 'ivfflathandler') AND h.probin <> 'MODULE_PATHNAME';\n"
    print "SELECT pg_catalog.set_config('search_path', pg_catalog.current_setting('alopex.search_path'), true);\n"
}

# Objects of users are not to be taken for PostgreSQL's where catalogs are changed.
function begin_safe() {
    print "SELECT pg_catalog.set_config('alopex.search_path', pg_catalog.current_setting('search_path'), true);"
    print "SET LOCAL search_path = pg_catalog, pg_temp;\n"
}

# Comments of pgrx, and ours.
in_comment { if (/\*\//) in_comment = 0; next }
/^\/\*/ { if (!/\*\//) in_comment = 1; next }
statement == "" && (/^--/ || /^ *$/) { next }

{ statement = statement (statement == "" ? "" : "\n") $0 }

/;$/ {
    if (statement ~ /^CREATE (FUNCTION|PROCEDURE|AGGREGATE|VIEW) /) {
        end_of_list()
        sub(/^CREATE /, "CREATE OR REPLACE ", statement)
        print statement "\n"
    } else if (statement ~ /^COMMENT ON /) {
        end_of_list()
        print statement "\n"
    } else {
        note_class()
        note_object()
        sub(/;$/, "", statement)
        list = list (list == "" ? "" : ",\n") "        $statement$" statement "$statement$"
    }
    statement = ""
}

# The statements of the list, each only where its object is missing.
function end_of_list() {
    if (list == "") return
    print "DO $update$\nDECLARE\n    statement text;\nBEGIN\n    FOREACH statement IN ARRAY ARRAY["
    print list "\n    ] LOOP"
    print "        BEGIN\n            EXECUTE statement;\n        EXCEPTION WHEN duplicate_object OR duplicate_function THEN"
    print "            NULL;\n        END;\n    END LOOP;\nEND $update$;\n"
    list = ""
}

# An operator class of an access method of ours, with its support function.
function note_class(    words, i, name, method, support) {
    if (statement !~ /^CREATE OPERATOR CLASS /) return
    split(statement, words, /[ \n;]+/)
    name = words[4]
    for (i = 5; i in words; i++) {
        if (words[i] == "USING") method = words[i + 1]
        if (words[i] == "FUNCTION" && words[i + 1] == 1) support = words[i + 2]
    }
    if (method != "hnsw" && method != "ivfflat") return
    classes = classes (classes == "" ? "" : ",\n") "            ('" method "', '" name "', '" support "')"
}

# A type or an operator that the script makes, as the input of regtype or regoperator.
function note_object(    words, object) {
    split(statement, words, /[ \n,;()]+/)
    if (statement ~ /^CREATE TYPE /) {
        types[words[3]]
        object = "('pg_type', '" qualified(words[3]) "')"
    } else if (statement ~ /^CREATE OPERATOR [^A-Z ]+ \(/) {
        object = "('pg_operator', '@schema@." words[3] "(" qualified(operand("LEFTARG")) "," qualified(operand("RIGHTARG")) ")')"
    }
    if (object == "" || object in noted) return
    noted[object]
    objects = objects (objects == "" ? "" : ",\n") "            " object
}

function operand(side,    rest) {
    rest = substr(statement, index(statement, side " = ") + length(side) + 3)
    return substr(rest, 1, match(rest, /[,)]/) - 1)
}

function qualified(type,    element) {
    element = type
    sub(/\[\]$/, "", element)
    return (element in types ? "@schema@." : "") type
}

END {
    end_of_list()
    begin_safe()
    print "-- Objects that were there already have to be the extension's. PostgreSQL itself says so of functions and views."
    print "DO $update$\nDECLARE\n    extension record;\n    catalog regclass;\n    object text;\nBEGIN"
    print "    SELECT e.oid, extname, quote_ident(nspname) AS schema INTO extension FROM pg_extension e JOIN pg_namespace n ON n.oid = extnamespace"
    print "        WHERE extname IN ('vector', 'pg_alopex');"
    print "    FOR catalog, object IN SELECT name, replace(input, '@schema@', extension.schema) FROM (VALUES\n" objects
    print "        ) made (name, input)"
    print "    LOOP"
    print "        IF NOT EXISTS (SELECT FROM pg_depend WHERE (classid, deptype) = (catalog, 'e')"
    print "            AND objid = CASE catalog WHEN 'pg_type'::regclass THEN object::regtype::oid ELSE object::regoperator::oid END"
    print "            AND (refclassid, refobjid) = ('pg_extension'::regclass, extension.oid))"
    print "        THEN"
    print "            RAISE object_not_in_prerequisite_state USING"
    print "                MESSAGE = format('%s %s is not a member of extension \"%s\"',"
    print "                    CASE catalog WHEN 'pg_type'::regclass THEN 'type' ELSE 'operator' END, object, extension.extname),"
    print "                DETAIL = 'An extension is not allowed to replace an object that it does not own.';"
    print "        END IF;"
    print "    END LOOP;\nEND $update$;\n"
    print "-- Support function 1 of a class is ours, and there are no others. ALTER OPERATOR FAMILY removes no function that a class"
    print "-- requires, and without the class its indexes would go."
    print "DO $update$\nDECLARE\n    class record;\nBEGIN"
    print "    FOR class IN\n        SELECT opcfamily, opcintype, (extnamespace::regnamespace::text || '.' || support)::regprocedure AS support FROM (VALUES\n" classes
    print "        ) ours (method, name, support)"
    print "        JOIN pg_am ON amname = method JOIN pg_opclass c ON opcmethod = pg_am.oid AND opcname = name"
    print "        JOIN pg_depend d ON (classid, objid, deptype) = ('pg_opclass'::regclass, c.oid, 'e')"
    print "        JOIN pg_extension e ON (refclassid, refobjid) = ('pg_extension'::regclass, e.oid) AND extname IN ('vector', 'pg_alopex')"
    print "    LOOP"
    print "        DELETE FROM pg_depend WHERE classid = 'pg_amproc'::regclass AND objid IN (SELECT oid FROM pg_amproc"
    print "            WHERE (amprocfamily, amproclefttype) = (class.opcfamily, class.opcintype) AND amprocnum <> 1);"
    print "        DELETE FROM pg_amproc"
    print "            WHERE (amprocfamily, amproclefttype) = (class.opcfamily, class.opcintype) AND amprocnum <> 1;"
    print "        UPDATE pg_depend SET refobjid = class.support"
    print "            WHERE classid = 'pg_amproc'::regclass AND refclassid = 'pg_proc'::regclass AND objid IN (SELECT oid FROM pg_amproc"
    print "            WHERE (amprocfamily, amproclefttype) = (class.opcfamily, class.opcintype));"
    print "        UPDATE pg_amproc SET amproc = class.support"
    print "            WHERE (amprocfamily, amproclefttype) = (class.opcfamily, class.opcintype);"
    print "        INSERT INTO pg_depend SELECT 'pg_amproc'::regclass, p.oid, 0, 'pg_type'::regclass, class.opcintype, 0, 'n' FROM pg_amproc p"
    print "            WHERE (amprocfamily, amproclefttype) = (class.opcfamily, class.opcintype) AND class.opcintype >= 16384"
    print "                AND NOT EXISTS (SELECT FROM pg_depend WHERE (classid, objid) = ('pg_amproc'::regclass, p.oid)"
    print "                    AND refclassid = 'pg_type'::regclass);"
    print "    END LOOP;\nEND $update$;\n"
    print "-- Estimators of operators, and merge joins."
    print "UPDATE pg_operator SET oprrest = 'neqsel', oprjoin = 'neqjoinsel'"
    print "    FROM pg_depend JOIN pg_extension e ON (refclassid, refobjid) = ('pg_extension'::regclass, e.oid) AND extname IN ('vector', 'pg_alopex')"
    print "    WHERE deptype = 'e' AND (classid, objid) = ('pg_operator'::regclass, pg_operator.oid) AND oprname = '<>';"
    print "UPDATE pg_operator SET oprcanmerge = true"
    print "    FROM pg_depend JOIN pg_extension e ON (refclassid, refobjid) = ('pg_extension'::regclass, e.oid) AND extname IN ('vector', 'pg_alopex')"
    print "    WHERE deptype = 'e' AND (classid, objid) = ('pg_operator'::regclass, pg_operator.oid) AND oprname = '=';"
}
