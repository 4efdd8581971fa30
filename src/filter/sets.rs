//! Keys of sets: the arrays of a filter column.
//!
//! An element is a hash of 60 bits. The key of up to eight elements has all of them, with as many
//! of their upper bits as there is room for, so that few sets pass a test that do not have the
//! element. The key of more elements is a Bloom filter, with four bits for each.
//!
//! | elements | bit 63 | bits 60 to 62 | bits 0 to 59 |
//! |---|---|---|---|
//! | none | 0 | 0 | 0 |
//! | 1 to 8 | 1 | their number less 1 | the upper 60 / number bits of each, the least element lowest |
//! | more | 0 | Bloom filter of bits 0 to 62 | |
//!
//! The upper 7 bits of an element are its *class*, which every key tells of up to eight elements.
//! It decides the value list of nodes that have the element, and two of the 16 bits of such nodes
//! in lanes of records. Entries of lists have two of 16 bits for the *rest*, the next 7 bits: so
//! they tell elements apart that share a list. Where a key has fewer bits of an element, the
//! entry has the bits of every rest that the element may have.
//!
//! Nodes with more elements are in one list for all of them, which each condition reads as well.

use super::lists::OfNode;
use super::values::mix;

/// The most elements of a key that has them all, and lists that a node with them is in.
pub const MOST_ELEMENTS: usize = OfNode::MOST;

/// Bits of an element, of its class, and of its rest.
const BITS: u32 = 60;
const CLASS_BITS: u32 = 7;
const REST_BITS: u32 = 7;

/// The bit of keys that have all elements, and the place of their number.
const HAS_ALL: u64 = 1 << 63;

/// Lists of a column of sets, however many another column has: the key of the most elements has
/// this many bits of each.
pub const LISTS: u16 = 1 << CLASS_BITS;

/// The list of nodes with more elements than a key has.
pub const OF_MANY: u16 = LISTS - 1;

/// A key that may have every element.
pub const ANY: u64 = HAS_ALL - 1;

/// The element of a value with this key.
#[inline]
pub fn element(key: u64) -> u64 {
    mix(key) >> (u64::BITS - BITS)
}

/// The key of the set of elements, which may repeat.
pub fn key(mut elements: Vec<u64>) -> u64 {
    elements.sort_unstable();
    elements.dedup();
    match elements.len() {
        0 => 0,
        count @ 1..=MOST_ELEMENTS => {
            let bits = BITS / count as u32;
            let elements = elements.iter().rev();
            let all = elements.fold(0, |all, element| all << bits | element >> (BITS - bits));
            HAS_ALL | (count as u64 - 1) << BITS | all
        }
        _ => elements.iter().fold(0, |set, &element| set | bloom(element)),
    }
}

/// Whether a set may have an element.
#[inline]
pub fn may_have(key: u64, element: u64) -> bool {
    match all_of(key) {
        Some((bits, mut all)) => all.any(|upper| upper == element >> (BITS - bits)),
        None => bloom(element) & !key == 0,
    }
}

/// The signature of a set in entries of lists.
pub fn signature(key: u64) -> u16 {
    match all_of(key) {
        Some((bits, all)) => {
            let known = (bits - CLASS_BITS).min(REST_BITS);
            all.fold(0, |set, upper| {
                let rest = upper >> (bits - CLASS_BITS - known) & ((1 << known) - 1);
                set | two_of_any(rest, REST_BITS - known)
            })
        }
        None => folded(key >> 32),
    }
}

/// The bits that the signature of every set with an element has.
pub fn signature_of(element: u64) -> u16 {
    two_of(rest(element))
}

/// The signature of a set in lanes of records.
pub fn lane(key: u64) -> u16 {
    match all_of(key) {
        Some((bits, all)) => all.fold(0, |set, upper| set | two_of(upper >> (bits - CLASS_BITS))),
        None => folded(key),
    }
}

/// The bits that the lane of every set with an element has.
pub fn lane_of(element: u64) -> u16 {
    two_of(class(element))
}

/// The lists that a node with a set is in.
pub fn lists(key: u64) -> OfNode {
    match all_of(key) {
        Some((bits, all)) => all.fold(OfNode::default(), |mut lists, upper| {
            lists.add(list_of_class(upper >> (bits - CLASS_BITS)));
            lists
        }),
        None if key == 0 => OfNode::default(),
        None => OfNode::one(OF_MANY),
    }
}

/// The list of nodes with an element; those with many elements are in [`OF_MANY`].
pub fn list_of(element: u64) -> u16 {
    list_of_class(class(element))
}

/// As [`passed_in_vain`], in entries of lists. Keys have all bits of the rest of up to four
/// elements, and so few of more that three quarters of the entries with five pass, and all with
/// more.
pub fn listed_in_vain(elements: f64) -> f64 {
    let beyond = (elements - 4.0).max(0.0);
    (passed_in_vain(elements.min(4.0)) + 0.57 * beyond).min(1.0)
}

/// Share of the sets of so many elements that have both bits of another element in lanes.
pub fn passed_in_vain(elements: f64) -> f64 {
    (1.0 - (15.0_f64 / 16.0).powf(2.0 * elements)).powi(2)
}

/// The elements of a key that has all of them, and the number of their upper bits that it has.
#[inline]
fn all_of(key: u64) -> Option<(u32, impl Iterator<Item = u64>)> {
    let count = (key >> BITS & 7) as u32 + 1;
    let bits = BITS / count;
    let all = (0..count).map(move |i| key >> (i * bits) & ((1 << bits) - 1));
    (key & HAS_ALL != 0).then_some((bits, all))
}

