//! Layout of records: the stored form of vectors and neighbors, and the offset of each field.
//!
//! [`Layout::of`] computes the offsets from a [`Shape`], which is kept with the index's parameters
//! ([`super::layout_plan`] chooses it for a new index). Of a layout itself only the stride is on
//! the pages, so everything in this file is part of the file format, its constants included.

use serde::{Deserialize, Serialize};

use super::format::{META_BLOCK, Unplaced};
use super::page::{HEADER_SIZE, SPECIAL};
use super::{BlockNumber, HeapTid, NodeRef, sparse};
use crate::error::{Error, Result};
use crate::filter::values::{Kind, Values};
use crate::quantize::bfloat16::Bf16;
use crate::quantize::rabitq::{self, LANES, WORD_BITS};
use crate::quantize::scalar::{BLOCK, Width};

/// The most nonzero components of a sparse vector.
const MOST_COMPONENTS: usize = 16_000;

/// Records on a page where sparse vectors may have overflow records: most vectors have a few
/// hundred components and fit one record.
const SPARSE_SLOTS: usize = 4;

/// The most TIDs in a level-0 record; [`FEWEST_TIDS`] is the least. Duplicates share a record, and
/// so do versions of a row with an unchanged vector.
const TIDS: usize = 10;
const FEWEST_TIDS: usize = 3;

/// The fewest lanes of a coded record that is not compact.
const FEWEST_LANES: usize = 24;

/// The most coordinates to which the rotation spreads a shorter vector.
pub(super) const MOST_SPREAD: usize = 128;

/// Bytes of a record before its first field of variable size.
pub(super) const BODY: usize = 16;

/// The stored form of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encoding {
    /// As f32.
    Float32,
    /// Rotated, in 12 bits a coordinate (`quantize::scalar`), after an offset and a scale of f32.
    Scalar12,
    /// As `Scalar12`, in 10 bits.
    Scalar10,
    /// The bytes of a `bit` value.
    Bits,
    /// The nonzero components ([`super::sparse`]).
    Sparse,
    /// As `Scalar12`, in 8 bits: the compact form of a record, which has fewer lanes.
    Scalar8,
    /// As `Scalar12`, in 10 bits as far as codes reach and in 8 bits beyond, each part with an
    /// offset and a scale of its own.
    Scalar10And8,
    /// As `Scalar10And8`, in 10 bits all of them.
    Scalar10And10,
}

impl Encoding {
    /// The width of quantized coordinates, or of the first part of them.
    #[inline]
    pub fn width(self) -> Option<Width> {
        match self {
            Encoding::Float32 | Encoding::Bits | Encoding::Sparse => None,
            Encoding::Scalar12 => Some(Width::Twelve),
            Encoding::Scalar10 | Encoding::Scalar10And8 | Encoding::Scalar10And10 => Some(Width::Ten),
            Encoding::Scalar8 => Some(Width::Eight),
        }
    }

    /// The width of the coordinates beyond the first part, where there are two.
    #[inline]
    pub fn rest_width(self) -> Option<Width> {
        match self {
            Encoding::Scalar10And8 => Some(Width::Eight),
            Encoding::Scalar10And10 => Some(Width::Ten),
            _ => None,
        }
    }

    /// Granularity, in bytes, of a division between record and overflow records, after
    /// [`Encoding::head`].
    fn unit(self) -> usize {
        match self {
            Encoding::Bits => 1,
            _ => self.width().map_or(size_of::<f32>(), Width::block_bytes),
        }
    }

    /// The most dimensions that a vector of an index may have.
    pub fn most_dimensions(self) -> usize {
        match self {
            Encoding::Bits => 64_000,
            Encoding::Sparse => 1_000_000_000,
            _ => 16_000,
        }
    }

    /// Whether distances can be summed over parts of the vector (float forms; not `bit`,
    /// `sparsevec`).
    #[inline]
    pub fn is_dense(self) -> bool {
        !matches!(self, Encoding::Bits | Encoding::Sparse)
    }

    /// Bytes before the first unit.
    pub fn head(self) -> usize {
        let parts = usize::from(self.width().is_some()) + usize::from(self.rest_width().is_some());
        parts * 2 * size_of::<f32>()
    }
}

/// The input of a layout. Its serialised form is part of the file format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Dimensions of the vectors.
    pub dimensions: u32,
    /// Links on an upper level, half of those on level 0.
    pub m: u16,
    /// The stored form of vectors.
    pub encoding: Encoding,
    /// Bits of a neighbor's code, a multiple of 32; 0 in the plain layout, which has no codes.
    pub code_bits: u16,
    /// Filter columns.
    pub filters: FilterColumns,
}

/// The filter columns of an index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilterColumns {
    /// Number of columns.
    pub count: u8,
    /// One bit for each column of sets.
    pub sets: u8,
}

