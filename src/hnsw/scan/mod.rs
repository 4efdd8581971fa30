//! The scan: rows in order of distance, as many as the executor asks for.
//!
//! A scan goes in rounds. The first is a search of level 0 with a beam of `ef_search`; each further
//! one continues with the records that earlier rounds met and spilled, as if the beam had been that
//! much wider from the start. Complete passes over the pages ([`pass`]) follow when the rounds have
//! cost as much as one pass, or the graph has no record left: so a scan returns every row in order
//! of distance, and the cost of the last rows is bounded. A scan in the order of the operator's
//! distances ([`Keys::Least`]) consists of passes alone.
//!
//! A later round may find a row nearer than one returned already. In strict order such rows are
//! held back until all others have been returned: the order holds for every scan that does not
//! drain the index, and no row is lost. A scan that ends at a bound set by the user keeps the order
//! and omits them.
//!
//! Rows without a place in the graph come last, unless the scan ended before.
//!
//! [`pass`]: crate::hnsw::scan::pass

mod listed;
mod node_rows;
mod pass;
pub mod staged_merge;

pub use listed::{cost as cost_of_listed, most_cost as most_cost_of_listed};

use crate::error::Result;
use crate::fallible::{Room, TryPush};
use crate::hnsw::Graph;
use crate::hnsw::distance_bounds::Keys;
use crate::hnsw::heap_tids::Returned;
use crate::hnsw::heap_tids::unplaced::ChainScan;
use crate::hnsw::scan::listed::Listed;
use crate::hnsw::scan::node_rows::{NodeRows, Rows};
use crate::hnsw::scan::pass::Passes;
use crate::hnsw::search::filtered::Bounds;
use crate::hnsw::search::visited_set::VisitedSet;
use crate::hnsw::search::{self, Candidate, Counts, Search};
use crate::hnsw::space::Query;
use crate::hnsw::tuning::scan::{
    CHUNK_GROWTH, CODED_BEAM, COMPACT_BEAM, FEWEST_VISITED, MOST_VISITED, MOST_WIDENED, NODES_PER_ROW, PLAIN_BEAM,
    ROUND_SHARE, VISITS_PER_PAGE, VISITS_PER_RECORD, WHOLE_CODES_BEAM, WIDTH_PER_ROW, WITHIN_RADIUS,
};
use crate::hnsw::tuning::search::FEWEST_SETTLED;
use crate::hnsw::value_lists::matching;
use crate::storage::format::Unplaced;
use crate::storage::meta::EntryPoint;
use crate::storage::{BlockNumber, HeapTid, Link, NodeRef, PageStore};

/// Continuation of a scan after its first round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Iteration {
    /// The scan ends.
    Off,
    /// The scan continues; rows may come somewhat out of order.
    Relaxed,
    /// The scan continues; rows come in order.
    Strict,
}

/// The bounds of a scan.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Least number of nodes that a round returns, if there are so many: `ef_search`, or more where
    /// more rows are likely read.
    pub width: usize,
    /// Continuation after the first round.
    pub iteration: Iteration,
    /// Nodes met after which the scan ends; `usize::MAX` without a bound set by the user.
    pub nodes: usize,
    /// Bytes of memory after which the scan ends; `usize::MAX` without a bound set by the user.
    pub bytes: usize,
    /// Division of the work between rounds and passes.
    pub rounds: Rounds,
    /// Bytes of memory in which a pass keeps nodes; no further round begins beyond it.
    pub memory: usize,
    /// Form of the keys that rows are ordered by.
    pub keys: Keys,
    /// Whether rows that are marked as dead to every snapshot are returned: snapshots on a standby
    /// may see them.
    pub killed: bool,
    /// Order key beyond which no row is wanted ([`crate::hnsw::space::Space::max_key_within`]).
    pub beyond: f32,
    /// Whether rows without a place in the graph are returned although there is such a key.
    pub unplaced: bool,
}

impl Limits {
    /// Limits that end no scan: a scan of this width returns every row, by the graph as far as it
    /// leads.
    pub fn none(width: usize) -> Limits {
        Limits {
            width,
            iteration: Iteration::Strict,
            nodes: usize::MAX,
            bytes: usize::MAX,
            rounds: Rounds::All,
            memory: 1 << 20,
            keys: Keys::Stored,
            killed: false,
            beyond: f32::INFINITY,
            unplaced: false,
        }
    }

