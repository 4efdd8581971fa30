//! List pages: the nodes with a value of a filter column, with their codes, for scans under
//! conditions.
//!
//! Each filter column has 128 to 4096 lists ([`crate::filter::lists`]), one for each value of a
//! signature's upper bits ([`crate::filter::signature`]), or for elements of sets
//! ([`crate::filter::sets`]): a node is in the list of each of its elements. A list is a chain of
//! pages; its first page is named in the directory ([`super::list_directory`]). An entry is a
//! node's level-0 record, the signatures of its values in all filter columns, and in a coded index
//! the code of its vector relative to the centroid, of as many bits as those of neighbors in
//! records, with its offset and scale. A scan thus estimates the distances of a list's nodes from
//! the list alone. Entries of freed nodes stay until VACUUM takes them out, and no scan believes
//! one that the record does not confirm.
//!
//! A list page has no slot in use (`pd_lower` is at the header's end), so that a stale link into it
//! leads to a free slot. The last 8 bytes before the special space are the number of pages of the
//! list from this one on when it was added (u32), of which VACUUM may have taken some, and zero.
//! Blocks of 16 to 32 entries, at most as many as a block of a record has lanes, grow down from
//! there; `pd_upper` is the start of the newest. Fields of a block, each with one value for every
//! lane: code words (u32, [`crate::quantize::rabitq`]), offset and scale (bfloat16 each), the
//! signatures of each column (u16), reference (u32), generation (u8). A lane with the reference 0
//! is free. The special space has the list and its column (u16: 4096 times the column, plus the
//! list's number), and the next page's block (u32, 0 for none), from its byte 8 on.

use super::layout::Layout;
use super::page::{self, HEADER_SIZE, Page, PageKind, SPECIAL, get_u16, get_u32, put_u16, put_u32};
use super::{BlockNumber, Link, NodeRef, corrupted};
use crate::distance::fastscan::FACTOR_BYTES;
use crate::error::Result;
use crate::filter::lists::{self, MOST};
use crate::filter::signature::Signatures;
use crate::quantize::bfloat16::Bf16;
use crate::quantize::rabitq::{self, Codes, Factors, LANES, WORD_BITS};

/// Bytes of a signature.
const SIGNATURE_LEN: usize = size_of::<u16>();

/// Bytes of a factor of one lane.
const FACTOR_LEN: usize = FACTOR_BYTES / LANES;

const ID_AT: usize = SPECIAL + 8;
const NEXT_AT: usize = SPECIAL + 10;
const PAGES_AT: usize = SPECIAL - 8;

/// The layout of the blocks of a list page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListLayout {
    /// Stride of the index's records, which all of its pages name.
    stride: usize,
    /// Entries of a block.
    lanes: usize,
    /// Words of a code; 0 in a plain index.
    words: usize,
    /// Filter columns.
    columns: usize,
}

impl ListLayout {
    /// The layout of the lists of an index, of blocks with as many entries as fill a page best. A
    /// block is smaller than a record's fields of as many lanes, so that a page has room for one.
    pub fn of(layout: &Layout) -> ListLayout {
        let with = |lanes| ListLayout {
            stride: layout.stride,
            lanes,
            words: layout.code_words(),
            columns: layout.filters(),
        };
        let most = if layout.is_coded() { layout.block_lanes() } else { LANES };
        let fewer = [LANES - 8, LANES - 16].into_iter().filter(|&lanes| lanes < most);
        fewer.fold(with(most), |best, lanes| {
            let other = with(lanes);
            if other.most_entries() > best.most_entries() {
                other
            } else {
                best
            }
        })
    }

    const fn factors_at(&self) -> usize {
        rabitq::codes_len(self.words * WORD_BITS, self.lanes)
    }

    const fn signatures_at(&self) -> usize {
        match self.words {
            0 => 0,
            _ => self.factors_at() + 2 * FACTOR_LEN * self.lanes,
        }
    }

