//! A scan that ends at a radius.
//!
//! ```text
//! SELECT .. WHERE embedding <-> $1 < 0.5 ORDER BY embedding <-> $1
//! ```
//!
//! PostgreSQL sees a condition on a number, which the index knows nothing of: the scan would go on, with every row refused, until a bound ends
//! it. So what the scan is to be ordered by the distance from, `$1`, becomes `hnsw_within($1, 0.5)`: a value with a radius, which `am::within` makes and
//! takes apart. The condition stays, and decides.

use pgrx::{PgList, is_a, pg_sys};

use super::is_ours;
use crate::am::within;

/// PostgreSQL's operators `<`, `<=`, `>`, `>=` of two `double precision` (`pg_operator.dat`).
const LESS: [u32; 2] = [672, 673];
const GREATER: [u32; 2] = [674, 675];

/// Lets a scan of one of our indexes end at the radius that a condition gives, if one does.
///
/// # Safety
/// `scan` is a node of a plan.
pub unsafe fn bound(scan: *mut pg_sys::IndexScan) {
    // SAFETY: as the caller promises; the tag says what a node is.
    unsafe {
        let conditions = PgList::<pg_sys::Node>::from_pg((*scan).scan.plan.qual);
        let (written, executed) = (only(((*scan).indexorderbyorig).cast()), only((*scan).indexorderby));
        let (Some(written), Some(executed)) = (written, executed) else {
            return;
        };
        let radius = conditions.iter_ptr().find_map(|condition| radius(condition, written));
        let Some(radius) = radius else { return };
        if !is_ours((*scan).indexid) || !is_a(executed, pg_sys::NodeTag::T_OpExpr) {
            return;
        }
        let arguments = PgList::<pg_sys::Node>::from_pg((*executed.cast::<pg_sys::OpExpr>()).args);
        let (Some(column), Some(value), 2) = (arguments.get_ptr(0), arguments.get_ptr(1), arguments.len()) else {
            return;
        };
        let function = within::function((*scan).indexid);
        if function == pg_sys::InvalidOid {
            return;
        }
        let mut pair = PgList::<pg_sys::Node>::new();
        pair.push(value);
        pair.push(pg_sys::copyObjectImpl(radius.cast()).cast());
        let value = pg_sys::makeFuncExpr(
            function,
            pg_sys::exprType(value),
            pair.into_pg(),
            pg_sys::InvalidOid,
            pg_sys::InvalidOid,
            pg_sys::CoercionForm::COERCE_EXPLICIT_CALL,
        );
        let mut bounded = PgList::<pg_sys::Node>::new();
        bounded.push(column);
        bounded.push(value.cast());
        (*executed.cast::<pg_sys::OpExpr>()).args = bounded.into_pg();
    }
}

/// The only node of a list.
unsafe fn only(list: *mut pg_sys::List) -> Option<*mut pg_sys::Node> {
    // SAFETY: the caller has a list of nodes, or null.
    let nodes = unsafe { PgList::<pg_sys::Node>::from_pg(list) };
    nodes.get_ptr(0).filter(|_| nodes.len() == 1)
}

/// The radius, if a condition is that the distance is below one which is the same for all rows.
///
/// # Safety
/// Both are expressions.
unsafe fn radius(condition: *mut pg_sys::Node, distance: *mut pg_sys::Node) -> Option<*mut pg_sys::Node> {
    // SAFETY: as the caller promises; the tag says what a node is.
    unsafe {
        if !is_a(condition, pg_sys::NodeTag::T_OpExpr) {
            return None;
        }
        let comparison = condition.cast::<pg_sys::OpExpr>();
        let operands = PgList::<pg_sys::Node>::from_pg((*comparison).args);
        let (left, right) = (operands.get_ptr(0)?, operands.get_ptr(1)?);
        let operator = u32::from((*comparison).opno);
        let (measured, radius) = match operator {
            _ if LESS.contains(&operator) => (left, right),
            _ if GREATER.contains(&operator) => (right, left),
            _ => return None,
        };
        let is_fixed = !pg_sys::contain_var_clause(radius)
            && !pg_sys::contain_subplans(radius)
            && !pg_sys::contain_volatile_functions(radius);
        (is_fixed && pg_sys::equal(measured.cast(), distance.cast())).then_some(radius)
    }
}
