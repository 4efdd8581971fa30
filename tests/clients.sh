#!/usr/bin/env bash
# Runs what the libraries that talk to vectors in PostgreSQL offer, against the private cluster of the tests: each client in a
# database of its own.
#
#   clients.sh [NAME...]   all clients, or those named: psycopg asyncpg sqlalchemy django node node_current rust jdbc php; under
#                          the name vector: vector_name vecs llama_index langgraph haystack mem0 agno lightrag
#                          drivers node_orms prisma mastra langchain_js llama_index_js
#
# Ends at the first that fails.
# The packages they need are in the cache, made anew only when what is pinned here changes.

# shellcheck source=pgrx-config/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../pgrx-config/lib.sh"

cd "$repo"
cluster() { pgrx-config/cluster.sh test "$@"; }
clients=$repo/tests/clients

# What a client's test gets: its database, and the programs of the server.
run_in() {
    local database=$1
    shift
    fresh_database test "$database"
    env PGHOST="$sockets" PGPORT="$PORT" PGUSER=postgres PGDATABASE="$database" PATH="$(dirname "$pg_config"):$PATH" "$@"
}

run_pytest() { run_in "$1" "$2/bin/python" -B -m pytest -q -p no:cacheprovider "$3"; }

run_python() {
    make_venv "$cache/clients/python" "$clients/python/requirements.txt"
    run_pytest "clients_$1" "$cache/clients/python" "$clients/python/test_$1.py"
}

# Gives the extension the name vector too, for which pgvector has to go from this copy of the PostgreSQL of PG=16 and 18. Nothing
# else uses it there.
take_vector_name() {
    local directory library name
    directory=$("$pg_config" --sharedir)/extension
    library=$("$pg_config" --pkglibdir)/vector.so
    rm -f "$library" "$directory"/vector.control "$directory"/vector--*.sql
    for name in "$library" "$directory/vector.control"; do
        echo "comment = 'not ours'" >"$name"
        if pgrx-config/vector-name.sh "$pg_config" 2>/dev/null; then die "vector-name.sh took the name from pgvector's $name"; fi
        [ "$(ls "$directory"/vector--*.sql 2>/dev/null)" = "" ] || die "vector-name.sh wrote beside pgvector's $name"
        rm "$name"
    done
    pgrx-config/vector-name.sh "$pg_config"
    pgrx-config/vector-name.sh "$pg_config"
}

run_vector_name() {
    local name
    take_vector_name
    make_venv "$cache/clients/vector_name" "$clients/vector_name/requirements.txt"
    for name in extension django langchain; do
        run_pytest "clients_vector_$name" "$cache/clients/vector_name" "$clients/vector_name/test_$name.py"
    done
}

# The test NAME of Python by the name vector, with the packages of a DIRECTORY. Nothing tells anybody that it is used, or writes to
# the home directory.
run_by_vector_name() {
    local directory=$1 name=$2
    take_vector_name
    make_venv "$cache/clients/$directory" "$clients/$directory/requirements.txt"
    HAYSTACK_TELEMETRY_ENABLED=False MEM0_TELEMETRY=False AGNO_TELEMETRY=false MEM0_DIR=$(cluster dir)/mem0 \
        run_pytest "clients_$name" "$cache/clients/$directory" "$clients/$directory/test_$name.py"
}

# The program PROGRAM with the packages of the directory NAME. Node looks for packages beside the program, which is copied there.
# Packages may bring a newer Node.
run_node() {
    local name=$1 program=$2 modules=$cache/clients/$1 run node
    if ! { command -v node && command -v npm; } >/dev/null; then need_packages nodejs npm; fi
    if ! cmp -s "$clients/$name/package-lock.json" "$modules/installed.json"; then
        say "Installing Node's packages into $modules"
        rm -rf "$modules"
        mkdir -p "$modules"
        cp "$clients/$name/package.json" "$clients/$name/package-lock.json" "$modules/"
        (cd "$modules" && npm ci --no-audit --no-fund --ignore-scripts) >"$modules.log" 2>&1 || die "npm ci failed (see $modules.log)"
        cp "$modules/package-lock.json" "$modules/installed.json"
    fi
    run=$(cluster dir)/$name
    mkdir -p "$run"
    ln -sfn "$modules/node_modules" "$run/node_modules"
    cp "$program" "$run/clients.mjs"
    node=$(find "$modules/node_modules" -path '*/node-linux-*/bin/node' | head -n1)
    run_in "clients_$name" "${node:-node}" --test "$run/clients.mjs" >"$run.log" || {
        cat "$run.log" >&2
        die "clients.mjs failed"
    }
    # Summaries of TAP, and of later versions' reports.
    grep -E '^(#|ℹ) (tests|pass) ' "$run.log"
}

run_rust() {
    cargo test -q -p pg_alopex-clients --no-run
    run_in clients_rust_postgres cargo test -q -p pg_alopex-clients --test postgres
    run_in clients_rust_sqlx cargo test -q -p pg_alopex-clients --test sqlx
    run_in clients_rust_diesel cargo test -q -p pg_alopex-clients --test diesel
}

# The driver finds classes by name, among those of its own class path: so they are compiled before.
run_jdbc() {
    local driver=/usr/share/java/postgresql.jar classes
    command -v javac >/dev/null || need_packages default-jdk-headless
    [ -f "$driver" ] || need_packages libpostgresql-jdbc-java
    classes=$(cluster dir)/jdbc
    rm -rf "$classes"
    javac -Xlint:all,-auxiliaryclass -Werror -cp "$driver" -d "$classes" "$clients"/jdbc/*.java
    run_in clients_jdbc java -cp "$driver:$classes" Clients
}

run_php() {
    if ! { command -v php && php -r 'exit(extension_loaded("pgsql") && extension_loaded("pdo_pgsql") ? 0 : 1);'; } >/dev/null; then
        need_packages php-cli php-pgsql
    fi
    run_in clients_php php "$clients/php/clients.php"
}

pgrx-config/setup.sh
install_into test
cluster start
pg_config=$(cluster prefix)
sockets=$(cluster sockets)
log=$(cluster dir)/server.log
logged=$(wc -l <"$log")

names=("$@")
if [ ${#names[@]} = 0 ]; then
    names=(psycopg asyncpg sqlalchemy django node node_current rust jdbc php vector_name vecs llama_index langgraph)
    names+=(haystack mem0 agno lightrag drivers node_orms prisma mastra langchain_js llama_index_js)
fi
for name in "${names[@]}"; do
    case $name in
        psycopg | asyncpg | sqlalchemy | django) run_python "$name" ;;
        vecs | llama_index | langgraph) run_by_vector_name frameworks "$name" ;;
        haystack | mem0 | agno | lightrag | drivers) run_by_vector_name stores "$name" ;;
        node | node_current) run_node "$name" "$clients/node/clients.mjs" ;;
        node_orms | prisma | mastra | langchain_js | llama_index_js)
            take_vector_name
            run_node "$name" "$clients/$name/clients.mjs"
            ;;
        vector_name | rust | jdbc | php) "run_$name" ;;
        *) die "there is no client $name" ;;
    esac
    say "ok $name"
done
die_if_crashed "$log" "$logged"
