//! The page store of the build: page images in memory, under locks.
//!
//! A page is later written to the relation byte for byte. The store begins with memory of the
//! process. Beyond that it has the memory that [`MemoryStore::add`] gives it, such as a mapped
//! file: the build looks at [`MemoryStore::has_room`] before each insert.

use std::ptr::{NonNull, null_mut};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use parking_lot::{Mutex, RwLock};

use super::mapping::Mapping;
use super::page::{self, PAGE_SIZE, Page};
use super::prefetch::prefetch;
use super::store::{Edit, PageStore};
use super::{BlockNumber, corrupted};
use crate::error::{Error, Result};
use crate::fallible::{self, TryPush};

/// The most pages that one insert may add: a record on every level, a few overflow records, an
/// extension, and pages of up to 32 value lists, since few rows have so high a level.
const HEADROOM: usize = 48;

/// Pages of a segment, the unit in which a store has memory.
const SEGMENT: usize = 128;

/// Bytes of a segment.
pub const SEGMENT_BYTES: usize = SEGMENT * PAGE_SIZE;

/// Segments that are allocated together: enough for huge pages of the processor.
const ALLOCATED: usize = 8;

/// Segments of a leaf of the directory.
const LEAF: usize = 1 << 13;

/// Leaves of the directory: enough for all blocks.
const LEAVES: usize = 1 << 12;

/// The most pages: whole segments of blocks that a number can name.
const MOST: usize = BlockNumber::MAX as usize / SEGMENT * SEGMENT;

/// Locks of pages. Pages whose numbers differ by a multiple share one, so that locks take the same
/// little memory however many pages there are; two threads rarely want two of these at a time.
const LOCKS: usize = 1 << 14;

/// First pages of segments; null for a segment that does not exist.
type Leaf = Box<[AtomicPtr<Page>]>;

/// Page images in memory.
pub struct MemoryStore {
    leaves: Box<[OnceLock<Leaf>]>,
    locks: Box<[RwLock<()>]>,
    /// The most pages in memory of the process, which is allocated when it is needed.
    own: usize,
    /// The most pages, a multiple of [`SEGMENT`].
    capacity: AtomicU32,
    len: AtomicU32,
    extending: Mutex<()>,
    /// Pages with free slots, for an index that is changed in memory.
    free: Mutex<Vec<BlockNumber>>,
    /// The memory of all segments.
    mappings: Mutex<Vec<Mapping>>,
    interrupts: Option<Interrupts>,
}

/// A page and its lock.
#[derive(Clone, Copy)]
pub struct Place<'s> {
    page: NonNull<Page>,
    lock: &'s RwLock<()>,
}

impl Place<'_> {
    #[inline]
    fn read<T>(&self, f: impl FnOnce(&Page) -> T) -> T {
        let _held = Held::new();
        let _shared = self.lock.read();
        // SAFETY: the page lives as long as the store, and changes under the exclusive lock only.
        f(unsafe { self.page.as_ref() })
    }
}

/// Holds the rule, where assertions are on, that a closure which sees a locked page does not call
/// the store: a thread would wait for itself where two pages share a lock.
struct Held;

