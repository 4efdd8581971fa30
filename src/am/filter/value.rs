//! Keys of values, from the datums that PostgreSQL passes.

use std::ptr::null_mut;

use pgrx::pg_sys;
use pgrx::varlena::vardata_4b;

use crate::error::Result;
use crate::fallible;
use crate::filter::sets;
use crate::filter::values::{key_of_float, key_of_int, mix};
use crate::types::varlena::Varlena;

/// The form of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scalar {
    Bool,
    Int2,
    Int4,
    Int8,
    Float4,
    Float8,
    Numeric,
    Uuid,
    Text,
    Enum,
}

impl Scalar {
    /// The length of the type, and whether values are passed by value: of all types of this form.
    fn storage(self) -> (i16, bool) {
        match self {
            Scalar::Bool => (1, true),
            Scalar::Int2 => (2, true),
            Scalar::Int4 | Scalar::Float4 | Scalar::Enum => (4, true),
            Scalar::Int8 | Scalar::Float8 => (8, true),
            Scalar::Uuid => (16, false),
            Scalar::Numeric | Scalar::Text => (-1, false),
        }
    }

    /// The key of a value. Texts that compare by more than their bytes (`by_bytes` is false) all
    /// have one key.
    ///
    /// # Safety
    /// `datum` is a value of this form, not NULL.
    pub unsafe fn key(self, datum: pg_sys::Datum, by_bytes: bool) -> u64 {
        let bits = datum.value();
        match self {
            Scalar::Bool => u64::from(bits as u8 != 0),
            Scalar::Int2 => key_of_int(i64::from(bits as i16)),
            Scalar::Int4 => key_of_int(i64::from(bits as i32)),
            Scalar::Int8 => key_of_int(bits as i64),
            Scalar::Float4 => key_of_float(f64::from(f32::from_bits(bits as u32))),
            Scalar::Float8 => key_of_float(f64::from_bits(bits as u64)),
            Scalar::Enum => u64::from(bits as u32),
            // SAFETY: as the caller promises, of 16 bytes.
            Scalar::Uuid => unsafe { u64::from_be_bytes(datum.cast_mut_ptr::<[u8; 8]>().read_unaligned()) },
            // SAFETY: as the caller promises. A value that is detoasted already makes no copy.
            Scalar::Numeric => unsafe {
                let number = Varlena::from_datum(datum);
                let number = pg_sys::Datum::from(number.as_ptr::<pg_sys::varlena>());
                let number = pgrx::direct_function_call(pg_sys::numeric_float8_no_overflow, &[Some(number)]);
                key_of_float(number.unwrap_or(f64::NAN))
            },
            Scalar::Text if !by_bytes => 0,
            // SAFETY: as the caller promises.
            Scalar::Text => unsafe {
                let text = Varlena::from_datum(datum);
                let length = text.size() - pg_sys::VARHDRSZ;
                hash(std::slice::from_raw_parts(vardata_4b(text.as_ptr()).cast(), length))
            },
        }
    }
}

/// A hash of bytes. It is part of the file format.
fn hash(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let words = words.iter().chain([&last]);
    words.fold(bytes.len() as u64, |hash, word| {
        // An odd constant, since 0 is its own mixture.
        mix(hash.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ u64::from_le_bytes(*word))
    })
}

/// An array; a copy made to detoast it is freed on drop.
struct Detoasted {
    array: *mut pg_sys::varlena,
    is_copy: bool,
}

impl Detoasted {
    /// # Safety
    /// `datum` is an array, not NULL, and outlives the result.
    unsafe fn from_datum(datum: pg_sys::Datum) -> Detoasted {
        let given = datum.cast_mut_ptr();
        // SAFETY: as the caller promises.
        let array = unsafe { pg_sys::pg_detoast_datum(given) };
        Detoasted {
            array,
            is_copy: array != given,
        }
    }
}

impl Drop for Detoasted {
    fn drop(&mut self) {
        if self.is_copy {
            // SAFETY: detoasting allocated it, and nobody else has it.
            unsafe { pg_sys::pfree(self.array.cast()) }
        }
    }
}

/// The elements of an array.
pub struct Elements {
    pub values: Vec<pg_sys::Datum>,
    pub has_nulls: bool,
    /// Memory that the values are in.
    _array: Detoasted,
}

impl Elements {
    /// The elements of an array that are not NULL; none if they are of another form.
    ///
    /// # Errors
    /// [`crate::error::Error::OutOfMemory`].
    ///
    /// # Safety
    /// `datum` is an array, not NULL, and outlives the result.
    pub unsafe fn of(datum: pg_sys::Datum, scalar: Scalar) -> Result<Option<Elements>> {
        // SAFETY: as the caller promises: the array names its type of elements.
        unsafe {
            let detoasted = Detoasted::from_datum(datum);
            let array = detoasted.array.cast::<pg_sys::ArrayType>();
            let (mut length, mut by_value, mut align) = (0, false, 0);
            pg_sys::get_typlenbyvalalign((*array).elemtype, &mut length, &mut by_value, &mut align);
            if (length, by_value) != scalar.storage() {
                return Ok(None);
            }
            let (mut values, mut nulls, mut count) = (null_mut(), null_mut(), 0);
            pg_sys::deconstruct_array(
                array,
                (*array).elemtype,
                i32::from(length),
                by_value,
                align,
                &mut values,
                &mut nulls,
                &mut count,
            );
            let present = (0..count as usize).filter(|&i| !*nulls.add(i));
            let present = fallible::collect(present.map(|i| *values.add(i)));
            pg_sys::pfree(values.cast());
            pg_sys::pfree(nulls.cast());
            let present = present?;
            Ok(Some(Elements {
                has_nulls: present.len() < count as usize,
                values: present,
                _array: detoasted,
            }))
        }
    }

    /// The elements as tests of sets take them ([`sets::element`]).
    ///
    /// # Errors
    /// [`crate::error::Error::OutOfMemory`].
    ///
    /// # Safety
    /// The elements have this form.
    pub unsafe fn hashes(&self, scalar: Scalar, by_bytes: bool) -> Result<Vec<u64>> {
        let values = self.values.iter();
        // SAFETY: as the caller promises.
        fallible::collect(values.map(|&value| sets::element(unsafe { scalar.key(value, by_bytes) })))
    }

    /// The key of the set of elements; one that no test excludes if elements have another form.
    ///
    /// # Errors
    /// [`crate::error::Error::OutOfMemory`].
    ///
    /// # Safety
    /// As for [`Elements::of`].
    pub unsafe fn key(datum: pg_sys::Datum, scalar: Scalar, by_bytes: bool) -> Result<u64> {
        // SAFETY: as the caller promises.
        unsafe {
            Ok(match Elements::of(datum, scalar)? {
                Some(elements) => sets::key(elements.hashes(scalar, by_bytes)?),
                None => sets::ANY,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_like_texts_differ() {
        let texts: Vec<String> = (0..20_000).map(|i| format!("{}\0{}", i % 141, i / 141)).collect();
        let mut hashes: Vec<u64> = texts.iter().map(|text| hash(text.as_bytes())).collect();
        hashes.extend([hash(b""), hash(b"\0"), hash(b"\0\0"), hash(&[0; 8]), hash(&[0; 9])]);
        let low: std::collections::HashSet<u16> = hashes.iter().map(|&hash| hash as u16).collect();
        let count = hashes.len();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), count);
        assert!(low.len() > 16_000, "{}", low.len()); // As of numbers drawn at random.
    }
}
