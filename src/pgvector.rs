//! Names of C functions that the catalogs of pgvector have and ours do not. A library of the name
//! `vector` has to have them all, because pg_upgrade restores those catalogs, and a database of
//! pgvector has them until `ALTER EXTENSION vector UPDATE`.

use pgrx::{pg_guard, pg_sys};

use crate::types::bit::{bit_hamming_distance, bit_jaccard_distance};
use crate::types::call::sql_function;
use crate::types::dense::cast as dense_cast;
use crate::types::dense::functions::{vector_binary_quantize, vector_l2_normalize, vector_subvector};
use crate::types::dense::operators as dense;
use crate::types::sparsevec::cast as sparse_cast;

type Function = unsafe extern "C-unwind" fn(pg_sys::FunctionCallInfo) -> pg_sys::Datum;

/// Exports functions under further names.
macro_rules! aliases {
    ($($name:literal = $function:path;)*) => {$(
        const _: () = {
            /// # Safety
            /// Called by PostgreSQL only, as the function that it stands for.
            #[unsafe(export_name = $name)]
            pub unsafe extern "C-unwind" fn alias(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
                // SAFETY: the same call.
                unsafe { $function(fcinfo) }
            }

            /// Tells PostgreSQL which calling convention the function has.
            #[unsafe(export_name = concat!("pg_finfo_", $name))]
            pub extern "C" fn finfo() -> &'static pg_sys::Pg_finfo_record {
                const V1: pg_sys::Pg_finfo_record = pg_sys::Pg_finfo_record { api_version: 1 };
                &V1
            }
        };
    )*};
}

aliases! {
    "l2_distance" = dense::vector_l2_distance;
    "inner_product" = dense::vector_inner_product;
    "cosine_distance" = dense::vector_cosine_distance;
    "l1_distance" = dense::vector_l1_distance;
    "hamming_distance" = bit_hamming_distance;
    "jaccard_distance" = bit_jaccard_distance;
    "l2_normalize" = vector_l2_normalize;
    "binary_quantize" = vector_binary_quantize;
    "subvector" = vector_subvector;
    "vector" = dense_cast::vector_check_length;
    "halfvec" = dense_cast::halfvec_check_length;
    "sparsevec" = sparse_cast::sparsevec_check_length;
    "array_to_vector" = array_to_vector;
    "array_to_halfvec" = array_to_halfvec;
    "array_to_sparsevec" = array_to_sparsevec;
}

/// Defines casts from arrays, which have one function here for each element type.
macro_rules! array_casts {
    ($($name:ident = $module:ident: $int4:ident, $float4:ident, $float8:ident, $numeric:ident;)*) => {$(
        #[pg_guard]
        unsafe extern "C-unwind" fn $name(fcinfo: pg_sys::FunctionCallInfo) -> pg_sys::Datum {
            let functions: [Function; 4] = [$module::$int4, $module::$float4, $module::$float8, $module::$numeric];
            // SAFETY: PostgreSQL calls it as a cast from an array.
            unsafe { call_for_elements(fcinfo, functions) }
        }
    )*};
}

array_casts! {
    array_to_vector = dense_cast:
        vector_from_int4_array, vector_from_float4_array, vector_from_float8_array, vector_from_numeric_array;
    array_to_halfvec = dense_cast:
        halfvec_from_int4_array, halfvec_from_float4_array, halfvec_from_float8_array, halfvec_from_numeric_array;
    array_to_sparsevec = sparse_cast:
        sparsevec_from_int4_array, sparsevec_from_float4_array, sparsevec_from_float8_array,
        sparsevec_from_numeric_array;
}

/// Calls the function for the elements of the first argument: integers, floating-point numbers of 4
/// bytes, of 8 bytes, or `numeric`.
///
/// # Safety
/// The call has an array as its first argument, and is otherwise one of each function.
unsafe fn call_for_elements(fcinfo: pg_sys::FunctionCallInfo, functions: [Function; 4]) -> pg_sys::Datum {
    // SAFETY: as the caller promises; an array is a varlena, and the function takes it detoasted.
    unsafe {
        let argument = (*fcinfo).args.as_mut_ptr();
        let array = pg_sys::pg_detoast_datum((*argument).value.cast_mut_ptr());
        (*argument).value = array.into();
        let element = (*array.cast::<pg_sys::ArrayType>()).elemtype;
        let [int4, float4, float8, numeric] = functions;
        match element {
            pg_sys::INT4OID => int4(fcinfo),
            pg_sys::FLOAT4OID => float4(fcinfo),
            pg_sys::FLOAT8OID => float8(fcinfo),
            pg_sys::NUMERICOID => numeric(fcinfo),
            _ => pgrx::error!("unsupported array type"),
        }
    }
}

/// Defines functions that nobody calls: privileges may be granted on them.
macro_rules! stubs {
    ($($name:ident)*) => {$(sql_function! {
        /// Does nothing.
        fn $name(_nothing: pg_sys::Datum) -> pg_sys::Datum {
            Ok(pg_sys::Datum::from(0))
        }
    })*};
}

stubs! {
    hnsw_halfvec_support
    hnsw_bit_support
    hnsw_sparsevec_support
    ivfflat_halfvec_support
    ivfflat_bit_support
}
