//! The metric of an index, and the kernel of its order key.

use serde::{Deserialize, Serialize};

use super::dispatch::kernels;
use super::kernel::{PairKernel, apply};

/// The metric of an index. Its serialised form, the order of the variants, is part of the file
/// format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Metric {
    /// Euclidean distance.
    L2,
    /// Negative inner product.
    InnerProduct,
    /// Cosine distance. Vectors are normalised before they are stored or searched for.
    Cosine,
    /// Sum of absolute differences.
    L1,
    /// Number of bits that differ.
    Hamming,
    /// Of the bits that are set in either value, the share that is not set in both.
    Jaccard,
}

impl Metric {
    /// The kernel of this metric on this machine; `None` for a metric of bits. Callers ask once and
    /// use it for every distance of a search or a build.
    #[must_use]
    pub fn kernel(self) -> Option<Kernel> {
        let kernels = &kernels().single;
        let sum = match self {
            // On unit vectors |a-b|^2 = 2 (1 - cos): the order of the cosine distance. It is
            // computed from differences, so near duplicates keep their precision, where 1 - <a,b>
            // would cancel to nothing.
            Metric::L2 | Metric::Cosine => kernels.l2_squared,
            Metric::InnerProduct => kernels.negative_inner_product,
            Metric::L1 => kernels.l1,
            Metric::Hamming | Metric::Jaccard => return None,
        };
        Some(Kernel { sum, metric: self })
    }

    /// The kernel's summand of two components, in f64.
    #[must_use]
    pub fn term(self) -> fn(f64, f64) -> f64 {
        match self {
            Metric::InnerProduct => |x, y| -(x * y),
            Metric::L1 => |x, y| (x - y).abs(),
            _ => |x, y| (x - y) * (x - y),
        }
    }
}

/// The order key of a nearest-neighbor search, as one function pointer: smaller is nearer.
///
/// | metric | key |
/// |---|---|
/// | L2 | squared Euclidean distance |
/// | InnerProduct | negative inner product |
/// | Cosine | squared Euclidean distance, of vectors that the caller has normalised |
/// | L1 | sum of absolute differences |
///
/// The key has the order of the SQL operator's values but not the values.
#[derive(Clone, Copy, Debug)]
pub struct Kernel {
    sum: PairKernel,
    metric: Metric,
}

impl Kernel {
    /// The key of two vectors.
    ///
    /// # Panics
    /// If the lengths differ.
    #[inline]
    #[must_use]
    pub fn distance(self, a: &[f32], b: &[f32]) -> f32 {
        // SAFETY: the kernel comes from `kernels`.
        unsafe { apply(self.sum, a, b) }
    }

    /// The key of `q` and a vector in a page: `raw` holds its floats, little-endian, at any
    /// alignment.
    ///
    /// # Panics
    /// If `raw` is not 4 bytes for each dimension of `q`.
    #[inline]
    #[must_use]
    pub fn distance_bytes(self, q: &[f32], raw: &[u8]) -> f32 {
        assert_eq!(raw.len(), size_of_val(q), "vectors of unequal length");
        // SAFETY: `raw` holds `q.len()` floats (every bit pattern is one), kernels read at any
        // alignment, and this one comes from `kernels`.
        unsafe { (self.sum)(q.as_ptr(), raw.as_ptr().cast(), q.len()) }
    }

    /// [`Metric::term`].
    #[must_use]
    pub fn term(self) -> fn(f64, f64) -> f64 {
        self.metric.term()
    }
}
