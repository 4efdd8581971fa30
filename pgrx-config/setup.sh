#!/usr/bin/env bash
# Sets up what building needs and installs only what is missing: Debian packages, cargo-pgrx, pgrx's configuration.
# Changes nothing when everything is there.

# shellcheck source=pgrx-config/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

check_rust() {
    if ! command -v cargo || ! command -v rustc; then die "Rust $RUST_MINIMUM or newer is needed: see https://rustup.rs"; fi >/dev/null
    local have
    have=$(cd "$repo" && rustc --version | cut -d' ' -f2)
    [ "$(printf '%s\n' "$RUST_MINIMUM" "${have%-*}" | sort -V | head -n1)" = "$RUST_MINIMUM" ] ||
        die "rustc $have is too old: $RUST_MINIMUM or newer is needed (rustup update stable)"
}

missing_packages() {
    local package wanted=("postgresql-$PG" "postgresql-server-dev-$PG" clang libclang-dev gcc libc6-dev pkg-config libssl-dev)
    # The test framework of pgrx switches to the server's user with sudo.
    if is_root; then wanted+=(sudo); fi
    for package in "${wanted[@]}"; do
        dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || printf '%s ' "$package"
    done
}

# Debian creates and starts a cluster on port 5432 when the server is installed first. A file beside its configuration, there
# only while apt runs, tells it not to: the machine gets the programs and no server.
install_packages() {
    local setting=/etc/postgresql-common/createcluster.d/pg_alopex.conf log=$cache/apt.log
    command -v apt-get >/dev/null || die "these packages are needed, and this is not a Debian system: $*"
    is_root || command -v sudo >/dev/null || die "installing packages ($*) needs root or sudo"
    is_root || sudo -v || die "installing packages ($*) needs root or sudo"
    say "Installing Debian packages: $*"
    as_root mkdir -p "$(dirname $setting)"
    trap 'as_root rm -f '"$setting" EXIT
    echo 'create_main_cluster = false' | as_root tee $setting >/dev/null
    as_root apt-get update >"$log" 2>&1 || die "apt-get update failed (is there a network? see $log)"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >>"$log" 2>&1 ||
        die "apt-get install failed: $(grep '^E:' "$log" | tail -n1) (see $log)"
    as_root rm -f $setting
    trap - EXIT
}

install_cargo_pgrx() {
    [ "$(cargo-pgrx pgrx --version 2>/dev/null)" = "cargo-pgrx $CARGO_PGRX_VERSION" ] && return
    local log=$cache/cargo-pgrx.log
    say "Installing cargo-pgrx $CARGO_PGRX_VERSION into $cache/tools (once; a few minutes)"
    CARGO_TARGET_DIR=$cache/tools/target cargo install cargo-pgrx --version "$CARGO_PGRX_VERSION" --locked --force \
        --root "$cache/tools" >"$log" 2>&1 || die "cargo install cargo-pgrx failed (is there a network? see $log)"
    rm -rf "$cache/tools/target"
}

# The path named here is the system's, the same in every checkout: a new one makes pgrx generate its bindings again.
write_pgrx_config() {
    local config="[configs]
pg$PG = \"$system_bin/pg_config\""
    mkdir -p "$PGRX_HOME"
    [ "$(cat "$PGRX_HOME/config.toml" 2>/dev/null)" = "$config" ] || printf '%s\n' "$config" >"$PGRX_HOME/config.toml"
}

mkdir -p "$cache" "$CARGO_TARGET_DIR" 2>/dev/null || die "cannot write to $cache"
check_rust
read -ra missing <<<"$(missing_packages)"
[ ${#missing[@]} = 0 ] || install_packages "${missing[@]}"
[ -x "$system_bin/pg_config" ] || die "$system_bin/pg_config is missing: reinstall postgresql-server-dev-$PG"
install_cargo_pgrx
write_pgrx_config
