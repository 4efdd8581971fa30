//! Conversion of the project's errors to PostgreSQL's, with the name of the relation at work.

use std::ffi::CStr;

use pgrx::pg_sys;

use crate::error::Result;

/// The name of an open relation.
///
/// # Safety
/// `relation` is open.
pub unsafe fn relation_name(relation: pg_sys::Relation) -> String {
    // SAFETY: an open relation has its pg_class row, whose name ends with a zero byte.
    unsafe { CStr::from_ptr((*(*relation).rd_rel).relname.data.as_ptr()) }
        .to_string_lossy()
        .into_owned()
}

/// Returns the value, or raises the error in PostgreSQL.
///
/// # Safety
/// `relation`, the index at work, is open.
pub unsafe fn or_raise<T>(relation: pg_sys::Relation, result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        // SAFETY: as the caller promises.
        Err(error) => error.in_relation(|| unsafe { relation_name(relation) }).raise(),
    }
}
