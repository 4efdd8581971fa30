//! Best-first search of one level, and the descent to it.
//!
//! A coded index ([`coded`]) estimates the distances of records that the search meets; the visited
//! records are the result. A plain index ([`plain`]) reads every record that the search meets.

mod candidate_queue;
mod coded;
pub(in crate::hnsw) mod crowd;
pub(in crate::hnsw) mod deferred_links;
pub(super) mod estimate;
mod estimate_tiers;
pub(in crate::hnsw) mod filtered;
pub(in crate::hnsw) mod kept_vectors;
mod many_match;
mod plain;
mod requests;
mod seeds;
mod spare;
pub(in crate::hnsw) mod visited_set;

use std::collections::VecDeque;

use coded::Coded;
use crowd::{Crowd, Entries};
use deferred_links::DeferredLinks;
use filtered::Filtered;
use kept_vectors::{KeptVectors, NOT_KEPT};
use plain::Plain;
use requests::Requests;
use spare::Memory;

use crate::error::Result;
use crate::fallible::{Room, TryPush};
use crate::filter::condition::Match;
use crate::filter::values::Values;
use crate::hnsw::Graph;
use crate::hnsw::distance_bounds::Keys;
use crate::hnsw::search::visited_set::VisitedSet;
use crate::hnsw::space::Query;
use crate::hnsw::tuning::search::{DEAD_BOUND, WALK_BOUND};
use crate::storage::format::META_BLOCK;
use crate::storage::meta::EntryPoint;
use crate::storage::record::{Entry, Record, State};
use crate::storage::{Link, NodeRef, PageStore, corrupted};

/// Restarts of a search after a record on its way was freed, beyond which the index counts as
/// corrupted.
const RETRIES: usize = 1000;

/// A record that may become a neighbor, with its distance to the selecting node.
#[derive(Debug, Clone, Copy)]
pub struct NeighborCandidate {
    /// Distance to the selecting node.
    pub distance: f32,
    /// The record.
    pub link: Link,
    /// The place of its vector among those that the search kept.
    pub(in crate::hnsw) kept: u32,
}

impl NeighborCandidate {
    /// A record whose vector no search has kept.
    pub(in crate::hnsw) fn new(link: Link, distance: f32) -> NeighborCandidate {
        let kept = NOT_KEPT;
        NeighborCandidate { distance, link, kept }
    }
}

/// A record that a search has met.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// The search's order key: smaller is nearer.
    pub distance: f32,
    /// The key that a scan orders by.
    pub key: f32,
    /// The record.
    pub link: Link,
    /// Whether it is a live node, to which links may lead.
    pub live: bool,
    /// Whether its filter values are sure to match; true in a search without a filter.
    pub certain: bool,
    /// The only row of its node, in a level-0 record of a node with one row. A snapshot that sees
    /// the row may hold its TID for any time.
    pub row: Option<Entry>,
    /// The record's LSN when it was read ([`crate::storage::record::Record::lsn`]).
    pub lsn: u64,
    /// The node's record one level down.
    below: NodeRef,
    /// Whether its links were followed.
    expanded: bool,
    /// The place of its vector among those that the search kept.
    pub(in crate::hnsw) kept: u32,
    /// Start and number of its links in [`Plain::links`]; `None` if they have to be read again.
    links: Option<(u32, u8)>,
}

/// Counters of searches, for statistics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records visited, on all levels.
    pub visited: u64,
    /// Distances estimated from codes.
    pub estimates: u64,
    /// Pages read; a page counts each time.
    pub pages: u64,
    /// Overflow records of vectors among the pages.
    pub overflows: u64,
    /// Rows left out because they are marked as dead to every snapshot.
    pub dead_rows: u64,
    /// Passes over all pages.
    pub passes: u64,
}

impl Counts {
    /// Counts a record that was read for its distance.
    #[inline]
    pub(in crate::hnsw) fn add_record(&mut self, record: &Record<'_>, has_overflows: bool) {
        let has_vector = has_overflows && matches!(record.state(), State::Node | State::Dead);
        self.add_vector(if has_vector { record.overflows().count() } else { 0 });
    }

    /// Counts a record that was read with so many overflow records.
    #[inline]
    fn add_vector(&mut self, overflows: usize) {
        let overflows = overflows as u64;
        self.overflows += overflows;
        // The record is read once more after them.
        self.pages += 1 + overflows + u64::from(overflows > 0);
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.visited += other.visited;
        self.estimates += other.estimates;
        self.pages += other.pages;
        self.overflows += other.overflows;
        self.dead_rows += other.dead_rows;
        self.passes += other.passes;
    }
}

