//! `ambulkdelete` and `amvacuumcleanup`. Their results are kept on the meta page, and
//! `hnsw_compaction()` shows them.

use std::collections::HashSet;
use std::ffi::c_void;
use std::time::Instant;

use pgrx::{PgBox, PgLogLevel, PgSqlErrorCode, ereport, pg_guard, pg_sys};

use super::{calibration, item_pointer, or_raise, relation_name, truncate, vacuum_stats};
use crate::error::Error;
use crate::hnsw::Graph;
use crate::hnsw::vacuum::bulk_delete::{self, BulkDelete};
use crate::pg_error;
use crate::rebuild;
use crate::storage::buffer_store::{self, BufferStore, Mode};
use crate::storage::{BlockNumber, HeapTid};

#[pg_guard]
pub unsafe extern "C-unwind" fn ambulkdelete(
    info: *mut pg_sys::IndexVacuumInfo,
    stats: *mut pg_sys::IndexBulkDeleteResult,
    callback: pg_sys::IndexBulkDeleteCallback,
    callback_state: *mut c_void,
) -> *mut pg_sys::IndexBulkDeleteResult {
    // SAFETY: PostgreSQL passes the open index, and a callback for its TIDs with its state.
    unsafe {
        let (index, start) = ((*info).index, Instant::now());
        // SAFETY: the strategy is VACUUM's.
        let store = BufferStore::new(index, Mode::Vacuum).with_strategy((*info).strategy);
        let Some(graph) = rebuild::or_pass_by(index, Graph::open(&store)) else {
            // The places of its dead rows get other rows.
            or_raise(index, rebuild::give_up(index));
            return stats;
        };
        let removal = bulk_delete::remove(&graph, buffer_store::maintenance_memory(), |tids| {
            find_dead(tids, callback, callback_state)
        });
        let removal = or_raise(index, removal);
        let is_first = stats.is_null();
        or_raise(index, vacuum_stats::add_bulk_delete(&store, &removal, is_first, start));
        report(info, &removal);
        let stats = stats_or_alloc(stats);
        (*stats).num_index_tuples = removal.tids_left as f64;
        (*stats).estimated_count = false;
        (*stats).tuples_removed += removal.tids_removed as f64;
        (*stats).pages_newly_deleted += removal.pages_emptied as BlockNumber;
        (*stats).pages_deleted = removal.pages_empty as BlockNumber;
        (*stats).pages_free = removal.pages_with_room as BlockNumber;
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
        let index = (*info).index;
        if (*info).analyze_only {
            match calibration::renew(info) {
                // ANALYZE of the table is not to fail by an index that it need not read.
                Err(error @ Error::Corrupted { .. }) => pg_error::in_relation(index, error).warn(None),
                renewed => _ = rebuild::or_pass_by(index, renewed),
            }
            return stats;
        }
        let Some(pages) = rebuild::or_pass_by(index, truncate::truncate(index)) else {
            return stats;
        };
        or_raise(index, calibration::renew(info));
        let stats = if stats.is_null() {
            // Nothing was deleted: the index has the rows of the table, except the rows that a
            // partial index leaves out.
            let stats = stats_or_alloc(stats);
            (*stats).num_index_tuples = (*info).num_heap_tuples;
            (*stats).estimated_count = true;
            stats
        } else {
            pg_sys::IndexFreeSpaceMapVacuum(index);
            stats
        };
        (*stats).pages_deleted = (*stats).pages_deleted.saturating_sub(pages);
        (*stats).pages_free = (*stats).pages_free.saturating_sub(pages);
        (*stats).num_pages = pg_sys::RelationGetNumberOfBlocksInFork(index, pg_sys::ForkNumber::MAIN_FORKNUM);
        stats
    }
}

/// Reports the result of a bulk delete, at VACUUM's message level.
///
/// # Safety
/// The index is open.
unsafe fn report(info: *mut pg_sys::IndexVacuumInfo, removal: &BulkDelete) {
    // SAFETY: as the caller promises.
    let (name, level) = unsafe { (relation_name((*info).index), (*info).message_level) };
    let level = if level == PgLogLevel::INFO as i32 {
        PgLogLevel::INFO
    } else {
        PgLogLevel::DEBUG2
    };
    let walk = if removal.nodes_removed > 0 && !removal.was_walked {
        " Unreachable nodes were not searched for; consider increasing maintenance_work_mem."
    } else {
        ""
    };
    ereport!(
        level,
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        format!("index \"{name}\": removed {} nodes", removal.nodes_removed),
        format!(
            "{} links to them were repaired, {} nodes were relinked, {} slots were freed.{walk}",
            removal.links_repaired, removal.reconnected, removal.slots_freed
        )
    );
}

/// Asks PostgreSQL which TIDs are dead. The callback may raise an error (that of CREATE INDEX
/// CONCURRENTLY sorts the TIDs).
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

fn stats_or_alloc(stats: *mut pg_sys::IndexBulkDeleteResult) -> *mut pg_sys::IndexBulkDeleteResult {
    if stats.is_null() {
        // SAFETY: a plain struct, all zero, in VACUUM's memory context.
        unsafe { PgBox::<pg_sys::IndexBulkDeleteResult>::alloc0() }.into_pg()
    } else {
        stats
    }
}
