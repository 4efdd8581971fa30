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
        let values = vector.as_slice();
        let room = text::printed_size(values.len());
        // SAFETY: palloc gives the room, and one byte more for the terminating NUL.
        unsafe {
            let text = pg_sys::palloc(room + 1).cast::<u8>();
            let len = text::print(values, std::slice::from_raw_parts_mut(text.cast(), room));
            *text.add(len) = 0;
            Ok(text.into())
        }
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
        let size = pg_sys::VARHDRSZ + 4 + size_of_val(values);
        // SAFETY: palloc0 gives `size` zeroed bytes, aligned: the varlena header, and as many for the wire.
        unsafe {
            let bytea = pg_sys::palloc0(size).cast::<u8>();
            varlena::set_varsize_4b(bytea.cast(), size as i32);
            let wire = std::slice::from_raw_parts_mut(bytea.add(pg_sys::VARHDRSZ), size - pg_sys::VARHDRSZ);
            wire[..2].copy_from_slice(&(values.len() as u16).to_be_bytes());
            for (bytes, value) in wire[4..].as_chunks_mut().0.iter_mut().zip(values) {
                *bytes = value.to_be_bytes();
            }
            Ok(bytea.into())
        }
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
