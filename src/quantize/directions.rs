//! Directions of the data: an isometry that makes the directions in which rows differ most the
//! first coordinates, so that short codes tell most of a difference.
//!
//! It is a product of Householder reflections, I - f v v', one for each direction, as a QR
//! decomposition of the directions gives them. A reflection keeps all distances whatever its vector
//! is: rounding a vector, to bfloat16 here, turns a direction a little aside and changes no answer.
//! Blocks of [`BLOCK`] reflections are applied at once, so that a vector is read once for each.
//! (Halko, Martinsson and Tropp, arXiv 0909.4061, for directions from a sample.)
//!
//! Reflections are part of the file format. The arithmetic has a fixed order.

use super::bfloat16::Bf16;
use crate::error::Result;
use crate::fallible::{Room, TryPush};

/// Reflections that are applied at once.
pub const BLOCK: usize = 4;

/// Partial sums of one kind, as wide as the widest registers.
const WIDE: usize = 16;

/// The largest magnitude for which no sum can overflow.
const SAFE_MAGNITUDE: f32 = f32::MAX / 4096.0;

/// Reflections, in the order in which they are applied.
#[derive(Clone, Debug, Default)]
pub struct Directions {
    /// Length of a vector.
    coordinates: usize,
    /// The vectors of the reflections, one after the other.
    numbers: Vec<Bf16>,
    /// What else it takes to apply each [`BLOCK`] of them.
    factors: Vec<Factors>,
}

#[derive(Clone, Copy, Debug)]
struct Factors {
    /// Coordinates before this one are zero in all vectors.
    start: usize,
    /// The factor of each reflection, 2 / |v|^2.
    each: [f32; BLOCK],
    /// Products of a vector with those before it.
    products: [[f32; BLOCK]; BLOCK],
}

impl Directions {
    /// The reflections of these vectors; `None` if one of them has not about the length of the
    /// square root of two, as all have that [`Directions::of`] makes.
    ///
    /// # Panics
    /// Unless there are a multiple of [`BLOCK`] vectors, and coordinates a multiple of 16.
    pub fn of_numbers(numbers: Vec<Bf16>, coordinates: usize) -> Option<Directions> {
        assert!(coordinates.is_multiple_of(WIDE) && numbers.len().is_multiple_of(BLOCK * coordinates.max(1)));
        let mut factors = Vec::with_capacity(numbers.len() / (BLOCK * coordinates));
        for block in numbers.chunks_exact(BLOCK * coordinates) {
            let vectors: Vec<&[Bf16]> = block.chunks_exact(coordinates).collect();
            let product = |a: &[Bf16], b: &[Bf16]| -> f64 {
                let pairs = a.iter().zip(b);
                pairs.map(|(a, b)| f64::from(a.to_f32()) * f64::from(b.to_f32())).sum()
            };
            let zeros = |vector: &[Bf16]| vector.iter().take_while(|number| number.to_f32() == 0.0).count();
            let start = vectors.iter().map(|vector| zeros(vector)).min().unwrap_or(0) / WIDE * WIDE;
            let mut of_block = Factors {
                start,
                each: [0.0; BLOCK],
                products: [[0.0; BLOCK]; BLOCK],
            };
            for (i, a) in vectors.iter().enumerate() {
                let square = product(a, a);
                if !(1.0..4.0).contains(&square) {
                    return None;
                }
                of_block.each[i] = (2.0 / square) as f32;
                for (j, b) in vectors[..i].iter().enumerate() {
                    of_block.products[i][j] = product(a, b) as f32;
                }
            }
            factors.push(of_block);
        }
        Some(Directions {
            coordinates,
            numbers,
            factors,
        })
    }

