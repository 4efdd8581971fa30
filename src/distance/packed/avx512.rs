//! Packed vectors with AVX-512 (avx512f): 16 dimensions a register.

use std::arch::x86_64::*;

use super::format::{HEADS, block_bytes, lows, mask};
use crate::distance::kernel::{BLOCK, Packed, PackedKernels};

/// Dimensions of a register.
const WIDTH: usize = 16;

pub(in crate::distance) const KERNELS: [PackedKernels; 3] = kernels_of_widths!();

/// Safe to call as `PackedKernel` says; likewise the next.
#[target_feature(enable = "avx512f")]
unsafe fn l2_squared<const LOW: u32>(q: &[f32], x: &Packed) -> f32 {
    let step = |sum, x, y| {
        let difference = _mm512_sub_ps(x, y);
        _mm512_fmadd_ps(difference, difference, sum)
    };
    // SAFETY: the caller's promise.
    unsafe { sum::<LOW>(q, x, step) }
}

#[target_feature(enable = "avx512f")]
unsafe fn inner_product<const LOW: u32>(q: &[f32], x: &Packed) -> f32 {
    // SAFETY: the caller's promise.
    unsafe { sum::<LOW>(q, x, |sum, x, y| _mm512_fmadd_ps(x, y, sum)) }
}

/// Safe to call as `DecodeKernel` says.
#[target_feature(enable = "avx512f")]
unsafe fn decode<const LOW: u32>(x: &Packed, vector: &mut [f32]) {
    let (offset, scale) = (_mm512_set1_ps(x.offset), _mm512_set1_ps(x.scale));
    for block in 0..vector.len() / BLOCK {
        // SAFETY: `block` is one of the blocks that the caller promises.
        let numbers = unsafe { unpack::<LOW>(x.bytes.as_ptr().add(block * block_bytes(LOW as usize))) };
        for (i, numbers) in numbers.into_iter().enumerate() {
            let decoded = _mm512_fmadd_ps(_mm512_cvtepi32_ps(numbers), scale, offset);
            // SAFETY: likewise.
            unsafe { _mm512_storeu_ps(vector.as_mut_ptr().add(block * BLOCK + i * WIDTH), decoded) };
        }
    }
}

/// The sum over all dimensions; `step` adds the terms of 16 pairs to 16 partial sums.
///
/// # Safety
/// The query has `BLOCK` dimensions for each block of the vector, whole blocks.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn sum<const LOW: u32>(q: &[f32], x: &Packed, step: impl Fn(__m512, __m512, __m512) -> __m512) -> f32 {
    let (offset, scale) = (_mm512_set1_ps(x.offset), _mm512_set1_ps(x.scale));
    // Two sets of partial sums: each is added to once while a block is decoded.
    let mut partial = [_mm512_setzero_ps(); BLOCK / WIDTH];
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
            let decoded = _mm512_fmadd_ps(_mm512_cvtepi32_ps(numbers), scale, offset);
            // SAFETY: likewise.
            let q = unsafe { _mm512_loadu_ps(q.add(i * WIDTH)) };
            partial[i] = step(partial[i], q, decoded);
        }
    }
    _mm512_reduce_add_ps(_mm512_add_ps(partial[0], partial[1]))
}

/// The numbers of a block, in order.
///
/// # Safety
/// `block` is readable for the bytes of a block.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn unpack<const LOW: u32>(block: *const u8) -> [__m512i; BLOCK / WIDTH] {
    let ones = _mm512_set1_epi32(mask(LOW as usize).into());
    // SAFETY: the caller's promise: twice 16 bytes.
    let heads = unsafe { [wide(block), wide(block.add(WIDTH))] };
    if LOW == 0 {
        return heads;
    }
    // SAFETY: likewise: then the lower bits.
    let rest = unsafe { lower::<LOW>(block.add(HEADS)) };
    // A byte of lower bits serves equally many dimensions of either register, in its low half the
    // first register's.
    let lower = [rest, _mm512_srli_epi32::<4>(rest)];
    let mut numbers = [_mm512_setzero_si512(); BLOCK / WIDTH];
    for (i, numbers) in numbers.iter_mut().enumerate() {
        *numbers = _mm512_or_si512(_mm512_slli_epi32::<LOW>(heads[i]), _mm512_and_si512(lower[i], ones));
    }
    numbers
}

/// The bytes of lower bits in the order of the first register's dimensions, each shifted to the
/// start of its dimension's bits.
///
/// # Safety
/// `from` is readable for the bytes with the lower bits of a block.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn lower<const LOW: u32>(from: *const u8) -> __m512i {
    if lows(LOW as usize) == WIDTH {
        // SAFETY: the caller's promise.
        return unsafe { wide(from) };
    }
    // SAFETY: the caller's promise: 8 bytes.
    let twice = _mm_set1_epi64x(unsafe { from.cast::<i64>().read_unaligned() });
    let second = _mm512_maskz_set1_epi32(0xff00, LOW as i32);
    _mm512_srlv_epi32(_mm512_cvtepu8_epi32(twice), second)
}

/// 16 bytes, widened.
///
/// # Safety
/// `from` is readable for 16 bytes.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn wide(from: *const u8) -> __m512i {
    // SAFETY: the caller's promise.
    _mm512_cvtepu8_epi32(unsafe { _mm_loadu_si128(from.cast()) })
}