    const fn references_at(&self) -> usize {
        self.signatures_at() + SIGNATURE_LEN * self.columns * self.lanes
    }

    const fn generations_at(&self) -> usize {
        self.references_at() + size_of::<u32>() * self.lanes
    }

    const fn block_len(&self) -> usize {
        self.generations_at() + self.lanes
    }

    /// Words of a code.
    pub const fn words(&self) -> usize {
        self.words
    }

    /// The start of the newest block of a page with so many, or as many as it has room for.
    pub fn start_of(&self, blocks: usize) -> usize {
        PAGES_AT - blocks.min((PAGES_AT - HEADER_SIZE) / self.block_len()) * self.block_len()
    }

    /// Most entries of a page.
    pub const fn most_entries(&self) -> usize {
        (PAGES_AT - HEADER_SIZE) / self.block_len() * self.lanes
    }

    /// Pages of a column's lists over so many nodes, if their values are spread evenly over the
    /// lists.
    pub fn pages(&self, nodes: usize) -> usize {
        let lists = nodes.min(1 << lists::bits(nodes as f64));
        match lists {
            0 => 0,
            _ => lists * nodes.div_ceil(lists).div_ceil(self.most_entries()),
        }
    }
}

/// A list: its column and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListId {
    /// The filter column.
    pub column: u8,
    /// The number of the list.
    pub list: u16,
}

impl ListId {
    const fn packed(self) -> u16 {
        self.column as u16 * MOST as u16 + self.list
    }
}

/// A node in a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListEntry {
    /// The node's level-0 record.
    pub link: Link,
    /// The signatures of its values.
    pub signatures: Signatures,
}

/// A code and its factors.
#[derive(Debug, Clone, Copy)]
pub struct Code<'a> {
    /// The code; empty in a plain index.
    pub words: &'a [u32],
    /// Its factors.
    pub factors: Factors,
}

/// Makes a list page of a new page; the list has so many pages with it.
pub fn init(page: &mut Page, id: ListId, layout: &ListLayout, next: BlockNumber, pages: u32) {
    page::init(page, PageKind::List, layout.stride);
    put_u16(page, ID_AT, id.packed());
    set_pages(page, pages);
    page::set_upper(page, PAGES_AT);
    set_next(page, next);
}

/// About the number of pages of the list from this one on.
pub fn pages(page: &Page) -> u32 {
    get_u32(page, PAGES_AT)
}

/// Whether a page is one of this list; checks it in that case.
pub fn is_of(page: &Page, block: BlockNumber, id: ListId, layout: &ListLayout) -> Result<bool> {
    if page::is_new(page) || !page::is_list(page) {
        return Ok(false);
    }
    page::check(page, block, PageKind::List, layout.stride)?;
    let blocks = PAGES_AT.checked_sub(page::upper(page));
    if blocks.is_none_or(|len| !len.is_multiple_of(layout.block_len())) {
        return corrupted(block, "a part of a block of entries");
    }
    Ok(self::id(page) == id)
}

