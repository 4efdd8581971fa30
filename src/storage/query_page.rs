//! Query pages: queries of an index's users that were sampled (`hnsw.sample_queries`), for
//! `hnsw_tune()`.
//!
//! The pages are a ring: queries are added to the current page, and once it is full the next page
//! is emptied for them, so that the last ones stay. Their blocks are on the meta page, offsets from
//! its start: 6956 the number of pages (u16), 6958 the place of the current one (u16), 6960 the
//! blocks (u32 each, [`MOST_PAGES`] places). An index without them has a shorter meta page, or
//! zeros.
//!
//! A query page has no slot in use (`pd_lower` is at the header's end), so that a stale link into
//! it leads to a free slot. Entries grow down from the special space, the newest one at `pd_upper`:
//! time of the query in microseconds since 2000-01-01 (i64), length of the value (u16), the value
//! as PostgreSQL has it, without its header. The special space has the page's place in the ring
//! (u16) from its byte 8 on.

use super::format::META_BLOCK;
use super::page::{self, HEADER_SIZE, Page, PageKind, SPECIAL, get_u16, get_u32, put_u16, put_u32};
use super::{BlockNumber, corrupted, meta};
use crate::error::Result;
use crate::fallible::TryPush;

/// Most pages of a ring.
pub const MOST_PAGES: usize = 128;

/// Most queries of a page. A ring has no more pages than for [`MOST_QUERIES`] of the length of the
/// queries.
const MOST_OF_PAGE: usize = 64;

/// Most queries of a ring, about.
const MOST_QUERIES: usize = 256;

/// Offsets on the meta page, after the last walk.
const AT: usize = 6956;
const CURRENT_AT: usize = AT + 2;
const BLOCKS_AT: usize = AT + 4;
const END: usize = BLOCKS_AT + MOST_PAGES * size_of::<BlockNumber>();
const _: () = assert!(END <= SPECIAL);

const PLACE_AT: usize = SPECIAL + 8;

/// Bytes of an entry before its value.
const ENTRY_HEAD: usize = 10;

/// Most bytes of a value: those of a page.
pub const MOST_LEN: usize = SPECIAL - HEADER_SIZE - ENTRY_HEAD;

/// A ring, as the meta page has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ring {
    /// Number of pages.
    pub pages: usize,
    /// The place of the page to which queries are added; 0 if there is none.
    pub current: usize,
}

/// A query that was sampled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sampled {
    /// Its time, in microseconds since 2000-01-01 (PostgreSQL's `TimestampTz`).
    pub at: i64,
    /// The value, without its header.
    pub value: Vec<u8>,
}

/// The ring of an index.
pub fn ring(page: &Page) -> Result<Ring> {
    meta::check(page)?;
    if page::lower(page) < END {
        return Ok(Ring { pages: 0, current: 0 });
    }
    let (pages, current) = (usize::from(get_u16(page, AT)), usize::from(get_u16(page, CURRENT_AT)));
    if pages > MOST_PAGES || current >= pages.max(1) {
        return corrupted(META_BLOCK, "invalid ring of sampled queries on the meta page");
    }
    Ok(Ring { pages, current })
}

/// The block of a page of the ring; none if there is no such page.
pub fn block(page: &Page, place: usize) -> Result<Option<BlockNumber>> {
    if place >= ring(page)?.pages {
        return Ok(None);
    }
    match get_u32(page, BLOCKS_AT + place * size_of::<BlockNumber>()) {
        META_BLOCK => corrupted(META_BLOCK, "the ring of sampled queries names the meta page"),
        block => Ok(Some(block)),
    }
}

/// Changes the ring.
pub fn set_ring(page: &mut Page, ring: Ring) {
    if page::lower(page) < END {
        page[AT..END].fill(0);
        page::set_lower(page, END);
    }
    put_u16(page, AT, ring.pages as u16);
    put_u16(page, CURRENT_AT, ring.current as u16);
}

/// Sets the block of a page of the ring.
pub fn set_block(page: &mut Page, place: usize, block: BlockNumber) {
    put_u32(page, BLOCKS_AT + place * size_of::<BlockNumber>(), block);
}

/// Makes an empty query page; `stride` is that of the index's records, which all of its pages name.
pub fn init(page: &mut Page, place: usize, stride: usize) {
    page::init(page, PageKind::Queries, stride);
    put_u16(page, PLACE_AT, place as u16);
}

/// Whether a page is the one of this place; checks it in that case.
pub fn is_of(page: &Page, block: BlockNumber, place: usize, stride: usize) -> Result<bool> {
    if page::is_new(page) || !page::is_queries(page) {
        return Ok(false);
    }
    page::check(page, block, PageKind::Queries, stride)?;
    let mut end = page::upper(page);
    for entry in entries(page) {
        end = entry.end;
    }
    if end != SPECIAL || count(page) > MOST_OF_PAGE {
        return corrupted(block, "invalid entries of sampled queries");
    }
    Ok(usize::from(get_u16(page, PLACE_AT)) == place)
}

