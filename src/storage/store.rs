//! The page store: the interface between the graph and the place of its pages.

use super::BlockNumber;
use super::format::META_BLOCK;
use super::layout::Layout;
use super::meta;
use super::node_page::{self, NodePageMut};
use super::page::{self, Page};
use crate::error::Result;

/// The most reads ahead for which pages are requested.
pub const INPUT_AHEAD: usize = 16;

/// The most pages that one change touches, and one generic WAL record (PostgreSQL's
/// `MAX_GENERIC_XLOG_PAGES`).
pub const MOST_TOGETHER: usize = 4;

/// Outcome of a page edit.
pub enum Edit<T> {
    /// The page was changed and has to be logged.
    Changed(T),
    /// The page was left as it was.
    Unchanged(T),
}

impl<T> Edit<T> {
    /// The value, and whether the page was changed.
    pub fn parts(self) -> (T, bool) {
        match self {
            Edit::Changed(value) => (value, true),
            Edit::Unchanged(value) => (value, false),
        }
    }
}

/// The pages of one index.
///
/// Locks: a closure sees a page under its lock (shared for reading, exclusive for writing), and
/// must neither call the store again nor take long; on return no lock is held. A change is all or
/// nothing: `Changed` becomes one WAL record, and after an error the pages are unchanged (except in
/// the memory store, whose build ends with an error).
pub trait PageStore {
    /// The number of pages, those before the first records included.
    fn blocks(&self) -> Result<BlockNumber>;

    /// The number of pages at an earlier moment, perhaps long ago: there are no fewer. Asks the
    /// system only where none is known.
    fn known_blocks(&self) -> Result<BlockNumber> {
        self.blocks()
    }

    /// A page that was requested ahead of its use. A pin holds no lock. Callers keep few pins, for
    /// a short while, and none across calls of the index.
    type Pin<'a>
    where
        Self: 'a;

    /// Requests a page that is read soon. Waits neither for input nor for a lock. A block beyond
    /// the end reads as [`page::NEW`].
    fn pin(&self, block: BlockNumber) -> Result<Self::Pin<'_>>;

    /// As [`PageStore::pin`], for a page that was requested before ([`PageStore::request`]).
    #[inline]
    fn pin_requested(&self, block: BlockNumber) -> Result<Self::Pin<'_>> {
        self.pin(block)
    }

    /// Number of pages to request ahead of their reads at this moment, to be asked for before each
    /// read: 0 as long as the pages read last were in memory, at most [`INPUT_AHEAD`].
    #[inline]
    fn input_depth(&self) -> usize {
        0
    }

    /// Has a page that is read soon brought into memory if it is not there. Does not wait.
    fn request(&self, _block: BlockNumber) -> Result<()> {
        Ok(())
    }

    /// Hints that `len` bytes at `offset` of a pinned page are read soon.
    fn hint(&self, pin: &Self::Pin<'_>, offset: usize, len: usize);

    /// Reads a requested page and releases its pin. May wait for input.
    fn read_pinned<T>(&self, pin: Self::Pin<'_>, f: impl FnOnce(&Page) -> Result<T>) -> Result<T>;

    /// Reads a page. A block beyond the end reads as [`page::NEW`].
    fn read<T>(&self, block: BlockNumber, f: impl FnOnce(&Page) -> Result<T>) -> Result<T>;

    /// As [`PageStore::read`], in a pass over all pages.
    fn read_in_passing<T>(&self, block: BlockNumber, f: impl FnOnce(&Page) -> Result<T>) -> Result<T> {
        self.read(block, f)
    }

    /// Runs a pass over all pages, which should not evict the pages that others use.
    fn in_passing<T>(&self, f: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        f(self)
    }

    /// Changes a page.
    fn write<T>(&self, block: BlockNumber, f: impl FnOnce(&mut Page) -> Result<Edit<T>>) -> Result<T>;

    /// Changes two different pages at once. The closure gets them in the order of the arguments.
    ///
    /// Locks: both pages, exclusive, in block order; on return: none.
    fn write_two<T>(
        &self,
        first: BlockNumber,
        second: BlockNumber,
        f: impl FnOnce(&mut Page, &mut Page) -> Result<Edit<T>>,
    ) -> Result<T>;

    /// Changes different pages, at most [`MOST_TOGETHER`], in ascending order; `f` also gets the
    /// place of a page among them. The pages that were changed become one WAL record, and after an
    /// error none is changed. A store without WAL changes one page after the other.
    ///
    /// Locks: all pages, exclusive, in block order, or each while `f` runs; on return: none.
    fn write_each(&self, blocks: &[BlockNumber], f: impl FnMut(usize, &mut Page) -> Result<Edit<()>>) -> Result<()> {
        let mut f = f;
        let mut pages = blocks.iter().enumerate();
        pages.try_for_each(|(i, &block)| self.write(block, |page| f(i, page)))
    }

    /// Adds a page, all zero.
    fn extend(&self) -> Result<BlockNumber>;

    /// A page that may have a free slot; `full` is a page that turned out to have none.
    fn target(&self, full: Option<BlockNumber>) -> Result<Option<BlockNumber>>;

    /// Records that a page has free slots.
    fn note_free(&self, block: BlockNumber);

    /// Ends the statement here if it was cancelled. No lock is held.
    fn check_interrupts(&self);

    /// Hints that a page is requested soon and `len` bytes at `offset` of it are read.
    #[inline]
    fn prefetch(&self, _block: BlockNumber, _offset: usize, _len: usize) {}
}

/// A block that may have a free slot: an existing or a new one. The caller checks it again under
/// the lock.
///
/// Locks: as [`init`] for a new block; on return: none.
pub fn target_block<S: PageStore>(store: &S, layout: &Layout, mut full: Option<BlockNumber>) -> Result<BlockNumber> {
    loop {
        match store.target(full)? {
            // The last page, or a page that a damaged free space map names, may be one of the
            // pages before the records.
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

/// Makes a node page of a new page, unless another backend has done so.
///
/// Locks: the meta page, shared, then the block, exclusive, one after the other; on return: none.
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
///
/// Locks: the page, exclusive, while `f` runs; on return: none.
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
                return Ok(Edit::Unchanged(None)); // Another backend is adding it, or VACUUM will.
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
                // A new target: other backends, and this one after a reconnection, find its other
                // slots.
                store.note_free(block);
            }
            return Ok(placed);
        }
        store.check_interrupts();
        full = Some(block);
    }
}
