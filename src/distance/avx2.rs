//! AVX2 with FMA: 8 floats a register.
//!
//! Four sets of partial sums hide the latency of a fused multiply-add behind the two loads each needs. The rest of a
//! vector, fewer than four registers, takes one masked step a set: lanes past the end read nothing and add zero.

use std::arch::x86_64::*;

use super::dispatch::Kernels;
use super::fastscan;
use super::packed;
use super::scalar;

const LANES: usize = 8;
const SETS: usize = 4;

/// The instructions of `KERNELS`.
pub(super) fn detected() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") && is_x86_feature_detected!("popcnt")
}

/// To be used only where `detected`.
pub(super) static KERNELS: Kernels = Kernels {
    name: "avx2",
    l2_squared,
    inner_product,
    negative_inner_product,
    l1,
    cosine_terms,
    packed: packed::avx2::KERNELS,
    fastscan: fastscan::avx2::fastscan,
    estimate: fastscan::avx2::estimate,
    hamming,
};

/// Squared Euclidean distance. Safe to call as `PairKernel` says; likewise the other kernels of this file.
#[target_feature(enable = "avx2,fma")]
unsafe fn l2_squared(a: *const f32, b: *const f32, n: usize) -> f32 {
    // SAFETY: the caller's promise.
    let [sum] = unsafe { sums(a, b, n, |[sum], x, y| [add_square(sum, x, y)]) };
    sum
}

#[target_feature(enable = "avx2,fma")]
unsafe fn inner_product(a: *const f32, b: *const f32, n: usize) -> f32 {
    // SAFETY: the caller's promise.
    let [sum] = unsafe { sums(a, b, n, |[sum], x, y| [_mm256_fmadd_ps(x, y, sum)]) };
    sum
}

#[target_feature(enable = "avx2,fma")]
unsafe fn negative_inner_product(a: *const f32, b: *const f32, n: usize) -> f32 {
    // SAFETY: the caller's promise.
    -unsafe { inner_product(a, b, n) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn l1(a: *const f32, b: *const f32, n: usize) -> f32 {
    let sign = _mm256_set1_ps(-0.0);
    let step = |[sum]: [__m256; 1], x, y| [_mm256_add_ps(sum, _mm256_andnot_ps(sign, _mm256_sub_ps(x, y)))];
    // SAFETY: the caller's promise.
    let [sum] = unsafe { sums(a, b, n, step) };
    sum
}

#[target_feature(enable = "avx2,fma")]
unsafe fn cosine_terms(a: *const f32, b: *const f32, n: usize) -> [f32; 3] {
    let step = |[ab, aa, bb]: [__m256; 3], x, y| {
        [
            _mm256_fmadd_ps(x, y, ab),
            _mm256_fmadd_ps(x, x, aa),
            _mm256_fmadd_ps(y, y, bb),
        ]
    };
    // SAFETY: the caller's promise.
    unsafe { sums(a, b, n, step) }
}

/// sum + (x - y)^2
#[target_feature(enable = "avx2,fma")]
#[inline]
fn add_square(sum: __m256, x: __m256, y: __m256) -> __m256 {
    let difference = _mm256_sub_ps(x, y);
    _mm256_fmadd_ps(difference, difference, sum)
}

/// `K` sums over all pairs; `step` adds the terms of 8 pairs to 8 partial sums of each, and adds nothing for (0, 0).
///
/// # Safety
/// `a` and `b` are readable for `n` floats, at any alignment.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn sums<const K: usize>(
    a: *const f32,
    b: *const f32,
    n: usize,
    step: impl Fn([__m256; K], __m256, __m256) -> [__m256; K],
) -> [f32; K] {
    let mut partial = [[_mm256_setzero_ps(); K]; SETS];
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
        let low = _mm256_add_ps(partial[0][k], partial[1][k]);
        let high = _mm256_add_ps(partial[2][k], partial[3][k]);
        total[k] = add_lanes(_mm256_add_ps(low, high));
    }
    total
}

/// The first `count` (1 to 8) floats at `from`, then zeros.
///
/// # Safety
/// `from` is readable for `count` floats, at any alignment.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn load(from: *const f32, count: usize) -> __m256 {
    // SAFETY: the caller's promise: the mask reads no more.
    unsafe {
        if count == LANES {
            _mm256_loadu_ps(from)
        } else {
            _mm256_maskload_ps(from, first_lanes(count))
        }
    }
}

/// A mask that selects the first `count` lanes.
#[target_feature(enable = "avx2")]
#[inline]
fn first_lanes(count: usize) -> __m256i {
    let lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), lane)
}

/// The sum of all lanes.
#[target_feature(enable = "avx2")]
#[inline]
pub(super) fn add_lanes(lanes: __m256) -> f32 {
    let four = _mm_add_ps(_mm256_castps256_ps128(lanes), _mm256_extractf128_ps::<1>(lanes));
    let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
    _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
}

/// Number of different bits. Safe to call as `HammingKernel` says.
#[target_feature(enable = "popcnt")]
pub(super) unsafe fn hamming(a: &[u8], b: &[u8]) -> u32 {
    // SAFETY: the caller's promise. Inlined here, it counts by the processor's own instruction.
    unsafe { scalar::hamming(a, b) }
}
