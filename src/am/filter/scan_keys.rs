//! Conditions of an index scan on filter columns, from the scan keys that PostgreSQL passes.
//!
//! A key is understood by the function of its operator, and by nothing that a catalog says of the
//! operator. A key that is not understood excludes no row, and the executor checks the condition.

use pgrx::pg_sys;

use super::classes::{Comparison, Domain, operator};
use super::value::{Elements, Scalar};
use super::{Column, Columns};
use crate::error::Result;
use crate::fallible;
use crate::filter::condition::{Bound, Condition, Filter, Test};

/// The conditions of a scan.
pub struct Conditions {
    pub filter: Filter,
    /// Whether the filter has all of the conditions. The executor checks each row if not.
    pub is_complete: bool,
}

impl Conditions {
    /// The conditions of scan keys.
    ///
    /// # Errors
    /// [`crate::error::Error::OutOfMemory`].
    ///
    /// # Safety
    /// `keys` are those of a scan of the index with these columns.
    pub unsafe fn of(columns: &Columns, keys: &[pg_sys::ScanKeyData]) -> Result<Conditions> {
        let mut conditions: Vec<Condition> = Vec::new();
        let mut is_complete = true;
        for key in keys {
            // The first column is the vector.
            let number = usize::try_from(key.sk_attno)
                .ok()
                .and_then(|number| number.checked_sub(2));
            let column = number.and_then(|number| Some((number, columns.get(number)?)));
            let test = match column {
                // SAFETY: as the caller promises.
                Some((number, column)) => unsafe { test(column, key)? }.map(|test| (number, test)),
                None => None,
            };
            match test {
                Some((column, test)) => add(&mut conditions, Condition { column, test })?,
                None => is_complete = false,
            }
        }
        Ok(Conditions {
            filter: Filter::new(conditions),
            is_complete,
        })
    }

    /// Whether no row passes.
    pub fn exclude_all(&self) -> bool {
        let mut conditions = self.filter.conditions().iter();
        conditions.any(|condition| match condition.test {
            Test::Nothing => true,
            Test::Range {
                least: Some(least),
                most: Some(most),
            } => least.key > most.key,
            _ => false,
        })
    }
}

/// Adds a condition. Ranges of one column become one range, which excludes more signatures.
fn add(conditions: &mut Vec<Condition>, condition: Condition) -> Result<()> {
    if let Test::Range { least, most } = condition.test {
        let of_column = conditions.iter_mut().filter(|other| other.column == condition.column);
        for other in of_column {
            if let Test::Range {
                least: lower,
                most: upper,
            } = &mut other.test
            {
                *lower = narrower(*lower, least, |a, b| a.key > b.key);
                *upper = narrower(*upper, most, |a, b| a.key < b.key);
                return Ok(());
            }
        }
    }
    fallible::TryPush::try_push(conditions, condition)
}

/// The bound that more rows are beyond.
fn narrower(a: Option<Bound>, b: Option<Bound>, is_narrower: fn(&Bound, &Bound) -> bool) -> Option<Bound> {
    match (a, b) {
        (Some(a), Some(b)) if is_narrower(&a, &b) => Some(a),
        (Some(a), Some(b)) if is_narrower(&b, &a) => Some(b),
        (Some(a), Some(b)) => Some(Bound {
            inclusive: a.inclusive && b.inclusive,
            ..a
        }),
        (a, b) => a.or(b),
    }
}

/// The test of a scan key; none if the key is not understood.
///
/// # Safety
/// `key` is a scan key of this column.
unsafe fn test(column: Column, key: &pg_sys::ScanKeyData) -> Result<Option<Test>> {
    let has = |flag: u32| key.sk_flags as u32 & flag != 0;
    if has(pg_sys::SK_SEARCHNULL) {
        return Ok(Some(Test::Null));
    }
    if has(pg_sys::SK_SEARCHNOTNULL) {
        return Ok(Some(Test::NotNull));
    }
    if has(pg_sys::SK_ROW_HEADER | pg_sys::SK_ROW_MEMBER | pg_sys::SK_UNARY | pg_sys::SK_ORDER_BY) {
        return Ok(None);
    }
    let Some((operators, comparison)) = operator(key.sk_func.fn_oid) else {
        return Ok(None);
    };
    if operators.domain != column.class.domain {
        return Ok(None);
    }
    if has(pg_sys::SK_ISNULL) {
        return Ok(Some(Test::Nothing));
    }
    let argument = key.sk_argument;
    // SAFETY: as the caller promises: the argument is of the type on the right of the operator, or
    // an array of it.
    unsafe {
        let Some(scalar) = operators.scalar else {
            return match has(pg_sys::SK_SEARCHARRAY) {
                true => Ok(None),
                false => of_set(column, comparison, argument),
            };
        };
        if has(pg_sys::SK_SEARCHARRAY) {
            let Some(elements) = Elements::of(argument, scalar)? else {
                return Ok(None);
            };
            let keys = elements.values.iter();
            let keys = fallible::collect(keys.map(|&value| scalar.key(value, column.by_bytes)))?;
            return Ok(Some(of_any(column, comparison, keys)));
        }
        let key = scalar.key(argument, column.by_bytes);
        Ok(Some(of_any(column, comparison, fallible::collect([key])?)))
    }
}

