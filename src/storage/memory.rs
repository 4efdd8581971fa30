//! The page store of the build: page images in memory, each under its own lock.
//!
//! A page goes to the relation byte for byte as it stands here. The number of pages is bounded when the store is made; the build
//! looks at [`MemoryStore::is_full`] before each insert and goes on elsewhere.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::{Mutex, RwLock};

use super::page::{PAGE_SIZE, Page};
use super::prefetch::prefetch;
use super::store::{Edit, PageStore};
use super::{BlockNumber, corrupted};
use crate::error::{Error, Result};

/// Pages that one insert may add: a record on every level, an extension, and one to spare.
const HEADROOM: usize = 40;

/// Pages that are allocated together.
const SEGMENT: usize = 64;

type Segment = Box<[RwLock<Page>]>;

/// Page images in memory.
pub struct MemoryStore {
    segments: Box<[OnceLock<Segment>]>,
    len: AtomicU32,
    extending: Mutex<()>,
    /// Pages with free slots, for an index that is changed where it was built.
    free: Mutex<Vec<BlockNumber>>,
}

impl MemoryStore {
    /// A store of at most `bytes` bytes of pages (and a few pages at the least).
    pub fn new(bytes: usize) -> MemoryStore {
        let pages = (bytes / PAGE_SIZE).max(2 * HEADROOM).min(u32::MAX as usize);
        MemoryStore {
            segments: (0..pages.div_ceil(SEGMENT)).map(|_| OnceLock::new()).collect(),
            len: AtomicU32::new(0),
            extending: Mutex::new(()),
            free: Mutex::new(Vec::new()),
        }
    }

    /// Whether the next insert might not fit, with `waiting` others still to come.
    pub fn is_full(&self, waiting: usize) -> bool {
        self.len.load(Ordering::Acquire) as usize + HEADROOM + 2 * waiting > self.segments.len() * SEGMENT
    }

    #[inline]
    fn page(&self, block: BlockNumber) -> Result<&RwLock<Page>> {
        match self.find(block) {
            Some(page) => Ok(page),
            None => corrupted(block, "a reference points beyond the end of the index"),
        }
    }

    #[inline]
    fn find(&self, block: BlockNumber) -> Option<&RwLock<Page>> {
        let segment = self.segments.get(block as usize / SEGMENT)?.get()?;
        Some(&segment[block as usize % SEGMENT])
    }
}

fn done<T>(edit: Edit<T>) -> T {
    match edit {
        Edit::Changed(value) | Edit::Unchanged(value) => value,
    }
}

impl PageStore for MemoryStore {
    fn blocks(&self) -> Result<BlockNumber> {
        Ok(self.len.load(Ordering::Acquire))
    }

    #[inline]
    fn read<T>(&self, block: BlockNumber, f: impl FnOnce(&Page) -> Result<T>) -> Result<T> {
        f(&self.page(block)?.read())
    }

    fn write<T>(&self, block: BlockNumber, f: impl FnOnce(&mut Page) -> Result<Edit<T>>) -> Result<T> {
        f(&mut self.page(block)?.write()).map(done)
    }

    fn write_two<T>(
        &self,
        first: BlockNumber,
        second: BlockNumber,
        f: impl FnOnce(&mut Page, &mut Page) -> Result<Edit<T>>,
    ) -> Result<T> {
        assert_ne!(first, second, "two different pages");
        let mut low = self.page(first.min(second))?.write();
        let mut high = self.page(first.max(second))?.write();
        let edit = if first < second {
            f(&mut low, &mut high)
        } else {
            f(&mut high, &mut low)
        };
        edit.map(done)
    }

    fn extend(&self) -> Result<BlockNumber> {
        let _one_at_a_time = self.extending.lock();
        let block = self.len.load(Ordering::Acquire);
        let segment = self.segments.get(block as usize / SEGMENT).ok_or(Error::IndexFull)?;
        if segment.get().is_none() {
            let mut pages = Vec::new();
            pages.try_reserve_exact(SEGMENT).map_err(|_| Error::OutOfMemory)?;
            pages.resize_with(SEGMENT, || RwLock::new([0; PAGE_SIZE]));
            segment.get_or_init(|| pages.into_boxed_slice());
        }
        self.len.store(block + 1, Ordering::Release);
        Ok(block)
    }

    fn target(&self, full: Option<BlockNumber>) -> Result<Option<BlockNumber>> {
        let mut free = self.free.lock();
        if full.is_some() && free.last().copied() == full {
            free.pop();
        }
        let last = self.len.load(Ordering::Acquire).saturating_sub(1);
        Ok(free
            .last()
            .copied()
            .or((last > 0 && full != Some(last)).then_some(last)))
    }

    fn note_free(&self, block: BlockNumber) {
        self.free.lock().push(block);
    }

    fn check_interrupts(&self) {}

    #[inline]
    fn prefetch(&self, block: BlockNumber, offset: usize, len: usize) {
        if let Some(page) = self.find(block) {
            // The lock is left alone: only the address is needed.
            prefetch(page.data_ptr().cast_const().cast(), offset, len);
        }
    }
}
