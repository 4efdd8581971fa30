//! NEON: 4 floats a register. Part of every aarch64 processor, so nothing is detected.
//!
//! Eight sets of partial sums hide the latency of a fused multiply-add on cores with up to four vector units. The rest
//! of a vector takes one step a register, and its last 1 to 3 floats are padded with zeros, which add nothing.

use std::arch::aarch64::*;

use super::dispatch::Kernels;
use super::fastscan;
use super::packed;
use super::scalar;

const LANES: usize = 4;
const SETS: usize = 8;

pub(super) static KERNELS: Kernels = Kernels {
    name: "neon",
    l2_squared,
    inner_product,
    negative_inner_product,
    l1,
    cosine_terms,
    packed: packed::neon::KERNELS,
    fastscan: fastscan::neon::fastscan,
    estimate: fastscan::neon::estimate,
    hamming,
};

/// Squared Euclidean distance. Safe to call as `PairKernel` says; likewise the other kernels of this file.
#[target_feature(enable = "neon")]
unsafe fn l2_squared(a: *const f32, b: *const f32, n: usize) -> f32 {
    // SAFETY: the caller's promise.
    let [sum] = unsafe { sums(a, b, n, |[sum], x, y| [add_square(sum, x, y)]) };
    sum
}

#[target_feature(enable = "neon")]
unsafe fn inner_product(a: *const f32, b: *const f32, n: usize) -> f32 {
    // SAFETY: the caller's promise.
    let [sum] = unsafe { sums(a, b, n, |[sum], x, y| [vfmaq_f32(sum, x, y)]) };
    sum
}

#[target_feature(enable = "neon")]
unsafe fn negative_inner_product(a: *const f32, b: *const f32, n: usize) -> f32 {
    // SAFETY: the caller's promise.
    -unsafe { inner_product(a, b, n) }
}

#[target_feature(enable = "neon")]
unsafe fn l1(a: *const f32, b: *const f32, n: usize) -> f32 {
    // SAFETY: the caller's promise.
    let [sum] = unsafe { sums(a, b, n, |[sum], x, y| [vaddq_f32(sum, vabdq_f32(x, y))]) };
    sum
}

#[target_feature(enable = "neon")]
unsafe fn cosine_terms(a: *const f32, b: *const f32, n: usize) -> [f32; 3] {
    let step = |[ab, aa, bb]: [float32x4_t; 3], x, y| [vfmaq_f32(ab, x, y), vfmaq_f32(aa, x, x), vfmaq_f32(bb, y, y)];
    // SAFETY: the caller's promise.
    unsafe { sums(a, b, n, step) }
}

/// sum + (x - y)^2
#[target_feature(enable = "neon")]
#[inline]
fn add_square(sum: float32x4_t, x: float32x4_t, y: float32x4_t) -> float32x4_t {
    let difference = vsubq_f32(x, y);
    vfmaq_f32(sum, difference, difference)
}

/// `K` sums over all pairs; `step` adds the terms of 4 pairs to 4 partial sums of each, and adds nothing for (0, 0).
///
/// # Safety
/// `a` and `b` are readable for `n` floats, at any alignment.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn sums<const K: usize>(
    a: *const f32,
    b: *const f32,
    n: usize,
    step: impl Fn([float32x4_t; K], float32x4_t, float32x4_t) -> [float32x4_t; K],
) -> [f32; K] {
    let mut partial = [[vdupq_n_f32(0.0); K]; SETS];
    let mut done = 0;
    while n - done >= SETS * LANES {
        for set in &mut partial {
            // SAFETY: at least LANES floats remain after `done`.
            let (x, y) = unsafe { (load(a.add(done), LANES), load(b.add(done), LANES)) };
            *set = step(*set, x, y);
            done += LANES;
        }
    }
    for set in &mut partial {
        let rest = (n - done).min(LANES);
        if rest == 0 {
            break;
        }
        // SAFETY: `rest` floats remain after `done`.
        let (x, y) = unsafe { (load(a.add(done), rest), load(b.add(done), rest)) };
        *set = step(*set, x, y);
        done += rest;
    }
    let mut total = [0.0; K];
    for k in 0..K {
        let mut width = SETS / 2;
        while width > 0 {
            for i in 0..width {
                partial[i][k] = vaddq_f32(partial[i][k], partial[i + width][k]);
            }
            width /= 2;
        }
        total[k] = vaddvq_f32(partial[0][k]);
    }
    total
}

/// The first `count` (at most 4) floats at `from`, then zeros.
///
/// # Safety
/// `from` is readable for `count` floats, at any alignment.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn load(from: *const f32, count: usize) -> float32x4_t {
    // Through bytes: a load of f32 elements may demand their alignment. A whole register is still one instruction.
    let mut bytes = [0u8; LANES * size_of::<f32>()];
    // SAFETY: the caller's promise; `count` floats fit into `bytes`.
    unsafe {
        std::ptr::copy_nonoverlapping(
            from.cast::<u8>(),
            bytes.as_mut_ptr(),
            count.min(LANES) * size_of::<f32>(),
        );
        vreinterpretq_f32_u8(vld1q_u8(bytes.as_ptr()))
    }
}

/// Number of different bits. Safe to call as `HammingKernel` says.
#[target_feature(enable = "neon")]
unsafe fn hamming(a: &[u8], b: &[u8]) -> u32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<16>(), b.as_chunks::<16>());
    let mut total = vdupq_n_u32(0);
    for (x, y) in a.iter().zip(b) {
        // SAFETY: both chunks are as long as a register, and loads of bytes have no alignment.
        let (x, y) = unsafe { (vld1q_u8(x.as_ptr()), vld1q_u8(y.as_ptr())) };
        total = vpadalq_u16(total, vpaddlq_u8(vcntq_u8(veorq_u8(x, y))));
    }
    // SAFETY: both rests have one length.
    vaddvq_u32(total) + unsafe { scalar::hamming(a_rest, b_rest) }
}
