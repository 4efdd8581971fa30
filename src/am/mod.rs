//! The access methods `hnsw` and `ivfflat`: PostgreSQL's callbacks, a file for each group of them.
//!
//! These files know nothing of the structure of a graph. They hold all that concerns PostgreSQL:
//! relations, scan keys, options, progress, costs. Errors of a graph are raised here, with the name
//! of the relation.

mod bitmap_node;
mod bitmap_scan;
mod bound;
mod build;
mod build_memory;
mod build_threads;
pub mod calibration;
mod cost;
mod created;
pub mod datum;
mod explain;
mod explicit;
pub mod filter;
mod handler;
pub mod heap_scan;
mod insert;
mod ivfflat;
pub mod method;
mod opclass;
pub mod options;
mod planner;
mod radius_key;
mod sample;
mod sampling;
pub mod scan;
#[cfg(any(test, feature = "pg_test"))]
mod tests;
mod tid_set;
mod truncate;
mod vacuum;
mod vacuum_stats;
mod validate;

use pgrx::pg_sys;

use crate::pg_error::{or_raise, relation_name};
use crate::storage::HeapTid;

/// Registers settings, hooks and callbacks: once, when the library is loaded.
pub fn register() {
    options::register();
    ivfflat::register();
    planner::register();
    bitmap_scan::register();
    created::register();
    truncate::register();
    explain::register();
}

/// Whether an index is of one of these access methods.
///
/// # Safety
/// `index` is an open index.
pub unsafe fn is_ours(index: pg_sys::Relation) -> bool {
    // SAFETY: as the caller promises; the routine of an open index is in its relation.
    unsafe { is_our_routine((*index).rd_indam) }
}

/// Whether a routine is of one of these access methods.
///
/// # Safety
/// `routine` is null or the result of a handler.
unsafe fn is_our_routine(routine: *const pg_sys::IndexAmRoutine) -> bool {
    // SAFETY: as the caller promises.
    let build = unsafe { routine.as_ref() }.and_then(|routine| routine.ambuild);
    let ours: unsafe extern "C-unwind" fn(_, _, _) -> _ = build::ambuild;
    build.is_some_and(|build| std::ptr::fn_addr_eq(build, ours))
}

/// Converts a heap TID of PostgreSQL.
///
/// # Safety
/// `tid` points to a heap TID.
unsafe fn heap_tid(tid: pg_sys::ItemPointer) -> HeapTid {
    // SAFETY: as the caller promises.
    let tid = unsafe { *tid };
    HeapTid {
        block: u32::from(tid.ip_blkid.bi_hi) << 16 | u32::from(tid.ip_blkid.bi_lo),
        offset: tid.ip_posid,
    }
}

/// Converts a heap TID for PostgreSQL.
fn item_pointer(tid: HeapTid) -> pg_sys::ItemPointerData {
    pg_sys::ItemPointerData {
        ip_blkid: pg_sys::BlockIdData {
            bi_hi: (tid.block >> 16) as u16,
            bi_lo: tid.block as u16,
        },
        ip_posid: tid.offset,
    }
}
