//! Input: pages that are requested from the operating system ahead of their reads.
//!
//! All requests are PostgreSQL's `PrefetchBuffer`. `effective_io_concurrency` of the tablespace,
//! for VACUUM `maintenance_io_concurrency`, bounds their number, and 0 turns them off. A pin
//! requests its page if that is in no buffer. Further requests begin with a miss, and end when no
//! other miss has come for some reads.

use std::cell::Cell;

use pgrx::pg_sys;

use super::pins::Pinned;
use super::{BufferStore, MAIN, Mode, buffer_hints};
use crate::error::Result;
use crate::storage::{BlockNumber, INPUT_AHEAD};

/// Reads after a miss before which pages are requested ahead.
const READS_AFTER_MISS: u32 = 16;

/// Pages that a pass requests at a time.
const WINDOW: BlockNumber = 32;

/// State of the requests of a store.
#[derive(Debug, Clone, Default)]
pub(super) struct InputState {
    /// Reads that are left of those after the last miss; 0 while pages are in buffers.
    reads_left: Cell<u32>,
    /// Pages that may be under way at a time, once it is known.
    concurrency: Cell<Option<usize>>,
}

impl InputState {
    /// Whether the pages read last were in buffers.
    #[inline]
    pub(super) fn is_warm(&self) -> bool {
        self.reads_left.get() == 0
    }

    fn note_miss(&self) {
        self.reads_left.set(READS_AFTER_MISS);
    }
}

/// State of a pass's read-ahead: the next pages are requested if the last ones were not in a
/// buffer.
pub(super) struct ReadAhead {
    /// Blocks that the backend had read in at the start of the last window.
    pub(super) known_reads: Cell<i64>,
}

impl BufferStore {
    /// Pages that may be under way at a time; 0 if none is to be requested.
    fn concurrency(&self) -> usize {
        if let Some(known) = self.input.concurrency.get() {
            return known;
        }
        // SAFETY: the relation is open, and no lock is held.
        let allowed = unsafe { io_concurrency(self.relation, self.mode) };
        self.input.concurrency.set(Some(allowed));
        allowed
    }

    /// Number of pages to request ahead of the next read, which is one of those after a miss.
    #[cold]
    #[inline(never)]
    pub(super) fn depth_after_miss(&self) -> usize {
        self.input.reads_left.set(self.input.reads_left.get().saturating_sub(1));
        self.concurrency().min(INPUT_AHEAD)
    }

    /// Requests a page of the relation if it is in no buffer. Returns its buffer, which is
    /// remembered, or 0 (`InvalidBuffer`).
    #[inline(never)]
    pub(super) fn request_page(&self, block: BlockNumber) -> pg_sys::Buffer {
        if self.concurrency() == 0 {
            return 0;
        }
        // SAFETY: the relation is open, and the block is one of its.
        unsafe {
            let buffer = pg_sys::PrefetchBuffer(self.relation, MAIN, block).recent_buffer;
            match buffer {
                0 => self.input.note_miss(),
                _ => buffer_hints::set(self.relation, block, buffer),
            }
            buffer
        }
    }

    /// Pins a block through PostgreSQL's table, which reads it in if necessary.
    pub(super) fn read_noting_misses(&self, block: BlockNumber) -> Pinned {
        let before = blocks_read();
        let pinned = Pinned::read(self.relation, block, std::ptr::null_mut());
        if blocks_read() != before {
            self.input.note_miss();
        }
        pinned
    }

    /// Requests the next window of a pass if pages of the current one were not in a buffer.
    pub(super) fn read_ahead(&self, block: BlockNumber) -> Result<()> {
        let Some(ahead) = self.ahead.as_ref().filter(|_| block.is_multiple_of(WINDOW)) else {
            return Ok(());
        };
        let reads = blocks_read();
        if ahead.known_reads.replace(reads) == reads || self.concurrency() == 0 {
            return Ok(());
        }
        let window = block.saturating_add(WINDOW)..block.saturating_add(2 * WINDOW);
        for next in window.start..window.end.min(self.blocks.get()) {
            // SAFETY: the relation is open, and the block is one of its.
            unsafe { pg_sys::PrefetchBuffer(self.relation, MAIN, next) };
        }
        Ok(())
    }
}

/// Pages of a relation that an operation may have under way at a time, as its tablespace's
/// `effective_io_concurrency` says, or for VACUUM `maintenance_io_concurrency`.
///
/// # Safety
/// `relation` is open; no buffer is locked, because the tablespace may have to be looked up.
pub unsafe fn io_concurrency(relation: pg_sys::Relation, mode: Mode) -> usize {
    // SAFETY: as the caller promises.
    let allowed = unsafe {
        let tablespace = (*(*relation).rd_rel).reltablespace;
        match mode {
            Mode::Normal => pg_sys::get_tablespace_io_concurrency(tablespace),
            Mode::Vacuum => pg_sys::get_tablespace_maintenance_io_concurrency(tablespace),
        }
    };
    usize::try_from(allowed).unwrap_or(0)
}

/// Blocks that this backend has read in since it started.
pub fn blocks_read() -> i64 {
    // SAFETY: counters of this backend.
    unsafe { pg_sys::pgBufferUsage.shared_blks_read + pg_sys::pgBufferUsage.local_blks_read }
}

/// Takes the pages of a relation's main fork out of shared buffers, for tests.
///
/// # Safety
/// `relation` is open, and this backend alone uses it.
#[cfg(any(test, feature = "pg_test"))]
pub unsafe fn evict(relation: pg_sys::Relation) {
    #[cfg(feature = "pg15")]
    use pg_sys::DropRelFileNodeBuffers as drop_buffers;
    #[cfg(not(feature = "pg15"))]
    use pg_sys::DropRelationBuffers as drop_buffers;

    // SAFETY: as the caller promises; pages are written before they are dropped.
    unsafe {
        pg_sys::FlushRelationBuffers(relation);
        // Opens the file.
        pg_sys::RelationGetNumberOfBlocksInFork(relation, MAIN);
        let (mut fork, mut first) = (MAIN, 0);
        drop_buffers((*relation).rd_smgr, &raw mut fork, 1, &raw mut first);
    }
}
