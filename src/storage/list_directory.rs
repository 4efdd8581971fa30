//! The directory of value lists: the first page of each list ([`super::list_page`]), on pages of
//! their own directly before the records. An index without filter columns has none.
//!
//! The numbers are block numbers (u32, 0 for a list without pages), those of one filter column
//! after the other's, as many on each page as fit.

use super::list_page::ListId;
use super::page::{self, HEADER_SIZE, Page, PageKind, get_u32, put_u32};
use super::{BlockNumber, PageStore, corrupted, learned};
use crate::error::Result;
use crate::fallible::TryPush;

const LEN: usize = size_of::<BlockNumber>();

/// The place of the directory of an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListDirectory {
    /// Its first block.
    first: BlockNumber,
    /// Bits that number the lists of a column.
    bits: u8,
    /// Bytes of all its numbers.
    len: usize,
}

impl ListDirectory {
    /// The directory from a block on, of so many filter columns, whose lists this many bits number.
    pub fn new(first: BlockNumber, columns: usize, bits: u8) -> ListDirectory {
        ListDirectory {
            first,
            bits,
            len: (LEN * columns) << bits,
        }
    }

    /// Its first block, or the one in its place.
    pub fn first(&self) -> BlockNumber {
        self.first
    }

    /// The number of its pages.
    pub fn pages(&self) -> BlockNumber {
        learned::pages(self.len)
    }

    /// The numbers of a column's lists.
    pub fn lists(&self) -> std::ops::Range<u16> {
        0..1 << self.bits
    }

    /// Adds its pages, of lists without pages, to a new index that has all others before them.
    pub fn write<S: PageStore>(&self, store: &S) -> Result<()> {
        learned::write(
            store,
            PageKind::ListDirectory,
            self.first,
            std::iter::repeat_n(0, self.len),
        )
    }

    /// Block of the page that names the first page of a list.
    pub fn block(&self, id: ListId) -> BlockNumber {
        self.first + (self.at(id) / learned::PER_PAGE) as BlockNumber
    }

    /// The first page of a list, of the page of [`ListDirectory::block`]; 0 if there is none.
    pub fn get(&self, page: &Page, id: ListId) -> Result<BlockNumber> {
        page::check(page, self.block(id), PageKind::ListDirectory, 0)?;
        self.get_checked(page, id)
    }

    fn get_checked(&self, page: &Page, id: ListId) -> Result<BlockNumber> {
        let at = self.at_on_page(id);
        match at + LEN <= page::lower(page) {
            true => Ok(get_u32(page, at)),
            false => corrupted(self.block(id), "the directory of lists ends before the last list"),
        }
    }

    /// The lists of a column, of these in order, that have pages.
    ///
    /// Locks: one page of the directory at a time, shared; on return: none.
    pub fn with_pages<S: PageStore>(&self, store: &S, column: u8, lists: &[u16]) -> Result<Vec<u16>> {
        let id = |list| ListId { column, list };
        let mut found = Vec::new();
        for of_page in lists.chunk_by(|&a, &b| self.block(id(a)) == self.block(id(b))) {
            store.read(self.block(id(of_page[0])), |page| {
                self.get(page, id(of_page[0]))?;
                for &list in of_page {
                    if self.get_checked(page, id(list))? != 0 {
                        found.try_push(list)?;
                    }
                }
                Ok(())
            })?;
        }
        Ok(found)
    }

    /// Sets the first page of a list, on a page that [`ListDirectory::get`] has checked.
    pub fn set(&self, page: &mut Page, id: ListId, first: BlockNumber) {
        put_u32(page, self.at_on_page(id), first);
    }

    /// The first page of a list; 0 if there is none.
    ///
    /// Locks: the page of the directory, shared; on return: none.
    pub fn read<S: PageStore>(&self, store: &S, id: ListId) -> Result<BlockNumber> {
        store.read(self.block(id), |page| self.get(page, id))
    }

    fn at(&self, id: ListId) -> usize {
        ((usize::from(id.column) << self.bits) + usize::from(id.list)) * LEN
    }

    fn at_on_page(&self, id: ListId) -> usize {
        HEADER_SIZE + self.at(id) % learned::PER_PAGE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Edit;
    use crate::storage::memory_store::MemoryStore;

    #[test]
    fn each_list_has_its_place() {
        for (columns, bits, pages) in [(0, 7, 0), (1, 7, 1), (4, 7, 1), (2, 10, 2), (4, 12, 9)] {
            let directory = ListDirectory::new(1, columns, bits);
            let store = MemoryStore::new(1 << 20).unwrap();
            store.extend().unwrap(); // The meta page.
            directory.write(&store).unwrap();
            assert_eq!((store.blocks(), directory.pages()), (Ok(1 + pages), pages));
            let all =
                || (0..columns as u8).flat_map(|column| directory.lists().map(move |list| ListId { column, list }));
            for (number, id) in (1..).zip(all()) {
                assert_eq!(directory.read(&store, id), Ok(0));
                let set = |page: &mut Page| {
                    directory.set(page, id, number);
                    Ok(Edit::Changed(()))
                };
                store.write(directory.block(id), set).unwrap();
            }
            assert!(
                (1..)
                    .zip(all())
                    .all(|(number, id)| directory.read(&store, id) == Ok(number))
            );
            for column in 0..columns as u8 {
                let empty = ListId { column, list: 77 };
                let clear = |page: &mut Page| {
                    directory.set(page, empty, 0);
                    Ok(Edit::Changed(()))
                };
                store.write(directory.block(empty), clear).unwrap();
                let lists: Vec<u16> = directory.lists().rev().collect();
                let found = directory.with_pages(&store, column, &lists).unwrap();
                assert!(found.iter().eq(lists.iter().filter(|&&list| list != 77)));
            }
        }
    }

    #[test]
    fn damaged_pages_are_refused() {
        let directory = ListDirectory::new(1, 1, 7);
        let store = MemoryStore::new(1 << 20).unwrap();
        store.extend().unwrap(); // The meta page.
        directory.write(&store).unwrap();
        let id = ListId { column: 0, list: 127 };
        let damages: [fn(&mut Page); 2] = [
            |page| page::set_lower(page, page::lower(page) - LEN),
            |page| page.fill(0),
        ];
        for damage in damages {
            let mut page = store.read(1, |page| Ok(*page)).unwrap();
            damage(&mut page);
            assert!(directory.get(&page, id).is_err());
        }
    }
}
