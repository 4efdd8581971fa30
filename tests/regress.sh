#!/usr/bin/env bash
# Runs each tests/sql/NAME.sql in a database of its own and compares what psql prints with tests/expected/NAME.out.
#
#   regress.sh [NAME...]            all files, or those named
#   regress.sh --accept [NAME...]   take what was printed as expected: read the change before committing it

# shellcheck source=pgrx-config/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../pgrx-config/lib.sh"

accept=0
if [ "${1-}" = --accept ]; then
    accept=1
    shift
fi

cd "$repo"
cluster() { pgrx-config/cluster.sh test "$@"; }
pgrx-config/setup.sh
install_into test
cluster start
log=$(cluster dir)/server.log
logged=$(wc -l <"$log")
results=$(cluster dir)/regress
rm -rf "$results"
mkdir -p "$results"

names=("$@")
if [ ${#names[@]} = 0 ]; then
    for file in tests/sql/*.sql; do names+=("$(basename "$file" .sql)"); done
fi

failed=0
for name in "${names[@]}"; do
    [ -f "tests/sql/$name.sql" ] || die "there is no tests/sql/$name.sql"
    fresh_database test "regress_$name"
    # error_of(statement) is its SQLSTATE and message.
    # scans(query) names the nodes of a plan that tell how its rows are found.
    # plan(query) is EXPLAIN for nodes that a setting disables: PostgreSQL 18 says so of each, older ones do not.
    cluster psql -q -d "regress_$name" -v ON_ERROR_STOP=1 <<'SQL'
CREATE EXTENSION pg_alopex;
CREATE FUNCTION error_of(statement text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE statement;
    RETURN 'no error';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END $$;
CREATE FUNCTION plan(query text) RETURNS TABLE ("QUERY PLAN" text) LANGUAGE plpgsql AS $$
BEGIN
    FOR "QUERY PLAN" IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
        IF "QUERY PLAN" !~ '^ *Disabled: true$' THEN RETURN NEXT; END IF;
    END LOOP;
END $$;
CREATE FUNCTION scans(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    line text;
    found text := '';
BEGIN
    FOR line IN EXECUTE 'EXPLAIN (COSTS OFF) ' || query LOOP
        found := found || coalesce(substring(line FROM '(Sort$|HNSW Bitmap Scan|WindowAgg$|Aggregate$|Unique$|Seq Scan|Bitmap Index Scan on \w+|Index Scan using \w+)') || '; ', '');
    END LOOP;
    RETURN found;
END $$;
SQL
    status=0
    cluster psql -a -q -d "regress_$name" <"tests/sql/$name.sql" >"$results/$name.out" 2>&1 || status=$?
    if [ $status -gt 1 ]; then
        say "not ok $name (psql ended with status $status: did the server crash? see $log)"
        tail -n 5 "$results/$name.out"
        failed=$((failed + 1))
    elif [ $accept = 1 ]; then
        mkdir -p tests/expected
        cp "$results/$name.out" "tests/expected/$name.out"
        say "accepted $name"
    elif diff -u "tests/expected/$name.out" "$results/$name.out" >"$results/$name.diff" 2>&1; then
        say "ok $name"
    else
        say "not ok $name"
        cat "$results/$name.diff"
        failed=$((failed + 1))
    fi
done
die_if_crashed "$log" "$logged"
[ $failed = 0 ] || die "$failed of ${#names[@]} regression files differ"