/// The list of a list page.
pub fn id(page: &Page) -> ListId {
    let packed = get_u16(page, ID_AT);
    ListId {
        column: (packed / MOST as u16) as u8,
        list: packed % MOST as u16,
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

/// Sets that number.
pub fn set_pages(page: &mut Page, pages: u32) {
    put_u32(page, PAGES_AT, pages);
}

/// A block of entries.
#[derive(Clone, Copy)]
pub struct Block<'a> {
    page: &'a Page,
    at: usize,
    layout: &'a ListLayout,
}

impl<'a> Block<'a> {
    /// Codes of the lanes, with their offsets and scales, as `distance::estimate` takes them; of an
    /// index with codes.
    #[inline]
    pub fn codes(&self) -> (Codes<'a>, &'a [u8], &'a [u8]) {
        let offsets = self.at + self.layout.factors_at();
        let scales = offsets + FACTOR_LEN * self.layout.lanes;
        let codes = Codes {
            bytes: &self.page[self.at..offsets],
            lanes: self.layout.lanes,
        };
        (
            codes,
            &self.page[offsets..][..FACTOR_BYTES],
            &self.page[scales..][..FACTOR_BYTES],
        )
    }

    /// The signatures of a column, two bytes for each lane.
    #[inline]
    pub fn signatures(&self, column: usize) -> &'a [u8] {
        let len = SIGNATURE_LEN * self.layout.lanes;
        &self.page[self.at + self.layout.signatures_at() + column * len..][..len]
    }

    /// The lanes in use, one bit for each.
    #[inline]
    pub fn used(&self) -> u32 {
        let references = &self.page[self.at + self.layout.references_at()..][..size_of::<u32>() * self.layout.lanes];
        let references = references.as_chunks().0.iter();
        references.enumerate().fold(0, |used, (lane, reference)| {
            used | u32::from(u32::from_ne_bytes(*reference) != 0) << lane
        })
    }

    /// The record of a lane.
    #[inline]
    pub fn link(&self, lane: usize) -> Link {
        let reference = self.at + self.layout.references_at() + size_of::<u32>() * lane;
        Link {
            node: NodeRef(get_u32(self.page, reference)),
            generation: self.page[self.at + self.layout.generations_at() + lane],
        }
    }

    /// The numbers of the lanes in use.
    pub fn lanes(&self) -> impl Iterator<Item = usize> + use<'a> {
        let used = self.used();
        (0..self.layout.lanes).filter(move |lane| used >> lane & 1 == 1)
    }

    /// Reads the code of a lane, and returns its factors, the length as zero.
    ///
    /// # Panics
    /// If `words` has another length than the layout says.
    pub fn read_code(&self, lane: usize, words: &mut [u32]) -> Factors {
        assert_eq!(words.len(), self.layout.words);
        if words.is_empty() {
            return Factors::default();
        }
        let factors_at = self.at + self.layout.factors_at();
        rabitq::read_lane(&self.page[self.at..factors_at], lane, words);
        let factor = |i: usize| {
            Bf16::from_bits(get_u16(
                self.page,
                factors_at + FACTOR_LEN * (i * self.layout.lanes + lane),
            ))
        };
        Factors {
            offset: factor(0),
            scale: factor(1),
            length: Bf16::default(),
        }
    }

    /// The entry of a lane.
    pub fn entry(&self, lane: usize) -> ListEntry {
        let mut signatures = Signatures::default();
        for (column, signature) in signatures.iter_mut().enumerate().take(self.layout.columns) {
            *signature = get_u16(self.signatures(column), SIGNATURE_LEN * lane);
        }
        ListEntry {
            link: self.link(lane),
            signatures,
        }
    }
}

/// The blocks of a page that [`is_of`] has checked.
#[inline]
pub fn blocks<'a>(page: &'a Page, layout: &'a ListLayout) -> impl Iterator<Item = Block<'a>> {
    let starts = (page::upper(page)..PAGES_AT).step_by(layout.block_len());
    starts.map(move |at| Block { page, at, layout })
}

/// Whether such a page has no entries.
pub fn is_empty(page: &Page, layout: &ListLayout) -> bool {
    blocks(page, layout).all(|block| block.used() == 0)
}

/// The number of entries of such a page.
pub fn count(page: &Page, layout: &ListLayout) -> usize {
    blocks(page, layout)
        .map(|block| block.used().count_ones() as usize)
        .sum()
}

/// The entries of such a page.
pub fn entries<'a>(page: &'a Page, layout: &'a ListLayout) -> impl Iterator<Item = ListEntry> {
    blocks(page, layout).flat_map(|block| block.lanes().map(move |lane| block.entry(lane)))
}

