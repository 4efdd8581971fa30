//! The page store on PostgreSQL's shared buffers.
//!
//! [`pins`] has the guards of pins and locks, [`input`] the requests of pages ahead of their reads,
//! [`wal`] the logging of changes, [`buffer_hints`] the buffers in which the backend last saw
//! blocks. This file has the store itself and the facts of a relation and a backend that it uses.

pub mod buffer_hints;
mod input;
mod pins;
#[cfg(any(test, feature = "pg_test"))]
mod tests;
mod wal;

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;

use pgrx::{check_for_interrupts, pg_sys};

use super::BlockNumber;
use super::page::{self, Page};
use super::prefetch::prefetch;
use super::store::{Edit, MOST_TOGETHER, PageStore};
use crate::compat::{self, autovacuum_work_mem};
use crate::error::{Error, Result};
use crate::reserve;
use input::{InputState, ReadAhead};
use pins::Pinned;

#[cfg(any(test, feature = "pg_test"))]
pub use input::evict;
pub use input::{blocks_read, io_concurrency};
pub use pins::{Pin, Ring};
pub use wal::{append, log_all, needs_wal, wal_bytes};

const MAIN: pg_sys::ForkNumber::Type = pg_sys::ForkNumber::MAIN_FORKNUM;
const INVALID_BLOCK: BlockNumber = pg_sys::InvalidBlockNumber;

/// The pages of an index relation that the caller has open and locked.
pub struct BufferStore {
    relation: pg_sys::Relation,
    /// Length of the relation at the last look, perhaps that of another store. The relation does
    /// not shrink while it is locked.
    blocks: Cell<BlockNumber>,
    /// Number of logged page changes.
    changes: Cell<u64>,
    mode: Mode,
    /// Ring of buffers for passes over all pages; null for all buffers.
    strategy: pg_sys::BufferAccessStrategy,
    /// Whether the relation is temporary: its pages are in local buffers, which have negative
    /// numbers.
    temporary: bool,
    /// Read-ahead of a scan's pass over all pages.
    ahead: Option<ReadAhead>,
    /// Requests of pages ahead of their reads.
    input: InputState,
}

/// Kind of an operation on an index, as it concerns pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A scan or an insert.
    Normal,
    /// VACUUM: cost-based delays apply.
    Vacuum,
}

impl BufferStore {
    /// The pages of an index.
    ///
    /// # Safety
    /// `relation` stays open and locked, with a lock that suits the mode, as long as the store
    /// lives.
    pub unsafe fn new(relation: pg_sys::Relation, mode: Mode) -> BufferStore {
        // SAFETY: an open relation has its pg_class row.
        let persistence = unsafe { (*(*relation).rd_rel).relpersistence } as u8;
        BufferStore {
            relation,
            // SAFETY: the relation is open and locked.
            blocks: Cell::new(unsafe { known_blocks(relation) }),
            changes: Cell::new(0),
            mode,
            strategy: ptr::null_mut(),
            temporary: persistence == pg_sys::RELPERSISTENCE_TEMP,
            ahead: None,
            input: InputState::default(),
        }
    }

    /// The same store with a ring of buffers for passes over all pages.
    ///
    /// # Safety
    /// `strategy` is null, or lives as long as the store.
    pub unsafe fn with_strategy(self, strategy: pg_sys::BufferAccessStrategy) -> BufferStore {
        BufferStore { strategy, ..self }
    }

    /// Whether a page's LSN tells if the page was changed. LSNs of an unlogged index do not. LSNs
    /// of a temporary index do not either, but no other backend changes it while this one scans it.
    pub fn has_lsns(&self) -> bool {
        // SAFETY: the relation is open.
        let persistence = unsafe { (*(*self.relation).rd_rel).relpersistence } as u8;
        persistence != pg_sys::RELPERSISTENCE_UNLOGGED
    }

