//! Repair: live records that link to dead nodes get other links, among the neighbors of the dead
//! ones.
//!
//! A record selects among its live neighbors and the neighbors of its dead ones by exact distances,
//! because selection by estimates from codes costs recall of narrow searches (docs/measurements.md,
//! *Repair*). A plain record selects all of its links anew. A coded one keeps its live survivors,
//! because another record may have no other link to it, and adds others.
//!
//! Repair is one pass over the pages. Records that lost survivors are remembered, and then repaired
//! in the order of the dead ones, because the neighbors of a dead node select among the same
//! candidates: the vectors of these are read once. Records that lost only fills are changed in the
//! pass.
//!
//! A record that is repaired has links, so its node is in the value lists of its values: links back
//! let other sessions' rows join the node.
//!
//! The selection is made without a lock. Links that a coded record got meanwhile stay. Links of a
//! plain record depend on each other, so its selection holds only if they are unchanged; otherwise
//! it is repeated.

use crate::error::Result;
use crate::fallible::TryPush;
use crate::hnsw::Graph;
use crate::hnsw::insert::{Inserter, reselect};
use crate::hnsw::neighbors::selection::{self, VectorAt};
use crate::hnsw::neighbors::{back_links, candidates, lanes};
use crate::hnsw::node_set::{NodeSet, SlotBits};
use crate::hnsw::search::NeighborCandidate;
use crate::hnsw::space::{Point, Query};
use crate::hnsw::tuning::neighbors::RETRIES;
use crate::hnsw::tuning::vacuum::{REPAIR_CANDIDATES, REPAIR_SEARCH_PART};
use crate::storage::node_page::{NodePage, NodePageMut};
use crate::storage::record::{Record, State};
use crate::storage::{BlockNumber, Edit, Link, NodeRef, PageStore};

/// Least number of broken records that are remembered.
const FEWEST_REMEMBERED: usize = 1024;

/// A pass over the pages that finds the live records with links to dead ones.
pub(in crate::hnsw) struct Repair<'d> {
    dead: &'d NodeSet,
    /// Records to be repaired.
    broken: Vec<Broken>,
    /// Most of them that are remembered.
    most: usize,
    /// The live records of level 0, and the targets of their links, where they are wanted.
    seen: Option<Seen>,
    /// Links to dead records so far.
    links: u64,
}

/// A live record that lost a survivor.
struct Broken {
    /// The first dead survivor: records near each other lose the same, and select among the same.
    lost: NodeRef,
    link: Link,
    level: u8,
}

/// The records of level 0 that a pass has seen.
pub(super) struct Seen {
    /// Live ones.
    pub(super) live: SlotBits,
    /// Slots that a link of a live record leads to.
    pub(super) linked: SlotBits,
}

impl Seen {
    /// Memory for slots before `end`.
    pub(super) fn new(end: NodeRef) -> Result<Seen> {
        Ok(Seen {
            live: SlotBits::new(end)?,
            linked: SlotBits::new(end)?,
        })
    }

    fn note(&mut self, node: NodeRef, record: &Record<'_>) {
        if record.level() == 0 && record.is_complete() {
            self.live.insert(node);
            for link in record.links().filter(|link| link.node != node) {
                self.linked.insert(link.node);
            }
        }
    }
}

