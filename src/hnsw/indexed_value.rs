//! The values of an index.
//!
//! Dense vectors are coded, or stored as f32. `bit` and `sparsevec` are stored as they are (`bit`:
//! its bytes, with zeros beyond its length; `sparsevec`: [`crate::storage::sparse`]) and compared
//! as a whole, because the distance of a part says nothing about the rest.

use crate::storage::format::Unplaced;

/// A value of an index, in unit length where the metric wants it.
#[derive(Debug, Clone, Copy)]
pub enum Value<'v> {
    /// A dense vector.
    Dense(&'v [f32]),
    /// Another value in its stored form.
    Stored(&'v [u8]),
}

/// An owned [`Value`].
#[derive(Debug, Clone, PartialEq)]
pub enum OwnedValue {
    /// As [`Value::Dense`].
    Dense(Vec<f32>),
    /// As [`Value::Stored`].
    Stored(Vec<u8>),
}

/// The part of a row that an index keeps.
#[derive(Debug, Clone, PartialEq)]
pub enum RowValue {
    /// A value with a place in the graph.
    Placed(OwnedValue),
    /// No value, or a value without a place in the graph.
    Unplaced(Unplaced),
}

impl OwnedValue {
    /// The components of a dense vector; none of another value.
    pub fn dense(&self) -> &[f32] {
        match self {
            OwnedValue::Dense(vector) => vector,
            OwnedValue::Stored(_) => &[],
        }
    }

    /// The value.
    pub fn view(&self) -> Value<'_> {
        match self {
            OwnedValue::Dense(vector) => Value::Dense(vector),
            OwnedValue::Stored(stored) => Value::Stored(stored),
        }
    }
}

impl<'v> From<&'v [f32]> for Value<'v> {
    fn from(vector: &'v [f32]) -> Value<'v> {
        Value::Dense(vector)
    }
}

impl<'v> From<&'v Vec<f32>> for Value<'v> {
    fn from(vector: &'v Vec<f32>) -> Value<'v> {
        Value::Dense(vector)
    }
}

/// Whether the bits of `stored` beyond the first `bits` are zero.
pub fn is_bits(stored: &[u8], bits: u32) -> bool {
    let spare = 8 * stored.len() - bits as usize;
    stored.last().is_none_or(|last| last.trailing_zeros() as usize >= spare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_beyond_the_last_one_are_zero() {
        assert!(is_bits(&[0xFF, 0xF0], 12));
        assert!(!is_bits(&[0xFF, 0xF8], 12));
        assert!(is_bits(&[0xFF, 0xFF], 16));
    }
}
