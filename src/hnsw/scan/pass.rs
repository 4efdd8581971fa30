//! Complete passes over the pages of an index: they return the nodes that a scan has not returned
//! yet, nearest first.
//!
//! A pass keeps the nearest nodes that fit its memory. If others are left, the next pass begins
//! after the last of the kept ones, so any number of rows comes in order within bounded memory.
//! Each pass meets every node that existed when the scan began, because a TID never moves and a
//! vector never changes: no node is lost between two passes, and none comes twice.

use crate::error::{Error, Result};
use crate::filter::condition::Match;
use crate::hnsw::Graph;
use crate::hnsw::scan::{Found, Limits};
use crate::hnsw::search::visited_set::VisitedSet;
use crate::hnsw::search::{self, Counts};
use crate::hnsw::space::Query;
use crate::hnsw::tuning::scan::HELD_BACK_SHARE;
use crate::storage::node_page::NodePage;
use crate::storage::record::{Record, State};
use crate::storage::{BlockNumber, Link, NodeRef, PageStore};

/// Place of a node in the order of passes: by distance, then by address, so that no two places are
/// equal.
fn place(distance: f32, node: NodeRef) -> u64 {
    let bits = distance.to_bits();
    let ordered = if bits >> 31 == 1 { !bits } else { bits | 1 << 31 };
    u64::from(ordered) << 32 | u64::from(node.0)
}

/// The first nodes of a range of places, as many as there is memory for.
struct Nearest {
    found: Vec<Found>,
    most: usize,
    /// The range; nodes left out for want of memory begin at its end.
    start: u64,
    end: u64,
    left_out: bool,
}

impl Nearest {
    /// Up to twice as many are held between two selections.
    fn new(start: u64, end: u64, bytes: usize) -> Nearest {
        Nearest {
            found: Vec::new(),
            most: (bytes / (2 * size_of::<Found>())).max(1),
            start,
            end,
            left_out: false,
        }
    }

    fn push(&mut self, found: Found) -> Result<()> {
        let place = place(found.distance, found.link.node);
        if !(self.start..self.end).contains(&place) {
            return Ok(());
        }
        if self.found.len() == self.found.capacity() {
            let more = self.found.len().max(1024).min(2 * self.most - self.found.len());
            self.found.try_reserve_exact(more).map_err(|_| Error::OutOfMemory)?; // No more than it may hold.
        }
        self.found.push(found);
        if self.found.len() >= 2 * self.most {
            self.shrink();
        }
        Ok(())
    }

    fn shrink(&mut self) {
        if self.found.len() > self.most {
            let key = |found: &Found| place(found.distance, found.link.node);
            let (_, first, _) = self.found.select_nth_unstable_by_key(self.most, key);
            self.end = key(first);
            self.found.truncate(self.most);
            self.left_out = true;
        }
    }
}

/// The passes of a scan.
pub(super) struct Passes {
    /// Records that the rounds met, and the ones among them with nodes that were not returned.
    met: VisitedSet,
    unreturned: VisitedSet,
    /// Start of the range of the next pass.
    start: u64,
    /// Nodes before this place are held back until all others are returned.
    held_back: u64,
    /// The nodes before [`Passes::held_back`], if the first pass had memory for all of them.
    nearer: Option<Vec<Found>>,
    stage: Stage,
    /// Nodes that the first pass found and no round had met.
    unmet: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The first pass, which also counts nodes that no round met.
    First,
    /// A pass that continues the first one.
    Further,
    /// The nodes before [`Passes::held_back`].
    HeldBack,
    /// No pass is left.
    End,
}

impl Passes {
    /// Passes after rounds that met these records. They return all nodes except the returned ones,
    /// from a distance on; nearer nodes come last.
    pub(super) fn new(met: VisitedSet, unreturned: VisitedSet, from: f32) -> Passes {
        let start = if from == f32::NEG_INFINITY {
            0
        } else {
            place(from, NodeRef(0))
        };
        Passes {
            met,
            unreturned,
            start,
            held_back: start,
            nearer: None,
            stage: Stage::First,
            unmet: 0,
        }
    }

    /// Bytes of memory in use between passes.
    pub(super) fn bytes(&self) -> usize {
        self.met.bytes() + self.unreturned.bytes()
    }

    /// Nodes that the first pass found and no round had met.
    pub(super) fn unmet(&self) -> usize {
        self.unmet
    }

    fn was_returned(&self, node: NodeRef) -> bool {
        self.met.contains(node) && !self.unreturned.contains(node)
    }

