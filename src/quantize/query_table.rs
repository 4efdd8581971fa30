//! The query table: a query's contribution to each of the 16 patterns of four sign bits, for each
//! group of four dimensions.
//!
//! With s in {-1,+1}^L, <q[0..L], s> = 2 sum(|q[i]| where s[i] is the sign of q[i]) -
//! sum(|q[0..L]|). The table holds, as 8-bit multiples of a step, the sum on the right for each
//! pattern of each group. The sum of the entries that a code selects is an integer of 16 bits, from
//! which `scale * sum + offset` restores the inner product.
//!
//! A block of the table belongs to 32 dimensions, one word of a code. It has eight groups of 16
//! bytes: first the groups in the low halves of the word's bytes, then the groups in the high
//! halves ([`ORDER`]).
//!
//! The step is the least that keeps every entry within 255 and the sum of any entries, one a group,
//! within 65,535. Entries are rounded to nearest, so a restored inner product errs by at most a
//! step for each group, and by about sqrt(groups/3) steps in the root mean square.

use super::rabitq::{Factors, MAX_BITS, WORD_BITS};

/// Dimensions of a group: their bits share half a byte.
const GROUP: usize = 4;

/// Patterns of the bits of a group; one byte each.
const PATTERNS: usize = 1 << GROUP;

/// Groups of a word.
const GROUPS: usize = WORD_BITS / GROUP;

/// Order of a word's groups in its block.
const ORDER: [usize; GROUPS] = [0, 2, 4, 6, 1, 3, 5, 7];

/// The table of one query. A reused table allocates only for codes longer than any before.
#[derive(Clone, Debug, Default)]
pub struct Table {
    entries: Vec<u8>,
    scale: f32,
    offset: f32,
}

impl Table {
    /// Prepares the table for a query: the first L coordinates of the rotated vector.
    ///
    /// # Panics
    /// If L is not a multiple of [`WORD_BITS`], is zero, or exceeds [`MAX_BITS`].
    pub fn prepare(&mut self, query: &[f32]) {
        assert!(!query.is_empty() && query.len().is_multiple_of(WORD_BITS) && query.len() <= MAX_BITS);
        self.entries.resize(query.len() / GROUP * PATTERNS, 0);
        fill(self, query);
    }

    /// The estimate for one code at this distance to the node, as [`crate::distance::estimate()`]
    /// computes it for 32 codes at once.
    pub fn estimate(&self, code: &[u32], factors: Factors, distance: f32) -> f32 {
        let product = f32::from(self.sum(code)).mul_add(self.scale, self.offset);
        (-factors.scale.to_f32()).mul_add(product, distance + factors.offset.to_f32())
    }

    /// The estimate in f64, for distances beyond the range of f32.
    pub fn wide_estimate(&self, code: &[u32], factors: Factors, distance: f64) -> f64 {
        let product = f64::from(self.sum(code)) * f64::from(self.scale) + f64::from(self.offset);
        distance + f64::from(factors.offset.to_f32()) - f64::from(factors.scale.to_f32()) * product
    }

    /// The sum of the entries that a code selects.
    fn sum(&self, code: &[u32]) -> u16 {
        let blocks = self.entries.as_chunks::<PATTERNS>().0.as_chunks::<GROUPS>().0;
        let mut sum = 0u16;
        for (word, block) in code.iter().zip(blocks) {
            let (even, odd) = block.split_at(GROUPS / 2);
            for ((byte, even), odd) in word.to_le_bytes().into_iter().zip(even).zip(odd) {
                let (low, high) = (even[usize::from(byte & 0xf)], odd[usize::from(byte >> 4)]);
                sum = sum.wrapping_add(u16::from(low) + u16::from(high));
            }
        }
        sum
    }

    /// The entries: 128 bytes for each 32 dimensions, 16 for each
    /// group of four. Byte c of a group is the entry of pattern c; bit i of a pattern belongs to
    /// dimension i of the group.
    pub fn entries(&self) -> &[u8] {
        &self.entries
    }

    /// Inner product of one unit of the sum.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// Inner product of the sum zero.
    pub fn offset(&self) -> f32 {
        self.offset
    }
}

