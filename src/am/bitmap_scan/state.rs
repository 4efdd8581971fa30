//! State of the node while it is executed.

use pgrx::pg_sys;

use super::rows::Rows;
use crate::am::bitmap_node::Private;
use crate::am::tid_set::TidSet;

/// State of the node: PostgreSQL's part comes first.
#[repr(C)]
pub struct State {
    pub custom: pg_sys::CustomScanState,
    /// The child that computes the bitmap.
    pub bitmap: *mut pg_sys::PlanState,
    /// The child that has the order.
    pub index: *mut pg_sys::IndexScanState,
    /// All conditions.
    pub conditions: *mut pg_sys::ExprState,
    /// The distance of a row.
    pub distance: *mut pg_sys::ExprState,
    /// The table as an index scan reads it; null before it is read so.
    pub table: *mut pg_sys::IndexFetchTableData,
    /// Freed with the memory context of the query, also after an error.
    pub work: *mut Work,
}

/// The way to the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// The bitmap is not there yet.
    Unknown,
    /// All rows of the bitmap are read and sorted.
    Exact,
    /// The index scan passes over rows that are not in the bitmap.
    Graph,
}

/// The part of the state that is Rust's.
pub struct Work {
    pub private: Private,
    pub way: Way,
    /// The rows of the bitmap, until the index scan gets them.
    pub set: TidSet,
    /// The rows that were read.
    pub rows: Rows,
    pub counts: Counts,
}

/// Counters of all rescans.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    /// Searches by each of the ways.
    pub exact: u64,
    pub graph: u64,
    /// Rows of bitmaps, and blocks that they had only as a whole.
    pub rows: u64,
    pub whole_blocks: u64,
}
