//! RaBitQ codes: the code of a neighbor `x` relative to a node `y`, its factors, and the estimates
//! from them.
//!
//! With both vectors rotated, r = x - y, and L the length of the code in bits, the code is the
//! signs s of r[0..L], and
//!
//! ```text
//! f = |r|^2 / sum(|r[0..L]|)
//! |q-x|^2  ~  |q-y|^2 + |r|^2 + 2 f <y[0..L], s> - 2 f <q[0..L], s>
//! -<q,x>   ~  -<q,y>                             -   f <q[0..L], s>
//! ```
//!
//! Both have the form `distance to y + offset - scale * <q[0..L], s>`, and [`Factors`] holds
//! `offset` and `scale`. Over random rotations the estimates are unbiased, and their error falls as
//! 1/sqrt(L) (RaBitQ, arXiv 2405.12497, theorem 3.2).
//!
//! A code is L/32 words of 32 bits: bit i (bit i % 32 of word i / 32, from the least significant)
//! is set if s[i] = +1. A node keeps the codes of up to [`LANES`] neighbors in chunks of four words
//! a lane ([`Codes`]), so that a new neighbor in one lane costs little more WAL than its own code:
//! PostgreSQL's generic WAL logs the runs of bytes that changed (docs/measurements.md, *Words of
//! codes lie side by side*). The kernels ([`crate::distance::fastscan()`]) transpose words and take
//! their bytes apart in registers.

use super::bfloat16::Bf16;
pub use crate::distance::fastscan::{Codes, LANES};

/// Bits of a word; the length of every code is a multiple.
pub const WORD_BITS: usize = u32::BITS as usize;

/// Bytes of a word of one lane.
const WORD_BYTES: usize = size_of::<u32>();

/// The longest code, in bits: the query's table fits the 16-bit sums of codes up to here.
pub const MAX_BITS: usize = 16_384;

/// Bytes of the codes of a block of so many lanes, [`LANES`] at most.
pub const fn codes_len(bits: usize, lanes: usize) -> usize {
    Codes::len(bits / WORD_BITS, lanes)
}

/// The distance that the factors of a code estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Estimated {
    /// Squared Euclidean distance; also cosine, on vectors of unit length.
    L2Squared,
    /// Negative inner product.
    NegativeInnerProduct,
}

/// The numbers that are stored with a code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Factors {
    /// L2: |r|^2 + 2 f <y[0..L], s>. Inner product: 0.
    pub offset: Bf16,
    /// L2: 2 f. Inner product: f.
    pub scale: Bf16,
    /// |r|
    pub length: Bf16,
}

/// Writes the code of `x` relative to `y`, both rotated, and returns its factors.
///
/// If the first L coordinates of r are all zero, the scale is zero, and the estimate is exact for
/// equal x and y. If the factors of the Euclidean distance exceed their range, the scale is zero
/// and the offset |r|^2, as of an r at right angles to q - y. Other factors are clamped to the
/// range.
///
/// # Panics
/// If the vectors differ in length or are shorter than the code, or the code is empty or longer
/// than [`MAX_BITS`].
pub fn encode(x: &[f32], y: &[f32], estimated: Estimated, code: &mut [u32]) -> Factors {
    factors(&sums(x, y, code), estimated)
}

/// As [`encode`], and also returns the factors of the code of `y` relative to `x`. That code is the
/// complement, because r has the opposite sign.
///
/// # Panics
/// As [`encode`].
pub fn encode_both(x: &[f32], y: &[f32], estimated: Estimated, code: &mut [u32]) -> (Factors, Factors) {
    let sums = sums(x, y, code);
    let back = Sums {
        // <x, -s> = -<y + r, s>
        along: -(sums.along + sums.absolute),
        ..sums
    };
    (factors(&sums, estimated), factors(&back, estimated))
}

fn sums(x: &[f32], y: &[f32], code: &mut [u32]) -> Sums {
    let bits = code.len() * WORD_BITS;
    assert!(x.len() == y.len() && bits > 0 && bits <= x.len().min(MAX_BITS));
    let sums = vectorized!(signs_and_sums(x: &[f32], y: &[f32], code: &mut [u32]) -> Option<Sums>);
    sums.unwrap_or_else(|| precise_sums(x, y, bits))
}

/// The sums from which the factors are computed.
#[derive(Clone, Copy)]
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

