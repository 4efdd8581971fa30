//! Sets of records: at most one bit of memory for each slot of the index, and two bytes for each
//! record in sparse sets.

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
