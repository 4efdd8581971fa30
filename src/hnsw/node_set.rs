//! Sets of records: [`NodeSet`] has at most one bit of memory for each slot of the index, and two
//! bytes for each record in sparse sets; [`SlotBits`] has a bit for each slot, and costs less time.

use roaring::RoaringBitmap;

use crate::error::Result;
use crate::fallible::{self, TryPush};
use crate::storage::NodeRef;

/// A set of records.
#[derive(Debug, Clone, Default)]
pub struct NodeSet {
    bits: RoaringBitmap,
    /// The last block of slots that got a record: another block may be new, and takes memory.
    block: Option<u32>,
}

impl NodeSet {
    /// Whether a record is in the set.
    #[inline]
    pub fn contains(&self, node: NodeRef) -> bool {
        self.bits.contains(node.0)
    }

    /// Adds a record; says whether it was new.
    pub fn insert(&mut self, node: NodeRef) -> Result<bool> {
        let block = Some(node.0 >> 16);
        if block != self.block {
            fallible::spare(0)?;
            self.block = block;
        }
        Ok(self.bits.insert(node.0))
    }

    /// Takes a record out; says whether it was in the set.
    pub fn remove(&mut self, node: NodeRef) -> bool {
        self.bits.remove(node.0)
    }

    /// Takes out the first records, at most `most`.
    pub fn take_first(&mut self, most: usize) -> Result<Vec<NodeRef>> {
        let mut first = Vec::new();
        first.try_extend(self.iter().take(most))?;
        self.bits.remove_smallest(first.len() as u64);
        Ok(first)
    }

    /// Takes out the records that are not in another set.
    pub fn retain_in(&mut self, other: &NodeSet) {
        self.bits &= &other.bits;
    }

    /// The number of records.
    pub fn len(&self) -> u64 {
        self.bits.len()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }

    /// The records, in the order of their addresses.
    pub fn iter(&self) -> impl Iterator<Item = NodeRef> {
        self.bits.iter().map(NodeRef)
    }

    /// Approximate bytes of memory. Slow: it looks at each block of 65,536 slots.
    pub fn bytes(&self) -> usize {
        let statistics = self.bits.statistics();
        (statistics.n_bytes_array_containers + statistics.n_bytes_bitset_containers) as usize
            + statistics.n_containers as usize * size_of::<[usize; 4]>()
    }
}

impl FromIterator<NodeRef> for NodeSet {
    fn from_iter<I: IntoIterator<Item = NodeRef>>(nodes: I) -> NodeSet {
        NodeSet {
            bits: nodes.into_iter().map(|node| node.0).collect(),
            block: None,
        }
    }
}

/// A set of records in slots up to an end: one bit each, all of whose memory is allocated at once.
#[derive(Debug, Clone)]
pub struct SlotBits {
    words: Vec<u64>,
    end: NodeRef,
}

impl SlotBits {
    /// An empty set of records in slots before `end`.
    ///
    /// # Errors
    /// [`crate::error::Error::OutOfMemory`].
    pub fn new(end: NodeRef) -> Result<SlotBits> {
        let words = (end.0 as usize).div_ceil(u64::BITS as usize);
        Ok(SlotBits {
            words: fallible::collect(std::iter::repeat_n(0, words))?,
            end,
        })
    }

    /// Bytes of memory of a set with this end.
    pub fn bytes(end: NodeRef) -> usize {
        end.0 as usize / 8
    }

    /// The end of the slots.
    pub fn end(&self) -> NodeRef {
        self.end
    }

    /// The word of a record's bit, and the bit in it.
    #[inline]
    fn place(node: NodeRef) -> (usize, u64) {
        let bits = u64::BITS as usize;
        (node.0 as usize / bits, 1 << (node.0 as usize % bits))
    }

    /// Whether a record is in the set.
    #[inline]
    pub fn contains(&self, node: NodeRef) -> bool {
        let (word, bit) = Self::place(node);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Adds a record; says whether it was new. One at the end or beyond never is.
    #[inline]
    pub fn insert(&mut self, node: NodeRef) -> bool {
        let (word, bit) = Self::place(node);
        if node >= self.end {
            return false;
        }
        let word = &mut self.words[word];
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Takes a record out.
    #[inline]
    pub fn remove(&mut self, node: NodeRef) {
        let (word, bit) = Self::place(node);
        if let Some(word) = self.words.get_mut(word) {
            *word &= !bit;
        }
    }

    /// The records that are not in another set, in the order of their addresses.
    pub fn without(&self, other: &SlotBits) -> impl Iterator<Item = NodeRef> {
        let others = other.words.iter().copied().chain(std::iter::repeat(0));
        self.words
            .iter()
            .zip(others)
            .enumerate()
            .flat_map(|(i, (word, other))| {
                let mut left = word & !other;
                std::iter::from_fn(move || {
                    let bit = (left != 0).then(|| left.trailing_zeros())?;
                    left &= left - 1;
                    Some(NodeRef((i * u64::BITS as usize) as u32 + bit))
                })
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_the_set_of_what_was_inserted_before_the_end() {
        for end in [0, 1, 63, 64, 65, 200] {
            let (mut all, mut some) = (
                SlotBits::new(NodeRef(end)).unwrap(),
                SlotBits::new(NodeRef(130)).unwrap(),
            );
            for i in 0..300 {
                assert_eq!(all.insert(NodeRef(i)), i < end);
                assert!(!all.insert(NodeRef(i)) && all.contains(NodeRef(i)) == (i < end));
                if i % 3 == 0 {
                    some.insert(NodeRef(i));
                }
            }
            let expected: Vec<_> = (0..end).filter(|&i| i % 3 != 0 || i >= 130).map(NodeRef).collect();
            assert_eq!(all.without(&some).collect::<Vec<_>>(), expected);
            for i in (0..300).step_by(7) {
                all.remove(NodeRef(i));
                assert!(!all.contains(NodeRef(i)));
            }
            assert_eq!(
                all.without(&some).count(),
                expected.iter().filter(|node| node.0 % 7 != 0).count()
            );
        }
    }
}
