//! The space of an index: points and queries, their distances, and the codec ([`codec`]).
//!
//! A vector of the user becomes a [`Point`]: its stored bytes, and its coordinates, from which
//! codes and selections of neighbors are computed. A coded index rotates coordinates; where it
//! quantizes them, a point has the decoded ones, and a short vector is stored as it is and rotated
//! when its coordinates are needed. A plain index has vectors without rotation. Values other than
//! dense vectors have stored bytes alone.
//!
//! The centroid, which all vectors of an index have in common, is subtracted before the rotation,
//! which changes no distance. A search compares a [`Query`] with stored bytes.

mod cache;
pub(super) mod centroid_bounds;
pub(super) mod codec;
pub mod learning;

use std::sync::Arc;

use crate::distance::{self, Kernel, Metric};
use crate::error::Result;
use crate::filter::condition::{Filter, Match};
use crate::filter::lanes::LaneFilter;
use crate::filter::lists::OfNode;
use crate::filter::signature::{self, Column, Signatures};
use crate::filter::values::Values;
use crate::hnsw::indexed_value::Value;
use crate::hnsw::order_key::{self, Terms};
use crate::hnsw::space::codec::{floats, scalar};
use crate::hnsw::tuning::search::NEAR;
use crate::quantize::directions::Directions;
use crate::quantize::query_table::Table;
use crate::quantize::rotation::Rotation;
use crate::quantize::scalar::BLOCK;
use crate::storage::layout::Encoding;
use crate::storage::list_directory::ListDirectory;
use crate::storage::list_page::{Block, ListLayout};
use crate::storage::meta::Borders;
use crate::storage::parameters::Parameters;
use crate::storage::record::Record;
use crate::storage::{Layout, NodeRef, sparse};

/// All that was learned from the rows of a build: empty in an index that began empty.
#[derive(Debug, Clone, Default)]
pub struct Learned {
    /// The centroid.
    pub centroid: Vec<f32>,
    /// The directions in which the rows differ most, which the parameters name.
    pub directions: Directions,
    /// The borders of filter columns ([`crate::filter::signature`]).
    pub borders: Borders,
}

impl From<Vec<f32>> for Learned {
    /// A centroid, and no borders.
    fn from(centroid: Vec<f32>) -> Learned {
        Learned {
            centroid,
            ..Learned::default()
        }
    }
}

/// All that follows from the parameters of an index.
pub struct Space {
    pub(in crate::hnsw) parameters: Parameters,
    pub(in crate::hnsw) layout: Layout,
    /// The layout of value lists, and the directory of their first pages.
    pub(in crate::hnsw) lists: ListLayout,
    pub(in crate::hnsw) directory: ListDirectory,
    measure: Measure,
    /// The rotation, in an index with directions of the coordinates of a code alone.
    rotation: Option<Rotation>,
    /// The directions that become the first coordinates, and the rotation of all others before
    /// that; none of both in most indexes.
    directions: Directions,
    rest: Option<Rotation>,
    /// The vector that is subtracted before the rotation; empty if there is none.
    centroid: Vec<f32>,
    /// Length of the centroid.
    pub(in crate::hnsw) centroid_norm: f64,
    /// The filter columns.
    columns: Vec<Column>,
}

/// Comparison of values that are not quantized: as a whole, except for floats.
#[derive(Debug, Clone, Copy)]
enum Measure {
    /// Vectors of f32.
    Floats(Kernel),
    /// Bytes of bits.
    Bits(fn(&[u8], &[u8]) -> f32),
    /// Sparse vectors.
    Sparse(Metric),
}

impl Measure {
    fn of(parameters: &Parameters) -> Measure {
        let (metric, encoding) = (parameters.metric, parameters.shape.encoding);
        match metric.kernel() {
            Some(_) if encoding == Encoding::Sparse => Measure::Sparse(metric),
            Some(kernel) => Measure::Floats(kernel),
            None if metric == Metric::Jaccard => Measure::Bits(|a, b| distance::jaccard(a, b) as f32),
            None => Measure::Bits(|a, b| distance::hamming(a, b) as f32),
        }
    }
}

/// The order key of two sparse vectors in their stored form.
fn sparse_key(metric: Metric, a: &[u8], b: &[u8]) -> f32 {
    let (a, b) = (sparse::components(a), sparse::components(b));
    order_key::of(match metric {
        Metric::InnerProduct => -distance::sparse::inner_product(a, b),
        Metric::L1 => distance::sparse::l1(a, b),
        _ => distance::sparse::l2_squared(a, b),
    })
}