    /// The next nodes, in no order but nearer than all later ones; none if all were returned. The
    /// second value says whether a bound set by the user left nodes out.
    pub(super) fn next<S: PageStore>(
        &mut self,
        graph: &Graph<'_, S>,
        query: &Query,
        limits: &Limits,
        counts: &mut Counts,
    ) -> Result<Option<(Vec<Found>, bool)>> {
        let is_first = self.stage == Stage::First;
        let range = match self.stage {
            Stage::First | Stage::Further => self.start..u64::MAX,
            Stage::HeldBack => match self.nearer.take() {
                Some(nearer) => {
                    self.stage = Stage::End;
                    return Ok(Some((nearer, false)));
                }
                None => self.start..self.held_back,
            },
            Stage::End => return Ok(None),
        };
        let mut nearest = Nearest::new(range.start, range.end, limits.memory);
        let mut nearer = Nearest::new(0, self.held_back, limits.memory / HELD_BACK_SHARE);
        let most_unmet = limits.nodes.saturating_sub(self.met.len());
        let mut unmet = 0;
        graph.store.in_passing(|store| {
            let graph = Graph::with(store, graph.space.clone());
            for block in graph.node_blocks()? {
                store.check_interrupts();
                counts.pages += 1;
                live_nodes(&graph, query, block, limits, counts, |found| {
                    let node = found.link.node;
                    if !self.met.contains(node) {
                        unmet += 1;
                        if unmet > most_unmet {
                            return Ok(());
                        }
                    } else if self.was_returned(node) {
                        return Ok(());
                    }
                    if is_first && self.held_back > 0 {
                        nearer.push(found)?;
                    }
                    nearest.push(found)
                })?;
            }
            Ok(())
        })?;
        counts.passes += 1;
        nearest.shrink();
        if is_first {
            self.unmet = unmet;
            nearer.shrink();
            self.nearer = (!nearer.left_out).then_some(nearer.found);
        }
        let bounded = unmet > most_unmet || nearest.left_out && limits.bytes != usize::MAX;
        (self.stage, self.start) = match self.stage {
            _ if bounded => (Stage::End, 0),
            stage if nearest.left_out => (stage.again(), nearest.end),
            Stage::HeldBack => (Stage::End, 0),
            _ if self.held_back > 0 => (Stage::HeldBack, 0),
            _ => (Stage::End, 0),
        };
        Ok(Some((nearest.found, bounded)))
    }
}

impl Stage {
    /// The stage of a pass that continues one of this stage.
    fn again(self) -> Stage {
        match self {
            Stage::First => Stage::Further,
            stage => stage,
        }
    }
}

/// Passes `f` the live nodes of a page that a scan may return, with their keys.
///
/// Locks: the page, shared, while it is read; none while `f` runs.
fn live_nodes<S: PageStore>(
    graph: &Graph<'_, S>,
    query: &Query,
    block: BlockNumber,
    limits: &Limits,
    counts: &mut Counts,
    mut f: impl FnMut(Found) -> Result<()>,
) -> Result<()> {
    let layout = &graph.space.layout;
    let key = |record: &Record<'_>, distance| search::key_of(graph, limits.keys, query, record, distance);
    let mut here = Vec::new();
    graph.store.read_in_passing(block, |page| {
        for record in NodePage::new(page, block, layout)?.records() {
            let (node, record) = record?;
            let is_live = record.state() == State::Node && record.level() == 0 && record.is_complete();
            if !is_live || query.passes_over(&record) {
                continue;
            }
            counts.visited += 1;
            let matches = graph.space.test(query, &record.values());
            if matches == Match::No {
                continue;
            }
            let row = record.only_entry();
            if !limits.killed && row.is_some_and(|row| row.killed) {
                counts.dead_rows += 1;
                continue;
            }
            let generation = record.generation();
            let is_long = layout.overflows > 0 && record.overflows().next().is_some();
            let distance = if is_long { 0.0 } else { graph.distance(query, &record) };
            let found = Found {
                distance: if is_long { 0.0 } else { key(&record, distance) },
                link: Link { node, generation },
                row: row.map(|row| row.tid),
                lsn: record.lsn(),
                certain: matches == Match::Yes,
            };
            // The radius bounds distances, not their lower bounds.
            let is_beyond = !is_long && distance > limits.beyond;
            if !is_beyond {
                here.push((found, is_long));
            }
        }
        Ok(())
    })?;
    for (mut found, is_long) in here {
        if is_long {
            let distance = graph.read_distance(query, found.link.node, |record, distance| {
                counts.add_record(&record, true);
                found.distance = key(&record, distance);
                Ok(distance)
            })?;
            if distance > limits.beyond {
                continue;
            }
        }
        f(found)?;
    }
    Ok(())
}
