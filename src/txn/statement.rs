//! Hooks at the end of statements.
//!
//! The rows of a statement that is a transaction by itself go into the indexes at the end of the
//! statement and not in the commit that follows. So statement_timeout holds; an error comes with
//! the statement and not after its completion was reported; and EXPLAIN (ANALYZE), auto_explain and
//! pg_stat_statements count the work. Three kinds of rows are inserted by the commit all the same:
//! rows of deferred triggers, rows of COPY, which has no plan, and rows of functions that a SELECT,
//! a DO or a CALL runs.

use std::ffi::{c_char, c_int};

use pgrx::{pg_guard, pg_sys};

use super::{STAGING, Staging, commit};
use crate::compat::{standard_ExecutorFinish, standard_ProcessUtility};

/// The hooks that were installed before.
static mut NEXT_FINISH: pg_sys::ExecutorFinish_hook_type = None;
static mut NEXT_UTILITY: pg_sys::ProcessUtility_hook_type = None;

/// Installs the hooks.
pub fn register() {
    // SAFETY: PostgreSQL loads a library in a process of one thread.
    unsafe {
        NEXT_FINISH = pg_sys::ExecutorFinish_hook;
        pg_sys::ExecutorFinish_hook = Some(finish);
        NEXT_UTILITY = pg_sys::ProcessUtility_hook;
        pg_sys::ProcessUtility_hook = Some(utility);
    }
}

/// Not guarded: an error of the executor passes through as it is, over a frame that has nothing to
/// drop.
unsafe extern "C-unwind" fn finish(query: *mut pg_sys::QueryDesc) {
    // SAFETY: PostgreSQL calls it as it calls its own step, with a plan that has run. Triggers run
    // in that, and may stage rows.
    unsafe {
        match NEXT_FINISH {
            Some(next) => next(query),
            None => standard_ExecutorFinish(query),
        }
        if has_staged() {
            end(query);
        }
    }
}

/// Not guarded, as above.
#[allow(clippy::too_many_arguments, reason = "PostgreSQL's signature")]
unsafe extern "C-unwind" fn utility(
    statement: *mut pg_sys::PlannedStmt,
    text: *const c_char,
    read_only_tree: bool,
    context: pg_sys::ProcessUtilityContext::Type,
    parameters: pg_sys::ParamListInfo,
    environment: *mut pg_sys::QueryEnvironment,
    destination: *mut pg_sys::DestReceiver,
    completion: *mut pg_sys::QueryCompletion,
) {
    // SAFETY: PostgreSQL calls it as it calls its own step.
    unsafe {
        let step = NEXT_UTILITY.unwrap_or(standard_ProcessUtility);
        step(
            statement,
            text,
            read_only_tree,
            context,
            parameters,
            environment,
            destination,
            completion,
        );
    }
    if has_staged() {
        commit::move_to_front();
    }
}

/// Whether the transaction has staged rows. `false` outside of statements, as in other callbacks of
/// a commit, because the order of callbacks must not change there.
fn has_staged() -> bool {
    // SAFETY: the statement that runs, of this backend.
    let in_statement = unsafe { !pg_sys::ActivePortal.is_null() };
    in_statement && STAGING.with(|staging| staging.try_borrow().is_ok_and(|staging| staging.has_rows()))
}

/// # Safety
/// `query` is a plan that has run, and was not ended.
#[pg_guard]
unsafe extern "C-unwind" fn end(query: *mut pg_sys::QueryDesc) {
    // SAFETY: as the caller promises; a plan has its top node, which has counters if somebody asked
    // for them, and so has the whole.
    unsafe {
        if is_transaction(query) {
            let counters = [(*(*query).planstate).instrument, (*query).totaltime];
            let asked = || counters.into_iter().filter(|counters| !counters.is_null());
            asked().for_each(|counters| pg_sys::InstrStartNode(counters));
            STAGING.with_borrow_mut(Staging::apply_lasting);
            asked().for_each(|counters| pg_sys::InstrStopNode(counters, 0.0));
        }
    }
    if has_staged() {
        commit::move_to_front();
    }
}

/// Whether a plan belongs to a statement that is a transaction by itself, as a client sent it. A
/// plan of a function does not, because the function's next statement may insert more; nor does a
/// plan of one of several statements that were sent together.
///
/// # Safety
/// `query` is a plan.
unsafe fn is_transaction(query: *mut pg_sys::QueryDesc) -> bool {
    // SAFETY: as the caller promises; the portal, where there is one, is the statement that runs,
    // and its text is the same memory.
    unsafe {
        let is_alone = !pg_sys::IsTransactionBlock()
            && pg_sys::GetCurrentTransactionNestLevel() == 1
            && pg_sys::MyXactFlags & pg_sys::XACT_FLAGS_PIPELINING as c_int == 0
            && !pg_sys::IsInParallelMode();
        is_alone
            && pg_sys::ActivePortal
                .as_ref()
                .is_some_and(|portal| portal.sourceText == (*query).sourceText)
    }
}
