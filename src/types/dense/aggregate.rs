//! avg() of vectors. The state is a `double precision[]`: how many vectors there were, then the sum
//! of each element; `{0}` at the start, when no dimensions are known. (sum() is `+`.)

use super::cast::convert;
use super::{DenseDatum, Element, dense_functions};
use crate::error::{Error, Result};
use crate::types::array::{NumberArray, new_array};
use crate::types::call::InAggregate;
use crate::types::dimensions::check_expected;
use pgrx::pg_sys;

/// The count and the sums of a state that `TYPE_step` was given.
fn split<'a, T: Element>(state: &'a NumberArray<f64>, step: &'static str) -> Result<(f64, &'a [f64])> {
    match state.as_slice() {
        Ok([count, sums @ ..]) if *count >= 0.0 => Ok((*count, sums)),
        _ => Err(Error::AggregateState {
            type_name: T::TYPE_NAME,
            step,
        }),
    }
}

dense_functions! {
    /// `vector_accum(double precision[], vector) -> double precision[]`
    fn vector_accum | halfvec_accum<T>(
        state: NumberArray<f64>,
        vector: DenseDatum<T>,
        in_aggregate: InAggregate,
    ) -> pg_sys::Datum {
        let values = vector.as_slice();
        let (count, sums) = split::<T>(&state, "accum")?;
        if count == 0.0 {
            return Ok(new_array(1 + values.len(), |state| {
                state[0] = 1.0;
                for (sum, &value) in state[1..].iter_mut().zip(values) {
                    *sum = value.into();
                }
            }));
        }
        check_expected(sums.len(), values.len())?;
        let add = |state: &mut [f64]| {
            state[0] += 1.0;
            for (sum, &value) in state[1..].iter_mut().zip(values) {
                *sum += Into::<f64>::into(value);
            }
        };
        match in_aggregate.0 {
            true => {
                let mut state = state;
                // SAFETY: an aggregate's state is its own.
                add(unsafe { state.as_mut_slice() }?);
                Ok(state.into_datum())
            }
            false => Ok(new_array(1 + sums.len(), |copy| {
                copy[0] = count;
                copy[1..].copy_from_slice(sums);
                add(copy);
            })),
        }
    }

    /// `vector_combine(double precision[], double precision[]) -> double precision[]`
    fn vector_combine | halfvec_combine<T>(a: NumberArray<f64>, b: NumberArray<f64>) -> pg_sys::Datum {
        let (a_count, a_sums) = split::<T>(&a, "combine")?;
        let (b_count, b_sums) = split::<T>(&b, "combine")?;
        // A side that has seen no vector knows no dimensions: the other is the result.
        let copy = |count: f64, sums: &[f64]| {
            Ok(new_array(1 + sums.len(), |state| {
                state[0] = count;
                state[1..].copy_from_slice(sums);
            }))
        };
        if a_count == 0.0 {
            return copy(b_count, b_sums);
        }
        if b_count == 0.0 {
            return copy(a_count, a_sums);
        }
        check_expected(a_sums.len(), b_sums.len())?;
        let mut in_range = true;
        let state = new_array(1 + a_sums.len(), |state| {
            state[0] = a_count + b_count;
            for ((sum, a), b) in state[1..].iter_mut().zip(a_sums).zip(b_sums) {
                *sum = a + b;
                in_range &= sum.is_finite();
            }
        });
        if in_range { Ok(state) } else { Err(Error::Overflow) }
    }

    /// `vector_avg(double precision[]) -> vector`: NULL if there was no vector.
    fn vector_avg | halfvec_avg<T>(state: NumberArray<f64>) -> Option<pg_sys::Datum> {
        let (count, sums) = split::<T>(&state, "avg")?;
        if count == 0.0 {
            return Ok(None);
        }
        convert::<T, f64>(sums, -1, |sum| (sum / count) as f32).map(Some)
    }
}