/// An entry on a page.
struct Entry<'a> {
    at: i64,
    value: &'a [u8],
    end: usize,
}

/// The entries of a page, the newest first, as far as they are whole.
fn entries(page: &Page) -> impl Iterator<Item = Entry<'_>> {
    let mut start = page::upper(page);
    std::iter::from_fn(move || {
        let value = start + ENTRY_HEAD;
        if value > SPECIAL {
            return None;
        }
        let end = value + usize::from(get_u16(page, start + size_of::<i64>()));
        if end > SPECIAL {
            return None;
        }
        let at = i64::from_le_bytes(*page[start..].first_chunk()?);
        start = end;
        Some(Entry {
            at,
            value: &page[value..end],
            end,
        })
    })
}

/// The number of queries on a page.
pub fn count(page: &Page) -> usize {
    entries(page).count()
}

/// Adds the queries of a page that [`is_of`] has checked to `all`, the newest first.
pub fn read(page: &Page, all: &mut Vec<Sampled>) -> Result<()> {
    for Entry { at, value, .. } in entries(page) {
        let mut copy = Vec::new();
        copy.try_extend(value.iter().copied())?;
        all.try_push(Sampled { at, value: copy })?;
    }
    Ok(())
}

/// Adds a query to a page that [`is_of`] has checked; returns false if there is no room.
pub fn push(page: &mut Page, at: i64, value: &[u8]) -> bool {
    let len = ENTRY_HEAD + value.len();
    let start = page::upper(page).checked_sub(len).filter(|&start| start >= HEADER_SIZE);
    let Some(start) = start.filter(|_| count(page) < MOST_OF_PAGE) else {
        return false;
    };
    page[start..start + size_of::<i64>()].copy_from_slice(&at.to_le_bytes());
    put_u16(page, start + size_of::<i64>(), value.len() as u16);
    page[start + ENTRY_HEAD..start + len].copy_from_slice(value);
    page::set_upper(page, start);
    true
}

/// The pages of a ring whose full page has so many queries.
pub fn pages_for(queries: usize) -> usize {
    MOST_QUERIES.div_ceil(queries.max(1)).min(MOST_PAGES)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::page::PAGE_SIZE;

    const STRIDE: usize = 64;

    fn page_of(values: &[&[u8]]) -> Page {
        let mut page = [0; PAGE_SIZE];
        init(&mut page, 3, STRIDE);
        for (i, value) in values.iter().enumerate() {
            assert!(push(&mut page, i as i64 - 1, value));
        }
        page
    }

    #[test]
    fn a_page_gives_its_queries_back_newest_first() {
        let page = page_of(&[b"one", b"", b"three"]);
        assert_eq!(is_of(&page, 9, 3, STRIDE), Ok(true));
        assert_eq!(is_of(&page, 9, 2, STRIDE), Ok(false));
        let mut all = Vec::new();
        read(&page, &mut all).unwrap();
        let found: Vec<_> = all
            .iter()
            .map(|sampled| (sampled.at, sampled.value.as_slice()))
            .collect();
        assert_eq!(found, [(1, &b"three"[..]), (0, b""), (-1, b"one")]);
    }

    #[test]
    fn a_page_is_full_by_bytes_or_by_number() {
        let mut page = page_of(&[&[7; MOST_LEN][..]]);
        assert_eq!((page::upper(&page), count(&page)), (HEADER_SIZE, 1));
        assert!(!push(&mut page, 0, b""));
        let mut page = page_of(&[&[1; 20][..]; MOST_OF_PAGE]);
        assert!(!push(&mut page, 0, b""));
        assert_eq!(is_of(&page, 9, 3, STRIDE), Ok(true));
        assert_eq!(
            (pages_for(0), pages_for(1), pages_for(5), pages_for(MOST_OF_PAGE)),
            (128, 128, 52, 4)
        );
    }

    #[test]
    fn damaged_pages_are_refused() {
        let good = page_of(&[b"one", b"two"]);
        let upper = page::upper(&good);
        let damages: [fn(&mut Page, usize); 4] = [
            |page, upper| page[upper + 8] += 1,
            |page, upper| page[upper + 9] = 0xFF,
            |page, upper| page::set_upper(page, upper + 1),
            |page, _| page::set_lower(page, HEADER_SIZE + 8),
        ];
        for (i, damage) in damages.iter().enumerate() {
            let mut page = good;
            damage(&mut page, upper);
            assert!(is_of(&page, 9, 3, STRIDE).is_err(), "damage {i}");
        }
        assert!(is_of(&good, 9, 3, STRIDE + 8).is_err());
        assert_eq!(is_of(&[0; PAGE_SIZE], 9, 3, STRIDE), Ok(false));
    }
}
