//! Every version this machine can run, against sums in f64.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::distance::dispatch::available;

const UNIT_ROUNDOFF: f64 = 1.0 / (1u64 << 24) as f64;

fn lengths() -> impl Iterator<Item = usize> {
    (0..=130).chain([383, 384, 385, 1535, 1536, 2000, 16000])
}

/// An exact sum, and how far off one in f32 may be: every term passes k roundings on its way into the sum (see the tests
/// of the sums of floats), and is itself computed from a decoded value that carries three.
struct Reference {
    exact: f64,
    tolerance: f64,
}

fn references(q: &[f32], x: &Quantized) -> [Reference; 2] {
    let k_u = (q.len().div_ceil(32) + 9) as f64 * UNIT_ROUNDOFF;
    let mut all = [(); 2].map(|()| Reference {
        exact: 0.0,
        tolerance: 0.0,
    });
    for i in 0..q.len() {
        let integer = x.tails.map_or(f64::from(x.heads[i]), |tails| {
            f64::from(x.heads[i]) * 256.0 + f64::from(tails[i])
        });
        let (q, lo, offset) = (f64::from(q[i]), f64::from(x.lo), integer * f64::from(x.step));
        let decoded = lo + offset;
        let error = 3.0 * UNIT_ROUNDOFF * (lo.abs() + offset.abs());
        let difference = (q - decoded).abs() + error;
        let product = q.abs() * (decoded.abs() + error);
        let terms = [
            ((q - decoded).powi(2), difference * difference, 2.0 * difference * error),
            (q * decoded, product, q.abs() * error),
        ];
        for (reference, (term, size, of_decoding)) in all.iter_mut().zip(terms) {
            reference.exact += term;
            reference.tolerance += k_u / (1.0 - k_u) * size + of_decoding + f64::from(f32::from_bits(1));
        }
    }
    all
}

/// Random bytes at any alignment, among bytes that would spoil any sum they enter.
fn placed(n: usize, rng: &mut SmallRng) -> (Vec<u8>, usize) {
    let start = rng.random_range(0..64);
    let mut bytes = vec![0xff; start];
    bytes.extend((0..n).map(|_| rng.random::<u8>()));
    bytes.extend([0xff; 64]);
    (bytes, start)
}

#[test]
fn every_version_is_within_rounding_of_the_exact_sum() {
    let mut rng = SmallRng::seed_from_u64(1);
    for (lo, step) in [
        (-1.0, 2.0 / 255.0),
        (0.0, 1.0),
        (1e10, 1e3),
        (-3e-39, 1e-44),
        (0.25, 0.0),
        (1e15, -1e13),
    ] {
        for n in lengths() {
            let (heads, tails) = (placed(n, &mut rng), placed(n, &mut rng));
            let heads = &heads.0[heads.1..][..n];
            let tails = &tails.0[tails.1..][..n];
            let size = f32::abs(lo) + 256.0 * f32::abs(step);
            let q: Vec<f32> = (0..n).map(|_| rng.random_range(-1.0..1.0) * size).collect();
            for x in [
                Quantized {
                    heads,
                    tails: None,
                    lo,
                    step,
                },
                Quantized {
                    heads,
                    tails: Some(tails),
                    lo,
                    step: step / 256.0,
                },
            ] {
                let references = references(&q, &x);
                for kernels in available() {
                    // SAFETY: the lengths are equal, and the kernels come from `available`.
                    let sums = unsafe {
                        [
                            (kernels.l2_squared_quantized)(&q, &x),
                            (kernels.inner_product_quantized)(&q, &x),
                        ]
                    };
                    for (sum, Reference { exact, tolerance }) in sums.into_iter().zip(&references) {
                        let error = (f64::from(sum) - exact).abs();
                        assert!(
                            error <= *tolerance,
                            "{} of {n} at {lo:e}: {sum:e}, not {exact:e} +- {tolerance:e}",
                            kernels.name
                        );
                    }
                }
            }
        }
    }
}

#[test]
fn each_dimension_counts_once() {
    // Few bits: exact in every order of addition.
    for n in lengths().filter(|&n| n <= 130) {
        for hot in 0..n {
            let (mut q, mut heads, mut tails) = (vec![2.0; n], vec![4; n], vec![0; n]);
            (q[hot], heads[hot], tails[hot]) = (3.0, 9, 2);
            let coarse = Quantized {
                heads: &heads,
                tails: None,
                lo: -2.0,
                step: 1.0,
            };
            let fine = Quantized {
                heads: &heads,
                tails: Some(&tails),
                lo: -2.0,
                step: 1.0 / 256.0,
            };
            let others = 4.0 * (n - 1) as f32;
            for kernels in available() {
                // SAFETY: the lengths are equal, and the kernels come from `available`.
                unsafe {
                    assert_eq!(
                        (kernels.l2_squared_quantized)(&q, &coarse),
                        16.0,
                        "{} of {n}",
                        kernels.name
                    );
                    assert_eq!(
                        (kernels.inner_product_quantized)(&q, &coarse),
                        others + 21.0,
                        "{} of {n}",
                        kernels.name
                    );
                    let x = 7.0 + 1.0 / 128.0;
                    assert_eq!(
                        (kernels.l2_squared_quantized)(&q, &fine),
                        (x - 3.0) * (x - 3.0),
                        "{} of {n}",
                        kernels.name
                    );
                    assert_eq!(
                        (kernels.inner_product_quantized)(&q, &fine),
                        others + 3.0 * x,
                        "{} of {n}",
                        kernels.name
                    );
                }
            }
        }
    }
}

#[test]
fn functions_compute_what_they_are_called() {
    let x = Quantized {
        heads: &[0, 1, 2],
        tails: None,
        lo: 1.0,
        step: 2.0,
    };
    assert_eq!(l2_squared_quantized(&[1.0, 1.0, 1.0], &x), 20.0);
    assert_eq!(inner_product_quantized(&[1.0, 2.0, -1.0], &x), 2.0);
    let x = Quantized {
        tails: Some(&[3, 0, 0]),
        lo: 0.0,
        step: 1.0,
        ..x
    };
    assert_eq!(l2_squared_quantized(&[0.0, 256.0, 512.0], &x), 9.0);
    assert_eq!(inner_product_quantized(&[1.0, 1.0, 0.0], &x), 259.0);
}

#[test]
#[should_panic(expected = "vectors of unequal length")]
fn missing_heads_are_refused() {
    let _ = l2_squared_quantized(
        &[0.0; 2],
        &Quantized {
            heads: &[0],
            tails: None,
            lo: 0.0,
            step: 1.0,
        },
    );
}

#[test]
#[should_panic(expected = "heads and tails of unequal length")]
fn missing_tails_are_refused() {
    let x = Quantized {
        heads: &[0; 2],
        tails: Some(&[0]),
        lo: 0.0,
        step: 1.0,
    };
    let _ = inner_product_quantized(&[0.0; 2], &x);
}
