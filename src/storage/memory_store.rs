//! The page store of the build: page images in memory, each under its own lock.
//!
//! A page is later written to the relation byte for byte. The number of pages is bounded when the
//! store is made: the build checks [`MemoryStore::is_full`] before each insert, and continues in
//! the relation once it is true.

use std::mem::MaybeUninit;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::{Mutex, RwLock};

use super::page::{self, PAGE_SIZE, Page};
use super::prefetch::prefetch;
use super::store::{Edit, PageStore};
use super::{BlockNumber, corrupted};
use crate::error::{Error, Result};
use crate::fallible::{self, Room};

/// The most pages that one insert may add: a record on every level, a few overflow records, an
/// extension.
const HEADROOM: usize = 48;

/// Pages that are allocated together: enough for huge pages of the processor, so that random reads
/// rarely miss the TLB.
const SEGMENT: usize = 1024;

type Segment = Box<[RwLock<Page>]>;

/// The page that blocks beyond the end read as.
static NEW: RwLock<Page> = RwLock::new(page::NEW);

/// Page images in memory.
pub struct MemoryStore {
    segments: Box<[OnceLock<Segment>]>,
    /// The most pages.
    capacity: usize,
    len: AtomicU32,
    extending: Mutex<()>,
    /// Pages with free slots, for an index that is changed in memory.
    free: Mutex<Vec<BlockNumber>>,
    interrupts: Option<Interrupts>,
}

/// The check for interrupts and the only thread that runs it: the other threads of a build do not.
#[derive(Clone, Copy)]
struct Interrupts {
    thread: usize,
    check: fn(),
}

