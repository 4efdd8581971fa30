//! Values with a radius: what a scan is to return rows around, no farther than that.
//!
//! The planner's hook (`plan::radius`) lets `hnsw_within()` make one of the value to search for, and the scan takes it apart. It is a varlena as the
//! value itself is, and what follows the size is a number of dimensions (or bits) that no value has.

use pgrx::pg_sys;
use pgrx::varlena::varatt_is_4b_u;

use crate::types::call::sql_function;
use crate::types::varlena::new_varlena;

/// The support function of operator classes that makes them.
const SUPPORT: u16 = 2;

/// In place of dimensions.
const MARK: u32 = u32::MAX;

/// What precedes the value.
#[repr(C)]
struct Header {
    varlena: i32,
    mark: u32,
    radius: [u32; 2],
}

/// The function that makes values with a radius, for an index; invalid if its operator class has none.
///
/// # Safety
/// `index` is an index of this access method that the planner has locked.
pub unsafe fn function(index: pg_sys::Oid) -> pg_sys::Oid {
    // SAFETY: as the caller promises; its support functions are in its relation.
    unsafe {
        let lock = pg_sys::NoLock as pg_sys::LOCKMODE;
        let relation = pg_sys::index_open(index, lock);
        let function = pg_sys::index_getprocid(relation, 1, SUPPORT);
        pg_sys::index_close(relation, lock);
        function
    }
}

/// The value to search for, and the radius if there is one.
///
/// # Safety
/// `datum` is a value of the index's type, or one with a radius; not NULL.
pub unsafe fn take_apart(datum: pg_sys::Datum) -> (pg_sys::Datum, Option<f64>) {
    // SAFETY: as the caller promises. Both have a mark or a number of dimensions behind a header of 4 bytes.
    unsafe {
        let header = datum.cast_mut_ptr::<Header>();
        if !varatt_is_4b_u(header.cast()) || (*header).mark != MARK {
            return (datum, None);
        }
        let [low, high] = (*header).radius;
        let radius = f64::from_bits(u64::from(high) << 32 | u64::from(low));
        (header.add(1).into(), Some(radius))
    }
}

sql_function! {
    /// `hnsw_within(internal, double precision) -> internal`: a value with a radius.
    fn hnsw_within(value: pg_sys::Datum, radius: f64) -> pg_sys::Datum {
        // SAFETY: plans pass a value of the index's type, which has variable length.
        unsafe {
            let value = pg_sys::pg_detoast_datum(value.cast_mut_ptr());
            let size = pgrx::varlena::varsize_4b(value);
            let header = new_varlena::<Header>(size_of::<Header>() + size);
            (*header).mark = MARK;
            (*header).radius = [radius.to_bits() as u32, (radius.to_bits() >> 32) as u32];
            std::ptr::copy_nonoverlapping(value.cast::<u8>(), header.add(1).cast(), size);
            Ok(header.into())
        }
    }
}
