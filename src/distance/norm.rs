//! Length and normalisation of a vector, in f64, for SQL functions and for the vectors of a cosine
//! index.

use super::number::Number;

/// Number of partial sums: enough for the compiler to use vector registers, and fixed, so that the
/// result is the same on every machine.
const LANES: usize = 8;

/// Euclidean length. Neither overflows nor underflows for finite input: the squares are summed in
/// f64.
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

/// Scales `v` to length 1 and returns its former length. A zero vector, which has no direction, is
/// not changed.
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
