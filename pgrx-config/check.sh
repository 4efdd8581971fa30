#!/usr/bin/env bash
# Compiles everything for a PostgreSQL, or for each of several (PG="16 17"; default: every version), and runs the lints.

if [[ ! ${PG-} =~ ^[a-z0-9]+$ ]]; then
    for version in ${PG:-15 16 17 18}; do
        echo "== PostgreSQL $version"
        PG=$version "$0" || exit
    done
    exit
fi

# shellcheck source=pgrx-config/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
"$repo/pgrx-config/setup.sh"
cd "$repo"
python3 pgrx-config/imports.py
python3 pgrx-config/prose.py
python3 pgrx-config/headers.py "$postgresql/bin/pg_config"
# The extension's script is made of sql/ alone.
if grep -rnE '#\[(pg_extern|pg_operator|pg_aggregate|pg_trigger|pg_cast)|PostgresType|extension_sql!' src | grep -v 'sql = false'; then
    die "SQL objects are made in sql/: say sql = false"
fi
for file in sql/[a-z]*.sql; do
    [[ $file == sql/pg_alopex--* ]] || grep -q "extension_sql_file!([^)]*\.\./$file\"" <(tr -d '\n' <src/lib.rs) || die "src/lib.rs does not name $file"
done
cargo clippy --workspace --all-targets "${features[@]}" -- -D warnings