    /// The same limits, with rows in order.
    pub fn strict(self) -> Limits {
        let iteration = match self.iteration {
            Iteration::Off => Iteration::Off,
            Iteration::Relaxed | Iteration::Strict => Iteration::Strict,
        };
        Limits { iteration, ..self }
    }

    /// The same limits, with rows in the order of lower bounds of their distances.
    pub fn by_least_distances(self) -> Limits {
        Limits {
            keys: Keys::Least,
            ..self.strict()
        }
    }

    /// As [`Limits::by_least_distances`], by passes alone; by rounds if a bound set by the user has
    /// no room for all nodes.
    pub fn by_passes<S: PageStore>(self, graph: &Graph<'_, S>) -> Result<Limits> {
        let limits = self.by_least_distances();
        let has_room =
            limits.allow_pass(graph)? || limits.iteration != Iteration::Off && limits.have_room(graph.live_count()?);
        Ok(match has_room {
            true => Limits {
                rounds: Rounds::None,
                ..limits
            },
            false => limits,
        })
    }

    /// Whether the bounds set by the user have room for all nodes. If not, rounds reach the bounds.
    fn allow_pass<S: PageStore>(&self, graph: &Graph<'_, S>) -> Result<bool> {
        let most = graph
            .node_blocks()?
            .len()
            .saturating_mul(graph.space.layout.slots as usize);
        Ok(self.iteration != Iteration::Off && self.have_room(most))
    }

    fn have_room(&self, nodes: usize) -> bool {
        nodes <= self.nodes && nodes.saturating_mul(2 * size_of::<Found>()) <= self.bytes
    }
}

/// Extent of a scan's rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounds {
    /// No rounds.
    None,
    /// Rounds until they have cost as much as a pass.
    Cheaper,
    /// Rounds as long as the graph leads anywhere.
    All,
}

/// A node that is going to be returned.
#[derive(Debug, Clone, Copy)]
struct Found {
    distance: f32,
    link: Link,
    /// Its only row, if that is known.
    row: Option<HeapTid>,
    /// LSN of its record when it was read.
    lsn: u64,
    /// Whether its filter values are sure to match.
    certain: bool,
}

impl Found {
    /// The node of a record that a search met, if the node is live and its only row is not marked
    /// as dead, or `killed` is set.
    fn of(candidate: &Candidate, killed: bool) -> Option<Found> {
        let &Candidate {
            key,
            link,
            live,
            certain,
            row,
            lsn,
            ..
        } = candidate;
        let wanted = live && (killed || row.is_none_or(|row| !row.killed));
        let row = row.map(|row| row.tid);
        wanted.then_some(Found {
            distance: key,
            link,
            row,
            lsn,
            certain,
        })
    }
}

/// State of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No round was made.
    Start,
    /// Nodes that value lists name are read and returned.
    Listed,
    /// Rounds return nodes of the graph.
    Rounds,
    /// Passes return the nodes that rounds did not.
    Passes,
    /// Nodes held back by the strict order are returned.
    Late,
    /// Rows without a place in the graph are returned, if any are wanted.
    End,
}

/// Number of live nodes that a round has met, and of nodes within the radius among them.
#[derive(Debug, Clone, Copy, Default)]
struct Round {
    live: usize,
    within: usize,
}

/// A scan under way.
pub struct Scan {
    query: Query,
    limits: Limits,
    search: Search,
    phase: Phase,
    /// Nodes to return next, nearest last.
    ready: Vec<Found>,
    /// Nodes found farther away than the ready ones: nearer nodes may still come before them.
    farther: Vec<Found>,
    /// The node being returned.
    node: NodeRows,
    /// Rows of that node that were read.
    tids: Rows,
    /// The row returned last.
    returned: Option<Returned>,
    /// Nodes held back by the strict order.
    late: Vec<Found>,
    /// Distance of the last node returned.
    last: f32,
    /// Whether that node is sure to match the filter.
    certain: bool,
    bounded: bool,
    /// Nodes met by the current round.
    round: Round,
    /// The nodes that value lists name, if the answer comes from these.
    listed: Option<Listed>,
    /// The complete passes, once they have begun.
    passes: Option<Passes>,
    /// Number of nodes of a pass that are made ready next.
    chunk: usize,
    /// The chain of rows without a place in the graph that is being returned; then the kinds that
    /// remain.
    chain: Option<ChainScan>,
    kinds: std::array::IntoIter<Unplaced, 2>,
    /// Counters of reads outside the search.
    counts: Counts,
}

