//! Tests of signatures: the lanes of a record that may match a scan's conditions.

use super::condition::{Bound, Filter, Test};
use super::signature::{self, Column, PLACES, fold};
use super::values::Kind;
use crate::error::Result;
use crate::fallible::{self, Room};

/// Words of a set with one bit for each signature.
const WORDS: usize = (u16::MAX as usize + 1) / 64;

/// Most keys of a range of exact keys that are listed one by one: fewer than the signatures of an
/// interval.
const FEW_KEYS: u64 = 128;

/// The signatures of a column that may match.
#[derive(Debug)]
enum Signatures {
    /// One bit for each signature.
    OneOf(Vec<u64>),
    /// Sets that have all bits of one of these.
    AnyOf(Vec<u16>),
}

/// The conditions of a scan as tests of signatures.
#[derive(Debug, Default)]
pub struct LaneFilter {
    tests: Vec<(usize, Signatures)>,
    /// Columns with a range, and the share of places of border intervals that it has a part of.
    ranges: Vec<(usize, f64)>,
}

impl LaneFilter {
    /// The tests of a filter; conditions that exclude no signature have none.
    ///
    /// # Errors
    /// [`crate::error::Error::OutOfMemory`].
    pub fn new(filter: &Filter, columns: &[Column]) -> Result<LaneFilter> {
        let (mut tests, mut ranges) = (Vec::new(), Vec::new());
        for condition in filter.conditions() {
            let Some(column) = columns.get(condition.column) else {
                continue;
            };
            if let Test::Range { least, most } = &condition.test
                && !column.borders.is_empty()
            {
                let (least, most) = keys(least.as_ref(), most.as_ref(), column);
                let all = (column.borders.len() + 1) * usize::from(PLACES);
                ranges.push((condition.column, column.places(least, most).len() as f64 / all as f64));
            }
            if let Some(signatures) = of(&condition.test, column)? {
                tests.push((condition.column, signatures));
            }
        }
        Ok(LaneFilter { tests, ranges })
    }

    /// Whether every lane may match.
    pub fn is_empty(&self) -> bool {
        self.tests.is_empty()
    }

    /// The set of signatures of a column that may match, one bit each; none if the column has no
    /// test, or one of sets.
    pub fn set_of(&self, column: usize) -> Option<&[u64]> {
        self.tests.iter().find_map(|(of, test)| match test {
            Signatures::OneOf(set) if *of == column => Some(&set[..]),
            _ => None,
        })
    }

    /// About the share of rows in a range of a column, as its borders have it; none without a
    /// range.
    pub fn range_share(&self, column: usize) -> Option<f64> {
        self.ranges
            .iter()
            .filter(|(of, _)| *of == column)
            .map(|(_, share)| *share)
            .reduce(f64::min)
    }

    /// The lanes that may match, one bit for each of up to 32; `signatures` gives those of a
    /// column, two bytes for each lane.
    #[inline]
    pub fn matching<'s>(&self, signatures: impl Fn(usize) -> &'s [u8]) -> u32 {
        let mut lanes = u32::MAX;
        for (column, test) in &self.tests {
            let signatures = signatures(*column).as_chunks::<2>().0.iter();
            let signatures = signatures.map(|bytes| u16::from_le_bytes(*bytes)).take(32);
            let mut matching = 0;
            match test {
                Signatures::OneOf(set) => {
                    for (lane, signature) in signatures.enumerate() {
                        let word = set[usize::from(signature / 64)];
                        matching |= ((word >> (signature % 64)) as u32 & 1) << lane;
                    }
                }
                Signatures::AnyOf(elements) => {
                    for (lane, signature) in signatures.enumerate() {
                        let matches = elements.iter().any(|&element| element & !signature == 0);
                        matching |= u32::from(matches) << lane;
                    }
                }
            }
            lanes &= matching;
        }
        lanes
    }
}

/// The test of the signatures of a column; none if it excludes none.
fn of(test: &Test, column: &Column) -> Result<Option<Signatures>> {
    let is_set = column.kind == Kind::Set;
    Ok(match test {
        Test::Overlaps(elements) => {
            let mut folded = fallible::collect(elements.iter().map(|&element| fold(element)))?;
            folded.sort_unstable();
            folded.dedup();
            Some(Signatures::AnyOf(folded))
        }
        Test::Contains(elements) if fold(*elements) != 0 => {
            Some(Signatures::AnyOf(fallible::collect([fold(*elements)])?))
        }
        Test::Contains(_) => None,
        // The signature of NULL is one of the empty set too.
        Test::Anything | Test::NotNull | Test::Range { .. } if is_set => None,
        Test::Nothing => Some(Signatures::AnyOf(Vec::new())),
        Test::Anything | Test::NotNull => Some(Signatures::OneOf(ones(|set| {
            set.fill(u64::MAX);
            let null = usize::from(column.signature(None));
            set[null / 64] &= !(1 << (null % 64));
        })?)),
        Test::Null => Some(Signatures::OneOf(ones(|set| add(set, column.signature(None)))?)),
        Test::In(keys) => Some(Signatures::OneOf(ones(|set| {
            keys.iter().for_each(|&key| add(set, column.signature(Some(key))));
        })?)),
        Test::Range { .. } if column.kind == Kind::Hashed => None,
        Test::Range { least, most } => {
            let (least, most) = keys(least.as_ref(), most.as_ref(), column);
            if column.kind == Kind::Exact && most.saturating_sub(least) < FEW_KEYS {
                return Ok(Some(Signatures::OneOf(ones(|set| {
                    (least..=most).for_each(|key| add(set, column.signature(Some(key))));
                })?)));
            }
            if column.borders.is_empty() {
                return Ok(None);
            }
            let places = column.places(least, most);
            Some(Signatures::OneOf(ones(|set| {
                for place in places {
                    let (first, hashes) = signature::of_place(place);
                    set[usize::from(first / 64)] |= hashes << (first % 64);
                }
            })?))
        }
    })
}

