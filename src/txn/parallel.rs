//! Plans with parallel workers.
//!
//! Staged rows are in the memory of this process, and a worker is another process. So all staged
//! rows go into their indexes before such a plan starts. Nothing is staged while the plan runs,
//! because a transaction with workers does not write.

use std::ffi::c_int;

use pgrx::{pg_guard, pg_sys};

/// Inserts all staged rows if a plan that is about to start may have workers.
///
/// Errors are PostgreSQL's, so the caller needs no guard.
///
/// # Safety
/// `query` is about to start with these flags of the executor.
pub unsafe fn before_start(query: *const pg_sys::QueryDesc, flags: c_int) {
    // SAFETY: as the caller promises.
    let may_have_workers = unsafe { (*(*query).plannedstmt).parallelModeNeeded };
    if may_have_workers && flags & pg_sys::EXEC_FLAG_EXPLAIN_ONLY as c_int == 0 {
        apply();
    }
}

#[pg_guard]
extern "C-unwind" fn apply() {
    super::apply();
}
