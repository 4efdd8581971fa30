//! `ambulkdelete` and `amvacuumcleanup`.

use std::ffi::c_void;

use pgrx::{PgBox, pg_guard, pg_sys};

use super::{item_pointer, or_raise};
use crate::error::Result;
use crate::graph::Graph;
use crate::graph::repair::Removal;
use crate::storage::HeapTid;
use crate::storage::buffers::{BufferStore, Mode};

#[pg_guard]
pub unsafe extern "C-unwind" fn ambulkdelete(
    info: *mut pg_sys::IndexVacuumInfo,
    stats: *mut pg_sys::IndexBulkDeleteResult,
    callback: pg_sys::IndexBulkDeleteCallback,
    callback_state: *mut c_void,
) -> *mut pg_sys::IndexBulkDeleteResult {
    // SAFETY: PostgreSQL passes the open index, and a callback for its TIDs with its state.
    unsafe {
        let index = (*info).index;
        let is_dead = |tid: HeapTid| callback.is_some_and(|callback| callback(&mut item_pointer(tid), callback_state));
        let removal = or_raise(index, remove(index, is_dead));
        let stats = or_new(stats);
        (*stats).num_index_tuples = removal.tids_left as f64;
        (*stats).estimated_count = false;
        (*stats).tuples_removed += removal.tids_removed as f64;
        (*stats).pages_free = removal.pages_with_room as pg_sys::BlockNumber;
        stats
    }
}

#[pg_guard]
pub unsafe extern "C-unwind" fn amvacuumcleanup(
    info: *mut pg_sys::IndexVacuumInfo,
    stats: *mut pg_sys::IndexBulkDeleteResult,
) -> *mut pg_sys::IndexBulkDeleteResult {
    // SAFETY: PostgreSQL passes the open index.
    unsafe {
        if (*info).analyze_only {
            return stats;
        }
        let index = (*info).index;
        let stats = if stats.is_null() {
            // Nothing was deleted: the rows are those of the table, but for those that are not indexed.
            let stats = or_new(stats);
            (*stats).num_index_tuples = (*info).num_heap_tuples;
            (*stats).estimated_count = true;
            stats
        } else {
            pg_sys::IndexFreeSpaceMapVacuum(index);
            stats
        };
        (*stats).num_pages = pg_sys::RelationGetNumberOfBlocksInFork(index, pg_sys::ForkNumber::MAIN_FORKNUM);
        stats
    }
}

/// # Safety
/// `index` is open, and locked as VACUUM locks it.
unsafe fn remove(index: pg_sys::Relation, is_dead: impl FnMut(HeapTid) -> bool) -> Result<Removal> {
    // SAFETY: as the caller promises.
    let store = unsafe { BufferStore::new(index, Mode::Vacuum) };
    Graph::open(&store)?.remove(is_dead)
}

fn or_new(stats: *mut pg_sys::IndexBulkDeleteResult) -> *mut pg_sys::IndexBulkDeleteResult {
    if stats.is_null() {
        // SAFETY: a plain struct, all zero, in VACUUM's memory context.
        unsafe { PgBox::<pg_sys::IndexBulkDeleteResult>::alloc0() }.into_pg()
    } else {
        stats
    }
}
