//! Text and binary input and output, and the type modifier (which is the number of dimensions itself).

use super::{MAX_DIMENSIONS, TYPE_NAME, VectorDatum, build, check_dimensions, check_finite, check_typmod, text};
use crate::error::{Error, Result};
use crate::types::array::ArrayDatum;
use crate::types::call::sql_function;
use pgrx::{pg_sys, varlena};
use std::ffi::CStr;

sql_function! {
    /// `vector_in(cstring, oid, integer) -> vector`
    fn vector_in(text: &CStr, _element: pg_sys::Oid, typmod: i32) -> pg_sys::Datum {
        let values = text::parse(text.to_bytes())?;
        check_typmod(typmod, values.len())?;
        build(values.len(), |target| target.copy_from_slice(&values))
    }

    /// `vector_out(vector) -> cstring`
    fn vector_out(vector: VectorDatum) -> pg_sys::Datum {
        let mut text = text::print(vector.as_slice());
        text.push(0);
        Ok(palloc_copy(&text))
    }

    /// `vector_recv(internal, oid, integer) -> vector`
    fn vector_recv(message: pg_sys::StringInfo, _element: pg_sys::Oid, typmod: i32) -> pg_sys::Datum {
        // SAFETY: PostgreSQL passes the message to read, which outlives this call.
        let message = unsafe { &mut *message };
        let head = take(message, 4)?;
        // The wire has a signed number: one that is negative is as bad as zero.
        let dimensions = usize::try_from(i16::from_be_bytes([head[0], head[1]])).unwrap_or(0);
        let unused = i16::from_be_bytes([head[2], head[3]]);
        check_dimensions(dimensions)?;
        check_typmod(typmod, dimensions)?;
        if unused != 0 {
            let reason = format!("expected unused to be 0, not {unused}");
            return Err(Error::InvalidBinary { type_name: TYPE_NAME, reason });
        }
        let bytes = take(message, dimensions * size_of::<f32>())?;
        let mut finite = Ok(());
        let datum = build(dimensions, |target| {
            for (value, bytes) in target.iter_mut().zip(bytes.as_chunks().0) {
                *value = f32::from_be_bytes(*bytes);
            }
            finite = check_finite(target);
        })?;
        finite.map(|()| datum)
    }

    /// `vector_send(vector) -> bytea`
    fn vector_send(vector: VectorDatum) -> pg_sys::Datum {
        let values = vector.as_slice();
        let mut bytes = Vec::with_capacity(pg_sys::VARHDRSZ + 4 + size_of_val(values));
        bytes.extend([0; pg_sys::VARHDRSZ]);
        bytes.extend((values.len() as u16).to_be_bytes());
        bytes.extend([0; 2]);
        bytes.extend(values.iter().flat_map(|value| value.to_be_bytes()));
        let datum = palloc_copy(&bytes);
        // SAFETY: palloc aligns, and the header has been left room for.
        unsafe { varlena::set_varsize_4b(datum.cast_mut_ptr(), bytes.len() as i32) };
        Ok(datum)
    }

    /// `vector_typmod_in(cstring[]) -> integer`
    fn vector_typmod_in(modifiers: ArrayDatum) -> i32 {
        match modifiers.to_typmods()[..] {
            [dimensions] if dimensions < 1 => Err(Error::TypmodTooSmall { type_name: TYPE_NAME }),
            [dimensions] if dimensions > MAX_DIMENSIONS as i32 => {
                Err(Error::TypmodTooLarge { type_name: TYPE_NAME, max: MAX_DIMENSIONS })
            }
            [dimensions] => Ok(dimensions),
            _ => Err(Error::InvalidTypmod),
        }
    }
}

/// The next `len` bytes of a message.
fn take(message: &mut pg_sys::StringInfoData, len: usize) -> Result<&[u8]> {
    let left = (message.len - message.cursor).max(0) as usize;
    if left < len {
        return Err(Error::InvalidBinary {
            type_name: TYPE_NAME,
            reason: format!("{len} bytes expected, {left} left"),
        });
    }
    // SAFETY: the message has `left` bytes after its cursor.
    let bytes = unsafe { std::slice::from_raw_parts(message.data.add(message.cursor as usize).cast(), len) };
    message.cursor += len as i32;
    Ok(bytes)
}

/// A copy in the current memory context.
fn palloc_copy(bytes: &[u8]) -> pg_sys::Datum {
    // SAFETY: palloc gives as many bytes as are copied.
    unsafe {
        let copy = pg_sys::palloc(bytes.len()).cast::<u8>();
        copy.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len());
        copy.into()
    }
}
