//! Rows that have no place in the graph: those without a vector, and under cosine distance those whose vector is zero. Their distances
//! are NULL and NaN, which a sort puts last. Of each kind the index has the TIDs, in a chain that hangs on the meta page ([`crate::hnsw::heap_tids::list`]).

use crate::error::{Error, Result};
use crate::hnsw::Graph;
use crate::hnsw::heap_tids::Returned;
use crate::hnsw::heap_tids::list::{ChainReader, Head, Outcome};
use crate::hnsw::search::Counts;
use crate::storage::format::Unplaced;
use crate::storage::{HeapTid, NodeRef, PageStore};

impl Unplaced {
    /// What stands for the distance of such a row: beyond every number, zero vectors before NULL, by `f32::total_cmp`.
    pub fn distance(self) -> f32 {
        f32::from_bits(f32::INFINITY.to_bits() + 1 + self as u32)
    }
}

impl<S: PageStore> Graph<'_, S> {
    /// Adds rows of a kind. Those that go into one extension are one change.
    pub fn add_unplaced(&self, kind: Unplaced, mut tids: &[HeapTid]) -> Result<()> {
        let head = Head::Meta(kind);
        while !tids.is_empty() {
            self.store.check_interrupts();
            let first = self.first_extension(head)?;
            let filled = match first.some() {
                Some(extension) => self.fill(kind, extension, tids)?,
                None => Outcome::NoRoom,
            };
            let added = match filled {
                Outcome::Added(_) => filled,
                // One that was unlinked meanwhile is not the first any more.
                _ => self.add_extension(head, first, tids)?,
            };
            if let Outcome::Added(count) = added {
                tids = &tids[count..];
            }
        }
        Ok(())
    }
}

/// A scan of the rows of a kind, in any order.
pub struct ChainScan {
    kind: Unplaced,
    chain: ChainReader,
    /// Whether it also returns rows that are marked as dead.
    killed: bool,
    /// Rows of the extension read last that are still to be returned.
    tids: Vec<HeapTid>,
    record: NodeRef,
    lsn: u64,
    counts: Counts,
}

impl ChainScan {
    /// A scan of the rows of a kind; with `killed` also of those that are marked as dead to everyone.
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

    /// What it has read so far.
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
