//! The set of records that a search has met: open addressing in an array that grows with the search
//! and is reused by the next one.

use crate::error::Result;
use crate::fallible::Room;
use crate::storage::NodeRef;

/// Slots of a new set: enough for a search of the default width.
const SLOTS: usize = 4096;
const EMPTY: u32 = NodeRef::NONE.0;

/// A set of records.
pub struct VisitedSet {
    slots: Vec<u32>,
    len: usize,
}

impl Default for VisitedSet {
    fn default() -> VisitedSet {
        VisitedSet::new()
    }
}

impl VisitedSet {
    /// An empty set.
    pub fn new() -> VisitedSet {
        VisitedSet {
            slots: vec![EMPTY; SLOTS],
            len: 0,
        }
    }

    /// A set without memory, which may only be dropped.
    pub(super) fn without_memory() -> VisitedSet {
        VisitedSet {
            slots: Vec::new(),
            len: 0,
        }
    }

    /// Whether the set has more memory than a new one.
    pub(super) fn has_grown(&self) -> bool {
        self.slots.len() > SLOTS
    }

    /// Removes everything.
    pub fn clear(&mut self) {
        self.slots.truncate(8 * SLOTS);
        if self.len > 0 {
            self.slots.fill(EMPTY);
            self.len = 0;
        }
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.slots[..])
    }

    /// The first slot to look for a record in, of `slots`, a power of two: the highest bits of a
    /// product.
    #[inline]
    pub(super) fn home(node: u32, slots: usize) -> usize {
        let product = u64::from(node).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (product >> (64 - slots.trailing_zeros())) as usize
    }

    /// The slot that has a record, or the empty one in its place; and whether it has it.
    #[inline]
    fn find(slots: &[u32], node: u32) -> (usize, bool) {
        let mask = slots.len() - 1;
        let mut at = Self::home(node, slots.len());
        loop {
            match slots[at] {
                found if found == node => return (at, true),
                EMPTY => return (at, false),
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// Whether a record is in the set.
    #[inline]
    pub fn contains(&self, node: NodeRef) -> bool {
        Self::find(&self.slots, node.0).1
    }

    /// Adds a record; says whether it was new. [`NodeRef::NONE`] never is.
    #[inline]
    pub fn insert(&mut self, node: NodeRef) -> Result<bool> {
        let (at, is_there) = Self::find(&self.slots, node.0);
        if is_there {
            return Ok(false);
        }
        self.slots[at] = node.0;
        self.len += 1;
        if 2 * self.len > self.slots.len() {
            self.grow()?;
        }
        Ok(true)
    }

    #[cold]
    fn grow(&mut self) -> Result<()> {
        let mut slots = Vec::new();
        slots.room(4 * self.slots.len())?;
        slots.resize(4 * self.slots.len(), EMPTY);
        for &node in self.slots.iter().filter(|&&node| node != EMPTY) {
            let (at, _) = Self::find(&slots, node);
            slots[at] = node;
        }
        self.slots = slots;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_agrees_with_the_standard_set() {
        let mut ours = VisitedSet::new();
        for round in 0..3 {
            let mut theirs = std::collections::HashSet::new();
            for i in 0..60_000u32 {
                let node = i.wrapping_mul(0x0100_0193) % 20_011 * (round + 1);
                assert_eq!(ours.insert(NodeRef(node)), Ok(theirs.insert(node)));
            }
            assert_eq!(ours.len(), theirs.len());
            assert!((0..100_000).all(|node| ours.contains(NodeRef(node)) == theirs.contains(&node)));
            ours.clear();
        }
        assert_eq!(ours.insert(NodeRef::NONE), Ok(false));
    }

    /// A set of any size spreads records over all of it: otherwise probing takes time in proportion
    /// to the size.
    #[test]
    fn a_large_set_uses_all_of_its_slots() {
        for slots in [SLOTS, 1 << 20, 1 << 26, 1 << 28] {
            let parts = 64;
            let mut counts = vec![0usize; parts];
            let nodes = slots.min(1 << 20);
            for i in 0..nodes {
                let node = (i * (slots / nodes)) as u32;
                counts[VisitedSet::home(node, slots) * parts / slots] += 1;
            }
            let each = nodes / parts;
            assert!(
                counts.iter().all(|&count| (each / 2..2 * each).contains(&count)),
                "{slots} slots: {counts:?}"
            );
        }
    }
}
