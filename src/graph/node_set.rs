//! Sets of records, in a bit of memory for each slot of the index at most, and two bytes for each record where they are few.

use roaring::RoaringBitmap;

use crate::storage::NodeRef;

/// A set of records.
#[derive(Debug, Clone, Default)]
pub struct NodeSet(RoaringBitmap);

impl NodeSet {
    /// Whether a record is in it.
    #[inline]
    pub fn contains(&self, node: NodeRef) -> bool {
        self.0.contains(node.0)
    }

    /// Adds a record; says whether it was new.
    pub fn insert(&mut self, node: NodeRef) -> bool {
        self.0.insert(node.0)
    }

    /// Takes a record out; says whether it was there.
    pub fn remove(&mut self, node: NodeRef) -> bool {
        self.0.remove(node.0)
    }

    /// Takes the first records out, `most` at most.
    pub fn take_first(&mut self, most: usize) -> Vec<NodeRef> {
        let first: Vec<_> = self.iter().take(most).collect();
        self.0.remove_smallest(first.len() as u64);
        first
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The records, in the order of their addresses.
    pub fn iter(&self) -> impl Iterator<Item = NodeRef> {
        self.0.iter().map(NodeRef)
    }

    /// Bytes of memory, about. Takes time: it looks at each block of 65,536 slots.
    pub fn bytes(&self) -> usize {
        let statistics = self.0.statistics();
        (statistics.n_bytes_array_containers + statistics.n_bytes_bitset_containers) as usize
            + statistics.n_containers as usize * size_of::<[usize; 4]>()
    }
}

impl FromIterator<NodeRef> for NodeSet {
    fn from_iter<I: IntoIterator<Item = NodeRef>>(nodes: I) -> NodeSet {
        NodeSet(nodes.into_iter().map(|node| node.0).collect())
    }
}
