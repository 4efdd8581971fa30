#!/usr/bin/env bash
# Gives the extension that is installed in the PostgreSQL of PG_CONFIG a second name there, `vector`: a control file and scripts
# made from those of pg_alopex, and the library as vector.so. For applications that say CREATE EXTENSION vector.
#
#   vector-name.sh PG_CONFIG           write them
#   vector-name.sh --check PG_CONFIG   only fail where the name is pgvector's
#
# pgvector's files stay as they are: where any of them is the name is its own.
#
# Under this name versions are numbers of pgvector, because applications compare them: see RELEASE.md.

# shellcheck source=pgrx-config/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

check=0
if [ "${1-}" = --check ]; then
    check=1
    shift
fi
directory=$("$1" --sharedir)/extension
library=$("$1" --pkglibdir)/vector.so

# The version of pgvector that the SQL objects are those of, and versions by which applications ask for them.
pgvector=0.8.5
earlier=(0.5.0 0.5.1 0.6.0 0.6.1 0.6.2 0.7.0 0.7.1 0.7.2 0.7.3 0.7.4 0.8.0 0.8.1 0.8.2 0.8.3 0.8.4)

# Ours has the library of pg_alopex, by a link: PostgreSQL then loads it once, by whichever name.
is_ours() { grep -q '^module_pathname = .*/pg_alopex' "$directory/vector.control"; }
is_our_library() { [ "$(readlink "$library")" = pg_alopex.so ]; }

refuse() { die "the name vector is pgvector's: $1 is there. Remove pgvector first, or do without the name: CREATE EXTENSION pg_alopex"; }
if [ -e "$library" ] && ! is_our_library; then refuse "$library"; fi
if [ -e "$directory/vector.control" ] && ! is_ours; then refuse "$directory/vector.control"; fi
[ $check = 0 ] || exit 0

# Root's rights only where they are needed.
write() { if [ -w "$directory" ]; then cat >"$directory/$1"; else as_root tee "$directory/$1" >/dev/null; fi; }
relabel() { echo '-- Nothing changes but the number.' | write "$1"; }
[ -f "$directory/pg_alopex.control" ] || die "there is no $directory/pg_alopex.control: the extension is not installed"
version=$(sed -n "s/^default_version = '\(.*\)'/\1/p" "$directory/pg_alopex.control")

for script in "$directory"/pg_alopex--*.sql; do
    name=vector${script#"$directory/pg_alopex"}
    # The current script has pgvector's number.
    if [ "$name" = "vector--$version.sql" ]; then name=vector--$pgvector.sql; fi
    write "$name" <"$script"
done
relabel "vector--$version--$pgvector.sql"
for number in "${earlier[@]}"; do
    relabel "vector--$pgvector--$number.sql"
    relabel "vector--$number--$pgvector.sql"
done
sed "s/^default_version = .*/default_version = '$pgvector'/" "$directory/pg_alopex.control" | write vector.control
if ! is_our_library; then
    if [ -w "$(dirname "$library")" ]; then ln -s pg_alopex.so "$library"; else as_root ln -s pg_alopex.so "$library"; fi
fi