    /// The reflections that make these directions, orthonormal and of a length that is a multiple
    /// of 16, the first coordinates; `None` if they are no numbers.
    ///
    /// # Errors
    /// [`crate::error::Error::OutOfMemory`].
    ///
    /// # Panics
    /// As [`Directions::of_numbers`].
    pub fn of(mut directions: Vec<f32>, coordinates: usize) -> Result<Option<Directions>> {
        let count = directions.len() / coordinates;
        let mut numbers = Vec::new();
        numbers.room(directions.len())?;
        let mut vector = vec![0.0f64; coordinates];
        for i in 0..count {
            let direction = &directions[i * coordinates..][..coordinates];
            vector.fill(0.0);
            for (number, &part) in vector[i..].iter_mut().zip(&direction[i..]) {
                *number = f64::from(part);
            }
            let length = vector.iter().map(|v| v * v).sum::<f64>().sqrt();
            // The sign that does not cancel.
            vector[i] += length.max(f64::from(f32::MIN_POSITIVE)).copysign(vector[i]);
            let scale = (2.0 / vector.iter().map(|v| v * v).sum::<f64>()).sqrt();
            let stored: Vec<Bf16> = vector.iter().map(|v| Bf16::from_f32((v * scale) as f32)).collect();
            let exact: Vec<f32> = stored.iter().map(|number| number.to_f32()).collect();
            let square: f64 = exact.iter().map(|&v| f64::from(v) * f64::from(v)).sum();
            for other in directions[i * coordinates..].chunks_exact_mut(coordinates) {
                let product: f64 = other.iter().zip(&exact).map(|(a, b)| f64::from(a * b)).sum();
                let by = (2.0 * product / square) as f32;
                other.iter_mut().zip(&exact).for_each(|(a, b)| *a -= by * b);
            }
            numbers.try_extend(stored)?;
        }
        Ok(Directions::of_numbers(numbers, coordinates))
    }

    /// The number of reflections.
    pub fn count(&self) -> usize {
        BLOCK * self.factors.len()
    }

    /// The vectors of the reflections.
    pub fn numbers(&self) -> &[Bf16] {
        &self.numbers
    }

    /// Applies the reflections. Coordinates beyond the range of f32 are clamped to it.
    ///
    /// # Panics
    /// If the vector has another length.
    pub fn reflect(&self, data: &mut [f32]) {
        if self.factors.is_empty() {
            return;
        }
        assert!(data.len() == self.coordinates);
        let directions = self;
        vectorized!(reflect_any(directions: &Directions, data: &mut [f32]));
    }
}

#[inline(always)]
fn reflect_any(directions: &Directions, data: &mut [f32]) {
    let large = data.iter().fold(false, |large, v| large | (v.abs() > SAFE_MAGNITUDE));
    if large {
        data.iter_mut().for_each(|v| *v /= 4096.0);
    }
    let blocks = directions.numbers.chunks_exact(BLOCK * directions.coordinates);
    for (numbers, factors) in blocks.zip(&directions.factors) {
        let (a, rest) = numbers.split_at(directions.coordinates);
        let (b, rest) = rest.split_at(directions.coordinates);
        let (c, d) = rest.split_at(directions.coordinates);
        let vectors = [a, b, c, d].map(|vector| vector[factors.start..].as_chunks::<WIDE>().0);
        reflect_block(vectors, factors, data[factors.start..].as_chunks_mut::<WIDE>().0);
    }
    if large {
        data.iter_mut()
            .for_each(|v| *v = (*v * 4096.0).clamp(f32::MIN, f32::MAX));
    }
}

