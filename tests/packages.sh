#!/usr/bin/env bash
# Makes the packages and tests them on PG (15): lintian; then in a file system of their own, with a copy of PostgreSQL and dpkg's
# database, they are installed, upgraded from pgvector's package and removed, and a server runs the first query. With PG=18 the
# image's contents serve a PostgreSQL that is left as it is.

# shellcheck source=pgrx-config/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/../pgrx-config/lib.sh"

cd "$repo"
cluster() { pgrx-config/cluster.sh packages "$@"; }
query() { cluster psql -q -At -v ON_ERROR_STOP=1 -d "$1" -c "$2"; }
expect() {
    local found
    found=$(query "$1" "$2") || die "failed: $2"
    [ "$found" = "$3" ] || die "$2: $found instead of $3"
}
first_query='CREATE TABLE items (id int, embedding vector(3));
    INSERT INTO items VALUES (1, $$[1,2,3]$$), (2, $$[4,5,6]$$);
    CREATE INDEX ON items USING hnsw (embedding vector_l2_ops);
    SELECT id FROM items ORDER BY embedding <-> $$[3,3,3]$$ LIMIT 1'

# What PGXN is told is what there is.
grep -q "\"version\": \"$(version_of_source)\"" META.json || die "META.json is not of version $(version_of_source)"
python3 - <<'PY' || die "META.json is not valid"
import json, os

with open("META.json", encoding="utf-8") as file:
    meta = json.load(file)
assert {"name", "abstract", "version", "maintainer", "license", "provides", "meta-spec"} <= meta.keys()
for name, extension in meta["provides"].items():
    assert os.path.exists(f"{name}.control") and extension["version"] == meta["version"]
    assert all(os.path.exists(extension[key]) for key in ("file", "docfile"))
PY

pgrx-config/packages.sh
find_build_dir
packages=$build/packages
need_packages lintian
name=postgresql-$pg_major-pg-alopex
latest() { find "$packages" -name "$1_*.deb" -printf '%T@ %p\n' | sort -n | tail -n1 | cut -d' ' -f2-; }
lintian --fail-on error,warning --suppress-tags initial-upload-closes-no-bugs \
    "$(latest "$name")" "$(latest "$name-vector")" "$(latest "$name-dbgsym")" || die "lintian has complaints"

pg_config=$(cluster prefix)
home=$(cluster dir)
if [ "$PG" = 15 ]; then
    # Debian's paths lead into the private copy.
    root=$home/root
    rm -rf "$root"
    mkdir -p "$root"/var/lib/dpkg/{info,updates}
    touch "$root/var/lib/dpkg/status"
    ln -s "$home/postgresql" "$root/usr"
    package() { dpkg --root="$root" --log=/dev/null --force-depends --force-not-root --force-script-chrootless "$@" >"$home/dpkg.log" 2>&1; }
    rm -f "$home"/postgresql/{lib,share}/postgresql/15/{lib,extension}/{pg_alopex,vector}*

    # pgvector's package, as far as dpkg sees it.
    rival=$home/rival
    rm -rf "$rival"
    mkdir -p "$rival/DEBIAN" "$rival/usr/share/postgresql/15/extension"
    echo "comment = 'of pgvector'" >"$rival/usr/share/postgresql/15/extension/vector.control"
    printf 'Package: postgresql-15-pgvector\nVersion: 0.8.1-1\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: a rival\n' \
        >"$rival/DEBIAN/control"
    dpkg-deb --root-owner-group --build "$rival" "$home/rival.deb" >/dev/null
    package -i "$home/rival.deb" || die "the rival is not installed (see $home/dpkg.log)"

    # The package leaves it alone; the one of the name takes its place.
    package -i "$(latest "$name")" || die "$name is not installed (see $home/dpkg.log)"
    grep -q 'of pgvector' "$root/usr/share/postgresql/15/extension/vector.control" || die "pgvector's files were replaced"
    cluster start
    fresh_database packages app
    expect app 'CREATE EXTENSION pg_alopex' ''
    expect app "$first_query" 1
    package -i "$(latest "$name-vector")" || die "$name-vector does not take pgvector's place (see $home/dpkg.log)"
    dpkg --root="$root" -s postgresql-15-pgvector 2>/dev/null | grep -q '^Status: install ok installed' && die "both packages are installed"
    fresh_database packages other
    expect other 'CREATE EXTENSION vector' ''
    expect other "$first_query" 1

    # The debug symbols are the library's.
    package -i "$(latest "$name-dbgsym")" || die "$name-dbgsym is not installed"
    build_id=$(readelf -n "$root/usr/lib/postgresql/15/lib/pg_alopex.so" | sed -n 's/^ *Build ID: //p')
    readelf -n "$root/usr/lib/debug/.build-id/${build_id:0:2}/${build_id:2}.debug" | grep -q "$build_id" || die "the debug symbols are another library's"

    # And back.
    package -r "$name-vector" || die "$name-vector is not removed"
    package -i "$home/rival.deb" || die "pgvector does not come back"
    expect app 'SELECT count(*) FROM items' 2
    package -P "$name" "$name-dbgsym" || die "$name is not removed"
    left=$(find -L "$root/usr/lib/postgresql/15" "$root/usr/share/postgresql/15" "$root/usr/lib/debug" -name '*alopex*' 2>/dev/null) || true
    [ -z "$left" ] || die "left behind: $left"
fi

# As CloudNativePG mounts an image: PostgreSQL finds it by settings.
if [ "$PG" = 18 ]; then
    rm -f "$("$pg_config" --pkglibdir)/pg_alopex.so" "$("$pg_config" --sharedir)"/extension/pg_alopex*
    cluster start
    image=$(find_build_dir && echo "$build/packages/image-18")
    query postgres "ALTER SYSTEM SET extension_control_path = '\$system:$image/share'"
    query postgres "ALTER SYSTEM SET dynamic_library_path = '\$libdir:$image/lib'"
    query postgres 'SELECT pg_reload_conf()' >/dev/null
    fresh_database packages app
    expect app 'CREATE EXTENSION pg_alopex' ''
    expect app "$first_query" 1
fi
cluster stop
say "ok packages"
