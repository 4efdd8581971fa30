//! Every version this machine can run, against sums in f64 and against the scalar version.
//!
//! The tolerance is the standard bound for a sum in floating point. With unit roundoff u = 2^-24, a
//! term carries at most 3 roundings (difference, in both factors of the square, and product), and
//! its way through the partial sums at most ceil(n / 32) + 6 additions (no version has fewer than
//! 32 partial sums or more than 2^6). So the error is at most k u / (1 - k u) times the sum of the
//! absolute terms, with k = ceil(n / 32) + 9, and n 2^-149 more where products underflow.

use std::marker::PhantomData;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::dispatch::available;
use super::kernel::DenseKernels;
use super::*;

const UNIT_ROUNDOFF: f64 = 1.0 / (1u64 << 24) as f64;
const F32_MAX: f64 = f32::MAX as f64;

fn lengths() -> impl Iterator<Item = usize> {
    (0..=130).chain([383, 384, 385, 1535, 1536, 2000, 16000])
}

type DrawPair = fn(&mut SmallRng) -> (f32, f32);

/// Pairs of values, each of which stresses one property.
const INPUTS: [(&str, DrawPair); 11] = [
    ("uniform", |rng| {
        (rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0))
    }),
    ("near duplicates", |rng| {
        let x: f32 = rng.random_range(-1.0..1.0);
        (x, x * (1.0 + rng.random_range(-1e-6..1e-6)))
    }),
    ("equal", |rng| {
        let x = rng.random_range(-1.0..1.0);
        (x, x)
    }),
    ("zeros of both signs", |rng| (signed(rng, 0.0), signed(rng, 0.0))),
    ("denormals", |rng| {
        let (x, y) = (
            f32::from_bits(rng.random_range(0..1 << 23)),
            f32::from_bits(rng.random_range(0..1 << 23)),
        );
        (signed(rng, x), signed(rng, y))
    }),
    ("squares underflow", |rng| (signed(rng, 1e-30), signed(rng, 3e-23))),
    ("1e30 and 1e-30, one sign", |rng| {
        (any_of(rng, [1e30, 1e-30]), any_of(rng, [1e30, 1e-30]))
    }),
    ("1e30 and 1e-30, both signs", |rng| {
        let (x, y) = (any_of(rng, [1e30, 1e-30]), any_of(rng, [1e30, 1e-30]));
        (signed(rng, x), signed(rng, y))
    }),
    ("large, no overflow", |rng| {
        (rng.random_range(-1e16..1e16), rng.random_range(-1e16..1e16))
    }),
    ("differences overflow", |rng| {
        (signed(rng, f32::MAX), signed(rng, f32::MAX))
    }),
    ("any finite float", |rng| (any_finite(rng), any_finite(rng))),
];

fn signed(rng: &mut SmallRng, x: f32) -> f32 {
    if rng.random() { x } else { -x }
}

fn any_of(rng: &mut SmallRng, choices: [f32; 2]) -> f32 {
    choices[usize::from(rng.random::<bool>())]
}

fn any_finite(rng: &mut SmallRng) -> f32 {
    loop {
        let x = f32::from_bits(rng.random());
        if x.is_finite() {
            return x;
        }
    }
}

/// The same for halves.
const HALF_INPUTS: [(&str, DrawPair); 5] = [
    ("uniform halves", |rng| {
        (rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0))
    }),
    ("equal halves", |rng| {
        let x = rng.random_range(-1.0..1.0);
        (x, x)
    }),
    ("zeros of both signs", |rng| (signed(rng, 0.0), signed(rng, 0.0))),
    ("denormal halves", |rng| {
        let mut draw = || f16::from_bits(rng.random_range(0..1 << 10)).to_f32();
        (draw(), -draw())
    }),
    ("any finite half", |rng| {
        (any_finite_half(rng).to_f32(), any_finite_half(rng).to_f32())
    }),
];

fn any_finite_half(rng: &mut SmallRng) -> f16 {
    loop {
        let x = f16::from_bits(rng.random());
        if x.is_finite() {
            return x;
        }
    }
}

