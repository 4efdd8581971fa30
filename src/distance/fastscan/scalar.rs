//! The reference: plain Rust, on every machine.

use std::array;

use super::{GROUP_BYTES, LANES, Scan, Terms};

const HALF: usize = LANES / 2;

/// Safe to call as `SumKernel` says.
pub(in crate::distance) unsafe fn fastscan(scan: Scan) -> [u16; LANES] {
    let mut sums = [0u16; LANES];
    for group in 0..scan.groups {
        // SAFETY: `group` is one of the groups the caller promises, and an array of bytes has no alignment.
        let (table, codes) = unsafe {
            (
                &*scan.table.cast::<[u8; GROUP_BYTES]>().add(group),
                &*scan.codes.cast::<[u8; GROUP_BYTES]>().add(group),
            )
        };
        for (j, &pair) in codes.iter().enumerate() {
            let (low, high) = (pair & 0xf, pair >> 4);
            sums[j] = sums[j].wrapping_add(table[usize::from(low)].into());
            sums[HALF + j] = sums[HALF + j].wrapping_add(table[usize::from(high)].into());
        }
    }
    sums
}

/// Safe to call as `EstimateKernel` says.
pub(in crate::distance) unsafe fn estimate(scan: Scan, terms: Terms, out: &mut [f32; LANES]) -> u32 {
    // SAFETY: the caller's promise.
    let (sums, a, f) = unsafe { (fastscan(scan), factors(terms.a), factors(terms.f)) };
    *out = array::from_fn(|i| {
        let product = f32::from(sums[i]).mul_add(terms.scale, terms.offset);
        (-f[i]).mul_add(product, terms.base + a[i])
    });
    (0..LANES).fold(0, |mask, i| mask | u32::from(out[i] < terms.worst) << i)
}

/// The factors at `from`, widened: a bfloat16 is the upper half of an f32.
///
/// # Safety
/// `from` is readable for `FACTOR_BYTES`, at any alignment.
unsafe fn factors(from: *const u8) -> [f32; LANES] {
    // SAFETY: the caller's promise.
    let halves = unsafe { from.cast::<[[u8; 2]; LANES]>().read() };
    halves.map(|half| f32::from_bits(u32::from(u16::from_le_bytes(half)) << 16))
}
