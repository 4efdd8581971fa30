//! An estimate of a record's distance.

use crate::storage::{Link, NodeRef};

/// An estimate and its record in one word, which orders as the estimate does: 24 bits of the
/// distance, which err far less than the estimate; then the generation (8 bits) and the complement
/// of the record (32), so that of equal ones the last record comes first: where all distances are
/// equal, as from a zero vector under inner product, the next equal vector finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Estimate(u64);

impl Estimate {
    /// No estimate is smaller.
    pub const LEAST: Estimate = Estimate(0);

    /// An estimate of a record. A distance that is not a number comes first, so that the record is
    /// visited rather than lost.
    #[inline]
    pub fn new(distance: f32, link: Link) -> Estimate {
        let key = u64::from(key(distance) | u32::from(link.generation));
        Estimate(key << 32 | u64::from(!link.node.0))
    }

    /// The record.
    #[inline]
    pub fn link(self) -> Link {
        Link {
            node: NodeRef(!(self.0 as u32)),
            generation: (self.0 >> 32) as u8,
        }
    }

    /// The part that orders estimates.
    #[inline]
    pub fn key(self) -> u32 {
        (self.0 >> 32) as u32 & KEY
    }
}

/// The bits of an estimate that belong to its distance.
const KEY: u32 = !0xff;

/// The bits of a number, as an integer that orders as `f32::total_cmp` does.
#[inline]
pub fn ordered(number: f32) -> u32 {
    let bits = number.to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The key of a distance; keys order as distances do.
#[inline]
pub fn key(distance: f32) -> u32 {
    if distance.is_nan() { 0 } else { ordered(distance) & KEY }
}

/// The distance nearest to zero that has this key; not a number for the key of one that is none.
pub fn distance(key: u32) -> f32 {
    f32::from_bits(match key {
        0 => f32::NAN.to_bits(),
        _ if key >> 31 == 1 => key & !(1 << 31),
        _ => !(key | !KEY),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn estimate(distance: f32, node: u32) -> Estimate {
        let link = Link {
            node: NodeRef(node),
            generation: (node % 251) as u8,
        };
        Estimate::new(distance, link)
    }

    #[test]
    fn an_estimate_orders_by_distance_and_keeps_its_record() {
        let distances = [
            f32::NAN,
            f32::NEG_INFINITY,
            f32::MIN,
            -1.0,
            -1e-38,
            0.0,
            1e-38,
            1.0,
            1.001,
            f32::MAX,
            f32::INFINITY,
        ];
        for pair in distances.windows(2) {
            assert!(estimate(pair[0], 7) < estimate(pair[1], 3), "{pair:?}");
        }
        for distance_of in distances.into_iter().skip(1) {
            let near = distance(key(distance_of));
            assert!(
                near == distance_of || (near - distance_of).abs() <= 1e-4 * distance_of.abs(),
                "{near}"
            );
        }
        assert!(distance(key(f32::NAN)).is_nan());
        let link = Link {
            node: NodeRef(0xfedc_ba98),
            generation: 255,
        };
        assert_eq!(Estimate::new(-3.5, link).link(), link);
    }
}
