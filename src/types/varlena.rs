//! Values of variable length: read where they lie, or detoasted.

use pgrx::pg_sys;
use pgrx::varlena::{set_varsize_4b, varatt_is_1b, varatt_is_1b_e, varatt_is_4b_u, varsize_1b, varsize_4b};

/// The bytes of the largest value with a 1-byte header, without it.
const MAX_SHORT: usize = 126;

/// A small value, aligned to 4 bytes and with the header of a large one.
#[repr(C)]
struct Short {
    header: u32,
    data: [u32; MAX_SHORT.div_ceil(size_of::<u32>())],
}

/// Where a value is.
enum Storage {
    /// Where PostgreSQL passed it.
    Given(*const pg_sys::varlena),
    /// In a copy that detoasting made.
    Detoasted(*const pg_sys::varlena),
    /// Here: rows store small values unaligned, and copying them costs less than allocating.
    Short(Short),
}

/// A value that PostgreSQL passed, with a 4-byte header and aligned to 4 bytes; a copy made for
/// that is freed on drop.
pub struct Varlena(Storage);

impl Varlena {
    /// Reads a value.
    ///
    /// # Safety
    /// `datum` is a value of variable length and of an alignment of at most 4, not NULL, and
    /// outlives the result.
    #[inline]
    pub unsafe fn from_datum(datum: pg_sys::Datum) -> Varlena {
        let given = datum.cast_mut_ptr::<pg_sys::varlena>();
        // SAFETY: the caller promises a varlena. One with a plain 4-byte header is aligned.
        Varlena(unsafe {
            if varatt_is_4b_u(given) {
                Storage::Given(given)
            } else if varatt_is_1b(given) && !varatt_is_1b_e(given) {
                Storage::Short(Short::read(given))
            } else {
                Storage::Detoasted(pg_sys::pg_detoast_datum(given))
            }
        })
    }

    /// The value, from its header on: [`size`](Self::size) bytes.
    #[inline]
    pub fn as_ptr<T>(&self) -> *const T {
        match &self.0 {
            Storage::Given(value) | Storage::Detoasted(value) => value.cast(),
            Storage::Short(short) => std::ptr::from_ref(short).cast(),
        }
    }

    /// The bytes of the value, with its header.
    #[inline]
    pub fn size(&self) -> usize {
        // SAFETY: the header is plain.
        unsafe { varsize_4b(self.as_ptr()) }
    }

    /// The bytes of the value, without its header.
    pub fn payload(&self) -> &[u8] {
        // SAFETY: a plain header is followed by the rest of the size.
        unsafe {
            let start = self.as_ptr::<u8>().add(pg_sys::VARHDRSZ);
            std::slice::from_raw_parts(start, self.size().saturating_sub(pg_sys::VARHDRSZ))
        }
    }

    /// This value, to be returned.
    pub fn into_datum(self) -> pg_sys::Datum {
        match self.0 {
            Storage::Given(value) => value.into(),
            Storage::Detoasted(value) => {
                // The copy now belongs to the receiver of the datum.
                std::mem::forget(self);
                value.into()
            }
            Storage::Short(_) => {
                let size = self.size();
                // SAFETY: palloc gives `size` bytes, as many as there are.
                unsafe {
                    let copy = pg_sys::palloc(size).cast::<u8>();
                    copy.copy_from_nonoverlapping(self.as_ptr(), size);
                    copy.into()
                }
            }
        }
    }
}

impl Short {
    /// # Safety
    /// `given` has a 1-byte header.
    #[inline]
    unsafe fn read(given: *const pg_sys::varlena) -> Short {
        let mut short = Short {
            header: 0,
            data: Default::default(),
        };
        // SAFETY: a 1-byte header is followed by at most 126 bytes, for which there is room.
        unsafe {
            let len = varsize_1b(given) - 1;
            set_varsize_4b(std::ptr::from_mut(&mut short).cast(), (pg_sys::VARHDRSZ + len) as i32);
            let data = short.data.as_mut_ptr().cast::<u8>();
            data.copy_from_nonoverlapping(given.cast::<u8>().add(1), len);
        }
        short
    }
}

impl Drop for Varlena {
    #[inline]
    fn drop(&mut self) {
        if let Storage::Detoasted(value) = self.0 {
            // SAFETY: detoasting allocated it, and nobody else has it.
            unsafe { pg_sys::pfree(value.cast_mut().cast()) }
        }
    }
}

/// A new value with these bytes after its header, in the current memory context.
pub fn of_payload(payload: &[u8]) -> pg_sys::Datum {
    let value = new_varlena::<u8>(pg_sys::VARHDRSZ + payload.len());
    // SAFETY: the payload fills the rest of the value.
    unsafe {
        let start = value.add(pg_sys::VARHDRSZ);
        start.copy_from_nonoverlapping(payload.as_ptr(), payload.len());
    }
    value.into()
}

/// A new value of `size` bytes in the current memory context, all zero but the header.
pub fn new_varlena<T>(size: usize) -> *mut T {
    // SAFETY: palloc0 gives `size` zeroed bytes, aligned for anything.
    unsafe {
        let value = pg_sys::palloc0(size).cast::<T>();
        set_varsize_4b(value.cast(), size as i32);
        value
    }
}
