//! A random rotation in O(d log d): an isometry of R^d into R^n, n >= d.
//!
//! The input is padded with zeros to n and goes through [`ROUNDS`] rounds. Each round flips signs
//! at random and applies the Walsh-Hadamard transform of size P, the largest power of two up to n,
//! to the first P coordinates and to the last P in turn. If P < n, each round ends with one step of
//! Kac's walk, which turns every pair of coordinates half of n apart by 45 degrees, one of them
//! with a random sign (without it, coordinates that the transform made alike would stay together).
//! All steps are orthogonal. (Fast transform: Ailon and Chazelle, DOI 10.1145/1132516.1132597; with
//! overlapping halves and Kac's walk: the RaBitQ library.)
//!
//! The bit generator (SplitMix64) and the order of the steps are frozen, because they are part of
//! the file format.

/// Rounds of signs and transforms.
const ROUNDS: usize = 4;

/// Size of a transform in one register.
const BLOCK: usize = 8;

/// The largest magnitude for which no sum in a rotation of up to 2^16 dimensions can overflow.
const SAFE_MAGNITUDE: f32 = f32::MAX / 1024.0;

/// A rotation of vectors of fixed dimensions, given by a seed.
#[derive(Clone, Debug)]
pub struct Rotation {
    dimensions: usize,
    padded: usize,
    /// Size of the transform: the largest power of two that is not above `padded`.
    power: usize,
    /// For each round, a bit for each coordinate, set if its sign flips before the transform.
    flips: Vec<u32>,
    /// For each round, a bit for each pair, set if its second sign flips before the step of Kac's
    /// walk.
    pair_flips: Vec<u32>,
}

impl Rotation {
    /// The rotation of a seed from `dimensions` to `padded` coordinates.
    ///
    /// # Panics
    /// If `dimensions` is zero, or `padded` less than `dimensions` or more than 2^16.
    pub fn new(dimensions: usize, padded: usize, seed: u64) -> Self {
        assert!(dimensions > 0 && dimensions <= padded && padded <= 1 << 16);
        let mut random = SplitMix64(seed);
        let mut bits = |count: usize| -> Vec<u32> {
            let words = ROUNDS * count.div_ceil(32);
            (0..words).map(|_| (random.next_bits() >> 32) as u32).collect()
        };
        Rotation {
            dimensions,
            padded,
            power: 1 << padded.ilog2(),
            flips: bits(padded),
            pair_flips: bits(padded / 2),
        }
    }

    /// Length of the input.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Length of the output.
    pub fn padded(&self) -> usize {
        self.padded
    }

    /// Rotates one vector. Lengths and inner products are kept except for rounding, and for
    /// coordinates beyond the range of f32, which are clamped to it.
    ///
    /// # Panics
    /// If the input has not `dimensions` numbers or the output has not room for `padded`.
    pub fn rotate(&self, input: &[f32], output: &mut [f32]) {
        assert!(input.len() == self.dimensions && output.len() == self.padded);
        let (used, padding) = output.split_at_mut(input.len());
        used.copy_from_slice(input);
        padding.fill(0.0);
        self.rotate_in_place(output);
    }

    /// Rotates a vector that is already padded with zeros.
    ///
    /// # Panics
    /// If there are not `padded` numbers.
    pub fn rotate_in_place(&self, data: &mut [f32]) {
        assert!(data.len() == self.padded);
        let rotation = self;
        vectorized!(rotate_any(rotation: &Rotation, data: &mut [f32]));
    }
}

#[inline(always)]
fn rotate_any(rotation: &Rotation, data: &mut [f32]) {
    let large = data.iter().fold(false, |large, v| large | (v.abs() > SAFE_MAGNITUDE));
    if large {
        data.iter_mut().for_each(|v| *v /= 1024.0);
    }
    turn(rotation, data);
    if large {
        data.iter_mut()
            .for_each(|v| *v = (*v * 1024.0).clamp(f32::MIN, f32::MAX));
    }
}

#[inline(always)]
fn turn(rotation: &Rotation, data: &mut [f32]) {
    let n = data.len();
    let scale = 1.0 / (rotation.power as f32).sqrt();
    let (words, pair_words) = (n.div_ceil(32), (n / 2).div_ceil(32));
    for round in 0..ROUNDS {
        flip(data, &rotation.flips[round * words..][..words]);
        let first = if round % 2 == 0 { 0 } else { n - rotation.power };
        hadamard(&mut data[first..first + rotation.power], scale);
        if rotation.power < n {
            kac_step(data, &rotation.pair_flips[round * pair_words..][..pair_words]);
        }
    }
}

/// Changes the sign of the coordinates whose bit is set.
#[inline(always)]
fn flip(data: &mut [f32], flips: &[u32]) {
    for (chunk, &word) in data.chunks_mut(32).zip(flips) {
        for (i, v) in chunk.iter_mut().enumerate() {
            *v = flipped(*v, word, i);
        }
    }
}

