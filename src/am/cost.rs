//! `amcostestimate`: what a scan costs until its first row, and what each further row costs.
//!
//! A plain search of width `ef` over `n` nodes reads about `m` new nodes for each of the `ef` it
//! expands, and as many on each level on the way down; a coded one reads those that it visits,
//! which are about half more than `ef`, and few on the way. That is the start-up cost: it grows
//! with the logarithm of `n`, so a partition costs little to start. Each row beyond `ef` costs what
//! going on takes. As for a btree's upper pages, pages that stay in the cache cost only processor
//! time: input is counted for the share of the index that effective_cache_size does not hold.
//!
//! A scan that would go on for longer than a pass over the index takes goes on with passes, and one
//! of everything takes nothing else. What they return is sorted as PostgreSQL sorts, and each row
//! is read of the table at random: so a plan of all rows costs more than the table read and sorted,
//! unless the index is partial.
//!
//! PostgreSQL interpolates between start-up and total by the share of the rows that a LIMIT takes,
//! and what going on costs is no straight line. So the line is put through the point that this
//! query asks for, where that is known: the rows that a filter leaves decide how many the index has
//! to give.

use pgrx::{PgList, is_a, pg_guard, pg_sys};

use super::opclass::Opclass;
use super::options::{self, Options};
use super::{format, plan, table};
use crate::graph::scan::Iteration;

/// Processor cost of a visit, in cpu_operator_cost: a part that all have, and one for so many
/// numbers (measured: 0.75 us at 384 dimensions, where a row of a sequential scan takes about 0.1
/// us).
const OPERATORS_PER_VISIT: f64 = 4.0;
const NUMBERS_PER_OPERATOR: f64 = 32.0;

/// Records that a coded search visits for each of its width, and on each level above the lowest
/// (measured).
const CODED_VISITS: f64 = 1.5;
const CODED_VISITS_PER_LEVEL: f64 = 2.0;

/// Records that a plain search meets for each of its width and of m (measured).
const PLAIN_VISITS: f64 = 2.5;

/// What a row beyond the first round costs: visits, and in cpu_operator_cost what is kept of all
/// that was met (measured: 30,000 random vectors of 64 dimensions, LIMIT 20, and an index on
/// another column: from a tenth of the rows down that is faster).
const VISITS_PER_ROW: f64 = 8.0;
const OPERATORS_PER_ROW: f64 = 1400.0;

/// Rows after which rounds have filled their memory, or met as many records as they may, and passes begin.
const ROWS_OF_ROUNDS: f64 = 2500.0;

/// Bytes of memory that a pass keeps of a row.
const BYTES_PER_ROW: f64 = 32.0;

/// Rows that a LIMIT wants whose count is not known: PostgreSQL takes a tenth of all, which hardly
/// any query means.
const USUAL_LIMIT: f64 = 50.0;

/// Rows that are fetched of a cursor, at most: PostgreSQL takes cursor_tuple_fraction of all,
/// another tenth.
const USUAL_CURSOR: f64 = 500.0;

/// The least share of the rows that an expression is taken to leave of which there are no
/// statistics: PostgreSQL takes a 200th to be equal to something, and a scan that finds its rows
/// soon costs so much less than that guess that it is worth the risk.
const UNKNOWN_SHARE: f64 = 0.1;

/// The cost of a scan that would only fail: beyond that of any other plan, also of one that is made
/// of nodes that settings disable (10^10 each, up to PostgreSQL 17), and not infinite, since
/// PostgreSQL subtracts costs.
const USELESS: f64 = 1e100;

/// From PostgreSQL 18 on disabled nodes are counted: more than any other way to a table's rows has
/// of them.
#[cfg(feature = "pg18")]
const MOST_DISABLED: i32 = 1000;

/// What a scan costs.
struct Costs {
    /// The first round, which gives as many rows as the search is wide.
    startup: f64,
    width: f64,
    /// Each row beyond it.
    row: f64,
    /// All rows by passes over the index.
    all: f64,
}

impl Costs {
    /// What as many rows cost beyond the first round: rounds, then passes after rounds that cost as
    /// much or have filled their memory.
    fn rows(&self, rows: f64) -> f64 {
        let rounds = self.row * (rows - self.width).max(0.0);
        let most = (self.row * ROWS_OF_ROUNDS).min(self.all);
        if rounds <= most { rounds } else { most + self.all }
    }
}

