//! The rest of a filtered search where many nodes match.
//!
//! A search by signatures visits matching neighbors and as many ways as are nearer: where many
//! nodes match, about the nodes that a somewhat wider search without conditions visits, whose
//! visits are cheaper, because they test no lanes and have one queue. So a first round that has
//! seen many matching neighbors goes on as such a search ([`coded`]). The fewer of the visited
//! nodes match, the wider is its queue; the matching ones are the results. A round that turns out
//! to be where few nodes match, and each round after the first, goes on by signatures.

use std::cmp::Reverse;

use super::Search;
use super::candidate_queue::CandidateQueue;
use super::coded::{self, Coded};
use crate::error::Result;
use crate::hnsw::Graph;
use crate::hnsw::space::Query;
use crate::hnsw::tuning::search::{MANY_LOOKED, MANY_SEEN, MANY_VISITED, WIDER_PER_REFUSED};
use crate::storage::PageStore;

/// The nodes visited in the round, by whether they match.
#[derive(Debug, Default)]
pub(super) struct ManyMatch {
    matching: usize,
    refused: usize,
    /// Number of visited nodes by which the queue is wider.
    wider: usize,
}

impl ManyMatch {
    /// Counts a visited node, which may widen the queue if it does not match.
    #[inline]
    pub(super) fn count(&mut self, matches: bool, queue: &mut CandidateQueue) {
        if matches {
            self.matching += 1;
            return;
        }
        self.refused += 1;
        let (wider, refused) = WIDER_PER_REFUSED;
        if self.refused * wider > self.wider * refused {
            self.wider += 1;
            queue.widen();
        }
    }

    /// Whether so few of the visited nodes match that the round should not have gone on this way.
    fn is_among_few(&self) -> bool {
        (self.matching as f64) < MANY_VISITED * (self.matching + self.refused) as f64
    }
}

/// Whether a round that has visited so many records goes on here, where this share of the neighbors
/// match.
pub(super) fn is_for(visited: usize, share: f64) -> bool {
    (MANY_LOOKED..2 * MANY_LOOKED).contains(&visited) && share >= MANY_SEEN
}

/// Visits the neighbors kept and theirs until the queue has none left. Says whether many of the
/// visited nodes match.
pub(super) fn visit_all<S: PageStore>(
    graph: &Graph<'_, S>,
    search: &mut Search,
    query: &Query,
    share: f64,
) -> Result<bool> {
    let Search {
        filtered,
        coded: Coded { queue, .. },
        visited,
        width,
        ..
    } = search;
    // As wide as it ends if this share of the nodes match.
    let (wider, refused) = WIDER_PER_REFUSED;
    let part = (1.0 - share) * wider as f64 / refused as f64;
    let wider = (*width as f64 * part / (1.0 - part)) as usize;
    filtered.many = ManyMatch {
        wider,
        ..ManyMatch::default()
    };
    queue.start(*width + wider);
    queue.room(filtered.matching.len() + filtered.ways.len())?;
    let neighbors = filtered.matching.drain().chain(filtered.ways.drain());
    neighbors.for_each(|Reverse(neighbor)| queue.offer(neighbor, visited));
    filtered.forget_neighbors();
    coded::visit_all(graph, search, query, 0)?;
    Ok(!search.filtered.many.is_among_few())
}
