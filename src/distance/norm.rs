//! Length and normalisation of a vector, in f64: what a user is shown, and what the cosine metric stores.

use super::number::Number;

/// Partial sums: enough for the compiler to use vector registers, and fixed, so that the result is the same everywhere.
const LANES: usize = 8;

/// Euclidean length. Neither overflows nor underflows for finite input: the squares are summed in f64.
#[must_use]
pub fn norm<T: Number>(v: &[T]) -> f64 {
    let (whole, rest) = v.as_chunks::<LANES>();
    let mut partial = [0.0f64; LANES];
    for part in whole.iter().map(|part| &part[..]).chain([rest]) {
        for (sum, &x) in partial.iter_mut().zip(part) {
            let x: f64 = x.into();
            *sum += x * x;
        }
    }
    partial.iter().sum::<f64>().sqrt()
}

/// Scales `v` to length 1 and returns the length it had. A zero vector has no direction: it stays as it is, and 0 is
/// returned.
pub fn normalize<T: Number>(v: &mut [T]) -> f64 {
    let norm = norm(v);
    if norm > 0.0 {
        for x in v {
            let exact: f64 = (*x).into();
            *x = T::from_f32((exact / norm) as f32);
        }
    }
    norm
}
