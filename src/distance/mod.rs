//! Distances between vectors, dense (of f32 or f16), sparse, of bits, or encoded: kernels for each instruction set, chosen
//! at run time (those for sparse vectors are plain). Knows no PostgreSQL.
//!
//! Invariants:
//! - Every kernel on dense vectors sums in f32 over several partial sums, so two instruction sets may differ in the last bits.
//!   One machine always gives the same result for the same input, at any alignment: the choice never changes. The
//!   kernels on codes and bits, and those for sparse vectors, give the same on every machine.
//! - Halves are converted to f32, which is exact, and then treated as floats.
//! - A sum that overflows is not finite. If all its terms have one sign it is infinite with that sign; an inner product
//!   with terms of both signs may also be NaN. Nothing else gives NaN for finite input. Terms below the range of f32 vanish.
//!   [`wide`] has the sums in f64 for both.
//! - Slices of unequal length are a bug of the caller and panic (one comparison, lost in the cost of a call) rather
//!   than give a distance over fewer dimensions. Callers check dimensions first and raise the error a user understands.

mod dispatch;
pub mod fastscan;
mod metric;
mod norm;
mod number;
pub mod packed;
mod scalar;
pub mod sparse;
pub mod wide;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

#[cfg(test)]
mod tests;

pub use dispatch::instruction_set;
pub use fastscan::{estimate, fastscan};
pub use metric::{Kernel, Metric};
pub use norm::{norm, normalize};
pub use number::{Number, f16};
pub use packed::{Packed, Width, decode_packed, inner_product_packed, l2_squared_packed};

use dispatch::{PairKernel, kernels};

// Stored vectors are compared where they lie, and they are stored little-endian.
#[cfg(target_endian = "big")]
compile_error!("big-endian machines are not supported");

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
    // SAFETY: both slices hold `a.len()` numbers; `kernels` returns what this machine can run.
    let [ab, aa, bb] = unsafe { (T::of(kernels()).cosine_terms)(a.as_ptr(), b.as_ptr(), a.len()) };
    (ab, aa, bb)
}

/// The number of bits in which two arrays of bytes differ.
///
/// # Panics
/// If the lengths differ.
#[inline]
#[must_use]
pub fn hamming(a: &[u8], b: &[u8]) -> u32 {
    assert_eq!(a.len(), b.len(), "codes of unequal length");
    // SAFETY: the arrays have one length; `kernels` returns what this machine can run.
    unsafe { (kernels().hamming)(a, b) }
}

/// The numbers of bits that are set in both of two arrays of bytes, and in at least one of them.
///
/// # Panics
/// If the lengths differ.
#[inline]
#[must_use]
pub fn overlap(a: &[u8], b: &[u8]) -> (u32, u32) {
    assert_eq!(a.len(), b.len(), "codes of unequal length");
    // SAFETY: the arrays have one length; `kernels` returns what this machine can run.
    let [both, either] = unsafe { (kernels().overlap)(a, b) };
    (both, either)
}

/// Jaccard distance of two arrays of bytes: of the bits that are set in either, the share that is not set in both; 1 if none is set in both.
///
/// # Panics
/// If the lengths differ.
#[inline]
#[must_use]
pub fn jaccard(a: &[u8], b: &[u8]) -> f64 {
    match overlap(a, b) {
        (0, _) => 1.0,
        (both, either) => 1.0 - f64::from(both) / f64::from(either),
    }
}

/// Calls a kernel on two slices.
///
/// # Safety
/// The machine can run `kernel`, as it can all that `kernels` returns.
#[inline]
unsafe fn apply<T>(kernel: PairKernel<T>, a: &[T], b: &[T]) -> f32 {
    assert_eq!(a.len(), b.len(), "vectors of unequal length");
    // SAFETY: both slices hold `a.len()` numbers; the rest is the caller's promise.
    unsafe { kernel(a.as_ptr(), b.as_ptr(), a.len()) }
}
