//! Best-first search of level 0 under conditions on filter columns.
//!
//! The lanes of a record tell by their signatures which neighbors may match
//! ([`crate::filter::lanes`]). Matching neighbors are visited as in an unfiltered search, nearest
//! first, until as many as the search is wide are settled. The others are *ways*: a visited way is
//! no result, but shows up to 32 further neighbors for the one page that it costs. A way is visited
//! where it is nearer than the nearest matching neighbor, or where there is none, up to a number
//! that grows with the share of neighbors that do not match (NaviX, arXiv 2506.23397, decides by
//! the same local share).
//!
//! Neighbors that are not visited in one round are kept for the next.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::coded::{self, Coded};
use super::estimate::Estimate;
use super::visited_set::VisitedSet;
use super::{Candidate, Search};
use crate::error::Result;
use crate::fallible::{Room, TryPush};
use crate::filter::condition::Match;
use crate::hnsw::Graph;
use crate::hnsw::space::Query;
use crate::hnsw::tuning::search::WAYS;
use crate::quantize::rabitq::LANES;
use crate::storage::node_page::NodePage;
use crate::storage::record::{Record, State};
use crate::storage::{Link, PageStore};

/// Visits that are prepared ahead of their turn: as many as a page takes to come from memory.
const AHEAD: usize = 4;

/// State of a filtered search besides its results.
#[derive(Default)]
pub struct Filtered {
    /// Neighbors that may match and were not visited.
    matching: BinaryHeap<Reverse<Estimate>>,
    /// Other neighbors that were not visited, each once.
    ways: BinaryHeap<Reverse<Estimate>>,
    /// All neighbors seen, once there are any.
    seen: Option<VisitedSet>,
    /// Number of neighbors seen that may match.
    seen_matching: usize,
    /// Matching neighbors popped in this round.
    popped: Vec<Estimate>,
    /// Ways visited in this round.
    ways_visited: usize,
}

impl Filtered {
    pub(super) fn reset(&mut self) {
        self.matching.clear();
        self.ways.clear();
        if let Some(seen) = &mut self.seen {
            seen.clear();
        }
        self.seen_matching = 0;
        self.start();
    }

    fn start(&mut self) {
        self.popped.clear();
        self.ways_visited = 0;
    }

    pub(super) fn bytes(&self) -> usize {
        (self.matching.capacity() + self.ways.capacity() + self.popped.capacity()) * size_of::<Estimate>()
            + self.seen.as_ref().map_or(0, VisitedSet::bytes)
    }

    /// The most ways that a round of this width visits.
    fn most_ways(&self, width: usize) -> usize {
        let seen = self.seen.as_ref().map_or(0, VisitedSet::len);
        let share = (self.seen_matching + 1) as f64 / (seen + 1) as f64;
        (WAYS * width as f64 / (LANES as f64 * share)) as usize
    }

    /// The neighbor to visit next, and whether it is a way.
    fn pop(&mut self, width: usize) -> Option<Estimate> {
        let next = self.matching.peek().map(|next| next.0);
        let next = next.filter(|next| {
            self.popped.len() < width || self.popped.iter().filter(|popped| *popped <= next).count() < width
        });
        let way = self.ways.peek().map(|way| way.0);
        let way = way.filter(|_| self.ways_visited < self.most_ways(width));
        match (next, way) {
            (None, None) => None,
            (Some(next), way) if way.is_none_or(|way| next <= way) => {
                self.popped.push(next);
                self.matching.pop().map(|next| next.0)
            }
            _ => {
                self.ways_visited += 1;
                self.ways.pop().map(|way| way.0)
            }
        }
    }
}

/// Visits matching records and ways until the round is settled.
pub(super) fn visit_all<S: PageStore>(graph: &Graph<'_, S>, search: &mut Search, query: &Query) -> Result<()> {
    let mut ahead: VecDeque<(Link, S::Pin<'_>)> = VecDeque::with_capacity(AHEAD);
    search.filtered.start();
    loop {
        while ahead.len() < AHEAD.min(search.width) {
            search.filtered.popped.room(1)?;
            let Some(next) = search.filtered.pop(search.width).map(Estimate::link) else {
                break;
            };
            if search.visited.contains(next.node) || ahead.iter().any(|(link, _)| *link == next) {
                continue;
            }
            let pin = graph.store.pin(graph.space.layout.block(next.node))?;
            graph.hint(&pin, next.node);
            ahead.push_back((next, pin));
        }
        let Some((link, pin)) = ahead.pop_front() else { break };
        visit(graph, search, query, link, pin)?;
        graph.store.check_interrupts();
    }
    search.beam.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance));
    Ok(())
}

