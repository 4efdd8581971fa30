# shellcheck shell=bash
# What the scripts of this directory share: where things are, who runs the server, how a failure is said.
#
# Everything that a clean checkout can reuse (cargo-pgrx, cargo's target directory) is kept in a per-user cache. Everything that
# belongs to this checkout (a private copy of PostgreSQL, its clusters) is kept in its build directory.

set -euo pipefail
umask 022

say() { printf '%s\n' "$*"; }
die() {
    printf 'pg_alopex: %s\n' "$*" >&2
    exit 1
}

repo=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
# shellcheck source=pgrx-config/versions
. "$repo/pgrx-config/versions"

PG=${PG:-$PG_DEFAULT}
PORT=${PORT:-54329}
case $PG in 15) ;; *) die "PG=$PG is not supported here: use PG=15" ;; esac
[[ $PORT =~ ^[0-9]{2,5}$ ]] || die "PORT=$PORT is not a port number"

is_root() { [ "$(id -u)" = 0 ]; }

# The cache, and through it cargo, cargo-pgrx and pgrx.
if is_root; then cache=${PG_ALOPEX_CACHE:-/var/cache/pg_alopex}; else cache=${PG_ALOPEX_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pg_alopex}; fi
export PATH="$cache/tools/bin:$PATH"
export PGRX_HOME="$cache/pgrx"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$cache/target}"
# pgrx would link the extension with other flags than the tests and so compile every crate twice; build.rs passes them instead.
export CARGO_PGRX_DISABLE_GC_SECTIONS_WORKAROUND=1

# shellcheck disable=SC2034
# PostgreSQL as Debian installs it: what bindings are generated from and what the private copies are made of.
system_bin=/usr/lib/postgresql/$PG/bin

# A server as its users know it: with these set, an error's DETAIL would hold a backtrace of Rust.
unset RUST_BACKTRACE RUST_LIB_BACKTRACE

# PostgreSQL refuses to run as root, so root's servers run as the user that Debian's package creates.
server_user=$(if is_root; then echo postgres; else id -un; fi)
as_server() { if is_root; then (cd / && runuser -u "$server_user" -- "$@"); else "$@"; fi; }
as_root() { if is_root; then "$@"; else sudo "$@"; fi; }

# A directory of ours below /var/tmp, for what cannot live in the checkout. The name is predictable: take it only if it is ours.
outside_dir() {
    local dir
    dir=/var/tmp/pg_alopex-$(id -u)-$(printf '%s' "$repo" | sha256sum | cut -c1-10)
    mkdir -m 755 "$dir" 2>/dev/null || [ -d "$dir" ] || die "cannot create $dir"
    if [ -L "$dir" ] || [ ! -O "$dir" ]; then die "$dir belongs to somebody else"; fi
    printf '%s' "$dir"
}

# The build directory: in the checkout, or outside when the server's user may not enter the checkout.
find_build_dir() {
    build=$repo/build
    mkdir -p "$build" 2>/dev/null || die "cannot create $build"
    as_server test -r "$build" || build=$(outside_dir)
}
