//! The order of vectors: element by element, a vector before its own continuations. -0 equals 0; there is no NaN.

use super::VectorDatum;
use crate::types::call::sql_function;
use std::cmp::Ordering;

fn compare(a: &VectorDatum, b: &VectorDatum) -> Ordering {
    let (a, b) = (a.as_slice(), b.as_slice());
    match a.iter().zip(b).find(|(a, b)| a != b) {
        Some((a, b)) if a < b => Ordering::Less,
        Some(_) => Ordering::Greater,
        None => a.len().cmp(&b.len()),
    }
}

sql_function! {
    /// `vector_cmp(vector, vector) -> integer`
    fn vector_cmp(a: VectorDatum, b: VectorDatum) -> i32 {
        Ok(compare(&a, &b) as i32)
    }

    /// `vector_lt(vector, vector) -> boolean`, `<`
    fn vector_lt(a: VectorDatum, b: VectorDatum) -> bool {
        Ok(compare(&a, &b).is_lt())
    }

    /// `vector_le(vector, vector) -> boolean`, `<=`
    fn vector_le(a: VectorDatum, b: VectorDatum) -> bool {
        Ok(compare(&a, &b).is_le())
    }

    /// `vector_eq(vector, vector) -> boolean`, `=`
    fn vector_eq(a: VectorDatum, b: VectorDatum) -> bool {
        Ok(a.as_slice() == b.as_slice())
    }

    /// `vector_ne(vector, vector) -> boolean`, `<>`
    fn vector_ne(a: VectorDatum, b: VectorDatum) -> bool {
        Ok(a.as_slice() != b.as_slice())
    }

    /// `vector_ge(vector, vector) -> boolean`, `>=`
    fn vector_ge(a: VectorDatum, b: VectorDatum) -> bool {
        Ok(compare(&a, &b).is_ge())
    }

    /// `vector_gt(vector, vector) -> boolean`, `>`
    fn vector_gt(a: VectorDatum, b: VectorDatum) -> bool {
        Ok(compare(&a, &b).is_gt())
    }
}
