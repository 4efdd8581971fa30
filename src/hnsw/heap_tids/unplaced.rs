//! Rows without a place in the graph: rows without a vector, and under cosine distance rows with a
//! zero vector. Their distances are NULL and NaN, which a sort puts last. The index has the TIDs of
//! each kind in a chain of the meta page ([`crate::hnsw::heap_tids::list`]).

use crate::error::{Error, Result};
use crate::hnsw::Graph;
use crate::hnsw::heap_tids::Returned;
use crate::hnsw::heap_tids::list::{self, ChainReader, Head, Outcome};
use crate::hnsw::search::Counts;
use crate::storage::format::Unplaced;
use crate::storage::{HeapTid, NodeRef, PageStore};

impl Unplaced {
    /// A stand-in for the distance of such a row: beyond every number, zero vectors before NULL, by
    /// `f32::total_cmp`.
    pub fn distance(self) -> f32 {
        f32::from_bits(f32::INFINITY.to_bits() + 1 + self as u32)
    }
}

/// Adds rows of a kind. Rows that go into one extension are one change.
pub fn add<S: PageStore>(graph: &Graph<'_, S>, kind: Unplaced, mut tids: &[HeapTid]) -> Result<()> {
    let head = Head::Meta(kind);
    while !tids.is_empty() {
        graph.store.check_interrupts();
        let first = list::first_extension(graph, head)?;
        let filled = match first.some() {
            Some(extension) => list::fill(graph, kind, extension, tids)?,
            None => Outcome::NoRoom,
        };
        let added = match filled {
            Outcome::Added(_) => filled,
            // An extension that was unlinked meanwhile is not the first any more.
            _ => list::add_extension(graph, head, first, tids)?,
        };
        if let Outcome::Added(count) = added {
            tids = &tids[count..];
        }
    }
    Ok(())
}

/// A scan of the rows of a kind, in any order.
pub struct ChainScan {
    kind: Unplaced,
    chain: ChainReader,
    /// Whether rows marked as dead are returned too.
    killed: bool,
    /// Rows of the last extension that are still to be returned.
    tids: Vec<HeapTid>,
    record: NodeRef,
    lsn: u64,
    counts: Counts,
}

impl ChainScan {
    /// A scan of the rows of a kind; with `killed` including rows marked as dead to every snapshot.
    pub fn new(kind: Unplaced, killed: bool) -> ChainScan {
        ChainScan {
            kind,
            chain: ChainReader::new(Head::Meta(kind)),
            killed,
            tids: Vec::new(),
            record: NodeRef::NONE,
            lsn: 0,
            counts: Counts::default(),
        }
    }

    /// The kind.
    pub fn kind(&self) -> Unplaced {
        self.kind
    }

    /// Counters of the scan so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The next row, or none.
    pub fn next<S: PageStore>(&mut self, graph: &Graph<'_, S>) -> Result<Option<Returned>> {
        loop {
            if let Some(tid) = self.tids.pop() {
                let (record, lsn) = (self.record, self.lsn);
                return Ok(Some(Returned { tid, record, lsn }));
            }
            let most = graph.space.layout.stride / HeapTid::SIZE;
            self.tids.try_reserve(most).map_err(|_| Error::OutOfMemory)?;
            let is_read = self.chain.read_next(graph, |extension, record| {
                let alive = record.entries().filter(|entry| self.killed || !entry.killed);
                self.tids.extend(alive.map(|entry| entry.tid));
                self.counts.dead_rows += (record.tid_count() - self.tids.len()) as u64;
                (self.record, self.lsn) = (extension, record.lsn());
                Ok(())
            })?;
            if !is_read {
                return Ok(None);
            }
            self.counts.pages += 1;
        }
    }
}
