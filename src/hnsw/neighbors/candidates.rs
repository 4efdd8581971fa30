//! Candidate sets: live records, nearest first, with their vectors, among which a record selects
//! its links anew.

use crate::error::Result;
use crate::hnsw::Graph;
use crate::hnsw::neighbors::selection::{PAUSE, VectorAt};
use crate::hnsw::search::NeighborCandidate;
use crate::hnsw::search::visited_set::VisitedSet;
use crate::hnsw::space::Point;
use crate::storage::record::State;
use crate::storage::{Link, PageStore};

/// Bytes of vectors that a set keeps; vectors of further records are read again.
const MOST_BYTES: usize = 4 << 20;

/// Number of records that are prefetched.
const AHEAD: usize = 4;

/// Candidates of a record. Memory that is reused.
#[derive(Default)]
pub(in crate::hnsw) struct CandidateSet {
    met: VisitedSet,
    /// Candidates, each with the index of its vector in `points` if that is kept.
    found: Vec<(NeighborCandidate, Option<usize>)>,
    points: Vec<Point>,
}

impl CandidateSet {
    /// The candidates, nearest first.
    pub(in crate::hnsw) fn choices(&self) -> impl Iterator<Item = NeighborCandidate> {
        self.found.iter().map(|(choice, _)| *choice)
    }
}

/// Loads the live records that the links lead to, other than `at`.
///
/// Locks: one page at a time, shared; on return: none.
pub(in crate::hnsw) fn load<S: PageStore>(
    graph: &Graph<'_, S>,
    candidates: &mut CandidateSet,
    links: &[Link],
    at: VectorAt<'_>,
    level: u8,
) -> Result<()> {
    let CandidateSet { met, found, points } = candidates;
    met.clear();
    met.insert(at.link.node)?;
    found.clear();
    let (mut next, mut bytes) = (0, 0);
    for (i, &link) in links.iter().enumerate() {
        if i % PAUSE == 0 {
            graph.store.check_interrupts();
        }
        if let Some(soon) = links.get(i + AHEAD) {
            graph.prefetch(soon.node);
        }
        if met.contains(link.node) {
            continue;
        }
        if next == points.len() {
            points.push(Point::default());
        }
        let point = &mut points[next];
        if graph.read_point(link, level, point)? != Some(State::Node) {
            continue;
        }
        // Marked as met only now: a stale link must not hide the record that uses the slot today.
        met.insert(link.node)?;
        let distance = graph.space.between(at.at, point);
        let is_kept = bytes < MOST_BYTES;
        found.push((NeighborCandidate { distance, link }, is_kept.then_some(next)));
        bytes += point.stored.len() + size_of_val(&point.coordinates[..]);
        next += usize::from(is_kept);
    }
    found.sort_by(|a, b| a.0.distance.total_cmp(&b.0.distance));
    Ok(())
}

/// Gives the vector of candidate `i`, and its state if it still exists. The vector's memory is
/// swapped out, so a candidate can be asked for once.
pub(in crate::hnsw) fn take_point<S: PageStore>(
    graph: &Graph<'_, S>,
    candidates: &mut CandidateSet,
    i: usize,
    level: u8,
    point: &mut Point,
) -> Result<Option<State>> {
    match candidates.found[i] {
        (_, Some(place)) => {
            std::mem::swap(&mut candidates.points[place], point);
            Ok(Some(State::Node))
        }
        (choice, None) => graph.read_point(choice.link, level, point),
    }
}