/// A vector that a search looks for: a live record with it on level 0 ends the search.
struct Sought {
    /// The vector's order key; not a number while no vector is sought.
    distance: f32,
    /// The vector's first bytes, as many as a record has.
    start: Vec<u8>,
    /// The filter values that the record has to have.
    values: Values,
    /// The record with that vector.
    found: Option<Link>,
}

impl Sought {
    /// Compares a live record with the sought vector.
    #[inline]
    fn look(&mut self, link: Link, record: &Record<'_>, distance: f32) {
        // Many records may be at that distance: under inner product all are as far from a zero
        // vector.
        let is_at = distance == self.distance && record.level() == 0;
        if is_at && record.vector() == self.start && record.values() == self.values {
            self.found = self.found.or(Some(link));
        }
    }
}

/// The state of a search; its memory is reused by the next search.
pub struct Search {
    visited: VisitedSet,
    /// Plain: the nearest records met; coded: the records visited.
    beam: Vec<Candidate>,
    /// Memory that [`Search::sort_beam`] reuses.
    places: Vec<u64>,
    sorted: Vec<Candidate>,
    width: usize,
    /// Live candidates in the beam.
    live: usize,
    /// Form of the keys of candidates.
    keys: Keys,
    sought: Sought,
    /// The vectors of the records visited, where they are wanted.
    pub(in crate::hnsw) kept: KeptVectors,
    /// Deferred links, which the search follows.
    pub(in crate::hnsw) deferred: DeferredLinks,
    coded: Coded,
    filtered: Filtered,
    plain: Plain,
    crowd: Crowd,
    /// Pages that were requested ahead.
    pub(in crate::hnsw) requests: Requests,
    /// The entry point, if it was read just before the search.
    pub(in crate::hnsw) entry: Option<Option<EntryPoint>>,
    /// Counters since the search was made.
    pub(in crate::hnsw) counts: Counts,
}

impl Search {
    /// A search that drops candidates that do not fit the beam.
    pub fn new() -> Search {
        Search::with(Memory::default())
    }

    /// The search of a scan, in the memory of an earlier one; it can continue ([`resume`]) if it is
    /// `resumable`.
    pub(in crate::hnsw) fn of_scan(resumable: bool) -> Search {
        let plain = if resumable {
            Plain::resumable()
        } else {
            Plain::default()
        };
        Search {
            plain,
            ..Search::with(Memory::take())
        }
    }

    fn with(memory: Memory) -> Search {
        let Memory {
            visited,
            beam,
            places,
            sorted,
            coded,
        } = memory;
        Search {
            visited,
            beam,
            places,
            sorted,
            width: 1,
            live: 0,
            keys: Keys::Stored,
            sought: Sought {
                distance: f32::NAN,
                start: Vec::new(),
                values: Values::NONE,
                found: None,
            },
            kept: KeptVectors::default(),
            deferred: DeferredLinks::default(),
            coded,
            filtered: Filtered::default(),
            plain: Plain::default(),
            crowd: Crowd::default(),
            requests: Requests::default(),
            entry: None,
            counts: Counts::default(),
        }
    }

    /// The same search, with keys of this form.
    pub(in crate::hnsw) fn with_keys(self, keys: Keys) -> Search {
        Search { keys, ..self }
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.visited.clear();
        self.coded.reset();
        self.filtered.reset();
        self.plain.reset();
        self.requests.reset();
        self.start(1);
    }

    /// Empties the beam for a search of the next level or round with a beam of `width`.
    fn start(&mut self, width: usize) {
        self.beam.clear();
        self.live = 0;
        self.sought.found = None;
        self.width = width;
        self.kept.clear();
        self.coded.queue.start(width);
        self.plain.start();
    }

    /// Makes searches end where they meet a live record of level 0 with this vector, which has this
    /// order key, and these filter values; `start` is the part of the vector that a record has.
    pub(in crate::hnsw) fn seek(&mut self, distance: f32, start: &[u8], values: Values) {
        self.sought.values = values;
        self.sought.distance = distance;
        self.sought.start.clear();
        self.sought.start.extend_from_slice(start);
    }

    /// Makes searches seek no vector.
    pub(in crate::hnsw) fn seek_nothing(&mut self) {
        self.sought.distance = f32::NAN;
    }

