//! Records: the contents of a slot of a node page, read and written through typed views.
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 1 | state: 0 free, 1 node, 2 dead node, 3 TID extension, 4 overflow record |
//! | 1 | 1 | generation of the slot: at first that of its page, one more each time it is freed |
//! | 2 | 1 | level |
//! | 3 | 1 | number of links |
//! | 4 | 2 | number of TIDs |
//! | 6 | 1 | overflow record: generation of its owner |
//! | 7 | 1 | zero |
//! | 8 | 4 | owner: the node's level-0 record (itself on level 0) |
//! | 12 | 4 | below: record one level down; on level 0, in extensions: next TID extension or NONE |
//! | 16 | 4 n | linked records, n lanes |
//! | .. | n | their generations |
//! | .. | n/8 | coded: one bit for each lane, set if it is a fill |
//! | .. | 2 x 2 n | coded: the offsets and the scales of the lanes' codes, bfloat16 |
//! | .. | n b/8 | coded: the codes of b bits, up to 32 lanes side by side (`quantize::rabitq`) |
//! | .. | n c | coded: the signatures of the lanes' values in c filter columns, column by column; 2 n of sets |
//! | .. | 1 + 8 c | the values of the filter columns (`filter::values`); nothing if there are none |
//! | .. | v | the vector, or its start; 12-bit scalars have their offset and scale (f32) first |
//! | .. | 4 t | the node's overflow records |
//! | .. | 6 k | heap TIDs (level 0 only) |
//!
//! A TID extension has the same first 16 bytes and then as many TIDs as fit in the stride; an
//! overflow record has them and then the bytes of its part of the vector. `layout` has the sizes.
//!
//! The highest bit of a TID's offset, which no line pointer needs, marks a row that a scan found
//! dead to everyone. VACUUM removes the TID.
//!
//! A lane holds a survivor of the selection heuristic or a fill: a near neighbor in a lane that
//! would otherwise be empty. Fills are replaced first.

use super::format::MAX_LEVEL;
use super::layout::BODY;
use super::page::{get_u16, get_u32, put_u16, put_u32};
use super::{BlockNumber, HeapTid, Layout, Link, NodeRef, corrupted};
use crate::error::Result;
use crate::filter::signature::Signatures;
use crate::filter::values::Values;
use crate::quantize::bfloat16::Bf16;
use crate::quantize::rabitq::{self, Codes, Factors, LANES};

const STATE: usize = 0;
const GENERATION: usize = 1;
const LEVEL: usize = 2;
const LINKS: usize = 3;
const TID_COUNT: usize = 4;
const OWNER_GENERATION: usize = 6;
const OWNER: usize = 8;
const BELOW: usize = 12;

/// State of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum State {
    /// No record: the slot may be used.
    Free = 0,
    /// A record of a node.
    Node = 1,
    /// A record of a node without TIDs that VACUUM is removing: searches may still pass through it,
    /// new links to it are not made.
    Dead = 2,
    /// More TIDs of a node.
    Extension = 3,
    /// More of a node's vector.
    Overflow = 4,
}

/// Position of the offset in a stored TID.
const OFFSET_IN_TID: usize = 4;

/// The bit of a stored TID's offset that marks a row dead to everyone.
const KILLED: u16 = 1 << 15;

/// A stored TID.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// The row.
    pub tid: HeapTid,
    /// Whether a scan found the row dead to everyone.
    pub killed: bool,
}

impl Entry {
    #[inline]
    fn read(bytes: &[u8]) -> Entry {
        let HeapTid { block, offset } = HeapTid::read(bytes);
        Entry {
            tid: HeapTid {
                block,
                offset: offset & !KILLED,
            },
            killed: offset & KILLED != 0,
        }
    }
}

/// The code of a neighbor with its factors, and the signatures of its filter values; nothing of it
/// is stored in the plain layout.
#[derive(Debug, Clone, Copy, Default)]
pub struct Code<'a> {
    /// The words of the code.
    pub words: &'a [u32],
    /// The factors.
    pub factors: Factors,
    /// The signatures in the form of lanes.
    pub signatures: Signatures,
}

/// The links in a block of 32 lanes.
pub struct LaneLinks<'a> {
    nodes: &'a [[u8; 4]; LANES],
    generations: &'a [u8; LANES],
}

impl LaneLinks<'_> {
    /// The link in lane `i` of the block.
    #[inline]
    pub fn get(&self, i: usize) -> Link {
        Link {
            node: NodeRef(u32::from_ne_bytes(self.nodes[i])),
            generation: self.generations[i],
        }
    }
}

