//! The page as PostgreSQL lays it out: header, contents up to `pd_lower`, special space.
//!
//! The 24 bytes of `PageHeaderData` (PostgreSQL's `bufpage.h`) are written here as `PageInit` does,
//! so that a page can be made without a server. The special space is 16 bytes: kind (u16), format
//! version (u16), record stride (u32), first generation of the slots (u8), zero (5 bytes), page
//! identifier (u16, last on the page as for PostgreSQL's own access methods).
//!
//! A block beyond the end of the file reads as a page that was never initialised, because links may
//! still lead to pages that VACUUM cut off.

use super::format::FORMAT_VERSION;
use super::{BlockNumber, corrupted};
use crate::error::Result;

/// PostgreSQL's BLCKSZ; a server with another one is refused when the library is loaded.
pub const PAGE_SIZE: usize = 8192;
/// Bytes of PostgreSQL's page header: the contents start here.
pub const HEADER_SIZE: usize = 24;
/// Bytes of the special space at the end of a page.
pub const SPECIAL_SIZE: usize = 16;
/// Offset of the special space: the contents end there at the latest.
pub const SPECIAL: usize = PAGE_SIZE - SPECIAL_SIZE;

const PD_LSN: usize = 0;
const PD_LOWER: usize = 12;
const PD_UPPER: usize = 14;
pub const PD_SPECIAL: usize = 16;
const PD_PAGESIZE_VERSION: usize = 18;
/// PG_PAGE_LAYOUT_VERSION of all supported servers.
const LAYOUT_VERSION: u16 = 4;
const PAGE_ID: u16 = 0xA10E;

/// The bytes of one page.
pub type Page = [u8; PAGE_SIZE];

/// A page that was never initialised.
pub static NEW: Page = [0; PAGE_SIZE];

/// The kind of a page's contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum PageKind {
    /// Block 0.
    Meta = 1,
    /// Record slots.
    Node = 2,
    /// Numbers of the centroid, between the meta page and the first records.
    Centroid = 3,
    /// Entries of a list ([`super::list_page`]).
    List = 4,
    /// Queries that were sampled ([`super::query_page`]).
    Queries = 5,
    /// Numbers of the directions, after the centroid.
    Directions = 6,
    /// First pages of lists ([`super::list_directory`]), directly before the first records.
    ListDirectory = 7,
}

/// The N bytes at `at`, checked at once.
#[inline]
fn chunk<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    match bytes.split_at(at).1.first_chunk() {
        Some(chunk) => *chunk,
        None => panic!("a number beyond the end"),
    }
}

/// Reads a u16 at `at`.
#[inline]
pub fn get_u16(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes(chunk(bytes, at))
}

/// Reads a u32 at `at`.
#[inline]
pub fn get_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(chunk(bytes, at))
}

/// Writes a u16 at `at`.
#[inline]
pub fn put_u16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_ne_bytes());
}

/// Writes a u32 at `at`.
#[inline]
pub fn put_u32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_ne_bytes());
}

/// Makes an empty page of a kind; `stride` is the records' (0 on a page without records).
pub fn init(page: &mut Page, kind: PageKind, stride: usize) {
    page.fill(0);
    put_u16(page, PD_LOWER, HEADER_SIZE as u16);
    put_u16(page, PD_UPPER, SPECIAL as u16);
    put_u16(page, PD_SPECIAL, SPECIAL as u16);
    put_u16(page, PD_PAGESIZE_VERSION, PAGE_SIZE as u16 | LAYOUT_VERSION);
    put_u16(page, SPECIAL, kind as u16);
    put_u16(page, SPECIAL + 2, FORMAT_VERSION);
    put_u32(page, SPECIAL + 4, stride as u32);
    put_u16(page, SPECIAL + 14, PAGE_ID);
}

/// Whether the page was never initialised: another backend is adding it, the server stopped before
/// it was written, or the block is beyond the end.
#[inline]
pub fn is_new(page: &Page) -> bool {
    get_u16(page, PD_UPPER) == 0
}

/// Generation of the page's slots at their first use.
pub fn first_generation(page: &Page) -> u8 {
    page[SPECIAL + 8]
}

/// Sets the generation of the page's slots at their first use.
pub fn set_first_generation(page: &mut Page, generation: u8) {
    page[SPECIAL + 8] = generation;
}

/// Position in WAL of the last change. An equal position means an unchanged page, except where
/// changes are not logged.
#[inline]
pub fn lsn(page: &Page) -> u64 {
    u64::from(get_u32(page, PD_LSN)) << 32 | u64::from(get_u32(page, PD_LSN + 4))
}

