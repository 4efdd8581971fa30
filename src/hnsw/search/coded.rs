//! Best-first search of a level whose records have codes of their neighbors.
//!
//! A visit reads one record. Its own distance is exact; the distances of its neighbors are
//! estimated from their codes in one pass, and estimates below the candidate queue's worst enter
//! the queue. Neighbors of a record very near the query are estimated from the difference of query
//! and record ([`Space::near`]). Visits are popped a few ahead of their turn, so that their pages
//! are pinned and on the way into the processor's cache when the turn comes.
//!
//! The visited records are the results. Estimates of other records are forgotten; a search that
//! goes on reads the codes of its visited records once more, and from then on keeps all estimates.

use std::collections::VecDeque;

use super::candidate_queue::CandidateQueue;
use super::estimate::Estimate;
use super::kept_vectors::NOT_KEPT;
use super::{Candidate, Search};
use crate::distance::{self, Metric};
use crate::error::Result;
use crate::fallible::TryPush;
use crate::filter::condition::Match;
use crate::hnsw::Graph;
use crate::hnsw::order_key;
use crate::hnsw::search;
use crate::hnsw::space::{Near, Query, Space};
use crate::hnsw::tuning::search::{DEAD_BOUND, UNGUIDED_BOUND};
use crate::quantize::bfloat16::Bf16;
use crate::quantize::query_table::Table;
use crate::quantize::rabitq::{Factors, LANES};
use crate::storage::node_page::NodePage;
use crate::storage::record::{Record, State};
use crate::storage::{Link, NodeRef, PageStore};

/// Visits that are prepared ahead of their turn: as many as a page takes to come from memory.
pub(super) const AHEAD: usize = 4;

/// State of a coded search besides its results.
#[derive(Default)]
pub struct Coded {
    pub(super) queue: CandidateQueue,
    pub(super) near: Near,
}

impl Coded {
    pub(super) fn reset(&mut self) {
        self.queue.reset();
    }
}

/// The records hinted last. The nearest estimates are mostly those of the visit before, and a hint
/// takes a look at two tables and at the address translation.
#[derive(Default)]
pub(super) struct Hinted {
    nodes: [u32; 4 * AHEAD],
    /// Number of records hinted so far.
    count: usize,
}

impl Hinted {
    /// Adds a record; says whether it was not among those hinted last.
    #[inline]
    pub(super) fn add(&mut self, node: NodeRef) -> bool {
        // A bit of every comparison: no branch, so that the processor compares all at once.
        let is_known = self.nodes.iter().fold(false, |is, &other| is | (other == node.0));
        if !is_known {
            self.nodes[self.count % self.nodes.len()] = node.0;
            self.count += 1;
        }
        !is_known
    }
}

/// The square of a length.
#[inline]
fn squared(length: Bf16) -> Bf16 {
    Bf16::from_f32(length.to_f32() * length.to_f32())
}

/// The squares of the lengths of a block.
fn squares(lengths: impl Iterator<Item = Bf16>) -> [u8; 2 * LANES] {
    let mut squares = [0; 2 * LANES];
    for (square, length) in squares.as_chunks_mut::<2>().0.iter_mut().zip(lengths) {
        *square = squared(length).to_bits().to_le_bytes();
    }
    squares
}

/// Estimates the distances of a record's neighbors, and passes `f` the estimates below `worst`
/// (all, if that is not a number), each with its lane. `near` is [`Space::near`].
#[inline]
pub(super) fn estimate_neighbors(
    space: &Space,
    query: &Query,
    near: Option<&Table>,
    record: &Record<'_>,
    distance: f32,
    worst: f32,
    mut f: impl FnMut(usize, Estimate),
) {
    let table = near.unwrap_or(&query.table);
    let is_wide = is_wide(space, distance);
    let bound = if is_wide { f32::NAN } else { order_key::bound(worst) };
    let mut estimates = [0.0; LANES];
    let count = record.link_count();
    for block in 0..count.div_ceil(LANES) {
        let (codes, mut offsets, scales) = record.codes(block);
        let links = record.links_of(block);
        let squares = near.map(|_| squares(record.lengths(block)));
        if let Some(squares) = &squares {
            offsets = squares;
        }
        let mut lanes = distance::estimate(
            table.entries(),
            codes,
            offsets,
            scales,
            distance,
            table.scale(),
            table.offset(),
            bound,
            &mut estimates,
        );
        let used = count - block * LANES;
        if used < LANES {
            lanes &= (1 << used) - 1;
        }
        while lanes != 0 {
            let lane = lanes.trailing_zeros() as usize;
            lanes &= lanes - 1;
            let mut estimate = estimates[lane];
            if is_wide || !order_key::is_estimate(estimate) {
                estimate = wide_estimate(space, query, record, distance, block * LANES + lane);
            }
            if worst.is_nan() || estimate < worst {
                f(block * LANES + lane, Estimate::new(estimate, links.get(lane)));
            }
        }
    }
}

