//! The query's table: what a query adds to each of the 16 patterns of four sign bits, for each group of four dimensions.
//!
//! With s in {-1,+1}^L, <q[0..L], s> = 2 sum(|q[i]| where s[i] is the sign of q[i]) - sum(|q[0..L]|). The table holds, as 8-bit
//! multiples of a step, the sum on the right for each pattern of each group. The sum of the entries that a code selects is an
//! integer of 16 bits, from which [`Table::dot`] restores the inner product.
//!
//! The step is the least that keeps every entry within 255 and the sum of any entries, one a group, within 65,535. Entries are
//! rounded to nearest, so a restored inner product errs by at most a step for each group, and by about sqrt(groups/3) steps in
//! the root mean square.

use super::code::{GROUP, GROUP_BYTES, MAX_BITS};
use super::vectorized;

/// Patterns of the bits of a group; one byte each.
const PATTERNS: usize = 1 << GROUP;
const _: () = assert!(PATTERNS == GROUP_BYTES);

/// The table of one query. Reused, it allocates only for codes longer than ever before.
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
    /// If L is not a multiple of 8, is zero, or exceeds [`MAX_BITS`].
    pub fn prepare(&mut self, query: &[f32]) {
        assert!(!query.is_empty() && query.len().is_multiple_of(8) && query.len() <= MAX_BITS);
        self.entries.resize(query.len() / GROUP * PATTERNS, 0);
        vectorized(|| self.fill(query));
    }

    #[inline(always)]
    fn fill(&mut self, query: &[f32]) {
        let groups = query.as_chunks::<GROUP>().0;
        let (largest, total) = measure(groups);
        // Rounding adds at most 130/256 of a step a group, and f32 arithmetic far less than the 16 steps left over.
        let room = f64::from(u16::MAX) - groups.len() as f64 * (130.0 / 256.0) - 16.0;
        let step = (largest / 255.0).max(total / room) as f32;
        // A query so near to zero that there is no such step contributes nothing.
        let (step, inverse) = if step > 1e-35 { (step, 256.0 / step) } else { (0.0, 0.0) };
        self.scale = 2.0 * step;
        self.offset = -total.min(f64::from(f32::MAX)) as f32;
        for (group, entries) in groups.iter().zip(self.entries.as_chunks_mut::<PATTERNS>().0) {
            *entries = patterns(group.map(|v| v * inverse));
        }
    }

    /// 16 bytes for each group of four dimensions; byte c is the entry of the pattern whose bit i is that of dimension i.
    pub fn entries(&self) -> &[u8] {
        &self.entries
    }

    /// What a unit of the sum stands for in the inner product.
    pub fn scale(&self) -> f32 {
        self.scale
    }

    /// What the inner product is where the sum is zero.
    pub fn offset(&self) -> f32 {
        self.offset
    }

    /// <q[0..L], s> from the sum of the entries that the code s selects.
    #[inline]
    pub fn dot(&self, sum: u16) -> f32 {
        self.scale * f32::from(sum) + self.offset
    }
}

/// The largest sum of magnitudes of a group, and the sum over all groups.
#[inline(always)]
fn measure(groups: &[[f32; GROUP]]) -> (f64, f64) {
    let mut largest = [0.0f64; 8];
    let mut total = [0.0f64; 8];
    for chunk in groups.chunks(8) {
        for (i, group) in chunk.iter().enumerate() {
            let sum: f64 = group.iter().map(|v| f64::from(v.abs())).sum();
            largest[i] = largest[i].max(sum);
            total[i] += sum;
        }
    }
    (largest.into_iter().fold(0.0, f64::max), total.into_iter().sum())
}

/// The entries of a group, from its coordinates in 256ths of a step.
#[inline(always)]
fn patterns(group: [f32; GROUP]) -> [u8; PATTERNS] {
    // Integers of 16 bits that wrap: what a group's coordinates add up to has room in them, with or without their signs.
    let parts = group.map(|v| (v + ROUND).to_bits() as u16);
    let base = group.map(|v| ((-v).max(0.0) + ROUND).to_bits() as u16);
    let base = base[0]
        .wrapping_add(base[1])
        .wrapping_add(base[2])
        .wrapping_add(base[3]);
    let base = base.wrapping_add(128);
    let mut entries = [0; PATTERNS];
    for (c, entry) in entries.iter_mut().enumerate() {
        let mut sum = base;
        for (i, part) in parts.iter().enumerate() {
            sum = sum.wrapping_add(part & MASKS[i][c]);
        }
        *entry = (sum >> 8) as u8;
    }
    entries
}

/// For each dimension of a group, ones for the patterns that have its bit.
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

/// Added to a number below 2^22, it leaves that number, rounded to nearest, in the low bits.
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

    /// The sum that a kernel forms for one code, unlimited.
    fn sum(table: &Table, code: &[u8]) -> u32 {
        let nibbles = code.iter().flat_map(|byte| [byte & 0xF, byte >> 4]);
        let groups = table.entries().as_chunks::<16>().0;
        assert_eq!(groups.len(), code.len() * 2);
        groups
            .iter()
            .zip(nibbles)
            .map(|(g, n)| u32::from(g[usize::from(n)]))
            .sum()
    }

    fn worst(table: &Table) -> u32 {
        let groups = table.entries().as_chunks::<16>().0;
        groups.iter().map(|g| u32::from(*g.iter().max().unwrap())).sum()
    }

    fn exact(query: &[f32], code: &[u8]) -> f64 {
        let sign = |i: usize| if code[i / 8] & (1 << (i % 8)) != 0 { 1.0 } else { -1.0 };
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
                    let code: Vec<u8> = (0..bits / 8)
                        .map(|b| (0..8).fold(0, |byte, i| byte | (u8::from(other[b * 8 + i] > 0.0) << i)))
                        .collect();
                    let error = f64::from(table.dot(u16::try_from(sum(&table, &code)).unwrap())) - exact(&query, &code);
                    assert!(error.abs() <= step * groups, "{bits}");
                    squares += (error / step).powi(2) / groups / 400.0;
                }
            }
            // A third is what independent rounding gives.
            assert!(squares.sqrt() < 0.8, "{bits}: {}", squares.sqrt());
        }
    }

    #[test]
    fn no_code_overflows_sixteen_bits() {
        for bits in [8usize, 64, 1024, 2048, 4096, 16_384] {
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
        for bits in [8usize, 128, 16_384] {
            for value in [0.0, -0.0, 1e-45, 1e-38, 1e-30, 1e30, 1e38, f32::MAX, f32::MIN] {
                let query: Vec<f32> = (0..bits).map(|i| if i % 3 == 0 { -value } else { value }).collect();
                let table = table(&query);
                assert!(worst(&table) <= u32::from(u16::MAX));
                for code in [0x00, 0xFF, 0x5A] {
                    let code = vec![code; bits / 8];
                    let dot = table.dot(sum(&table, &code) as u16);
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

    #[test]
    fn every_instruction_set_gives_the_same_table() {
        let query: Vec<f32> = phrases(1, 1536).remove(0);
        let wide = table(&query);
        let mut plain = wide.clone();
        plain.entries.fill(0);
        plain.fill(&query);
        assert_eq!(
            (wide.entries, wide.scale, wide.offset),
            (plain.entries, plain.scale, plain.offset)
        );
    }
}
