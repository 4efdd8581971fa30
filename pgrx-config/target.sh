#!/usr/bin/env bash
# Gives cargo's target directory of this checkout the dependencies that others have compiled, and removes those of checkouts that
# are gone.
#
# Cargo's products of a checkout have the same names in all of them (deps/libpg_alopex.so), and are fresh by times alone: in a
# directory that checkouts share, the library that was built last would be installed from any. So each builds in its own,
# checkouts/NAME below the shared one, and takes over only crates that come from a registry: their names tell version, features and
# flags, and they never change.

# shellcheck source=pgrx-config/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

own=$CARGO_TARGET_DIR
kind=${own#"$target/checkouts/$checkout"} # /cassert, or nothing
mkdir -p "$own"
printf '%s\n' "$repo" >"$target/checkouts/$checkout/checkout"
exec 9>"$target/checkouts.lock"
flock 9

# The directory of a profile (debug, release, or such a one of another platform) that has the most crates. Before checkouts had
# directories of their own all built in the shared one.
richest() {
    local directory
    for directory in "$target"/checkouts/*"$kind/$1" "$target$kind/$1"; do
        [ -d "$directory/.fingerprint" ] || continue
        printf '%s %s\n' "$(find "$directory/.fingerprint" -mindepth 1 -maxdepth 1 | wc -l)" "$directory"
    done | sort -n | tail -n1 | cut -d' ' -f2-
}

# Compiled crates are linked, not copied: nobody changes one in place. Other files are: cargo's own, and those that build scripts write.
# A crate is complete before its fingerprint is there, so fingerprints are copied first.
take_over() {
    local from=$1 to=$2
    mkdir -p "$to.part" &&
        cp -a "$from/.fingerprint" "$from/build" "$to.part/" && cp -al "$from/deps" "$to.part/" &&
        rm -rf "$to.part"/{.fingerprint,build,deps}/*pg_alopex* "$to.part"/deps/*.d &&
        mv "$to.part" "$to"
}

profiles=$(cd "$target" && ls -d ./{.,checkouts/*}"$kind"/{debug,release,*-*/{debug,release}}/.fingerprint 2>/dev/null) || true
for profile in $(printf '%s\n' "$profiles" | sed -E "s#^\./(\.|checkouts/[^/]*)$kind/(.*)/\.fingerprint\$#\2#" | sort -u); do
    [ ! -e "$own/$profile" ] || continue
    mkdir -p "$(dirname "$own/$profile")"
    rm -rf "$own/$profile.part"
    take_over "$(richest "$profile")" "$own/$profile" 2>/dev/null || rm -rf "$own/$profile.part"
done

for directory in "$target"/checkouts/*/; do
    [ -f "$directory/checkout" ] || continue
    read -r of <"$directory/checkout" || continue
    # Its checkout is there: another one may have taken the place of that path.
    [ ! -d "$of" ] || [ "$(basename "$directory")" != "$(name_of_checkout "$of")" ] || continue
    # One that is in use may be of a checkout that is only not seen from here.
    [ -z "$(find "$directory/checkout" -mtime +1)" ] || rm -rf "$directory"
done
