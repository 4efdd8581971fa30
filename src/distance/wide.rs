//! Sums in f64, and the distances of SQL functions: summed in f32 by the kernels, and again in f64
//! if the sum is out of the precise range of f32.

use super::dense;
use super::number::Number;

/// The least precise sum of squares or products, 2^-112: each of 16,000 terms may have lost 2^-150
/// below the range of f32, in all 6e-8 of this sum.
pub const LEAST_PRECISE: f32 = f32::from_bits((127 - 112) << 23);

/// Number of partial sums, so that additions need not wait for each other.
const LANES: usize = 8;

/// The sum of `term` over pairs of numbers. It neither overflows nor vanishes for squares and
/// products of any f32.
#[cold]
#[must_use]
pub fn sum(pairs: impl Iterator<Item = (f64, f64)>, term: impl Fn(f64, f64) -> f64) -> f64 {
    let mut partial = [0.0; LANES];
    for (i, (x, y)) in pairs.enumerate() {
        partial[i % LANES] += term(x, y);
    }
    partial.iter().sum()
}

/// Squared Euclidean distance.
///
/// # Panics
/// If the lengths differ.
#[inline]
#[must_use]
pub fn l2_squared<T: Number>(a: &[T], b: &[T]) -> f64 {
    precise(dense::l2_squared(a, b), a, b, |x, y| (x - y) * (x - y))
}

/// Inner product.
///
/// # Panics
/// If the lengths differ.
#[inline]
#[must_use]
pub fn inner_product<T: Number>(a: &[T], b: &[T]) -> f64 {
    precise(dense::inner_product(a, b), a, b, |x, y| x * y)
}

/// Sum of absolute differences.
///
/// # Panics
/// If the lengths differ.
#[inline]
#[must_use]
pub fn l1<T: Number>(a: &[T], b: &[T]) -> f64 {
    let sum = dense::l1(a, b);
    // Differences and their sums are exact where they are tiny.
    match sum.is_finite() {
        true => sum.into(),
        false => self::sum(pairs(a, b), |x, y| (x - y).abs()),
    }
}

/// The cosine of the angle between two vectors; NaN if one of them is zero.
///
/// # Panics
/// If the lengths differ.
#[inline]
#[must_use]
pub fn cosine<T: Number>(a: &[T], b: &[T]) -> f64 {
    let (ab, aa, bb) = dense::cosine_terms(a, b);
    // One rounding of the root, so that a vector has distance 0 from itself.
    let cosine = |ab: f64, aa: f64, bb: f64| ab / (aa * bb).sqrt();
    // The product's loss is small relative to the squares.
    let cosine = match ab.is_finite() && is_precise(aa) && is_precise(bb) {
        true => cosine(ab.into(), aa.into(), bb.into()),
        false => {
            let product = |a, b| sum(pairs(a, b), |x, y| x * y);
            cosine(product(a, b), product(a, a), product(b, b))
        }
    };
    // The clamp removes rounding errors beyond the range; NaN stays.
    cosine.clamp(-1.0, 1.0)
}

/// A sum of squares or products: in f32 if that is precise, else in f64.
#[inline]
fn precise<T: Number>(sum: f32, a: &[T], b: &[T], term: impl Fn(f64, f64) -> f64) -> f64 {
    match T::SQUARES_FIT || is_precise(sum) {
        true => sum.into(),
        false => self::sum(pairs(a, b), term),
    }
}

#[inline]
pub(super) fn is_precise(sum: f32) -> bool {
    (LEAST_PRECISE..=f32::MAX).contains(&sum.abs())
}

fn pairs<T: Number>(a: &[T], b: &[T]) -> impl Iterator<Item = (f64, f64)> {
    a.iter().zip(b).map(|(&x, &y)| (x.into(), y.into()))
}
