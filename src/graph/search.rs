//! Best-first search of one level, and the descent to it.
//!
//! The beam holds the nearest records met so far, in order of distance, at most `width` live ones; the nearest one whose links were
//! not yet followed is expanded next, until there is none. This is the paper's SEARCH-LAYER with both of its heaps in one sorted
//! array. Dead nodes are ways, not results: they do not count, up to a bound. What does not fit the beam is dropped, or kept
//! aside where a scan may want to go on later.

use super::Graph;
use std::collections::VecDeque;

use super::select::Choice;
use super::visited::Visited;
use crate::error::Result;
use crate::storage::meta::{EntryPoint, META_BLOCK};
use crate::storage::record::{Record, State};
use crate::storage::{Link, NodeRef, PageStore, corrupted};

/// How often a search starts again because its way was freed, before the index counts as corrupted.
const RETRIES: usize = 1000;

/// The beam never holds more than this many times its width, dead nodes included.
const DEAD_BOUND: usize = 4;

/// A record that a search has met.
#[derive(Debug, Clone, Copy)]
pub struct Candidate {
    /// The search's order key: smaller is nearer.
    pub distance: f32,
    /// The record.
    pub link: Link,
    /// Whether it is a live node, one that may be linked to.
    pub live: bool,
    /// The node's record one level down.
    below: NodeRef,
    /// Whether its links were followed.
    expanded: bool,
    /// Where its links start in [`Search::links`], and how many they are; `None` if they have to be read again.
    links: Option<(u32, u8)>,
}

/// The state of a search; its memory is reused from one search to the next.
pub struct Search {
    visited: Visited,
    beam: Vec<Candidate>,
    width: usize,
    /// Live candidates in the beam.
    live: usize,
    /// No candidate before this one is unexpanded.
    next: usize,
    /// Links of candidates in the beam, copied while their page was read anyway.
    links: Vec<Link>,
    /// Links under expansion.
    pending: Vec<Link>,
    /// What did not fit the beam.
    rest: Vec<Candidate>,
    keep_rest: bool,
}

impl Search {
    /// A search that drops what does not fit the beam.
    pub fn new() -> Search {
        Search {
            visited: Visited::new(),
            beam: Vec::new(),
            width: 1,
            live: 0,
            next: 0,
            links: Vec::new(),
            pending: Vec::new(),
            rest: Vec::new(),
            keep_rest: false,
        }
    }

    /// A search that keeps what does not fit the beam, for [`Search::resume`].
    pub fn resumable() -> Search {
        Search {
            keep_rest: true,
            ..Search::new()
        }
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.visited.clear();
        self.rest.clear();
        self.start(1);
    }

    /// Empties the beam for a search of the next level or round, `width` wide.
    fn start(&mut self, width: usize) {
        self.beam.clear();
        self.links.clear();
        self.live = 0;
        self.next = 0;
        self.width = width;
    }

    /// The beam: after a search, the nearest records found, nearest first.
    pub fn beam(&self) -> &[Candidate] {
        &self.beam
    }

    /// Records met so far, on all levels.
    pub fn met(&self) -> &Visited {
        &self.visited
    }

    /// Bytes of memory in use.
    pub fn bytes(&self) -> usize {
        self.visited.bytes()
            + self.rest.capacity() * size_of::<Candidate>()
            + self.links.capacity() * size_of::<Link>()
            + self.beam.capacity() * size_of::<Candidate>()
    }

    /// Takes everything that was met and did not fit the beam.
    pub fn take_rest(&mut self) -> Vec<Candidate> {
        std::mem::take(&mut self.rest)
    }

    /// Whether the beam holds as much as it may.
    pub(super) fn is_full(&self) -> bool {
        self.live >= self.width || self.beam.len() >= DEAD_BOUND * self.width
    }

    #[inline]
    fn admits(&self, distance: f32) -> bool {
        !self.is_full() || self.beam.last().is_some_and(|worst| distance < worst.distance)
    }

