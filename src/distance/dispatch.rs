//! The choice of an instruction set, made once a process from the processor's features.
//!
//! Invariant: a table is returned only if this machine has the instructions of its kernels, so a
//! kernel from here is safe to call on any arrays that are long enough.

use std::sync::LazyLock;

use super::kernel::Kernels;
#[cfg(target_arch = "aarch64")]
use super::neon;
use super::scalar;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// Runs on every machine.
static SCALAR: Kernels = Kernels {
    name: "scalar",
    single: scalar::dense(),
    half: scalar::dense(),
    packed: super::packed::scalar::KERNELS,
    fastscan: super::fastscan::scalar::fastscan,
    estimate: super::fastscan::scalar::estimate,
    hamming: scalar::hamming,
    overlap: scalar::overlap,
};

/// Requires `avx2::detected`.
#[cfg(target_arch = "x86_64")]
static AVX2: Kernels = Kernels {
    name: "avx2",
    single: avx2::dense(),
    half: avx2::dense(),
    packed: super::packed::avx2::KERNELS,
    fastscan: super::fastscan::avx2::fastscan,
    estimate: super::fastscan::avx2::estimate,
    hamming: avx2::hamming,
    overlap: avx2::overlap,
};

/// Requires `avx512::detected_vbmi`.
#[cfg(target_arch = "x86_64")]
static AVX512_VBMI: Kernels = Kernels {
    name: "avx512-vbmi",
    fastscan: super::fastscan::avx512_vbmi::fastscan,
    estimate: super::fastscan::avx512_vbmi::estimate,
    hamming: avx512::hamming_vpopcntdq,
    overlap: avx512::overlap_vpopcntdq,
    ..AVX512
};

/// Requires `avx512::detected`.
#[cfg(target_arch = "x86_64")]
static AVX512: Kernels = Kernels {
    name: "avx512",
    single: avx512::dense(),
    half: avx512::dense(),
    packed: super::packed::avx512::KERNELS,
    fastscan: super::fastscan::avx512::fastscan,
    estimate: super::fastscan::avx512::estimate,
    // A processor without vpopcntdq counts fastest in its general registers.
    hamming: avx2::hamming,
    overlap: avx2::overlap,
};

#[cfg(target_arch = "aarch64")]
static NEON: Kernels = Kernels {
    name: "neon",
    single: neon::dense(),
    half: neon::dense(),
    packed: super::packed::neon::KERNELS,
    fastscan: super::fastscan::neon::fastscan,
    estimate: super::fastscan::neon::estimate,
    hamming: neon::hamming,
    overlap: neon::overlap,
};

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
        avx512::detected_vbmi().then_some(&AVX512_VBMI),
        #[cfg(target_arch = "x86_64")]
        avx512::detected().then_some(&AVX512),
        #[cfg(target_arch = "x86_64")]
        avx2::detected().then_some(&AVX2),
        // NEON is part of every aarch64 target of Rust's standard library.
        #[cfg(target_arch = "aarch64")]
        Some(&NEON),
        Some(&SCALAR),
    ]
    .into_iter()
    .flatten()
}