    /// The record with the sought vector, if the last search met it.
    pub(in crate::hnsw) fn found(&self) -> Option<Link> {
        self.sought.found
    }

    /// The records found, nearest first: of a plain search at most `width` live ones, of a coded
    /// one all that it visited.
    pub fn beam(&self) -> &[Candidate] {
        &self.beam
    }

    /// Sets the ends of all rounds of a filtered search.
    pub(in crate::hnsw) fn bound_filtered(&mut self, bounds: filtered::Bounds) {
        self.filtered.bound(bounds);
    }

    /// The share of nodes that match around the query, if a filtered search has paused because they
    /// are few: [`go_on`] goes on with the round.
    pub(in crate::hnsw) fn paused_at(&self) -> Option<f64> {
        self.filtered.paused_at()
    }

    /// Whether the last round ended because matching nodes are elsewhere.
    pub(in crate::hnsw) fn is_lost(&self) -> bool {
        self.filtered.is_lost()
    }

    /// Gives a filtered search that is lost more nodes that may match, from the nearest of which it
    /// goes on when it is resumed.
    pub(in crate::hnsw) fn add_to_sample(&mut self, nodes: impl IntoIterator<Item = Link>) -> Result<()> {
        self.filtered.add_to_sample(nodes)
    }

    /// Whether a bound ended a round of a filtered search before it was settled.
    pub(in crate::hnsw) fn was_cut(&self) -> bool {
        self.filtered.was_cut()
    }

    /// Sorts the beam, the nearest first: places in order of distance, and then the candidates by
    /// them, because a candidate is as long as nine places.
    fn sort_beam(&mut self) -> Result<()> {
        let Search {
            beam, places, sorted, ..
        } = self;
        places.clear();
        places.room(beam.len())?;
        sorted.clear();
        sorted.room(beam.len())?;
        let place =
            |(at, candidate): (usize, &Candidate)| u64::from(estimate::ordered(candidate.distance)) << 32 | at as u64;
        places.extend(beam.iter().enumerate().map(place));
        places.sort_unstable();
        sorted.extend(places.iter().map(|&place| beam[place as u32 as usize]));
        std::mem::swap(beam, sorted);
        Ok(())
    }

    /// Records met so far, on all levels.
    pub fn met(&self) -> &VisitedSet {
        &self.visited
    }

    /// Adds a record of level 0 to those met, and says whether it was not among them.
    pub(in crate::hnsw) fn add_met(&mut self, node: NodeRef) -> Result<bool> {
        self.visited.insert(node)
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.visited.bytes()
            + self.coded.queue.bytes()
            + self.filtered.bytes()
            + self.plain.bytes()
            + self.requests.bytes()
            + (self.beam.capacity() + self.sorted.capacity()) * size_of::<Candidate>()
            + self.places.capacity() * size_of::<u64>()
    }

    /// Takes the set of records met, and resets the search; the counters stay.
    pub(in crate::hnsw) fn take_met(&mut self) -> VisitedSet {
        let counts = self.counts;
        let search = std::mem::take(self);
        self.counts = counts;
        search.visited
    }

    /// Takes the candidates that did not fit the beam.
    pub fn take_rest(&mut self) -> Vec<Candidate> {
        std::mem::take(&mut self.plain.rest)
    }

    /// Live records among those found.
    pub(in crate::hnsw) fn live(&self) -> usize {
        self.live
    }

    /// Whether the search met dead records and may have missed live ones because of them.
    pub(in crate::hnsw) fn is_among_dead(&self) -> bool {
        self.is_full() && self.live < self.beam.len()
    }

    /// Whether the level may have more near records than the search was wide enough for.
    fn is_full(&self) -> bool {
        self.live >= self.width || self.beam.len() >= DEAD_BOUND * self.width || self.coded.queue.is_full()
    }
}

impl Default for Search {
    fn default() -> Self {
        Self::new()
    }
}

/// Searches from the entry point down to level 0 with a beam of `width`; the beam of an empty index
/// is empty. A search that ends in a crowd ([`crowd`]) is repeated from the `entries` nearest nodes
/// of level 1.
pub fn search<S: PageStore>(
    graph: &Graph<'_, S>,
    search: &mut Search,
    query: &Query,
    entries: usize,
    width: usize,
) -> Result<()> {
    down_to(graph, search, query, |_| 0, width)?;
    if query.is_filtered() {
        return Ok(());
    }
    crowd::leave(graph, search, query, entries, width)
}

