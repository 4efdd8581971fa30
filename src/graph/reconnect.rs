//! Reachability: every live node can be found by a search.
//!
//! The heuristic keeps a link only where no kept neighbour is nearer, which in data with outliers and hubs (vectors of very different
//! length, say) leaves some nodes with links but none to them; so may removals. After a build and after a removal a
//! walk over level 0 finds them, and each gets links from nodes near it that the walk did reach. The walk goes hop by hop, and
//! each hop in block order, so that it is a few passes over the file and not as many random reads as there are nodes.

use super::Graph;
use super::insert::Inserter;
use super::select::Located;
use super::space::{Point, Query};
use crate::error::Result;
use crate::storage::{BlockNumber, Layout, Link, NodeRef, PageStore};

/// Links that an unreached node gets where there is room: as few lead to the others that are hard to reach.
const LINKS: usize = 4;

/// One bit for each slot of the index.
struct Reached(Vec<u64>);

impl Reached {
    fn new(blocks: BlockNumber, layout: &Layout) -> Reached {
        let slots = blocks as usize * layout.slots as usize;
        Reached(vec![0; slots.div_ceil(64)])
    }

    /// Whether the slot was reached, or added since the walk began: that is not its concern.
    fn contains(&self, node: NodeRef) -> bool {
        let word = self.0.get(node.0 as usize / 64);
        word.is_none_or(|word| word >> (node.0 % 64) & 1 == 1)
    }

    /// Adds a slot; says whether it was new.
    fn insert(&mut self, node: NodeRef) -> bool {
        let new = !self.contains(node);
        if new {
            self.0[node.0 as usize / 64] |= 1 << (node.0 % 64);
        }
        new
    }

    fn remove(&mut self, node: NodeRef) {
        self.0[node.0 as usize / 64] &= !(1 << (node.0 % 64));
    }
}

impl<S: PageStore> Graph<'_, S> {
    /// Gives every live node that level 0 does not lead to from the entry point a link from one that it does; says how many.
    pub fn reconnect(&self, inserter: &mut Inserter) -> Result<u64> {
        let Some(entry) = self.entry()? else { return Ok(0) };
        let start = self.read(entry.link.node, |record| Ok(record.owner()))?;
        let generation = self.read(start, |record| Ok(record.generation()))?;
        let start = Link {
            node: start,
            generation,
        };
        let mut reached = Reached::new(self.store.blocks()?, &self.space.layout);
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
        Ok(connected)
    }

    /// Follows links from a record until nothing new comes.
    fn walk(&self, reached: &mut Reached, from: Link) -> Result<()> {
        reached.insert(from.node);
        let (mut hop, mut next) = (vec![from], Vec::new());
        while !hop.is_empty() {
            hop.sort_unstable_by_key(|link| link.node);
            for link in hop.drain(..) {
                self.read(link.node, |record| {
                    if record.is(link.generation, 0) {
                        next.extend(record.links().filter(|link| reached.insert(link.node)));
                    } else {
                        reached.remove(link.node); // A stale link does not lead to what uses the slot today.
                    }
                    Ok(())
                })?;
                self.store.check_interrupts();
            }
            std::mem::swap(&mut hop, &mut next);
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
        let at = Located {
            link: node,
            at: &point.coordinates,
        };
        if self.read(node.node, |record| Ok(record.link_count() == 0))? {
            self.connect(inserter, &query, at, 0)?;
        }
        let near = |links: Vec<Link>| {
            links
                .into_iter()
                .filter(|link| reached.contains(link.node))
                .collect::<Vec<_>>()
        };
        let around = self.live_around(&mut inserter.search, &query, 0)?;
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
            if links == LINKS {
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
