//! Best-first search of a level by exact distances alone.
//!
//! The beam holds the nearest records met so far in order of distance, at most `width` live ones;
//! the nearest record whose links were not followed is expanded next, until all are expanded. This
//! is the paper's SEARCH-LAYER with both of its heaps in one sorted array. Dead nodes lead on but
//! are no results: up to a bound they do not count. Candidates that do not fit the beam are
//! dropped, or kept for a scan that may continue.

use super::kept_vectors::NOT_KEPT;
use super::{Candidate, Search};
use crate::error::Result;
use crate::fallible::{self, Room, TryPush};
use crate::filter::condition::Match;
use crate::hnsw::Graph;
use crate::hnsw::search;
use crate::hnsw::space::Query;
use crate::hnsw::tuning::search::DEAD_BOUND;
use crate::storage::record::{Record, State};
use crate::storage::{Link, PageStore};

/// State of a plain search besides its beam.
#[derive(Default)]
pub struct Plain {
    /// All candidates of the beam before this one are expanded.
    next: usize,
    /// Links of candidates in the beam, copied while their page was read.
    links: Vec<Link>,
    /// Links under expansion.
    pending: Vec<Link>,
    /// Candidates that did not fit the beam, if they are kept.
    pub(super) rest: Vec<Candidate>,
    keeps_rest: bool,
}

impl Plain {
    /// The state of a search that can continue.
    pub(super) fn resumable() -> Plain {
        Plain {
            keeps_rest: true,
            ..Plain::default()
        }
    }

    pub(super) fn reset(&mut self) {
        self.rest.clear();
    }

    /// Prepares for an empty beam.
    pub(super) fn start(&mut self) {
        self.links.clear();
        self.next = 0;
    }

    /// Bytes of memory in use.
    pub(super) fn bytes(&self) -> usize {
        self.rest.capacity() * size_of::<Candidate>() + self.links.capacity() * size_of::<Link>()
    }
}

impl Search {
    #[inline]
    fn admits(&self, distance: f32) -> bool {
        !self.is_full() || self.beam.last().is_some_and(|worst| distance < worst.distance)
    }

    /// Adds a candidate to the beam; candidates beyond its width leave.
    fn push(&mut self, candidate: Candidate) -> Result<()> {
        self.beam.room(1)?;
        let at = self.beam.partition_point(|c| c.distance <= candidate.distance);
        self.beam.insert(at, candidate);
        self.live += usize::from(candidate.live);
        if !candidate.expanded {
            self.plain.next = self.plain.next.min(at);
        }
        while let Some(worst) = self
            .beam
            .pop_if(|worst| !worst.live && self.live >= self.width || self.live > self.width)
        {
            self.live -= usize::from(worst.live);
            self.put_aside(worst)?;
        }
        if self.beam.len() > DEAD_BOUND * self.width
            && let Some(worst) = self.beam.pop()
        {
            self.live -= usize::from(worst.live);
            self.put_aside(worst)?;
        }
        Ok(())
    }

    fn put_aside(&mut self, candidate: Candidate) -> Result<()> {
        if self.plain.keeps_rest {
            self.plain.rest.try_push(Candidate {
                links: None,
                ..candidate
            })?;
        }
        Ok(())
    }

    /// Adds a record that was just read to the beam, if it is near enough; ignores a stale link.
    #[inline]
    pub(super) fn judge(
        &mut self,
        link: Link,
        level: u8,
        record: &Record<'_>,
        distance: f32,
        key: f32,
        matches: Match,
    ) -> Result<()> {
        // Marked as met only now: a stale link must not hide the record that uses the slot today.
        if !record.is(link.generation, level) || !self.visited.insert(link.node)? {
            return Ok(());
        }
        self.counts.visited += 1;
        let mut candidate = Candidate {
            distance,
            key,
            link,
            live: record.state() == State::Node && matches > Match::No,
            certain: matches == Match::Yes,
            row: record.only_entry(),
            lsn: record.lsn(),
            below: record.below(),
            expanded: false,
            kept: NOT_KEPT,
            links: None,
        };
        if candidate.live {
            self.sought.look(link, record, distance);
        }
        if self.admits(distance) {
            candidate.links = Some((self.plain.links.len() as u32, record.link_count() as u8));
            self.plain.links.try_extend(record.links())?;
            self.push(candidate)
        } else {
            self.put_aside(candidate)
        }
    }
}

/// Expands the candidates of the beam, nearest first, until all are expanded.
pub(super) fn expand_all<S: PageStore>(
    graph: &Graph<'_, S>,
    search: &mut Search,
    query: &Query,
    level: u8,
) -> Result<()> {
    while search.sought.found.is_none()
        && let Some(candidate) = search.beam[search.plain.next..].iter().position(|c| !c.expanded)
    {
        search.plain.next += candidate;
        let candidate = &mut search.beam[search.plain.next];
        candidate.expanded = true;
        let (link, links) = (candidate.link, candidate.links);
        search.plain.next += 1;
        search.plain.pending.clear();
        match links {
            Some((start, count)) => {
                let links = &search.plain.links[start as usize..start as usize + usize::from(count)];
                search
                    .plain
                    .pending
                    .extend(links.iter().filter(|link| !search.visited.contains(link.node)));
            }
            None => graph.read(link.node, |record| {
                search.counts.pages += 1;
                if record.is(link.generation, level) {
                    search
                        .plain
                        .pending
                        .extend(record.links().filter(|link| !search.visited.contains(link.node)));
                }
                Ok(())
            })?,
        }
        let pending = std::mem::take(&mut search.plain.pending);
        if let Some(first) = pending.first() {
            graph.prefetch(first.node);
        }
        for (i, &link) in pending.iter().enumerate() {
            if let Some(soon) = pending.get(i + 1) {
                graph.prefetch(soon.node);
            }
            let soon = pending[i + 1..].iter().map(|soon| soon.node);
            search.requests.request_list(graph, soon)?;
            search::meet(graph, search, query, link.node, Some(link.generation), level)?;
        }
        search.plain.pending = pending;
        graph.store.check_interrupts();
    }
    Ok(())
}

/// Continues with the nearest of the candidates that did not fit the beam.
pub(super) fn expand_on<S: PageStore>(
    graph: &Graph<'_, S>,
    search: &mut Search,
    query: &Query,
    width: usize,
) -> Result<bool> {
    search.start(width);
    let mut rest = search.take_rest();
    if rest.len() > width {
        rest.select_nth_unstable_by(width, |a, b| a.distance.total_cmp(&b.distance));
        search.plain.rest = fallible::collect(rest.drain(width..))?;
    }
    rest.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance));
    search.live = rest.iter().filter(|candidate| candidate.live).count();
    search.beam = rest;
    let found = !search.beam.is_empty();
    expand_all(graph, search, query, 0)?;
    Ok(found)
}
