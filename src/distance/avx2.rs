//! AVX2 with FMA: 8 floats a register.
//!
//! Four sets of partial sums hide the latency of a fused multiply-add behind the two loads each needs. The rest of a
//! vector, fewer than four registers, takes one masked step a set: lanes past the end read nothing and add zero.

use std::arch::x86_64::*;

use super::dispatch::Kernels;
use super::fastscan;
use super::quantized::Quantized;
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
    l2_squared_quantized,
    inner_product_quantized,
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

/// Squared Euclidean distance to a decoded vector. Safe to call as `QuantizedKernel` says, as the next.
#[target_feature(enable = "avx2,fma")]
unsafe fn l2_squared_quantized(q: &[f32], x: &Quantized) -> f32 {
    // SAFETY: the caller's promise.
    unsafe { sum_quantized(q, x, |[sum], x, y| [add_square(sum, x, y)]) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn inner_product_quantized(q: &[f32], x: &Quantized) -> f32 {
    // SAFETY: the caller's promise.
    unsafe { sum_quantized(q, x, |[sum], x, y| [_mm256_fmadd_ps(x, y, sum)]) }
}

/// The sum over all dimensions of a query and a decoded vector; `step` as in `sums`.
///
/// # Safety
/// Query, heads and tails have one length.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn sum_quantized(q: &[f32], x: &Quantized, step: impl Fn([__m256; 1], __m256, __m256) -> [__m256; 1]) -> f32 {
    let decode = {
        let (lo, step) = (_mm256_set1_ps(x.lo), _mm256_set1_ps(x.step));
        move |integers| _mm256_fmadd_ps(_mm256_cvtepi32_ps(integers), step, lo)
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
    // SAFETY: `fold` asks for what lies within `b`; the rest is the caller's promise.
    unsafe { fold(a, |at, count| load(b.add(at), count), n, step) }
}

/// As `sums`, with `second` in place of `b`: it is called with every position and the number of values from there on,
/// at most 8, and returns them. What it returns past them is left out.
///
/// # Safety
/// `a` is readable for `n` floats, at any alignment.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn fold<const K: usize>(
    a: *const f32,
    second: impl Fn(usize, usize) -> __m256,
    n: usize,
    step: impl Fn([__m256; K], __m256, __m256) -> [__m256; K],
) -> [f32; K] {
    let mut partial = [[_mm256_setzero_ps(); K]; SETS];
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

/// The first `count` (1 to 8) bytes at `from`, widened, then zeros.
///
/// # Safety
/// `from` is readable for `count` bytes.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn bytes(from: *const u8, count: usize) -> __m256i {
    let mut bytes = [0; LANES];
    // SAFETY: the caller's promise; `count` bytes fit into `bytes`.
    unsafe { std::ptr::copy_nonoverlapping(from, bytes.as_mut_ptr(), count.min(LANES)) };
    _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(i64::from_le_bytes(bytes)))
}

/// head * 256 + tail.
#[target_feature(enable = "avx2")]
#[inline]
fn join(head: __m256i, tail: __m256i) -> __m256i {
    _mm256_or_si256(_mm256_slli_epi32::<8>(head), tail)
}

/// The first `count` lanes, then zeros.
#[target_feature(enable = "avx2")]
#[inline]
fn first(lanes: __m256, count: usize) -> __m256 {
    _mm256_and_ps(lanes, _mm256_castsi256_ps(first_lanes(count)))
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
fn add_lanes(lanes: __m256) -> f32 {
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