impl Drop for Scan {
    fn drop(&mut self) {
        self.search.leave_memory();
    }
}

impl Scan {
    /// A scan for the neighbors of a query.
    pub fn new(query: Query, limits: Limits) -> Scan {
        Scan {
            query,
            limits,
            search: Search::of_scan(limits.iteration != Iteration::Off).with_keys(limits.keys),
            phase: Phase::Start,
            ready: Vec::new(),
            farther: Vec::new(),
            node: NodeRows::of(
                Link {
                    node: NodeRef::NONE,
                    generation: 0,
                },
                0,
            ),
            tids: Rows::new(limits.killed),
            returned: None,
            late: Vec::new(),
            last: f32::NEG_INFINITY,
            certain: true,
            bounded: false,
            round: Round::default(),
            listed: None,
            passes: None,
            chunk: limits.width,
            chain: None,
            kinds: Unplaced::ALL.into_iter(),
            counts: Counts::default(),
        }
    }

    /// The same scan, by an entry point that was read just now.
    pub fn entering_at(mut self, entry: Option<EntryPoint>) -> Scan {
        self.search.entry = Some(entry);
        self
    }

    /// Counters of the scan so far.
    pub fn counts(&self) -> Counts {
        let mut counts = self.search.counts;
        counts += self.counts;
        counts += self.chain.as_ref().map_or_else(Counts::default, ChainScan::counts);
        counts.dead_rows += self.tids.dead;
        counts
    }

    /// Whether a bound set by the user ended the scan before the end of the index.
    pub fn was_bounded(&self) -> bool {
        self.bounded
    }