/// A vector as an index keeps it. Its memory is reused.
#[derive(Debug, Clone, Default)]
pub struct Point {
    /// The bytes that are stored, in the record and its overflow records.
    pub stored: Vec<u8>,
    /// The coordinates; empty unless the value is a dense vector.
    pub coordinates: Vec<f32>,
    /// The filter values of the row or node.
    pub values: Values,
}

impl Point {
    /// Makes it equal to another one; its memory is reused.
    pub(in crate::hnsw) fn copy_from(&mut self, other: &Point) {
        self.stored.clone_from(&other.stored);
        self.coordinates.clone_from(&other.coordinates);
        self.values = other.values;
    }
}

/// A vector to search for.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// The vector in the form that stored vectors are compared with.
    value: Vec<f32>,
    /// The stored form of a value that is not a dense vector.
    stored: Vec<u8>,
    /// Length of `value`; 0 in a query that only finds neighbors.
    pub(in crate::hnsw) norm: f64,
    /// Table for estimates from codes; unused in a plain index.
    pub(in crate::hnsw) table: Table,
    /// Square of its distance from the centroid; zero in a plain index.
    square: f32,
    /// The conditions on filter columns, if there are any.
    conditions: Option<Arc<Conditions>>,
    /// A node that searches pass over as if the index did not have it, and whether its links lead
    /// on all the same.
    without: Option<(NodeRef, bool)>,
}

/// Conditions on filter columns, as tests of values and of signatures.
#[derive(Debug)]
struct Conditions {
    filter: Filter,
    lanes: LaneFilter,
}

impl Query {
    /// The query, for searches of an index as it would be without a node. With `leads_on` they
    /// follow the node's links on level 0, as those of a dead node.
    pub(in crate::hnsw) fn without(self, node: NodeRef, leads_on: bool) -> Query {
        Query {
            without: Some((node, leads_on)),
            ..self
        }
    }

    /// Whether a record is one of the node that searches pass over.
    #[inline]
    pub(in crate::hnsw) fn passes_over(&self, record: &Record<'_>) -> bool {
        self.without.is_some_and(|(node, _)| node == record.owner())
    }

    /// Whether links of a record of this level are followed although searches pass over it.
    #[inline]
    pub(in crate::hnsw) fn leads_on(&self, level: u8) -> bool {
        level == 0 && self.without.is_some_and(|(_, leads_on)| leads_on)
    }

    /// Whether there are conditions on filter columns.
    #[inline]
    pub fn is_filtered(&self) -> bool {
        self.conditions.is_some()
    }

    /// Filter columns, and lists of each that name all nodes that may match
    /// ([`LaneFilter::lists`]).
    pub(in crate::hnsw) fn lists(&self) -> &[(usize, Vec<u16>)] {
        self.conditions
            .as_ref()
            .map_or(&[], |conditions| conditions.lanes.lists())
    }

    /// About the share of rows in a range of a filter column ([`LaneFilter::range_share`]).
    pub(in crate::hnsw) fn range_share(&self, column: usize) -> Option<f64> {
        self.conditions.as_ref()?.lanes.range_share(column)
    }

    /// The lanes of a block of a record whose signatures may match.
    #[inline]
    pub(in crate::hnsw) fn matching_lanes(&self, record: &Record<'_>, block: usize) -> u32 {
        let conditions = self.conditions.as_ref();
        let of_column = |column| record.signatures_of(column, block);
        conditions.map_or(u32::MAX, |conditions| conditions.lanes.matching_lanes(of_column))
    }

    /// The entries of a block of a list whose signatures may match.
    #[inline]
    pub(in crate::hnsw) fn matching_entries(&self, block: &Block<'_>) -> u32 {
        let conditions = self.conditions.as_ref();
        let of_column = |column| block.signatures(column);
        block.used() & conditions.map_or(u32::MAX, |conditions| conditions.lanes.matching(of_column))
    }
}

/// The difference of a query and a vector near it, with its table for estimates from codes. Memory
/// that is reused.
#[derive(Debug, Default)]
pub(in crate::hnsw) struct Near {
    difference: Vec<f32>,
    table: Table,
}