    /// Puts a candidate into the beam; what is then beyond its width makes room.
    fn push(&mut self, candidate: Candidate) {
        let at = self.beam.partition_point(|c| c.distance <= candidate.distance);
        self.beam.insert(at, candidate);
        self.live += usize::from(candidate.live);
        if !candidate.expanded {
            self.next = self.next.min(at);
        }
        while let Some(worst) = self
            .beam
            .pop_if(|worst| !worst.live && self.live >= self.width || self.live > self.width)
        {
            self.live -= usize::from(worst.live);
            self.put_aside(worst);
        }
        if self.beam.len() > DEAD_BOUND * self.width
            && let Some(worst) = self.beam.pop()
        {
            self.live -= usize::from(worst.live);
            self.put_aside(worst);
        }
    }

    fn put_aside(&mut self, candidate: Candidate) {
        if self.keep_rest {
            self.rest.push(Candidate {
                links: None,
                ..candidate
            });
        }
    }

    /// Judges a record that was just read; a stale link to it is nothing.
    #[inline]
    fn judge(&mut self, link: Link, level: u8, record: &Record<'_>, distance: impl FnOnce() -> f32) {
        // Only now is it met: a stale link must not hide the record that uses the slot today.
        if !record.is(link.generation, level) || !self.visited.insert(link.node) {
            return;
        }
        let distance = distance();
        let mut candidate = Candidate {
            distance,
            link,
            live: record.state() == State::Node,
            below: record.below(),
            expanded: false,
            links: None,
        };
        if self.admits(distance) {
            candidate.links = Some((self.links.len() as u32, record.link_count() as u8));
            self.links.extend(record.links());
            self.push(candidate);
        } else {
            self.put_aside(candidate);
        }
    }
}

impl Default for Search {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: PageStore> Graph<'_, S> {
    /// Searches from the entry point down to level 0, whose beam is `width` wide; an empty index leaves it empty.
    pub fn search(&self, search: &mut Search, query: &[f32], width: usize) -> Result<()> {
        self.search_down_to(search, query, |_| 0, width).map(drop)
    }

