//! avg(vector). The state is a `double precision[]`: how many vectors there were, then the sum of each element; `{0}` at
//! the start, when no dimensions are known. (sum(vector) is `+`.)

use super::{VectorDatum, build, check_dimensions, check_finite};
use crate::error::{Error, Result};
use crate::types::array::{NumberArray, new_array};
use crate::types::call::InAggregate;
use crate::types::call::sql_function;
use pgrx::pg_sys;

/// The count and the sums of a state that `function` was given.
fn split<'a>(state: &'a NumberArray<f64>, function: &'static str) -> Result<(f64, &'a [f64])> {
    match state.as_slice() {
        Ok([count, sums @ ..]) if *count >= 0.0 => Ok((*count, sums)),
        _ => Err(Error::AggregateState { function }),
    }
}

fn check_expected(expected: usize, found: usize) -> Result<()> {
    if expected == found {
        Ok(())
    } else {
        Err(Error::ExpectedDimensions { expected, found })
    }
}

sql_function! {
    /// `vector_accum(double precision[], vector) -> double precision[]`
    fn vector_accum(state: NumberArray<f64>, vector: VectorDatum, in_aggregate: InAggregate) -> pg_sys::Datum {
        let values = vector.as_slice();
        let (count, sums) = split(&state, "vector_accum")?;
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
                *sum += f64::from(value);
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
    fn vector_combine(a: NumberArray<f64>, b: NumberArray<f64>) -> pg_sys::Datum {
        let (a_count, a_sums) = split(&a, "vector_combine")?;
        let (b_count, b_sums) = split(&b, "vector_combine")?;
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
    fn vector_avg(state: NumberArray<f64>) -> Option<pg_sys::Datum> {
        let (count, sums) = split(&state, "vector_avg")?;
        if count == 0.0 {
            return Ok(None);
        }
        check_dimensions(sums.len())?;
        let mut finite = Ok(());
        let datum = build(sums.len(), |target| {
            for (mean, sum) in target.iter_mut().zip(sums) {
                *mean = (sum / count) as f32;
            }
            finite = check_finite(target);
        })?;
        finite.map(|()| Some(datum))
    }
}
