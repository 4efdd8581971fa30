//! Scalar kernels: the reference, plain Rust, for every machine.
//!
//! Terms go to `LANES` partial sums in turn. That fixes the order of every addition, so the result
//! is the same on all machines, and it lets the compiler use the vector registers the target always
//! has: 32 sums are eight of the sixteen registers of SSE2.

use std::array;

use half::f16;

use super::kernel::DenseKernels;

pub(super) const LANES: usize = 32;

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
unsafe fn l2_squared<T: Load>(a: *const T, b: *const T, n: usize) -> f32 {
    // SAFETY: the caller's promise.
    unsafe { sum(a, b, n, |x, y| (x - y) * (x - y)) }
}

unsafe fn inner_product<T: Load>(a: *const T, b: *const T, n: usize) -> f32 {
    // SAFETY: the caller's promise.
    unsafe { sum(a, b, n, |x, y| x * y) }
}

unsafe fn negative_inner_product<T: Load>(a: *const T, b: *const T, n: usize) -> f32 {
    // SAFETY: the caller's promise.
    -unsafe { inner_product(a, b, n) }
}

unsafe fn l1<T: Load>(a: *const T, b: *const T, n: usize) -> f32 {
    // SAFETY: the caller's promise.
    unsafe { sum(a, b, n, |x, y| (x - y).abs()) }
}

unsafe fn cosine_terms<T: Load>(a: *const T, b: *const T, n: usize) -> [f32; 3] {
    // SAFETY: the caller's promise.
    unsafe { [inner_product(a, b, n), inner_product(a, a, n), inner_product(b, b, n)] }
}

/// The sum of `term` over all pairs.
///
/// # Safety
/// `a` and `b` are readable for `n` numbers, at any alignment.
#[inline(always)]
unsafe fn sum<T: Load>(a: *const T, b: *const T, n: usize, term: impl Fn(f32, f32) -> f32) -> f32 {
    // SAFETY: called with i below n only.
    let term = |i| unsafe { term(a.add(i).read_unaligned().load(), b.add(i).read_unaligned().load()) };
    let mut lanes = [0.0f32; LANES];
    let whole = n - n % LANES;
    for start in (0..whole).step_by(LANES) {
        lanes = array::from_fn(|i| lanes[i] + term(start + i));
    }
    for i in whole..n {
        lanes[i - whole] += term(i);
    }
    add_lanes(lanes)
}

/// The sum of all lanes, pairwise, so that rounding errors grow with the logarithm of their number.
pub(super) fn add_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// Numbers that are summed as floats.
pub(super) trait Load: Copy {
    /// This number as a float.
    fn load(self) -> f32;
}

impl Load for f32 {
    #[inline(always)]
    fn load(self) -> f32 {
        self
    }
}

impl Load for f16 {
    #[inline(always)]
    fn load(self) -> f32 {
        self.to_f32_const()
    }
}

/// Number of different bits. Safe to call as `HammingKernel` says.
#[inline(always)]
pub(super) unsafe fn hamming(a: &[u8], b: &[u8]) -> u32 {
    let [count] = counts(a, b, |x, y| [x ^ y]);
    count
}

/// Numbers of bits set in both, and in either. Safe to call as `OverlapKernel` says.
#[inline(always)]
pub(super) unsafe fn overlap(a: &[u8], b: &[u8]) -> [u32; 2] {
    counts(a, b, |x, y| [x & y, x | y])
}

/// Number of bits set in each of the `K` results of `combine`, which gives zeros for zeros.
#[inline(always)]
fn counts<const K: usize>(a: &[u8], b: &[u8], combine: impl Fn(u64, u64) -> [u64; K]) -> [u32; K] {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks(), b.as_chunks());
    let mut totals = [0; K];
    let mut add = |x, y| {
        for (total, bits) in totals.iter_mut().zip(combine(x, y)) {
            *total += bits.count_ones();
        }
    };
    for (&x, &y) in a.iter().zip(b) {
        add(u64::from_le_bytes(x), u64::from_le_bytes(y));
    }
    for (&x, &y) in a_rest.iter().zip(b_rest) {
        add(x.into(), y.into());
    }
    totals
}