impl From<usize> for FilterColumns {
    /// So many columns, none of sets.
    fn from(count: usize) -> FilterColumns {
        FilterColumns {
            count: count as u8,
            sets: 0,
        }
    }
}

impl FilterColumns {
    /// No columns.
    pub const NONE: FilterColumns = FilterColumns { count: 0, sets: 0 };

    /// Columns of these kinds.
    pub fn of(kinds: impl Iterator<Item = Kind>) -> FilterColumns {
        kinds.fold(FilterColumns::NONE, |columns, kind| FilterColumns {
            count: columns.count + 1,
            sets: columns.sets | u8::from(kind == Kind::Set) << columns.count,
        })
    }

    /// Whether a column is one of sets.
    #[inline]
    pub fn is_set(self, column: usize) -> bool {
        self.sets >> column & 1 == 1
    }

    /// Bytes of a neighbor's signature in a column ([`crate::filter::signature::Column::lane`]).
    #[inline]
    pub(super) fn signature_len(self, column: usize) -> usize {
        1 + usize::from(self.is_set(column))
    }

    /// Bytes of a neighbor's signatures in the columns before this one.
    #[inline]
    pub(super) fn signatures_before(self, column: usize) -> usize {
        column + (self.sets & ((1 << column) - 1)).count_ones() as usize
    }
}

impl Shape {
    /// The longest code of vectors of these dimensions.
    pub fn most_bits(&self) -> usize {
        let whole = (self.dimensions as usize).next_multiple_of(WORD_BITS);
        whole.clamp(MOST_SPREAD, rabitq::MAX_BITS)
    }

    /// Coordinates of a rotated vector: at least as many as its codes have bits, because the
    /// rotation spreads a short vector to them.
    pub fn coordinates(&self) -> usize {
        (self.dimensions as usize)
            .next_multiple_of(WORD_BITS)
            .max(usize::from(self.code_bits))
    }

    /// Bytes of the longest stored vector.
    fn vector_len(&self) -> usize {
        let dimensions = self.dimensions as usize;
        match (self.encoding, self.encoding.width()) {
            (Encoding::Bits, _) => dimensions.div_ceil(8),
            (Encoding::Sparse, _) => sparse::len(dimensions.min(MOST_COMPONENTS)),
            (_, None) => size_of::<f32>() * dimensions,
            (_, Some(width)) => {
                let first = self.first_coordinates();
                let rest = self.encoding.rest_width().map_or(0, Width::block_bytes);
                let rest = (self.coordinates() - first) / BLOCK * rest;
                self.encoding.head() + first / BLOCK * width.block_bytes() + rest
            }
        }
    }

    /// Coordinates of the first part of a quantized vector: all of them, unless there are two.
    #[inline]
    pub fn first_coordinates(&self) -> usize {
        match self.encoding.rest_width() {
            Some(_) => usize::from(self.code_bits),
            None => self.coordinates(),
        }
    }

    /// Whether records are of the compact form.
    #[inline]
    pub fn is_compact(&self) -> bool {
        self.encoding == Encoding::Scalar8
    }

    /// Lanes of a coded record: one and a half times `m` (docs/measurements.md, *24 lanes*), at
    /// least [`FEWEST_LANES`]; in the compact form `m`. Up to [`LANES`] in eights.
    fn coded_lanes(&self) -> usize {
        let m = usize::from(self.m);
        let lanes = match self.is_compact() {
            true => m,
            false => (3 * m).div_ceil(2).max(FEWEST_LANES),
        };
        lanes.next_multiple_of(if lanes <= LANES { 8 } else { LANES })
    }

    /// Whether codes have a bit for every coordinate.
    pub fn has_whole_codes(&self) -> bool {
        usize::from(self.code_bits) == self.coordinates()
    }
}

/// Offsets of the fields of a record, in bytes from its start.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Layout {
    /// The layout's input.
    pub shape: Shape,
    /// The first block of records.
    pub first_block: BlockNumber,
    /// About the share of the square of a difference that is in the coordinates of a code.
    pub share: f32,
    /// Bytes of a slot.
    pub stride: usize,
    /// Slots of a page.
    pub slots: u32,
    /// Bytes of a stored vector, of the longest one if they differ.
    pub vector_len: usize,
    /// Bytes of the stored vector in the record itself; the rest is in overflow records.
    pub inline_len: usize,
    /// Overflow records of a node, at most.
    pub overflows: usize,
    /// Bytes of a vector in an overflow record, but for the last one.
    pub overflow_len: usize,
    /// Lanes of a record (places for a link and its code), in the coded layout a multiple of
    /// [`LANES`]; of 8 where there are fewer.
    pub lanes: usize,
    pub(super) links_at: usize,
    pub(super) generations_at: usize,
    pub(super) fills_at: usize,
    pub(super) offsets_at: usize,
    pub(super) scales_at: usize,
    pub(super) codes_at: usize,
    pub(super) signatures_at: usize,
    pub(super) values_at: usize,
    pub(super) vector_at: usize,
    pub(super) overflows_at: usize,
    pub(super) tids_at: usize,
    pub(super) tids: usize,
}

