//! A queue of any number of estimates, of which a search takes the nearest first.
//!
//! Far estimates are in no order: they lie in tiers, each nearer than the one before it. An
//! estimate that comes goes to the end of its tier. Where the nearest tier has more estimates than
//! a search takes at once, its nearest quarter becomes a tier of its own. So an estimate that is
//! never taken costs little more than its place, and one that is taken moves as often as the
//! logarithm of their number to the base 4.
//!
//! A record is estimated once for each neighbor that leads to it, and the smallest estimate counts.
//! A table has the smallest one of each record, as far as records do not share a place in it.
//! Others are refused when they come; the ones that came before are dropped as they move, like
//! estimates of records that were visited meanwhile.

use super::estimate::Estimate;
use super::visited_set::VisitedSet;
use crate::error::Result;
use crate::fallible::Room;
use crate::storage::{Link, NodeRef};

/// Divisor of a tier that is too long: so many parts are one to the nearest and the others to the
/// rest.
const PARTS: usize = 4;

/// Least number of places in the table: a few for each neighbor of a search of the default width.
const PLACES: usize = 8192;

/// Estimates from `least` on.
struct Tier {
    least: Estimate,
    estimates: Vec<Estimate>,
}

/// Estimates of records.
pub(super) struct EstimateTiers {
    /// The farthest tier first; the last one begins at the least estimate that there is.
    tiers: Vec<Tier>,
    /// Lists of tiers that were used up.
    spare: Vec<Vec<Estimate>>,
    /// The smallest estimates by record; a record that comes later takes the place.
    smallest: Vec<Estimate>,
    /// The number of estimates beyond which useless ones are removed.
    most: usize,
}

/// The place of a record in a table.
#[inline]
fn place(smallest: &[Estimate], link: Link) -> usize {
    VisitedSet::home(link.node.0, smallest.len())
}

/// Whether an estimate is the smallest of a record that was not visited, as far as is known.
#[inline]
fn is_useful(smallest: &[Estimate], visited: &VisitedSet, estimate: Estimate) -> bool {
    let link = estimate.link();
    let other = smallest[place(smallest, link)];
    let is_known = other < estimate && other.link() == link;
    !is_known && !visited.contains(link.node)
}

impl EstimateTiers {
    /// No estimates.
    pub(super) fn new() -> Result<EstimateTiers> {
        let mut tiers = EstimateTiers {
            tiers: vec![Tier {
                least: Estimate::LEAST,
                estimates: Vec::new(),
            }],
            spare: Vec::new(),
            smallest: Vec::new(),
            most: 0,
        };
        tiers.make_table(0)?;
        Ok(tiers)
    }

    /// Makes room for `more` estimates, which take no memory afterwards.
    pub(super) fn room(&mut self, more: usize) -> Result<()> {
        self.tiers.iter_mut().try_for_each(|tier| tier.estimates.room(more))
    }

    /// Whether an estimate is the smallest so far of its record. If so, the others are useless.
    #[inline]
    pub(super) fn note(&mut self, estimate: Estimate) -> bool {
        let place = place(&self.smallest, estimate.link());
        let other = &mut self.smallest[place];
        let is_smallest = *other > estimate || other.link() != estimate.link();
        if is_smallest {
            *other = estimate;
        }
        is_smallest
    }

    /// Adds an estimate.
    #[inline]
    pub(super) fn push(&mut self, estimate: Estimate) {
        for tier in &mut self.tiers {
            if estimate >= tier.least {
                tier.estimates.push(estimate);
                return;
            }
        }
    }

    /// Takes about `count` of the smallest estimates into an empty list, the smallest last; the
    /// list stays empty only if no estimate of a record that was not visited is left.
    pub(super) fn take(&mut self, nearest: &mut Vec<Estimate>, count: usize, visited: &VisitedSet) -> Result<()> {
        if self.len() > self.most {
            self.remove_useless(visited)?;
        }
        nearest.room(2 * count)?;
        let EstimateTiers {
            tiers, spare, smallest, ..
        } = self;
        let is_useful = |estimate: &Estimate| is_useful(smallest, visited, *estimate);
        while let Some(tier) = tiers.last_mut() {
            let len = tier.estimates.len();
            if len > 2 * count {
                let others = len - (len / PARTS).max(count);
                // The nearest go to the end.
                tier.estimates.select_nth_unstable_by(others, |a, b| b.cmp(a));
                let mut near = spare.pop().unwrap_or_default();
                near.room(len - others)?;
                tier.least = tier.estimates[others];
                near.extend(tier.estimates.drain(others..).filter(is_useful));
                tiers.room(1)?;
                tiers.push(Tier {
                    least: Estimate::LEAST,
                    estimates: near,
                });
                continue;
            }
            nearest.extend(tier.estimates.drain(..).filter(is_useful));
            if !nearest.is_empty() || tiers.len() == 1 {
                break;
            }
            // The tier is used up.
            spare.room(1)?;
            spare.extend(tiers.pop().map(|tier| tier.estimates));
            if let Some(tier) = tiers.last_mut() {
                tier.least = Estimate::LEAST;
            }
        }
        nearest.sort_unstable_by(|a, b| b.cmp(a));
        Ok(())
    }

