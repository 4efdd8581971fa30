#!/usr/bin/env bash
# Runs pgvector's own tests, of a checkout that the user names, against the extension under the name vector.
#
#   pgvector.sh CHECKOUT [NAME...]   all, or those named: files of test/sql and test/t, as in hnsw_vector 017_hnsw_filtering
#
# With PostgreSQL 15, whose Debian package has the modules that tests in Perl take; all of 0.8.5 take 20 minutes. It fails where a
# file differs in more than docs/migration.md gives reasons for. Output is left in build/pgvector-15/results. The tests run in a
# copy: the checkout stays as it is.

# How much of each file of 0.8.5 differs for a reason in docs/migration.md, "pgvector's own tests": lines of the output of SQL,
# assertions of Perl. An assertion that depends on random rows may hold.
declare -A expected=(
    # NULL, zero vectors, dimensions, NOTICEs, DETAILs and HINTs, huge numbers
    [halfvec]=17 [sparsevec]=35 [vector_type]=37
    [hnsw_bit]=11 [hnsw_halfvec]=24 [hnsw_sparsevec]=25 [hnsw_vector]=36
    [ivfflat_bit]=37 [ivfflat_halfvec]=45 [ivfflat_vector]=67
    # messages of builds
    [003_ivfflat_vector_build_recall]=3 [012_hnsw_vector_build_recall]=12 [020_hnsw_bit_build_recall]=6
    [024_hnsw_halfvec_build_recall]=12 [028_hnsw_sparsevec_build_recall]=12 [032_ivfflat_halfvec_build_recall]=3
    [035_ivfflat_bit_build_recall]=1 [045_hnsw_low_memory_build]=2
    # scans that go on
    [015_hnsw_vector_duplicates]=2 [023_hnsw_bit_duplicates]=2 [027_hnsw_halfvec_duplicates]=2
    [031_hnsw_sparsevec_duplicates]=2 [036_ivfflat_bit_centers]=8
    # a graph in place of lists
    [002_ivfflat_vacuum]=1 [006_ivfflat_lists]=1 [009_ivfflat_filtering]=3
)

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
# Servers of tests in Perl keep WAL for a standby that lags: VACUUM of a graph writes more at a time than of lists.
settings=$results/settings.conf
echo 'wal_keep_size = 1GB' >"$settings"

same=() known=() other=()
# NAME, how much of it differs, of how much, and whether it ran to its end.
report() {
    local name=$1 count=$2 of=$3 is_whole=$4
    if [ "$count" = 0 ] && [ "$is_whole" = yes ]; then
        same+=("$name")
        say "ok     $name"
    elif [ "$count" -le "${expected[$name]-0}" ] && [ "$is_whole" = yes ]; then
        known+=("$name")
        say "known  $name ($count $of)"
    else
        other+=("$name")
        say "OTHER  $name ($count $of, ${expected[$name]-0} are known; ran to its end: $is_whole)"
    fi
}

sql_file() {
    local name=$1 rc=0 out=$results/sql/$1 count=0
    as_server mkdir -p "$out"
    as_server env -C "$out" "$regress" --bindir="$(dirname "$pg_config")" --inputdir="$results/test" --outputdir="$out" \
        --host="$(cluster sockets)" --port="$PORT" --user=postgres --dbname="pgvector_$name" --load-extension=vector "$name" \
        >"$results/$name.log" 2>&1 || rc=$?
    if [ "$rc" != 0 ]; then count=$(grep '^[-+]' "$out/regression.diffs" 2>/dev/null | grep -Evc '^(---|\+\+\+) /') || true; fi
    # Without differences there is no output to compare: the server is gone.
    if [ "$rc" = 0 ] || [ "$count" != 0 ]; then report "$name" "$count" lines yes; else report "$name" 0 lines no; fi
}

# Each in a directory of its own; servers are its own too.
perl_file() {
    local name=$1 rc=0 out=$results/perl/$1 log=$results/$1.log count is_whole=yes
    as_server mkdir -p "$out"
    as_server env -C "$out" PATH="$(dirname "$pg_config"):$PATH" PG_REGRESS="$regress" TESTDIR="$out" TESTDATADIR="$out" \
        TESTLOGDIR="$out/log" TEMP_CONFIG="$settings" timeout 1200 prove -v -I "$modules" "$results/test/t/$name.pl" >"$log" 2>&1 || rc=$?
    count=$(grep -c '^not ok' "$log") || true
    if grep -q 'Parse errors' "$log" || ! grep -q '^Result: ' "$log" || { [ "$rc" != 0 ] && [ "$count" = 0 ]; }; then is_whole=no; fi
    report "$name" "$count" "of $(grep -c '^\(not \)\?ok' "$log") assertions" "$is_whole"
}

cluster start
for name in "${names[@]}"; do
    if [ -f "$results/test/sql/$name.sql" ]; then sql_file "$name"; else perl_file "$name"; fi
done
cluster stop
say "${#names[@]} files: ${#same[@]} the same, ${#known[@]} with differences that docs/migration.md lists, ${#other[@]} with others"
[ ${#other[@]} = 0 ] || die "${other[*]} (see $results)"
