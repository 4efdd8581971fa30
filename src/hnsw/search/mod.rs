//! Best-first search of one level, and the descent to it.
//!
//! In a coded index ([`coded`]) what is met is estimated, and what is visited is the result. In a plain one ([`plain`]) everything
//! that is met is read.

mod candidate_queue;
mod coded;
mod crowd;
mod plain;
pub(in crate::hnsw) mod visited_set;

use std::collections::VecDeque;

use coded::Coded;
use crowd::{Crowd, Entries};

use crate::error::Result;
use crate::fallible::{Room, TryPush};
use crate::hnsw::Graph;
use crate::hnsw::distance_bounds::Keys;
use crate::hnsw::insert::batch::DeferredLinks;
use crate::hnsw::neighbors::selection::NeighborCandidate;
use crate::hnsw::search::visited_set::VisitedSet;
use crate::hnsw::space::Query;
use crate::storage::format::META_BLOCK;
use crate::storage::meta::EntryPoint;
use crate::storage::record::{Entry, Record, State};
use crate::storage::{Link, NodeRef, PageStore, corrupted};

/// How often a search starts again because its way was freed, before the index counts as corrupted.
const RETRIES: usize = 1000;

/// The beam never holds more than this many times its width, dead nodes included.
const DEAD_BOUND: usize = 4;

/// A walk through dead records reads at most this many times as many as it looks for live ones.
const WALK_BOUND: usize = 16;

/// A record that a search has met.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// The search's order key: smaller is nearer.
    pub distance: f32,
    /// The key that a scan orders by.
    pub key: f32,
    /// The record.
    pub link: Link,
    /// Whether it is a live node, one that may be linked to.
    pub live: bool,
    /// Its row, if it is a level-0 record of a node that has one only. A snapshot that sees the row may hold its TID for any time.
    pub row: Option<Entry>,
    /// When it was read ([`crate::storage::record::Record::lsn`]).
    pub lsn: u64,
    /// The node's record one level down.
    below: NodeRef,
    /// Whether its links were followed.
    expanded: bool,
    /// Where its links start in [`Search::links`], and how many they are; `None` if they have to be read again.
    links: Option<(u32, u8)>,
}

/// What searches have done, for who wants to know.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Records visited, on all levels.
    pub visited: u64,
    /// Distances estimated from codes.
    pub estimates: u64,
    /// Pages read, one as often as it was.
    pub pages: u64,
    /// Overflow records of vectors among them.
    pub overflows: u64,
    /// Rows left out because they are marked as dead to everyone.
    pub dead_rows: u64,
    /// Passes over all pages.
    pub passes: u64,
}