/// Bytes of a vector that starts `offset` bytes into an allocation, among NaNs that would spoil any
/// sum they enter.
struct Placed<T> {
    bytes: Vec<u8>,
    offset: usize,
    n: usize,
    numbers: PhantomData<T>,
}

impl<T: Number> Placed<T> {
    fn new(v: &[T], offset: usize) -> Self {
        let mut bytes = vec![0xff; offset];
        // SAFETY: the bytes of numbers.
        bytes.extend(unsafe { std::slice::from_raw_parts(v.as_ptr().cast::<u8>(), size_of_val(v)) });
        bytes.extend([0xff; 64]);
        Self {
            bytes,
            offset,
            n: v.len(),
            numbers: PhantomData,
        }
    }

    fn raw(&self) -> &[u8] {
        &self.bytes[self.offset..][..self.n * size_of::<T>()]
    }

    fn as_ptr(&self) -> *const T {
        self.raw().as_ptr().cast()
    }
}

const SUMS: [&str; 7] = [
    "l2_squared",
    "inner_product",
    "negative_inner_product",
    "l1",
    "<a,b>",
    "<a,a>",
    "<b,b>",
];

/// The sums of one version of two vectors, in the order of `SUMS`.
fn all_sums<T: Number>(kernels: &DenseKernels<T>, a: &Placed<T>, b: &Placed<T>) -> [f32; 7] {
    assert_eq!(a.n, b.n);
    let (p, q, n) = (a.as_ptr(), b.as_ptr(), a.n);
    // SAFETY: both hold n numbers, and the kernels come from `available`.
    unsafe {
        let [ab, aa, bb] = (kernels.cosine_terms)(p, q, n);
        [
            (kernels.l2_squared)(p, q, n),
            (kernels.inner_product)(p, q, n),
            (kernels.negative_inner_product)(p, q, n),
            (kernels.l1)(p, q, n),
            ab,
            aa,
            bb,
        ]
    }
}

/// A sum in f64, with the terms of the error bound of a sum in f32.
#[derive(Clone, Copy, Default)]
struct Reference {
    n: usize,
    exact: f64,
    absolute: f64,
    lowest_term: f64,
    highest_term: f64,
}

impl Reference {
    fn add(&mut self, term: f64) {
        self.n += 1;
        self.exact += term;
        self.absolute += term.abs();
        self.lowest_term = self.lowest_term.min(term);
        self.highest_term = self.highest_term.max(term);
    }

    fn relative_tolerance(&self) -> f64 {
        let k_u = (self.n.div_ceil(32) + 9) as f64 * UNIT_ROUNDOFF;
        k_u / (1.0 - k_u)
    }

    fn tolerance(&self) -> f64 {
        self.relative_tolerance() * self.absolute + self.n as f64 * f64::from(f32::from_bits(1))
    }

    /// No partial sum can overflow.
    fn surely_finite(&self) -> bool {
        self.absolute + self.tolerance() < F32_MAX
    }

    /// All terms have one sign and their sum overflows however it is rounded.
    fn surely_infinite(&self) -> bool {
        let one_sign = self.lowest_term == 0.0 || self.highest_term == 0.0;
        one_sign && self.absolute - self.tolerance() > 2.0 * F32_MAX
    }

    /// One term alone overflows, with any other terms.
    fn surely_not_finite(&self) -> bool {
        self.highest_term.max(-self.lowest_term) > 3.0 * F32_MAX
    }
}

fn references<T: Number>(a: &[T], b: &[T]) -> [Reference; 7] {
    let mut all = [Reference::default(); 7];
    for (&x, &y) in a.iter().zip(b) {
        let (x, y): (f64, f64) = (x.into(), y.into());
        let terms = [(x - y) * (x - y), x * y, -x * y, (x - y).abs(), x * y, x * x, y * y];
        for (reference, term) in all.iter_mut().zip(terms) {
            reference.add(term);
        }
    }
    all
}