/// Writes the code and sums in f32; `None` if the sums are imprecise because the numbers are huge
/// or tiny.
#[inline(always)]
fn signs_and_sums(x: &[f32], y: &[f32], code: &mut [u32]) -> Option<Sums> {
    let bits = code.len() * WORD_BITS;
    let (mut square, mut absolute, mut along): (Partial, Partial, Partial) = Default::default();
    let xs = x[..bits].as_chunks::<WORD_BITS>().0;
    let ys = y[..bits].as_chunks::<WORD_BITS>().0;
    for ((x, y), word) in xs.iter().zip(ys).zip(code) {
        *word = 0;
        for start in [0, 16] {
            let mut half = 0u16;
            for i in 0..16 {
                let r = x[start + i] - y[start + i];
                let sign = r.to_bits() & 0x8000_0000;
                square[i] += r * r;
                absolute[i] += r.abs();
                along[i] += f32::from_bits(y[start + i].to_bits() ^ sign);
                half |= u16::from(sign == 0) << i;
            }
            *word |= u32::from(half) << start;
        }
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

/// The sums in f64, which holds the squares of all f32.
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

fn factors(sums: &Sums, estimated: Estimated) -> Factors {
    let f = if sums.absolute > 0.0 {
        sums.square / sums.absolute
    } else {
        0.0
    };
    let length = Bf16::from_f32(sums.square.sqrt() as f32);
    match estimated {
        Estimated::L2Squared => {
            let scale = Bf16::from_f32((2.0 * f) as f32);
            // With the scale as stored, its rounding errors in the two products with s nearly
            // cancel.
            let along = f64::from(scale.to_f32()) * sums.along;
            let fits = (sums.square + along).abs().max(2.0 * f) <= f64::from(Bf16::MAX.to_f32());
            let (offset, scale) = match fits {
                true => (sums.square + along, scale),
                false => (sums.square, Bf16::default()),
            };
            Factors {
                offset: Bf16::from_f32(offset as f32),
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

/// Puts a code into a lane of a block of codes.
///
/// # Panics
/// If `codes` has no such lane, or not as many words a lane as `code`.
pub fn set_lane(codes: &mut [u8], lane: usize, code: &[u32]) {
    let lanes = lanes(codes, lane, code.len());
    for (i, word) in code.iter().enumerate() {
        let place = Codes::place(code.len(), lanes, i, lane);
        codes[place..][..WORD_BYTES].copy_from_slice(&word.to_le_bytes());
    }
}

/// Reads the code of a lane.
///
/// # Panics
/// As [`set_lane`].
pub fn read_lane(codes: &[u8], lane: usize, code: &mut [u32]) {
    let lanes = lanes(codes, lane, code.len());
    let count = code.len();
    for (i, word) in code.iter_mut().enumerate() {
        let place = Codes::place(count, lanes, i, lane);
        *word = u32::from_le_bytes(codes[place..].as_chunks::<WORD_BYTES>().0[0]);
    }
}

/// The number of lanes of a block of codes of so many words, which has this lane.
fn lanes(codes: &[u8], lane: usize, words: usize) -> usize {
    let lanes = codes.len() / (words * WORD_BYTES);
    assert!(codes.len() == Codes::len(words, lanes) && lane < lanes);
    lanes
}

/// Number of bits in which two codes differ.
///
/// # Panics
/// If the lengths differ.
pub fn hamming(a: &[u32], b: &[u32]) -> u32 {
    assert_eq!(a.len(), b.len(), "codes of unequal length");
    vectorized!(hamming_any(a: &[u32], b: &[u32]) -> u32)
}

#[inline(always)]
fn hamming_any(a: &[u32], b: &[u32]) -> u32 {
    a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum()
}

/// Estimated cosine of the angle between two neighbors as seen from the node. Two vectors lie on
/// the same side of a random hyperplane with probability 1 - angle/pi (Goemans and Williamson), so
/// cos ~ sin(pi/2 (1 - 2 hamming/L)).
#[inline]
pub fn cosine(hamming: u32, bits: usize) -> f32 {
    (std::f32::consts::FRAC_PI_2 * (1.0 - 2.0 * hamming as f32 / bits as f32)).sin()
}

/// Estimated squared distance between two neighbors of a node, from their lengths |r| and the
/// cosine between them. Never negative, and finite, because f64 holds the squares of all f32.
#[inline]
pub fn between(length_a: f32, length_b: f32, cosine: f32) -> f64 {
    // As (a - b)^2 + 2ab(1 - cos): nothing cancels.
    let (a, b) = (f64::from(length_a), f64::from(length_b));
    (a - b) * (a - b) + 2.0 * a * b * f64::from((1.0 - cosine).max(0.0))
}

#[cfg(test)]
mod tests;
