//! The cost of a scan that a bitmap filters (`am::bitmap_scan`), by each of its two ways.
//!
//! A scan along the graph returns as many rows of the index as one that tests each row in the
//! table, but reads only the rows of the bitmap there. The other way reads all rows of the bitmap,
//! as PostgreSQL's bitmap scan does, and sorts them. The cost of the one grows with the rows of the
//! bitmap, and that of the other falls: there is a number of rows up to which reading all is
//! cheaper, and the scan goes by it when it knows the bitmap.

use pgrx::pg_sys::NodeTag;
use pgrx::{PgList, pg_sys};

use super::guess::Guess;
use super::{NUMBERS_PER_OPERATOR, Opened, Shares, Wanted, costs, opened, wanted};
use crate::am::filter::index_clauses;

/// Fixed cost of the node and its index scan, in cpu_operator_cost.
const SETUP_OPERATORS: f64 = 400.0;

/// Cost of a comparison when distances are sorted, in cpu_operator_cost: PostgreSQL counts two for
/// its own, which calls a function for whole rows.
const OPERATORS_PER_COMPARISON: f64 = 0.2;

/// Cost of a row of the bitmap that becomes one of a set, in cpu_operator_cost.
const OPERATORS_PER_MEMBER: f64 = 0.1;

/// Cost of reading a row of the bitmap from a page in memory and computing its distance, in
/// cpu_operator_cost: a constant part, a part for each 32 numbers as for a visit, and a part for
/// each lookup of a vector that is stored out of line (measured: 0.6 us of 150,000 rows of 64
/// dimensions, where a row beyond the first round takes 19 us; 2.1 us of 10,000 rows of 800
/// dimensions, two lookups each, where a row beyond the first round takes 45 us).
const OPERATORS_PER_READ: f64 = 45.0;
const OPERATORS_PER_LOOKUP: f64 = 30.0;

/// Bytes up to which a row is stored in line, and bytes of a lookup.
const BYTES_PER_LOOKUP: f64 = 2000.0;

/// Costs of a scan that a bitmap filters.
pub struct BitmapCosts {
    pub startup: f64,
    pub total: f64,
    /// Number of rows of the bitmap up to which they are read and sorted.
    pub exact_rows: f64,
}

/// Costs of a scan of one of our indexes that the bitmap of a scan of the table filters; none for a
/// query that wants all rows, which PostgreSQL's plans read only once.
///
/// # Safety
/// `root` is the planner's state, and the paths belong to the same table.
pub unsafe fn with_bitmap(
    root: *mut pg_sys::PlannerInfo,
    index: *mut pg_sys::IndexPath,
    heap: *mut pg_sys::BitmapHeapPath,
) -> Option<BitmapCosts> {
    // SAFETY: as the caller promises; settings are read in a backend's only thread.
    unsafe {
        let info = &*(*index).indexinfo;
        let table = &*info.rel;
        let opened = opened(info);
        let costs = costs(root, info, &opened, Shares::ALL);
        let Opened {
            numbers,
            is_first_round,
            ..
        } = opened;
        let (mut bitmap, mut share) = (0.0, 0.0);
        pg_sys::cost_bitmap_tree_node((*heap).bitmapqual, &mut bitmap, &mut share);
        let mut distance = pg_sys::QualCost::default();
        if let Some(order) = PgList::<pg_sys::Node>::from_pg((*index).indexorderbys).get_ptr(0) {
            pg_sys::cost_qual_eval_node(&mut distance, order, root);
        }
        let operator = pg_sys::cpu_operator_cost;

        let nodes = info.tuples.max(1.0);
        // Rows of the bitmap, and the share of them that other conditions leave.
        let named = (share * table.tuples).max(1.0);
        let left = (table.rows / named).clamp(f64::MIN_POSITIVE, 1.0);
        let (planned, likely) = match wanted(root, table.rows) {
            Wanted::All => return None,
            Wanted::Rows { planned, likely } => (planned, likely),
            Wanted::Some(rows) => (rows, rows),
        };
        // PostgreSQL's cost of a row that the index returns: page of the table, tuple, conditions.
        let returned = ((*index).indexselectivity * table.tuples).max(1.0);
        let table_row = ((*index).path.total_cost - (*index).indextotalcost).max(0.0) / returned;
        // Costs of rows after the first round, with as many rows in the bitmap, of which other
        // conditions leave a share.
        let along_graph = |named: f64, left: f64| {
            let found = (named * left).clamp(f64::MIN_POSITIVE, nodes);
            let rows = likely.min(found);
            let passed = (rows * nodes / found).min(nodes);
            let scan = match is_first_round && passed > costs.width {
                true => f64::INFINITY,
                false => costs.rows(passed),
            };
            scan + rows / left * table_row
        };
        let of_row = ((*heap).path.total_cost - bitmap).max(0.0) / named + left * distance.per_tuple;
        let sorted = |named: f64, left: f64, of_row: f64| {
            let found = (named * left).max(1.0);
            named * of_row + found * found.log2() * OPERATORS_PER_COMPARISON * operator
        };
        // PostgreSQL's cost of a row is that of its page on disk, and is compared with those of
        // other paths. Searches are charged for the share of the pages that no cache holds; so is
        // the row when the two ways are compared.
        let pages = f64::from(table.pages) + f64::from(info.pages);
        let cached = (f64::from(pg_sys::effective_cache_size) / pages.max(1.0)).min(1.0);
        let read_row = (1.0 - cached) * of_row + operators_per_read(numbers) * operator;

        // The unknown value of a comparison decides the rows of the bitmap, or the share of them
        // that other conditions leave.
        let guess = Guess::of(root, table, |_| false);
        let is_named = |condition| names((*heap).bitmapqual, condition);
        let is_of_others = guess.is_open() && Guess::of(root, table, is_named).is_open();
        // Rows are read once more when they are returned.
        let returned = 2.0 * pg_sys::cpu_tuple_cost + (1.0 - cached) * pg_sys::random_page_cost;
        // Costs until the first row, and of all that are wanted.
        let of_part = |part: f64| {
            let (of_named, left) = match is_of_others {
                true => (1.0, left * part),
                false => (part, left),
            };
            let (bitmap, named) = (bitmap * of_named, named * of_named);
            let start = bitmap + (SETUP_OPERATORS + named * OPERATORS_PER_MEMBER) * operator;
            let exact = sorted(named, left, of_row);
            let graph = along_graph((named * guess.factor()).min(nodes), left);
            match exact <= costs.startup + graph {
                true => (start + exact, planned.min(table.rows) * returned),
                false => (start + costs.startup, graph),
            }
        };
        let startup = guess.mean_of_parts(|part| of_part(part).0);
        // PostgreSQL takes a share of the total for the rows that are wanted.
        let scale = (table.rows / planned.max(1.0)).max(1.0);
        let total = startup + guess.mean_of_parts(|part| of_part(part).1) * scale;
        Some(BitmapCosts {
            startup,
            total,
            exact_rows: turn(table.tuples.max(nodes), |named| {
                sorted(named, left, read_row) <= costs.startup + along_graph(named, left)
            }),
        })
    }
}

