//! Distances between sparse vectors: one merge of both lists of elements, from any iterators.
//!
//! Terms are computed and summed in f64, so that no sum overflows and the result is the same on
//! every machine.

use std::iter::{Copied, Zip};
use std::slice;

/// A nonzero element: its index and its value.
pub type Element = (i32, f32);

/// A sparse vector: its nonzero elements.
///
/// Indices ascend, and each has a value. Other lists give a wrong distance and do no other harm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sparse<'a> {
    pub indices: &'a [i32],
    pub values: &'a [f32],
}

impl<'a> IntoIterator for Sparse<'a> {
    type Item = Element;
    type IntoIter = Zip<Copied<slice::Iter<'a, i32>>, Copied<slice::Iter<'a, f32>>>;

    /// The elements in order.
    fn into_iter(self) -> Self::IntoIter {
        self.indices.iter().copied().zip(self.values.iter().copied())
    }
}

/// Squared Euclidean distance.
#[must_use]
pub fn l2_squared(a: impl IntoIterator<Item = Element>, b: impl IntoIterator<Item = Element>) -> f64 {
    sum(a, b, |x, y| (x - y) * (x - y))
}

/// Sum of absolute differences.
#[must_use]
pub fn l1(a: impl IntoIterator<Item = Element>, b: impl IntoIterator<Item = Element>) -> f64 {
    sum(a, b, |x, y| (x - y).abs())
}

/// Inner product.
#[must_use]
pub fn inner_product(a: impl IntoIterator<Item = Element>, b: impl IntoIterator<Item = Element>) -> f64 {
    sum(a, b, |x, y| x * y)
}

/// The sum of `term` over all pairs of elements; `term` must be zero for two zeros.
fn sum(
    a: impl IntoIterator<Item = Element>,
    b: impl IntoIterator<Item = Element>,
    term: impl Fn(f64, f64) -> f64,
) -> f64 {
    // The fold starts from 0, because Rust's sum of no terms is -0.
    merge(a, b).fold(0.0, |sum, (_, x, y)| sum + term(x.into(), y.into()))
}

/// Index and values of the elements that are present in one or both vectors, in order; absent
/// values are zero.
pub fn merge(
    a: impl IntoIterator<Item = Element>,
    b: impl IntoIterator<Item = Element>,
) -> impl Iterator<Item = (i32, f32, f32)> {
    let (mut a, mut b) = (a.into_iter().peekable(), b.into_iter().peekable());
    std::iter::from_fn(move || {
        let from_a = a.next_if(|&(index, _)| b.peek().is_none_or(|&(other, _)| index <= other));
        let from_b = b.next_if(|&(index, _)| match from_a {
            Some((other, _)) => index == other,
            None => true,
        });
        let (index, _) = from_a.or(from_b)?;
        let value = |element: Option<(i32, f32)>| element.map_or(0.0, |(_, value)| value);
        Some((index, value(from_a), value(from_b)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    /// A vector of `dimensions` numbers of which about one in `one_in` is not zero, and its
    /// elements.
    fn draw(rng: &mut SmallRng, dimensions: usize, one_in: u32) -> (Vec<f64>, Vec<i32>, Vec<f32>) {
        let mut dense = vec![0.0; dimensions];
        let (mut indices, mut values) = (Vec::new(), Vec::new());
        for (index, number) in dense.iter_mut().enumerate() {
            if rng.random_ratio(1, one_in) {
                let value: f32 = rng.random_range(-1.0..1.0);
                *number = value.into();
                indices.push(index as i32);
                values.push(value);
            }
        }
        (dense, indices, values)
    }

    #[test]
    fn as_the_dense_vectors() {
        let mut rng = SmallRng::seed_from_u64(1);
        for dimensions in [1, 2, 3, 10, 100, 1000] {
            for (one_in_a, one_in_b) in [(1, 1), (2, 3), (10, 2), (1, 50), (50, 50)] {
                let (x, a_indices, a_values) = draw(&mut rng, dimensions, one_in_a);
                let (y, b_indices, b_values) = draw(&mut rng, dimensions, one_in_b);
                let a = Sparse {
                    indices: &a_indices,
                    values: &a_values,
                };
                let b = Sparse {
                    indices: &b_indices,
                    values: &b_values,
                };
                let sum = |term: fn(f64, f64) -> f64| x.iter().zip(&y).fold(0.0, |sum, (&x, &y)| sum + term(x, y));
                // The same terms in the same order, and zeros.
                assert_eq!(l2_squared(a, b), sum(|x, y| (x - y) * (x - y)));
                assert_eq!(l1(a, b), sum(|x, y| (x - y).abs()));
                assert_eq!(inner_product(a, b), sum(|x, y| x * y));
            }
        }
    }

    #[test]
    fn nothing_in_common() {
        let none = Sparse {
            indices: &[],
            values: &[],
        };
        let a = Sparse {
            indices: &[0, 5],
            values: &[3.0, -4.0],
        };
        let b = Sparse {
            indices: &[1],
            values: &[1.0],
        };
        assert_eq!([l2_squared(none, none), l1(none, none)], [0.0, 0.0]);
        assert_eq!(inner_product(none, a).to_bits(), 0.0f64.to_bits(), "zero has no sign");
        assert_eq!(
            [l2_squared(a, none), l1(none, a), inner_product(a, b)],
            [25.0, 7.0, 0.0]
        );
        assert_eq!([l2_squared(a, b), l1(b, a)], [26.0, 8.0]);
    }

    #[test]
    fn large_numbers_do_not_overflow() {
        let (a, b) = (
            Sparse {
                indices: &[7],
                values: &[3e38],
            },
            Sparse {
                indices: &[7],
                values: &[-3e38],
            },
        );
        assert!((l2_squared(a, b).sqrt() / 6e38 - 1.0).abs() < 1e-6);
        assert!((l1(a, b) / 6e38 - 1.0).abs() < 1e-6);
        assert!((inner_product(a, b) / -9e76 - 1.0).abs() < 1e-6);
    }
}