    /// The number of estimates.
    fn len(&self) -> usize {
        self.tiers.iter().map(|tier| tier.estimates.len()).sum()
    }

    /// Removes estimates of visited records, and others that are known not to be the smallest.
    #[cold]
    fn remove_useless(&mut self, visited: &VisitedSet) -> Result<()> {
        for tier in &mut self.tiers {
            tier.estimates
                .retain(|estimate| is_useful(&self.smallest, visited, *estimate));
        }
        self.make_table(self.len())
    }

    /// Makes a table with room for the records of so many estimates, which are all that there are.
    fn make_table(&mut self, estimates: usize) -> Result<()> {
        let places = (2 * estimates).next_power_of_two().max(PLACES);
        self.most = places;
        if places > self.smallest.len() {
            let mut table = Vec::new();
            table.room(places)?;
            table.resize(places, Estimate::new(f32::MAX, NO_LINK));
            self.smallest = table;
            for tier in 0..self.tiers.len() {
                for at in 0..self.tiers[tier].estimates.len() {
                    self.note(self.tiers[tier].estimates[at]);
                }
            }
        }
        Ok(())
    }

    /// Bytes of memory in use.
    pub(super) fn bytes(&self) -> usize {
        let lists = self.tiers.iter().map(|tier| &tier.estimates).chain(&self.spare);
        let estimates = lists.map(Vec::capacity).sum::<usize>() + self.smallest.capacity();
        estimates * size_of::<Estimate>()
            + self.tiers.capacity() * size_of::<Tier>()
            + self.spare.capacity() * size_of::<Vec<Estimate>>()
    }
}

/// The link of an empty place.
const NO_LINK: Link = Link {
    node: NodeRef::NONE,
    generation: 0,
};

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    use super::*;
    use crate::storage::{Link, NodeRef};

    fn estimate(distance: f32, node: u32) -> Estimate {
        Estimate::new(
            distance,
            Link {
                node: NodeRef(node),
                generation: 0,
            },
        )
    }

    /// Takes come in order, as far as nothing nearer has come meanwhile; each record that was not
    /// visited comes at its smallest estimate; memory is in proportion to the records.
    #[test]
    fn the_nearest_come_first_and_none_is_lost() {
        let mut random = SmallRng::seed_from_u64(17);
        for nodes in [1, 50, 3000, 20_000] {
            let mut tiers = EstimateTiers::new().unwrap();
            let mut visited = VisitedSet::new();
            let mut smallest = std::collections::BTreeMap::new();
            let mut taken = Vec::new();
            for step in 0..2000 {
                tiers.room(32).unwrap();
                for _ in 0..random.random_range(0..33) {
                    let node = random.random_range(0..nodes);
                    if !visited.contains(NodeRef(node)) {
                        let estimate = estimate(random.random::<f32>() * 1000.0 + step as f32, node);
                        if tiers.note(estimate) {
                            tiers.push(estimate);
                        }
                        let least = smallest.entry(node).or_insert(estimate);
                        *least = estimate.min(*least);
                    }
                }
                if step % 7 == 0 {
                    taken.clear();
                    tiers.take(&mut taken, 32, &visited).unwrap();
                    assert_eq!(taken.is_empty(), smallest.is_empty());
                    assert!(taken.len() <= 64 && taken.is_sorted_by(|a, b| a >= b));
                    let farthest = taken.first().copied().unwrap_or(Estimate::LEAST);
                    // No record is left behind that has a nearer estimate than one taken.
                    for (&node, &least) in &smallest {
                        assert_eq!(least <= farthest, taken.contains(&least), "{node}");
                    }
                    for estimate in &taken {
                        visited.insert(estimate.link().node).unwrap();
                        smallest.remove(&estimate.link().node.0);
                    }
                }
            }
            assert!(tiers.bytes() < 64 * (nodes as usize + PLACES), "{}", tiers.bytes());
            loop {
                taken.clear();
                tiers.take(&mut taken, 32, &visited).unwrap();
                if taken.is_empty() {
                    break;
                }
                for estimate in &taken {
                    visited.insert(estimate.link().node).unwrap();
                    smallest.remove(&estimate.link().node.0);
                }
            }
            assert!(smallest.is_empty());
        }
    }
}
