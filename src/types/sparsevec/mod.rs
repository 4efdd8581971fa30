//! The type `sparsevec`: single-precision numbers, 1 to 1,000,000,000 of them, of which at most
//! 16,000 are not zero and kept.
//!
//! A value is a varlena: its 4-byte header, the number of dimensions (i32), the number of elements
//! (i32), four bytes that are zero, the indices of the elements (i32, from 0), their values (f32).
//! Invariants: the numbers match the size, which is checked on reading; indices ascend and are
//! below the number of dimensions, and every value is finite and not zero, which everything keeps
//! that makes a sparse vector ([`Elements`]).

pub mod cast;
pub mod compare;
pub mod functions;
pub mod io;
pub mod operators;
pub mod text;

#[cfg(any(test, feature = "pg_test"))]
mod tests;

use crate::distance::sparse::Sparse;
use crate::error::{Error, Result};
use crate::types::call::{Argument, Arguments};
use crate::types::dimensions;
use crate::types::text::not_finite;
use crate::types::varlena::{Varlena, new_varlena};
use pgrx::pg_sys;

/// The name of the type, in errors.
pub const TYPE_NAME: &str = "sparsevec";

/// The most dimensions a sparse vector can have.
pub const MAX_DIMENSIONS: usize = 1_000_000_000;

/// The most elements other than zero.
pub const MAX_ELEMENTS: usize = 16_000;

/// Header before the indices.
#[repr(C)]
struct Header {
    varlena: i32,
    dimensions: i32,
    elements: i32,
    unused: i32,
}

/// A sparse vector that PostgreSQL passed, detoasted and with a valid header.
pub struct SparsevecDatum(Varlena);

impl SparsevecDatum {
    /// Reads a sparse vector; raises an error (data_corrupted) if its header does not make sense.
    ///
    /// # Safety
    /// `datum` is a value of type `sparsevec`, not NULL, and outlives the result.
    #[inline]
    pub unsafe fn from_datum(datum: pg_sys::Datum) -> SparsevecDatum {
        // SAFETY: as the caller promises.
        let vector = SparsevecDatum(unsafe { Varlena::from_datum(datum) });
        if let Err(error) = vector.check_header() {
            error.raise();
        }
        vector
    }

    /// The number of dimensions: 1 to [`MAX_DIMENSIONS`].
    #[inline]
    pub fn dimensions(&self) -> usize {
        // SAFETY: `from_datum` checked that there is a header.
        unsafe { (*self.header()).dimensions as usize }
    }

    /// The elements.
    #[inline]
    pub fn as_sparse(&self) -> Sparse<'_> {
        let header = self.header();
        // SAFETY: `from_datum` checked that so many indices and as many values follow the header,
        // aligned to 4 bytes.
        unsafe {
            let elements = (*header).elements as usize;
            let indices = header.add(1).cast::<i32>();
            Sparse {
                indices: std::slice::from_raw_parts(indices, elements),
                values: std::slice::from_raw_parts(indices.add(elements).cast(), elements),
            }
        }
    }

    /// This vector as a value to return.
    fn into_datum(self) -> pg_sys::Datum {
        self.0.into_datum()
    }

    #[inline]
    fn header(&self) -> *const Header {
        self.0.as_ptr()
    }

    #[inline]
    fn check_header(&self) -> Result<()> {
        let size = self.0.size();
        let (dimensions, elements) = match size < size_of::<Header>() {
            true => (0, 0),
            // SAFETY: the header lies within the size.
            false => unsafe { ((*self.header()).dimensions, (*self.header()).elements) },
        };
        // A negative number is as bad as one that is too large.
        let elements = elements as u32 as usize;
        let sound = (1..=MAX_DIMENSIONS as i32).contains(&dimensions)
            && elements <= MAX_ELEMENTS
            && size == size_of_sparsevec(elements);
        match sound {
            true => Ok(()),
            false => Err(Error::CorruptedValue {
                type_name: TYPE_NAME,
                size,
                count: elements,
                unit: "elements",
            }),
        }
    }
}

impl Argument for SparsevecDatum {
    #[inline]
    unsafe fn take(arguments: &mut Arguments) -> Self {
        // SAFETY: the caller promises a sparse vector, and arguments outlive the call.
        unsafe { SparsevecDatum::from_datum(arguments.next_datum()) }
    }
}

/// The elements of a sparse vector that is being made.
#[derive(Debug, Default, PartialEq)]
pub struct Elements {
    indices: Vec<i32>,
    values: Vec<f32>,
}

impl Elements {
    /// Room for so many elements.
    pub fn with_capacity(elements: usize) -> Self {
        Self {
            indices: Vec::with_capacity(elements),
            values: Vec::with_capacity(elements),
        }
    }

    /// The elements so far.
    pub fn as_sparse(&self) -> Sparse<'_> {
        Sparse {
            indices: &self.indices,
            values: &self.values,
        }
    }

    /// Adds an element with an index greater than all before. Zero is left out.
    ///
    /// # Errors
    /// [`Error::NotANumber`], [`Error::Infinite`] or [`Error::TooManyElements`].
    #[inline]
    pub fn push(&mut self, index: i32, value: f32) -> Result<()> {
        if !value.is_finite() {
            return Err(not_finite(TYPE_NAME, value));
        }
        if value != 0.0 {
            check_elements(self.indices.len() + 1)?;
            self.indices.push(index);
            self.values.push(value);
        }
        Ok(())
    }

    /// A new sparse vector of these elements and so many dimensions, as many as the greatest index
    /// needs, in the current memory context.
    ///
    /// # Errors
    /// [`Error::NoDimensions`] or [`Error::TooManyDimensions`].
    pub fn into_datum(self, dimensions: usize) -> Result<pg_sys::Datum> {
        check_dimensions(dimensions)?;
        let elements = self.indices.len();
        let header = new_varlena::<Header>(size_of_sparsevec(elements));
        // SAFETY: the header, the indices and the values fill the value.
        unsafe {
            (*header).dimensions = dimensions as i32;
            (*header).elements = elements as i32;
            let indices = header.add(1).cast::<i32>();
            indices.copy_from_nonoverlapping(self.indices.as_ptr(), elements);
            indices
                .add(elements)
                .cast::<f32>()
                .copy_from_nonoverlapping(self.values.as_ptr(), elements);
        }
        Ok(header.into())
    }
}

const fn size_of_sparsevec(elements: usize) -> usize {
    size_of::<Header>() + elements * (size_of::<i32>() + size_of::<f32>())
}

/// Refuses dimensions that no sparse vector can have.
fn check_dimensions(dimensions: usize) -> Result<()> {
    dimensions::check(dimensions, TYPE_NAME, MAX_DIMENSIONS)
}

/// Refuses more elements than a sparse vector can have.
#[inline]
fn check_elements(elements: usize) -> Result<()> {
    match elements <= MAX_ELEMENTS {
        true => Ok(()),
        false => Err(Error::TooManyElements {
            type_name: TYPE_NAME,
            max: MAX_ELEMENTS,
        }),
    }
}

/// Refuses two sparse vectors of different dimensions.
#[inline]
fn check_same_dimensions(a: &SparsevecDatum, b: &SparsevecDatum) -> Result<()> {
    dimensions::check_same(a.dimensions(), b.dimensions(), TYPE_NAME)
}
