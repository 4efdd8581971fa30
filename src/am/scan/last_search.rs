//! Counters of the session's last scan.

use std::cell::Cell;
use std::time::Duration;

use crate::hnsw::search::Counts;

/// Counters of a scan.
#[derive(Debug, Clone, Copy)]
pub struct LastSearch {
    /// Records, pages and rows that the scan read.
    pub counts: Counts,
    /// Time of the search.
    pub spent: Duration,
    /// Its width, and the recall that gave it.
    pub aim: Aim,
}

/// The width of a scan, and the recall that gave it, if one did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Aim {
    /// Width of the search.
    pub width: usize,
    /// Target of recall.
    pub target: Option<f64>,
}

thread_local! {
    static LAST: Cell<Option<LastSearch>> = const { Cell::new(None) };
}

/// Counters of the session's last scan that has ended.
pub fn last_search() -> Option<LastSearch> {
    LAST.get()
}

/// Keeps the counters of a scan that has ended.
pub fn keep(last: LastSearch) {
    LAST.set(Some(last));
}
