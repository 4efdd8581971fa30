//! The reference: plain loops, on every machine.

/// Squared Euclidean distance.
pub fn l2_squared(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| (x - y) * (x - y)).sum()
}

/// Inner product.
pub fn inner_product(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// Sum of absolute differences.
pub fn l1(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(x, y)| (x - y).abs()).sum()
}

/// (<a,b>, <a,a>, <b,b>).
pub fn cosine_terms(a: &[f32], b: &[f32]) -> (f32, f32, f32) {
    (inner_product(a, b), inner_product(a, a), inner_product(b, b))
}
