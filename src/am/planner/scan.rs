//! Annotations of a scan of one of our indexes: the order in which its rows are to come, and the
//! bound of their distance.

use pgrx::{IntoDatum, PgBox, PgList, is_a, pg_sys};

use super::condition::Conditions;
use super::is_ours;
use super::need::Need;
use crate::am::radius_key::Mode;

/// Marks an annotated scan, in the place for the position of the operator in the query's text,
/// which nobody reads once there is a plan.
const ANNOTATED: i32 = i32::MIN;

/// Puts the annotations into the place of the value to search for (`am::radius_key`), unless the
/// scan has them already or they would not change it.
///
/// # Safety
/// `scan` is a node of a plan, `need` is the need of that node, its rows have to meet the
/// `conditions` (`qual` of a node), and new nodes are allocated where the plan is.
pub unsafe fn annotate(scan: *mut pg_sys::IndexScan, need: Need, conditions: *mut pg_sys::List) {
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
        if (*executed).location == ANNOTATED || is_a(value, pg_sys::NodeTag::T_ArrayExpr) || !is_ours((*scan).indexid) {
            return;
        }
        (*executed).location = ANNOTATED;
        let is_filtered = !conditions.is_null() || !(*scan).indexqual.is_null();
        let all = PgList::<pg_sys::Node>::from_pg(conditions);
        let Some(mut conditions) = Conditions::of(written) else {
            return;
        };
        for condition in all.iter_ptr() {
            conditions.add(condition);
        }
        let mode = need.mode(!conditions.is_empty(), is_filtered);
        let limit = need.limit().and_then(|limit| conditions.operand(limit));
        if mode != Mode::Fast || limit.is_some() || !conditions.is_empty() {
            operands.replace_ptr(1, annotated(value, mode, limit, &conditions));
        }
    }
}

/// `ARRAY[ROW(value, program, operand, ..)]`.
unsafe fn annotated(
    value: *mut pg_sys::Node,
    mode: Mode,
    limit: Option<u8>,
    conditions: &Conditions,
) -> *mut pg_sys::Node {
    // SAFETY: the nodes are complete before anybody sees them.
    unsafe {
        let mut program = vec![mode as u8, limit.map_or(0, |limit| limit + 1)];
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
