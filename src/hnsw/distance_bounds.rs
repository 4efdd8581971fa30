//! Bounds between the order keys of a search and the distances that operators return.
//!
//! An order key is computed from the stored vector, in f32; an operator's distance from the vector
//! in the table. The two differ by the quantization of the stored vector (at most half a step a
//! coordinate; under inner product a whole step in a few, `quantize::scalar`) and by rounding. So a
//! record gives a lower bound of the distance, which suffices for the executor's reorder queue
//! (`nodeIndexscan.c`), and a radius gives a key beyond which no row is within it.

use crate::distance::Metric;
use crate::hnsw::order_key;
use crate::hnsw::space::codec::{floats, scalar};
use crate::hnsw::space::{Query, Space};
use crate::quantize::scalar::MOST_MOVED;

/// Form of the keys that a scan orders by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// Order keys of the stored vectors: squared under L2 and cosine.
    Stored,
    /// Lower bounds of the operator's distances.
    Least,
}

/// Relative error of a distance, more than rounding in f32 causes.
const ROUNDING: f64 = 1e-4;
/// Absolute error of 1 less a cosine, more than rounding causes.
const COSINE_ROUNDING: f64 = 1e-5;
/// Error of a rotated coordinate, or of a product of two vectors, relative to their lengths, more
/// than rounding causes.
const LENGTH_ROUNDING: f64 = 1e-5;
/// Least error of a coordinate, because of the least numbers of f32: 2^-133.
const LEAST_ERROR: f64 = 1e-40;

impl Space {
    /// Largest order key of a stored vector with an original within `radius` of the query, by
    /// the distance that the operator returns (the square root of the key under L2, half of it
    /// under cosine).
    ///
    /// A stored coordinate errs by at most half a step, and the steps divide a range of at most
    /// twice the vector's length, which is at most the length of the query plus the radius. Under
    /// inner product vectors of any length may be within the radius: there is no bound.
    pub fn max_key_within(&self, query: &Query, radius: f64) -> f32 {
        if radius.is_nan() {
            return f32::INFINITY; // In PostgreSQL every distance is below NaN.
        }
        let radius = radius.max(0.0);
        let euclidean = match self.parameters.metric {
            Metric::L2 => radius,
            Metric::Cosine => (2.0 * (radius + COSINE_ROUNDING)).sqrt(),
            Metric::InnerProduct => return f32::INFINITY,
            Metric::L1 | Metric::Hamming | Metric::Jaccard => return order_key::of(radius * (1.0 + ROUNDING)),
        };
        let bound = (euclidean + self.most_moved(query, euclidean)) * (1.0 + ROUNDING);
        order_key::of(bound * bound)
    }

    /// Largest distance by which storage may have moved a vector within a Euclidean distance of the
    /// query.
    fn most_moved(&self, query: &Query, euclidean: f64) -> f64 {
        let encoding = self.parameters.shape.encoding;
        encoding.rest_width().or(encoding.width()).map_or(0.0, |width| {
            let steps = f64::from((1 << width.bits()) - 1);
            let coordinates = (self.parameters.shape.coordinates() as f64).sqrt();
            let moved = (coordinates / steps + LENGTH_ROUNDING) * (query.norm + euclidean);
            moved + coordinates * LEAST_ERROR + self.centroid_rounding()
        })
    }

    /// Largest distance by which subtraction of the centroid may have moved a vector.
    fn centroid_rounding(&self) -> f64 {
        LENGTH_ROUNDING / 10.0 * self.centroid_norm
    }

    /// Lower bound of the operator's distance, from one of the Euclidean distance.
    fn of_euclidean(&self, euclidean: f64) -> f64 {
        let euclidean = euclidean.max(0.0);
        match self.parameters.metric {
            Metric::Cosine => euclidean * euclidean / 2.0 - COSINE_ROUNDING,
            _ => euclidean,
        }
    }

    /// A lower bound of the operator's distance between the query and the value of a record with
    /// this order key; `stored` is the stored vector, or its start as long as a record has it.
    pub fn least_distance(&self, query: &Query, stored: &[u8], key: f32) -> f32 {
        let encoding = self.parameters.shape.encoding;
        let (metric, sum) = (self.parameters.metric, order_key::sum(key.clamp(f32::MIN, f32::MAX)));
        let coordinates = self.parameters.shape.coordinates() as f64;
        let least = match (metric, encoding.width()) {
            (Metric::L2 | Metric::Cosine, Some(width)) => {
                let moved = |scale: f32, coordinates: f64| (f64::from(scale) / 2.0 + LEAST_ERROR) * coordinates.sqrt();
                let first = self.parameters.shape.first_coordinates() as f64;
                let rest = encoding.rest_width().map_or(0.0, |_| {
                    let (_, second) = self.parts(stored, width);
                    second.map_or(0.0, |second| moved(second.scale, coordinates - first))
                });
                let moved = moved(scalar(stored, width).scale, first).hypot(rest);
                let euclidean = sum.max(0.0).sqrt();
                let rounding = LENGTH_ROUNDING * (query.norm + euclidean + moved) + self.centroid_rounding();
                self.of_euclidean((euclidean - moved) * (1.0 - ROUNDING) - rounding)
            }
            (Metric::L2 | Metric::Cosine, None) => self.of_euclidean(sum.max(0.0).sqrt() * (1.0 - ROUNDING)),
            (Metric::InnerProduct, Some(width)) => {
                let scalar = scalar(stored, width);
                let least = f64::from(scalar.offset);
                // Errors of half a step, and of a whole one in the coordinates of a balanced
                // vector.
                let squares = coordinates / 4.0 + 0.75 * coordinates.min(MOST_MOVED as f64);
                let moved = f64::from(scalar.scale) * squares.sqrt() + LEAST_ERROR * coordinates.sqrt();
                let greatest = least + f64::from(scalar.scale) * f64::from((1 << width.bits()) - 1);
                let length = least.abs().max(greatest.abs()) * coordinates.sqrt();
                sum - query.norm * (moved + LENGTH_ROUNDING * length)
            }
            (Metric::InnerProduct, None) if encoding.is_dense() => {
                let length = floats(stored).map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt();
                sum - LENGTH_ROUNDING * query.norm * length
            }
            // A sum in f64, rounded once.
            (Metric::InnerProduct, None) => sum - sum.abs() * ROUNDING,
            (Metric::Hamming, _) => sum,
            (Metric::L1 | Metric::Jaccard, _) => sum * (1.0 - ROUNDING),
        };
        // Rounded down.
        let least = least.clamp(f64::from(f32::MIN), f64::from(f32::MAX));
        let nearest = least as f32;
        if f64::from(nearest) > least {
            nearest.next_down()
        } else {
            nearest
        }
    }

    /// The key, in this form, of the query and a stored vector, all of its bytes.
    pub fn whole_key(&self, query: &Query, stored: &[u8], keys: Keys) -> f32 {
        let distance = self.whole_distance(query, stored);
        match keys {
            Keys::Stored => distance,
            Keys::Least => self.least_distance(query, &stored[..self.layout.inline_len.min(stored.len())], distance),
        }
    }
}
