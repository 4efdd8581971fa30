//! The merge of a graph scan with the transaction's staged rows (`txn`), which are not in the graph
//! yet, in order of distance.
//!
//! The staged rows are the ones that existed when the scan began; later rows are invisible to its
//! snapshot. Some may enter the graph while the scan is under way, so every row of the graph is
//! looked up among them: no row comes twice.

use std::collections::HashSet;

use crate::error::Result;
use crate::fallible::Room;
use crate::hnsw::Graph;
use crate::hnsw::heap_tids::Returned;
use crate::hnsw::scan::Scan;
use crate::hnsw::search::Counts;
use crate::storage::format::Unplaced;
use crate::storage::{BlockNumber, HeapTid, PageStore};

/// A merged scan of the graph and of staged rows.
pub struct MergedScan {
    scan: Scan,
    /// Staged rows that are still to be returned, nearest last.
    rows: Vec<(f32, HeapTid)>,
    /// TIDs of all staged rows.
    tids: HashSet<HeapTid>,
    /// The graph's next row, and its distance.
    ahead: Option<(f32, Returned)>,
    /// Whether the graph has no more rows.
    drained: bool,
    /// The row returned last, if it came from the graph.
    returned: Option<Returned>,
    /// The key of the row returned last.
    key: f32,
}

impl MergedScan {
    /// A scan of the graph merged with staged rows at these distances; rows without a distance come
    /// last ([`crate::hnsw::heap_tids::unplaced`]).
    ///
    /// # Errors
    ///
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

    /// Whether a bound set by the user ended the scan before the end of the index.
    pub fn was_bounded(&self) -> bool {
        self.scan.was_bounded()
    }

    /// Whether the row returned last is sure to match the query's conditions on filter columns. If
    /// not, the conditions are to be checked on the table's row: so for each staged row, whose page
    /// the transaction has just written.
    pub fn is_certain(&self) -> bool {
        self.returned.is_some() && self.scan.is_certain()
    }

    /// Whether nodes were found that are still to be returned.
    pub fn is_ready(&self) -> bool {
        self.scan.is_ready()
    }

    /// The rows of the graph that are returned next, as far as they are known
    /// ([`Scan::ready_rows`]); staged rows come between them.
    pub fn ready_rows(&self) -> impl Iterator<Item = HeapTid> + '_ {
        let ahead = self.ahead.map(|(_, row)| row.tid);
        ahead.into_iter().chain(self.scan.ready_rows())
    }

    /// Counters of the scan of the graph so far.
    pub fn counts(&self) -> Counts {
        self.scan.counts()
    }

    /// The block of the record that named the row returned last.
    pub fn block<S: PageStore>(&self, graph: &Graph<'_, S>) -> BlockNumber {
        self.returned
            .map_or_else(|| self.scan.block(graph), |row| graph.block(row.record))
    }

    /// The row returned last, if it came from the graph.
    pub fn returned(&self) -> Option<Returned> {
        self.returned
    }

    /// The key of the row returned last; with [`crate::hnsw::distance_bounds::Keys::Least`] a lower
    /// bound of its distance by the operator. Not a number for a zero vector under cosine; none for
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
        let staged = self.rows.last().map(|&(key, _)| key);
        let next = self
            .ahead
            .take_if(|(key, _)| staged.is_none_or(|staged| key.total_cmp(&staged).is_lt()));
        self.returned = next.map(|(_, row)| row);
        let (key, tid) = match next {
            Some((key, row)) => (key, row.tid),
            None => match self.rows.pop() {
                Some(staged) => staged,
                None => return Ok(None),
            },
        };
        self.key = key;
        Ok(Some(tid))
    }
}
