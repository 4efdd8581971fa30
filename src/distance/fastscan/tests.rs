//! Every version this machine can run: sums against a plain count, estimates against the scalar
//! version, to the bit.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::distance::dispatch::available;
use crate::distance::kernel::Kernels;

fn block_counts() -> impl Iterator<Item = usize> {
    (0..=26).chain([50, 512])
}

/// Place of a byte of a word of a lane: four words of each lane, while there are four; then the
/// words of all lanes.
fn place(blocks: usize, lanes: usize, block: usize, lane: usize, byte: usize) -> usize {
    match block < blocks / 4 * 4 {
        true => block / 4 * 16 * lanes + 16 * lane + 4 * (block % 4) + byte,
        false => 4 * lanes * block + 4 * lane + byte,
    }
}

/// The expected sums of 16 bits, one lane and one group at a time.
fn expected_sums(table: &[u8], codes: Codes<'_>) -> Vec<u16> {
    let blocks = table.len() / BLOCK_BYTES;
    let sum = |lane: usize| {
        let entry = |group: usize| {
            let (block, group) = (group / 8, group % 8);
            let byte = codes.bytes[place(blocks, codes.lanes, block, lane, group / 2)];
            let value = if group % 2 == 0 { byte & 0xf } else { byte >> 4 };
            let place = group % 2 * 4 + group / 2;
            usize::from(table[block * BLOCK_BYTES + 16 * place + usize::from(value)])
        };
        let sum: usize = (0..8 * blocks).map(entry).sum();
        (sum % (1 << 16)) as u16
    };
    (0..codes.lanes).map(sum).collect()
}

/// Codes of all lanes.
fn whole(bytes: &[u8]) -> Codes<'_> {
    Codes { bytes, lanes: LANES }
}

type Draw<T> = fn(&mut SmallRng) -> T;

/// Bytes of tables and codes, each of which stresses one property.
const BYTES: [(&str, Draw<u8>, Draw<u8>); 5] = [
    ("random", SmallRng::random, SmallRng::random),
    ("sums wrap around", |_| 255, SmallRng::random),
    ("zeros", |_| 0, SmallRng::random),
    ("the last entry of each table", SmallRng::random, |_| 255),
    ("the first entry of each table", SmallRng::random, |_| 0),
];

/// `n` bytes at any alignment, among bytes that would spoil any sum they enter.
struct Placed {
    bytes: Vec<u8>,
    start: usize,
    n: usize,
}

impl Placed {
    fn new(n: usize, rng: &mut SmallRng, draw: Draw<u8>) -> Self {
        let start = rng.random_range(0..64);
        let mut bytes = vec![0x5a; start];
        bytes.extend((0..n).map(|_| draw(rng)));
        bytes.extend([0x5a; 64]);
        Self { bytes, start, n }
    }

    fn get(&self) -> &[u8] {
        &self.bytes[self.start..][..self.n]
    }
}

#[test]
fn sums_are_exact_in_every_version() {
    let mut rng = SmallRng::seed_from_u64(1);
    for (input, draw_table, draw_code) in BYTES {
        for blocks in block_counts() {
            let table = Placed::new(blocks * BLOCK_BYTES, &mut rng, draw_table);
            let codes = Placed::new(blocks * BLOCK_BYTES, &mut rng, draw_code);
            let (table, codes) = (table.get(), codes.get());
            let expected = expected_sums(table, whole(codes));
            for kernels in available() {
                // SAFETY: the slices have the length they promise, and the kernels come from
                // `available`.
                let sums = unsafe { (kernels.fastscan)(Scan::new(table, whole(codes))) };
                assert_eq!(sums[..], expected, "{} of {blocks} blocks ({input})", kernels.name);
            }
            assert_eq!(fastscan(table, whole(codes))[..], expected);
        }
    }
}

#[test]
fn codes_of_fewer_lanes_have_the_same_sums() {
    let mut rng = SmallRng::seed_from_u64(4);
    for lanes in [8, 16, 24] {
        for blocks in block_counts() {
            let table = Placed::new(blocks * BLOCK_BYTES, &mut rng, SmallRng::random);
            let codes = Placed::new(Codes::len(blocks, lanes), &mut rng, SmallRng::random);
            let bytes = codes.get();
            let scan = Scan::new(table.get(), Codes { bytes, lanes });
            let expected = expected_sums(table.get(), Codes { bytes, lanes });
            let factors: Vec<u8> = (0..2 * LANES).flat_map(|_| bfloat16(near_one(&mut rng))).collect();
            let (a, f) = factors.split_at(FACTOR_BYTES);
            let [base, scale, offset, worst] = std::array::from_fn(|_| near_one(&mut rng));
            let terms = Terms {
                a: a.as_ptr(),
                f: f.as_ptr(),
                base,
                scale,
                offset,
                worst,
            };
            let (expected_mask, estimates) = run(available().last().unwrap(), scan, terms);
            let of_lanes = u32::MAX >> (LANES - lanes);
            for kernels in available() {
                // SAFETY: as above.
                let sums = unsafe { (kernels.fastscan)(scan) };
                assert_eq!(sums[..lanes], expected, "{} {blocks} blocks", kernels.name);
                let (mask, out) = run(kernels, scan, terms);
                assert_eq!(out[..lanes], estimates[..lanes], "{} {blocks} blocks", kernels.name);
                assert_eq!(
                    mask & of_lanes,
                    expected_mask & of_lanes,
                    "{} {blocks} blocks",
                    kernels.name
                );
            }
        }
    }
}

