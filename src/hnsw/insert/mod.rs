//! Insertion of one vector (the paper's INSERT), and the reconnection of a record that lost its neighbours.

pub(in crate::hnsw) mod batch;
pub mod level;

use std::collections::HashSet;

use crate::distance::Metric;
use crate::error::Result;
use crate::hnsw::Graph;
use crate::hnsw::indexed_value::Value;
use crate::hnsw::insert::level::level;
use crate::hnsw::neighbors::back_links::{RETRIES, SelectionScratch};
use crate::hnsw::neighbors::candidates::CandidateSet;
use crate::hnsw::neighbors::selection::{NeighborCandidate, VectorAt};
use crate::hnsw::search::Search;
use crate::hnsw::space::{Point, Query};
use crate::storage::format::{META_BLOCK, Unplaced};
use crate::storage::meta::{self, EntryPoint};
use crate::storage::record::State;
use crate::storage::store::place;
use crate::storage::{BlockNumber, Edit, HeapTid, Link, NodeRef, PageStore};

/// A coded search for neighbours is so many times as wide as ef_construction: it goes by estimates, and then finds about what a plain one finds
/// (measured).
const CODED_WIDTH: usize = 2;

/// A new node of a coded index that has fewer survivors links its nearest fills back too: where data has hubs, which are all that survives,
/// it would be lost with the few links that they have for it (measured).
pub(in crate::hnsw) const FEWEST_LINKS_BACK: usize = 8;

/// Pages of records up to which a graph counts as small.
pub(in crate::hnsw) const SMALL: BlockNumber = 16;

/// A graph that has grown by this part since it was searched has grown much.
pub(in crate::hnsw) const UNSEEN_PART: BlockNumber = 8;

/// A search for a node that is known to be there is so many times as wide, where an ordinary one did not meet it.
const KNOWN_WIDTH: usize = 16;

/// A row to be inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewRow {
    /// The row.
    pub tid: HeapTid,
    /// Whether it is the new version of one whose vector is the same, so that there should be a node for it.
    pub unchanged: bool,
    /// Why it has no place in the graph, if it has none: then nothing is stored of its vector.
    pub unplaced: Option<Unplaced>,
}

impl From<HeapTid> for NewRow {
    /// A row of which nothing is known.
    fn from(tid: HeapTid) -> NewRow {
        NewRow {
            tid,
            unchanged: false,
            unplaced: None,
        }
    }
}

/// What an insert did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inserted {
    /// The node that has the row.
    pub node: NodeRef,
    /// The level of the node, and how many links it has on level 0, if it is new; nothing if it was there before.
    pub new: Option<(u8, usize)>,
}

/// Memory of inserts, reused from one to the next.
#[derive(Default)]
pub struct Inserter {
    pub(in crate::hnsw) search: Search,
    pub(in crate::hnsw) scratch: SelectionScratch,
    pub(in crate::hnsw) around: CandidateSet,
    point: Point,
    query: Query,
    /// Whether new nodes are offered as fills to what they chose as fills: a build does so, for whom a changed page costs little.
    offers_fills: bool,
    /// Whether links back to new records are put off ([`crate::hnsw::insert::batch`]).
    pub(in crate::hnsw) defers: bool,
    last: Option<Inserted>,
}

impl Inserter {
    /// The inserter of a build.
    pub fn of_build() -> Inserter {
        Inserter {
            offers_fills: true,
            ..Inserter::default()
        }
    }

    /// What the last insert did.
    pub fn last(&self) -> Option<Inserted> {
        self.last
    }
}

