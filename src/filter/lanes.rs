//! Tests of signatures: the lanes of a record that may match a scan's conditions.

use super::condition::{Bound, Condition, Filter, Test};
use super::sets;
use super::signature::{self, Column, MOST_BORDERS, PLACES};
use super::values::Kind;
use crate::error::Result;
use crate::fallible::{self, Room, TryPush};

/// Words of a set with one bit for each signature.
const WORDS: usize = (u16::MAX as usize + 1) / 64;

/// Most keys of a range of exact keys that are listed one by one: fewer than the signatures of an
/// interval.
const FEW_KEYS: u64 = 128;

/// Most elements whose lists are compared, of a set that has to have all elements.
const MOST_WAYS: usize = 4;

/// The signatures of a column that may match, in entries of lists and in lanes.
#[derive(Debug)]
enum Signatures {
    /// One bit for each signature, and for each of their forms in lanes.
    OneOf { entries: Vec<u64>, lanes: [u64; 4] },
    /// Sets that have all bits of one of these.
    AnyOf { entries: Vec<u16>, lanes: Vec<u16> },
    /// Sets without elements, and NULL.
    Empty,
}

/// The test of a column.
#[derive(Debug)]
struct ColumnTest {
    column: usize,
    signatures: Signatures,
}

/// The conditions of a scan as tests of signatures.
#[derive(Debug, Default)]
pub struct LaneFilter {
    tests: Vec<ColumnTest>,
    /// Columns, and lists of each that name all nodes that may match, the last one first.
    lists: Vec<(usize, Vec<u16>)>,
    /// Columns with a range, and the share of places of border intervals that it has a part of.
    ranges: Vec<(usize, f64)>,
}

impl LaneFilter {
    /// The tests of a filter; conditions that exclude no signature have none.
    ///
    /// # Errors
    /// [`crate::error::Error::OutOfMemory`].
    pub fn new(filter: &Filter, columns: &[Column]) -> Result<LaneFilter> {
        let (mut tests, mut ranges, mut lists) = (Vec::new(), Vec::new(), Vec::new());
        for condition in filter.conditions() {
            let Some(column) = columns.get(condition.column) else {
                continue;
            };
            if let Test::Range { least, most } = &condition.test
                && !column.borders.is_empty()
            {
                let (least, most) = keys(least.as_ref(), most.as_ref(), column);
                // Values that fill several intervals have one border, so that others count for
                // less.
                let all = (MOST_BORDERS + 1) * usize::from(PLACES);
                ranges.push((condition.column, column.places(least, most).len() as f64 / all as f64));
            }
            if let Some(signatures) = of(&condition.test, column)? {
                add_lists(&mut lists, condition, (column, &signatures))?;
                tests.push(ColumnTest {
                    column: condition.column,
                    signatures,
                });
            }
        }
        Ok(LaneFilter { tests, lists, ranges })
    }

    /// Whether every lane may match.
    pub fn is_empty(&self) -> bool {
        self.tests.is_empty()
    }

    /// Columns, and lists of each that name all nodes that may match, the last one first: one
    /// column may have several such sets of lists.
    pub fn lists(&self) -> &[(usize, Vec<u16>)] {
        &self.lists
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

    /// The entries of a list that may match, one bit for each of up to 32; `signatures` gives those
    /// of a column, two bytes for each entry.
    #[inline]
    pub fn matching<'s>(&self, signatures: impl Fn(usize) -> &'s [u8]) -> u32 {
        self.tests.iter().fold(u32::MAX, |entries, test| {
            let signatures = signatures(test.column);
            entries
                & match &test.signatures {
                    Signatures::OneOf { entries, .. } => {
                        ones_of(sixteens(signatures).map(|signature| has(entries, signature)))
                    }
                    Signatures::AnyOf { entries, .. } => having_any(signatures, entries),
                    Signatures::Empty => empty(signatures),
                }
        })
    }

