//! Casts: a length check, from arrays of numbers, to `real[]`.

use super::{VectorDatum, build, check_dimensions, check_finite, check_typmod};
use crate::error::Result;
use crate::types::array::{Element, NumberArray, NumericArray, new_array};
use crate::types::call::sql_function;
use pgrx::pg_sys;

/// Makes a vector of what a cast was given; `typmod` is that of the target.
fn convert<T: Element>(elements: &[T], typmod: i32, to_f32: impl Fn(T) -> f32) -> Result<pg_sys::Datum> {
    check_dimensions(elements.len())?;
    check_typmod(typmod, elements.len())?;
    let mut finite = Ok(());
    let datum = build(elements.len(), |target| {
        for (value, &element) in target.iter_mut().zip(elements) {
            *value = to_f32(element);
        }
        finite = check_finite(target);
    })?;
    finite.map(|()| datum)
}

sql_function! {
    /// `vector(vector, integer, boolean) -> vector`: the same value, if it has the declared dimensions.
    fn vector_check_length(vector: VectorDatum, typmod: i32, _explicit: bool) -> pg_sys::Datum {
        check_typmod(typmod, vector.as_slice().len())?;
        vector.into_datum()
    }

    /// `array_to_vector(integer[], integer, boolean) -> vector`
    fn vector_from_int4_array(array: NumberArray<i32>, typmod: i32, _explicit: bool) -> pg_sys::Datum {
        convert(array.as_slice()?, typmod, |element| element as f32)
    }

    /// `array_to_vector(real[], integer, boolean) -> vector`
    fn vector_from_float4_array(array: NumberArray<f32>, typmod: i32, _explicit: bool) -> pg_sys::Datum {
        convert(array.as_slice()?, typmod, |element| element)
    }

    /// `array_to_vector(double precision[], integer, boolean) -> vector`
    fn vector_from_float8_array(array: NumberArray<f64>, typmod: i32, _explicit: bool) -> pg_sys::Datum {
        convert(array.as_slice()?, typmod, |element| element as f32)
    }

    /// `array_to_vector(numeric[], integer, boolean) -> vector`
    fn vector_from_numeric_array(array: NumericArray, typmod: i32, _explicit: bool) -> pg_sys::Datum {
        convert(&array.to_f32()?, typmod, |element| element)
    }

    /// `vector_to_float4(vector, integer, boolean) -> real[]`
    fn vector_to_float4(vector: VectorDatum, _typmod: i32, _explicit: bool) -> pg_sys::Datum {
        let values = vector.as_slice();
        Ok(new_array(values.len(), |elements: &mut [f32]| elements.copy_from_slice(values)))
    }
}
