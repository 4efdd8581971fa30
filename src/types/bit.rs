//! Distances between values of PostgreSQL's own type `bit`, and how one is made.

use crate::distance;
use crate::error::{Error, Result};
use crate::types::call::{Argument, Arguments, sql_function};
use crate::types::varlena::{Varlena, new_varlena};
use pgrx::pg_sys;

/// Header before the bits.
#[repr(C)]
struct Header {
    varlena: i32,
    bits: i32,
}

/// A value of type `bit` that PostgreSQL passed, detoasted.
pub struct BitDatum(Varlena);

impl BitDatum {
    /// Reads a value; raises an error (data_corrupted) if its header does not make sense.
    ///
    /// # Safety
    /// `datum` is a value of type `bit`, not NULL, and outlives the result.
    #[inline]
    pub unsafe fn from_datum(datum: pg_sys::Datum) -> BitDatum {
        // SAFETY: as the caller promises.
        let value = BitDatum(unsafe { Varlena::from_datum(datum) });
        let size = value.0.size();
        let bits = match size < size_of::<Header>() {
            true => 0,
            false => value.len(),
        };
        if size != size_of_bits(bits) {
            let error = Error::CorruptedValue {
                type_name: "bit",
                size,
                count: bits,
                unit: "bits",
            };
            error.raise();
        }
        value
    }

    /// How many bits there are.
    #[inline]
    pub fn len(&self) -> usize {
        // SAFETY: the header lies within the size; PostgreSQL keeps the number positive, and as a
        // count it is checked.
        unsafe { (*self.0.as_ptr::<Header>()).bits as u32 as usize }
    }

    /// Whether there is no bit.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bits, from the highest of the first byte on; padding bits of the last byte are zero.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        let header = self.0.as_ptr::<Header>();
        // SAFETY: `from_datum` checked that so many bytes follow the header.
        unsafe { std::slice::from_raw_parts(header.add(1).cast(), self.len().div_ceil(8)) }
    }
}

impl Argument for BitDatum {
    #[inline]
    unsafe fn take(arguments: &mut Arguments) -> Self {
        // SAFETY: the caller promises a value of type `bit`, and arguments outlive the call.
        unsafe { BitDatum::from_datum(arguments.next_datum()) }
    }
}

/// A new value of `bits` bits in the current memory context. `fill` gets its bytes, all zero, and
/// leaves the padding bits of the last byte as they are.
pub fn new_bits(bits: usize, fill: impl FnOnce(&mut [u8])) -> pg_sys::Datum {
    let header = new_varlena::<Header>(size_of_bits(bits));
    // SAFETY: the header and the bytes of the bits fill the value.
    unsafe {
        (*header).bits = bits as i32;
        fill(std::slice::from_raw_parts_mut(header.add(1).cast(), bits.div_ceil(8)));
    }
    header.into()
}

const fn size_of_bits(bits: usize) -> usize {
    size_of::<Header>() + bits.div_ceil(8)
}

/// Refuses values of different lengths.
#[inline]
fn check_same_length(left: &BitDatum, right: &BitDatum) -> Result<()> {
    let (left, right) = (left.len(), right.len());
    match left == right {
        true => Ok(()),
        false => Err(Error::DifferentBitLengths { left, right }),
    }
}

sql_function! {
    /// `hamming_distance(bit, bit) -> double precision`, `<~>`: the number of bits that differ.
    fn bit_hamming_distance(a: BitDatum, b: BitDatum) -> f64 {
        check_same_length(&a, &b)?;
        Ok(distance::hamming(a.as_bytes(), b.as_bytes()).into())
    }

    /// `jaccard_distance(bit, bit) -> double precision`, `<%>`: 1 - the part of the bits set in
    /// either that are set in both; 1 if none is.
    fn bit_jaccard_distance(a: BitDatum, b: BitDatum) -> f64 {
        check_same_length(&a, &b)?;
        Ok(distance::jaccard(a.as_bytes(), b.as_bytes()))
    }
}
