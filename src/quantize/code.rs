//! The code of a neighbour `x` relative to a node `y`, and what can be estimated from it.
//!
//! With both vectors rotated, r = x - y, and L the length of the code in bits, the code is the signs s of r[0..L], and
//!
//! ```text
//! f = |r|^2 / sum(|r[0..L]|)
//! |q-x|^2  ~  |q-y|^2 + |r|^2 + 2 f <y[0..L], s> - 2 f <q[0..L], s>
//! -<q,x>   ~  -<q,y>                             -   f <q[0..L], s>
//! ```
//!
//! Both have the form `distance to y + offset - scale * <q[0..L], s>`, and [`Factors`] holds `offset` and `scale`. Over random
//! rotations the estimates are unbiased, and their error falls as 1/sqrt(L) (RaBitQ, arXiv 2405.12497, theorem 3.2).
//!
//! A code alone is packed: bit i (of byte i/8, from the least significant) is set if s[i] = +1. The codes of a node are
//! transposed, so that a register holds the same four dimensions of [`LANES`] neighbours: 16 bytes for each group of four
//! dimensions, where the low half of byte j has the bits of lane j and the high half those of lane 16 + j, the group's first
//! dimension lowest (André et al., arXiv 1812.09162).

use super::bfloat16::Bf16;
use super::vectorized;

/// Codes that a node keeps side by side.
pub const LANES: usize = 32;

/// Dimensions whose bits share a nibble.
pub const GROUP: usize = 4;

/// Bytes of a group: a nibble for each lane.
pub const GROUP_BYTES: usize = LANES / 2;

/// The longest code, in bits: the query's table fits the 16-bit sums of codes up to here.
pub const MAX_BITS: usize = 16_384;

/// Bytes of one packed code.
pub const fn packed_len(bits: usize) -> usize {
    bits / 8
}

/// Bytes of the transposed codes of a node.
pub const fn transposed_len(bits: usize) -> usize {
    bits / GROUP * GROUP_BYTES
}

/// Which distance the factors of a code serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Estimated {
    /// Squared Euclidean distance; also cosine, on vectors of unit length.
    L2Squared,
    /// Negative inner product.
    NegativeInnerProduct,
}

/// What is stored beside a code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Factors {
    /// L2: |r|^2 + 2 f <y[0..L], s>. Inner product: 0.
    pub offset: Bf16,
    /// L2: 2 f. Inner product: f.
    pub scale: Bf16,
    /// |r|
    pub length: Bf16,
}

/// Writes the packed code of `x` relative to `y`, both rotated, and returns its factors.
///
/// Where the first L coordinates of r are all zero the scale is zero, and the estimate exact if x = y. What exceeds the range of
/// the factors is limited to it.
///
/// # Panics
/// If the vectors differ in length or are shorter than the code, or the code is empty or longer than [`MAX_BITS`].
pub fn encode(x: &[f32], y: &[f32], estimated: Estimated, code: &mut [u8]) -> Factors {
    let bits = code.len() * 8;
    assert!(x.len() == y.len() && bits > 0 && bits <= x.len().min(MAX_BITS));
    let sums = vectorized(|| signs_and_sums(x, y, code));
    factors(sums.unwrap_or_else(|| precise_sums(x, y, bits)), estimated)
}

/// The sums that factors are made of.
struct Sums {
    /// |r|^2
    square: f64,
    /// sum(|r[0..L]|)
    absolute: f64,
    /// <y[0..L], s>
    along: f64,
}

/// Partial sums of one kind, as wide as the widest registers.
type Partial = [f32; 16];

/// Writes the code, and sums in f32; `None` if that was not precise because the numbers are huge or tiny.
#[inline(always)]
fn signs_and_sums(x: &[f32], y: &[f32], code: &mut [u8]) -> Option<Sums> {
    let bits = code.len() * 8;
    let (mut square, mut absolute, mut along): (Partial, Partial, Partial) = Default::default();
    let (xs, x_rest) = x[..bits].as_chunks::<16>();
    let (ys, y_rest) = y[..bits].as_chunks::<16>();
    let (pairs, last) = code.as_chunks_mut::<2>();
    for ((x, y), bytes) in xs.iter().zip(ys).zip(pairs) {
        let mut word = 0u16;
        for i in 0..16 {
            let r = x[i] - y[i];
            let sign = r.to_bits() & 0x8000_0000;
            square[i] += r * r;
            absolute[i] += r.abs();
            along[i] += f32::from_bits(y[i].to_bits() ^ sign);
            word |= u16::from(sign == 0) << i;
        }
        *bytes = word.to_le_bytes();
    }
    for (i, (x, y)) in x_rest.iter().zip(y_rest).enumerate() {
        let r = x - y;
        let sign = r.to_bits() & 0x8000_0000;
        square[i] += r * r;
        absolute[i] += r.abs();
        along[i] += f32::from_bits(y.to_bits() ^ sign);
        last[0] = (last[0] & !(1 << i)) | (u8::from(sign == 0) << i);
    }
    let (xs, x_rest) = x[bits..].as_chunks::<16>();
    let (ys, y_rest) = y[bits..].as_chunks::<16>();
    for (x, y) in xs.iter().zip(ys) {
        for i in 0..16 {
            let r = x[i] - y[i];
            square[i] += r * r;
        }
    }
    for (i, (x, y)) in x_rest.iter().zip(y_rest).enumerate() {
        square[i] += (x - y) * (x - y);
    }
    let total = |sums: Partial| sums.iter().map(|&v| f64::from(v)).sum::<f64>();
    let (square, absolute, along) = (total(square), total(absolute), total(along));
    let precise = square > 1e-20 && (square + absolute + along).is_finite();
    precise.then_some(Sums {
        square,
        absolute,
        along,
    })
}

