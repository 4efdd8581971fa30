//! MaxSim, the similarity of two lists of vectors (ColBERT, arXiv 2004.12832): for each vector of a
//! query the largest inner product with a vector of the document, summed.

use std::marker::PhantomData;

use pgrx::pg_sys;

use super::{DenseDatum, Element, check_same_dimensions, dense_functions};
use crate::distance::wide;
use crate::error::Result;
use crate::fallible;
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
        self.0.list_len()?;
        let (mut elements, mut nulls, mut len) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
        // SAFETY: a detoasted array of vectors (varlena, int alignment); its datums point into it,
        // and it outlives the result.
        unsafe {
            pg_sys::deconstruct_array(
                self.0.as_ptr(),
                (*self.0.as_ptr()).elemtype,
                -1,
                false,
                pg_sys::TYPALIGN_INT as std::ffi::c_char,
                &mut elements,
                &mut nulls,
                &mut len,
            );
            let datums = std::slice::from_raw_parts(elements, len as usize);
            let vectors = fallible::collect(datums.iter().map(|&datum| DenseDatum::from_datum(datum)));
            pg_sys::pfree(elements.cast());
            pg_sys::pfree(nulls.cast());
            vectors
        }
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
