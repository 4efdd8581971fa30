//! Calibration: recall and visits of searches over their width, measured on an index, from which
//! the width follows that a recall takes.
//!
//! The queries are rows of the index ([`sample`]). A row as a query finds itself, and the links
//! that were chosen for it lead to its neighbors, so searches for a row pass over its node, as if
//! the index did not have it ([`Query::without`]). Its neighbors have lost links to its insertion,
//! so such a search finds less than one for a query that is no row. A search that follows the
//! node's links all the same finds more. A mean of both foretells the recall of other queries, so
//! a part of the rows is searched for in the second way ([`LEADING_ON`]).
//!
//! One pass over the pages, or over a share of them, finds the exact neighbors of all queries
//! ([`exact`]). Scans then run as a session's do, from the least width on, until recall leaves
//! nothing to gain or the time is up. Each step looks at the time: where pages have to be read from
//! a slow disk, a measurement has fewer queries or widths, or there is none.

mod exact;
mod sample;

use std::time::{Duration, Instant};

use exact::Exact;

use crate::error::Result;
use crate::fallible::{self, TryPush};
use crate::hnsw::Graph;
use crate::hnsw::scan::{Limits, Rounds, Scan};
use crate::hnsw::search::Counts;
use crate::hnsw::space::Query;
use crate::storage::calibration::{self, Calibration, KS, MOST_WIDTH, Measured, Source, USUAL};
use crate::storage::{NodeRef, PageStore};

/// Widths that are measured, each about 1.6 times the one before.
pub const WIDTHS: [u16; 11] = [10, 16, 25, 40, 64, 100, 160, 250, 400, 640, MOST_WIDTH];

/// Width of the scans whose rows bound the distances of the exact neighbors.
const BOUNDING_WIDTH: usize = 100;

/// Most queries from rows.
const MOST_QUERIES: usize = 400;

/// Share (numerator, denominator) of the queries from rows whose searches follow the links of the
/// row's own node, which they do not return (docs/measurements.md, *Calibration*).
const LEADING_ON: (usize, usize) = (3, 8);

/// Standard errors by which a recall that is kept is below the one that was measured, up to the
/// first recall and from the second one on: a search that is a little too wide is preferred to a
/// target that is missed, and a high one cannot be exceeded by much (docs/measurements.md,
/// *Calibration*).
const MARGIN: [(f64, f64); 2] = [(0.95, 1.0), (0.99, 2.0)];

/// Fewest queries from rows: recall of fewer errs too much (docs/measurements.md, *Calibration*).
const FEWEST_QUERIES: usize = 50;

/// Fewest nodes of an index that is calibrated: a pass over fewer costs little.
pub const FEWEST_NODES: usize = 1000;

/// Recall beyond which a greater width has nothing to gain.
const ENOUGH: f64 = 0.998;

/// Least share of the pages that a pass reads: fewer nodes say too little about the rest.
const LEAST_SHARE: f64 = 0.05;

/// Share of the pages that a pass reads rather than a greater one for fewer queries: scans have
/// found most neighbors before, and single queries differ more than parts of the pages do
/// (docs/measurements.md, *Calibration*).
const ENOUGH_PAGES: f64 = 0.33;

/// Time in which nothing can be measured.
const LEAST_TIME: Duration = Duration::from_millis(20);

/// Time of the other scans of a query, in that of the one of [`BOUNDING_WIDTH`]: the ones of the
/// widths up to it, which most targets of recall take.
const SCANS: f64 = 2.0;

/// Share of the time after which the choice of queries ends.
const SAMPLE_SHARE: f64 = 0.25;

/// Share of the time after which the scans that bound distances end.
const BOUNDING_SHARE: f64 = 0.4;

/// Share of the time after which the pass for exact neighbors ends.
const EXACT_SHARE: f64 = 0.7;

/// Rows of a scan, per node that it is to return: nodes may have many rows each.
const ROWS_PER_NODE: usize = 4;

