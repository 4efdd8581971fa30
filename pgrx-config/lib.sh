# shellcheck shell=bash
# What the scripts of this directory share: where things are, who runs the server, how a failure is said.
#
# Everything that a clean checkout can reuse (cargo-pgrx, compiled dependencies) is kept in a per-user cache. Everything that
# belongs to this checkout (a private copy of PostgreSQL, its clusters) is kept in its build directory, but for cargo's target
# directory, which is one of its own in the cache: see target.sh.

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

PORT=${PORT:-54329}
[[ $PORT =~ ^[0-9]{2,5}$ ]] || die "PORT=$PORT is not a port number"

is_root() { [ "$(id -u)" = 0 ]; }

# The cache, and through it cargo, cargo-pgrx and pgrx.
if is_root; then cache=${PG_ALOPEX_CACHE:-/var/cache/pg_alopex}; else cache=${PG_ALOPEX_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/pg_alopex}; fi
export PATH="$cache/tools/bin:$PATH"
# Two checkouts never have the same one, not even where the second has taken the first one's place and brought older times
# along: cargo would find its library fresh. A script that another one runs finds it set.
name_of_checkout() { printf '%s-%s' "$(basename "$1")" "$(printf '%s ' "$1" "$(stat -c '%i %W' "$1")" | sha256sum | cut -c1-10)"; }
checkout=$(name_of_checkout "$repo")
target=${CARGO_TARGET_DIR:-$cache/target}
target=${target%/cassert}
target=${target%"/checkouts/$checkout"}
export CARGO_TARGET_DIR=$target/checkouts/$checkout
# pgrx would link the extension with other flags than the tests and so compile every crate twice; build.rs passes them instead.
export CARGO_PGRX_DISABLE_GC_SECTIONS_WORKAROUND=1

# Which PostgreSQL this is about, by the name that `make PG=..` has for it: postgresql.sh says where each comes from.
export PG=${PG:-$PG_DEFAULT}
case $PG in
    15 | 16 | 17 | 18) pg_major=$PG ;;
    cassert) pg_major=15 ;;
    *) die "PG=$PG is not supported: use 15, 16, 17, 18, or cassert" ;;
esac
# The cargo features of a build for it.
# shellcheck disable=SC2034
features=(--no-default-features --features "pg$pg_major pg_test")
# What bindings are generated from and what the private copies are made of, and the configuration of pgrx that names it.
# shellcheck disable=SC2034
postgresql=$cache/postgresql/$PG
export PGRX_HOME=$cache/pgrx/$PG
# cargo tells builds apart by their features, and those of this one are PostgreSQL 15's, whose bindings are others.
if [ "$PG" = cassert ]; then export CARGO_TARGET_DIR=$CARGO_TARGET_DIR/cassert; fi

# PostgreSQL refuses to run as root, so root's servers run as the user that Debian's package creates.
server_user=$(if is_root; then echo postgres; else id -un; fi)
as_server() { if is_root; then (cd / && runuser -u "$server_user" -- "$@"); else "$@"; fi; }
as_root() { if is_root; then "$@"; else sudo "$@"; fi; }

# Installs a program of crates.io into the cache: NAME VERSION.
install_cargo_tool() {
    local name=$1 version=$2 log=$cache/$1.log
    say "Installing $name $version into $cache/tools (once; a few minutes)"
    # Compiling these takes longer than all that they do: without optimization it is half as long.
    CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=256 \
        CARGO_TARGET_DIR=$cache/tools/target cargo install "$name" --version "$version" --locked --force \
        --root "$cache/tools" >"$log" 2>&1 || die "cargo install $name failed (is there a network? see $log)"
    rm -rf "$cache/tools/target"
}

