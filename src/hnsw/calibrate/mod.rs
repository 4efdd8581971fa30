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

/// One of so many queries from rows asks for the greatest number of rows, which takes most of the
/// time and is wanted least.
const ALL_ROWS_PART: usize = 8;

/// Share (numerator, denominator) of the queries from rows whose searches follow the links of the
/// row's own node, which they do not return (docs/measurements.md, *Calibration*).
const LEADING_ON: (usize, usize) = (2, 8);

/// Fewest queries from rows: recall of fewer errs too much (docs/measurements.md, *Calibration*).
const FEWEST_QUERIES: usize = 100;

/// Fewest queries where the time runs short.
const FEWEST_LATE: usize = 50;

/// Fewest nodes of an index that is calibrated: a pass over fewer costs little.
pub const FEWEST_NODES: usize = 1000;

/// Recall beyond which a greater width has nothing to gain.
const ENOUGH: f64 = 0.998;

/// Least share of the pages that a pass reads: fewer nodes say too little about the rest.
const LEAST_SHARE: f64 = 0.05;

/// Share of the pages that a pass reads rather than a greater one for fewer queries: scans have
/// found most neighbors before, and single queries differ more than parts of the pages do
/// (docs/measurements.md, *Calibration*).
const ENOUGH_PAGES: f64 = 0.2;

/// Time in which nothing can be measured.
const LEAST_TIME: Duration = Duration::from_millis(20);

/// Time of all scans of a query, in those of a scan of [`BOUNDING_WIDTH`]: the widths up to that
/// one, which most targets of recall take.
const SCANS: f64 = 5.0;

/// Share of the time after which the choice of queries and the trials end.
const TRIALS_SHARE: f64 = 0.25;

/// Share of the time after which the scans that bound distances and the pass for exact neighbors
/// end.
const EXACT_SHARE: f64 = 0.5;

/// Queries of the trial that tells the time of a scan.
const TRIAL: usize = 8;

/// Rows of a scan, per node that it is to return: nodes may have many rows each.
const ROWS_PER_NODE: usize = 4;

/// Memory of a scan.
const SCAN_MEMORY: usize = 4 << 20;

/// A query of a calibration.
struct Asked {
    query: Query,
    /// The node that searches pass over; none if the query is no row.
    own: NodeRef,
    /// Most rows that are asked for.
    most: usize,
}

impl Asked {
    /// Whether so many rows are asked for.
    fn wants(&self, rows: usize) -> bool {
        rows <= self.most
    }

