//! NEON kernels: 4 floats a register. NEON is part of every aarch64 processor, so there is no
//! detection.
//!
//! Eight sets of partial sums hide the latency of a fused multiply-add on cores with up to four
//! vector units. The rest of a vector takes one step a register, and its last 1 to 3 floats are
//! padded with zeros, which add nothing.

use std::arch::aarch64::*;

use half::f16;

use super::kernel::DenseKernels;
use super::scalar;

const LANES: usize = 4;
const SETS: usize = 8;

/// The bytes of a register.
const BYTES: usize = 16;

/// The kernels of this file for one type of numbers.
pub(super) const fn dense<T: Load>() -> DenseKernels<T> {
    DenseKernels {
        l2_squared: l2_squared::<T>,
        inner_product: inner_product::<T>,
        negative_inner_product: negative_inner_product::<T>,
        l1: l1::<T>,
        cosine_terms: cosine_terms::<T>,
    }
}

/// Squared Euclidean distance. Safe to call as `PairKernel` says; likewise the other kernels of
/// this file.
#[target_feature(enable = "neon")]
unsafe fn l2_squared<T: Load>(a: *const T, b: *const T, n: usize) -> f32 {
    // SAFETY: the caller's promise.
    let [sum] = unsafe { sums(a, b, n, |[sum], x, y| [add_square(sum, x, y)]) };
    sum
}

#[target_feature(enable = "neon")]
unsafe fn inner_product<T: Load>(a: *const T, b: *const T, n: usize) -> f32 {
    // SAFETY: the caller's promise.
    let [sum] = unsafe { sums(a, b, n, |[sum], x, y| [vfmaq_f32(sum, x, y)]) };
    sum
}

#[target_feature(enable = "neon")]
unsafe fn negative_inner_product<T: Load>(a: *const T, b: *const T, n: usize) -> f32 {
    // SAFETY: the caller's promise.
    -unsafe { inner_product(a, b, n) }
}

#[target_feature(enable = "neon")]
unsafe fn l1<T: Load>(a: *const T, b: *const T, n: usize) -> f32 {
    // SAFETY: the caller's promise.
    let [sum] = unsafe { sums(a, b, n, |[sum], x, y| [vaddq_f32(sum, vabdq_f32(x, y))]) };
    sum
}

#[target_feature(enable = "neon")]
unsafe fn cosine_terms<T: Load>(a: *const T, b: *const T, n: usize) -> [f32; 3] {
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

/// `K` sums over all pairs; `step` adds the terms of 4 pairs to 4 partial sums of each, and adds
/// nothing for (0, 0).
///
/// # Safety
/// `a` and `b` are readable for `n` numbers, at any alignment.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn sums<T: Load, const K: usize>(
    a: *const T,
    b: *const T,
    n: usize,
    step: impl Fn([float32x4_t; K], float32x4_t, float32x4_t) -> [float32x4_t; K],
) -> [f32; K] {
    let mut partial = [[vdupq_n_f32(0.0); K]; SETS];
    let mut done = 0;
    while n - done >= SETS * LANES {
        for set in &mut partial {
            // SAFETY: at least LANES numbers remain after `done`.
            let (x, y) = unsafe { (T::load(a.add(done), LANES), T::load(b.add(done), LANES)) };
            *set = step(*set, x, y);
            done += LANES;
        }
    }
    for set in &mut partial {
        let rest = (n - done).min(LANES);
        if rest == 0 {
            break;
        }
        // SAFETY: `rest` numbers remain after `done`.
        let (x, y) = unsafe { (T::load(a.add(done), rest), T::load(b.add(done), rest)) };
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

/// Number types that load into a register of floats.
pub(super) trait Load: Copy {
    /// The first `count` (at most 4) numbers at `from`, then zeros.
    ///
    /// # Safety
    /// `from` is readable for `count` numbers, at any alignment.
    unsafe fn load(from: *const Self, count: usize) -> float32x4_t;
}

impl Load for f32 {
    #[target_feature(enable = "neon")]
    #[inline]
    unsafe fn load(from: *const f32, count: usize) -> float32x4_t {
        // SAFETY: the caller's promise.
        let bytes: [u8; LANES * size_of::<f32>()] = unsafe { first(from, count) };
        // SAFETY: a register's bytes.
        unsafe { vreinterpretq_f32_u8(vld1q_u8(bytes.as_ptr())) }
    }
}

impl Load for f16 {
    #[target_feature(enable = "neon")]
    #[inline]
    unsafe fn load(from: *const f16, count: usize) -> float32x4_t {
        // SAFETY: the caller's promise.
        let bytes: [u8; LANES * size_of::<f16>()] = unsafe { first(from, count) };
        // SAFETY: half a register's bytes.
        unsafe { vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(bytes.as_ptr()))) }
    }
}

