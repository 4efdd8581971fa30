//! The scan: rows in order of distance, as many as are asked for.
//!
//! A scan goes in rounds. The first is a search of level 0 as wide as `ef_search`; each further one goes on with what the rounds
//! before met and spilled, as if the beam had been that much wider from the start. Complete passes over the pages ([`pass`])
//! take over where the rounds have cost as much as one of them, or the graph has nothing left: so a scan returns every row, in
//! order of distance, and the cost of the last ones is bounded. A scan whose order has to be that of the operator's distances
//! ([`Keys::Least`]) consists of passes alone.
//!
//! A later round may find a row nearer than one returned already. In strict order such rows are held back until everything else
//! has been returned: the order holds for every scan that does not drain the index, and no row is lost. A scan that a bound of
//! the user's ends keeps the order and leaves them out.
//!
//! Rows without a place in the graph come last, where nothing has ended the scan before.
//!
//! [`pass`]: crate::hnsw::scan::pass

mod pass;
pub mod staged_merge;

use std::collections::HashSet;

use crate::error::Result;
use crate::fallible::{Room, TryPush};
use crate::hnsw::Graph;
use crate::hnsw::distance_bounds::Keys;
use crate::hnsw::heap_tids::Returned;
use crate::hnsw::heap_tids::unplaced::ChainScan;
use crate::hnsw::scan::pass::Passes;
use crate::hnsw::search::visited_set::VisitedSet;
use crate::hnsw::search::{Candidate, Counts, Search};
use crate::hnsw::space::Query;
use crate::storage::format::Unplaced;
use crate::storage::record::Entry;
use crate::storage::{BlockNumber, HeapTid, Link, NodeRef, PageStore, corrupted};

/// How a scan goes on beyond its first round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Iteration {
    /// It ends there.
    Off,
    /// It goes on; rows may come somewhat out of order.
    Relaxed,
    /// It goes on; rows come in order.
    Strict,
}

/// The bounds of a scan.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Nodes that a round returns at the least, if there are so many: `ef_search`.
    pub width: usize,
    /// How it goes on.
    pub iteration: Iteration,
    /// Nodes met before it goes on no further; `usize::MAX` if nobody set a bound.
    pub nodes: usize,
    /// Bytes of memory before it goes on no further; `usize::MAX` if nobody set a bound.
    pub bytes: usize,
    /// How rounds and passes share the work.
    pub rounds: Rounds,
    /// Bytes of memory in which a pass keeps nodes, and beyond which no further round begins.
    pub memory: usize,
    /// Form of the keys that rows are ordered by.
    pub keys: Keys,
    /// Whether it also returns rows that are marked as dead to everyone: on a standby there may be someone left.
    pub killed: bool,
    /// Order key beyond which nothing is wanted ([`crate::hnsw::space::Space::max_key_within`]).
    pub beyond: f32,
    /// Whether rows without a place in the graph are wanted all the same where there is such a key.
    pub unplaced: bool,
}

impl Limits {
    /// Limits that end no scan: one of this width returns every row, by the graph as far as that leads.
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

    /// As they are, but rows come in order.
    pub fn strict(self) -> Limits {
        let iteration = match self.iteration {
            Iteration::Off => Iteration::Off,
            Iteration::Relaxed | Iteration::Strict => Iteration::Strict,
        };
        Limits { iteration, ..self }
    }

    /// As they are, but rows come in the order of lower bounds of their distances.
    pub fn by_least_distances(self) -> Limits {
        Limits {
            keys: Keys::Least,
            ..self.strict()
        }
    }

    /// As [`Limits::by_least_distances`], by passes alone; by rounds where bounds that somebody set have no room for all nodes.
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

    /// Whether the bounds that somebody set have room for all nodes. If not, rounds come to them.
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

/// How long a scan goes by the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rounds {
    /// Not at all.
    None,
    /// Until they have cost as much as a pass.
    Cheaper,
    /// As long as the graph leads anywhere.
    All,
}

/// Records that rounds visit at the most before passes take over.
const MOST_VISITED: usize = 20_000;

/// The same as a share of what a pass costs, where that is more.
const FEWEST_VISITED: f64 = 0.25;

