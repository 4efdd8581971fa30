//! The text of values.

use crate::error::Error;
use crate::types::vector::{MAX_DIMENSIONS, text};

/// Reads a vector; what was read is printed and read again.
pub fn vector_text(input: &[u8]) {
    match text::parse(input) {
        Ok(values) => {
            assert!((1..=MAX_DIMENSIONS).contains(&values.len()));
            assert!(values.iter().all(|value| value.is_finite()));
            let numbers: Vec<_> = values.iter().map(|value| format!("{value:e}")).collect();
            let printed = format!("[{}]", numbers.join(","));
            let again = text::parse(printed.as_bytes()).expect("what was printed can be read");
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&values), bits(&again), "{printed}");
        }
        Err(Error::InvalidText { position, .. }) => assert!((1..=input.len() + 1).contains(&position)),
        Err(
            Error::NotANumber { .. }
            | Error::Infinite { .. }
            | Error::NumberOutOfRange { .. }
            | Error::NoDimensions { .. }
            | Error::TooManyDimensions { .. },
        ) => {}
        Err(error) => panic!("{error}"),
    }
}
