//! `ambulkdelete` and `amvacuumcleanup`. What they did is kept on the meta page: `hnsw_compaction()` tells.

use std::collections::HashSet;
use std::ffi::c_void;
use std::time::Instant;

use pgrx::{PgBox, PgLogLevel, PgSqlErrorCode, ereport, pg_guard, pg_sys};

use super::{format, item_pointer, or_raise, relation_name, truncation};
use crate::error::Result;
use crate::graph::Graph;
use crate::graph::removal::Removal;
use crate::storage::buffers::{self, BufferStore, Mode};
use crate::storage::meta::{self, Compaction, META_BLOCK};
use crate::storage::{BlockNumber, Edit, HeapTid, PageStore};

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
        let Some(graph) = format::or_pass_by(index, Graph::open(&store)) else {
            // The places of its dead rows get other rows.
            or_raise(index, format::give_up(index));
            return stats;
        };
        let removal = graph.remove(buffers::maintenance_memory(), |tids| {
            find_dead(tids, callback, callback_state)
        });
        let removal = or_raise(index, removal);
        let is_first = stats.is_null();
        or_raise(index, note_removal(&store, &removal, is_first, start));
        report(info, &removal);
        let stats = or_new(stats);
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
        if (*info).analyze_only {
            return stats;
        }
        let index = (*info).index;
        let Some(pages) = format::or_pass_by(index, truncation::truncate(index)) else {
            return stats;
        };
        let stats = if stats.is_null() {
            // Nothing was deleted: the rows are those of the table, but for those that a partial index leaves out.
            let stats = or_new(stats);
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

/// Adds what a removal did to the result on the meta page, or begins a new one.
fn note_removal(store: &BufferStore, removal: &Removal, is_first: bool, start: Instant) -> Result<()> {
    if removal.tids_removed == 0 && removal.slots_freed == 0 {
        return Ok(());
    }
    note(store, |before| {
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

/// Changes the result on the meta page, which ends now.
pub fn note(store: &BufferStore, change: impl FnOnce(Compaction) -> Compaction) -> Result<()> {
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

/// Tells what a removal did, at the level that VACUUM asks for.
///
/// # Safety
/// The index is open.
unsafe fn report(info: *mut pg_sys::IndexVacuumInfo, removal: &Removal) {
    // SAFETY: as the caller promises.
    let (name, level) = unsafe { (relation_name((*info).index), (*info).message_level) };
    let level = if level == PgLogLevel::INFO as i32 {
        PgLogLevel::INFO
    } else {
        PgLogLevel::DEBUG2
    };
    let walk = if removal.nodes_removed > 0 && !removal.was_walked {
        " Nodes that nothing leads to any more were not looked for: raise maintenance_work_mem."
    } else {
        ""
    };
    ereport!(
        level,
        PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
        format!("index \"{name}\": removed {} nodes", removal.nodes_removed),
        format!(
            "{} links to them were repaired, {} nodes linked anew, {} slots freed.{walk}",
            removal.links_repaired, removal.reconnected, removal.slots_freed
        )
    );
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
