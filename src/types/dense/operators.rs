//! Distances (`<->`, `<#>`, `<=>`, `<+>`) and arithmetic (`+`, `-`, `*`, `||`).
//!
//! Distances are summed in f32 by the kernels and finished in f64; sums beyond the range of f32 are
//! made in f64 ([`wide`]).

use super::{DenseDatum, Element, build, check_same_dimensions, dense_functions};
use crate::distance::{Number, wide};
use crate::error::{Error, Result};
use pgrx::pg_sys;
use std::f64::consts::PI;

/// One measure of two vectors of the same dimensions.
#[inline]
fn measure<T: Element>(a: &DenseDatum<T>, b: &DenseDatum<T>, of: impl Fn(&[T], &[T]) -> f64) -> Result<f64> {
    let (a, b) = (a.as_slice(), b.as_slice());
    check_same_dimensions(a, b)?;
    Ok(of(a, b))
}

/// A vector of the results of `operation` for each pair of elements.
///
/// # Errors
/// Different dimensions, or a result beyond the element type.
fn combine<T: Element>(
    a: &DenseDatum<T>,
    b: &DenseDatum<T>,
    operation: impl Fn(f32, f32) -> f32,
) -> Result<pg_sys::Datum> {
    let (a, b) = (a.as_slice(), b.as_slice());
    check_same_dimensions(a, b)?;
    build(a.len(), |target| {
        let mut in_range = true;
        for ((value, &a), &b) in target.iter_mut().zip(a).zip(b) {
            // A sum or product of two halves, rounded to f32 and then to a half, is as if rounded
            // once.
            *value = T::from_f32(operation(a.into(), b.into()));
            in_range &= value.is_finite();
        }
        if in_range { Ok(()) } else { Err(Error::Overflow) }
    })
}

dense_functions! {
    /// `l2_distance(vector, vector) -> double precision`, `<->`
    fn vector_l2_distance | halfvec_l2_distance<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> f64 {
        Ok(measure(&a, &b, wide::l2_squared)?.sqrt())
    }

    /// `vector_l2_squared_distance(vector, vector) -> double precision`
    fn vector_l2_squared_distance | halfvec_l2_squared_distance<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> f64 {
        measure(&a, &b, wide::l2_squared)
    }

    /// `inner_product(vector, vector) -> double precision`
    fn vector_inner_product | halfvec_inner_product<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> f64 {
        measure(&a, &b, wide::inner_product)
    }

    /// `vector_negative_inner_product(vector, vector) -> double precision`, `<#>`
    fn vector_negative_inner_product | halfvec_negative_inner_product<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> f64 {
        Ok(-measure(&a, &b, wide::inner_product)?)
    }

    /// `cosine_distance(vector, vector) -> double precision`, `<=>`: 0 to 2, NaN if one of them is
    /// zero.
    fn vector_cosine_distance | halfvec_cosine_distance<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> f64 {
        Ok(1.0 - measure(&a, &b, wide::cosine)?)
    }

    /// `vector_spherical_distance(vector, vector) -> double precision`: the angle between two unit
    /// vectors, as a part of half a turn.
    fn vector_spherical_distance | halfvec_spherical_distance<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> f64 {
        let product = measure(&a, &b, wide::inner_product)?;
        Ok(product.clamp(-1.0, 1.0).acos() / PI)
    }

    /// `l1_distance(vector, vector) -> double precision`, `<+>`
    fn vector_l1_distance | halfvec_l1_distance<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> f64 {
        measure(&a, &b, wide::l1)
    }

    /// `vector_add(vector, vector) -> vector`, `+`
    fn vector_add | halfvec_add<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> pg_sys::Datum {
        combine(&a, &b, |a, b| a + b)
    }

    /// `vector_sub(vector, vector) -> vector`, `-`
    fn vector_sub | halfvec_sub<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> pg_sys::Datum {
        combine(&a, &b, |a, b| a - b)
    }

    /// `vector_mul(vector, vector) -> vector`, `*`: element by element. A product that vanishes is
    /// an error, as it is for PostgreSQL's own numbers.
    fn vector_mul | halfvec_mul<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> pg_sys::Datum {
        let datum = combine(&a, &b, |a, b| a * b)?;
        let zero = T::default();
        let vanishes = |(&a, &b): (&T, &T)| {
            a != zero && b != zero && T::from_f32(Into::<f32>::into(a) * Into::<f32>::into(b)) == zero
        };
        match a.as_slice().iter().zip(b.as_slice()).any(vanishes) {
            true => Err(Error::Underflow),
            false => Ok(datum),
        }
    }

    /// `vector_concat(vector, vector) -> vector`, `||`
    fn vector_concat | halfvec_concat<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> pg_sys::Datum {
        let (a, b) = (a.as_slice(), b.as_slice());
        build(a.len() + b.len(), |target| {
            let (first, second) = target.split_at_mut(a.len());
            first.copy_from_slice(a);
            second.copy_from_slice(b);
            Ok(())
        })
    }
}
