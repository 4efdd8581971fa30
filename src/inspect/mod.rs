//! SQL functions that look into an index: for its owner, and for members of pg_stat_scan_tables.
//!
//! - `check`: `hnsw_check()`;
//! - `compaction`: `hnsw_compaction()`;
//! - `estimate`: `hnsw_estimate()`, for an index that is still to be built;
//! - `health`: `hnsw_health()`;
//! - `session_counters`: `hnsw_last_search()` and `hnsw_last_insert()`, for everyone;
//! - `recall`: `hnsw_recall()`, for users who may read the table;
//! - `rebuild`: `alopex_rebuild()`, for owners of indexes;
//! - `sampled`: `hnsw_sampled_queries()` and `hnsw_forget_queries()`, for the owner alone;
//! - `stats`: `hnsw_stats()`;
//! - `tune`: `hnsw_tune()`;
//! - `version`: `alopex_version()`, for everyone.
//!
//! An index's own code, its expressions and its condition, runs as its owner: `run_as`.

mod check;
mod compaction;
mod estimate;
mod health;
mod rebuild;
mod recall;
mod run_as;
mod sampled;
mod session_counters;
mod stats;
mod tune;
mod version;

use pgrx::pg_sys;

use crate::am;
use crate::compat;
use crate::error::{Error, Result};
use crate::pg_error::relation_name;

/// An index under inspection, with its table: open, and locked as long as the guard lives. An error
/// leaves the locks to the abort of the transaction.
pub struct Inspected {
    /// The table.
    pub heap: pg_sys::Relation,
    /// The index.
    pub index: pg_sys::Relation,
    lock: pg_sys::LOCKMODE,
}

/// Work that other sessions may do meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Concurrent {
    /// All work that does not change the index.
    Everything,
    /// Reading and writing. VACUUM waits if the caller owns the index: members of
    /// pg_stat_scan_tables may take no such lock, and a standby allows none.
    ReadAndWrite,
}

/// Users who may look into the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// The index's owner, and members of pg_stat_scan_tables.
    Owner,
    /// The index's owner.
    OwnerAlone,
    /// Everyone: the work on the index itself asks for the privileges that it takes.
    Anyone,
}

impl Inspected {
    /// Opens an index and its table.
    ///
    /// Locks: the table, then the index, in the mode that `concurrent` asks for; on return: held by
    /// the guard.
    ///
    /// # Errors
    /// [`Error::NotHnswIndex`], [`Error::NotAllowed`], [`Error::NotOwner`],
    /// [`Error::IndexNotValid`], [`Error::OtherTemporary`].
    pub fn open(index: pg_sys::Oid, concurrent: Concurrent, audience: Audience) -> Result<Inspected> {
        // SAFETY: called in a transaction; a relation's fields are there while it is open.
        unsafe {
            let name = || match pg_sys::get_rel_name(index) {
                name if name.is_null() => u32::from(index).to_string(),
                name => std::ffi::CStr::from_ptr(name).to_string_lossy().into_owned(),
            };
            if pg_sys::get_rel_relkind(index) as u8 != pg_sys::RELKIND_INDEX {
                return Err(Error::NotHnswIndex { relation: name() });
            }
            let lock = match concurrent {
                Concurrent::ReadAndWrite if is_owner(index) && !pg_sys::RecoveryInProgress() => {
                    pg_sys::ShareUpdateExclusiveLock
                }
                _ => pg_sys::AccessShareLock,
            } as pg_sys::LOCKMODE;
            let may = || {
                let locks_as_others = lock == pg_sys::AccessShareLock as pg_sys::LOCKMODE;
                match audience {
                    Audience::Anyone => true,
                    Audience::OwnerAlone => is_owner(index),
                    Audience::Owner => is_owner(index) || locks_as_others && may_scan_all(),
                }
            };
            let refused = |relation| match audience {
                Audience::OwnerAlone => Err(Error::NotOwner { relation }),
                _ => Err(Error::NotAllowed { relation }),
            };
            // Checked before the lock is requested, so that nobody queues for a lock without the
            // privilege, and again with the lock.
            if !may() {
                return refused(name());
            }
            // The table first, in the order of all lockers.
            let table = pg_sys::IndexGetRelation(index, false);
            let heap = pg_sys::table_open(table, lock);
            let relation = pg_sys::index_open(index, pg_sys::AccessShareLock as pg_sys::LOCKMODE);
            let opened = Inspected {
                heap,
                index: relation,
                lock,
            };
            let name = relation_name(relation);
            // The number may be another index's by now.
            if !am::is_ours(relation) || (*(*relation).rd_index).indrelid != table {
                return Err(Error::NotHnswIndex { relation: name });
            }
            if !may() {
                return refused(name);
            }
            if (*(*relation).rd_rel).relpersistence as u8 == pg_sys::RELPERSISTENCE_TEMP && !(*relation).rd_islocaltemp
            {
                return Err(Error::OtherTemporary { relation: name });
            }
            if !(*(*relation).rd_index).indisvalid {
                return Err(Error::IndexNotValid { relation: name });
            }
            Ok(opened)
        }
    }

    /// Whether the lock keeps VACUUM out while the index is open.
    pub fn keeps_vacuum_out(&self) -> bool {
        self.lock == pg_sys::ShareUpdateExclusiveLock as pg_sys::LOCKMODE
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

/// Whether the user owns an index.
///
/// # Safety
/// Called in a transaction.
unsafe fn is_owner(index: pg_sys::Oid) -> bool {
    // SAFETY: as the caller promises.
    unsafe { compat::owns_relation(index, pg_sys::GetUserId()) }
}

/// Whether the user is a member of pg_stat_scan_tables.
///
/// # Safety
/// Called in a transaction.
unsafe fn may_scan_all() -> bool {
    // SAFETY: as the caller promises.
    unsafe { pg_sys::has_privs_of_role(pg_sys::GetUserId(), pg_sys::Oid::from(pg_sys::ROLE_PG_STAT_SCAN_TABLES)) }
}
