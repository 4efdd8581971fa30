//! The choice of an instruction set, made once a process by asking the processor.
//!
//! Invariant: a table is handed out only if this machine has the instructions its kernels use, so a kernel obtained
//! here is safe to call on any arrays that are long enough.

use std::sync::LazyLock;

use half::f16;

use super::fastscan::{EstimateKernel, SumKernel};
#[cfg(target_arch = "aarch64")]
use super::neon;
use super::packed::PackedKernels;
use super::scalar;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// A sum over the pairs of two arrays of n numbers, in f32.
///
/// To call one: both pointers are readable for n numbers, at any alignment, and the machine has the instructions.
pub type PairKernel<T = f32> = unsafe fn(a: *const T, b: *const T, n: usize) -> f32;

/// As [`PairKernel`], for the three sums <a,b>, <a,a>, <b,b>.
pub type CosineKernel<T> = unsafe fn(a: *const T, b: *const T, n: usize) -> [f32; 3];

/// The number of bits in which two arrays of bytes differ.
///
/// To call one: the arrays have one length, and the machine has the instructions.
pub(super) type HammingKernel = unsafe fn(a: &[u8], b: &[u8]) -> u32;

/// The numbers of bits that are set in both of two arrays of bytes, and in at least one. To be called as a
/// [`HammingKernel`].
pub(super) type OverlapKernel = unsafe fn(a: &[u8], b: &[u8]) -> [u32; 2];

/// The kernels for dense vectors of one type of numbers.
#[derive(Clone, Copy)]
pub struct DenseKernels<T> {
    pub l2_squared: PairKernel<T>,
    pub inner_product: PairKernel<T>,
    pub negative_inner_product: PairKernel<T>,
    pub l1: PairKernel<T>,
    pub cosine_terms: CosineKernel<T>,
}

/// The kernels of one instruction set.
pub(super) struct Kernels {
    pub name: &'static str,
    pub single: DenseKernels<f32>,
    pub half: DenseKernels<f16>,
    /// In the order of `packed::Width`.
    pub packed: [PackedKernels; 2],
    pub fastscan: SumKernel,
    pub estimate: EstimateKernel,
    pub hamming: HammingKernel,
    pub overlap: OverlapKernel,
}

/// The kernels in use: the best this machine can run.
#[inline]
pub(super) fn kernels() -> &'static Kernels {
    static CHOSEN: LazyLock<&'static Kernels> =
        LazyLock::new(|| available().next().expect("the scalar kernels run everywhere"));
    *CHOSEN
}

/// The name of the instruction set in use: `avx512-vbmi`, `avx512`, `avx2`, `neon` or `scalar`.
#[must_use]
pub fn instruction_set() -> &'static str {
    kernels().name
}

/// Every table this machine can run, best first.
pub(super) fn available() -> impl Iterator<Item = &'static Kernels> {
    [
        #[cfg(target_arch = "x86_64")]
        avx512::detected_vbmi().then_some(&avx512::KERNELS_VBMI),
        #[cfg(target_arch = "x86_64")]
        avx512::detected().then_some(&avx512::KERNELS),
        #[cfg(target_arch = "x86_64")]
        avx2::detected().then_some(&avx2::KERNELS),
        // Every aarch64 target of Rust's standard library has NEON.
        #[cfg(target_arch = "aarch64")]
        Some(&neon::KERNELS),
        Some(&scalar::KERNELS),
    ]
    .into_iter()
    .flatten()
}
