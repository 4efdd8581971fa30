//! Distances: `<->`, `<#>`, `<=>`, `<+>`.

use super::{SparsevecDatum, check_same_dimensions};
use crate::distance::sparse::{self, Sparse};
use crate::error::Result;
use crate::types::call::sql_function;

/// One measure of two sparse vectors of the same dimensions.
#[inline]
fn measure<'v>(
    a: &'v SparsevecDatum,
    b: &'v SparsevecDatum,
    of: impl Fn(Sparse<'v>, Sparse<'v>) -> f64,
) -> Result<f64> {
    check_same_dimensions(a, b)?;
    Ok(of(a.as_sparse(), b.as_sparse()))
}

sql_function! {
    /// `l2_distance(sparsevec, sparsevec) -> double precision`, `<->`
    fn sparsevec_l2_distance(a: SparsevecDatum, b: SparsevecDatum) -> f64 {
        Ok(measure(&a, &b, sparse::l2_squared)?.sqrt())
    }

    /// `sparsevec_l2_squared_distance(sparsevec, sparsevec) -> double precision`
    fn sparsevec_l2_squared_distance(a: SparsevecDatum, b: SparsevecDatum) -> f64 {
        measure(&a, &b, sparse::l2_squared)
    }

    /// `inner_product(sparsevec, sparsevec) -> double precision`
    fn sparsevec_inner_product(a: SparsevecDatum, b: SparsevecDatum) -> f64 {
        measure(&a, &b, sparse::inner_product)
    }

    /// `sparsevec_negative_inner_product(sparsevec, sparsevec) -> double precision`, `<#>`
    fn sparsevec_negative_inner_product(a: SparsevecDatum, b: SparsevecDatum) -> f64 {
        Ok(-measure(&a, &b, sparse::inner_product)?)
    }

    /// `cosine_distance(sparsevec, sparsevec) -> double precision`, `<=>`: 0 to 2, NaN if one of
    /// them is zero.
    fn sparsevec_cosine_distance(a: SparsevecDatum, b: SparsevecDatum) -> f64 {
        let product = measure(&a, &b, sparse::inner_product)?;
        let squared = |vector: &SparsevecDatum| sparse::inner_product(vector.as_sparse(), vector.as_sparse());
        // One rounding of the root, so that a vector has no distance from itself.
        let similarity = product / (squared(&a) * squared(&b)).sqrt();
        // Rounding must not make it leave its range; NaN stays.
        Ok(1.0 - similarity.clamp(-1.0, 1.0))
    }

    /// `l1_distance(sparsevec, sparsevec) -> double precision`, `<+>`
    fn sparsevec_l1_distance(a: SparsevecDatum, b: SparsevecDatum) -> f64 {
        measure(&a, &b, sparse::l1)
    }
}