/// The number, with the other sign if the bit is set.
#[inline(always)]
fn flipped(value: f32, word: u32, bit: usize) -> f32 {
    let sign = if word & (1 << bit) != 0 { 1 << 31 } else { 0 };
    f32::from_bits(value.to_bits() ^ sign)
}

/// One step of Kac's walk: turns each pair (i, i + n/2), its second flipped or not, by 45 degrees
/// and mirrors it; the middle coordinate of an odd number stays.
#[inline(always)]
fn kac_step(data: &mut [f32], flips: &[u32]) {
    const C: f32 = std::f32::consts::FRAC_1_SQRT_2;
    let half = data.len() / 2;
    let (low, high) = data.split_at_mut(data.len() - half);
    for ((low, high), &word) in low[..half].chunks_mut(32).zip(high.chunks_mut(32)).zip(flips) {
        for (i, (a, b)) in low.iter_mut().zip(high).enumerate() {
            let (x, y) = (*a * C, flipped(*b, word, i) * C);
            (*a, *b) = (x + y, x - y);
        }
    }
}

/// The Walsh-Hadamard transform of `scale` times the data, whose length is a power of two. Scaling
/// comes first so that no intermediate is larger than the length of the vector.
#[inline(always)]
fn hadamard(data: &mut [f32], scale: f32) {
    if data.len() < BLOCK {
        data.iter_mut().for_each(|v| *v *= scale);
        let mut stride = 1;
        while stride < data.len() {
            butterflies(data, stride);
            stride *= 2;
        }
        return;
    }
    for block in data.as_chunks_mut::<BLOCK>().0 {
        block_of_8(block, scale);
    }
    let mut stride = BLOCK;
    // Two steps at once halve the passes over memory.
    while stride * 4 <= data.len() {
        double_butterflies(data, stride);
        stride *= 4;
    }
    if stride < data.len() {
        butterflies(data, stride);
    }
}

/// The transform of eight numbers, times `scale`, in the form that compiles to shuffles of one
/// register.
#[inline(always)]
fn block_of_8(block: &mut [f32; BLOCK], scale: f32) {
    let v = block.map(|v| v * scale);
    let v = block_step::<4>(v);
    let v = block_step::<2>(v);
    *block = block_step::<1>(v);
}

/// One step in a register: each number's partner, plus the number or, for the second of a pair,
/// less it.
#[inline(always)]
fn block_step<const STRIDE: usize>(v: [f32; BLOCK]) -> [f32; BLOCK] {
    std::array::from_fn(|i| v[i ^ STRIDE] + if i & STRIDE == 0 { v[i] } else { -v[i] })
}

/// One step: sums and differences of numbers `stride` apart.
#[inline(always)]
fn butterflies(data: &mut [f32], stride: usize) {
    for pair in data.chunks_exact_mut(2 * stride) {
        let (a, b) = pair.split_at_mut(stride);
        for (a, b) in a.iter_mut().zip(b) {
            (*a, *b) = (*a + *b, *a - *b);
        }
    }
}

/// The steps for `stride` and `2 * stride`.
#[inline(always)]
fn double_butterflies(data: &mut [f32], stride: usize) {
    for four in data.chunks_exact_mut(4 * stride) {
        let (ab, cd) = four.split_at_mut(2 * stride);
        let (a, b) = ab.split_at_mut(stride);
        let (c, d) = cd.split_at_mut(stride);
        for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
            let (ab, a_b, cd, c_d) = (*a + *b, *a - *b, *c + *d, *c - *d);
            (*a, *b, *c, *d) = (ab + cd, a_b + c_d, ab - cd, a_b - c_d);
        }
    }
}

/// SplitMix64 (Steele, Lea and Flood, DOI 10.1145/2660193.2660195), written out because its bits
/// are part of the file format.
pub struct SplitMix64(pub u64);

impl SplitMix64 {
    /// The next 64 bits.
    pub fn next_bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_data::phrases;

    const AWKWARD: [usize; 12] = [1, 2, 3, 50, 63, 65, 100, 384, 1000, 1536, 4097, 16_000];

