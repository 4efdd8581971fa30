//! Values of an indexed column, as PostgreSQL passes them, and in the form that an index takes.

use pgrx::pg_sys;

use crate::distance::{self, Metric};
use crate::error::{Error, Result};
use crate::hnsw::indexed_value::{OwnedValue, RowValue};
use crate::hnsw::space::Space;
use crate::storage::format::Unplaced;
use crate::storage::parameters::{Element, Parameters};
use crate::storage::sparse;
use crate::types::bit::BitDatum;
use crate::types::dense::{HalfvecDatum, VectorDatum};
use crate::types::sparsevec::SparsevecDatum;

/// A value that PostgreSQL passed.
enum View {
    Vector(VectorDatum),
    Halfvec(HalfvecDatum),
    Bit(BitDatum),
    Sparsevec(SparsevecDatum),
}

impl View {
    /// # Safety
    /// `datum` is a value of the type, not NULL, and outlives the result.
    unsafe fn from_datum(datum: pg_sys::Datum, element: Element) -> View {
        // SAFETY: as the caller promises.
        unsafe {
            match element {
                Element::Vector => View::Vector(VectorDatum::from_datum(datum)),
                Element::Halfvec => View::Halfvec(HalfvecDatum::from_datum(datum)),
                Element::Bit => View::Bit(BitDatum::from_datum(datum)),
                Element::Sparsevec => View::Sparsevec(SparsevecDatum::from_datum(datum)),
            }
        }
    }

    fn dimensions(&self) -> usize {
        match self {
            View::Vector(vector) => vector.as_slice().len(),
            View::Halfvec(vector) => vector.as_slice().len(),
            View::Bit(bits) => bits.len(),
            View::Sparsevec(vector) => vector.dimensions(),
        }
    }

    /// The value in the form of the index: under cosine distance scaled to length one. Also returns
    /// whether that value is zero, and so has no direction.
    fn to_indexed(&self, metric: Metric) -> (OwnedValue, bool) {
        let has_no_direction = |values: &mut [f32]| metric == Metric::Cosine && distance::normalize(values) == 0.0;
        let dense = |mut vector: Vec<f32>| {
            let is_zero = has_no_direction(&mut vector);
            (OwnedValue::Dense(vector), is_zero)
        };
        match self {
            View::Vector(vector) => dense(vector.as_slice().to_vec()),
            View::Halfvec(vector) => dense(vector.as_slice().iter().map(|number| f32::from(*number)).collect()),
            View::Bit(bits) => (OwnedValue::Stored(bits.as_bytes().to_vec()), false),
            View::Sparsevec(vector) => {
                let view = vector.as_sparse();
                let mut values = view.values.to_vec();
                let is_zero = has_no_direction(&mut values);
                let components = view.indices.iter().copied().zip(values.iter().copied());
                (OwnedValue::Stored(sparse::store(components)), is_zero)
            }
        }
    }
}

/// The form in which the index keeps the value of a row; `datum` is none for NULL. Under cosine
/// distance a value of length zero has no direction.
///
/// # Errors
/// [`Error::ExpectedDimensions`], [`Error::TooLongForIndex`].
///
/// # Safety
/// `datum` is a value of the index's type.
pub unsafe fn of_row(datum: Option<pg_sys::Datum>, parameters: &Parameters) -> Result<RowValue> {
    let Some(datum) = datum else {
        return Ok(RowValue::Unplaced(Unplaced::Null));
    };
    // SAFETY: as the caller promises.
    let view = unsafe { View::from_datum(datum, parameters.element) };
    let (expected, found) = (parameters.shape.dimensions as usize, view.dimensions());
    if found != expected {
        return Err(Error::ExpectedDimensions { expected, found });
    }
    let (value, is_zero) = view.to_indexed(parameters.metric);
    Space::check_length(parameters, value.view())?;
    Ok(match is_zero {
        true => RowValue::Unplaced(Unplaced::Zero),
        false => RowValue::Placed(value),
    })
}

/// A value to search for.
///
/// # Errors
/// The one that the operator would raise if it has other dimensions, or [`Error::TooLongForIndex`].
///
/// # Safety
/// `datum` is a value of the index's type, and not NULL.
pub unsafe fn of_query(datum: pg_sys::Datum, parameters: &Parameters) -> Result<OwnedValue> {
    // SAFETY: as the caller promises.
    let view = unsafe { View::from_datum(datum, parameters.element) };
    let (left, right) = (parameters.shape.dimensions as usize, view.dimensions());
    if left != right {
        let type_name = parameters.element.type_name();
        return Err(match parameters.element {
            Element::Bit => Error::DifferentBitLengths { left, right },
            _ => Error::DifferentDimensions { type_name, left, right },
        });
    }
    let (value, _) = view.to_indexed(parameters.metric);
    Space::check_length(parameters, value.view())?;
    Ok(value)
}

/// A zero value, to search for where every order is right.
pub fn zero(parameters: &Parameters) -> OwnedValue {
    let dimensions = parameters.shape.dimensions as usize;
    match parameters.element {
        Element::Vector | Element::Halfvec => OwnedValue::Dense(vec![0.0; dimensions]),
        Element::Bit => OwnedValue::Stored(vec![0; dimensions.div_ceil(8)]),
        Element::Sparsevec => OwnedValue::Stored(sparse::store(std::iter::empty())),
    }
}
