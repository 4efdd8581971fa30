//! Parameters of an index: the choices that are fixed when the index is made. They are kept on its
//! meta page.

use serde::{Deserialize, Serialize};

use super::BlockNumber;
use super::format::META_BLOCK;
use super::layout::{Encoding, Layout, Shape};
use super::page::{HEADER_SIZE, SPECIAL};
use crate::distance::Metric;
use crate::error::Result;
use crate::filter::values::{Kind, MOST_COLUMNS};

/// Numbers of a centroid on a page.
pub(super) const CENTROID_NUMBERS_PER_PAGE: usize = (SPECIAL - HEADER_SIZE) / size_of::<f32>();

/// Pages of a centroid of this many dimensions.
pub fn centroid_pages(dimensions: u32) -> BlockNumber {
    dimensions.div_ceil(CENTROID_NUMBERS_PER_PAGE as u32)
}

/// The type of the indexed values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Element {
    /// `vector`: f32.
    Vector,
    /// `halfvec`: numbers of 16 bits, which become f32.
    Halfvec,
    /// `bit`.
    Bit,
    /// `sparsevec`.
    Sparsevec,
}

/// The choices that are fixed when the index is made. Their serialised form is part of the file
/// format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parameters {
    /// Dimensions, links, and the form of vectors and codes.
    pub shape: Shape,
    /// Type of the values.
    pub element: Element,
    /// The metric.
    pub metric: Metric,
    /// Width of the search for a new node's neighbors.
    pub ef_construction: u16,
    /// Seed of the levels and of the rotation.
    pub seed: u64,
    /// The hash of the centroid (`centroid::hash`), which is on the pages after the meta page; 0 if
    /// there is none.
    pub centroid: u64,
    /// The kinds of the filter columns; none beyond the last one.
    pub filters: [Option<Kind>; MOST_COLUMNS],
    /// The hash of the borders of filter columns (`meta::borders_hash`), which are on the meta
    /// page; 0 if there are none.
    pub borders: u64,
}

impl Element {
    /// The name of the type.
    pub fn type_name(self) -> &'static str {
        match self {
            Element::Vector => "vector",
            Element::Halfvec => "halfvec",
            Element::Bit => "bit",
            Element::Sparsevec => "sparsevec",
        }
    }

    /// Whether values of this type can have this encoding and this metric.
    pub(super) fn allows(self, encoding: Encoding, metric: Metric) -> bool {
        let is_of_bits = matches!(metric, Metric::Hamming | Metric::Jaccard);
        match self {
            Element::Vector | Element::Halfvec => encoding.is_dense() && !is_of_bits,
            Element::Bit => encoding == Encoding::Bits && is_of_bits,
            Element::Sparsevec => encoding == Encoding::Sparse && !is_of_bits,
        }
    }
}

impl Parameters {
    /// Whether an index of these parameters may have a centroid: it has codes, and its distances do
    /// not change when all vectors are moved alike (a cosine index has L2 distances of normalised
    /// vectors).
    pub fn allow_centroid(&self) -> bool {
        self.shape.code_bits > 0 && matches!(self.metric, Metric::L2 | Metric::Cosine)
    }

    /// The kinds of the filter columns.
    pub fn filter_kinds(&self) -> impl Iterator<Item = Kind> {
        self.filters.into_iter().map_while(|kind| kind)
    }

    /// The first block that may hold records.
    pub fn first_node_block(&self) -> BlockNumber {
        let centroid = match self.centroid {
            0 => 0,
            _ => centroid_pages(self.shape.dimensions),
        };
        META_BLOCK + 1 + centroid
    }

    /// Layout of the index's records, with the block where they begin.
    ///
    /// # Errors
    /// As [`Layout::of`].
    pub fn layout(&self) -> Result<Layout> {
        Ok(Layout {
            first_block: self.first_node_block(),
            ..Layout::of(self.shape)?
        })
    }
}
