//! Window functions that read all rows of their input before they return one.

use pgrx::pg_sys::{
    F_DENSE_RANK_, F_FIRST_VALUE, F_LAG_ANYCOMPATIBLE_INT4_ANYCOMPATIBLE, F_LAG_ANYELEMENT, F_LAG_ANYELEMENT_INT4,
    F_LAST_VALUE, F_LEAD_ANYCOMPATIBLE_INT4_ANYCOMPATIBLE, F_LEAD_ANYELEMENT, F_LEAD_ANYELEMENT_INT4, F_NTH_VALUE,
    F_RANK_, F_ROW_NUMBER,
};
use pgrx::{PgList, is_a, pg_sys};

/// Whether a function of the node reads the rows of a partition to the end: by the end of its frame
/// (`executor/nodeWindowAgg.c`), or because it needs their number (`utils/adt/windowfuncs.c`).
///
/// # Safety
/// `window` is a node of a plan.
pub unsafe fn reads_all(window: *mut pg_sys::WindowAgg) -> bool {
    // SAFETY: as the caller promises; nodes are read by their tags.
    unsafe {
        let options = (*window).frameOptions as u32;
        let is_of_rows = options & pg_sys::FRAMEOPTION_ROWS != 0;
        let has_far_end = match options {
            _ if options & pg_sys::FRAMEOPTION_END_UNBOUNDED_FOLLOWING != 0 => true,
            // Without an order all rows are peers.
            _ if options & pg_sys::FRAMEOPTION_END_CURRENT_ROW != 0 => !is_of_rows && (*window).ordNumCols == 0,
            _ if options & pg_sys::FRAMEOPTION_END_OFFSET_FOLLOWING != 0 => !is_of_rows,
            _ => false,
        };
        let flags = pg_sys::PVC_INCLUDE_AGGREGATES | pg_sys::PVC_INCLUDE_WINDOWFUNCS | pg_sys::PVC_INCLUDE_PLACEHOLDERS;
        let found = pg_sys::pull_var_clause((*window).plan.targetlist.cast(), flags as i32);
        PgList::<pg_sys::Node>::from_pg(found)
            .iter_ptr()
            .filter(|&node| is_a(node, pg_sys::NodeTag::T_WindowFunc))
            .any(|node| {
                let function = &*node.cast::<pg_sys::WindowFunc>();
                match function.winfnoid.to_u32() {
                    _ if function.winagg => has_far_end,
                    F_LAST_VALUE | F_NTH_VALUE => has_far_end,
                    F_ROW_NUMBER
                    | F_RANK_
                    | F_DENSE_RANK_
                    | F_FIRST_VALUE
                    | F_LAG_ANYELEMENT
                    | F_LAG_ANYELEMENT_INT4
                    | F_LAG_ANYCOMPATIBLE_INT4_ANYCOMPATIBLE
                    | F_LEAD_ANYELEMENT
                    | F_LEAD_ANYELEMENT_INT4
                    | F_LEAD_ANYCOMPATIBLE_INT4_ANYCOMPATIBLE => false,
                    _ => true,
                }
            })
    }
}