#[cfg(debug_assertions)]
thread_local! {
    static HELD: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

impl Held {
    #[inline]
    fn new() -> Held {
        #[cfg(debug_assertions)]
        assert!(!HELD.replace(true), "a closure called the store");
        Held
    }
}

impl Drop for Held {
    #[inline]
    fn drop(&mut self) {
        #[cfg(debug_assertions)]
        HELD.set(false);
    }
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
    /// A store with room for as many segments as `bytes` bytes have, perhaps none.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new(bytes: usize) -> Result<MemoryStore> {
        let own = (bytes / PAGE_SIZE).min(MOST) / SEGMENT * SEGMENT;
        Ok(MemoryStore {
            leaves: fallible::collect((0..LEAVES).map(|_| OnceLock::new()))?.into_boxed_slice(),
            locks: fallible::collect((0..LOCKS).map(|_| RwLock::new(())))?.into_boxed_slice(),
            own,
            capacity: AtomicU32::new(own as u32),
            len: AtomicU32::new(0),
            extending: Mutex::new(()),
            free: Mutex::new(Vec::new()),
            mappings: Mutex::new(Vec::new()),
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

    /// The number of pages that there is memory for.
    pub fn capacity(&self) -> BlockNumber {
        self.capacity.load(Ordering::Acquire)
    }

    /// Whether one more insert fits, if inserts under way add `waiting` pages.
    #[inline]
    pub fn has_room(&self, waiting: usize) -> bool {
        self.pages() as usize + HEADROOM + waiting <= self.capacity() as usize
    }

    /// Advises the system that the pages are going to be read in order, and no more at random.
    pub fn read_in_order(&self) {
        self.mappings.lock().iter().for_each(Mapping::read_in_order);
    }

    /// Adds memory for further pages: whole segments, all zero, that nobody else uses.
    ///
    /// Locks: no page is added meanwhile.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`]; [`Error::IndexFull`] beyond the last block that a number can name.
    pub fn add(&self, memory: Mapping) -> Result<()> {
        let _one_at_a_time = self.extending.lock();
        let (end, more) = (self.capacity(), memory.bytes() / PAGE_SIZE);
        assert!(more.is_multiple_of(SEGMENT), "whole segments");
        if end as usize + more > MOST {
            return Err(Error::IndexFull);
        }
        self.install(end, memory)?;
        self.capacity.store(end + more as u32, Ordering::Release);
        Ok(())
    }

    /// Makes memory the pages from block `start` on, the first of a segment.
    fn install(&self, start: BlockNumber, memory: Mapping) -> Result<()> {
        let (first, segments) = (start as usize / SEGMENT, memory.bytes() / SEGMENT_BYTES);
        let pages = memory.start().cast::<Page>();
        self.mappings.lock().try_push(memory)?;
        for i in 0..segments {
            let leaf = &self.leaves[(first + i) / LEAF];
            if leaf.get().is_none() {
                let empty = fallible::collect((0..LEAF).map(|_| AtomicPtr::new(null_mut())))?;
                leaf.get_or_init(|| empty.into_boxed_slice());
            }
            if let Some(leaf) = leaf.get() {
                // SAFETY: the segment is in the mapping.
                let segment = unsafe { pages.add(i * SEGMENT) };
                leaf[(first + i) % LEAF].store(segment.as_ptr(), Ordering::Release);
            }
        }
        Ok(())
    }

    /// Cuts pages off from the end.
    #[cfg(test)]
    pub fn truncate(&self, blocks: BlockNumber) {
        for block in blocks..self.len.swap(blocks, Ordering::AcqRel) {
            self.change(block, |page| *page = page::NEW).unwrap();
        }
        self.free.lock().retain(|&block| block < blocks);
    }

    #[inline]
    fn lock(&self, block: BlockNumber) -> &RwLock<()> {
        &self.locks[block as usize % LOCKS]
    }

    #[inline]
    fn place(&self, block: BlockNumber) -> Place<'_> {
        Place {
            // A block beyond the end, which cannot be changed.
            page: self.find(block).unwrap_or(NonNull::from_ref(&page::NEW)),
            lock: self.lock(block),
        }
    }

    /// Locks: the page, exclusive, while `f` runs; on return: none.
    fn change<T>(&self, block: BlockNumber, f: impl FnOnce(&mut Page) -> T) -> Result<T> {
        let mut page = self.find_to_change(block)?;
        let _held = Held::new();
        let _exclusive = self.lock(block).write();
        // SAFETY: the page lives as long as the store, and the lock is exclusive.
        Ok(f(unsafe { page.as_mut() }))
    }

    fn find_to_change(&self, block: BlockNumber) -> Result<NonNull<Page>> {
        match self.find(block) {
            Some(page) => Ok(page),
            None => corrupted(block, "a reference points beyond the end of the index"),
        }
    }

    /// A page of a segment that exists.
    #[inline]
    fn find(&self, block: BlockNumber) -> Option<NonNull<Page>> {
        let segment = block as usize / SEGMENT;
        let leaf = self.leaves[segment / LEAF].get()?;
        let pages = NonNull::new(leaf[segment % LEAF].load(Ordering::Acquire))?;
        // SAFETY: a segment has so many pages.
        Some(unsafe { pages.add(block as usize % SEGMENT) })
    }
}

fn done<T>(edit: Edit<T>) -> T {
    edit.parts().0
}

impl PageStore for MemoryStore {
    fn blocks(&self) -> Result<BlockNumber> {
        Ok(self.pages())
    }

    type Pin<'a> = Place<'a>;

    #[inline]
    fn pin(&self, block: BlockNumber) -> Result<Place<'_>> {
        Ok(self.place(block))
    }

    #[inline]
    fn hint(&self, pin: &Place<'_>, offset: usize, len: usize) {
        // The lock is not taken: only the address is needed.
        prefetch(pin.page.as_ptr().cast_const().cast(), offset, len);
    }

    #[inline]
    fn read_pinned<T>(&self, pin: Place<'_>, f: impl FnOnce(&Page) -> Result<T>) -> Result<T> {
        pin.read(f)
    }

    #[inline]
    fn read<T>(&self, block: BlockNumber, f: impl FnOnce(&Page) -> Result<T>) -> Result<T> {
        self.place(block).read(f)
    }

    fn write<T>(&self, block: BlockNumber, f: impl FnOnce(&mut Page) -> Result<Edit<T>>) -> Result<T> {
        self.change(block, f)?.map(done)
    }

    fn write_two<T>(
        &self,
        first: BlockNumber,
        second: BlockNumber,
        f: impl FnOnce(&mut Page, &mut Page) -> Result<Edit<T>>,
    ) -> Result<T> {
        assert_ne!(first, second, "two different pages");
        let (mut a, mut b) = (self.find_to_change(first)?, self.find_to_change(second)?);
        // In the order of the locks, and one lock once.
        let (one, other) = (first as usize % LOCKS, second as usize % LOCKS);
        let _held = Held::new();
        let _low = self.locks[one.min(other)].write();
        let _high = (one != other).then(|| self.locks[one.max(other)].write());
        // SAFETY: the pages are different ones and live as long as the store; both are locked
        // exclusively.
        f(unsafe { a.as_mut() }, unsafe { b.as_mut() }).map(done)
    }

    fn extend(&self) -> Result<BlockNumber> {
        let _one_at_a_time = self.extending.lock();
        let block = self.pages();
        if block >= self.capacity() {
            return Err(Error::IndexFull);
        }
        if self.find(block).is_none() {
            // All memory that was added is there, so the block is one of the store's own.
            let pages = (ALLOCATED * SEGMENT).min(self.own - block as usize);
            self.install(block, Mapping::anonymous(pages * PAGE_SIZE)?)?;
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
            prefetch(page.as_ptr().cast_const().cast(), offset, len);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::mapping::tests::of_unlinked_file;

    #[test]
    fn a_pin_is_no_lock_and_reads_what_is_there_when_it_is_read() {
        let store = MemoryStore::new(SEGMENT_BYTES).unwrap();
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
        MemoryStore::new(SEGMENT_BYTES).unwrap().check_interrupts();
        let store = MemoryStore::new(SEGMENT_BYTES).unwrap().with_interrupts(check);
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
        let store = MemoryStore::new(SEGMENT_BYTES).unwrap();
        for block in [
            0,
            SEGMENT as BlockNumber,
            (SEGMENT * LEAF) as BlockNumber,
            BlockNumber::MAX,
        ] {
            assert!(store.read(block, |page| Ok(page::is_new(page))).unwrap());
            let pin = store.pin(block).unwrap();
            assert!(store.read_pinned(pin, |page| Ok(page::is_new(page))).unwrap());
            let change = store.write(block, |_| Ok(Edit::Changed(())));
            assert!(matches!(change, Err(Error::Corrupted { .. })));
        }
        store.extend().unwrap();
        assert!(store.write(0, |_| Ok(Edit::Changed(()))).is_ok());
    }

    fn set(store: &MemoryStore, block: BlockNumber, value: u8) {
        let set = |page: &mut Page| {
            assert!(page::is_new(page) && page[100] == 0);
            page[100] = value;
            Ok(Edit::Changed(()))
        };
        store.write(block, set).unwrap();
    }

    #[test]
    fn added_memory_goes_on_where_the_own_ends() {
        for own in [0, 1, ALLOCATED + 1] {
            let store = MemoryStore::new(own * SEGMENT_BYTES + PAGE_SIZE).unwrap();
            assert_eq!(store.capacity() as usize, own * SEGMENT);
            let mut pages = 0;
            for segments in [0, 1, 3] {
                if segments > 0 {
                    store.add(of_unlinked_file(segments * SEGMENT_BYTES)).unwrap();
                }
                while let Ok(block) = store.extend() {
                    set(&store, block, block as u8);
                    pages += 1;
                }
                assert_eq!(store.extend(), Err(Error::IndexFull));
                assert_eq!(store.capacity(), pages);
            }
            assert_eq!(pages as usize, (own + 4) * SEGMENT);
            for block in 0..pages {
                let pin = store.pin(block).unwrap();
                assert_eq!(store.read_pinned(pin, |page| Ok(page[100])).unwrap(), block as u8);
            }
        }
    }

    #[test]
    fn a_row_has_room_only_if_all_that_it_may_add_fit() {
        let store = MemoryStore::new(SEGMENT_BYTES).unwrap();
        let most = SEGMENT - HEADROOM;
        assert!(store.has_room(most) && !store.has_room(most + 1));
        store.extend().unwrap();
        assert!(store.has_room(most - 1) && !store.has_room(most));
        store.add(of_unlinked_file(SEGMENT_BYTES)).unwrap();
        assert!(store.has_room(most + SEGMENT - 1) && !store.has_room(most + SEGMENT));
    }

    #[test]
    fn two_pages_change_at_once_also_under_one_lock() {
        let segments = LOCKS / SEGMENT + 1;
        let store = MemoryStore::new(segments * SEGMENT_BYTES).unwrap();
        let last = (0..=LOCKS).map(|_| store.extend().unwrap()).last().unwrap();
        for (one, other) in [(0, last), (last, 0), (1, 2), (2, 1), (last, 1)] {
            let change = |a: &mut Page, b: &mut Page| {
                (a[100], b[100]) = (one as u8, other as u8 + 1);
                Ok(Edit::Changed(()))
            };
            store.write_two(one, other, change).unwrap();
            assert_eq!(store.read(one, |page| Ok(page[100])).unwrap(), one as u8);
            assert_eq!(store.read(other, |page| Ok(page[100])).unwrap(), other as u8 + 1);
        }
    }
}
