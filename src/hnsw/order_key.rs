//! The order keys of searches: f32 that order as sums of squares or products do, at any magnitude
//! of vectors.
//!
//! From [`LEAST`] to [`GREATEST`], of either sign, the key is the sum itself. Beyond, the sum is
//! made in f64, because f32 lacks the range for the squares of its own numbers, and the key is the
//! limit times the 16th root of the sum's ratio to it, made by four square roots:
//!
//! ```text
//! key = limit * (sum / limit)^(1/16)
//! ```
//!
//! From 2^-298, the square of the least f32, to 2^271, 16,000 squares of the greatest difference of
//! two, keys are normal numbers; they distinguish sums that differ by 2^-20 of themselves. Keys are
//! the same on every processor, because square roots are exact to the last bit everywhere.
//!
//! Estimates from codes are sums of f32; they are sums of f64 where a key is not the sum itself, or
//! where they leave that range.

use crate::distance::wide::{self, LEAST_PRECISE};
use crate::distance::{self, Kernel, Metric, Packed, decode_packed};
use crate::quantize::scalar::BLOCK;

/// Least size of a sum that is its own key.
const LEAST: f32 = LEAST_PRECISE;

/// Greatest size of a sum that is its own key.
pub const GREATEST: f32 = f32::from_bits((127 + 116) << 23);

/// Whether a sum made in f32 is precise, and its own key.
#[inline]
fn is_plain(sum: f32) -> bool {
    (LEAST..=GREATEST).contains(&sum.abs())
}

/// The key of a sum. A sum that is not a number (of a damaged vector) is farthest, so that there is
/// always an order.
#[must_use]
pub fn of(sum: f64) -> f32 {
    let size = sum.abs();
    let limit = f64::from(if size < 1.0 { LEAST } else { GREATEST });
    let key = match size {
        _ if size.is_nan() => return f32::INFINITY,
        _ if (f64::from(LEAST)..=f64::from(GREATEST)).contains(&size) => size,
        _ => limit * (size / limit).sqrt().sqrt().sqrt().sqrt(),
    };
    // Zero has no sign.
    key.copysign(sum) as f32 + 0.0
}

/// The sum of a key.
#[must_use]
pub fn sum(key: f32) -> f64 {
    let size = f64::from(key.abs());
    let limit = f64::from(if size < 1.0 { LEAST } else { GREATEST });
    let sum = match is_plain(key) {
        true => size,
        false => limit * (size / limit).powi(16),
    };
    sum.copysign(key.into())
}

/// Whether a key is the sum itself.
#[inline]
#[must_use]
pub fn is_sum(key: f32) -> bool {
    is_plain(key) || key == 0.0
}

/// The bound below which an estimate in f32 is useful, if keys below `worst` are; not a number if
/// there is no such bound.
#[inline]
#[must_use]
pub fn bound(worst: f32) -> f32 {
    if worst.abs() <= GREATEST { worst } else { f32::NAN }
}

/// Whether an estimate in f32 is a key.
#[inline]
#[must_use]
pub fn is_estimate(estimate: f32) -> bool {
    estimate.abs() <= GREATEST
}

/// A sum over the components of a query and of a stored vector, or over a part of both.
#[derive(Clone, Copy)]
pub enum Terms<'a> {
    /// The stored vector has f32, given as bytes.
    Floats(Kernel, &'a [f32], &'a [u8]),
    /// The stored vector is quantized.
    Packed(Metric, &'a [f32], Packed<'a>),
    /// The stored vector is quantized in two parts.
    Parts(Metric, &'a [f32], Packed<'a>, Packed<'a>),
}

impl Terms<'_> {
    /// The key of the sum.
    #[inline(always)]
    pub fn key(self) -> f32 {
        match self.in_f32() {
            sum if is_plain(sum) => sum,
            _ => of(self.in_f64()),
        }
    }

    /// The sum, to be added to others.
    #[inline]
    pub fn sum(self) -> f64 {
        match self.in_f32() {
            sum if is_plain(sum) => sum.into(),
            _ => self.in_f64(),
        }
    }

    #[inline(always)]
    fn in_f32(&self) -> f32 {
        match self {
            Terms::Floats(kernel, query, bytes) => kernel.distance_bytes(query, bytes),
            Terms::Packed(Metric::InnerProduct, query, packed) => -distance::inner_product_packed(query, packed),
            Terms::Packed(_, query, packed) => distance::l2_squared_packed(query, packed),
            Terms::Parts(metric, query, first, second) => {
                let (query, rest) = halves(query, first);
                Terms::Packed(*metric, query, *first).in_f32() + Terms::Packed(*metric, rest, *second).in_f32()
            }
        }
    }

    #[cold]
    fn in_f64(&self) -> f64 {
        match self {
            Terms::Floats(kernel, query, bytes) => {
                let numbers = bytes.as_chunks().0.iter().map(|bytes| f32::from_ne_bytes(*bytes));
                wide::sum(pairs(query, numbers), kernel.term())
            }
            Terms::Packed(metric, query, packed) => {
                let blocks = packed.bytes.chunks_exact(packed.width.block_bytes());
                let numbers = blocks.flat_map(|bytes| {
                    let mut numbers = [0.0; BLOCK];
                    decode_packed(&Packed { bytes, ..*packed }, &mut numbers);
                    numbers
                });
                wide::sum(pairs(query, numbers), metric.term())
            }
            Terms::Parts(metric, query, first, second) => {
                let (query, rest) = halves(query, first);
                Terms::Packed(*metric, query, *first).in_f64() + Terms::Packed(*metric, rest, *second).in_f64()
            }
        }
    }
}

