//! NEON: 4 floats a register. Part of every aarch64 processor, so nothing is detected.
//!
//! Eight sets of partial sums hide the latency of a fused multiply-add on cores with up to four vector units. The rest
//! of a vector takes one step a register, and its last 1 to 3 floats are padded with zeros, which add nothing.

use std::arch::aarch64::*;

use super::dispatch::Kernels;
use super::fastscan;
use super::quantized::Quantized;
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
    l2_squared_quantized,
    inner_product_quantized,
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

/// Squared Euclidean distance to a decoded vector. Safe to call as `QuantizedKernel` says, as the next.
#[target_feature(enable = "neon")]
unsafe fn l2_squared_quantized(q: &[f32], x: &Quantized) -> f32 {
    // SAFETY: the caller's promise.
    unsafe { sum_quantized(q, x, |[sum], x, y| [add_square(sum, x, y)]) }
}

#[target_feature(enable = "neon")]
unsafe fn inner_product_quantized(q: &[f32], x: &Quantized) -> f32 {
    // SAFETY: the caller's promise.
    unsafe { sum_quantized(q, x, |[sum], x, y| [vfmaq_f32(sum, x, y)]) }
}

/// The sum over all dimensions of a query and a decoded vector; `step` as in `sums`.
///
/// # Safety
/// Query, heads and tails have one length.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn sum_quantized(
    q: &[f32],
    x: &Quantized,
    step: impl Fn([float32x4_t; 1], float32x4_t, float32x4_t) -> [float32x4_t; 1],
) -> f32 {
    let decode = {
        let (lo, step) = (vdupq_n_f32(x.lo), vdupq_n_f32(x.step));
        move |integers| vfmaq_f32(lo, vcvtq_f32_u32(integers), step)
    };
    // SAFETY: `fold` asks for what lies within the arrays, and they have one length.
    let [sum] = unsafe {
        match x.tails {
            None => fold(
                q.as_ptr(),
                |at, count| decode(bytes(x.heads.as_ptr().add(at), count)),
                q.len(),
                step,
            ),
            Some(tails) => {
                let both = |at, count| {
                    let head = bytes(x.heads.as_ptr().add(at), count);
                    decode(join(head, bytes(tails.as_ptr().add(at), count)))
                };
                fold(q.as_ptr(), both, q.len(), step)
            }
        }
    };
    sum
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
    // SAFETY: `fold` asks for what lies within `b`; the rest is the caller's promise.
    unsafe { fold(a, |at, count| load(b.add(at), count), n, step) }
}

/// As `sums`, with `second` in place of `b`: it is called with every position and the number of values from there on,
/// at most 4, and returns them. What it returns past them is left out.
///
/// # Safety
/// `a` is readable for `n` floats, at any alignment.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn fold<const K: usize>(
    a: *const f32,
    second: impl Fn(usize, usize) -> float32x4_t,
    n: usize,
    step: impl Fn([float32x4_t; K], float32x4_t, float32x4_t) -> [float32x4_t; K],
) -> [f32; K] {
    let mut partial = [[vdupq_n_f32(0.0); K]; SETS];
    let mut done = 0;
    while n - done >= SETS * LANES {
        for set in &mut partial {
            // SAFETY: at least LANES floats remain after `done`.
            let x = unsafe { load(a.add(done), LANES) };
            *set = step(*set, x, second(done, LANES));
            done += LANES;
        }
    }
    for set in &mut partial {
        let rest = (n - done).min(LANES);
        if rest == 0 {
            break;
        }
        // SAFETY: `rest` floats remain after `done`.
        let x = unsafe { load(a.add(done), rest) };
        *set = step(*set, x, first(second(done, rest), rest));
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

/// The first `count` (at most 4) bytes at `from`, widened, then zeros.
///
/// # Safety
/// `from` is readable for `count` bytes.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn bytes(from: *const u8, count: usize) -> uint32x4_t {
    let mut bytes = [0; LANES];
    // SAFETY: the caller's promise; `count` bytes fit into `bytes`.
    unsafe { std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), count.min(LANES)) };
    let bytes = vcreate_u8(u64::from(u32::from_le_bytes(bytes)));
    vmovl_u16(vget_low_u16(vmovl_u8(bytes)))
}

/// head * 256 + tail.
#[target_feature(enable = "neon")]
#[inline]
fn join(head: uint32x4_t, tail: uint32x4_t) -> uint32x4_t {
    vsliq_n_u32::<8>(tail, head)
}

/// The first `count` lanes, then zeros.
#[target_feature(enable = "neon")]
#[inline]
fn first(lanes: float32x4_t, count: usize) -> float32x4_t {
    // SAFETY: an array of as many integers as the register has.
    let lane = unsafe { vld1q_u32([0, 1, 2, 3].as_ptr()) };
    let mask = vcltq_u32(lane, vdupq_n_u32(count as u32));
    vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(lanes), mask))
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
