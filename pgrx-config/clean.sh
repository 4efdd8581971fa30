#!/usr/bin/env bash
# Stops the private clusters and removes what this checkout built; `clean.sh stop` only stops them.

# shellcheck source=pgrx-config/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
[ -d "$repo/build" ] || exit 0
find_build_dir

for data in "$build"/*-*/data; do
    [ -f "$data/PG_VERSION" ] || continue
    cluster=$(basename "$(dirname "$data")")
    PG=${cluster##*-} "$repo/pgrx-config/cluster.sh" "${cluster%-*}" stop
done
[ "${1-}" != stop ] || exit 0
rm -rf "$repo/build" "$(outside_dir)"
say "Removed $repo/build. What other checkouts reuse stays in $cache."
