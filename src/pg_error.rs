//! Conversion of the project's errors to PostgreSQL's, with the name of the relation at work.

use std::ffi::CStr;

use pgrx::pg_sys;

use crate::error::{Error, Result};

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

/// The name of an open relation as SQL takes it: with its schema, and quoted where it has to be.
unsafe fn qualified_name(relation: pg_sys::Relation) -> String {
    // SAFETY: as for `relation_name`; the names are strings that PostgreSQL allocates.
    unsafe {
        let row = (*relation).rd_rel;
        let schema = pg_sys::get_namespace_name_or_temp((*row).relnamespace);
        let name = pg_sys::quote_qualified_identifier(schema, (*row).relname.data.as_ptr());
        CStr::from_ptr(name).to_string_lossy().into_owned()
    }
}

/// An error with the names of the relation that it is about.
///
/// # Safety
/// `relation` is open.
pub unsafe fn in_relation(relation: pg_sys::Relation, error: Error) -> Error {
    // SAFETY: as the caller promises.
    unsafe { error.in_relation(|| relation_name(relation), || qualified_name(relation)) }
}

/// Returns the value, or raises the error in PostgreSQL.
///
/// # Safety
/// `relation`, the index at work, is open.
pub unsafe fn or_raise<T>(relation: pg_sys::Relation, result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        // SAFETY: as the caller promises.
        Err(error) => unsafe { in_relation(relation, error) }.raise(),
    }
}
