//! Signatures: 16 bits of a value in an entry of a value list. A neighbor's lane in a record has
//! the upper 8 of them, because conditions that need more are answered from lists; of a set it has
//! 16 bits of its own.
//!
//! | kind | signature |
//! |---|---|
//! | exact, rounded | the number of the border interval of the key (7 bits), its place there (4 bits), then a hash of the key (5 bits) |
//! | hashed | a hash of the key |
//! | set | two bits for each element ([`super::sets`]), others in lanes; 0 for NULL |
//!
//! All bits set are NULL but for sets; no hash is.
//!
//! Borders divide the keys of the build's sample into intervals of about as many rows. They never
//! change. The place is the sixteenth of the interval's width; the first and the last interval are
//! taken to be as wide as their neighbors. Interval and place order as keys do. Where the width is
//! not known, a hash is in the stead of the place. Without borders, as in an index that was made
//! empty, the whole signature is a hash: a range excludes no neighbor, and an equality as many as
//! in a hashed column.

use std::ops::RangeInclusive;

use super::lists::{self, OfNode};
use super::sets;
use super::values::{Kind, MOST_COLUMNS, Values, mix};

/// The most borders of a column.
pub const MOST_BORDERS: usize = 127;

/// Bits of a hash below the place, and of the place in the interval.
const HASH_BITS: u32 = 5;
const PLACE_BITS: u32 = 4;

/// Places of an interval.
pub const PLACES: u16 = 1 << PLACE_BITS;

/// The signature of NULL.
const NULL: u16 = u16::MAX;

/// Signatures of a record, one for each column; unused ones are 0.
pub type Signatures = [u16; MOST_COLUMNS];

/// A filter column: its kind, and the borders of its intervals in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// The relation of keys to values.
    pub kind: Kind,
    /// The first key of each interval but the first one, in order.
    pub borders: Vec<u64>,
    /// Bits of a signature that number the lists, unless values are sets.
    pub list_bits: u8,
}

/// A hash of so many bits, with at least one bit that is 0.
#[inline]
fn hash(key: u64, bits: u32) -> u16 {
    (mix(key) % ((1 << bits) - 1)) as u16
}

impl Column {
    /// A column whose borders divide these keys evenly.
    pub fn of_sample(kind: Kind, mut keys: Vec<u64>) -> Column {
        let is_ordered = matches!(kind, Kind::Exact | Kind::Rounded);
        keys.sort_unstable();
        let mut borders: Vec<u64> = Vec::new();
        if is_ordered && keys.len() > 1 {
            borders = (1..=MOST_BORDERS)
                .map(|i| keys[i * keys.len() / (MOST_BORDERS + 1)])
                .filter(|&key| key > keys[0])
                .collect();
            borders.dedup();
        }
        Column {
            kind,
            borders,
            list_bits: lists::FEWEST_BITS,
        }
    }

    /// The number of the interval of a key.
    #[inline]
    pub fn interval(&self, key: u64) -> usize {
        self.borders.partition_point(|&border| border <= key)
    }

    /// The signature of a value.
    #[inline]
    pub fn signature(&self, key: Option<u64>) -> u16 {
        match (self.kind, key) {
            (Kind::Set, key) => sets::signature(key.unwrap_or(0)),
            (_, None) => NULL,
            (Kind::Hashed, Some(key)) => hash(key, u16::BITS),
            (_, Some(key)) if self.borders.is_empty() => hash(key, u16::BITS),
            (Kind::Exact | Kind::Rounded, Some(key)) => {
                let interval = self.interval(key);
                match self.place(key, interval) {
                    Some(place) => first_of(interval as u16 * PLACES + place) | hash(key, HASH_BITS),
                    None => first_of(interval as u16 * PLACES) | hash(key, PLACE_BITS + HASH_BITS),
                }
            }
        }
    }

    /// The signature of a value in a lane of a record.
    #[inline]
    pub fn lane(&self, key: Option<u64>) -> u16 {
        match self.kind {
            Kind::Set => sets::lane(key.unwrap_or(0)),
            _ => in_lane(self.signature(key)),
        }
    }

    /// The most value lists that a node is in.
    pub fn most_lists(&self) -> usize {
        match self.kind {
            Kind::Set => sets::MOST_ELEMENTS,
            _ => 1,
        }
    }

    /// The value lists that a node with a value is in.
    pub fn lists(&self, key: Option<u64>) -> OfNode {
        match self.kind {
            Kind::Set => sets::lists(key.unwrap_or(0)),
            _ => OfNode::one(self.list_of(self.signature(key))),
        }
    }