    /// Number of logged page changes through this store; a page counts as often as it was changed.
    pub fn changes(&self) -> u64 {
        self.changes.get()
    }

    #[inline]
    fn exists(&self, block: BlockNumber) -> Result<bool> {
        Ok(block < self.blocks.get() || block < self.blocks()?)
    }

    /// The backend's last target block, kept where the heap keeps its own (PostgreSQL's `hio.c`).
    fn last_target(&self) -> BlockNumber {
        // SAFETY: the relation is open; its storage manager entry, where there is one, is this
        // backend's.
        unsafe { (*self.relation).rd_smgr.as_ref() }.map_or(INVALID_BLOCK, |smgr| smgr.smgr_targblock)
    }

    fn remember_target(&self, block: BlockNumber) -> BlockNumber {
        // SAFETY: as above; no reference to the entry is held.
        if let Some(smgr) = unsafe { (*self.relation).rd_smgr.as_mut() } {
            smgr.smgr_targblock = block;
        }
        block
    }
}

impl PageStore for BufferStore {
    type Pin<'a> = Pin<'a>;

    fn blocks(&self) -> Result<BlockNumber> {
        // SAFETY: the relation is open.
        self.blocks
            .set(unsafe { pg_sys::RelationGetNumberOfBlocksInFork(self.relation, MAIN) });
        Ok(self.blocks.get())
    }

    #[inline]
    fn known_blocks(&self) -> Result<BlockNumber> {
        match self.blocks.get() {
            0 => self.blocks(),
            known => Ok(known),
        }
    }

