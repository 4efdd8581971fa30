//! Rows of a table, read as CREATE INDEX reads them, and the column of its index.

use std::ffi::c_void;
use std::ops::Range;

use pgrx::{pg_guard, pg_sys};

use super::filter::Columns;
use super::{heap_tid, or_raise};
use crate::compat;
use crate::error::{Error, Result};
use crate::filter::values::Values;
use crate::storage::HeapTid;

/// The type of an index's column, numbered from 0, or the base type if it is a domain, and its
/// modifier, which is the number of dimensions of a vector.
///
/// # Safety
/// `index` is an open index of this access method with this column.
pub unsafe fn base_type(index: pg_sys::Relation, column: usize) -> (pg_sys::Oid, i32) {
    // SAFETY: an open index has a tuple descriptor with its columns.
    unsafe {
        let column = compat::attribute((*index).rd_att, column);
        let mut typmod = (*column).atttypmod;
        let base = pg_sys::getBaseTypeAndTypmod((*column).atttypid, &mut typmod);
        (base, typmod)
    }
}

/// The dimensions that a type modifier declares.
///
/// # Errors
/// [`Error::ColumnWithoutDimensions`].
pub fn dimensions(typmod: i32, type_name: impl FnOnce() -> String) -> Result<u32> {
    let declared = u32::try_from(typmod).ok().filter(|&dimensions| dimensions > 0);
    let type_name = || Error::ColumnWithoutDimensions { type_name: type_name() };
    declared.ok_or_else(type_name)
}

/// Callback for a row: its vector, of the index's type, or none if it is NULL; its TID, under which
/// the index has it; and its filter values.
type Visit<'v> = dyn FnMut(Option<pg_sys::Datum>, HeapTid, Values) -> Result<()> + 'v;

/// Calls `visit` for each row of the table that belongs to the index, and raises its errors;
/// returns the number of rows of the table. The function ends `scan`; null stands for the whole
/// table as a build sees it, with its progress reported.
///
/// # Safety
/// `heap` is an open table, `index` an open index of it and of this access method, `info`
/// PostgreSQL's description of the index.
pub unsafe fn read(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
    scan: pg_sys::TableScanDesc,
    mut visit: &mut Visit<'_>,
) -> f64 {
    let state = std::ptr::from_mut(&mut visit).cast();
    // SAFETY: as the caller promises; `visit_row` expects this state.
    unsafe { pg_sys::table_index_build_scan(heap, index, info, true, scan.is_null(), Some(visit_row), state, scan) }
}

/// As [`read`], for some blocks of the table only: `scan` has not begun, and is not a synchronized
/// scan.
///
/// # Safety
/// As for [`read`].
pub unsafe fn read_blocks(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
    scan: pg_sys::TableScanDesc,
    blocks: Range<pg_sys::BlockNumber>,
    mut visit: &mut Visit<'_>,
) {
    let state = std::ptr::from_mut(&mut visit).cast();
    let (mut start, mut count) = (blocks.start, blocks.end - blocks.start);
    // SAFETY: as the caller promises; `visit_row` expects this state.
    unsafe {
        // heapam_index_build_range_scan takes no limits beside a scan of its caller, which has
        // them itself.
        let is_heap = std::ptr::eq((*heap).rd_tableam, pg_sys::GetHeapamTableAmRoutine());
        if is_heap {
            pg_sys::heap_setscanlimits(scan, start, count);
            (start, count) = (0, pg_sys::InvalidBlockNumber);
        }
        pg_sys::table_index_build_range_scan(
            heap,
            index,
            info,
            is_heap,
            false,
            false,
            start,
            count,
            Some(visit_row),
            state,
            scan,
        )
    };
}

/// As [`read`] as a build sees the table, for at most so many blocks at even distances. Nothing is
/// read of tables that are no heaps.
///
/// # Safety
/// As for [`read`].
pub unsafe fn read_sample(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
    most_blocks: pg_sys::BlockNumber,
    mut visit: &mut Visit<'_>,
) {
    let state = std::ptr::from_mut(&mut visit).cast();
    // SAFETY: as the caller promises; `visit_row` expects this state.
    unsafe {
        if !std::ptr::eq((*heap).rd_tableam, pg_sys::GetHeapamTableAmRoutine()) {
            return;
        }
        let all = pg_sys::RelationGetNumberOfBlocksInFork(heap, pg_sys::ForkNumber::MAIN_FORKNUM);
        let count = all.min(most_blocks);
        for i in 0..count {
            pgrx::check_for_interrupts!();
            let start = (u64::from(i) * u64::from(all) / u64::from(count)) as pg_sys::BlockNumber;
            pg_sys::table_index_build_range_scan(
                heap,
                index,
                info,
                false,
                false,
                false,
                start,
                1,
                Some(visit_row),
                state,
                std::ptr::null_mut(),
            );
        }
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn visit_row(
    index: pg_sys::Relation,
    tid: pg_sys::ItemPointer,
    values: *mut pg_sys::Datum,
    isnull: *mut bool,
    _alive: bool,
    state: *mut c_void,
) {
    // SAFETY: PostgreSQL passes a row of the index's columns, and the state that `read` gave it.
    unsafe {
        let visit = &mut *state.cast::<&mut Visit<'_>>();
        let datum = (!*isnull).then(|| *values);
        let visited = Columns::of(index).of_row(values, isnull);
        let visited = visited.and_then(|values| visit(datum, heap_tid(tid), values));
        or_raise(index, visited);
    }
}
