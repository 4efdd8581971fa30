#!/usr/bin/env bash
# All tests, cheapest first, and a summary. Stops at the first failure.
#
#   test.sh                    all tests
#   test.sh unit NAME          unit tests whose names contain NAME
#   test.sh server NAME        tests inside the server whose names contain NAME
#   test.sh integration NAME   integration tests whose names contain NAME

# shellcheck source=pgrx-config/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

cd "$repo"
summary=()
step() {
    local title=$1 start=$SECONDS
    shift
    say "== $title"
    "$@" || die "FAILED: $title"
    summary+=("$(printf '%-52s %4ds' "$title" $((SECONDS - start)))")
}

# Unit tests and #[pg_test]: pgrx starts its own server in the test cluster's PostgreSQL. Its configuration names that one;
# everything is compiled before under the configuration in the cache, so nothing is compiled again for it.
pgrx_tests() {
    local home options=()
    home=$(pgrx-config/cluster.sh test dir)
    mkdir -p "$home/pgrx"
    printf '[configs]\npg%s = "%s"\n' "$pg_major" "$1" >"$home/pgrx/config.toml"
    pgrx_data=$(mktemp -d /tmp/pg_alopex.XXXXXX)
    trap 'rm -rf "$pgrx_data"' EXIT
    if is_root; then
        chown "$server_user" "$pgrx_data"
        options=(--runas "$server_user")
    fi
    cargo test --no-run "${features[@]}" &&
        USER=$(id -un) PGRX_HOME=$home/pgrx cargo pgrx test "pg$pg_major" "${@:2}" --pgdata "$pgrx_data" "${options[@]}"
}

integration_tests() {
    local home
    home=$(pgrx-config/cluster.sh test dir)
    PG_ALOPEX_PG_CONFIG=$1 PG_ALOPEX_PGVECTOR_PG_CONFIG=$postgresql/bin/pg_config PG_ALOPEX_TEST_DIR=$home cargo test -p pg_alopex-integration -- --test-threads=2 "${@:2}"
}

one_kind() {
    local kind=$1 pg_config
    shift
    if [ "$kind" = server ]; then pgrx-config/setup.sh pgrx; else pgrx-config/setup.sh; fi
    pg_config=$(pgrx-config/cluster.sh test prefix)
    case $kind in
        unit) cargo test --lib "${features[@]}" "$@" ;;
        server) pgrx_tests "$pg_config" "$@" ;;
        integration)
            install_into test
            integration_tests "$pg_config" "$@"
            ;;
        *) die "there are no tests of the kind $kind: use unit, server, or integration" ;;
    esac
}

if [ $# != 0 ]; then
    one_kind "$@"
    exit
fi

step "set-up" pgrx-config/setup.sh pgrx
pg_config=$(pgrx-config/cluster.sh test prefix)
step "cargo fmt" cargo fmt --all --check
step "cargo clippy" pgrx-config/check.sh
if command -v shellcheck >/dev/null; then step "shellcheck" shellcheck -x pgrx-config/*.sh tests/*.sh examples/*.sh .ci/run; fi
if command -v cargo-deny >/dev/null; then step "cargo deny" cargo deny check licenses bans sources; fi
step "unit tests and tests inside the server" pgrx_tests "$pg_config"
step "SQL regression" tests/regress.sh
step "SQL of the documents" tests/docs.sh
step "checkouts, built in turn" tests/checkouts.sh
step "clients" tests/clients.sh
step "integration: crashes, standby, corruption, concurrency" integration_tests "$pg_config"

say "== All tests passed"
printf '   %s\n' "${summary[@]}"
