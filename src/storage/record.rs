//! Records: fixed-stride slots of a node page, read and written through typed views.
//!
//! The plain layout, offsets in bytes from the start of the slot (`m0 = 2 m`, `d` dimensions, `k` TIDs):
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 1 | state: 0 free, 1 node, 2 dead node, 3 TID extension |
//! | 1 | 1 | generation of the slot, one more each time it is freed |
//! | 2 | 1 | level |
//! | 3 | 1 | number of links |
//! | 4 | 2 | number of TIDs |
//! | 6 | 2 | zero |
//! | 8 | 4 | owner: the node's level-0 record (itself on level 0) |
//! | 12 | 4 | below: the node's record one level down; on level 0 and in an extension the next TID extension, or NONE |
//! | 16 | 4 d | vector, f32 |
//! | 16 + 4 d | 4 m0 | linked records |
//! | .. | m0 | their generations |
//! | .. | 6 k | heap TIDs (level 0 only) |
//!
//! A TID extension has the same 16 bytes and then as many TIDs as fit in the stride.

use super::page::{self, HEADER_SIZE, Page, PageKind, SPECIAL, get_u16, get_u32, put_u16, put_u32};
use super::{BlockNumber, HeapTid, Link, NodeRef, corrupted};
use crate::error::{Error, Result};

/// Levels are 0..=MAX_LEVEL.
pub const MAX_LEVEL: u8 = 31;
/// TIDs in a level-0 record, where the page has room: duplicates and versions of a row with an unchanged vector.
const TIDS: usize = 10;

const STATE: usize = 0;
const GENERATION: usize = 1;
const LEVEL: usize = 2;
const LINKS: usize = 3;
const TID_COUNT: usize = 4;
const OWNER: usize = 8;
const BELOW: usize = 12;
const BODY: usize = 16;

/// What a slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// Nothing: any record may be put here.
    Free = 0,
    /// A record of a node.
    Node = 1,
    /// A level-0 record without TIDs that VACUUM is removing: searches may still pass through it, nothing may link to it.
    Dead = 2,
    /// More TIDs of a node.
    Extension = 3,
}

/// Where the fields of a record are: computed from the index's parameters, never stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Dimensions of the vectors.
    pub dimensions: usize,
    /// Links of a record on an upper level; a level-0 record has twice as many.
    pub m: usize,
    /// Bytes of a slot.
    pub stride: usize,
    /// Slots of a page.
    pub slots: u32,
    links_at: usize,
    generations_at: usize,
    tids_at: usize,
    tids: usize,
}

impl Layout {
    /// Bytes of a page that slots can fill.
    const ROOM: usize = SPECIAL - HEADER_SIZE;

    /// Plans the records of an index over vectors of `dimensions` f32 with `m` links a level.
    ///
    /// # Errors
    /// [`Error::TooManyDimensionsForIndex`] when a record would not fit a page.
    pub fn plan(dimensions: usize, m: usize) -> Result<Layout> {
        let links_at = BODY + 4 * dimensions;
        let generations_at = links_at + 4 * 2 * m;
        let tids_at = generations_at + 2 * m;
        if tids_at + HeapTid::SIZE > Self::ROOM {
            let maximum = (Self::ROOM - BODY - 5 * 2 * m - HeapTid::SIZE) / 4;
            return Err(Error::TooManyDimensionsForIndex { maximum });
        }
        let tids = TIDS.min((Self::ROOM - tids_at) / HeapTid::SIZE);
        let stride = (tids_at + tids * HeapTid::SIZE).next_multiple_of(8).min(Self::ROOM);
        let slots = (Self::ROOM / stride) as u32;
        Ok(Layout {
            dimensions,
            m,
            stride,
            slots,
            links_at,
            generations_at,
            tids_at,
            tids,
        })
    }

    /// The most links a record of a level holds.
    #[inline]
    pub fn link_capacity(&self, level: u8) -> usize {
        if level == 0 { 2 * self.m } else { self.m }
    }

    /// The block that holds a record.
    #[inline]
    pub fn block(&self, node: NodeRef) -> BlockNumber {
        node.0 / self.slots
    }

    /// The slot of a record on its page.
    #[inline]
    pub fn slot(&self, node: NodeRef) -> u32 {
        node.0 % self.slots
    }

