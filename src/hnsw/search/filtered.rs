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
//! Where few neighbors match, the search pauses once, for the scan to read all matching nodes if
//! that costs less than the rest of the search, which their share around the query tells. Where far
//! fewer neighbors match than nodes of the index do, the matching nodes are elsewhere, and no
//! number of ways leads to them soon: the search is *lost*, as under a condition on a cluster far
//! from the query. The scan then reads up to a greater number of matching nodes, or the search goes
//! on from *seeds* ([`super::seeds`]), and takes no more ways than matching nodes. Where many
//! neighbors match, the first round goes on without a look at lanes ([`many_match`]).
//!
//! The first round forgets neighbors that are farther than as many matching ones as settle it: they
//! are never visited in it, and most lanes of a record are refused by one comparison. A search that
//! goes on reads the codes of its visited records once more, and from then on keeps all neighbors
//! from one round to the next.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use super::coded::{self, AHEAD, Coded, Hinted};
use super::estimate::{self, Estimate};
use super::kept_vectors::NOT_KEPT;
use super::many_match::{self, ManyMatch};
use super::visited_set::VisitedSet;
use super::{Candidate, Search, seeds};
use crate::error::Result;
use crate::fallible::{self, Room, TryPush};
use crate::filter::condition::Match;
use crate::hnsw::Graph;
use crate::hnsw::space::Query;
use crate::hnsw::tuning::search::{
    FEW_SEEN, FEWEST_SETTLED, LEAST_SETTLED, SETTLED, SETTLED_FAR, SETTLED_LATER, SETTLED_POWER, WAYS,
};
use crate::quantize::rabitq::LANES;
use crate::storage::record::{Record, State};
use crate::storage::{Link, PageStore};

/// Share of the matching neighbors that settle a round by which more are kept, and the least number
/// of these.
const SLACK: usize = 8;

/// Where a search is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// Around the query.
    #[default]
    Near,
    /// Around the query, and the matching nodes are elsewhere.
    Lost,
    /// Among matching nodes that are far from the query.
    Seeded,
}

/// State of a filtered search besides its results.
#[derive(Default)]
pub struct Filtered {
    /// Neighbors that may match and were not visited.
    pub(super) matching: BinaryHeap<Reverse<Estimate>>,
    /// Other neighbors that were not visited, each once.
    pub(super) ways: BinaryHeap<Reverse<Estimate>>,
    /// All neighbors seen within the bound, once there are any.
    seen: Option<VisitedSet>,
    /// Numbers of neighbors seen that may match, and of all, since the search began or went on from
    /// seeds.
    seen_matching: usize,
    seen_all: usize,
    place: Place,
    /// The rest of the first round, if many nodes match.
    pub(super) many: ManyMatch,
    /// Whether the search waits for the scan to look how many nodes match, and whether it did.
    is_paused: bool,
    has_paused: bool,
    /// Whether it is known that the matching nodes are not elsewhere, or taken for known.
    is_checked: bool,
    /// A sample of the matching nodes.
    pub(super) sample: Vec<Link>,
    /// Bound of the neighbors that are kept.
    nearest: Nearest,
    /// The records visited, with their distances, as long as neighbors may be forgotten, and
    /// whether any were.
    expanded: Vec<(Link, f32)>,
    has_forgotten: bool,
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
    /// The ends of all rounds.
    bounds: Bounds,
    /// Whether these ended the round.
    was_cut: bool,
}

/// The ends of all rounds of a filtered search.
#[derive(Debug, Clone, Copy)]
pub(in crate::hnsw) struct Bounds {
    /// Most records that the search may have met for a round to go on.
    pub met: usize,
    /// Most bytes that the search may take for a round to go on.
    pub bytes: usize,
    /// Cost of a pass over all pages, in visits, where one may take over from a round that is
    /// expected to visit more records.
    pub pass: Option<usize>,
    /// Number of ways, no more than the width of a round, after which the search pauses where few
    /// nodes match; none if it does not.
    pub pauses_after: Option<usize>,
}

impl Default for Bounds {
    /// No ends.
    fn default() -> Self {
        Bounds {
            met: usize::MAX,
            bytes: usize::MAX,
            pass: None,
            pauses_after: None,
        }
    }
}

/// The bound of a round that forgets: as many matching neighbors as settle it, and some more, are
/// nearer.
#[derive(Default)]
struct Nearest {
    /// Keys of matching neighbors within the bound, each once, at its first estimate.
    keys: Vec<u32>,
    /// The bound; `None` while every neighbor may be wanted.
    worst: Option<f32>,
    /// Whether the search keeps every neighbor.
    keeps_all: bool,
}

