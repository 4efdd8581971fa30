//! Callbacks at the end of transactions and subtransactions: staged rows go into the indexes just
//! before a commit, and an abort drops the rows that it takes back.
//!
//! PostgreSQL calls the callbacks of a transaction's end in the reverse order of their
//! registration. The callback of postgres_fdw commits on other servers, so nothing should fail
//! after it; and it is registered when the session first connects to such a server, which may be
//! after this library was loaded. So a transaction with staged rows moves a second callback to the
//! head of the queue at the end of each statement ([`move_to_front`]). The first registration
//! stays, because it serves rows that other callbacks stage.

use std::ffi::c_void;

use pgrx::{check_for_interrupts, pg_guard, pg_sys};

use super::staged_rows::List;
use super::{STAGING, Staging};
use crate::compat::{STATEMENT_TIMEOUT, disable_timeout, enable_timeout_after, get_timeout_active};
use crate::reserve;

/// Registers the callbacks: once, when the library is loaded.
pub fn register() {
    // SAFETY: in a backend's only thread.
    unsafe {
        pg_sys::RegisterXactCallback(Some(on_transaction), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(on_subtransaction), std::ptr::null_mut());
    }
}

/// Moves the second callback to the head of the queue. Not to be called from a callback.
pub fn move_to_front() {
    static IN_FRONT: u8 = 0;
    let argument = (&raw const IN_FRONT).cast_mut().cast();
    // SAFETY: in a backend's only thread; the argument distinguishes the second callback from the
    // first.
    unsafe {
        pg_sys::UnregisterXactCallback(Some(on_transaction), argument);
        pg_sys::RegisterXactCallback(Some(on_transaction), argument);
    }
}

/// Runs `f` on the staged rows unless they are in use. They are in use if a backend is told to end
/// while it inserts: it ends there and aborts its transaction.
fn with_staging(f: impl FnOnce(&mut Staging)) {
    STAGING.with(|staging| {
        if let Ok(mut staging) = staging.try_borrow_mut() {
            f(&mut staging);
        }
    });
}

#[pg_guard]
unsafe extern "C-unwind" fn on_transaction(event: pg_sys::XactEvent::Type, _argument: *mut c_void) {
    use pg_sys::XactEvent::*;
    match event {
        XACT_EVENT_PRE_COMMIT | XACT_EVENT_PRE_PREPARE => STAGING.with_borrow_mut(|staging| {
            staging.forget_temporary();
            if staging.has_rows() {
                let timeout = StatementTimeout::start();
                staging.apply();
                timeout.end();
            }
            staging.indexes.clear();
            staging.committing = true;
        }),
        XACT_EVENT_COMMIT | XACT_EVENT_PREPARE => with_staging(Staging::reset),
        XACT_EVENT_ABORT => {
            reserve::forget();
            with_staging(Staging::reset);
        }
        _ => {}
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn on_subtransaction(
    event: pg_sys::SubXactEvent::Type,
    _subtransaction: pg_sys::SubTransactionId,
    _parent: pg_sys::SubTransactionId,
    _argument: *mut c_void,
) {
    use pg_sys::SubXactEvent::*;
    let settle = match event {
        SUBXACT_EVENT_COMMIT_SUB => List::commit,
        SUBXACT_EVENT_ABORT_SUB => {
            reserve::forget();
            List::abort
        }
        _ => return,
    };
    // SAFETY: called within a transaction.
    let level = unsafe { pg_sys::GetCurrentTransactionNestLevel() };
    with_staging(|staging| {
        for staged in &mut staging.indexes {
            settle(&mut staged.list, level);
            staged.stays = false;
            if event == SUBXACT_EVENT_ABORT_SUB {
                staged.copied = None;
            }
        }
        staging.count();
    });
}

/// A timer of statement_timeout for the work before a commit, because PostgreSQL has stopped its
/// own by then. The work counts as a statement.
struct StatementTimeout(bool);

impl StatementTimeout {
    /// Starts the timer, unless it runs already (as in a procedure that commits), or this process
    /// has no statements.
    fn start() -> StatementTimeout {
        // SAFETY: settings of this backend, and its own timers.
        unsafe {
            let milliseconds = pg_sys::StatementTimeout;
            let starts = milliseconds > 0
                && pg_sys::MyBackendType == pg_sys::BackendType::B_BACKEND
                && !get_timeout_active(STATEMENT_TIMEOUT);
            if starts {
                enable_timeout_after(STATEMENT_TIMEOUT, milliseconds);
            }
            StatementTimeout(starts)
        }
    }

    /// Stops the timer; raises the error if it has fired, so that the next statement is not hit.
    fn end(self) {
        if self.0 {
            check_for_interrupts!();
        }
    }
}

impl Drop for StatementTimeout {
    fn drop(&mut self) {
        if self.0 {
            // SAFETY: it was started.
            unsafe { disable_timeout(STATEMENT_TIMEOUT, false) };
        }
    }
}