/// Whether the rows of a bitmap are those of a condition, as one of an index.
///
/// # Safety
/// The path is one of a table's that PostgreSQL makes a bitmap by.
unsafe fn names(path: *mut pg_sys::Path, condition: *mut pg_sys::RestrictInfo) -> bool {
    // SAFETY: as the caller promises; nodes are read by their tags.
    unsafe {
        let any = |paths| {
            PgList::<pg_sys::Path>::from_pg(paths)
                .iter_ptr()
                .any(|path| names(path, condition))
        };
        match (*path.cast::<pg_sys::Node>()).type_ {
            NodeTag::T_BitmapAndPath => any((*path.cast::<pg_sys::BitmapAndPath>()).bitmapquals),
            NodeTag::T_BitmapOrPath => any((*path.cast::<pg_sys::BitmapOrPath>()).bitmapquals),
            NodeTag::T_IndexPath => index_clauses::has(&*path.cast::<pg_sys::IndexPath>(), condition),
            _ => false,
        }
    }
}

/// Cost of reading a row in memory and computing its distance, in cpu_operator_cost.
pub(super) fn operators_per_read(numbers: f64) -> f64 {
    let lookups = match (numbers * size_of::<f32>() as f64 / BYTES_PER_LOOKUP).ceil() {
        ..=1.0 => 0.0,
        chunks => chunks,
    };
    OPERATORS_PER_READ + numbers / NUMBERS_PER_OPERATOR + OPERATORS_PER_LOOKUP * lookups
}

/// The largest number of rows up to `most` for which reading them is `cheaper`.
fn turn(most: f64, cheaper: impl Fn(f64) -> bool) -> f64 {
    if cheaper(most) {
        return f64::MAX;
    }
    let (mut below, mut above) = (0.0, most);
    while above - below > 1.0 {
        let middle = (below + above) / 2.0;
        match cheaper(middle) {
            true => below = middle,
            false => above = middle,
        }
    }
    below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_turn_is_the_last_number_of_rows_that_are_cheaper_to_read() {
        let turn_at_1234 = turn(1e6, |rows| rows <= 1234.0);
        assert!((1233.0..=1234.0).contains(&turn_at_1234), "{turn_at_1234}");
        assert!(turn(1e6, |_| false) < 1.0);
        assert_eq!(turn(1e6, |_| true) as i32, i32::MAX);
    }
}