/// How often each kind of result was met: finite, infinite, not finite.
fn check_versions<T: Number>(inputs: &[(&str, DrawPair)]) -> [usize; 3] {
    let mut rng = SmallRng::seed_from_u64(1);
    let [mut finite, mut infinite, mut not_finite] = [0; 3];
    for (input, pair) in inputs {
        for n in lengths() {
            let number = |x: f32| T::from_f32(x);
            let (a, b): (Vec<T>, Vec<T>) = (0..n)
                .map(|_| pair(&mut rng))
                .map(|(x, y)| (number(x), number(y)))
                .unzip();
            let references = references(&a, &b);
            let (a, b) = (
                Placed::new(&a, rng.random_range(0..64)),
                Placed::new(&b, rng.random_range(0..64)),
            );
            let scalar = all_sums(T::of(available().last().unwrap()), &a, &b);
            for kernels in available() {
                let sums = all_sums(T::of(kernels), &a, &b);
                for (i, (sum, reference)) in sums.into_iter().zip(references).enumerate() {
                    let what = format!("{} {} of {n} ({input}): {sum:e}", kernels.name, SUMS[i]);
                    let (exact, tolerance) = (reference.exact, reference.tolerance());
                    if reference.surely_finite() {
                        finite += 1;
                        let error = (f64::from(sum) - exact).abs();
                        assert!(error <= tolerance, "{what}, not {exact:e} +- {tolerance:e}");
                        let difference = (f64::from(sum) - f64::from(scalar[i])).abs();
                        assert!(difference <= 2.0 * tolerance, "{what}, but scalar {:e}", scalar[i]);
                    } else if reference.surely_infinite() {
                        infinite += 1;
                        assert_eq!(f64::from(sum), exact.signum() * f64::INFINITY, "{what}");
                        assert_eq!(sum, scalar[i], "{what}, unlike scalar");
                    } else if reference.surely_not_finite() {
                        not_finite += 1;
                        assert!(!sum.is_finite(), "{what}");
                    }
                }
            }
        }
    }
    [finite, infinite, not_finite]
}

#[test]
fn every_version_is_within_rounding_of_the_exact_sum() {
    let [finite, infinite, not_finite] = check_versions::<f32>(&INPUTS);
    // The inputs reach every branch, in every version.
    assert!(
        finite > 1000 && infinite > 1000 && not_finite > 100,
        "{finite} {infinite} {not_finite}"
    );
}

#[test]
fn every_version_is_within_rounding_for_halves() {
    // 16,000 squares of the largest half are far from the limit of f32.
    let [finite, others @ ..] = check_versions::<f16>(&HALF_INPUTS);
    assert!(finite > 1000 && others == [0, 0], "{finite} {others:?}");
}

fn check_alignment<T: Number>() {
    let mut rng = SmallRng::seed_from_u64(2);
    for n in [1, 7, 16, 50, 131, 385] {
        let a: Vec<T> = (0..n).map(|_| T::from_f32(rng.random_range(-1.0..1.0))).collect();
        let b: Vec<T> = (0..n).map(|_| T::from_f32(rng.random_range(-1.0..1.0))).collect();
        for kernels in available() {
            let (dense, name) = (T::of(kernels), kernels.name);
            let expected = all_sums(dense, &Placed::new(&a, 0), &Placed::new(&b, 0));
            for offset in 1..64 {
                let sums = all_sums(dense, &Placed::new(&a, offset), &Placed::new(&b, 64 - offset));
                assert_eq!(sums, expected, "{name} of {n} at offset {offset}");
            }
        }
    }
}

#[test]
fn alignment_changes_nothing() {
    check_alignment::<f32>();
    check_alignment::<f16>();
}

fn check_each_dimension<T: Number>() {
    // Powers of two and few bits: exact in every order of addition.
    for n in lengths().filter(|&n| n <= 130) {
        for hot in 0..n {
            let (mut a, mut b) = (vec![T::from_f32(0.0); n], vec![T::from_f32(0.0); n]);
            (a[hot], b[hot]) = (T::from_f32(2.0), T::from_f32(-3.0));
            for kernels in available() {
                let sums = all_sums(T::of(kernels), &Placed::new(&a, 0), &Placed::new(&b, 0));
                assert_eq!(
                    sums,
                    [25.0, -6.0, 6.0, 5.0, -6.0, 4.0, 9.0],
                    "{} dimension {hot} of {n}",
                    kernels.name
                );
            }
        }
    }
}

#[test]
fn each_dimension_counts_once() {
    check_each_dimension::<f32>();
    check_each_dimension::<f16>();
}