/// Whether a distance is an inner product beyond the range of sums; the factors of its codes are
/// within the range.
fn is_huge_product(space: &Space, distance: f32) -> bool {
    !order_key::is_estimate(distance) && space.parameters.metric == Metric::InnerProduct
}

/// Whether neighbors of a node at this distance have to be estimated in f64. Where squared
/// distances vanish, the offsets of codes do too, and f64 gains nothing.
#[inline]
fn is_wide(space: &Space, distance: f32) -> bool {
    !order_key::is_sum(distance)
        && (!order_key::is_estimate(distance) || space.parameters.metric == Metric::InnerProduct)
}

#[cold]
fn wide_estimate(space: &Space, query: &Query, record: &Record<'_>, distance: f32, lane: usize) -> f32 {
    let mut words = vec![0; space.layout.code_words()];
    let factors = record.read_code(lane, &mut words);
    order_key::of(query.table.wide_estimate(&words, factors, order_key::sum(distance)))
}

/// Visits the records of the queue, nearest first, until the queue has none left.
pub(super) fn visit_all<S: PageStore>(
    graph: &Graph<'_, S>,
    search: &mut Search,
    query: &Query,
    level: u8,
) -> Result<()> {
    let mut ahead: VecDeque<(Link, S::Pin<'_>)> = VecDeque::with_capacity(AHEAD);
    let mut hinted = Hinted::default();
    search.coded.queue.room(0)?;
    loop {
        if let depth @ 1.. = graph.store.input_depth() {
            request_soon(graph, search, depth.saturating_sub(ahead.len()))?;
        }
        while ahead.len() < AHEAD.min(search.width) {
            let Some(next) = search.coded.queue.pop(&search.visited)?.map(Estimate::link) else {
                break;
            };
            if search.visited.contains(next.node) || ahead.iter().any(|(link, _)| *link == next) {
                search.coded.queue.note_repeated();
                continue;
            }
            let pin = search.requests.pin(graph, next.node)?;
            graph.hint(&pin, next.node);
            ahead.push_back((next, pin));
        }
        for soon in search.coded.queue.next(AHEAD) {
            if hinted.add(soon.link().node) {
                graph.prefetch_start(soon.link().node, 1);
            }
        }
        let Some((link, pin)) = ahead.pop_front() else { break };
        visit(graph, search, query, link, pin, |search, record, distance| {
            let distance = || distance.unwrap_or_else(|| graph.distance(query, record));
            take(graph, search, query, level, link, record, distance)
        })?;
        graph.store.check_interrupts();
        if search.sought.found.is_some() {
            break;
        }
    }
    search.sort_beam()
}

/// Requests the pages of at most `most` records that the queue has next.
///
/// A visit early in a search brings nearer records than the queue has, so the number grows with
/// the visits: a search of 100 pages then requests 6 that it does not read (docs/measurements.md,
/// *Pages that are not in memory*).
#[cold]
#[inline(never)]
fn request_soon<S: PageStore>(graph: &Graph<'_, S>, search: &mut Search, most: usize) -> Result<()> {
    let queue = &search.coded.queue;
    let most = most.min(search.beam.len() / 2).min(queue.remaining());
    search
        .requests
        .request(graph, queue.next(most).map(|soon| soon.link().node))
}

/// Reads a record of a pinned page, and passes it to `take`, with its distance if that took
/// overflow records to compute.
///
/// Locks: the record's page, and with overflow records their pages, shared, one at a time; on
/// return: none.
#[inline]
pub(super) fn visit<S: PageStore>(
    graph: &Graph<'_, S>,
    search: &mut Search,
    query: &Query,
    link: Link,
    pin: S::Pin<'_>,
    take: impl FnOnce(&mut Search, &Record<'_>, Option<f32>) -> Result<()>,
) -> Result<()> {
    let layout = &graph.space.layout;
    if layout.overflows > 0 {
        drop(pin);
        return graph.read_distance(query, link.node, |record, distance| {
            search.counts.add_record(&record, true);
            take(search, &record, Some(distance))
        });
    }
    let (block, slot) = (layout.block(link.node), layout.slot(link.node));
    graph.store.read_pinned(pin, |page| {
        let record = NodePage::visited(page, block, layout)?.record(slot)?;
        search.counts.add_record(&record, false);
        take(search, &record, None)
    })
}

/// Adds a record that was just read to the results, and its neighbors to the queue; ignores a stale
/// link.
#[inline]
pub(super) fn take<S: PageStore>(
    graph: &Graph<'_, S>,
    search: &mut Search,
    query: &Query,
    level: u8,
    link: Link,
    record: &Record<'_>,
    distance: impl FnOnce() -> f32,
) -> Result<()> {
    // Marked as met only now: a stale link must not hide the record that uses the slot today.
    let is_passed_over = query.passes_over(record);
    let is_other = !record.is(link.generation, level) || is_passed_over && !query.leads_on(level);
    if is_other || !search.visited.insert(link.node)? {
        return Ok(());
    }
    search.coded.queue.room(record.link_count())?;
    search.counts.visited += 1;
    search.counts.estimates += record.link_count() as u64;
    let distance = distance();
    let live = record.state() == State::Node && !is_passed_over;
    if live {
        search.sought.look(link, record, distance);
    }
    let mut matches = Match::Yes;
    if level == 0 && query.is_filtered() {
        search.filtered.add_expanded(link, distance)?;
        if live {
            matches = graph.space.test(query, &record.values());
            search.filtered.many.count(matches > Match::No, &mut search.coded.queue);
        }
    }
    if matches > Match::No {
        let key = search::key(graph, search, query, record, distance);
        let kept = if live {
            search.kept.keep(link, record)?
        } else {
            NOT_KEPT
        };
        search.beam.try_push(Candidate {
            distance,
            key,
            link,
            live,
            certain: matches == Match::Yes,
            row: record.only_entry(),
            lsn: record.lsn(),
            below: record.below(),
            expanded: true,
            kept,
            links: None,
        })?;
    }
    if live {
        search.live += usize::from(matches > Match::No);
    } else if search.beam.len() - search.live < DEAD_BOUND * search.width {
        search.coded.queue.widen(); // Dead nodes lead on but are no results.
    }
    let is_guided = order_key::is_sum(distance) || is_huge_product(&graph.space, distance);
    if !is_guided && search.beam.len() < UNGUIDED_BOUND * search.width {
        search.coded.queue.widen(); // All neighbors have to be read, as in a plain search.
    }
    let node = link.node;
    let Coded { queue, near, .. } = &mut search.coded;
    let visited = &search.visited;
    let near = graph.space.near(query, record.vector(), distance, near);
    estimate_neighbors(
        &graph.space,
        query,
        near,
        record,
        distance,
        queue.worst(),
        |_, estimate| queue.offer(estimate, visited),
    );
    if !search.deferred.is_empty() {
        for (link, code) in search.deferred.of(node) {
            let offset = near.map_or(code.factors.offset, |_| squared(code.factors.length));
            let factors = Factors { offset, ..code.factors };
            let mut estimate = near.unwrap_or(&query.table).estimate(code.words, factors, distance);
            if is_wide(&graph.space, distance) || !order_key::is_estimate(estimate) {
                estimate = order_key::of(
                    query
                        .table
                        .wide_estimate(code.words, code.factors, order_key::sum(distance)),
                );
            }
            let useful = queue.worst().is_nan() || estimate < queue.worst();
            if useful {
                queue.room(1)?;
                queue.offer(Estimate::new(estimate, link), visited);
            }
        }
    }
    Ok(())
}

/// Continues a search of level 0 with a beam of `width`; says whether any record was left to visit.
pub(super) fn visit_on<S: PageStore>(
    graph: &Graph<'_, S>,
    search: &mut Search,
    query: &Query,
    width: usize,
) -> Result<bool> {
    if !search.coded.queue.keeps() {
        if !search.coded.queue.is_full() {
            // No estimate was dropped: all records met have been visited.
            search.start(width);
            return Ok(false);
        }
        search.coded.queue.keep()?;
        let beam = std::mem::take(&mut search.beam);
        for (at, candidate) in beam.iter().enumerate() {
            if let Some(soon) = beam.get(at + AHEAD) {
                graph.prefetch(soon.link.node);
            }
            keep_neighbors(graph, search, query, candidate)?;
            graph.store.check_interrupts();
        }
    }
    search.start(width);
    let is_left = search.coded.queue.nearest(&search.visited)?.is_some();
    visit_all(graph, search, query, 0)?;
    Ok(is_left)
}

fn keep_neighbors<S: PageStore>(
    graph: &Graph<'_, S>,
    search: &mut Search,
    query: &Query,
    candidate: &Candidate,
) -> Result<()> {
    graph.read(candidate.link.node, |record| {
        search.counts.pages += 1;
        if record.is(candidate.link.generation, 0) {
            let Coded { queue, near, .. } = &mut search.coded;
            let (visited, distance) = (&search.visited, candidate.distance);
            queue.room(record.link_count())?;
            let near = graph.space.near(query, record.vector(), distance, near);
            estimate_neighbors(&graph.space, query, near, &record, distance, f32::NAN, |_, estimate| {
                queue.offer(estimate, visited);
            });
        }
        Ok(())
    })
}