    /// The record in a slot of a block.
    ///
    /// # Errors
    /// [`Error::IndexFull`] when references of 32 bits cannot name it.
    pub fn node(&self, block: BlockNumber, slot: u32) -> Result<NodeRef> {
        let node = u64::from(block) * u64::from(self.slots) + u64::from(slot);
        match u32::try_from(node) {
            Ok(node) if node != u32::MAX => Ok(NodeRef(node)),
            _ => Err(Error::IndexFull),
        }
    }

    /// Where a slot starts on its page.
    #[inline]
    pub fn offset(&self, slot: u32) -> usize {
        HEADER_SIZE + slot as usize * self.stride
    }

    fn tid_capacity(&self, state: State) -> usize {
        if state == State::Extension {
            (self.stride - BODY) / HeapTid::SIZE
        } else {
            self.tids
        }
    }

    fn tid_offset(&self, state: State) -> usize {
        if state == State::Extension { BODY } else { self.tids_at }
    }
}

/// A node page: its used slots are those below `pd_lower`.
pub struct NodePage<'a> {
    page: &'a Page,
    block: BlockNumber,
    layout: &'a Layout,
}

/// Checks a node page and counts its used slots.
#[inline]
fn used_slots(page: &Page, block: BlockNumber, layout: &Layout) -> Result<u32> {
    page::check(page, block, PageKind::Node, layout.stride)?;
    let used = page::lower(page) - HEADER_SIZE;
    if !used.is_multiple_of(layout.stride) {
        return corrupted(block, "contents do not end with a record");
    }
    Ok((used / layout.stride) as u32)
}

impl<'a> NodePage<'a> {
    /// Reads `page` as a node page.
    #[inline]
    pub fn new(page: &'a Page, block: BlockNumber, layout: &'a Layout) -> Result<NodePage<'a>> {
        used_slots(page, block, layout)?;
        Ok(NodePage { page, block, layout })
    }

    /// Slots in use or freed; those from here to the layout's `slots` were never used.
    pub fn len(&self) -> u32 {
        ((page::lower(self.page) - HEADER_SIZE) / self.layout.stride) as u32
    }

    /// Whether no slot was ever used.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The record in a slot.
    #[inline]
    pub fn record(&self, slot: u32) -> Result<Record<'a>> {
        let start = self.layout.offset(slot);
        if start + self.layout.stride > page::lower(self.page) {
            return corrupted(self.block, "a reference names a slot that was never used");
        }
        Record::new(&self.page[start..start + self.layout.stride], self.block, self.layout)
    }

    /// All records with their addresses, free slots included.
    pub fn records(&self) -> impl Iterator<Item = Result<(NodeRef, Record<'a>)>> + '_ {
        (0..self.len()).map(|slot| Ok((self.layout.node(self.block, slot)?, self.record(slot)?)))
    }
}

/// The read view of a record; what [`Record::new`] has checked cannot lead out of bounds.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    bytes: &'a [u8],
    layout: &'a Layout,
    state: State,
}