#[test]
fn functions_compute_what_they_are_called() {
    let (a, b) = ([1.0, 2.0, -3.0], [3.0, 5.0, 1.0]);
    assert_eq!(l2_squared(&a, &b), 29.0);
    assert_eq!(inner_product(&a, &b), 10.0);
    assert_eq!(l1(&a, &b), 9.0);
    assert_eq!(cosine_terms(&a, &b), (10.0, 14.0, 35.0));
    assert_eq!(l2_squared::<f32>(&[], &[]), 0.0);
    assert_eq!(
        inner_product(&[0.0], &[1.0]).to_bits(),
        0.0f32.to_bits(),
        "zero is printed without a sign"
    );
    let (a, b) = (a.map(f16::from_f32), b.map(f16::from_f32));
    assert_eq!(l2_squared(&a, &b), 29.0);
    assert_eq!(inner_product(&a, &b), 10.0);
    assert_eq!(l1(&a, &b), 9.0);
    assert_eq!(cosine_terms(&a, &b), (10.0, 14.0, 35.0));
    assert_eq!(instruction_set(), available().next().unwrap().name);
}

#[test]
fn metrics_order_by_their_key() {
    let (a, b) = ([1.0, 2.0, -3.0], [3.0, 5.0, 1.0]);
    assert_eq!(Metric::L2.kernel().unwrap().distance(&a, &b), 29.0);
    assert_eq!(Metric::InnerProduct.kernel().unwrap().distance(&a, &b), -10.0);
    assert_eq!(Metric::Cosine.kernel().unwrap().distance(&[1.0, 0.0], &[0.0, 1.0]), 2.0);
    assert_eq!(Metric::L1.kernel().unwrap().distance(&a, &b), 9.0);
}

#[test]
fn cosine_key_orders_near_duplicates() {
    // Their cosines all round to 1 in f32.
    let unit = |angle: f64| [angle.cos() as f32, angle.sin() as f32];
    let kernel = Metric::Cosine.kernel().unwrap();
    let keys: Vec<f32> = (0..8)
        .map(|i| kernel.distance(&unit(0.0), &unit(f64::from(i) * 1e-5)))
        .collect();
    assert!(keys.is_sorted_by(|x, y| x < y), "{keys:?}");
}

#[test]
fn bytes_in_a_page_compare_as_a_slice() {
    let mut rng = SmallRng::seed_from_u64(3);
    for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine, Metric::L1] {
        let kernel = metric.kernel().unwrap();
        for n in lengths() {
            let q: Vec<f32> = (0..n).map(|_| rng.random_range(-1.0..1.0)).collect();
            let v: Vec<f32> = (0..n).map(|_| rng.random_range(-1.0..1.0)).collect();
            let placed = Placed::new(&v, rng.random_range(0..64));
            assert_eq!(
                kernel.distance_bytes(&q, placed.raw()),
                kernel.distance(&q, &v),
                "{metric:?} of {n}"
            );
        }
    }
}

#[test]
#[should_panic(expected = "unequal length")]
fn unequal_lengths_are_refused() {
    l2_squared(&[1.0, 2.0], &[1.0]);
}

#[test]
#[should_panic(expected = "unequal length")]
fn unequal_lengths_are_refused_by_the_cosine() {
    cosine_terms(&[1.0, 2.0], &[1.0]);
}

#[test]
#[should_panic(expected = "unequal length")]
fn truncated_bytes_are_refused() {
    let _ = Metric::L2.kernel().unwrap().distance_bytes(&[1.0, 2.0], &[0; 7]);
}

#[test]
fn serialised_metrics_are_part_of_the_file_format() {
    let metrics = [
        Metric::L2,
        Metric::InnerProduct,
        Metric::Cosine,
        Metric::L1,
        Metric::Hamming,
        Metric::Jaccard,
    ];
    let config = bincode::config::standard();
    assert_eq!(
        bincode::serde::encode_to_vec(metrics, config).unwrap(),
        [0, 1, 2, 3, 4, 5]
    );
    let (read, _) = bincode::serde::decode_from_slice::<[Metric; 6], _>(&[0, 1, 2, 3, 4, 5], config).unwrap();
    assert_eq!(read, metrics);
    assert!(bincode::serde::decode_from_slice::<Metric, _>(&[6], config).is_err());
}

