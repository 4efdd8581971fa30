//! The space of an index: how its vectors are stored, compared and coded.
//!
//! A vector given by the user becomes a [`Point`]: the bytes that are stored, and its coordinates, which codes and the
//! choice of neighbours are computed from. In a coded index coordinates are rotated, and what quantized ones are decoded to; a
//! short vector is stored as it is and rotated when its coordinates are wanted; a plain index knows nothing but the vector; and of values
//! that are no dense vectors there are the stored bytes alone.
//! What all vectors of an index have in common, its centroid, is subtracted before they are rotated: distances do not change.
//! A search compares a [`Query`] with the stored bytes.

use std::cell::RefCell;
use std::sync::Arc;

use crate::distance::{self, Kernel, Metric};
use crate::error::{Error, Result};
use crate::hnsw::indexed_value::{self, Value};
use crate::hnsw::order_key::{self, Terms};
use crate::quantize::query_table::Table;
use crate::quantize::rabitq::{self, Estimated, Factors};
use crate::quantize::rotation::Rotation;
use crate::quantize::scalar::{BLOCK, Scalar, Width};
use crate::storage::layout::Encoding;
use crate::storage::parameters::Parameters;
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

/// A vector is near a query if it is so many times as near as the centroid is: there the error of an estimate by the query's own table comes up to that
/// of the code itself.
const NEAR: f32 = 16.0;

/// Spaces that are kept for the next scans.
const MOST_SHARED: usize = 8;

