//! Removal of dead rows, and the mending of the graph around them.
//!
//! One pass takes dead TIDs out; a node left without any is marked dead and stays navigable. A second pass lets every live
//! record that links to a dead one take others for it (`mend`). Then the entry point moves to a live node if it has to, and the dead slots are freed, upper levels first, so that what a crash
//! leaves is found again as a dead level-0 record. Readers and writers go on meanwhile: what they link to a dead node becomes a stale link.

use std::collections::HashSet;

use super::Graph;
use super::insert::Inserter;
use crate::error::Result;
use crate::storage::meta::EntryPoint;
use crate::storage::node_page::{NodePage, NodePageMut};
use crate::storage::record::{MAX_LEVEL, Record, State};
use crate::storage::{BlockNumber, Edit, HeapTid, Link, NodeRef, PageStore, corrupted, page};

/// What a removal did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removal {
    /// TIDs taken out.
    pub tids_removed: u64,
    /// TIDs that are left.
    pub tids_left: u64,
    /// Dead nodes removed.
    pub nodes_removed: u64,
    /// Live records that chose new neighbours.
    pub records_mended: u64,
    /// Pages that have free slots since this removal, or had before.
    pub pages_with_room: u64,
}

/// What the first pass learns of the index.
#[derive(Default)]
struct Survey {
    dead: HashSet<NodeRef>,
    /// Records above level 0, with their owner.
    upper: Vec<(EntryPoint, NodeRef)>,
    /// Nodes whose TIDs are not all in their level-0 record.
    chained: Vec<NodeRef>,
    /// A live level-0 record.
    live: Option<Link>,
    /// Tails, with their owner.
    tails: Vec<(NodeRef, Link)>,
}