/// Fills the table, which has its final length. Not compiled for wide registers, because that
/// version is slower.
fn fill(table: &mut Table, query: &[f32]) {
    let words = query.as_chunks::<WORD_BITS>().0;
    let (largest, total) = measure(words);
    // Rounding adds at most 130/256 of a step a group, and f32 arithmetic far less than the 16
    // spare steps.
    let room = f64::from(u16::MAX) - (words.len() * GROUPS) as f64 * (130.0 / 256.0) - 16.0;
    let step = (largest / 255.0).max(total / room) as f32;
    // A query too near to zero for such a step contributes nothing.
    let (step, inverse) = if step > 1e-35 { (step, 256.0 / step) } else { (0.0, 0.0) };
    table.scale = 2.0 * step;
    table.offset = -total.min(f64::from(f32::MAX)) as f32;
    let blocks = table.entries.as_chunks_mut::<PATTERNS>().0.as_chunks_mut::<GROUPS>().0;
    for (word, block) in words.iter().zip(blocks) {
        fill_block(word, inverse, block);
    }
}

/// The largest sum of magnitudes of any group, and the sum over all groups.
fn measure(words: &[[f32; WORD_BITS]]) -> (f64, f64) {
    let mut largest = [0.0f32; GROUPS];
    let mut total = [0.0f64; GROUPS];
    for word in words {
        // Quarters, because their sum over a group is finite.
        let quarters = word.map(|v| v.abs() * 0.25);
        for (g, group) in quarters.as_chunks::<GROUP>().0.iter().enumerate() {
            let sum = (group[0] + group[1]) + (group[2] + group[3]);
            largest[g] = if sum > largest[g] { sum } else { largest[g] };
            total[g] += f64::from(sum);
        }
    }
    let largest = largest.into_iter().fold(0.0, f32::max);
    (4.0 * f64::from(largest), 4.0 * total.into_iter().sum::<f64>())
}

/// Computes the entries of a block from the coordinates of its dimensions; `inverse` is the number
/// of 256ths of a step in 1.
fn fill_block(word: &[f32; WORD_BITS], inverse: f32, block: &mut [[u8; PATTERNS]; GROUPS]) {
    // Integers of 16 bits that wrap: sums of a group's coordinates fit, with or without their
    // signs.
    let parts = word.map(|v| (v * inverse + ROUND).to_bits() as u16);
    let negative = word.map(|v| ((-v).max(0.0) * inverse + ROUND).to_bits() as u16);
    for (entries, group) in block.iter_mut().zip(ORDER) {
        let parts = &parts.as_chunks::<GROUP>().0[group];
        let negative = &negative.as_chunks::<GROUP>().0[group];
        let base = negative.iter().fold(128u16, |base, part| base.wrapping_add(*part));
        for (c, entry) in entries.iter_mut().enumerate() {
            let mut sum = base;
            for (i, part) in parts.iter().enumerate() {
                sum = sum.wrapping_add(part & MASKS[i][c]);
            }
            *entry = (sum >> 8) as u8;
        }
    }
}

/// For each dimension of a group, ones at the patterns that have its bit.
const MASKS: [[u16; PATTERNS]; GROUP] = {
    let mut masks = [[0; PATTERNS]; GROUP];
    let mut c = 0;
    while c < PATTERNS {
        let mut i = 0;
        while i < GROUP {
            masks[i][c] = if c & (1 << i) != 0 { u16::MAX } else { 0 };
            i += 1;
        }
        c += 1;
    }
    masks
};

