//! The codec of an index: stored vectors from values, coordinates from stored vectors, and codes of
//! neighbors.
//!
//! Coordinates are the vector less the centroid, rotated in a coded index. Where the encoding
//! quantizes, the stored vector consists of quantized coordinates, and a point has the coordinates
//! that these decode to; otherwise the vector is stored as it is.

use std::cell::RefCell;

use crate::distance::{self, Metric, Packed, decode_packed};
use crate::error::{Error, Result};
use crate::hnsw::indexed_value::{self, Value};
use crate::hnsw::space::{Point, Space};
use crate::quantize::rabitq::{self, Estimated, Factors, MAX_BITS};
use crate::quantize::scalar::{BLOCK, Scalar, Width};
use crate::storage::layout::Encoding;
use crate::storage::parameters::Parameters;
use crate::storage::sparse;

/// The coordinates of the centroid, as many as any vector has.
static CENTROID: [f32; MAX_BITS] = [0.0; MAX_BITS];

/// Bytes of the offset and the scale of a part of a vector.
const SCALAR_HEAD: usize = 2 * size_of::<f32>();

thread_local! {
    /// Memory to balance vectors in.
    static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl Space {
    /// Makes the point of a value. The value's coordinates are empty unless it is a dense vector.
    pub fn set_point<'v>(&self, value: impl Into<Value<'v>>, point: &mut Point) {
        let Point {
            stored, coordinates, ..
        } = point;
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
                let (head, rest_head) = head.split_at_mut(SCALAR_HEAD);
                let (bytes, rest_bytes) = bytes.split_at_mut(self.first_bytes(width));
                let (coordinates, rest) = coordinates.split_at_mut(self.parameters.shape.first_coordinates());
                self.quantize(coordinates, width, head, bytes);
                if let Some(width) = self.parameters.shape.encoding.rest_width() {
                    self.quantize(rest, width, rest_head, rest_bytes);
                }
            }
        }
    }

    /// Quantizes a part of a vector; the coordinates become the ones that are stored.
    fn quantize(&self, coordinates: &mut [f32], width: Width, head: &mut [u8], bytes: &mut [u8]) {
        let scalar = Scalar::encode(coordinates, width, bytes);
        if self.parameters.metric == Metric::InnerProduct {
            SCRATCH.with_borrow_mut(|changes| scalar.balance(coordinates, bytes, changes));
        }
        head[..4].copy_from_slice(&scalar.offset.to_ne_bytes());
        head[4..].copy_from_slice(&scalar.scale.to_ne_bytes());
        scalar.decode(bytes, coordinates);
    }

    /// Bytes of the first part of a quantized vector.
    #[inline]
    fn first_bytes(&self, width: Width) -> usize {
        self.parameters.shape.first_coordinates() / BLOCK * width.block_bytes()
    }

    /// The parts of a quantized vector, the second one empty where there is only one.
    #[inline]
    pub(in crate::hnsw) fn parts<'b>(&self, stored: &'b [u8], width: Width) -> (Packed<'b>, Option<Packed<'b>>) {
        let bytes = &stored[self.head()..];
        let Some(rest) = self.parameters.shape.encoding.rest_width() else {
            return (scalar(stored, width).packed(bytes), None);
        };
        let (first, second) = bytes.split_at(self.first_bytes(width));
        let second = scalar(&stored[SCALAR_HEAD..], rest).packed(second);
        (scalar(stored, width).packed(first), Some(second))
    }

    /// Decodes the coordinates of a stored vector, all of its bytes.
    pub(in crate::hnsw) fn decode(&self, stored: &[u8], coordinates: &mut Vec<f32>) {
        match self.parameters.shape.encoding.width() {
            None if !self.parameters.shape.encoding.is_dense() => coordinates.clear(),
            None => self.locate(floats(stored), coordinates),
            Some(width) => {
                coordinates.resize(self.parameters.shape.coordinates(), 0.0);
                let (first, second) = coordinates.split_at_mut(self.parameters.shape.first_coordinates());
                let (packed, rest) = self.parts(stored, width);
                decode_packed(&packed, first);
                if let Some(rest) = rest {
                    decode_packed(&rest, second);
                }
            }
        }
    }

    pub(super) fn rotate(&self, coordinates: &mut Vec<f32>) {
        if let (Some(head), Some(rest)) = (&self.rotation, &self.rest) {
            // The directions become the first coordinates; those of a code are they and some of the
            // others.
            coordinates.resize(self.parameters.shape.coordinates(), 0.0);
            self.directions.reflect(coordinates);
            rest.rotate_in_place(&mut coordinates[self.directions.count()..]);
            head.rotate_in_place(&mut coordinates[..head.padded()]);
        } else if let Some(rotation) = &self.rotation {
            coordinates.resize(rotation.padded(), 0.0);
            rotation.rotate_in_place(coordinates);
        }
    }

    /// The coordinates of a vector, before they are quantized.
    pub(super) fn locate(&self, vector: impl Iterator<Item = f32>, coordinates: &mut Vec<f32>) {
        coordinates.clear();
        if self.centroid.is_empty() {
            coordinates.extend(vector);
        } else {
            // The difference of two finite numbers may be beyond f32.
            let differences = vector
                .zip(&self.centroid)
                .map(|(v, c)| (v - c).clamp(f32::MIN, f32::MAX));
            coordinates.extend(differences);
        }
        self.rotate(coordinates);
    }

    /// Bytes of a stored vector before its coordinates.
    pub(super) fn head(&self) -> usize {
        self.parameters.shape.encoding.head()
    }

    /// Refuses a value, as the user gave it, that is too long for the index. Quantized coordinates
    /// have a limit ([`crate::quantize::scalar`]); a vector within this limit stays within that one
    /// after subtraction of the centroid and rotation.
    ///
    /// # Errors
    ///
    /// [`Error::TooLongForIndex`].
    pub fn check_length<'v>(parameters: &Parameters, value: impl Into<Value<'v>>) -> Result<()> {
        /// A median of vectors is at most as long as the square root of two times the longest of
        /// them.
        const LONGEST: f64 = 1e37;
        let Value::Dense(vector) = value.into() else {
            return Ok(());
        };
        if parameters.shape.encoding.width().is_none() {
            return Ok(());
        }
        // Most vectors are short enough by their largest number alone.
        let greatest = vector
            .iter()
            .fold(0.0, |greatest: f32, number| greatest.max(number.abs()));
        let may_be_longer = f64::from(greatest) * (vector.len() as f64).sqrt() > LONGEST;
        match may_be_longer && distance::norm(vector) > LONGEST {
            true => Err(Error::TooLongForIndex),
            false => Ok(()),
        }
    }

    /// Whether a point is the point of a value: its numbers are finite, and its bytes fit its
    /// encoding.
    pub(in crate::hnsw) fn is_sound(&self, point: &Point) -> bool {
        let dimensions = self.parameters.shape.dimensions;
        match self.parameters.shape.encoding {
            Encoding::Bits => indexed_value::is_bits(&point.stored, dimensions),
            Encoding::Sparse => sparse::is_sound(&point.stored, dimensions),
            _ => point.coordinates.iter().all(|coordinate| coordinate.is_finite()),
        }
    }

    /// The code of `x` as a neighbor of `y`; empty in a plain index. `words` has as many words as
    /// the layout says.
    pub(in crate::hnsw) fn encode(&self, x: &Point, y: &Point, words: &mut [u32]) -> Factors {
        if !self.layout.is_coded() {
            return Factors::default();
        }
        self.as_stored(rabitq::encode(&x.coordinates, &y.coordinates, self.estimated(), words))
    }

    /// The code of `x` relative to the centroid, as [`Space::encode`] makes it.
    pub(in crate::hnsw) fn encode_alone(&self, x: &Point, words: &mut [u32]) -> Factors {
        if !self.layout.is_coded() {
            return Factors::default();
        }
        let centroid = &CENTROID[..x.coordinates.len()];
        rabitq::encode(&x.coordinates, centroid, self.estimated(), words)
    }

    /// As [`Space::encode`], with the factors of the code of `y` as a neighbor of `x`, which has
    /// the complementary bits.
    pub(in crate::hnsw) fn encode_both(&self, x: &Point, y: &Point, words: &mut [u32]) -> (Factors, Factors) {
        if !self.layout.is_coded() {
            return Default::default();
        }
        let (there, back) = rabitq::encode_both(&x.coordinates, &y.coordinates, self.estimated(), words);
        (self.as_stored(there), self.as_stored(back))
    }

    /// Factors as they are read from a record. Lengths are compared with each other, so all of them
    /// are made in one way.
    fn as_stored(&self, factors: Factors) -> Factors {
        Factors {
            length: self.layout.length_of(factors.scale),
            ..factors
        }
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

/// The offset and the scale of a stored vector. A damaged page may hold any number; a number that
/// is not finite is read as zero.
#[inline]
pub(in crate::hnsw) fn scalar(stored: &[u8], width: Width) -> Scalar {
    let number = |bytes: [u8; 4]| {
        let value = f32::from_ne_bytes(bytes);
        if value.is_finite() { value } else { 0.0 }
    };
    let [offset, scale, ..] = stored.as_chunks().0 else {
        panic!("a stored vector without its head");
    };
    Scalar {
        offset: number(*offset),
        scale: number(*scale),
        width,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hnsw::space::tests::parameters;
    use crate::storage::Layout;

    #[test]
    fn coordinates_are_finite_whatever_the_centroid_is() {
        for (dimensions, encoding) in [(50, Encoding::Float32), (100, Encoding::Scalar12)] {
            let shape = Layout::plan(dimensions, 16, Metric::L2, 0).unwrap().shape;
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
