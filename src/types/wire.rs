//! The binary form of values: messages read, and `bytea` made.

use crate::error::{Error, Result};
use crate::types::varlena::new_varlena;
use pgrx::pg_sys;

/// The next `N` bytes of a message that holds a value of type `type_name`.
///
/// # Errors
/// [`Error::InvalidBinary`]: there are fewer.
pub fn take_array<const N: usize>(message: &mut pg_sys::StringInfoData, type_name: &'static str) -> Result<[u8; N]> {
    let mut array = [0; N];
    array.copy_from_slice(take(message, N, type_name)?);
    Ok(array)
}

/// The next `len` bytes of a message that holds a value of type `type_name`.
///
/// # Errors
/// [`Error::InvalidBinary`]: there are fewer.
pub fn take<'a>(message: &'a mut pg_sys::StringInfoData, len: usize, type_name: &'static str) -> Result<&'a [u8]> {
    let left = (message.len - message.cursor).max(0) as usize;
    if left < len {
        let reason = format!("{len} bytes expected, {left} left");
        return Err(Error::InvalidBinary { type_name, reason });
    }
    // SAFETY: the message has `left` bytes after its cursor.
    let bytes = unsafe { std::slice::from_raw_parts(message.data.add(message.cursor as usize).cast(), len) };
    message.cursor += len as i32;
    Ok(bytes)
}

/// Refuses a part of a message that is kept for later and not zero.
///
/// # Errors
/// [`Error::Unused`].
pub fn check_unused(unused: i32) -> Result<()> {
    match unused {
        0 => Ok(()),
        _ => Err(Error::Unused { unused }),
    }
}

/// A new `bytea` of `len` bytes in the current memory context, filled by `fill` (they start as
/// zero).
pub fn new_bytea(len: usize, fill: impl FnOnce(&mut [u8])) -> pg_sys::Datum {
    let bytea = new_varlena::<u8>(pg_sys::VARHDRSZ + len);
    // SAFETY: `len` bytes follow the header.
    fill(unsafe { std::slice::from_raw_parts_mut(bytea.add(pg_sys::VARHDRSZ), len) });
    bytea.into()
}
