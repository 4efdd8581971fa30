//! The dense types: `vector` of single-precision numbers and `halfvec` of half-precision ones, 1 to
//! 16,000 of them.
//!
//! Everything is written once, for any [`Element`]; `dense_functions!` makes of it the functions of
//! both types.
//!
//! A value is a varlena: its 4-byte header, the number of dimensions (u16), two bytes that are
//! zero, the numbers. Invariants: the dimensions match the size, and every number is finite. The
//! first is checked on reading, the second kept by everything that makes a vector ([`new_datum`],
//! [`check_finite`]).

pub mod aggregate;
pub mod cast;
pub mod compare;
pub mod functions;
pub mod io;
pub mod maxsim;
pub mod operators;
pub mod text;

#[cfg(any(test, feature = "pg_test"))]
mod tests;

use crate::distance::{Number, f16};
use crate::error::{Error, Result};
use crate::types::call::{Argument, Arguments};
use crate::types::dimensions;
use crate::types::text::not_finite;
use crate::types::varlena::{Varlena, new_varlena};
use pgrx::pg_sys;
use std::marker::PhantomData;

/// The most dimensions a vector can have.
pub const MAX_DIMENSIONS: usize = 16_000;

/// Element types of vectors.
pub trait Element: Number {
    /// The name of the type of vectors, in errors.
    const TYPE_NAME: &'static str;

    /// Reads a number from as many bytes as it has, big-endian.
    fn from_wire(bytes: &[u8]) -> Self;

    /// Writes this number, big-endian, to as many bytes.
    fn to_wire(self, bytes: &mut [u8]);

    /// Whether this is neither NaN nor an infinity.
    #[inline]
    fn is_finite(self) -> bool {
        Into::<f32>::into(self).is_finite()
    }
}

macro_rules! element {
    ($number:ty, $name:literal) => {
        impl Element for $number {
            const TYPE_NAME: &'static str = $name;

            #[inline]
            fn from_wire(bytes: &[u8]) -> Self {
                let mut number = [0; size_of::<Self>()];
                number.copy_from_slice(bytes);
                Self::from_be_bytes(number)
            }

            #[inline]
            fn to_wire(self, bytes: &mut [u8]) {
                bytes.copy_from_slice(&self.to_be_bytes());
            }
        }
    };
}
element!(f32, "vector");
element!(f16, "halfvec");

/// Defines functions of both types, as [`sql_function!`](crate::types::call::sql_function) does:
/// `fn a | b<T>(..)` is the function `a` with `T` = f32 and the function `b` with `T` = f16.
macro_rules! dense_functions {
    ($($(#[$meta:meta])* fn $single:ident | $half:ident<$t:ident>($($args:tt)*) -> $ret:ty $body:block)*) => {$(
        $crate::types::call::sql_function! {
            $(#[$meta])* fn $single<$t = f32>($($args)*) -> $ret $body
            $(#[$meta])* fn $half<$t = $crate::distance::f16>($($args)*) -> $ret $body
        }
    )*};
}
use dense_functions;

/// Header before the numbers.
#[repr(C)]
struct Header {
    varlena: i32,
    dimensions: u16,
    unused: u16,
}

/// A value of type `vector`.
pub type VectorDatum = DenseDatum<f32>;

/// A value of type `halfvec`.
pub type HalfvecDatum = DenseDatum<f16>;

/// A vector that PostgreSQL passed, detoasted and with a valid header.
pub struct DenseDatum<T>(Varlena, PhantomData<T>);

impl<T: Element> DenseDatum<T> {
    /// Reads a vector; raises an error (data_corrupted) if its header does not make sense.
    ///
    /// # Safety
    /// `datum` is a vector of `T`, not NULL, and outlives the result.
    #[inline]
    pub unsafe fn from_datum(datum: pg_sys::Datum) -> Self {
        // SAFETY: as the caller promises.
        let vector = Self(unsafe { Varlena::from_datum(datum) }, PhantomData);
        if let Err(error) = vector.check_header() {
            error.raise();
        }
        vector
    }

    /// The numbers: 1 to [`MAX_DIMENSIONS`].
    #[inline]
    pub fn as_slice(&self) -> &[T] {
        let header = self.0.as_ptr::<Header>();
        // SAFETY: `from_datum` checked that so many numbers follow the header, which is aligned to
        // 4 bytes.
        unsafe { std::slice::from_raw_parts(header.add(1).cast(), usize::from((*header).dimensions)) }
    }

    /// This vector as a value to return.
    pub fn into_datum(self) -> pg_sys::Datum {
        self.0.into_datum()
    }

    #[inline]
    fn check_header(&self) -> Result<()> {
        let size = self.0.size();
        let dimensions = match size < size_of::<Header>() {
            true => 0,
            // SAFETY: the header lies within the size.
            false => usize::from(unsafe { (*self.0.as_ptr::<Header>()).dimensions }),
        };
        match (1..=MAX_DIMENSIONS).contains(&dimensions) && size == size_of_vector::<T>(dimensions) {
            true => Ok(()),
            false => Err(Error::CorruptedValue {
                type_name: T::TYPE_NAME,
                size,
                count: dimensions,
                unit: "dimensions",
            }),
        }
    }
}

impl<T: Element> Argument for DenseDatum<T> {
    #[inline]
    unsafe fn take(arguments: &mut Arguments) -> Self {
        // SAFETY: the caller promises a vector, and arguments outlive the call.
        unsafe { DenseDatum::from_datum(arguments.next_datum()) }
    }
}

/// A new vector of these numbers in the current memory context.
///
/// # Errors
/// No number, more than [`MAX_DIMENSIONS`], NaN or an infinity.
pub fn new_datum<T: Element>(values: &[T]) -> Result<pg_sys::Datum> {
    check_finite(values)?;
    build(values.len(), |target| {
        target.copy_from_slice(values);
        Ok(())
    })
}

/// A new vector of so many dimensions in the current memory context. `fill` gets its numbers, all
/// zero, and leaves them finite or refuses them.
///
/// # Errors
/// [`Error::NoDimensions`], [`Error::TooManyDimensions`], or the error of `fill`.
pub fn build<T: Element>(dimensions: usize, fill: impl FnOnce(&mut [T]) -> Result<()>) -> Result<pg_sys::Datum> {
    check_dimensions::<T>(dimensions)?;
    let header = new_varlena::<Header>(size_of_vector::<T>(dimensions));
    // SAFETY: the header and the numbers fill the value.
    unsafe {
        (*header).dimensions = dimensions as u16;
        fill(std::slice::from_raw_parts_mut(header.add(1).cast(), dimensions))?;
    }
    Ok(header.into())
}

const fn size_of_vector<T>(dimensions: usize) -> usize {
    size_of::<Header>() + dimensions * size_of::<T>()
}

/// Refuses dimensions that no vector can have.
///
/// # Errors
/// [`Error::NoDimensions`] or [`Error::TooManyDimensions`].
pub fn check_dimensions<T: Element>(dimensions: usize) -> Result<()> {
    dimensions::check(dimensions, T::TYPE_NAME, MAX_DIMENSIONS)
}

/// Refuses two vectors of different dimensions.
#[inline]
fn check_same_dimensions<T: Element>(left: &[T], right: &[T]) -> Result<()> {
    dimensions::check_same(left.len(), right.len(), T::TYPE_NAME)
}

/// Refuses NaN and infinities.
fn check_finite<T: Element>(values: &[T]) -> Result<()> {
    match values.iter().find(|value| !value.is_finite()) {
        None => Ok(()),
        Some(&value) => Err(not_finite(T::TYPE_NAME, value.into())),
    }
}