/// The sums in f64, which hold the squares of all f32.
#[cold]
fn precise_sums(x: &[f32], y: &[f32], bits: usize) -> Sums {
    let mut sums = Sums {
        square: 0.0,
        absolute: 0.0,
        along: 0.0,
    };
    for (i, (&x, &y)) in x.iter().zip(y).enumerate() {
        let r = f64::from(x) - f64::from(y);
        sums.square += r * r;
        if i < bits {
            sums.absolute += r.abs();
            sums.along += f64::from(if (x - y).is_sign_positive() { y } else { -y });
        }
    }
    sums
}

fn factors(sums: Sums, estimated: Estimated) -> Factors {
    let f = if sums.absolute > 0.0 {
        sums.square / sums.absolute
    } else {
        0.0
    };
    let length = Bf16::from_f32(sums.square.sqrt() as f32);
    match estimated {
        Estimated::L2Squared => {
            let scale = Bf16::from_f32((2.0 * f) as f32);
            // With the scale as it is stored, its rounding errors in the two products with s nearly cancel.
            let along = f64::from(scale.to_f32()) * sums.along;
            Factors {
                offset: Bf16::from_f32((sums.square + along) as f32),
                scale,
                length,
            }
        }
        Estimated::NegativeInnerProduct => Factors {
            offset: Bf16::default(),
            scale: Bf16::from_f32(f as f32),
            length,
        },
    }
}

/// The estimated distance from a query to the neighbour, where `distance` is the query's to the node, in the same metric, and
/// `dot` its inner product with the signs of the code, <q[0..L], s>.
///
/// Always finite. Where the terms have no sum (infinity less infinity) it is the least there is, so that the neighbour gets
/// visited rather than lost. This is the reference of the vectorised form.
#[inline]
pub fn estimate(distance: f32, factors: Factors, dot: f32) -> f32 {
    let estimate = distance + (factors.offset.to_f32() - factors.scale.to_f32() * dot);
    if estimate.is_nan() {
        f32::MIN
    } else {
        estimate.clamp(f32::MIN, f32::MAX)
    }
}

/// Puts a packed code into a lane of the transposed codes.
///
/// # Panics
/// If `lane` is not below [`LANES`] or the lengths are not those of the same number of bits.
pub fn set_lane(codes: &mut [u8], lane: usize, code: &[u8]) {
    let (byte, shift) = place(codes, lane, code.len());
    for (two_groups, packed) in codes.chunks_exact_mut(2 * GROUP_BYTES).zip(code) {
        for (group, nibble) in [(0, packed & 0xF), (GROUP_BYTES, packed >> 4)] {
            let target = &mut two_groups[group + byte];
            *target = (*target & !(0xF << shift)) | (nibble << shift);
        }
    }
}

/// Sets all bits of a lane to zero.
///
/// # Panics
/// As [`set_lane`].
pub fn clear_lane(codes: &mut [u8], lane: usize) {
    let (byte, shift) = place(codes, lane, codes.len() / (2 * GROUP_BYTES));
    for group in codes.chunks_exact_mut(GROUP_BYTES) {
        group[byte] &= !(0xF << shift);
    }
}

/// Reads the packed code of a lane.
///
/// # Panics
/// As [`set_lane`].
pub fn read_lane(codes: &[u8], lane: usize, code: &mut [u8]) {
    let (byte, shift) = place(codes, lane, code.len());
    for (two_groups, packed) in codes.chunks_exact(2 * GROUP_BYTES).zip(code) {
        let nibble = |group: usize| (two_groups[group + byte] >> shift) & 0xF;
        *packed = nibble(0) | (nibble(GROUP_BYTES) << 4);
    }
}

/// The byte of each group, and the shift within it, that hold a lane.
fn place(codes: &[u8], lane: usize, packed: usize) -> (usize, u32) {
    assert!(lane < LANES && codes.len() == packed * 2 * GROUP_BYTES);
    (lane % GROUP_BYTES, if lane < GROUP_BYTES { 0 } else { 4 })
}

/// Number of bits in which two packed codes differ.
///
/// # Panics
/// If the lengths differ.
pub fn hamming(a: &[u8], b: &[u8]) -> u32 {
    assert_eq!(a.len(), b.len(), "codes of unequal length");
    let (a_words, a_rest) = a.as_chunks::<8>();
    let (b_words, b_rest) = b.as_chunks::<8>();
    let words = a_words.iter().zip(b_words);
    let rest = a_rest.iter().zip(b_rest);
    words
        .map(|(a, b)| (u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b)).count_ones())
        .sum::<u32>()
        + rest.map(|(a, b)| (a ^ b).count_ones()).sum::<u32>()
}

/// The estimated cosine of the angle between two neighbours as seen from the node: two random hyperplanes' worth of sides agree
/// with probability 1 - angle/pi (Goemans and Williamson), so cos ~ sin(pi/2 (1 - 2 hamming/L)).
#[inline]
pub fn cosine(hamming: u32, bits: usize) -> f32 {
    (std::f32::consts::FRAC_PI_2 * (1.0 - 2.0 * hamming as f32 / bits as f32)).sin()
}

/// The estimated squared distance between two neighbours of a node, from their lengths |r| and the cosine between them.
/// Never negative, never NaN; infinite beyond the range of f32.
#[inline]
pub fn between(length_a: f32, length_b: f32, cosine: f32) -> f32 {
    // As (a - b)^2 + 2ab(1 - cos): nothing cancels and nothing is infinite less infinite.
    let difference = length_a - length_b;
    difference * difference + 2.0 * length_a * length_b * (1.0 - cosine).max(0.0)
}

#[cfg(test)]
#[path = "code_tests.rs"]
mod tests;