impl Nearest {
    /// The distance from which on a neighbor is not wanted; not a number if every one is.
    fn worst(&self) -> f32 {
        self.worst.unwrap_or(f32::NAN)
    }

    /// Adds a matching neighbor, for which there is room.
    fn push(&mut self, neighbor: Estimate) {
        if !self.keeps_all {
            self.keys.push(neighbor.key());
        }
    }

    /// Finds the bound anew if many neighbors have come, of which `wanted` settle the round.
    fn shrink(&mut self, wanted: usize) {
        if self.keeps_all {
            return;
        }
        // The number that settles a round may still grow as the share does.
        let kept = wanted + wanted / SLACK + SLACK;
        if self.keys.len() < kept + kept / 2 {
            return;
        }
        let (_, &mut worst, _) = self.keys.select_nth_unstable(kept - 1);
        self.keys.truncate(kept);
        self.worst = Some(estimate::distance(worst));
    }

    /// Whether a neighbor may have been refused.
    fn has_bound(&self) -> bool {
        self.worst.is_some()
    }
}

impl Filtered {
    pub(super) fn reset(&mut self) {
        self.forget_neighbors();
        self.nearest.keeps_all = false;
        self.has_forgotten = false;
        self.expanded.clear();
        self.visited = 0;
        (self.place, self.is_checked) = (Place::Near, false);
        (self.is_paused, self.has_paused) = (false, false);
        self.sample.clear();
        self.start();
    }

    /// Forgets all neighbors, and the bound.
    pub(super) fn forget_neighbors(&mut self) {
        self.has_forgotten = true;
        self.matching.clear();
        self.ways.clear();
        if let Some(seen) = &mut self.seen {
            seen.clear();
        }
        (self.seen_matching, self.seen_all) = (0, 0);
        self.nearest.keys.clear();
        self.nearest.worst = None;
    }

    /// Whether the last round ended because matching nodes are elsewhere.
    pub(super) fn is_lost(&self) -> bool {
        self.place == Place::Lost
    }

    /// See [`Search::add_to_sample`].
    pub(super) fn add_to_sample(&mut self, nodes: impl IntoIterator<Item = Link>) -> Result<()> {
        self.sample.try_extend(nodes)
    }

    fn start(&mut self) {
        self.popped.clear();
        self.was_cut = false;
        (self.confirmed, self.refused) = (0, 0);
        self.ways_visited = 0;
    }

    /// Sets the ends of all rounds.
    pub(super) fn bound(&mut self, bounds: Bounds) {
        self.bounds = bounds;
    }

    /// Whether a round of this width, whose ends are set, is expected to visit more records than a
    /// pass costs: few nodes match, here as elsewhere, and a pass misses none of them.
    fn costs_a_pass(&self, width: usize) -> bool {
        let ways = self.bounds.pass.map_or(f64::INFINITY, |pass| WAYS * pass as f64);
        self.is_checked && self.ways_visited >= width && self.most_ways as f64 > ways
    }

    /// The share of the neighbors seen that may match, if the search has paused.
    pub(super) fn paused_at(&self) -> Option<f64> {
        self.is_paused.then(|| self.share())
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
            + self.nearest.keys.capacity() * size_of::<u32>()
            + self.expanded.capacity() * size_of::<(Link, f32)>()
            + self.seen.as_ref().map_or(0, VisitedSet::bytes)
    }

    /// Sets the ends of a round of this width from the share of matching neighbors seen so far.
    fn set_ends(&mut self, width: usize) {
        let share = self.share_of_nodes();
        let mut settled = width as f64 * (SETTLED * share.powf(SETTLED_POWER)).clamp(LEAST_SETTLED, 1.0);
        if self.place == Place::Seeded {
            settled *= SETTLED_FAR;
        }
        if self.nearest.keeps_all {
            settled = (SETTLED_LATER * settled).min(width as f64);
        }
        self.settled_at = (settled as usize).max(FEWEST_SETTLED.min(width)) + self.refused;
        self.most_ways = (WAYS * settled / share) as usize;
        self.nearest.shrink(self.settled_at);
    }

    /// Share of the neighbors seen that are expected to match by their values.
    fn share_of_nodes(&self) -> f64 {
        let confirmed = (self.confirmed + 1) as f64 / (self.confirmed + self.refused + 1) as f64;
        confirmed * self.share()
    }

    /// Whether the first round goes on without a look at lanes.
    fn is_among_many(&self) -> bool {
        let may_turn = self.place == Place::Near && !self.nearest.keeps_all;
        may_turn && many_match::is_for(self.visited, self.share_of_nodes())
    }