    /// The lanes of a record that may match, one bit for each of up to 32; `signatures` gives those
    /// of a column, in the form of lanes.
    #[inline]
    pub fn matching_lanes<'s>(&self, signatures: impl Fn(usize) -> &'s [u8]) -> u32 {
        self.tests.iter().fold(u32::MAX, |lanes, test| {
            let signatures = signatures(test.column);
            lanes
                & match &test.signatures {
                    Signatures::OneOf { lanes, .. } => {
                        ones_of(signatures.iter().map(|&signature| has(lanes, signature.into())))
                    }
                    Signatures::AnyOf { lanes, .. } => having_any(signatures, lanes),
                    Signatures::Empty => empty(signatures),
                }
        })
    }
}

impl Signatures {
    /// The signatures of a set with one bit for each.
    fn one_of(entries: Vec<u64>) -> Signatures {
        let mut lanes = [0; 4];
        for (value, words) in entries.chunks_exact(WORDS / 256).enumerate() {
            lanes[value / 64] |= u64::from(words.iter().any(|&word| word != 0)) << (value % 64);
        }
        Signatures::OneOf { entries, lanes }
    }

    /// The signatures of sets that have any of some alternatives, given by their bits in entries
    /// and in lanes.
    fn any_of(alternatives: impl Iterator<Item = (u16, u16)> + Clone) -> Result<Signatures> {
        let distinct = |bits: fn((u16, u16)) -> u16| -> Result<Vec<u16>> {
            let mut distinct = fallible::collect(alternatives.clone().map(bits))?;
            distinct.sort_unstable();
            distinct.dedup();
            Ok(distinct)
        };
        Ok(Signatures::AnyOf {
            entries: distinct(|(entry, _)| entry)?,
            lanes: distinct(|(_, lane)| lane)?,
        })
    }
}

/// Signatures of two bytes.
#[inline]
fn sixteens(bytes: &[u8]) -> impl Iterator<Item = u16> {
    bytes.as_chunks().0.iter().map(|bytes| u16::from_le_bytes(*bytes))
}

/// Which of up to 32 sets' signatures have all bits of an element, one bit for each.
#[inline]
fn having_any(signatures: &[u8], elements: &[u16]) -> u32 {
    ones_of(sixteens(signatures).map(|signature| elements.iter().any(|&element| element & !signature == 0)))
}

/// Which of up to 32 sets' signatures are those of none, one bit for each.
#[inline]
fn empty(signatures: &[u8]) -> u32 {
    ones_of(sixteens(signatures).map(|signature| signature == 0))
}

/// One bit for each of up to 32 answers.
#[inline]
fn ones_of(answers: impl Iterator<Item = bool>) -> u32 {
    let lanes = answers.take(32).enumerate();
    lanes.fold(0, |lanes, (lane, answer)| lanes | u32::from(answer) << lane)
}

/// Whether a set of one bit for each value has a value.
#[inline]
fn has(set: &[u64], value: u16) -> bool {
    set[usize::from(value / 64)] >> (value % 64) & 1 == 1
}

