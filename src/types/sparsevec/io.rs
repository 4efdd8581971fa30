//! Text and binary input and output, and the type modifier (which is the number of dimensions
//! itself).

use super::{Elements, MAX_DIMENSIONS, SparsevecDatum, TYPE_NAME, check_dimensions, check_elements, text};
use crate::error::{Error, Result};
use crate::types::array::ArrayDatum;
use crate::types::call::sql_function;
use crate::types::dimensions::{self, check_typmod};
use crate::types::text::new_cstring;
use crate::types::wire::{check_unused, new_bytea, take, take_array};
use pgrx::pg_sys;
use std::ffi::CStr;

sql_function! {
    /// `sparsevec_in(cstring, oid, integer) -> sparsevec`
    fn sparsevec_in(text: &CStr, _element: pg_sys::Oid, typmod: i32) -> pg_sys::Datum {
        let (elements, dimensions) = text::parse(text.to_bytes())?;
        check_typmod(typmod, dimensions)?;
        elements.into_datum(dimensions)
    }

    /// `sparsevec_out(sparsevec) -> cstring`
    fn sparsevec_out(vector: SparsevecDatum) -> pg_sys::Datum {
        let text = text::print(vector.as_sparse(), vector.dimensions());
        Ok(new_cstring(text.len(), |out| {
            out.write_copy_of_slice(&text);
            text.len()
        }))
    }

    /// `sparsevec_recv(internal, oid, integer) -> sparsevec`
    fn sparsevec_recv(message: pg_sys::StringInfo, _element: pg_sys::Oid, typmod: i32) -> pg_sys::Datum {
        // SAFETY: PostgreSQL passes the message to read, which outlives this call.
        let (elements, dimensions) = receive(unsafe { &mut *message }, typmod)?;
        elements.into_datum(dimensions)
    }

    /// `sparsevec_send(sparsevec) -> bytea`
    fn sparsevec_send(vector: SparsevecDatum) -> pg_sys::Datum {
        let sparse = vector.as_sparse();
        let elements = sparse.indices.len();
        let head = [vector.dimensions() as i32, elements as i32, 0];
        let numbers = head.iter().chain(sparse.indices).map(|number| number.to_be_bytes());
        let words = numbers.chain(sparse.values.iter().map(|value| value.to_be_bytes()));
        Ok(new_bytea(size_of::<i32>() * (head.len() + 2 * elements), |wire| {
            for (target, word) in wire.as_chunks_mut().0.iter_mut().zip(words) {
                *target = word;
            }
        }))
    }

    /// `sparsevec_typmod_in(cstring[]) -> integer`
    fn sparsevec_typmod_in(modifiers: ArrayDatum) -> i32 {
        dimensions::typmod(&modifiers, TYPE_NAME, MAX_DIMENSIONS)
    }
}

/// Reads a message: the elements, and the number of dimensions. Elements are checked for the rules
/// that all other code relies on.
///
/// # Errors
/// A malformed message.
pub fn receive(message: &mut pg_sys::StringInfoData, typmod: i32) -> Result<(Elements, usize)> {
    let mut integer = || Ok::<_, Error>(i32::from_be_bytes(take_array(message, TYPE_NAME)?));
    let (dimensions, elements, unused) = (integer()?, integer()?, integer()?);
    // Numbers that are negative are as bad as zero dimensions, or as too many elements.
    let dimensions = usize::try_from(dimensions).unwrap_or(0);
    check_dimensions(dimensions)?;
    check_typmod(typmod, dimensions)?;
    let elements = usize::try_from(elements).map_err(|_| Error::NegativeElements { type_name: TYPE_NAME })?;
    check_elements(elements)?;
    check_unused(unused)?;
    let words = take(message, 2 * size_of::<i32>() * elements, TYPE_NAME)?.as_chunks().0;
    let (indices, values) = words.split_at(elements);
    let mut kept = Elements::with_capacity(elements);
    let mut previous = -1;
    for (&index, &value) in indices.iter().zip(values) {
        let (index, value) = (i32::from_be_bytes(index), f32::from_be_bytes(value));
        if index < 0 || index as usize >= dimensions {
            return Err(Error::IndexOutOfBounds { type_name: TYPE_NAME });
        }
        if index == previous {
            return Err(Error::DuplicateIndex { type_name: TYPE_NAME });
        }
        if index < previous {
            return Err(Error::IndicesNotAscending { type_name: TYPE_NAME });
        }
        if value == 0.0 {
            return Err(Error::ZeroElement { type_name: TYPE_NAME });
        }
        kept.push(index, value)?;
        previous = index;
    }
    Ok((kept, dimensions))
}
