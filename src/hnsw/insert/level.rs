//! The level of a new node: geometrically distributed, drawn from a generator seeded by the index
//! and the row, so that a build is the same in every order of insertion and with every version.

use crate::quantize::rotation::SplitMix64;
use crate::storage::HeapTid;
use crate::storage::format::MAX_LEVEL;

/// The level of the node of a row: `floor(-ln(u) / ln(ratio))`, u uniform in (0, 1]; one of `ratio`
/// nodes of a level is on the next.
pub fn level(seed: u64, tid: HeapTid, ratio: usize) -> u8 {
    let row = u64::from(tid.block) << 16 | u64::from(tid.offset);
    let bits = SplitMix64(seed ^ row.wrapping_mul(0x9E37_79B9_7F4A_7C15)).next_bits();
    // As many values as f64 distinguishes.
    let uniform = 1.0 - (bits >> 11) as f64 / (1u64 << 53) as f64;
    let level = -uniform.ln() / (ratio as f64).ln();
    level.min(f64::from(MAX_LEVEL)) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_geometric_and_repeatable() {
        let tids = || (0..2000).flat_map(|block| (1..=100).map(move |offset| HeapTid { block, offset }));
        for m in [2, 16, 100] {
            let levels: Vec<_> = tids().map(|tid| level(7, tid, m)).collect();
            assert_eq!(levels, tids().map(|tid| level(7, tid, m)).collect::<Vec<_>>());
            for least in 1..3u8 {
                let expected = levels.len() as f64 * (m as f64).powi(-i32::from(least));
                let found = levels.iter().filter(|&&level| level >= least).count() as f64;
                assert!(
                    (found - expected).abs() < 5.0 * expected.sqrt() + 1.0,
                    "m {m}: {found} of {expected}"
                );
            }
        }
    }

    /// The same rows give the same index, also after an upgrade.
    #[test]
    fn levels_are_what_they_were() {
        let of = |block| level(0x616C_6F70_6578, HeapTid { block, offset: 1 }, 2);
        let levels = [0, 0, 1, 6, 0, 0, 0, 2, 0, 0, 0, 1, 0, 2, 0, 2, 0, 1, 1, 0, 0, 1, 1, 0];
        assert_eq!((0..24).map(of).collect::<Vec<_>>(), levels);
    }

    #[test]
    fn another_seed_gives_other_levels() {
        let with = |seed| {
            (0..1000)
                .map(|block| level(seed, HeapTid { block, offset: 1 }, 2))
                .collect::<Vec<_>>()
        };
        assert_ne!(with(1), with(2));
    }
}
