//! Counters of the session's last inserts, for `hnsw_last_insert()`.

use std::cell::Cell;

use crate::hnsw::insert::{Inserted, Inserter};
use crate::storage::buffer_store::{self, BufferStore};

/// Counters of the rows of one transaction that went into an index together.
#[derive(Debug, Clone, Copy)]
pub struct LastInsert {
    /// The last row.
    pub inserted: Inserted,
    /// Rows that were inserted together.
    pub rows: u64,
    /// Page changes for them: a page counts once for each of its changes.
    pub pages: u64,
    /// Bytes of WAL written for them.
    pub wal_bytes: u64,
}

thread_local! {
    static LAST: Cell<Option<LastInsert>> = const { Cell::new(None) };
}

/// Counters of the session's last inserts.
pub fn last_insert() -> Option<LastInsert> {
    LAST.get()
}

/// Counters at the start of inserts under way.
pub struct Measured {
    wal_bytes: u64,
}

impl Measured {
    /// Starts to count.
    pub fn start() -> Measured {
        Measured {
            wal_bytes: buffer_store::wal_bytes(),
        }
    }

    /// Ends the counting, and keeps the counters for the session.
    pub fn end(self, rows: usize, inserter: &Inserter, store: &BufferStore) {
        let Some(inserted) = inserter.last() else { return };
        LAST.set(Some(LastInsert {
            inserted,
            rows: rows as u64,
            pages: store.changes(),
            wal_bytes: buffer_store::wal_bytes() - self.wal_bytes,
        }));
    }
}
