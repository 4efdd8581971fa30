//! Short forms of vectors: the rotation, binary codes with their query table, and 8-bit scalars. Knows no PostgreSQL.
//!
//! A coded index stores every vector rotated ([`rotation`]), and with every node `y` a binary code and three factors for each
//! of its neighbours `x`, relative to `y` ([`code`]). A query prepares one table ([`lut`]); the sum of the entries that a code
//! selects is its inner product with the query, and from it follows an estimate of the distance to `x` without reading `x`.
//! Long vectors are themselves stored as 8 bits per dimension, with 8 more set aside ([`scalar8`]).
//!
//! Sources: RaBitQ (Gao and Long, arXiv 2405.12497) for the estimator, SymphonyQG (DOI 10.1145/3709730) for codes relative to
//! the visited node, "Quicker ADC" (André et al., arXiv 1812.09162) for tables in registers.
//!
//! Invariants:
//! - Everything here is part of the file format: the same input gives the same bytes on every machine and in every version.
//!   The arithmetic is therefore plain additions, multiplications and roundings in a fixed order.
//! - Input is finite. Output is never NaN, however large, small or alike the numbers; estimates are always finite.
//! - Nothing allocates after its first use.

pub mod bfloat16;
pub mod code;
pub mod lut;
pub mod rotation;
pub mod scalar8;

/// Compiles a loop for the wide registers of this machine as well and runs that version where it can.
///
/// For loops that the compiler vectorises by itself: it changes their speed, never their result. `f` should only call one
/// function that is marked `#[inline(always)]`, which becomes part of the wide version.
#[inline(always)]
fn vectorized<T>(f: impl FnOnce() -> T) -> T {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2")]
        fn with_avx2<T>(f: impl FnOnce() -> T) -> T {
            f()
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: this machine has AVX2.
            return unsafe { with_avx2(f) };
        }
    }
    f()
}