/// Memory of a scan.
const SCAN_MEMORY: usize = 4 << 20;

/// A query of a calibration.
struct Asked {
    query: Query,
    /// The node that searches pass over; none if the query is no row.
    own: NodeRef,
}

/// The least width with this recall for the `place`th number of rows.
pub fn width_for(rows: &[Row], place: usize, recall: f64) -> u16 {
    let points: Vec<_> = rows.iter().map(|row| (row.width, row.of[place].recall)).collect();
    calibration::width_for(&points, recall)
}

/// The outcome of one width.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Width of the search: `ef_search`.
    pub width: u16,
    /// For each number of rows asked for, in their order.
    pub of: Vec<Outcome>,
}

/// The outcome of scans for one number of rows, on average.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Outcome {
    /// Share of the nearest rows that the scans return.
    pub recall: f64,
    /// Records visited.
    pub visits: f64,
    /// Pages read.
    pub pages: f64,
    /// Seconds of a scan.
    pub time: f64,
    /// Number of queries.
    pub queries: usize,
}

/// Measures an index with rows of its own as queries, in at most this time and that of one scan.
/// None if the index is too small, or the time too short.
///
/// Locks: one page at a time, shared; on return: none.
pub fn by_rows<S: PageStore>(graph: &Graph<'_, S>, time: Duration) -> Result<Option<Calibration>> {
    if time < LEAST_TIME {
        return Ok(None);
    }
    let clock = Clock::starting(time);
    let nodes = sample::nodes(graph, MOST_QUERIES, clock.at(SAMPLE_SHARE))?;
    if nodes.queries.len() < FEWEST_QUERIES || nodes.live < FEWEST_NODES as f64 {
        return Ok(None);
    }
    let mut queries = nodes.queries;
    let began = clock.left();
    let mut bounding = bounding(graph, &mut queries, &KS, clock.at(BOUNDING_SHARE))?;
    let scan = began.saturating_sub(clock.left()).as_secs_f64() / bounding.len().max(1) as f64;
    let exact = exact::cost(graph, &queries)? * graph.node_blocks()?.len() as f64;
    let (left, scans) = (clock.left().as_secs_f64(), SCANS * scan);
    let affordable = left / (exact * ENOUGH_PAGES + scans);
    queries.truncate((affordable as usize).max(FEWEST_QUERIES));
    bounding.truncate(queries.len());
    // Other work may have held up the trial, so a pass is tried that it leaves no time for.
    let share = ((left / queries.len().max(1) as f64 - scans) / exact).clamp(LEAST_SHARE, 1.0);
    let measurement = Measurement::of(graph, queries, bounding, &KS, share, clock.at(EXACT_SHARE))?;
    if measurement.asked.len() < FEWEST_QUERIES || measurement.share < LEAST_SHARE {
        return Ok(None);
    }
    let mut measured = Vec::new();
    let mut part = measurement.asked.len();
    let mut recalls: [Recalls; KS.len()] = Default::default();
    let unseen = (1.0 / measurement.share - 1.0) / part as f64;
    for width in WIDTHS {
        let began = Instant::now();
        // More rows than a search keeps take further rounds, so no target has such a width.
        let ks = KS.partition_point(|&k| k <= usize::from(width));
        let (mut row, each) = measurement.of_part(graph, width, &KS[..ks], part, clock.at(1.0))?;
        if row.of[USUAL].queries < FEWEST_QUERIES {
            break;
        }
        let mut is_enough = ks == KS.len();
        for (((before, each), outcome), k) in recalls.iter_mut().zip(each).zip(&mut row.of).zip(KS) {
            *before = std::mem::take(before).then(each);
            is_enough &= before.mean >= ENOUGH;
            outcome.recall = before.at_least(unseen / k as f64);
        }
        measured.try_push(row.measured())?;
        let left = clock.left();
        if is_enough || left.is_zero() {
            break;
        }
        // The next width takes longer than this one, and others follow.
        if began.elapsed() * 4 > left {
            part = (part / 2).max(FEWEST_QUERIES);
        }
    }
    if measured.is_empty() {
        return Ok(None);
    }
    Ok(Some(Calibration {
        finished: 0,
        nodes: nodes.live as u64,
        removed: 0,
        blocks: graph.store.blocks()?,
        queries: measurement.asked.len() as u16,
        source: Source::Rows,
        measured,
    }))
}

