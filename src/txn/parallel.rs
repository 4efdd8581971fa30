//! Plans with parallel workers: a worker is another process, and what the transaction has staged is in the memory of this one. So it goes
//! into the index before such a plan starts. Nothing is staged while it runs, since a transaction with workers does not write.

use std::ffi::c_int;

use pgrx::{pg_guard, pg_sys};

use crate::compat::standard_ExecutorStart;

/// The step of whoever was there before.
static mut NEXT: pg_sys::ExecutorStart_hook_type = None;

/// Puts our step before the start of a plan.
pub fn register() {
    // SAFETY: PostgreSQL loads a library in a process of one thread.
    unsafe {
        NEXT = pg_sys::ExecutorStart_hook;
        pg_sys::ExecutorStart_hook = Some(start);
    }
}

/// Not guarded: an error of the executor passes through as it is, over a frame that has nothing to drop.
unsafe extern "C-unwind" fn start(query: *mut pg_sys::QueryDesc, flags: c_int) {
    // SAFETY: PostgreSQL calls it as it calls its own step, with a plan that is about to start.
    unsafe {
        if (*(*query).plannedstmt).parallelModeNeeded && flags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as c_int == 0 {
            apply();
        }
        match NEXT {
            Some(next) => next(query, flags),
            None => standard_ExecutorStart(query, flags),
        }
    }
}

#[pg_guard]
extern "C-unwind" fn apply() {
    super::apply();
}
