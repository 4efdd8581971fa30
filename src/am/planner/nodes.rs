//! Needs of the nodes of a plan, visited from the top.
//!
//! A node directly below a LIMIT, or a node that only passes its rows on to one, is read in part,
//! and its order is shown to the user or bounds the rows: an order within the precision of stored
//! vectors suffices. A node that compares adjacent rows (Unique, Group, Merge Join) gives wrong
//! results if one is out of order. A scan that is read to its end needs no graph.

use std::ffi::CStr;

use pgrx::PgList;
use pgrx::pg_sys::{self, NodeTag};

use super::condition::{call, is_safe, without_relabelling};
use super::need::{Given, Need, Number, Order, Reading};
use super::{distance, scan, window};
use crate::am::bitmap_node::Children;

/// Visits the plans of a statement from the top.
///
/// # Safety
/// `statement` is a statement that was planned and is not yet in use; new nodes are allocated where
/// it is.
pub unsafe fn visit(statement: *mut pg_sys::PlannedStmt, top: Need) {
    // SAFETY: as the caller promises.
    unsafe {
        let subplans = PgList::<pg_sys::Plan>::from_pg((*statement).subplans);
        let mut visitor = Visitor {
            orders: vec![Order::Shown; subplans.len()],
        };
        visitor.visit((*statement).planTree, top);
        // Sub-plans stand behind the sub-plans that they read.
        for number in (0..subplans.len()).rev() {
            if let Some(plan) = subplans.get_ptr(number) {
                let need = Need::ALL.at_least(visitor.orders[number]);
                visitor.visit(plan, need);
            }
        }
    }
}

struct Visitor {
    /// For each sub-plan, how much its order matters to the nodes visited so far.
    orders: Vec<Order>,
}

impl Visitor {
    /// # Safety
    /// `plan` is a plan, or null.
    unsafe fn visit(&mut self, plan: *mut pg_sys::Plan, need: Need) {
        if plan.is_null() {
            return;
        }
        // SAFETY: as the caller promises; nodes are read by their tags.
        unsafe {
            pg_sys::check_stack_depth();
            let (left, right) = match (*plan.cast::<pg_sys::Node>()).type_ {
                NodeTag::T_IndexScan => {
                    scan::annotate(plan.cast(), need, plan);
                    (need, need)
                }
                NodeTag::T_Limit => {
                    distance::leave_out(plan.cast());
                    (below_limit(plan.cast(), need), Need::ALL)
                }
                // These nodes pass rows on.
                NodeTag::T_Result
                | NodeTag::T_LockRows
                | NodeTag::T_Material
                | NodeTag::T_Memoize
                | NodeTag::T_Gather
                | NodeTag::T_GatherMerge => (need, need),
                // Of each row come any number.
                NodeTag::T_ProjectSet => (need.of_share(0.0), need),
                NodeTag::T_SubqueryScan => {
                    let need = match (*plan).qual.is_null() {
                        true => need,
                        false => need.filtered(),
                    };
                    self.visit((*plan.cast::<pg_sys::SubqueryScan>()).subplan, need);
                    (need, need)
                }
                NodeTag::T_Append => {
                    self.visit_all((*plan.cast::<pg_sys::Append>()).appendplans, need);
                    (need, need)
                }
                NodeTag::T_MergeAppend => {
                    let plans = (*plan.cast::<pg_sys::MergeAppend>()).mergeplans;
                    let parts = PgList::<pg_sys::Plan>::from_pg(plans).len().max(1);
                    let need = need.at_least(Order::Merged).of_share(1.0 / parts as f64);
                    self.visit_all(plans, need);
                    (need, need)
                }
                NodeTag::T_CustomScan if let Some(Children { index, .. }) = Children::of(plan) => {
                    scan::annotate(index, need, plan);
                    (need, need)
                }
                // The use that such a node makes of rows is unknown.
                NodeTag::T_CustomScan => {
                    let need = need.filtered().at_least(Order::Compared).of_share(0.0);
                    self.visit_all((*plan.cast::<pg_sys::CustomScan>()).custom_plans, need);
                    (need, need)
                }
                // For each row of one input, all rows of the other are read.
                NodeTag::T_NestLoop | NodeTag::T_HashJoin => {
                    let outer = (*plan).lefttree.as_ref().map_or(0.0, |outer| outer.plan_rows);
                    let share = (outer / (*plan).plan_rows.max(1.0)).min(1.0);
                    (need.filtered().of_share(share), Need::ALL)
                }
                NodeTag::T_MergeJoin | NodeTag::T_Unique | NodeTag::T_Group | NodeTag::T_SetOp => {
                    let need = need.at_least(Order::ReliedOn);
                    (need, need)
                }
                NodeTag::T_Agg => match (*plan.cast::<pg_sys::Agg>()).aggstrategy {
                    pg_sys::AggStrategy::AGG_SORTED => (need.at_least(Order::ReliedOn), Need::ALL),
                    _ => (Need::ALL, Need::ALL),
                },
                NodeTag::T_IncrementalSort => (need.at_least(Order::Compared), Need::ALL),
                NodeTag::T_WindowAgg => (need.counted(window::reads_all(plan.cast())), Need::ALL),
                NodeTag::T_CteScan => {
                    let number = (*plan.cast::<pg_sys::CteScan>()).ctePlanId as usize;
                    if let Some(order) = number.checked_sub(1).and_then(|number| self.orders.get_mut(number)) {
                        *order = need.order.max(*order);
                    }
                    (need, need)
                }
                // Sort, Hash, ModifyTable and others read all rows before they go on.
                _ => (Need::ALL, Need::ALL),
            };
            self.visit((*plan).lefttree, left);
            self.visit((*plan).righttree, right);
        }
    }