#[test]
fn each_value_of_each_lane_counts_once() {
    let (blocks, groups) = (6, 48);
    let table: Vec<u8> = (0..blocks * BLOCK_BYTES).map(|i| i as u8).collect();
    let zeros: u16 = table.chunks(16).map(|group| u16::from(group[0])).sum();
    for lane in 0..LANES {
        for group in 0..groups {
            for value in 0..16 {
                let mut codes = vec![0; table.len()];
                let (block, byte) = (group / 8, group % 8 / 2);
                codes[place(blocks, LANES, block, lane, byte)] = if group % 2 == 0 { value } else { value << 4 };
                let mut expected = [zeros; LANES];
                expected[lane] += u16::from(value);
                for kernels in available() {
                    // SAFETY: as above.
                    let sums = unsafe { (kernels.fastscan)(Scan::new(&table, whole(&codes))) };
                    assert_eq!(
                        sums, expected,
                        "{} lane {lane} group {group} value {value}",
                        kernels.name
                    );
                }
            }
        }
    }
}

/// A value of any sign and size, and now and then one that is not finite.
fn any_float(rng: &mut SmallRng) -> f32 {
    match rng.random_range(0..8) {
        0 => f32::from_bits(rng.random()),
        1 => [f32::INFINITY, f32::NEG_INFINITY, f32::NAN, f32::MAX, 0.0, -0.0, 1e-45][rng.random_range(0..7)],
        2 => rng.random_range(-1e-40..1e-40),
        _ => rng.random_range(-1.0..1.0),
    }
}

fn near_one(rng: &mut SmallRng) -> f32 {
    rng.random_range(-2.0..2.0)
}

fn bfloat16(x: f32) -> [u8; 2] {
    ((x.to_bits() >> 16) as u16).to_le_bytes()
}

fn run(kernels: &Kernels, scan: Scan, terms: Terms) -> (u32, [f32; LANES]) {
    let mut out = [f32::NAN; LANES];
    // SAFETY: the tests make both of slices of the length they promise, and the kernels come from
    // `available`.
    let mask = unsafe { (kernels.estimate)(scan, terms, &mut out) };
    (mask, out)
}

#[test]
fn estimates_are_the_same_bits_in_every_version() {
    let mut rng = SmallRng::seed_from_u64(2);
    let [mut nans, mut below, mut finite] = [0; 3];
    for draw in [any_float, near_one] {
        for blocks in (0..16).flat_map(|_| block_counts()) {
            let table = Placed::new(blocks * BLOCK_BYTES, &mut rng, SmallRng::random);
            let codes = Placed::new(blocks * BLOCK_BYTES, &mut rng, SmallRng::random);
            let scan = Scan::new(table.get(), whole(codes.get()));
            let mut factors = vec![0; rng.random_range(0..64)];
            let start = factors.len();
            factors.extend((0..2 * LANES).flat_map(|_| bfloat16(draw(&mut rng))));
            let (a, f) = factors[start..].split_at(FACTOR_BYTES);
            let [base, scale, offset, worst] = std::array::from_fn(|_| draw(&mut rng));
            let terms = Terms {
                a: a.as_ptr(),
                f: f.as_ptr(),
                base,
                scale,
                offset,
                worst,
            };

            let scalar = available().last().unwrap();
            let (expected_mask, expected) = run(scalar, scan, terms);
            for kernels in available() {
                let (mask, out) = run(kernels, scan, terms);
                for (lane, (x, y)) in out.into_iter().zip(expected).enumerate() {
                    let same = x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan();
                    assert!(
                        same,
                        "{} lane {lane} of {blocks} blocks: {x:e}, not {y:e}",
                        kernels.name
                    );
                }
                assert_eq!(mask, expected_mask, "{} of {blocks} blocks", kernels.name);
            }
            let mut out = [0.0; LANES];
            let mask = estimate(
                table.get(),
                whole(codes.get()),
                a,
                f,
                base,
                scale,
                offset,
                worst,
                &mut out,
            );
            assert_eq!(mask, expected_mask);
            nans += expected.iter().filter(|x| x.is_nan()).count();
            below += expected_mask.count_ones() as usize;
            finite += expected.iter().filter(|x| x.is_finite()).count();
        }
    }
    assert!(nans > 1000 && below > 1000 && finite > 1000, "{nans} {below} {finite}");
}

