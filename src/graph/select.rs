//! The choice of neighbours: the paper's SELECT-NEIGHBORS-HEURISTIC.

use super::Graph;
use crate::error::Result;
use crate::storage::record::State;
use crate::storage::{Link, PageStore};

/// A record that may become a neighbour, with its distance to the node that chooses.
#[derive(Debug, Clone, Copy)]
pub struct Choice {
    /// Distance to the choosing node.
    pub distance: f32,
    /// The record.
    pub link: Link,
}

/// The vectors of the chosen, side by side.
#[derive(Default)]
pub struct Chosen {
    links: Vec<Link>,
    others: Vec<Link>,
    vectors: Vec<f32>,
    candidate: Vec<f32>,
}

/// Reads a stored vector.
pub(super) fn decode(bytes: &[u8], vector: &mut Vec<f32>) {
    vector.clear();
    vector.extend(
        bytes
            .chunks_exact(4)
            .map(|b| f32::from_ne_bytes([b[0], b[1], b[2], b[3]])),
    );
}

impl<S: PageStore> Graph<'_, S> {
    /// Chooses at most `capacity` of `choices`, which are in order of distance: a candidate is kept only if it is nearer to the choosing
    /// node than to any kept one, so that links point in different directions and equal vectors do not take several. Where that keeps
    /// less than half of the capacity, the nearest others fill it up so far; more of them cost more than they find.
    ///
    /// Dead nodes and stale links are not chosen.
    pub(super) fn select(
        &self,
        choices: impl IntoIterator<Item = Choice>,
        capacity: usize,
        level: u8,
        chosen: &mut Chosen,
    ) -> Result<Vec<Link>> {
        let Chosen {
            links,
            others,
            vectors,
            candidate,
        } = chosen;
        links.clear();
        others.clear();
        vectors.clear();
        for choice in choices {
            if links.len() == capacity {
                break;
            }
            let live = self.read(choice.link.node, |record| {
                let live = record.is(choice.link.generation, level) && record.state() == State::Node;
                if live {
                    decode(record.vector(), candidate);
                }
                Ok(live)
            })?;
            if !live {
                continue;
            }
            let nearer = |kept: &[f32]| self.kernel.distance(candidate, kept) <= choice.distance;
            if vectors.chunks_exact(self.layout.dimensions).any(nearer) {
                others.push(choice.link);
            } else {
                links.push(choice.link);
                vectors.extend_from_slice(candidate);
            }
        }
        let room = (capacity / 2).saturating_sub(links.len());
        links.extend(others.iter().take(room));
        Ok(links.clone())
    }
}
