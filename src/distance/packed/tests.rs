//! Every version this machine can run, against sums in f64.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::distance::dispatch::available;
use crate::distance::kernel::Kernels;

const UNIT_ROUNDOFF: f64 = 1.0 / (1u64 << 24) as f64;

fn lengths() -> impl Iterator<Item = usize> {
    (0..=20).chain([24, 25, 48, 500]).map(|blocks| blocks * BLOCK)
}

/// Number `i`, from its place in the bytes.
fn number(bytes: &[u8], width: Width, i: usize) -> u16 {
    let (block, i) = (&bytes[i / 32 * width.block_bytes()..], i % 32);
    let (low, lows) = match width {
        Width::Twelve => (block[32 + i % 16] >> (i / 16 * 4), 16),
        Width::Ten => (block[32 + i % 8] >> (i / 8 * 2), 4),
        Width::Eight => (0, 1),
    };
    u16::from(block[i]) * lows + u16::from(low) % lows
}

fn packed(numbers: &[[u16; BLOCK]], width: Width) -> Vec<u8> {
    let mut bytes = vec![0xA5; numbers.len() * width.block_bytes()];
    for (numbers, block) in numbers.iter().zip(bytes.chunks_exact_mut(width.block_bytes())) {
        match width {
            Width::Twelve => pack::<4>(*numbers, block),
            Width::Ten => pack::<2>(*numbers, block),
            Width::Eight => pack::<0>(*numbers, block),
        }
    }
    bytes
}

fn sums(kernels: &Kernels, q: &[f32], x: &Packed) -> [f32; 2] {
    check(q, x);
    let of_width = &kernels.packed[x.width as usize];
    // SAFETY: the lengths are as promised, and the kernels come from `available`.
    unsafe { [(of_width.l2_squared)(q, x), (of_width.inner_product)(q, x)] }
}

/// An exact sum, and how far off one in f32 may be: every term passes k roundings on its way into
/// the sum (see the tests of the sums of floats), and is itself computed from a decoded value that
/// carries three.
#[derive(Default)]
struct Reference {
    exact: f64,
    tolerance: f64,
}

