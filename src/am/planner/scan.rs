//! Annotations of a scan of one of our indexes: the order in which its rows are to come, their
//! likely number, and the bound of their distance.

use pgrx::{IntoDatum, PgBox, PgList, is_a, pg_sys};

use super::condition::Conditions;
use super::need::{Given, Need};
use super::rows_of_ours;
use crate::am::radius_key::{Mode, Program, rows_read};
use crate::storage::calibration::{KS, USUAL};

/// Marks an annotated scan, in the place for the position of the operator in the query's text,
/// which nobody reads once there is a plan.
const ANNOTATED: i32 = i32::MIN;

/// Most rows that are taken to be read of a scan for each row that conditions leave: PostgreSQL
/// knows little of some conditions, and scans under conditions that fewer rows meet often end as
/// passes, which miss nothing.
const MOST_READ: f64 = 10.0;

/// Puts the annotations into the place of the value to search for (`am::radius_key`), unless the
/// scan has them already or they would not change it.
///
/// # Safety
/// `scan` is a node of a plan, `need` is the need of the `filter`, which is the node itself or the
/// one that leaves some of its rows, and new nodes are allocated where the plan is.
pub unsafe fn annotate(scan: *mut pg_sys::IndexScan, need: Need, filter: *mut pg_sys::Plan) {
    // SAFETY: as the caller promises; nodes are read by their tags.
    unsafe {
        let (written, executed) = (only((*scan).indexorderbyorig), only((*scan).indexorderby));
        let (Some(written), Some(executed)) = (written, executed) else {
            return;
        };
        if !is_a(executed, pg_sys::NodeTag::T_OpExpr) {
            return;
        }
        let executed = executed.cast::<pg_sys::OpExpr>();
        let mut operands = PgList::<pg_sys::Node>::from_pg((*executed).args);
        let (Some(value), 2) = (operands.get_ptr(1), operands.len()) else {
            return;
        };
        // A plan that was read from its text, for a parallel worker, has no such positions.
        if (*executed).location == ANNOTATED || is_a(value, pg_sys::NodeTag::T_ArrayExpr) {
            return;
        }
        let Some(held) = rows_of_ours((*scan).indexid) else {
            return;
        };
        (*executed).location = ANNOTATED;
        let all = PgList::<pg_sys::Node>::from_pg((*filter).qual);
        let is_filtered = !all.is_empty() || !(*scan).indexqual.is_null();
        let Some(mut conditions) = Conditions::of(written) else {
            return;
        };
        for condition in all.iter_ptr() {
            conditions.add(condition);
        }
        let mode = need.mode(!conditions.is_empty(), is_filtered);
        let wanted = need.rows();
        let mut operand = |part: fn(Given) -> Option<*mut pg_sys::Node>| conditions.operand(wanted.and_then(part)?);
        let (limit, offset) = (operand(|wanted| wanted.limit), operand(|wanted| wanted.offset));
        // A search knows conditions on filter columns and distances. The share of the rows that
        // other conditions leave is known only without them.
        let is_refused = !all.is_empty() || !std::ptr::eq(filter.cast(), scan);
        let refuses = is_refused && conditions.is_empty() && (*scan).indexqual.is_null();
        let read = match refuses {
            true => (held / (*filter).plan_rows.max(1.0)).clamp(1.0, MOST_READ),
            false => 1.0,
        };
        let known = wanted.map_or(0.0, |wanted| wanted.known);
        let program = Program {
            mode,
            limit,
            offset,
            known: known as f32,
            read: read as f32,
            share: need.share as f32,
        };
        let is_given = limit.is_some() || offset.is_some();
        let are_more = rows_read(known, read).round() > KS[USUAL] as f64;
        if mode != Mode::Fast || is_given || !conditions.is_empty() || are_more {
            operands.replace_ptr(1, annotated(value, program, &conditions));
        }
    }
}

/// `ARRAY[ROW(value, program, operand, ..)]`.
unsafe fn annotated(value: *mut pg_sys::Node, program: Program, conditions: &Conditions) -> *mut pg_sys::Node {
    // SAFETY: the nodes are complete before anybody sees them.
    unsafe {
        let mut program = program.head().to_vec();
        program.extend(&conditions.program);
        let program = program.into_datum().unwrap_or(pg_sys::Datum::null());
        let program = pg_sys::makeConst(pg_sys::BYTEAOID, -1, pg_sys::InvalidOid, -1, program, false, false);
        let mut fields = PgList::<pg_sys::Node>::new();
        fields.push(value);
        fields.push(program.cast());
        for operand in &conditions.operands {
            fields.push(pg_sys::copyObjectImpl((*operand).cast()).cast());
        }
        let mut row = PgBox::<pg_sys::RowExpr>::alloc_node(pg_sys::NodeTag::T_RowExpr);
        row.args = fields.into_pg();
        row.row_typeid = pg_sys::RECORDOID;
        row.row_format = pg_sys::CoercionForm::COERCE_EXPLICIT_CALL;
        row.location = -1;
        let mut elements = PgList::<pg_sys::Node>::new();
        elements.push(row.into_pg().cast());
        let mut array = PgBox::<pg_sys::ArrayExpr>::alloc_node(pg_sys::NodeTag::T_ArrayExpr);
        array.array_typeid = pg_sys::RECORDARRAYOID;
        array.element_typeid = pg_sys::RECORDOID;
        array.elements = elements.into_pg();
        array.location = -1;
        array.into_pg().cast()
    }
}

/// The only node of a list.
unsafe fn only(list: *mut pg_sys::List) -> Option<*mut pg_sys::Node> {
    // SAFETY: the caller has a list of nodes, or null.
    let nodes = unsafe { PgList::<pg_sys::Node>::from_pg(list) };
    nodes.get_ptr(0).filter(|_| nodes.len() == 1)
}
