//! AVX2 kernels, with FMA and F16C (every processor with AVX2 has both): 8 floats a register.
//!
//! Four sets of partial sums hide the latency of a fused multiply-add behind the two loads each
//! needs. The rest of a vector, fewer than four registers, takes one masked step a set: lanes past
//! the end read nothing and add zero.

use std::arch::x86_64::*;

use half::f16;

use super::kernel::DenseKernels;
use super::scalar;

const LANES: usize = 8;
const SETS: usize = 4;

/// The instructions of `dispatch::AVX2`.
pub(super) fn detected() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
        && is_x86_feature_detected!("popcnt")
}

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
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn l2_squared<T: Load>(a: *const T, b: *const T, n: usize) -> f32 {
    // SAFETY: the caller's promise.
    let [sum] = unsafe { sums(a, b, n, |[sum], x, y| [add_square(sum, x, y)]) };
    sum
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn inner_product<T: Load>(a: *const T, b: *const T, n: usize) -> f32 {
    // SAFETY: the caller's promise.
    let [sum] = unsafe { sums(a, b, n, |[sum], x, y| [_mm256_fmadd_ps(x, y, sum)]) };
    sum
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn negative_inner_product<T: Load>(a: *const T, b: *const T, n: usize) -> f32 {
    // SAFETY: the caller's promise.
    -unsafe { inner_product(a, b, n) }
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn l1<T: Load>(a: *const T, b: *const T, n: usize) -> f32 {
    let sign = _mm256_set1_ps(-0.0);
    let step = |[sum]: [__m256; 1], x, y| [_mm256_add_ps(sum, _mm256_andnot_ps(sign, _mm256_sub_ps(x, y)))];
    // SAFETY: the caller's promise.
    let [sum] = unsafe { sums(a, b, n, step) };
    sum
}

#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn cosine_terms<T: Load>(a: *const T, b: *const T, n: usize) -> [f32; 3] {
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
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
fn add_square(sum: __m256, x: __m256, y: __m256) -> __m256 {
    let difference = _mm256_sub_ps(x, y);
    _mm256_fmadd_ps(difference, difference, sum)
}

/// `K` sums over all pairs; `step` adds the terms of 8 pairs to 8 partial sums of each, and adds
/// nothing for (0, 0).
///
/// # Safety
/// `a` and `b` are readable for `n` numbers, at any alignment.
#[target_feature(enable = "avx2,fma,f16c")]
#[inline]
unsafe fn sums<T: Load, const K: usize>(
    a: *const T,
    b: *const T,
    n: usize,
    step: impl Fn([__m256; K], __m256, __m256) -> [__m256; K],
) -> [f32; K] {
    let mut partial = [[_mm256_setzero_ps(); K]; SETS];
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
        let low = _mm256_add_ps(partial[0][k], partial[1][k]);
        let high = _mm256_add_ps(partial[2][k], partial[3][k]);
        total[k] = add_lanes(_mm256_add_ps(low, high));
    }
    total
}

/// Number types that load into a register of floats.
pub(super) trait Load: Copy {
    /// The first `count` (1 to 8) numbers at `from`, then zeros.
    ///
    /// # Safety
    /// `from` is readable for `count` numbers, at any alignment, and the machine has the
    /// instructions.
    unsafe fn load(from: *const Self, count: usize) -> __m256;
}

impl Load for f32 {
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
}

impl Load for f16 {
    #[target_feature(enable = "avx2,f16c")]
    #[inline]
    unsafe fn load(from: *const f16, count: usize) -> __m256 {
        let mut part = [f16::ZERO; LANES];
        // SAFETY: the caller's promise. A part of a register is copied first, because AVX2 has no
        // masked load of 16-bit lanes.
        unsafe {
            let from = if count == LANES {
                from
            } else {
                std::ptr::copy_nonoverlapping(from.cast::<u8>(), part.as_mut_ptr().cast(), count * size_of::<f16>());
                part.as_ptr()
            };
            _mm256_cvtph_ps(_mm_loadu_si128(from.cast()))
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

/// Numbers of bits set in both, and in either. Safe to call as `OverlapKernel` says.
#[target_feature(enable = "popcnt")]
pub(super) unsafe fn overlap(a: &[u8], b: &[u8]) -> [u32; 2] {
    // SAFETY: the caller's promise.
    unsafe { scalar::overlap(a, b) }
}
