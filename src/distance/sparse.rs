//! Distances between sparse vectors: two lists of components other than zero, in the order of their indices, are merged.
//!
//! A list that is not in order, as a damaged page may hold, gives some number.

use std::iter::Peekable;

/// A component: its index and its value.
pub type Component = (u32, f32);

/// Squared Euclidean distance.
#[inline]
pub fn l2_squared(a: impl Iterator<Item = Component>, b: impl Iterator<Item = Component>) -> f32 {
    merge(a, b, |a, b| (a - b) * (a - b))
}

/// Sum of absolute differences.
#[inline]
pub fn l1(a: impl Iterator<Item = Component>, b: impl Iterator<Item = Component>) -> f32 {
    merge(a, b, |a, b| (a - b).abs())
}

/// Inner product.
#[inline]
pub fn inner_product(a: impl Iterator<Item = Component>, b: impl Iterator<Item = Component>) -> f32 {
    merge(a, b, |a, b| a * b)
}

/// The sum of `term` over all indices that are in either list.
#[inline]
fn merge(
    a: impl Iterator<Item = Component>,
    b: impl Iterator<Item = Component>,
    term: impl Fn(f32, f32) -> f32,
) -> f32 {
    let (mut a, mut b) = (a.peekable(), b.peekable());
    let mut sum = 0.0;
    while let Some((a, b)) = next(&mut a, &mut b) {
        sum += term(a, b);
    }
    sum
}

/// The two values at the least index that is left.
#[inline]
fn next(
    a: &mut Peekable<impl Iterator<Item = Component>>,
    b: &mut Peekable<impl Iterator<Item = Component>>,
) -> Option<(f32, f32)> {
    let least = match (a.peek(), b.peek()) {
        (None, None) => return None,
        (Some(&(i, _)), None) | (None, Some(&(i, _))) => i,
        (Some(&(i, _)), Some(&(j, _))) => i.min(j),
    };
    let take = |list: Option<Component>| list.map_or(0.0, |(_, value)| value);
    let left = take(a.next_if(|&(i, _)| i == least));
    Some((left, take(b.next_if(|&(i, _)| i == least))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn components_that_one_vector_lacks_count_as_zero() {
        let a = [(1, 2.0), (4, -1.0), (9, 3.0)];
        let b = [(0, 5.0), (4, 2.0)];
        let of = |f: fn(std::vec::IntoIter<Component>, std::vec::IntoIter<Component>) -> f32| {
            f(a.to_vec().into_iter(), b.to_vec().into_iter())
        };
        assert_eq!(of(l2_squared), 4.0 + 9.0 + 9.0 + 25.0);
        assert_eq!(of(l1), 2.0 + 3.0 + 3.0 + 5.0);
        assert_eq!(of(inner_product), -2.0);
        let none = || std::iter::empty();
        assert_eq!(l2_squared(none(), none()), 0.0);
        assert_eq!(l1(a.into_iter(), none()), 6.0);
    }
}
