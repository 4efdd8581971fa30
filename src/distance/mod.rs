//! Distances between vectors, dense (of f32 or f16), sparse, of bits, or encoded: kernels for each
//! instruction set, chosen at run time (sparse vectors have plain code only). Knows no PostgreSQL.
//!
//! Each module imports only earlier ones of this list: [`kernel`] (types), [`number`], [`norm`],
//! the kernels of each instruction set ([`scalar`], `avx2`, `avx512`, `neon`, also in [`fastscan`]
//! and [`packed`]), [`dispatch`], and last the safe functions ([`dense`], [`bits`], [`metric`],
//! [`fastscan`], [`packed`], [`wide`]). [`sparse`] stands alone.
//!
//! Invariants:
//! - Every kernel on dense vectors sums in f32 over several partial sums, so two instruction sets
//!   may differ in the last bits. One machine always gives the same result for the same input, at
//!   any alignment, because the choice never changes. Distances of codes, bits and sparse vectors
//!   are the same on every machine.
//! - Halves are converted to f32, which is exact, and then treated as floats.
//! - A sum that overflows is not finite. If all its terms have one sign it is infinite with that
//!   sign; an inner product with terms of both signs may also be NaN. No other sum is NaN for
//!   finite input. Terms below the range of f32 vanish. [`wide`] has the sums in f64 for both.
//! - Slices of unequal length are a bug of the caller and panic (one comparison, negligible beside
//!   the call). Callers check dimensions first and raise an error for the user.

mod bits;
mod dense;
mod dispatch;
pub mod fastscan;
mod kernel;
mod metric;
mod norm;
mod number;
pub mod packed;
mod scalar;
pub mod sparse;
pub mod wide;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

#[cfg(test)]
mod tests;

pub use bits::{hamming, jaccard, overlap};
pub use dense::{cosine_terms, inner_product, l1, l2_squared};
pub use dispatch::instruction_set;
pub use fastscan::{Codes, estimate, fastscan};
pub use metric::{Kernel, Metric};
pub use norm::{norm, normalize};
pub use number::{Number, f16};
pub use packed::{Packed, Width, decode_packed, inner_product_packed, l2_squared_packed};

// Stored vectors are little-endian and are compared in place.
#[cfg(target_endian = "big")]
compile_error!("big-endian machines are not supported");
