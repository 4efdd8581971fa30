//! Pins and locks of buffers: guards, pins by hint, ring of passes over all pages.
//!
//! While PostgreSQL unwinds from an error the guards leave pins and locks to it: aborting the
//! (sub)transaction releases them, and its error handling has already reset the counters that a
//! release would count down.

use std::marker::PhantomData;

use pgrx::pg_sys;

use super::{BufferStore, MAIN, buffer_hints};
use crate::compat;
use crate::error::Result;
use crate::storage::page::Page;
use crate::storage::{BlockNumber, corrupted};

/// Guard of a buffer's pin, and of its lock if there is one.
pub(super) struct Pinned {
    pub(super) buffer: pg_sys::Buffer,
    locked: bool,
}

impl Pinned {
    /// Pins a block, which is read in if necessary; [`super::INVALID_BLOCK`] adds one.
    pub(super) fn read(
        relation: pg_sys::Relation,
        block: BlockNumber,
        strategy: pg_sys::BufferAccessStrategy,
    ) -> Pinned {
        // SAFETY: the relation is open.
        let buffer =
            unsafe { pg_sys::ReadBufferExtended(relation, MAIN, block, pg_sys::ReadBufferMode::RBM_NORMAL, strategy) };
        Pinned::owned(buffer)
    }

    /// The guard of a pin that the caller took.
    pub(super) fn owned(buffer: pg_sys::Buffer) -> Pinned {
        Pinned { buffer, locked: false }
    }

    /// Locks the page in a mode (`BUFFER_LOCK_*`); the lock ends with the guard.
    pub(super) fn lock(mut self, mode: u32) -> Pinned {
        // SAFETY: the buffer is pinned and not locked by us.
        unsafe { compat::LockBuffer(self.buffer, mode as i32) };
        self.locked = true;
        self
    }

    /// The bytes of the page. At least a share lock must be held while they are in use.
    pub(super) fn page(&self) -> *mut Page {
        // SAFETY: the buffer is pinned.
        unsafe { pg_sys::BufferGetPage(self.buffer).cast() }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // SAFETY: this guard owns the pin, and the lock if there is one.
        unsafe {
            if self.locked {
                compat::UnlockReleaseBuffer(self.buffer);
            } else {
                compat::ReleaseBuffer(self.buffer);
            }
        }
    }
}

/// A page that was requested ahead of its use; pinned if it was in a buffer.
pub struct Pin<'a> {
    pub(super) block: BlockNumber,
    pub(super) exists: bool,
    pub(super) pinned: Option<Pinned>,
    pub(super) store: PhantomData<&'a BufferStore>,
}

impl BufferStore {
    /// Pins a buffer if it holds the block.
    #[inline]
    fn take(&self, block: BlockNumber, buffer: pg_sys::Buffer) -> Option<Pinned> {
        // SAFETY: the relation is open, and the buffer's number is from PostgreSQL.
        let taken = unsafe { buffer_hints::pin(self.relation, self.temporary, block, buffer) };
        if !taken {
            return None;
        }
        // A ring's pages are not for others: a pass uses each once.
        if self.strategy.is_null() {
            // SAFETY: it was pinned above.
            unsafe { buffer_hints::raise_usage(buffer) };
        }
        Some(Pinned::owned(buffer))
    }

    /// Pins a block in the buffer where this backend last saw it, if it is still there.
    #[inline]
    pub(super) fn recall(&self, block: BlockNumber) -> Option<Pinned> {
        // SAFETY: the relation is open.
        self.take(block, unsafe { buffer_hints::get(self.relation, block) })
    }

    /// Pins a block in the buffer that PostgreSQL's table names, or requests the page.
    #[inline(never)]
    pub(super) fn look_up(&self, block: BlockNumber) -> Option<Pinned> {
        self.take(block, self.request_page(block))
    }

    /// Pins a block through PostgreSQL's table, and remembers its buffer outside of passes.
    #[inline(never)]
    pub(super) fn read_in(&self, block: BlockNumber) -> Pinned {
        if self.ahead.is_some() {
            return Pinned::read(self.relation, block, self.strategy); // No hint: a ring's buffer is soon reused.
        }
        let pinned = self.read_noting_misses(block);
        // SAFETY: the relation is open.
        unsafe { buffer_hints::set(self.relation, block, pinned.buffer) };
        pinned
    }

    /// Pins a block, by hint if possible.
    #[inline]
    pub(super) fn fetch(&self, block: BlockNumber) -> Pinned {
        self.recall(block).unwrap_or_else(|| self.read_in(block))
    }

    /// Pins a block that is to be changed; a block beyond the end is corruption.
    pub(super) fn fetch_to_change(&self, block: BlockNumber) -> Result<Pinned> {
        if !self.exists(block)? {
            return corrupted(block, "a reference points beyond the end of the index");
        }
        Ok(self.fetch(block))
    }
}

/// A small ring of buffers for passes over all pages of an index, which then do not evict other
/// pages.
pub struct Ring(pg_sys::BufferAccessStrategy);

impl Ring {
    /// A ring for reading.
    #[allow(clippy::new_without_default, reason = "it allocates")]
    pub fn new() -> Ring {
        // SAFETY: called in a backend.
        Ring(unsafe { pg_sys::GetAccessStrategy(pg_sys::BufferAccessStrategyType::BAS_BULKREAD) })
    }

    /// PostgreSQL's handle of the ring, valid as long as the ring lives.
    pub fn strategy(&self) -> pg_sys::BufferAccessStrategy {
        self.0
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // An error frees the ring with its memory context.
        if !std::thread::panicking() {
            // SAFETY: it is from GetAccessStrategy.
            unsafe { pg_sys::FreeAccessStrategy(self.0) };
        }
    }
}
