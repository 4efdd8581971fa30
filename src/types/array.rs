//! Arrays of fixed-width numbers, read and made in place.

use crate::error::{Error, Result};
use crate::fallible;
use crate::types::call::{Argument, Arguments};
use pgrx::array::RawArray;
use pgrx::pg_sys;
use std::marker::PhantomData;
use std::ptr::NonNull;

/// An element type that an array keeps one after another, in the form of the Rust type.
///
/// # Safety
/// `OID` is a fixed-width type of the size and alignment of `Self`, valid for every bit pattern.
pub unsafe trait Element: Copy {
    /// The element type.
    const OID: pg_sys::Oid;
}

// SAFETY: int4 is a 32-bit integer.
unsafe impl Element for i32 {
    const OID: pg_sys::Oid = pg_sys::INT4OID;
}

// SAFETY: float4 is an IEEE single.
unsafe impl Element for f32 {
    const OID: pg_sys::Oid = pg_sys::FLOAT4OID;
}

// SAFETY: float8 is an IEEE double.
unsafe impl Element for f64 {
    const OID: pg_sys::Oid = pg_sys::FLOAT8OID;
}

/// An array argument, detoasted; a copy made for that is freed on drop.
pub struct ArrayDatum {
    array: NonNull<pg_sys::ArrayType>,
    copied: bool,
}

impl ArrayDatum {
    /// # Safety
    /// `datum` is an array and outlives the result.
    unsafe fn from_datum(datum: pg_sys::Datum) -> Self {
        // SAFETY: an array is a varlena; the result is never null.
        let array = unsafe { NonNull::new_unchecked(pg_sys::pg_detoast_datum(datum.cast_mut_ptr())) };
        Self {
            array: array.cast(),
            copied: array.as_ptr() != datum.cast_mut_ptr(),
        }
    }

    /// The elements of a `cstring[]` of type modifiers. PostgreSQL itself refuses elements that are
    /// no integers.
    pub fn to_typmods(&self) -> Vec<i32> {
        let mut len = 0;
        // SAFETY: PostgreSQL passes a cstring[] to a typmod input function; the result is `len`
        // integers.
        unsafe {
            let typmods = pg_sys::ArrayGetIntegerTypmods(self.as_ptr(), &mut len);
            std::slice::from_raw_parts(typmods, len as usize).to_vec()
        }
    }

    /// PostgreSQL's own form.
    pub fn as_ptr(&self) -> *mut pg_sys::ArrayType {
        self.array.as_ptr()
    }

    /// What `f` makes of each element of a list of varlenas, of int alignment. Datums point into
    /// the array.
    ///
    /// # Errors
    /// As [`ArrayDatum::list_len`].
    ///
    /// # Safety
    /// The elements are varlenas of int alignment.
    pub unsafe fn collect_varlenas<T>(&self, f: impl Fn(pg_sys::Datum) -> T) -> Result<Vec<T>> {
        self.list_len()?;
        let (mut elements, mut nulls, mut len) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
        // SAFETY: a detoasted array, and as the caller promises.
        unsafe {
            pg_sys::deconstruct_array(
                self.as_ptr(),
                (*self.as_ptr()).elemtype,
                -1,
                false,
                pg_sys::TYPALIGN_INT as std::ffi::c_char,
                &mut elements,
                &mut nulls,
                &mut len,
            );
            let datums = std::slice::from_raw_parts(elements, len as usize);
            let collected = fallible::collect(datums.iter().map(|&datum| f(datum)));
            pg_sys::pfree(elements.cast());
            pg_sys::pfree(nulls.cast());
            collected
        }
    }

    /// Checks that this is a list without NULLs (or empty) and gives its length.
    pub fn list_len(&self) -> Result<usize> {
        // SAFETY: a detoasted array with a valid header; without an offset there is no NULL bitmap
        // to look at.
        let (dimensions, len, nulls) = unsafe {
            let array = RawArray::from_ptr(self.array);
            let nulls = (*self.as_ptr()).dataoffset != 0 && pg_sys::array_contains_nulls(self.as_ptr());
            (array.dims().len(), array.len(), nulls)
        };
        match (dimensions, nulls) {
            (0 | 1, false) => Ok(len),
            (0 | 1, true) => Err(Error::ArrayWithNulls),
            _ => Err(Error::ArrayNotOneDimensional),
        }
    }
}