    #[inline]
    fn pin(&self, block: BlockNumber) -> Result<Pin<'_>> {
        let exists = self.exists(block)?;
        let pinned = || self.recall(block).or_else(|| self.look_up(block));
        Ok(Pin {
            block,
            exists,
            pinned: if exists { pinned() } else { None },
            store: PhantomData,
        })
    }

    #[inline]
    fn pin_requested(&self, block: BlockNumber) -> Result<Pin<'_>> {
        let exists = self.exists(block)?;
        Ok(Pin {
            block,
            exists,
            pinned: if exists { self.recall(block) } else { None },
            store: PhantomData,
        })
    }

    #[inline]
    fn input_depth(&self) -> usize {
        if self.input.is_warm() {
            0
        } else {
            self.depth_after_miss()
        }
    }

    fn request(&self, block: BlockNumber) -> Result<()> {
        if self.exists(block)? {
            self.request_page(block);
        }
        Ok(())
    }

    #[inline]
    fn hint(&self, pin: &Pin<'_>, offset: usize, len: usize) {
        if let Some(pinned) = &pin.pinned {
            prefetch(pinned.page().cast_const().cast(), offset, len);
        }
    }

    #[inline]
    fn prefetch(&self, block: BlockNumber, offset: usize, len: usize) {
        // SAFETY: the relation is open.
        unsafe { buffer_hints::prefetch_at(self.relation, block, offset, len) };
    }

    #[inline]
    fn read_pinned<T>(&self, pin: Pin<'_>, f: impl FnOnce(&Page) -> Result<T>) -> Result<T> {
        if !pin.exists {
            return f(&page::NEW);
        }
        let pinned = pin.pinned.unwrap_or_else(|| self.read_in(pin.block));
        let buffer = pinned.lock(pg_sys::BUFFER_LOCK_SHARE);
        // SAFETY: the buffer is pinned and locked; nobody changes the page.
        f(unsafe { &*buffer.page() })
    }

    #[inline]
    fn read<T>(&self, block: BlockNumber, f: impl FnOnce(&Page) -> Result<T>) -> Result<T> {
        if !self.exists(block)? {
            return f(&page::NEW);
        }
        let buffer = self.fetch(block).lock(pg_sys::BUFFER_LOCK_SHARE);
        // SAFETY: the buffer is pinned and locked; nobody changes the page.
        f(unsafe { &*buffer.page() })
    }

    fn read_in_passing<T>(&self, block: BlockNumber, f: impl FnOnce(&Page) -> Result<T>) -> Result<T> {
        if !self.exists(block)? {
            return f(&page::NEW);
        }
        self.read_ahead(block)?;
        let buffer = Pinned::read(self.relation, block, self.strategy).lock(pg_sys::BUFFER_LOCK_SHARE);
        // SAFETY: the buffer is pinned and locked; nobody changes the page.
        f(unsafe { &*buffer.page() })
    }

    fn in_passing<T>(&self, f: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let ring = Ring::new();
        let ahead = ReadAhead {
            known_reads: Cell::new(blocks_read()),
        };
        f(&BufferStore {
            blocks: self.blocks.clone(),
            changes: Cell::new(0),
            strategy: ring.strategy(),
            ahead: Some(ahead),
            input: self.input.clone(),
            ..*self
        })
    }

    fn write<T>(&self, block: BlockNumber, f: impl FnOnce(&mut Page) -> Result<Edit<T>>) -> Result<T> {
        let buffer = self.fetch_to_change(block)?.lock(pg_sys::BUFFER_LOCK_EXCLUSIVE);
        self.change(&[&buffer], |pages| f(&mut pages[0]))
    }

    fn write_two<T>(
        &self,
        first: BlockNumber,
        second: BlockNumber,
        f: impl FnOnce(&mut Page, &mut Page) -> Result<Edit<T>>,
    ) -> Result<T> {
        assert_ne!(first, second, "two different pages");
        // Both are read in before the first lock is taken, so that no lock is held during input.
        let low = self.fetch_to_change(first.min(second))?;
        let high = self.fetch_to_change(first.max(second))?;
        let low = low.lock(pg_sys::BUFFER_LOCK_EXCLUSIVE);
        let high = high.lock(pg_sys::BUFFER_LOCK_EXCLUSIVE);
        let buffers = if first < second { [&low, &high] } else { [&high, &low] };
        self.change(&buffers, |pages| match pages {
            [a, b] => f(a, b),
            _ => unreachable!("two pages"),
        })
    }

    fn write_each(&self, blocks: &[BlockNumber], f: impl FnMut(usize, &mut Page) -> Result<Edit<()>>) -> Result<()> {
        assert!(blocks.len() <= MOST_TOGETHER, "more than {MOST_TOGETHER} pages");
        assert!(blocks.is_sorted_by(|a, b| a < b), "different pages, in order");
        // As in `write_two`.
        let pins: Vec<Pinned> = blocks
            .iter()
            .map(|&block| self.fetch_to_change(block))
            .collect::<Result<_>>()?;
        let lock = |pin: Pinned| pin.lock(pg_sys::BUFFER_LOCK_EXCLUSIVE);
        let buffers: Vec<Pinned> = pins.into_iter().map(lock).collect();
        let buffers: Vec<&Pinned> = buffers.iter().collect();
        let mut f = f;
        self.change(&buffers, |pages| {
            let mut is_changed = false;
            for (i, page) in pages.iter_mut().enumerate() {
                is_changed |= f(i, page)?.parts().1;
            }
            Ok(if is_changed {
                Edit::Changed(())
            } else {
                Edit::Unchanged(())
            })
        })
    }

    fn extend(&self) -> Result<BlockNumber> {
        let lock = pg_sys::ExclusiveLock as i32;
        // SAFETY: the relation is open. An error in between is followed by an abort, which releases
        // the extension lock.
        let block = unsafe {
            pg_sys::LockRelationForExtension(self.relation, lock);
            let new = Pinned::read(self.relation, INVALID_BLOCK, ptr::null_mut()); // P_NEW
            let block = pg_sys::BufferGetBlockNumber(new.buffer);
            pg_sys::UnlockRelationForExtension(self.relation, lock);
            block
        };
        self.blocks.set(self.blocks.get().max(block + 1));
        Ok(self.remember_target(block))
    }

    fn target(&self, full: Option<BlockNumber>) -> Result<Option<BlockNumber>> {
        if full.is_none() {
            let last = self.last_target();
            let block = match last != INVALID_BLOCK && self.exists(last)? {
                true => last,
                false => self.blocks()?.saturating_sub(1),
            };
            return Ok((block > 0).then_some(block));
        }
        // SAFETY: the relation is open. The call removes the page from the map, so repeated calls
        // end.
        let block = unsafe { pg_sys::GetFreeIndexPage(self.relation) };
        Ok((block > 0 && block != INVALID_BLOCK && self.exists(block)?).then(|| self.remember_target(block)))
    }

    fn note_free(&self, block: BlockNumber) {
        // SAFETY: the relation is open.
        unsafe { pg_sys::RecordFreeIndexPage(self.relation, block) };
    }

    fn check_interrupts(&self) {
        if reserve::has_run_out() {
            Error::OutOfMemory.raise();
        }
        if self.mode == Mode::Vacuum {
            // SAFETY: VACUUM calls us; no buffer is locked between two steps.
            unsafe {
                compat::vacuum_delay_point();
            }
        } else {
            check_for_interrupts!();
        }
    }
}

