//! Scalar quantization: vectors in 12, 10 or 8 bits a dimension.
//!
//! Every component is one of 4,096, 1,024 or 256 equal steps from the least to the greatest of its
//! vector:
//!
//! ```text
//! value = offset + scale * v        v in 0..=4095, 1023 or 255, error at most scale / 2
//! ```
//!
//! The error is at most `scale` for the few components that [`Scalar::balance`] moves.
//!
//! Roundings of f32 at the magnitude of the vector add to it. A constant vector has scale 0 and is
//! exact. Components beyond +-2^126, of which no distance in f32 is finite, are limited to that;
//! components that differ by less than 2^-137 may become equal.
//!
//! `scale` has 12 significant bits with a `v` of 12 bits, 14 with one of 10, 16 with one of 8, so
//! its product with `v` is exact and a decoded component is rounded once, whether or not the
//! machine fuses the multiplication with the addition. A decoded component is therefore the same
//! number on every machine, and the distance kernels ([`Packed`]) find a decoded vector at distance
//! 0 from its stored form.
//!
//! The bytes are those of [`crate::distance::packed`]: 48, 40 or 32 for each 32 dimensions.

pub use crate::distance::packed::{BLOCK, Width};
use crate::distance::packed::{nudge, pack};
use crate::distance::{Packed, decode_packed};

/// The parameters that turn the bytes of a vector into numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Scalar {
    /// Value of step 0: the least component.
    pub offset: f32,
    /// Size of a step.
    pub scale: f32,
    /// Bits of a step's number.
    pub width: Width,
}

/// The most components of a vector that are moved to balance it: little excess is left after as
/// many (docs/measurements.md, *Balance*).
pub const MOST_MOVED: usize = 16;

/// The excess, as a part of the vector's square, below which a vector is balanced: the rounding
/// error of a product in f32.
const LEAST_EXCESS: f64 = 1e-8;

/// The greatest magnitude, so that the range of a vector and its last step are finite.
const LIMIT: f32 = f32::from_bits((127 + 126) << 23);

impl Scalar {
    /// Encodes a vector. All results are finite.
    ///
    /// # Panics
    /// If the length is not a multiple of [`BLOCK`], or `bytes` not [`Width::block_bytes`] for
    /// each.
    pub fn encode(vector: &[f32], width: Width, bytes: &mut [u8]) -> Self {
        assert!(vector.len().is_multiple_of(BLOCK) && bytes.len() == vector.len() / BLOCK * width.block_bytes());
        vectorized!(encode_any(vector: &[f32], width: Width, bytes: &mut [u8]) -> Scalar)
    }

    /// Balances an encoded vector: moves at most [`MOST_MOVED`] components by one step, so that its
    /// product with the original vector is the original's with itself. The error of an inner
    /// product with a near vector is then proportional to their distance instead of their lengths.
    /// Errors of moved components are at most `scale`. `changes` is scratch memory.
    ///
    /// # Panics
    /// As [`Scalar::encode`].
    pub fn balance(self, vector: &[f32], bytes: &mut [u8], changes: &mut Vec<f32>) {
        if self.scale == 0.0 {
            return;
        }
        // First the stored vector, then the change of the product by each component's step to the
        // other side of its value.
        changes.clear();
        changes.resize(vector.len(), 0.0);
        self.decode(bytes, changes);
        let (mut excess, mut square) = (0.0, 0.0);
        for (change, &value) in changes.iter_mut().zip(vector) {
            let (value, stored) = (limit(value), *change);
            let error = f64::from(stored) - f64::from(value);
            excess += error * f64::from(value);
            square += f64::from(value) * f64::from(value);
            *change = if error > 0.0 { -value } else { value };
        }
        let scale = f64::from(self.scale);
        for _ in 0..MOST_MOVED {
            if excess.abs() <= LEAST_EXCESS * square {
                return;
            }
            let wanted = (-excess / scale) as f32;
            let Some(best) = nearest(changes, wanted) else { return };
            let (change, value) = (f64::from(changes[best]), limit(vector[best]));
            // Each component is tried once: it is moved, or refused at the end of the range.
            changes[best] = f32::NAN;
            let after = excess + change * scale;
            if after.abs() >= excess.abs() {
                return;
            }
            let by = if change == f64::from(value) { 1 } else { -1 };
            if nudge(bytes, self.width, best, by) {
                excess = after;
            }
        }
    }

    /// Decodes a vector.
    ///
    /// # Panics
    /// As [`Scalar::encode`].
    pub fn decode(self, bytes: &[u8], vector: &mut [f32]) {
        decode_packed(&self.packed(bytes), vector);
    }

    /// The vector that these bytes hold, as the distance kernels take it.
    pub fn packed(self, bytes: &[u8]) -> Packed<'_> {
        let Scalar { offset, scale, width } = self;
        Packed {
            bytes,
            offset,
            scale,
            width,
        }
    }
}

