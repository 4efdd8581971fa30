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

/// Rows of single blocks of a table, as a build sees them. What a row has in the index is formed
/// only where it is asked for, because that may call functions of users.
pub struct RowsOfBlocks {
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
    executor: *mut pg_sys::EState,
    context: *mut pg_sys::ExprContext,
    condition: *mut pg_sys::ExprState,
    slot: *mut pg_sys::TupleTableSlot,
    /// The scan of a block, or null.
    scan: pg_sys::TableScanDesc,
}

impl RowsOfBlocks {
    /// None of tables that are no heaps. After an error PostgreSQL frees what this has.
    ///
    /// # Safety
    /// As for [`read`]; table and index stay open until [`RowsOfBlocks::end`].
    pub unsafe fn begin(
        heap: pg_sys::Relation,
        index: pg_sys::Relation,
        info: *mut pg_sys::IndexInfo,
    ) -> Option<RowsOfBlocks> {
        // SAFETY: as the caller promises.
        unsafe {
            if !std::ptr::eq((*heap).rd_tableam, pg_sys::GetHeapamTableAmRoutine()) {
                return None;
            }
            let executor = pg_sys::CreateExecutorState();
            let context = pg_sys::MakePerTupleExprContext(executor);
            let slot = pg_sys::table_slot_create(heap, std::ptr::null_mut());
            (*context).ecxt_scantuple = slot;
            Some(RowsOfBlocks {
                heap,
                index,
                info,
                executor,
                context,
                condition: pg_sys::ExecPrepareQual((*info).ii_Predicate, executor),
                slot,
                scan: std::ptr::null_mut(),
            })
        }
    }

    /// Whether columns of the index are expressions.
    pub fn have_expressions(&self) -> bool {
        // SAFETY: as the caller of `begin` promises.
        unsafe { !(*self.info).ii_Expressions.is_null() }
    }

    /// Goes to a block that the table has.
    pub fn open(&mut self, block: pg_sys::BlockNumber) {
        self.close();
        // SAFETY: as the caller of `begin` promises. Every version of a row is seen, and judged as
        // a build does it: without a snapshot, which a serializable transaction would keep note of.
        unsafe {
            let all = &raw mut pg_sys::SnapshotAnyData;
            self.scan = pg_sys::table_beginscan_strat(self.heap, all, 0, std::ptr::null_mut(), true, false);
            pg_sys::heap_setscanlimits(self.scan, block, 1);
        }
    }

    /// Goes to the next row of the block; says whether there is one.
    pub fn advance(&mut self) -> bool {
        // SAFETY: the scan of the block, and its slot.
        unsafe {
            let forward = pg_sys::ScanDirection::ForwardScanDirection;
            while pg_sys::heap_getnextslot(self.scan, forward, self.slot) {
                if self.is_live() {
                    return true;
                }
            }
        }
        false
    }

    /// Whether the row of the slot is neither deleted nor another transaction's alone.
    ///
    /// # Safety
    /// The slot has a row of the scan.
    unsafe fn is_live(&self) -> bool {
        // SAFETY: as the caller promises. The slot is a heap's, and has the page pinned.
        unsafe {
            let slot = self.slot.cast::<pg_sys::BufferHeapTupleTableSlot>();
            let (tuple, buffer) = ((*slot).base.tuple, (*slot).buffer);
            let mut dead_after = pg_sys::InvalidTransactionId;
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
            let state = pg_sys::HeapTupleSatisfiesVacuumHorizon(tuple, buffer, &mut dead_after);
            let inserted_by = (*(*tuple).t_data).t_choice.t_heap.t_xmin;
            pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_UNLOCK as i32);
            match state {
                pg_sys::HTSV_Result::HEAPTUPLE_LIVE => true,
                pg_sys::HTSV_Result::HEAPTUPLE_INSERT_IN_PROGRESS => {
                    pg_sys::TransactionIdIsCurrentTransactionId(inserted_by)
                }
                _ => false,
            }
        }
    }

    /// The vector of the row, none if it is NULL, and its filter values; none of a row that the
    /// condition of a partial index leaves out.
    ///
    /// # Errors
    /// As [`Columns::of_row`].
    pub fn row(&mut self) -> Result<Option<(Option<pg_sys::Datum>, Values)>> {
        let mut values = [pg_sys::Datum::null(); pg_sys::INDEX_MAX_KEYS as usize];
        let mut nulls = [false; pg_sys::INDEX_MAX_KEYS as usize];
        // SAFETY: as the caller of `begin` promises: the slot has a row of the table, and an index
        // has no more columns. The context is of a row alone.
        unsafe {
            pg_sys::MemoryContextReset((*self.context).ecxt_per_tuple_memory);
            if !self.condition.is_null() && !pg_sys::ExecQual(self.condition, self.context) {
                return Ok(None);
            }
            let (values, nulls) = (values.as_mut_ptr(), nulls.as_mut_ptr());
            pg_sys::FormIndexDatum(self.info, self.slot, self.executor, values, nulls);
            let datum = (!*nulls).then(|| *values);
            Ok(Some((datum, Columns::of(self.index).of_row(values, nulls)?)))
        }
    }

    fn close(&mut self) {
        if !self.scan.is_null() {
            // SAFETY: the scan of a block, whose page the slot has pinned.
            unsafe {
                pg_sys::ExecClearTuple(self.slot);
                pg_sys::heap_endscan(self.scan);
            }
            self.scan = std::ptr::null_mut();
        }
    }

    /// Frees all; PostgreSQL's description of the index forgets what it had prepared here.
    pub fn end(mut self) {
        self.close();
        // SAFETY: all are of `begin`.
        unsafe {
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            pg_sys::FreeExecutorState(self.executor);
            (*self.info).ii_ExpressionsState = std::ptr::null_mut();
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