impl<'a> Record<'a> {
    #[inline]
    fn new(bytes: &'a [u8], block: BlockNumber, layout: &'a Layout) -> Result<Record<'a>> {
        let state = match bytes[STATE] {
            0 => State::Free,
            1 => State::Node,
            2 => State::Dead,
            3 => State::Extension,
            _ => return corrupted(block, "invalid record state"),
        };
        if bytes[LEVEL] > MAX_LEVEL
            || usize::from(bytes[LINKS]) > layout.link_capacity(bytes[LEVEL])
            || usize::from(get_u16(bytes, TID_COUNT)) > layout.tid_capacity(state)
        {
            return corrupted(block, "invalid level, link or TID count");
        }
        Ok(Record { bytes, layout, state })
    }

    /// What the slot holds.
    #[inline]
    pub fn state(&self) -> State {
        self.state
    }

    /// The slot's generation.
    #[inline]
    pub fn generation(&self) -> u8 {
        self.bytes[GENERATION]
    }

    /// The record's level.
    #[inline]
    pub fn level(&self) -> u8 {
        self.bytes[LEVEL]
    }

    /// Whether the record is one of a node, on this level, and of the generation that a link to it names.
    #[inline]
    pub fn is(&self, generation: u8, level: u8) -> bool {
        matches!(self.state, State::Node | State::Dead) && self.generation() == generation && self.level() == level
    }

    /// The node's level-0 record.
    #[inline]
    pub fn owner(&self) -> NodeRef {
        NodeRef(get_u32(self.bytes, OWNER))
    }

    /// The node's record one level down; on level 0 and in an extension the next TID extension.
    #[inline]
    pub fn below(&self) -> NodeRef {
        NodeRef(get_u32(self.bytes, BELOW))
    }

    /// The vector: `4 * dimensions` bytes of f32, not aligned.
    #[inline]
    pub fn vector(&self) -> &'a [u8] {
        &self.bytes[BODY..self.layout.links_at]
    }

    /// The number of links.
    #[inline]
    pub fn link_count(&self) -> usize {
        usize::from(self.bytes[LINKS])
    }

    /// The links.
    #[inline]
    pub fn links(&self) -> impl ExactSizeIterator<Item = Link> + use<'a> {
        let count = self.link_count();
        let nodes = &self.bytes[self.layout.links_at..self.layout.links_at + 4 * count];
        let generations = &self.bytes[self.layout.generations_at..self.layout.generations_at + count];
        nodes.chunks_exact(4).zip(generations).map(|(node, &generation)| Link {
            node: NodeRef(get_u32(node, 0)),
            generation,
        })
    }

    /// The number of TIDs in this record.
    pub fn tid_count(&self) -> usize {
        usize::from(get_u16(self.bytes, TID_COUNT))
    }

    /// The TIDs in this record.
    pub fn tids(&self) -> impl Iterator<Item = HeapTid> + use<'a> {
        let at = self.layout.tid_offset(self.state);
        self.bytes[at..at + HeapTid::SIZE * self.tid_count()]
            .chunks_exact(HeapTid::SIZE)
            .map(HeapTid::read)
    }

    /// Whether another TID fits.
    pub fn has_room_for_tid(&self) -> bool {
        self.tid_count() < self.layout.tid_capacity(self.state)
    }
}

/// A node page under change.
pub struct NodePageMut<'a> {
    page: &'a mut Page,
    block: BlockNumber,
    layout: &'a Layout,
}

impl<'a> NodePageMut<'a> {
    /// Reads `page` as a node page that is going to be changed; a page that was never initialised becomes an empty one.
    pub fn new(page: &'a mut Page, block: BlockNumber, layout: &'a Layout) -> Result<NodePageMut<'a>> {
        if page::is_new(page) {
            page::init(page, PageKind::Node, layout.stride);
        }
        used_slots(page, block, layout)?;
        Ok(NodePageMut { page, block, layout })
    }

    /// The read view.
    pub fn view(&self) -> NodePage<'_> {
        NodePage {
            page: self.page,
            block: self.block,
            layout: self.layout,
        }
    }

    /// A slot that is free, or was never used, if there is one.
    pub fn free_slot(&self) -> Result<Option<u32>> {
        let view = self.view();
        for slot in 0..view.len() {
            if view.record(slot)?.state() == State::Free {
                return Ok(Some(slot));
            }
        }
        Ok((view.len() < self.layout.slots).then_some(view.len()))
    }

    /// Puts an empty record of a state and level into a free slot: `owner` is itself unless given.
    ///
    /// Returns the link to it.
    pub fn occupy(&mut self, slot: u32, state: State, level: u8, owner: NodeRef, below: NodeRef) -> Result<Link> {
        let node = self.layout.node(self.block, slot)?;
        let start = self.layout.offset(slot);
        let end = start + self.layout.stride;
        if page::lower(self.page) < end {
            page::set_lower(self.page, end);
        }
        let bytes = &mut self.page[start..end];
        let generation = bytes[GENERATION];
        bytes.fill(0);
        bytes[STATE] = state as u8;
        bytes[GENERATION] = generation;
        bytes[LEVEL] = level;
        put_u32(bytes, OWNER, owner.some().unwrap_or(node).0);
        put_u32(bytes, BELOW, below.0);
        Ok(Link { node, generation })
    }

    /// Frees a slot: links to it become stale.
    pub fn free(&mut self, slot: u32) -> Result<()> {
        let mut record = self.record(slot)?;
        record.bytes[STATE] = State::Free as u8;
        record.bytes[GENERATION] = record.bytes[GENERATION].wrapping_add(1);
        record.bytes[LEVEL] = 0;
        record.bytes[LINKS] = 0;
        record.set_tid_count(0);
        Ok(())
    }

    /// The record in a slot.
    pub fn record(&mut self, slot: u32) -> Result<RecordMut<'_>> {
        let state = self.view().record(slot)?.state();
        let start = self.layout.offset(slot);
        Ok(RecordMut {
            bytes: &mut self.page[start..start + self.layout.stride],
            block: self.block,
            layout: self.layout,
            state,
        })
    }
}

