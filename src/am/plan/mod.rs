//! What is changed in a plan behind PostgreSQL's planner, for scans of our indexes:
//!
//! - `distance`: a distance that is computed for nothing is left out;
//! - `radius`: a scan that a condition bounds by a distance ends there.

mod distance;
mod radius;

use std::ffi::{c_char, c_int};

use pgrx::{PgList, pg_guard, pg_sys};

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
        change(statement);
        statement
    }
}

/// # Safety
/// `statement` is a statement that was planned and is not yet in use.
#[pg_guard]
unsafe extern "C-unwind" fn change(statement: *mut pg_sys::PlannedStmt) {
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
            pg_sys::NodeTag::T_Limit => distance::leave_out(plan.cast()),
            pg_sys::NodeTag::T_IndexScan => radius::bound(plan.cast()),
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

/// # Safety
/// `index` is an index that the planner has locked.
unsafe fn is_ours(index: pg_sys::Oid) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        let lock = pg_sys::NoLock as pg_sys::LOCKMODE;
        let relation = pg_sys::index_open(index, lock);
        let ours = super::is_ours(relation);
        pg_sys::index_close(relation, lock);
        ours
    }
}
