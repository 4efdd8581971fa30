//! The worth of PostgreSQL's estimate of the rows that conditions leave.
//!
//! A scan in order reads the more rows the fewer of them match, up to all: a wrong estimate costs a
//! scan of an index of vectors more than a scan that reads all rows that match.

use pgrx::{PgList, is_a, pg_sys};

/// Least share of the rows that a condition on an expression without statistics is assumed to
/// leave. PostgreSQL assumes a 200th for an equality; but a scan that soon finds its rows costs so
/// much less than that guess that the risk is worth it (chosen, not measured).
const UNKNOWN_SHARE: f64 = 0.1;

/// Parts of PostgreSQL's estimate that a comparison with an unknown value leaves, taken to be
/// equally likely: PostgreSQL assumes a third of the rows, which queries hardly ever mean by
/// `date > $1` (chosen, not measured).
const PARTS: [f64; 4] = [1.0, 0.1, 0.01, 0.001];

/// The worth of an estimate of the share of rows that a table's conditions leave.
pub(super) struct Guess {
    /// Factor by which the estimate is raised, because of conditions on expressions without
    /// statistics.
    factor: f64,
    /// Whether it depends on a value that is known when the query runs.
    is_open: bool,
}

impl Guess {
    /// That of the conditions of a table. A comparison that the scan itself tests, by `is_met`,
    /// leaves nothing open.
    ///
    /// # Safety
    /// `root` is the planner's state, and `table` its description of the table.
    pub(super) unsafe fn of(
        root: *mut pg_sys::PlannerInfo,
        table: &pg_sys::RelOptInfo,
        is_met: impl Fn(*mut pg_sys::RestrictInfo) -> bool,
    ) -> Guess {
        let mut guess = Guess {
            factor: 1.0,
            is_open: false,
        };
        // SAFETY: as the caller promises; nodes are read by their tags, statistics are released.
        unsafe {
            for condition in PgList::<pg_sys::RestrictInfo>::from_pg(table.baserestrictinfo).iter_ptr() {
                let Some(compared) = Compared::of(root, condition) else {
                    continue;
                };
                if compared.has_statistics {
                    guess.is_open |= compared.is_open(table) && !is_met(condition);
                } else if !is_a(compared.variable, pg_sys::NodeTag::T_Var) {
                    let join = pg_sys::JoinType::JOIN_INNER;
                    let share = pg_sys::clause_selectivity(root, condition.cast(), 0, join, std::ptr::null_mut());
                    guess.factor *= (UNKNOWN_SHARE / share.max(f64::MIN_POSITIVE)).max(1.0);
                }
            }
        }
        guess
    }

    /// Factor by which the estimate is raised.
    pub(super) fn factor(&self) -> f64 {
        self.factor
    }

    /// Whether the estimate depends on a value that is known only when the query runs.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// The mean of a cost that depends on the share left, where PostgreSQL's estimate is `share`.
    pub(super) fn mean(&self, share: f64, cost: impl Fn(f64) -> f64) -> f64 {
        let share = (share * self.factor).min(1.0);
        self.mean_of_parts(|part| cost(share * part))
    }

    /// The mean of a cost that depends on the part of PostgreSQL's estimate that is left.
    pub(super) fn mean_of_parts(&self, cost: impl Fn(f64) -> f64) -> f64 {
        match self.is_open {
            true => PARTS.into_iter().map(cost).sum::<f64>() / PARTS.len() as f64,
            false => cost(1.0),
        }
    }
}

/// A condition that compares an expression of the table with another value.
struct Compared {
    operator: pg_sys::Oid,
    variable: *mut pg_sys::Node,
    value: *mut pg_sys::Node,
    has_statistics: bool,
}

impl Compared {
    /// # Safety
    /// `root` is the planner's state, and the condition one of a table's.
    unsafe fn of(root: *mut pg_sys::PlannerInfo, condition: *mut pg_sys::RestrictInfo) -> Option<Compared> {
        // SAFETY: as the caller promises; nodes are read by their tags, statistics are released.
        unsafe {
            let clause = (*condition).clause.cast::<pg_sys::OpExpr>();
            if !is_a(clause.cast(), pg_sys::NodeTag::T_OpExpr) {
                return None;
            }
            let mut variable = pg_sys::VariableStatData::default();
            let (mut value, mut is_left) = (std::ptr::null_mut(), false);
            if !pg_sys::get_restriction_variable(root, (*clause).args, 0, &mut variable, &mut value, &mut is_left) {
                return None;
            }
            let has_statistics = !variable.statsTuple.is_null();
            if let (true, Some(release)) = (has_statistics, variable.freefunc) {
                release(variable.statsTuple);
            }
            Some(Compared {
                operator: (*clause).opno,
                variable: variable.var,
                value,
                has_statistics,
            })
        }
    }

    /// Whether it compares by order with a value that is not known yet, and another index of the
    /// table answers it: PostgreSQL's estimate is the same for all values (`scalarineqsel` in
    /// `utils/adt/selfuncs.c`), and another plan is better for some of them.
    ///
    /// # Safety
    /// The table is that of the condition.
    unsafe fn is_open(&self, table: &pg_sys::RelOptInfo) -> bool {
        const BY_ORDER: [u32; 4] = [
            pg_sys::F_SCALARLTSEL,
            pg_sys::F_SCALARLESEL,
            pg_sys::F_SCALARGTSEL,
            pg_sys::F_SCALARGESEL,
        ];
        // SAFETY: as the caller promises; nodes are read by their tags.
        unsafe {
            if is_a(self.value, pg_sys::NodeTag::T_Const)
                || !is_a(self.variable, pg_sys::NodeTag::T_Var)
                || !BY_ORDER.contains(&pg_sys::get_oprrest(self.operator).to_u32())
            {
                return false;
            }
            let column = i32::from((*self.variable.cast::<pg_sys::Var>()).varattno);
            PgList::<pg_sys::IndexOptInfo>::from_pg(table.indexlist)
                .iter_ptr()
                .any(|index| (*index).amhasgetbitmap && *(*index).indexkeys == column)
        }
    }
}
