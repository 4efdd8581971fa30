//! Scalar FastScan: the reference, plain Rust, for every machine.

use std::array;

use crate::distance::kernel::{BLOCK_BYTES, Codes, LANES, Scan, Terms};

/// The entries of a group, and the groups of a block.
const ENTRIES: usize = 16;
const GROUPS: usize = BLOCK_BYTES / ENTRIES;

/// Safe to call as `SumKernel` says.
pub(in crate::distance) unsafe fn fastscan(scan: Scan) -> [u16; LANES] {
    let mut sums = [0u16; LANES];
    for block in 0..scan.blocks {
        // SAFETY: `block` is one of the blocks the caller promises, and an array of bytes has no
        // alignment.
        let table = unsafe { &*scan.table.cast::<[[u8; ENTRIES]; GROUPS]>().add(block) };
        let (even, odd) = table.split_at(GROUPS / 2);
        for (lane, sum) in sums.iter_mut().enumerate().take(scan.lanes) {
            let place = Codes::place(scan.blocks, scan.lanes, block, lane);
            // SAFETY: likewise, of the lanes.
            let word = unsafe { &*scan.codes.add(place).cast::<[u8; 4]>() };
            for ((byte, even), odd) in word.iter().zip(even).zip(odd) {
                let (low, high) = (even[usize::from(byte & 0xf)], odd[usize::from(byte >> 4)]);
                *sum = sum.wrapping_add(u16::from(low) + u16::from(high));
            }
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
    #[expect(
        clippy::neg_cmp_op_on_partial_ord,
        reason = "NaN is not known to be as bad as the worst"
    )]
    (0..LANES).fold(0, |mask, i| mask | u32::from(!(out[i] >= terms.worst)) << i)
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