/// Reads a record and keeps its neighbors; ignores a stale link.
///
/// Locks: the record's page, and with overflow records their pages, shared, one at a time; on
/// return: none.
fn visit<S: PageStore>(
    graph: &Graph<'_, S>,
    search: &mut Search,
    query: &Query,
    link: Link,
    pin: S::Pin<'_>,
) -> Result<()> {
    let layout = &graph.space.layout;
    if layout.overflows > 0 {
        drop(pin);
        return graph.read_distance(query, link.node, |record, distance| {
            search.counts.add_record(&record, true);
            take(graph, search, query, link, &record, || distance)
        });
    }
    let (block, slot) = (layout.block(link.node), layout.slot(link.node));
    graph.store.read_pinned(pin, |page| {
        let record = NodePage::visited(page, block, layout)?.record(slot)?;
        search.counts.add_record(&record, false);
        take(graph, search, query, link, &record, || graph.distance(query, &record))
    })
}

/// Adds a record that was just read to the results if it matches, and keeps its neighbors; ignores
/// a stale link.
#[inline]
pub(super) fn take<S: PageStore>(
    graph: &Graph<'_, S>,
    search: &mut Search,
    query: &Query,
    link: Link,
    record: &Record<'_>,
    distance: impl FnOnce() -> f32,
) -> Result<()> {
    // Marked as met only now: a stale link must not hide the record that uses the slot today.
    if !record.is(link.generation, 0) || !search.visited.insert(link.node)? {
        return Ok(());
    }
    let links = record.link_count();
    let Filtered { matching, ways, .. } = &mut search.filtered;
    matching.room(links)?;
    ways.room(links)?;
    search.counts.visited += 1;
    search.counts.estimates += links as u64;
    let distance = distance();
    let matches = match record.state() {
        State::Node => graph.space.test(query, &record.values()),
        _ => Match::No,
    };
    if matches > Match::No {
        let key = super::key(graph, search, query, record, distance);
        search.live += 1;
        search.beam.try_push(Candidate {
            distance,
            key,
            link,
            live: true,
            certain: matches == Match::Yes,
            row: record.only_entry(),
            lsn: record.lsn(),
            below: record.below(),
            expanded: true,
            links: None,
        })?;
    }
    let Search {
        filtered,
        coded: Coded { near, .. },
        visited,
        ..
    } = search;
    let Filtered {
        matching,
        ways,
        seen,
        seen_matching,
        ..
    } = filtered;
    let seen = seen.get_or_insert_default();
    let near = graph.space.near(query, record.vector(), distance, near);
    let mut lanes = [0; 8];
    for (block, lanes) in lanes.iter_mut().enumerate().take(links.div_ceil(LANES)) {
        *lanes = query.matching_lanes(record, block);
    }
    let mut failed = Ok(());
    coded::estimate_neighbors(
        &graph.space,
        query,
        near,
        record,
        distance,
        f32::NAN,
        |lane, estimate| {
            let node = estimate.link().node;
            if visited.contains(node) {
                return;
            }
            let may_match = lanes[lane / LANES] >> (lane % LANES) & 1 == 1;
            let is_new = match seen.insert(node) {
                Ok(is_new) => is_new,
                Err(error) => {
                    failed = Err(error);
                    return;
                }
            };
            *seen_matching += usize::from(is_new && may_match);
            if may_match {
                matching.push(Reverse(estimate));
            } else if is_new {
                ways.push(Reverse(estimate));
            }
        },
    );
    failed
}

/// Continues a search with a beam of `width`; says whether any neighbor was left to visit.
pub(super) fn visit_on<S: PageStore>(
    graph: &Graph<'_, S>,
    search: &mut Search,
    query: &Query,
    width: usize,
) -> Result<bool> {
    let is_left = !search.filtered.matching.is_empty() || !search.filtered.ways.is_empty();
    search.start(width);
    visit_all(graph, search, query)?;
    Ok(is_left)
}
