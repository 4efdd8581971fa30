//! Packed vectors with AVX2 and FMA: 8 dimensions a register.

use std::arch::x86_64::*;

use super::format::{HEADS, block_bytes, lows, mask};
use crate::distance::avx2::add_lanes;
use crate::distance::kernel::{BLOCK, Packed, PackedKernels};

/// Dimensions of a register.
const WIDTH: usize = 8;

pub(in crate::distance) const KERNELS: [PackedKernels; 3] = kernels_of_widths!();

/// Safe to call as `PackedKernel` says; likewise the next.
#[target_feature(enable = "avx2,fma")]
unsafe fn l2_squared<const LOW: i32>(q: &[f32], x: &Packed) -> f32 {
    let step = |sum, x, y| {
        let difference = _mm256_sub_ps(x, y);
        _mm256_fmadd_ps(difference, difference, sum)
    };
    // SAFETY: the caller's promise.
    unsafe { sum::<LOW>(q, x, step) }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn inner_product<const LOW: i32>(q: &[f32], x: &Packed) -> f32 {
    // SAFETY: the caller's promise.
    unsafe { sum::<LOW>(q, x, |sum, x, y| _mm256_fmadd_ps(x, y, sum)) }
}

/// Safe to call as `DecodeKernel` says.
#[target_feature(enable = "avx2,fma")]
unsafe fn decode<const LOW: i32>(x: &Packed, vector: &mut [f32]) {
    let (offset, scale) = (_mm256_set1_ps(x.offset), _mm256_set1_ps(x.scale));
    for block in 0..vector.len() / BLOCK {
        // SAFETY: `block` is one of the blocks that the caller promises.
        let numbers = unsafe { unpack::<LOW>(x.bytes.as_ptr().add(block * block_bytes(LOW as usize))) };
        for (i, numbers) in numbers.into_iter().enumerate() {
            let decoded = _mm256_fmadd_ps(_mm256_cvtepi32_ps(numbers), scale, offset);
            // SAFETY: likewise.
            unsafe { _mm256_storeu_ps(vector.as_mut_ptr().add(block * BLOCK + i * WIDTH), decoded) };
        }
    }
}

/// The sum over all dimensions; `step` adds the terms of 8 pairs to 8 partial sums.
///
/// # Safety
/// The query has `BLOCK` dimensions for each block of the vector, whole blocks.
#[target_feature(enable = "avx2,fma")]
#[inline]
unsafe fn sum<const LOW: i32>(q: &[f32], x: &Packed, step: impl Fn(__m256, __m256, __m256) -> __m256) -> f32 {
    let (offset, scale) = (_mm256_set1_ps(x.offset), _mm256_set1_ps(x.scale));
    let mut partial = [_mm256_setzero_ps(); BLOCK / WIDTH];
    for block in 0..q.len() / BLOCK {
        // SAFETY: `block` is one of the blocks that the caller promises.
        let (q, bytes) = unsafe {
            (
                q.as_ptr().add(block * BLOCK),
                x.bytes.as_ptr().add(block * block_bytes(LOW as usize)),
            )
        };
        // SAFETY: likewise.
        let numbers = unsafe { unpack::<LOW>(bytes) };
        for (i, numbers) in numbers.into_iter().enumerate() {
            let decoded = _mm256_fmadd_ps(_mm256_cvtepi32_ps(numbers), scale, offset);
            // SAFETY: likewise.
            let q = unsafe { _mm256_loadu_ps(q.add(i * WIDTH)) };
            partial[i] = step(partial[i], q, decoded);
        }
    }
    let low = _mm256_add_ps(partial[0], partial[1]);
    let high = _mm256_add_ps(partial[2], partial[3]);
    add_lanes(_mm256_add_ps(low, high))
}

/// The numbers of a block, in order.
///
/// # Safety
/// `block` is readable for the bytes of a block.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn unpack<const LOW: i32>(block: *const u8) -> [__m256i; BLOCK / WIDTH] {
    let lows = lows(LOW as usize);
    let ones = _mm256_set1_epi32(mask(LOW as usize).into());
    let mut numbers = [_mm256_setzero_si256(); BLOCK / WIDTH];
    for (i, numbers) in numbers.iter_mut().enumerate() {
        let at = i * WIDTH;
        // SAFETY: the caller's promise.
        let heads = unsafe { wide(block.add(at)) };
        if LOW == 0 {
            *numbers = heads;
            continue;
        }
        // SAFETY: likewise.
        let rest = unsafe { wide(block.add(HEADS + at % lows)) };
        let rest = _mm256_srlv_epi32(rest, _mm256_set1_epi32((at / lows) as i32 * LOW));
        *numbers = _mm256_or_si256(_mm256_slli_epi32::<LOW>(heads), _mm256_and_si256(rest, ones));
    }
    numbers
}

/// 8 bytes, widened.
///
/// # Safety
/// `from` is readable for 8 bytes.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn wide(from: *const u8) -> __m256i {
    // SAFETY: the caller's promise.
    _mm256_cvtepu8_epi32(unsafe { _mm_loadl_epi64(from.cast()) })
}
