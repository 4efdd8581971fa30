//! The type `vector`: single-precision numbers, 1 to 16,000 of them.
//!
//! A value is a varlena: its 4-byte header, the number of dimensions (u16), two bytes that are zero, the numbers (f32).
//! Invariants: the dimensions match the size, and every number is finite. The first is checked on reading, the second kept
//! by everything that makes a vector ([`new_datum`], [`check_finite`]).

pub mod aggregate;
pub mod cast;
pub mod compare;
pub mod functions;
pub mod io;
pub mod operators;
pub mod text;

#[cfg(any(test, feature = "pg_test"))]
mod tests;

use crate::error::{Error, Result};
use crate::types::call::{Argument, Arguments};
use pgrx::{pg_sys, varlena};

/// The name of the type, in errors.
pub const TYPE_NAME: &str = "vector";

/// The most dimensions a vector can have.
pub const MAX_DIMENSIONS: usize = 16_000;

/// What precedes the numbers.
#[repr(C)]
struct Header {
    varlena: i32,
    dimensions: u16,
    unused: u16,
}

/// The most numbers of a value with a 1-byte varlena header, which is at most 127 bytes long.
const MAX_SHORT: usize = (127 - 1 - 4) / size_of::<f32>();

/// A small vector, aligned and with the header of a large one.
#[repr(C)]
struct Short {
    header: Header,
    values: [f32; MAX_SHORT],
}

/// Where a vector is.
enum Storage {
    /// Where PostgreSQL passed it.
    Given(*const Header),
    /// In a copy that detoasting made.
    Detoasted(*const Header),
    /// Here: rows store small vectors unaligned, and copying them costs less than allocating.
    Short(Short),
}

/// A vector that PostgreSQL passed, detoasted and with a valid header; a copy made for that is freed on drop.
pub struct VectorDatum(Storage);

impl VectorDatum {
    /// Reads a vector; raises an error (data_corrupted) if its header does not make sense.
    ///
    /// # Safety
    /// `datum` is a value of type `vector`, not NULL, and outlives the result.
    #[inline]
    pub unsafe fn from_datum(datum: pg_sys::Datum) -> VectorDatum {
        let given = datum.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: the caller promises a varlena. One with a plain 4-byte header is aligned to 4.
        let vector = VectorDatum(unsafe {
            if varlena::varatt_is_4b_u(given) {
                Storage::Given(given.cast())
            } else if varlena::varatt_is_1b(given) && !varlena::varatt_is_1b_e(given) {
                Storage::Short(Short::read(given))
            } else {
                Storage::Detoasted(pg_sys::pg_detoast_datum(given).cast())
            }
        });
        if let Err(error) = vector.check_header() {
            error.raise();
        }
        vector
    }

    /// The numbers: 1 to [`MAX_DIMENSIONS`].
    #[inline]
    pub fn as_slice(&self) -> &[f32] {
        let header = self.header();
        // SAFETY: `from_datum` checked that so many numbers follow the header, which is aligned to 4 bytes.
        unsafe { std::slice::from_raw_parts(header.add(1).cast(), usize::from((*header).dimensions)) }
    }

    /// This vector as a value to return.
    fn into_datum(self) -> Result<pg_sys::Datum> {
        match self.0 {
            Storage::Given(header) => Ok(header.into()),
            Storage::Detoasted(header) => {
                // The copy now belongs to whoever gets the datum.
                std::mem::forget(self);
                Ok(header.into())
            }
            Storage::Short(_) => build(self.as_slice().len(), |target| target.copy_from_slice(self.as_slice())),
        }
    }

    #[inline]
    fn header(&self) -> *const Header {
        match &self.0 {
            Storage::Given(header) | Storage::Detoasted(header) => *header,
            Storage::Short(short) => std::ptr::from_ref(short).cast(),
        }
    }

    #[inline]
    fn check_header(&self) -> Result<()> {
        let header = self.header();
        // SAFETY: the varlena is plain, and its size says what can be read.
        let size = unsafe { varlena::varsize_4b(header.cast()) };
        let dimensions = match size < size_of::<Header>() {
            true => 0,
            // SAFETY: the header lies within the size.
            false => usize::from(unsafe { (*header).dimensions }),
        };
        match (1..=MAX_DIMENSIONS).contains(&dimensions) && size == size_of_vector(dimensions) {
            true => Ok(()),
            false => Err(Error::CorruptedValue {
                type_name: TYPE_NAME,
                size,
                dimensions,
            }),
        }
    }
}

