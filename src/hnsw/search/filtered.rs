//! Best-first search of level 0 under conditions on filter columns.
//!
//! The lanes of a record tell by their signatures which neighbors may match
//! ([`crate::filter::lanes`]). The others are *ways*: a visited way is no result, but shows up to
//! 32 further neighbors for the one page that it costs. Matching neighbors and ways are visited
//! nearest first, until as many matching ones were popped as settle the round. That number falls
//! with the share of matching neighbors among those seen, because fewer matching nodes are as many
//! visits (NaviX, arXiv 2506.23397, and RACORN-1, arXiv 2607.00768, decide by the same local
//! share).
//!
//! Neighbors that are not visited in one round are kept for the next.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::coded::{self, AHEAD, Coded};
use super::estimate::Estimate;
use super::visited_set::VisitedSet;
use super::{Candidate, Search};
use crate::error::Result;
use crate::fallible::{Room, TryPush};
use crate::filter::condition::Match;
use crate::hnsw::Graph;
use crate::hnsw::space::Query;
use crate::hnsw::tuning::search::{FEWEST_SETTLED, SETTLED, SETTLED_POWER, WAYS};
use crate::quantize::rabitq::LANES;
use crate::storage::record::{Record, State};
use crate::storage::{Link, PageStore};

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
    /// Neighbors visited in this round because their signatures match: those whose values match,
    /// and the others.
    confirmed: usize,
    refused: usize,
    /// Records visited since the search began.
    visited: usize,
    /// Number of matching neighbors popped that settles the round.
    settled_at: usize,
    /// Most ways of the round.
    most_ways: usize,
    /// Most records that the search may have met, and bytes that it may take, for a round to go
    /// on.
    most: Option<(usize, usize)>,
    /// Whether these bounds ended the round.
    was_cut: bool,
}

impl Filtered {
    pub(super) fn reset(&mut self) {
        self.matching.clear();
        self.ways.clear();
        if let Some(seen) = &mut self.seen {
            seen.clear();
        }
        self.seen_matching = 0;
        self.visited = 0;
        self.start();
    }

    fn start(&mut self) {
        self.popped.clear();
        self.was_cut = false;
        (self.confirmed, self.refused) = (0, 0);
        self.ways_visited = 0;
    }

    /// Bounds all rounds: none goes on once the search has met so many records, or takes so many
    /// bytes.
    pub(super) fn bound(&mut self, met: usize, bytes: usize) {
        self.most = Some((met, bytes));
    }

    /// Whether a bound ended the round before it was settled.
    pub(super) fn was_cut(&self) -> bool {
        self.was_cut
    }

    /// Whether the search has come to any record.
    pub(super) fn has_visited(&self) -> bool {
        self.visited > 0
    }

    pub(super) fn bytes(&self) -> usize {
        (self.matching.capacity() + self.ways.capacity() + self.popped.capacity()) * size_of::<Estimate>()
            + self.seen.as_ref().map_or(0, VisitedSet::bytes)
    }

    /// Sets the ends of a round of this width from the share of matching neighbors seen so far.
    fn set_ends(&mut self, width: usize) {
        let seen = self.seen.as_ref().map_or(0, VisitedSet::len);
        let confirmed = (self.confirmed + 1) as f64 / (self.confirmed + self.refused + 1) as f64;
        let share = confirmed * (self.seen_matching + 1) as f64 / (seen + 1) as f64;
        let settled = width as f64 * (SETTLED * share.powf(SETTLED_POWER)).min(1.0);
        self.settled_at = (settled as usize).max(FEWEST_SETTLED.min(width)) + self.refused;
        self.most_ways = (WAYS * settled / share) as usize;
    }

    /// The neighbor to visit next: the nearest one until the round is settled.
    fn pop(&mut self) -> Option<Estimate> {
        let next = self.matching.peek().map(|next| next.0);
        if let Some(next) = next
            && self.popped.len() >= self.settled_at
            && self.popped.iter().filter(|&&popped| popped <= next).count() >= self.settled_at
        {
            return None;
        }
        let has_ways = self.ways_visited < self.most_ways;
        let way = self.ways.peek().map(|way| way.0).filter(|_| has_ways);
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
    let mut ahead: VecDeque<(Link, bool, S::Pin<'_>)> = VecDeque::with_capacity(AHEAD);
    search.filtered.start();
    loop {
        let (most_met, most_bytes) = search.filtered.most.unwrap_or((usize::MAX, usize::MAX));
        if search.visited.len() >= most_met || search.bytes() >= most_bytes {
            search.filtered.was_cut = true;
            break;
        }
        search.filtered.set_ends(search.width);
        while ahead.len() < AHEAD.min(search.width) {
            search.filtered.popped.room(1)?;
            let before = search.filtered.ways_visited;
            let Some(next) = search.filtered.pop().map(Estimate::link) else {
                break;
            };
            let is_way = search.filtered.ways_visited > before;
            if search.visited.contains(next.node) || ahead.iter().any(|(link, ..)| *link == next) {
                // Repeated neighbors settle nothing: few matching nodes are seen many times.
                match is_way {
                    true => search.filtered.ways_visited -= 1,
                    false => _ = search.filtered.popped.pop(),
                }
                continue;
            }
            let pin = graph.store.pin(graph.space.layout.block(next.node))?;
            graph.hint(&pin, next.node);
            ahead.push_back((next, is_way, pin));
        }
        let Some((link, is_way, pin)) = ahead.pop_front() else {
            break;
        };
        let live = search.live;
        coded::visit(graph, search, query, link, pin, |search, record, distance| {
            let distance = || distance.unwrap_or_else(|| graph.distance(query, record));
            take(graph, search, query, link, record, distance)
        })?;
        if !is_way {
            let is_confirmed = search.live > live;
            search.filtered.confirmed += usize::from(is_confirmed);
            search.filtered.refused += usize::from(!is_confirmed);
        }
        graph.store.check_interrupts();
    }
    search.sort_beam()
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
    search.filtered.visited += 1;
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

/// Continues a search with a beam of `width`; says whether any neighbor was visited.
pub(super) fn visit_on<S: PageStore>(
    graph: &Graph<'_, S>,
    search: &mut Search,
    query: &Query,
    width: usize,
) -> Result<bool> {
    let before = search.filtered.visited;
    search.start(width);
    visit_all(graph, search, query)?;
    Ok(search.filtered.visited > before)
}