fn references(q: &[f32], x: &Packed) -> [Reference; 2] {
    let k_u = (q.len().div_ceil(32) + 9) as f64 * UNIT_ROUNDOFF;
    let mut all = [Reference::default(), Reference::default()];
    for (i, &q) in q.iter().enumerate() {
        let (q, offset) = (f64::from(q), f64::from(x.offset));
        let steps = f64::from(number(x.bytes, x.width, i)) * f64::from(x.scale);
        let decoded = offset + steps;
        let error = 3.0 * UNIT_ROUNDOFF * (offset.abs() + steps.abs());
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

/// The bytes of a vector at any alignment, among bytes that would spoil any sum they enter.
struct Placed {
    all: Vec<u8>,
    start: usize,
    len: usize,
}

impl Placed {
    /// Of `n` random dimensions.
    fn new(n: usize, width: Width, rng: &mut SmallRng) -> Placed {
        let (start, len) = (rng.random_range(0..64), n / BLOCK * width.block_bytes());
        let mut all = vec![0xff; start + len + 64];
        rng.fill(&mut all[start..][..len]);
        Placed { all, start, len }
    }

    fn bytes(&self) -> &[u8] {
        &self.all[self.start..][..self.len]
    }
}

/// Every length, in every width.
fn shapes() -> impl Iterator<Item = (usize, Width)> {
    lengths().flat_map(|n| Width::ALL.map(|width| (n, width)))
}

#[test]
fn every_version_is_within_rounding_of_the_exact_sum() {
    let mut rng = SmallRng::seed_from_u64(1);
    for (offset, scale) in [
        (-1.0, 2.0 / 4095.0),
        (0.0, 1.0),
        (1e10, 1e3),
        (-3e-39, 1e-44),
        (0.25, 0.0),
        (1e15, -1e12),
    ] {
        for (n, width) in shapes() {
            let placed = Placed::new(n, width, &mut rng);
            let x = Packed {
                bytes: placed.bytes(),
                offset,
                scale,
                width,
            };
            let size = f32::abs(offset) + 4096.0 * f32::abs(scale);
            let q: Vec<f32> = (0..n).map(|_| rng.random_range(-1.0..1.0) * size).collect();
            let references = references(&q, &x);
            for kernels in available() {
                for (sum, Reference { exact, tolerance }) in sums(kernels, &q, &x).into_iter().zip(&references) {
                    let error = (f64::from(sum) - exact).abs();
                    assert!(
                        error <= *tolerance,
                        "{} of {n} {width:?} at {offset:e}: {sum:e}, not {exact:e} +- {tolerance:e}",
                        kernels.name
                    );
                }
            }
        }
    }
}

#[test]
fn every_version_decodes_to_the_same_bits_at_distance_zero() {
    let mut rng = SmallRng::seed_from_u64(2);
    for (n, width) in shapes() {
        for _ in 0..8 {
            let placed = Placed::new(n, width, &mut rng);
            // Any size below 2^115, but of so few significant bits that the products with the
            // numbers are exact.
            let last = (1 << width.bits()) - 1;
            let scale = f32::from_bits(rng.random_range(0..(127 + 115) << 23) & !last);
            let offset = scale * rng.random_range(-4095.0..1.0);
            let x = Packed {
                bytes: placed.bytes(),
                offset,
                scale,
                width,
            };
            let value = |i| offset + scale * f32::from(number(x.bytes, width, i));
            let q: Vec<f32> = (0..n).map(value).collect();
            for kernels in available() {
                let mut decoded = vec![f32::NAN; n];
                // SAFETY: the lengths are as promised, and the kernels come from `available`.
                unsafe { (kernels.packed[width as usize].decode)(&x, &mut decoded) };
                let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                let case = format!("{} of {n}: {x:?}", kernels.name);
                assert_eq!(bits(&decoded), bits(&q), "{case}");
                assert_eq!(sums(kernels, &q, &x)[0], 0.0, "{case}");
            }
        }
    }
}

#[test]
fn sums_are_those_of_the_parts() {
    let mut rng = SmallRng::seed_from_u64(3);
    for width in Width::ALL {
        // Few bits: exact in every order of addition.
        let numbers: Vec<_> = (0..12).map(|_| [(); BLOCK].map(|()| rng.random_range(0..8))).collect();
        let bytes = packed(&numbers, width);
        let q: Vec<f32> = (0..12 * BLOCK).map(|_| rng.random_range(0..8i8).into()).collect();
        let of = |blocks: std::ops::Range<usize>, kernels| {
            let x = Packed {
                bytes: &bytes[blocks.start * width.block_bytes()..blocks.end * width.block_bytes()],
                offset: -2.0,
                scale: 1.0,
                width,
            };
            sums(kernels, &q[blocks.start * BLOCK..blocks.end * BLOCK], &x)
        };
        for kernels in available() {
            let whole = of(0..12, kernels);
            for cut in 0..=12 {
                let (a, b) = (of(0..cut, kernels), of(cut..12, kernels));
                assert_eq!([a[0] + b[0], a[1] + b[1]], whole, "{} at {cut}", kernels.name);
            }
        }
    }
}

#[test]
fn each_dimension_counts_once() {
    // Few bits: exact in every order of addition.
    for (n, width) in shapes().filter(|(n, _)| (1..=640).contains(n)) {
        for hot in 0..n {
            let (mut q, mut numbers) = (vec![2.0; n], vec![[4; BLOCK]; n / BLOCK]);
            (q[hot], numbers[hot / BLOCK][hot % BLOCK]) = (3.0, 9);
            let x = Packed {
                bytes: &packed(&numbers, width),
                offset: -2.0,
                scale: 1.0,
                width,
            };
            let others = 4.0 * (n - 1) as f32;
            for kernels in available() {
                assert_eq!(sums(kernels, &q, &x), [16.0, others + 21.0], "{} of {n}", kernels.name);
            }
        }
    }
}

#[test]
fn packing_keeps_all_bits_where_the_layout_says() {
    for width in Width::ALL {
        let greatest = (1 << width.bits()) - 1;
        let numbers: [u16; BLOCK] = std::array::from_fn(|i| (i as u16 * 1237 + 5) & greatest);
        let bytes = packed(&[numbers], width);
        for (i, &expected) in numbers.iter().enumerate() {
            assert_eq!(number(&bytes, width, i), expected);
        }
        assert_eq!(
            packed(&[[greatest; BLOCK]], width),
            vec![0xff; BLOCK * width.bits() as usize / 8]
        );
    }
}

#[test]
fn functions_compute_what_they_are_called() {
    for width in Width::ALL {
        let mut numbers = [0; BLOCK];
        numbers[..3].copy_from_slice(&[0, 1, 2]);
        numbers[31] = 255;
        let x = Packed {
            bytes: &packed(&[numbers], width),
            offset: 1.0,
            scale: 2.0,
            width,
        };
        let mut decoded = [0.0; BLOCK];
        decode_packed(&x, &mut decoded);
        assert_eq!(decoded, numbers.map(|v| 1.0 + 2.0 * f32::from(v)));
        let mut q = [1.0; BLOCK];
        q[31] = 510.0;
        assert_eq!(l2_squared_packed(&q, &x), 4.0 + 16.0 + 1.0);
        let mut q = [0.0; BLOCK];
        (q[0], q[1], q[2], q[31]) = (1.0, 2.0, -1.0, 1.0);
        assert_eq!(inner_product_packed(&q, &x), 1.0 + 6.0 - 5.0 + 511.0);
    }
}

/// A vector of zeros.
fn zeros(bytes: &[u8], width: Width) -> Packed<'_> {
    Packed {
        bytes,
        offset: 0.0,
        scale: 1.0,
        width,
    }
}

#[test]
#[should_panic(expected = "vectors of unequal length")]
fn missing_bytes_are_refused() {
    let _ = l2_squared_packed(&[0.0; 32], &zeros(&[0; 39], Width::Ten));
}

#[test]
#[should_panic(expected = "vectors of unequal length")]
fn bytes_of_another_width_are_refused() {
    let _ = l2_squared_packed(&[0.0; 32], &zeros(&[0; 40], Width::Twelve));
}

#[test]
#[should_panic(expected = "within a block")]
fn a_part_of_a_block_is_refused() {
    let _ = inner_product_packed(&[0.0; 33], &zeros(&[0; 48], Width::Twelve));
}
