//! Work that may fail without the transaction around it.

use std::panic::AssertUnwindSafe;
use std::ptr;

use pgrx::pg_sys::panic::{CaughtError, ErrorReportWithLevel};
use pgrx::{PgSqlErrorCode, PgTryBuilder, pg_sys};

/// Runs `action` in a subtransaction, which an error rolls back. A cancel is raised again.
///
/// # Safety
/// Called in a transaction, outside of parallel mode. What `action` shares with the caller is sound
/// after an error.
pub unsafe fn in_subtransaction<T>(action: impl FnOnce() -> T) -> Result<T, Box<ErrorReportWithLevel>> {
    // SAFETY: as PL/pgSQL does for a block with exceptions: memory, resource owner and context
    // callbacks are the caller's again at the end.
    unsafe {
        let (memory, owner) = (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner);
        let callbacks = pg_sys::error_context_stack;
        pg_sys::BeginInternalSubTransaction(ptr::null());
        pg_sys::MemoryContextSwitchTo(memory);
        let result = PgTryBuilder::new(AssertUnwindSafe(|| Ok(action())))
            .catch_others(|error| Err(Box::new(error)))
            .execute();
        pg_sys::error_context_stack = callbacks;
        match result {
            Ok(_) => pg_sys::ReleaseCurrentSubTransaction(),
            Err(_) => pg_sys::RollbackAndReleaseCurrentSubTransaction(),
        }
        pg_sys::MemoryContextSwitchTo(memory);
        pg_sys::CurrentResourceOwner = owner;
        result.map_err(|error| match *error {
            CaughtError::PostgresError(report) | CaughtError::ErrorReport(report)
                if report.sql_error_code() != PgSqlErrorCode::ERRCODE_QUERY_CANCELED =>
            {
                Box::new(report)
            }
            error => error.rethrow(),
        })
    }
}