/// Recall of a number of rows at a width.
#[derive(Default)]
struct Recalls {
    /// Of each query, of all or of the first ones.
    each: Vec<f32>,
    /// The mean of all queries, also of the ones that the width was not measured with.
    mean: f64,
    /// The variance of the mean.
    variance: f64,
}

impl Recalls {
    /// The recalls at the next width, measured with as many of the queries or fewer: the others are
    /// taken to gain as much on average, so that the mean does not jump to that of other queries.
    fn then(self, each: Vec<f32>) -> Recalls {
        let (mean, variance) = moments(each.iter().copied().map(f64::from));
        let part = each.len().max(1) as f64;
        match self.each.get(..each.len()) {
            Some(same) if !same.is_empty() => {
                let (_, before) = moments(same.iter().copied().map(f64::from));
                let gains = each.iter().zip(same).map(|(recall, before)| f64::from(recall - before));
                let (gain, of_gains) = moments(gains);
                let falls = if before > 0.0 {
                    (variance / before).min(1.0)
                } else {
                    1.0
                };
                let more = (1.0 / part - 1.0 / self.each.len() as f64) * of_gains;
                Recalls {
                    mean: (self.mean + gain).min(1.0).max(self.mean),
                    variance: self.variance * falls + more,
                    each,
                }
            }
            _ => Recalls {
                mean,
                variance: variance / part,
                each,
            },
        }
    }

    /// A recall that other queries likely have, or more ([`MARGIN`]); `unseen` is the share of one
    /// missed node that the pages that were read do not show.
    fn at_least(&self, unseen: f64) -> f64 {
        let [(low, few), (high, many)] = MARGIN;
        let part = ((self.mean - low) / (high - low)).clamp(0.0, 1.0);
        let errors = few + part * (many - few);
        // A few hard queries among few, and few pages, do not make a search wider without end: each
        // at most doubles the share that is missing.
        let most = 1.0 - self.mean;
        let missing = (errors * self.variance.max(0.0).sqrt()).min(most) + (errors * unseen).min(most);
        (self.mean - missing).max(0.0)
    }
}

/// Mean and variance.
fn moments(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for value in values {
        count += 1.0;
        sum += value;
        squares += value * value;
    }
    let mean = sum / f64::max(count, 1.0);
    (mean, (squares / f64::max(count, 1.0) - mean * mean).max(0.0))
}

/// The time of a calibration.
struct Clock {
    start: Instant,
    time: Duration,
}

impl Clock {
    fn starting(time: Duration) -> Clock {
        let start = Instant::now();
        Clock { start, time }
    }

    /// The moment at which a share of the time is over; none if it never comes.
    fn at(&self, share: f64) -> Option<Instant> {
        self.start.checked_add(self.time.mul_f64(share))
    }

    fn left(&self) -> Duration {
        self.time.saturating_sub(self.start.elapsed())
    }
}

/// Whether this moment is over.
fn is_over(moment: Option<Instant>) -> bool {
    moment.is_some_and(|moment| Instant::now() >= moment)
}

/// Scans of [`BOUNDING_WIDTH`] of queries, or of the first ones if the time is up before; the
/// others are left out.
fn bounding<S: PageStore>(
    graph: &Graph<'_, S>,
    asked: &mut Vec<Asked>,
    ks: &[usize],
    until: Option<Instant>,
) -> Result<Vec<Scanned>> {
    let mut scans = Vec::new();
    for asked in asked.iter() {
        if is_over(until) {
            break;
        }
        scans.try_push(scan(graph, asked, BOUNDING_WIDTH, ks)?)?;
    }
    asked.truncate(scans.len());
    Ok(scans)
}