#[test]
fn norm_is_exact_where_squares_leave_f32() {
    assert_eq!(norm::<f32>(&[]), 0.0);
    assert_eq!(norm(&[3.0, -4.0]), 5.0);
    assert_eq!(norm(&[3e30, 4e30]) as f32, 5e30);
    assert_eq!(norm(&[3e-40, 4e-40]) as f32, 5e-40);
    assert_eq!(norm(&[f32::MAX; 16]), 4.0 * F32_MAX);
    for n in lengths() {
        assert_eq!(norm(&vec![-0.5; n]), (n as f64 * 0.25).sqrt(), "of {n}");
    }
}

#[test]
fn normalize_gives_unit_vectors() {
    let mut rng = SmallRng::seed_from_u64(4);
    for scale in [f32::from_bits(1 << 10), 1e-30, 1.0, 1e30] {
        for n in lengths().skip(1) {
            let v: Vec<f32> = (0..n).map(|_| rng.random_range(0.5..1.0) * scale).collect();
            let mut unit = v.clone();
            let length = normalize(&mut unit);
            assert_eq!(length, norm(&v));
            // Every coordinate is rounded once, so the length is off by at most one unit roundoff.
            assert!(
                (norm(&unit) - 1.0).abs() <= 1.01 * UNIT_ROUNDOFF,
                "{n} coordinates of {scale:e}"
            );
            assert!(unit.iter().zip(&v).all(|(&x, &y)| x == (f64::from(y) / length) as f32));
        }
    }
}

#[test]
fn normalize_leaves_zero_vectors() {
    let mut zero = [0.0, -0.0];
    assert_eq!(normalize(&mut zero), 0.0);
    assert_eq!(zero, [0.0, 0.0]);
}

#[test]
fn normalize_gives_the_nearest_halves() {
    let mut rng = SmallRng::seed_from_u64(6);
    for n in lengths().skip(1) {
        let v: Vec<f16> = (0..n).map(|_| any_finite_half(&mut rng)).collect();
        let mut unit = v.clone();
        let length = normalize(&mut unit);
        assert_eq!(length, norm(&v));
        let exact: f64 = v.iter().map(|x| x.to_f64() * x.to_f64()).sum::<f64>().sqrt();
        assert!(
            (length / exact - 1.0).abs() < 1e-12,
            "{n} coordinates: {length}, not {exact}"
        );
        assert!(
            unit.iter()
                .zip(&v)
                .all(|(&x, y)| x == f16::from_f32((y.to_f64() / length) as f32))
        );
    }
}

#[test]
fn bits_are_counted() {
    let mut rng = SmallRng::seed_from_u64(5);
    for n in lengths() {
        let [a, b]: [Vec<u8>; 2] = std::array::from_fn(|_| (0..n + 64).map(|_| rng.random()).collect());
        let (a, b) = (&a[rng.random_range(0..64)..][..n], &b[rng.random_range(0..64)..][..n]);
        let complement: Vec<u8> = a.iter().map(|byte| !byte).collect();
        let bit = |bytes: &[u8], i: usize| bytes[i / 8] >> (i % 8) & 1 == 1;
        let count = |which: &dyn Fn(bool, bool) -> bool| (0..8 * n).filter(|&i| which(bit(a, i), bit(b, i))).count();
        let (differ, both, either) = (count(&|x, y| x != y), count(&|x, y| x && y), count(&|x, y| x || y));
        let ones = count(&|x, _| x);
        for kernels in available() {
            // SAFETY: the arrays have one length, and the kernels come from `available`.
            unsafe {
                let counts = [b, a, &complement].map(|other| (kernels.hamming)(a, other) as usize);
                assert_eq!(counts, [differ, 0, 8 * n], "{} of {n} bytes", kernels.name);
                let counts = [b, a, &complement].map(|other| (kernels.overlap)(a, other).map(|count| count as usize));
                let expected = [[both, either], [ones, ones], [0, 8 * n]];
                assert_eq!(counts, expected, "{} of {n} bytes", kernels.name);
            }
        }
        assert_eq!(hamming(a, b) as usize, differ);
        assert_eq!(overlap(a, b), (both as u32, either as u32));
    }
}

