//! Insertion of one vector (the paper's INSERT), and the reconnection of a record that lost its neighbours.

use super::Graph;
use super::level::level;
use super::link::Linker;
use super::search::Search;
use super::select::Choice;
use crate::error::Result;
use crate::storage::meta::{self, EntryPoint, META_BLOCK};
use crate::storage::record::State;
use crate::storage::store::place;
use crate::storage::{Edit, HeapTid, Link, NodeRef, PageStore};

/// Memory of inserts, reused from one to the next.
#[derive(Default)]
pub struct Inserter {
    pub(super) search: Search,
    pub(super) linker: Linker,
    bytes: Vec<u8>,
}

impl<S: PageStore> Graph<'_, S> {
    /// Inserts a vector (normalised where the metric wants it) for a heap row. An equal vector's node gets one more TID;
    /// otherwise there is a new node.
    pub fn insert(&self, inserter: &mut Inserter, vector: &[f32], tid: HeapTid) -> Result<()> {
        let Inserter { search, bytes, .. } = &mut *inserter;
        bytes.clear();
        bytes.extend(vector.iter().flat_map(|value| value.to_ne_bytes()));
        let node_level = level(self.parameters.seed, tid, self.parameters.m);

        let width = usize::from(self.parameters.ef_construction);
        let entry = self.search_down_to(search, vector, |level| level.min(node_level), width)?;
        let levels = entry.map_or(0, |entry| usize::from(node_level.min(entry.level)) + 1);
        let mut choices: Vec<Vec<Choice>> = vec![Vec::new(); levels];
        if let Some(entry) = entry {
            for level in (0..levels).rev() {
                if level + 1 < levels {
                    self.search_level(search, vector, &entry, level as u8, width)?;
                }
                choices[level] = live_choices(search);
            }
            if choices[0].is_empty() {
                choices[0] = self.live_around(search, vector, 0)?;
            }
            let itself = self.kernel.distance(vector, vector);
            for equal in choices[0].iter().filter(|choice| choice.distance == itself) {
                if self.add_tid(equal.link, bytes, tid)? {
                    return Ok(());
                }
            }
        }

        let mut node: Option<Link> = None;
        let mut below = NodeRef::NONE;
        for level in 0..=node_level {
            let choices = choices.get(usize::from(level)).map_or(&[][..], |choices| choices);
            let capacity = self.layout.link_capacity(level);
            let linker = &mut inserter.linker;
            let links = self.select(choices.iter().copied(), capacity, level, &mut linker.chosen)?;
            let owner = node.map_or(NodeRef::NONE, |node| node.node);
            let record = place(self.store, &self.layout, |nodes, slot| {
                let link = nodes.occupy(slot, State::Node, level, owner, below)?;
                let mut record = nodes.record(slot)?;
                record.set_vector(vector);
                record.set_links(&links);
                if level == 0 {
                    record.push_tid(tid)?;
                }
                Ok(link)
            })?;
            let linked = self.link_all_back(linker, &links, record, level)?;
            if level == 0 && !linked {
                self.find_a_place(inserter, vector, record)?;
            }
            node = node.or(Some(record));
            below = record.node;
            if level == node_level {
                self.offer_entry(EntryPoint { link: record, level })?;
            }
        }
        Ok(())
    }

    /// A new level-0 record that nothing links to: it is the first of an index without a live node, and the entry point then;
    /// or somebody else was first, or what it was to be linked to was removed meanwhile, and there is another place for it.
    fn find_a_place(&self, inserter: &mut Inserter, vector: &[f32], record: Link) -> Result<()> {
        while !self.connect(inserter, vector, record, 0)? {
            self.store.check_interrupts();
            let entry = self.entry()?;
            if let Some(entry) = entry {
                // The level-0 record tells whether a node lives: the upper ones of a dead node are marked later.
                let node = self.read(entry.link.node, |upper| Ok(upper.owner()))?;
                let generation = self.read(node, |lowest| Ok(lowest.generation()))?;
                if node == record.node || self.force_link(Link { node, generation }, record, 0)? {
                    return Ok(());
                }
            }
            if self.replace_entry(entry, Some(EntryPoint { link: record, level: 0 }))? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Links the chosen back to a record, and makes sure that one of them does; says whether one does.
    fn link_all_back(&self, linker: &mut Linker, chosen: &[Link], record: Link, level: u8) -> Result<bool> {
        let mut linked = false;
        for &at in chosen {
            linked |= self.link_back(linker, at, record, level)?;
        }
        for &at in chosen {
            linked = linked || self.force_link(at, record, level)?;
        }
        Ok(linked)
    }

    /// Chooses neighbours for a record anew by a search, and links them back; says whether one of them links to it.
    pub(super) fn connect(&self, inserter: &mut Inserter, vector: &[f32], record: Link, level: u8) -> Result<bool> {
        let Inserter { search, linker, .. } = inserter;
        let choices = self.live_around(search, vector, level)?;
        let others = choices.into_iter().filter(|choice| choice.link.node != record.node);
        let links = self.select(others, self.layout.link_capacity(level), level, &mut linker.chosen)?;
        let before = self.read(record.node, |record| Ok(record.links().collect::<Vec<_>>()))?;
        if links.is_empty() || !self.replace_links(record, level, &before, &links)? {
            return Ok(false);
        }
        self.link_all_back(linker, &links, record, level)
    }

    /// The live records nearest to a vector on a level. Where a search finds none for all the dead ones, the level is walked from there
    /// until some turn up.
    pub(super) fn live_around(&self, search: &mut Search, vector: &[f32], level: u8) -> Result<Vec<Choice>> {
        let width = usize::from(self.parameters.ef_construction);
        match self.search_down_to(search, vector, |_| level, width)? {
            Some(entry) if entry.level >= level => {}
            _ => return Ok(Vec::new()),
        }
        let choices = live_choices(search);
        if !choices.is_empty() || !search.is_full() {
            return Ok(choices);
        }
        self.walk_to_live(search, vector, level, width)
    }

    /// Makes a record the entry point if there is none, it is on a lower level, or it was freed. A dead one is left to the VACUUM
    /// that is removing it, which knows the highest live record.
    fn offer_entry(&self, offered: EntryPoint) -> Result<()> {
        loop {
            let current = self.entry()?;
            if let Some(current) = current {
                let exists = self.read(current.link.node, |record| {
                    Ok(record.is(current.link.generation, current.level))
                })?;
                if exists && current.level >= offered.level {
                    return Ok(());
                }
            }
            if self.replace_entry(current, Some(offered))? {
                return Ok(());
            }
        }
    }

    /// Replaces the entry point if it is still `current`; says whether it was.
    pub(super) fn replace_entry(&self, current: Option<EntryPoint>, entry: Option<EntryPoint>) -> Result<bool> {
        self.store.write(META_BLOCK, |page| {
            if meta::read_entry(page)? != current {
                return Ok(Edit::Unchanged(false));
            }
            meta::set_entry(page, entry);
            Ok(Edit::Changed(true))
        })
    }
}

/// What a search found that may be linked to, nearest first.
fn live_choices(search: &Search) -> Vec<Choice> {
    let live = search.beam().iter().filter(|candidate| candidate.live);
    live.map(|candidate| Choice {
        distance: candidate.distance,
        link: candidate.link,
    })
    .collect()
}
