//! Best-first search of one level, and the descent to it.
//!
//! The beam holds the nearest records met so far, in order of distance, at most `width` of them; the nearest one whose links were
//! not yet followed is expanded next, until there is none. This is the paper's SEARCH-LAYER with both of its heaps in one sorted
//! array. What does not fit the beam is dropped, or kept aside where a scan may want to go on later.

use super::Graph;
use super::visited::Visited;
use crate::error::Result;
use crate::storage::meta::{EntryPoint, META_BLOCK};
use crate::storage::record::{Record, State};
use crate::storage::{Link, NodeRef, PageStore, corrupted};

/// How often an entry point that has just been freed is read anew before the index counts as corrupted.
const ENTRY_RETRIES: usize = 1000;

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

    #[inline]
    fn admits(&self, distance: f32) -> bool {
        self.beam.len() < self.width || self.beam.last().is_some_and(|worst| distance < worst.distance)
    }

    /// Puts a candidate into the beam; the farthest makes room.
    fn push(&mut self, candidate: Candidate) {
        if self.beam.len() >= self.width
            && let Some(worst) = self.beam.pop()
        {
            self.put_aside(worst);
        }
        let at = self.beam.partition_point(|c| c.distance <= candidate.distance);
        self.beam.insert(at, candidate);
        if !candidate.expanded {
            self.next = self.next.min(at);
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
        if !record.is(link.generation, level) {
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
        if let Some(entry) = self.enter(search, query)? {
            for level in (1..=entry.level).rev() {
                self.search_level(search, query, &entry, level, 1)?;
            }
            search.rest.clear();
            self.search_level(search, query, &entry, 0, width)?;
        }
        Ok(())
    }

    /// Starts a search with the entry point in its beam, and says where that is; nowhere in an empty index.
    ///
    /// The entry point may be freed while we look; then there is another one, or none.
    pub(super) fn enter(&self, search: &mut Search, query: &[f32]) -> Result<Option<EntryPoint>> {
        search.reset();
        for _ in 0..ENTRY_RETRIES {
            let Some(entry) = self.entry()? else { return Ok(None) };
            self.meet(search, query, entry.link, entry.level)?;
            if !search.beam.is_empty() {
                search.visited.insert(entry.link.node);
                return Ok(Some(entry));
            }
            self.store.check_interrupts();
        }
        corrupted(META_BLOCK, "the entry point is no record of its level")
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
                if search.visited.insert(node) {
                    self.read(node, |record| {
                        let link = Link {
                            node,
                            generation: record.generation(),
                        };
                        search.judge(link, level, &record, || self.distance(query, &record));
                        Ok(())
                    })?;
                }
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
                        .extend(links.iter().filter(|link| search.visited.insert(link.node)));
                }
                None => self.read(link.node, |record| {
                    if record.is(link.generation, level) {
                        search
                            .pending
                            .extend(record.links().filter(|link| search.visited.insert(link.node)));
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
        search.beam = rest;
        let found = !search.beam.is_empty();
        self.expand_all(search, query, 0)?;
        Ok(found)
    }
}