    fn rotated(rotation: &Rotation, vector: &[f32]) -> Vec<f32> {
        let mut output = vec![f32::NAN; rotation.padded()];
        rotation.rotate(vector, &mut output);
        output
    }

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    }

    fn l2(a: &[f32], b: &[f32]) -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2))
            .sum()
    }

    #[test]
    fn distances_and_inner_products_of_real_vectors_are_kept() {
        for d in AWKWARD {
            for padded in [d, d.max(128), d + 7] {
                let rotation = Rotation::new(d, padded, 7);
                let vectors = phrases(12, d);
                let images: Vec<_> = vectors.iter().map(|v| rotated(&rotation, v)).collect();
                for (x, rx) in vectors.iter().zip(&images) {
                    for (y, ry) in vectors.iter().zip(&images) {
                        let size = dot(x, x) + dot(y, y);
                        assert!((l2(x, y) - l2(rx, ry)).abs() <= 2e-6 * size, "{d} {padded}");
                        assert!((dot(x, y) - dot(rx, ry)).abs() <= 2e-6 * size, "{d} {padded}");
                    }
                }
            }
        }
    }

    #[test]
    fn orthogonal_columns() {
        for d in AWKWARD.into_iter().filter(|&d| d <= 384) {
            let rotation = Rotation::new(d, d, 3);
            let columns: Vec<_> = (0..d)
                .map(|i| {
                    let mut unit = vec![0.0; d];
                    unit[i] = 1.0;
                    rotated(&rotation, &unit)
                })
                .collect();
            for (i, a) in columns.iter().enumerate() {
                for (j, b) in columns.iter().enumerate() {
                    assert!((dot(a, b) - f64::from(u8::from(i == j))).abs() < 1e-5, "{d} {i} {j}");
                }
            }
        }
    }

    /// The image of any input has no outstanding coordinate, and its parts have their share of the
    /// length.
    #[test]
    fn concentrated_vectors_are_spread() {
        for d in [100, 128, 384, 1000, 1536, 4097, 16_000] {
            let rotation = Rotation::new(d, d, 11);
            let mut inputs = vec![vec![1.0; d], vec![0.0; d], vec![0.0; d], vec![0.0; d]];
            inputs[1][0] = 1.0;
            inputs[2][d - 1] = 1.0;
            inputs[3][..d / 2].fill(1.0);
            for input in inputs {
                let image = rotated(&rotation, &input);
                let mean = dot(&image, &image) / d as f64;
                let largest = image.iter().fold(0.0f32, |a, b| a.max(b.abs()));
                assert!(f64::from(largest) < 6.0 * mean.sqrt(), "{d}");
                let half = dot(&image[..d / 2], &image[..d / 2]) / (mean * (d / 2) as f64);
                assert!((half - 1.0).abs() < 6.0 / (d as f64).sqrt(), "{d} {half}");
                let l1: f64 = image.iter().map(|v| f64::from(v.abs())).sum();
                // A Gaussian's mean absolute value is sqrt(2/pi) = 0.798 of its deviation.
                assert!(
                    (l1 / d as f64 / mean.sqrt() - 0.798).abs() < 1.5 / (d as f64).sqrt(),
                    "{d}"
                );
            }
        }
    }

    #[test]
    fn extremes_stay_finite() {
        for d in [1, 50, 1000, 16_000] {
            let rotation = Rotation::new(d, d.max(128), 1);
            for value in [f32::MAX, f32::MIN, 1e30, f32::MIN_POSITIVE, 1e-45, 0.0] {
                let alternating: Vec<_> = (0..d).map(|i| if i % 3 == 0 { -value } else { value }).collect();
                for input in [vec![value; d], alternating] {
                    let image = rotated(&rotation, &input);
                    assert!(image.iter().all(|v| v.is_finite()), "{d} {value}");
                    assert!(
                        value.abs() > 1e38 || value.abs() < 1e-30 || {
                            let (expected, kept) = (dot(&input, &input), dot(&image, &image));
                            (expected - kept).abs() <= 1e-5 * expected
                        }
                    );
                }
            }
        }
    }

    #[test]
    fn every_instruction_set_gives_the_same_bits() {
        for d in AWKWARD {
            let rotation = Rotation::new(d, d, 5);
            let input = &phrases(1, d)[0];
            let mut plain = input.clone();
            rotate_any(&rotation, &mut plain);
            let bits = |v: &[f32]| v.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&plain), bits(&rotated(&rotation, input)));
        }
    }

    /// These bits are part of the file format and must never change.
    #[test]
    fn frozen() {
        let mut random = SplitMix64(1_234_567);
        assert_eq!(random.next_bits(), 6_457_827_717_110_365_317);
        assert_eq!(random.next_bits(), 3_203_168_211_198_807_973);
        let fingerprint = |d: usize, padded: usize| {
            let input: Vec<f32> = (0..d).map(|i| (i % 17) as f32 - 8.0).collect();
            rotated(&Rotation::new(d, padded, 42), &input)
                .iter()
                .fold(0xCBF2_9CE4_8422_2325u64, |hash, v| {
                    (hash ^ u64::from(v.to_bits())).wrapping_mul(0x100_0000_01B3)
                })
        };
        assert_eq!(fingerprint(50, 128), 6_962_793_156_662_271_637);
        assert_eq!(fingerprint(384, 384), 10_393_300_942_425_349_132);
        assert_eq!(fingerprint(1001, 1001), 6_958_208_845_799_110_923);
    }
}
