//! The text and the binary form of values.

use pgrx::pg_sys::StringInfoData;

use crate::distance::{f16, sparse::Element as Component};
use crate::error::{Error, Result};
use crate::types::{dense, sparsevec};

/// Reads a `vector`, prints it, and reads the text again.
pub fn vector_text(input: &[u8]) {
    dense_text::<f32>(input);
}

/// Likewise a `halfvec`.
pub fn halfvec_text(input: &[u8]) {
    dense_text::<f16>(input);
}

fn dense_text<T: dense::Element>(input: &[u8]) {
    let Some(values) = accept_input_errors(dense::text::parse::<T>(input), input) else {
        return;
    };
    check_dense(&values);
    let numbers: Vec<_> = values.iter().map(|&value| number(value.into())).collect();
    let printed = format!("[{}]", numbers.join(","));
    let again = dense::text::parse::<T>(printed.as_bytes()).expect("what was printed can be read");
    assert_eq!(wire(&values), wire(&again), "{printed}");
}

/// Reads a `sparsevec`, prints it, and reads the text again.
pub fn sparsevec_text(input: &[u8]) {
    let Some((elements, dimensions)) = accept_input_errors(sparsevec::text::parse(input), input) else {
        return;
    };
    check_sparse(elements.as_sparse(), dimensions);
    let component = |(index, value): Component| format!("{}:{}", i64::from(index) + 1, number(value));
    let components: Vec<_> = elements.as_sparse().into_iter().map(component).collect();
    let printed = format!("{{{}}}/{dimensions}", components.join(","));
    let again = sparsevec::text::parse(printed.as_bytes()).expect("what was printed can be read");
    assert_eq!((elements, dimensions), again, "{printed}");
}

/// Reads the binary form of a `vector`; the value has the same form again.
pub fn vector_binary(input: &[u8]) {
    dense_binary::<f32>(input);
}

/// Likewise a `halfvec`.
pub fn halfvec_binary(input: &[u8]) {
    dense_binary::<f16>(input);
}

fn dense_binary<T: dense::Element>(input: &[u8]) {
    let mut message = message(input);
    let read = dense::io::receive(&mut message, -1, |dimensions, fill| {
        let mut values = vec![T::default(); dimensions];
        fill(&mut values)?;
        Ok(values)
    });
    let Some(values) = accept_input_errors(read, input) else {
        return;
    };
    check_dense(&values);
    assert_eq!(input[..2], (values.len() as u16).to_be_bytes());
    assert_eq!(wire(&values), input[4..message.cursor as usize]);
}

/// Reads the binary form of a `sparsevec`.
pub fn sparsevec_binary(input: &[u8]) {
    let mut message = message(input);
    let Some((elements, dimensions)) = accept_input_errors(sparsevec::io::receive(&mut message, -1), input) else {
        return;
    };
    check_sparse(elements.as_sparse(), dimensions);
    assert_eq!(message.cursor as usize, 12 + 8 * elements.as_sparse().indices.len());
}

fn message(input: &[u8]) -> StringInfoData {
    StringInfoData {
        data: input.as_ptr().cast_mut().cast(),
        len: input.len() as i32,
        maxlen: input.len() as i32,
        cursor: 0,
    }
}

/// The value, unless it was refused for a reason that input may cause.
fn accept_input_errors<T>(read: Result<T>, input: &[u8]) -> Option<T> {
    match read {
        Ok(value) => return Some(value),
        Err(Error::InvalidText { position, .. }) => assert!((1..=input.len() + 1).contains(&position)),
        Err(
            Error::NotANumber { .. }
            | Error::Infinite { .. }
            | Error::NumberOutOfRange { .. }
            | Error::NoDimensions { .. }
            | Error::TooManyDimensions { .. }
            | Error::TooManyElements { .. }
            | Error::IndexOutOfBounds { .. }
            | Error::DuplicateIndex { .. }
            | Error::IndicesNotAscending { .. }
            | Error::NegativeElements { .. }
            | Error::ZeroElement { .. }
            | Error::Unused { .. }
            | Error::InvalidBinary { .. },
        ) => {}
        Err(error) => panic!("{error}"),
    }
    None
}

fn check_dense<T: dense::Element>(values: &[T]) {
    assert!((1..=dense::MAX_DIMENSIONS).contains(&values.len()));
    assert!(values.iter().all(|value| value.is_finite()));
}

fn check_sparse(sparse: crate::distance::sparse::Sparse<'_>, dimensions: usize) {
    assert!((1..=sparsevec::MAX_DIMENSIONS).contains(&dimensions));
    assert!(sparse.indices.len() == sparse.values.len() && sparse.indices.len() <= sparsevec::MAX_ELEMENTS);
    assert!(sparse.indices.is_sorted_by(|a, b| a < b));
    assert!(
        sparse
            .indices
            .iter()
            .all(|&index| (0..dimensions as i32).contains(&index))
    );
    assert!(sparse.values.iter().all(|value| value.is_finite() && *value != 0.0));
}

/// A number as text that reads back to the same number.
fn number(value: f32) -> String {
    format!("{value:e}")
}

fn wire<T: dense::Element>(values: &[T]) -> Vec<u8> {
    let mut bytes = vec![0; size_of_val(values)];
    for (bytes, &value) in bytes.chunks_exact_mut(size_of::<T>()).zip(values) {
        value.to_wire(bytes);
    }
    bytes
}
