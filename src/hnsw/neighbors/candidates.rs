//! Candidate sets: live records, nearest first, with their vectors, among which a record selects
//! its links anew.

use std::collections::HashMap;

use crate::error::Result;
use crate::fallible::{Room, TryPush};
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

/// Candidates of a record, and the vectors of those of earlier records. Memory that is reused.
#[derive(Default)]
pub(in crate::hnsw) struct CandidateSet {
    met: VisitedSet,
    /// Candidates, each with the index of its vector in `points` if that is kept.
    found: Vec<(NeighborCandidate, Option<usize>)>,
    points: Vec<Point>,
    /// The kept vectors, by record, generation and level.
    known: HashMap<(Link, u8), usize>,
    /// Bytes of the kept vectors.
    bytes: usize,
}

impl CandidateSet {
    /// The candidates, nearest first.
    pub(in crate::hnsw) fn choices(&self) -> impl Iterator<Item = NeighborCandidate> {
        self.found.iter().map(|(choice, _)| *choice)
    }

    /// Forgets the vectors of earlier candidates. Without this call they count as live.
    pub(in crate::hnsw) fn forget(&mut self) {
        self.known.clear();
        self.bytes = 0;
    }
}

/// Loads the live records that the links lead to, other than `at`. The vectors stay known for
/// candidates of the next records until [`CandidateSet::forget`], so between two of these calls no
/// record may die that could be a candidate.
///
/// Locks: one page at a time, shared; on return: none.
pub(in crate::hnsw) fn load<S: PageStore>(
    graph: &Graph<'_, S>,
    candidates: &mut CandidateSet,
    links: &[Link],
    at: VectorAt<'_>,
    level: u8,
) -> Result<()> {
    if candidates.bytes > MOST_BYTES / 2 {
        candidates.forget();
    }
    let CandidateSet {
        met,
        found,
        points,
        known,
        bytes,
    } = candidates;
    met.clear();
    met.insert(at.link.node)?;
    found.clear();
    for (i, &link) in links.iter().enumerate() {
        if i % PAUSE == 0 {
            graph.store.check_interrupts();
        }
        if let Some(&soon) = links.get(i + AHEAD)
            && !known.contains_key(&(soon, level))
        {
            graph.prefetch_vector(soon.node);
        }
        if met.contains(link.node) {
            continue;
        }
        let place = match known.get(&(link, level)) {
            Some(&place) => place,
            None => {
                let next = known.len();
                if next == points.len() {
                    points.try_push(Point::default())?;
                }
                if graph.read_point(link, level, &mut points[next])? != Some(State::Node) {
                    continue;
                }
                next
            }
        };
        // Marked as met only now: a stale link must not hide the record that uses the slot today.
        met.insert(link.node)?;
        let point = &points[place];
        let distance = graph.space.between(at.at, point);
        let is_new = place == known.len();
        let is_kept = !is_new || *bytes < MOST_BYTES;
        found.try_push((NeighborCandidate::new(link, distance), is_kept.then_some(place)))?;
        if is_new && is_kept {
            *bytes += point.stored.len() + size_of_val(&point.coordinates[..]);
            known.room(1)?;
            known.insert((link, level), place);
        }
    }
    found.sort_by(|a, b| a.0.distance.total_cmp(&b.0.distance));
    Ok(())
}

/// Gives the vector of candidate `i`, and its state if it still exists.
pub(in crate::hnsw) fn read_point<S: PageStore>(
    graph: &Graph<'_, S>,
    candidates: &CandidateSet,
    i: usize,
    level: u8,
    point: &mut Point,
) -> Result<Option<State>> {
    match candidates.found[i] {
        (_, Some(place)) => {
            point.copy_from(&candidates.points[place]);
            Ok(Some(State::Node))
        }
        (choice, None) => graph.read_point(choice.link, level, point),
    }
}
