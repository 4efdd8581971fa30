#!/usr/bin/env bash
# Runs pgvector's own tests, of a checkout that the user names, against the extension under the name vector.
#
#   pgvector.sh CHECKOUT [NAME...]   all, or those named: files of test/sql and test/t, as in hnsw_vector 017_hnsw_filtering
#
# With PostgreSQL 15, whose Debian package has the modules that tests in Perl take. Differences are listed and counted, and left in
# build/pgvector-15/results: docs/migration.md has the reason of each. The tests run in a copy: the checkout stays as it is.

export PG=15
# shellcheck source=pgrx-config/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../pgrx-config/lib.sh"

[ $# != 0 ] || die "name a checkout of pgvector: git clone --branch v0.8.5 https://github.com/pgvector/pgvector"
checkout=$1
shift
[ -f "$checkout/test/sql/hnsw_vector.sql" ] || die "$checkout is no checkout of pgvector"

cd "$repo"
cluster() { pgrx-config/cluster.sh pgvector "$@"; }
pgrx-config/setup.sh
pg_config=$(cluster prefix)
install_into pgvector
pgrx-config/vector-name.sh "$pg_config"
home=$(cluster dir)
results=$home/results
rm -rf "$results"
mkdir -p "$results"
cp -r "$checkout/test" "$results/test"
if is_root; then chown -R "$server_user" "$results"; fi

pgxs=$(dirname "$(dirname "$("$pg_config" --pgxs)")")
regress=$results/pg_regress
# Found in Debian's package too where the private copy has none; not executable everywhere.
for place in "$pgxs/test/regress/pg_regress" "/usr/lib/postgresql/$PG/lib/pgxs/src/test/regress/pg_regress"; do
    [ -f "$regress" ] || ! [ -f "$place" ] || install -m 755 "$place" "$regress"
done
[ -x "$regress" ] || die "there is no pg_regress: install postgresql-server-dev-$PG"
modules=/usr/lib/postgresql/$PG/lib/pgxs/src/test/perl
need_packages libipc-run-perl "postgresql-server-dev-$PG"

names=("$@")
if [ ${#names[@]} = 0 ]; then
    for file in "$results"/test/sql/*.sql "$results"/test/t/*.pl; do names+=("$(basename "${file%.*}")"); done
fi
differ=()
report() {
    if [ "$2" = 0 ]; then say "ok     $1"; else
        differ+=("$1")
        say "differs $1 ($3)"
    fi
}

sql_file() {
    local name=$1 rc=0 out=$results/sql/$1
    as_server mkdir -p "$out"
    as_server env -C "$out" "$regress" --bindir="$(dirname "$pg_config")" --inputdir="$results/test" --outputdir="$out" \
        --host="$(cluster sockets)" --port="$PORT" --user=postgres --dbname="pgvector_$name" --load-extension=vector "$name" \
        >"$results/$name.log" 2>&1 || rc=$?
    report "$name" "$rc" "$(grep -c '^[-+] ' "$out/regression.diffs" 2>/dev/null) lines"
}

# Each in a directory of its own; servers are its own too.
perl_file() {
    local name=$1 rc=0 out=$results/perl/$1
    as_server mkdir -p "$out"
    as_server env -C "$out" PATH="$(dirname "$pg_config"):$PATH" PG_REGRESS="$regress" TESTDIR="$out" TESTDATADIR="$out" \
        TESTLOGDIR="$out/log" timeout 1200 prove -v -I "$modules" "$results/test/t/$name.pl" >"$results/$name.log" 2>&1 || rc=$?
    report "$name" "$rc" "$(grep -c '^not ok' "$results/$name.log") of $(grep -c '^\(not \)\?ok' "$results/$name.log") assertions"
}

cluster start
for name in "${names[@]}"; do
    if [ -f "$results/test/sql/$name.sql" ]; then sql_file "$name"; else perl_file "$name"; fi
done
cluster stop
[ ${#differ[@]} = 0 ] || die "${#differ[@]} of ${#names[@]} differ: ${differ[*]} (see $results)"
say "All ${#names[@]} pass"