/// The least and the greatest key that may be within a range.
fn keys(least: Option<&Bound>, most: Option<&Bound>, column: &Column) -> (u64, u64) {
    // A rounded key of an excluded value may be the key of another one.
    let step = |bound: &Bound| u64::from(column.kind == Kind::Exact && !bound.inclusive);
    (
        least.map_or(0, |bound| bound.key.saturating_add(step(bound))),
        most.map_or(u64::MAX, |bound| bound.key.saturating_sub(step(bound))),
    )
}

/// A set of signatures that `fill` fills.
fn ones(fill: impl FnOnce(&mut [u64])) -> Result<Vec<u64>> {
    let mut set = Vec::new();
    set.room(WORDS)?;
    set.resize(WORDS, 0);
    fill(&mut set);
    Ok(set)
}

fn add(set: &mut [u64], signature: u16) {
    set[usize::from(signature / 64)] |= 1 << (signature % 64);
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::filter::condition::{Condition, Match};
    use crate::filter::values::{Values, bloom};

    /// A value that passes a filter is never excluded by its signature, and most that do not pass
    /// are, where signatures tell.
    #[test]
    fn no_matching_neighbor_is_excluded() {
        let mut random = SmallRng::seed_from_u64(3);
        for kind in [Kind::Exact, Kind::Rounded, Kind::Hashed, Kind::Set] {
            for learned in [true, false] {
                let mut key = || match kind {
                    Kind::Set => {
                        (0..random.random_range(0..4)).fold(0, |set, _| set | bloom(random.random_range(0..50)))
                    }
                    _ => random.random_range(0..5000),
                };
                let keys: Vec<u64> = (0..3000).map(|_| key()).collect();
                let sample = if learned { keys.clone() } else { Vec::new() };
                let columns = [Column::of_sample(kind, sample)];
                let bound = |key, inclusive| Some(Bound { key, inclusive });
                let tests = [
                    Test::Nothing,
                    Test::Anything,
                    Test::Null,
                    Test::NotNull,
                    Test::one_of(vec![keys[0]]),
                    Test::one_of(keys[..40].to_vec()),
                    Test::Range {
                        least: bound(1000, true),
                        most: bound(1200, false),
                    },
                    Test::Range {
                        least: None,
                        most: bound(70, true),
                    },
                    Test::Range {
                        least: bound(4990, false),
                        most: None,
                    },
                    Test::Range {
                        least: bound(9, true),
                        most: bound(5, true),
                    },
                    Test::Overlaps(vec![bloom(1), bloom(2)]),
                    Test::Overlaps(vec![]),
                    Test::Contains(bloom(1) | bloom(3)),
                    Test::Contains(0),
                ];
                for test in tests {
                    let filter = Filter::new(vec![Condition {
                        column: 0,
                        test: test.clone(),
                    }]);
                    let lanes = LaneFilter::new(&filter, &columns).unwrap();
                    let (mut passed, mut matched) = (0, 0);
                    for key in keys.iter().map(|&key| Some(key)).chain([None]) {
                        let mut values = Values::NONE;
                        values.set(0, key);
                        let signature = columns[0].signature(key).to_le_bytes();
                        let may_match = lanes.matching(|_| &signature) & 1 == 1;
                        let passes = filter.test(&columns, &values) > Match::No;
                        assert!(may_match || !passes, "{kind:?} {test:?} {key:?}");
                        passed += usize::from(may_match);
                        matched += usize::from(passes);
                    }
                    if matches!(&test, Test::In(keys) if keys.len() == 1 || learned && kind == Kind::Exact) {
                        assert!(passed <= matched + 60, "{kind:?} {test:?}: {passed} for {matched}");
                    }
                    if learned && kind == Kind::Exact && matches!(test, Test::Range { .. }) {
                        assert!(passed <= matched + 60, "{kind:?} {test:?}: {passed} for {matched}");
                    }
                }
            }
        }
    }

    /// An excluded bound excludes all rows of its value, and a range of few keys passes only these.
    #[test]
    fn a_range_ends_at_its_bounds() {
        let column = Column::of_sample(Kind::Exact, (0..4000).map(|row| row % 8).collect());
        let bound = |key, inclusive| Some(Bound { key, inclusive });
        let ranges = [
            (None, bound(4, false), 0..=3),
            (bound(4, false), None, 5..=7),
            (bound(4, true), bound(5, false), 4..=4),
            (bound(3, false), bound(5, true), 4..=5),
        ];
        for (least, most, expected) in ranges {
            let filter = Filter::new(vec![Condition {
                column: 0,
                test: Test::Range { least, most },
            }]);
            let lanes = LaneFilter::new(&filter, std::slice::from_ref(&column)).unwrap();
            for key in 0..8 {
                let signature = column.signature(Some(key)).to_le_bytes();
                let may_match = lanes.matching(|_| &signature) & 1 == 1;
                assert_eq!(may_match, expected.contains(&key), "{least:?} {most:?} {key}");
            }
        }
    }
}
