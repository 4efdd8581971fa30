//! Parameters of an index: the choices that are fixed when the index is made. They are kept on its
//! meta page.

use serde::{Deserialize, Serialize};

use super::format::META_BLOCK;
use super::layout::{Encoding, Layout, Shape};
use super::list_directory::ListDirectory;
use super::{BlockNumber, learned};
use crate::distance::Metric;
use crate::error::Result;
use crate::filter::values::{Kind, MOST_COLUMNS};
use crate::quantize::directions;

/// Pages of a centroid of this many dimensions.
pub fn centroid_pages(dimensions: u32) -> BlockNumber {
    learned::pages(size_of::<f32>() * dimensions as usize)
}

/// The name of the directions of an index (`storage::directions`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reflections {
    /// Number of reflections; 0 in an index without directions.
    pub count: u16,
    /// About the share of a difference that is in the coordinates of a code, in 65,535ths.
    pub share: u16,
    /// The hash of the vectors of reflections, which are on the pages behind the centroid.
    pub hash: u64,
}

impl Reflections {
    /// Of an index without directions.
    pub const NONE: Reflections = Reflections {
        count: 0,
        share: 0,
        hash: 0,
    };

    /// A share as it is stored.
    pub fn share_of(share: f64) -> u16 {
        (share * f64::from(u16::MAX)).round().clamp(1.0, f64::from(u16::MAX)) as u16
    }
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
    /// The directions, which are on the pages after those of the centroid.
    pub directions: Reflections,
    /// The kinds of the filter columns; none beyond the last one.
    pub filters: [Option<Kind>; MOST_COLUMNS],
    /// The hash of the borders of filter columns (`meta::borders_hash`), which are on the meta
    /// page; 0 if there are none.
    pub borders: u64,
    /// Bits that number the lists of a filter column ([`crate::filter::lists`]).
    pub list_bits: u8,
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

    /// The first block of the directions.
    pub fn first_directions_block(&self) -> BlockNumber {
        let centroid = match self.centroid {
            0 => 0,
            _ => centroid_pages(self.shape.dimensions),
        };
        META_BLOCK + 1 + centroid
    }

    /// The directory of value lists.
    pub fn list_directory(&self) -> ListDirectory {
        let numbers = usize::from(self.directions.count) * self.shape.coordinates();
        let first = self.first_directions_block() + learned::pages(size_of::<u16>() * numbers);
        ListDirectory::new(first, usize::from(self.shape.filters.count), self.list_bits)
    }

    /// The first block that may hold records.
    pub fn first_node_block(&self) -> BlockNumber {
        let directory = self.list_directory();
        directory.first() + directory.pages()
    }

    /// Whether the directions are possible.
    pub(super) fn has_sound_directions(&self) -> bool {
        let count = self.directions.count;
        count == 0
            || count <= self.shape.code_bits
                && self.directions.share > 0
                && usize::from(count).is_multiple_of(directions::BLOCK)
                && usize::from(self.shape.code_bits) < self.shape.coordinates()
    }

    /// Layout of the index's records, with the block where they begin.
    ///
    /// # Errors
    /// As [`Layout::of`].
    pub fn layout(&self) -> Result<Layout> {
        let layout = Layout::of(self.shape)?;
        Ok(Layout {
            first_block: self.first_node_block(),
            share: match self.directions.count {
                0 => layout.share,
                _ => f32::from(self.directions.share) / f32::from(u16::MAX),
            },
            ..layout
        })
    }
}
