//! How PostgreSQL calls a function of ours: one macro, and the types that pass in and out.
//!
//! Everything declared with [`sql_function!`] is STRICT in `sql/`: no argument is ever NULL. A call
//! costs a guard against unwinding into PostgreSQL and nothing else, since distance functions run
//! once a row.

use crate::error::Error;
use pgrx::pg_sys;
use std::ffi::CStr;

/// The arguments of one call, taken in order.
pub struct Arguments {
    fcinfo: pg_sys::FunctionCallInfo,
    next: usize,
}

impl Arguments {
    /// The arguments of `fcinfo`.
    ///
    /// # Safety
    /// `fcinfo` is that of the call in progress, to a function declared STRICT with the arguments
    /// that will be taken.
    #[inline]
    pub unsafe fn new(fcinfo: pg_sys::FunctionCallInfo) -> Self {
        Self { fcinfo, next: 0 }
    }

    /// The next argument.
    #[inline]
    pub fn take<T: Argument>(&mut self) -> T {
        // SAFETY: `new` was promised that the declaration has this argument.
        unsafe { T::take(self) }
    }

    /// The datum of the next argument.
    ///
    /// # Safety
    /// There is a next argument.
    #[inline]
    pub unsafe fn next_datum(&mut self) -> pg_sys::Datum {
        let index = self.next;
        self.next += 1;
        // SAFETY: the caller promises the argument, `new` that fcinfo is valid.
        unsafe { pgrx::fcinfo::pg_getarg_datum_raw(self.fcinfo, index) }
    }
}

/// Types of arguments.
pub trait Argument: Sized {
    /// Takes the next argument.
    ///
    /// # Safety
    /// There is a next argument, it is not NULL, and its SQL type is the one that belongs to
    /// `Self`.
    unsafe fn take(arguments: &mut Arguments) -> Self;
}

impl Argument for i32 {
    #[inline]
    unsafe fn take(arguments: &mut Arguments) -> Self {
        // SAFETY: as promised. The low half of the datum is the integer.
        unsafe { arguments.next_datum() }.value() as i32
    }
}

impl Argument for pg_sys::Oid {
    #[inline]
    unsafe fn take(arguments: &mut Arguments) -> Self {
        // SAFETY: as promised. The low half of the datum is the number.
        pg_sys::Oid::from(unsafe { arguments.next_datum() }.value() as u32)
    }
}

impl Argument for f64 {
    #[inline]
    unsafe fn take(arguments: &mut Arguments) -> Self {
        // SAFETY: as promised. The datum is the number.
        f64::from_bits(unsafe { arguments.next_datum() }.value() as u64)
    }
}

/// A value of any type, as PostgreSQL passes it.
impl Argument for pg_sys::Datum {
    #[inline]
    unsafe fn take(arguments: &mut Arguments) -> Self {
        // SAFETY: as promised.
        unsafe { arguments.next_datum() }
    }
}

impl Argument for bool {
    #[inline]
    unsafe fn take(arguments: &mut Arguments) -> Self {
        // SAFETY: as promised. Only the lowest byte is the boolean's.
        unsafe { arguments.next_datum() }.value() as u8 != 0
    }
}

impl Argument for &CStr {
    #[inline]
    unsafe fn take(arguments: &mut Arguments) -> Self {
        // SAFETY: a `cstring` argument points to a terminated string that outlives the call.
        unsafe { CStr::from_ptr(arguments.next_datum().cast_mut_ptr()) }
    }
}

impl Argument for pg_sys::StringInfo {
    #[inline]
    unsafe fn take(arguments: &mut Arguments) -> Self {
        // SAFETY: as promised. A receive function's `internal` argument is the message.
        unsafe { arguments.next_datum() }.cast_mut_ptr()
    }
}

/// Whether PostgreSQL calls this as an aggregate's support function: the state argument may then be
/// changed in place. Takes no argument.
pub struct InAggregate(pub bool);

