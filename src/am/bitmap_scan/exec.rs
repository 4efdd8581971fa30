//! The executor's part: begin and end, choice of the way, and rows.
//!
//! Functions that call PostgreSQL's executor are not guarded. An error of an expression, with its
//! context, passes through them as it is, so they have nothing to drop, do not panic, and leave
//! all else to guarded functions.

use std::mem;
use std::ptr;

use pgrx::pg_sys::{self, NodeTag};
use pgrx::{PgList, PgMemoryContexts, is_a, pg_guard};

use super::rows::Rows;
use super::state::{Counts, State, Way, Work};
use super::{Methods, exact, explain};
use crate::am::bitmap_node::{Children, NAME, Private};
use crate::am::scan;
use crate::am::tid_set::TidSet;
use crate::compat;
use crate::error::Result;

static EXEC_METHODS: Methods<pg_sys::CustomExecMethods> = Methods(pg_sys::CustomExecMethods {
    CustomName: NAME.as_ptr(),
    BeginCustomScan: Some(begin),
    ExecCustomScan: Some(exec),
    EndCustomScan: Some(end),
    ReScanCustomScan: Some(rescan),
    MarkPosCustomScan: None,
    RestrPosCustomScan: None,
    EstimateDSMCustomScan: None,
    InitializeDSMCustomScan: None,
    ReInitializeDSMCustomScan: None,
    InitializeWorkerCustomScan: None,
    ShutdownCustomScan: None,
    ExplainCustomScan: Some(explain::explain),
});