#[inline]
fn class(element: u64) -> u64 {
    element >> (BITS - CLASS_BITS)
}

#[inline]
fn rest(element: u64) -> u64 {
    element >> (BITS - CLASS_BITS - REST_BITS) & ((1 << REST_BITS) - 1)
}

/// Two different ones of 16 bits, for each class or rest: 120 pairs for 128 of them.
#[inline]
fn two_of(part: u64) -> u16 {
    let first = part >> 3;
    let second = (first + 1 + (part & 7)) % 16;
    1 << first | 1 << second
}

/// The bits of every rest that begins with these bits, and has so many more.
fn two_of_any(rest: u64, more: u32) -> u16 {
    (0..1 << more).fold(0, |set, lower| set | two_of(rest << more | lower))
}

/// The bits of both parts of one half of a Bloom filter.
#[inline]
fn folded(half: u64) -> u16 {
    (half | half >> 16) as u16
}

/// All lists but that of many elements, for about as many classes each.
#[inline]
fn list_of_class(class: u64) -> u16 {
    ((class * u64::from(OF_MANY)) >> CLASS_BITS) as u16
}

/// The Bloom filter of an element: its bits in lanes in the lower half, its bits in lists in the
/// upper one, each in one of the two parts of the half.
#[inline]
fn bloom(element: u64) -> u64 {
    let half = |two: u16, parts: u64| {
        let two = u64::from(two);
        let lower = two & two.wrapping_neg();
        lower << (16 * (parts & 1)) | (two ^ lower) << (16 * (parts >> 1 & 1))
    };
    let bits = half(lane_of(element), element) | half(signature_of(element), element >> 2) << 32;
    // The last bit tells the form of a key: the other part has it.
    bits & ANY | (bits & HAS_ALL) >> 16
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    /// Sets of each size up to 20, and the elements of all.
    fn sets() -> Vec<Vec<u64>> {
        let mut random = SmallRng::seed_from_u64(5);
        (0..4000)
            .map(|set| (0..set % 21).map(|_| element(random.random_range(0..500))).collect())
            .collect()
    }

    /// Whether a condition on an element reads a list of a set.
    fn is_in_list_of(key: u64, element: u64) -> bool {
        let is_read = |&list: &u16| list == list_of(element) || list == OF_MANY;
        lists(key).as_slice().iter().any(is_read)
    }

    #[test]
    fn no_element_is_missed() {
        for set in sets() {
            let key = key(set.clone());
            for element in set {
                assert!(may_have(key, element));
                assert_eq!(signature_of(element) & !signature(key), 0);
                assert_eq!(lane_of(element) & !lane(key), 0);
                assert!(is_in_list_of(key, element));
            }
        }
        assert!((0..1000).all(|value| may_have(ANY, element(value))));
        assert_eq!(lists(ANY), OfNode::one(OF_MANY));
        assert_eq!((signature(ANY), lane(ANY)), (u16::MAX, u16::MAX));
    }

    /// Of the sets in an element's list that do not have it, entries exclude most where keys have
    /// enough bits of each element, and lanes exclude as many sets that are in other lists.
    #[test]
    fn entries_tell_elements_of_a_list_apart() {
        let mut random = SmallRng::seed_from_u64(6);
        for of in [1, 3, 4, 5] {
            let most = 0.01 + 1.1 * listed_in_vain(f64::from(of));
            let most_in_lanes = 0.01 + 1.1 * passed_in_vain(f64::from(of));
            let (mut listed, mut passed, mut passed_in_lanes, mut others) = (0, 0, 0, 0);
            for value in 0..400 {
                let wanted = element(value);
                for _ in 0..1000 {
                    let set: Vec<u64> = (0..of).map(|_| element(random.random_range(1000..100_000))).collect();
                    let key = key(set);
                    if is_in_list_of(key, wanted) {
                        listed += 1;
                        passed += usize::from(signature_of(wanted) & !signature(key) == 0);
                    } else {
                        others += 1;
                        passed_in_lanes += usize::from(lane_of(wanted) & !lane(key) == 0);
                    }
                }
            }
            let shares = (
                f64::from(passed as u32) / f64::from(listed),
                f64::from(passed_in_lanes as u32) / f64::from(others),
            );
            assert!(
                shares.0 <= most && shares.1 <= most_in_lanes,
                "{of} elements: {shares:?}"
            );
        }
    }

    /// Of ten thousand elements that a set does not have: hardly any of up to four, some where
    /// fewer bits of each are kept, many of a Bloom filter.
    #[test]
    fn few_elements_are_had_in_vain() {
        for (of, most) in [(0, 0), (1, 0), (3, 5), (5, 60), (8, 1200), (12, 2500)] {
            let key = key((0..of).map(element).collect());
            let vain = (1000..11_000).filter(|&value| may_have(key, element(value))).count();
            assert!(vain <= most, "{of} elements: {vain}");
        }
    }

    #[test]
    fn repeated_elements_and_their_order_make_no_difference() {
        for mut set in sets() {
            let expected = key(set.clone());
            set.reverse();
            set.extend_from_within(..set.len() / 2);
            assert_eq!(key(set), expected);
        }
        assert_eq!(
            (key(Vec::new()), signature(0), lane(0), lists(0)),
            (0, 0, 0, OfNode::default())
        );
    }

    /// All lists but the last one are about as long where elements are many.
    #[test]
    fn elements_spread_over_the_lists() {
        let mut counts = [0; OF_MANY as usize];
        for value in 0..12_700 {
            counts[usize::from(list_of(element(value)))] += 1;
        }
        assert!(counts.iter().all(|count| (50..300).contains(count)), "{counts:?}");
    }
}
