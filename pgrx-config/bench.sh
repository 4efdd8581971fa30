#!/usr/bin/env bash
# The benchmarks: takes a PostgreSQL that has pgvector, installs the extension beside it, and runs benches/bench.py, or the
# part that is named. A part measures one data set (default text384, without DATA Fashion-MNIST), except for sizes.
#
#   bench.sh           everything but the following
#   bench.sh filter    searches under conditions
#   bench.sh vacuum    VACUUM, and searches and inserts beside it and after it
#   bench.sh sizes     size and recall of indexes from 3 to 4,096 dimensions; SETS picks those that come from these sets
#   bench.sh memory    searches of an index that memory does not hold
#   bench.sh builds    builds within maintenance_work_mem and beyond it
#   bench.sh clients   queries a second of 1 to 8 clients
#   bench.sh targets   recall at the widths that targets give; all data sets, and pg_alopex alone
#
#   DATA=dir   directory of NAME_base.npy and NAME_query.npy, beside Debian's Fashion-MNIST
#   SETS=..    names of the data sets to run, default all
#   PG=16|18   version of PostgreSQL, default 16
#   WORKERS=n  max_parallel_maintenance_workers, default one less than there are processors; not for filter and vacuum
#   WAYS=..    the ways to the rows (filter), by their names, with commas between; default all
#   CAP=..     what caps memory (memory): direct, cgroup or none; default the first of these that works
#   QUICK=1    few rows: shows that everything works
#   OUT=dir    where the results go; default docs/bench for a run of everything, or of all targets, otherwise build/bench-PG/report

# Those that come with pgvector.
export PG=${PG:-16}
# shellcheck source=pgrx-config/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

case $PG in 16 | 18) ;; *) die "PG=$PG cannot be measured: use PG=16 or PG=18" ;; esac
part=${1:-bench}
[ -f "$repo/benches/$part.py" ] || die "there is no part $part"
[ -z "${DATA:-}" ] || [ -d "$DATA" ] || die "DATA=$DATA is not a directory"
venv=$cache/bench/venv

"$repo/pgrx-config/setup.sh"
# The data, and Python with what compiles hnswlib.
packages=()
[ -f /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz ] || packages+=(dataset-fashion-mnist)
command -v c++ >/dev/null || packages+=(g++)
[ -f "$(python3 -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" ] || packages+=(python3-dev)
need_packages "${packages[@]}"
make_venv "$venv" "$repo/benches/requirements.txt"
cluster() { "$repo/pgrx-config/cluster.sh" bench "$@"; }
pg_config=$(cluster prefix)
home=$(cluster dir)
say "Building for release (minutes the first time, seconds after)"
install_into bench --release

out=$home/report
case $part in bench | targets) if [ -z "${QUICK:-}${SETS:-}" ]; then out=$repo/docs/bench; fi ;; esac

options=(--programs "$(dirname "$pg_config")" --home "$home" --sockets "$(cluster sockets)" --port "$PORT" --user "$server_user"
    --out "${OUT:-$out}" --sets "${SETS:-}")
if [ -n "${DATA:-}" ]; then options+=(--data "$DATA"); fi
if [ -n "${QUICK:-}" ]; then options+=(--quick); fi
if [ "$part" = filter ] && [ -n "${WAYS:-}" ]; then options+=(--ways "$WAYS"); fi
if [ "$part" = memory ] && [ -n "${CAP:-}" ]; then options+=(--cap "$CAP"); fi
case $part in
    filter | vacuum) ;;
    *) if [ -n "${WORKERS:-}" ]; then options+=(--workers "$WORKERS"); fi ;;
esac
"$venv/bin/python" -B "$repo/benches/$part.py" "${options[@]}"
