//! Sums in f64, and the distances that SQL functions return: summed in f32 by the kernels, and once
//! more in f64 where the sum shows that f32 has not the range for it.

use super::dense;
use super::number::Number;

/// The least sum of squares or products to which what vanished below the range of f32 makes no
/// difference: each of 16,000 terms may have lost 2^-150, which are 6e-8 of it. It is 2^-112.
pub const LEAST_PRECISE: f32 = f32::from_bits((127 - 112) << 23);

/// Partial sums, so that additions need not wait for each other.
const LANES: usize = 8;

/// The sum over pairs of numbers of what `term` makes of a pair. It neither overflows nor vanishes
/// for squares and products of any f32.
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
    // One rounding of the root, so that a vector has no distance from itself.
    let cosine = |ab: f64, aa: f64, bb: f64| ab / (aa * bb).sqrt();
    // What the product lost is little beside the squares.
    let cosine = match ab.is_finite() && is_precise(aa) && is_precise(bb) {
        true => cosine(ab.into(), aa.into(), bb.into()),
        false => {
            let product = |a, b| sum(pairs(a, b), |x, y| x * y);
            cosine(product(a, b), product(a, a), product(b, b))
        }
    };
    // Rounding must not make it leave its range; NaN stays.
    cosine.clamp(-1.0, 1.0)
}

/// A sum in f32 of squares or products, or the same in f64.
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
