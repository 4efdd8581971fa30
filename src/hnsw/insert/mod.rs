//! Insertion of one vector (the paper's INSERT), and the reconnection of a record that lost its neighbours.

pub(in crate::hnsw) mod batch;
mod entry_point;
pub mod level;
mod reselect;

use crate::distance::Metric;
use crate::error::Result;
use crate::hnsw::Graph;
use crate::hnsw::indexed_value::Value;
use crate::hnsw::insert::level::level;
use crate::hnsw::neighbors::back_links::SelectionScratch;
use crate::hnsw::neighbors::candidates::CandidateSet;
use crate::hnsw::neighbors::selection::{NeighborCandidate, VectorAt};
use crate::hnsw::search::Search;
use crate::hnsw::space::{Point, Query};
use crate::hnsw::tuning::insert::{CODED_WIDTH, FEWEST_LINKS_BACK, KNOWN_WIDTH};
use crate::storage::meta::{EntryPoint, Unplaced};
use crate::storage::record::State;
use crate::storage::store::place;
use crate::storage::{HeapTid, Link, NodeRef, PageStore};

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

    /// The width of a search for neighbours. A coded one visits fewer records than it is wide, and by estimates.
    pub(in crate::hnsw) fn construction_width(&self) -> usize {
        let times = if self.space.layout.is_coded() { CODED_WIDTH } else { 1 };
        times * usize::from(self.space.parameters.ef_construction)
    }

    /// The nodes of level 1 from which a search for neighbours enters level 0 where it has to leave a crowd.
    fn entries(&self) -> usize {
        usize::from(self.space.parameters.ef_construction)
    }
}
