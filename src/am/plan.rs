//! The distance that a plan computes for nothing.
//!
//! What a query sorts by is a column of its plan, hidden ("junk") if the query does not return it. PostgreSQL's planner has an index
//! scan compute that column even where the scan is what makes the order and nobody looks at the column any more:
//!
//! ```text
//! Limit                                  SELECT id FROM items ORDER BY embedding <-> '[..]' LIMIT 10
//!   -> Index Scan: id, embedding <-> '[..]' (hidden)
//! ```
//!
//! A vector of some hundred dimensions is stored out of line, so for each row that means two or more lookups in another table: for a
//! search that is done in 50 us they take another 30. When a statement is planned, such a column becomes NULL. That is
//! so for a scan of one of our indexes directly below a LIMIT, which passes columns on by number and looks at none (`WITH TIES` does), and
//! what is above takes no hidden columns from it, since LIMIT is the last step of its query.

use std::ffi::{c_char, c_int};
use std::ptr;

use pgrx::{PgList, is_a, pg_guard, pg_sys};

use super::scan;

/// The planner of whoever was there before.
static mut NEXT: pg_sys::planner_hook_type = None;

/// Puts our step behind the planner.
pub fn register() {
    // SAFETY: PostgreSQL loads a library in a process of one thread.
    unsafe {
        NEXT = pg_sys::planner_hook;
        pg_sys::planner_hook = Some(plan);
    }
}

unsafe extern "C-unwind" {
    /// PostgreSQL's own planner; pgrx's function of this name would catch its errors and raise poorer ones.
    fn standard_planner(
        query: *mut pg_sys::Query,
        text: *const c_char,
        options: c_int,
        parameters: pg_sys::ParamListInfo,
    ) -> *mut pg_sys::PlannedStmt;
}

/// Not guarded: an error of the planner passes through as it is, over a frame that has nothing to drop.
unsafe extern "C-unwind" fn plan(
    query: *mut pg_sys::Query,
    text: *const c_char,
    options: c_int,
    parameters: pg_sys::ParamListInfo,
) -> *mut pg_sys::PlannedStmt {
    // SAFETY: PostgreSQL calls it as it calls its own planner, whose result is a tree of valid nodes that is ours to change.
    unsafe {
        let statement = match NEXT {
            Some(next) => next(query, text, options, parameters),
            None => standard_planner(query, text, options, parameters),
        };
        leave_out_distances(statement);
        statement
    }
}

/// # Safety
/// `statement` is a statement that was planned and is not yet in use.
#[pg_guard]
unsafe extern "C-unwind" fn leave_out_distances(statement: *mut pg_sys::PlannedStmt) {
    // SAFETY: as the caller promises.
    unsafe {
        visit((*statement).planTree);
        visit_all((*statement).subplans);
    }
}

/// # Safety
/// `plan` is a plan, or null.
unsafe fn visit(plan: *mut pg_sys::Plan) {
    if plan.is_null() {
        return;
    }
    // SAFETY: as the caller promises; the tag says what a node is.
    unsafe {
        pg_sys::check_stack_depth();
        match (*plan.cast::<pg_sys::Node>()).type_ {
            pg_sys::NodeTag::T_Limit => leave_out_distance(plan.cast()),
            pg_sys::NodeTag::T_SubqueryScan => visit((*plan.cast::<pg_sys::SubqueryScan>()).subplan),
            pg_sys::NodeTag::T_Append => visit_all((*plan.cast::<pg_sys::Append>()).appendplans),
            pg_sys::NodeTag::T_MergeAppend => visit_all((*plan.cast::<pg_sys::MergeAppend>()).mergeplans),
            pg_sys::NodeTag::T_CustomScan => visit_all((*plan.cast::<pg_sys::CustomScan>()).custom_plans),
            _ => {}
        }
        visit((*plan).lefttree);
        visit((*plan).righttree);
    }
}

/// # Safety
/// `plans` is a list of plans, or null.
unsafe fn visit_all(plans: *mut pg_sys::List) {
    // SAFETY: as the caller promises.
    unsafe {
        for plan in PgList::<pg_sys::Plan>::from_pg(plans).iter_ptr() {
            visit(plan);
        }
    }
}

/// Replaces the distance in a hidden column of a scan below a LIMIT.
///
/// # Safety
/// `limit` is a node of a plan.
unsafe fn leave_out_distance(limit: *mut pg_sys::Limit) {
    // SAFETY: as the caller promises; the tag says what a node is.
    unsafe {
        let below = (*limit).plan.lefttree;
        if (*limit).limitOption != pg_sys::LimitOption::LIMIT_OPTION_COUNT
            || below.is_null()
            || !is_a(below.cast(), pg_sys::NodeTag::T_IndexScan)
        {
            return;
        }
        let scan = below.cast::<pg_sys::IndexScan>();
        let orders = PgList::<pg_sys::Node>::from_pg((*scan).indexorderbyorig);
        let (Some(distance), 1) = (orders.get_ptr(0), orders.len()) else {
            return;
        };
        if !is_ours((*scan).indexid) {
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

/// # Safety
/// `index` is an index that the planner has locked.
unsafe fn is_ours(index: pg_sys::Oid) -> bool {
    // SAFETY: as the caller promises; an open index has its access method's functions.
    unsafe {
        let relation = pg_sys::index_open(index, pg_sys::NoLock as pg_sys::LOCKMODE);
        let next = (*(*relation).rd_indam).amgettuple;
        pg_sys::index_close(relation, pg_sys::NoLock as pg_sys::LOCKMODE);
        next.is_some_and(|next| ptr::fn_addr_eq(next, scan::amgettuple as Next))
    }
}

/// `amgettuple`.
type Next = unsafe extern "C-unwind" fn(pg_sys::IndexScanDesc, pg_sys::ScanDirection::Type) -> bool;
