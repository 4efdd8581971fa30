//! A scan with rows beside it: those of a transaction that are not in the graph yet (`txn`), in their place by distance.
//!
//! They are those that there were when the scan began; later ones are beyond its snapshot. Some may get into the graph while the scan is under way, so
//! what the graph returns is looked up among them: no row comes twice.

use std::collections::HashSet;

use crate::error::Result;
use crate::fallible::Room;
use crate::hnsw::Graph;
use crate::hnsw::heap_tids::Returned;
use crate::hnsw::scan::Scan;
use crate::hnsw::search::Counts;
use crate::storage::format::Unplaced;
use crate::storage::{BlockNumber, HeapTid, PageStore};

/// A scan of the graph and of rows beside it.
pub struct MergedScan {
    scan: Scan,
    /// The rows beside the graph that are still to be returned, nearest last.
    rows: Vec<(f32, HeapTid)>,
    /// All of them.
    tids: HashSet<HeapTid>,
    /// The graph's next row, and its distance.
    ahead: Option<(f32, Returned)>,
    /// Whether the graph has no more.
    drained: bool,
    /// The row returned last, if the graph had it.
    returned: Option<Returned>,
    /// Its key, or that of a row beside the graph.
    key: f32,
}

impl MergedScan {
    /// A scan of the graph, and of rows at these distances ([`crate::hnsw::heap_tids::unplaced`]: rows without one come last).
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::error::Error::OutOfMemory).
    pub fn new(scan: Scan, mut rows: Vec<(f32, HeapTid)>) -> Result<MergedScan> {
        rows.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
        let mut tids = HashSet::new();
        tids.room(rows.len())?;
        tids.extend(rows.iter().map(|&(_, tid)| tid));
        Ok(MergedScan {
            scan,
            tids,
            rows,
            ahead: None,
            drained: false,
            returned: None,
            key: f32::NAN,
        })
    }

    /// Whether a bound ended the scan before the index did.
    pub fn was_bounded(&self) -> bool {
        self.scan.was_bounded()
    }

    /// Whether nodes were found that are still to be returned.
    pub fn is_ready(&self) -> bool {
        self.scan.is_ready()
    }

    /// What the scan of the graph has done so far.
    pub fn counts(&self) -> Counts {
        self.scan.counts()
    }

    /// The block that named the row returned last.
    pub fn block<S: PageStore>(&self, graph: &Graph<'_, S>) -> BlockNumber {
        self.returned
            .map_or_else(|| self.scan.block(graph), |row| graph.block(row.record))
    }

    /// The row returned last, if the graph had it.
    pub fn returned(&self) -> Option<Returned> {
        self.returned
    }

    /// The key of the row returned last, which with [`crate::hnsw::distance_bounds::Keys::Least`] is a lower bound of its distance by the operator: not a number for a zero vector under cosine, none for
    /// a row without a vector.
    pub fn distance_at_least(&self) -> Option<f64> {
        if self.key.is_nan() {
            return (self.key.to_bits() != Unplaced::Null.distance().to_bits()).then_some(f64::NAN);
        }
        Some(f64::from(self.key))
    }

    /// The next row, or none.
    pub fn next<S: PageStore>(&mut self, graph: &Graph<'_, S>) -> Result<Option<HeapTid>> {
        if self.tids.is_empty() {
            let next = self.scan.next(graph)?;
            let returned = self.scan.returned();
            self.key = returned.map_or(f32::NAN, |(key, _)| key);
            self.returned = returned.map(|(_, row)| row);
            return Ok(next);
        }
        while self.ahead.is_none() && !self.drained {
            match self.scan.next(graph)? {
                Some(tid) if self.tids.contains(&tid) => {}
                Some(_) => self.ahead = self.scan.returned(),
                None => self.drained = true,
            }
        }
        let beside = self.rows.last().map(|&(key, _)| key);
        let next = self
            .ahead
            .take_if(|(key, _)| beside.is_none_or(|beside| key.total_cmp(&beside).is_lt()));
        self.returned = next.map(|(_, row)| row);
        let (key, tid) = match next {
            Some((key, row)) => (key, row.tid),
            None => match self.rows.pop() {
                Some(beside) => beside,
                None => return Ok(None),
            },
        };
        self.key = key;
        Ok(Some(tid))
    }
}