/// The bytes of the first `count` (at most 4) numbers, then zeros. Bytes, because a load of
/// elements may demand their alignment; a whole register is still one instruction.
///
/// # Safety
/// `from` is readable for `count` numbers, at any alignment, and `BYTES` is the size of 4.
#[inline(always)]
unsafe fn first<T, const BYTES: usize>(from: *const T, count: usize) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    // SAFETY: the caller's promise; `count` numbers fit into `bytes`.
    unsafe {
        std::ptr::copy_nonoverlapping(from.cast::<u8>(), bytes.as_mut_ptr(), count.min(LANES) * size_of::<T>());
    }
    bytes
}

/// Number of different bits. Safe to call as `HammingKernel` says.
#[target_feature(enable = "neon")]
pub(super) unsafe fn hamming(a: &[u8], b: &[u8]) -> u32 {
    // SAFETY: the caller's promise.
    let [count] = unsafe { counts(a, b, |x, y| [veorq_u8(x, y)]) };
    // SAFETY: as the caller promises.
    count + unsafe { scalar::hamming(rest(a), rest(b)) }
}

/// Numbers of bits set in both, and in either. Safe to call as `OverlapKernel` says.
#[target_feature(enable = "neon")]
pub(super) unsafe fn overlap(a: &[u8], b: &[u8]) -> [u32; 2] {
    // SAFETY: the caller's promise.
    let [both, either] = unsafe { counts(a, b, |x, y| [vandq_u8(x, y), vorrq_u8(x, y)]) };
    // SAFETY: as the caller promises.
    let [both_rest, either_rest] = unsafe { scalar::overlap(rest(a), rest(b)) };
    [both + both_rest, either + either_rest]
}

/// Number of bits set in each of the `K` results of `combine`, over the whole registers of two
/// arrays.
///
/// # Safety
/// The arrays have one length.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn counts<const K: usize>(
    a: &[u8],
    b: &[u8],
    combine: impl Fn(uint8x16_t, uint8x16_t) -> [uint8x16_t; K],
) -> [u32; K] {
    let mut totals = [vdupq_n_u32(0); K];
    for (x, y) in a.as_chunks::<BYTES>().0.iter().zip(b.as_chunks::<BYTES>().0) {
        // SAFETY: both chunks are as long as a register, and loads of bytes have no alignment.
        let (x, y) = unsafe { (vld1q_u8(x.as_ptr()), vld1q_u8(y.as_ptr())) };
        for (total, &bits) in totals.iter_mut().zip(&combine(x, y)) {
            *total = vpadalq_u16(*total, vpaddlq_u8(vcntq_u8(bits)));
        }
    }
    let mut counts = [0; K];
    for (count, &total) in counts.iter_mut().zip(&totals) {
        *count = vaddvq_u32(total);
    }
    counts
}

/// The bytes after the whole registers.
#[inline]
fn rest(bytes: &[u8]) -> &[u8] {
    bytes.as_chunks::<BYTES>().1
}
