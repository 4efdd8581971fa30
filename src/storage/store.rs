//! What the graph needs of the place that holds the pages.

use super::BlockNumber;
use super::format::META_BLOCK;
use super::layout::Layout;
use super::meta;
use super::node_page::{self, NodePageMut};
use super::page::{self, Page};
use crate::error::Result;

/// What a change to a page came to.
pub enum Edit<T> {
    /// The page was changed: it is to be logged.
    Changed(T),
    /// It was left as it was.
    Unchanged(T),
}

/// The pages of one index.
///
/// Closures see a page under its lock (shared for reading, exclusive for writing) and must neither call the store again nor take
/// long. A change is all or nothing: what a closure returns `Changed` for becomes one WAL record, and after an error
/// the pages are what they were (but for the memory store, whose build ends with an error).
pub trait PageStore {
    /// The number of pages, those before the first records included.
    fn blocks(&self) -> Result<BlockNumber>;

    /// A page that was asked for ahead of its use; it holds no lock. A store gives out a few at a time, for a short while: none
    /// is kept across calls of the index.
    type Pin<'a>
    where
        Self: 'a;

    /// Asks for a page that is read soon. Does not wait for input, nor for a lock. A block beyond the end reads as [`page::NEW`].
    fn pin(&self, block: BlockNumber) -> Result<Self::Pin<'_>>;

    /// Hints that `len` bytes at `offset` of a pinned page are read soon.
    fn hint(&self, pin: &Self::Pin<'_>, offset: usize, len: usize);

    /// Reads a page that was asked for, and lets it go. Waits for input if it has to.
    fn read_pinned<T>(&self, pin: Self::Pin<'_>, f: impl FnOnce(&Page) -> Result<T>) -> Result<T>;

    /// Reads a page. A block beyond the end reads as [`page::NEW`].
    fn read<T>(&self, block: BlockNumber, f: impl FnOnce(&Page) -> Result<T>) -> Result<T>;

    /// As [`PageStore::read`], in a pass over all pages.
    fn read_in_passing<T>(&self, block: BlockNumber, f: impl FnOnce(&Page) -> Result<T>) -> Result<T> {
        self.read(block, f)
    }

    /// Runs a pass over all pages, which shall leave the pages that others use in memory where they are.
    fn in_passing<T>(&self, f: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        f(self)
    }

    /// Changes a page.
    fn write<T>(&self, block: BlockNumber, f: impl FnOnce(&mut Page) -> Result<Edit<T>>) -> Result<T>;

    /// Changes two different pages at once: the closure gets them in the order of the arguments; locks are taken in block order.
    fn write_two<T>(
        &self,
        first: BlockNumber,
        second: BlockNumber,
        f: impl FnOnce(&mut Page, &mut Page) -> Result<Edit<T>>,
    ) -> Result<T>;

    /// Adds a page, all zero.
    fn extend(&self) -> Result<BlockNumber>;

    /// A page that may have a free slot; `full` is one that was found to have none.
    fn target(&self, full: Option<BlockNumber>) -> Result<Option<BlockNumber>>;

    /// Remembers that a page has free slots.
    fn note_free(&self, block: BlockNumber);

    /// Ends the statement here if the user cancelled it.
    fn check_interrupts(&self);

    /// Hints that a page is asked for soon, and `len` bytes at `offset` of it are read.
    #[inline]
    fn prefetch(&self, _block: BlockNumber, _offset: usize, _len: usize) {}
}

/// A block that has, or may still have, a free slot when it is locked: an existing one, or a new one.
pub fn target_block<S: PageStore>(store: &S, layout: &Layout, mut full: Option<BlockNumber>) -> Result<BlockNumber> {
    loop {
        match store.target(full)? {
            // The last page, or what a damaged free space map names, may be one of the centroid's.
            Some(block) if block < layout.first_block => full = Some(block),
            Some(block) => return Ok(block),
            None => {
                let block = store.extend()?;
                init(store, layout, block)?;
                return Ok(block);
            }
        }
    }
}

/// Makes a node page of a new one.
pub fn init<S: PageStore>(store: &S, layout: &Layout, block: BlockNumber) -> Result<()> {
    let generation = store.read(META_BLOCK, meta::read_first_generation)?;
    store.write(block, |page| {
        if !page::is_new(page) {
            return Ok(Edit::Unchanged(()));
        }
        node_page::init(page, layout, generation);
        Ok(Edit::Changed(()))
    })
}

/// Finds a free slot and lets `f` fill it, as one change of one page.
pub fn place<S: PageStore, T>(
    store: &S,
    layout: &Layout,
    mut f: impl FnMut(&mut NodePageMut<'_>, u32) -> Result<T>,
) -> Result<T> {
    let mut full = None;
    loop {
        let block = target_block(store, layout, full)?;
        let placed = store.write(block, |page| {
            if page::is_new(page) {
                return Ok(Edit::Unchanged(None)); // Somebody else is adding it, or VACUUM will.
            }
            let mut nodes = NodePageMut::new(page, block, layout)?;
            Ok(match nodes.free_slot()? {
                Some(slot) => {
                    let placed = f(&mut nodes, slot)?;
                    Edit::Changed(Some((placed, nodes.free_slot()?.is_some())))
                }
                None => Edit::Unchanged(None),
            })
        })?;
        if let Some((placed, has_room)) = placed {
            if has_room && full.is_some() {
                // A new target: others, and we after a reconnection, find its other slots.
                store.note_free(block);
            }
            return Ok(placed);
        }
        store.check_interrupts();
        full = Some(block);
    }
}
