//! WAL: all code that logs a page of an index or decides not to.
//!
//! Every change of a scan, an insert or VACUUM is a generic WAL record ([`page_delta`]), which
//! PostgreSQL's `generic_xlog.c` replays, so that an index recovers and replicates without this
//! library being loaded; a build writes its pages unlogged and logs all of them then.
//!
//! [`page_delta`]: crate::storage::page_delta
//! [`MOST_TOGETHER`]: crate::storage::store::MOST_TOGETHER

use std::ptr;

use pgrx::pg_sys;

use super::pins::Pinned;
use super::{BufferStore, INVALID_BLOCK};
use crate::compat;
use crate::error::Result;
use crate::fallible::{self, Room};
use crate::storage::page::{self, PAGE_SIZE, Page};
use crate::storage::page_delta::Delta;
use crate::storage::store::Edit;

impl BufferStore {
    /// Runs a change of exclusively locked pages, at most [`MOST_TOGETHER`],
    /// and logs it.
    ///
    /// Locks: taken by the caller and kept; the edit and the WAL insertion happen under them.
    pub(super) fn change<T>(&self, buffers: &[&Pinned], f: impl FnOnce(&mut [Page]) -> Result<Edit<T>>) -> Result<T> {
        // On the heap, because a stack that cannot grow ends the server.
        // SAFETY: the pages are exclusively locked.
        let mut after: Vec<Page> = fallible::collect(buffers.iter().map(|buffer| unsafe { *buffer.page() }))?;
        match f(&mut after)? {
            Edit::Changed(value) => {
                after.iter_mut().for_each(page::clear_hole);
                // SAFETY: the relation is open, and its pages are pinned and exclusively locked.
                let replaced = unsafe { replace(self.relation, buffers, &after)? };
                self.changes.set(self.changes.get() + replaced);
                Ok(value)
            }
            Edit::Unchanged(value) => Ok(value),
        }
    }
}

/// Replaces pages, and logs the replacement as `GenericXLogFinish` does: as full images of new
/// pages, because replay cannot start from a block that does not exist, and as differences of
/// others. A page that is as before stays as it is. PostgreSQL's function compares pages
/// byte by byte, which took a seventh of an insert's time (docs/measurements.md, *The comparison of
/// pages*). Returns the number of pages replaced; after an error none is.
///
/// # Safety
/// `relation` is open, and the buffers are pages of its, pinned and exclusively locked.
unsafe fn replace(relation: pg_sys::Relation, buffers: &[&Pinned], after: &[Page]) -> Result<u64> {
    // SAFETY: as the caller promises. Nothing allocates in the critical section, and the
    // differences live until the record is inserted. An error there ends the server, as it has to.
    unsafe {
        let is_logged = needs_wal(relation);
        let mut changes: Vec<Change<'_>> = Vec::new();
        changes.room(buffers.len())?;
        for (&buffer, after) in buffers.iter().zip(after) {
            let before = &*buffer.page().cast_const();
            let delta = (is_logged && !page::is_new(before)).then(|| Delta::of(before, after));
            let is_same = match &delta {
                Some(delta) => delta.bytes().is_empty(),
                None => before == after,
            };
            if !is_same {
                changes.push(Change { buffer, after, delta });
            }
        }
        if changes.is_empty() {
            return Ok(0);
        }
        if is_logged {
            pg_sys::XLogBeginInsert();
        }
        pg_sys::CritSectionCount += 1;
        for (id, Change { buffer, after, delta }) in changes.iter().enumerate() {
            buffer.page().copy_from_nonoverlapping(*after, 1);
            pg_sys::MarkBufferDirty(buffer.buffer);
            if is_logged {
                let image = if delta.is_some() { 0 } else { pg_sys::REGBUF_FORCE_IMAGE };
                let flags = (pg_sys::REGBUF_STANDARD | image) as u8;
                pg_sys::XLogRegisterBuffer(id as u8, buffer.buffer, flags);
            }
            if let Some(delta) = delta {
                compat::register_buffer_data(id as u8, delta.bytes());
            }
        }
        if is_logged {
            let lsn = pg_sys::XLogInsert(pg_sys::RmgrIds::RM_GENERIC_ID as u8, 0);
            for change in &changes {
                page::set_lsn(&mut *change.buffer.page(), lsn);
            }
        }
        pg_sys::CritSectionCount -= 1;
        Ok(changes.len() as u64)
    }
}

/// A page that is replaced.
struct Change<'a> {
    buffer: &'a Pinned,
    after: &'a Page,
    /// Difference to log; none of a page that is not logged, or logged as a whole.
    delta: Option<Delta>,
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
