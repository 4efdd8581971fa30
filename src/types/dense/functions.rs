//! Functions of one vector.

use super::{DenseDatum, build, dense_functions};
use crate::distance;
use crate::types::bit::new_bits;
use pgrx::pg_sys;

dense_functions! {
    /// `vector_dims(vector) -> integer`
    fn vector_dims | halfvec_vector_dims<T>(vector: DenseDatum<T>) -> i32 {
        Ok(vector.as_slice().len() as i32)
    }

    /// `vector_norm(vector) -> double precision`, `l2_norm(halfvec) -> double precision`
    fn vector_norm | halfvec_l2_norm<T>(vector: DenseDatum<T>) -> f64 {
        Ok(distance::norm(vector.as_slice()))
    }

    /// `l2_normalize(vector) -> vector`: the vector of norm 1 in the same direction; zero stays
    /// zero.
    fn vector_l2_normalize | halfvec_l2_normalize<T>(vector: DenseDatum<T>) -> pg_sys::Datum {
        let values = vector.as_slice();
        build(values.len(), |target| {
            target.copy_from_slice(values);
            distance::normalize(target);
            Ok(())
        })
    }

    /// `binary_quantize(vector) -> bit`: for each element, whether it is above zero.
    fn vector_binary_quantize | halfvec_binary_quantize<T>(vector: DenseDatum<T>) -> pg_sys::Datum {
        let values = vector.as_slice();
        let zero = T::default();
        Ok(new_bits(values.len(), |bytes| {
            for (byte, values) in bytes.iter_mut().zip(values.chunks(8)) {
                // The first element is the highest bit.
                *byte = values.iter().rev().fold(0, |byte, &value| byte >> 1 | u8::from(value > zero) << 7);
            }
        }))
    }

    /// `subvector(vector, start integer, count integer) -> vector`: cuts as substring() does; the
    /// first element has number 1, and elements outside the vector are left out.
    fn vector_subvector | halfvec_subvector<T>(vector: DenseDatum<T>, start: i32, count: i32) -> pg_sys::Datum {
        let values = vector.as_slice();
        let index = |position: i64| (position - 1).clamp(0, values.len() as i64) as usize;
        let (from, to) = (index(start.into()), index(i64::from(start) + i64::from(count)));
        let part = values.get(from..to).unwrap_or_default();
        build(part.len(), |target| {
            target.copy_from_slice(part);
            Ok(())
        })
    }
}