/// Cost of a pass in visits of a round: of a page, and of each record on it (measured: docs/design.md, *Complete scans*).
const VISITS_PER_PAGE: f64 = 0.3;
const VISITS_PER_RECORD: f64 = 0.15;

/// Nodes of a pass that are sorted at first, in searches of the default width; then four times as many.
const CHUNK_GROWTH: usize = 4;

/// The beam of a scan is wider than its setting by this ratio: at an equal setting it then finds no less than a plain graph
/// whose nodes have all their links (measured; and still visits fewer pages). A coded search visits fewer records than it is wide,
/// and by estimates, which err more where codes leave coordinates out.
const PLAIN_BEAM: (usize, usize) = (7, 4);
const WHOLE_CODES_BEAM: (usize, usize) = (4, 1);
const CODED_BEAM: (usize, usize) = (5, 1);

/// A later round returns at least this part of the nodes met before it.
const ROUND_SHARE: usize = 16;

/// A node that is going to be returned.
#[derive(Debug, Clone, Copy)]
pub(in crate::hnsw) struct Found {
    pub(in crate::hnsw) distance: f32,
    pub(in crate::hnsw) link: Link,
    /// Its only row, if that is known.
    pub(in crate::hnsw) row: Option<HeapTid>,
    /// When it was read.
    pub(in crate::hnsw) lsn: u64,
}

impl Found {
    /// What a search met, if it is a live node, and its only row is not marked as dead; or all the same with `killed`.
    fn of(candidate: &Candidate, killed: bool) -> Option<Found> {
        let &Candidate {
            key,
            link,
            live,
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
        })
    }
}

/// A node whose rows are being returned: those in its level-0 record first, then one extension after the other.
struct Node {
    link: Link,
    /// Where the rows come from that were read last, and when they were read.
    record: NodeRef,
    lsn: u64,
    next: NodeRef,
    /// Extensions read so far, and their rows, for the case that VACUUM unlinks the next one: then the chain is read from its
    /// start again.
    met: HashSet<NodeRef>,
    returned: HashSet<HeapTid>,
    restarts: usize,
}

/// How often a chain is read again from its start before it counts as damaged.
const RESTARTS: usize = 1000;

impl Node {
    /// A node whose first rows were read, and that has no others.
    fn of(link: Link, lsn: u64) -> Node {
        Node {
            link,
            record: link.node,
            lsn,
            next: NodeRef::NONE,
            met: HashSet::new(),
            returned: HashSet::new(),
            restarts: 0,
        }
    }

    fn read<S: PageStore>(graph: &Graph<'_, S>, link: Link, tids: &mut Tids) -> Result<Node> {
        let (next, lsn) = graph.first_tids(link, |entry| tids.add(entry))?;
        let mut node = Node {
            next,
            ..Node::of(link, lsn)
        };
        node.keep_new(tids)?;
        Ok(node)
    }

    /// Reads the next rows; says whether there may be more.
    fn read_on<S: PageStore>(&mut self, graph: &Graph<'_, S>, tids: &mut Tids) -> Result<bool> {
        let Some(extension) = self.next.some() else {
            return Ok(false);
        };
        graph.store.check_interrupts();
        // One that was met before has been unlinked and used again since.
        self.met.room(1)?;
        let next = match self.met.insert(extension) {
            true => graph.more_tids(self.link, extension, |entry| tids.add(entry))?,
            false => None,
        };
        match next {
            Some((next, lsn)) => {
                self.next = next;
                (self.record, self.lsn) = (extension, lsn);
            }
            None if self.restarts == RESTARTS => {
                return corrupted(
                    graph.space.layout.block(extension),
                    "a node's TID extension is not its own",
                );
            }
            None => {
                self.restarts += 1;
                self.met.clear();
                (self.next, self.lsn) = graph.first_tids(self.link, |entry| tids.add(entry))?;
                self.record = self.link.node;
            }
        }
        self.keep_new(tids)?;
        Ok(true)
    }

    /// Leaves the rows that were not returned yet, the first one last. Only a node with a chain has to remember them.
    fn keep_new(&mut self, Tids { tids, .. }: &mut Tids) -> Result<()> {
        if self.next != NodeRef::NONE || !self.returned.is_empty() {
            self.returned.room(tids.len())?;
            tids.retain(|&tid| self.returned.insert(tid));
        }
        tids.reverse();
        Ok(())
    }
}

