//! The scan: rows in order of distance, as many as are asked for.
//!
//! A scan goes in rounds. The first is a search of level 0 as wide as `ef_search`; each further one goes on with what the rounds
//! before met and put aside, as if the beam had been that much wider from the start. When the graph has nothing left, a sweep over the
//! pages finds the nodes that it does not reach (a crash may leave some), so that a scan without bounds returns every row.
//!
//! A later round may find a row nearer than one returned already. In strict order such rows are held back until everything else has
//! been returned: the order holds for every scan that does not drain the index, and no row is lost.

use super::Graph;
use super::search::Search;
use crate::error::Result;
use crate::storage::record::{NodePage, State};
use crate::storage::{BlockNumber, HeapTid, Link, NodeRef, PageStore, page};

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
}

/// The beam of a scan is wider than its setting by this ratio: at an equal setting it then finds no less than a graph
/// whose nodes have all their links (measured; and still visits fewer pages).
const BEAM: (usize, usize) = (5, 4);

fn beam_width(width: usize) -> usize {
    (width * BEAM.0).div_ceil(BEAM.1)
}

/// A node that is going to be returned.
#[derive(Debug, Clone, Copy)]
struct Found {
    distance: f32,
    link: Link,
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
    query: Vec<f32>,
    limits: Limits,
    search: Search,
    phase: Phase,
    /// Nodes to be returned, nearest last.
    ready: Vec<Found>,
    /// The node being returned.
    node: NodeRef,
    /// Its rows, next last.
    tids: Vec<HeapTid>,
    /// Nodes held back by the strict order.
    late: Vec<Found>,
    /// Distance of the last node returned.
    last: f32,
    bounded: bool,
    /// Nodes that only the sweep found.
    swept: usize,
}

impl Scan {
    /// A scan for the neighbours of `query` (normalised where the metric wants it).
    pub fn new(query: Vec<f32>, limits: Limits) -> Scan {
        Scan {
            query,
            limits,
            search: Search::resumable(),
            phase: Phase::Start,
            ready: Vec::new(),
            node: NodeRef::NONE,
            tids: Vec::new(),
            late: Vec::new(),
            last: f32::NEG_INFINITY,
            bounded: false,
            swept: 0,
        }
    }

    /// Whether a bound ended the scan before the index did.
    pub fn was_bounded(&self) -> bool {
        self.bounded
    }

    /// The number of nodes that the graph did not lead to.
    pub fn swept(&self) -> usize {
        self.swept
    }

    /// The block that named the row returned last.
    pub fn block<S: PageStore>(&self, graph: &Graph<'_, S>) -> BlockNumber {
        graph.layout.block(self.node)
    }

    /// The next row, or none.
    pub fn next<S: PageStore>(&mut self, graph: &Graph<'_, S>) -> Result<Option<HeapTid>> {
        loop {
            if let Some(tid) = self.tids.pop() {
                return Ok(Some(tid));
            }
            if let Some(found) = self.ready.pop() {
                if found.distance < self.last && self.limits.iteration == Iteration::Strict && self.phase != Phase::End
                {
                    self.late.push(found);
                    continue;
                }
                self.last = found.distance;
                self.node = found.link.node;
                graph.tids(found.link, &mut self.tids)?;
                self.tids.reverse();
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
                graph.search(&mut self.search, &self.query, beam_width(self.limits.width))?;
                self.take_beam();
                if self.limits.iteration == Iteration::Off {
                    let beyond = self.ready.len().saturating_sub(self.limits.width);
                    self.ready.drain(..beyond);
                }
                self.phase = if self.limits.iteration == Iteration::Off {
                    Phase::End
                } else {
                    Phase::Rounds
                };
            }
            Phase::Rounds if self.search.met().len() >= self.limits.nodes || self.bytes() >= self.limits.bytes => {
                self.bounded = true;
                let rest = self.search.take_rest();
                self.make_ready(
                    rest.iter()
                        .map(|c| Found {
                            distance: c.distance,
                            link: c.link,
                        })
                        .collect(),
                );
                self.phase = Phase::Late;
            }
            Phase::Rounds => {
                if graph.resume(&mut self.search, &self.query, beam_width(self.limits.width))? {
                    self.take_beam();
                } else {
                    self.phase = Phase::Sweep;
                }
            }
            Phase::Sweep => {
                let unreached = graph.unreached(&self.search, &self.query)?;
                self.swept = unreached.len();
                self.make_ready(unreached);
                self.phase = Phase::Late;
            }
            Phase::Late => {
                let late = std::mem::take(&mut self.late);
                self.make_ready(late);
                self.phase = Phase::End;
            }
            Phase::End => {}
        }
        Ok(())
    }

    fn take_beam(&mut self) {
        let found = self.search.beam().iter().rev().map(|c| Found {
            distance: c.distance,
            link: c.link,
        });
        self.ready.extend(found);
    }

    fn make_ready(&mut self, mut found: Vec<Found>) {
        found.sort_unstable_by(|a, b| b.distance.total_cmp(&a.distance));
        self.ready = found;
    }

    fn bytes(&self) -> usize {
        self.search.bytes() + (self.late.capacity() + self.ready.capacity()) * size_of::<Found>()
    }
}

impl<S: PageStore> Graph<'_, S> {
    /// The nodes that a search which has followed every link did not meet.
    fn unreached(&self, search: &Search, query: &[f32]) -> Result<Vec<Found>> {
        let mut found = Vec::new();
        for block in 1..self.store.blocks()? {
            self.store.check_interrupts();
            self.store.read(block, |page| {
                if page::is_new(page) {
                    return Ok(());
                }
                for record in NodePage::new(page, block, &self.layout)?.records() {
                    let (node, record) = record?;
                    if record.state() == State::Node && record.level() == 0 && !search.met().contains(node) {
                        let link = Link {
                            node,
                            generation: record.generation(),
                        };
                        found.push(Found {
                            distance: self.distance(query, &record),
                            link,
                        });
                    }
                }
                Ok(())
            })?;
        }
        Ok(found)
    }
}
