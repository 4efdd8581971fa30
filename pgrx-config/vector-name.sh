#!/usr/bin/env bash
# Gives the extension that is installed in the PostgreSQL of PG_CONFIG a second name there, `vector`: a control file and scripts
# made from those of pg_alopex, the library as vector.so, and headers for extensions in C. For applications that say CREATE
# EXTENSION vector.
#
#   vector-name.sh PG_CONFIG             write them; refuse where any of pgvector's files is
#   vector-name.sh --replace PG_CONFIG   write them in place of pgvector's files, which are put aside
#   vector-name.sh --restore PG_CONFIG   put pgvector's files back, with a script that leads databases back to them
#   vector-name.sh --check PG_CONFIG     only fail where the name is pgvector's
#
# Under this name versions are numbers of pgvector, because applications compare them: see RELEASE.md.

# shellcheck source=pgrx-config/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

mode=take
case ${1-} in --check | --replace | --restore)
    mode=${1#--}
    shift
    ;;
esac
share=$("$1" --sharedir)
directory=$share/extension
library=$("$1" --pkglibdir)/vector.so
aside=$share/pgvector
include=$("$1" --includedir-server)
headers=$include/extension/vector

# The version of pgvector that the SQL objects are those of, and the version of the same objects where databases of pgvector have
# that number. Applications ask for others, and databases of pgvector have them.
pgvector=0.8.5
in_place=0.8.500
others=(0.5.0 0.5.1 0.6.0 0.6.1 0.6.2 0.7.0 0.7.1 0.7.2 0.7.3 0.7.4 0.8.0 0.8.1 0.8.2 0.8.3 0.8.4 0.8.6)

# Ours has the library of pg_alopex, by a link: PostgreSQL then loads it once, by whichever name.
is_ours() { grep -q '^module_pathname = .*/pg_alopex' "$directory/vector.control"; }
is_our_library() { [ "$(readlink "$library")" = pg_alopex.so ]; }
is_there() { [ -e "$1" ] || [ -L "$1" ]; }

# Root's rights only where they are needed.
on() {
    local path=$1
    shift
    if [ -w "$path" ]; then "$@"; else as_root "$@"; fi
}
write() { on "$directory" tee "$directory/$1" >/dev/null; }
link() { on "$directory" ln -sf "$1" "$directory/$2"; }
unchanged='-- Nothing changes but the number.'
relabel() { echo "$unchanged" | write "$1"; }
of_control() { sed -n "s/^$1 = '\(.*\)'/\1/p" "$2"; }

refuse() {
    die "the name vector is pgvector's: $1 is there. Take its place (REPLACE=1; see docs/migration.md), remove pgvector, or do without the name: CREATE EXTENSION pg_alopex"
}
refuse_pgvector() {
    if is_there "$library" && ! is_our_library; then refuse "$library"; fi
    if [ -e "$directory/vector.control" ] && ! is_ours; then refuse "$directory/vector.control"; fi
}

# Scripts of ours away, which may lie beside pgvector's where a package has put its files over ours. Our links are relative to the
# directory, and a package's script may be a link, too.
remove_our_scripts() {
    on "$directory" find "$directory" -name 'vector--*.sql' -type l -lname 'vector--*' -delete
    on "$directory" find "$directory" -name 'vector--*.sql' -exec grep -qE "alopex|hnsw_stats|^$unchanged\$" {} \; -exec rm -f {} +
}

# pgvector's files out of the way, if they are there.
put_aside() {
    if [ -e "$directory/vector.control" ] && ! is_ours; then
        remove_our_scripts
        on "$share" mkdir -p "$aside"
        on "$directory" mv -f "$directory"/vector.control "$directory"/vector--*.sql "$aside/"
    fi
    if is_there "$library" && ! is_our_library; then
        on "$share" mkdir -p "$aside"
        on "$(dirname "$library")" mv -f "$library" "$aside/"
    fi
}

# Headers, and those of pgvector out of their way: nothing tells what is left of an installation from what is in use.
is_our_header() { grep -qs pg_alopex "$1"; }
write_headers() {
    local header place
    [ -d "$include" ] || return 0
    on "$include" mkdir -p "$headers"
    for header in "$repo"/include/vector/*.h; do
        place=$headers/$(basename "$header")
        if is_there "$place" && ! is_our_header "$place"; then
            on "$share" mkdir -p "$aside/include"
            on "$headers" mv -f "$place" "$aside/include/"
        fi
        on "$headers" rm -f "$place"
        on "$headers" install -m 644 "$header" "$place"
    done
}
restore_headers() {
    local header
    for header in "$headers"/*.h; do
        if is_our_header "$header"; then on "$headers" rm -f "$header"; fi
    done
    if [ -d "$aside/include" ]; then
        on "$include" mkdir -p "$headers"
        on "$headers" mv -f "$aside/include"/*.h "$headers/"
        on "$aside" rmdir "$aside/include"
    fi
    if [ -d "$headers" ]; then on "$include" rmdir --ignore-fail-on-non-empty "$headers"; fi
}

# A package may have put pgvector's files over ours since theirs were put aside, newer ones as a rule. Only equal ones are put back
# over these.
refuse_other_files() {
    local name place
    for name in vector.control vector.so include/{vector,halfvec,sparsevec}.h; do
        [ -e "$aside/$name" ] || continue
        case $name in
            vector.control) place=$directory/$name ;;
            vector.so) place=$library ;;
            *) place=$headers/${name#include/} ;;
        esac
        if ! is_there "$place"; then continue; fi
        case $name in
            vector.control) ! is_ours ;;
            vector.so) ! is_our_library ;;
            *) ! is_our_header "$place" ;;
        esac || continue
        cmp -s "$aside/$name" "$place" || die "$place$(of_version "$place") is not the file that was put aside, $aside/$name$(of_version "$aside/$name"). Nothing is changed. To keep the one in place, remove $aside; for the one that was put aside, remove the package of the other. Then run this again"
    done
}
of_version() { case $1 in *.control) echo " of pgvector $(of_control default_version "$1")" ;; esac }

# Ours away and pgvector's back: those that were put aside, or that a package has put into the place since.
restore() {
    local control=$aside/vector.control number
    refuse_other_files
    if ! [ -e "$control" ]; then
        control=$directory/vector.control
        if [ -e "$control" ] && is_ours; then die "there are no files of pgvector in $aside: install pgvector"; fi
    fi
    number=$(of_control default_version "$control")
    [[ $number == 0.8.* ]] || die "$control is of pgvector ${number:-without a version}: the way back leads to 0.8. Nothing is changed: install pgvector 0.8 in its place, and run this again"
    if [ -e "$directory/vector.control" ] && is_ours; then
        on "$directory" rm -f "$directory"/vector.control "$directory"/vector--*.sql
    else
        remove_our_scripts
    fi
    if is_our_library; then on "$(dirname "$library")" rm -f "$library"; fi
    if [ -e "$aside/vector.control" ]; then
        on "$directory" mv -f "$aside"/vector.control "$aside"/vector--*.sql "$directory/"
    fi
    if [ -e "$aside/vector.so" ]; then on "$(dirname "$library")" mv -f "$aside/vector.so" "$library"; fi
    restore_headers
    if [ -d "$aside" ]; then on "$share" rmdir "$aside"; fi
    [ -e "$library" ] || die "there is no $library: install pgvector"
    write "vector--$in_place--$number.sql" <"$repo/pgrx-config/to-pgvector.sql"
    relabel "vector--$number--$in_place.sql"
}

case $mode in
    check | take) refuse_pgvector ;;
    replace) put_aside ;;
    restore)
        restore
        exit
        ;;
esac
[ "$mode" != check ] || exit 0

[ -f "$directory/pg_alopex.control" ] || die "there is no $directory/pg_alopex.control: the extension is not installed"
version=$(of_control default_version "$directory/pg_alopex.control")
default=$pgvector
# Databases of pgvector have that number.
if [ -e "$aside/vector.control" ]; then default=$in_place; fi

for script in "$directory"/pg_alopex--*.sql; do
    name=vector${script#"$directory/pg_alopex"}
    # The current script has pgvector's number.
    if [ "$name" = "vector--$version.sql" ]; then name=vector--$pgvector.sql; fi
    write "$name" <"$script"
done
link "vector--$pgvector.sql" "vector--$in_place.sql"
relabel "vector--$version--$pgvector.sql"
update=vector--$pgvector--$in_place.sql
awk -f "$repo/pgrx-config/from-pgvector.awk" "$directory/pg_alopex--$version.sql" | write "$update"
for number in "${others[@]}"; do
    link "$update" "vector--$number--$in_place.sql"
    link "$update" "vector--$number--$pgvector.sql"
    relabel "vector--$pgvector--$number.sql"
done
sed "s/^default_version = .*/default_version = '$default'/" "$directory/pg_alopex.control" | write vector.control
if ! is_our_library; then on "$(dirname "$library")" ln -s pg_alopex.so "$library"; fi
write_headers
