//! Insertion of one vector: the paper's INSERT.
//!
//! The new record gets its links before any link leads to it; links back follow, one page at a
//! time. Where the index has value lists, the record enters them before it gets links, so that a
//! node which an interruption leaves out of lists has no links that VACUUM would repair. A row with
//! a vector that the graph has becomes one more TID of that vector's node.

pub mod batch;
pub(in crate::hnsw) mod entry_point;
pub mod level;
pub(in crate::hnsw) mod reselect;

use crate::distance::Metric;
use crate::error::Result;
use crate::filter::values::Values;
use crate::hnsw::Graph;
use crate::hnsw::heap_tids;
use crate::hnsw::indexed_value::Value;
use crate::hnsw::insert::level::level;
use crate::hnsw::neighbors::back_links::{self, Neighbors, SelectionScratch};
use crate::hnsw::neighbors::candidates::CandidateSet;
use crate::hnsw::neighbors::selection::{self, VectorAt};
use crate::hnsw::overflow_vectors;
use crate::hnsw::search::{self, NeighborCandidate, Search, crowd};
use crate::hnsw::space::{Point, Query};
use crate::hnsw::tuning::insert::{CODED_WIDTH, COMPACT_WIDTH, FEWEST_LINKS_BACK, KNOWN_WIDTH};
use crate::hnsw::value_lists;
use crate::storage::format::Unplaced;
use crate::storage::meta::EntryPoint;
use crate::storage::record::State;
use crate::storage::store::place;
use crate::storage::{Edit, HeapTid, Link, NodeRef, PageStore};

/// A row to be inserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewRow {
    /// The row's TID.
    pub tid: HeapTid,
    /// Whether the row is a new version of one with the same vector, so that the graph should have
    /// a node for it.
    pub unchanged: bool,
    /// The reason for which the row has no place in the graph, if it has none; the index then
    /// stores nothing of its vector.
    pub unplaced: Option<Unplaced>,
    /// Its filter values.
    pub values: Values,
}

impl From<HeapTid> for NewRow {
    /// A row without further knowledge.
    fn from(tid: HeapTid) -> NewRow {
        NewRow {
            tid,
            unchanged: false,
            unplaced: None,
            values: Values::NONE,
        }
    }
}

/// Result of an insert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inserted {
    /// The node that got the row.
    pub node: NodeRef,
    /// The level of a new node and the number of its links on level 0; none if the node existed
    /// before.
    pub new: Option<(u8, usize)>,
}

/// Memory of inserts, reused by the next insert.
#[derive(Default)]
pub struct Inserter {
    pub(in crate::hnsw) search: Search,
    pub(in crate::hnsw) scratch: SelectionScratch,
    pub(in crate::hnsw) candidates: CandidateSet,
    point: Point,
    query: Query,
    /// Whether new nodes are offered as fills to their own fills; a build does so, because changing
    /// a page costs it little.
    offers_fills: bool,
    /// Whether links back to new records are deferred ([`crate::hnsw::insert::batch`]).
    defers: bool,
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

    /// Result of the last insert.
    pub fn last(&self) -> Option<Inserted> {
        self.last
    }
}

/// Inserts a value (normalized where the metric wants it) for a heap row. A node with an equal
/// value gets one more TID; otherwise the row gets a new node.
pub fn insert<'v, S: PageStore>(
    graph: &Graph<'_, S>,
    inserter: &mut Inserter,
    value: impl Into<Value<'v>>,
    row: impl Into<NewRow>,
) -> Result<()> {
    insert_as(graph, inserter, row.into(), |point| graph.space.set_point(value, point))
}

/// As [`insert`], for a vector in its stored form.
pub fn insert_stored<S: PageStore>(
    graph: &Graph<'_, S>,
    inserter: &mut Inserter,
    stored: &[u8],
    row: NewRow,
) -> Result<()> {
    insert_as(graph, inserter, row, |point| {
        point.stored.clear();
        point.stored.extend_from_slice(stored);
        graph.space.decode(stored, &mut point.coordinates);
    })
}

/// Inserts the point that `set` makes.
fn insert_as<S: PageStore>(
    graph: &Graph<'_, S>,
    inserter: &mut Inserter,
    row: NewRow,
    set: impl FnOnce(&mut Point),
) -> Result<()> {
    // Moved out so that `inserter` can be borrowed below.
    let mut point = std::mem::take(&mut inserter.point);
    let mut query = std::mem::take(&mut inserter.query);
    set(&mut point);
    point.values = row.values;
    graph.space.set_query(&point, &mut query);
    let inserted = insert_point(graph, inserter, &point, &query, row);
    (inserter.point, inserter.query) = (point, query);
    inserted
}

