//! Functions of one sparse vector.

use super::{Elements, SparsevecDatum};
use crate::distance;
use crate::types::call::sql_function;
use pgrx::pg_sys;

sql_function! {
    /// `l2_norm(sparsevec) -> double precision`
    fn sparsevec_l2_norm(vector: SparsevecDatum) -> f64 {
        Ok(distance::norm(vector.as_sparse().values))
    }

    /// `l2_normalize(sparsevec) -> sparsevec`: the vector of norm 1 in the same direction, without
    /// the elements that vanish; zero stays zero.
    fn sparsevec_l2_normalize(vector: SparsevecDatum) -> pg_sys::Datum {
        let sparse = vector.as_sparse();
        let mut values = sparse.values.to_vec();
        distance::normalize(&mut values);
        let mut elements = Elements::with_capacity(values.len());
        for (&index, value) in sparse.indices.iter().zip(values) {
            elements.push(index, value)?;
        }
        elements.into_datum(vector.dimensions())
    }
}
