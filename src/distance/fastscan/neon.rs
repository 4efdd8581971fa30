//! FastScan with NEON: a load separates the bytes of 4 lanes' words, and a table lookup serves 16
//! lanes in 1 group.

use std::arch::aarch64::*;

use crate::distance::kernel::{BLOCK_BYTES, CHUNK, GROUP, LANES, Scan, Terms};

/// Lanes of a register of 16-bit sums, and of a register of floats.
const BLOCK: usize = 8;
const FLOATS: usize = 4;

/// Bytes of four registers: the entries of 4 groups.
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
    // SAFETY: the caller's promise.
    unsafe { by_groups!(sums_of, scan) }
}

/// As [`sums`], of so many groups of lanes.
///
/// # Safety
/// As for [`sums`].
#[target_feature(enable = "neon")]
#[inline]
unsafe fn sums_of<const GROUPS: usize>(scan: Scan) -> [uint16x8_t; LANES / BLOCK] {
    let mut sums = [vdupq_n_u16(0); LANES / BLOCK];
    for (half, sums) in sums
        .as_chunks_mut::<2>()
        .0
        .iter_mut()
        .enumerate()
        .take(GROUPS.div_ceil(2))
    {
        for chunk in 0..scan.blocks / CHUNK {
            // SAFETY: a chunk of the codes, of so many groups of lanes.
            let words = unsafe { words::<GROUPS>(scan, chunk, half) };
            for (i, bytes) in words.into_iter().enumerate() {
                // SAFETY: a block of the chunk.
                unsafe { look_up(scan, chunk * CHUNK + i, bytes, sums) };
            }
        }
        for block in scan.blocks / CHUNK * CHUNK..scan.blocks {
            // SAFETY: a block behind the chunks.
            unsafe { look_up(scan, block, quarters(row::<GROUPS>(scan, block, half)), sums) };
        }
    }
    sums
}

/// The words of a chunk, of the 16 lanes of a half (zero where there are none): a register for each
/// byte of a word.
///
/// # Safety
/// `chunk` is one of the scan's, whose lanes are `GROUPS` groups.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn words<const GROUPS: usize>(scan: Scan, chunk: usize, half: usize) -> [[uint8x16_t; 4]; CHUNK] {
    // Byte k of four words of 4 lanes a register.
    let mut bytes = [[vdupq_n_u8(0); 4]; 4];
    for i in 0..4 {
        let first = 16 * half + 4 * i;
        if first < GROUPS * GROUP {
            let at = (chunk * GROUPS * GROUP + first) * CHUNK * size_of::<u32>();
            // SAFETY: the caller's promise: 4 lanes of the chunk; loads of bytes have no alignment.
            let four = unsafe { vld4q_u8(scan.codes.add(at)) };
            for (byte, lanes) in bytes.iter_mut().zip([four.0, four.1, four.2, four.3]) {
                byte[i] = lanes;
            }
        }
    }
    let (a, b) = (quarters(bytes[0]), quarters(bytes[1]));
    let (c, d) = (quarters(bytes[2]), quarters(bytes[3]));
    [
        [a[0], b[0], c[0], d[0]],
        [a[1], b[1], c[1], d[1]],
        [a[2], b[2], c[2], d[2]],
        [a[3], b[3], c[3], d[3]],
    ]
}

/// The words of a block behind the chunks, of the 16 lanes of a half (zero where there are none),
/// of 4 lanes a register.
///
/// # Safety
/// `block` is one of the scan's behind its chunks, and the lanes are `GROUPS` groups.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn row<const GROUPS: usize>(scan: Scan, block: usize, half: usize) -> [uint8x16_t; 4] {
    let mut words = [vdupq_n_u8(0); 4];
    for (i, words) in words.iter_mut().enumerate() {
        let first = 16 * half + 4 * i;
        if first < GROUPS * GROUP {
            let at = (block * GROUPS * GROUP + first) * size_of::<u32>();
            // SAFETY: the caller's promise: 4 lanes of the block.
            *words = unsafe { vld1q_u8(scan.codes.add(at)) };
        }
    }
    words
}

/// Adds the terms of a block's words of 16 lanes, a register for each byte.
///
/// # Safety
/// `block` is one of the scan's.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn look_up(scan: Scan, block: usize, bytes: [uint8x16_t; 4], sums: &mut [uint16x8_t; 2]) {
    let (at, nibble) = (block * BLOCK_BYTES, vdupq_n_u8(0xf));
    // SAFETY: the caller's promise; loads of bytes have no alignment.
    let (even, odd) = unsafe {
        (
            vld1q_u8_x4(scan.table.add(at)),
            vld1q_u8_x4(scan.table.add(at + REGISTERS)),
        )
    };
    let (even, odd) = ([even.0, even.1, even.2, even.3], [odd.0, odd.1, odd.2, odd.3]);
    for (k, codes) in bytes.into_iter().enumerate() {
        let low = vqtbl1q_u8(even[k], vandq_u8(codes, nibble));
        let high = vqtbl1q_u8(odd[k], vshrq_n_u8::<4>(codes));
        sums[0] = vaddq_u16(sums[0], vaddl_u8(vget_low_u8(low), vget_low_u8(high)));
        sums[1] = vaddq_u16(sums[1], vaddl_high_u8(low, high));
    }
}

/// Separates the bytes of four registers: register k gets bytes k, k + 4, and so on of each.
#[target_feature(enable = "neon")]
#[inline]
fn quarters([a, b, c, d]: [uint8x16_t; 4]) -> [uint8x16_t; 4] {
    let even = [vuzp1q_u8(a, b), vuzp1q_u8(c, d)];
    let odd = [vuzp2q_u8(a, b), vuzp2q_u8(c, d)];
    [
        vuzp1q_u8(even[0], even[1]),
        vuzp1q_u8(odd[0], odd[1]),
        vuzp2q_u8(even[0], even[1]),
        vuzp2q_u8(odd[0], odd[1]),
    ]
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