impl Row {
    /// The outcomes for [`KS`], which are the first ones, as they are kept.
    pub fn measured(&self) -> Measured {
        let mut measured = Measured {
            width: u32::from(self.width),
            ..Measured::default()
        };
        for (i, outcome) in self.of.iter().take(KS.len()).enumerate() {
            measured.recall[i] = outcome.recall as f32;
            measured.visits[i] = outcome.visits as f32;
        }
        measured
    }
}

/// Queries with the distances of their exact neighbors.
pub struct Measurement {
    asked: Vec<Asked>,
    ks: Vec<usize>,
    /// Scans of [`BOUNDING_WIDTH`] of the queries.
    bounding: Vec<Scanned>,
    /// For each query, nodes nearer than the ones of these scans that the scans missed.
    missed: Vec<Vec<(f32, NodeRef)>>,
    /// Live nodes of the index.
    nodes: usize,
    /// Share of the pages that were read for the exact neighbors.
    share: f64,
}

impl Measurement {
    /// Prepares to measure recall of the first rows, for each of these numbers of them. Reads the
    /// whole index.
    ///
    /// Locks: one page at a time, shared; on return: none.
    pub fn new<S: PageStore>(graph: &Graph<'_, S>, queries: Vec<Query>, ks: &[usize]) -> Result<Measurement> {
        let own = NodeRef::NONE;
        let mut asked = fallible::collect(queries.into_iter().map(|query| Asked { query, own }))?;
        let bounding = bounding(graph, &mut asked, ks, None)?;
        Measurement::of(graph, asked, bounding, ks, 1.0, None)
    }

    /// Number of live nodes of the index.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// As [`Measurement::new`], with the bounding scans of the queries, of a share of the pages, or
    /// of fewer if the time is up before.
    fn of<S: PageStore>(
        graph: &Graph<'_, S>,
        asked: Vec<Asked>,
        bounding: Vec<Scanned>,
        ks: &[usize],
        share: f64,
        until: Option<Instant>,
    ) -> Result<Measurement> {
        let known = bounding.iter().map(|scanned| &scanned.found[..]);
        let Exact { missed, nodes, share } = exact::missed(graph, &asked, known, ks, share, until)?;
        Ok(Measurement {
            asked,
            ks: ks.to_vec(),
            bounding,
            missed,
            nodes,
            share,
        })
    }

    /// The outcome of searches of a width.
    ///
    /// Locks: one page at a time, shared; on return: none.
    pub fn at<S: PageStore>(&self, graph: &Graph<'_, S>, width: u16) -> Result<Row> {
        Ok(self.of_part(graph, width, &self.ks, self.asked.len(), None)?.0)
    }

    /// As [`Measurement::at`], for the first `ks` of the numbers of rows and the first queries
    /// alone, or for fewer if the time is up before; also returns the recalls of all queries, for
    /// each number of rows.
    fn of_part<S: PageStore>(
        &self,
        graph: &Graph<'_, S>,
        width: u16,
        ks: &[usize],
        part: usize,
        until: Option<Instant>,
    ) -> Result<(Row, Vec<Vec<f32>>)> {
        let mut each = vec![Vec::new(); ks.len()];
        let mut sums = vec![Outcome::default(); ks.len()];
        for (i, asked) in self.asked.iter().take(part).enumerate() {
            if is_over(until) {
                break;
            }
            let again;
            let scanned = match self.bounding.get(i) {
                Some(scanned) if usize::from(width) == BOUNDING_WIDTH => scanned,
                _ => {
                    again = scan(graph, asked, usize::from(width), ks)?;
                    &again
                }
            };
            let outcomes = sums.iter_mut().zip(&mut each).zip(ks).zip(&scanned.at);
            for (((sum, each), &k), (counts, time)) in outcomes {
                sum.queries += 1;
                let recall = self.hits(i, &scanned.found, k)? / self.most_hits(k);
                each.try_push(recall as f32)?;
                sum.recall += recall;
                sum.visits += counts.visited as f64;
                sum.pages += counts.pages as f64;
                sum.time += time.as_secs_f64();
            }
        }
        let of = sums.into_iter().map(Outcome::mean).collect();
        Ok((Row { width, of }, each))
    }

