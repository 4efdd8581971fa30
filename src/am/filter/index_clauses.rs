//! Index conditions of a path on filter columns, as the planner has them.

use pgrx::pg_sys::NodeTag;
use pgrx::{PgBox, PgList, is_a, pg_sys};

use super::Columns;
use super::classes::{Comparison, Domain, operator};
use super::set_statistics::SetStatistics;
use crate::compat;
use crate::filter::sets;
use crate::filter::values::Kind;

/// Adds conditions `column = ANY (array)` that PostgreSQL has left out. Up to version 16 it has no
/// such condition on a column behind the first one where an index makes an order, because the order
/// of a btree would be lost.
///
/// # Safety
/// `path` is a new path over one of our indexes, of the planner with this state.
pub unsafe fn add_any(root: *mut pg_sys::PlannerInfo, path: *mut pg_sys::IndexPath) {
    // SAFETY: as the caller promises; nodes are read by their tags.
    unsafe {
        let info = (*path).indexinfo;
        if (*info).nkeycolumns <= 1 {
            return;
        }
        for condition in PgList::<pg_sys::RestrictInfo>::from_pg((*info).indrestrictinfo).iter_ptr() {
            let clauses = PgList::<pg_sys::IndexClause>::from_pg((*path).indexclauses);
            if has(&*path, condition)
                || !is_a((*condition).clause.cast(), NodeTag::T_ScalarArrayOpExpr)
                || !pg_sys::restriction_is_securely_promotable(condition, (*info).rel)
            {
                continue;
            }
            let columns = 1..(*info).nkeycolumns;
            if let Some(column) = columns
                .into_iter()
                .find(|&column| is_any(root, condition, info, column))
            {
                // The list may be another path's too.
                let mut all = PgList::<pg_sys::IndexClause>::new();
                let mut rest = clauses.iter_ptr().peekable();
                while let Some(clause) = rest.next_if(|&clause| i32::from((*clause).indexcol) <= column) {
                    all.push(clause);
                }
                let mut quals = PgList::<pg_sys::RestrictInfo>::new();
                quals.push(condition);
                let mut clause = PgBox::<pg_sys::IndexClause>::alloc_node(NodeTag::T_IndexClause);
                clause.rinfo = condition;
                clause.indexquals = quals.into_pg();
                clause.indexcol = column as pg_sys::AttrNumber;
                all.push(clause.into_pg());
                rest.for_each(|clause| all.push(clause));
                (*path).indexclauses = all.into_pg();
            }
        }
    }
}

/// Whether a path has a condition of the table as one of the index.
///
/// # Safety
/// `path` is a path over an index of the planner.
pub unsafe fn has(path: &pg_sys::IndexPath, condition: *mut pg_sys::RestrictInfo) -> bool {
    // SAFETY: as the caller promises.
    let clauses = unsafe { PgList::<pg_sys::IndexClause>::from_pg(path.indexclauses) };
    // SAFETY: likewise, of its elements.
    clauses.iter_ptr().any(|clause| unsafe { (*clause).rinfo } == condition)
}

/// Whether a condition compares a column, numbered from 0, with the elements of an array by an
/// operator of the column's family: as PostgreSQL's match_saopclause_to_indexcol().
///
/// # Safety
/// `condition` is a `ScalarArrayOpExpr` on the table of the index that `info` describes.
unsafe fn is_any(
    root: *mut pg_sys::PlannerInfo,
    condition: *mut pg_sys::RestrictInfo,
    info: *mut pg_sys::IndexOptInfo,
    column: i32,
) -> bool {
    // SAFETY: as the caller promises; the arrays have an element for each column.
    unsafe {
        let clause = &*(*condition).clause.cast::<pg_sys::ScalarArrayOpExpr>();
        let arguments = PgList::<pg_sys::Node>::from_pg(clause.args);
        let (Some(left), Some(right), true) = (arguments.get_ptr(0), arguments.get_ptr(1), clause.useOr) else {
            return false;
        };
        let i = column as usize;
        let (family, collation) = (*(*info).opfamily.add(i), *(*info).indexcollations.add(i));
        pg_sys::match_index_to_operand(left, column, info)
            && !pg_sys::bms_is_member((*(*info).rel).relid as i32, pg_sys::pull_varnos(root, right))
            && !pg_sys::contain_volatile_functions(right)
            && (collation == pg_sys::InvalidOid || collation == clause.inputcollid)
            && pg_sys::op_in_opfamily(clause.opno, family)
    }
}

/// The conditions by which the index itself excludes rows.
///
/// # Safety
/// `path` is a path over an index with these columns.
pub unsafe fn narrowing(path: &pg_sys::IndexPath, columns: &Columns) -> *mut pg_sys::List {
    // SAFETY: as the caller promises; nodes are read by their tags.
    unsafe {
        let mut clauses = PgList::<pg_sys::IndexClause>::new();
        for clause in PgList::<pg_sys::IndexClause>::from_pg(path.indexclauses).iter_ptr() {
            let quals = PgList::<pg_sys::RestrictInfo>::from_pg((*clause).indexquals);
            let narrows = |qual: *mut pg_sys::RestrictInfo| narrows((*qual).clause.cast(), (*clause).indexcol, columns);
            if quals.iter_ptr().all(narrows) {
                clauses.push(clause);
            }
        }
        match clauses.is_empty() {
            true => std::ptr::null_mut(),
            false => pg_sys::get_quals_from_indexclauses(clauses.into_pg()),
        }
    }
}

