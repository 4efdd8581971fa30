//! Exact answers: a scan under conditions that few nodes match reads all of them.
//!
//! The value lists ([`value_lists`]) name the nodes. Reading a node of a list costs less than a
//! visit of a search, because its neighbors are not estimated, and the answer is exact. A filtered
//! search visits the more ways, the fewer nodes match around the query: the scan compares the two
//! costs. Nodes that cost no more than to find out that share are read at once.

use super::{Found, Limits, Scan};
use crate::error::Result;
use crate::fallible::{Room, TryPush};
use crate::filter::condition::Match;
use crate::hnsw::Graph;
use crate::hnsw::search::{self, Counts};
use crate::hnsw::space::Query;
use crate::hnsw::tuning::scan::{FILTERED_VISITS, LISTED_AT_ONCE, LISTED_FAR, VISITS_OF_FEW, VISITS_PER_LISTED};
use crate::hnsw::value_lists;
use crate::storage::record::{Record, State};
use crate::storage::{Link, PageStore};

/// Records that are hinted ahead of their turn.
const AHEAD: usize = 8;

/// The most nodes of lists that cost no more than a filtered search of this width among `nodes`.
fn most_listed(nodes: f64, width: f64) -> usize {
    // share * nodes * VISITS_PER_LISTED = visits * width * share.powf(power)
    let turn = |visits: f64, power: f64| (visits * width / (VISITS_PER_LISTED * nodes)).powf(1.0 / (1.0 - power));
    let (visits, power) = FILTERED_VISITS;
    // A search of a share makes the greater of both numbers of visits.
    (nodes * turn(visits, power).max(turn(VISITS_OF_FEW, -1.0))) as usize
}

/// Visits of a filtered search of this width where this share of the nodes matches.
fn visits(width: f64, share: f64) -> f64 {
    let (visits, power) = FILTERED_VISITS;
    width * (visits * share.powf(power)).max(VISITS_OF_FEW / share)
}

/// The most nodes that the index may have.
fn most_nodes<S: PageStore>(graph: &Graph<'_, S>) -> Result<f64> {
    Ok(graph.node_blocks()?.len() as f64 * f64::from(graph.space.layout.slots))
}

impl Scan {
    /// Reads all matching nodes where the value lists tell that these are so few that no search is
    /// needed to know that it costs more, and says whether it did.
    pub(super) fn answer_exactly<S: PageStore>(&mut self, graph: &Graph<'_, S>) -> Result<bool> {
        if !self.query.is_filtered() {
            return Ok(false);
        }
        let nodes = most_nodes(graph)?;
        let width = super::beam_width(graph, self.limits.width);
        self.answer_listed(graph, most_listed(nodes, width as f64).min(LISTED_AT_ONCE * width))
    }

    /// As [`Scan::answer_exactly`], after a search has found the share of the nodes that match
    /// around the query: where going on with it costs more.
    pub(super) fn answer_few<S: PageStore>(&mut self, graph: &Graph<'_, S>, share: f64) -> Result<bool> {
        let width = super::beam_width(graph, self.limits.width);
        let most = visits(width as f64, share) / VISITS_PER_LISTED;
        self.answer_listed(graph, (most as usize).min(LISTED_FAR * width))
    }

    /// As [`Scan::answer_exactly`], where the matching nodes are far from the query and a search
    /// would visit more records. If it does not, the search gets a sample of the matching nodes.
    pub(super) fn answer_far<S: PageStore>(&mut self, graph: &Graph<'_, S>) -> Result<bool> {
        let most = LISTED_FAR * super::beam_width(graph, self.limits.width);
        if self.answer_listed(graph, most)? {
            return Ok(true);
        }
        self.search.add_to_sample(value_lists::sample(graph, &self.query)?)?;
        Ok(false)
    }

    /// Reads the matching nodes if lists name no more than `most`, and says whether it did.
    fn answer_listed<S: PageStore>(&mut self, graph: &Graph<'_, S>, most: usize) -> Result<bool> {
        let most = most.min(self.limits.memory / (2 * size_of::<Found>()));
        match value_lists::matching(graph, &self.query, most_nodes(graph)?, most)? {
            Some(listed) => self.read_listed(graph, &listed),
            None => Ok(false),
        }
    }

    /// Makes the nodes of lists that match the nodes found, if the bounds set by the user have room
    /// for them.
    fn read_listed<S: PageStore>(&mut self, graph: &Graph<'_, S>, listed: &[Link]) -> Result<bool> {
        if !self.limits.have_room(listed.len()) {
            return Ok(false);
        }
        let layout = &graph.space.layout;
        self.farther.room(listed.len())?;
        for (i, &link) in listed.iter().enumerate() {
            if let Some(soon) = listed.get(i + AHEAD) {
                graph.prefetch_vector(soon.node);
            }
            let soon = listed[i + 1..].iter().map(|soon| soon.node);
            self.search.requests.request_list(graph, soon)?;
            if i % AHEAD == 0 {
                graph.store.check_interrupts();
            }
            let (query, limits, counts) = (&self.query, &self.limits, &mut self.counts);
            let found = match layout.overflows {
                0 => graph.read(link.node, |record| {
                    counts.add_record(&record, false);
                    Ok(match judged(graph, query, link, &record, counts) {
                        Match::No => None,
                        matches => {
                            let distance = graph.distance(query, &record);
                            found(graph, query, limits, (link, distance, matches), &record, counts)
                        }
                    })
                })?,
                _ => {
                    counts.pages += 1;
                    match graph.read(link.node, |record| Ok(judged(graph, query, link, &record, counts)))? {
                        Match::No => None,
                        matches => graph.read_distance(query, link.node, |record, distance| {
                            counts.add_record(&record, true);
                            Ok(found(graph, query, limits, (link, distance, matches), &record, counts))
                        })?,
                    }
                }
            };
            if let Some(found) = found {
                self.farther.try_push(found)?;
            }
        }
        self.chunk = self.limits.width;
        Ok(true)
    }
}

/// Tests the filter values of a record that an entry of a list names, before its vector is looked
/// at: many entries of a range's first and last interval are beyond the range. No record but the
/// live and complete one of the entry passes.
fn judged<S: PageStore>(
    graph: &Graph<'_, S>,
    query: &Query,
    link: Link,
    record: &Record<'_>,
    counts: &mut Counts,
) -> Match {
    if !is_live(link, record) || !record.is_complete() {
        return Match::No;
    }
    counts.visited += 1;
    graph.space.test(query, &record.values())
}

/// The node of a record at this distance, with the outcome of the test, if the scan returns it.
fn found<S: PageStore>(
    graph: &Graph<'_, S>,
    query: &Query,
    limits: &Limits,
    (link, distance, matches): (Link, f32, Match),
    record: &Record<'_>,
    counts: &mut Counts,
) -> Option<Found> {
    if !is_live(link, record) || distance > limits.beyond {
        return None;
    }
    let row = record.only_entry();
    if !limits.killed && row.is_some_and(|row| row.killed) {
        counts.dead_rows += 1;
        return None;
    }
    Some(Found {
        distance: search::key_of(graph, limits.keys, query, record, distance),
        link,
        row: row.map(|row| row.tid),
        lsn: record.lsn(),
        certain: matches == Match::Yes,
    })
}

fn is_live(link: Link, record: &Record<'_>) -> bool {
    record.is(link.generation, 0) && record.state() == State::Node
}