impl<S: PageStore> Graph<'_, S> {
    /// Takes out every TID that `find_dead` names, and the nodes that are left without any. `find_dead` is asked once about every
    /// TID, those of one page at a time, and says which of them are dead.
    pub fn remove(&self, mut find_dead: impl FnMut(&[HeapTid]) -> HashSet<HeapTid>) -> Result<Removal> {
        let mut removal = Removal::default();
        let mut survey = Survey::default();
        let blocks = self.node_blocks()?;
        for block in blocks.clone() {
            self.store.check_interrupts();
            self.remove_tids(block, &mut find_dead, &mut survey, &mut removal)?;
        }
        self.settle_chains(&mut survey)?;
        if survey.dead.is_empty() {
            self.free_tails(&survey)?;
            return Ok(removal);
        }
        removal.nodes_removed = survey.dead.len() as u64;
        let (dead_upper, upper): (Vec<_>, Vec<_>) = survey
            .upper
            .iter()
            .copied()
            .partition(|(_, owner)| survey.dead.contains(owner));
        let dead_nodes: Vec<NodeRef> = survey.dead.iter().copied().collect();
        for (record, _) in &dead_upper {
            self.store.check_interrupts();
            self.mark_dead(*record)?;
            survey.dead.insert(record.link.node);
        }

        let mut inserter = Inserter::default();
        for block in blocks {
            self.store.check_interrupts();
            removal.records_mended += self.mend_page(block, &survey.dead, &mut inserter)?;
        }

        self.move_entry(&survey.dead, &upper, survey.live)?;
        // From the highest level down: what an interruption leaves still leads to the level below.
        for level in (1..=MAX_LEVEL).rev() {
            let on_level = dead_upper.iter().filter(|(record, _)| record.level == level);
            self.free(on_level.map(|(record, _)| record.link.node).collect())?;
        }
        self.free(dead_nodes)?;
        self.free_tails(&survey)?;
        removal.records_mended += self.reconnect(&mut inserter)?;
        Ok(removal)
    }

    /// The first pass over one page. `find_dead` is asked while no page is locked; what is added to the page meanwhile is live.
    fn remove_tids(
        &self,
        block: BlockNumber,
        find_dead: &mut impl FnMut(&[HeapTid]) -> HashSet<HeapTid>,
        survey: &mut Survey,
        removal: &mut Removal,
    ) -> Result<()> {
        let mut tids = Vec::new();
        let room = self.store.read(block, |page| {
            if page::is_new(page) {
                return Ok(true);
            }
            let nodes = NodePage::new(page, block, &self.space.layout)?;
            let mut room = nodes.len() < self.space.layout.slots;
            for record in nodes.records() {
                let (node, record) = record?;
                room |= record.state() == State::Free;
                for tid in record.tids() {
                    if tid.offset == 0 {
                        return corrupted(block, "a heap TID without a line pointer");
                    }
                    tids.push(tid);
                }
                survey.note(node, &record);
            }
            Ok(room)
        })?;
        if room {
            removal.pages_with_room += 1;
            self.store.note_free(block);
        }
        let dead = find_dead(&tids);
        removal.tids_removed += dead.len() as u64;
        removal.tids_left += (tids.len() - dead.len()) as u64;
        if dead.is_empty() {
            return Ok(());
        }
        self.store.write(block, |page| {
            let mut nodes = NodePageMut::new(page, block, &self.space.layout)?;
            for slot in 0..nodes.view().len() {
                let mut record = nodes.record(slot)?;
                let removed = record.retain_tids(|tid| !dead.contains(&tid));
                if removed > 0 && is_empty_node(&record.view()) {
                    record.set_dead();
                    survey.dead.insert(self.space.layout.node(block, slot)?);
                }
            }
            Ok(Edit::Changed(()))
        })
    }

    /// Drops empty extensions from the front of chains, and finds the nodes that have no TID left in any.
    fn settle_chains(&self, survey: &mut Survey) -> Result<()> {
        for node in std::mem::take(&mut survey.chained) {
            let empty = loop {
                self.store.check_interrupts();
                let (first, empty) = self.read(node, |record| Ok((record.below(), is_empty_node(&record))))?;
                let Some(extension) = first.some() else { break empty };
                if !self.drop_empty_extension(node, extension)? {
                    break false;
                }
                self.store.note_free(self.space.layout.block(extension));
            };
            let died = empty
                && self.write(node, |nodes, slot| {
                    let mut record = nodes.record(slot)?;
                    if !is_empty_node(&record.view()) {
                        return Ok(Edit::Unchanged(false));
                    }
                    record.set_dead();
                    Ok(Edit::Changed(true))
                })?;
            if died {
                survey.dead.insert(node);
            }
        }
        Ok(())
    }

    fn mark_dead(&self, at: EntryPoint) -> Result<()> {
        self.write(at.link.node, |nodes, slot| {
            let mut record = nodes.record(slot)?;
            if !record.view().is(at.link.generation, at.level) || record.view().state() == State::Dead {
                return Ok(Edit::Unchanged(()));
            }
            record.set_dead();
            Ok(Edit::Changed(()))
        })
    }

    /// Moves the entry point to a live record on the highest level there is, if it is a dead one or on a lower level.
    fn move_entry(
        &self,
        dead: &HashSet<NodeRef>,
        upper: &[(EntryPoint, NodeRef)],
        survived: Option<Link>,
    ) -> Result<()> {
        let highest = upper
            .iter()
            .map(|(record, _)| *record)
            .max_by_key(|record| record.level);
        let survived = survived.filter(|link| !dead.contains(&link.node));
        let lowest = survived.map(|link| EntryPoint { link, level: 0 });
        loop {
            let entry = self.entry()?;
            let usable = entry.filter(|entry| !dead.contains(&entry.link.node));
            let best = match highest.or(lowest) {
                Some(best) => Some(best),
                None => self.find_live()?.map(|link| EntryPoint { link, level: 0 }),
            };
            let level = |entry: Option<EntryPoint>| entry.map(|entry| entry.level);
            let nothing_to_do = usable == entry && level(usable) >= level(best);
            // An index found empty is looked at once more when it has no entry point: a row inserted meanwhile either shows then, or
            // makes itself the entry point.
            if nothing_to_do || self.replace_entry(entry, best)? && best.is_some() {
                return Ok(());
            }
        }
    }

    /// A live level-0 record, if there is one: it can only have been inserted since the first pass.
    fn find_live(&self) -> Result<Option<Link>> {
        for block in self.node_blocks()? {
            self.store.check_interrupts();
            let mut live = None;
            self.live_on(block, |link, _| live = live.or(Some(link)))?;
            if live.is_some() {
                return Ok(live);
            }
        }
        Ok(None)
    }

    /// Frees the tails whose owner is gone: with this removal, or before a crash. An owner is always there before its tails.
    fn free_tails(&self, survey: &Survey) -> Result<()> {
        for &(tail, owner) in &survey.tails {
            self.store.check_interrupts();
            if self.read(owner.node, |record| Ok(record.is(owner.generation, 0)))? {
                continue;
            }
            self.write(tail, |nodes, slot| {
                let view = nodes.record(slot)?;
                let view = view.view();
                if view.state() != State::Tail
                    || view.owner() != owner.node
                    || view.owner_generation() != owner.generation
                {
                    return Ok(Edit::Unchanged(()));
                }
                nodes.free(slot)?;
                Ok(Edit::Changed(()))
            })?;
            self.store.note_free(self.space.layout.block(tail));
        }
        Ok(())
    }

    /// Frees slots, page by page.
    fn free(&self, mut nodes: Vec<NodeRef>) -> Result<()> {
        nodes.sort_unstable();
        for here in nodes.chunk_by(|a, b| self.space.layout.block(*a) == self.space.layout.block(*b)) {
            self.store.check_interrupts();
            let block = self.space.layout.block(here[0]);
            self.write(here[0], |nodes, _| {
                for &node in here {
                    if nodes.record(self.space.layout.slot(node))?.view().state() == State::Dead {
                        nodes.free(self.space.layout.slot(node))?;
                    }
                }
                Ok(Edit::Changed(()))
            })?;
            self.store.note_free(block);
        }
        Ok(())
    }
}

/// Whether a record is that of a live node on level 0 without a row.
fn is_empty_node(record: &Record<'_>) -> bool {
    record.state() == State::Node && record.level() == 0 && record.tid_count() == 0 && record.below() == NodeRef::NONE
}

impl Survey {
    fn note(&mut self, node: NodeRef, record: &Record<'_>) {
        let link = Link {
            node,
            generation: record.generation(),
        };
        match record.state() {
            State::Node | State::Dead if record.level() > 0 => {
                self.upper.push((
                    EntryPoint {
                        link,
                        level: record.level(),
                    },
                    record.owner(),
                ));
            }
            State::Node if !record.is_complete() && record.tid_count() > 0 => {}
            State::Node => {
                // One without any TID is what a crash left of a chain that was being settled.
                if record.below() != NodeRef::NONE || record.tid_count() == 0 {
                    self.chained.push(node);
                }
                self.live = Some(link);
            }
            State::Dead => {
                self.dead.insert(node);
            }
            State::Tail => {
                let owner = Link {
                    node: record.owner(),
                    generation: record.owner_generation(),
                };
                self.tails.push((node, owner));
            }
            State::Free | State::Extension => {}
        }
    }
}
