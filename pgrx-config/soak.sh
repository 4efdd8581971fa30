#!/usr/bin/env bash
# The long form of the tests that start servers of their own. At most 20 minutes once everything is compiled.

# shellcheck source=pgrx-config/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

cd "$repo"
limit=1200

# SQL regression also installs the extension into the private PostgreSQL.
tests/regress.sh
pg_config=$(pgrx-config/cluster.sh test prefix)
home=$(pgrx-config/cluster.sh test dir)
cargo test -p pg_alopex-integration --no-run

start=$SECONDS
PG_ALOPEX_SOAK=1 PG_ALOPEX_PG_CONFIG=$pg_config PG_ALOPEX_TEST_DIR=$home \
    timeout "$limit" cargo test -p pg_alopex-integration -- --test-threads=2 ||
    die "FAILED: integration tests in their long form, after $((SECONDS - start)) s (at most $limit)"
say "== All passed in $((SECONDS - start)) s"
