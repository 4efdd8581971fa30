//! Indexes that pgvector made, or another version of the extension, in a format that this one does
//! not read. They are left alone until they are built anew, which takes nothing but the table:
//! queries do without them, rows are not inserted into them, and VACUUM passes them by. The session
//! is told once of each.

use std::cell::RefCell;
use std::collections::HashSet;

use pgrx::pg_sys;

use crate::error::{self, Error, Result};
use crate::fallible::Room;
use crate::pg_error::{self, or_raise};
use crate::storage::buffer_store::{self, BufferStore, Mode};
use crate::storage::format::META_BLOCK;
use crate::storage::meta;
use crate::storage::{Edit, PageStore};

/// Warnings of a session that go to the server's log too; further ones go to the client alone.
const MOST_LOGGED: usize = 10;

thread_local! {
    /// Indexes, with their files, of which the session was told.
    static TOLD: RefCell<HashSet<(pg_sys::Oid, u32)>> = RefCell::default();
}

/// Gives the value; nothing if the index has to be built anew first, of which the session is
/// warned. Raises other errors.
///
/// # Safety
/// `index` is open.
pub unsafe fn or_pass_by<T>(index: pg_sys::Relation, result: Result<T>) -> Option<T> {
    // SAFETY: as the caller promises.
    unsafe {
        match result {
            Err(error) if error.asks_for_rebuild() => {
                warn(index, error);
                None
            }
            result => Some(or_raise(index, result)),
        }
    }
}

/// Whether an index is of no use to queries until it is built anew. One that is damaged is left to
/// the scan that meets the damage.
///
/// # Safety
/// `index` is an open index of this access method.
pub unsafe fn is_to_be_rebuilt(index: pg_sys::Relation) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        let store = BufferStore::new(index, Mode::Normal);
        or_pass_by(index, store.read(META_BLOCK, meta::check_format)).is_none()
    }
}

/// The table changes, and the index does not: no version that reads its format may take it for
/// complete from now on. A transaction that is rolled back leaves this as it is, since the index
/// has to be built anew all the same.
///
/// # Safety
/// `index` is an open index of this access method, locked for writing.
pub unsafe fn give_up(index: pg_sys::Relation) -> Result<()> {
    // SAFETY: as the caller promises.
    let store = unsafe { BufferStore::new(index, Mode::Normal) };
    if store.read(META_BLOCK, |page| Ok(meta::is_given_up(page)))? {
        return Ok(());
    }
    let is_new = store.write(META_BLOCK, |page| {
        Ok(match meta::check_format(page) {
            Err(_) => {
                meta::give_up(page);
                Edit::Changed(true)
            }
            Ok(()) => Edit::Unchanged(false),
        })
    })?;
    if is_new {
        // Plans that other sessions keep use the index, if their library reads its format.
        // SAFETY: it is open.
        unsafe { pg_sys::CacheInvalidateRelcacheByRelid((*(*index).rd_index).indrelid) };
    }
    Ok(())
}

/// # Safety
/// `index` is open.
unsafe fn warn(index: pg_sys::Relation, error: Error) {
    // SAFETY: as the caller promises.
    let known = unsafe { ((*index).rd_id, buffer_store::file_of(index)) };
    let told = TOLD.with_borrow_mut(|told| {
        let is_new = told.room(1).is_ok() && told.insert(known);
        is_new.then_some(told.len())
    });
    let Some(told) = told else { return };
    // Only now is it named: names take memory of PostgreSQL, and this is called for each row.
    // SAFETY: as the caller promises.
    let error = unsafe { pg_error::in_relation(index, error) };
    const DETAIL: &str = "Until it is rebuilt, queries do not use it, and changes of the table do not get into it.";
    if told > MOST_LOGGED {
        error::warn_client(error.sqlstate(), &error.to_string(), DETAIL);
        return;
    }
    error.warn(Some(DETAIL));
}
