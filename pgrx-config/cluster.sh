#!/usr/bin/env bash
# The private PostgreSQL of this checkout: a copy of the cache's, so that the extension is installed without touching anything
# else, and a cluster that listens on a unix socket only. Both are in build/NAME-PG.
#
#   cluster.sh NAME prefix        make or refresh the copy, print the path of its pg_config
#   cluster.sh NAME start|stop    the cluster
#   cluster.sh NAME psql ARGS...  psql of the copy, connected to the cluster
#   cluster.sh NAME dir           print the path of build/NAME-PG
#   cluster.sh NAME sockets       print the path of the directory of its sockets

# shellcheck source=pgrx-config/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

name=$1 action=$2
shift 2
find_build_dir
home=$build/$name-$PG
prefix=$home/postgresql/bin
data=$home/data
log=$home/server.log

# The path of a unix socket has to stay below 108 bytes.
sockets=$home/sockets
if [ ${#sockets} -gt 85 ]; then sockets=$(outside_dir)/$name-$PG; fi

is_running() { as_server "$prefix/pg_ctl" status -D "$data" >/dev/null 2>&1; }

# Debian's has a link to the system's headers, among which nothing is to be installed: here each of them is a link.
own_headers() {
    local include=$home/postgresql/include/postgresql
    [ -L "$include" ] || return 0
    rm -rf "$include.part"
    cp -as "$(realpath "$include")" "$include.part"
    rm "$include"
    mv "$include.part" "$include"
}

# PostgreSQL finds its files relative to its programs: a copy works, and its pg_config names the copy's directories.
make_prefix() {
    [ "$build" = "$repo/build" ] || say "The user $server_user cannot enter $repo: the private cluster is in $build." >&2
    [ -x "$postgresql/bin/postgres" ] || die "of PG=$PG there are only headers: it compiles (make check), and no server runs"
    if cmp -s "$postgresql/version" "$home/postgresql/version"; then return; fi
    if [ -x "$prefix/pg_ctl" ]; then stop; fi
    rm -rf "$home/postgresql" "$home/postgresql.part"
    mkdir -p "$home"
    cp -a "$postgresql" "$home/postgresql.part"
    mv "$home/postgresql.part" "$home/postgresql"
}

init_data() {
    [ -f "$data/PG_VERSION" ] && return
    # As root the directory has to belong to the server's user, who may not create it here.
    rm -rf "$data"
    mkdir -m 700 "$data"
    if is_root; then chown "$server_user" "$data"; fi
    as_server "$prefix/initdb" -D "$data" -U postgres -E UTF8 --locale=C --auth=trust >"$home/initdb.log" 2>&1 ||
        die "initdb failed: $(tail -n1 "$home/initdb.log") (see $home/initdb.log)"
    printf "include '%s'\n" "$home/postgresql.conf" | as_server tee -a "$data/postgresql.conf" >/dev/null
}

start() {
    local changed=0
    [ -x "$prefix/pg_ctl" ] || die "there is no private PostgreSQL yet: run make demo"
    init_data
    cmp -s "$repo/pgrx-config/postgresql.conf" "$home/postgresql.conf" || changed=1
    if is_running; then
        if [ $changed = 0 ] && [ -S "$sockets/.s.PGSQL.$PORT" ]; then return; fi
        stop
    fi
    install -m 644 "$repo/pgrx-config/postgresql.conf" "$home/postgresql.conf"
    [ -d "$sockets" ] || mkdir -m 700 "$sockets"
    if is_root; then chown "$server_user" "$sockets"; fi
    touch "$log"
    if is_root; then chown "$server_user" "$log"; fi
    local before
    before=$(wc -l <"$log")
    # As some servers have it: errors are to be the same.
    as_server env RUST_BACKTRACE=1 "$prefix/pg_ctl" start -w -D "$data" -l "$log" -o "-p $PORT -k '$sockets'" >/dev/null 2>&1 && return
    if tail -n "+$((before + 1))" "$log" | grep -qE 'Address already in use|\.lock" already exists'; then
        die "port $PORT is taken: name another one, as in make demo PORT=54330"
    fi
    die "the server did not start: $(tail -n "+$((before + 1))" "$log" | grep -E 'FATAL|PANIC' | tail -n1) (see $log)"
}

stop() {
    if is_running; then as_server "$prefix/pg_ctl" stop -w -m fast -D "$data" >/dev/null || die "the server in $data does not stop"; fi
}

case $action in
    prefix)
        make_prefix
        own_headers
        say "$prefix/pg_config"
        ;;
    start) start ;;
    stop) stop ;;
    psql) exec env PGHOST="$sockets" PGPORT="$PORT" PGUSER=postgres "$prefix/psql" -X "$@" ;;
    dir) say "$home" ;;
    sockets) say "$sockets" ;;
    *) die "cluster.sh: unknown action $action" ;;
esac
