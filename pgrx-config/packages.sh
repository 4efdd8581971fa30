#!/usr/bin/env bash
# Debian packages of the extension for a PostgreSQL, or for each of several (PG="15 17"; default: every version), in packages/ of
# the build directory:
#
#   postgresql-NN-pg-alopex          the extension
#   postgresql-NN-pg-alopex-vector   its files under the name vector, in place of postgresql-NN-pgvector
#   postgresql-NN-pg-alopex-dbgsym   debug symbols
#
# With PG_CONFIG=.. it is the PostgreSQL of that pg_config.
#
# Besides, image-NN, the contents of an image for CloudNativePG (packaging/cloudnativepg), and pg_alopex.cdx.json, a list of the
# crates in the library (SBOM, CycloneDX). MAINTAINER="Name <address>" is the maintainer of the packages.

if [ -n "${PG_CONFIG-}" ]; then
    PG=$("$PG_CONFIG" --version | sed -nE 's/^PostgreSQL ([0-9]+).*/\1/p')
    export PG
fi
if [[ ! ${PG-} =~ ^[0-9]+$ ]]; then
    for version in ${PG:-15 16 17 18}; do
        echo "== PostgreSQL $version"
        PG=$version "$0" || exit
    done
    exit
fi

# shellcheck source=pgrx-config/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

if [ -n "${PG_CONFIG-}" ]; then
    PGRX_PG_CONFIG_PATH=$(realpath -s "$PG_CONFIG")
    export PGRX_PG_CONFIG_PATH
    "$repo/pgrx-config/setup.sh" tools
else
    "$repo/pgrx-config/setup.sh"
fi
need_packages dpkg-dev git
find_build_dir
cd "$repo"

# A checkout of a tag is that version; any other comes before it.
source_version=$(version_of_source)
if [ "$(git describe --exact-match --match "v$source_version" 2>/dev/null)" = "v$source_version" ]; then
    version=$source_version-1
else
    version=$source_version~git$(git log -1 --format=%cd --date=format:%Y%m%d).$(git rev-parse --short=7 HEAD)-1
fi
maintainer=${MAINTAINER:-$(git log -1 --format='%an <%ae>')}
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH
architecture=$(dpkg --print-architecture)
name=postgresql-$pg_major-pg-alopex
packages=$build/packages
stage=$packages/stage-$pg_major
rm -rf "$stage"
mkdir -p "$stage"

# Where Debian's and apt.postgresql.org's packages of PostgreSQL look for extensions.
lib=usr/lib/postgresql/$pg_major/lib
share=usr/share/postgresql/$pg_major
include=usr/include/postgresql/$pg_major/server

# A PostgreSQL that is installed below DIRECTORY, for scripts that ask its pg_config.
stage_into() {
    mkdir -p "$1/$lib" "$1/$share/extension" "$1/$include"
    cat >"$stage/pg_config" <<SH
#!/bin/sh
case \$1 in
    --pkglibdir) echo '$1/$lib' ;;
    --sharedir) echo '$1/$share' ;;
    --includedir-server) echo '$1/$include' ;;
    *) exec '${PG_CONFIG:-$postgresql/bin/pg_config}' "\$@" ;;
esac
SH
    chmod +x "$stage/pg_config"
}

# The list of crates. cargo-cyclonedx writes it beside the manifest.
write_sbom() {
    local sbom=$packages/pg_alopex.cdx.json tree
    if ! [ "$(cargo-cyclonedx cyclonedx --version 2>/dev/null)" = "cargo-cyclonedx-cyclonedx $CARGO_CYCLONEDX_VERSION" ]; then
        install_cargo_tool cargo-cyclonedx "$CARGO_CYCLONEDX_VERSION"
    fi
    tree=$stage/source
    mkdir -p "$tree"
    git ls-files -z | xargs -0 cp -a --parents -t "$tree"
    (cd "$tree" && cargo cyclonedx -q --format json --spec-version 1.5 --no-build-deps --no-default-features --features "pg$pg_major" --target "$(rustc -vV | sed -n 's/^host: //p')") ||
        die "the list of crates is not written"
    # Of the time and place nothing, so that one commit has one list.
    python3 - "$tree/pg_alopex.cdx.json" "$tree" >"$sbom" <<'PY'
import json, sys

path, tree = sys.argv[1:]
with open(path, encoding="utf-8") as file:
    bom = json.loads(file.read().replace(f"path+file://{tree}", "pg_alopex"))
bom.pop("serialNumber", None)
bom["metadata"].pop("timestamp", None)
json.dump(bom, sys.stdout, indent=1, sort_keys=True)
print()
PY
    rm -rf "$tree"
}

# Documents that each package has.
write_documents() {
    local package=$1 directory=$stage/$1/usr/share/doc/$1
    mkdir -p "$directory"
    cp packaging/copyright "$directory/copyright"
    printf 'pg-alopex (%s) unstable; urgency=medium\n\n  * %s\n\n -- %s  %s\n' "$version" \
        "Version $source_version, commit $(git rev-parse --short=7 HEAD): see CHANGELOG.md of the source." \
        "$maintainer" "$(date -R -u -d "@$SOURCE_DATE_EPOCH")" | gzip -9n >"$directory/changelog.Debian.gz"
}