#[pg_guard]
pub unsafe extern "C-unwind" fn create(_plan: *mut pg_sys::CustomScan) -> *mut pg_sys::Node {
    // SAFETY: zero is a value of all fields.
    unsafe {
        let state = pg_sys::palloc0(size_of::<State>()).cast::<State>();
        (*state).custom.ss.ps.type_ = NodeTag::T_CustomScanState;
        (*state).custom.methods = &raw const EXEC_METHODS.0;
        state.cast()
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn begin(
    custom: *mut pg_sys::CustomScanState,
    query: *mut pg_sys::EState,
    flags: std::ffi::c_int,
) {
    // SAFETY: PostgreSQL passes a state that `create` made, in the memory context of the query,
    // with its table open.
    unsafe {
        let state = &mut *custom.cast::<State>();
        let node = state.custom.ss.ps.plan.cast::<pg_sys::CustomScan>();
        let Some(Children { bitmap, index }) = Children::of(node.cast()) else {
            pgrx::error!("unrecognized plan of a bitmap scan");
        };
        state.bitmap = pg_sys::ExecInitNode(bitmap, query, flags);
        state.index = pg_sys::ExecInitNode(index.cast(), query, flags).cast();
        let mut shown = PgList::<pg_sys::PlanState>::new();
        shown.push(state.bitmap);
        state.custom.custom_ps = shown.into_pg();

        // PostgreSQL has prepared the node for virtual tuples, but its rows are tuples of the
        // table, and those of EvalPlanQual of any form. So its expressions are prepared again.
        let table = state.custom.ss.ss_currentRelation;
        pg_sys::ExecInitScanTupleSlot(
            query,
            &mut state.custom.ss,
            (*table).rd_att,
            pg_sys::table_slot_callbacks(table),
        );
        // A row of either way stands in the slot of the index scan, where `WHERE CURRENT OF` has
        // to find it.
        state.custom.ss.ss_ScanTupleSlot = (*state.index).ss.ss_ScanTupleSlot;
        let own = &raw mut state.custom.ss.ps;
        (*own).scanopsfixed = false;
        (*own).subPlan = ptr::null_mut();
        pg_sys::ExecAssignScanProjectionInfo(&mut state.custom.ss);
        state.conditions = pg_sys::ExecInitQual((*node).scan.plan.qual, own);
        (*own).qual = state.conditions;
        let order = PgList::<pg_sys::Expr>::from_pg((*index).indexorderbyorig).get_ptr(0);
        state.distance = pg_sys::ExecInitExpr(order.unwrap_or(ptr::null_mut()), own);
        state.work = PgMemoryContexts::CurrentMemoryContext.leak_and_drop_on_delete(Work {
            private: Private::of((*node).custom_private),
            way: Way::Unknown,
            set: TidSet::default(),
            rows: Rows::default(),
            counts: Counts::default(),
        });
    }
}

/// Not guarded, see the module.
unsafe extern "C-unwind" fn exec(custom: *mut pg_sys::CustomScanState) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: PostgreSQL passes a state that has begun.
    unsafe {
        let state = custom.cast::<State>();
        // A row that EvalPlanQual tests needs no bitmap.
        let tests_row = !(*(*state).custom.ss.ps.state).es_epq_active.is_null();
        if !tests_row && (*(*state).work).way == Way::Unknown {
            start(state);
        }
        // Rows that were read and sorted have met the conditions before.
        (*state).custom.ss.ps.qual = match (*(*state).work).way {
            Way::Exact if !tests_row => ptr::null_mut(),
            _ => (*state).conditions,
        };
        compat::ExecScan(&raw mut (*state).custom.ss, Some(next), Some(is_row))
    }
}

/// The conditions of the bitmap are among all conditions.
unsafe extern "C-unwind" fn is_row(_scan: *mut pg_sys::ScanState, _row: *mut pg_sys::TupleTableSlot) -> bool {
    true
}

/// The next row, or null. Not guarded, see the module.
unsafe extern "C-unwind" fn next(scan: *mut pg_sys::ScanState) -> *mut pg_sys::TupleTableSlot {
    // SAFETY: PostgreSQL passes the state of `exec`.
    unsafe {
        let state = scan.cast::<State>();
        if (*(*state).work).way == Way::Unknown {
            start(state);
        }
        if (*(*state).work).way == Way::Exact {
            return exact::next(state);
        }
        let index = (*state).index.cast::<pg_sys::PlanState>();
        if !(*index).chgParam.is_null() {
            compat::ExecReScan(index);
        }
        let Some(step) = (*index).ExecProcNode else {
            return ptr::null_mut();
        };
        let row = step(index);
        // The scan has no columns; its row of the table is in its context.
        match row.is_null() || u32::from((*row).tts_flags) & pg_sys::TTS_FLAG_EMPTY != 0 {
            true => ptr::null_mut(),
            false => (*(*index).ps_ExprContext).ecxt_scantuple,
        }
    }
}

/// Computes the bitmap and takes the way to the rows. Not guarded, see the module.
unsafe fn start(state: *mut State) {
    // SAFETY: the caller has a state that has begun.
    unsafe {
        let bitmap = compat::MultiExecProcNode((*state).bitmap);
        choose(state, bitmap);
        if (*(*state).work).way == Way::Exact {
            exact::read(state);
        }
    }
}

/// Makes a set of the bitmap, frees it, and chooses the way.
///
/// # Safety
/// The state has begun, and `bitmap` is the result of its child.
#[pg_guard]
unsafe extern "C-unwind" fn choose(state: *mut State, bitmap: *mut pg_sys::Node) {
    // SAFETY: as the caller promises.
    unsafe {
        let state = &mut *state;
        let work = &mut *state.work;
        if bitmap.is_null() || !is_a(bitmap, NodeTag::T_TIDBitmap) {
            pgrx::error!("unrecognized result from subplan");
        }
        let bitmap = bitmap.cast::<pg_sys::TIDBitmap>();
        let set = set_of(bitmap);
        pg_sys::tbm_free(bitmap);
        let set = crate::pg_error::or_raise(state.custom.ss.ss_currentRelation, set);
        let (rows, blocks) = (set.rows(), set.whole_blocks());
        work.counts.rows += rows;
        work.counts.whole_blocks += blocks;
        let likely = rows + blocks * u64::from(work.private.rows_of_block.unsigned_abs());
        let memory = pg_sys::work_mem as u64 * 1024;
        if likely <= u64::from(work.private.exact_rows.unsigned_abs()) && Rows::bytes(rows, blocks) <= memory {
            work.counts.exact += 1;
            let table = state.custom.ss.ss_currentRelation;
            crate::pg_error::or_raise(table, work.rows.fill(&set));
            if state.table.is_null() {
                state.table = pg_sys::table_index_fetch_begin(table);
            }
            work.way = Way::Exact;
        } else {
            work.counts.graph += 1;
            work.set = set;
            begin_index_scan(state);
            work.way = Way::Graph;
        }
    }
}

/// # Safety
/// `bitmap` is a bitmap.
unsafe fn set_of(bitmap: *mut pg_sys::TIDBitmap) -> Result<TidSet> {
    let mut set = TidSet::default();
    let mut offsets = [0; compat::MAX_BITMAP_OFFSETS];
    // SAFETY: as the caller promises; the iterator is of this bitmap.
    unsafe {
        let mut blocks = compat::BitmapBlocks::of(bitmap);
        while let Some((block, rows)) = blocks.next(&mut offsets) {
            match rows {
                Some(rows) => set.insert(block, rows)?,
                None => set.insert_block(block)?,
            }
        }
        blocks.end();
    }
    Ok(set)
}

/// Gives the index scan its rows. The scan begins as in PostgreSQL's node, which leaves a scan that
/// there is as it is.
///
/// # Safety
/// The state has begun.
unsafe fn begin_index_scan(state: &mut State) {
    // SAFETY: as the caller promises; keys without parameters are there from the start.
    unsafe {
        let index = &mut *state.index;
        if index.iss_ScanDesc.is_null() {
            index.iss_ScanDesc = compat::begin_index_scan(index);
            if index.iss_NumRuntimeKeys == 0 || index.iss_RuntimeKeysReady {
                pg_sys::index_rescan(
                    index.iss_ScanDesc,
                    index.iss_ScanKeys,
                    index.iss_NumScanKeys,
                    index.iss_OrderByKeys,
                    index.iss_NumOrderByKeys,
                );
            }
        }
        scan::restrict(index.iss_ScanDesc, mem::take(&mut (*state.work).set));
    }
}

/// Not guarded, see the module.
unsafe extern "C-unwind" fn rescan(custom: *mut pg_sys::CustomScanState) {
    // SAFETY: PostgreSQL passes a state that has begun.
    unsafe {
        let state = custom.cast::<State>();
        reset(state);
        for child in [(*state).bitmap, (*state).index.cast()] {
            if (*child).chgParam.is_null() {
                compat::ExecReScan(child);
            }
        }
    }
}

/// # Safety
/// The state has begun.
#[pg_guard]
unsafe extern "C-unwind" fn reset(state: *mut State) {
    // SAFETY: as the caller promises.
    unsafe {
        let state = &mut *state;
        let work = &mut *state.work;
        work.way = Way::Unknown;
        work.rows.clear();
        if !state.table.is_null() {
            pg_sys::table_index_fetch_reset(state.table);
        }
        let changed = state.custom.ss.ps.chgParam;
        for child in [state.bitmap, state.index.cast()] {
            if !changed.is_null() {
                pg_sys::UpdateChangedParamSet(child, changed);
            }
        }
        pg_sys::ExecScanReScan(&mut state.custom.ss);
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn end(custom: *mut pg_sys::CustomScanState) {
    // SAFETY: PostgreSQL passes a state that has begun.
    unsafe {
        let state = &mut *custom.cast::<State>();
        if !state.table.is_null() {
            pg_sys::table_index_fetch_end(state.table);
            state.table = ptr::null_mut();
        }
        pg_sys::ExecEndNode(state.bitmap);
        pg_sys::ExecEndNode(state.index.cast());
    }
}
