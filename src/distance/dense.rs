//! Distances between dense vectors, by the kernels in use.

use super::dispatch::kernels;
use super::kernel::apply;
use super::number::Number;

/// Squared Euclidean distance.
///
/// # Panics
/// If the lengths differ.
#[inline]
pub fn l2_squared<T: Number>(a: &[T], b: &[T]) -> f32 {
    // SAFETY: the kernel comes from `kernels`.
    unsafe { apply(T::of(kernels()).l2_squared, a, b) }
}

/// Inner product.
///
/// # Panics
/// If the lengths differ.
#[inline]
pub fn inner_product<T: Number>(a: &[T], b: &[T]) -> f32 {
    // SAFETY: the kernel comes from `kernels`.
    unsafe { apply(T::of(kernels()).inner_product, a, b) }
}

/// Sum of absolute differences.
///
/// # Panics
/// If the lengths differ.
#[inline]
pub fn l1<T: Number>(a: &[T], b: &[T]) -> f32 {
    // SAFETY: the kernel comes from `kernels`.
    unsafe { apply(T::of(kernels()).l1, a, b) }
}

/// The three sums of the cosine, in one pass: (<a,b>, <a,a>, <b,b>).
///
/// # Panics
/// If the lengths differ.
#[inline]
pub fn cosine_terms<T: Number>(a: &[T], b: &[T]) -> (f32, f32, f32) {
    assert_eq!(a.len(), b.len(), "vectors of unequal length");
    // SAFETY: both slices hold `a.len()` numbers; this machine can run the table of `kernels`.
    let [ab, aa, bb] = unsafe { (T::of(kernels()).cosine_terms)(a.as_ptr(), b.as_ptr(), a.len()) };
    (ab, aa, bb)
}
