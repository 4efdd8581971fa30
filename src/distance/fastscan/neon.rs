//! FastScan with NEON: a load separates the bytes of 16 lanes' words, and a table lookup serves 16
//! lanes in 1 group.

use std::arch::aarch64::*;

use crate::distance::kernel::{BLOCK_BYTES, LANES, Scan, Terms};

/// Lanes of a register of 16-bit sums, and of a register of floats.
const BLOCK: usize = 8;
const FLOATS: usize = 4;

/// Bytes of four registers: a word of 16 lanes, the entries of 4 groups.
const REGISTERS: usize = BLOCK_BYTES / 2;

/// Safe to call as `SumKernel` says.
#[target_feature(enable = "neon")]
pub(in crate::distance) unsafe fn fastscan(scan: Scan) -> [u16; LANES] {
    let mut out = [0u16; LANES];
    // SAFETY: the caller's promise.
    let blocks = unsafe { sums(scan) };
    for (i, block) in blocks.into_iter().enumerate() {
        // SAFETY: `out` holds BLOCK sums from i * BLOCK on.
        unsafe { vst1q_u16(out.as_mut_ptr().add(i * BLOCK), block) };
    }
    out
}

/// Safe to call as `EstimateKernel` says.
#[target_feature(enable = "neon")]
pub(in crate::distance) unsafe fn estimate(scan: Scan, terms: Terms, out: &mut [f32; LANES]) -> u32 {
    // SAFETY: the caller's promise.
    let blocks = unsafe { sums(scan) };
    let (scale, offset) = (vdupq_n_f32(terms.scale), vdupq_n_f32(terms.offset));
    let (base, worst) = (vdupq_n_f32(terms.base), vdupq_n_f32(terms.worst));
    // SAFETY: an array of as many integers as the register has.
    let bits = unsafe { vld1q_u32([1, 2, 4, 8].as_ptr()) };
    let mut mask = 0;
    for (i, block) in blocks.into_iter().enumerate() {
        // SAFETY: each block has BLOCK factors of either kind.
        let (a, f) = unsafe { (factors(terms.a, i * BLOCK), factors(terms.f, i * BLOCK)) };
        let sums = [vmovl_u16(vget_low_u16(block)), vmovl_high_u16(block)];
        for j in 0..2 {
            let lane = i * BLOCK + j * FLOATS;
            let product = vfmaq_f32(offset, vcvtq_f32_u32(sums[j]), scale);
            let estimate = vfmsq_f32(vaddq_f32(base, a[j]), f[j], product);
            // SAFETY: `out` holds FLOATS floats from `lane` on.
            unsafe { vst1q_f32(out.as_mut_ptr().add(lane), estimate) };
            mask |= vaddvq_u32(vbicq_u32(bits, vcgeq_f32(estimate, worst))) << lane;
        }
    }
    mask
}

/// The sums of all lanes, in order.
///
/// # Safety
/// As `Scan` says.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn sums(scan: Scan) -> [uint16x8_t; LANES / BLOCK] {
    let nibble = vdupq_n_u8(0xf);
    let mut sums = [vdupq_n_u16(0); LANES / BLOCK];
    for block in 0..scan.blocks {
        let at = block * BLOCK_BYTES;
        // SAFETY: `block` is one of the blocks the caller promises; loads of bytes have no
        // alignment.
        let (even, odd) = unsafe {
            (
                vld1q_u8_x4(scan.table.add(at)),
                vld1q_u8_x4(scan.table.add(at + REGISTERS)),
            )
        };
        let (even, odd) = ([even.0, even.1, even.2, even.3], [odd.0, odd.1, odd.2, odd.3]);
        for (i, sums) in sums.as_chunks_mut::<2>().0.iter_mut().enumerate() {
            // SAFETY: likewise. Register k gets byte k of 16 lanes.
            let codes = unsafe { vld4q_u8(scan.codes.add(block * scan.stride + i * REGISTERS)) };
            for (k, codes) in [codes.0, codes.1, codes.2, codes.3].into_iter().enumerate() {
                let low = vqtbl1q_u8(even[k], vandq_u8(codes, nibble));
                let high = vqtbl1q_u8(odd[k], vshrq_n_u8::<4>(codes));
                sums[0] = vaddq_u16(sums[0], vaddl_u8(vget_low_u8(low), vget_low_u8(high)));
                sums[1] = vaddq_u16(sums[1], vaddl_high_u8(low, high));
            }
        }
    }
    sums
}

/// The factors of a block from `lane` on, widened: a bfloat16 is the upper half of an f32.
///
/// # Safety
/// `from` is readable for the factors of `lane + BLOCK` lanes, at any alignment.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn factors(from: *const u8, lane: usize) -> [float32x4_t; 2] {
    // SAFETY: the caller's promise; loads of bytes have no alignment.
    let halves = vreinterpretq_u16_u8(unsafe { vld1q_u8(from.add(2 * lane)) });
    [
        vreinterpretq_f32_u32(vshll_n_u16::<16>(vget_low_u16(halves))),
        vreinterpretq_f32_u32(vshll_high_n_u16::<16>(halves)),
    ]
}