/// Sets the position in WAL of the last change.
pub fn set_lsn(page: &mut Page, lsn: u64) {
    put_u32(page, PD_LSN, (lsn >> 32) as u32);
    put_u32(page, PD_LSN + 4, lsn as u32);
}

/// End of the contents.
#[inline]
pub fn lower(page: &Page) -> usize {
    usize::from(get_u16(page, PD_LOWER))
}

/// Sets the end of the contents.
pub fn set_lower(page: &mut Page, lower: usize) {
    put_u16(page, PD_LOWER, lower as u16);
}

/// Whether the page says that it is a list page.
pub fn is_list(page: &Page) -> bool {
    get_u16(page, SPECIAL) == PageKind::List as u16
}

/// Whether the page says that it is a query page.
pub fn is_queries(page: &Page) -> bool {
    get_u16(page, SPECIAL) == PageKind::Queries as u16
}

/// The kind that the page says it has, if it is one beside the records that has no slots.
#[inline]
pub fn kind_without_slots(page: &Page) -> Option<PageKind> {
    match get_u16(page, SPECIAL) {
        kind if kind == PageKind::List as u16 => Some(PageKind::List),
        kind if kind == PageKind::Queries as u16 => Some(PageKind::Queries),
        _ => None,
    }
}

/// Start of the contents at the end of the page.
#[inline]
pub fn upper(page: &Page) -> usize {
    usize::from(get_u16(page, PD_UPPER)).clamp(HEADER_SIZE, SPECIAL)
}

/// Clears the bytes between the contents and those at the end of the page, which are not logged.
pub fn clear_hole(page: &mut Page) {
    let (lower, upper) = (lower(page), upper(page));
    if lower < upper {
        page[lower..upper].fill(0);
    }
}

/// Sets the start of the contents at the end of the page.
pub fn set_upper(page: &mut Page, upper: usize) {
    put_u16(page, PD_UPPER, upper as u16);
}

/// Checks that the page is an initialised one of this kind and stride and that its header is sane.
#[inline]
pub fn check(page: &Page, block: BlockNumber, kind: PageKind, stride: usize) -> Result<()> {
    if get_u16(page, SPECIAL + 14) != PAGE_ID {
        return corrupted(block, "not a page of an hnsw index");
    }
    if get_u16(page, SPECIAL) != kind as u16 {
        return corrupted(block, "unexpected kind of page");
    }
    if get_u16(page, SPECIAL + 2) != FORMAT_VERSION {
        return corrupted(block, "unknown format version");
    }
    if get_u32(page, SPECIAL + 4) as usize != stride {
        return corrupted(block, "records of another size than the index has");
    }
    check_header(page, block)
}

/// The version of the format on a page of this kind, known or not; none if the page is damaged. All
/// versions have the page header and the special space in common.
pub fn version(page: &Page, kind: PageKind) -> Option<u16> {
    let is_ours = get_u16(page, SPECIAL + 14) == PAGE_ID && get_u16(page, SPECIAL) == kind as u16;
    (is_ours && check_header(page, 0).is_ok()).then(|| get_u16(page, SPECIAL + 2))
}

/// Sets the version of the format on a page.
pub fn set_version(page: &mut Page, version: u16) {
    put_u16(page, SPECIAL + 2, version);
}

/// Checks the header alone.
#[inline]
pub fn check_header(page: &Page, block: BlockNumber) -> Result<()> {
    if get_u16(page, PD_SPECIAL) as usize != SPECIAL {
        return corrupted(block, "not a page of an hnsw index");
    }
    // Contents at the end belong to list and query pages, which have no others.
    let upper = usize::from(get_u16(page, PD_UPPER));
    let is_sound = upper == SPECIAL || lower(page) == HEADER_SIZE && (HEADER_SIZE..SPECIAL).contains(&upper);
    if lower(page) < HEADER_SIZE || lower(page) > SPECIAL || !is_sound {
        return corrupted(block, "invalid page header");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_recognised_by_kind_version_and_stride() {
        let mut page = [0; PAGE_SIZE];
        assert!(is_new(&page));
        assert!(check(&page, 1, PageKind::Node, 64).is_err());
        init(&mut page, PageKind::Node, 64);
        assert!(!is_new(&page));
        assert_eq!(lower(&page), HEADER_SIZE);
        assert_eq!(check(&page, 1, PageKind::Node, 64), Ok(()));
        assert!(check(&page, 1, PageKind::Meta, 64).is_err());
        assert!(check(&page, 1, PageKind::Node, 72).is_err());
        for lower in [0, HEADER_SIZE - 1, SPECIAL + 1, usize::from(u16::MAX)] {
            let mut broken = page;
            set_lower(&mut broken, lower);
            assert!(check(&broken, 1, PageKind::Node, 64).is_err());
        }
    }
}