impl Layout {
    /// Bytes of a page that slots can fill.
    const ROOM: usize = SPECIAL - HEADER_SIZE;

    /// The layout of a shape, in an index without a centroid (see `Parameters::layout`).
    ///
    /// # Errors
    /// [`Error::TooManyDimensionsForIndex`] when a record without its vector would not fit a page.
    pub fn of(shape: Shape) -> Result<Layout> {
        let m = usize::from(shape.m);
        let bits = usize::from(shape.code_bits);
        let coded = bits > 0;
        let lanes = if coded { shape.coded_lanes() } else { 2 * m };
        let of_lanes = |bytes: usize| if coded { lanes * bytes } else { 0 };
        let links_at = BODY;
        let generations_at = links_at + 4 * lanes;
        let fills_at = generations_at + lanes;
        let offsets_at = fills_at + of_lanes(1) / 8;
        let scales_at = offsets_at + of_lanes(2);
        let codes_at = scales_at + of_lanes(2);
        let signatures_at = codes_at + rabitq::codes_len(bits, lanes);
        let columns = usize::from(shape.filters.count);
        let values_at = signatures_at + of_lanes(shape.filters.signatures_before(columns));
        let vector_at = values_at + Values::len(columns);

        let encoding = shape.encoding;
        let vector_len = shape.vector_len();
        let fewest_tids = FEWEST_TIDS * HeapTid::SIZE;
        let beside = vector_at + fewest_tids;
        // Slots of a page, and the most bytes of a slot, where there are overflow records.
        let (per_page, most) = match encoding {
            Encoding::Sparse => (SPARSE_SLOTS, Self::ROOM / SPARSE_SLOTS / 8 * 8),
            _ => (1, Self::ROOM),
        };
        let (inline_len, overflows) = if beside + vector_len <= most {
            (vector_len, 0)
        } else if encoding.rest_width().is_some() {
            // Two parts are not divided further.
            return Err(Error::too_many_dimensions(encoding.most_dimensions()));
        } else {
            Self::spill(beside, vector_len, encoding, most)?
        };
        let overflows_at = vector_at + inline_len;
        let tids_at = overflows_at + overflows * size_of::<NodeRef>();
        let slots = if overflows > 0 {
            per_page
        } else {
            Self::ROOM / (tids_at + fewest_tids).next_multiple_of(8)
        };
        let room = Self::ROOM / slots / 8 * 8;
        let tids = ((room - tids_at) / HeapTid::SIZE).min(TIDS);
        let end = tids_at + tids * HeapTid::SIZE;
        // With overflow records the stride is the slot's whole share of the page, so that they hold
        // more.
        let stride = if overflows > 0 { room } else { end.next_multiple_of(8) };
        Ok(Layout {
            shape,
            first_block: META_BLOCK + 1,
            share: bits as f32 / shape.coordinates() as f32,
            stride,
            slots: (Self::ROOM / stride) as u32,
            vector_len,
            inline_len,
            overflows,
            overflow_len: Self::overflow_len(stride, encoding),
            lanes,
            links_at,
            generations_at,
            fills_at,
            offsets_at,
            scales_at,
            codes_at,
            signatures_at,
            values_at,
            vector_at,
            overflows_at,
            tids_at,
            tids,
        })
    }

    /// Bytes of a vector that an overflow record of this stride holds.
    fn overflow_len(stride: usize, encoding: Encoding) -> usize {
        stride.saturating_sub(BODY) / encoding.unit() * encoding.unit()
    }

    /// Divides a vector that does not fit a slot of `most` bytes between the record, whose other
    /// fields have `taken` bytes, and as few overflow records as possible. If vectors differ in
    /// length, the record's part is as long as possible.
    fn spill(taken: usize, vector_len: usize, encoding: Encoding, most: usize) -> Result<(usize, usize)> {
        let overflow = Self::overflow_len(most / 8 * 8, encoding);
        let (head, unit) = (encoding.head(), encoding.unit());
        for overflows in 1..=vector_len.div_ceil(overflow) {
            let room = most.saturating_sub(taken + overflows * size_of::<NodeRef>() + 8);
            if room < head + unit {
                break;
            }
            let inline = head + (room - head) / unit * unit;
            if inline + overflows * overflow >= vector_len {
                if encoding == Encoding::Sparse {
                    return Ok((inline, overflows));
                }
                return Ok((
                    vector_len.saturating_sub(overflows * overflow).max(head + unit),
                    overflows,
                ));
            }
        }
        Err(Error::too_many_dimensions(encoding.most_dimensions()))
    }