/// Read view of a record. [`Record::new`] checks the counts, so that no later read leaves the
/// record.
#[derive(Clone, Copy)]
pub struct Record<'a> {
    bytes: &'a [u8],
    layout: &'a Layout,
    state: State,
    lsn: u64,
}

impl<'a> Record<'a> {
    #[inline]
    pub(super) fn new(bytes: &'a [u8], block: BlockNumber, layout: &'a Layout, lsn: u64) -> Result<Record<'a>> {
        let state = match bytes[STATE] {
            0 => State::Free,
            1 => State::Node,
            2 => State::Dead,
            3 => State::Extension,
            4 => State::Overflow,
            _ => return corrupted(block, "invalid record state"),
        };
        let record = Record {
            bytes,
            layout,
            state,
            lsn,
        };
        if bytes[LEVEL] > MAX_LEVEL
            || usize::from(bytes[LINKS]) > layout.link_capacity(bytes[LEVEL])
            || record.tid_count() > record.tid_capacity()
        {
            return corrupted(block, "invalid level, link or TID count");
        }
        Ok(record)
    }

    /// State of the slot.
    #[inline]
    pub fn state(&self) -> State {
        self.state
    }

    /// Position in WAL of the last change to the record's page ([`super::page::lsn`]); 0 in a view
    /// of a page under change.
    #[inline]
    pub fn lsn(&self) -> u64 {
        self.lsn
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

    /// Whether the record belongs to a node, is on this level, and has the generation that a link
    /// to it names.
    #[inline]
    pub fn is(&self, generation: u8, level: u8) -> bool {
        matches!(self.state, State::Node | State::Dead) && self.generation() == generation && self.level() == level
    }

    /// The node's level-0 record.
    #[inline]
    pub fn owner(&self) -> NodeRef {
        NodeRef(get_u32(self.bytes, OWNER))
    }

    /// Of an overflow record: the generation of its owner.
    pub fn owner_generation(&self) -> u8 {
        self.bytes[OWNER_GENERATION]
    }

    /// The node's record one level down; on level 0 and in an extension the next TID extension.
    #[inline]
    pub fn below(&self) -> NodeRef {
        NodeRef(get_u32(self.bytes, BELOW))
    }

    /// The bytes of the stored vector that are in the record, at no particular alignment.
    #[inline]
    pub fn vector(&self) -> &'a [u8] {
        &self.bytes[self.layout.vector_at..self.layout.overflows_at]
    }

    /// The node's filter values.
    #[inline]
    pub fn values(&self) -> Values {
        Values::read(self.values_bytes())
    }

    /// The stored form of the node's filter values.
    #[inline]
    pub fn values_bytes(&self) -> &'a [u8] {
        &self.bytes[self.layout.values_at..self.layout.vector_at]
    }

    /// The node's overflow records, as many as its vector needs.
    pub fn overflows(&self) -> impl Iterator<Item = NodeRef> + use<'a> {
        let count = self.layout.overflow_count(self.vector());
        let overflows = &self.bytes[self.layout.overflows_at..self.layout.tids_at];
        overflows
            .chunks_exact(4)
            .take(count)
            .map(|overflow| NodeRef(get_u32(overflow, 0)))
    }

    /// Whether all overflow records are there: a crash may leave a record without them.
    #[inline]
    pub fn is_complete(&self) -> bool {
        self.layout.overflows == 0 || self.overflows().all(|overflow| overflow != NodeRef::NONE)
    }

    /// Of an overflow record: the bytes of its part of the vector, up to the end of the slot.
    pub fn overflow_bytes(&self) -> &'a [u8] {
        &self.bytes[BODY..]
    }

    /// The number of links.
    #[inline]
    pub fn link_count(&self) -> usize {
        usize::from(self.bytes[LINKS])
    }

    /// The link in lane `i`, below the number of links.
    #[inline]
    pub fn link(&self, i: usize) -> Link {
        Link {
            node: NodeRef(get_u32(self.bytes, self.layout.links_at + 4 * i)),
            generation: self.bytes[self.layout.generations_at + i],
        }
    }

    /// The lanes' links of a block of 32 lanes.
    #[inline]
    pub fn links_of(&self, block: usize) -> LaneLinks<'a> {
        let lane = block * LANES;
        let (nodes, generations) = (
            &self.bytes[self.layout.links_at + 4 * lane..],
            &self.bytes[self.layout.generations_at + lane..],
        );
        match (nodes.as_chunks().0.first_chunk(), generations.first_chunk()) {
            (Some(nodes), Some(generations)) => LaneLinks { nodes, generations },
            _ => panic!("a block beyond the lanes"),
        }
    }

    /// The links.
    #[inline]
    pub fn links(&self) -> impl ExactSizeIterator<Item = Link> + use<'a> {
        let record = *self;
        (0..self.link_count()).map(move |i| record.link(i))
    }

    /// Links that survived the selection heuristic.
    pub fn survivors(&self) -> impl Iterator<Item = Link> + use<'a> {
        let record = *self;
        (0..self.link_count())
            .filter(move |&i| !record.is_fill(i))
            .map(move |i| record.link(i))
    }

    /// Whether lane `i` is a fill. The plain layout has no fills.
    #[inline]
    pub fn is_fill(&self, i: usize) -> bool {
        self.layout.is_coded() && self.bytes[self.layout.fills_at + i / 8] >> (i % 8) & 1 == 1
    }

    /// About the length of the code in lane `i`, the neighbor's Euclidean distance
    /// ([`Layout::length_of`]).
    #[inline]
    pub fn length(&self, i: usize) -> f32 {
        self.length_factor(i).to_f32()
    }

    fn length_factor(&self, i: usize) -> Bf16 {
        self.layout.length_of(self.factor(self.layout.scales_at, i))
    }

    fn factor(&self, at: usize, i: usize) -> Bf16 {
        Bf16::from_bits(get_u16(self.bytes, at + 2 * i))
    }

    /// Reads the code in lane `i` into `words`, which has the layout's number of words.
    pub fn read_code(&self, i: usize, words: &mut [u32]) -> Factors {
        let codes = self.layout.codes_of(i / LANES);
        rabitq::read_lane(&self.bytes[codes], i % LANES, words);
        Factors {
            offset: self.factor(self.layout.offsets_at, i),
            scale: self.factor(self.layout.scales_at, i),
            length: self.length_factor(i),
        }
    }

    /// The signatures in lane `i` ([`crate::filter::signature::lanes`]).
    pub fn signatures(&self, i: usize) -> Signatures {
        let mut signatures = Signatures::default();
        if self.layout.is_coded() {
            for (column, signature) in signatures.iter_mut().enumerate().take(self.layout.filters()) {
                let at = self.layout.signature_at(column, i);
                *signature = match self.layout.shape.filters.is_set(column) {
                    true => get_u16(self.bytes, at),
                    false => self.bytes[at].into(),
                };
            }
        }
        signatures
    }

    /// The signatures of a filter column in a block of 32 lanes, two bytes each of sets, and one of
    /// others.
    #[inline]
    pub fn signatures_of(&self, column: usize, block: usize) -> &'a [u8] {
        let at = self.layout.signature_at(column, block * LANES);
        &self.bytes[at..at + self.layout.shape.filters.signature_len(column) * LANES]
    }

    /// Codes of a block of 32 lanes, with their offsets and scales, as `distance::estimate` takes
    /// them.
    #[inline]
    pub fn codes(&self, block: usize) -> (Codes<'a>, &'a [u8], &'a [u8]) {
        let factors = |at: usize| &self.bytes[at + 2 * LANES * block..at + 2 * LANES * (block + 1)];
        let codes = Codes {
            bytes: &self.bytes[self.layout.codes_of(block)],
            lanes: self.layout.block_lanes(),
        };
        (codes, factors(self.layout.offsets_at), factors(self.layout.scales_at))
    }

    /// The lengths of a block of lanes.
    #[inline]
    pub fn lengths(&self, block: usize) -> impl Iterator<Item = Bf16> + use<'a> {
        let (record, lane) = (*self, block * LANES);
        (lane..lane + self.layout.block_lanes()).map(move |i| record.length_factor(i))
    }

    /// The number of TIDs in this record.
    #[inline]
    pub fn tid_count(&self) -> usize {
        usize::from(get_u16(self.bytes, TID_COUNT))
    }

    /// The TIDs in this record.
    pub fn tids(&self) -> impl Iterator<Item = HeapTid> + use<'a> {
        self.entries().map(|entry| entry.tid)
    }

    /// The TIDs in this record with their marks.
    pub fn entries(&self) -> impl Iterator<Item = Entry> + use<'a> {
        let at = self.tids_at();
        self.bytes[at..at + HeapTid::SIZE * self.tid_count()]
            .chunks_exact(HeapTid::SIZE)
            .map(Entry::read)
    }

    /// The only TID of a node, if the node has one TID.
    #[inline]
    pub fn only_entry(&self) -> Option<Entry> {
        let only = self.tid_count() == 1 && self.below() == NodeRef::NONE;
        let at = self.layout.tids_at;
        only.then(|| Entry::read(&self.bytes[at..at + HeapTid::SIZE]))
    }

    /// Whether another TID fits.
    pub fn has_room_for_tid(&self) -> bool {
        self.tid_count() < self.tid_capacity()
    }

    fn tid_capacity(&self) -> usize {
        match self.state {
            State::Extension => (self.layout.stride - BODY) / HeapTid::SIZE,
            State::Overflow => 0,
            _ => self.layout.tids,
        }
    }

    fn tids_at(&self) -> usize {
        if self.state == State::Extension {
            BODY
        } else {
            self.layout.tids_at
        }
    }
}

