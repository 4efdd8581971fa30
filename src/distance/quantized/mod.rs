//! Distances to vectors of 8 or 16 bits a dimension, decoded on the way and compared where they lie, in a page.

#[cfg(test)]
mod tests;

use super::dispatch::kernels;

/// A vector of integers on a scale of its own: dimension i is `lo + c[i] * step`, where c[i] is `heads[i]`, or
/// `heads[i] * 256 + tails[i]` if there are tails. So with tails the step is a 256th of what it is without.
#[derive(Clone, Copy, Debug)]
pub struct Quantized<'a> {
    pub heads: &'a [u8],
    pub tails: Option<&'a [u8]>,
    pub lo: f32,
    pub step: f32,
}

/// A sum over the dimensions of a query and of a quantized vector.
///
/// To call one: query, heads and tails have one length, and the machine has the instructions.
pub(super) type QuantizedKernel = unsafe fn(q: &[f32], x: &Quantized) -> f32;

/// Squared Euclidean distance of a query and a quantized vector.
///
/// # Panics
/// If the lengths differ.
#[inline]
#[must_use]
pub fn l2_squared_quantized(q: &[f32], x: &Quantized) -> f32 {
    // SAFETY: the kernel comes from `kernels`.
    unsafe { apply(kernels().l2_squared_quantized, q, x) }
}

/// Inner product of a query and a quantized vector.
///
/// # Panics
/// If the lengths differ.
#[inline]
#[must_use]
pub fn inner_product_quantized(q: &[f32], x: &Quantized) -> f32 {
    // SAFETY: the kernel comes from `kernels`.
    unsafe { apply(kernels().inner_product_quantized, q, x) }
}

/// # Safety
/// The machine can run `kernel`, as it can all that `kernels` returns.
#[inline]
unsafe fn apply(kernel: QuantizedKernel, q: &[f32], x: &Quantized) -> f32 {
    assert_eq!(q.len(), x.heads.len(), "vectors of unequal length");
    assert!(
        x.tails.is_none_or(|tails| tails.len() == q.len()),
        "heads and tails of unequal length"
    );
    // SAFETY: the lengths are equal; the rest is the caller's promise.
    unsafe { kernel(q, x) }
}