/// Identifies the calling thread by an address that no other running thread has; costs one load.
#[inline]
fn this_thread() -> usize {
    thread_local! {
        static HERE: u8 = const { 0 };
    }
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

impl MemoryStore {
    /// A store of at most `bytes` bytes of pages (and a few pages at the least).
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new(bytes: usize) -> Result<MemoryStore> {
        let capacity = (bytes / PAGE_SIZE).max(2 * HEADROOM).min(u32::MAX as usize);
        let segments = fallible::collect((0..capacity.div_ceil(SEGMENT)).map(|_| OnceLock::new()))?;
        Ok(MemoryStore {
            segments: segments.into_boxed_slice(),
            capacity,
            len: AtomicU32::new(0),
            extending: Mutex::new(()),
            free: Mutex::new(Vec::new()),
            interrupts: None,
        })
    }

    /// The same store with a check for interrupts, which runs only on the thread that calls this.
    pub fn with_interrupts(self, check: fn()) -> MemoryStore {
        let thread = this_thread();
        MemoryStore {
            interrupts: Some(Interrupts { thread, check }),
            ..self
        }
    }

    /// The number of pages.
    pub fn pages(&self) -> BlockNumber {
        self.len.load(Ordering::Acquire)
    }

    /// Whether the next insert might not fit, if inserts under way add `waiting` pages.
    pub fn is_full(&self, waiting: usize) -> bool {
        self.pages() as usize + HEADROOM + waiting > self.capacity
    }

    /// Cuts pages off from the end.
    #[cfg(test)]
    pub fn truncate(&self, blocks: BlockNumber) {
        for block in blocks..self.len.swap(blocks, Ordering::AcqRel) {
            *self.page(block).write() = page::NEW;
        }
        self.free.lock().retain(|&block| block < blocks);
    }

    #[inline]
    fn page(&self, block: BlockNumber) -> &RwLock<Page> {
        self.find(block).unwrap_or(&NEW)
    }

    fn page_to_change(&self, block: BlockNumber) -> Result<&RwLock<Page>> {
        match self.find(block) {
            Some(page) => Ok(page),
            None => corrupted(block, "a reference points beyond the end of the index"),
        }
    }

    #[inline]
    fn find(&self, block: BlockNumber) -> Option<&RwLock<Page>> {
        let segment = self.segments.get(block as usize / SEGMENT)?.get()?;
        segment.get(block as usize % SEGMENT)
    }
}

/// Advises the system to back memory with huge pages; a failure does not matter.
fn huge_pages<T>(memory: &mut [MaybeUninit<T>]) {
    #[cfg(target_os = "linux")]
    {
        const SMALL_PAGE: usize = 4096;
        let start = memory.as_mut_ptr().addr().next_multiple_of(SMALL_PAGE);
        let end = memory.as_mut_ptr_range().end.addr() / SMALL_PAGE * SMALL_PAGE;
        if start < end {
            // SAFETY: the range is part of `memory`, and the advice has no visible effect.
            unsafe {
                libc::madvise(
                    std::ptr::without_provenance_mut(start),
                    end - start,
                    libc::MADV_HUGEPAGE,
                )
            };
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = memory;
}

fn done<T>(edit: Edit<T>) -> T {
    match edit {
        Edit::Changed(value) | Edit::Unchanged(value) => value,
    }
}

impl PageStore for MemoryStore {
    fn blocks(&self) -> Result<BlockNumber> {
        Ok(self.pages())
    }

    type Pin<'a> = &'a RwLock<Page>;

    #[inline]
    fn pin(&self, block: BlockNumber) -> Result<&RwLock<Page>> {
        Ok(self.page(block))
    }

    #[inline]
    fn hint(&self, pin: &&RwLock<Page>, offset: usize, len: usize) {
        // The lock is not taken: only the address is needed.
        prefetch(pin.data_ptr().cast_const().cast(), offset, len);
    }

    #[inline]
    fn read_pinned<T>(&self, pin: &RwLock<Page>, f: impl FnOnce(&Page) -> Result<T>) -> Result<T> {
        f(&pin.read())
    }

    #[inline]
    fn read<T>(&self, block: BlockNumber, f: impl FnOnce(&Page) -> Result<T>) -> Result<T> {
        f(&self.page(block).read())
    }

    fn write<T>(&self, block: BlockNumber, f: impl FnOnce(&mut Page) -> Result<Edit<T>>) -> Result<T> {
        f(&mut self.page_to_change(block)?.write()).map(done)
    }

    fn write_two<T>(
        &self,
        first: BlockNumber,
        second: BlockNumber,
        f: impl FnOnce(&mut Page, &mut Page) -> Result<Edit<T>>,
    ) -> Result<T> {
        assert_ne!(first, second, "two different pages");
        let mut low = self.page_to_change(first.min(second))?.write();
        let mut high = self.page_to_change(first.max(second))?.write();
        let edit = if first < second {
            f(&mut low, &mut high)
        } else {
            f(&mut high, &mut low)
        };
        edit.map(done)
    }

    fn extend(&self) -> Result<BlockNumber> {
        let _one_at_a_time = self.extending.lock();
        let block = self.pages();
        if block as usize >= self.capacity {
            return Err(Error::IndexFull);
        }
        let segment = &self.segments[block as usize / SEGMENT];
        if segment.get().is_none() {
            let mut pages = Vec::new();
            let len = SEGMENT.min(self.capacity - block as usize);
            pages.room(len)?;
            huge_pages(pages.spare_capacity_mut());
            pages.resize_with(len, || RwLock::new([0; PAGE_SIZE]));
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
        let last = self.pages().saturating_sub(1);
        Ok(free
            .last()
            .copied()
            .or((last > 0 && full != Some(last)).then_some(last)))
    }

    fn note_free(&self, block: BlockNumber) {
        self.free.lock().push(block);
    }

    #[inline]
    fn check_interrupts(&self) {
        if let Some(Interrupts { thread, check }) = self.interrupts
            && thread == this_thread()
        {
            check();
        }
    }

    #[inline]
    fn prefetch(&self, block: BlockNumber, offset: usize, len: usize) {
        if let Some(page) = self.find(block) {
            self.hint(&page, offset, len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_no_lock_and_reads_what_is_there_when_it_is_read() {
        let store = MemoryStore::new(0).unwrap();
        let block = store.extend().unwrap();
        let pin = store.pin(block).unwrap();
        store
            .write(block, |page| {
                page[100] = 7;
                Ok(Edit::Changed(()))
            })
            .unwrap();
        // Any hint is allowed, also one beyond the page.
        store.hint(&pin, PAGE_SIZE - 1, 2);
        assert_eq!(store.read_pinned(pin, |page| Ok(page[100])).unwrap(), 7);
    }

    #[test]
    fn only_the_thread_that_made_it_looks_for_interrupts() {
        static CHECKS: AtomicU32 = AtomicU32::new(0);
        let count = || CHECKS.load(Ordering::Relaxed);
        let check = || _ = CHECKS.fetch_add(1, Ordering::Relaxed);
        MemoryStore::new(0).unwrap().check_interrupts();
        let store = MemoryStore::new(0).unwrap().with_interrupts(check);
        store.check_interrupts();
        assert_eq!(count(), 1);
        std::thread::scope(|scope| {
            scope.spawn(|| store.check_interrupts());
        });
        assert_eq!(count(), 1);
        store.check_interrupts();
        assert_eq!(count(), 2);
    }

    #[test]
    fn a_block_beyond_the_end_is_new_and_cannot_be_changed() {
        let store = MemoryStore::new(0).unwrap();
        for block in [0, SEGMENT as BlockNumber, BlockNumber::MAX] {
            assert!(store.read(block, |page| Ok(page::is_new(page))).unwrap());
            let pin = store.pin(block).unwrap();
            assert!(store.read_pinned(pin, |page| Ok(page::is_new(page))).unwrap());
            let change = store.write(block, |_| Ok(Edit::Changed(())));
            assert!(matches!(change, Err(Error::Corrupted { .. })));
        }
        store.extend().unwrap();
        assert!(store.write(0, |_| Ok(Edit::Changed(()))).is_ok());
    }
}