#[pg_guard]
#[allow(clippy::too_many_arguments, reason = "PostgreSQL's signature")]
pub unsafe extern "C-unwind" fn amcostestimate(
    root: *mut pg_sys::PlannerInfo,
    path: *mut pg_sys::IndexPath,
    _loop_count: f64,
    startup: *mut pg_sys::Cost,
    total: *mut pg_sys::Cost,
    selectivity: *mut pg_sys::Selectivity,
    correlation: *mut f64,
    pages: *mut f64,
) {
    // SAFETY: PostgreSQL passes a path over one of our indexes and places for the results.
    unsafe {
        let info = &*(*path).indexinfo;
        // There are no conditions, but a partial index holds only some of the rows.
        *selectivity = (info.tuples / (*info.rel).tuples.max(1.0)).clamp(0.0, 1.0);
        *correlation = 0.0;
        *pages = f64::from(info.pages);
        let orders = (*path).indexorderbys;
        if orders.is_null() || (*orders).length != 1 {
            // The index knows no condition, only an order, and that by one distance.
            (*startup, *total) = (f64::INFINITY, f64::INFINITY);
            #[cfg(feature = "pg18")]
            {
                (*path).path.disabled_nodes = 2;
            }
            return;
        }
        let index = pg_sys::index_open(info.indexoid, pg_sys::NoLock as pg_sys::LOCKMODE);
        let (options, opclass) = (Options::of(index), Opclass::of(index));
        let numbers = opclass.numbers(u32::try_from(table::base_type(index).1).unwrap_or(0));
        // Where scans are switched off its pages are not read, so that queries go on if they cannot
        // be.
        let is_useless = pg_sys::enable_indexscan && format::is_to_be_rebuilt(index);
        pg_sys::index_close(index, pg_sys::NoLock as pg_sys::LOCKMODE);
        if is_useless {
            // Without an order the path has nothing that the scan of the table does not have for
            // less, and goes: also from a partitioned table, whose other partitions keep theirs.
            (*path).path.pathkeys = std::ptr::null_mut();
            (*startup, *total) = (USELESS, USELESS);
            #[cfg(feature = "pg18")]
            {
                (*path).path.disabled_nodes = MOST_DISABLED;
            }
            return;
        }

        let nodes = info.tuples.max(1.0);
        let costs = costs(root, info, &options, opclass, f64::from(numbers));
        // Of the rows that the index gives, filters leave this share; and this one, where
        // PostgreSQL cannot know.
        let left = ((*info.rel).rows / nodes).clamp(f64::MIN_POSITIVE, 1.0);
        let likely_left = (left * unknown(root, &*info.rel)).min(1.0);
        // The cost of all rows, of which PostgreSQL takes the share that is wanted by its own
        // estimate.
        let (wanted, first, run) = match wanted(root, (*info.rel).rows) {
            // Passes: the first row comes when the first has ended.
            Wanted::All => (nodes, costs.all, 0.0),
            Wanted::Rows { planned, likely } => {
                let planned = (planned / left).clamp(1.0, nodes);
                let likely = (likely / likely_left).min(planned);
                // So of what cost_index adds for the rows of the table.
                *selectivity *= likely / planned;
                (likely, costs.startup, costs.rows(likely) * nodes / planned)
            }
            Wanted::Some(rows) => (rows / left, costs.startup, (costs.row * nodes).max(costs.all)),
        };
        (*startup, *total) = (first, first + run);
        let is_first_round = options::limits(&options).iteration == Iteration::Off;
        if is_first_round && wanted > costs.width {
            // Such a scan gives fewer rows than are wanted: any other way to the rows is better.
            let table = &*info.rel;
            let others = f64::from(table.pages) * pg_sys::random_page_cost
                + table.tuples.max(1.0) * (pg_sys::cpu_tuple_cost + table.baserestrictcost.per_tuple)
                + costs.all;
            *startup += 2.0 * others;
            *total += 2.0 * others;
        }
    }
}

/// # Safety
/// `root` and `info` are what PostgreSQL plans with.
unsafe fn costs(
    root: *mut pg_sys::PlannerInfo,
    info: &pg_sys::IndexOptInfo,
    options: &Options,
    opclass: Opclass,
    numbers: f64,
) -> Costs {
    // SAFETY: as the caller promises; settings are read in a backend's only thread.
    unsafe {
        let (mut random_page_cost, mut seq_page_cost) = (0.0, 0.0);
        pg_sys::get_tablespace_page_costs(info.reltablespace, &mut random_page_cost, &mut seq_page_cost);
        let (nodes, pages) = (info.tuples.max(1.0), f64::from(info.pages));
        let cached = (f64::from(pg_sys::effective_cache_size) / pages.max(1.0)).min(1.0);
        let read = pg_sys::cpu_index_tuple_cost
            + (OPERATORS_PER_VISIT + numbers / NUMBERS_PER_OPERATOR) * pg_sys::cpu_operator_cost;
        let visit = read + (1.0 - cached) * random_page_cost;
        let (m, width) = (f64::from(options.m), options.ef_search() as f64);
        let passes = (nodes * BYTES_PER_ROW / (f64::from(pg_sys::work_mem) * 1024.0)).ceil();
        Costs {
            startup: visits(nodes, m, width, opclass.is_coded()) * visit,
            width,
            row: VISITS_PER_ROW * visit + OPERATORS_PER_ROW * pg_sys::cpu_operator_cost,
            all: passes * (pages * seq_page_cost + nodes * read) + sort(root, &*info.rel, nodes),
        }
    }
}