#[inline(always)]
fn reflect_block(vectors: [&[[Bf16; WIDE]]; BLOCK], factors: &Factors, data: &mut [[f32; WIDE]]) {
    let [a, b, c, d] = vectors;
    let mut sums = [[0.0f32; WIDE]; BLOCK];
    for ((((x, a), b), c), d) in data.iter().zip(a).zip(b).zip(c).zip(d) {
        for i in 0..WIDE {
            sums[0][i] += x[i] * a[i].to_f32();
            sums[1][i] += x[i] * b[i].to_f32();
            sums[2][i] += x[i] * c[i].to_f32();
            sums[3][i] += x[i] * d[i].to_f32();
        }
    }
    let mut by = [0.0f32; BLOCK];
    for i in 0..BLOCK {
        let before = by[..i].iter().zip(&factors.products[i]);
        let product = before.fold(sums[i].iter().sum(), |rest: f32, (by, product)| rest - by * product);
        by[i] = product * factors.each[i];
    }
    for ((((x, a), b), c), d) in data.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        for i in 0..WIDE {
            let near = by[0] * a[i].to_f32() + by[1] * b[i].to_f32();
            let far = by[2] * c[i].to_f32() + by[3] * d[i].to_f32();
            x[i] -= near + far;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantize::principal;
    use crate::test_data::{gaussian, phrases};

    fn square(vector: &[f32]) -> f64 {
        vector.iter().map(|&v| f64::from(v) * f64::from(v)).sum()
    }

    fn distance(a: &[f32], b: &[f32]) -> f64 {
        let pairs = a.iter().zip(b);
        pairs.map(|(&a, &b)| (f64::from(a) - f64::from(b)).powi(2)).sum()
    }

    fn learned(n: usize, count: usize) -> (Vec<f32>, Directions) {
        let rows = phrases(400, n).concat();
        let found = principal::directions(&rows, n, count, &|| ()).unwrap();
        (found.clone(), Directions::of(found, n).unwrap().unwrap())
    }

    #[test]
    fn distances_are_kept_and_directions_become_the_first_coordinates() {
        for (n, count) in [(64, 16), (96, 32), (384, 96), (1536, 32)] {
            let (found, directions) = learned(n, count);
            assert_eq!(directions.count(), count);
            let images: Vec<Vec<f32>> = phrases(10, n)
                .into_iter()
                .map(|mut vector| {
                    directions.reflect(&mut vector);
                    vector
                })
                .collect();
            let vectors = phrases(10, n);
            for (a, image) in vectors.iter().zip(&images) {
                for (b, other) in vectors.iter().zip(&images) {
                    let (before, after) = (distance(a, b), distance(image, other));
                    assert!((before - after).abs() <= 1e-5 * (square(a) + square(b)), "{n}");
                }
            }
            for direction in found.chunks_exact(n) {
                let mut image = direction.to_vec();
                directions.reflect(&mut image);
                assert!(square(&image[..count]) > 0.999 * square(&image), "{n}");
            }
        }
    }

    #[test]
    fn any_vectors_of_about_that_length_keep_distances_and_others_are_refused() {
        let n = 96;
        let numbers = |scale: f32| -> Vec<Bf16> {
            let vectors = gaussian(8, n, 3);
            let numbers = vectors.iter().flatten();
            numbers
                .map(|v| Bf16::from_f32(v * scale * (2.0 / n as f32).sqrt()))
                .collect()
        };
        let directions = Directions::of_numbers(numbers(1.0), n).unwrap();
        let mut vector = phrases(1, n).remove(0);
        let before = square(&vector);
        directions.reflect(&mut vector);
        assert!((square(&vector) - before).abs() < 1e-5 * before);
        for scale in [0.0, 0.1, 3.0, f32::MAX] {
            assert!(Directions::of_numbers(numbers(scale), n).is_none(), "{scale}");
        }
        assert!(Directions::of(vec![f32::NAN; 4 * n], n).unwrap().is_none());
    }

    #[test]
    fn extremes_stay_finite() {
        let (_, directions) = learned(96, 32);
        for value in [f32::MAX, f32::MIN, 1e30, f32::MIN_POSITIVE, 1e-45, 0.0] {
            let mut vector: Vec<f32> = (0..96).map(|i| if i % 3 == 0 { -value } else { value }).collect();
            directions.reflect(&mut vector);
            assert!(vector.iter().all(|v| v.is_finite()), "{value}");
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        let (_, directions) = learned(384, 32);
        let vector = &phrases(1, 384)[0];
        let (mut wide, mut plain) = (vector.clone(), vector.clone());
        directions.reflect(&mut wide);
        reflect_any(&directions, &mut plain);
        assert_eq!(wide, plain);
    }

    /// These bits are part of the file format and must never change.
    #[test]
    fn frozen() {
        let n = 96;
        let numbers = (0..8 * n).map(|i| Bf16::from_f32(((i * 37 % 101) as f32 - 50.0) / 200.0));
        let directions = Directions::of_numbers(numbers.collect(), n).unwrap();
        let mut vector: Vec<f32> = (0..n).map(|i| (i % 17) as f32 - 8.0).collect();
        directions.reflect(&mut vector);
        let hash = vector.iter().fold(0xCBF2_9CE4_8422_2325u64, |hash, v| {
            (hash ^ u64::from(v.to_bits())).wrapping_mul(0x100_0000_01B3)
        });
        assert_eq!(hash, 5_600_638_515_146_958_461);
    }
}
