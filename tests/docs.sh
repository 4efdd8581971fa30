#!/usr/bin/env bash
# Runs the SQL of README.md and docs/*.md in the private cluster of the tests, each page in a database of its own, and compares the
# output that a page shows. Checks relative links of all pages. The conventions of pages are in docs.py.
#
#   docs.sh [PAGE...]   all pages, or those named: docs/filtering.md

# shellcheck source=pgrx-config/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../pgrx-config/lib.sh"

cd "$repo"
cluster() { pgrx-config/cluster.sh test "$@"; }
pgrx-config/setup.sh
command -v python3 >/dev/null || need_packages python3
install_into test
cluster start
log=$(cluster dir)/server.log
logged=$(wc -l <"$log")
python3 -B tests/docs.py run pgrx-config/cluster.sh test psql -- "$@" || die "the documents are wrong"
die_if_crashed "$log" "$logged"