/// Rows to be returned, next last.
struct Tids {
    tids: Vec<HeapTid>,
    /// Whether those marked as dead are, too.
    killed: bool,
    /// How many were left out.
    dead: u64,
}

impl Tids {
    fn add(&mut self, entry: Entry) {
        if self.killed || !entry.killed {
            self.tids.push(entry.tid);
        } else {
            self.dead += 1;
        }
    }
}

/// Where a scan stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Start,
    Rounds,
    Passes,
    Late,
    End,
}

/// Live nodes that a round has met, and of these the ones within the radius.
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
    /// Nodes to be returned, nearest last.
    ready: Vec<Found>,
    /// Nodes that were found farther away than those: there may be others before them.
    farther: Vec<Found>,
    /// The node being returned.
    node: Node,
    /// Its rows that were read.
    tids: Tids,
    /// The row returned last.
    returned: Option<Returned>,
    /// Nodes held back by the strict order.
    late: Vec<Found>,
    /// Distance of the last node returned.
    last: f32,
    bounded: bool,
    /// Nodes that the round has met.
    round: Round,
    /// The complete passes, once they have begun.
    passes: Option<Passes>,
    /// Nodes of a pass that are made ready next.
    chunk: usize,
    /// The rows without a place in the graph that are being returned, and the kinds that are still to come.
    chain: Option<ChainScan>,
    kinds: std::array::IntoIter<Unplaced, 2>,
    /// What was read besides the search.
    counts: Counts,
}

impl Scan {
    /// A scan for the neighbours of a query.
    pub fn new(query: Query, limits: Limits) -> Scan {
        Scan {
            query,
            limits,
            search: match limits.iteration {
                Iteration::Off => Search::new(),
                Iteration::Relaxed | Iteration::Strict => Search::resumable(),
            }
            .with_keys(limits.keys),
            phase: Phase::Start,
            ready: Vec::new(),
            farther: Vec::new(),
            node: Node::of(
                Link {
                    node: NodeRef::NONE,
                    generation: 0,
                },
                0,
            ),
            tids: Tids {
                tids: Vec::new(),
                killed: limits.killed,
                dead: 0,
            },
            returned: None,
            late: Vec::new(),
            last: f32::NEG_INFINITY,
            bounded: false,
            round: Round::default(),
            passes: None,
            chunk: limits.width,
            chain: None,
            kinds: Unplaced::ALL.into_iter(),
            counts: Counts::default(),
        }
    }

    /// What the scan has done so far.
    pub fn counts(&self) -> Counts {
        let mut counts = self.search.counts;
        counts += self.counts;
        counts += self.chain.as_ref().map_or_else(Counts::default, ChainScan::counts);
        counts.dead_rows += self.tids.dead;
        counts
    }

    /// Whether a bound ended the scan before the index did.
    pub fn was_bounded(&self) -> bool {
        self.bounded
    }

    /// Whether nodes were found that are still to be returned.
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Nodes that the first pass found and no round had met: where the rounds went on to the end ([`Rounds::All`]), those that the
    /// graph does not lead to.
    pub fn unmet(&self) -> usize {
        self.passes.as_ref().map_or(0, Passes::unmet)
    }

    /// The block that named the row returned last.
    pub fn block<S: PageStore>(&self, graph: &Graph<'_, S>) -> BlockNumber {
        let node = self.node.link.node;
        graph.space.layout.block(self.returned.map_or(node, |row| row.record))
    }