/// The test of the signatures of a column; none if it excludes none.
fn of(test: &Test, column: &Column) -> Result<Option<Signatures>> {
    let is_set = column.kind == Kind::Set;
    let bits = |&element: &u64| (sets::signature_of(element), sets::lane_of(element));
    Ok(match test {
        // Only sets are asked for elements.
        Test::Overlaps(_) | Test::Contains(_) if !is_set => None,
        Test::Overlaps(elements) => Some(Signatures::any_of(elements.iter().map(bits))?),
        Test::Contains(elements) if elements.is_empty() => None,
        Test::Contains(elements) => {
            let both = |all: (u16, u16), of: (u16, u16)| (all.0 | of.0, all.1 | of.1);
            let all = elements.iter().map(bits).fold((0, 0), both);
            Some(Signatures::any_of(std::iter::once(all))?)
        }
        Test::Nothing if is_set => Some(Signatures::any_of(std::iter::empty())?),
        Test::Null if is_set => Some(Signatures::Empty),
        // The signature of NULL is one of the empty set too.
        _ if is_set => None,
        Test::Nothing => Some(Signatures::one_of(ones(|_| {})?)),
        Test::Anything | Test::NotNull => Some(Signatures::one_of(ones(|set| {
            set.fill(u64::MAX);
            let null = usize::from(column.signature(None));
            set[null / 64] &= !(1 << (null % 64));
        })?)),
        Test::Null => Some(Signatures::one_of(ones(|set| add(set, column.signature(None)))?)),
        Test::In(keys) => Some(Signatures::one_of(ones(|set| {
            keys.iter().for_each(|&key| add(set, column.signature(Some(key))));
        })?)),
        Test::Range { .. } if column.kind == Kind::Hashed => None,
        Test::Range { least, most } => {
            let (least, most) = keys(least.as_ref(), most.as_ref(), column);
            if column.kind == Kind::Exact && most.saturating_sub(least) < FEW_KEYS {
                return Ok(Some(Signatures::one_of(ones(|set| {
                    (least..=most).for_each(|key| add(set, column.signature(Some(key))));
                })?)));
            }
            if column.borders.is_empty() {
                return Ok(None);
            }
            let places = column.places(least, most);
            Some(Signatures::one_of(ones(|set| {
                for place in places {
                    let (first, hashes) = signature::of_place(place);
                    set[usize::from(first / 64)] |= hashes << (first % 64);
                }
            })?))
        }
    })
}