    /// The number of nodes that a search for `k` finds at most. Where only a share of the pages was
    /// read, which may have no nodes at all, there are as many as are asked for.
    fn most_hits(&self, k: usize) -> f64 {
        match self.share >= 1.0 {
            true => k.min(self.nodes).max(1) as f64,
            false => k as f64,
        }
    }

    /// The number of the `k` nearest nodes of a query among the first `k` that a scan has found.
    fn hits(&self, query: usize, found: &[(f32, NodeRef)], k: usize) -> Result<f64> {
        let first = &found[..k.min(found.len())];
        let (known, missed) = (&self.bounding[query].found, &self.missed[query]);
        let is_whole = self.share >= 1.0;
        let also = if is_whole { &missed[..] } else { &[] };
        let mut nearest = fallible::collect(known.iter().chain(first).chain(also).copied())?;
        nearest.sort_unstable_by(|a: &(f32, NodeRef), b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        nearest.dedup_by_key(|(_, node)| *node);
        let farthest = nearest.get(k - 1).map_or(f32::INFINITY, |(distance, _)| *distance);
        let hits = first.iter().filter(|(distance, _)| *distance <= farthest).count() as f64;
        if is_whole {
            return Ok(hits);
        }
        // Each node that a share of the pages shows stands for others, wherever these are.
        let is_lost = |lost: &&(f32, NodeRef)| lost.0 < farthest && first.iter().all(|(_, node)| *node != lost.1);
        Ok(hits - missed.iter().filter(is_lost).count() as f64 / self.share.max(LEAST_SHARE))
    }
}

impl Outcome {
    /// The mean of sums over queries.
    fn mean(self) -> Outcome {
        let count = self.queries.max(1) as f64;
        Outcome {
            recall: self.recall / count,
            visits: self.visits / count,
            pages: self.pages / count,
            time: self.time / count,
            queries: self.queries,
        }
    }
}

/// The nodes that a scan returned, with their distances, and its counters and time when it had
/// returned so many of them.
struct Scanned {
    found: Vec<(f32, NodeRef)>,
    at: Vec<(Counts, Duration)>,
}

fn scan<S: PageStore>(graph: &Graph<'_, S>, asked: &Asked, width: usize, ks: &[usize]) -> Result<Scanned> {
    let start = Instant::now();
    let limits = Limits {
        rounds: Rounds::Cheaper,
        memory: SCAN_MEMORY,
        ..Limits::none(width)
    };
    let mut scan = Scan::new(asked.query.clone(), limits);
    let most = ks.iter().copied().max().unwrap_or(0);
    let mut found: Vec<(f32, NodeRef)> = Vec::new();
    let mut at = vec![None; ks.len()];
    let mut left = ROWS_PER_NODE * most;
    while found.len() < most && left > 0 && scan.next(graph)?.is_some() {
        left -= 1;
        let Some((distance, _)) = scan.returned() else { break };
        let node = scan.node();
        if found.last().is_some_and(|(_, last)| *last == node) {
            continue;
        }
        found.try_push((distance, node))?;
        for (at, _) in at.iter_mut().zip(ks).filter(|(_, k)| **k == found.len()) {
            *at = Some((scan.counts(), start.elapsed()));
        }
    }
    let end = (scan.counts(), start.elapsed());
    let at = at.into_iter().map(|at| at.unwrap_or(end)).collect();
    Ok(Scanned { found, at })
}

#[cfg(test)]
mod tests;