/// Adds an entry to such a page; returns false if there is no room.
///
/// # Panics
/// If the code has another length than the layout says.
pub fn push(page: &mut Page, layout: &ListLayout, entry: &ListEntry, code: &Code<'_>) -> bool {
    assert_eq!(code.words.len(), layout.words);
    let free = |block: Block<'_>| (!block.used()).trailing_zeros() as usize;
    let found = blocks(page, layout)
        .map(|block| (block.at, free(block)))
        .find(|&(_, lane)| lane < layout.lanes);
    let (at, lane) = match found {
        Some(place) => place,
        None => {
            let at = page::upper(page).checked_sub(layout.block_len());
            let Some(at) = at.filter(|&at| at >= HEADER_SIZE) else {
                return false;
            };
            page[at..at + layout.block_len()].fill(0);
            page::set_upper(page, at);
            (at, 0)
        }
    };
    if layout.words > 0 {
        rabitq::set_lane(&mut page[at..at + layout.factors_at()], lane, code.words);
        let factors = [code.factors.offset, code.factors.scale];
        for (i, factor) in factors.into_iter().enumerate() {
            let at = at + layout.factors_at() + FACTOR_LEN * (i * layout.lanes + lane);
            put_u16(page, at, factor.to_bits());
        }
    }
    for (column, &signature) in entry.signatures.iter().enumerate().take(layout.columns) {
        let at = at + layout.signatures_at() + SIGNATURE_LEN * (column * layout.lanes + lane);
        put_u16(page, at, signature);
    }
    put_u32(
        page,
        at + layout.references_at() + size_of::<u32>() * lane,
        entry.link.node.0,
    );
    page[at + layout.generations_at() + lane] = entry.link.generation;
    true
}

