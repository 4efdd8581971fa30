#!/usr/bin/env bash
# Builds for release and installs into the PostgreSQL that PG_CONFIG names (default: the pg_config in PATH, else Debian's).

# shellcheck source=pgrx-config/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"
"$repo/pgrx-config/setup.sh"

pg_config=${PG_CONFIG:-$(command -v pg_config || echo "$system_bin/pg_config")}
version=$("$pg_config" --version 2>/dev/null) || die "PG_CONFIG=$pg_config does not run"
[[ $version =~ ^PostgreSQL\ ${PG}[^0-9] ]] || die "$pg_config belongs to $version: PostgreSQL $PG is needed"

# Root's rights only for the copying, and only where they are needed.
sudo=()
if ! [ -w "$("$pg_config" --pkglibdir)" ] || ! [ -w "$("$pg_config" --sharedir)/extension" ]; then
    command -v sudo >/dev/null || die "the directories of $pg_config are not writable and there is no sudo"
    sudo=(--sudo)
fi
cd "$repo"
cargo pgrx install --release -c "$pg_config" "${sudo[@]}"
say "Installed for $version. In a database: CREATE EXTENSION pg_alopex;"
