#!/usr/bin/env bash
# Builds the extension, starts the private cluster and runs demo.sql on a fresh database. Fails if an expectation of demo.sql does.

# shellcheck source=pgrx-config/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../pgrx-config/lib.sh"

cd "$repo"
cluster() { pgrx-config/cluster.sh demo "$@"; }
pgrx-config/setup.sh
say "Building for release (minutes the first time, seconds after)"
install_into demo --release
cluster start
fresh_database demo demo
cluster psql -q -d demo -v ON_ERROR_STOP=1 -P pager=off -P footer=off -f examples/demo.sql ||
    die "the demo failed"
say "The server is still running: make psql opens the database, make stop stops it, make clean removes it."
