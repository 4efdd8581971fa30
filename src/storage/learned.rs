//! Pages of numbers that a build learned from its rows: the centroid's directly after the meta
//! page, then those of the directions. They never change. The directory of lists
//! ([`super::list_directory`]), whose numbers do, is made likewise.

use super::page::{self, HEADER_SIZE, Page, PageKind, SPECIAL};
use super::{BlockNumber, Edit, PageStore, corrupted};
use crate::error::Result;

/// Bytes of numbers on a page.
pub const PER_PAGE: usize = SPECIAL - HEADER_SIZE;

/// Pages of so many bytes.
pub fn pages(bytes: usize) -> BlockNumber {
    bytes.div_ceil(PER_PAGE) as BlockNumber
}

/// Adds pages of a kind with these bytes; `first` is the first of them.
pub(super) fn write<S: PageStore>(
    store: &S,
    kind: PageKind,
    first: BlockNumber,
    bytes: impl ExactSizeIterator<Item = u8>,
) -> Result<()> {
    let mut bytes = bytes;
    for expected in first.. {
        if bytes.len() == 0 {
            break;
        }
        let block = store.extend()?;
        debug_assert_eq!(block, expected);
        store.write(block, |page| {
            init(page, kind, bytes.by_ref());
            Ok(Edit::Changed(()))
        })?;
    }
    Ok(())
}

pub(super) fn init(page: &mut Page, kind: PageKind, bytes: impl Iterator<Item = u8>) {
    page::init(page, kind, 0);
    let mut end = HEADER_SIZE;
    for (to, byte) in page[HEADER_SIZE..SPECIAL].iter_mut().zip(bytes) {
        *to = byte;
        end += 1;
    }
    page::set_lower(page, end);
}

/// Reads `len` bytes from pages of a kind, from `first` on.
pub(super) fn read<S: PageStore>(
    store: &S,
    kind: PageKind,
    first: BlockNumber,
    len: usize,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<()> {
    for (block, at) in (first..).zip((0..len).step_by(PER_PAGE)) {
        store.read(block, |page| {
            page::check(page, block, kind, 0)?;
            let end = HEADER_SIZE + PER_PAGE.min(len - at);
            if page::lower(page) != end {
                return corrupted(block, "learned numbers have another length than the parameters say");
            }
            take(&page[HEADER_SIZE..end])
        })?;
    }
    Ok(())
}
