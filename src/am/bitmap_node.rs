//! The plan node `HNSW Bitmap Scan` (`am::bitmap_scan`), as the planner's steps see it.

use std::ffi::{CStr, c_int};

use pgrx::{PgList, is_a, pg_sys};

/// The node's name in EXPLAIN, and in the text of a plan.
pub const NAME: &CStr = c"HNSW Bitmap Scan";

/// The node's parts that PostgreSQL has no place for.
#[derive(Debug, Clone, Copy)]
pub struct Private {
    /// Number of rows up to which they are read and sorted.
    pub exact_rows: c_int,
    /// Rows of a block of the table, by the planner's estimate.
    pub rows_of_block: c_int,
}

impl Private {
    /// The parts as a list of the plan.
    ///
    /// # Safety
    /// Called in the planner; the list belongs to the current memory context.
    pub unsafe fn list(self) -> *mut pg_sys::List {
        let mut list = PgList::<pg_sys::Integer>::new();
        for number in [self.exact_rows, self.rows_of_block] {
            // SAFETY: a new node.
            list.push(unsafe { pg_sys::makeInteger(number) });
        }
        list.into_pg()
    }

    /// # Safety
    /// `list` was made by [`Private::list`].
    pub unsafe fn of(list: *mut pg_sys::List) -> Private {
        // SAFETY: as the caller promises.
        unsafe {
            let list = PgList::<pg_sys::Integer>::from_pg(list);
            let number = |i| list.get_ptr(i).map_or(0, |number| (*number).ival);
            Private {
                exact_rows: number(0),
                rows_of_block: number(1),
            }
        }
    }
}

/// The children of a node: the bitmap, and the index scan of the order.
#[derive(Debug, Clone, Copy)]
pub struct Children {
    pub bitmap: *mut pg_sys::Plan,
    pub index: *mut pg_sys::IndexScan,
}

impl Children {
    /// The list that a plan keeps.
    ///
    /// # Safety
    /// Called in the planner; the list belongs to the current memory context.
    pub unsafe fn list(self) -> *mut pg_sys::List {
        let mut list = PgList::<pg_sys::Plan>::new();
        list.push(self.bitmap);
        list.push(self.index.cast());
        list.into_pg()
    }

    /// The children of a node of a plan, if the node is ours.
    ///
    /// # Safety
    /// `plan` is a node of a plan.
    pub unsafe fn of(plan: *mut pg_sys::Plan) -> Option<Children> {
        // SAFETY: as the caller promises; nodes are read by their tags, and names of nodes are
        // strings.
        unsafe {
            if !is_a(plan.cast(), pg_sys::NodeTag::T_CustomScan) {
                return None;
            }
            let node = &*plan.cast::<pg_sys::CustomScan>();
            if CStr::from_ptr((*node.methods).CustomName) != NAME {
                return None;
            }
            let list = PgList::<pg_sys::Plan>::from_pg(node.custom_plans);
            let (bitmap, index) = (list.get_ptr(0)?, list.get_ptr(1)?);
            is_a(index.cast(), pg_sys::NodeTag::T_IndexScan).then_some(Children {
                bitmap,
                index: index.cast(),
            })
        }
    }
}
