//! SQL functions that look into an index: for its owner, and for who may look into all tables.
//!
//! - `check`: `hnsw_check()`;
//! - `compaction`: `hnsw_compaction()`;
//! - `estimate`: `hnsw_estimate()`, for an index that is still to be made;
//! - `last`: `hnsw_last_search()` and `hnsw_last_insert()`, for anyone;
//! - `stats`: `hnsw_stats()`;
//! - `version`: `alopex_version()`, for anyone.
//!
//! `hnsw_recall()` is written in PL/pgSQL.

mod check;
mod compaction;
mod estimate;
mod last;
mod stats;
mod version;

use pgrx::pg_sys;

use crate::am;
use crate::error::{Error, Result};
use crate::storage::buffers::relation_name;

/// An index that is looked into, with its table: open, and locked as long as the guard lives. An error leaves the locks to the abort of the
/// transaction.
pub struct Inspected {
    /// The table.
    pub heap: pg_sys::Relation,
    /// The index.
    pub index: pg_sys::Relation,
    lock: pg_sys::LOCKMODE,
}

/// What others may do meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Others {
    /// Everything that does not change what there is.
    Everything,
    /// Read and write; VACUUM waits.
    ReadAndWrite,
}

impl Inspected {
    /// Opens an index and its table.
    ///
    /// # Errors
    /// [`Error::NotHnswIndex`], [`Error::NotAllowed`], [`Error::IndexNotValid`], [`Error::OtherTemporary`].
    pub fn open(index: pg_sys::Oid, others: Others) -> Result<Inspected> {
        // SAFETY: called in a transaction; a relation's fields are there while it is open.
        unsafe {
            let lock = match others {
                // A standby has no VACUUM, and allows no other lock.
                Others::ReadAndWrite if !pg_sys::RecoveryInProgress() => pg_sys::ShareUpdateExclusiveLock,
                _ => pg_sys::AccessShareLock,
            } as pg_sys::LOCKMODE;
            let name = || match pg_sys::get_rel_name(index) {
                name if name.is_null() => u32::from(index).to_string(),
                name => std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned(),
            };
            if pg_sys::get_rel_relkind(index) as u8 != pg_sys::RELKIND_INDEX {
                return Err(Error::NotHnswIndex { relation: name() });
            }
            if !is_allowed(index) {
                return Err(Error::NotAllowed { relation: name() });
            }
            // The table first, as everybody locks them.
            let table = pg_sys::IndexGetRelation(index, false);
            let heap = pg_sys::table_open(table, lock);
            let index = pg_sys::index_open(index, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
            let opened = Inspected { heap, index, lock };
            let relation = relation_name(index);
            if !am::is_ours(index) {
                return Err(Error::NotHnswIndex { relation });
            }
            if (*(*index).rd_rel).relpersistence as u8 == pg_sys::RELPERSISTENCE_TEMP && !(*index).rd_islocaltemp {
                return Err(Error::OtherTemporary { relation });
            }
            if !(*(*index).rd_index).indisvalid {
                return Err(Error::IndexNotValid { relation });
            }
            Ok(opened)
        }
    }
}

impl Drop for Inspected {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: both are open, and locked by this guard.
            unsafe {
                pg_sys::index_close(self.index, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
                pg_sys::table_close(self.heap, self.lock);
            }
        }
    }
}

/// Whether the user owns an index, or may look into all tables.
///
/// # Safety
/// Called in a transaction.
unsafe fn is_allowed(index: pg_sys::Oid) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        let user = pg_sys::GetUserId();
        #[cfg(feature = "pg15")]
        let is_owner = pg_sys::pg_class_ownercheck(index, user);
        #[cfg(not(feature = "pg15"))]
        let is_owner = pg_sys::object_ownercheck(pg_sys::RelationRelationId, index, user);
        is_owner || pg_sys::has_privs_of_role(user, pg_sys::Oid::from(pg_sys::ROLE_PG_STAT_SCAN_TABLES))
    }
}