#[inline(always)]
fn encode_any(vector: &[f32], width: Width, bytes: &mut [u8]) -> Scalar {
    match width {
        Width::Twelve => encode_as::<4>(vector, width, bytes),
        Width::Ten => encode_as::<2>(vector, width, bytes),
        Width::Eight => encode_as::<0>(vector, width, bytes),
    }
}

/// Encodes a vector; `LOW` is the number of lower bits, as in [`crate::distance::packed`].
#[inline(always)]
fn encode_as<const LOW: usize>(vector: &[f32], width: Width, bytes: &mut [u8]) -> Scalar {
    let (offset, greatest) = range(vector);
    let steps = ((1 << width.bits()) - 1) as f32;
    let scale = round_up((greatest - offset) / steps, width.bits());
    if scale == 0.0 {
        bytes.fill(0);
        return Scalar { offset, scale, width };
    }
    let blocks = bytes.chunks_exact_mut(width.block_bytes());
    for (values, block) in vector.as_chunks::<BLOCK>().0.iter().zip(blocks) {
        let numbers = values.map(|v| {
            let step = ((limit(v) - offset) / scale).min(steps);
            (step + ROUND).to_bits() as u16
        });
        pack::<LOW>(numbers, block);
    }
    Scalar { offset, scale, width }
}

/// Index of the number nearest to `wanted`, the first of equally near ones; NaN is skipped.
fn nearest(numbers: &[f32], wanted: f32) -> Option<usize> {
    let mut best = (f32::INFINITY, None);
    for (i, number) in numbers.iter().enumerate() {
        let apart = (number - wanted).abs();
        if apart < best.0 {
            best = (apart, Some(i));
        }
    }
    best.1
}

/// Rounds up to a number with zeros in the last `bits` of the 24 significant bits of f32.
#[inline(always)]
fn round_up(value: f32, bits: u32) -> f32 {
    let last = (1 << bits) - 1;
    f32::from_bits((value.to_bits() + last) & !last)
}

/// A number whose sum with a small one has the small one, rounded to nearest, in its low bits.
const ROUND: f32 = (1 << 23) as f32;

#[inline(always)]
fn limit(value: f32) -> f32 {
    value.clamp(-LIMIT, LIMIT)
}

