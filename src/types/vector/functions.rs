//! Functions of one vector.

use super::{VectorDatum, build};
use crate::distance;
use crate::types::call::sql_function;
use pgrx::{pg_sys, varlena};

/// What precedes the bits of a `bit` value.
#[repr(C)]
struct BitHeader {
    varlena: i32,
    bits: i32,
}

sql_function! {
    /// `vector_dims(vector) -> integer`
    fn vector_dims(vector: VectorDatum) -> i32 {
        Ok(vector.as_slice().len() as i32)
    }

    /// `vector_norm(vector) -> double precision`
    fn vector_norm(vector: VectorDatum) -> f64 {
        Ok(distance::norm(vector.as_slice()))
    }

    /// `l2_normalize(vector) -> vector`: the vector of norm 1 in the same direction; zero stays zero.
    fn vector_l2_normalize(vector: VectorDatum) -> pg_sys::Datum {
        let values = vector.as_slice();
        build(values.len(), |target| {
            target.copy_from_slice(values);
            distance::normalize(target);
        })
    }

    /// `binary_quantize(vector) -> bit`: for each element, whether it is above zero.
    fn vector_binary_quantize(vector: VectorDatum) -> pg_sys::Datum {
        let values = vector.as_slice();
        let size = size_of::<BitHeader>() + values.len().div_ceil(8);
        // SAFETY: palloc0 gives `size` zeroed bytes, aligned: the header and one bit for each element.
        unsafe {
            let bits = pg_sys::palloc0(size).cast::<BitHeader>();
            varlena::set_varsize_4b(bits.cast(), size as i32);
            (*bits).bits = values.len() as i32;
            let bytes = std::slice::from_raw_parts_mut(bits.add(1).cast::<u8>(), values.len().div_ceil(8));
            for (byte, values) in bytes.iter_mut().zip(values.chunks(8)) {
                // The first element is the highest bit.
                *byte = values.iter().rev().fold(0, |byte, &value| byte >> 1 | u8::from(value > 0.0) << 7);
            }
            Ok(bits.into())
        }
    }

    /// `subvector(vector, start integer, count integer) -> vector`: as substring() cuts, the first element is number 1
    /// and what lies outside the vector is left out.
    fn vector_subvector(vector: VectorDatum, start: i32, count: i32) -> pg_sys::Datum {
        let values = vector.as_slice();
        let index = |position: i64| (position - 1).clamp(0, values.len() as i64) as usize;
        let (from, to) = (index(start.into()), index(i64::from(start) + i64::from(count)));
        let part = values.get(from..to).unwrap_or_default();
        build(part.len(), |target| target.copy_from_slice(part))
    }
}