    /// Adds a record of the first round, at this distance from the query, whose neighbors are read
    /// again if neighbors were forgotten.
    pub(super) fn add_expanded(&mut self, link: Link, distance: f32) -> Result<()> {
        self.expanded.try_push((link, distance))
    }

    /// Share of the neighbors seen that may match.
    pub(super) fn share(&self) -> f64 {
        (self.seen_matching + 1) as f64 / (self.seen_all + 1) as f64
    }

    /// Whether matching nodes are so few here that they may be read, or may be elsewhere, after as
    /// many ways as a round of this width would visit nodes without conditions, or a pause wants.
    fn is_among_few(&self, width: usize) -> bool {
        let ways = match self.bounds.pauses_after {
            Some(ways) if !self.has_paused => ways.min(width),
            _ => width,
        };
        !self.is_checked && self.ways_visited >= ways && self.share() < FEW_SEEN
    }

    /// Whether another way may be visited.
    fn has_ways(&self) -> bool {
        let most = match self.place {
            Place::Seeded => self.most_ways.min(self.popped.len()),
            Place::Near | Place::Lost => self.most_ways,
        };
        self.ways_visited < most
    }

    /// The neighbors that are visited next unless nearer ones come, or nearly so: so many that
    /// match, and as many ways.
    fn next(&self, count: usize) -> impl Iterator<Item = Link> + '_ {
        // The first elements of a heap are its least and the children of that.
        let matching = self.matching.as_slice().iter().take(count);
        let ways = self.ways.as_slice().iter().take(count);
        matching.chain(ways).map(|next| next.0.link())
    }

    /// Makes room for so many neighbors, which take no memory afterwards.
    pub(super) fn room(&mut self, more: usize) -> Result<()> {
        self.matching.room(more)?;
        self.ways.room(more)?;
        self.nearest.keys.room(more)
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
        let way = self.ways.peek().map(|way| way.0).filter(|_| self.has_ways());
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

/// Visits matching records and ways until the round is settled, or the search pauses.
pub(super) fn visit_all<S: PageStore>(graph: &Graph<'_, S>, search: &mut Search, query: &Query) -> Result<()> {
    search.filtered.start();
    go_on(graph, search, query)
}

/// Goes on with a round.
pub(super) fn go_on<S: PageStore>(graph: &Graph<'_, S>, search: &mut Search, query: &Query) -> Result<()> {
    let mut ahead: VecDeque<(Link, bool, S::Pin<'_>)> = VecDeque::with_capacity(AHEAD);
    let mut hinted = Hinted::default();
    search.filtered.is_paused = false;
    loop {
        let Bounds {
            met,
            bytes,
            pauses_after,
            ..
        } = search.filtered.bounds;
        if search.visited.len() >= met || search.bytes() >= bytes {
            search.filtered.was_cut = true;
            break;
        }
        // Visits that are prepared come before the pause and the sample, so that none is dropped.
        let mut is_among_few = search.filtered.is_among_few(search.width);
        if is_among_few && ahead.is_empty() {
            if pauses_after.is_some() && !search.filtered.has_paused {
                (search.filtered.is_paused, search.filtered.has_paused) = (true, true);
                break;
            }
            is_among_few = false;
            search.filtered.is_checked = true;
            if seeds::are_elsewhere(graph, search, query)? {
                search.filtered.place = Place::Lost;
                break;
            }
        }
        let is_among_many = search.filtered.is_among_many();
        if is_among_many && ahead.is_empty() {
            let share = search.filtered.share_of_nodes();
            if many_match::visit_all(graph, search, query, share)? || !see_again(graph, search, query)? {
                return Ok(());
            }
            continue;
        }
        search.filtered.set_ends(search.width);
        if search.filtered.costs_a_pass(search.width) {
            search.filtered.was_cut = true;
            break;
        }
        if let depth @ 1.. = graph.store.input_depth() {
            request_soon(graph, search, depth.saturating_sub(ahead.len()))?;
        }
        while !is_among_few && !is_among_many && ahead.len() < AHEAD.min(search.width) {
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
            let pin = search.requests.pin(graph, next.node)?;
            graph.hint(&pin, next.node);
            ahead.push_back((next, is_way, pin));
        }
        for soon in search.filtered.next(3) {
            if hinted.add(soon.node) {
                graph.prefetch_start(soon.node, 1);
            }
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

/// Requests the pages of at most `most` neighbors that are visited next, or nearly so; fewer early
/// in a search, as in [`coded`].
#[cold]
#[inline(never)]
fn request_soon<S: PageStore>(graph: &Graph<'_, S>, search: &mut Search, most: usize) -> Result<()> {
    let most = most.min(search.beam.len() / 2);
    let soon = search.filtered.next(most.div_ceil(2)).map(|soon| soon.node);
    search.requests.request(graph, soon.take(most))
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
    let is_other = !record.is(link.generation, 0) || query.passes_over(record);
    if is_other || !search.visited.insert(link.node)? {
        return Ok(());
    }
    let links = record.link_count();
    search.filtered.room(links)?;
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
            kept: NOT_KEPT,
            links: None,
        })?;
    }
    if !search.filtered.nearest.keeps_all {
        search.filtered.add_expanded(link, distance)?;
    }
    keep_neighbors(graph, search, query, record, distance)
}

/// Keeps the neighbors of a record at this distance that are within the bound, for which there is
/// room.
#[inline]
fn keep_neighbors<S: PageStore>(
    graph: &Graph<'_, S>,
    search: &mut Search,
    query: &Query,
    record: &Record<'_>,
    distance: f32,
) -> Result<()> {
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
        seen_all,
        nearest,
        ..
    } = filtered;
    let seen = seen.get_or_insert_default();
    let near = graph.space.near(query, record.vector(), distance, near);
    let mut lanes = [0; 8];
    for (block, lanes) in lanes.iter_mut().enumerate().take(record.link_count().div_ceil(LANES)) {
        *lanes = query.matching_lanes(record, block);
    }
    let mut failed = Ok(());
    let worst = nearest.worst();
    coded::estimate_neighbors(&graph.space, query, near, record, distance, worst, |lane, estimate| {
        let node = estimate.link().node;
        let may_match = lanes[lane / LANES] >> (lane % LANES) & 1 == 1;
        let is_new = match seen.insert(node) {
            Ok(is_new) => is_new,
            Err(error) => {
                failed = Err(error);
                return;
            }
        };
        *seen_all += usize::from(is_new);
        if may_match {
            if is_new {
                *seen_matching += 1;
                nearest.push(estimate);
            }
            if !visited.contains(node) {
                matching.push(Reverse(estimate));
            }
        } else if is_new && !visited.contains(node) {
            ways.push(Reverse(estimate));
        }
    });
    failed
}

/// Continues a search with a beam of `width`; says whether any neighbor was visited.
pub(super) fn visit_on<S: PageStore>(
    graph: &Graph<'_, S>,
    search: &mut Search,
    query: &Query,
    width: usize,
) -> Result<bool> {
    // The results of the last round are taken over, also if this one has no room to begin.
    search.start(width);
    search.filtered.is_checked = true;
    if search.filtered.is_lost() {
        search.filtered.place = match seeds::go_on(graph, search, query)? {
            true => Place::Seeded,
            false => Place::Near,
        };
    } else if !search.filtered.nearest.keeps_all && !see_again(graph, search, query)? {
        return Ok(true);
    }
    let before = search.filtered.visited;
    visit_all(graph, search, query)?;
    Ok(search.filtered.visited > before)
}

/// Reads the neighbors of the visited records once more, and keeps all from here on. Says whether
/// there was memory for them within the bound.
fn see_again<S: PageStore>(graph: &Graph<'_, S>, search: &mut Search, query: &Query) -> Result<bool> {
    let filtered = &mut search.filtered;
    filtered.nearest.keeps_all = true;
    let expanded = std::mem::take(&mut filtered.expanded);
    if !filtered.has_forgotten && !filtered.nearest.has_bound() {
        filtered.nearest.keys.clear();
        return Ok(true);
    }
    let most_bytes = filtered.bounds.bytes;
    // Seeds that were not visited are no neighbors of visited records.
    let kept = fallible::collect(filtered.matching.drain())?;
    filtered.forget_neighbors();
    filtered.matching.room(kept.len())?;
    filtered.matching.extend(kept);
    for (at, &(link, distance)) in expanded.iter().enumerate() {
        if search.bytes() >= most_bytes {
            search.filtered.was_cut = true;
            return Ok(false);
        }
        if let Some((soon, _)) = expanded.get(at + AHEAD) {
            graph.prefetch(soon.node);
        }
        graph.read(link.node, |record| {
            search.counts.pages += 1;
            if record.is(link.generation, 0) {
                search.filtered.room(record.link_count())?;
                keep_neighbors(graph, search, query, &record, distance)?;
            }
            Ok(())
        })?;
        graph.store.check_interrupts();
    }
    Ok(true)
}