/// The least and the greatest component.
#[inline(always)]
fn range(vector: &[f32]) -> (f32, f32) {
    let Some(&first) = vector.first() else {
        return (0.0, 0.0);
    };
    let (mut least, mut greatest) = ([first; BLOCK], [first; BLOCK]);
    for block in vector.as_chunks::<BLOCK>().0 {
        for i in 0..BLOCK {
            least[i] = if block[i] < least[i] { block[i] } else { least[i] };
            greatest[i] = if block[i] > greatest[i] { block[i] } else { greatest[i] };
        }
    }
    let least = least.into_iter().fold(first, f32::min);
    let greatest = greatest.into_iter().fold(first, f32::max);
    // Positive zero: the minimum of two zeros may be either.
    (limit(least) + 0.0, limit(greatest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance;
    use crate::quantize::rotation::Rotation;
    use crate::test_data::phrases;

    /// Encodes a vector, checks the bound of every error and that the decoded vector is at distance
    /// 0, and returns the greatest error in units of the scale.
    fn error(vector: &[f32], width: Width) -> f64 {
        let d = vector.len();
        let (mut bytes, mut back) = (vec![0xA5; d / BLOCK * width.block_bytes()], vec![f32::NAN; d]);
        let parameters = Scalar::encode(vector, width, &mut bytes);
        parameters.decode(&bytes, &mut back);
        assert!(back.iter().all(|v| v.is_finite()), "{parameters:?}");
        assert_eq!(distance::l2_squared_packed(&back, &parameters.packed(&bytes)), 0.0);
        let unbalanced = back.clone();
        parameters.balance(vector, &mut bytes, &mut Vec::new());
        parameters.decode(&bytes, &mut back);
        assert!(back.iter().all(|v| v.is_finite()));
        assert_eq!(distance::l2_squared_packed(&back, &parameters.packed(&bytes)), 0.0);
        back = unbalanced;
        let magnitude = f64::from(vector.iter().fold(0.0f32, |m, v| m.max(limit(*v).abs())));
        let scale = f64::from(parameters.scale);
        // Differences from the offset, their quotients and the decoded number are each rounded.
        let bound = scale / 2.0 + 4.0 * magnitude * f64::from(f32::EPSILON) + 2f64.powi(-137);
        let errors = vector.iter().zip(&back);
        let greatest = errors.fold(0.0, |greatest: f64, (&v, &b)| {
            let error = (f64::from(limit(v)) - f64::from(b)).abs();
            assert!(error <= bound, "{v:e} became {b:e}: {parameters:?}");
            greatest.max(error)
        });
        if scale > 0.0 { greatest / scale } else { 0.0 }
    }

    #[test]
    fn real_vectors_within_bounds() {
        for d in [32, 64, 384, 992, 16_000] {
            let rotation = Rotation::new(d, d, 2);
            for vector in phrases(20, d) {
                let mut rotated = vec![0.0; d];
                rotation.rotate(&vector, &mut rotated);
                for width in Width::ALL {
                    error(&vector, width);
                    let greatest = error(&rotated, width);
                    assert!(greatest > 0.4 || d < 384, "the bound is no looser than need be");
                }
            }
        }
    }

    /// Product of a vector with the error of its stored form, in units of the scale and the
    /// vector's length.
    fn excess(vector: &[f32], back: &[f32], scale: f32) -> f64 {
        let pairs = || {
            vector
                .iter()
                .map(|&v| f64::from(v))
                .zip(back.iter().map(|&b| f64::from(b)))
        };
        let length = pairs().map(|(v, _)| v * v).sum::<f64>().sqrt();
        pairs().map(|(v, b)| v * (b - v)).sum::<f64>() / length / f64::from(scale)
    }

    #[test]
    fn a_balanced_vector_has_the_product_of_the_vector_with_itself() {
        for d in [32, 64, 128, 384, 1536] {
            let rotation = Rotation::new(d, d, 2);
            for vector in phrases(50, d) {
                let mut rotated = vec![0.0; d];
                rotation.rotate(&vector, &mut rotated);
                for width in Width::ALL {
                    let mut bytes = vec![0; d / BLOCK * width.block_bytes()];
                    let mut back = vec![0.0; d];
                    let scalar = Scalar::encode(&rotated, width, &mut bytes);
                    scalar.balance(&rotated, &mut bytes, &mut Vec::new());
                    scalar.decode(&bytes, &mut back);
                    let left = excess(&rotated, &back, scalar.scale).abs();
                    assert!(left < 0.05, "{d} dimensions, {width:?}: {left}");
                    let errors = rotated.iter().zip(&back).map(|(v, b)| (v - b).abs());
                    assert!(errors.fold(0.0, f32::max) <= scalar.scale * 1.001);
                }
            }
        }
    }

    #[test]
    fn extremes() {
        let values = [
            0.0,
            1e-45,
            1e-42,
            1e-40,
            1e-38,
            1e-35,
            1e-30,
            1.0,
            1e19,
            1e30,
            4e37,
            1e38,
            f32::MAX,
        ];
        for d in [32usize, 96, 1024] {
            for value in values {
                let alternating = |i: usize| if i.is_multiple_of(2) { value } else { -value };
                for vector in [
                    vec![value; d],
                    vec![-value; d],
                    (0..d).map(alternating).collect(),
                    (0..d).map(|i| value * (i as f32 / d as f32)).collect(),
                    (0..d).map(|i| if i == 0 { value } else { 1.0 }).collect(),
                ] {
                    for width in Width::ALL {
                        error(&vector, width);
                    }
                }
            }
        }
    }

    #[test]
    fn the_scale_times_the_greatest_step_is_exact_and_reaches_the_greatest() {
        for (width, steps, rounding) in [
            (Width::Twelve, 4095.0, 2048.0),
            (Width::Ten, 1023.0, 8192.0),
            (Width::Eight, 255.0, 32768.0),
        ] {
            let mut range = 1e-38f32;
            while range < 1e38 {
                let vector: Vec<f32> = (0..32).map(|i| range * (i as f32 / 31.0)).collect();
                let mut bytes = vec![0; width.block_bytes()];
                let scale = Scalar::encode(&vector, width, &mut bytes).scale;
                assert_eq!(scale.to_bits() % (1 << width.bits()), 0);
                let greatest = f64::from(scale) * steps;
                assert_eq!(f64::from(greatest as f32), greatest);
                let reach = greatest / f64::from(range);
                assert!(
                    (1.0 - 1e-7..=1.0 + 1.0 / rounding).contains(&reach) || range < 1e-33,
                    "{range:e}: {reach}"
                );
                range *= 1.7;
            }
        }
    }

    #[test]
    fn constants_are_exact() {
        for width in Width::ALL {
            for value in [0.0, 1.0, -0.1, 1e-45, LIMIT, -LIMIT] {
                let (mut bytes, mut back) = (vec![1; width.block_bytes()], [f32::NAN; BLOCK]);
                let parameters = Scalar::encode(&[value; BLOCK], width, &mut bytes);
                parameters.decode(&bytes, &mut back);
                assert_eq!((back, parameters.scale), ([value; BLOCK], 0.0));
            }
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bytes() {
        let vector = &phrases(1, 992)[0];
        for width in Width::ALL {
            let mut bytes = [vec![0; 31 * width.block_bytes()], vec![1; 31 * width.block_bytes()]];
            let a = Scalar::encode(vector, width, &mut bytes[0]);
            let b = encode_any(vector, width, &mut bytes[1]);
            assert_eq!((&bytes[0], a), (&bytes[1], b));
        }
    }
}
