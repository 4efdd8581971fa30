//! Scans of our indexes that other indexes filter: the plan node `HNSW Bitmap Scan`.
//!
//! ```text
//! Limit
//!   -> Custom Scan (HNSW Bitmap Scan) on items      ORDER BY embedding <-> '[..]'
//!        -> Bitmap Index Scan on items_tenant       tenant = 7
//! ```
//!
//! The node has two children: the bitmap of the conditions, and an index scan of the order, which
//! EXPLAIN shows as a part of the node. The bitmap becomes a set of rows (`am::tid_set`). If they
//! are few, they are read and sorted (`exact`); else the index scan returns the rows of the set in
//! order, and passes over all others before it reads them from the table (`exec`). The planner
//! finds the number up to which rows are few (`path`, `am::cost`).
//!
//! All conditions are tested on each row, so the bitmap may name too many rows, and the rows that
//! EvalPlanQual tests need no bitmap.

mod exact;
mod exec;
mod explain;
mod path;
mod rows;
mod state;

use pgrx::pg_sys;

use super::bitmap_node::NAME;

/// A table of methods, which PostgreSQL only reads.
#[repr(transparent)]
struct Methods<T>(T);

// SAFETY: the tables hold addresses of functions and of static texts.
unsafe impl<T> Sync for Methods<T> {}

static SCAN_METHODS: Methods<pg_sys::CustomScanMethods> = Methods(pg_sys::CustomScanMethods {
    CustomName: NAME.as_ptr(),
    CreateCustomScanState: Some(exec::create),
});

/// Registers the node and the planner's hook: once, when the library is loaded.
pub fn register() {
    // SAFETY: PostgreSQL loads a library in a process of one thread; the table is static.
    unsafe { pg_sys::RegisterCustomScanMethods(&SCAN_METHODS.0) };
    path::register();
}