    /// Whether nodes were found that are still to be returned.
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The rows that are returned next, as far as they are known without a read, unless the order
    /// holds some of them back.
    pub fn ready_rows(&self) -> impl Iterator<Item = HeapTid> + '_ {
        let of_node = self.tids.tids.iter().rev().copied();
        of_node.chain(self.ready.iter().rev().filter_map(|found| found.row))
    }

    /// Whether the row returned last is sure to match the query's conditions on filter columns. If
    /// not, the conditions are to be checked on the table's row.
    pub fn is_certain(&self) -> bool {
        self.certain
    }

    /// Number of nodes that the first pass found and no round had met: after all rounds
    /// ([`Rounds::All`]), of nodes that the graph does not lead to.
    pub fn unmet(&self) -> usize {
        self.passes.as_ref().map_or(0, Passes::unmet)
    }

    /// The block of the record that named the row returned last.
    pub fn block<S: PageStore>(&self, graph: &Graph<'_, S>) -> BlockNumber {
        let node = self.node.link.node;
        graph.space.layout.block(self.returned.map_or(node, |row| row.record))
    }

    /// The node of the row returned last; [`NodeRef::NONE`] before the first one.
    pub fn node(&self) -> NodeRef {
        self.node.link.node
    }

    /// The distance of the row returned last, and the record it was read from.
    pub fn returned(&self) -> Option<(f32, Returned)> {
        self.returned.map(|returned| (self.last, returned))
    }

    /// The next row, or none.
    pub fn next<S: PageStore>(&mut self, graph: &Graph<'_, S>) -> Result<Option<HeapTid>> {
        self.returned = None;
        loop {
            if let Some(tid) = self.tids.tids.pop() {
                let (record, lsn) = (self.node.record, self.node.lsn);
                self.returned = Some(Returned { tid, record, lsn });
                return Ok(Some(tid));
            }
            if self.node.read_on(graph, &mut self.tids)? {
                self.counts.pages += 1;
                continue;
            }
            if let Some(found) = self.ready.pop() {
                // Passes keep the order by themselves.
                let by_graph = matches!(self.phase, Phase::Listed | Phase::Rounds | Phase::Late);
                if by_graph && found.distance < self.last && self.limits.iteration == Iteration::Strict {
                    self.late.try_push(found)?;
                    continue;
                }
                self.last = found.distance;
                self.certain = found.certain;
                self.node = match found.row {
                    Some(tid) => {
                        self.tids.tids.push(tid);
                        NodeRows::of(found.link, found.lsn)
                    }
                    None => {
                        self.counts.pages += 1;
                        NodeRows::read(graph, found.link, &mut self.tids)?
                    }
                };
            } else if self.phase == Phase::End {
                return self.next_unplaced(graph);
            } else {
                self.advance(graph)?;
            }
        }
    }

    /// The next row without a place in the graph. Such rows come after all others, and belong to a
    /// scan with a radius only if they are within it (in PostgreSQL NaN is above all numbers).
    fn next_unplaced<S: PageStore>(&mut self, graph: &Graph<'_, S>) -> Result<Option<HeapTid>> {
        let is_within = self.limits.unplaced || self.limits.beyond == f32::INFINITY;
        if self.bounded || self.limits.iteration == Iteration::Off || !is_within {
            return Ok(None);
        }
        loop {
            if let Some(chain) = &mut self.chain {
                self.returned = chain.next(graph)?;
                if let Some(row) = self.returned {
                    self.last = chain.kind().distance();
                    // The chains have no filter values.
                    self.certain = !self.query.is_filtered();
                    return Ok(Some(row.tid));
                }
                self.counts += chain.counts();
            }
            // No condition on a NULL distance is true.
            let has_radius = self.limits.beyond < f32::INFINITY;
            let next = self.kinds.find(|&kind| !has_radius || kind == Unplaced::Zero);
            self.chain = next.map(|kind| ChainScan::new(kind, self.limits.killed));
            if next.is_none() {
                return Ok(None);
            }
        }
    }

    /// Makes more nodes ready, or moves on to the next phase.
    fn advance<S: PageStore>(&mut self, graph: &Graph<'_, S>) -> Result<()> {
        match self.phase {
            Phase::Start => {
                if self.list_at_once(graph)? {
                    return Ok(());
                }
                if self.limits.rounds == Rounds::None {
                    return self.begin_passes();
                }
                let width = beam_width(graph, self.limits.width);
                self.bound_search(graph, width)?;
                search::search(graph, &mut self.search, &self.query, self.limits.width, width)?;
                if let Some(share) = self.search.paused_at() {
                    if self.list_few(graph, share)? {
                        return Ok(());
                    }
                    search::go_on(graph, &mut self.search, &self.query)?;
                }
                if self.search.is_lost() {
                    if self.list_far(graph)? {
                        return Ok(());
                    }
                    self.collect()?;
                    search::resume(graph, &mut self.search, &self.query, width)?;
                }
                self.collect()?;
                self.complete_round(graph)?;
            }
            Phase::Listed => self.read_listed(graph)?,
            Phase::Rounds if self.is_at_radius() => {
                let within = std::mem::take(&mut self.farther);
                self.make_ready(within);
                self.phase = Phase::Late;
            }
            Phase::Rounds if self.search.met().len() >= self.limits.nodes || self.bytes() >= self.limits.bytes => {
                self.bounded = true;
                let mut rest = std::mem::take(&mut self.farther);
                let (killed, beyond) = (self.limits.killed, self.limits.beyond);
                let met = self.search.take_rest();
                let within = met.iter().filter(|met| met.distance <= beyond);
                rest.try_extend(within.filter_map(|met| Found::of(met, killed)))?;
                self.make_ready(rest);
                self.phase = Phase::Late;
            }
            Phase::Rounds if self.is_pass_cheaper(graph)? => self.begin_passes()?,
            Phase::Rounds => {
                // Rounds grow with what was met, so that a scan of everything takes time in
                // proportion.
                let count = self.limits.width.max(self.search.met().len() / ROUND_SHARE);
                self.round = Round::default();
                if search::resume(graph, &mut self.search, &self.query, beam_width(graph, count))? {
                    self.collect()?;
                    if self.search.was_cut() && self.limits.allow_pass(graph)? {
                        return self.begin_passes();
                    }
                    self.take_nearest(count)?;
                } else {
                    self.begin_passes()?;
                }
            }
            Phase::Passes if !self.farther.is_empty() => {
                let chunk = self.chunk;
                self.chunk = chunk.saturating_mul(CHUNK_GROWTH);
                self.take_nearest(chunk)?;
            }
            Phase::Passes => {
                // The memory belongs to the next pass.
                (self.ready, self.farther) = (Vec::new(), Vec::new());
                let passes = self.passes.as_mut();
                let next = match passes {
                    Some(passes) => passes.next(graph, &self.query, &self.limits, &mut self.counts)?,
                    None => None,
                };
                match next {
                    Some((found, bounded)) => {
                        self.bounded = bounded;
                        self.farther = found;
                        self.chunk = self.limits.width;
                    }
                    None => self.phase = Phase::End,
                }
            }
            Phase::Late => {
                // A scan that ended at a bound is not complete anyway: the order is worth more than
                // the rows.
                let late = std::mem::take(&mut self.late);
                if !self.bounded {
                    self.make_ready(late);
                }
                self.phase = Phase::End;
            }
            Phase::End => {}
        }
        Ok(())
    }

    /// Sets the ends of the rounds of a filtered search, and the ways after which it pauses where
    /// few nodes match.
    fn bound_search<S: PageStore>(&mut self, graph: &Graph<'_, S>, ways: usize) -> Result<()> {
        if !self.query.is_filtered() {
            return Ok(());
        }
        let allows_pass = self.limits.allow_pass(graph)?;
        let pass = match self.limits.rounds {
            Rounds::All => None,
            _ => Some(self.most_met(graph)?),
        };
        self.search.bound_filtered(Bounds {
            met: pass.unwrap_or(usize::MAX).min(self.limits.nodes),
            bytes: self.limits.memory.min(self.limits.bytes),
            pass: pass.filter(|_| allows_pass),
            pauses_after: matching::are_named(&self.query).then_some(ways),
        });
        Ok(())
    }

    /// Makes the nodes of the first round ready, after others if it found too few.
    fn complete_round<S: PageStore>(&mut self, graph: &Graph<'_, S>) -> Result<()> {
        let width = beam_width(graph, self.limits.width);
        // Further rounds of a filtered search follow if their rows are wanted.
        let is_coded = graph.space.layout.is_coded();
        let is_filtered = self.query.is_filtered() && is_coded;
        let has_radius = self.limits.beyond < f32::INFINITY;
        let goes_on = is_filtered && !has_radius && self.limits.iteration != Iteration::Off;
        let fewest = match goes_on {
            true => FEWEST_SETTLED.min(self.limits.width),
            false => self.limits.width,
        };
        // Nodes with many incoming links may have crowded out nodes with few.
        while self.round.live < fewest
            && !self.search.was_cut()
            && self.search.met().len() < self.limits.nodes
            && !self.is_pass_cheaper(graph)?
            && search::resume(graph, &mut self.search, &self.query, width)?
        {
            self.collect()?;
        }
        if self.search.was_cut() && self.limits.allow_pass(graph)? {
            // What an unsettled round found is no answer yet.
            return self.begin_passes();
        }
        self.take_nearest(self.limits.width)?;
        self.phase = if self.limits.iteration == Iteration::Off {
            Phase::End
        } else {
            Phase::Rounds
        };
        Ok(())
    }

    /// Whether another round costs more than a pass over all pages; true at the latest when the
    /// rounds have cost as much as one pass.
    fn is_pass_cheaper<S: PageStore>(&self, graph: &Graph<'_, S>) -> Result<bool> {
        if self.limits.rounds == Rounds::All {
            return Ok(false);
        }
        let is_cheaper = self.search.met().len() >= self.most_met(graph)? || self.bytes() >= self.limits.memory;
        Ok(is_cheaper && self.limits.allow_pass(graph)?)
    }

    /// Number of records met from which on a pass over all pages costs less than another round.
    fn most_met<S: PageStore>(&self, graph: &Graph<'_, S>) -> Result<usize> {
        let pages = graph.node_blocks()?.len() as f64;
        let pass = pages * (VISITS_PER_PAGE + f64::from(graph.space.layout.slots) * VISITS_PER_RECORD);
        let most = (MOST_VISITED as f64).max(pass * FEWEST_VISITED);
        Ok(pass.min(most).ceil() as usize)
    }

    /// Begins passes that return all nodes not returned yet, including nodes that rounds have met.
    fn begin_passes(&mut self) -> Result<()> {
        let mut unreturned = VisitedSet::new();
        let found = [&mut self.ready, &mut self.farther, &mut self.late].map(std::mem::take);
        for found in found.iter().flatten() {
            unreturned.insert(found.link.node)?;
        }
        for met in self.search.take_rest() {
            unreturned.insert(met.link.node)?;
        }
        let from = match self.limits.iteration {
            Iteration::Strict => self.last,
            Iteration::Relaxed | Iteration::Off => f32::NEG_INFINITY,
        };
        self.passes = Some(Passes::new(self.search.take_met(), unreturned, from));
        self.phase = Phase::Passes;
        Ok(())
    }

    /// Whether at least half of the nodes that the last round met are beyond the radius: further
    /// nodes within it are not expected.
    fn is_at_radius(&self) -> bool {
        let Round { live, within } = self.round;
        self.limits.beyond < f32::INFINITY && live > 0 && WITHIN_RADIUS * within <= live
    }

    /// Takes over the results of a round.
    fn collect(&mut self) -> Result<()> {
        let beam = self.search.beam();
        self.farther.room(beam.len())?;
        for met in beam.iter().filter(|met| met.live) {
            let Some(found) = Found::of(met, self.limits.killed) else {
                self.counts.dead_rows += 1;
                continue;
            };
            self.round.live += 1;
            if met.distance <= self.limits.beyond {
                self.round.within += 1;
                self.farther.push(found);
            }
        }
        Ok(())
    }

    /// Makes the nearest `count` of the nodes found ready.
    fn take_nearest(&mut self, count: usize) -> Result<()> {
        if self.farther.len() <= count {
            let found = std::mem::take(&mut self.farther);
            self.make_ready(found);
            return Ok(());
        }
        let order = |a: &Found, b: &Found| a.distance.total_cmp(&b.distance);
        if !self.farther.is_sorted_by(|a, b| order(a, b).is_le()) {
            self.farther.select_nth_unstable_by(count - 1, order);
        }
        let mut nearest = std::mem::take(&mut self.ready);
        nearest.room(count)?;
        nearest.extend(self.farther.drain(..count));
        self.make_ready(nearest);
        Ok(())
    }

    fn make_ready(&mut self, mut found: Vec<Found>) {
        // A first round has them in order, the nearest first.
        match found.is_sorted_by(|a, b| a.distance.total_cmp(&b.distance).is_le()) {
            true => found.reverse(),
            false => found.sort_unstable_by(|a, b| b.distance.total_cmp(&a.distance)),
        }
        self.ready = found;
    }

    fn bytes(&self) -> usize {
        self.search.bytes()
            + self.listed.as_ref().map_or(0, Listed::bytes)
            + self.passes.as_ref().map_or(0, Passes::bytes)
            + (self.late.capacity() + self.ready.capacity() + self.farther.capacity()) * size_of::<Found>()
    }
}

/// The width of a first round for so many rows, of a scan that would go on otherwise.
pub fn width_of_rows(rows: f64) -> usize {
    (rows * WIDTH_PER_ROW).round() as usize
}

/// The greatest width to which the first round of a scan of many rows grows, in an index of about
/// so many nodes.
pub fn most_width(nodes: f64) -> usize {
    (nodes / NODES_PER_ROW).clamp(0.0, MOST_WIDENED) as usize
}

/// The width of the search of a scan with this setting.
fn beam_width<S: PageStore>(graph: &Graph<'_, S>, width: usize) -> usize {
    let shape = graph.space.layout.shape;
    let (times, of) = match shape {
        shape if shape.code_bits == 0 => PLAIN_BEAM,
        shape if shape.is_compact() => COMPACT_BEAM,
        shape if shape.has_whole_codes() => WHOLE_CODES_BEAM,
        _ => CODED_BEAM,
    };
    (width * times).div_ceil(of)
}
