//! Vectors as 8 bits per dimension (the head), and the next 8 bits (the tail).
//!
//! Between the least and the greatest component of a vector lie 65,535 equal steps. A component is the nearest step, a number of
//! 16 bits; its upper byte goes to the head and its lower byte to the tail. With `scale` = 256 steps:
//!
//! ```text
//! head alone:     v ~ offset + scale * head                          error at most scale / 2
//! head and tail:  v ~ offset + scale * (head + tail/256 - 127.5/256)   error at most scale / 512
//! ```
//!
//! and, over all, rounding of f32 at the magnitude of the vector. `offset` is so chosen that a head alone stands for the middle
//! of what it may be. A constant vector has scale 0 and is exact.

use super::vectorized;

/// What turns the bytes of a vector into numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scalar8 {
    /// The number that a head of zero stands for.
    pub offset: f32,
    /// What a unit of the head stands for.
    pub scale: f32,
}

/// Half a head, less half a step, in units of the head.
const MIDDLE: f32 = 127.5 / 256.0;

impl Scalar8 {
    /// Encodes a vector.
    ///
    /// # Panics
    /// If the three lengths differ.
    pub fn encode(vector: &[f32], head: &mut [u8], tail: &mut [u8]) -> Self {
        assert!(vector.len() == head.len() && vector.len() == tail.len());
        vectorized(|| encode_any(vector, head, tail))
    }

    /// Decodes a head alone.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn decode_head(self, head: &[u8], vector: &mut [f32]) {
        assert_eq!(head.len(), vector.len());
        vectorized(|| {
            for (v, &head) in vector.iter_mut().zip(head) {
                *v = self.value(f32::from(head));
            }
        });
    }

    /// Decodes a head and its tail.
    ///
    /// # Panics
    /// If the lengths differ.
    pub fn decode(self, head: &[u8], tail: &[u8], vector: &mut [f32]) {
        assert!(vector.len() == head.len() && vector.len() == tail.len());
        vectorized(|| {
            for ((v, &head), &tail) in vector.iter_mut().zip(head).zip(tail) {
                *v = self.value(f32::from(head) + (f32::from(tail) / 256.0 - MIDDLE));
            }
        });
    }

    /// The greatest error of a component decoded from the head alone.
    pub fn head_error(self) -> f32 {
        self.scale / 2.0
    }

    #[inline(always)]
    fn value(self, units: f32) -> f32 {
        (self.offset + self.scale * units).clamp(f32::MIN, f32::MAX)
    }
}

#[inline(always)]
fn encode_any(vector: &[f32], head: &mut [u8], tail: &mut [u8]) -> Scalar8 {
    let (least, greatest) = range(vector);
    let step = (f64::from(greatest) - f64::from(least)) / 65_535.0;
    let scale = (256.0 * step) as f32;
    if scale < f32::MIN_POSITIVE {
        // Constant, or so nearly that the middle is as exact as f32 has it.
        head.fill(0);
        tail.fill(0);
        return Scalar8 {
            offset: (f64::midpoint(f64::from(least), f64::from(greatest))) as f32,
            scale: 0.0,
        };
    }
    // Halves, so that no difference overflows; steps of f32, because that is what decoding multiplies by.
    let steps = 2.0 / (scale / 256.0);
    let (half_least, limit) = (least / 2.0, 65_535.0);
    for ((&v, head), tail) in vector.iter().zip(head).zip(tail) {
        let position = ((v / 2.0 - half_least) * steps).min(limit);
        let [low, high, ..] = (position + ROUND).to_bits().to_le_bytes();
        (*head, *tail) = (high, low);
    }
    Scalar8 {
        offset: (f64::from(least) + 127.5 * step) as f32,
        scale,
    }
}

/// Added to a small number, it leaves that number, rounded to nearest, in the low bits.
const ROUND: f32 = (1 << 23) as f32;

