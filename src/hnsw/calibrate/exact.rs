//! Exact neighbors of many queries, by one pass over the pages.
//!
//! Scans have found most neighbors before. The pass looks for nearer nodes that they missed, so it
//! keeps few. A pass over a share of the pages finds that share of them.

use std::time::Instant;

use super::{Asked, is_over};
use crate::error::Result;
use crate::fallible::TryPush;
use crate::hnsw::Graph;
use crate::hnsw::overflow_vectors::{self, Owner};
use crate::storage::node_page::NodePage;
use crate::storage::page::Page;
use crate::storage::record::State;
use crate::storage::{BlockNumber, NodeRef, PageStore};

/// Pages of the trial that tells the cost of a pass.
const TRIAL: u32 = 32;

/// Parts of a pass within a time, each of which is spread over the file.
const PARTS: u32 = 8;

/// Least share of the pages that counts as read.
const LEAST_READ: f64 = 1e-6;

/// Records between looks for interrupts.
const LOOKS: usize = 4;

/// The fractional part of the golden ratio, in units of 2^-32: its multiples spread evenly.
const GOLDEN: u32 = 0x9E37_79B9;

/// The place of a page in an order in which any part of the order is spread over the file: 0 to 1.
fn place(block: BlockNumber) -> f64 {
    f64::from(block.wrapping_mul(GOLDEN)) / (f64::from(u32::MAX) + 1.0)
}

/// Seconds that a pass takes for a page and a query, by a trial.
pub(super) fn cost<S: PageStore>(graph: &Graph<'_, S>, queries: &[Asked]) -> Result<f64> {
    let blocks = graph.node_blocks()?;
    let count = TRIAL.min(blocks.len() as u32).max(1);
    let nothing: &[(f32, NodeRef)] = &[];
    let mut pass = Pass::new(queries, queries.iter().map(|_| nothing), &[1]);
    let start = Instant::now();
    for i in 0..count {
        let at = u64::from(i) * blocks.len() as u64 / u64::from(count);
        pass.read(graph, blocks.start + at as u32)?;
    }
    Ok(start.elapsed().as_secs_f64() / f64::from(count) / queries.len().max(1) as f64)
}

/// The outcome of a pass.
pub(super) struct Exact {
    /// The nodes nearer than the known ones that are not known, for each query, nearest first.
    pub missed: Vec<Vec<(f32, NodeRef)>>,
    /// The number of live nodes, about that if not all pages were read.
    pub nodes: usize,
    /// The share of the pages that was read.
    pub share: f64,
}

/// Finds the exact neighbors of queries by a pass over this share of the pages, or less if the time
/// is up before. `known` are nodes near each query, nearest first.
///
/// Locks: one page at a time, shared; on return: none.
pub(super) fn missed<'q, S: PageStore>(
    graph: &Graph<'_, S>,
    queries: &'q [Asked],
    known: impl Iterator<Item = &'q [(f32, NodeRef)]>,
    ks: &[usize],
    share: f64,
    until: Option<Instant>,
) -> Result<Exact> {
    let mut pass = Pass::new(queries, known, ks);
    // A trial in a short slice of time knows nothing of other work that the processor has.
    let parts = if until.is_some() { PARTS } else { 1 };
    let mut read = 0.0;
    graph.store.in_passing(|store| {
        let graph = Graph::with(store, graph.space.clone());
        for part in 1..=parts {
            let end = share * part as f64 / parts as f64;
            let blocks = graph.node_blocks()?;
            for block in blocks.clone() {
                graph.store.check_interrupts();
                if !(read..end).contains(&place(block)) {
                    continue;
                }
                if is_over(until) {
                    // The nodes near a query may be anywhere in the file.
                    let part = f64::from(block - blocks.start) / blocks.len() as f64;
                    read += part * (end - read);
                    return Ok(());
                }
                pass.read(&graph, block)?;
            }
            read = end;
        }
        Ok(())
    })?;
    let weight = 1.0 / read.clamp(LEAST_READ, 1.0);
    let missed = pass.near.into_iter().map(Near::missed).collect();
    let nodes = (pass.live as f64 * weight) as usize;
    Ok(Exact {
        missed,
        nodes,
        share: read,
    })
}

/// A pass under way.
struct Pass<'q> {
    queries: &'q [Asked],
    near: Vec<Near>,
    /// Live nodes that were read.
    live: usize,
}

/// The nodes near a query.
struct Near {
    /// Addresses of the nodes that scans found, in order.
    known: Vec<NodeRef>,
    /// Nodes that they missed.
    missed: Vec<(f32, NodeRef)>,
    /// Number of nodes that are looked for, and a distance beyond which there are so many.
    most: usize,
    bound: f32,
}

impl<'q> Pass<'q> {
    fn new(queries: &'q [Asked], known: impl Iterator<Item = &'q [(f32, NodeRef)]>, ks: &[usize]) -> Pass<'q> {
        let most = ks.iter().copied().max().unwrap_or(0);
        let near = known.map(|known| Near::new(known, most)).collect();
        let live = 0;
        Pass { queries, near, live }
    }

    fn read<S: PageStore>(&mut self, graph: &Graph<'_, S>, block: BlockNumber) -> Result<()> {
        // The distances of a page take longer than a lock of it should be held.
        let page: Page = graph.store.read_in_passing(block, |page| Ok(*page))?;
        let layout = &graph.space.layout;
        let mut stored = Vec::new();
        for (i, record) in NodePage::new(&page, block, layout)?.records().enumerate() {
            let (node, record) = record?;
            if i % LOOKS == 0 {
                graph.store.check_interrupts();
            }
            if record.state() != State::Node || record.level() != 0 || !record.is_complete() {
                continue;
            }
            self.live += 1;
            let mut bytes = record.vector();
            if layout.overflows > 0 {
                stored.clear();
                stored.extend_from_slice(bytes);
                if !overflow_vectors::append(graph, &Owner::of(&record, layout), &mut stored)? {
                    continue;
                }
                bytes = &stored;
            }
            for (asked, near) in self.queries.iter().zip(&mut self.near) {
                let distance = graph.space.whole_distance(&asked.query, bytes);
                if distance < near.bound && node != asked.own {
                    near.add(distance, node)?;
                }
            }
        }
        Ok(())
    }
}

impl Near {
    fn new(known: &[(f32, NodeRef)], most: usize) -> Near {
        let mut addresses: Vec<_> = known.iter().map(|(_, node)| *node).collect();
        addresses.sort_unstable();
        Near {
            bound: match known.get(most.saturating_sub(1)) {
                Some((distance, _)) => *distance,
                None => f32::INFINITY,
            },
            known: addresses,
            missed: Vec::new(),
            most: most.max(1),
        }
    }

    fn add(&mut self, distance: f32, node: NodeRef) -> Result<()> {
        if self.known.binary_search(&node).is_ok() {
            return Ok(());
        }
        self.missed.try_push((distance, node))?;
        if self.missed.len() >= 4 * self.most {
            let by_distance = |a: &(f32, NodeRef), b: &(f32, NodeRef)| a.0.total_cmp(&b.0);
            let (_, last, _) = self.missed.select_nth_unstable_by(self.most - 1, by_distance);
            self.bound = self.bound.min(last.0);
            self.missed.truncate(self.most);
        }
        Ok(())
    }

    /// The missed nodes, nearest first.
    fn missed(mut self) -> Vec<(f32, NodeRef)> {
        self.missed.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        self.missed.truncate(self.most);
        self.missed
    }
}
