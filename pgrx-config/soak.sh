#!/usr/bin/env bash
# The long form of the tests that start servers of their own, and each fuzz target for a while. At most 20 minutes once everything is
# compiled.

# shellcheck source=pgrx-config/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

cd "$repo"
limit=1200      # seconds in all
fuzz_seconds=20 # of each target

install_cargo_fuzz() {
    [ "$(cargo-fuzz --version 2>/dev/null)" = "cargo-fuzz $CARGO_FUZZ_VERSION" ] && return
    install_cargo_tool cargo-fuzz "$CARGO_FUZZ_VERSION"
}

# cargo-fuzz uses options that a stable compiler has, and gives only when it is asked like this.
fuzz() { RUSTC_BOOTSTRAP=1 cargo fuzz "$@"; }

# SQL regression also installs the extension into the private PostgreSQL.
tests/regress.sh
pg_config=$(pgrx-config/cluster.sh test prefix)
home=$(pgrx-config/cluster.sh test dir)
install_cargo_fuzz
fuzz build --no-default-features --features "pg$pg_major"
cargo test -p pg_alopex-integration --no-run

start=$SECONDS
for target in $(fuzz list); do
    say "== fuzz target $target"
    # Inputs that were worth keeping stay with the build, for the next time.
    mkdir -p "$home/fuzz/$target"
    fuzz run --no-default-features --features "pg$pg_major" "$target" "$home/fuzz/$target" -- -max_total_time=$fuzz_seconds -max_len=9000 -timeout=10 -verbosity=0 ||
        die "FAILED: fuzz target $target"
done
say "== integration tests in their long form"
[ $((SECONDS - start)) -lt $limit ] || die "FAILED: fuzzing took all of the $limit s"
PG_ALOPEX_SOAK=1 PG_ALOPEX_PG_CONFIG=$pg_config PG_ALOPEX_TEST_DIR=$home \
    timeout $((limit - SECONDS + start)) cargo test -p pg_alopex-integration -- --test-threads=2 ||
    die "FAILED: integration tests in their long form, after $((SECONDS - start)) of $limit s"
say "== All passed in $((SECONDS - start)) s"
