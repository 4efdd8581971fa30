//! AVX-512 (only its foundation, avx512f): 16 floats a register.
//!
//! Four sets of partial sums hide the latency of a fused multiply-add behind the two loads each needs. The rest of a
//! vector, fewer than four registers, takes one masked step a set: lanes past the end read nothing and add zero.

use std::arch::x86_64::*;

use super::dispatch::Kernels;

const LANES: usize = 16;
const SETS: usize = 4;

/// To be used only where avx512f is detected.
pub(super) static KERNELS: Kernels = Kernels {
    name: "avx512",
    l2_squared,
    inner_product,
    negative_inner_product,
    l1,
    cosine_terms,
};

/// Squared Euclidean distance. Safe to call as `PairKernel` says; likewise the other kernels of this file.
#[target_feature(enable = "avx512f")]
unsafe fn l2_squared(a: *const f32, b: *const f32, n: usize) -> f32 {
    let step = |[sum]: [__m512; 1], x, y| {
        let difference = _mm512_sub_ps(x, y);
        [_mm512_fmadd_ps(difference, difference, sum)]
    };
    // SAFETY: the caller's promise.
    let [sum] = unsafe { sums(a, b, n, step) };
    sum
}

#[target_feature(enable = "avx512f")]
unsafe fn inner_product(a: *const f32, b: *const f32, n: usize) -> f32 {
    // SAFETY: the caller's promise.
    let [sum] = unsafe { sums(a, b, n, |[sum], x, y| [_mm512_fmadd_ps(x, y, sum)]) };
    sum
}

#[target_feature(enable = "avx512f")]
unsafe fn negative_inner_product(a: *const f32, b: *const f32, n: usize) -> f32 {
    // SAFETY: the caller's promise.
    -unsafe { inner_product(a, b, n) }
}

#[target_feature(enable = "avx512f")]
unsafe fn l1(a: *const f32, b: *const f32, n: usize) -> f32 {
    // SAFETY: the caller's promise.
    let [sum] = unsafe {
        sums(a, b, n, |[sum], x, y| {
            [_mm512_add_ps(sum, _mm512_abs_ps(_mm512_sub_ps(x, y)))]
        })
    };
    sum
}

#[target_feature(enable = "avx512f")]
unsafe fn cosine_terms(a: *const f32, b: *const f32, n: usize) -> [f32; 3] {
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

/// `K` sums over all pairs; `step` adds the terms of 16 pairs to 16 partial sums of each, and adds nothing for (0, 0).
///
/// # Safety
/// `a` and `b` are readable for `n` floats, at any alignment.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn sums<const K: usize>(
    a: *const f32,
    b: *const f32,
    n: usize,
    step: impl Fn([__m512; K], __m512, __m512) -> [__m512; K],
) -> [f32; K] {
    let mut partial = [[_mm512_setzero_ps(); K]; SETS];
    let mut done = 0;
    while n - done >= SETS * LANES {
        for set in &mut partial {
            // SAFETY: at least LANES floats remain after `done`.
            let (x, y) = unsafe { (_mm512_loadu_ps(a.add(done)), _mm512_loadu_ps(b.add(done))) };
            *set = step(*set, x, y);
            done += LANES;
        }
    }
    for set in &mut partial {
        let rest = (n - done).min(LANES);
        if rest == 0 {
            break;
        }
        let mask = u16::MAX >> (LANES - rest);
        // SAFETY: `rest` floats remain after `done`, and the mask reads no more.
        let (x, y) = unsafe {
            (
                _mm512_maskz_loadu_ps(mask, a.add(done)),
                _mm512_maskz_loadu_ps(mask, b.add(done)),
            )
        };
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