/// A number whose sum with a number below 2^22 has the latter, rounded to nearest, in its low bits.
const ROUND: f32 = (3 << 22) as f32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantize::rotation::Rotation;
    use crate::test_data::phrases;

    fn table(query: &[f32]) -> Table {
        let mut table = Table::default();
        table.prepare(query);
        table
    }

    /// The sum that a kernel forms for one code, without the limit of 16 bits.
    fn sum(table: &Table, code: &[u32]) -> u32 {
        let groups = table.entries().as_chunks::<16>().0;
        assert_eq!(groups.len(), code.len() * 8);
        let entry = |group: usize| {
            let pattern = code[group / 8] >> (group % 8 * 4) & 0xF;
            // Even groups first, then odd ones.
            let place = group / 8 * 8 + group % 2 * 4 + group % 8 / 2;
            u32::from(groups[place][pattern as usize])
        };
        (0..groups.len()).map(entry).sum()
    }

    /// <q[0..L], s> as the kernels restore it.
    fn dot(table: &Table, code: &[u32]) -> f32 {
        let sum = u16::try_from(sum(table, code)).unwrap();
        table.scale() * f32::from(sum) + table.offset()
    }

    fn worst(table: &Table) -> u32 {
        let groups = table.entries().as_chunks::<16>().0;
        groups.iter().map(|g| u32::from(*g.iter().max().unwrap())).sum()
    }

    fn exact(query: &[f32], code: &[u32]) -> f64 {
        let sign = |i: usize| if code[i / 32] & (1 << (i % 32)) != 0 { 1.0 } else { -1.0 };
        query.iter().enumerate().map(|(i, &v)| f64::from(v) * sign(i)).sum()
    }

    #[test]
    fn restores_inner_products_of_real_vectors() {
        for bits in [64usize, 128, 384, 1536, 4096, 16_384] {
            let rotation = Rotation::new(bits, bits, 9);
            let mut query = vec![0.0; bits];
            let vectors = phrases(20, bits);
            let mut squares = 0.0;
            for vector in &vectors {
                rotation.rotate(vector, &mut query);
                let table = table(&query);
                let step = f64::from(table.scale()) / 2.0;
                let groups = (bits / 4) as f64;
                for other in &vectors {
                    let code: Vec<u32> = (0..bits / 32)
                        .map(|w| (0..32).fold(0, |word, i| word | (u32::from(other[w * 32 + i] > 0.0) << i)))
                        .collect();
                    let error = f64::from(dot(&table, &code)) - exact(&query, &code);
                    assert!(error.abs() <= step * groups, "{bits}");
                    squares += (error / step).powi(2) / groups / 400.0;
                }
            }
            // Independent rounding gives a third.
            assert!(squares.sqrt() < 0.8, "{bits}: {}", squares.sqrt());
        }
    }

    #[test]
    fn no_code_overflows_sixteen_bits() {
        for bits in [32usize, 64, 1024, 2048, 4096, 16_384] {
            let ramp: Vec<f32> = (0..bits).map(|i| i as f32).collect();
            let halves: Vec<f32> = (0..bits).map(|i| 0.5 + (i % 7) as f32).collect();
            let mut spike = vec![1.0; bits];
            spike[bits / 2] = -1e6;
            for query in [ramp, halves, spike, vec![1.0; bits], vec![-0.3; bits]] {
                for factor in [1.0, -1.0, 1e-38, 1e-30, 1e30] {
                    let query: Vec<f32> = query.iter().map(|v| v * factor).collect();
                    let table = table(&query);
                    assert!(worst(&table) <= u32::from(u16::MAX), "{bits} {factor}");
                }
            }
            // Uniform, so one limit or the other is used to the full.
            let table = table(&vec![1.0; bits]);
            assert!(worst(&table) > 30_000 || table.entries().contains(&255), "{bits}");
        }
    }

    #[test]
    fn extremes() {
        for bits in [32usize, 128, 16_384] {
            for value in [0.0, -0.0, 1e-45, 1e-38, 1e-30, 1e30, 1e38, f32::MAX, f32::MIN] {
                let query: Vec<f32> = (0..bits).map(|i| if i % 3 == 0 { -value } else { value }).collect();
                let table = table(&query);
                assert!(worst(&table) <= u32::from(u16::MAX));
                for code in [0, u32::MAX, 0x5A96_3C0F] {
                    let code = vec![code; bits / 32];
                    let dot = dot(&table, &code);
                    let (exact, length) = (exact(&query, &code), f64::from(value.abs()) * bits as f64);
                    assert!(!dot.is_nan());
                    if length < 1e38 {
                        let bound = f64::from(table.scale()) * (bits / 8) as f64 + 1e-6 * length + 1e-33;
                        assert!((f64::from(dot) - exact).abs() <= bound, "{bits} {value} {dot} {exact}");
                    }
                }
            }
        }
    }
}
