//! Selection of neighbors: the paper's SELECT-NEIGHBORS-HEURISTIC.
//!
//! A candidate survives only if it is nearer to the selecting node than to every earlier survivor,
//! so that links point in different directions and equal vectors do not take several. Survivors
//! much nearer than the candidate do not count, because seen from the candidate they are where the
//! selecting node is: so a node of a tight cluster keeps links to others. The nearest of the other
//! candidates fill the lanes that are left.

use crate::distance::Metric;
use crate::error::Result;
use crate::hnsw::Graph;
use crate::hnsw::search::NeighborCandidate;
use crate::hnsw::space::Point;
use crate::hnsw::tuning::neighbors::FAR;
use crate::storage::record::State;
use crate::storage::{Link, PageStore};

/// Records read between two checks for interrupts.
pub(in crate::hnsw) const PAUSE: usize = 16;

/// A record and its vector.
#[derive(Debug, Clone, Copy)]
pub struct VectorAt<'a> {
    /// The record.
    pub link: Link,
    /// Its vector.
    pub at: &'a Point,
}

/// Records with their vectors; memory that is reused.
#[derive(Default)]
pub struct VectorList {
    links: Vec<Link>,
    /// One vector for each link, then unused ones with memory to reuse.
    points: Vec<Point>,
}

impl VectorList {
    fn clear(&mut self) {
        self.links.clear();
    }

    /// Takes the point, and leaves an unused one in its place.
    fn push(&mut self, link: Link, point: &mut Point) {
        let at = self.links.len();
        if at == self.points.len() {
            self.points.push(Point::default());
        }
        std::mem::swap(&mut self.points[at], point);
        self.links.push(link);
    }

    fn truncate(&mut self, len: usize) {
        self.links.truncate(len);
    }

    /// The number of records.
    pub fn len(&self) -> usize {
        self.links.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    /// The records.
    pub fn iter(&self) -> impl Iterator<Item = VectorAt<'_>> {
        self.links
            .iter()
            .zip(&self.points)
            .map(|(&link, at)| VectorAt { link, at })
    }
}

/// Result of a selection.
#[derive(Default)]
pub struct Selection {
    /// Survivors of the heuristic, nearest first.
    pub survivors: VectorList,
    /// Fills, nearest first.
    pub fills: VectorList,
    candidate: Point,
    /// Distances of the survivors.
    distances: Vec<f32>,
}

impl Selection {
    /// All selected records, survivors first, each with whether it is a fill.
    pub fn all(&self) -> impl Iterator<Item = (VectorAt<'_>, bool)> {
        let survivors = self.survivors.iter().map(|survivor| (survivor, false));
        survivors.chain(self.fills.iter().map(|fill| (fill, true)))
    }
}

/// Most survivors that a record of a level has.
pub(in crate::hnsw) fn survivor_limit<S: PageStore>(graph: &Graph<'_, S>, level: u8) -> usize {
    let m = usize::from(graph.space.parameters.shape.m);
    let limit = if level == 0 { 2 * m } else { m };
    limit.min(graph.space.layout.link_capacity(level))
}

/// Number of links up to which fills complete a record of a level: all that it has room for.
pub(in crate::hnsw) fn fill_to<S: PageStore>(graph: &Graph<'_, S>, level: u8) -> usize {
    graph.space.layout.link_capacity(level)
}

/// Selects among `choices`, which are in order of distance, into `chosen`, up to `fill_to` with
/// fills. Dead nodes and stale links are not selected.
pub(in crate::hnsw) fn select<S: PageStore>(
    graph: &Graph<'_, S>,
    choices: &[NeighborCandidate],
    level: u8,
    fill_to: usize,
    chosen: &mut Selection,
) -> Result<()> {
    let read = |_, choice: &NeighborCandidate, point: &mut Point| graph.read_point(choice.link, level, point);
    select_keeping(graph, &[], choices, read, level, fill_to, chosen)
}

/// As [`select`], but the choices in `kept` survive in any case; `read` gives the vector and the
/// state of a choice.
pub(in crate::hnsw) fn select_keeping<S: PageStore>(
    graph: &Graph<'_, S>,
    kept: &[Link],
    choices: &[NeighborCandidate],
    mut read: impl FnMut(usize, &NeighborCandidate, &mut Point) -> Result<Option<State>>,
    level: u8,
    fill_to: usize,
    chosen: &mut Selection,
) -> Result<()> {
    let Selection {
        survivors,
        fills,
        candidate,
        distances,
    } = chosen;
    distances.clear();
    survivors.clear();
    fills.clear();
    // Inner products are no distances: a record far by them may be near.
    let sees_far = graph.space.parameters.metric != Metric::InnerProduct;
    let far = graph.space.ratio(FAR) as f32;
    // Number of kept choices that are still to come.
    let mut others_kept = choices.iter().filter(|choice| kept.contains(&choice.link)).count();
    let limit = survivor_limit(graph, level).max(others_kept);
    for (i, choice) in choices.iter().enumerate() {
        if survivors.len() == limit && survivors.len() + fills.len() >= fill_to {
            break;
        }
        if i % PAUSE == 0 {
            graph.store.check_interrupts();
        }
        let stays = kept.contains(&choice.link);
        others_kept -= usize::from(stays);
        if read(i, choice, candidate)? != Some(State::Node) {
            continue;
        }
        let has_room = survivors.len() + others_kept < limit;
        let alike = distances.partition_point(|&distance| far * distance < choice.distance && sees_far);
        let is_nearer = |survivor: VectorAt<'_>| graph.space.between(candidate, survivor.at) <= choice.distance;
        if stays || has_room && !survivors.iter().skip(alike).any(is_nearer) {
            distances.push(choice.distance);
            survivors.push(choice.link, candidate);
        } else if fills.len() < fill_to {
            fills.push(choice.link, candidate);
        }
    }
    fills.truncate(fill_to.saturating_sub(survivors.len()));
    Ok(())
}
