#!/usr/bin/env bash
# Gives the extension that is installed in the PostgreSQL of PG_CONFIG a second name there, `vector`: a control file and scripts
# made from those of pg_alopex, and the same library. For applications that say CREATE EXTENSION vector.
#
#   vector-name.sh PG_CONFIG           write them
#   vector-name.sh --check PG_CONFIG   only fail where the name is pgvector's
#
# pgvector's files stay as they are: where any of them is the name is its own.

# shellcheck source=pgrx-config/lib.sh
. "$(dirname -- "${BASH_SOURCE[0]}")/lib.sh"

check=0
if [ "${1-}" = --check ]; then
    check=1
    shift
fi
directory=$("$1" --sharedir)/extension
library=$("$1" --pkglibdir)/vector.so

# Ours has the library of pg_alopex.
is_ours() { grep -q '^module_pathname = .*/pg_alopex' "$directory/vector.control"; }

refuse() { die "the name vector is pgvector's: $1 is there. Remove pgvector first, or do without the name: CREATE EXTENSION pg_alopex"; }
if [ -e "$library" ]; then refuse "$library"; fi
if [ -e "$directory/vector.control" ] && ! is_ours; then refuse "$directory/vector.control"; fi
[ $check = 0 ] || exit 0

# Root's rights only where they are needed.
write() { if [ -w "$directory" ]; then cat >"$1"; else as_root tee "$1" >/dev/null; fi; }
[ -f "$directory/pg_alopex.control" ] || die "there is no $directory/pg_alopex.control: the extension is not installed"
for script in "$directory"/pg_alopex--*.sql; do
    write "$directory/vector${script#"$directory/pg_alopex"}" <"$script"
done
write "$directory/vector.control" <"$directory/pg_alopex.control"
