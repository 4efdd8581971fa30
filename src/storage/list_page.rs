//! List pages: the nodes with a value of a filter column, for scans that few nodes match.
//!
//! Each filter column but those of sets has 128 lists, one for each value of a signature's upper 7
//! bits ([`crate::filter::signature`]). A list is a chain of pages; its first page is named on the
//! meta page. An entry is a node's level-0 record and the signature of its value. Entries of freed
//! nodes stay until VACUUM takes them out, and no scan believes one that the record does not
//! confirm.
//!
//! A list page has no slot in use (`pd_lower` is at the header's end), so that a stale link into it
//! leads to a free slot. Entries are at the end of the page, from `pd_upper` on: reference (u32),
//! generation (u8), zero (u8), signature (u16). The special space has the column (u8) and the list
//! (u8), and the next page's block (u32, 0 for none), from its byte 8 on.

use super::page::{self, HEADER_SIZE, Page, PageKind, SPECIAL, get_u16, get_u32, put_u16, put_u32};
use super::{BlockNumber, Link, NodeRef};
use crate::error::Result;

/// Lists of a column.
pub const LISTS: usize = 128;

/// Bytes of an entry.
const ENTRY_LEN: usize = 8;

const COLUMN_AT: usize = SPECIAL + 8;
const LIST_AT: usize = SPECIAL + 9;
const NEXT_AT: usize = SPECIAL + 10;

/// Most entries of a page.
pub const MOST_ENTRIES: usize = (SPECIAL - HEADER_SIZE) / ENTRY_LEN;

/// Pages of a column's lists over so many nodes, if their values are spread evenly over the lists.
pub fn pages(nodes: usize) -> usize {
    let lists = nodes.min(LISTS);
    match lists {
        0 => 0,
        _ => lists * nodes.div_ceil(lists).div_ceil(MOST_ENTRIES),
    }
}

/// A list: its column and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListId {
    /// The filter column.
    pub column: u8,
    /// The upper bits of the signatures.
    pub list: u8,
}

impl ListId {
    /// The list of a signature.
    #[inline]
    pub fn of(column: usize, signature: u16) -> ListId {
        ListId {
            column: column as u8,
            list: (signature >> 9) as u8,
        }
    }
}

/// A node in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListEntry {
    /// The node's level-0 record.
    pub link: Link,
    /// The signature of its value.
    pub signature: u16,
}

/// Makes a list page of a new page.
pub fn init(page: &mut Page, id: ListId, stride: usize, next: BlockNumber) {
    page::init(page, PageKind::List, stride);
    page[COLUMN_AT] = id.column;
    page[LIST_AT] = id.list;
    set_next(page, next);
}

/// Whether a page is one of this list; checks it in that case.
pub fn is_of(page: &Page, block: BlockNumber, id: ListId, stride: usize) -> Result<bool> {
    if page::is_new(page) || !page::is_list(page) {
        return Ok(false);
    }
    page::check(page, block, PageKind::List, stride)?;
    Ok((page[COLUMN_AT], page[LIST_AT]) == (id.column, id.list))
}

/// The list of a list page.
pub fn id(page: &Page) -> ListId {
    ListId {
        column: page[COLUMN_AT],
        list: page[LIST_AT],
    }
}

/// The next page of the list; 0 if it is the last one.
pub fn next(page: &Page) -> BlockNumber {
    get_u32(page, NEXT_AT)
}

/// Sets the next page.
pub fn set_next(page: &mut Page, next: BlockNumber) {
    put_u32(page, NEXT_AT, next);
}

/// The entries.
pub fn entries(page: &Page) -> impl ExactSizeIterator<Item = ListEntry> + '_ {
    page[page::upper(page)..SPECIAL]
        .chunks_exact(ENTRY_LEN)
        .map(|entry| ListEntry {
            link: Link {
                node: NodeRef(get_u32(entry, 0)),
                generation: entry[4],
            },
            signature: get_u16(entry, 6),
        })
}

/// Adds an entry; returns false if there is no room.
pub fn push(page: &mut Page, entry: &ListEntry) -> bool {
    let Some(at) = page::upper(page).checked_sub(ENTRY_LEN).filter(|&at| at >= HEADER_SIZE) else {
        return false;
    };
    page::set_upper(page, at);
    put(page, at, entry);
    true
}

/// Keeps the entries for which `keep` is true; returns how many went.
pub fn retain(page: &mut Page, mut keep: impl FnMut(&ListEntry) -> bool) -> usize {
    let before = entries(page).len();
    // From the last place down, where the first entries are.
    let mut to = SPECIAL;
    for i in (0..before).rev() {
        let at = page::upper(page) + i * ENTRY_LEN;
        let entry = ListEntry {
            link: Link {
                node: NodeRef(get_u32(page, at)),
                generation: page[at + 4],
            },
            signature: get_u16(page, at + 6),
        };
        if keep(&entry) {
            to -= ENTRY_LEN;
            put(page, to, &entry);
        }
    }
    let upper = page::upper(page);
    page[upper..to].fill(0);
    page::set_upper(page, to);
    (to - upper) / ENTRY_LEN
}

fn put(page: &mut Page, at: usize, entry: &ListEntry) {
    put_u32(page, at, entry.link.node.0);
    page[at + 4] = entry.link.generation;
    page[at + 5] = 0;
    put_u16(page, at + 6, entry.signature);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::page::PAGE_SIZE;

    fn entry(n: usize) -> ListEntry {
        ListEntry {
            link: Link {
                node: NodeRef(n as u32 * 7919),
                generation: n as u8,
            },
            signature: n as u16,
        }
    }

    #[test]
    fn a_page_gives_its_entries_back_and_loses_those_that_are_refused() {
        let mut page = [0; PAGE_SIZE];
        let id = ListId { column: 2, list: 77 };
        init(&mut page, id, 64, 9);
        for n in 0..MOST_ENTRIES {
            assert!(push(&mut page, &entry(n)));
        }
        assert!(!push(&mut page, &entry(0)));
        let all = |page: &Page| {
            let mut all: Vec<u16> = entries(page).map(|entry| entry.signature).collect();
            all.sort_unstable();
            all
        };
        assert!(all(&page).into_iter().eq(0..MOST_ENTRIES as u16));
        assert_eq!(is_of(&page, 5, id, 64), Ok(true));
        assert_eq!(is_of(&page, 5, ListId { column: 1, ..id }, 64), Ok(false));
        assert!(is_of(&page, 5, id, 72).is_err());
        let gone = retain(&mut page, |entry| entry.signature % 3 == 0);
        assert_eq!(all(&page), (0..MOST_ENTRIES as u16).step_by(3).collect::<Vec<_>>());
        assert_eq!(gone, MOST_ENTRIES - entries(&page).len());
        assert!(entries(&page).all(|found| found == entry(usize::from(found.signature))));
        assert_eq!((next(&page), super::id(&page)), (9, id));
        assert_eq!(retain(&mut page, |_| false) + gone, MOST_ENTRIES);
        assert_eq!(entries(&page).len(), 0);
        assert!(push(&mut page, &entry(3)));
    }
}
