//! Rows of an index as queries.

use std::collections::HashSet;
use std::time::Instant;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{Asked, LEADING_ON, is_over};
use crate::error::Result;
use crate::fallible::TryPush;
use crate::hnsw::Graph;
use crate::hnsw::space::{Point, Query};
use crate::storage::node_page::NodePage;
use crate::storage::record::State;
use crate::storage::{Link, PageStore};

/// Slots that are looked at, per query.
const DRAWS: usize = 16;

/// Whether searches for the query of this place go through its own node: three of any eight.
fn leads_on(place: usize) -> bool {
    let (part, of) = LEADING_ON;
    place % of < part
}

/// Queries of random nodes.
pub(super) struct Sampled {
    pub queries: Vec<Asked>,
    /// Estimate of the number of live nodes.
    pub live: f64,
}

/// At most `most` live nodes, each as likely as any other, in random order; fewer if the time is up
/// before. The same index gives the same ones.
///
/// Locks: one page at a time, shared; on return: none.
pub(super) fn nodes<S: PageStore>(graph: &Graph<'_, S>, most: usize, until: Option<Instant>) -> Result<Sampled> {
    let blocks = graph.node_blocks()?;
    let slots = graph.space.layout.slots;
    let mut sampled = Sampled {
        queries: Vec::new(),
        live: 0.0,
    };
    if blocks.is_empty() {
        return Ok(sampled);
    }
    // A search enters at the entry point's node, so it cannot do without it.
    let entry = match graph.entry()? {
        Some(entry) => graph.read(entry.link.node, |record| Ok(record.owner()))?,
        None => return Ok(sampled),
    };
    let mut random = SmallRng::seed_from_u64(graph.space.parameters.seed ^ blocks.len() as u64);
    let mut point = Point::default();
    let mut drawn = HashSet::new();
    let (mut draws, mut hits) = (0, 0);
    // Each draw is the read of a page, which may take as long as a disk does.
    while sampled.queries.len() < most && draws < DRAWS * most && !is_over(until) {
        graph.store.check_interrupts();
        draws += 1;
        let (block, slot) = (random.random_range(blocks.clone()), random.random_range(0..slots));
        let link = graph.store.read(block, |page| {
            let page = NodePage::new(page, block, &graph.space.layout)?;
            if slot >= page.len() {
                return Ok(None);
            }
            let record = page.record(slot)?;
            let is_live = record.state() == State::Node && record.level() == 0 && record.is_complete();
            let generation = record.generation();
            let node = graph.space.layout.node(block, slot)?;
            Ok(is_live.then_some(Link { node, generation }))
        })?;
        let Some(link) = link else { continue };
        hits += 1;
        if link.node == entry || !drawn.insert(link.node) {
            continue;
        }
        if graph.read_point(link, 0, &mut point)? != Some(State::Node) {
            continue;
        }
        let mut query = Query::default();
        graph.space.set_query(&point, &mut query);
        let place = sampled.queries.len();
        sampled.queries.try_push(Asked {
            query: query.without(link.node, leads_on(place)),
            own: link.node,
        })?;
    }
    sampled.live = f64::from(hits) / f64::from(draws.max(1) as u32) * blocks.len() as f64 * f64::from(slots);
    Ok(sampled)
}
