//! Matching nodes from which a filtered search goes on where they are far from the query.
//!
//! A sample of all nodes tells whether nodes match far more often elsewhere than around the query.
//! The matching ones of it are the first candidates for seeds; the scan may add others from value
//! lists.

use std::cmp::Reverse;

use super::Search;
use super::estimate::Estimate;
use crate::error::Result;
use crate::fallible::{Room, TryPush};
use crate::filter::condition::Match;
use crate::filter::values::mix;
use crate::hnsw::Graph;
use crate::hnsw::space::Query;
use crate::hnsw::tuning::search::{LOST, SAMPLE, SEEDS};
use crate::storage::record::State;
use crate::storage::{BlockNumber, PageStore};

/// Records that are hinted ahead of their turn.
const AHEAD: usize = 8;

/// Whether nodes match far more often in the whole index than among the neighbors seen. Keeps the
/// matching nodes of a sample.
///
/// Locks: one page at a time, shared; on return: none.
pub(super) fn are_elsewhere<S: PageStore>(graph: &Graph<'_, S>, search: &mut Search, query: &Query) -> Result<bool> {
    let blocks = graph.node_blocks()?;
    let block = |i: usize| blocks.start + (mix(i as u64) % blocks.len().max(1) as u64) as BlockNumber;
    let (mut read, mut matching) = (0, Vec::new());
    let mut here = Vec::new();
    for i in 0..SAMPLE.min(blocks.len()) {
        if let Ok(soon) = graph.space.layout.node(block(i + AHEAD), 0) {
            graph.prefetch_start(soon, 1);
        }
        here.clear();
        here.room(graph.space.layout.slots as usize)?;
        graph.live_on(block(i), |link, record| {
            here.push((link, graph.space.test(query, &record.values()) > Match::No));
        })?;
        search.counts.pages += 1;
        // One node of a page, because those of a page came one after the other.
        if !here.is_empty() {
            let (link, matches) = here[mix(!(i as u64)) as usize % here.len()];
            read += 1;
            if matches {
                matching.try_push(link)?;
            }
        }
        graph.store.check_interrupts();
    }
    let share = matching.len() as f64 / read.max(1) as f64;
    search.filtered.sample = matching;
    Ok(LOST * search.filtered.share() < share)
}

/// Reads the sample, and makes its matching nodes that are nearest the neighbors to visit, in place
/// of the ways. Says whether there are any.
///
/// Locks: one page at a time, shared; on return: none.
pub(super) fn go_on<S: PageStore>(graph: &Graph<'_, S>, search: &mut Search, query: &Query) -> Result<bool> {
    let sample = std::mem::take(&mut search.filtered.sample);
    let mut seeds = Vec::new();
    seeds.room(sample.len())?;
    for (at, &link) in sample.iter().enumerate() {
        if let Some(soon) = sample.get(at + AHEAD) {
            graph.prefetch_vector(soon.node);
        }
        let soon = sample[at + 1..].iter().map(|soon| soon.node);
        search.requests.request_list(graph, soon)?;
        graph.read_distance(query, link.node, |record, distance| {
            search.counts.add_record(&record, graph.space.layout.overflows > 0);
            let is_node = record.is(link.generation, 0) && record.state() == State::Node && record.is_complete();
            if is_node && graph.space.test(query, &record.values()) > Match::No && !search.visited.contains(link.node) {
                seeds.push(Estimate::new(distance, link));
            }
            Ok(())
        })?;
        graph.store.check_interrupts();
    }
    seeds.sort_unstable();
    seeds.dedup();
    seeds.truncate(SEEDS);
    if seeds.is_empty() {
        return Ok(false);
    }
    let filtered = &mut search.filtered;
    // Matching neighbors around the query are kept; ways there lead away from the others.
    seeds.try_extend(filtered.matching.drain().map(|Reverse(neighbor)| neighbor))?;
    filtered.forget_neighbors();
    filtered.room(seeds.len())?;
    filtered.matching.extend(seeds.into_iter().map(Reverse));
    Ok(true)
}
