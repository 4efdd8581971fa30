//! Value lists by their numbers. Each filter column has some ([`crate::storage::list_page`]); a
//! node is in one of a column, or in several if the value is a set.
//!
//! The number of lists of a column is a power of two, chosen by the rows of the build and fixed
//! from then on, so that a list has about [`ROWS`] entries whatever the size of the table. Lists of
//! values that are no sets are numbered by that many upper bits of the signature
//! ([`super::signature`]). Sets have as many as classes of elements ([`super::sets`]).

/// Bits of a signature that number the fewest lists of a column, and the most.
pub const FEWEST_BITS: u8 = 7;
pub const MOST_BITS: u8 = 12;

/// Lists of a column: the fewest, and the most.
pub const FEWEST: usize = 1 << FEWEST_BITS;
pub const MOST: usize = 1 << MOST_BITS;

/// Entries of a list, above which a build makes twice as many lists.
const ROWS: f64 = 1024.0;

/// The number of bits that number the lists of a column of so many rows.
pub fn bits(rows: f64) -> u8 {
    let halved = (rows / ROWS).max(1.0).log2().ceil();
    (halved as u8).clamp(FEWEST_BITS, MOST_BITS)
}

/// The list of a signature of a value that is no set, where this many bits number lists.
#[inline]
pub const fn of_signature(signature: u16, bits: u8) -> u16 {
    signature >> (u16::BITS - bits as u32)
}

/// The lists that a node is in, in no order and without repetition: one of each element of a set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OfNode {
    numbers: [u16; OfNode::MOST],
    count: u8,
}

impl OfNode {
    /// The most lists.
    pub const MOST: usize = 8;

    /// One list.
    #[inline]
    pub fn one(list: u16) -> OfNode {
        let mut lists = OfNode::default();
        lists.add(list);
        lists
    }

    /// Adds a list unless it is among them.
    ///
    /// # Panics
    /// Beyond [`OfNode::MOST`] lists.
    #[inline]
    pub fn add(&mut self, list: u16) {
        if !self.as_slice().contains(&list) {
            self.numbers[usize::from(self.count)] = list;
            self.count += 1;
        }
    }

    /// The lists.
    #[inline]
    pub fn as_slice(&self) -> &[u16] {
        &self.numbers[..usize::from(self.count)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_grow_in_number_with_the_rows() {
        let of = |rows: f64| 1 << bits(rows);
        assert_eq!(
            [0.0, 1e5, 131_072.0, 131_073.0, 1e6, 1e7, 1e12, f64::NAN].map(of),
            [128, 128, 128, 256, 1024, 4096, 4096, 128]
        );
    }

    #[test]
    fn a_node_is_in_a_list_once() {
        let mut lists = OfNode::one(7);
        [9, 7, 9].into_iter().for_each(|list| lists.add(list));
        assert_eq!(lists.as_slice(), [7, 9]);
    }
}