/// Inserts a point: adds the row to the node of an equal vector, or places a record on each level
/// of a new node, from level 0 up, and links the record's neighbors back to it.
///
/// Locks: one page at a time, two of a chain of TID extensions, or the few of links back; on
/// return: none.
fn insert_point<S: PageStore>(
    graph: &Graph<'_, S>,
    inserter: &mut Inserter,
    point: &Point,
    query: &Query,
    row: NewRow,
) -> Result<()> {
    let tid = row.tid;
    let searched = graph.store.known_blocks()?;
    let parameters = &graph.space.parameters;
    let node_level = level(parameters.seed, tid, graph.space.layout.level_ratio());
    inserter.search.kept.is_on = graph.space.layout.is_coded() && graph.space.layout.overflows == 0;
    // The node of an equal vector is found long before its surroundings are.
    let itself = graph.space.whole_distance(query, &point.stored);
    inserter.search.seek(itself, start_of(graph, point), point.values);
    let mut choices = choices_from(graph, inserter, query, node_level)?;
    inserter.search.seek_nothing();
    let mut equal = None;
    if let Some(found) = inserter.search.found() {
        equal = heap_tids::add(graph, found, point, tid)?.then_some(found.node);
        if equal.is_none() {
            // The node's overflow records differ, or VACUUM has removed it.
            choices = choices_from(graph, inserter, query, node_level)?;
            equal = add_to_equal(graph, &choices, itself, point, tid)?;
        }
    } else if row.unchanged {
        equal = add_to_known(graph, inserter, query, itself, point, tid)?;
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
        let SelectionScratch { chosen, neighbors, .. } = &mut inserter.scratch;
        let kept = &inserter.search.kept;
        let read = |_, choice: &NeighborCandidate, at: &mut Point| kept.read_point(graph, choice, level, at);
        let fill_to = selection::fill_to(graph, level);
        selection::select_keeping(graph, &[], choices, read, level, fill_to, chosen)?;
        neighbors.set(&graph.space, chosen.all(), point);
        let owner = node.map_or(NodeRef::NONE, |node| node.node);
        let is_listed_first = level == 0 && value_lists::listed(graph).next().is_some();
        let record = place(graph.store, &graph.space.layout, |nodes, slot| {
            let link = nodes.occupy(slot, State::Node, level, owner, below)?;
            let mut record = nodes.record(slot)?;
            record.set_vector(&point.stored);
            record.set_values(&point.values);
            neighbors.write(&mut record);
            if is_listed_first {
                // Their bytes stay, so that the next change logs little more than their number.
                record.clear_links();
            }
            if level == 0 {
                record.push_tid(tid)?;
            } else {
                record.set_overflows(overflows.iter().copied());
            }
            Ok(link)
        })?;
        if level == 0 {
            overflows = overflow_vectors::place(graph, record, &point.stored)?;
            if is_listed_first {
                value_lists::add(graph, record, point)?;
                write_links(graph, record, &inserter.scratch.neighbors)?;
            }
            inserter.last = Some(Inserted {
                node: record.node,
                new: Some((node_level, inserter.scratch.neighbors.len())),
            });
        }
        let at = VectorAt {
            link: record,
            at: point,
        };
        let linked = link_all_back(graph, inserter, at, level)?;
        if level == 0 && !linked {
            entry_point::force_first_link(graph, inserter, query, at)?;
        }
        if level == node_level {
            entry_point::promote(graph, EntryPoint { link: record, level })?;
        }
        reselect::after_concurrent_inserts(graph, inserter, query, at, level, searched)?;
        node = node.or(Some(record));
        below = record.node;
    }
    Ok(())
}

/// Gives a new level-0 record its links, unless a VACUUM that found the record without any has
/// given it some meanwhile.
///
/// Locks: the record's page, exclusive; on return: none.
fn write_links<S: PageStore>(graph: &Graph<'_, S>, link: Link, neighbors: &Neighbors) -> Result<()> {
    graph.write(link.node, |nodes, slot| {
        let mut record = nodes.record(slot)?;
        if !back_links::is_live(&record, link, 0) || record.view().link_count() > 0 {
            return Ok(Edit::Unchanged(()));
        }
        neighbors.write(&mut record);
        Ok(Edit::Changed(()))
    })
}

/// The part of a stored vector that a record has.
fn start_of<'p, S: PageStore>(graph: &Graph<'_, S>, point: &'p Point) -> &'p [u8] {
    &point.stored[..graph.space.layout.inline_len]
}