impl Argument for ArrayDatum {
    unsafe fn take(arguments: &mut Arguments) -> Self {
        // SAFETY: the caller promises an array.
        unsafe { ArrayDatum::from_datum(arguments.next_datum()) }
    }
}

impl Drop for ArrayDatum {
    fn drop(&mut self) {
        if self.copied {
            // SAFETY: detoasting allocated it, and nobody else has it.
            unsafe { pg_sys::pfree(self.as_ptr().cast()) }
        }
    }
}

/// A list of numbers: `T[]`.
pub struct NumberArray<T>(ArrayDatum, PhantomData<T>);

impl<T: Element> Argument for NumberArray<T> {
    unsafe fn take(arguments: &mut Arguments) -> Self {
        // SAFETY: the caller promises an array of T.
        Self(unsafe { ArrayDatum::take(arguments) }, PhantomData)
    }
}

impl<T: Element> NumberArray<T> {
    /// The elements, of which none is NULL.
    ///
    /// # Errors
    /// More than one array dimension, or a NULL.
    pub fn as_slice(&self) -> Result<&[T]> {
        let len = self.0.list_len()?;
        // SAFETY: an array of T without NULLs keeps `len` of them at its data pointer, aligned for
        // T.
        Ok(unsafe { std::slice::from_raw_parts(self.data(), len) })
    }

    /// The elements, to be changed in place.
    ///
    /// # Safety
    /// The array belongs to the caller: it is the state of the aggregate that calls.
    ///
    /// # Errors
    /// As [`as_slice`](Self::as_slice).
    pub unsafe fn as_mut_slice(&mut self) -> Result<&mut [T]> {
        let len = self.0.list_len()?;
        // SAFETY: as in `as_slice`, and the caller promises that nobody else looks at it.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.data(), len) })
    }

    /// The array itself, to be returned.
    pub fn into_datum(self) -> pg_sys::Datum {
        // The copy, if there is one, now belongs to the receiver of the datum.
        std::mem::ManuallyDrop::new(self).0.as_ptr().into()
    }

    fn data(&self) -> *mut T {
        // SAFETY: a detoasted array with a valid header.
        unsafe { RawArray::from_ptr(self.0.array).data::<T>() }.as_ptr().cast()
    }
}

/// A list of `numeric`: `numeric[]`.
pub struct NumericArray(ArrayDatum);

impl Argument for NumericArray {
    unsafe fn take(arguments: &mut Arguments) -> Self {
        // SAFETY: the caller promises an array of numeric.
        Self(unsafe { ArrayDatum::take(arguments) })
    }
}

impl NumericArray {
    /// The elements as the nearest f32.
    ///
    /// # Errors
    /// More than one array dimension, or a NULL. A number beyond f32 is raised by PostgreSQL itself
    /// (22003).
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        // SAFETY: an array of numeric. The result is None only for NULL, which there is not.
        unsafe {
            self.0.collect_varlenas(|number| {
                pgrx::fcinfo::direct_function_call::<f32>(pg_sys::numeric_float4, &[Some(number)]).unwrap_or_default()
            })
        }
    }
}

/// A new array of `len` elements in the current memory context, filled by `fill` (they start as
/// zero).
pub fn new_array<T: Element>(len: usize, fill: impl FnOnce(&mut [T])) -> pg_sys::Datum {
    // The header, one dimension and one lower bound; the elements follow at the next multiple of 8.
    const DATA: usize = (size_of::<pg_sys::ArrayType>() + 2 * size_of::<i32>()).next_multiple_of(8);
    let size = DATA + len * size_of::<T>();
    // SAFETY: palloc0 gives `size` zeroed bytes, aligned for anything: header, bounds and elements
    // lie within.
    unsafe {
        let array = pg_sys::palloc0(size).cast::<pg_sys::ArrayType>();
        pgrx::varlena::set_varsize_4b(array.cast(), size as i32);
        (*array).ndim = 1;
        (*array).elemtype = T::OID;
        let bounds = array.add(1).cast::<i32>();
        *bounds = len as i32;
        *bounds.add(1) = 1;
        fill(std::slice::from_raw_parts_mut(array.byte_add(DATA).cast(), len));
        array.into()
    }
}