/// Adds the lists that name the nodes that may pass a condition on a column, with the signatures of
/// these.
fn add_lists(
    all: &mut Vec<(usize, Vec<u16>)>,
    condition: &Condition,
    (column, signatures): (&Column, &Signatures),
) -> Result<()> {
    let is_set = column.kind == Kind::Set;
    match (&condition.test, signatures) {
        (Test::Overlaps(elements), _) if is_set => {
            let lists = elements.iter().map(|&element| sets::list_of(element));
            let of_many = (!elements.is_empty()).then_some(sets::OF_MANY);
            all.try_push((condition.column, last_first(lists.chain(of_many))?))
        }
        // A node with all elements is in the lists of each; the lists of a few are looked at.
        (Test::Contains(elements), _) if is_set => {
            let mut elements = fallible::collect(elements.iter().copied())?;
            elements.sort_unstable();
            elements.dedup();
            if elements.len() > sets::MOST_ELEMENTS {
                return all.try_push((condition.column, last_first([sets::OF_MANY].into_iter())?));
            }
            let lists = last_first(elements.iter().map(|&element| sets::list_of(element)))?;
            for list in lists.into_iter().take(MOST_WAYS) {
                all.try_push((condition.column, last_first([list, sets::OF_MANY].into_iter())?))?;
            }
            Ok(())
        }
        (_, Signatures::OneOf { entries, .. }) => {
            let lists = last_first(with_any(entries, column.list_len()).map(|first| column.list_of(first)))?;
            // A node is in one list of the column.
            match all.iter_mut().find(|(column, _)| *column == condition.column) {
                Some((_, others)) => others.retain(|list| lists.binary_search_by(|other| list.cmp(other)).is_ok()),
                None => all.try_push((condition.column, lists))?,
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The first signature of each group of so many, a power of two, or of 64 that has any of a set.
fn with_any(set: &[u64], len: usize) -> impl Iterator<Item = u16> {
    let len = len.min(u64::BITS as usize);
    let of_group = u64::MAX >> (u64::BITS as usize - len);
    let words = (0..).zip(set).filter(|(_, word)| **word != 0);
    words.flat_map(move |(i, word)| {
        let groups = (0..u64::BITS as usize).step_by(len);
        let groups = groups.filter(move |group| word >> group & of_group != 0);
        groups.map(move |group| i * u64::BITS as u16 + group as u16)
    })
}

/// Lists without repetition, the last one first.
fn last_first(lists: impl Iterator<Item = u16>) -> Result<Vec<u16>> {
    let mut lists = fallible::collect(lists)?;
    lists.sort_unstable_by(|a, b| b.cmp(a));
    lists.dedup();
    Ok(lists)
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
    use crate::filter::condition::Match;
    use crate::filter::values::Values;

    /// A value that passes a filter is never excluded by its signature, and most that do not pass
    /// are, where signatures tell.
    #[test]
    fn no_matching_neighbor_is_excluded() {
        let mut random = SmallRng::seed_from_u64(3);
        for kind in [Kind::Exact, Kind::Rounded, Kind::Hashed, Kind::Set] {
            for (learned, list_bits) in [(true, 7), (false, 7), (true, 12), (false, 9)] {
                let mut key = || match kind {
                    Kind::Set => {
                        let count = [0, 1, 2, 3, 12][random.random_range(0..5)];
                        sets::key((0..count).map(|_| sets::element(random.random_range(0..50))).collect())
                    }
                    _ => random.random_range(0..5000),
                };
                let keys: Vec<u64> = (0..3000).map(|_| key()).collect();
                let sample = if learned { keys.clone() } else { Vec::new() };
                let columns = [Column {
                    list_bits,
                    ..Column::of_sample(kind, sample)
                }];
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
                    Test::Overlaps(vec![sets::element(1), sets::element(2)]),
                    Test::Overlaps(vec![]),
                    Test::Contains(vec![sets::element(1), sets::element(3)]),
                    Test::Contains(vec![]),
                ];
                for test in tests {
                    let filter = Filter::new(vec![Condition {
                        column: 0,
                        test: test.clone(),
                    }]);
                    let lanes = LaneFilter::new(&filter, &columns).unwrap();
                    let (mut passed, mut passed_in_lanes, mut matched) = (0, 0, 0);
                    for key in keys.iter().map(|&key| Some(key)).chain([None]) {
                        let mut values = Values::NONE;
                        values.set(0, key);
                        let signature = columns[0].signature(key).to_le_bytes();
                        let may_match = lanes.matching(|_| &signature) & 1 == 1;
                        let passes = filter.test(&columns, &values) > Match::No;
                        assert!(may_match || !passes, "{kind:?} {test:?} {key:?}");
                        let of_node = columns[0].lists(key);
                        let is_named =
                            |(_, lists): &(usize, Vec<u16>)| of_node.as_slice().iter().any(|list| lists.contains(list));
                        assert!(
                            !passes || lanes.lists().iter().all(is_named),
                            "{kind:?} {test:?} {key:?}"
                        );
                        let lane = columns[0].lane(key).to_le_bytes();
                        let len = if kind == Kind::Set { 2 } else { 1 };
                        let may_match_in_lane = lanes.matching_lanes(|_| &lane[..len]) & 1 == 1;
                        let least = if kind == Kind::Set { passes } else { may_match };
                        assert!(may_match_in_lane || !least, "{kind:?} {test:?} {key:?}");
                        passed_in_lanes += usize::from(may_match_in_lane);
                        passed += usize::from(may_match);
                        matched += usize::from(passes);
                    }
                    if kind != Kind::Set
                        && matches!(&test, Test::In(keys) if keys.len() == 1 || learned && kind == Kind::Exact)
                    {
                        assert!(passed <= matched + 60, "{kind:?} {test:?}: {passed} for {matched}");
                    }
                    if learned && kind == Kind::Exact && matches!(test, Test::Range { .. }) {
                        assert!(passed <= matched + 10, "{kind:?} {test:?}: {passed} for {matched}");
                        assert!(
                            passed_in_lanes <= matched + 60,
                            "{kind:?} {test:?}: {passed_in_lanes} for {matched}"
                        );
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