# Installs the Debian packages that are missing of those named. Debian creates and starts a cluster on port 5432 when a server is
# installed first. A file beside its configuration, there only while apt runs, tells it not to: the machine gets the programs
# and no server.
need_packages() {
    local package missing=() setting=/etc/postgresql-common/createcluster.d/pg_alopex.conf log=$cache/apt.log
    for package in "$@"; do
        dpkg-query -W -f='${db:Status-Status}\n' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
    done
    [ ${#missing[@]} != 0 ] || return 0
    command -v apt-get >/dev/null || die "these packages are needed, and this is not a Debian system: ${missing[*]}"
    is_root || command -v sudo >/dev/null || die "installing packages (${missing[*]}) needs root or sudo"
    is_root || sudo -v || die "installing packages (${missing[*]}) needs root or sudo"
    say "Installing Debian packages: ${missing[*]}"
    as_root mkdir -p "$(dirname $setting)"
    trap 'as_root rm -f '"$setting" EXIT
    echo 'create_main_cluster = false' | as_root tee $setting >/dev/null
    as_root apt-get update >"$log" 2>&1 || die "apt-get update failed (is there a network? see $log)"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" >>"$log" 2>&1 ||
        die "apt-get install failed: $(grep '^E:' "$log" | tail -n1) (see $log)"
    as_root rm -f $setting
    trap - EXIT
}

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

# Python's environment DIR with the packages of the file REQUIREMENTS, made anew when those change.
make_venv() {
    local dir=$1 requirements=$2
    mkdir -p "$(dirname "$dir")"
    # Checkouts share it, and two of them may be tested at a time.
    (
        flock 9
        cmp -s "$requirements" "$dir/requirements.txt" && return
        python3 -c 'import ensurepip' 2>/dev/null || need_packages python3-venv
        say "Installing Python packages into $dir"
        rm -rf "$dir"
        { python3 -m venv "$dir" && "$dir/bin/pip" install -r "$requirements"; } >"$dir.log" 2>&1 ||
            die "installing the packages of $requirements failed (see $dir.log)"
        cp "$requirements" "$dir/requirements.txt"
    ) 9>"$dir.lock"
}

# The version that Cargo.toml has, which is the extension's.
version_of_source() { sed -n '0,/^version = /s/^version = "\(.*\)"$/\1/p' "$repo/Cargo.toml"; }

# The script of that version: the files of sql/ that src/lib.rs names, in its order.
script_of_source() {
    local file
    while IFS= read -r -d '' file; do cat "$repo/$file" && echo; done \
        < <(grep -oPz 'extension_sql_file!\(\s*"\.\./\Ksql/\w+\.sql' "$repo/src/lib.rs")
}

# Copies FILES with this MODE into DIRECTORY, with root's rights where it takes them.
install_files() {
    local mode=$1 directory=$2
    shift 2
    if [ -w "$directory" ]; then install -m "$mode" "$@" "$directory"; else as_root install -m "$mode" "$@" "$directory"; fi
}

# Builds the extension for this MAJOR version of PostgreSQL, with further options of cargo, and copies library, control file and
# the scripts of all versions to where PG_CONFIG says.
install_extension() {
    local major=$1 pg_config=$2 profile=debug files
    shift 2
    case " $* " in *" --release "*) profile=release ;; esac
    files=$(mktemp -d)
    (
        # The library is copied from the target directory after cargo has given up its own lock.
        flock 9 &&
            cd "$repo" &&
            cargo build --lib --no-default-features --features "pg$major" "$@" &&
            sed "s/@CARGO_VERSION@/$(version_of_source)/" pg_alopex.control >"$files/pg_alopex.control" &&
            script_of_source >"$files/pg_alopex--$(version_of_source).sql" &&
            cp sql/pg_alopex--*.sql "$files/" &&
            cp "$CARGO_TARGET_DIR/$profile/libpg_alopex.so" "$files/pg_alopex.so" &&
            install_files 755 "$("$pg_config" --pkglibdir)" "$files/pg_alopex.so" &&
            install_files 644 "$("$pg_config" --sharedir)/extension" "$files"/*.{control,sql}
    ) 9>"$CARGO_TARGET_DIR/install.lock" || {
        rm -rf "$files"
        return 1
    }
    rm -rf "$files"
}

# Builds the extension, with these options of cargo, and installs it into the private PostgreSQL CLUSTER.
install_into() {
    local cluster=$1 pg_config log
    shift
    pg_config=$("$repo/pgrx-config/cluster.sh" "$cluster" prefix)
    log=$("$repo/pgrx-config/cluster.sh" "$cluster" dir)/install.log
    install_extension "$pg_major" "$pg_config" "$@" >"$log" 2>&1 || {
        cat "$log" >&2
        die "the extension does not build"
    }
}

# An empty database NAME in the private CLUSTER, in place of the one of that name.
fresh_database() {
    "$repo/pgrx-config/cluster.sh" "$1" psql -q -d postgres -v ON_ERROR_STOP=1 -v name="$2" <<'SQL'
SET client_min_messages = warning;
DROP DATABASE IF EXISTS :"name" WITH (FORCE);
CREATE DATABASE :"name" TEMPLATE template0;
SQL
}

# Fails if a process of a server crashed, psql's or another, after its log had LINES lines.
die_if_crashed() {
    local log=$1 lines=$2
    if tail -n "+$((lines + 1))" "$log" | grep -E 'TRAP:|PANIC:|was terminated by signal'; then die "the server crashed (see $log)"; fi
}
