//! SQLSTATEs that pgrx does not know: functions of users may raise any. pgrx makes XX000 of them
//! where an error of PostgreSQL passes through Rust. PostgreSQL calls context callbacks at each
//! report of an error: one notes such a SQLSTATE before pgrx meets the error, and puts it back
//! where pgrx raises the error again.

use std::cell::Cell;
use std::ffi::{CStr, c_int, c_void};
use std::hash::{DefaultHasher, Hasher};

use pgrx::{PgLogLevel, PgSqlErrorCode, pg_sys};

use crate::compat;

/// The last error with a SQLSTATE that pgrx does not know: the packed SQLSTATE, and a hash of the
/// message, which is the same where pgrx raises the error again.
#[derive(Default)]
pub struct Sqlstates(Cell<Option<(c_int, u64)>>);

impl Sqlstates {
    /// Runs `action`, whose errors keep their SQLSTATEs.
    ///
    /// # Safety
    /// Called in a transaction. A caller that catches an error of `action` puts the list of context
    /// callbacks back, as PostgreSQL does.
    pub unsafe fn keep<T>(&self, action: impl FnOnce() -> T) -> T {
        // SAFETY: as the caller promises, the callback is in the list no longer than it and `self`
        // live.
        unsafe {
            let mut callback = pg_sys::ErrorContextCallback {
                previous: pg_sys::error_context_stack,
                callback: Some(note),
                arg: (&raw const *self).cast_mut().cast(),
            };
            pg_sys::error_context_stack = &raw mut callback;
            let result = action();
            pg_sys::error_context_stack = callback.previous;
            result
        }
    }

    /// The packed SQLSTATE of an error that pgrx caught, by its own code of it.
    pub fn of(&self, code: PgSqlErrorCode, message: &str) -> c_int {
        match self.0.get() {
            Some((noted, hash)) if is_unknown(code) && hash == hash_of(message.as_bytes()) => noted,
            _ => code as c_int,
        }
    }
}

/// Whether this is the code of all errors that pgrx does not know.
fn is_unknown(code: PgSqlErrorCode) -> bool {
    code == PgSqlErrorCode::ERRCODE_INTERNAL_ERROR
}

fn hash_of(message: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(message);
    hasher.finish()
}

/// Looks at the report in progress.
///
/// # Safety
/// `states` is the [`Sqlstates`] of the callback; PostgreSQL calls this while it reports.
unsafe extern "C-unwind" fn note(states: *mut c_void) {
    // SAFETY: as the caller promises. There is a report, whose copy is ours to free. PostgreSQL
    // makes no copy in the memory of its reports, which is the current one.
    unsafe {
        let code = compat::geterrcode();
        if !is_unknown(PgSqlErrorCode::from(code)) {
            return;
        }
        let states = &(*states.cast::<Sqlstates>()).0;
        let memory = pg_sys::CurrentMemoryContext;
        pg_sys::CurrentMemoryContext = pg_sys::TopTransactionContext;
        let report = compat::CopyErrorData();
        let is_error = (*report).elevel >= PgLogLevel::ERROR as c_int;
        let hash = match (*report).message.is_null() {
            true => hash_of(b""),
            false => hash_of(CStr::from_ptr((*report).message).to_bytes()),
        };
        compat::FreeErrorData(report);
        pg_sys::CurrentMemoryContext = memory;
        if code != PgSqlErrorCode::ERRCODE_INTERNAL_ERROR as c_int {
            if is_error {
                states.set(Some((code, hash)));
            }
        } else if let Some((noted, of)) = states.get()
            && of == hash
        {
            compat::errcode(noted);
        }
    }
}