    /// Signatures of a list of values that are no sets.
    pub fn list_len(&self) -> usize {
        1 << (u16::BITS - u32::from(self.list_bits))
    }

    /// The list of a signature of a value that is no set.
    #[inline]
    pub fn list_of(&self, signature: u16) -> u16 {
        lists::of_signature(signature, self.list_bits)
    }

    /// The place of a key in its interval; none where the interval's width is not known.
    fn place(&self, key: u64, interval: usize) -> Option<u16> {
        let border = |i: usize| self.borders.get(i).copied();
        let before = interval.checked_sub(1).and_then(border);
        let (least, next) = match (before, border(interval)) {
            (Some(least), Some(next)) => (least, next),
            (Some(least), None) => (least, least.saturating_add(least - border(interval.checked_sub(2)?)?)),
            (None, Some(next)) => (next.saturating_sub(border(1)? - next), next),
            (None, None) => return None,
        };
        let width = next.saturating_sub(least).max(1);
        let place = match width <= u64::from(PLACES) {
            true => key.saturating_sub(least),
            false => (u128::from(key.saturating_sub(least)) * u128::from(PLACES) / u128::from(width)) as u64,
        };
        Some(place.min(u64::from(PLACES) - 1) as u16)
    }

    /// The places of the keys of a range, numbered from the first interval on.
    pub fn places(&self, least: u64, most: u64) -> RangeInclusive<u16> {
        let place = |key, unknown| {
            let interval = self.interval(key);
            interval as u16 * PLACES + self.place(key, interval).unwrap_or(unknown)
        };
        place(least, 0)..=place(most, PLACES - 1)
    }
}

/// The first signature of a place.
#[inline]
fn first_of(place: u16) -> u16 {
    place << HASH_BITS
}

/// The signatures of a place: the first one, and one bit for each from it on, all in one word of 64
/// signatures.
#[inline]
pub fn of_place(place: u16) -> (u16, u64) {
    (first_of(place), u64::MAX >> (64 - (1 << HASH_BITS)))
}

/// The signatures of values.
#[inline]
pub fn signatures(columns: &[Column], values: &Values) -> Signatures {
    let mut signatures = [0; MOST_COLUMNS];
    for (i, (signature, column)) in signatures.iter_mut().zip(columns).enumerate() {
        *signature = column.signature(values.get(i));
    }
    signatures
}

/// The signatures of values in lanes of records.
#[inline]
pub fn lanes(columns: &[Column], values: &Values) -> Signatures {
    let mut lanes = [0; MOST_COLUMNS];
    for (i, (lane, column)) in lanes.iter_mut().zip(columns).enumerate() {
        *lane = column.lane(values.get(i));
    }
    lanes
}

/// The form in a lane of the signature of a value that is no set.
#[inline]
fn in_lane(signature: u16) -> u16 {
    signature >> 8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::values::key_of_int;

    #[test]
    fn intervals_keep_the_order_and_hold_about_as_many_rows() {
        let keys: Vec<u64> = (0..10_000).map(|i: i64| key_of_int(i * i)).collect();
        let column = Column::of_sample(Kind::Exact, keys.clone());
        assert_eq!(column.borders.len(), MOST_BORDERS);
        let intervals: Vec<usize> = keys.iter().map(|&key| column.interval(key)).collect();
        assert!(intervals.is_sorted() && intervals[0] == 0 && intervals[9_999] == MOST_BORDERS);
        for interval in 0..=MOST_BORDERS {
            let rows = intervals.iter().filter(|&&other| other == interval).count();
            assert!((70..90).contains(&rows), "{interval}: {rows}");
        }
    }

    #[test]
    fn no_value_has_the_signature_of_null() {
        for kind in [Kind::Exact, Kind::Rounded, Kind::Hashed] {
            let column = Column::of_sample(kind, (0..1000).collect());
            assert_eq!(column.signature(None), NULL);
            assert!((0..100_000).all(|key| column.signature(Some(key)) != NULL));
        }
    }

    #[test]
    fn few_values_have_few_borders() {
        let column = Column::of_sample(Kind::Exact, vec![5, 5, 5, 9, 9, 5]);
        assert_eq!(column.borders, [9]);
        assert!(Column::of_sample(Kind::Hashed, vec![1, 2, 3]).borders.is_empty());
        assert!(Column::of_sample(Kind::Exact, vec![]).borders.is_empty());
    }
}
