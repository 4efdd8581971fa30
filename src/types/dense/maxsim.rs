//! MaxSim, the similarity of two lists of vectors (ColBERT, arXiv 2004.12832): for each vector of a
//! query the largest inner product with a vector of the document, summed.

use std::marker::PhantomData;

use super::{DenseDatum, Element, check_same_dimensions, dense_functions};
use crate::distance::wide;
use crate::error::Result;
use crate::types::array::ArrayDatum;
use crate::types::call::{Argument, Arguments};

/// Pairs of vectors between looks for interrupts.
const LOOKS: usize = 1024;

/// A list of vectors: `vector[]`, `halfvec[]`.
pub struct DenseArray<T>(ArrayDatum, PhantomData<T>);

impl<T: Element> Argument for DenseArray<T> {
    unsafe fn take(arguments: &mut Arguments) -> Self {
        // SAFETY: the caller promises an array of vectors of T.
        Self(unsafe { ArrayDatum::take(arguments) }, PhantomData)
    }
}

impl<T: Element> DenseArray<T> {
    /// The vectors, of which none is NULL.
    ///
    /// # Errors
    /// More than one array dimension, or a NULL.
    pub fn vectors(&self) -> Result<Vec<DenseDatum<T>>> {
        // SAFETY: an array of vectors, which outlives the result.
        unsafe { self.0.collect_varlenas(|datum| DenseDatum::from_datum(datum)) }
    }
}

fn maxsim<T: Element>(document: &DenseArray<T>, query: &DenseArray<T>) -> Result<f64> {
    let (document, query) = (document.vectors()?, query.vectors()?);
    let mut pairs = 0;
    let mut sum = 0.0;
    for of_query in &query {
        let mut most = f64::NEG_INFINITY;
        for of_document in &document {
            pairs += 1;
            if pairs % LOOKS == 0 {
                pgrx::check_for_interrupts!();
            }
            let (a, b) = (of_query.as_slice(), of_document.as_slice());
            check_same_dimensions(b, a)?;
            most = most.max(wide::inner_product(a, b));
        }
        sum += most;
    }
    Ok(sum)
}

dense_functions! {
    /// `maxsim(document vector[], query vector[]) -> double precision`; -Infinity of a document
    /// without vectors.
    fn vector_maxsim | halfvec_maxsim<T>(document: DenseArray<T>, query: DenseArray<T>) -> f64 {
        maxsim(&document, &query)
    }

    /// `vector_negative_maxsim(vector[], vector[]) -> double precision`, `@#`
    fn vector_negative_maxsim | halfvec_negative_maxsim<T>(document: DenseArray<T>, query: DenseArray<T>) -> f64 {
        Ok(-maxsim(&document, &query)?)
    }
}
