//! Number types of dense vectors.

pub use half::f16;

/// A number type that has kernels: f32 or [`f16`].
pub trait Number: sealed::Dispatched + Into<f32> + Into<f64> + PartialOrd + Default {
    /// Whether f32 holds any sum of squares or products of 16,000 such numbers.
    const SQUARES_FIT: bool;

    /// The number nearest to a float; infinite beyond the largest.
    fn from_f32(x: f32) -> Self;
}

impl Number for f32 {
    const SQUARES_FIT: bool = false;

    #[inline]
    fn from_f32(x: f32) -> f32 {
        x
    }
}

impl Number for f16 {
    const SQUARES_FIT: bool = true;

    #[inline]
    fn from_f32(x: f32) -> f16 {
        f16::from_f32(x)
    }
}

/// Sealed: the kernels of a type are chosen here alone.
#[allow(private_interfaces, reason = "nobody outside can name this trait, nor call it")]
pub(super) mod sealed {
    use super::f16;
    use crate::distance::kernel::{DenseKernels, Kernels};

    pub trait Dispatched: Copy + 'static {
        /// The kernels for this type.
        fn of(kernels: &Kernels) -> &DenseKernels<Self>;
    }

    impl Dispatched for f32 {
        #[inline]
        fn of(kernels: &Kernels) -> &DenseKernels<f32> {
            &kernels.single
        }
    }

    impl Dispatched for f16 {
        #[inline]
        fn of(kernels: &Kernels) -> &DenseKernels<f16> {
            &kernels.half
        }
    }
}