thread_local! {
    /// The spaces asked for last, the last one first.
    static SHARED: RefCell<Vec<Arc<Space>>> = const { RefCell::new(Vec::new()) };
    /// Memory to balance vectors in.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
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

/// The difference of a query and a vector that is near it, to look up codes in. Memory that is reused.
#[derive(Debug, Default)]
pub(in crate::hnsw) struct Near {
    difference: Vec<f32>,
    table: Table,
}

impl Space {
    /// The space that belongs to parameters and the centroid that they have the hash of, empty if they have none.
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

    /// The space that belongs to parameters, shared with whoever asked for it lately in this thread: each scan does. `centroid` reads the
    /// centroid for a new one.
    pub fn shared(parameters: Parameters, centroid: impl FnOnce() -> Result<Vec<f32>>) -> Result<Arc<Space>> {
        let known = SHARED.with_borrow_mut(|spaces| {
            let at = spaces.iter().position(|space| space.parameters == parameters)?;
            spaces[..=at].rotate_right(1);
            Some(Arc::clone(&spaces[0]))
        });
        if let Some(space) = known {
            return Ok(space);
        }
        let space = Arc::new(Space::new(parameters, centroid()?)?);
        SHARED.with_borrow_mut(|spaces| {
            spaces.truncate(MOST_SHARED - 1);
            spaces.insert(0, Arc::clone(&space));
        });
        Ok(space)
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

    /// Makes the point of a value.
    pub fn set_point<'v>(&self, value: impl Into<Value<'v>>, point: &mut Point) {
        let Point { stored, coordinates } = point;
        let vector = match value.into() {
            Value::Dense(vector) => vector,
            Value::Stored(bytes) => {
                coordinates.clear();
                stored.clear();
                stored.extend_from_slice(bytes);
                stored.resize(bytes.len().max(self.layout.inline_len), 0);
                return;
            }
        };
        self.locate(vector.iter().copied(), coordinates);
        stored.clear();
        match self.parameters.shape.encoding.width() {
            None => stored.extend(vector.iter().flat_map(|value| value.to_ne_bytes())),
            Some(width) => {
                stored.resize(self.layout.vector_len, 0);
                let (head, bytes) = stored.split_at_mut(self.head());
                let scalar = Scalar::encode(coordinates, width, bytes);
                if self.parameters.metric == Metric::InnerProduct {
                    SCRATCH.with_borrow_mut(|changes| scalar.balance(coordinates, bytes, changes));
                }
                head[..4].copy_from_slice(&scalar.offset.to_ne_bytes());
                head[4..].copy_from_slice(&scalar.scale.to_ne_bytes());
                scalar.decode(bytes, coordinates);
            }
        }
    }

    /// The coordinates of a stored vector, all of its bytes.
    pub(in crate::hnsw) fn decode(&self, stored: &[u8], coordinates: &mut Vec<f32>) {
        match self.parameters.shape.encoding.width() {
            None if !self.parameters.shape.encoding.is_dense() => coordinates.clear(),
            None => self.locate(floats(stored), coordinates),
            Some(width) => {
                coordinates.resize(self.parameters.shape.coordinates(), 0.0);
                scalar(stored, width).decode(&stored[self.head()..], coordinates);
            }
        }
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

    /// The table of the difference of a query and the vector of a record that is near it, for who estimates by lengths: an offset and the
    /// query's own table err in proportion to the distance from the centroid, and beside that the neighbours of a vector so near are all alike.
    /// Nothing where that is no matter.
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

    fn rotate(&self, coordinates: &mut Vec<f32>) {
        if let Some(rotation) = &self.rotation {
            coordinates.resize(rotation.padded(), 0.0);
            rotation.rotate_in_place(coordinates);
        }
    }

    /// The coordinates of a vector, before they are quantized.
    fn locate(&self, vector: impl Iterator<Item = f32>, coordinates: &mut Vec<f32>) {
        coordinates.clear();
        if self.centroid.is_empty() {
            coordinates.extend(vector);
        } else {
            // Of two finite numbers the difference may be beyond f32.
            let differences = vector
                .zip(&self.centroid)
                .map(|(v, c)| (v - c).clamp(f32::MIN, f32::MAX));
            coordinates.extend(differences);
        }
        self.rotate(coordinates);
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

    /// What overflow record `i` of a dense vector adds to that sum; `start` is the start of the stored vector,
    /// `bytes` those of the overflow record.
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

    /// Bytes of a stored vector before those of its coordinates.
    fn head(&self) -> usize {
        self.parameters.shape.encoding.head()
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

    /// Refuses a value, as a user gave it, that is too long for the index. Quantized coordinates
    /// are limited ([`crate::quantize::scalar`]); what is subtracted from vectors within this
    /// limit, and what a rotation makes of them, is within that one.
    ///
    /// # Errors
    /// [`Error::TooLongForIndex`].
    pub fn check_length<'v>(parameters: &Parameters, value: impl Into<Value<'v>>) -> Result<()> {
        /// No median of vectors is longer than the square root of two times the longest of them.
        const LONGEST: f64 = 1e37;
        let Value::Dense(vector) = value.into() else {
            return Ok(());
        };
        if parameters.shape.encoding.width().is_none() {
            return Ok(());
        }
        // Most vectors need no more than a look at their numbers.
        let greatest = vector
            .iter()
            .fold(0.0, |greatest: f32, number| greatest.max(number.abs()));
        let may_be_longer = f64::from(greatest) * (vector.len() as f64).sqrt() > LONGEST;
        match may_be_longer && distance::norm(vector) > LONGEST {
            true => Err(Error::TooLongForIndex),
            false => Ok(()),
        }
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

    /// Whether a point is one of a value: it has finite numbers, and what its encoding asks for.
    pub(in crate::hnsw) fn is_sound(&self, point: &Point) -> bool {
        let dimensions = self.parameters.shape.dimensions;
        match self.parameters.shape.encoding {
            Encoding::Bits => indexed_value::is_bits(&point.stored, dimensions),
            Encoding::Sparse => sparse::is_sound(&point.stored, dimensions),
            _ => point.coordinates.iter().all(|coordinate| coordinate.is_finite()),
        }
    }

    /// The code of `x` as a neighbour of `y`; none in a plain index. `words` has the layout's number of them.
    pub(in crate::hnsw) fn encode(&self, x: &Point, y: &Point, words: &mut [u32]) -> Factors {
        if !self.layout.is_coded() {
            return Factors::default();
        }
        rabitq::encode(&x.coordinates, &y.coordinates, self.estimated(), words)
    }

    /// As [`Space::encode`], with the factors of the code of `y` as a neighbour of `x`, which has the other bits.
    pub(in crate::hnsw) fn encode_both(&self, x: &Point, y: &Point, words: &mut [u32]) -> (Factors, Factors) {
        if !self.layout.is_coded() {
            return Default::default();
        }
        rabitq::encode_both(&x.coordinates, &y.coordinates, self.estimated(), words)
    }

    fn estimated(&self) -> Estimated {
        match self.parameters.metric {
            Metric::InnerProduct => Estimated::NegativeInnerProduct,
            _ => Estimated::L2Squared,
        }
    }
}

pub(in crate::hnsw) fn floats(bytes: &[u8]) -> impl Iterator<Item = f32> {
    let values = bytes.as_chunks::<4>().0.iter();
    values.map(|bytes| f32::from_ne_bytes(*bytes))
}

/// The offset and the scale of a stored vector. A damaged page may hold anything; what is not finite is read as zero.
#[inline]
pub(in crate::hnsw) fn scalar(stored: &[u8], width: Width) -> Scalar {
    let number = |at: usize| {
        let value = f32::from_ne_bytes([stored[at], stored[at + 1], stored[at + 2], stored[at + 3]]);
        if value.is_finite() { value } else { 0.0 }
    };
    Scalar {
        offset: number(0),
        scale: number(4),
        width,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use crate::storage::centroid;
    use crate::storage::layout::{Encoding, Shape};
    use crate::storage::parameters::Element;
    use crate::test_data::phrases;

    /// Parameters with the hash of a centroid.
    fn parameters(shape: Shape, seed: u64, centroid: &[f32]) -> Parameters {
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
    fn spaces_are_shared_and_few_are_kept() {
        let shape = Layout::plan(70, 16, true).unwrap().shape;
        let shared = |seed| Space::shared(parameters(shape, seed, &[]), || Ok(Vec::new())).unwrap();
        let first = shared(0);
        for seed in 1..MOST_SHARED as u64 {
            assert_eq!(shared(seed).parameters.seed, seed);
        }
        assert!(Arc::ptr_eq(&first, &shared(0)));
        for seed in 1..=MOST_SHARED as u64 {
            shared(seed);
        }
        assert!(!Arc::ptr_eq(&first, &shared(0)));
    }

    #[test]
    fn a_centroid_is_read_once_and_belongs_to_its_parameters() {
        let shape = Layout::plan(70, 16, true).unwrap().shape;
        let [a, b] = [[1.0; 70], [2.0; 70]].map(|centroid| parameters(shape, 0, &centroid));
        let corrupted = || Err(Error::corrupted(1, "damaged"));
        assert!(Space::shared(a, corrupted).is_err());
        let space = Space::shared(a, || Ok(vec![1.0; 70])).unwrap();
        assert!(Arc::ptr_eq(&space, &Space::shared(a, corrupted).unwrap()));
        assert!(Space::shared(b, corrupted).is_err());
        assert_eq!(Space::shared(b, || Ok(vec![2.0; 70])).unwrap().centroid, [2.0; 70]);
        assert_eq!(space.layout.first_block, 2);
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

    #[test]
    fn coordinates_are_finite_whatever_the_centroid_is() {
        for (dimensions, encoding) in [(50, Encoding::Float32), (100, Encoding::Scalar12)] {
            let shape = Layout::plan(dimensions, 16, true).unwrap().shape;
            assert_eq!(shape.encoding, encoding);
            for (value, centroid) in [
                (f32::MAX, f32::MIN),
                (f32::MIN, f32::MAX),
                (f32::MAX, 1.0),
                (0.0, f32::MAX),
            ] {
                let centroid = vec![centroid; dimensions];
                let space = Space::new(parameters(shape, 5, &centroid), centroid).unwrap();
                let mut point = Point::default();
                space.set_point(&vec![value; dimensions], &mut point);
                assert!(point.coordinates.iter().all(|value| value.is_finite()));
            }
        }
    }
}
