//! Check of new indexes, as soon as PostgreSQL has made their catalog entries.
//!
//! A build checks the column itself. But `ALTER TABLE .. ALTER COLUMN .. TYPE` makes new entries
//! for an index and keeps its file, without a build, if no row changes, as from `vector(3)` to
//! `vector`. Such an index would work on, but neither `REINDEX` nor a restored dump could make it
//! again. So the change is refused.

use std::ffi::{c_int, c_void};

use pgrx::{pg_guard, pg_sys};

use super::filter::{self, classes::is_filter_type};
use super::opclass::is_vector_type;
use super::{heap_scan, is_our_routine, or_raise};
use crate::error::{Error, Result};
use crate::filter::values::MOST_COLUMNS;
use crate::storage::PageStore;
use crate::storage::buffer_store::{BufferStore, Mode};
use crate::storage::format::META_BLOCK;
use crate::storage::meta;

/// The hook that was installed before.
static mut NEXT: pg_sys::object_access_hook_type = None;

/// Installs the hook.
pub fn register() {
    // SAFETY: PostgreSQL loads a library in a process of one thread.
    unsafe {
        NEXT = pg_sys::object_access_hook;
        pg_sys::object_access_hook = Some(on_object_access);
    }
}

/// Not guarded: an error of the next hook passes through as it is, over a frame that has nothing to
/// drop.
unsafe extern "C-unwind" fn on_object_access(
    access: pg_sys::ObjectAccessType::Type,
    class: pg_sys::Oid,
    object: pg_sys::Oid,
    column: c_int,
    argument: *mut c_void,
) {
    // SAFETY: PostgreSQL calls it as it calls any other such hook.
    unsafe {
        if let Some(next) = NEXT {
            next(access, class, object, column, argument);
        }
        if access == pg_sys::ObjectAccessType::OAT_POST_CREATE && class == pg_sys::RelationRelationId && column == 0 {
            check_new(object);
        }
    }
}

/// # Safety
/// `relation` was just made, and its maker has it open.
#[pg_guard]
unsafe extern "C-unwind" fn check_new(relation: pg_sys::Oid) {
    // SAFETY: as the caller promises. The catalog entries of the relation cannot be seen yet, but
    // the relation is complete except for the parts that an index gets from its operator class.
    unsafe {
        let relation = pg_sys::RelationIdGetRelation(relation);
        if relation.is_null() {
            return;
        }
        let class = &*(*relation).rd_rel;
        let is_index = [pg_sys::RELKIND_INDEX, pg_sys::RELKIND_PARTITIONED_INDEX].contains(&(class.relkind as u8));
        if is_index && is_our_routine(pg_sys::GetIndexAmRoutineByAmId(class.relam, true)) {
            or_raise(relation, check(relation));
        }
        pg_sys::RelationClose(relation);
    }
}

/// Refuses an index that could not be built: its columns are in the wrong order or too many, its
/// vector has no dimensions, or other dimensions than its file, if it was given one.
///
/// # Safety
/// `index` was just made and is open.
unsafe fn check(index: pg_sys::Relation) -> Result<()> {
    // SAFETY: as the caller promises; nobody else uses it yet. The name of a type is a string that
    // PostgreSQL allocates.
    unsafe {
        let (base, typmod) = heap_scan::base_type(index, 0);
        check_columns(index, base)?;
        if base == pg_sys::VARBITOID {
            // No Method: the index has no routine yet.
            let name = pg_sys::get_am_name((*(*index).rd_rel).relam);
            let access_method = std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned();
            return Err(Error::TypeNotSupported { access_method });
        }
        let name = || {
            let name = std::ffi::CStr::from_ptr(pg_sys::format_type_be(base)).to_string_lossy();
            // Without the schema, because its presence depends on the search path that PostgreSQL
            // sets for a build.
            name.rsplit('.').next().unwrap_or_default().to_owned()
        };
        let expected = heap_scan::dimensions(typmod, name)?;
        let main = pg_sys::ForkNumber::MAIN_FORKNUM;
        let is_partitioned = (*(*index).rd_rel).relkind as u8 == pg_sys::RELKIND_PARTITIONED_INDEX;
        if is_partitioned || pg_sys::RelationGetNumberOfBlocksInFork(index, main) == 0 {
            return Ok(());
        }
        let store = BufferStore::new(index, Mode::Normal);
        let found = match store.read(META_BLOCK, meta::read) {
            // The next build looks at the column.
            Err(error) if error.asks_for_rebuild() => return Ok(()),
            meta => meta?.parameters.shape.dimensions,
        };
        match found == expected {
            true => Ok(()),
            false => Err(Error::ExpectedDimensions {
                expected: expected as usize,
                found: found as usize,
            }),
        }
    }
}

/// Refuses columns that are in the wrong order or too many. Their operator classes are not known
/// yet, so this goes by types; the build looks at the classes.
///
/// # Safety
/// As for [`check`]; `first` is the type of the first column.
unsafe fn check_columns(index: pg_sys::Relation, first: pg_sys::Oid) -> Result<()> {
    // SAFETY: as the caller promises.
    unsafe {
        if !is_vector_type(first) && is_filter_type(first) {
            return Err(Error::FirstColumnNotVector);
        }
        let columns = (*(*index).rd_att).natts as usize;
        if (1..columns).any(|column| is_vector_type(heap_scan::base_type(index, column).0)) {
            return Err(Error::SecondVectorColumn);
        }
        match columns > 1 + MOST_COLUMNS {
            true => Err(filter::TOO_MANY),
            false => Ok(()),
        }
    }
}