/// The test for a value that compares so with one of the values of these keys.
fn of_any(column: Column, comparison: Comparison, keys: Vec<u64>) -> Test {
    let (Some(&first), Some(&last)) = (keys.iter().min(), keys.iter().max()) else {
        return Test::Nothing;
    };
    let is_ordered = !matches!(column.class.scalar, Scalar::Text | Scalar::Enum);
    let above = |inclusive| Test::Range {
        least: Some(Bound { key: first, inclusive }),
        most: None,
    };
    let below = |inclusive| Test::Range {
        least: None,
        most: Some(Bound { key: last, inclusive }),
    };
    match comparison {
        Comparison::Equal if column.by_bytes => Test::one_of(keys),
        _ if !is_ordered => Test::Anything,
        Comparison::Less => below(false),
        Comparison::LessOrEqual => below(true),
        Comparison::GreaterOrEqual => above(true),
        Comparison::Greater => above(false),
        Comparison::Equal | Comparison::Overlaps | Comparison::Contains => Test::Anything,
    }
}

/// The test for an array that compares so with another.
///
/// # Safety
/// `array` is an array.
unsafe fn of_set(column: Column, comparison: Comparison, array: pg_sys::Datum) -> Result<Option<Test>> {
    let scalar = column.class.scalar;
    if column.class.domain != Domain::Array {
        return Ok(None);
    }
    // SAFETY: as the caller promises.
    let Some(elements) = (unsafe { Elements::of(array, scalar)? }) else {
        return Ok(None);
    };
    // SAFETY: the elements have this form.
    let hashes = || unsafe { elements.hashes(scalar, column.by_bytes) };
    Ok(Some(match comparison {
        // NULL is in no array, and the empty set is in each.
        Comparison::Contains if elements.has_nulls => Test::Nothing,
        Comparison::Overlaps if elements.values.is_empty() => Test::Nothing,
        _ if !column.by_bytes => Test::Anything,
        Comparison::Contains => Test::Contains(hashes()?),
        Comparison::Overlaps => Test::Overlaps(hashes()?),
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(key: u64, inclusive: bool) -> Option<Bound> {
        Some(Bound { key, inclusive })
    }

    #[test]
    fn bounds_that_no_value_is_within_exclude_all_rows() {
        for (least, most, excluded) in [(3, 5, false), (5, 5, false), (5, 3, true)] {
            let mut conditions = Vec::new();
            for (least, most) in [(bound(least, false), None), (None, bound(most, false))] {
                let test = Test::Range { least, most };
                add(&mut conditions, Condition { column: 1, test }).unwrap();
            }
            let conditions = Conditions {
                filter: Filter::new(conditions),
                is_complete: true,
            };
            assert_eq!(conditions.exclude_all(), excluded, "{least} {most}");
        }
    }

    #[test]
    fn ranges_of_a_column_become_one() {
        let mut conditions = Vec::new();
        let range = |least, most| Test::Range { least, most };
        for (column, test) in [
            (0, range(bound(3, true), None)),
            (1, range(None, bound(5, true))),
            (0, range(None, bound(9, true))),
            (0, range(bound(2, false), bound(9, false))),
            (0, Test::NotNull),
        ] {
            add(&mut conditions, Condition { column, test }).unwrap();
        }
        let tests: Vec<_> = conditions
            .iter()
            .map(|condition| (condition.column, &condition.test))
            .collect();
        assert_eq!(
            tests,
            [
                (0, &range(bound(3, true), bound(9, false))),
                (1, &range(None, bound(5, true))),
                (0, &Test::NotNull),
            ]
        );
    }
}
