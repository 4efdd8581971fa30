//! Casts: a length check, from arrays of numbers, to `real[]`, and between the two types.

use super::{DenseDatum, Element, HalfvecDatum, VectorDatum, build, check_dimensions, dense_functions};
use crate::distance::f16;
use crate::error::{Error, Result};
use crate::types::array::{NumberArray, NumericArray, new_array};
use crate::types::call::sql_function;
use crate::types::dimensions::check_typmod;
use crate::types::text::{not_finite, number_text, out_of_range};
use pgrx::pg_sys;

/// Makes a vector of the numbers of a cast; `typmod` is the modifier of the target.
///
/// # Errors
/// No number or too many, other dimensions than `typmod`, NaN, an infinity, or a number beyond the
/// element type.
pub fn convert<T: Element, S: Copy>(source: &[S], typmod: i32, to_f32: impl Fn(S) -> f32) -> Result<pg_sys::Datum> {
    check_dimensions::<T>(source.len())?;
    check_typmod(typmod, source.len())?;
    build(source.len(), |target: &mut [T]| {
        for (value, &number) in target.iter_mut().zip(source) {
            *value = T::from_f32(to_f32(number));
        }
        match target.iter().position(|value| !value.is_finite()) {
            None => Ok(()),
            Some(at) => Err(refused::<T>(to_f32(source[at]))),
        }
    })
}

/// Why a number is no element of a vector.
#[cold]
pub fn refused<T: Element>(number: f32) -> Error {
    match number.is_finite() {
        true => out_of_range(T::TYPE_NAME, &number_text(number)),
        false => not_finite(T::TYPE_NAME, number),
    }
}

dense_functions! {
    /// `vector(vector, integer, boolean) -> vector`: the same value, if it has the declared
    /// dimensions.
    fn vector_check_length | halfvec_check_length<T>(
        vector: DenseDatum<T>,
        typmod: i32,
        _explicit: bool,
    ) -> pg_sys::Datum {
        check_typmod(typmod, vector.as_slice().len())?;
        Ok(vector.into_datum())
    }

    /// `array_to_vector(integer[], integer, boolean) -> vector`
    fn vector_from_int4_array | halfvec_from_int4_array<T>(
        array: NumberArray<i32>,
        typmod: i32,
        _explicit: bool,
    ) -> pg_sys::Datum {
        convert::<T, i32>(array.as_slice()?, typmod, |number| number as f32)
    }

    /// `array_to_vector(real[], integer, boolean) -> vector`
    fn vector_from_float4_array | halfvec_from_float4_array<T>(
        array: NumberArray<f32>,
        typmod: i32,
        _explicit: bool,
    ) -> pg_sys::Datum {
        convert::<T, f32>(array.as_slice()?, typmod, |number| number)
    }

    /// `array_to_vector(double precision[], integer, boolean) -> vector`
    fn vector_from_float8_array | halfvec_from_float8_array<T>(
        array: NumberArray<f64>,
        typmod: i32,
        _explicit: bool,
    ) -> pg_sys::Datum {
        convert::<T, f64>(array.as_slice()?, typmod, |number| number as f32)
    }

    /// `array_to_vector(numeric[], integer, boolean) -> vector`
    fn vector_from_numeric_array | halfvec_from_numeric_array<T>(
        array: NumericArray,
        typmod: i32,
        _explicit: bool,
    ) -> pg_sys::Datum {
        convert::<T, f32>(&array.to_f32()?, typmod, |number| number)
    }

    /// `vector_to_float4(vector, integer, boolean) -> real[]`
    fn vector_to_float4 | halfvec_to_float4<T>(
        vector: DenseDatum<T>,
        _typmod: i32,
        _explicit: bool,
    ) -> pg_sys::Datum {
        let values = vector.as_slice();
        Ok(new_array(values.len(), |numbers: &mut [f32]| {
            for (number, &value) in numbers.iter_mut().zip(values) {
                *number = Into::<f32>::into(value);
            }
        }))
    }
}

sql_function! {
    /// `halfvec_to_vector(halfvec, integer, boolean) -> vector`
    fn halfvec_to_vector(vector: HalfvecDatum, typmod: i32, _explicit: bool) -> pg_sys::Datum {
        convert::<f32, f16>(vector.as_slice(), typmod, f32::from)
    }

    /// `vector_to_halfvec(vector, integer, boolean) -> halfvec`
    fn vector_to_halfvec(vector: VectorDatum, typmod: i32, _explicit: bool) -> pg_sys::Datum {
        convert::<f16, f32>(vector.as_slice(), typmod, |number| number)
    }
}