/// The length of a relation that this backend saw last, 0 if it knows none. Others may have made it
/// longer since. Where they made it shorter, PostgreSQL told this backend before it got its lock.
///
/// # Safety
/// `relation` is open and locked.
unsafe fn known_blocks(relation: pg_sys::Relation) -> BlockNumber {
    // SAFETY: as the caller promises; the storage manager entry, where there is one, is this
    // backend's.
    let known = unsafe { (*relation).rd_smgr.as_ref() }.map(|smgr| smgr.smgr_cached_nblocks[MAIN as usize]);
    known.filter(|&blocks| blocks != INVALID_BLOCK).unwrap_or(0)
}

/// The number of a relation's file (PostgreSQL's `relfilenode`).
///
/// # Safety
/// `relation` is open.
#[inline]
pub unsafe fn file_of(relation: pg_sys::Relation) -> u32 {
    // SAFETY: as the caller promises.
    unsafe { compat::file_number(&compat::file_locator(relation)) }
}

/// Approximate number of an index's blocks in shared buffers, because they are counted while others
/// use them. `None` for a temporary index, which is not in shared buffers.
///
/// # Safety
/// `index` is open.
pub unsafe fn buffered_blocks(index: pg_sys::Relation) -> Option<BlockNumber> {
    // SAFETY: as the caller promises; the headers are in shared memory as long as the server runs,
    // and a torn read of one only makes the count wrong.
    unsafe {
        if (*(*index).rd_rel).relpersistence as u8 == pg_sys::RELPERSISTENCE_TEMP {
            return None;
        }
        let mut blocks = 0;
        for i in 0..pg_sys::NBuffers.max(0) as usize {
            if i % (1 << 16) == 0 {
                pgrx::check_for_interrupts!();
            }
            let tag = std::ptr::read_volatile(&raw const (*pg_sys::BufferDescriptors.add(i)).bufferdesc.tag);
            let is_of_index = compat::is_of_file(&tag, &compat::file_locator(index));
            blocks += BlockNumber::from(is_of_index && tag.forkNum == MAIN);
        }
        Some(blocks)
    }
}

/// Bytes of memory that a build or VACUUM may use (`maintenance_work_mem`, `autovacuum_work_mem`).
pub fn maintenance_memory() -> usize {
    // SAFETY: settings; the process's kind is fixed when it starts.
    let kilobytes = unsafe {
        let is_autovacuum = pg_sys::MyBackendType == pg_sys::BackendType::B_AUTOVAC_WORKER;
        if is_autovacuum && autovacuum_work_mem != -1 {
            autovacuum_work_mem
        } else {
            pg_sys::maintenance_work_mem
        }
    };
    kilobytes as usize * 1024
}