impl Space {
    /// The space of parameters and of what their hashes name.
    pub fn new(parameters: Parameters, learned: impl Into<Learned>) -> Result<Space> {
        let Learned {
            centroid,
            directions,
            borders,
            ..
        } = learned.into();
        let layout = parameters.layout()?;
        let dimensions = parameters.shape.dimensions as usize;
        let coordinates = parameters.shape.coordinates();
        let bits = usize::from(parameters.shape.code_bits);
        let rotation = || match directions.count() {
            0 => Rotation::new(dimensions, coordinates, parameters.seed),
            _ => Rotation::new(bits, bits, parameters.seed),
        };
        let rest = coordinates - directions.count();
        let rest = (directions.count() > 0).then(|| Rotation::new(rest, rest, parameters.seed ^ 1));
        Ok(Space {
            parameters,
            layout,
            lists: ListLayout::of(&layout),
            directory: parameters.list_directory(),
            measure: Measure::of(&parameters),
            rotation: layout.is_coded().then(rotation),
            rest,
            directions,
            centroid_norm: distance::norm(&centroid),
            centroid,
            columns: parameters
                .filter_kinds()
                .zip(borders)
                .map(|(kind, borders)| Column {
                    kind,
                    borders,
                    list_bits: parameters.list_bits,
                })
                .collect(),
        })
    }

    /// The parameters of the index.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// About the bytes of memory that it takes.
    fn bytes(&self) -> usize {
        let learned = size_of_val(&self.centroid[..]) + size_of_val(self.directions.numbers());
        // Rotations have some bits for each coordinate.
        size_of::<Space>() + learned + 2 * self.parameters.shape.coordinates()
    }

    /// The centroid in the dimensions of the vectors; empty if there is none.
    pub fn centroid(&self) -> &[f32] {
        &self.centroid
    }

    /// The filter columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The query, with conditions on filter columns.
    ///
    /// # Errors
    /// [`crate::error::Error::OutOfMemory`].
    pub fn filtered(&self, query: Query, filter: Filter) -> Result<Query> {
        if filter.is_empty() {
            return Ok(query);
        }
        let lanes = LaneFilter::new(&filter, &self.columns)?;
        Ok(Query {
            conditions: Some(Arc::new(Conditions { filter, lanes })),
            ..query
        })
    }

    /// Tests filter values.
    #[inline]
    pub fn test(&self, query: &Query, values: &Values) -> Match {
        match &query.conditions {
            Some(conditions) => conditions.filter.test(&self.columns, values),
            None => Match::Yes,
        }
    }

    /// The signatures of filter values.
    #[inline]
    pub(in crate::hnsw) fn signatures(&self, values: &Values) -> Signatures {
        signature::signatures(&self.columns, values)
    }

    /// The lists of a filter column that a node with these values is in.
    pub(in crate::hnsw) fn lists_of(&self, values: &Values, column: u8) -> OfNode {
        let column = usize::from(column);
        let of_column = self.columns.get(column);
        of_column.map_or_else(OfNode::default, |of_column| of_column.lists(values.get(column)))
    }

    /// The signatures of filter values in lanes of records.
    #[inline]
    pub(in crate::hnsw) fn lane_signatures(&self, values: &Values) -> Signatures {
        signature::lanes(&self.columns, values)
    }

