//! Results of VACUUM, kept on the meta page of an index and shown by `hnsw_compaction()` and
//! `hnsw_index_health`.

use std::time::Instant;

use pgrx::pg_sys;

use crate::error::Result;
use crate::hnsw::vacuum::bulk_delete::BulkDelete;
use crate::storage::buffer_store::BufferStore;
use crate::storage::calibration;
use crate::storage::format::META_BLOCK;
use crate::storage::meta::{self, Compaction};
use crate::storage::walk::{self, Walk};
use crate::storage::{Edit, PageStore};

/// Adds a bulk delete that began at `start` to the results; the first one of a VACUUM begins new
/// results. A bulk delete that removed nothing leaves the results as they are.
pub fn add_bulk_delete(store: &BufferStore, removal: &BulkDelete, is_first: bool, start: Instant) -> Result<()> {
    if removal.tids_removed == 0 && removal.slots_freed == 0 {
        return Ok(());
    }
    if removal.nodes_removed > 0 {
        store.write(META_BLOCK, |page| {
            calibration::add_removed(page, removal.nodes_removed)?;
            // A VACUUM after few removals does not follow all links.
            if removal.was_walked && meta::read_unwalked(page)? == 0 {
                walk::set(page, &walk_of(removal));
            }
            Ok(Edit::Changed(()))
        })?;
    }
    update(store, |before| {
        let before = if is_first { Compaction::default() } else { before };
        Compaction {
            nodes_removed: before.nodes_removed.saturating_add(removal.nodes_removed),
            links_repaired: before.links_repaired.saturating_add(removal.links_repaired),
            slots_freed: before.slots_freed.saturating_add(removal.slots_freed),
            duration: before.duration.saturating_add(start.elapsed().as_micros() as u64),
            ..before
        }
    })
}

fn walk_of(removal: &BulkDelete) -> Walk {
    Walk {
        // SAFETY: it reads the clock.
        finished: unsafe { pg_sys::GetCurrentTimestamp() },
        // A node has at least one row.
        nodes: removal.tids_left.max(removal.reconnected),
        unreachable: removal.reconnected,
    }
}

/// Adds pages that were cut off the end of the index.
pub fn add_truncation(store: &BufferStore, pages: u64) -> Result<()> {
    update(store, |before| Compaction {
        pages_truncated: before.pages_truncated.saturating_add(pages),
        ..before
    })
}

/// Changes the results, and sets their end to now.
///
/// Locks: the meta page, exclusively; on return: none.
fn update(store: &BufferStore, change: impl FnOnce(Compaction) -> Compaction) -> Result<()> {
    store.write(META_BLOCK, |page| {
        let compaction = Compaction {
            // SAFETY: it reads the clock.
            finished: unsafe { pg_sys::GetCurrentTimestamp() },
            ..change(meta::read_compaction(page)?)
        };
        meta::set_compaction(page, &compaction)?;
        Ok(Edit::Changed(()))
    })
}
