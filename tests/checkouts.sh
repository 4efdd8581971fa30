#!/usr/bin/env bash
# Two checkouts that are built in turn: each installs its own library, though the other one was built after it. They are copies of
# this one in which next to nothing of the extension is left, so that this takes seconds; their own scripts set them up and install.

# shellcheck source=pgrx-config/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../pgrx-config/lib.sh"

"$repo/pgrx-config/setup.sh"
command -v git >/dev/null || need_packages git
work=$(mktemp -d /tmp/pg_alopex.XXXXXX)
chmod 755 "$work"
trap 'rm -rf "$work" "${CARGO_TARGET_DIR%/cassert}"/checkouts' EXIT

git_in() {
    local name=$1
    shift
    git -C "$work/$name" -c user.name=test -c user.email=test@localhost -c init.defaultBranch=main "$@"
}

# A checkout NAME, with a commit of its own.
make_checkout() {
    local name=$1
    mkdir "$work/$name"
    (cd "$repo" && cp -a --parents Cargo.toml Cargo.lock build.rs pg_alopex.control .gitignore pgrx-config sql tests \
        src/inspect/version.rs "$work/$name")
    cat >"$work/$name/src/lib.rs" <<'RUST'
pgrx::pg_module_magic!(name, version);
#[path = "inspect/version.rs"]
mod version;
RUST
    git_in "$name" init -q
    git_in "$name" add -A
    git_in "$name" commit -q -m "$name"
}

# Installs a checkout, by its own scripts, and says with which commit its library answers.
installed() {
    # shellcheck disable=SC2016
    env -u PGRX_HOME bash -c '. "$1/pgrx-config/lib.sh"; "$repo/pgrx-config/setup.sh"; install_into test' - "$work/$1" >&2
    grep -aoE '\(commit [0-9a-z-]+\)' "$("$("$work/$1/pgrx-config/cluster.sh" test prefix)" --pkglibdir)/pg_alopex.so"
}

expect() {
    local found expected
    found=$(installed "$1")
    expected="(commit $(git_in "$1" rev-parse --short=7 HEAD)${2-})"
    [ "$found" = "$expected" ] || die "checkout $1 installed the library of $found, not that of $expected"
}

make_checkout a
make_checkout b
for name in a b a b; do expect $name; done
# Work that is not committed, and that is.
echo '// Changed.' >>"$work/a/src/lib.rs"
expect a -dirty
git_in a commit -q -a -m changed
expect a
# Another checkout in the place of one, with times before those of its last build.
rm -rf "$work/b"
cp -a "$work/a" "$work/b"
expect b
say "ok checkouts"
