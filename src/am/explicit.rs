//! Settings that were set explicitly: in the session, for the role or database, or in the server's
//! configuration. An assign hook gets the mark that a check hook of this module makes.

use std::ffi::c_void;

use pgrx::{pg_guard, pg_sys};

use crate::compat;

/// Marks a value that was set explicitly. PostgreSQL keeps the mark with the value, and restores
/// both when a transaction is rolled back or the setting is reset.
///
/// # Safety
/// `mark` is the place where a check hook leaves data for the assign hook.
unsafe fn mark(mark: *mut *mut c_void, source: pg_sys::GucSource::Type) -> bool {
    if source > pg_sys::GucSource::PGC_S_DYNAMIC_DEFAULT {
        // SAFETY: as the caller promises; PostgreSQL frees the mark as memory that is allocated so.
        unsafe {
            *mark = compat::guc_alloc(1);
            return !(*mark).is_null();
        }
    }
    true
}

#[pg_guard]
pub unsafe extern "C-unwind" fn mark_int(
    _value: *mut i32,
    place: *mut *mut c_void,
    source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: PostgreSQL calls it as a check hook.
    unsafe { mark(place, source) }
}

#[pg_guard]
pub unsafe extern "C-unwind" fn mark_float(
    _value: *mut f64,
    place: *mut *mut c_void,
    source: pg_sys::GucSource::Type,
) -> bool {
    // SAFETY: PostgreSQL calls it as a check hook.
    unsafe { mark(place, source) }
}
