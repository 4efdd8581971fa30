//! The scan: rows in order of distance, as many as are asked for.
//!
//! A scan goes in rounds. The first is a search of level 0 as wide as `ef_search`; each further one goes on with what the rounds
//! before met and put aside, as if the beam had been that much wider from the start. When the graph has nothing left, a sweep over the
//! pages finds the nodes that it does not reach (a crash may leave some), so that a scan without bounds returns every row.
//!
//! A later round may find a row nearer than one returned already. In strict order such rows are held back until everything else has
//! been returned: the order holds for every scan that does not drain the index, and no row is lost. A scan that a bound ends
//! keeps the order and leaves them out.

use std::collections::HashSet;

use super::Graph;
use super::search::{Candidate, Counts, Search};
use super::space::Query;
use super::tids::Returned;
use crate::error::Result;
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
    /// Nodes met before it goes on no further.
    pub nodes: usize,
    /// Bytes of memory before it goes on no further.
    pub bytes: usize,
    /// Whether it also returns rows that are marked as dead to everyone: on a standby there may be someone left.
    pub killed: bool,
    /// Order key beyond which nothing is wanted ([`super::space::Space::key_beyond`]).
    pub beyond: f32,
}

/// The beam of a scan is wider than its setting by this ratio: at an equal setting it then finds no less than a plain graph
/// whose nodes have all their links (measured; and still visits fewer pages). A coded search visits fewer records than it is wide,
/// and by estimates, which err more where codes leave coordinates out.
const PLAIN_BEAM: (usize, usize) = (7, 4);
const WHOLE_CODES_BEAM: (usize, usize) = (4, 1);
const CODED_BEAM: (usize, usize) = (5, 1);

/// A later round returns at least this part of the nodes met before it.
const ROUND_SHARE: usize = 64;

/// A node that is going to be returned.
#[derive(Debug, Clone, Copy)]
struct Found {
    distance: f32,
    link: Link,
    /// Its only row, if that is known.
    row: Option<HeapTid>,
    /// When it was read.
    lsn: u64,
}

