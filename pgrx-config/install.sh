#!/usr/bin/env bash
# Builds for release and installs into the PostgreSQL that PG_CONFIG names (default: the pg_config in PATH if its server headers
# are there, else Debian's). Its version decides what is built; the bindings are generated from its own headers.
#
#   install.sh                the extension pg_alopex
#   install.sh vector-name    and the same under the name vector; see vector-name.sh
#   REPLACE=1 install.sh vector-name    the same in place of pgvector
#   install.sh pgvector       pgvector's files again, which that put aside: nothing is built

# Not said here by PG.
unset PG
# shellcheck source=pgrx-config/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
"$repo/pgrx-config/setup.sh" tools

has_headers() { [ -f "$("$1" --includedir-server)/postgres.h" ]; }

pg_config=${PG_CONFIG:-$(command -v pg_config || true)}
if [ -z "${PG_CONFIG:-}" ] && { [ -z "$pg_config" ] || ! has_headers "$pg_config"; }; then
    need_packages "postgresql-$PG" "postgresql-server-dev-$PG"
    pg_config=/usr/lib/postgresql/$PG/bin/pg_config
fi
version=$("$pg_config" --version 2>/dev/null) || die "PG_CONFIG=$pg_config does not run"
[[ $version =~ ^PostgreSQL\ (15|16|17|18)[^0-9] ]] || die "$pg_config belongs to $version: PostgreSQL 15 to 18 is needed"
major=${BASH_REMATCH[1]}
has_headers "$pg_config" || die "$version has no server headers (on Debian: postgresql-server-dev-$major)"

if [ "${1-}" = pgvector ]; then
    "$repo/pgrx-config/vector-name.sh" --restore "$pg_config"
    say "The files of pgvector are in place. In each database, in a new session: ALTER EXTENSION vector UPDATE; in another one REINDEX; see docs/migration.md"
    exit
fi
name_options=()
if [ -n "${REPLACE:-}" ]; then name_options=(--replace); fi
if [ "${1-}" = vector-name ] && [ -z "${REPLACE:-}" ]; then "$repo/pgrx-config/vector-name.sh" --check "$pg_config"; fi

if ! [ -w "$("$pg_config" --pkglibdir)" ] || ! [ -w "$("$pg_config" --sharedir)/extension" ]; then
    is_root || command -v sudo >/dev/null || die "the directories of $pg_config are not writable and there is no sudo"
fi
PGRX_PG_CONFIG_PATH=$(realpath -s "$pg_config")
export PGRX_PG_CONFIG_PATH
install_extension "$major" "$PGRX_PG_CONFIG_PATH" --release || die "the extension does not build"
say "Installed for $version. In a database: CREATE EXTENSION pg_alopex;"
[ "${1-}" = vector-name ] || exit 0
"$repo/pgrx-config/vector-name.sh" "${name_options[@]}" "$pg_config"
if [ -n "${REPLACE:-}" ]; then
    say "Restart the server; then, in each database that has pgvector: ALTER EXTENSION vector UPDATE; CALL alopex_rebuild();"
    exit
fi
say "In a database without pg_alopex also: CREATE EXTENSION vector;"
