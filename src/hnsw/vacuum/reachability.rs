//! Reachability: every live node can be found by a search.
//!
//! The heuristic keeps a link only where no kept neighbour is nearer, which in data with outliers and hubs (vectors of very different
//! length, say) leaves some nodes with links but none to them; so may removals. After a build and after a removal a
//! walk over level 0 finds them, and each gets links from nodes near it that the walk did reach. The walk goes hop by hop, and
//! each hop in block order, so that it is a few passes over the file and not as many random reads as there are nodes.
//!
//! It remembers two bits for each slot, and where memory does not suffice for that it is left out.

use crate::error::Result;
use crate::fallible::TryPush;
use crate::hnsw::Graph;
use crate::hnsw::insert::Inserter;
use crate::hnsw::neighbors::selection::VectorAt;
use crate::hnsw::space::{Point, Query};
use crate::hnsw::tuning::vacuum::REACHABILITY_LINKS;
use crate::hnsw::vacuum::node_set::NodeSet;
use crate::storage::{BlockNumber, Link, NodeRef, PageStore};

/// The fewest links of a hop that are remembered one by one.
const FEWEST_REMEMBERED: usize = 1024;

/// What a walk has reached.
struct Reached {
    nodes: NodeSet,
    /// Slots that were added since the walk began are not its concern.
    end: NodeRef,
    /// The most links of a hop that are remembered one by one.
    most: usize,
    /// Records whose links are still to be followed: what is beyond that.
    waiting: NodeSet,
}

impl Reached {
    fn contains(&self, node: NodeRef) -> bool {
        node >= self.end || self.nodes.contains(node)
    }

    /// Adds a slot; says whether it was new.
    fn insert(&mut self, node: NodeRef) -> Result<bool> {
        Ok(node < self.end && self.nodes.insert(node)?)
    }
}

impl<S: PageStore> Graph<'_, S> {
    /// Gives every live node that level 0 does not lead to from the entry point a link from one that it does; says how many, unless `memory` bytes
    /// do not suffice to look for them.
    pub fn reconnect(&self, inserter: &mut Inserter, memory: usize) -> Result<Option<u64>> {
        let Some(entry) = self.entry()? else {
            return Ok(Some(0));
        };
        // A full index has slots up to the last reference there is.
        let end = self.space.layout.node(self.store.blocks()?, 0).unwrap_or(NodeRef::NONE);
        if end.0 as usize / 8 * 2 > memory / 4 * 3 {
            return Ok(None);
        }
        let start = self.read(entry.link.node, |record| Ok(record.owner()))?;
        let generation = self.read(start, |record| Ok(record.generation()))?;
        let start = Link {
            node: start,
            generation,
        };
        let mut reached = Reached {
            nodes: NodeSet::default(),
            end,
            most: (memory / 8 / size_of::<Link>()).max(FEWEST_REMEMBERED),
            waiting: NodeSet::default(),
        };
        self.walk(&mut reached, start)?;
        let mut connected = 0;
        for block in self.node_blocks()? {
            self.store.check_interrupts();
            for node in self.unreached_on(block, &reached)? {
                // It may have been reached through one before it.
                if !reached.contains(node.node) && self.attach(inserter, &reached, start, node)? {
                    connected += 1;
                    self.walk(&mut reached, node)?;
                }
            }
        }
        Ok(Some(connected))
    }

    /// Follows links from a record until nothing new comes.
    fn walk(&self, reached: &mut Reached, from: Link) -> Result<()> {
        reached.insert(from.node)?;
        let (mut hop, mut next) = (vec![from], Vec::new());
        while !hop.is_empty() {
            hop.sort_unstable_by_key(|link| link.node);
            for link in hop.drain(..) {
                self.read(link.node, |record| {
                    if record.is(link.generation, 0) {
                        for link in record.links() {
                            if !reached.insert(link.node)? {
                                continue;
                            }
                            if next.len() < reached.most {
                                next.try_push(link)?;
                            } else {
                                reached.waiting.insert(link.node)?;
                            }
                        }
                    } else {
                        reached.nodes.remove(link.node); // A stale link does not lead to what uses the slot today.
                    }
                    Ok(())
                })?;
                self.store.check_interrupts();
            }
            std::mem::swap(&mut hop, &mut next);
            if hop.is_empty() {
                // The links to them are taken at their word.
                for node in reached.waiting.take_first(reached.most)? {
                    let generation = self.read(node, |record| Ok(record.generation()))?;
                    hop.try_push(Link { node, generation })?;
                }
            }
        }
        Ok(())
    }

    fn unreached_on(&self, block: BlockNumber, reached: &Reached) -> Result<Vec<Link>> {
        let mut unreached = Vec::new();
        self.live_on(block, |link, _| {
            if !reached.contains(link.node) {
                unreached.push(link);
            }
        })?;
        Ok(unreached)
    }

    /// Links the nearest reached nodes with room to an unreached one, or the nearest at all in place of its last link.
    fn attach(&self, inserter: &mut Inserter, reached: &Reached, start: Link, node: Link) -> Result<bool> {
        let (mut point, mut query) = (Point::default(), Query::default());
        if self.read_point(node, 0, &mut point)?.is_none() {
            return Ok(false);
        }
        self.space.set_query(&point, &mut query);
        let at = VectorAt { link: node, at: &point };
        if self.read(node.node, |record| Ok(record.link_count() == 0))? {
            self.connect(inserter, &query, at, 0)?;
        }
        let near = |links: Vec<Link>| {
            links
                .into_iter()
                .filter(|link| reached.contains(link.node))
                .collect::<Vec<_>>()
        };
        let around = self.search_live(&mut inserter.search, &query, 0)?;
        let mut reached_near = near(around.into_iter().map(|choice| choice.link).collect());
        if reached_near.is_empty() {
            // What is nearest is cut off as a whole.
            let search = &mut inserter.search;
            let width = self.construction_width();
            self.search_from(search, &query, start.node, width)?;
            let live = search.beam().iter().filter(|candidate| candidate.live);
            reached_near = near(live.map(|candidate| candidate.link).collect());
        }
        let mut links = 0;
        for &other in &reached_near {
            links += usize::from(self.link_if_room(other, at, 0)?);
            if links == REACHABILITY_LINKS {
                break;
            }
        }
        if links > 0 {
            return Ok(true);
        }
        for &other in &reached_near {
            if self.force_link(other, at, 0)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
