#!/usr/bin/env bash
# Makes the packages and tests them on PG (15): lintian; then in a file system of their own, with a copy of PostgreSQL and dpkg's
# database, they are installed, upgraded from pgvector's package and removed, and a server runs the first query. With PG=18, which
# has pgvector, the commands of docs/migration.md lead a database of pgvector's package there and back, and the image's contents
# serve a PostgreSQL that is left as it is.

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

# What PGXN is told is valid by its specification, and is what there is.
[ "$(pgxn_meta --version 2>/dev/null)" = "pgxn_meta $PGXN_META_VERSION" ] || install_cargo_tool pgxn_meta "$PGXN_META_VERSION"
pgxn_meta META.json || die "META.json is not valid"
python3 - "$(version_of_source)" <<'PY' || die "META.json says what is not so"
import json, os, sys

with open("META.json", encoding="utf-8") as file:
    meta = json.load(file)
assert meta["version"] == sys.argv[1]
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
# dpkg's database in a file system of their own, whose paths lead into the private copy.
root=$home/root
rm -rf "$root"
mkdir -p "$root"/var/lib/dpkg/{info,updates}
touch "$root/var/lib/dpkg/status"
package() { dpkg --root="$root" --log=/dev/null --force-depends --force-not-root --force-script-chrootless "$@" >"$home/dpkg.log" 2>&1; }
is_installed() { dpkg --root="$root" -s "$1" 2>/dev/null | grep -q '^Status: install ok installed'; }
# A package of this version with the files of a directory.
pack_rival() {
    mkdir -p "$1/DEBIAN"
    printf 'Package: postgresql-%s-pgvector\nVersion: %s\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: a rival\n' \
        "$PG" "$2" >"$1/DEBIAN/control"
    dpkg-deb --root-owner-group --build "$1" "$home/rival.deb" >/dev/null
}

if [ "$PG" = 15 ]; then
    ln -s "$home/postgresql" "$root/usr"
    rm -rf "$home"/postgresql/share/postgresql/15/pg_alopex
    rm -f "$home"/postgresql/{lib,share}/postgresql/15/{lib,extension}/{pg_alopex,vector}*

    # pgvector's package, as far as dpkg sees it.
    rival=$home/rival
    rm -rf "$rival"
    mkdir -p "$rival/usr/share/postgresql/15/extension"
    echo "comment = 'of pgvector'" >"$rival/usr/share/postgresql/15/extension/vector.control"
    pack_rival "$rival" 0.8.1-1
    package -i "$home/rival.deb" || die "the rival is not installed (see $home/dpkg.log)"

    # The package leaves it alone; the one of the name takes its place.
    package -i "$(latest "$name")" || die "$name is not installed (see $home/dpkg.log)"
    grep -q 'of pgvector' "$root/usr/share/postgresql/15/extension/vector.control" || die "pgvector's files were replaced"
    cluster start
    fresh_database packages app
    expect app 'CREATE EXTENSION pg_alopex' ''
    expect app "$first_query" 1
    package -i "$(latest "$name-vector")" || die "$name-vector does not take pgvector's place (see $home/dpkg.log)"
    [ -f "$root/usr/include/postgresql/15/server/extension/vector/vector.h" ] || die "the headers are not installed"
    if is_installed postgresql-15-pgvector; then die "both packages are installed"; fi
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

# The files of pgvector that come with this PostgreSQL, as a package of Debian has them.
if [ "$PG" = 18 ]; then
    lib=usr/lib/postgresql/$PG/lib share=usr/share/postgresql/$PG
    for directory in "$lib" "$share"; do mkdir -p "$(dirname "$root/$directory")"; done
    ln -s "$("$pg_config" --pkglibdir)" "$root/$lib"
    ln -s "$("$pg_config" --sharedir)" "$root/$share"
    rm -rf "$root/$share/pg_alopex" "$root/$lib"/{pg_alopex,vector}.so "$root/$share/extension"/{pg_alopex,vector}*
    rival=$home/rival
    rm -rf "$rival"
    mkdir -p "$rival/$lib" "$rival/$share/extension"
    cp "$("$postgresql/bin/pg_config" --pkglibdir)/vector.so" "$rival/$lib/"
    cp "$("$postgresql/bin/pg_config" --sharedir)"/extension/vector{.control,--*.sql} "$rival/$share/extension/"
    pack_rival "$rival" 0.8.5-1
    package -i "$home/rival.deb" || die "pgvector is not installed (see $home/dpkg.log)"
    cluster start
    fresh_database packages app
    expect app 'CREATE EXTENSION vector' ''
    query app 'CREATE TABLE items (id int, embedding vector(3));
        INSERT INTO items SELECT i, ARRAY[i % 7, i % 11, i / 10] FROM generate_series(1, 1000) i;
        CREATE INDEX nearest ON items USING hnsw (embedding vector_l2_ops);
        CREATE INDEX lists ON items USING ivfflat (embedding vector_cosine_ops) WITH (lists = 5)' 2>/dev/null
    neighbors='SELECT string_agg(round(distance::numeric, 3)::text, $$ $$ ORDER BY distance) FROM
        (SELECT embedding <-> $$[3,1,50]$$ AS distance FROM items ORDER BY distance LIMIT 5) n'
    answer=$(query app "SET enable_indexscan = off; $neighbors")
    valid="SELECT count(*) FROM pg_index WHERE indrelid = 'items'::regclass AND indisvalid AND indisready"
    expect app "$valid" 2
    library="SELECT DISTINCT probin FROM pg_proc WHERE proname = 'vector_in'"

    run() {
        case $1 in
            "apt install ./"*)
                [ "$1" = "apt install ./${name}_*.deb ./$name-vector_*.deb" ] || return
                package -i "$(latest "$name")" && package -i "$(latest "$name-vector")" && ! is_installed "postgresql-$PG-pgvector"
                ;;
            # apt removes the package that conflicts.
            "apt install postgresql-$PG-pgvector") package -r "$name-vector" && package -i "$home/rival.deb" ;;
            "apt purge $name") package -P "$name" ;;
            "cp "*) eval "${1//\/usr\//\$root\/usr\/}" ;;
            "systemctl restart postgresql") cluster stop && cluster start ;;
            "psql "*) eval "cluster $1" >"$home/psql.log" 2>&1 ;;
            *) false ;;
        esac
    }
    done=()
    while read -r command; do
        run "$command" </dev/null || die "failed: $command (see $home/dpkg.log, $home/psql.log)"
        case $command in
            *"ALTER EXTENSION"*) expect app "$valid" 0 ;;
            *alopex_rebuild* | *REINDEX*) expect app "$valid" 2 ;;
        esac
        done+=("$(query app "$library") $(query app "$valid")")
        # A session of before the restart may have the other library.
        expect app "SET enable_seqscan = off; SET client_min_messages = error; $neighbors" "$answer"
    done < <(awk '/^## / { is_here = /^## In place, with packages$/ } /^```/ { is_command = /^```sh$/; next } is_here && is_command' docs/migration.md)
    [ ${#done[@]} = 10 ] || die "of the commands of docs/migration.md ${#done[@]} ran"
    [ "${done[3]}, ${done[8]}" = "\$libdir/pg_alopex 2, \$libdir/vector 2" ] || die "the libraries were: ${done[*]}"
    left=$(find -L "$root/$lib" "$root/$share" -name '*alopex*')
    [ -z "$left" ] || die "left behind: $left"
    package -P "postgresql-$PG-pgvector" || die "pgvector is not removed"
    rm -f "$root/$share/extension"/vector--*
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
