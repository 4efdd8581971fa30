//! The space of an index: how its vectors are stored, compared and coded.
//!
//! A vector given by the user becomes a [`Point`]: the bytes that are stored, and its coordinates,
//! which codes and the choice of neighbours are computed from. In a coded index coordinates are
//! rotated, and what quantized ones are decoded to; a short vector is stored as it is and rotated
//! when its coordinates are wanted; a plain index knows nothing but the vector; and of values that
//! are no dense vectors there are the stored bytes alone. What all vectors of an index have in
//! common, its centroid, is subtracted before they are rotated: distances do not change. A search
//! compares a [`Query`] with the stored bytes.

mod cache;
pub(super) mod codec;

use crate::distance::{self, Kernel, Metric};
use crate::error::Result;
use crate::hnsw::indexed_value::Value;
use crate::hnsw::order_key::{self, Terms};
use crate::hnsw::space::codec::{floats, scalar};
use crate::hnsw::tuning::search::NEAR;
use crate::quantize::query_table::Table;
use crate::quantize::rotation::Rotation;
use crate::quantize::scalar::BLOCK;
use crate::storage::layout::Encoding;
use crate::storage::meta::Parameters;
use crate::storage::{Layout, sparse};

/// What follows from the parameters of an index.
pub struct Space {
    pub(in crate::hnsw) parameters: Parameters,
    pub(in crate::hnsw) layout: Layout,
    measure: Measure,
    rotation: Option<Rotation>,
    /// What is subtracted before the rotation; empty if nothing is.
    centroid: Vec<f32>,
    /// The length of that.
    pub(in crate::hnsw) centroid_norm: f64,
}

/// How values that are not quantized are compared: as a whole, but for floats.
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
    /// The coordinates; none of what is no dense vector.
    pub coordinates: Vec<f32>,
}

/// A vector to search for.
#[derive(Debug, Clone, Default)]
pub struct Query {
    /// In the form that stored vectors are compared with.
    value: Vec<f32>,
    /// The stored form of what is no dense vector.
    stored: Vec<u8>,
    /// The length of `value`; 0 in a query that only finds neighbours.
    pub(in crate::hnsw) norm: f64,
    /// What codes are looked up in; unused in a plain index.
    pub(in crate::hnsw) table: Table,
    /// The square of its distance from the centroid; zero in a plain index.
    square: f32,
}

/// The difference of a query and a vector that is near it, to look up codes in. Memory that is
/// reused.
#[derive(Debug, Default)]
pub(in crate::hnsw) struct Near {
    difference: Vec<f32>,
    table: Table,
}

impl Space {
    /// The space that belongs to parameters and the centroid that they have the hash of, empty if
    /// they have none.
    pub fn new(parameters: Parameters, centroid: Vec<f32>) -> Result<Space> {
        let layout = parameters.layout()?;
        let dimensions = parameters.shape.dimensions as usize;
        let rotation = || Rotation::new(dimensions, parameters.shape.coordinates(), parameters.seed);
        Ok(Space {
            parameters,
            layout,
            measure: Measure::of(&parameters),
            rotation: layout.is_coded().then(rotation),
            centroid_norm: distance::norm(&centroid),
            centroid,
        })
    }

    /// What the index is.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// What is subtracted from its vectors, in their own dimensions; empty if nothing is.
    pub fn centroid(&self) -> &[f32] {
        &self.centroid
    }

    /// Where things are in its records.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Makes the query for a value (normalised where the metric wants it).
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

    /// The table of the difference of a query and the vector of a record that is near it, for who
    /// estimates by lengths: an offset and the query's own table err in proportion to the distance
    /// from the centroid, and beside that the neighbours of a vector so near are all alike. Nothing
    /// where that is no matter.
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
        // Of a vector with overflow records only the start is there.
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

    /// The search's order key of a query and a stored vector that is all in `stored`.
    #[inline]
    pub(in crate::hnsw) fn distance(&self, query: &Query, stored: &[u8]) -> f32 {
        match self.measure {
            Measure::Floats(kernel) => self.start_terms(kernel, query, stored).key(),
            Measure::Bits(distance) => distance(&query.stored, stored),
            Measure::Sparse(metric) => sparse_key(metric, &query.stored, stored),
        }
    }

    /// What the start of a stored vector adds to the sum that a key stands for; of what is no dense
    /// vector, nothing.
    pub(in crate::hnsw) fn start_sum(&self, query: &Query, start: &[u8]) -> f64 {
        match self.measure {
            Measure::Floats(kernel) => self.start_terms(kernel, query, start).sum(),
            Measure::Bits(_) | Measure::Sparse(_) => 0.0,
        }
    }

    /// What overflow record `i` of a dense vector adds to that sum; `start` is the start of the
    /// stored vector, `bytes` those of the overflow record.
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

    /// The terms of the start of a stored vector, or all of it.
    #[inline]
    fn start_terms<'a>(&self, kernel: Kernel, query: &'a Query, start: &'a [u8]) -> Terms<'a> {
        let bytes = &start[self.head()..];
        let coordinates = match self.parameters.shape.encoding.width() {
            None => bytes.len() / size_of::<f32>(),
            Some(width) => bytes.len() / width.block_bytes() * BLOCK,
        };
        self.terms(kernel, &query.value[..coordinates], start, bytes)
    }

    /// The terms of `bytes` of a stored vector, of which `start` is the start, and of the same part
    /// of a query.
    #[inline]
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

    /// A ratio of distances as one of keys.
    pub(in crate::hnsw) fn ratio(&self, ratio: f64) -> f64 {
        match self.parameters.metric {
            Metric::L2 | Metric::Cosine | Metric::InnerProduct => ratio * ratio,
            Metric::L1 | Metric::Hamming | Metric::Jaccard => ratio,
        }
    }

    /// The length of a query; 0 of one that is a string of bits.
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
    use crate::storage::centroid;
    use crate::storage::layout::{Encoding, Shape};
    use crate::storage::meta::Element;
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
        }
    }

    #[test]
    fn a_point_is_at_distance_zero_from_itself_however_it_is_stored() {
        for encoding in [Encoding::Float32, Encoding::Scalar12, Encoding::Scalar10] {
            for dimensions in [3, 100, 1536, 16_000] {
                let shape = Shape {
                    dimensions,
                    m: 16,
                    encoding,
                    code_bits: 128,
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
