//! The node's lines in EXPLAIN.

use std::ffi::CStr;
use std::ptr;

use pgrx::{PgList, pg_guard, pg_sys};

use super::state::State;
use crate::am::bitmap_node::Children;
use crate::am::{explain, scan};

/// Index and order; with ANALYZE the ways that were taken, and their work.
#[pg_guard]
pub unsafe extern "C-unwind" fn explain(
    custom: *mut pg_sys::CustomScanState,
    ancestors: *mut pg_sys::List,
    output: *mut pg_sys::ExplainState,
) {
    // SAFETY: PostgreSQL passes a state of ours that has begun, and the output of EXPLAIN.
    unsafe {
        let state = &*custom.cast::<State>();
        let Some(Children { index, .. }) = Children::of(state.custom.ss.ps.plan) else {
            return;
        };
        let mut name = pg_sys::get_rel_name((*index).indexid).cast_const();
        if !name.is_null() {
            if (*output).format == pg_sys::ExplainFormat::EXPLAIN_FORMAT_TEXT {
                name = pg_sys::quote_identifier(name);
            }
            pg_sys::ExplainPropertyText(c"Index".as_ptr(), name, output);
        }
        if let Some(order) = PgList::<pg_sys::Node>::from_pg((*index).indexorderbyorig).get_ptr(0) {
            let context = pg_sys::set_deparse_context_plan((*output).deparse_cxt, index.cast(), ancestors);
            let has_prefix = PgList::<pg_sys::Node>::from_pg((*output).rtable).len() > 1 || (*output).verbose;
            let order = pg_sys::deparse_expression(order, context, has_prefix, false);
            pg_sys::ExplainPropertyText(c"Order By".as_ptr(), order, output);
        }
        if !(*output).analyze || state.work.is_null() {
            return;
        }
        let counts = (*state.work).counts;
        let is_text = (*output).format == pg_sys::ExplainFormat::EXPLAIN_FORMAT_TEXT;
        let line = |label: &CStr, value: u64| {
            if value > 0 || !is_text {
                pg_sys::ExplainPropertyInteger(label.as_ptr(), ptr::null(), value as i64, output);
            }
        };
        line(c"Exact Searches", counts.exact);
        line(c"Graph Searches", counts.graph);
        line(c"Bitmap Rows", counts.rows);
        line(c"Lossy Bitmap Pages", counts.whole_blocks);
        let descriptor = (*state.index).iss_ScanDesc;
        if !descriptor.is_null() {
            line(c"Index Rows Passed Over", scan::passed_over(descriptor));
            explain::lines(descriptor, output);
        }
    }
}