/// The write view of a record.
pub struct RecordMut<'a> {
    bytes: &'a mut [u8],
    block: BlockNumber,
    layout: &'a Layout,
    state: State,
}

impl RecordMut<'_> {
    /// The read view.
    pub fn view(&self) -> Record<'_> {
        Record {
            bytes: self.bytes,
            layout: self.layout,
            state: self.state,
        }
    }

    /// Marks a node as dead.
    pub fn set_dead(&mut self) {
        self.state = State::Dead;
        self.bytes[STATE] = State::Dead as u8;
    }

    /// Points to the next TID extension.
    pub fn set_below(&mut self, below: NodeRef) {
        put_u32(self.bytes, BELOW, below.0);
    }

    /// Stores the vector; `vector.len()` is the layout's dimensions.
    pub fn set_vector(&mut self, vector: &[f32]) {
        let stored = self.bytes[BODY..self.layout.links_at].chunks_exact_mut(4);
        for (stored, value) in stored.zip(vector) {
            stored.copy_from_slice(&value.to_ne_bytes());
        }
    }

    /// Replaces all links; at most the level's capacity of them.
    pub fn set_links(&mut self, links: &[Link]) {
        debug_assert!(links.len() <= self.layout.link_capacity(self.bytes[LEVEL]));
        self.bytes[LINKS] = links.len() as u8;
        for (i, &link) in links.iter().enumerate() {
            self.put_link(i, link);
        }
    }

    /// Adds a link if there is room for it; says whether there was.
    pub fn push_link(&mut self, link: Link) -> bool {
        let count = usize::from(self.bytes[LINKS]);
        if count >= self.layout.link_capacity(self.bytes[LEVEL]) {
            return false;
        }
        self.put_link(count, link);
        self.bytes[LINKS] += 1;
        true
    }

    /// Adds a link; where there is no room it replaces the last one.
    pub fn push_or_replace_link(&mut self, link: Link) {
        if !self.push_link(link) {
            self.put_link(usize::from(self.bytes[LINKS]) - 1, link);
        }
    }

    fn put_link(&mut self, i: usize, link: Link) {
        put_u32(self.bytes, self.layout.links_at + 4 * i, link.node.0);
        self.bytes[self.layout.generations_at + i] = link.generation;
    }

    fn set_tid_count(&mut self, count: usize) {
        put_u16(self.bytes, TID_COUNT, count as u16);
    }

    /// Adds a TID.
    ///
    /// # Errors
    /// [`Error::Corrupted`] when there is no room, which the caller has checked.
    pub fn push_tid(&mut self, tid: HeapTid) -> Result<()> {
        if !self.view().has_room_for_tid() {
            return corrupted(self.block, "too many TIDs in a record");
        }
        let count = self.view().tid_count();
        let at = self.layout.tid_offset(self.state) + count * HeapTid::SIZE;
        tid.write(&mut self.bytes[at..at + HeapTid::SIZE]);
        self.set_tid_count(count + 1);
        Ok(())
    }

    /// Keeps the TIDs that `keep` says yes to; returns how many went.
    pub fn retain_tids(&mut self, mut keep: impl FnMut(HeapTid) -> bool) -> usize {
        let count = self.view().tid_count();
        let at = self.layout.tid_offset(self.state);
        let mut kept = 0;
        for i in 0..count {
            let from = at + i * HeapTid::SIZE;
            if keep(HeapTid::read(&self.bytes[from..from + HeapTid::SIZE])) {
                self.bytes
                    .copy_within(from..from + HeapTid::SIZE, at + kept * HeapTid::SIZE);
                kept += 1;
            }
        }
        self.bytes[at + kept * HeapTid::SIZE..at + count * HeapTid::SIZE].fill(0);
        self.set_tid_count(kept);
        count - kept
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
