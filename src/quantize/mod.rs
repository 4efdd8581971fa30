//! Short forms of vectors: the rotation, binary codes with their query table, and scalar
//! quantization. Knows no PostgreSQL.
//!
//! A coded index stores every vector rotated ([`rotation`]), and with every node `y` a binary code
//! and three factors for each of its neighbors `x`, relative to `y` ([`rabitq`]). A query prepares
//! one table ([`query_table`]); the sum of the entries that a code selects is the code's inner
//! product with the query, and gives an estimate of the distance to `x` without a read of `x`. The
//! vectors themselves may be stored in 12, 10 or 8 bits a dimension ([`scalar`]).
//!
//! Sources: RaBitQ (Gao and Long, arXiv 2405.12497) for the estimator, SymphonyQG (DOI
//! 10.1145/3709730) for codes relative to the visited node, "Quicker ADC" (André et al., arXiv
//! 1812.09162) for tables in registers.
//!
//! Invariants:
//! - All encodings are part of the file format: the same input gives the same bytes on every
//!   machine and in every version. The arithmetic is therefore additions, multiplications and
//!   roundings in a fixed order.
//! - Input is finite. Output is never NaN, for numbers of any size and for equal numbers.
//! - No function allocates memory after its first use.

/// Calls a function that is compiled for the wide registers of this machine if it has them:
/// `vectorized!(name(argument: Type, ..) -> Result)`, with variables of those names in scope.
///
/// It serves loops that the compiler vectorises by itself, and changes their speed, never their
/// result. The function must be marked `#[inline(always)]`, so that it becomes part of the wide
/// version; a closure may stay a function of its own, with narrow registers.
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
pub mod directions;
pub mod principal;
pub mod query_table;
pub mod rabitq;
pub mod rotation;
pub mod scalar;
