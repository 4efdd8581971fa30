//! Reachability: every live node can be found by a search.
//!
//! The heuristic keeps a link only where no kept neighbour is nearer, which in data with outliers and hubs (vectors of very different
//! length, say) leaves some nodes with links but none to them; so may removals. After a build and after a removal a
//! walk over level 0 finds them, and each gets a link from a node near it that the walk did reach.

use super::Graph;
use super::insert::Inserter;
use super::search::Search;
use super::select::decode;
use crate::error::Result;
use crate::storage::record::{NodePage, State};
use crate::storage::{BlockNumber, Layout, Link, NodeRef, PageStore, page};

/// One bit for each slot of the index.
struct Reached {
    bits: Vec<u64>,
    /// Records whose links are still to be followed.
    open: Vec<NodeRef>,
}

impl Reached {
    fn new(blocks: BlockNumber, layout: &Layout) -> Reached {
        let slots = blocks as usize * layout.slots as usize;
        Reached {
            bits: vec![0; slots.div_ceil(64)],
            open: Vec::new(),
        }
    }

    fn contains(&self, node: NodeRef) -> bool {
        let word = self.bits.get(node.0 as usize / 64);
        // What was added since the walk began is not its concern.
        word.is_none_or(|word| word >> (node.0 % 64) & 1 == 1)
    }

    fn add(&mut self, node: NodeRef) {
        if !self.contains(node) {
            self.bits[node.0 as usize / 64] |= 1 << (node.0 % 64);
            self.open.push(node);
        }
    }
}

impl<S: PageStore> Graph<'_, S> {
    /// Gives every live node that level 0 does not lead to from the entry point a link from one that it does; says how many.
    pub fn reconnect(&self, inserter: &mut Inserter) -> Result<u64> {
        let Some(entry) = self.entry()? else { return Ok(0) };
        let start = self.read(entry.link.node, |record| Ok(record.owner()))?;
        let mut reached = Reached::new(self.store.blocks()?, &self.layout);
        reached.add(start);
        self.walk(&mut reached)?;
        let mut connected = 0;
        let mut vector = Vec::new();
        for block in 1..self.store.blocks()? {
            for node in self.unreached_on(block, &reached)? {
                // It may have been reached through one before it.
                if reached.contains(node.node) {
                    continue;
                }
                self.read(node.node, |record| {
                    decode(record.vector(), &mut vector);
                    Ok(())
                })?;
                if self.attach(&mut inserter.search, &reached, start, node, &vector)? {
                    connected += 1;
                    reached.add(node.node);
                    self.walk(&mut reached)?;
                }
            }
        }
        Ok(connected)
    }

    /// Follows links until nothing new comes.
    fn walk(&self, reached: &mut Reached) -> Result<()> {
        let mut links = Vec::new();
        while let Some(node) = reached.open.pop() {
            links.clear();
            self.read(node, |record| {
                if record.level() == 0 && matches!(record.state(), State::Node | State::Dead) {
                    links.extend(record.links());
                }
                Ok(())
            })?;
            for link in &links {
                if !reached.contains(link.node) && self.read(link.node, |record| Ok(record.is(link.generation, 0)))? {
                    reached.add(link.node);
                }
            }
            self.store.check_interrupts();
        }
        Ok(())
    }

    fn unreached_on(&self, block: BlockNumber, reached: &Reached) -> Result<Vec<Link>> {
        self.store.read(block, |page| {
            let mut unreached = Vec::new();
            if page::is_new(page) {
                return Ok(unreached);
            }
            for record in NodePage::new(page, block, &self.layout)?.records() {
                let (node, record) = record?;
                if record.state() == State::Node && record.level() == 0 && !reached.contains(node) {
                    let generation = record.generation();
                    unreached.push(Link { node, generation });
                }
            }
            Ok(unreached)
        })
    }

    /// Links the nearest reached node with room to an unreached one, or the nearest at all in place of its last link.
    fn attach(
        &self,
        search: &mut Search,
        reached: &Reached,
        start: NodeRef,
        node: Link,
        vector: &[f32],
    ) -> Result<bool> {
        self.search_from(search, vector, start, usize::from(self.parameters.ef_construction))?;
        let near = search
            .beam()
            .iter()
            .filter(|candidate| candidate.live && reached.contains(candidate.link.node));
        let near: Vec<Link> = near.map(|candidate| candidate.link).collect();
        for &at in &near {
            if self.link_if_room(at, node, 0)? {
                return Ok(true);
            }
        }
        for &at in &near {
            if self.force_link(at, node, 0)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
