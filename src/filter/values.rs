//! Filter values: keys of 64 bits, or NULL, one for each filter column.

use serde::{Deserialize, Serialize};

/// The most filter columns of an index.
pub const MOST_COLUMNS: usize = 4;

/// Bytes of a key on a page.
const KEY_LEN: usize = 8;

/// Relation of a column's keys to its values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Equal keys are equal values, and keys order as values do: integers, dates, floats.
    Exact,
    /// Equal values have equal keys, and keys order as values do, but different values may share a
    /// key: `numeric` as a float, the first bytes of a `uuid`.
    Rounded,
    /// Equal values have equal keys; their order says nothing: hashes.
    Hashed,
    /// The key of an array tells of each value whether it may be an element ([`super::sets`]).
    Set,
}

/// The order-preserving key of an integer.
#[inline]
pub fn key_of_int(value: i64) -> u64 {
    value as u64 ^ 1 << 63
}

/// The order-preserving key of a float: zeros are equal, NaN equals NaN and is the greatest.
#[inline]
pub fn key_of_float(value: f64) -> u64 {
    if value.is_nan() {
        return u64::MAX;
    }
    let bits = (value + 0.0).to_bits();
    if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
}

/// Mixes the bits of a number (the finalizer of splitmix64, a bijection).
#[inline]
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

/// The filter values of a row or a node. Columns that an index does not have are NULL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Values {
    keys: [u64; MOST_COLUMNS],
    /// One bit for each column with a key.
    present: u8,
}

impl Default for Values {
    fn default() -> Self {
        Values::NONE
    }
}

impl Values {
    /// NULL in every column.
    pub const NONE: Values = Values {
        keys: [0; MOST_COLUMNS],
        present: 0,
    };

    /// Bytes of the values of so many columns.
    #[inline]
    pub const fn len(columns: usize) -> usize {
        if columns == 0 { 0 } else { 1 + KEY_LEN * columns }
    }

    /// Sets the key of a column.
    pub fn set(&mut self, column: usize, key: Option<u64>) {
        self.keys[column] = key.unwrap_or(0);
        self.present = self.present & !(1 << column) | u8::from(key.is_some()) << column;
    }

    /// The key of a column; none for NULL.
    #[inline]
    pub fn get(&self, column: usize) -> Option<u64> {
        (self.present >> column & 1 == 1).then_some(self.keys[column])
    }

    /// Writes the values of the first columns to bytes of [`Values::len`].
    pub fn write(&self, bytes: &mut [u8]) {
        let Some((present, keys)) = bytes.split_first_mut() else {
            return;
        };
        let (keys, _) = keys.as_chunks_mut::<KEY_LEN>();
        *present = self.present;
        for (place, key) in keys.iter_mut().zip(self.keys) {
            *place = key.to_le_bytes();
        }
    }

    /// Reads values from bytes of [`Values::len`]; of a damaged page they are some values.
    #[inline]
    pub fn read(bytes: &[u8]) -> Values {
        let mut values = Values::NONE;
        if let Some((present, keys)) = bytes.split_first() {
            let (keys, _) = keys.as_chunks::<KEY_LEN>();
            for (column, key) in keys.iter().take(MOST_COLUMNS).enumerate() {
                values.set(column, (present >> column & 1 == 1).then(|| u64::from_le_bytes(*key)));
            }
        }
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_as_values_do() {
        let ints = [i64::MIN, -7, -1, 0, 1, 7, i64::MAX];
        assert!(ints.map(key_of_int).is_sorted_by(|a, b| a < b));
        let floats = [
            f64::NEG_INFINITY,
            -1e300,
            -1.0,
            -1e-310,
            0.0,
            1e-310,
            2.0,
            f64::INFINITY,
            f64::NAN,
        ];
        assert!(floats.map(key_of_float).is_sorted_by(|a, b| a < b));
        assert_eq!(key_of_float(-0.0), key_of_float(0.0));
        assert_eq!(key_of_float(-f64::NAN), key_of_float(f64::NAN));
    }

    #[test]
    fn bytes_give_values_back() {
        for columns in 0..=MOST_COLUMNS {
            let mut values = Values::NONE;
            for column in 0..columns {
                values.set(column, (column != 1).then_some(mix(column as u64)));
            }
            let mut bytes = vec![0xff; Values::len(columns)];
            values.write(&mut bytes);
            assert_eq!(Values::read(&bytes), values, "{columns}");
        }
        assert_eq!(Values::len(0), 0);
    }
}
