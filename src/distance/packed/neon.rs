//! Packed vectors with NEON: 4 dimensions a register.

use std::arch::aarch64::*;

use super::format::{HEADS, block_bytes, lows, mask};
use crate::distance::kernel::{BLOCK, Packed, PackedKernels};

/// Dimensions of a register.
const WIDTH: usize = 4;

pub(in crate::distance) const KERNELS: [PackedKernels; 3] = kernels_of_widths!();

/// Safe to call as `PackedKernel` says; likewise the next.
#[target_feature(enable = "neon")]
unsafe fn l2_squared<const LOW: i32>(q: &[f32], x: &Packed) -> f32 {
    let step = |sum, x, y| {
        let difference = vsubq_f32(x, y);
        vfmaq_f32(sum, difference, difference)
    };
    // SAFETY: the caller's promise.
    unsafe { sum::<LOW>(q, x, step) }
}

#[target_feature(enable = "neon")]
unsafe fn inner_product<const LOW: i32>(q: &[f32], x: &Packed) -> f32 {
    // SAFETY: the caller's promise.
    unsafe { sum::<LOW>(q, x, |sum, x, y| vfmaq_f32(sum, x, y)) }
}

/// Safe to call as `DecodeKernel` says.
#[target_feature(enable = "neon")]
unsafe fn decode<const LOW: i32>(x: &Packed, vector: &mut [f32]) {
    let (offset, scale) = (vdupq_n_f32(x.offset), vdupq_n_f32(x.scale));
    for block in 0..vector.len() / BLOCK {
        // SAFETY: `block` is one of the blocks that the caller promises.
        let numbers = unsafe { unpack::<LOW>(x.bytes.as_ptr().add(block * block_bytes(LOW as usize))) };
        for (i, numbers) in numbers.into_iter().enumerate() {
            let numbers = [vmovl_u16(vget_low_u16(numbers)), vmovl_high_u16(numbers)];
            for (j, numbers) in numbers.into_iter().enumerate() {
                let decoded = vfmaq_f32(offset, vcvtq_f32_u32(numbers), scale);
                // SAFETY: likewise; a vector of floats is aligned for them.
                unsafe { vst1q_f32(vector.as_mut_ptr().add(block * BLOCK + (2 * i + j) * WIDTH), decoded) };
            }
        }
    }
}

/// The sum over all dimensions; `step` adds the terms of 4 pairs to 4 partial sums.
///
/// # Safety
/// The query has `BLOCK` dimensions for each block of the vector, whole blocks.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn sum<const LOW: i32>(
    q: &[f32],
    x: &Packed,
    step: impl Fn(float32x4_t, float32x4_t, float32x4_t) -> float32x4_t,
) -> f32 {
    let (offset, scale) = (vdupq_n_f32(x.offset), vdupq_n_f32(x.scale));
    let mut partial = [vdupq_n_f32(0.0); BLOCK / WIDTH];
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
            let numbers = [vmovl_u16(vget_low_u16(numbers)), vmovl_high_u16(numbers)];
            for (j, numbers) in numbers.into_iter().enumerate() {
                let at = 2 * i + j;
                let decoded = vfmaq_f32(offset, vcvtq_f32_u32(numbers), scale);
                // SAFETY: likewise.
                let q = unsafe { load(q.add(at * WIDTH)) };
                partial[at] = step(partial[at], q, decoded);
            }
        }
    }
    let mut width = partial.len() / 2;
    while width > 0 {
        for i in 0..width {
            partial[i] = vaddq_f32(partial[i], partial[i + width]);
        }
        width /= 2;
    }
    vaddvq_f32(partial[0])
}

/// The numbers of a block, in order.
///
/// # Safety
/// `block` is readable for the bytes of a block.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn unpack<const LOW: i32>(block: *const u8) -> [uint16x8_t; BLOCK / 8] {
    let lows = lows(LOW as usize);
    let ones = vdup_n_u8(mask(LOW as usize) as u8);
    let mut numbers = [vdupq_n_u16(0); BLOCK / 8];
    for (i, numbers) in numbers.iter_mut().enumerate() {
        let at = i * 8;
        // SAFETY: the caller's promise; loads of bytes have no alignment.
        let heads = unsafe { vld1_u8(block.add(at)) };
        if LOW == 0 {
            *numbers = vmovl_u8(heads);
            continue;
        }
        // SAFETY: likewise.
        let rest = unsafe { vld1_u8(block.add(HEADS + at % lows)) };
        // A shift to the left by a negative number is one to the right.
        let rest = vshl_u8(rest, vdup_n_s8(-((at / lows) as i8 * LOW as i8)));
        *numbers = vorrq_u16(vshll_n_u8::<LOW>(heads), vmovl_u8(vand_u8(rest, ones)));
    }
    numbers
}

/// 4 floats.
///
/// # Safety
/// `from` is readable for 4 floats, at any alignment.
#[target_feature(enable = "neon")]
#[inline]
unsafe fn load(from: *const f32) -> float32x4_t {
    // SAFETY: the caller's promise. Loaded as bytes, because a load of f32 elements may demand
    // their alignment.
    vreinterpretq_f32_u8(unsafe { vld1q_u8(from.cast()) })
}
