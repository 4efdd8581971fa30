//! Scalar kernels of packed vectors: the reference, plain Rust, for every machine.

use super::format::{block_bytes, unpack};
use crate::distance::kernel::{BLOCK, Packed, PackedKernels};
use crate::distance::scalar::{LANES, add_lanes};

const _: () = assert!(BLOCK == LANES);

pub(in crate::distance) const KERNELS: [PackedKernels; 3] = kernels_of_widths!();

/// Safe to call as `PackedKernel` says; likewise the next.
unsafe fn l2_squared<const LOW: usize>(q: &[f32], x: &Packed) -> f32 {
    sum::<LOW>(q, x, |x, y| (x - y) * (x - y))
}

unsafe fn inner_product<const LOW: usize>(q: &[f32], x: &Packed) -> f32 {
    sum::<LOW>(q, x, |x, y| x * y)
}

/// The sum of `term` over all dimensions of a query and a decoded vector.
#[inline(always)]
fn sum<const LOW: usize>(q: &[f32], x: &Packed, term: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let blocks = x.bytes.chunks_exact(block_bytes(LOW));
    for (q, block) in q.as_chunks::<BLOCK>().0.iter().zip(blocks) {
        let values = decoded::<LOW>(block, x);
        for i in 0..LANES {
            lanes[i] += term(q[i], values[i]);
        }
    }
    add_lanes(lanes)
}

/// Safe to call as `DecodeKernel` says.
unsafe fn decode<const LOW: usize>(x: &Packed, vector: &mut [f32]) {
    let blocks = x.bytes.chunks_exact(block_bytes(LOW));
    for (values, block) in vector.as_chunks_mut::<BLOCK>().0.iter_mut().zip(blocks) {
        *values = decoded::<LOW>(block, x);
    }
}

#[inline(always)]
fn decoded<const LOW: usize>(block: &[u8], x: &Packed) -> [f32; BLOCK] {
    unpack::<LOW>(block).map(|v| x.offset + x.scale * f32::from(v))
}