impl<'d> Repair<'d> {
    /// A pass that remembers records in at most `memory` bytes, and notes what it sees in `seen`.
    pub(in crate::hnsw) fn new(dead: &'d NodeSet, memory: usize, seen: Option<Seen>) -> Repair<'d> {
        Repair {
            dead,
            broken: Vec::new(),
            most: (memory / size_of::<Broken>()).max(FEWEST_REMEMBERED),
            seen,
            links: 0,
        }
    }

    /// The pass over one page: records that lost only fills lose their lanes, and others are
    /// remembered, or repaired when there are too many.
    ///
    /// Locks: one page at a time, or the few of links back; on return: none.
    pub(in crate::hnsw) fn page<S: PageStore>(
        &mut self,
        graph: &Graph<'_, S>,
        block: BlockNumber,
        inserter: &mut Inserter,
    ) -> Result<()> {
        let is_dead = |link: &Link| self.dead.contains(link.node);
        let is_coded = graph.space.layout.is_coded();
        let mut lost_fills = false;
        graph.store.read_in_passing(block, |page| {
            for record in NodePage::new(page, block, &graph.space.layout)?.records() {
                let (node, record) = record?;
                if record.state() != State::Node {
                    continue;
                }
                if let Some(seen) = &mut self.seen {
                    seen.note(node, &record);
                }
                let to_dead = record.links().filter(is_dead).count();
                self.links += to_dead as u64;
                if to_dead == 0 {
                    continue;
                }
                let lost = record.survivors().find(is_dead);
                if is_coded && lost.is_none() && record.survivors().next().is_some() {
                    lost_fills = true;
                    continue;
                }
                let generation = record.generation();
                self.broken.try_push(Broken {
                    lost: lost.map_or(node, |link| link.node),
                    link: Link { node, generation },
                    level: record.level(),
                })?;
            }
            Ok(())
        })?;
        if lost_fills {
            lose_fills(graph, block, is_dead)?;
        }
        if self.broken.len() >= self.most {
            self.repair(graph, inserter)?;
        }
        Ok(())
    }

    /// Repairs what the pass has found. Returns the number of links to dead records, and what it
    /// has seen.
    ///
    /// Locks: one page at a time, or the few of links back; on return: none.
    pub(in crate::hnsw) fn finish<S: PageStore>(
        mut self,
        graph: &Graph<'_, S>,
        inserter: &mut Inserter,
    ) -> Result<(u64, Option<Seen>)> {
        self.repair(graph, inserter)?;
        Ok((self.links, self.seen))
    }

    /// Repairs the remembered records. Records that lost the same survivor are repaired one after
    /// the other, because they have the same candidates, whose vectors are then known.
    fn repair<S: PageStore>(&mut self, graph: &Graph<'_, S>, inserter: &mut Inserter) -> Result<()> {
        self.broken
            .sort_unstable_by_key(|broken| (broken.lost, broken.link.node));
        // Only this VACUUM lets records die, and it does not while it repairs.
        inserter.candidates.forget();
        for Broken { link, level, .. } in self.broken.drain(..) {
            repair_record(graph, link, level, self.dead, inserter)?;
        }
        inserter.candidates.forget();
        Ok(())
    }
}

/// Repairs a record, unless it is no live node any more.
fn repair_record<S: PageStore>(
    graph: &Graph<'_, S>,
    link: Link,
    level: u8,
    dead: &NodeSet,
    inserter: &mut Inserter,
) -> Result<()> {
    let is_coded = graph.space.layout.is_coded();
    let is_dead = |link: &Link| dead.contains(link.node);
    let mut point = Point::default();
    for _ in 0..RETRIES {
        graph.store.check_interrupts();
        if graph.read_point(link, level, &mut point)? != Some(State::Node) {
            return Ok(());
        }
        let at = VectorAt { link, at: &point };
        let before = graph.read(link.node, |record| Ok(links_of(&record).collect::<Vec<_>>()))?;
        let had = |link| before.iter().any(|&(other, _)| other == link);
        let survivors = before.iter().filter(|(_, fill)| !fill).map(|(link, _)| *link);
        let (gone, mut kept): (Vec<_>, Vec<_>) = survivors.partition(is_dead);
        let mut links: Vec<_> = before
            .iter()
            .map(|(link, _)| *link)
            .filter(|link| !is_dead(link))
            .collect();
        add_beyond(graph, &gone, level, dead, &mut links)?;
        if !is_coded && REPAIR_SEARCH_PART * gone.len() >= before.len() {
            let mut query = Query::default();
            graph.space.set_query(&point, &mut query);
            let found = reselect::search_live(graph, &mut inserter.search, &query, level)?;
            links.extend(found.iter().map(|choice| choice.link));
        }
        let Inserter {
            scratch, candidates, ..
        } = &mut *inserter;
        candidates::load(graph, candidates, &links, at, level)?;
        let choices: Vec<_> = candidates.choices().collect();
        if !is_coded {
            kept.clear();
        }
        // As many links as before: with half of its links, a plain record would be reached, and
        // lead on, half as often.
        let fill_to = selection::fill_to(graph, level).max(before.len());
        let (chosen, neighbors) = (&mut scratch.chosen, &mut scratch.neighbors);
        let read =
            |i, _: &NeighborCandidate, point: &mut Point| candidates::read_point(graph, candidates, i, level, point);
        selection::select_keeping(graph, &kept, &choices, read, level, fill_to, chosen)?;
        // New survivors are linked back; links that a coded record keeps have their codes.
        let new = chosen
            .all()
            .filter(|(other, fill)| !is_coded || !before.contains(&(other.link, *fill)));
        neighbors.set(&graph.space, new, at.at);
        let is_repaired = graph.write(link.node, |nodes, slot| {
            let mut record = nodes.record(slot)?;
            if !back_links::is_live(&record, link, level) {
                return Ok(Edit::Unchanged(false));
            }
            let now: Vec<_> = links_of(&record.view()).collect();
            if is_coded {
                let stays = |link, fill| match chosen.all().find(|(other, _)| other.link == link) {
                    Some((_, chosen_fill)) => Some(fill && chosen_fill),
                    None => (!had(link)).then_some(fill),
                };
                let new = neighbors.iter();
                lanes::replace(
                    &mut record,
                    stays,
                    new.filter(|(link, ..)| now.iter().all(|(other, _)| other != link)),
                );
            } else if now == before {
                neighbors.write(&mut record);
            } else {
                return Ok(Edit::Unchanged(false));
            }
            Ok(Edit::Changed(true))
        })?;
        if !is_repaired {
            continue;
        }
        if chosen.survivors.is_empty() {
            // All of its neighbors are gone: start again from the entry point, which is replaced
            // only afterwards.
            let mut query = Query::default();
            graph.space.set_query(&point, &mut query);
            return reselect::connect(graph, inserter, &query, at, level).map(drop);
        }
        if is_coded {
            neighbors.turn();
            back_links::add_to_survivors(graph, scratch, link, level)?;
        } else {
            let chosen = std::mem::take(&mut scratch.chosen);
            for other in chosen.survivors.iter().filter(|other| !had(other.link)) {
                back_links::add_plain(graph, scratch, other, link, level)?;
            }
            scratch.chosen = chosen;
        }
        return Ok(());
    }
    Ok(())
}

/// Lets live records of nodes that `is_reached` accepts select neighbors by a search, besides
/// their present ones, at most `most` of them: where nearly all nodes were removed, repair and the
/// inserts before it found dead ones for the most part.
///
/// Locks: one page at a time, or the few of links back; on return: none.
pub(super) fn select_anew<S: PageStore>(
    graph: &Graph<'_, S>,
    inserter: &mut Inserter,
    is_reached: impl Fn(NodeRef) -> bool,
    mut most: u64,
) -> Result<()> {
    let (mut point, mut query) = (Point::default(), Query::default());
    for block in graph.node_blocks()? {
        let live = live_on(graph, block, |record| {
            record.is_complete() && is_reached(record.owner())
        })?;
        for (link, level) in live {
            graph.store.check_interrupts();
            if most == 0 {
                return Ok(());
            }
            most -= 1;
            if graph.read_point(link, level, &mut point)? == Some(State::Node) {
                graph.space.set_query(&point, &mut query);
                reselect::connect(graph, inserter, &query, VectorAt { link, at: &point }, level)?;
            }
        }
    }
    Ok(())
}

/// The live records of a page that `f` accepts, with their levels.
///
/// Locks: the page, shared; on return: none.
fn live_on<S: PageStore>(
    graph: &Graph<'_, S>,
    block: BlockNumber,
    mut f: impl FnMut(&Record<'_>) -> bool,
) -> Result<Vec<(Link, u8)>> {
    graph.store.read_in_passing(block, |page| {
        let mut live = Vec::new();
        for record in NodePage::new(page, block, &graph.space.layout)?.records() {
            let (node, record) = record?;
            if record.state() == State::Node && f(&record) {
                let generation = record.generation();
                live.push((Link { node, generation }, record.level()));
            }
        }
        Ok(live)
    })
}

/// Empties the lanes of dead fills of the live records of a page that lost no survivor.
///
/// Locks: the page, exclusive; on return: none.
fn lose_fills<S: PageStore>(graph: &Graph<'_, S>, block: BlockNumber, is_dead: impl Fn(&Link) -> bool) -> Result<()> {
    graph.store.write(block, |page| {
        let mut nodes = NodePageMut::new(page, block, &graph.space.layout)?;
        let mut changed = false;
        for slot in 0..nodes.view().len() {
            let mut record = nodes.record(slot)?;
            let view = record.view();
            let is_live = view.state() == State::Node && view.survivors().next().is_some();
            if is_live && view.links().any(|link| is_dead(&link)) && !view.survivors().any(|link| is_dead(&link)) {
                let stays = |link, fill| (!is_dead(&link)).then_some(fill);
                lanes::replace(&mut record, stays, std::iter::empty());
                changed = true;
            }
        }
        Ok(if changed {
            Edit::Changed(())
        } else {
            Edit::Unchanged(())
        })
    })
}

/// Adds the live links of dead records; of each coded one the nearest, up to [`REPAIR_CANDIDATES`].
fn add_beyond<S: PageStore>(
    graph: &Graph<'_, S>,
    gone: &[Link],
    level: u8,
    dead: &NodeSet,
    links: &mut Vec<Link>,
) -> Result<()> {
    for gone in gone {
        graph.store.check_interrupts();
        graph.read(gone.node, |record| {
            if record.is(gone.generation, level) {
                let mut live: Vec<_> = (0..record.link_count())
                    .filter(|&i| !dead.contains(record.link(i).node))
                    .collect();
                if graph.space.layout.is_coded() {
                    live.sort_by(|&a, &b| record.length(a).total_cmp(&record.length(b)));
                    live.truncate(REPAIR_CANDIDATES);
                }
                links.extend(live.into_iter().map(|i| record.link(i)));
            }
            Ok(())
        })?;
    }
    Ok(())
}

/// The links of a record, each with whether it is a fill.
fn links_of(record: &Record<'_>) -> impl Iterator<Item = (Link, bool)> {
    (0..record.link_count()).map(|i| (record.link(i), record.is_fill(i)))
}