/// About how many records a search of width `ef` reads among `nodes`.
fn visits(nodes: f64, m: f64, ef: f64, coded: bool) -> f64 {
    let visits = if coded {
        CODED_VISITS_PER_LEVEL * nodes.ln().max(0.0) / (2.0 * m).ln() + CODED_VISITS * ef
    } else {
        m * nodes.ln().max(0.0) / m.ln() + PLAIN_VISITS * m * ef
    };
    visits.min(nodes)
}

/// What PostgreSQL takes sorting to cost, of as many rows of a table.
///
/// # Safety
/// `root` and `table` are what PostgreSQL plans with.
unsafe fn sort(root: *mut pg_sys::PlannerInfo, table: &pg_sys::RelOptInfo, rows: f64) -> f64 {
    let mut sorted = pg_sys::Path::default();
    // SAFETY: as the caller promises; only costs are filled in.
    unsafe {
        pg_sys::cost_sort(
            &mut sorted,
            root,
            std::ptr::null_mut(),
            #[cfg(feature = "pg18")]
            0,
            0.0,
            rows,
            (*table.reltarget).width,
            0.0,
            pg_sys::work_mem,
            -1.0,
        );
    }
    // Where sorting is switched off, older versions add to its cost.
    #[cfg(not(feature = "pg18"))]
    // SAFETY: settings are read in a backend's only thread.
    unsafe {
        if !pg_sys::enable_sort {
            sorted.total_cost -= pg_sys::disable_cost;
        }
    }
    sorted.total_cost
}

/// By how much the share of rows that conditions leave is raised for those whose expressions have
/// no statistics.
///
/// # Safety
/// `root` and `table` are what PostgreSQL plans with.
unsafe fn unknown(root: *mut pg_sys::PlannerInfo, table: &pg_sys::RelOptInfo) -> f64 {
    let mut ratio = 1.0;
    // SAFETY: as the caller promises; the tag says what a node is, and what was looked up is
    // released.
    unsafe {
        for condition in PgList::<pg_sys::RestrictInfo>::from_pg(table.baserestrictinfo).iter_ptr() {
            let clause = (*condition).clause.cast::<pg_sys::OpExpr>();
            if !is_a(clause.cast(), pg_sys::NodeTag::T_OpExpr) {
                continue;
            }
            let mut variable = pg_sys::VariableStatData::default();
            let (mut other, mut is_left) = (std::ptr::null_mut(), false);
            if !pg_sys::get_restriction_variable(root, (*clause).args, 0, &mut variable, &mut other, &mut is_left) {
                continue;
            }
            let has_statistics = !variable.statsTuple.is_null();
            if let (true, Some(release)) = (has_statistics, variable.freefunc) {
                release(variable.statsTuple);
            }
            if !has_statistics && !is_a(variable.var, pg_sys::NodeTag::T_Var) {
                let share = pg_sys::clause_selectivity(
                    root,
                    condition.cast(),
                    0,
                    pg_sys::JoinType::JOIN_INNER,
                    std::ptr::null_mut(),
                );
                ratio *= (UNKNOWN_SHARE / share.max(f64::MIN_POSITIVE)).max(1.0);
            }
        }
    }
    ratio
}

/// How many rows a query wants of a table, of those that a filter leaves.
enum Wanted {
    All,
    /// As many by PostgreSQL's estimate, and as many are likely.
    Rows {
        planned: f64,
        likely: f64,
    },
    /// At least as many, since rows are joined before they are counted.
    Some(f64),
}

/// # Safety
/// `root` is what PostgreSQL plans with.
unsafe fn wanted(root: *mut pg_sys::PlannerInfo, rows: f64) -> Wanted {
    // SAFETY: as the caller promises.
    unsafe {
        let (root, query) = (&*root, &*(*root).parse);
        // Groups need all of their rows, and so does the least distance.
        let lists = [query.groupClause, query.groupingSets, query.distinctClause];
        let groups = query.hasAggs || lists.iter().any(|list| !list.is_null());
        let fraction = root.tuple_fraction;
        if groups || fraction <= 0.0 || plan::is_minimum(query.targetList) {
            return Wanted::All;
        }
        let is_limited = !query.limitCount.is_null() && !is_a(query.limitCount, pg_sys::NodeTag::T_Const);
        let (planned, likely) = if root.limit_tuples > 0.0 {
            (root.limit_tuples, root.limit_tuples)
        } else if fraction >= 1.0 {
            (fraction, fraction)
        } else if is_limited {
            (fraction * rows, USUAL_LIMIT)
        } else {
            (fraction * rows, USUAL_CURSOR)
        };
        match pg_sys::bms_num_members(root.all_baserels) > 1 {
            true => Wanted::Some(likely),
            false => Wanted::Rows { planned, likely },
        }
    }
}
