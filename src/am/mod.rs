//! The access method `hnsw`: PostgreSQL's calls, one file for each group of them.
//!
//! Nothing here knows how a graph works; everything that PostgreSQL knows of an index (relations, scan keys, options, progress,
//! costs) is here. A graph error is raised here, with the name of the relation.

mod bound;
mod build;
mod cost;
mod created;
#[cfg(feature = "pg18")]
mod explain;
pub mod format;
mod handler;
mod insert;
mod opclass;
mod options;
mod plan;
pub mod scan;
pub mod table;
#[cfg(any(test, feature = "pg_test"))]
mod tests;
mod truncation;
mod vacuum;
mod validate;
pub mod value;
mod within;
mod workers;

use pgrx::pg_sys;

use crate::storage::HeapTid;
use crate::storage::buffers::{or_raise, relation_name};

/// Registers the settings, and what the access method is called for by PostgreSQL besides: once, when the library is loaded.
pub fn register() {
    options::register();
    plan::register();
    created::register();
    truncation::register();
    #[cfg(feature = "pg18")]
    explain::register();
}

/// Whether an index is one of this access method.
///
/// # Safety
/// `index` is an open index.
pub unsafe fn is_ours(index: pg_sys::Relation) -> bool {
    // SAFETY: as the caller promises; the routine of an open index is in its relation.
    unsafe { is_our_routine((*index).rd_indam) }
}

/// Whether this is the access method.
///
/// # Safety
/// `routine` is null, or what a handler returned.
unsafe fn is_our_routine(routine: *const pg_sys::IndexAmRoutine) -> bool {
    // SAFETY: as the caller promises.
    let build = unsafe { routine.as_ref() }.and_then(|routine| routine.ambuild);
    let ours: unsafe extern "C-unwind" fn(_, _, _) -> _ = build::ambuild;
    build.is_some_and(|build| std::ptr::fn_addr_eq(build, ours))
}

/// A heap TID as PostgreSQL passes it.
///
/// # Safety
/// `tid` points to one.
unsafe fn heap_tid(tid: pg_sys::ItemPointer) -> HeapTid {
    // SAFETY: as the caller promises.
    let tid = unsafe { *tid };
    HeapTid {
        block: u32::from(tid.ip_blkid.bi_hi) << 16 | u32::from(tid.ip_blkid.bi_lo),
        offset: tid.ip_posid,
    }
}

/// A heap TID as PostgreSQL takes it.
fn item_pointer(tid: HeapTid) -> pg_sys::ItemPointerData {
    pg_sys::ItemPointerData {
        ip_blkid: pg_sys::BlockIdData {
            bi_hi: (tid.block >> 16) as u16,
            bi_lo: tid.block as u16,
        },
        ip_posid: tid.offset,
    }
}