/// Keeps the entries of such a page for which `keep` is true; returns how many went. Their lanes
/// are free for others; blocks without entries go with the newest one.
pub fn retain(page: &mut Page, layout: &ListLayout, mut keep: impl FnMut(&ListEntry) -> bool) -> usize {
    let mut gone = 0;
    for at in (page::upper(page)..PAGES_AT).step_by(layout.block_len()) {
        for lane in 0..layout.lanes {
            let block = Block { page, at, layout };
            if block.used() >> lane & 1 == 1 && !keep(&block.entry(lane)) {
                put_u32(page, at + layout.references_at() + size_of::<u32>() * lane, 0);
                gone += 1;
            }
        }
    }
    let is_unused = |page: &Page, at| at < PAGES_AT && Block { page, at, layout }.used() == 0;
    let start = page::upper(page);
    let mut end = start;
    while is_unused(page, end) {
        end += layout.block_len();
    }
    page[start..end].fill(0);
    page::set_upper(page, end);
    gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance::Metric;
    use crate::storage::layout_plan::Storage;
    use crate::storage::page::PAGE_SIZE;

    const ID: ListId = ListId { column: 2, list: 1277 };

    fn entry(n: usize) -> ListEntry {
        ListEntry {
            link: Link {
                node: NodeRef(1 + n as u32 * 7919),
                generation: n as u8,
            },
            signatures: [n as u16, 3 * n as u16, 0, 0],
        }
    }

    fn words(n: usize, layout: &ListLayout) -> Vec<u32> {
        (0..layout.words).map(|word| (n * 31 + word) as u32).collect()
    }

    fn push_numbered(page: &mut Page, n: usize, layout: &ListLayout) -> bool {
        let factors = Factors {
            offset: Bf16::from_f32(n as f32),
            scale: Bf16::from_f32(2.0 * n as f32),
            length: Bf16::default(),
        };
        let words = words(n, layout);
        push(page, layout, &entry(n), &Code { words: &words, factors })
    }

    /// Layouts with codes and without, and of few lanes.
    fn layouts() -> [ListLayout; 4] {
        let compact = |dimensions, m| Layout::plan_as(Storage::Compact, dimensions, m, Metric::L2, 2).unwrap();
        let full = |metric| Layout::plan(128, 16, metric, 2).unwrap();
        [full(Metric::L2), full(Metric::L1), compact(200, 16), compact(4096, 2)].map(|layout| ListLayout::of(&layout))
    }

    #[test]
    fn a_page_gives_its_entries_back_and_loses_those_that_are_refused() {
        for layout in layouts() {
            let mut page = [0; PAGE_SIZE];
            init(&mut page, ID, &layout, 9, 3);
            let most = layout.most_entries();
            assert!(most > 0);
            for n in 0..most {
                assert!(push_numbered(&mut page, n, &layout));
            }
            assert!(!push_numbered(&mut page, 0, &layout));
            let all = |page: &Page| {
                let mut all: Vec<u16> = entries(page, &layout).map(|entry| entry.signatures[0]).collect();
                all.sort_unstable();
                all
            };
            assert!(all(&page).into_iter().eq(0..most as u16));
            assert_eq!(is_of(&page, 5, ID, &layout), Ok(true));
            assert_eq!(is_of(&page, 5, ListId { column: 1, ..ID }, &layout), Ok(false));
            let gone = retain(&mut page, &layout, |entry| entry.signatures[0] % 3 == 0);
            assert_eq!(all(&page), (0..most as u16).step_by(3).collect::<Vec<_>>());
            assert_eq!(gone, most - entries(&page, &layout).count());
            assert!(entries(&page, &layout).all(|found| found == entry(usize::from(found.signatures[0]))));
            // Lanes that became free are used again.
            (0..gone).for_each(|_| assert!(push_numbered(&mut page, 1, &layout)));
            assert!(!push_numbered(&mut page, 1, &layout));
            assert_eq!((next(&page), super::id(&page), pages(&page)), (9, ID, 3));
            assert_eq!(retain(&mut page, &layout, |_| false), most);
            assert_eq!((entries(&page, &layout).count(), page::upper(&page)), (0, PAGES_AT));
            assert!(push_numbered(&mut page, 3, &layout));
        }
    }

    #[test]
    fn a_block_has_the_codes_of_its_entries() {
        for layout in layouts() {
            let mut page = [0; PAGE_SIZE];
            init(&mut page, ID, &layout, 0, 1);
            let most = layout.most_entries();
            (0..most).for_each(|n| assert!(push_numbered(&mut page, n, &layout)));
            for block in blocks(&page, &layout) {
                assert_eq!(block.used(), u32::MAX >> (32 - layout.lanes));
                for lane in 0..layout.lanes {
                    let n = usize::from(get_u16(block.signatures(0), SIGNATURE_LEN * lane));
                    assert_eq!(block.link(lane), entry(n).link);
                    assert_eq!(get_u16(block.signatures(1), SIGNATURE_LEN * lane), 3 * n as u16);
                    if layout.words == 0 {
                        continue;
                    }
                    let (codes, offsets, scales) = block.codes();
                    let place = |word: usize| Codes::place(layout.words, codes.lanes, word, lane);
                    let of_word = |word: usize| get_u32(codes.bytes, place(word));
                    assert!((0..layout.words).map(of_word).eq(words(n, &layout)));
                    let factors = [offsets, scales].map(|factor| get_u16(factor, FACTOR_LEN * lane));
                    let expected = [n as f32, 2.0 * n as f32].map(|factor| Bf16::from_f32(factor).to_bits());
                    assert_eq!(factors, expected);
                    let mut code = vec![0; layout.words];
                    let read = block.read_code(lane, &mut code);
                    assert_eq!((read.offset.to_bits(), read.scale.to_bits()), expected.into());
                    assert_eq!(code, words(n, &layout));
                }
            }
        }
    }

    #[test]
    fn damaged_pages_are_refused() {
        let [layout, plain, ..] = layouts();
        let mut page = [0; PAGE_SIZE];
        init(&mut page, ID, &layout, 0, 1);
        assert!(push_numbered(&mut page, 1, &layout));
        assert_eq!(is_of(&page, 5, ID, &layout), Ok(true));
        assert!(is_of(&page, 5, ID, &plain).is_err());
        let upper = page::upper(&page);
        page::set_upper(&mut page, upper + 1);
        assert!(is_of(&page, 5, ID, &layout).is_err());
    }
}