/// Adds a row to a node with its vector, if there is one among the choices on level 0; returns the
/// node. Such a node is at the distance that the vector has to itself, but other nodes may be too:
/// the vectors are compared.
///
/// Locks: one page at a time, or two of a chain of TID extensions; on return: none.
fn add_to_equal<S: PageStore>(
    graph: &Graph<'_, S>,
    choices: &[Vec<NeighborCandidate>],
    itself: f32,
    point: &Point,
    tid: HeapTid,
) -> Result<Option<NodeRef>> {
    let nearest = choices.first().map_or(&[][..], |choices| choices);
    for equal in nearest.iter().filter(|choice| choice.distance == itself) {
        let is_equal = graph.read(equal.link.node, |record| {
            Ok(record.vector() == start_of(graph, point) && record.values() == point.values)
        })?;
        if is_equal && heap_tids::add(graph, equal.link, point, tid)? {
            return Ok(Some(equal.link.node));
        }
    }
    Ok(None)
}

/// Searches wider for a node that is known to exist, under metrics that put it at distance zero;
/// returns the node if it got the row.
fn add_to_known<S: PageStore>(
    graph: &Graph<'_, S>,
    inserter: &mut Inserter,
    query: &Query,
    itself: f32,
    point: &Point,
    tid: HeapTid,
) -> Result<Option<NodeRef>> {
    if graph.space.parameters.metric == Metric::InnerProduct {
        return Ok(None);
    }
    let search = &mut inserter.search;
    search.seek(itself, start_of(graph, point), point.values);
    let width = KNOWN_WIDTH * construction_width(graph);
    search::search(graph, search, query, entries(graph), width)?;
    search.seek_nothing();
    let Some(found) = search.found() else { return Ok(None) };
    Ok(heap_tids::add(graph, found, point, tid)?.then_some(found.node))
}

/// The records that a new node may be linked to, nearest first, for each level that has any.
fn choices_from<S: PageStore>(
    graph: &Graph<'_, S>,
    inserter: &mut Inserter,
    query: &Query,
    node_level: u8,
) -> Result<Vec<Vec<NeighborCandidate>>> {
    let search = &mut inserter.search;
    let (entries, width) = (entries(graph), construction_width(graph));
    let entry = search::down_to(graph, search, query, |level| level.min(node_level), width)?;
    let Some(entry) = entry else { return Ok(Vec::new()) };
    let levels = usize::from(node_level.min(entry.level)) + 1;
    let mut choices = vec![Vec::new(); levels];
    for level in (0..levels).rev() {
        if level + 1 < levels {
            search::below(graph, search, query, level as u8, width)?;
        }
        if level == 0 {
            crowd::leave(graph, search, query, entries, width)?;
        }
        choices[level] = reselect::live_found(graph, search, query, level as u8, width)?;
    }
    Ok(choices)
}

/// Links the selected neighbors of a record back to it, and makes sure that at least one link is
/// made; says whether one is.
///
/// Locks: as [`back_links::add_coded`]; on return: none.
fn link_all_back<S: PageStore>(
    graph: &Graph<'_, S>,
    inserter: &mut Inserter,
    record: VectorAt<'_>,
    level: u8,
) -> Result<bool> {
    let scratch = &mut inserter.scratch;
    let chosen = std::mem::take(&mut scratch.chosen);
    scratch.neighbors.turn();
    let links = if !graph.space.layout.is_coded() {
        let mut links = 0;
        let mut all = chosen.all().peekable();
        while let Some((at, _)) = all.next() {
            if let Some((next, _)) = all.peek() {
                graph.prefetch_to_change(next.link.node);
            }
            links += usize::from(back_links::add_plain(graph, scratch, at, record.link, level)?);
        }
        links
    } else if inserter.defers {
        let neighbors = &scratch.neighbors;
        let links = neighbors.survivors().max(FEWEST_LINKS_BACK).min(neighbors.len());
        for i in 0..links {
            let (at, code) = neighbors.back(i);
            inserter.search.deferred.push(at, record.link, code, level)?;
        }
        links
    } else {
        back_links::add_coded(graph, scratch, record.link, level, inserter.offers_fills)?
    };
    let mut linked = links > 0;
    for (at, _) in chosen.all() {
        linked = linked || back_links::force(graph, at.link, record, level)?;
    }
    scratch.chosen = chosen;
    Ok(linked)
}

/// The width of a search for neighbors. A coded search visits fewer records than it is wide, and
/// ranks them by estimates.
pub(in crate::hnsw) fn construction_width<S: PageStore>(graph: &Graph<'_, S>) -> usize {
    let times = match graph.space.layout.shape {
        shape if shape.code_bits == 0 => 1,
        shape if shape.is_compact() => COMPACT_WIDTH,
        _ => CODED_WIDTH,
    };
    times * usize::from(graph.space.parameters.ef_construction)
}

/// Number of the nodes of level 1 from which a search for neighbors that has to leave a crowd
/// enters level 0.
fn entries<S: PageStore>(graph: &Graph<'_, S>) -> usize {
    usize::from(graph.space.parameters.ef_construction)
}
