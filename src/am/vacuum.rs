//! `ambulkdelete` and `amvacuumcleanup`.

use std::collections::HashSet;
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
        let removal = or_raise(index, remove(index, |tids| find_dead(tids, callback, callback_state)));
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
unsafe fn remove(index: pg_sys::Relation, find_dead: impl FnMut(&[HeapTid]) -> HashSet<HeapTid>) -> Result<Removal> {
    // SAFETY: as the caller promises.
    let store = unsafe { BufferStore::new(index, Mode::Vacuum) };
    Graph::open(&store)?.remove(find_dead)
}

/// Asks PostgreSQL which TIDs are dead. The callback may raise an error (that of CREATE INDEX CONCURRENTLY sorts the TIDs).
///
/// # Safety
/// `state` is the callback's.
unsafe fn find_dead(
    tids: &[HeapTid],
    callback: pg_sys::IndexBulkDeleteCallback,
    state: *mut c_void,
) -> HashSet<HeapTid> {
    let Some(callback) = callback else {
        return HashSet::new();
    };
    let mut items: Vec<_> = tids.iter().map(|&tid| item_pointer(tid)).collect();
    let mut dead = vec![false; items.len()];
    // SAFETY: as the caller promises. Nothing in the guarded loop would have to be dropped.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            for (item, dead) in items.iter_mut().zip(&mut dead) {
                *dead = callback(item, state);
            }
        });
    }
    tids.iter()
        .zip(dead)
        .filter_map(|(&tid, dead)| dead.then_some(tid))
        .collect()
}

fn or_new(stats: *mut pg_sys::IndexBulkDeleteResult) -> *mut pg_sys::IndexBulkDeleteResult {
    if stats.is_null() {
        // SAFETY: a plain struct, all zero, in VACUUM's memory context.
        unsafe { PgBox::<pg_sys::IndexBulkDeleteResult>::alloc0() }.into_pg()
    } else {
        stats
    }
}
