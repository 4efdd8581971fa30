//! Distances (`<->`, `<#>`, `<=>`, `<+>`) and arithmetic (`+`, `-`, `*`, `||`).
//!
//! Distances are summed in f32 by the kernels and finished in f64. A sum beyond f32 is infinite, not an error.

use super::{DenseDatum, Element, build, check_same_dimensions, dense_functions};
use crate::distance::{self, Number};
use crate::error::{Error, Result};
use pgrx::pg_sys;
use std::f64::consts::PI;

/// One kernel over two vectors of the same dimensions.
#[inline]
fn measure<T: Element, R>(a: &DenseDatum<T>, b: &DenseDatum<T>, kernel: impl Fn(&[T], &[T]) -> R) -> Result<R> {
    let (a, b) = (a.as_slice(), b.as_slice());
    check_same_dimensions(a, b)?;
    Ok(kernel(a, b))
}

/// A vector of what `operation` makes of each pair of elements.
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
            // A sum or product of two halves, rounded to f32 and then to a half, is as if rounded once.
            *value = T::from_f32(operation(a.into(), b.into()));
            in_range &= value.is_finite();
        }
        if in_range { Ok(()) } else { Err(Error::Overflow) }
    })
}

fn cosine_in_f64<T: Element>(a: &[T], b: &[T]) -> f64 {
    let term = |(&a, &b): (&T, &T)| Into::<f64>::into(a) * Into::<f64>::into(b);
    let product = |a: &[T], b: &[T]| a.iter().zip(b).map(term).sum::<f64>();
    // One rounding of the root, so that a vector has no distance from itself; f64 holds the squares of any f32.
    product(a, b) / (product(a, a) * product(b, b)).sqrt()
}

dense_functions! {
    /// `l2_distance(vector, vector) -> double precision`, `<->`
    fn vector_l2_distance | halfvec_l2_distance<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> f64 {
        Ok(f64::from(measure(&a, &b, distance::l2_squared)?).sqrt())
    }

    /// `vector_l2_squared_distance(vector, vector) -> double precision`
    fn vector_l2_squared_distance | halfvec_l2_squared_distance<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> f64 {
        Ok(f64::from(measure(&a, &b, distance::l2_squared)?))
    }

    /// `inner_product(vector, vector) -> double precision`
    fn vector_inner_product | halfvec_inner_product<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> f64 {
        Ok(f64::from(measure(&a, &b, distance::inner_product)?))
    }

    /// `vector_negative_inner_product(vector, vector) -> double precision`, `<#>`
    fn vector_negative_inner_product | halfvec_negative_inner_product<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> f64 {
        Ok(-f64::from(measure(&a, &b, distance::inner_product)?))
    }

    /// `cosine_distance(vector, vector) -> double precision`, `<=>`: 0 to 2, NaN if one of them is zero.
    fn vector_cosine_distance | halfvec_cosine_distance<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> f64 {
        let (product, a_squared, b_squared) = measure(&a, &b, distance::cosine_terms)?;
        let similarity = if product.is_finite() && a_squared.is_normal() && b_squared.is_normal() {
            f64::from(product) / (f64::from(a_squared) * f64::from(b_squared)).sqrt()
        } else {
            // Sums that f32 does not hold: very long vectors, very short ones, or a zero one.
            cosine_in_f64(a.as_slice(), b.as_slice())
        };
        // Rounding must not make it leave its range; NaN stays.
        Ok(1.0 - similarity.clamp(-1.0, 1.0))
    }

    /// `vector_spherical_distance(vector, vector) -> double precision`: the angle between two unit vectors, as a part
    /// of half a turn.
    fn vector_spherical_distance | halfvec_spherical_distance<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> f64 {
        let product = f64::from(measure(&a, &b, distance::inner_product)?);
        Ok(product.clamp(-1.0, 1.0).acos() / PI)
    }

    /// `l1_distance(vector, vector) -> double precision`, `<+>`
    fn vector_l1_distance | halfvec_l1_distance<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> f64 {
        Ok(f64::from(measure(&a, &b, distance::l1)?))
    }

    /// `vector_add(vector, vector) -> vector`, `+`
    fn vector_add | halfvec_add<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> pg_sys::Datum {
        combine(&a, &b, |a, b| a + b)
    }

    /// `vector_sub(vector, vector) -> vector`, `-`
    fn vector_sub | halfvec_sub<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> pg_sys::Datum {
        combine(&a, &b, |a, b| a - b)
    }

    /// `vector_mul(vector, vector) -> vector`, `*`: element by element. A product that vanishes is an error, as it is for
    /// PostgreSQL's own numbers.
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
