//! AVX-512 kernels (avx512f, avx512bw, avx512vl; the Xeon Phi has the first alone and runs AVX2):
//! 16 floats a register.
//!
//! Four sets of partial sums hide the latency of a fused multiply-add behind the two loads each
//! needs. The rest of a vector, fewer than four registers, takes one masked step a set: lanes past
//! the end read nothing and add zero.

use std::arch::x86_64::*;

use half::f16;

use super::avx2;
use super::kernel::DenseKernels;

const LANES: usize = 16;
const SETS: usize = 4;

/// The instructions of `dispatch::AVX512`.
pub(super) fn detected() -> bool {
    avx2::detected()
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
}

/// The instructions of `dispatch::AVX512_VBMI`, new in Ice Lake and Zen 4.
pub(super) fn detected_vbmi() -> bool {
    detected()
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("avx512vnni")
        && is_x86_feature_detected!("avx512vpopcntdq")
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
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn l2_squared<T: Load>(a: *const T, b: *const T, n: usize) -> f32 {
    // SAFETY: the caller's promise.
    let [sum] = unsafe { sums(a, b, n, |[sum], x, y| [add_square(sum, x, y)]) };
    sum
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn inner_product<T: Load>(a: *const T, b: *const T, n: usize) -> f32 {
    // SAFETY: the caller's promise.
    let [sum] = unsafe { sums(a, b, n, |[sum], x, y| [_mm512_fmadd_ps(x, y, sum)]) };
    sum
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn negative_inner_product<T: Load>(a: *const T, b: *const T, n: usize) -> f32 {
    // SAFETY: the caller's promise.
    -unsafe { inner_product(a, b, n) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn l1<T: Load>(a: *const T, b: *const T, n: usize) -> f32 {
    // SAFETY: the caller's promise.
    let [sum] = unsafe {
        sums(a, b, n, |[sum], x, y| {
            [_mm512_add_ps(sum, _mm512_abs_ps(_mm512_sub_ps(x, y)))]
        })
    };
    sum
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
unsafe fn cosine_terms<T: Load>(a: *const T, b: *const T, n: usize) -> [f32; 3] {
    let step = |[ab, aa, bb]: [__m512; 3], x, y| {
        [
            _mm512_fmadd_ps(x, y, ab),
            _mm512_fmadd_ps(x, x, aa),
            _mm512_fmadd_ps(y, y, bb),
        ]
    };
    // SAFETY: the caller's promise.
    unsafe { sums(a, b, n, step) }
}

/// sum + (x - y)^2
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
fn add_square(sum: __m512, x: __m512, y: __m512) -> __m512 {
    let difference = _mm512_sub_ps(x, y);
    _mm512_fmadd_ps(difference, difference, sum)
}

/// `K` sums over all pairs; `step` adds the terms of 16 pairs to 16 partial sums of each, and adds
/// nothing for (0, 0).
///
/// # Safety
/// `a` and `b` are readable for `n` numbers, at any alignment.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
#[inline]
unsafe fn sums<T: Load, const K: usize>(
    a: *const T,
    b: *const T,
    n: usize,
    step: impl Fn([__m512; K], __m512, __m512) -> [__m512; K],
) -> [f32; K] {
    let mut partial = [[_mm512_setzero_ps(); K]; SETS];
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
        let low = _mm512_add_ps(partial[0][k], partial[1][k]);
        let high = _mm512_add_ps(partial[2][k], partial[3][k]);
        total[k] = _mm512_reduce_add_ps(_mm512_add_ps(low, high));
    }
    total
}

/// Number types that load into a register of floats.
pub(super) trait Load: Copy {
    /// The first `count` (1 to 16) numbers at `from`, then zeros.
    ///
    /// # Safety
    /// `from` is readable for `count` numbers, at any alignment, and the machine has the
    /// instructions.
    unsafe fn load(from: *const Self, count: usize) -> __m512;
}

impl Load for f32 {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    unsafe fn load(from: *const f32, count: usize) -> __m512 {
        // SAFETY: the caller's promise: the mask reads no more.
        unsafe { _mm512_maskz_loadu_ps(mask(count), from) }
    }
}

impl Load for f16 {
    #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
    #[inline]
    unsafe fn load(from: *const f16, count: usize) -> __m512 {
        // SAFETY: the caller's promise: the mask reads no more.
        unsafe { _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask(count), from.cast())) }
    }
}

/// A mask that selects the first `count` (1 to 16) lanes.
#[inline]
fn mask(count: usize) -> u16 {
    u16::MAX >> (LANES - count)
}

/// Number of different bits. Safe to call as `HammingKernel` says.
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq")]
pub(super) unsafe fn hamming_vpopcntdq(a: &[u8], b: &[u8]) -> u32 {
    // SAFETY: the caller's promise.
    let [count] = unsafe { counts(a, b, |x, y| [_mm512_xor_si512(x, y)]) };
    count
}

/// Numbers of bits set in both, and in either. Safe to call as `OverlapKernel` says.
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq")]
pub(super) unsafe fn overlap_vpopcntdq(a: &[u8], b: &[u8]) -> [u32; 2] {
    // SAFETY: the caller's promise.
    unsafe { counts(a, b, |x, y| [_mm512_and_si512(x, y), _mm512_or_si512(x, y)]) }
}

/// Number of bits set in each of the `K` results of `combine`, which gives zeros for zeros.
///
/// # Safety
/// The arrays have one length.
#[target_feature(enable = "avx512f,avx512bw,avx512vpopcntdq")]
#[inline]
unsafe fn counts<const K: usize>(a: &[u8], b: &[u8], combine: impl Fn(__m512i, __m512i) -> [__m512i; K]) -> [u32; K] {
    const BYTES: usize = size_of::<__m512i>();
    let mut totals = [_mm512_setzero_si512(); K];
    for at in (0..a.len()).step_by(BYTES) {
        let mask = u64::MAX >> BYTES.saturating_sub(a.len() - at);
        // SAFETY: both arrays have one length, and the mask reads no more than remains.
        let (x, y) = unsafe {
            (
                _mm512_maskz_loadu_epi8(mask, a.as_ptr().add(at).cast()),
                _mm512_maskz_loadu_epi8(mask, b.as_ptr().add(at).cast()),
            )
        };
        for (total, &bits) in totals.iter_mut().zip(&combine(x, y)) {
            *total = _mm512_add_epi64(*total, _mm512_popcnt_epi64(bits));
        }
    }
    // A loop instead of a closure, because a closure that is passed to a function without the
    // instructions is not inlined.
    let mut counts = [0; K];
    for (count, &total) in counts.iter_mut().zip(&totals) {
        *count = _mm512_reduce_add_epi64(total) as u32;
    }
    counts
}