    /// Searches from the entry point down to a level, which `target` gets to choose when it knows that of the entry point, and whose
    /// beam is `width` wide. Says where it entered; nowhere in an empty index.
    ///
    /// What the way leads over may be freed while we are on it; then we start again, from another entry point if there is one.
    pub(super) fn search_down_to(
        &self,
        search: &mut Search,
        query: &[f32],
        target: impl Fn(u8) -> u8,
        width: usize,
    ) -> Result<Option<EntryPoint>> {
        for _ in 0..RETRIES {
            search.reset();
            let Some(entry) = self.entry()? else { return Ok(None) };
            self.meet(search, query, entry.link, entry.level)?;
            let target = target(entry.level).min(entry.level);
            for level in (target..=entry.level).rev() {
                search.rest.clear();
                let width = if level == target { width } else { 1 };
                self.search_level(search, query, &entry, level, width)?;
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

    /// Searches level 0 from one record on it.
    pub(super) fn search_from(&self, search: &mut Search, query: &[f32], start: NodeRef, width: usize) -> Result<()> {
        search.reset();
        search.start(width);
        self.step_to(search, query, start, 0)?;
        self.expand_all(search, query, 0)
    }

    /// Reads and judges a record of whatever generation, if it is one of this level.
    fn step_to(&self, search: &mut Search, query: &[f32], node: NodeRef, level: u8) -> Result<()> {
        self.read(node, |record| {
            let generation = record.generation();
            search.judge(Link { node, generation }, level, &record, || {
                self.distance(query, &record)
            });
            Ok(())
        })
    }

    /// From the dead records in the beam, follows links hop by hop until `enough` live records have turned up, or nothing is left.
    /// They come in order of distance. Takes time in proportion to the dead records around, which a wider beam would not.
    pub(super) fn walk_to_live(
        &self,
        search: &mut Search,
        query: &[f32],
        level: u8,
        enough: usize,
    ) -> Result<Vec<Choice>> {
        search.visited.clear();
        let mut open: VecDeque<Link> = search.beam.iter().map(|candidate| candidate.link).collect();
        let mut live = Vec::new();
        while let Some(link) = open.pop_front() {
            if live.len() >= enough {
                break;
            }
            self.read(link.node, |record| {
                if record.is(link.generation, level) && search.visited.insert(link.node) {
                    if record.state() == State::Node {
                        let distance = self.distance(query, &record);
                        live.push(Choice { distance, link });
                    }
                    open.extend(record.links().filter(|link| !search.visited.contains(link.node)));
                }
                Ok(())
            })?;
            self.store.check_interrupts();
        }
        live.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        Ok(live)
    }

    /// Searches a level with a beam of `width`, from the beam left by the level above (the entry point itself on its own level).
    pub(super) fn search_level(
        &self,
        search: &mut Search,
        query: &[f32],
        entry: &EntryPoint,
        level: u8,
        width: usize,
    ) -> Result<()> {
        if level == entry.level {
            search.width = width;
        } else {
            let above = std::mem::take(&mut search.beam);
            search.start(width);
            for node in above.iter().filter_map(|candidate| candidate.below.some()) {
                self.step_to(search, query, node, level)?;
            }
        }
        self.expand_all(search, query, level)
    }

    #[inline]
    pub(super) fn distance(&self, query: &[f32], record: &Record<'_>) -> f32 {
        let distance = self.kernel.distance_bytes(query, record.vector());
        // What is not a number (a damaged vector) is farthest, so that there is always an order.
        if distance.is_nan() { f32::INFINITY } else { distance }
    }

    /// Reads one record and judges it; a stale link is nothing.
    fn meet(&self, search: &mut Search, query: &[f32], link: Link, level: u8) -> Result<()> {
        self.read(link.node, |record| {
            search.judge(link, level, &record, || self.distance(query, &record));
            Ok(())
        })
    }

    /// Expands candidates, nearest first, until all of the beam are.
    fn expand_all(&self, search: &mut Search, query: &[f32], level: u8) -> Result<()> {
        while let Some(candidate) = search.beam[search.next..].iter().position(|c| !c.expanded) {
            search.next += candidate;
            let candidate = &mut search.beam[search.next];
            candidate.expanded = true;
            let (link, links) = (candidate.link, candidate.links);
            search.next += 1;
            search.pending.clear();
            match links {
                Some((start, count)) => {
                    let links = &search.links[start as usize..start as usize + usize::from(count)];
                    search
                        .pending
                        .extend(links.iter().filter(|link| !search.visited.contains(link.node)));
                }
                None => self.read(link.node, |record| {
                    if record.is(link.generation, level) {
                        search
                            .pending
                            .extend(record.links().filter(|link| !search.visited.contains(link.node)));
                    }
                    Ok(())
                })?,
            }
            let pending = std::mem::take(&mut search.pending);
            if let Some(first) = pending.first() {
                self.prefetch(first.node);
            }
            for (i, &link) in pending.iter().enumerate() {
                if let Some(soon) = pending.get(i + 1) {
                    self.prefetch(soon.node);
                }
                self.meet(search, query, link, level)?;
            }
            search.pending = pending;
            self.store.check_interrupts();
        }
        Ok(())
    }

    /// Goes on where a resumable search of level 0 ended: the beam becomes the nearest `width` of what is left. Says whether there was
    /// anything.
    pub fn resume(&self, search: &mut Search, query: &[f32], width: usize) -> Result<bool> {
        search.start(width);
        let mut rest = search.take_rest();
        if rest.len() > width {
            rest.select_nth_unstable_by(width, |a, b| a.distance.total_cmp(&b.distance));
            search.rest = rest.split_off(width);
        }
        rest.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance));
        search.live = rest.iter().filter(|candidate| candidate.live).count();
        search.beam = rest;
        let found = !search.beam.is_empty();
        self.expand_all(search, query, 0)?;
        Ok(found)
    }
}