/// The write view of a record.
pub struct RecordMut<'a> {
    bytes: &'a mut [u8],
    block: BlockNumber,
    layout: &'a Layout,
    state: State,
}

impl<'a> RecordMut<'a> {
    pub(super) fn new(bytes: &'a mut [u8], block: BlockNumber, layout: &'a Layout) -> Result<RecordMut<'a>> {
        let state = Record::new(bytes, block, layout, 0)?.state;
        Ok(RecordMut {
            bytes,
            block,
            layout,
            state,
        })
    }

    /// Makes this an empty record. `owner` [`NodeRef::NONE`] means the record itself.
    pub(super) fn occupy(&mut self, node: NodeRef, state: State, level: u8, owner: NodeRef, below: NodeRef) -> Link {
        let generation = self.bytes[GENERATION];
        self.bytes.fill(0);
        self.state = state;
        self.bytes[STATE] = state as u8;
        self.bytes[GENERATION] = generation;
        self.bytes[LEVEL] = level;
        put_u32(self.bytes, OWNER, owner.some().unwrap_or(node).0);
        put_u32(self.bytes, BELOW, below.0);
        if matches!(state, State::Node | State::Dead) {
            self.set_overflows(std::iter::repeat_n(NodeRef::NONE, self.layout.overflows));
        }
        Link { node, generation }
    }

    /// Sets the generation of a slot at its first use.
    pub(super) fn set_generation(&mut self, generation: u8) {
        self.bytes[GENERATION] = generation;
    }

    /// Frees the slot: links to it become stale.
    pub(super) fn free(&mut self) {
        self.state = State::Free;
        self.bytes[STATE] = State::Free as u8;
        self.bytes[GENERATION] = self.bytes[GENERATION].wrapping_add(1);
        self.bytes[LEVEL] = 0;
        self.bytes[LINKS] = 0;
        self.set_tid_count(0);
    }

    /// The read view.
    pub fn view(&self) -> Record<'_> {
        Record {
            bytes: self.bytes,
            layout: self.layout,
            state: self.state,
            lsn: 0,
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

    /// Stores the record's part of a stored vector.
    pub fn set_vector(&mut self, stored: &[u8]) {
        self.bytes[self.layout.vector_at..self.layout.overflows_at].copy_from_slice(&stored[..self.layout.inline_len]);
    }

    /// Stores the node's filter values.
    pub fn set_values(&mut self, values: &Values) {
        values.write(&mut self.bytes[self.layout.values_at..self.layout.vector_at]);
    }

    /// Points to the overflow records.
    pub fn set_overflows(&mut self, overflows: impl Iterator<Item = NodeRef>) {
        let places = self.bytes[self.layout.overflows_at..self.layout.tids_at].chunks_exact_mut(4);
        for (place, overflow) in places.zip(overflows) {
            put_u32(place, 0, overflow.0);
        }
    }

    /// Of an overflow record: stores its part of a vector and the generation of its owner.
    pub fn set_overflow(&mut self, owner_generation: u8, bytes: &[u8]) {
        self.bytes[OWNER_GENERATION] = owner_generation;
        self.bytes[BODY..BODY + bytes.len()].copy_from_slice(bytes);
    }

    /// Words of a code; 0 in a plain index.
    pub fn code_words(&self) -> usize {
        self.layout.code_words()
    }

    /// Drops all links.
    pub fn clear_links(&mut self) {
        self.bytes[LINKS] = 0;
    }

    /// Adds a link in an unused lane; returns false if there is none.
    pub fn push_link(&mut self, link: Link, code: Code<'_>, fill: bool) -> bool {
        let count = usize::from(self.bytes[LINKS]);
        if count >= self.layout.link_capacity(self.bytes[LEVEL]) {
            return false;
        }
        self.bytes[LINKS] += 1;
        self.put_link(count, link, code, fill);
        true
    }

    /// Replaces the link in lane `i`.
    pub fn put_link(&mut self, i: usize, link: Link, code: Code<'_>, fill: bool) {
        debug_assert!(i < usize::from(self.bytes[LINKS]) && code.words.len() == self.layout.code_words());
        put_u32(self.bytes, self.layout.links_at + 4 * i, link.node.0);
        self.bytes[self.layout.generations_at + i] = link.generation;
        if self.layout.is_coded() {
            let Factors { offset, scale, .. } = code.factors;
            put_u16(self.bytes, self.layout.offsets_at + 2 * i, offset.to_bits());
            put_u16(self.bytes, self.layout.scales_at + 2 * i, scale.to_bits());
            let codes = self.layout.codes_of(i / LANES);
            rabitq::set_lane(&mut self.bytes[codes], i % LANES, code.words);
            self.set_fill(i, fill);
            for (column, signature) in code.signatures.into_iter().enumerate().take(self.layout.filters()) {
                let at = self.layout.signature_at(column, i);
                match self.layout.shape.filters.is_set(column) {
                    true => put_u16(self.bytes, at, signature),
                    false => self.bytes[at] = signature as u8,
                }
            }
        }
    }

    /// Empties lane `i`: the last link moves there. `words` is scratch memory of the layout's
    /// number of words.
    pub fn remove_link(&mut self, i: usize, words: &mut [u32]) {
        let last = usize::from(self.bytes[LINKS]) - 1;
        if i < last {
            let view = self.view();
            let (link, fill, signatures) = (view.link(last), view.is_fill(last), view.signatures(last));
            let code = match self.layout.is_coded() {
                true => Code {
                    factors: view.read_code(last, words),
                    words,
                    signatures,
                },
                false => Code::default(),
            };
            self.put_link(i, link, code, fill);
        }
        self.bytes[LINKS] -= 1;
    }

    /// Marks lane `i` as a fill or as a survivor.
    pub fn set_fill(&mut self, i: usize, fill: bool) {
        debug_assert!(self.layout.is_coded());
        let byte = &mut self.bytes[self.layout.fills_at + i / 8];
        *byte = *byte & !(1 << (i % 8)) | u8::from(fill) << (i % 8);
    }

    fn set_tid_count(&mut self, count: usize) {
        put_u16(self.bytes, TID_COUNT, count as u16);
    }

    /// Adds a TID.
    ///
    /// # Errors
    /// [`crate::error::Error::Corrupted`] if there is no room; the caller has checked it.
    pub fn push_tid(&mut self, tid: HeapTid) -> Result<()> {
        if tid.offset & KILLED != 0 || !self.view().has_room_for_tid() {
            return corrupted(self.block, "too many TIDs in a record");
        }
        let count = self.view().tid_count();
        let at = self.view().tids_at() + count * HeapTid::SIZE;
        tid.write(&mut self.bytes[at..at + HeapTid::SIZE]);
        self.set_tid_count(count + 1);
        Ok(())
    }

    /// Marks the row of a TID as dead to everyone. Returns false if the TID is absent or already
    /// marked.
    pub fn kill(&mut self, tid: HeapTid) -> bool {
        let alive = |entry: Entry| entry.tid == tid && !entry.killed;
        let Some(i) = self.view().entries().position(alive) else {
            return false;
        };
        let at = self.view().tids_at() + i * HeapTid::SIZE + OFFSET_IN_TID;
        put_u16(self.bytes, at, get_u16(self.bytes, at) | KILLED);
        true
    }

    /// Removes the TIDs for which `keep` is false; returns their number.
    pub fn retain_tids(&mut self, mut keep: impl FnMut(HeapTid) -> bool) -> usize {
        let (count, at) = (self.view().tid_count(), self.view().tids_at());
        let mut kept = 0;
        for i in 0..count {
            let from = at + i * HeapTid::SIZE;
            if keep(Entry::read(&self.bytes[from..from + HeapTid::SIZE]).tid) {
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
mod tests;