/// The least and the greatest component.
#[inline(always)]
fn range(vector: &[f32]) -> (f32, f32) {
    let Some(&first) = vector.first() else {
        return (0.0, 0.0);
    };
    let (mut least, mut greatest) = ([first; 16], [first; 16]);
    let (chunks, rest) = vector.as_chunks::<16>();
    for chunk in chunks {
        for i in 0..16 {
            least[i] = if chunk[i] < least[i] { chunk[i] } else { least[i] };
            greatest[i] = if chunk[i] > greatest[i] { chunk[i] } else { greatest[i] };
        }
    }
    let least = least.iter().chain(rest).copied().fold(first, f32::min);
    let greatest = greatest.iter().chain(rest).copied().fold(first, f32::max);
    (least, greatest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantize::rotation::Rotation;
    use crate::test_data::phrases;

    /// Encodes, checks both error bounds, and returns the greatest errors found, in units of the scale.
    fn errors(vector: &[f32]) -> (f64, f64) {
        let d = vector.len();
        let (mut head, mut tail, mut back) = (vec![0; d], vec![0; d], vec![0.0; d]);
        let parameters = Scalar8::encode(vector, &mut head, &mut tail);
        let magnitude = vector.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        // Offset, product and sum are each rounded.
        let rounding = 3.0 * f64::from(magnitude) * f64::from(f32::EPSILON) + 1e-37;
        let scale = f64::from(parameters.scale);
        let greatest = |bound: f64, back: &[f32]| {
            let error = vector
                .iter()
                .zip(back)
                .map(|(v, b)| (f64::from(*v) - f64::from(*b)).abs());
            let error = error.fold(0.0, |a: f64, b| if b.is_nan() { f64::NAN } else { a.max(b) });
            assert!(error <= bound + rounding, "{error} {bound} {rounding} {parameters:?}");
            if scale > 0.0 { error / scale } else { 0.0 }
        };
        parameters.decode_head(&head, &mut back);
        let head_error = greatest(f64::from(parameters.head_error()), &back);
        parameters.decode(&head, &tail, &mut back);
        (head_error, greatest(scale / 512.0, &back))
    }

    #[test]
    fn real_vectors_within_bounds() {
        for d in [1, 2, 50, 384, 1001, 16_000] {
            let rotation = Rotation::new(d, d, 2);
            for vector in phrases(20, d) {
                let mut rotated = vec![0.0; d];
                rotation.rotate(&vector, &mut rotated);
                errors(&vector);
                let (head, both) = errors(&rotated);
                assert!(
                    d < 384 || (head > 0.4 && both > 0.4 / 256.0),
                    "the bounds are no looser than they need be"
                );
            }
        }
    }

    #[test]
    fn extremes() {
        for d in [1usize, 2, 15, 16, 17, 1000] {
            for value in [0.0, 1e-45, 1e-40, 1e-38, 1e-30, 1.0, 1e19, 1e30, 1e38, f32::MAX] {
                let alternating = |i: usize| if i.is_multiple_of(2) { value } else { -value };
                errors(&vec![value; d]);
                errors(&vec![-value; d]);
                errors(&(0..d).map(alternating).collect::<Vec<_>>());
                errors(&(0..d).map(|i| value * (i as f32 / d as f32)).collect::<Vec<_>>());
                errors(&(0..d).map(|i| if i == 0 { value } else { 1.0 }).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn constants_are_exact() {
        for value in [0.0, 1.0, -0.1, 1e-45, f32::MAX, f32::MIN] {
            let (mut head, mut tail, mut back) = ([1; 33], [1; 33], [0.0; 33]);
            let parameters = Scalar8::encode(&[value; 33], &mut head, &mut tail);
            parameters.decode_head(&head, &mut back);
            assert_eq!(back, [value; 33]);
            parameters.decode(&head, &tail, &mut back);
            assert_eq!(back, [value; 33]);
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bytes() {
        let vector = &phrases(1, 1001)[0];
        let (mut wide, mut plain) = ((vec![0; 1001], vec![0; 1001]), (vec![1; 1001], vec![1; 1001]));
        let a = Scalar8::encode(vector, &mut wide.0, &mut wide.1);
        let b = encode_any(vector, &mut plain.0, &mut plain.1);
        assert_eq!((wide, a), (plain, b));
    }
}