/// Searches from the entry point down to a level with a beam of `width`. `target` chooses the level
/// by that of the entry point. Returns the entry point, none in an empty index.
///
/// A record on the way may be freed meanwhile; the search then starts again, from another entry
/// point if there is one.
pub(in crate::hnsw) fn down_to<S: PageStore>(
    graph: &Graph<'_, S>,
    search: &mut Search,
    query: &Query,
    target: impl Fn(u8) -> u8,
    width: usize,
) -> Result<Option<EntryPoint>> {
    descend(graph, search, query, target, Entries::NEAREST, width)
}

/// As [`down_to`], entering the last level as `entries` says.
fn descend<S: PageStore>(
    graph: &Graph<'_, S>,
    search: &mut Search,
    query: &Query,
    target: impl Fn(u8) -> u8,
    entries: Entries,
    width: usize,
) -> Result<Option<EntryPoint>> {
    for _ in 0..RETRIES {
        search.reset();
        let entry = match search.entry.take() {
            Some(known) => known,
            None => graph.entry()?,
        };
        let Some(entry) = entry else { return Ok(None) };
        let target = target(entry.level).min(entry.level);
        let width_on = |level| match level - target {
            0 => width,
            1 => entries.above,
            _ => 1,
        };
        search.start(width_on(entry.level));
        meet(
            graph,
            search,
            query,
            entry.link.node,
            Some(entry.link.generation),
            entry.level,
        )?;
        expand(graph, search, query, entry.level)?;
        for level in (target..entry.level).rev() {
            search.plain.reset();
            let entries = if level == target { entries } else { Entries::NEAREST };
            below_from(graph, search, query, level, entries, width_on(level))?;
        }
        // No record of a filtered search may match.
        if !search.beam.is_empty() || search.filtered.has_visited() {
            return Ok(Some(entry));
        }
        graph.store.check_interrupts();
    }
    corrupted(
        META_BLOCK,
        "the entry point does not lead to the records of the lower levels",
    )
}

/// Searches a level with a beam of `width`, from the beam of the level above.
pub(in crate::hnsw) fn below<S: PageStore>(
    graph: &Graph<'_, S>,
    search: &mut Search,
    query: &Query,
    level: u8,
    width: usize,
) -> Result<()> {
    below_from(graph, search, query, level, Entries::NEAREST, width)
}

/// As [`below`], entering the level as `entries` says. A coded search enters at the nearest record
/// alone, from where it reaches the neighborhood without further reads; a plain one enters from the
/// whole beam.
fn below_from<S: PageStore>(
    graph: &Graph<'_, S>,
    search: &mut Search,
    query: &Query,
    level: u8,
    entries: Entries,
    width: usize,
) -> Result<()> {
    let above = std::mem::take(&mut search.beam);
    if entries.also.is_some() {
        // The wide search of the level above is not part of this one: limits bound this one's size.
        search.visited.clear();
    }
    search.start(width);
    if let Some(also) = entries.also {
        meet(graph, search, query, also.node, Some(also.generation), level)?;
    }
    let enough = match graph.space.layout.is_coded() {
        true => entries.above,
        false => usize::MAX,
    };
    let below = || above.iter().filter_map(|candidate| candidate.below.some());
    let mut soon = below().skip(1);
    for node in below() {
        if enough > 1
            && let Some(soon) = soon.next()
        {
            graph.prefetch(soon);
        }
        meet(graph, search, query, node, None, level)?;
        graph.store.check_interrupts();
        if search.live >= enough || search.found().is_some() {
            break;
        }
    }
    expand(graph, search, query, level)
}

/// Searches level 0 from one of its records.
pub(in crate::hnsw) fn from_node<S: PageStore>(
    graph: &Graph<'_, S>,
    search: &mut Search,
    query: &Query,
    start: NodeRef,
    width: usize,
) -> Result<()> {
    search.reset();
    search.start(width);
    meet(graph, search, query, start, None, 0)?;
    expand(graph, search, query, 0)
}

/// Follows links of a level from the beam or the queue until no nearer record comes.
fn expand<S: PageStore>(graph: &Graph<'_, S>, search: &mut Search, query: &Query, level: u8) -> Result<()> {
    if is_filtered(graph, query, level) {
        filtered::visit_all(graph, search, query)
    } else if graph.space.layout.is_coded() {
        coded::visit_all(graph, search, query, level)
    } else {
        plain::expand_all(graph, search, query, level)
    }
}

