//! Distance kernels and their choice at run time. Knows no PostgreSQL.
//!
//! Every function takes two slices of equal length (the caller has checked) and sums in f32.

pub mod scalar;

/// Squared Euclidean distance.
pub fn l2_squared(a: &[f32], b: &[f32]) -> f32 {
    scalar::l2_squared(a, b)
}

/// Inner product.
pub fn inner_product(a: &[f32], b: &[f32]) -> f32 {
    scalar::inner_product(a, b)
}

/// Sum of absolute differences.
pub fn l1(a: &[f32], b: &[f32]) -> f32 {
    scalar::l1(a, b)
}

/// The three sums of the cosine, in one pass: (<a,b>, <a,a>, <b,b>).
pub fn cosine_terms(a: &[f32], b: &[f32]) -> (f32, f32, f32) {
    scalar::cosine_terms(a, b)
}
