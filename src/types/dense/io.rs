//! Text and binary input and output, and the type modifier (which is the number of dimensions
//! itself).

use super::{
    DenseDatum, Element, MAX_DIMENSIONS, build, check_dimensions, check_finite, dense_functions, new_datum, text,
};
use crate::error::Result;
use crate::types::array::ArrayDatum;
use crate::types::dimensions::{self, check_typmod};
use crate::types::text::new_cstring;
use crate::types::wire::{check_unused, new_bytea, take, take_array};
use pgrx::pg_sys;
use std::ffi::CStr;

dense_functions! {
    /// `vector_in(cstring, oid, integer) -> vector`
    fn vector_in | halfvec_in<T>(text: &CStr, _element: pg_sys::Oid, typmod: i32) -> pg_sys::Datum {
        let values = text::parse::<T>(text.to_bytes())?;
        check_typmod(typmod, values.len())?;
        new_datum(&values)
    }

    /// `vector_out(vector) -> cstring`
    fn vector_out | halfvec_out<T>(vector: DenseDatum<T>) -> pg_sys::Datum {
        let values = vector.as_slice();
        Ok(new_cstring(text::printed_size(values.len()), |out| text::print(values, out)))
    }

    /// `vector_recv(internal, oid, integer) -> vector`
    fn vector_recv | halfvec_recv<T>(message: pg_sys::StringInfo, _element: pg_sys::Oid, typmod: i32) -> pg_sys::Datum {
        // SAFETY: PostgreSQL passes the message to read, which outlives this call.
        receive::<T, _>(unsafe { &mut *message }, typmod, |dimensions, fill| build(dimensions, fill))
    }

    /// `vector_send(vector) -> bytea`
    fn vector_send | halfvec_send<T>(vector: DenseDatum<T>) -> pg_sys::Datum {
        let values = vector.as_slice();
        Ok(new_bytea(4 + size_of_val(values), |wire| {
            wire[..2].copy_from_slice(&(values.len() as u16).to_be_bytes());
            for (bytes, &value) in wire[4..].chunks_exact_mut(size_of::<T>()).zip(values) {
                value.to_wire(bytes);
            }
        }))
    }

    /// `vector_typmod_in(cstring[]) -> integer`
    fn vector_typmod_in | halfvec_typmod_in<T>(modifiers: ArrayDatum) -> i32 {
        dimensions::typmod(&modifiers, T::TYPE_NAME, MAX_DIMENSIONS)
    }
}

/// Reads a message. `make` gets the number of dimensions and a function that writes as many numbers
/// or refuses them.
///
/// # Errors
/// A malformed message, or the error of `make`.
pub fn receive<T: Element, R>(
    message: &mut pg_sys::StringInfoData,
    typmod: i32,
    make: impl FnOnce(usize, &dyn Fn(&mut [T]) -> Result<()>) -> Result<R>,
) -> Result<R> {
    let dimensions = i16::from_be_bytes(take_array(message, T::TYPE_NAME)?);
    let unused = i16::from_be_bytes(take_array(message, T::TYPE_NAME)?);
    // The wire has a signed number: one that is negative is as bad as zero.
    let dimensions = usize::try_from(dimensions).unwrap_or(0);
    check_dimensions::<T>(dimensions)?;
    check_typmod(typmod, dimensions)?;
    check_unused(unused.into())?;
    let bytes = take(message, dimensions * size_of::<T>(), T::TYPE_NAME)?;
    make(dimensions, &|target| {
        for (value, bytes) in target.iter_mut().zip(bytes.chunks_exact(size_of::<T>())) {
            *value = T::from_wire(bytes);
        }
        check_finite(target)
    })
}
