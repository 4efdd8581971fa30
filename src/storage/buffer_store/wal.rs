//! WAL: all code that logs a page of an index or decides not to.
//!
//! Every change of a scan, an insert or VACUUM is a generic WAL record (PostgreSQL's
//! `generic_xlog.c`), so that an index recovers and replicates without this library being loaded; a
//! build writes its pages unlogged and logs all of them then.

use std::ptr;

use pgrx::pg_sys;

use super::pins::Pinned;
use super::{BufferStore, INVALID_BLOCK};
use crate::compat;
use crate::error::Result;
use crate::storage::page::{self, PAGE_SIZE, Page};
use crate::storage::store::Edit;

/// Guard of a generic WAL record under construction; aborted unless finished.
struct Record(*mut pg_sys::GenericXLogState);

impl Record {
    fn start(relation: pg_sys::Relation) -> Record {
        // SAFETY: the relation is open.
        Record(unsafe { pg_sys::GenericXLogStart(relation) })
    }

    /// A copy of an exclusively locked page, which replaces the page when the record is finished.
    fn register(&mut self, buffer: &Pinned) -> *mut Page {
        // SAFETY: the caller holds the exclusive lock, so no other backend reads or writes the
        // page.
        let new = page::is_new(unsafe { &*buffer.page() });
        // A new page is logged as a whole, because replay cannot start from a block that does not
        // exist.
        let flags = if new { pg_sys::GENERIC_XLOG_FULL_IMAGE } else { 0 };
        // SAFETY: the record is under way, the buffer pinned and locked, and at most two are
        // registered.
        unsafe { pg_sys::GenericXLogRegisterBuffer(self.0, buffer.buffer, flags as i32).cast() }
    }

    fn finish(self) {
        // SAFETY: the record is under way and its buffers are still locked.
        unsafe { pg_sys::GenericXLogFinish(self.0) };
        std::mem::forget(self);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: the record is under way.
            unsafe { pg_sys::GenericXLogAbort(self.0) };
        }
    }
}

impl BufferStore {
    /// Runs a change of exclusively locked pages and logs it.
    ///
    /// Locks: taken by the caller and kept; the edit and the WAL insertion happen under them.
    pub(super) fn change<T, const N: usize>(
        &self,
        buffers: [&Pinned; N],
        f: impl FnOnce([&mut Page; N]) -> Result<Edit<T>>,
    ) -> Result<T> {
        let mut record = Record::start(self.relation);
        // SAFETY: each is a private copy that lives until the record ends.
        let pages = buffers.map(|buffer| unsafe { &mut *record.register(buffer) });
        match f(pages)? {
            Edit::Changed(value) => {
                self.changes.set(self.changes.get() + N as u64);
                record.finish();
                Ok(value)
            }
            Edit::Unchanged(value) => Ok(value),
        }
    }
}

/// Whether changes of the relation's main fork have to be logged (PostgreSQL's `RelationNeedsWAL`).
///
/// # Safety
/// `relation` is open.
pub unsafe fn needs_wal(relation: pg_sys::Relation) -> bool {
    // SAFETY: an open relation has these fields.
    unsafe {
        let (new_file, _) = compat::file_subtransactions(relation);
        let none = pg_sys::SubTransactionId::default(); // InvalidSubTransactionId
        let permanent = (*(*relation).rd_rel).relpersistence as u8 == pg_sys::RELPERSISTENCE_PERMANENT;
        let logged = pg_sys::wal_level >= pg_sys::WalLevel::WAL_LEVEL_REPLICA as i32;
        permanent && (logged || ((*relation).rd_createSubid == none && new_file == none))
    }
}

/// Logs every page of a fork as it is.
///
/// # Safety
/// `relation` is open and no other backend changes it.
pub unsafe fn log_all(relation: pg_sys::Relation, fork: pg_sys::ForkNumber::Type) {
    // SAFETY: as the caller promises.
    unsafe {
        let blocks = pg_sys::RelationGetNumberOfBlocksInFork(relation, fork);
        pg_sys::log_newpage_range(relation, fork, 0, blocks, true);
    }
}

/// Adds a page, unlogged, to a fork that no other backend uses.
///
/// Locks: the relation's extension lock, then the new page, exclusive; on return: none.
///
/// # Safety
/// `relation` is open and no other backend changes the fork.
pub unsafe fn append(relation: pg_sys::Relation, fork: pg_sys::ForkNumber::Type, page: &Page) {
    const {
        assert!(
            pg_sys::BLCKSZ as usize == PAGE_SIZE,
            "pages have the size of a PostgreSQL block"
        )
    };
    // SAFETY: as the caller promises.
    unsafe {
        let mode = pg_sys::ReadBufferMode::RBM_NORMAL;
        let lock = pg_sys::ExclusiveLock as i32;
        pg_sys::LockRelationForExtension(relation, lock);
        let buffer = pg_sys::ReadBufferExtended(relation, fork, INVALID_BLOCK, mode, ptr::null_mut());
        pg_sys::UnlockRelationForExtension(relation, lock);
        let buffer = Pinned::owned(buffer).lock(pg_sys::BUFFER_LOCK_EXCLUSIVE);
        *buffer.page() = *page;
        pg_sys::MarkBufferDirty(buffer.buffer);
    }
}

/// Bytes of WAL that this backend has written.
pub fn wal_bytes() -> u64 {
    // SAFETY: a counter of this backend.
    unsafe { pg_sys::pgWalUsage.wal_bytes }
}
