//! The rows of one node, read record by record while a scan returns them.
//!
//! The TIDs of the level-0 record come first, then those of one extension after the other. VACUUM
//! may unlink the extension that comes next; the chain is then read from its start again, and rows
//! that were returned before are left out.

use std::collections::HashSet;

use crate::error::Result;
use crate::fallible::Room;
use crate::hnsw::Graph;
use crate::hnsw::heap_tids;
use crate::storage::record::Entry;
use crate::storage::{HeapTid, Link, NodeRef, PageStore, corrupted};

/// Restarts of a chain from its start, beyond which it counts as damaged.
const RESTARTS: usize = 1000;

/// The rows of a node while they are being returned.
pub(super) struct NodeRows {
    /// The level-0 record of the node.
    pub(super) link: Link,
    /// The record that was read last, which has the rows that are being returned.
    pub(super) record: NodeRef,
    /// The LSN of that record when it was read.
    pub(super) lsn: u64,
    /// The next extension.
    next: NodeRef,
    /// Extensions read so far.
    met: HashSet<NodeRef>,
    /// Rows read so far, of a node that has extensions.
    returned: HashSet<HeapTid>,
    restarts: usize,
}

impl NodeRows {
    /// The rows of a node without extensions, after its record was read.
    pub(super) fn of(link: Link, lsn: u64) -> NodeRows {
        NodeRows {
            link,
            record: link.node,
            lsn,
            next: NodeRef::NONE,
            met: HashSet::new(),
            returned: HashSet::new(),
            restarts: 0,
        }
    }

    /// Reads the rows of a node's level-0 record.
    pub(super) fn read<S: PageStore>(graph: &Graph<'_, S>, link: Link, rows: &mut Rows) -> Result<NodeRows> {
        let (next, lsn) = heap_tids::read_first(graph, link, |entry| rows.add(entry))?;
        let mut node = NodeRows {
            next,
            ..NodeRows::of(link, lsn)
        };
        node.keep_new(rows)?;
        Ok(node)
    }

    /// Reads the rows of the next extension; says whether there may be more.
    pub(super) fn read_on<S: PageStore>(&mut self, graph: &Graph<'_, S>, rows: &mut Rows) -> Result<bool> {
        let Some(extension) = self.next.some() else {
            return Ok(false);
        };
        graph.store.check_interrupts();
        // An extension that was met before has been unlinked and used again since.
        self.met.room(1)?;
        let next = match self.met.insert(extension) {
            true => heap_tids::read_more(graph, self.link, extension, |entry| rows.add(entry))?,
            false => None,
        };
        match next {
            Some((next, lsn)) => {
                self.next = next;
                (self.record, self.lsn) = (extension, lsn);
            }
            None if self.restarts == RESTARTS => {
                return corrupted(
                    graph.space.layout.block(extension),
                    "a node's TID extension is not its own",
                );
            }
            None => {
                self.restarts += 1;
                self.met.clear();
                (self.next, self.lsn) = heap_tids::read_first(graph, self.link, |entry| rows.add(entry))?;
                self.record = self.link.node;
            }
        }
        self.keep_new(rows)?;
        Ok(true)
    }

    /// Keeps the rows that were not returned yet, the first one last. A node without extensions has
    /// no rows to remember.
    fn keep_new(&mut self, Rows { tids, .. }: &mut Rows) -> Result<()> {
        if self.next != NodeRef::NONE || !self.returned.is_empty() {
            self.returned.room(tids.len())?;
            tids.retain(|&tid| self.returned.insert(tid));
        }
        tids.reverse();
        Ok(())
    }
}

/// Rows to be returned.
pub(super) struct Rows {
    /// TIDs, the next one last.
    pub(super) tids: Vec<HeapTid>,
    /// Whether rows marked as dead are returned too.
    killed: bool,
    /// Number of rows left out because they are marked as dead.
    pub(super) dead: u64,
}

impl Rows {
    /// No rows; `killed` says whether rows marked as dead are returned too.
    pub(super) fn new(killed: bool) -> Rows {
        Rows {
            tids: Vec::new(),
            killed,
            dead: 0,
        }
    }

    fn add(&mut self, entry: Entry) {
        if self.killed || !entry.killed {
            self.tids.push(entry.tid);
        } else {
            self.dead += 1;
        }
    }
}
