//! The order of sparse vectors, which is that of the dense ones: element by element, a vector
//! before its own continuations.

use super::SparsevecDatum;
use crate::distance::sparse::merge;
use crate::types::call::sql_function;
use std::cmp::Ordering;

fn compare(a: &SparsevecDatum, b: &SparsevecDatum) -> Ordering {
    let shared = a.dimensions().min(b.dimensions());
    let different = merge(a.as_sparse(), b.as_sparse())
        .take_while(|&(index, ..)| (index as usize) < shared)
        .find(|(_, x, y)| x != y);
    match different {
        Some((_, x, y)) if x < y => Ordering::Less,
        Some(_) => Ordering::Greater,
        None => a.dimensions().cmp(&b.dimensions()),
    }
}

/// Elements are unique: no zero is one of them.
fn equal(a: &SparsevecDatum, b: &SparsevecDatum) -> bool {
    a.dimensions() == b.dimensions() && a.as_sparse() == b.as_sparse()
}

sql_function! {
    /// `sparsevec_cmp(sparsevec, sparsevec) -> integer`
    fn sparsevec_cmp(a: SparsevecDatum, b: SparsevecDatum) -> i32 {
        Ok(compare(&a, &b) as i32)
    }

    /// `sparsevec_lt(sparsevec, sparsevec) -> boolean`, `<`
    fn sparsevec_lt(a: SparsevecDatum, b: SparsevecDatum) -> bool {
        Ok(compare(&a, &b).is_lt())
    }

    /// `sparsevec_le(sparsevec, sparsevec) -> boolean`, `<=`
    fn sparsevec_le(a: SparsevecDatum, b: SparsevecDatum) -> bool {
        Ok(compare(&a, &b).is_le())
    }

    /// `sparsevec_eq(sparsevec, sparsevec) -> boolean`, `=`
    fn sparsevec_eq(a: SparsevecDatum, b: SparsevecDatum) -> bool {
        Ok(equal(&a, &b))
    }

    /// `sparsevec_ne(sparsevec, sparsevec) -> boolean`, `<>`
    fn sparsevec_ne(a: SparsevecDatum, b: SparsevecDatum) -> bool {
        Ok(!equal(&a, &b))
    }

    /// `sparsevec_ge(sparsevec, sparsevec) -> boolean`, `>=`
    fn sparsevec_ge(a: SparsevecDatum, b: SparsevecDatum) -> bool {
        Ok(compare(&a, &b).is_ge())
    }

    /// `sparsevec_gt(sparsevec, sparsevec) -> boolean`, `>`
    fn sparsevec_gt(a: SparsevecDatum, b: SparsevecDatum) -> bool {
        Ok(compare(&a, &b).is_gt())
    }
}
