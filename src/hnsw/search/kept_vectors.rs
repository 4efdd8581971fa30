//! The vectors of the records that a search visited, for the selection of neighbors that follows
//! an insert's search: it would read and lock most of the same pages once more.

use crate::error::Result;
use crate::fallible::Room;
use crate::filter::values::Values;
use crate::hnsw::Graph;
use crate::hnsw::search::NeighborCandidate;
use crate::hnsw::space::Point;
use crate::storage::record::{Record, State};
use crate::storage::{Link, PageStore};

/// Bytes of vectors that are kept; vectors of further records are read again.
const MOST_BYTES: usize = 1 << 20;

/// The place of a record whose vector is not kept.
pub(in crate::hnsw) const NOT_KEPT: u32 = u32::MAX;

/// Stored vectors of records of one level, all of one length. Memory that is reused.
#[derive(Default)]
pub(in crate::hnsw) struct KeptVectors {
    /// Whether searches keep vectors.
    pub(in crate::hnsw) is_on: bool,
    records: Vec<(Link, Values)>,
    bytes: Vec<u8>,
}

impl KeptVectors {
    /// Forgets all vectors.
    pub(super) fn clear(&mut self) {
        self.records.clear();
        self.bytes.clear();
    }

    /// Keeps the vector of a record that is as a whole in the record; returns its place.
    #[inline]
    pub(super) fn keep(&mut self, link: Link, record: &Record<'_>) -> Result<u32> {
        if !self.is_on || self.bytes.len() >= MOST_BYTES {
            return Ok(NOT_KEPT);
        }
        let vector = record.vector();
        self.bytes.room(vector.len())?;
        self.records.room(1)?;
        self.bytes.extend_from_slice(vector);
        self.records.push((link, record.values()));
        Ok(self.records.len() as u32 - 1)
    }

    /// As [`Graph::read_point`], of a candidate that the last search found live.
    ///
    /// Locks: one page at a time, shared; on return: none.
    pub(in crate::hnsw) fn read_point<S: PageStore>(
        &self,
        graph: &Graph<'_, S>,
        candidate: &NeighborCandidate,
        level: u8,
        point: &mut Point,
    ) -> Result<Option<State>> {
        // Another search may have been made since.
        match self.records.get(candidate.kept as usize) {
            Some(&(link, values)) if link == candidate.link => {
                let len = self.bytes.len() / self.records.len();
                let at = candidate.kept as usize * len;
                point.stored.clear();
                point.stored.extend_from_slice(&self.bytes[at..at + len]);
                point.values = values;
                graph.space.decode(&point.stored, &mut point.coordinates);
                Ok(Some(State::Node))
            }
            _ => graph.read_point(candidate.link, level, point),
        }
    }
}