impl Counts {
    /// Notes that a record was read for its distance.
    #[inline]
    pub(in crate::hnsw) fn add_record(&mut self, record: &Record<'_>, has_overflows: bool) {
        self.pages += 1;
        if has_overflows && matches!(record.state(), State::Node | State::Dead) {
            let overflows = record.overflows().count() as u64;
            self.overflows += overflows;
            // The record is read once more behind them.
            self.pages += overflows + u64::from(overflows > 0);
        }
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

/// A vector that is all that is wanted if it is met, in a live record on level 0.
struct Sought {
    /// Its distance; not a number while nothing is sought.
    distance: f32,
    /// Its bytes, as many as a record has.
    start: Vec<u8>,
    /// The record.
    found: Option<Link>,
}

impl Sought {
    /// Looks whether a live record is it.
    #[inline]
    fn look(&mut self, link: Link, record: &Record<'_>, distance: f32) {
        // Many may be at that distance: all are as far from a zero vector under inner product.
        if distance == self.distance && record.level() == 0 && record.vector() == self.start {
            self.found = self.found.or(Some(link));
        }
    }
}

/// The state of a search; its memory is reused from one search to the next.
pub struct Search {
    visited: VisitedSet,
    /// Plain: the nearest records met; coded: the records visited.
    beam: Vec<Candidate>,
    width: usize,
    /// Live candidates in the beam.
    live: usize,
    /// Plain: no candidate before this one is unexpanded.
    next: usize,
    /// Plain: links of candidates in the beam, copied while their page was read anyway.
    links: Vec<Link>,
    /// Plain: links under expansion.
    pending: Vec<Link>,
    /// Plain: what did not fit the beam.
    rest: Vec<Candidate>,
    keep_rest: bool,
    /// Form of the candidates' keys.
    keys: Keys,
    sought: Sought,
    /// Links that are put off, but followed.
    pub(in crate::hnsw) deferred: DeferredLinks,
    coded: Coded,
    crowd: Crowd,
    /// What it has done since it was made.
    pub(in crate::hnsw) counts: Counts,
}

impl Search {
    /// A search that drops what does not fit the beam.
    pub fn new() -> Search {
        Search {
            visited: VisitedSet::new(),
            beam: Vec::new(),
            width: 1,
            live: 0,
            next: 0,
            links: Vec::new(),
            pending: Vec::new(),
            rest: Vec::new(),
            keep_rest: false,
            keys: Keys::Stored,
            sought: Sought {
                distance: f32::NAN,
                start: Vec::new(),
                found: None,
            },
            deferred: DeferredLinks::default(),
            coded: Coded::default(),
            crowd: Crowd::default(),
            counts: Counts::default(),
        }
    }

    /// A search that can go on: see [`Graph::resume`].
    pub fn resumable() -> Search {
        Search {
            keep_rest: true,
            ..Search::new()
        }
    }

    /// As it is, with keys of this form.
    pub(in crate::hnsw) fn with_keys(self, keys: Keys) -> Search {
        Search { keys, ..self }
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.visited.clear();
        self.rest.clear();
        self.coded.reset();
        self.start(1);
    }

    /// Empties the beam for a search of the next level or round, `width` wide.
    fn start(&mut self, width: usize) {
        self.beam.clear();
        self.links.clear();
        self.live = 0;
        self.next = 0;
        self.sought.found = None;
        self.width = width;
        self.coded.queue.start(width);
    }

    /// From here on a search ends where it meets a live record of level 0 with this vector, which is at this distance; `start` is as much of it
    /// as a record has.
    pub(in crate::hnsw) fn seek(&mut self, distance: f32, start: &[u8]) {
        self.sought.distance = distance;
        self.sought.start.clear();
        self.sought.start.extend_from_slice(start);
    }

    /// From here on a search seeks nothing of the kind.
    pub(in crate::hnsw) fn seek_nothing(&mut self) {
        self.sought.distance = f32::NAN;
    }

    /// What the last search ended at, if it found what it sought.
    pub(in crate::hnsw) fn found(&self) -> Option<Link> {
        self.sought.found
    }

    /// The records found, nearest first: after a plain search at most as many live ones as it was wide, after a coded one all that it
    /// visited.
    pub fn beam(&self) -> &[Candidate] {
        &self.beam
    }

    /// Records met so far, on all levels.
    pub fn met(&self) -> &VisitedSet {
        &self.visited
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.visited.bytes()
            + self.coded.queue.bytes()
            + self.rest.capacity() * size_of::<Candidate>()
            + self.links.capacity() * size_of::<Link>()
            + self.beam.capacity() * size_of::<Candidate>()
    }

    /// Takes the records met, and forgets everything else.
    pub(in crate::hnsw) fn take_met(&mut self) -> VisitedSet {
        let counts = self.counts;
        let search = std::mem::take(self);
        self.counts = counts;
        search.visited
    }

    /// Takes everything that was met and did not fit the beam.
    pub fn take_rest(&mut self) -> Vec<Candidate> {
        std::mem::take(&mut self.rest)
    }

    /// Live records among those found.
    pub(in crate::hnsw) fn live(&self) -> usize {
        self.live
    }

    /// Whether it met dead records, and may not have met all that is live for them.
    pub(in crate::hnsw) fn is_among_dead(&self) -> bool {
        self.is_full() && self.live < self.beam.len()
    }

    /// Whether there may be more around than the search was wide enough for.
    fn is_full(&self) -> bool {
        self.live >= self.width || self.beam.len() >= DEAD_BOUND * self.width || self.coded.queue.is_full()
    }
}

impl Default for Search {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: PageStore> Graph<'_, S> {
    /// Searches from the entry point down to level 0, whose beam is `width` wide; an empty index leaves it empty. Out of a crowd
    /// ([`crowd`]) it finds its way by the `entries` nearest nodes of level 1.
    pub fn search(&self, search: &mut Search, query: &Query, entries: usize, width: usize) -> Result<()> {
        self.search_down_to(search, query, |_| 0, width)?;
        self.leave_crowd(search, query, entries, width)
    }

    /// Searches from the entry point down to a level, which `target` gets to choose when it knows that of the entry point, and whose
    /// beam is `width` wide. Says where it entered; nowhere in an empty index.
    ///
    /// What the way leads over may be freed while we are on it; then we start again, from another entry point if there is one.
    pub(in crate::hnsw) fn search_down_to(
        &self,
        search: &mut Search,
        query: &Query,
        target: impl Fn(u8) -> u8,
        width: usize,
    ) -> Result<Option<EntryPoint>> {
        self.descend(search, query, target, Entries::NEAREST, width)
    }

    /// As [`Graph::search_down_to`], entering that level as `entries` says.
    fn descend(
        &self,
        search: &mut Search,
        query: &Query,
        target: impl Fn(u8) -> u8,
        entries: Entries,
        width: usize,
    ) -> Result<Option<EntryPoint>> {
        for _ in 0..RETRIES {
            search.reset();
            let Some(entry) = self.entry()? else { return Ok(None) };
            let target = target(entry.level).min(entry.level);
            let width_on = |level| match level - target {
                0 => width,
                1 => entries.above,
                _ => 1,
            };
            search.start(width_on(entry.level));
            self.meet(search, query, entry.link.node, Some(entry.link.generation), entry.level)?;
            self.expand(search, query, entry.level)?;
            for level in (target..entry.level).rev() {
                search.rest.clear();
                let entries = if level == target { entries } else { Entries::NEAREST };
                self.search_below_from(search, query, level, entries, width_on(level))?;
            }
            if !search.beam.is_empty() {
                return Ok(Some(entry));
            }
            self.store.check_interrupts();
        }
        corrupted(
            META_BLOCK,
            "the entry point does not lead to the records of the lower levels",
        )
    }

    /// Searches a level with a beam of `width`, from the one left by the level above.
    pub(in crate::hnsw) fn search_below(
        &self,
        search: &mut Search,
        query: &Query,
        level: u8,
        width: usize,
    ) -> Result<()> {
        self.search_below_from(search, query, level, Entries::NEAREST, width)
    }

    /// The same, entering it as `entries` says. A coded search reaches what is around the nearest record at the
    /// price of what is read anyway, and needs no other; a plain one enters from all of the beam.
    fn search_below_from(
        &self,
        search: &mut Search,
        query: &Query,
        level: u8,
        entries: Entries,
        width: usize,
    ) -> Result<()> {
        let above = std::mem::take(&mut search.beam);
        if entries.also.is_some() {
            // The wide search of the level above is not one of this: limits are about this one.
            search.visited.clear();
        }
        search.start(width);
        if let Some(also) = entries.also {
            self.meet(search, query, also.node, Some(also.generation), level)?;
        }
        let below = || above.iter().filter_map(|candidate| candidate.below.some());
        let mut soon = below().skip(1);
        for node in below() {
            if let Some(soon) = soon.next() {
                self.prefetch(soon);
            }
            self.meet(search, query, node, None, level)?;
            self.store.check_interrupts();
            if self.space.layout.is_coded() && search.live >= entries.above || search.found().is_some() {
                break;
            }
        }
        self.expand(search, query, level)
    }

    /// Searches level 0 from one record on it.
    pub(in crate::hnsw) fn search_from(
        &self,
        search: &mut Search,
        query: &Query,
        start: NodeRef,
        width: usize,
    ) -> Result<()> {
        search.reset();
        search.start(width);
        self.meet(search, query, start, None, 0)?;
        self.expand(search, query, 0)
    }

    fn expand(&self, search: &mut Search, query: &Query, level: u8) -> Result<()> {
        if self.space.layout.is_coded() {
            self.visit_all(search, query, level)
        } else {
            self.expand_all(search, query, level)
        }
    }

    /// Reads a record, of a generation if it is known, and puts it into the beam if it is one of this level.
    fn meet(&self, search: &mut Search, query: &Query, node: NodeRef, generation: Option<u8>, level: u8) -> Result<()> {
        self.read_distance(query, node, |record, distance| {
            search.counts.add_record(&record, self.space.layout.overflows > 0);
            let generation = generation.unwrap_or(record.generation());
            let link = Link { node, generation };
            if self.space.layout.is_coded() {
                self.take(search, query, level, link, &record, || distance)
            } else {
                let key = self.key(search, query, &record, distance);
                search.judge(link, level, &record, distance, key)
            }
        })
    }

    /// The key of a record at a distance, for a scan.
    #[inline]
    fn key(&self, search: &Search, query: &Query, record: &Record<'_>, distance: f32) -> f32 {
        match search.keys {
            Keys::Stored => distance,
            Keys::Least => self.space.least_distance(query, record.vector(), distance),
        }
    }

    /// From the records in the beam, follows links hop by hop until `enough` live records have turned up, nothing is left, or so many were
    /// read that an insert among dead ones would take too long. Links of live ones come first: what was inserted among the dead is
    /// linked to its like. The live ones come in order of distance.
    pub(in crate::hnsw) fn walk_to_live(
        &self,
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
            self.read_distance(query, link.node, |record, distance| {
                search.counts.add_record(&record, self.space.layout.overflows > 0);
                if !record.is(link.generation, level) || !search.visited.insert(link.node)? {
                    return Ok(());
                }
                search.counts.visited += 1;
                open.room(record.link_count())?;
                let new = record.links().filter(|link| !search.visited.contains(link.node));
                if record.state() == State::Node {
                    live.try_push(NeighborCandidate { distance, link })?;
                    search.sought.look(link, &record, distance);
                    new.for_each(|link| open.push_front(link));
                } else {
                    open.extend(new);
                }
                Ok(())
            })?;
            self.store.check_interrupts();
        }
        live.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        Ok(live)
    }

    /// Goes on where a resumable search of level 0 ended: the beam becomes the nearest `width` of what is left. Says whether there was
    /// anything.
    pub fn resume(&self, search: &mut Search, query: &Query, width: usize) -> Result<bool> {
        if self.space.layout.is_coded() {
            self.visit_on(search, query, width)
        } else {
            self.expand_on(search, query, width)
        }
    }
}