impl Found {
    /// What a search met, if it is a live node, and its only row is not marked as dead; or all the same with `killed`.
    fn of(candidate: &Candidate, killed: bool) -> Option<Found> {
        let &Candidate {
            distance,
            link,
            live,
            row,
            lsn,
            ..
        } = candidate;
        let wanted = live && (killed || row.is_none_or(|row| !row.killed));
        let row = row.map(|row| row.tid);
        wanted.then_some(Found {
            distance,
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
        node.keep_new(tids);
        Ok(node)
    }

    /// Reads the next rows; says whether there may be more.
    fn read_on<S: PageStore>(&mut self, graph: &Graph<'_, S>, tids: &mut Tids) -> Result<bool> {
        let Some(extension) = self.next.some() else {
            return Ok(false);
        };
        graph.store.check_interrupts();
        // One that was met before has been unlinked and used again since.
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
        self.keep_new(tids);
        Ok(true)
    }

    /// Leaves the rows that were not returned yet, the first one last. Only a node with a chain has to remember them.
    fn keep_new(&mut self, Tids { tids, .. }: &mut Tids) {
        if self.next != NodeRef::NONE || !self.returned.is_empty() {
            tids.retain(|&tid| self.returned.insert(tid));
        }
        tids.reverse();
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
    Sweep,
    Late,
    End,
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
    /// Nodes that only the sweep found.
    swept: usize,
    /// What was read besides the search.
    counts: Counts,
}

impl Scan {
    /// A scan for the neighbours of a query.
    pub fn new(query: Query, limits: Limits) -> Scan {
        Scan {
            query,
            limits,
            search: if limits.iteration == Iteration::Off {
                Search::new()
            } else {
                Search::resumable()
            },
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
            swept: 0,
            counts: Counts::default(),
        }
    }

    /// What the scan has done so far.
    pub fn counts(&self) -> Counts {
        let mut counts = self.search.counts;
        counts += self.counts;
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

    /// The number of nodes that the graph did not lead to.
    pub fn swept(&self) -> usize {
        self.swept
    }

    /// The block that named the row returned last.
    pub fn block<S: PageStore>(&self, graph: &Graph<'_, S>) -> BlockNumber {
        graph.space.layout.block(self.node.link.node)
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
                if found.distance > self.limits.beyond && self.phase != Phase::End {
                    self.end_at_radius();
                    continue;
                }
                if found.distance < self.last && self.limits.iteration == Iteration::Strict && self.phase != Phase::End
                {
                    self.late.push(found);
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
                return Ok(None);
            } else {
                self.advance(graph)?;
            }
        }
    }

    /// Makes more nodes ready, or moves on to the next phase.
    fn advance<S: PageStore>(&mut self, graph: &Graph<'_, S>) -> Result<()> {
        match self.phase {
            Phase::Start => {
                let width = graph.beam_width(self.limits.width);
                graph.search(&mut self.search, &self.query, width)?;
                self.collect();
                // What many lead to may have crowded out what few do.
                while self.farther.len() < self.limits.width
                    && self.search.met().len() < self.limits.nodes
                    && graph.resume(&mut self.search, &self.query, width)?
                {
                    self.collect();
                }
                self.take_nearest(self.limits.width);
                self.phase = if self.limits.iteration == Iteration::Off {
                    Phase::End
                } else {
                    Phase::Rounds
                };
            }
            Phase::Rounds if self.search.met().len() >= self.limits.nodes || self.bytes() >= self.limits.bytes => {
                self.bounded = true;
                let mut rest = std::mem::take(&mut self.farther);
                let killed = self.limits.killed;
                rest.extend(self.search.take_rest().iter().filter_map(|met| Found::of(met, killed)));
                self.make_ready(rest);
                self.phase = Phase::Late;
            }
            Phase::Rounds => {
                // Rounds grow with what was met, so that a scan of everything takes time in proportion.
                let count = self.limits.width.max(self.search.met().len() / ROUND_SHARE);
                if graph.resume(&mut self.search, &self.query, graph.beam_width(count))? {
                    self.collect();
                    self.take_nearest(count);
                } else {
                    let farther = std::mem::take(&mut self.farther);
                    self.make_ready(farther);
                    self.phase = Phase::Sweep;
                }
            }
            Phase::Sweep => {
                let nodes = self.limits.nodes.saturating_sub(self.search.met().len());
                let most = nodes.min(self.limits.bytes.saturating_sub(self.bytes()) / size_of::<Found>());
                self.counts.pages += u64::from(graph.store.blocks()?);
                let unreached = graph.unreached(&self.search, &self.query, most)?;
                self.bounded = unreached.len() >= most;
                self.swept = unreached.len();
                self.make_ready(unreached);
                self.phase = Phase::Late;
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

    /// What is left is beyond the bound; what was held back is not.
    fn end_at_radius(&mut self) {
        self.ready.clear();
        self.farther.clear();
        self.phase = Phase::Late;
    }

    /// Takes over what a round found.
    fn collect(&mut self) {
        let (killed, before) = (self.limits.killed, self.farther.len());
        let live = self.search.beam().iter().filter(|met| met.live);
        let met = live.clone().count();
        self.farther.extend(live.filter_map(|met| Found::of(met, killed)));
        self.counts.dead_rows += (met - (self.farther.len() - before)) as u64;
    }

    /// Makes the nearest `count` of what was found ready.
    fn take_nearest(&mut self, count: usize) {
        let mut found = std::mem::take(&mut self.farther);
        if found.len() > count {
            found.select_nth_unstable_by(count, |a, b| a.distance.total_cmp(&b.distance));
            self.farther = found.split_off(count);
        }
        self.make_ready(found);
    }

    fn make_ready(&mut self, mut found: Vec<Found>) {
        found.sort_unstable_by(|a, b| b.distance.total_cmp(&a.distance));
        self.ready = found;
    }

    fn bytes(&self) -> usize {
        self.search.bytes()
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

    /// The nodes that a search which has followed every link did not meet, but no more than about `most`.
    fn unreached(&self, search: &Search, query: &Query, most: usize) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        for block in self.node_blocks()? {
            if found.len() >= most {
                break;
            }
            self.store.check_interrupts();
            let mut unmet = Vec::new();
            self.live_on(block, |link, _| {
                if !search.met().contains(link.node) {
                    unmet.push(link);
                }
            })?;
            for link in unmet {
                let distance = self.read_distance(query, link.node, |_, distance| Ok(distance))?;
                found.push(Found {
                    distance,
                    link,
                    row: None,
                    lsn: 0,
                });
            }
        }
        Ok(found)
    }
}