impl Argument for InAggregate {
    #[inline]
    unsafe fn take(arguments: &mut Arguments) -> Self {
        // SAFETY: fcinfo is that of the call in progress; the context itself is not asked for.
        Self(unsafe { pg_sys::AggCheckCallContext(arguments.fcinfo, std::ptr::null_mut()) } != 0)
    }
}

/// Types of results.
pub trait Returned {
    /// The datum to return; `None` is NULL.
    fn into_datum(self) -> Option<pg_sys::Datum>;
}

impl Returned for pg_sys::Datum {
    #[inline]
    fn into_datum(self) -> Option<pg_sys::Datum> {
        Some(self)
    }
}

impl Returned for Option<pg_sys::Datum> {
    #[inline]
    fn into_datum(self) -> Option<pg_sys::Datum> {
        self
    }
}

/// Raises the error of a call; where the caller wants one about the value that it passed for itself
/// (`pg_input_is_valid()`, `COPY` with `ON_ERROR ignore`: from PostgreSQL 16 on), leaves it there
/// and returns something.
///
/// # Safety
/// `fcinfo` is that of the call in progress.
#[cold]
pub unsafe fn fail(fcinfo: pg_sys::FunctionCallInfo, error: Error) -> pg_sys::Datum {
    // SAFETY: as the caller promises: the context is null or a node.
    if unsafe { error.save((*fcinfo).context) } {
        return pg_sys::Datum::null();
    }
    error.raise()
}

/// Types that PostgreSQL passes by value, as pgrx converts them.
macro_rules! returned_by_value {
    ($($ty:ty),*) => {$(
        impl Returned for $ty {
            #[inline]
            fn into_datum(self) -> Option<pg_sys::Datum> {
                pgrx::IntoDatum::into_datum(self)
            }
        }
    )*};
}
returned_by_value!(bool, i32, f64);

/// Defines a C function that SQL can name: takes [`Argument`]s, gives a
/// [`Result`](crate::error::Result) of something [`Returned`], and raises the error if there is
/// one. The SQL declaration must be STRICT and have these arguments. `fn name<T = f32>(..)` gives a
/// type another name within the function.
macro_rules! sql_function {
    ($($(#[$meta:meta])* fn $name:ident$(<$alias:ident = $aliased:ty>)?($($arg:ident: $ty:ty),* $(,)?) -> $ret:ty $body:block)*) => {$(
        $(#[$meta])*
        ///
        /// # Safety
        /// Called by PostgreSQL only, as its declaration in `sql/` says.
        #[pgrx::pg_guard]
        #[unsafe(no_mangle)]
        pub unsafe extern "C-unwind" fn $name(fcinfo: pgrx::pg_sys::FunctionCallInfo) -> pgrx::pg_sys::Datum {
            $(type $alias = $aliased;)?

            #[inline]
            fn body($($arg: $ty),*) -> $crate::error::Result<$ret> $body

            // SAFETY: PostgreSQL calls with the arguments of the declaration in `sql/`, and STRICT.
            #[allow(unused_mut, unused_variables, reason = "a function may ignore what it is called with")]
            let mut arguments = unsafe { $crate::types::call::Arguments::new(fcinfo) };
            match body($(arguments.take::<$ty>()),*) {
                Ok(value) => match $crate::types::call::Returned::into_datum(value) {
                    Some(datum) => datum,
                    // SAFETY: fcinfo is that of the call in progress.
                    None => unsafe { pgrx::fcinfo::pg_return_null(fcinfo) },
                },
                // SAFETY: fcinfo is that of the call in progress.
                Err(error) => unsafe { $crate::types::call::fail(fcinfo, error) },
            }
        }

        const _: () = {
            /// Tells PostgreSQL which calling convention the function has.
            #[unsafe(export_name = concat!("pg_finfo_", stringify!($name)))]
            pub extern "C" fn finfo() -> &'static pgrx::pg_sys::Pg_finfo_record {
                const V1: pgrx::pg_sys::Pg_finfo_record = pgrx::pg_sys::Pg_finfo_record { api_version: 1 };
                &V1
            }
        };
    )*};
}

pub(crate) use sql_function;
