#!/usr/bin/env bash
# Sets up what building needs and installs only what is missing: Debian packages, PostgreSQL, pgrx's configuration.
# Changes nothing when everything is there.
#
#   setup.sh           all that building and running takes
#   setup.sh tools     without PostgreSQL
#   setup.sh pgrx      with cargo-pgrx, which runs the tests inside the server

# shellcheck source=pgrx-config/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

check_rust() {
    if ! command -v cargo || ! command -v rustc; then die "Rust $RUST_MINIMUM or newer is needed: see https://rustup.rs"; fi >/dev/null
    local have
    have=$(cd "$repo" && rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n' "$RUST_MINIMUM" "${have%-*}" | sort -V | head -n1)" = "$RUST_MINIMUM" ] ||
        die "rustc $have is too old: $RUST_MINIMUM or newer is needed (rustup update stable)"
}

install_cargo_pgrx() {
    need_packages pkg-config libssl-dev
    [ "$(cargo-pgrx pgrx --version 2>/dev/null)" = "cargo-pgrx $CARGO_PGRX_VERSION" ] && return
    install_cargo_tool cargo-pgrx "$CARGO_PGRX_VERSION"
}

# The path named here is the cache's, the same in every checkout: a new one makes pgrx generate its bindings again.
write_pgrx_config() {
    local config
    config="# $(cat "$postgresql/version")
[configs]
pg$pg_major = \"$postgresql/bin/pg_config\""
    mkdir -p "$PGRX_HOME"
    [ "$(cat "$PGRX_HOME/config.toml" 2>/dev/null)" = "$config" ] || printf '%s\n' "$config" >"$PGRX_HOME/config.toml"
}

mkdir -p "$cache" "$CARGO_TARGET_DIR" 2>/dev/null || die "cannot write to $cache or $CARGO_TARGET_DIR"
"$repo/pgrx-config/target.sh"
check_rust
packages=(clang libclang-dev gcc libc6-dev)
# Root's servers run as the user postgres, whom postgresql-common creates; pgrx's test framework switches to it with sudo.
if is_root; then packages+=(postgresql-common sudo); fi
need_packages "${packages[@]}"
if [ "${1-}" = pgrx ]; then install_cargo_pgrx; fi
[ "${1-}" != tools ] || exit 0
"$repo/pgrx-config/postgresql.sh"
write_pgrx_config