    /// # Safety
    /// `plans` is a list of plans, or null.
    unsafe fn visit_all(&mut self, plans: *mut pg_sys::List, need: Need) {
        // SAFETY: as the caller promises.
        unsafe {
            for plan in PgList::<pg_sys::Plan>::from_pg(plans).iter_ptr() {
                self.visit(plan, need);
            }
        }
    }
}

/// Need of the node below a LIMIT.
unsafe fn below_limit(limit: *mut pg_sys::Limit, need: Need) -> Need {
    // SAFETY: the caller has a node of a plan.
    unsafe {
        let rows = (*(*limit).plan.lefttree).plan_rows;
        let reading = match count((*limit).limitCount) {
            Count::All => need.reading,
            Count::Rows(_) if is_minimum((*limit).plan.targetlist) => Reading::All,
            Count::Unknown(None) => Reading::Some(Number::Unknown),
            Count::Unknown(wanted) => {
                let (known, offset) = count((*limit).limitOffset).sum(0.0);
                let limit = wanted;
                Reading::Some(Number::Given(Given { known, limit, offset }))
            }
            Count::Rows(wanted) => match count((*limit).limitOffset).sum(wanted) {
                (known, None) if known >= rows => Reading::AllByEstimate,
                (known, None) => Reading::Some(Number::Known(known)),
                (known, offset) => {
                    let limit = None;
                    Reading::Some(Number::Given(Given { known, limit, offset }))
                }
            },
        };
        let ends = matches!(reading, Reading::Some(_)) && !matches!(count((*limit).limitCount), Count::All);
        let need = Need {
            reading,
            may_end: !ends,
            // A node above that reads a part of the rows leaves it open how many of them.
            share: match need.reading {
                Reading::All | Reading::AllByEstimate => 1.0,
                Reading::Some(_) => 0.0,
            },
            ..need
        };
        match (*limit).limitOption {
            pg_sys::LimitOption::LIMIT_OPTION_WITH_TIES => need.at_least(Order::Compared),
            _ => need,
        }
    }
}

/// Whether the column of a query or a plan is PostgreSQL's form of `min()`, which is ORDER BY with
/// LIMIT 1. The user did not write that ORDER BY, so an approximate row does not suffice.
///
/// # Safety
/// `columns` is a list of a query's or a plan's columns, or null.
pub unsafe fn is_minimum(columns: *mut pg_sys::List) -> bool {
    // SAFETY: as the caller promises; a column's name is a string, if it has one.
    unsafe {
        let columns = PgList::<pg_sys::TargetEntry>::from_pg(columns);
        let name = columns
            .get_ptr(0)
            .map_or(std::ptr::null_mut(), |column| (*column).resname);
        columns.len() == 1 && !name.is_null() && CStr::from_ptr(name) == c"agg_target"
    }
}

/// Number of rows of a LIMIT or OFFSET.
enum Count {
    /// No number is given.
    All,
    Rows(f64),
    /// Known when the statement runs; with the expression, if it can be evaluated early.
    Unknown(Option<*mut pg_sys::Node>),
}

impl Count {
    /// The sum of the count of an OFFSET and a number, and the expression that is to be added.
    fn sum(self, number: f64) -> (f64, Option<*mut pg_sys::Node>) {
        match self {
            Count::Rows(offset) => (number + offset, None),
            Count::Unknown(offset) => (number, offset),
            Count::All => (number, None),
        }
    }
}

unsafe fn count(node: *mut pg_sys::Node) -> Count {
    // SAFETY: the caller has an expression of type bigint, or null.
    unsafe {
        if node.is_null() {
            return Count::All;
        }
        let mut inner = without_relabelling(node);
        if let Some((function, arguments)) = call(inner)
            && u32::from(function) == pg_sys::F_INT8_INT4
            && let [argument] = arguments[..]
        {
            inner = without_relabelling(argument);
        }
        if (*inner).type_ == NodeTag::T_Const && inner == node {
            let constant = &*inner.cast::<pg_sys::Const>();
            return match constant.constisnull {
                true => Count::All,
                false => Count::Rows(constant.constvalue.value() as i64 as f64),
            };
        }
        let is_integer = matches!(pg_sys::exprType(inner), pg_sys::INT8OID | pg_sys::INT4OID);
        Count::Unknown((is_integer && is_safe(inner)).then_some(inner))
    }
}