    /// The layout of records.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Makes the query for a value (normalized where the metric wants it).
    pub fn query<'v>(&self, value: impl Into<Value<'v>>) -> Query {
        let mut query = Query::default();
        let vector = match value.into() {
            Value::Dense(vector) => vector,
            Value::Stored(stored) => {
                query.stored.extend_from_slice(stored);
                return query;
            }
        };
        let mut coordinates = Vec::new();
        self.locate(vector.iter().copied(), &mut coordinates);
        match self.parameters.shape.encoding.width() {
            None => query.value.extend_from_slice(vector),
            Some(_) => query.value.clone_from(&coordinates),
        }
        query.norm = distance::norm(&query.value);
        self.prepare(&coordinates, &mut query);
        query
    }

    /// Makes the query for the vector of a point.
    pub(in crate::hnsw) fn set_query(&self, point: &Point, query: &mut Query) {
        match self.parameters.shape.encoding.width() {
            None if !self.parameters.shape.encoding.is_dense() => query.stored.clone_from(&point.stored),
            None => {
                query.value.clear();
                query.value.extend(floats(&point.stored));
            }
            Some(_) => query.value.clone_from(&point.coordinates),
        }
        self.prepare(&point.coordinates, query);
    }

    fn prepare(&self, coordinates: &[f32], query: &mut Query) {
        if self.layout.is_coded() {
            query
                .table
                .prepare(&coordinates[..usize::from(self.parameters.shape.code_bits)]);
            query.square = distance::norm(coordinates).powi(2) as f32;
        }
    }

    /// The table of the difference of a query and the vector of a record near it, for estimates
    /// from lengths; none where the record is not near, or the difference gains nothing. The
    /// offsets of codes and the query's own table err in proportion to the distance from the
    /// centroid, an error that makes all neighbors of such a record look alike.
    #[inline]
    pub(in crate::hnsw) fn near<'n>(
        &self,
        query: &Query,
        stored: &[u8],
        distance: f32,
        near: &'n mut Near,
    ) -> Option<&'n Table> {
        let is_near = NEAR * NEAR * distance < query.square
            && query.square.is_finite()
            && order_key::is_sum(distance)
            && self.parameters.metric != Metric::InnerProduct;
        // A record of a vector with overflow records has only its start.
        if !is_near || self.layout.overflows > 0 {
            return None;
        }
        self.prepare_near(query, stored, near);
        Some(&near.table)
    }

    #[inline(never)]
    fn prepare_near(&self, query: &Query, stored: &[u8], near: &mut Near) {
        let Near { difference, table } = near;
        match self.parameters.shape.encoding.width() {
            None => {
                difference.clear();
                let pairs = query.value.iter().zip(floats(stored));
                difference.extend(pairs.map(|(query, stored)| query - stored));
                self.rotate(difference);
            }
            Some(_) => {
                self.decode(stored, difference);
                let pairs = difference.iter_mut().zip(&query.value);
                pairs.for_each(|(stored, query)| *stored = query - *stored);
            }
        }
        table.prepare(&difference[..usize::from(self.parameters.shape.code_bits)]);
    }

    /// The order key of a query and a stored vector, all of it in `stored`.
    #[inline]
    pub(in crate::hnsw) fn distance(&self, query: &Query, stored: &[u8]) -> f32 {
        match self.measure {
            Measure::Floats(kernel) => self.start_terms(kernel, query, stored).key(),
            Measure::Bits(distance) => distance(&query.stored, stored),
            Measure::Sparse(metric) => sparse_key(metric, &query.stored, stored),
        }
    }

    /// The part of the sum behind an order key that belongs to the start of a stored vector; zero
    /// unless the vector is dense.
    pub(in crate::hnsw) fn start_sum(&self, query: &Query, start: &[u8]) -> f64 {
        match self.measure {
            Measure::Floats(kernel) => self.start_terms(kernel, query, start).sum(),
            Measure::Bits(_) | Measure::Sparse(_) => 0.0,
        }
    }

    /// The part of that sum that belongs to overflow record `i` of a dense vector; `start` is the
    /// start of the stored vector, `bytes` are the bytes of the overflow record.
    pub(in crate::hnsw) fn overflow_sum(&self, query: &Query, start: &[u8], i: usize, bytes: &[u8]) -> f64 {
        let Measure::Floats(kernel) = self.measure else {
            return 0.0;
        };
        let range = self.layout.overflow_range(i, self.layout.vector_len);
        let bytes = &bytes[..range.len()];
        let coordinate = |at: usize| match self.parameters.shape.encoding.width() {
            None => at / size_of::<f32>(),
            Some(width) => (at - self.head()) / width.block_bytes() * BLOCK,
        };
        let value = &query.value[coordinate(range.start)..coordinate(range.end)];
        self.terms(kernel, value, start, bytes).sum()
    }

    /// The terms of a query and the start of a stored vector, or all of it.
    #[inline]
    fn start_terms<'a>(&self, kernel: Kernel, query: &'a Query, start: &'a [u8]) -> Terms<'a> {
        let encoding = self.parameters.shape.encoding;
        if encoding.rest_width().is_some()
            && let Some(width) = encoding.width()
            && let (first, Some(second)) = self.parts(start, width)
        {
            return Terms::Parts(self.parameters.metric, &query.value, first, second);
        }
        let bytes = &start[self.head()..];
        let coordinates = match encoding.width() {
            None => bytes.len() / size_of::<f32>(),
            Some(width) => bytes.len() / width.block_bytes() * BLOCK,
        };
        self.terms(kernel, &query.value[..coordinates], start, bytes)
    }

    /// The terms of `bytes` of a stored vector with the start `start`, and of the same part of a
    /// query.
    #[inline(always)]
    fn terms<'a>(&self, kernel: Kernel, value: &'a [f32], start: &[u8], bytes: &'a [u8]) -> Terms<'a> {
        match self.parameters.shape.encoding.width() {
            None => Terms::Floats(kernel, value, bytes),
            Some(width) => Terms::Packed(self.parameters.metric, value, scalar(start, width).packed(bytes)),
        }
    }

    /// The order key of a query and a stored vector, all of its bytes.
    pub fn whole_distance(&self, query: &Query, stored: &[u8]) -> f32 {
        if !self.parameters.shape.encoding.is_dense() || self.layout.overflows == 0 {
            return self.distance(query, stored);
        }
        let start = &stored[..self.layout.inline_len];
        let overflows = (0..self.layout.overflows)
            .map(|i| self.overflow_sum(query, start, i, &stored[self.layout.overflow_range(i, stored.len())]));
        order_key::of(overflows.fold(self.start_sum(query, start), |sum, piece| sum + piece))
    }

    /// The order key of two points.
    #[inline]
    pub(in crate::hnsw) fn between(&self, a: &Point, b: &Point) -> f32 {
        match self.measure {
            Measure::Floats(kernel) => order_key::between(kernel, &a.coordinates, &b.coordinates),
            Measure::Bits(distance) => distance(&a.stored, &b.stored),
            Measure::Sparse(metric) => sparse_key(metric, &a.stored, &b.stored),
        }
    }

    /// Converts a ratio of distances to a ratio of order keys.
    pub(in crate::hnsw) fn ratio(&self, ratio: f64) -> f64 {
        match self.parameters.metric {
            Metric::L2 | Metric::Cosine | Metric::InnerProduct => ratio * ratio,
            Metric::L1 | Metric::Hamming | Metric::Jaccard => ratio,
        }
    }

    /// The length of a query; 0 for a bit string.
    pub(in crate::hnsw) fn length(&self, query: &Query) -> f64 {
        match self.measure {
            Measure::Sparse(_) => {
                (-order_key::sum(sparse_key(Metric::InnerProduct, &query.stored, &query.stored))).sqrt()
            }
            Measure::Floats(_) | Measure::Bits(_) if query.norm > 0.0 => query.norm,
            Measure::Floats(_) | Measure::Bits(_) => distance::norm(&query.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::lists;
    use crate::storage::centroid;
    use crate::storage::layout::{Encoding, FilterColumns, Shape};
    use crate::storage::parameters::{Element, Reflections};
    use crate::test_data::phrases;

    /// Parameters with the hash of a centroid.
    pub(super) fn parameters(shape: Shape, seed: u64, centroid: &[f32]) -> Parameters {
        Parameters {
            shape,
            element: Element::Vector,
            metric: Metric::L2,
            ef_construction: 64,
            seed,
            centroid: if centroid.is_empty() {
                0
            } else {
                centroid::hash(centroid)
            },
            filters: [None; crate::filter::values::MOST_COLUMNS],
            borders: 0,
            list_bits: lists::FEWEST_BITS,
            directions: Reflections::NONE,
        }
    }

    #[test]
    fn a_point_is_at_distance_zero_from_itself_however_it_is_stored() {
        for encoding in [
            Encoding::Float32,
            Encoding::Scalar12,
            Encoding::Scalar10,
            Encoding::Scalar10And8,
            Encoding::Scalar10And10,
        ] {
            for dimensions in [3, 100, 1536, 16_000] {
                if encoding.rest_width().is_some() && dimensions > 4096 {
                    continue; // Two parts have no overflow records.
                }
                let shape = Shape {
                    dimensions,
                    m: 16,
                    encoding,
                    code_bits: 128,
                    filters: FilterColumns::NONE,
                };
                let [first, second, third] = phrases(3, dimensions as usize).try_into().unwrap();
                for centroid in [Vec::new(), third] {
                    let space = Space::new(parameters(shape, 5, &centroid), centroid).unwrap();
                    let [a, b] = [&first, &second].map(|vector| {
                        let mut point = Point::default();
                        space.set_point(vector, &mut point);
                        point
                    });
                    let mut query = Query::default();
                    space.set_query(&a, &mut query);
                    assert_eq!(space.whole_distance(&query, &a.stored), 0.0, "{shape:?}");
                    let (distance, expected) = (space.whole_distance(&query, &b.stored), space.between(&a, &b));
                    assert!(
                        (distance - expected).abs() <= 1e-4 * expected,
                        "{shape:?}: {distance} {expected}"
                    );
                    let mut coordinates = Vec::new();
                    space.decode(&b.stored, &mut coordinates);
                    assert_eq!(coordinates, b.coordinates, "{shape:?}");
                }
            }
        }
    }
}
