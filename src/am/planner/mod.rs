//! Changes to plans of PostgreSQL's planner, for scans of our indexes.
//!
//! - `nodes`, `need`, `window`: the nodes above a scan decide in which order its rows have to come
//!   (`scan`).
//! - `condition`: a scan ends at the distance that its conditions allow.
//! - `distance`: a distance that no node reads is left out.
//!
//! The library is loaded when a session plans the first statement with one of our indexes. That
//! plan has passed the planner before the hook exists, so it is changed when it starts.

mod condition;
mod distance;
mod need;
mod nodes;
mod scan;
mod window;

use std::ffi::{c_char, c_int};

use pgrx::{PgMemoryContexts, pg_guard, pg_sys};

pub use nodes::is_minimum;

use crate::compat::{standard_ExecutorStart, standard_planner};
use crate::txn;
use need::Need;

/// The planner hook and the hook before the start of a plan that were installed before.
static mut NEXT_PLANNER: pg_sys::planner_hook_type = None;
static mut NEXT_START: pg_sys::ExecutorStart_hook_type = None;

/// Start of the transaction in which the library was loaded: plans of this transaction may have
/// been made before. A command of the client is too short a time, since the extended protocol plans
/// in one and starts a plan that changes rows in another.
static mut LOADED_IN: pg_sys::TimestampTz = 0;

/// Installs the hooks.
pub fn register() {
    // SAFETY: PostgreSQL loads a library in a process of one thread.
    unsafe {
        LOADED_IN = pg_sys::GetCurrentTransactionStartTimestamp();
        NEXT_PLANNER = pg_sys::planner_hook;
        pg_sys::planner_hook = Some(plan);
        NEXT_START = pg_sys::ExecutorStart_hook;
        pg_sys::ExecutorStart_hook = Some(start);
        // Cached plans are made again.
        pg_sys::ResetPlanCache();
    }
}

/// Not guarded: an error of the planner passes through as it is, over a frame that has nothing to
/// drop.
unsafe extern "C-unwind" fn plan(
    query: *mut pg_sys::Query,
    text: *const c_char,
    options: c_int,
    parameters: pg_sys::ParamListInfo,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: PostgreSQL calls it as it calls its own planner. The result is a tree of valid nodes
    // that is ours to change.
    unsafe {
        let statement = match NEXT_PLANNER {
            Some(next) => next(query, text, options, parameters),
            None => standard_planner(query, text, options, parameters),
        };
        adjust(statement, options);
        statement
    }
}

/// Not guarded, as above.
unsafe extern "C-unwind" fn start(query: *mut pg_sys::QueryDesc, flags: c_int) {
    // SAFETY: PostgreSQL calls it as it calls its own step, with a plan that is about to start. A
    // worker has the leader's plan.
    unsafe {
        txn::parallel::before_start(query, flags);
        if pg_sys::GetCurrentTransactionStartTimestamp() == LOADED_IN && pg_sys::ParallelWorkerNumber < 0 {
            adjust((*query).plannedstmt, 0);
        }
        match NEXT_START {
            Some(next) => next(query, flags),
            None => standard_ExecutorStart(query, flags),
        }
    }
}

/// # Safety
/// `statement` is a statement that was planned with these options of cursors and is not yet in use.
#[pg_guard]
unsafe extern "C-unwind" fn adjust(statement: *mut pg_sys::PlannedStmt, options: c_int) {
    // SAFETY: as the caller promises. New nodes live as long as the statement.
    unsafe {
        let top = match options & pg_sys::CURSOR_OPT_FAST_PLAN as c_int {
            0 => Need::ALL,
            _ => Need::FETCHED,
        };
        PgMemoryContexts::For(pg_sys::GetMemoryChunkContext(statement.cast()))
            .switch_to(|_| nodes::visit(statement, top));
    }
}

/// About the number of rows of an index of a plan, if it is one of ours.
///
/// # Safety
/// `index` is an index of a plan.
unsafe fn rows_of_ours(index: pg_sys::Oid) -> Option<f64> {
    // SAFETY: as the caller promises.
    unsafe {
        // A plan that starts again has its table locked, and the index not yet.
        let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        let relation = pg_sys::index_open(index, lock);
        let rows = super::is_ours(relation).then(|| f64::from((*(*relation).rd_rel).reltuples));
        pg_sys::index_close(relation, lock);
        rows
    }
}
