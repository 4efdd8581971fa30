//! Conditions of a scan on filter columns.

use super::sets;
use super::signature::Column;
use super::values::{Kind, MOST_COLUMNS, Values};

/// A test of one column's value. NULL passes none but [`Test::Null`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Test {
    /// No value passes.
    Nothing,
    /// A value may pass: the key does not tell.
    Anything,
    /// The value is NULL.
    Null,
    /// The value is not NULL.
    NotNull,
    /// The key is one of these, which are in order.
    In(Vec<u64>),
    /// The key is within the bounds.
    Range {
        /// The lower bound, and whether values with its key may pass.
        least: Option<Bound>,
        /// The upper bound, likewise.
        most: Option<Bound>,
    },
    /// The set has one of these elements ([`sets::element`]).
    Overlaps(Vec<u64>),
    /// The set has all of these elements.
    Contains(Vec<u64>),
}

/// A bound of a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Its key.
    pub key: u64,
    /// Whether the value of the bound passes.
    pub inclusive: bool,
}

impl Test {
    /// A test for keys that may be in any order and repeat.
    pub fn one_of(mut keys: Vec<u64>) -> Test {
        keys.sort_unstable();
        keys.dedup();
        if keys.is_empty() { Test::Nothing } else { Test::In(keys) }
    }
}

/// The outcome of a test. The order is that of certainty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Match {
    /// The row does not pass.
    No,
    /// The row may pass.
    Maybe,
    /// The row passes.
    Yes,
}

/// A test and its column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// Number of the filter column, from 0.
    pub column: usize,
    /// The test.
    pub test: Test,
}

/// The conditions of a scan, all of which a row has to pass. An empty filter passes every row.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    conditions: Vec<Condition>,
}

impl Filter {
    /// A filter of these conditions.
    pub fn new(conditions: Vec<Condition>) -> Filter {
        Filter { conditions }
    }

    /// Whether every row passes.
    pub fn is_empty(&self) -> bool {
        self.conditions.is_empty()
    }

    /// The conditions.
    pub fn conditions(&self) -> &[Condition] {
        &self.conditions
    }

    /// Tests the values of a row.
    pub fn test(&self, columns: &[Column], values: &Values) -> Match {
        let of = |condition: &Condition| {
            let column = condition.column.min(MOST_COLUMNS - 1);
            let kind = columns.get(column).map_or(Kind::Hashed, |column| column.kind);
            condition.test.of(kind, values.get(column))
        };
        self.conditions.iter().map(of).min().unwrap_or(Match::Yes)
    }
}

impl Test {
    /// Tests the key of a value of a column of this kind.
    fn of(&self, kind: Kind, key: Option<u64>) -> Match {
        let Some(key) = key else {
            return if *self == Test::Null { Match::Yes } else { Match::No };
        };
        let exact = |passes: bool| if passes { Match::Yes } else { Match::No };
        let of_equal_keys = if kind == Kind::Exact { Match::Yes } else { Match::Maybe };
        match self {
            Test::Nothing | Test::Null => Match::No,
            Test::Anything => Match::Maybe,
            Test::NotNull => Match::Yes,
            Test::In(keys) => match keys.binary_search(&key) {
                Ok(_) => of_equal_keys,
                Err(_) => Match::No,
            },
            Test::Range { .. } if matches!(kind, Kind::Hashed | Kind::Set) => Match::Maybe,
            Test::Range { least, most } => {
                let beyond = |bound: &Option<Bound>, is_beyond: fn(&u64, &u64) -> bool| match bound {
                    None => Match::Yes,
                    Some(bound) if is_beyond(&key, &bound.key) => Match::Yes,
                    Some(bound) if bound.key != key => Match::No,
                    Some(_) if kind != Kind::Exact => Match::Maybe,
                    Some(bound) => exact(bound.inclusive),
                };
                beyond(least, u64::gt).min(beyond(most, u64::lt))
            }
            Test::Overlaps(elements) if elements.iter().any(|&element| sets::may_have(key, element)) => Match::Maybe,
            Test::Contains(elements) if elements.iter().all(|&element| sets::may_have(key, element)) => Match::Maybe,
            Test::Overlaps(_) | Test::Contains(_) => Match::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(kind: Kind, test: Test) -> impl Fn(Option<u64>) -> Match {
        let columns = [Column {
            kind,
            borders: Vec::new(),
            list_bits: 7,
        }];
        let filter = Filter::new(vec![Condition { column: 0, test }]);
        move |key| {
            let mut values = Values::NONE;
            values.set(0, key);
            filter.test(&columns, &values)
        }
    }

    #[test]
    fn equal_keys_are_equal_values_only_where_keys_are_exact() {
        for (kind, equal) in [
            (Kind::Exact, Match::Yes),
            (Kind::Rounded, Match::Maybe),
            (Kind::Hashed, Match::Maybe),
        ] {
            let test = filter(kind, Test::one_of(vec![9, 3, 9]));
            assert_eq!(
                [Some(3), Some(9), Some(4), None].map(test),
                [equal, equal, Match::No, Match::No]
            );
        }
        assert_eq!(Test::one_of(vec![]), Test::Nothing);
    }

    #[test]
    fn a_range_is_certain_beyond_its_bounds() {
        let range = |inclusive| Test::Range {
            least: Some(Bound { key: 3, inclusive }),
            most: Some(Bound { key: 7, inclusive }),
        };
        let keys = [None, Some(2), Some(3), Some(5), Some(7), Some(8)];
        use Match::{Maybe, No, Yes};
        assert_eq!(keys.map(filter(Kind::Exact, range(true))), [No, No, Yes, Yes, Yes, No]);
        assert_eq!(keys.map(filter(Kind::Exact, range(false))), [No, No, No, Yes, No, No]);
        assert_eq!(
            keys.map(filter(Kind::Rounded, range(false))),
            [No, No, Maybe, Yes, Maybe, No]
        );
        assert_eq!(
            keys.map(filter(Kind::Hashed, range(true))),
            [No, Maybe, Maybe, Maybe, Maybe, Maybe]
        );
    }

    #[test]
    fn null_passes_one_test() {
        for test in [Test::Nothing, Test::Anything, Test::NotNull, Test::Contains(vec![])] {
            assert_eq!(filter(Kind::Set, test)(None), Match::No);
        }
        assert_eq!(filter(Kind::Exact, Test::Null)(None), Match::Yes);
        assert_eq!(filter(Kind::Exact, Test::Null)(Some(0)), Match::No);
        assert_eq!(filter(Kind::Exact, Test::NotNull)(Some(0)), Match::Yes);
    }

    #[test]
    fn the_least_certain_condition_decides() {
        let columns = [Kind::Exact, Kind::Hashed].map(|kind| Column {
            kind,
            borders: Vec::new(),
            list_bits: 7,
        });
        let condition = |column, key| Condition {
            column,
            test: Test::In(vec![key]),
        };
        let mut values = Values::NONE;
        values.set(0, Some(1));
        values.set(1, Some(2));
        let test = |conditions: &[Condition]| Filter::new(conditions.to_vec()).test(&columns, &values);
        assert_eq!(test(&[]), Match::Yes);
        assert_eq!(test(&[condition(0, 1), condition(1, 2)]), Match::Maybe);
        assert_eq!(test(&[condition(0, 2), condition(1, 2)]), Match::No);
    }
}