    /// The most links a record of a level holds.
    #[inline]
    pub fn link_capacity(&self, level: u8) -> usize {
        if level == 0 || self.is_coded() {
            self.lanes
        } else {
            self.lanes / 2
        }
    }

    /// Number of nodes of a level for each node of the next level: in a plain index the link
    /// capacity of an upper record, because a step down chooses among as many; with codes twice
    /// `m`, rounded up to [`LANES`].
    #[inline]
    pub fn level_ratio(&self) -> usize {
        match self.is_coded() {
            true => (2 * usize::from(self.shape.m)).next_multiple_of(LANES),
            false => self.link_capacity(1),
        }
    }

    /// Whether records have codes of their neighbors.
    #[inline]
    pub fn is_coded(&self) -> bool {
        self.shape.code_bits > 0
    }

    /// About the length of a code with this scale, under L2: L coordinates, rotated at random, that
    /// have this share of a square have magnitudes of sqrt(2 / pi L share) lengths in sum. Half of
    /// it under inner product.
    #[inline]
    pub fn length_of(&self, scale: Bf16) -> Bf16 {
        let magnitudes = (std::f32::consts::FRAC_2_PI * f32::from(self.shape.code_bits) * self.share).sqrt();
        Bf16::from_f32(scale.to_f32() * 0.5 * magnitudes)
    }

    /// Words of a neighbor's code.
    #[inline]
    pub fn code_words(&self) -> usize {
        usize::from(self.shape.code_bits) / WORD_BITS
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

    /// Address of a slot of a block.
    ///
    /// # Errors
    /// [`Error::IndexFull`] when a reference of 32 bits cannot name the slot.
    pub fn node(&self, block: BlockNumber, slot: u32) -> Result<NodeRef> {
        let node = u64::from(block) * u64::from(self.slots) + u64::from(slot);
        match u32::try_from(node) {
            Ok(node) if node < Unplaced::FIRST_OWNER.0 => Ok(NodeRef(node)),
            _ => Err(Error::IndexFull),
        }
    }

    /// Offset of a slot on its page.
    #[inline]
    pub fn offset(&self, slot: u32) -> usize {
        HEADER_SIZE + slot as usize * self.stride
    }

    /// Lanes of a block of lanes.
    #[inline]
    pub(super) fn block_lanes(&self) -> usize {
        self.lanes.min(LANES)
    }

    /// Place of the codes of a block of lanes in a record.
    #[inline]
    pub(super) fn codes_of(&self, block: usize) -> std::ops::Range<usize> {
        let len = rabitq::codes_len(usize::from(self.shape.code_bits), self.block_lanes());
        self.codes_at + block * len..self.codes_at + (block + 1) * len
    }

    /// Number of filter columns.
    #[inline]
    pub fn filters(&self) -> usize {
        usize::from(self.shape.filters.count)
    }

    /// Place of a column's signatures in a record, from a lane on.
    #[inline]
    pub(super) fn signature_at(&self, column: usize, lane: usize) -> usize {
        let filters = self.shape.filters;
        self.signatures_at + filters.signatures_before(column) * self.lanes + filters.signature_len(column) * lane
    }

    /// Bytes of a record that a visit reads: up to its first TID.
    #[inline]
    pub fn visited_len(&self) -> usize {
        self.tids_at + HeapTid::SIZE
    }

    /// Range of a record with the filter values and the stored vector, up to the first TID.
    pub fn vector_range(&self) -> std::ops::Range<usize> {
        self.values_at..self.tids_at + HeapTid::SIZE
    }

    /// Length of a stored vector, from the part in its record.
    #[inline]
    pub fn stored_len(&self, start: &[u8]) -> usize {
        if self.shape.encoding == Encoding::Sparse {
            let most = (self.shape.dimensions as usize).min(MOST_COMPONENTS);
            sparse::len(sparse::count(start, most)).max(self.inline_len)
        } else {
            self.vector_len
        }
    }

    /// Number of a node's overflow records, from the part of its vector in the record.
    #[inline]
    pub fn overflow_count(&self, start: &[u8]) -> usize {
        if self.shape.encoding == Encoding::Sparse {
            (self.stored_len(start) - self.inline_len).div_ceil(self.overflow_len)
        } else {
            self.overflows
        }
    }

    /// Range of a stored vector of this length that overflow record `i` holds.
    pub fn overflow_range(&self, i: usize, stored_len: usize) -> std::ops::Range<usize> {
        let start = self.inline_len + i * self.overflow_len;
        start..(start + self.overflow_len).min(stored_len)
    }
}

#[cfg(test)]
mod tests;