    /// The greatest of these numbers of rows that is asked for.
    fn most_of(&self, ks: &[usize]) -> usize {
        ks.iter().copied().filter(|&k| self.wants(k)).max().unwrap_or(0)
    }
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
    let trials = clock.at(TRIALS_SHARE);
    let nodes = sample::nodes(graph, MOST_QUERIES, trials)?;
    if nodes.queries.len() < FEWEST_QUERIES || nodes.live < FEWEST_NODES as f64 {
        return Ok(None);
    }
    let mut queries = nodes.queries;
    let exact = exact::cost(graph, &queries)? * graph.node_blocks()?.len() as f64;
    let scans = SCANS * cost_of_scan(graph, &queries, trials)?;
    let left = clock.left().as_secs_f64();
    let affordable = left / (exact * ENOUGH_PAGES + scans);
    queries.truncate((affordable as usize).max(FEWEST_QUERIES));
    let share = ((left / queries.len() as f64 - scans) / exact).min(1.0);
    if share < LEAST_SHARE {
        return Ok(None);
    }
    let measurement = Measurement::of(graph, queries, &KS, share, clock.at(EXACT_SHARE))?;
    if measurement.asked.len() < FEWEST_QUERIES || measurement.share < LEAST_SHARE {
        return Ok(None);
    }
    let mut measured = Vec::new();
    let mut part = measurement.asked.len();
    let mut before = Recalls::default();
    for width in WIDTHS {
        let began = Instant::now();
        let (mut row, recalls) = measurement.of_part(graph, width, part, clock.at(1.0))?;
        if row.of[USUAL].queries < FEWEST_LATE {
            break;
        }
        before = before.then(recalls);
        row.of[USUAL].recall = before.mean;
        measured.try_push(row.measured())?;
        let left = clock.left();
        if row.of[USUAL].recall >= ENOUGH || left.is_zero() {
            break;
        }
        // The next width takes longer than this one, and others follow.
        if began.elapsed() * 4 > left {
            part = (part / 2).max(FEWEST_LATE);
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

/// Recall of the usual number of rows at a width.
#[derive(Default)]
struct Recalls {
    /// Of each query, of all or of the first ones.
    each: Vec<f32>,
    /// The mean of all queries, also of those that the width was not measured with.
    mean: f64,
}

impl Recalls {
    /// The recalls at the next width, measured with as many of the queries or fewer: the others are
    /// taken to gain as much on average, so that the mean does not jump to that of other queries.
    fn then(self, each: Vec<f32>) -> Recalls {
        let mean_of =
            |recalls: &[f32]| recalls.iter().copied().map(f64::from).sum::<f64>() / recalls.len().max(1) as f64;
        let mean = match self.each.get(..each.len()) {
            Some(same) if !same.is_empty() => (self.mean + mean_of(&each) - mean_of(same)).clamp(self.mean, 1.0),
            _ => mean_of(&each),
        };
        Recalls { each, mean }
    }
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

/// Seconds of a scan of [`BOUNDING_WIDTH`], by a trial.
fn cost_of_scan<S: PageStore>(graph: &Graph<'_, S>, queries: &[Asked], until: Option<Instant>) -> Result<f64> {
    let start = Instant::now();
    let mut count = 0;
    for asked in queries.iter().take(TRIAL) {
        scan(graph, asked, BOUNDING_WIDTH, &KS)?;
        count += 1;
        if is_over(until) {
            break;
        }
    }
    Ok(start.elapsed().as_secs_f64() / f64::from(count.max(1)))
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
    /// For each query and number of rows, the distance of the farthest of them.
    farthest: Vec<Vec<f32>>,
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
        let (own, most) = (NodeRef::NONE, usize::MAX);
        let asked = fallible::collect(queries.into_iter().map(|query| Asked { query, own, most }))?;
        Measurement::of(graph, asked, ks, 1.0, None)
    }

    /// Number of live nodes of the index.
    pub fn nodes(&self) -> usize {
        self.nodes
    }

    /// As [`Measurement::new`], of a share of the pages, and of fewer queries and pages if the time
    /// is up before.
    fn of<S: PageStore>(
        graph: &Graph<'_, S>,
        mut asked: Vec<Asked>,
        ks: &[usize],
        share: f64,
        until: Option<Instant>,
    ) -> Result<Measurement> {
        let mut known = Vec::new();
        for asked in &asked {
            if is_over(until) {
                break;
            }
            known.try_push(scan(graph, asked, BOUNDING_WIDTH, ks)?.found)?;
        }
        asked.truncate(known.len());
        let Exact { farthest, nodes, share } = exact::farthest(graph, &asked, known, ks, share, until)?;
        Ok(Measurement {
            asked,
            ks: ks.to_vec(),
            farthest,
            nodes,
            share,
        })
    }

    /// The outcome of searches of a width.
    ///
    /// Locks: one page at a time, shared; on return: none.
    pub fn at<S: PageStore>(&self, graph: &Graph<'_, S>, width: u16) -> Result<Row> {
        Ok(self.of_part(graph, width, self.asked.len(), None)?.0)
    }

    /// As [`Measurement::at`], for the first queries alone, or for fewer if the time is up before;
    /// also returns the recall of each at the usual number of rows.
    fn of_part<S: PageStore>(
        &self,
        graph: &Graph<'_, S>,
        width: u16,
        part: usize,
        until: Option<Instant>,
    ) -> Result<(Row, Vec<f32>)> {
        let mut each = Vec::new();
        let mut sums = vec![Outcome::default(); self.ks.len()];
        for (asked, farthest) in self.asked.iter().zip(&self.farthest).take(part) {
            if is_over(until) {
                break;
            }
            let scanned = scan(graph, asked, usize::from(width), &self.ks)?;
            let outcomes = sums.iter_mut().zip(&self.ks).zip(farthest).zip(&scanned.at);
            for (((sum, &k), &farthest), (counts, time)) in outcomes.filter(|(((_, k), _), _)| asked.wants(**k)) {
                sum.queries += 1;
                let first = scanned.found.iter().take(k);
                let hits = first.filter(|(distance, _)| *distance <= farthest).count();
                let recall = hits as f64 / k.min(self.nodes).max(1) as f64;
                if k == KS[USUAL] && each.len() < sum.queries {
                    each.try_push(recall as f32)?;
                }
                sum.recall += recall;
                sum.visits += counts.visited as f64;
                sum.pages += counts.pages as f64;
                sum.time += time.as_secs_f64();
            }
        }
        let of = sums.into_iter().map(Outcome::mean).collect();
        Ok((Row { width, of }, each))
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
    let most = asked.most_of(ks);
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
