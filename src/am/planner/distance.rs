//! Removal of a distance that a plan computes and no node reads.
//!
//! A sort key of a query is a column of its plan, hidden ("junk") if the query does not return it.
//! PostgreSQL's planner has an index scan compute that column even where the scan itself makes the
//! order and no node above reads the column:
//! ```text
//! Limit                               SELECT id FROM items ORDER BY embedding <-> '[..]' LIMIT 10
//!   -> Index Scan: id, embedding <-> '[..]' (hidden)
//! ```
//!
//! A vector of some hundred dimensions is stored out of line, so for each row the distance takes
//! two or more lookups in another table: a search of 50 us takes another 30. When a statement is
//! planned, such a column becomes NULL if two conditions hold. The scan is one of our indexes
//! directly below a LIMIT, which passes columns on by number and reads none (`WITH TIES` does). And
//! no node above takes hidden columns from the LIMIT, because it is the last step of its query.

use pgrx::{PgList, is_a, pg_sys};

use super::rows_of_ours;
use crate::am::bitmap_node::Children;

/// Replaces the distance in a hidden column of a scan below a LIMIT.
///
/// # Safety
/// `limit` is a node of a plan.
pub unsafe fn leave_out(limit: *mut pg_sys::Limit) {
    // SAFETY: as the caller promises; nodes are read by their tags.
    unsafe {
        let below = (*limit).plan.lefttree;
        if (*limit).limitOption != pg_sys::LimitOption::LIMIT_OPTION_COUNT || below.is_null() {
            return;
        }
        let scan = match is_a(below.cast(), pg_sys::NodeTag::T_IndexScan) {
            true => below.cast::<pg_sys::IndexScan>(),
            false => match Children::of(below) {
                Some(children) => children.index,
                None => return,
            },
        };
        let orders = PgList::<pg_sys::Node>::from_pg((*scan).indexorderbyorig);
        let (Some(distance), 1) = (orders.get_ptr(0), orders.len()) else {
            return;
        };
        if rows_of_ours((*scan).indexid).is_none() {
            return;
        }
        let columns = PgList::<pg_sys::TargetEntry>::from_pg((*below).targetlist);
        for passed in PgList::<pg_sys::TargetEntry>::from_pg((*limit).plan.targetlist).iter_ptr() {
            let var = (*passed).expr.cast::<pg_sys::Var>();
            if !(*passed).resjunk || !is_a(var.cast(), pg_sys::NodeTag::T_Var) || (*var).varattno < 1 {
                continue;
            }
            match columns.get_ptr((*var).varattno as usize - 1) {
                Some(column) if pg_sys::equal((*column).expr.cast(), distance.cast()) => {
                    let null = pg_sys::makeNullConst(pg_sys::exprType(distance), -1, pg_sys::InvalidOid);
                    (*column).expr = null.cast();
                }
                _ => {}
            }
        }
    }
}
