//! The memory of a scan's search, which the next scan of the thread takes over, because a short
//! search would spend a part of its time on allocating it.

use std::cell::Cell;

use super::coded::Coded;
use super::visited_set::VisitedSet;
use super::{Candidate, Search};

/// Most bytes that are kept.
const MOST_BYTES: usize = 256 << 10;

thread_local! {
    static SPARE: Cell<Option<Memory>> = const { Cell::new(None) };
}

/// The memory of a search that holds nothing.
#[derive(Default)]
pub(super) struct Memory {
    pub(super) visited: VisitedSet,
    pub(super) beam: Vec<Candidate>,
    pub(super) places: Vec<u64>,
    pub(super) sorted: Vec<Candidate>,
    pub(super) coded: Coded,
}

impl Memory {
    /// The memory that an ended search left in this thread, or new memory.
    pub(super) fn take() -> Memory {
        SPARE.try_with(Cell::take).ok().flatten().unwrap_or_default()
    }
}

impl Search {
    /// Leaves the memory of the search, which ends, to the next one of the thread.
    pub(in crate::hnsw) fn leave_memory(&mut self) {
        if self.bytes() > MOST_BYTES {
            return;
        }
        self.reset();
        self.sorted.clear();
        let visited = std::mem::replace(&mut self.visited, VisitedSet::without_memory());
        let memory = Memory {
            visited: if visited.has_grown() {
                VisitedSet::new()
            } else {
                visited
            },
            beam: std::mem::take(&mut self.beam),
            places: std::mem::take(&mut self.places),
            sorted: std::mem::take(&mut self.sorted),
            coded: std::mem::take(&mut self.coded),
        };
        _ = SPARE.try_with(|spare| spare.set(Some(memory)));
    }
}
