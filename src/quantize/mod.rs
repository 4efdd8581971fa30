//! Short forms of vectors: the rotation, binary codes with their query table, and scalar quantization. Knows no PostgreSQL.
//!
//! A coded index stores every vector rotated ([`rotation`]), and with every node `y` a binary code and three factors for each
//! of its neighbours `x`, relative to `y` ([`code`]). A query prepares one table ([`lut`]); the sum of the entries that a code
//! selects is its inner product with the query, and from it follows an estimate of the distance to `x` without reading `x`.
//! The vectors themselves may be stored as 12 or 10 bits per dimension ([`scalar`]).
//!
//! Sources: RaBitQ (Gao and Long, arXiv 2405.12497) for the estimator, SymphonyQG (DOI 10.1145/3709730) for codes relative to
//! the visited node, "Quicker ADC" (André et al., arXiv 1812.09162) for tables in registers.
//!
//! Invariants:
//! - Everything here is part of the file format: the same input gives the same bytes on every machine and in every version.
//!   The arithmetic is therefore plain additions, multiplications and roundings in a fixed order.
//! - Input is finite. Output is never NaN, however large, small or alike the numbers.
//! - Nothing allocates after its first use.

/// Calls a function, compiled for the wide registers of this machine where it has them:
/// `vectorized!(name(argument: Type, ..) -> Result)`, with variables of those names in scope.
///
/// For loops that the compiler vectorises by itself: it changes their speed, never their result. The function must be marked
/// `#[inline(always)]`, so that it becomes part of the wide version; a closure may stay a function of its own, with narrow
/// registers.
macro_rules! vectorized {
    ($function:ident($($argument:ident: $type:ty),*) $(-> $result:ty)?) => {{
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx2")]
            fn with_avx2($($argument: $type),*) $(-> $result)? {
                $function($($argument),*)
            }
            if is_x86_feature_detected!("avx2") {
                // SAFETY: this machine has AVX2.
                unsafe { with_avx2($($argument),*) }
            } else {
                $function($($argument),*)
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            $function($($argument),*)
        }
    }};
}

pub mod bfloat16;
pub mod query_table;
pub mod rabitq;
pub mod rotation;
pub mod scalar;