#[test]
fn estimates_follow_the_formula() {
    let mut rng = SmallRng::seed_from_u64(3);
    for blocks in block_counts().filter(|blocks| blocks * 8 * 255 <= usize::from(u16::MAX)) {
        let table: Vec<u8> = (0..blocks * BLOCK_BYTES).map(|_| rng.random()).collect();
        let codes: Vec<u8> = (0..blocks * BLOCK_BYTES).map(|_| rng.random()).collect();
        let [a, f]: [Vec<u8>; 2] =
            std::array::from_fn(|_| (0..LANES).flat_map(|_| bfloat16(near_one(&mut rng))).collect());
        let widen = |factors: &[u8], lane: usize| {
            let half = u16::from_le_bytes([factors[2 * lane], factors[2 * lane + 1]]);
            f64::from(f32::from_bits(u32::from(half) << 16))
        };
        let [base, scale, offset] = std::array::from_fn(|_| near_one(&mut rng));
        let worst = near_one(&mut rng);
        let sums = expected_sums(&table, whole(&codes));
        let mut out = [0.0; LANES];
        let mask = estimate(&table, whole(&codes), &a, &f, base, scale, offset, worst, &mut out);
        for lane in 0..LANES {
            let (a, f) = (widen(&a, lane), widen(&f, lane));
            let product = f64::from(sums[lane]) * f64::from(scale) + f64::from(offset);
            let exact = f64::from(base) + a - f * product;
            // Three roundings, each of something no larger than this.
            let size = f64::from(base).abs() + a.abs() + f.abs() * product.abs() + exact.abs();
            let error = (f64::from(out[lane]) - exact).abs();
            assert!(
                error <= size * f64::from(f32::EPSILON),
                "lane {lane} of {blocks}: off by {error:e}"
            );
            assert_eq!(mask >> lane & 1 == 1, out[lane] < worst, "lane {lane} of {blocks}");
        }
    }
}

#[test]
fn a_lane_is_kept_unless_it_is_as_bad_as_the_worst() {
    let mut codes = [0; BLOCK_BYTES];
    // A block is no chunk: words lie lane beside lane.
    codes[BLOCK_BYTES / 2..].fill(1);
    let mut table = [0; BLOCK_BYTES];
    table[1] = 3;
    let (a, mut f) = (bfloat16(0.5).repeat(LANES), bfloat16(-2.0).repeat(LANES));
    f[..2].copy_from_slice(&bfloat16(f32::INFINITY));
    let run = |kernels: &Kernels, base, worst| {
        let terms = Terms {
            a: a.as_ptr(),
            f: f.as_ptr(),
            base,
            scale: 1.0,
            offset: -4.0,
            worst,
        };
        run(kernels, Scan::new(&table, whole(&codes)), terms)
    };
    for kernels in available() {
        let kept = |worst| run(kernels, 1.0, worst).0;
        // Lane 0: infinity. Lanes 1 to 15: 1 + .5 + 2 * (0 - 4). Lanes 16 on: 1 + .5 + 2 * (3 - 4).
        let (_, out) = run(kernels, 1.0, 0.0);
        assert_eq!(
            (out[0], &out[1..16], &out[16..]),
            (f32::INFINITY, &[-6.5; 15][..], &[-0.5; 16][..])
        );
        assert_eq!(kept(0.0), !1, "{}", kernels.name);
        assert_eq!(kept(-0.5), 0xfffe, "{}", kernels.name);
        assert_eq!(kept(-6.5), 0, "{}", kernels.name);
        assert_eq!(kept(f32::INFINITY), !1, "{}", kernels.name);
        assert_eq!(kept(f32::NAN), u32::MAX, "{}", kernels.name);
        // Infinity less infinity in lane 0, else less than anything.
        let (mask, out) = run(kernels, f32::NEG_INFINITY, f32::MIN);
        assert!(out[0].is_nan() && out[1..] == [f32::NEG_INFINITY; 31]);
        assert_eq!(mask, u32::MAX, "{}", kernels.name);
        let (mask, _) = run(kernels, f32::NEG_INFINITY, f32::NEG_INFINITY);
        assert_eq!(mask, 1, "{}", kernels.name);
    }
}

#[test]
#[should_panic(expected = "unequal length")]
fn a_table_of_another_length_is_refused() {
    let _ = fastscan(&[0; 2 * BLOCK_BYTES], whole(&[0; BLOCK_BYTES]));
}

#[test]
#[should_panic(expected = "within a block")]
fn a_part_of_a_block_is_refused() {
    let _ = fastscan(&[0; 64], whole(&[0; 64]));
}

#[test]
#[should_panic(expected = "one factor for every lane")]
fn missing_factors_are_refused() {
    let mut out = [0.0; LANES];
    estimate(
        &[0; 128],
        whole(&[0; 128]),
        &[0; 64],
        &[0; 62],
        0.0,
        0.0,
        0.0,
        0.0,
        &mut out,
    );
}

#[test]
#[should_panic(expected = "codes of 12 lanes")]
fn a_part_of_a_group_of_lanes_is_refused() {
    let _ = fastscan(
        &[0; BLOCK_BYTES],
        Codes {
            bytes: &[0; 48],
            lanes: 12,
        },
    );
}
