#!/usr/bin/env python3
"""Compares what src/compat.rs declares by hand with the headers of a PostgreSQL: headers.py PG_CONFIG."""
import pathlib
import re
import subprocess
import sys

# The C of each declaration in the blocks of compat.rs that the compiler compares with nothing.
DECLARED = """
access/amvalidate.h: extern bool opfamily_can_sort_type(Oid opfamilyoid, Oid datatypeoid);
storage/predicate.h: extern void CheckForSerializableConflictIn(Relation relation, ItemPointer tid, BlockNumber blkno);
storage/bufmgr.h: extern void LockBuffer(Buffer buffer, int mode);
storage/bufmgr.h: extern void UnlockReleaseBuffer(Buffer buffer);
storage/bufmgr.h: extern void ReleaseBuffer(Buffer buffer);
utils/timeout.h: extern bool get_timeout_active(TimeoutId id);
utils/timeout.h: extern void enable_timeout_after(TimeoutId id, int delay_ms);
utils/timeout.h: extern void disable_timeout(TimeoutId id, bool keep_indicator);
utils/timeout.h: STARTUP_PACKET_TIMEOUT, DEADLOCK_TIMEOUT, LOCK_TIMEOUT, STATEMENT_TIMEOUT,
utils/elog.h: extern bool errstart(int elevel, const char *domain);
utils/elog.h: extern int errcode(int sqlerrcode);
utils/elog.h: extern int errhint(const char *fmt,...)
utils/elog.h: extern void errfinish(const char *filename, int lineno, const char *funcname);
utils/elog.h: extern int geterrcode(void);
utils/elog.h: extern ErrorData *CopyErrorData(void);
utils/elog.h: extern void FreeErrorData(ErrorData *edata);
postmaster/autovacuum.h: extern PGDLLIMPORT int autovacuum_work_mem;
common/shortest_dec.h: int float_to_shortest_decimal_bufn(float f, char *result);
"""

headers = subprocess.check_output([sys.argv[1], "--includedir-server"], text=True).strip()
compat = (pathlib.Path(__file__).resolve().parent.parent / "src/compat.rs").read_text()
failed = False
blocks = re.findall(r'(?ms)^#\[cfg\([^\n]*\nunsafe extern "C[^\n]*\{(.*?)^\}', compat)
for name in re.findall(r"pub (?:fn|static) (\w+)", "".join(blocks)):
    if not re.search(rf"\b{name}\b", DECLARED):
        failed = True
        print(f"src/compat.rs: {name} is not compared with the headers: add it to pgrx-config/headers.py")
for header, declaration in re.findall(r"(?m)^(\S+): (.+)$", DECLARED):
    if declaration not in re.sub(r"\s+", " ", (pathlib.Path(headers) / header).read_text()):
        failed = True
        print(f"{headers}/{header} does not have: {declaration}")
sys.exit(failed)
