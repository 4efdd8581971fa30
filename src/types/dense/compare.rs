//! The order of vectors: element by element, a vector before its own continuations. -0 equals 0;
//! there is no NaN.

use super::{DenseDatum, Element, dense_functions};
use std::cmp::Ordering;

fn compare<T: Element>(a: &DenseDatum<T>, b: &DenseDatum<T>) -> Ordering {
    let (a, b) = (a.as_slice(), b.as_slice());
    match a.iter().zip(b).find(|(a, b)| a != b) {
        Some((a, b)) if a < b => Ordering::Less,
        Some(_) => Ordering::Greater,
        None => a.len().cmp(&b.len()),
    }
}

dense_functions! {
    /// `vector_cmp(vector, vector) -> integer`
    fn vector_cmp | halfvec_cmp<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> i32 {
        Ok(compare(&a, &b) as i32)
    }

    /// `vector_lt(vector, vector) -> boolean`, `<`
    fn vector_lt | halfvec_lt<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> bool {
        Ok(compare(&a, &b).is_lt())
    }

    /// `vector_le(vector, vector) -> boolean`, `<=`
    fn vector_le | halfvec_le<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> bool {
        Ok(compare(&a, &b).is_le())
    }

    /// `vector_eq(vector, vector) -> boolean`, `=`
    fn vector_eq | halfvec_eq<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> bool {
        Ok(a.as_slice() == b.as_slice())
    }

    /// `vector_ne(vector, vector) -> boolean`, `<>`
    fn vector_ne | halfvec_ne<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> bool {
        Ok(a.as_slice() != b.as_slice())
    }

    /// `vector_ge(vector, vector) -> boolean`, `>=`
    fn vector_ge | halfvec_ge<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> bool {
        Ok(compare(&a, &b).is_ge())
    }

    /// `vector_gt(vector, vector) -> boolean`, `>`
    fn vector_gt | halfvec_gt<T>(a: DenseDatum<T>, b: DenseDatum<T>) -> bool {
        Ok(compare(&a, &b).is_gt())
    }
}