/// The conditions on a filter column that has value lists.
pub struct Listed {
    column: pg_sys::AttrNumber,
    /// All of them.
    pub conditions: *mut pg_sys::List,
    /// Whether a range that they make has a lower end, and an upper one.
    ends: [bool; 2],
    /// Of arrays, the condition with the fewest lists.
    pub sets: Option<SetStatistics>,
}

impl Listed {
    /// The number of ends of a range that the conditions make; 0 of equalities.
    pub fn ends(&self) -> usize {
        self.ends.into_iter().filter(|&end| end).count()
    }
}

/// The conditions of each filter column whose value lists name the rows.
///
/// # Safety
/// As for [`narrowing`]; `root` is the planner's state.
pub unsafe fn listed(root: *mut pg_sys::PlannerInfo, path: &pg_sys::IndexPath, columns: &Columns) -> Vec<Listed> {
    // SAFETY: as the caller promises; nodes are read by their tags.
    unsafe {
        let mut all: Vec<Listed> = Vec::new();
        for clause in PgList::<pg_sys::IndexClause>::from_pg(path.indexclauses).iter_ptr() {
            let column = usize::try_from((*clause).indexcol)
                .ok()
                .and_then(|column| column.checked_sub(1));
            let kind = column.and_then(|column| columns.kinds().get(column).copied().flatten());
            let quals = PgList::<pg_sys::RestrictInfo>::from_pg((*clause).indexquals);
            let narrows = |qual: *mut pg_sys::RestrictInfo| narrows((*qual).clause.cast(), (*clause).indexcol, columns);
            let Some(kind) = kind.filter(|_| quals.iter_ptr().all(narrows)) else {
                continue;
            };
            let sets = match kind {
                Kind::Set => {
                    let all = quals.iter_ptr().map(|qual| sets_named(root, (*qual).clause.cast()));
                    // Other conditions on arrays have no lists.
                    match all.collect::<Option<Vec<_>>>() {
                        Some(all) => all.into_iter().min_by(|a, b| a.lists.total_cmp(&b.lists)),
                        None => continue,
                    }
                }
                _ => None,
            };
            // Clauses come in the order of columns.
            if all.last().is_none_or(|last| last.column != (*clause).indexcol) {
                all.push(Listed {
                    column: (*clause).indexcol,
                    conditions: std::ptr::null_mut(),
                    ends: [false; 2],
                    sets,
                });
            }
            let Some(of_column) = all.last_mut() else { continue };
            if let (Some(least), Some(sets)) = (&mut of_column.sets, sets)
                && sets.lists < least.lists
            {
                *least = sets;
            }
            for qual in quals.iter_ptr() {
                match comparison((*qual).clause.cast()) {
                    Some(Comparison::Greater | Comparison::GreaterOrEqual) => of_column.ends[0] = true,
                    Some(Comparison::Less | Comparison::LessOrEqual) => of_column.ends[1] = true,
                    _ => {}
                }
                of_column.conditions = pg_sys::lappend(of_column.conditions, qual.cast());
            }
        }
        all
    }
}

/// The lists that name the sets that a condition asks for, if any do: those of each element for
/// `&&`, and of the rarest one for `@>`.
///
/// # Safety
/// `root` is the planner's state, and `condition` an expression of its query.
unsafe fn sets_named(root: *mut pg_sys::PlannerInfo, condition: *mut pg_sys::Node) -> Option<SetStatistics> {
    // SAFETY: as the caller promises; nodes are read by their tags.
    unsafe {
        let comparison = comparison(condition)?;
        if !matches!(comparison, Comparison::Overlaps | Comparison::Contains) {
            return None;
        }
        let arguments = PgList::<pg_sys::Node>::from_pg((*condition.cast::<pg_sys::OpExpr>()).args);
        let lists = match comparison {
            Comparison::Overlaps => {
                compat::array_length(root, arguments.get_ptr(1)?).clamp(1.0, f64::from(sets::LISTS))
            }
            _ => 1.0,
        };
        Some(SetStatistics::of(root, arguments.get_ptr(0)?, lists))
    }
}

/// The comparison of an index condition.
///
/// # Safety
/// `condition` is an expression.
unsafe fn comparison(condition: *mut pg_sys::Node) -> Option<Comparison> {
    // SAFETY: as the caller promises; nodes are read by their tags, in a transaction.
    unsafe {
        if !is_a(condition, NodeTag::T_OpExpr) {
            return None;
        }
        let function = pg_sys::get_opcode((*condition.cast::<pg_sys::OpExpr>()).opno);
        operator(function).map(|(_, comparison)| comparison)
    }
}

/// # Safety
/// `condition` is an index condition on this column of an index, numbered from 0.
unsafe fn narrows(condition: *mut pg_sys::Node, column: pg_sys::AttrNumber, columns: &Columns) -> bool {
    let column = usize::try_from(column).ok().and_then(|column| column.checked_sub(1));
    let Some(column) = column.and_then(|column| columns.get(column)) else {
        return false;
    };
    // SAFETY: as the caller promises; nodes are read by their tags.
    let function = unsafe {
        match (*condition).type_ {
            NodeTag::T_NullTest => return true,
            NodeTag::T_OpExpr => (*condition.cast::<pg_sys::OpExpr>()).opno,
            NodeTag::T_ScalarArrayOpExpr => (*condition.cast::<pg_sys::ScalarArrayOpExpr>()).opno,
            _ => return false,
        }
    };
    // SAFETY: called in a transaction.
    let Some((operators, comparison)) = operator(unsafe { pg_sys::get_opcode(function) }) else {
        return false;
    };
    let is_ordered = !matches!(operators.domain, Domain::Text | Domain::Enum);
    operators.domain == column.class.domain && column.by_bytes && (is_ordered || comparison == Comparison::Equal)
}