/// The parts of a query beside the first part of a vector, and beside the rest.
#[inline(always)]
fn halves<'q>(query: &'q [f32], first: &Packed<'_>) -> (&'q [f32], &'q [f32]) {
    query.split_at(first.bytes.len() / first.width.block_bytes() * BLOCK)
}

/// The key of two vectors.
#[inline]
pub fn between(kernel: Kernel, a: &[f32], b: &[f32]) -> f32 {
    match kernel.distance(a, b) {
        sum if is_plain(sum) => sum,
        _ => of(wide::sum(pairs(a, b.iter().copied()), kernel.term())),
    }
}

fn pairs(query: &[f32], numbers: impl Iterator<Item = f32>) -> impl Iterator<Item = (f64, f64)> {
    query.iter().zip(numbers).map(|(&x, y)| (x.into(), y.into()))
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::quantize::scalar::{Scalar, Width};

    #[test]
    fn keys_order_as_sums_do_and_tell_what_they_were() {
        let (least, greatest) = (2f64.powi(-298), 2f64.powi(271));
        let mut last = 0.0;
        for sum_of in (0..).map(|i| least * 1.9f64.powi(i)).take_while(|&sum| sum <= greatest) {
            let key = of(sum_of);
            assert!(key > last && key.is_normal(), "{sum_of:e} after {last:e}");
            assert_eq!(of(-sum_of), -key);
            assert!(
                (sum(key) / sum_of - 1.0).abs() < 2f64.powi(-20),
                "{sum_of:e} became {key:e}"
            );
            assert_eq!(sum(-key), -sum(key));
            assert!(
                of(sum_of * (1.0 + 2f64.powi(-19))) > key,
                "{sum_of:e} is not told apart"
            );
            last = key;
        }
        for plain in [LEAST, 1.0, 3.5, GREATEST] {
            assert_eq!((of(plain.into()), sum(plain)), (plain, f64::from(plain)));
        }
        assert_eq!([0.0, -0.0].map(|zero| of(zero).to_bits()), [0, 0]);
        assert_eq!((sum(0.0), sum(f32::INFINITY)), (0.0, f64::INFINITY));
        assert_eq!(
            (of(f64::NAN), of(f64::NEG_INFINITY)),
            (f32::INFINITY, f32::NEG_INFINITY)
        );
    }

    #[test]
    fn estimates_are_keys_within_the_range_of_sums() {
        assert!(
            [0.0, 1.0, 1e30, -1e30]
                .into_iter()
                .all(|key| is_sum(key) && is_estimate(key) && bound(key) == key)
        );
        assert!(![1e40, -1e40, 1e-50].map(of).into_iter().any(is_sum));
        assert!(
            ![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e38, of(1e40)]
                .into_iter()
                .any(is_estimate)
        );
        assert!(
            [f32::NAN, f32::INFINITY, of(1e40)]
                .into_iter()
                .all(|worst| bound(worst).is_nan())
        );
    }

    /// Vectors of one magnitude, or of many.
    fn draw(random: &mut SmallRng, dimensions: usize, exponents: std::ops::Range<i32>) -> Vec<f32> {
        let mut number = || random.random_range(-1.0..1.0) * 10f64.powi(random.random_range(exponents.clone()));
        (0..dimensions).map(|_| number() as f32).collect()
    }

    #[test]
    fn keys_are_those_of_exact_sums_at_any_magnitude() {
        let mut random = SmallRng::seed_from_u64(5);
        for exponent in -45..38 {
            for (dimensions, spread) in [(1, 1), (3, 1), (50, 1), (50, 20), (384, 1), (384, 40)] {
                let exponents = exponent..(exponent + spread).min(38);
                let [a, b] = [(); 2].map(|()| draw(&mut random, dimensions, exponents.clone()));
                for metric in [Metric::L2, Metric::InnerProduct, Metric::L1] {
                    let kernel = metric.kernel().unwrap();
                    let bytes: Vec<u8> = b.iter().flat_map(|number| number.to_ne_bytes()).collect();
                    let terms = Terms::Floats(kernel, &a, &bytes);
                    assert_eq!(terms.key(), between(kernel, &a, &b));
                    check(metric, &a, &b, terms);
                }
                if dimensions % BLOCK != 0 || exponent > 36 {
                    continue;
                }
                for width in Width::ALL {
                    let mut bytes = vec![0; dimensions / BLOCK * width.block_bytes()];
                    let packed = Scalar::encode(&b, width, &mut bytes).packed(&bytes);
                    let mut decoded = vec![0.0; dimensions];
                    decode_packed(&packed, &mut decoded);
                    for metric in [Metric::L2, Metric::InnerProduct] {
                        check(metric, &a, &decoded, Terms::Packed(metric, &a, packed));
                    }
                    assert_eq!(Terms::Packed(Metric::L2, &decoded, packed).key(), 0.0);
                }
            }
        }
    }

    fn check(metric: Metric, a: &[f32], b: &[f32], terms: Terms<'_>) {
        let term = metric.term();
        let each = || a.iter().zip(b).map(|(&x, &y)| term(x.into(), y.into()));
        let (exact, size): (f64, f64) = (each().sum(), each().map(f64::abs).sum());
        for found in [sum(terms.key()), terms.sum()] {
            let error = (found - exact).abs();
            assert!(
                error <= 3e-6 * size,
                "{metric:?}: {found:e}, not {exact:e}, of {a:?} and {b:?}"
            );
        }
    }
}
