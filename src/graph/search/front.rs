//! The front of a coded search: records that codes tell of and that were not read yet, in order of their estimated distance.
//!
//! One record may be in it several times, estimated from several neighbours: the least estimate counts, since whoever pops it looks
//! whether it was visited since (measured better than to look when it is pushed). Popped entries stay, so that the front's width bounds
//! how many a search visits. That holds for repeated ones too, since what many lead to is settled (measured), but
//! they get no more than half of the front: where vectors come in groups whose members all lead to each other, little else would be in it.

use crate::storage::Link;

/// An estimated record.
#[derive(Debug, Clone, Copy)]
pub struct Estimate {
    /// The estimate of the search's order key.
    pub distance: f32,
    /// The record.
    pub link: Link,
    popped: bool,
}

impl Estimate {
    /// A record to be visited; what is not a number comes first, so that it is visited rather than lost.
    pub fn new(distance: f32, link: Link) -> Estimate {
        Estimate {
            distance: if distance.is_nan() { f32::NEG_INFINITY } else { distance },
            link,
            popped: false,
        }
    }
}

/// The nearest estimates, nearest first.
#[derive(Default)]
pub struct Front {
    entries: Vec<Estimate>,
    width: usize,
    /// No entry before this one is still to be popped.
    next: usize,
    /// Entries that turned out to be repeated.
    repeated: usize,
}

impl Front {
    /// Empties the front.
    pub fn start(&mut self, width: usize) {
        self.entries.clear();
        self.entries.reserve(width + 1);
        self.width = width;
        self.next = 0;
        self.repeated = 0;
    }

    /// Makes room for one more.
    pub fn widen(&mut self) {
        self.width += 1;
    }

    /// What an estimate has to be below to be of use; not a number, and so above nothing, while there is room.
    #[inline]
    pub fn worst(&self) -> f32 {
        if self.entries.len() < self.width {
            return f32::NAN;
        }
        self.entries.last().map_or(f32::NAN, |worst| worst.distance)
    }

    /// Adds an estimate; returns one that is not among the nearest for it, which may be itself.
    #[inline]
    pub fn push(&mut self, estimate: Estimate) -> Option<Estimate> {
        let mut out = None;
        if self.entries.len() >= self.width {
            match self.entries.last() {
                Some(worst) if estimate.distance < worst.distance => out = self.entries.pop(),
                _ => return Some(estimate),
            }
        }
        let at = self
            .entries
            .partition_point(|entry| entry.distance <= estimate.distance);
        self.entries.insert(at, estimate);
        self.next = self.next.min(at);
        out.filter(|out| !out.popped)
    }

    /// The nearest estimate that was not popped before.
    #[inline]
    pub fn pop(&mut self) -> Option<Estimate> {
        while let Some(entry) = self.entries.get_mut(self.next) {
            self.next += 1;
            if !entry.popped {
                entry.popped = true;
                return Some(*entry);
            }
        }
        None
    }

    /// Says that what was popped last, with nothing pushed since, had been visited before.
    #[inline]
    pub fn note_repeated(&mut self) {
        if 2 * self.repeated < self.width {
            self.repeated += 1;
        } else {
            self.next -= 1;
            self.entries.remove(self.next);
        }
    }

    /// Replaces what is in the front; `sorted` is nearest first, and no longer than the front is wide.
    pub fn load(&mut self, sorted: &[Estimate]) {
        self.entries.clear();
        self.entries.extend_from_slice(sorted);
        self.next = 0;
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Estimate>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::NodeRef;

    fn estimate(distance: f32, node: u32) -> Estimate {
        let link = Link {
            node: NodeRef(node),
            generation: 0,
        };
        Estimate::new(distance, link)
    }

    #[test]
    fn it_keeps_the_nearest_and_pops_them_in_order() {
        let mut front = Front::default();
        front.start(3);
        assert!(front.worst().is_nan());
        for (node, distance) in [5.0, 1.0, f32::NAN].into_iter().enumerate() {
            assert!(front.push(estimate(distance, node as u32)).is_none());
        }
        assert_eq!(front.worst(), 5.0);
        assert_eq!(front.pop().unwrap().link.node, NodeRef(2));
        assert_eq!(front.push(estimate(9.0, 3)).unwrap().link.node, NodeRef(3));
        assert_eq!(front.push(estimate(0.5, 4)).unwrap().link.node, NodeRef(0));
        assert_eq!(front.pop().unwrap().link.node, NodeRef(4));
        assert_eq!(front.pop().unwrap().link.node, NodeRef(1));
        assert!(front.pop().is_none());
        // What was popped makes room, but was visited.
        assert!(front.push(estimate(0.1, 5)).is_none());
        assert_eq!(front.pop().unwrap().link.node, NodeRef(5));
        front.widen();
        assert!(front.worst().is_nan());
        front.push(estimate(0.2, 5));
        assert_eq!(front.pop().unwrap().distance, 0.2);
        front.note_repeated();
        front.note_repeated();
        assert!(!front.worst().is_nan(), "half of four may be repeated ones");
        front.push(estimate(0.05, 5));
        front.pop();
        front.note_repeated();
        assert!(front.worst().is_nan() && front.pop().is_none());
    }
}
