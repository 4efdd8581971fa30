//! Distances between arrays of bits, by the kernels in use.

use super::dispatch::kernels;

/// The number of bits in which two arrays of bytes differ.
///
/// # Panics
/// If the lengths differ.
#[inline]
#[must_use]
pub fn hamming(a: &[u8], b: &[u8]) -> u32 {
    assert_eq!(a.len(), b.len(), "codes of unequal length");
    // SAFETY: the arrays have one length; this machine can run the table of `kernels`.
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
    // SAFETY: the arrays have one length; this machine can run the table of `kernels`.
    let [both, either] = unsafe { (kernels().overlap)(a, b) };
    (both, either)
}

/// Jaccard distance of two arrays of bytes: the share, of the bits that are set in either, that is
/// not set in both; 1 if no bit is set in both.
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
