//! Lines of EXPLAIN (ANALYZE) on the work of an index scan, from PostgreSQL 18 on.

use std::ffi::{CStr, c_char};

use pgrx::{is_a, pg_guard, pg_sys};

use super::{is_ours, scan};
use crate::compat::{self, ExplainNode};

static mut NEXT: Option<ExplainNode> = None;

/// Installs the hook.
pub fn register() {
    let Some(hook) = compat::explain_node_hook() else {
        return;
    };
    // SAFETY: PostgreSQL loads a library in a process of one thread, and the hook is a variable of
    // the server.
    unsafe { NEXT = (*hook).replace(explain) };
}

#[pg_guard]
unsafe extern "C-unwind" fn explain(
    state: *mut pg_sys::PlanState,
    ancestors: *mut pg_sys::List,
    relationship: *const c_char,
    plan_name: *const c_char,
    output: *mut pg_sys::ExplainState,
) {
    // SAFETY: PostgreSQL passes a node of a plan that was executed if `analyze` is set, and is
    // still open.
    unsafe {
        if let Some(next) = NEXT {
            pg_sys::ffi::pg_guard_ffi_boundary(|| next(state, ancestors, relationship, plan_name, output));
        }
        if !(*output).analyze || !is_a(state.cast(), pg_sys::NodeTag::T_IndexScanState) {
            return;
        }
        let descriptor = (*state.cast::<pg_sys::IndexScanState>()).iss_ScanDesc;
        if descriptor.is_null() || !is_ours((*descriptor).indexRelation) {
            return;
        }
        lines(descriptor, output);
    }
}

/// Lines on the work of a scan.
///
/// # Safety
/// `descriptor` is one of ours, and `output` the output of EXPLAIN.
pub unsafe fn lines(descriptor: pg_sys::IndexScanDesc, output: *mut pg_sys::ExplainState) {
    // SAFETY: as the caller promises.
    unsafe {
        let counts = scan::counts(descriptor);
        let line = |label: &CStr, value: u64| {
            pg_sys::ExplainPropertyInteger(label.as_ptr(), std::ptr::null(), value as i64, output);
        };
        let aim = scan::aim_of(descriptor);
        if aim.width > 0 {
            line(c"Search Width", aim.width as u64);
        }
        if let Some(target) = aim.target {
            pg_sys::ExplainPropertyFloat(c"Target Recall".as_ptr(), std::ptr::null(), target, 4, output);
        }
        line(c"Nodes Visited", counts.visited);
        if counts.estimates > 0 {
            line(c"Distances Estimated", counts.estimates);
        }
        line(c"Index Pages Read", counts.pages);
        if counts.passes > 0 {
            line(c"Complete Passes", counts.passes);
        }
        if counts.overflows > 0 {
            line(c"Vector Tails Read", counts.overflows);
        }
        if counts.dead_rows > 0 {
            line(c"Dead Rows Skipped", counts.dead_rows);
        }
    }
}