# The package of a directory of this name in the stage; its fields besides the common ones are read from stdin.
pack() {
    local package=$1 arch=$2 root=$stage/$1
    mkdir -p "$root/DEBIAN"
    {
        printf 'Package: %s\nSource: pg-alopex\nVersion: %s\nArchitecture: %s\nMaintainer: %s\nInstalled-Size: %s\n' \
            "$package" "$version" "$arch" "$maintainer" "$(du -sk --apparent-size --exclude=DEBIAN "$root" | cut -f1)"
        cat
    } >"$root/DEBIAN/control"
    (cd "$root" && find usr -type f -printf '%P\0' | LC_ALL=C sort -z | sed -z 's|^|usr/|' | xargs -0 md5sum >DEBIAN/md5sums)
    find "$root" -type d -exec chmod 755 {} +
    dpkg-deb -Zxz --root-owner-group --build "$root" "$packages" >/dev/null
    say "$packages/${package}_${version}_$arch.deb"
}

say "Building for release"
both=$stage/both
stage_into "$both"
install_extension "$pg_major" "$stage/pg_config" --release >"$packages/build-$pg_major.log" 2>&1 || {
    cat "$packages/build-$pg_major.log" >&2
    die "the extension does not build"
}
"$repo/pgrx-config/vector-name.sh" "$stage/pg_config"
write_sbom

# What vector-name.sh added goes into a package of its own.
for file in "$both/$lib"/* "$both/$share/extension"/* "$both/$include/extension/vector"/*; do
    case $(basename "$file") in pg_alopex*) package=$name ;; *) package=$name-vector ;; esac
    directory=$stage/$package/$(realpath --relative-to="$both" "$(dirname "$file")")
    mkdir -p "$directory"
    mv "$file" "$directory/"
done
library=$stage/$name/$lib/pg_alopex.so
# Scripts that lead databases back to pgvector, for the time when its package is in place again: docs/migration.md.
install -D -m 644 pgrx-config/to-pgvector.sql "$stage/$name/$share/pg_alopex/vector--0.8.500--0.8.5.sql"
echo '-- Nothing changes but the number.' >"$stage/$name/$share/pg_alopex/vector--0.8.5--0.8.500.sql"

# The debug symbols, where debuggers look for them.
build_id=$(readelf -n "$library" | sed -n 's/^ *Build ID: //p')
[ -n "$build_id" ] || die "$library has no build id"
symbols=$stage/$name-dbgsym/usr/lib/debug/.build-id/${build_id:0:2}
mkdir -p "$symbols"
objcopy --only-keep-debug --compress-debug-sections "$library" "$symbols/${build_id:2}.debug"
strip --strip-unneeded --remove-section=.comment "$library"
chmod 644 "$library" "$symbols/${build_id:2}.debug"

# The contents of an image: without the name vector, which its user may add.
image=$packages/image-$pg_major
rm -rf "$image"
mkdir -p "$image/lib" "$image/share/extension" "$image/licenses"
cp "$library" "$image/lib/"
cp "$stage/$name/$share/extension"/* "$image/share/extension/"
cp LICENSE "$packages/pg_alopex.cdx.json" "$image/licenses/"

# dpkg-shlibdeps reads a source's control file.
mkdir "$stage/debian"
printf 'Source: pg-alopex\n\nPackage: %s\nArchitecture: any\n' "$name" >"$stage/debian/control"
needs=$(cd "$stage" && dpkg-shlibdeps -O "$library" 2>/dev/null | sed -n 's/^shlibs:Depends=//p')
[ -n "$needs" ] || die "dpkg-shlibdeps does not know the libraries of $library"

write_documents "$name"
gzip -9nc "$packages/pg_alopex.cdx.json" >"$stage/$name/usr/share/doc/$name/pg_alopex.cdx.json.gz"
gzip -9nc CHANGELOG.md >"$stage/$name/usr/share/doc/$name/changelog.gz"
pack "$name" "$architecture" <<CONTROL
Depends: postgresql-$pg_major, $needs
Suggests: $name-vector
Section: database
Priority: optional
Description: vector types and a fast, transactional HNSW index for PostgreSQL $pg_major
 The types vector, halfvec and sparsevec, distances of these and of bit, and an
 index method hnsw for nearest-neighbor queries, for applications that keep
 embeddings beside their other data. Names, syntax and wire format are those of
 pgvector.
 .
 In a database: CREATE EXTENSION pg_alopex.
CONTROL

write_documents "$name-vector"
pgvector=$(sed -n "s/^default_version = '\(.*\)'/\1/p" "$stage/$name-vector/$share/extension/vector.control")
pack "$name-vector" all <<CONTROL
Depends: $name (>= $version), $name (<< $version.1~)
Provides: postgresql-$pg_major-pgvector (= $pgvector)
Conflicts: postgresql-$pg_major-pgvector
Replaces: postgresql-$pg_major-pgvector
Section: database
Priority: optional
Description: pg_alopex under the name vector for PostgreSQL $pg_major
 The control file and the scripts of the extension "vector", by which
 applications of pgvector create pg_alopex: CREATE EXTENSION vector.
 .
 The headers of pgvector for extensions in C are here too, as far as they tell
 what values look like.
 .
 It takes the place of pgvector. In databases of pgvector run ALTER EXTENSION
 vector UPDATE TO '0.8.500' and CALL alopex_rebuild(). To go back, install
 postgresql-$pg_major-pgvector, copy the scripts of
 /$share/pg_alopex to
 /$share/extension, and in each
 database run ALTER EXTENSION vector UPDATE and REINDEX.
CONTROL

mkdir -p "$stage/$name-dbgsym/usr/share/doc"
ln -s "$name" "$stage/$name-dbgsym/usr/share/doc/$name-dbgsym"
pack "$name-dbgsym" "$architecture" <<CONTROL
Auto-Built-Package: debug-symbols
Depends: $name (= $version)
Section: debug
Priority: optional
Description: debug symbols for $name
Build-Ids: $build_id
CONTROL
rm -rf "$stage"