#[test]
#[should_panic(expected = "unequal length")]
fn codes_of_unequal_length_are_refused() {
    let _ = hamming(&[1, 2], &[1]);
}

/// Vectors of one magnitude, or of several.
fn draw_of<T: Number>(rng: &mut SmallRng, n: usize, exponents: std::ops::Range<i32>) -> Vec<T> {
    let mut number = || rng.random_range(-1.0..1.0) * 10f64.powi(rng.random_range(exponents.clone()));
    (0..n).map(|_| T::from_f32(number() as f32)).collect()
}

fn check_magnitudes<T: Number>(exponents: std::ops::Range<i32>) {
    let mut rng = SmallRng::seed_from_u64(7);
    for exponent in exponents.clone() {
        for n in [1, 2, 7, 16, 33, 100, 385, 2000] {
            for spread in [1, 3, 20] {
                let drawn = exponent..(exponent + spread).min(exponents.end);
                let [a, b]: [Vec<T>; 2] = [(); 2].map(|()| draw_of(&mut rng, n, drawn.clone()));
                let references = references(&a, &b);
                let near = |i: usize, sum: f64, what: &str| {
                    let Reference { exact, absolute, .. } = references[i];
                    let tolerance = (references[i].relative_tolerance() + 1e-7) * absolute;
                    let error = (sum - exact).abs();
                    assert!(
                        error <= tolerance,
                        "{what} {} of {n}, {drawn:?}: {sum:e}, not {exact:e}",
                        SUMS[i]
                    );
                };
                // A sum of f32 that seems precise is precise, in every version.
                let (x, y) = (Placed::new(&a, 3), Placed::new(&b, 5));
                for kernels in available() {
                    for (i, sum) in all_sums(T::of(kernels), &x, &y).into_iter().enumerate() {
                        let is_precise = if i == 3 { sum.is_finite() } else { wide::is_precise(sum) };
                        if is_precise || T::SQUARES_FIT {
                            near(i, sum.into(), kernels.name);
                        }
                    }
                }
                near(0, wide::l2_squared(&a, &b), "wide");
                near(1, wide::inner_product(&a, &b), "wide");
                near(3, wide::l1(&a, &b), "wide");
                let [.., ab, aa, bb] = references.map(|reference| reference.exact);
                let (cosine, exact) = (wide::cosine(&a, &b), ab / (aa * bb).sqrt());
                assert_eq!(cosine.is_nan(), aa == 0.0 || bb == 0.0);
                assert!(
                    cosine.is_nan() || cosine.abs() <= 1.0 && (cosine - exact).abs() < 2e-5,
                    "{cosine} {exact}"
                );
                assert!(wide::l2_squared(&a, &a) == 0.0 && wide::l2_squared(&a, &b).is_finite());
            }
        }
    }
}

#[test]
fn distances_are_precise_at_any_magnitude() {
    check_magnitudes::<f32>(-45..39);
    check_magnitudes::<f16>(-8..5);
}

#[test]
fn the_greatest_and_the_least_numbers_have_distances() {
    let (max, min) = (vec![f32::MAX; 16_000], vec![f32::MIN; 16_000]);
    let squared = 16_000.0 * (2.0 * F32_MAX).powi(2);
    assert!((wide::l2_squared(&max, &min) / squared - 1.0).abs() < 1e-12);
    assert!((wide::inner_product(&max, &min) * -4.0 / squared - 1.0).abs() < 1e-12);
    assert!((wide::l1(&max, &min) / (32_000.0 * F32_MAX) - 1.0).abs() < 1e-12);
    assert_eq!(wide::cosine(&max, &min), -1.0);
    let least = f32::from_bits(1);
    assert_eq!(wide::l2_squared(&[least, 0.0], &[0.0, 0.0]).sqrt(), f64::from(least));
    assert_eq!(wide::l2_squared(&[least, 1e-20], &[0.0, 0.0]).sqrt() as f32, 1e-20);
    assert_eq!(wide::inner_product(&[0.0], &[-1.0]).to_bits(), 0, "zero has no sign");
    assert!(wide::cosine(&[0.0f32], &[1.0]).is_nan());
}