impl Short {
    /// # Safety
    /// `given` has a 1-byte header.
    #[inline]
    unsafe fn read(given: *const pg_sys::varlena) -> Short {
        let header = Header {
            varlena: 0,
            dimensions: 0,
            unused: 0,
        };
        let mut short = Short {
            header,
            values: [0.0; MAX_SHORT],
        };
        // SAFETY: what follows a 1-byte header is at most 126 bytes: the header's last 4 and the numbers have room for
        // 124, and more is cut off (the size then tells the corrupted value).
        unsafe {
            let len = varlena::varsize_1b(given) - 1;
            let target = std::ptr::from_mut(&mut short).cast::<u8>();
            varlena::set_varsize_4b(target.cast(), (pg_sys::VARHDRSZ + len) as i32);
            let data = target.add(pg_sys::VARHDRSZ);
            data.copy_from_nonoverlapping(
                given.cast::<u8>().add(1),
                len.min(size_of::<Short>() - pg_sys::VARHDRSZ),
            );
        }
        short
    }
}

impl Drop for VectorDatum {
    #[inline]
    fn drop(&mut self) {
        if let Storage::Detoasted(header) = self.0 {
            // SAFETY: detoasting allocated it, and nobody else has it.
            unsafe { pg_sys::pfree(header.cast_mut().cast()) }
        }
    }
}

impl Argument for VectorDatum {
    #[inline]
    unsafe fn take(arguments: &mut Arguments) -> Self {
        // SAFETY: the caller promises a vector, and arguments outlive the call.
        unsafe { VectorDatum::from_datum(arguments.next_datum()) }
    }
}

/// A new vector of these numbers in the current memory context.
///
/// # Errors
/// No number, more than [`MAX_DIMENSIONS`], NaN or an infinity.
pub fn new_datum(values: &[f32]) -> Result<pg_sys::Datum> {
    check_finite(values)?;
    build(values.len(), |target| target.copy_from_slice(values))
}

/// A new vector of so many dimensions in the current memory context. `fill` gets its numbers, all zero, and leaves them
/// finite.
fn build(dimensions: usize, fill: impl FnOnce(&mut [f32])) -> Result<pg_sys::Datum> {
    check_dimensions(dimensions)?;
    let size = size_of_vector(dimensions);
    // SAFETY: palloc0 gives `size` zeroed bytes, aligned for anything: the header and the numbers fill them.
    unsafe {
        let header = pg_sys::palloc0(size).cast::<Header>();
        varlena::set_varsize_4b(header.cast(), size as i32);
        (*header).dimensions = dimensions as u16;
        fill(std::slice::from_raw_parts_mut(header.add(1).cast(), dimensions));
        Ok(header.into())
    }
}

const fn size_of_vector(dimensions: usize) -> usize {
    size_of::<Header>() + dimensions * size_of::<f32>()
}

/// Refuses dimensions that no vector can have.
fn check_dimensions(dimensions: usize) -> Result<()> {
    match dimensions {
        0 => Err(Error::NoDimensions { type_name: TYPE_NAME }),
        1..=MAX_DIMENSIONS => Ok(()),
        _ => Err(Error::TooManyDimensions {
            type_name: TYPE_NAME,
            max: MAX_DIMENSIONS,
        }),
    }
}

/// Refuses dimensions other than the declared ones; a negative `typmod` declares none.
fn check_typmod(typmod: i32, found: usize) -> Result<()> {
    match usize::try_from(typmod) {
        Ok(expected) if expected != found => Err(Error::ExpectedDimensions { expected, found }),
        _ => Ok(()),
    }
}

/// Refuses two vectors of different dimensions.
#[inline]
fn check_same_dimensions(left: &[f32], right: &[f32]) -> Result<()> {
    match left.len() == right.len() {
        true => Ok(()),
        false => Err(Error::DifferentDimensions {
            type_name: TYPE_NAME,
            left: left.len(),
            right: right.len(),
        }),
    }
}

/// Refuses NaN and infinities.
fn check_finite(values: &[f32]) -> Result<()> {
    match values.iter().find(|value| !value.is_finite()) {
        None => Ok(()),
        Some(value) if value.is_nan() => Err(Error::NotANumber { type_name: TYPE_NAME }),
        Some(_) => Err(Error::Infinite { type_name: TYPE_NAME }),
    }
}