/// Whether records of a level are visited by their filter values: in a coded index, on level 0.
fn is_filtered<S: PageStore>(graph: &Graph<'_, S>, query: &Query, level: u8) -> bool {
    level == 0 && query.is_filtered() && graph.space.layout.is_coded()
}

/// Reads a record, of a generation if it is known, and adds it to the beam if it belongs to the
/// level.
fn meet<S: PageStore>(
    graph: &Graph<'_, S>,
    search: &mut Search,
    query: &Query,
    node: NodeRef,
    generation: Option<u8>,
    level: u8,
) -> Result<()> {
    graph.read_distance(query, node, |record, distance| {
        search.counts.add_record(&record, graph.space.layout.overflows > 0);
        let generation = generation.unwrap_or(record.generation());
        let link = Link { node, generation };
        if is_filtered(graph, query, level) {
            filtered::take(graph, search, query, link, &record, || distance)
        } else if graph.space.layout.is_coded() {
            coded::take(graph, search, query, level, link, &record, || distance)
        } else if query.passes_over(&record) && !query.leads_on(level) {
            Ok(())
        } else {
            let key = key(graph, search, query, &record, distance);
            let matches = match level {
                _ if query.passes_over(&record) => Match::No,
                0 => graph.space.test(query, &record.values()),
                _ => Match::Yes,
            };
            search.judge(link, level, &record, distance, key, matches)
        }
    })
}

/// The key by which a scan orders a record at this distance.
#[inline]
fn key<S: PageStore>(graph: &Graph<'_, S>, search: &Search, query: &Query, record: &Record<'_>, distance: f32) -> f32 {
    key_of(graph, search.keys, query, record, distance)
}

/// The key of this form of a record at this distance.
#[inline]
pub(in crate::hnsw) fn key_of<S: PageStore>(
    graph: &Graph<'_, S>,
    keys: Keys,
    query: &Query,
    record: &Record<'_>,
    distance: f32,
) -> f32 {
    match keys {
        Keys::Stored => distance,
        Keys::Least => graph.space.least_distance(query, record.vector(), distance),
    }
}

/// Follows links hop by hop from the records of the beam until `enough` live records are found, no
/// link is left, or [`WALK_BOUND`] ends the walk, which bounds an insert among dead nodes. Links of
/// live records come first, because a row inserted among dead nodes is linked to its like. Returns
/// the live records in order of distance.
pub(in crate::hnsw) fn walk_to_live<S: PageStore>(
    graph: &Graph<'_, S>,
    search: &mut Search,
    query: &Query,
    level: u8,
    enough: usize,
) -> Result<Vec<NeighborCandidate>> {
    search.visited.clear();
    let mut open: VecDeque<Link> = search.beam.iter().map(|candidate| candidate.link).collect();
    let mut live = Vec::new();
    let mut left = WALK_BOUND * enough;
    while let Some(link) = open.pop_front() {
        if live.len() >= enough || left == 0 {
            break;
        }
        if search.visited.contains(link.node) {
            continue;
        }
        left -= 1;
        graph.read_distance(query, link.node, |record, distance| {
            search.counts.add_record(&record, graph.space.layout.overflows > 0);
            if !record.is(link.generation, level) || !search.visited.insert(link.node)? {
                return Ok(());
            }
            search.counts.visited += 1;
            open.room(record.link_count())?;
            let new = record.links().filter(|link| !search.visited.contains(link.node));
            if record.state() == State::Node {
                live.try_push(NeighborCandidate::new(link, distance))?;
                search.sought.look(link, &record, distance);
                new.for_each(|link| open.push_front(link));
            } else {
                open.extend(new);
            }
            Ok(())
        })?;
        graph.store.check_interrupts();
    }
    live.sort_by(|a, b| a.distance.total_cmp(&b.distance));
    Ok(live)
}

/// Goes on with a round of a filtered search that has paused.
pub(in crate::hnsw) fn go_on<S: PageStore>(graph: &Graph<'_, S>, search: &mut Search, query: &Query) -> Result<()> {
    filtered::go_on(graph, search, query)
}

/// Continues a resumable search of level 0: the beam becomes the nearest `width` of the records
/// left. Says whether there were any.
pub fn resume<S: PageStore>(graph: &Graph<'_, S>, search: &mut Search, query: &Query, width: usize) -> Result<bool> {
    if is_filtered(graph, query, 0) {
        filtered::visit_on(graph, search, query, width)
    } else if graph.space.layout.is_coded() {
        coded::visit_on(graph, search, query, width)
    } else {
        plain::expand_on(graph, search, query, width)
    }
}
