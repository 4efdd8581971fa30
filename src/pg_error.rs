//! Conversion of the project's errors to PostgreSQL's, with the name of the relation at work.

use std::backtrace::Backtrace;
use std::ffi::CStr;

use pgrx::pg_sys;

use crate::error::{Error, Result};

/// Decides for the life of the process that no error has a backtrace. pgrx captures one at each
/// error that passes through it: the DETAIL that clients get where the server's environment has
/// `RUST_BACKTRACE`, with paths of the build. Rust's standard library, of which each extension has
/// its own, looks at the environment at the first capture, and never again. Other programs see the
/// environment as it was.
pub fn turn_backtraces_off() {
    const NAME: &str = "RUST_LIB_BACKTRACE";
    let before = std::env::var_os(NAME);
    // SAFETY: PostgreSQL loads a library in a process of one thread.
    unsafe {
        std::env::set_var(NAME, "0");
        let _disabled = Backtrace::capture();
        match before {
            Some(value) => std::env::set_var(NAME, value),
            None => std::env::remove_var(NAME),
        }
    }
}

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
///
/// # Safety
/// `relation` is open.
pub unsafe fn qualified_name(relation: pg_sys::Relation) -> String {
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
