//! Codes on real vectors, and on vectors chosen to break them.

use super::*;
use crate::quantize::query_table::Table;
use crate::quantize::rotation::Rotation;
use crate::test_data::{phrases, words};

fn rotate_all(vectors: &[Vec<f32>], padded: usize, seed: u64) -> Vec<Vec<f32>> {
    let rotation = Rotation::new(vectors[0].len(), padded, seed);
    vectors
        .iter()
        .map(|vector| {
            let mut rotated = vec![0.0; padded];
            rotation.rotate(vector, &mut rotated);
            rotated
        })
        .collect()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

fn distance(estimated: Estimated, a: &[f32], b: &[f32]) -> f64 {
    match estimated {
        Estimated::L2Squared => a
            .iter()
            .zip(b)
            .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
            .sum(),
        Estimated::NegativeInnerProduct => -dot(a, b),
    }
}

fn signs(code: &[u32]) -> Vec<f32> {
    let bit = |i: usize| code[i / 32] & (1 << (i % 32)) != 0;
    (0..code.len() * 32).map(|i| if bit(i) { 1.0 } else { -1.0 }).collect()
}

/// The estimate for a query at a distance from the node, and with an inner product with the code.
fn estimate(distance: f64, factors: Factors, along: f64) -> f64 {
    distance + f64::from(factors.offset.to_f32()) - f64::from(factors.scale.to_f32()) * along
}

fn estimated_distance(estimated: Estimated, q: &[f32], x: &[f32], y: &[f32], bits: usize) -> f64 {
    let mut code = vec![0xAAAA_AAAA; bits / 32];
    let factors = encode(x, y, estimated, &mut code);
    estimate(distance(estimated, q, y), factors, dot(&q[..bits], &signs(&code)))
}

/// Mean and root mean square of the estimates' errors over triples of words and many rotations, in
/// units of |q-y| |r| for the Euclidean distance and |q| |r| for the inner product.
fn errors(estimated: Estimated, padded: usize, bits: usize) -> (f64, f64) {
    let words = words(400);
    let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
    for seed in 0..20 {
        for triple in rotate_all(&words, padded, seed).chunks_exact(3) {
            let [q, x, y] = triple else { unreachable!() };
            let size = |a, b| distance(Estimated::L2Squared, a, b).sqrt();
            let error = estimated_distance(estimated, q, x, y, bits) - distance(estimated, q, x);
            let query = match estimated {
                Estimated::L2Squared => size(q, y),
                Estimated::NegativeInnerProduct => dot(q, q).sqrt(),
            };
            let relative = error / (query * size(x, y));
            sum += relative;
            squares += relative * relative;
            count += 1.0;
        }
    }
    (sum / count, (squares / count).sqrt())
}

#[test]
fn unbiased_and_error_falls_with_the_root_of_the_length() {
    for (estimated, unit) in [(Estimated::L2Squared, 2.0), (Estimated::NegativeInnerProduct, 1.0)] {
        let mut last: Option<f64> = None;
        for bits in [32, 128, 512] {
            let (mean, deviation) = errors(estimated, 512, bits);
            // 2,660 samples: their mean strays by a 52nd part of the deviation.
            assert!(
                mean.abs() < 4.0 * deviation / 52.0,
                "{estimated:?} {bits}: {mean} of {deviation}"
            );
            // Of a vector the share L/D of its square is seen; the theory gives about sqrt(pi/2)
            // |q-y| |r| / sqrt(L) at most.
            assert!(
                deviation < unit * 1.3 / (bits as f64).sqrt(),
                "{estimated:?} {bits}: {deviation}"
            );
            if let Some(last) = last {
                let fall = last / deviation;
                assert!(
                    (1.7..3.2).contains(&fall),
                    "{estimated:?} {bits}: {fall} for four times the bits"
                );
            }
            last = Some(deviation);
        }
    }
}

/// The whole way of a search: the neighbors' codes and factors beside each other, the query's
/// table, the kernel.
#[test]
fn the_kernel_finds_these_estimates_and_the_table_adds_little_to_their_error() {
    let vectors = rotate_all(&phrases(330, 384), 384, 1);
    let (mut table, mut out) = (Table::default(), [0.0; LANES]);
    let (mut exact_squares, mut table_squares) = (0.0, 0.0);
    for bits in [128, 384] {
        for group in vectors.chunks_exact(2 + LANES) {
            let (q, y, neighbors) = (&group[0], &group[1], &group[2..]);
            table.prepare(&q[..bits]);
            let (mut codes, mut code) = (vec![0; codes_len(bits, LANES)], vec![0; bits / WORD_BITS]);
            let (mut offsets, mut scales, mut estimates) = (Vec::new(), Vec::new(), Vec::new());
            let to_node = distance(Estimated::L2Squared, q, y);
            for (lane, x) in neighbors.iter().enumerate() {
                let factors = encode(x, y, Estimated::L2Squared, &mut code);
                set_lane(&mut codes, lane, &code);
                offsets.extend(factors.offset.to_bits().to_le_bytes());
                scales.extend(factors.scale.to_bits().to_le_bytes());
                estimates.push(estimate(to_node, factors, dot(&q[..bits], &signs(&code))));
            }
            let (base, scale, offset) = (to_node as f32, table.scale(), table.offset());
            let (entries, worst) = (table.entries(), f32::NAN);
            let mask = crate::distance::estimate(
                entries,
                whole(&codes),
                &offsets,
                &scales,
                base,
                scale,
                offset,
                worst,
                &mut out,
            );
            assert_eq!(mask, u32::MAX);
            for ((x, exact), found) in neighbors.iter().zip(estimates).zip(out) {
                let truth = distance(Estimated::L2Squared, q, x);
                exact_squares += (exact - truth).powi(2);
                table_squares += (f64::from(found) - truth).powi(2);
                assert!((f64::from(found) - exact).abs() < 0.05 * truth, "{found}, not {exact}");
            }
        }
    }
    assert!(table_squares < 1.05 * exact_squares, "{table_squares} {exact_squares}");
}

#[test]
fn exact_for_the_node_itself_and_along_the_line() {
    let words = rotate_all(&words(50), 128, 3);
    for pair in words.chunks_exact(2) {
        let [x, y] = pair else { unreachable!() };
        let scale = distance(Estimated::L2Squared, x, y);
        // The neighbor as the query: its own signs have no error but the factors' rounding.
        let own = estimated_distance(Estimated::L2Squared, x, x, y, 128);
        assert!(own.abs() < 0.03 * scale, "{own} of {scale}");
        // A neighbor equal to the node.
        let same = estimated_distance(Estimated::L2Squared, x, y, y, 128);
        assert_eq!(same as f32, scale as f32);
    }
}

#[test]
fn codes_are_the_signs() {
    let vectors = rotate_all(&phrases(2, 200), 200, 4);
    for bits in [32, 64, 160, 192] {
        let mut code = vec![0x5555_5555; bits / 32];
        encode(&vectors[0], &vectors[1], Estimated::L2Squared, &mut code);
        for (i, sign) in signs(&code).into_iter().enumerate() {
            assert_eq!(sign > 0.0, vectors[0][i] >= vectors[1][i], "{bits} {i}");
        }
    }
}

#[test]
fn factors_are_those_of_the_formulas() {
    let vectors = rotate_all(&phrases(2, 1001), 1001, 4);
    let (x, y) = (&vectors[0], &vectors[1]);
    for bits in [32, 128, 992] {
        let mut code = vec![0; bits / 32];
        let factors = encode(x, y, Estimated::L2Squared, &mut code);
        let r: Vec<f32> = x.iter().zip(y).map(|(x, y)| x - y).collect();
        let square = dot(&r, &r);
        let f = square / r[..bits].iter().map(|v| f64::from(v.abs())).sum::<f64>();
        let near = |a: Bf16, b: f64, size: f64| (f64::from(a.to_f32()) - b).abs() <= size / 200.0;
        let along = 2.0 * f * dot(&y[..bits], &signs(&code));
        assert!(near(factors.length, square.sqrt(), square.sqrt()));
        assert!(near(factors.scale, 2.0 * f, 2.0 * f));
        assert!(near(factors.offset, square + along, square + along.abs()));
        let product = encode(x, y, Estimated::NegativeInnerProduct, &mut code);
        assert_eq!(product.offset, Bf16::default());
        assert_eq!(2.0 * product.scale.to_f32(), factors.scale.to_f32());
    }
}

#[test]
fn both_ways_at_once_are_what_each_is_alone() {
    let vectors = rotate_all(&phrases(12, 200), 224, 3);
    for pair in vectors.windows(2) {
        for estimated in [Estimated::L2Squared, Estimated::NegativeInnerProduct] {
            let (mut code, mut there, mut back) = ([0; 4], [0; 4], [0; 4]);
            let both = encode_both(&pair[0], &pair[1], estimated, &mut code);
            let alone = (
                encode(&pair[0], &pair[1], estimated, &mut there),
                encode(&pair[1], &pair[0], estimated, &mut back),
            );
            assert_eq!((code, both.0), (there, alone.0));
            assert_eq!(code.map(|word| !word), back);
            let near = |a: Bf16, b: Bf16| (a.to_f32() - b.to_f32()).abs() <= 0.01 * b.to_f32().abs();
            assert_eq!((both.1.scale, both.1.length), (alone.1.scale, alone.1.length));
            assert!(near(both.1.offset, alone.1.offset), "{both:?} {alone:?}");
        }
    }
}

#[test]
fn lanes_read_back_what_was_set() {
    for bits in [32usize, 64, 160, 1536] {
        let code = |lane: usize, salt: u32| -> Vec<u32> {
            let word = |w: usize| (w as u32 * 37 + lane as u32 * 101 + salt).wrapping_mul(0x9E37_79B9);
            (0..bits / 32).map(word).collect()
        };
        // Anywhere in a page.
        let mut page = vec![0; codes_len(bits, LANES) + 3];
        let codes = &mut page[3..];
        let mut back = vec![0; bits / 32];
        for salt in [0, 59] {
            (0..LANES).for_each(|lane| set_lane(codes, lane, &code(lane, salt)));
            for lane in 0..LANES {
                read_lane(codes, lane, &mut back);
                assert_eq!(back, code(lane, salt));
                for (w, word) in back.iter().enumerate() {
                    // The layout that kernels rely on: four words of a lane, then the next lane's.
                    let place = match w / 4 * 4 + 4 <= bits / 32 {
                        true => 4 * (w / 4 * 4 * LANES + lane * 4 + w % 4),
                        false => 4 * (w * LANES + lane),
                    };
                    assert_eq!(codes[place..][..4], word.to_le_bytes());
                }
            }
        }
        let before = codes.to_vec();
        set_lane(codes, 7, &code(7, 1));
        let changed = (0..codes.len()).filter(|&i| before[i] != codes[i]);
        let own = |i: usize| match i / (16 * LANES) < bits / 128 {
            true => i / 16 % LANES == 7,
            false => i / 4 % LANES == 7,
        };
        assert!(
            changed.clone().count() > 0 && changed.clone().all(own),
            "another lane changed"
        );
    }
}

#[test]
fn distances_between_neighbors() {
    let vectors = rotate_all(&phrases(600, 384), 384, 8);
    let (mut sum, mut squares, mut count) = (0.0, 0.0, 0.0);
    for triple in vectors.chunks_exact(3) {
        let [a, b, y] = triple else { unreachable!() };
        let mut codes = [[0; 12]; 2];
        let lengths = [(a, 0), (b, 1)].map(|(x, i)| encode(x, y, Estimated::L2Squared, &mut codes[i]).length.to_f32());
        let cosine = cosine(hamming(&codes[0], &codes[1]), 384);
        let truth = distance(Estimated::L2Squared, a, b);
        let relative = between(lengths[0], lengths[1], cosine) / truth - 1.0;
        sum += relative;
        squares += relative * relative;
        count += 1.0;
    }
    assert!((sum / count).abs() < 0.02, "{}", sum / count);
    assert!((squares / count).sqrt() < 0.12, "{}", (squares / count).sqrt());
    assert_eq!(hamming(&[0xFF; 9], &[0x8000_000F; 9]), 45);
    assert_eq!(hamming(&[], &[]), 0);
    assert_eq!((cosine(0, 64), cosine(64, 64)), (1.0, -1.0));
    assert!(cosine(32, 64).abs() < 1e-6);
    assert_eq!(between(3.0, 3.0, 1.0), 0.0);
    assert_eq!(between(f32::MAX, f32::MAX, -1.0), 4.0 * f64::from(f32::MAX).powi(2));
    assert!(between(f32::from_bits(1), 0.0, 1.0) > 0.0);
}

#[test]
fn extremes_give_finite_factors() {
    let values = [0.0, 1e-45, 1e-38, 1e-30, 1e-15, 1.0, 1e15, 1e19, 1e30, f32::MAX];
    let signs = [1.0, -1.0];
    for a in values.into_iter().flat_map(|v| signs.map(|s| v * s)) {
        for b in values {
            let x: Vec<f32> = (0..200).map(|i| if i % 3 == 0 { a } else { b }).collect();
            let y: Vec<f32> = (0..200).map(|i| if i % 5 == 0 { b } else { -a }).collect();
            for estimated in [Estimated::L2Squared, Estimated::NegativeInnerProduct] {
                let mut code = [0; 4];
                let factors = encode(&x, &y, estimated, &mut code);
                for factor in [factors.offset, factors.scale, factors.length] {
                    assert!(factor.to_f32().is_finite());
                }
                assert!(factors.scale.to_f32() >= 0.0 && factors.length.to_f32() >= 0.0);
            }
        }
    }
}

#[test]
fn huge_and_tiny_vectors_are_estimated_like_any_other() {
    let words = rotate_all(&words(30), 128, 6);
    for factor in [1e-25f32, 1e-12, 1e12, 1e18] {
        for triple in words.chunks_exact(3) {
            let scaled: Vec<Vec<f32>> = triple.iter().map(|v| v.iter().map(|v| v * factor).collect()).collect();
            let mut codes = [[0; 4]; 2];
            let plain = encode(&triple[1], &triple[2], Estimated::NegativeInnerProduct, &mut codes[0]);
            let other = encode(&scaled[1], &scaled[2], Estimated::NegativeInnerProduct, &mut codes[1]);
            assert_eq!(codes[0], codes[1]);
            let ratio = other.scale.to_f32() / plain.scale.to_f32() / factor;
            assert!((ratio - 1.0).abs() < 0.01, "{factor} {ratio}");
        }
    }
}

#[test]
fn every_instruction_set_gives_the_same_code() {
    let vectors = rotate_all(&phrases(2, 1001), 1001, 4);
    for bits in [32, 512, 992] {
        let (mut wide, mut plain) = (vec![0; bits / 32], vec![1; bits / 32]);
        let factors_wide = encode(&vectors[0], &vectors[1], Estimated::L2Squared, &mut wide);
        let sums = signs_and_sums(&vectors[0], &vectors[1], &mut plain).unwrap();
        assert_eq!((wide, factors_wide), (plain, factors(&sums, Estimated::L2Squared)));
    }
}

/// Codes of all lanes.
fn whole(bytes: &[u8]) -> Codes<'_> {
    Codes { bytes, lanes: LANES }
}
