//! The way out of a crowd: a cluster in which a search ends although the query is far from it.
//!
//! Nodes of a tight cluster link to each other and to hardly anything else, least of all where rows
//! came one cluster after the other. A search that descends into a cluster far from the query finds
//! as many nodes there as it is wide, and ends. Its results show it: all are about as far from the
//! query, and much nearer to each other. Such a search is repeated, with level 1 searched as wide,
//! and level 0 entered from all nodes found there and from the nearest result of before: level 1
//! has so few nodes of each cluster that a wide beam holds many clusters.
//!
//! hnswlib and the paper have nothing of the kind (docs/measurements.md, *Crowds*, has figures of
//! both).

use super::Search;
use crate::distance::Metric;
use crate::error::Result;
use crate::hnsw::Graph;
use crate::hnsw::order_key;
use crate::hnsw::search;
use crate::hnsw::space::{Point, Query, Space};
use crate::hnsw::tuning::search::{APART, LEAST_SPREAD, RANK, SPREAD};
use crate::storage::{Link, PageStore};

/// Memory that is reused.
#[derive(Default)]
pub(super) struct Crowd {
    nearest: Point,
    other: Point,
}

/// Repeats a search of level 0 that ended in a crowd, from the `entries` nearest nodes of level 1
/// and from the nearest result.
pub(in crate::hnsw) fn leave<S: PageStore>(
    graph: &Graph<'_, S>,
    search: &mut Search,
    query: &Query,
    entries: usize,
    width: usize,
) -> Result<()> {
    if search.found().is_some() {
        return Ok(());
    }
    if let Some(nearest) = nearest(graph, search, query)?
        && graph.entry()?.is_some_and(|entry| entry.level > 0)
    {
        search::descend(graph, search, query, |_| 0, Entries::of_crowd(nearest, entries), width)?;
    }
    Ok(())
}

/// The nearest result, if the results are a crowd.
fn nearest<S: PageStore>(graph: &Graph<'_, S>, search: &mut Search, query: &Query) -> Result<Option<Link>> {
    let Search {
        beam, crowd, counts, ..
    } = search;
    let mut live = beam.iter().filter(|candidate| candidate.live);
    let (Some(nearest), Some(other)) = (live.next(), live.nth(RANK - 2)) else {
        return Ok(None);
    };
    if !graph.space.may_be_crowd(nearest.distance, other.distance) {
        return Ok(None);
    }
    let Crowd { nearest: a, other: b } = crowd;
    for _ in [&a, &b] {
        counts.add_vector(graph.space.layout.overflows);
    }
    let are_there = graph.read_point(nearest.link, 0, a)?.is_some() && graph.read_point(other.link, 0, b)?.is_some();
    let is_crowd = are_there && graph.space.is_crowd(query, nearest.distance, a, b);
    Ok(is_crowd.then_some(nearest.link))
}

/// The records from which a search enters a level.
#[derive(Clone, Copy)]
pub(super) struct Entries {
    /// Number of the nearest nodes of the level above to enter at; the level above is searched as
    /// wide.
    pub(super) above: usize,
    /// A record to enter at as well.
    pub(super) also: Option<Link>,
}

impl Entries {
    /// Entry at the nearest node alone.
    pub(super) const NEAREST: Entries = Entries { above: 1, also: None };

    fn of_crowd(nearest: Link, above: usize) -> Entries {
        Entries {
            above,
            also: Some(nearest),
        }
    }
}

impl Space {
    /// Whether nodes with these keys may be in a crowd; spares reading most nodes that are not.
    fn may_be_crowd(&self, nearest: f32, other: f32) -> bool {
        let spread = (SPREAD / f64::from(self.parameters.shape.dimensions).sqrt()).clamp(LEAST_SPREAD, 1.0 / APART);
        let farthest = order_key::sum(nearest) * self.ratio(1.0 + spread);
        self.parameters.metric == Metric::InnerProduct || order_key::sum(other) <= farthest
    }

    /// Whether `a`, which has this key, and `b` are in a crowd.
    fn is_crowd(&self, query: &Query, distance: f32, a: &Point, b: &Point) -> bool {
        let [from_query, between, square] = [distance, self.between(a, b), self.between(a, a)].map(order_key::sum);
        if self.parameters.metric != Metric::InnerProduct {
            return between * self.ratio(APART) < from_query;
        }
        // Inner products are no distances, and the length of a query does not change their order:
        // the length of `a` serves as well as any.
        let square = -square;
        let from_query = 2.0 * (square + from_query * square.sqrt() / self.length(query));
        let between = square - order_key::sum(self.between(b, b)) + 2.0 * between;
        between * self.ratio(APART) < from_query
    }
}
