//! FastScan: the sums of 32 short codes at once, and from them the estimated distances of a node's 32 neighbours.
//!
//! A code is cut into groups of 4 bits. A group has a table of what each of its 16 values adds to the sum, so that a
//! byte shuffle looks up the term of all lanes. Both arrays hold 16 bytes a group: the 16 entries of its table; the
//! values of its 32 lanes, byte j with that of lane j in its low half and that of lane 16 + j in its high half.
//!
//! Invariant: unlike the sums of floats, the results are the same in every version to the last bit (NaN for NaN). The
//! sums are integers modulo 2^16. An estimate is one addition and two fused multiply-adds, in a fixed order.

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
pub(super) mod avx512;
#[cfg(target_arch = "aarch64")]
pub(super) mod neon;
pub(super) mod scalar;

#[cfg(test)]
mod tests;

use super::dispatch::kernels;

/// Codes that are summed at once.
pub const LANES: usize = 32;

/// Bytes of a group, both of its table and of its codes.
pub const GROUP_BYTES: usize = 16;

/// Bytes of one factor of every lane, a bfloat16 each.
pub const FACTOR_BYTES: usize = LANES * 2;

/// What to scan: a table and the codes to look up in it.
///
/// To call a kernel with it: both pointers are readable for `groups * GROUP_BYTES` bytes, at any alignment, and the
/// machine has the instructions.
#[derive(Clone, Copy)]
pub(super) struct Scan {
    table: *const u8,
    codes: *const u8,
    groups: usize,
}

/// The factors of the lanes, and the numbers all lanes share. See [`estimate`].
///
/// To call a kernel with it: both pointers are readable for `FACTOR_BYTES`, at any alignment.
#[derive(Clone, Copy)]
pub(super) struct Terms {
    a: *const u8,
    f: *const u8,
    base: f32,
    scale: f32,
    offset: f32,
    worst: f32,
}

/// The sum of every lane. To call one: as [`Scan`] says.
pub(super) type SumKernel = unsafe fn(scan: Scan) -> [u16; LANES];

/// The estimate of every lane, and the mask of those below the worst. To call one: as [`Scan`] and [`Terms`] say.
pub(super) type EstimateKernel = unsafe fn(scan: Scan, terms: Terms, out: &mut [f32; LANES]) -> u32;

impl Scan {
    fn new(table: &[u8], codes: &[u8]) -> Self {
        assert_eq!(table.len(), codes.len(), "table and codes of unequal length");
        assert_eq!(codes.len() % GROUP_BYTES, 0, "codes end within a group");
        Self {
            table: table.as_ptr(),
            codes: codes.as_ptr(),
            groups: codes.len() / GROUP_BYTES,
        }
    }
}

/// The sum of every lane: over all groups, the entry of the group's table at the lane's value, modulo 2^16.
///
/// # Panics
/// If the lengths differ or are not whole groups.
#[inline]
#[must_use]
pub fn fastscan(table: &[u8], codes: &[u8]) -> [u16; LANES] {
    let scan = Scan::new(table, codes);
    // SAFETY: `scan` is made of slices of its length; `kernels` returns what this machine can run.
    unsafe { (kernels().fastscan)(scan) }
}

/// The estimate of every lane, and a mask with bit i set where that of lane i is below `worst` (which NaN never is):
///
/// ```text
/// out[i] = base + a[i] - f[i] (sum[i] scale + offset)
/// ```
///
/// `factors_a` and `factors_f` hold a bfloat16 for every lane, little-endian, at any alignment. The sum of lane i is that
/// of [`fastscan`]; `scale` and `offset` turn it back into an inner product.
///
/// # Panics
/// If the lengths of `table` and `codes` differ or are not whole groups, or those of the factors are not
/// [`FACTOR_BYTES`].
#[inline]
#[expect(
    clippy::too_many_arguments,
    reason = "the terms of a formula, from three different places"
)]
pub fn estimate(
    table: &[u8],
    codes: &[u8],
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
    // SAFETY: `scan` and `terms` are made of slices of the lengths they promise; `kernels` returns what this machine
    // can run.
    unsafe { (kernels().estimate)(scan, terms, out) }
}
