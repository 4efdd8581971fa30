//! Casts: a length check, from arrays of numbers, to and from the dense types.

use super::{Elements, SparsevecDatum, TYPE_NAME, check_dimensions};
use crate::distance::f16;
use crate::error::{Error, Result};
use crate::types::array::{NumberArray, NumericArray};
use crate::types::call::sql_function;
use crate::types::dense::cast::refused;
use crate::types::dense::{self, Element, HalfvecDatum, VectorDatum};
use crate::types::dimensions::check_typmod;
use pgrx::pg_sys;

/// Makes a sparse vector of a list of numbers; `typmod` is that of the target.
///
/// # Errors
/// No number or too many, other dimensions than `typmod`, NaN, an infinity, or too many numbers
/// other than zero.
fn from_list<S: Copy>(numbers: &[S], typmod: i32, to_f32: impl Fn(S) -> f32) -> Result<pg_sys::Datum> {
    check_dimensions(numbers.len())?;
    check_typmod(typmod, numbers.len())?;
    let mut elements = Elements::default();
    for (index, &number) in numbers.iter().enumerate() {
        elements.push(index as i32, to_f32(number))?;
    }
    elements.into_datum(numbers.len())
}

/// Makes a dense vector of a sparse one; `typmod` is that of the target.
///
/// # Errors
/// Too many dimensions, others than `typmod`, or a number beyond the element type.
fn to_dense<T: Element>(vector: &SparsevecDatum, typmod: i32) -> Result<pg_sys::Datum> {
    let dimensions = vector.dimensions();
    dense::check_dimensions::<T>(dimensions)?;
    check_typmod(typmod, dimensions)?;
    dense::build(dimensions, |target: &mut [T]| {
        for (index, number) in vector.as_sparse() {
            let place = usize::try_from(index).ok().and_then(|index| target.get_mut(index));
            let place = place.ok_or(Error::IndexOutOfBounds { type_name: TYPE_NAME })?;
            *place = T::from_f32(number);
            if !place.is_finite() {
                return Err(refused::<T>(number));
            }
        }
        Ok(())
    })
}

sql_function! {
    /// `sparsevec(sparsevec, integer, boolean) -> sparsevec`: the same value, if it has the
    /// declared dimensions.
    fn sparsevec_check_length(vector: SparsevecDatum, typmod: i32, _explicit: bool) -> pg_sys::Datum {
        check_typmod(typmod, vector.dimensions())?;
        Ok(vector.into_datum())
    }

    /// `array_to_sparsevec(integer[], integer, boolean) -> sparsevec`
    fn sparsevec_from_int4_array(array: NumberArray<i32>, typmod: i32, _explicit: bool) -> pg_sys::Datum {
        from_list(array.as_slice()?, typmod, |number| number as f32)
    }

    /// `array_to_sparsevec(real[], integer, boolean) -> sparsevec`
    fn sparsevec_from_float4_array(array: NumberArray<f32>, typmod: i32, _explicit: bool) -> pg_sys::Datum {
        from_list(array.as_slice()?, typmod, |number| number)
    }

    /// `array_to_sparsevec(double precision[], integer, boolean) -> sparsevec`
    fn sparsevec_from_float8_array(array: NumberArray<f64>, typmod: i32, _explicit: bool) -> pg_sys::Datum {
        from_list(array.as_slice()?, typmod, |number| number as f32)
    }

    /// `array_to_sparsevec(numeric[], integer, boolean) -> sparsevec`
    fn sparsevec_from_numeric_array(array: NumericArray, typmod: i32, _explicit: bool) -> pg_sys::Datum {
        from_list(&array.to_f32()?, typmod, |number| number)
    }

    /// `vector_to_sparsevec(vector, integer, boolean) -> sparsevec`
    fn vector_to_sparsevec(vector: VectorDatum, typmod: i32, _explicit: bool) -> pg_sys::Datum {
        from_list(vector.as_slice(), typmod, |number| number)
    }

    /// `halfvec_to_sparsevec(halfvec, integer, boolean) -> sparsevec`
    fn halfvec_to_sparsevec(vector: HalfvecDatum, typmod: i32, _explicit: bool) -> pg_sys::Datum {
        from_list(vector.as_slice(), typmod, f16::to_f32)
    }

    /// `sparsevec_to_vector(sparsevec, integer, boolean) -> vector`
    fn sparsevec_to_vector(vector: SparsevecDatum, typmod: i32, _explicit: bool) -> pg_sys::Datum {
        to_dense::<f32>(&vector, typmod)
    }

    /// `sparsevec_to_halfvec(sparsevec, integer, boolean) -> halfvec`
    fn sparsevec_to_halfvec(vector: SparsevecDatum, typmod: i32, _explicit: bool) -> pg_sys::Datum {
        to_dense::<f16>(&vector, typmod)
    }
}