    /// The distance of the row returned last, and where it was read of.
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
                // Passes keep to the order themselves.
                let by_graph = matches!(self.phase, Phase::Rounds | Phase::Late);
                if by_graph && found.distance < self.last && self.limits.iteration == Iteration::Strict {
                    self.late.try_push(found)?;
                    continue;
                }
                self.last = found.distance;
                self.node = match found.row {
                    Some(tid) => {
                        self.tids.tids.push(tid);
                        Node::of(found.link, found.lsn)
                    }
                    None => {
                        self.counts.pages += 1;
                        Node::read(graph, found.link, &mut self.tids)?
                    }
                };
            } else if self.phase == Phase::End {
                return self.next_unplaced(graph);
            } else {
                self.advance(graph)?;
            }
        }
    }

    /// The next of the rows without a place in the graph: after all that have one, and beyond a radius unless they are within it
    /// (for PostgreSQL NaN is above all numbers).
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
                    return Ok(Some(row.tid));
                }
                self.counts += chain.counts();
            }
            // No condition on a distance that is NULL is true.
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
            Phase::Start if self.limits.rounds == Rounds::None => self.begin_passes()?,
            Phase::Start => {
                let width = graph.beam_width(self.limits.width);
                graph.search(&mut self.search, &self.query, self.limits.width, width)?;
                self.collect()?;
                // What many lead to may have crowded out what few do.
                while self.round.live < self.limits.width
                    && self.search.met().len() < self.limits.nodes
                    && !self.is_pass_cheaper(graph)?
                    && graph.resume(&mut self.search, &self.query, width)?
                {
                    self.collect()?;
                }
                self.take_nearest(self.limits.width)?;
                self.phase = if self.limits.iteration == Iteration::Off {
                    Phase::End
                } else {
                    Phase::Rounds
                };
            }
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
                // Rounds grow with what was met, so that a scan of everything takes time in proportion.
                let count = self.limits.width.max(self.search.met().len() / ROUND_SHARE);
                self.round = Round::default();
                if graph.resume(&mut self.search, &self.query, graph.beam_width(count))? {
                    self.collect()?;
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
                // The memory is the next pass's.
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
                // A scan that a bound ended is not complete anyway: then the order is worth more than the rows.
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

    /// Whether going on by the graph costs more than a pass over everything: at the latest when it has cost as much.
    fn is_pass_cheaper<S: PageStore>(&self, graph: &Graph<'_, S>) -> Result<bool> {
        if self.limits.rounds == Rounds::All {
            return Ok(false);
        }
        let met = self.search.met().len();
        let pages = graph.node_blocks()?.len() as f64;
        let pass = pages * (VISITS_PER_PAGE + f64::from(graph.space.layout.slots) * VISITS_PER_RECORD);
        let most = (MOST_VISITED as f64).max(pass * FEWEST_VISITED);
        let is_cheaper = met as f64 >= pass.min(most) || self.bytes() >= self.limits.memory;
        Ok(is_cheaper && self.limits.allow_pass(graph)?)
    }

    /// Leaves it to passes to return everything that was not returned, also of what rounds have met.
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

    /// Whether the last round has met more nodes beyond the radius than within: others are not expected there.
    fn is_at_radius(&self) -> bool {
        let Round { live, within } = self.round;
        self.limits.beyond < f32::INFINITY && live > 0 && 2 * within <= live
    }

    /// Takes over what a round found.
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

    /// Makes the nearest `count` of what was found ready.
    fn take_nearest(&mut self, count: usize) -> Result<()> {
        let Some(others) = self.farther.len().checked_sub(count).filter(|&others| others > 0) else {
            let found = std::mem::take(&mut self.farther);
            self.make_ready(found);
            return Ok(());
        };
        // The nearest come to the end.
        self.farther
            .select_nth_unstable_by(others - 1, |a, b| b.distance.total_cmp(&a.distance));
        let mut nearest = std::mem::take(&mut self.ready);
        nearest.room(count)?;
        nearest.extend(self.farther.drain(others..));
        self.make_ready(nearest);
        Ok(())
    }

    fn make_ready(&mut self, mut found: Vec<Found>) {
        found.sort_unstable_by(|a, b| b.distance.total_cmp(&a.distance));
        self.ready = found;
    }

    fn bytes(&self) -> usize {
        self.search.bytes()
            + self.passes.as_ref().map_or(0, Passes::bytes)
            + (self.late.capacity() + self.ready.capacity() + self.farther.capacity()) * size_of::<Found>()
    }
}

impl<S: PageStore> Graph<'_, S> {
    /// How wide the search of a scan is whose setting is `width`.
    fn beam_width(&self, width: usize) -> usize {
        let shape = self.space.layout.shape;
        let (times, of) = match shape {
            shape if shape.code_bits == 0 => PLAIN_BEAM,
            shape if shape.has_whole_codes() => WHOLE_CODES_BEAM,
            _ => CODED_BEAM,
        };
        (width * times).div_ceil(of)
    }
}
