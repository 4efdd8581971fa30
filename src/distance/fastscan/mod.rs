//! FastScan: the sums of 32 short codes at once, and from them the estimated distances of a node's
//! 32 neighbors.
//!
//! A code is divided into groups of 4 bits. Each group has a table with the term of each of its 16
//! values, so that a byte shuffle looks up the terms of many lanes.
//! - Codes: words of 32 bits, little-endian; byte b of a word is group 2b in its low half and group
//!   2b + 1 in its high half. Four words of a lane lie side by side, so that another code in a lane
//!   changes 16 bytes at a time; kernels transpose them in registers. Words behind the last four
//!   lie lane beside lane ([`Codes`]). Lanes that are not there are not read.
//! - Table: a block of 128 bytes for each word, 16 entries for each of its 8 groups, in the order
//!   0, 2, 4, 6, 1, 3, 5, 7: the entries of the low halves of the word's bytes are 64 bytes side by
//!   side, a register, and so are the entries of the high halves.
//!
//! Invariant: unlike the sums of floats, the results of the lanes that are there are the same in
//! every version to the last bit (NaN for NaN). The sums are integers modulo 2^16. An estimate is
//! one addition and two fused multiply-adds, in a fixed order.

/// Calls a function of so many groups of lanes as a scan has.
macro_rules! by_groups {
    ($of_groups:ident, $scan:ident) => {
        match $scan.lanes / $crate::distance::kernel::GROUP {
            1 => $of_groups::<1>($scan),
            2 => $of_groups::<2>($scan),
            3 => $of_groups::<3>($scan),
            _ => $of_groups::<4>($scan),
        }
    };
}

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512_vbmi;
#[cfg(target_arch = "aarch64")]
pub(super) mod neon;
pub(super) mod scalar;

#[cfg(test)]
mod tests;

use super::dispatch::kernels;
use super::kernel::{Scan, Terms};

pub use super::kernel::{BLOCK_BYTES, Codes, FACTOR_BYTES, LANES};

/// The sum of every lane: over all groups, the entry of the group's table at the lane's value,
/// modulo 2^16.
///
/// # Panics
/// If the lengths do not agree, or the table's is not one of whole blocks.
#[inline]
#[must_use]
pub fn fastscan(table: &[u8], codes: Codes<'_>) -> [u16; LANES] {
    let scan = Scan::new(table, codes);
    // SAFETY: `scan` is made of slices of its length; this machine can run the table of `kernels`.
    unsafe { (kernels().fastscan)(scan) }
}

/// The estimate of every lane, and a mask of the lanes worth keeping:
///
/// ```text
/// out[i] = base + a[i] - f[i] (sum[i] scale + offset)
/// bit i  = not (out[i] >= worst)
/// ```
///
/// A lane whose estimate is NaN, the difference of two infinities, is therefore kept; and if
/// `worst` is NaN, all lanes are.
///
/// `factors_a` and `factors_f` hold a bfloat16 for every lane, little-endian, at any alignment.
/// `sum[i]` is that of [`fastscan`]; `scale` and `offset` turn it back into an inner product.
///
/// # Panics
/// If the lengths of `table` and `codes` do not agree, or the factors' lengths are not
/// [`FACTOR_BYTES`].
#[inline]
#[expect(
    clippy::too_many_arguments,
    reason = "the terms of a formula, from three different places"
)]
pub fn estimate(
    table: &[u8],
    codes: Codes<'_>,
    factors_a: &[u8],
    factors_f: &[u8],
    base: f32,
    scale: f32,
    offset: f32,
    worst: f32,
    out: &mut [f32; LANES],
) -> u32 {
    let scan = Scan::new(table, codes);
    assert_eq!(factors_a.len(), FACTOR_BYTES, "not one factor for every lane");
    assert_eq!(factors_f.len(), FACTOR_BYTES, "not one factor for every lane");
    let terms = Terms {
        a: factors_a.as_ptr(),
        f: factors_f.as_ptr(),
        base,
        scale,
        offset,
        worst,
    };
    // SAFETY: `scan` and `terms` are made of slices of the lengths they promise; this machine can
    // run the table of `kernels`.
    unsafe { (kernels().estimate)(scan, terms, out) }
}
