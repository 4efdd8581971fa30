//! Distances to packed vectors of 12, 10 or 8 bits a dimension, decoded during the comparison, in
//! the page.
//!
//! A block has 32 dimensions: 32 bytes with the upper 8 bits of each number, then bytes with the
//! lower bits, from the lowest bit of a byte on:
//!
//! - [`Width::Twelve`]: 16 bytes, 48 in all; byte i has 4 bits of dimension i and 4 of i + 16;
//! - [`Width::Ten`]: 8 bytes, 40 in all; byte i has 2 bits of each of the dimensions i, i + 8, i +
//!   16, i + 24;
//! - [`Width::Eight`]: none, 32 in all.
//!
//! Kernels have the number of lower bits as a parameter, `LOW`; a block has 4 bytes for each of
//! them.
//!
//! Invariant: where the product of the scale with every number is exact, as
//! [`crate::quantize::scalar`] makes it, a decoded dimension is rounded once and the same for every
//! instruction set. Sums are of floats and may differ in the last bits.

/// The array of [`PackedKernels`] of the functions in scope, in the order of [`Width`].
macro_rules! kernels_of_widths {
    () => {
        [kernels_of_widths!(4), kernels_of_widths!(2), kernels_of_widths!(0)]
    };
    ($low:literal) => {
        $crate::distance::kernel::PackedKernels {
            l2_squared: l2_squared::<$low>,
            inner_product: inner_product::<$low>,
            decode: decode::<$low>,
        }
    };
}

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
mod format;
#[cfg(target_arch = "aarch64")]
pub(super) mod neon;
pub(super) mod scalar;

#[cfg(test)]
mod tests;

use super::dispatch::kernels;
use super::kernel::{PackedKernel, PackedKernels};

pub use super::kernel::{BLOCK, Packed, Width};
pub use format::{nudge, pack};

/// Squared Euclidean distance of a query and a packed vector.
///
/// # Panics
/// If the vectors differ in length or are not whole blocks.
#[inline]
#[must_use]
pub fn l2_squared_packed(q: &[f32], x: &Packed) -> f32 {
    // SAFETY: the kernel comes from `of_width`.
    unsafe { apply(of_width(x.width).l2_squared, q, x) }
}

/// Inner product of a query and a packed vector.
///
/// # Panics
/// If the vectors differ in length or are not whole blocks.
#[inline]
#[must_use]
pub fn inner_product_packed(q: &[f32], x: &Packed) -> f32 {
    // SAFETY: the kernel comes from `of_width`.
    unsafe { apply(of_width(x.width).inner_product, q, x) }
}

/// Decodes a packed vector.
///
/// # Panics
/// If the vectors differ in length or are not whole blocks.
#[inline]
pub fn decode_packed(x: &Packed, vector: &mut [f32]) {
    check(vector, x);
    // SAFETY: the lengths are as promised; this machine can run the kernels of `of_width`.
    unsafe { (of_width(x.width).decode)(x, vector) }
}

/// The kernels in use for a width.
#[inline]
fn of_width(width: Width) -> &'static PackedKernels {
    &kernels().packed[width as usize]
}

/// # Safety
/// `kernel` is one for the width of `x`, and the machine can run it, as it can all that `of_width`
/// returns.
#[inline]
unsafe fn apply(kernel: PackedKernel, q: &[f32], x: &Packed) -> f32 {
    check(q, x);
    // SAFETY: the lengths are as promised; the rest is the caller's promise.
    unsafe { kernel(q, x) }
}

fn check(q: &[f32], x: &Packed) {
    assert_eq!(q.len() % BLOCK, 0, "a vector ends within a block");
    assert_eq!(
        q.len() / BLOCK * x.width.block_bytes(),
        x.bytes.len(),
        "vectors of unequal length"
    );
}
