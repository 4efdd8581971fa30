//! The way of few rows: all rows of the bitmap are read from the table in its order, their
//! distances are computed by the operator, and they are returned in the order of these, NaN and
//! NULL last. Only distances and TIDs are kept, so a row that is returned is read once more.

use std::ptr;

use pgrx::{pg_guard, pg_sys};

use super::rows::Row;
use super::state::State;
use crate::am::item_pointer;
use crate::compat;
use crate::storage::HeapTid;
use crate::storage::buffer_store::buffer_hints;

/// Reads all rows and keeps those that meet the conditions, in order. Not guarded, as in `exec`.
///
/// # Safety
/// The rows and the table of the state are there.
pub unsafe fn read(state: *mut State) {
    // SAFETY: as the caller promises.
    unsafe {
        let rows = &raw mut (*(*state).work).rows;
        let own = &raw mut (*state).custom.ss.ps;
        let (context, slot) = ((*own).ps_ExprContext, (*state).custom.ss.ss_ScanTupleSlot);
        let (mut i, mut kept, mut read) = (0, 0, 0);
        let mut block = None;
        while let Some(row) = (*rows).get(i) {
            let tid = row.tid();
            if block != Some(tid.block) {
                block = Some(tid.block);
                before_block(state, i);
            }
            i += 1;
            if !fetch(state, tid) {
                continue;
            }
            read += 1;
            compat::MemoryContextReset((*context).ecxt_per_tuple_memory);
            (*context).ecxt_scantuple = slot;
            if !(*state).conditions.is_null() && evaluate((*state).conditions, context).0.value() == 0 {
                if let Some(instrument) = (*own).instrument.as_mut() {
                    instrument.nfiltered1 += 1.0;
                }
                continue;
            }
            let (distance, is_null) = evaluate((*state).distance, context);
            let distance = (!is_null).then_some(f64::from_bits(distance.value() as u64));
            (*rows).set(kept, Row::new(tid, distance));
            kept += 1;
        }
        sort(state, kept, read);
    }
}

/// The next row, or null. Not guarded, as in `exec`.
///
/// # Safety
/// The rows were read.
pub unsafe fn next(state: *mut State) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: as the caller promises.
    unsafe {
        let rows = &raw mut (*(*state).work).rows;
        while let Some(row) = (*rows).next() {
            if fetch(state, row.tid()) {
                return (*state).custom.ss.ss_ScanTupleSlot;
            }
        }
        ptr::null_mut()
    }
}

/// Reads the row at the start of a chain of versions into the slot, if one is visible. Not guarded.
unsafe fn fetch(state: *mut State, tid: HeapTid) -> bool {
    // SAFETY: the caller has a state whose table is there.
    unsafe {
        let table = (*state).table;
        let Some(fetch) = (*(*(*table).rel).rd_tableam).index_fetch_tuple else {
            return false;
        };
        let mut tid = item_pointer(tid);
        // A snapshot of a query sees one version at most.
        let mut more = false;
        let snapshot = (*(*state).custom.ss.ps.state).es_snapshot;
        let slot = (*state).custom.ss.ss_ScanTupleSlot;
        fetch(table, &mut tid, snapshot, slot, &mut more, ptr::null_mut())
    }
}

/// Evaluates an expression in the memory of a row. Not guarded.
unsafe fn evaluate(expression: *mut pg_sys::ExprState, context: *mut pg_sys::ExprContext) -> (pg_sys::Datum, bool) {
    // SAFETY: the caller has an expression that is prepared for the context.
    unsafe {
        let Some(evaluate) = (*expression).evalfunc else {
            return (pg_sys::Datum::null(), true);
        };
        let mut is_null = false;
        let before = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = (*context).ecxt_per_tuple_memory;
        let value = evaluate(expression, context, &mut is_null);
        pg_sys::CurrentMemoryContext = before;
        (value, is_null)
    }
}

/// Looks for interrupts, and has the system read the blocks of the rows ahead, as far as
/// `effective_io_concurrency` allows.
///
/// # Safety
/// Row `i` is the first of its block.
#[pg_guard]
unsafe extern "C-unwind" fn before_block(state: *mut State, i: usize) {
    pgrx::check_for_interrupts!();
    // SAFETY: as the caller promises; the table is open.
    unsafe {
        let table = (*state).custom.ss.ss_currentRelation;
        let rows = &mut (*(*state).work).rows;
        let ahead = pg_sys::get_tablespace_io_concurrency((*(*table).rd_rel).reltablespace);
        rows.begin_block(i);
        while let Some(block) = rows.next_block(usize::try_from(ahead).unwrap_or(0)) {
            pg_sys::PrefetchBuffer(table, pg_sys::ForkNumber::MAIN_FORKNUM, block);
        }
    }
}

/// Puts the first `kept` rows into order, and counts the rows that were read.
///
/// # Safety
/// The rows were read.
#[pg_guard]
unsafe extern "C-unwind" fn sort(state: *mut State, kept: usize, read: i64) {
    // SAFETY: as the caller promises; the table is open.
    unsafe {
        (*(*state).work).rows.sort(kept);
        if let Some(counts) = buffer_hints::counts((*state).custom.ss.ss_currentRelation) {
            compat::count_fetches(counts, read);
        }
    }
}