impl<S: PageStore> Graph<'_, S> {
    /// Inserts a value (normalised where the metric wants it) for a heap row. An equal one's node gets one more TID; otherwise there is a new
    /// node.
    pub fn insert<'v>(
        &self,
        inserter: &mut Inserter,
        value: impl Into<Value<'v>>,
        row: impl Into<NewRow>,
    ) -> Result<()> {
        self.insert_as(inserter, row.into(), |point| self.space.set_point(value, point))
    }

    /// As [`Graph::insert`], for a vector in its stored form.
    pub fn insert_stored(&self, inserter: &mut Inserter, stored: &[u8], row: NewRow) -> Result<()> {
        self.insert_as(inserter, row, |point| {
            point.stored.clear();
            point.stored.extend_from_slice(stored);
            self.space.decode(stored, &mut point.coordinates);
        })
    }

    fn insert_as(&self, inserter: &mut Inserter, row: NewRow, set: impl FnOnce(&mut Point)) -> Result<()> {
        // They are lent to what uses the rest of the inserter.
        let mut point = std::mem::take(&mut inserter.point);
        let mut query = std::mem::take(&mut inserter.query);
        set(&mut point);
        self.space.set_query(&point, &mut query);
        let inserted = self.insert_point(inserter, &point, &query, row);
        (inserter.point, inserter.query) = (point, query);
        inserted
    }

    fn insert_point(&self, inserter: &mut Inserter, point: &Point, query: &Query, row: NewRow) -> Result<()> {
        let tid = row.tid;
        let searched = self.store.blocks()?;
        let parameters = &self.space.parameters;
        let node_level = level(parameters.seed, tid, self.space.layout.level_ratio());
        // An equal vector's node is found long before its surroundings are.
        let itself = self.space.whole_distance(query, &point.stored);
        inserter.search.seek(itself, self.start_of(point));
        let mut choices = self.choices_from(inserter, query, node_level)?;
        inserter.search.seek_nothing();
        let mut equal = None;
        if let Some(found) = inserter.search.found() {
            equal = self.add_tid(found, &point.stored, tid)?.then_some(found.node);
            if equal.is_none() {
                // Its overflow records are others, or it was removed.
                choices = self.choices_from(inserter, query, node_level)?;
                equal = self.add_to_equal(&choices, itself, point, tid)?;
            }
        } else if row.unchanged {
            equal = self.add_to_known(inserter, query, itself, point, tid)?;
        }
        if let Some(node) = equal {
            inserter.last = Some(Inserted { node, new: None });
            return Ok(());
        }

        let mut node: Option<Link> = None;
        let mut below = NodeRef::NONE;
        let mut overflows = Vec::new();
        for level in 0..=node_level {
            let choices = choices.get(usize::from(level)).map_or(&[][..], |choices| choices);
            let SelectionScratch { chosen, neighbours, .. } = &mut inserter.scratch;
            self.select(choices, level, self.fill_to(level), chosen)?;
            neighbours.set(&self.space, chosen.all(), point);
            let owner = node.map_or(NodeRef::NONE, |node| node.node);
            let record = place(self.store, &self.space.layout, |nodes, slot| {
                let link = nodes.occupy(slot, State::Node, level, owner, below)?;
                let mut record = nodes.record(slot)?;
                record.set_vector(&point.stored);
                neighbours.write(&mut record);
                if level == 0 {
                    record.push_tid(tid)?;
                } else {
                    record.set_overflows(overflows.iter().copied());
                }
                Ok(link)
            })?;
            if level == 0 {
                overflows = self.place_overflows(record, &point.stored)?;
                inserter.last = Some(Inserted {
                    node: record.node,
                    new: Some((node_level, inserter.scratch.neighbours.len())),
                });
            }
            let at = VectorAt {
                link: record,
                at: point,
            };
            let linked = self.link_all_back(inserter, at, level)?;
            if level == 0 && !linked {
                self.force_first_link(inserter, query, at)?;
            }
            if level == node_level {
                self.promote_entry_point(EntryPoint { link: record, level })?;
            }
            self.reselect_after_concurrent_inserts(inserter, query, at, level, searched)?;
            node = node.or(Some(record));
            below = record.node;
        }
        Ok(())
    }

    /// As much of a stored vector as a record has.
    fn start_of<'p>(&self, point: &'p Point) -> &'p [u8] {
        &point.stored[..self.space.layout.inline_len]
    }

    /// Adds a row to a node that has its vector, if one of those chosen on level 0 is one; says which. They are at the distance that the vector
    /// has to itself, as others may be too: which of them it is, is looked at under a share lock.
    fn add_to_equal(
        &self,
        choices: &[Vec<NeighborCandidate>],
        itself: f32,
        point: &Point,
        tid: HeapTid,
    ) -> Result<Option<NodeRef>> {
        let nearest = choices.first().map_or(&[][..], |choices| choices);
        for equal in nearest.iter().filter(|choice| choice.distance == itself) {
            let is_equal = self.read(equal.link.node, |record| Ok(record.vector() == self.start_of(point)))?;
            if is_equal && self.add_tid(equal.link, &point.stored, tid)? {
                return Ok(Some(equal.link.node));
            }
        }
        Ok(None)
    }

    /// Seeks a node that is known to be there harder, where a search leads to what is at distance zero; says which it is if the row was added to it.
    fn add_to_known(
        &self,
        inserter: &mut Inserter,
        query: &Query,
        itself: f32,
        point: &Point,
        tid: HeapTid,
    ) -> Result<Option<NodeRef>> {
        if self.space.parameters.metric == Metric::InnerProduct {
            return Ok(None);
        }
        let search = &mut inserter.search;
        search.seek(itself, self.start_of(point));
        let width = KNOWN_WIDTH * self.construction_width();
        self.search(search, query, self.entries(), width)?;
        search.seek_nothing();
        let Some(found) = search.found() else { return Ok(None) };
        Ok(self.add_tid(found, &point.stored, tid)?.then_some(found.node))
    }

    /// What a new node of a level may be linked to, for each level on which there is anything, nearest first.
    fn choices_from(
        &self,
        inserter: &mut Inserter,
        query: &Query,
        node_level: u8,
    ) -> Result<Vec<Vec<NeighborCandidate>>> {
        let search = &mut inserter.search;
        let (entries, width) = (self.entries(), self.construction_width());
        let entry = self.search_down_to(search, query, |level| level.min(node_level), width)?;
        let Some(entry) = entry else { return Ok(Vec::new()) };
        let levels = usize::from(node_level.min(entry.level)) + 1;
        let mut choices = vec![Vec::new(); levels];
        for level in (0..levels).rev() {
            if level + 1 < levels {
                self.search_below(search, query, level as u8, width)?;
            }
            if level == 0 {
                self.leave_crowd(search, query, entries, width)?;
            }
            choices[level] = self.live_found(search, query, level as u8, width)?;
        }
        Ok(choices)
    }

    /// A new level-0 record that nothing links to: it is the first of an index without a live node, and the entry point then;
    /// or somebody else was first, or what it was to be linked to was removed meanwhile, and there is another place for it.
    ///
    /// If nothing around is live, nor the entry point, it takes that one's place, and links to it: what is live beyond the dead is
    /// found as before, until the VACUUM that removes them has linked it.
    pub(in crate::hnsw) fn force_first_link(
        &self,
        inserter: &mut Inserter,
        query: &Query,
        record: VectorAt<'_>,
    ) -> Result<()> {
        let mut entered = Point::default();
        while !self.connect(inserter, query, record, 0)? {
            self.store.check_interrupts();
            let entry = self.entry()?;
            if let Some(entry) = entry {
                // The level-0 record tells whether a node lives: the upper ones of a dead node are marked later.
                let node = self.read(entry.link.node, |upper| Ok(upper.owner()))?;
                let generation = self.read(node, |lowest| Ok(lowest.generation()))?;
                let lowest = Link { node, generation };
                if node == record.link.node || self.force_link(lowest, record, 0)? {
                    return Ok(());
                }
                match self.read_point(lowest, 0, &mut entered)? {
                    Some(State::Node) => continue, // Others keep changing it.
                    Some(_) => {
                        let dead = VectorAt {
                            link: lowest,
                            at: &entered,
                        };
                        self.link_if_room(record.link, dead, 0)?;
                    }
                    None => {}
                }
            }
            let this = EntryPoint {
                link: record.link,
                level: 0,
            };
            if self.replace_entry(entry, Some(this))? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Links what a record chose, and has as its neighbours, back to it, and makes sure that one of them does; says whether one does.
    fn link_all_back(&self, inserter: &mut Inserter, record: VectorAt<'_>, level: u8) -> Result<bool> {
        let scratch = &mut inserter.scratch;
        let chosen = std::mem::take(&mut scratch.chosen);
        let coded = self.space.layout.is_coded();
        scratch.neighbours.turn();
        let mut links = 0;
        let mut all = chosen.all().enumerate().peekable();
        while let Some((i, (at, fill))) = all.next() {
            if let Some((_, (next, _))) = all.peek() {
                self.prefetch_to_change(next.link.node);
            }
            if !coded {
                links += usize::from(self.link_back_plain(scratch, at, record.link, level)?);
            } else if inserter.defers {
                if !fill || links < FEWEST_LINKS_BACK {
                    let (at, code) = scratch.neighbours.back(i);
                    inserter.search.deferred.push(at, record.link, code, level)?;
                    links += 1;
                }
            } else if !fill || links < FEWEST_LINKS_BACK {
                links += usize::from(self.link_back_coded(scratch, i, record.link, level, false)?);
            } else if inserter.offers_fills {
                self.link_back_coded(scratch, i, record.link, level, true)?;
            }
        }
        drop(all);
        let mut linked = links > 0;
        for (at, _) in chosen.all() {
            linked = linked || self.force_link(at.link, record, level)?;
        }
        scratch.chosen = chosen;
        Ok(linked)
    }

    /// Lets a record that is linked choose once more, now that others find it, if the graph was small when it searched, or has grown much
    /// since: rows that are inserted at the same time do not see each other, and may be most of what is around it. Of two that search
    /// again after they were linked, one sees the other.
    fn reselect_after_concurrent_inserts(
        &self,
        inserter: &mut Inserter,
        query: &Query,
        record: VectorAt<'_>,
        level: u8,
        mut searched: BlockNumber,
    ) -> Result<()> {
        let mut again = self.store.blocks()? <= self.space.layout.first_block + SMALL;
        loop {
            let blocks = self.store.blocks()?;
            if !again && blocks.saturating_sub(searched) <= blocks / UNSEEN_PART {
                return Ok(());
            }
            (again, searched) = (false, blocks);
            self.connect(inserter, query, record, level)?;
            self.store.check_interrupts();
        }
    }

    /// Chooses neighbours for a record anew by a search, beside those it has, and links them back; says whether one of them links to it.
    pub(in crate::hnsw) fn connect(
        &self,
        inserter: &mut Inserter,
        query: &Query,
        record: VectorAt<'_>,
        level: u8,
    ) -> Result<bool> {
        for _ in 0..RETRIES {
            let (before, kept) = self.read(record.link.node, |record| {
                Ok((
                    record.links().collect::<Vec<_>>(),
                    record.survivors().collect::<Vec<_>>(),
                ))
            })?;
            let Inserter {
                search,
                scratch,
                around,
                ..
            } = inserter;
            let mut choices = self.search_live(search, query, level)?;
            choices.retain(|choice| choice.link.node != record.link.node);
            let known: HashSet<_> = choices.iter().map(|choice| choice.link).collect();
            let others: Vec<_> = before.iter().copied().filter(|link| !known.contains(link)).collect();
            self.load_candidates(around, &others, record, level)?;
            choices.extend(around.choices());
            choices.sort_by(|a, b| a.distance.total_cmp(&b.distance));
            let chosen = &mut scratch.chosen;
            let read = |_, choice: &NeighborCandidate, point: &mut Point| self.read_point(choice.link, level, point);
            self.select_beside(&kept, &choices, read, level, self.fill_to(level), chosen)?;
            if chosen.survivors.is_empty() {
                return Ok(false);
            }
            if self.replace_links(&mut inserter.scratch, record, level, &before)? {
                return self.link_all_back(inserter, record, level);
            }
        }
        Ok(false)
    }

    /// The width of a search for neighbours. A coded one visits fewer records than it is wide, and by estimates.
    pub(in crate::hnsw) fn construction_width(&self) -> usize {
        let times = if self.space.layout.is_coded() { CODED_WIDTH } else { 1 };
        times * usize::from(self.space.parameters.ef_construction)
    }

    /// The nodes of level 1 from which a search for neighbours enters level 0 where it has to leave a crowd.
    fn entries(&self) -> usize {
        usize::from(self.space.parameters.ef_construction)
    }

    /// The live records nearest to a vector on a level.
    pub(in crate::hnsw) fn search_live(
        &self,
        search: &mut Search,
        query: &Query,
        level: u8,
    ) -> Result<Vec<NeighborCandidate>> {
        let width = self.construction_width();
        match self.search_down_to(search, query, |_| level, width)? {
            Some(entry) if entry.level >= level => {
                if level == 0 {
                    self.leave_crowd(search, query, self.entries(), width)?;
                }
                self.live_found(search, query, level, width)
            }
            _ => Ok(Vec::new()),
        }
    }

    /// What a search found that may be linked to, nearest first, at most `most`. Where it met hardly any for all the dead ones, the level is
    /// walked from there until some have turned up.
    fn live_found(&self, search: &mut Search, query: &Query, level: u8, most: usize) -> Result<Vec<NeighborCandidate>> {
        let m = usize::from(self.space.parameters.shape.m);
        if search.live() >= m || !search.is_among_dead() || search.found().is_some() {
            return Ok(live_choices(search, most));
        }
        self.walk_to_live(search, query, level, most)
    }

    /// Makes a record the entry point if there is none, it is on a lower level, or it was freed. A dead one is left to the VACUUM
    /// that is removing it, which knows the highest live record.
    fn promote_entry_point(&self, offered: EntryPoint) -> Result<()> {
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
    pub(in crate::hnsw) fn replace_entry(
        &self,
        current: Option<EntryPoint>,
        entry: Option<EntryPoint>,
    ) -> Result<bool> {
        self.store.write(META_BLOCK, |page| {
            if meta::read_entry(page)? != current {
                return Ok(Edit::Unchanged(false));
            }
            meta::set_entry(page, entry);
            Ok(Edit::Changed(true))
        })
    }
}

/// What a search found that may be linked to, nearest first, at most `most`.
fn live_choices(search: &Search, most: usize) -> Vec<NeighborCandidate> {
    let live = search.beam().iter().filter(|candidate| candidate.live);
    live.take(most)
        .map(|candidate| NeighborCandidate {
            distance: candidate.distance,
            link: candidate.link,
        })
        .collect()
}
