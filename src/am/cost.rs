//! `amcostestimate`: the cost of a scan until its first row, and of each further row.
//!
//! A plain search of width `ef` over `n` nodes reads about `m` new nodes for each of the `ef` nodes
//! that it expands, and as many on each level on the way down. A coded search reads only the nodes
//! that it visits, about one and a half times `ef`, and few on the way; an index with a target of
//! recall has measured numbers ([`calibration`]). This is the start-up cost: it grows with the
//! logarithm of `n`, so a partition costs little to start. Each row beyond `ef` has the cost of a
//! further round. Pages that stay in the cache cost only processor time, as the upper pages of a
//! btree do: input is counted for the share of the index that effective_cache_size does not hold.
//!
//! A scan for which further rounds would cost more than a pass over the index goes on with passes,
//! and a scan of all rows begins with them. Rows of a pass are sorted as PostgreSQL sorts, and each
//! row is read from the table at random. So a plan of all rows costs more than reading and sorting
//! the table, unless the index is partial.
//!
//! With conditions on filter columns a search returns only rows that pass them, and visits the more
//! records the fewer pass: a coded one learns of 32 neighbors at once, from their signatures, which
//! of them may pass.
//!
//! PostgreSQL interpolates between start-up and total cost by the share of the rows that a LIMIT
//! takes, but the cost of further rows is no straight line. So the line goes through the point that
//! this query asks for, where it is known: the share of rows that a filter leaves decides how many
//! rows the index has to return.

mod bitmap;
mod guess;
mod lists;

use pgrx::{is_a, pg_guard, pg_sys};

use super::filter::{Columns, index_clauses};
pub use bitmap::{BitmapCosts, with_bitmap};
use guess::Guess;

use super::opclass::Opclass;
use super::options::{self, Asked, Options};
use super::{heap_scan, planner};
use crate::compat;
use crate::filter::lists::FEWEST_BITS;
use crate::hnsw::scan::Iteration;
use crate::rebuild;
use crate::storage::PageStore;
use crate::storage::buffer_store::{BufferStore, Mode};
use crate::storage::calibration::{self, Calibration, USUAL};
use crate::storage::format::META_BLOCK;
use crate::storage::layout_plan::Storage;
use crate::storage::meta;

/// Processor cost of a visit, in cpu_operator_cost: a constant part, and a part for each 32 numbers
/// of a vector. A visit takes 0.75 us at 384 dimensions (docs/measurements.md, *What bounds the
/// speed*), several times as long as a row of a sequential scan.
const OPERATORS_PER_VISIT: f64 = 4.0;
const NUMBERS_PER_OPERATOR: f64 = 32.0;

/// Records that a coded search is taken to visit per unit of `ef_search`, and on each level above
/// the lowest (chosen; docs/measurements.md, *Visits of a search*, has more).
const CODED_VISITS: f64 = 1.5;
const CODED_VISITS_PER_LEVEL: f64 = 2.0;

/// Factor of the visits of a coded search where records are compact (docs/measurements.md, *Compact
/// records*).
const COMPACT_VISITS: f64 = 3.0;

/// Records that a plain search visits per unit of `ef_search` and of m (docs/measurements.md,
/// *Visits of a search*).
const PLAIN_VISITS: f64 = 2.5;

/// Power of the share of rows that pass conditions, with which the visits of a coded search grow
/// (docs/measurements.md, *Filtered searches*).
const FILTERED_POWER: f64 = -0.47;

/// Factor of the visits of a coded search, times the share, where few rows pass
/// (docs/measurements.md, *Filtered searches*).
const FILTERED_FEW: f64 = 0.24;

/// Cost of a row beyond the first round: visits, and, in cpu_operator_cost, upkeep of the
/// candidates (docs/measurements.md, *What a further row costs*).
const VISITS_PER_ROW: f64 = 8.0;
const OPERATORS_PER_ROW: f64 = 1400.0;

/// Rows after which rounds have filled their memory, or visited as many records as they may, and
/// passes begin: the 20,000 records of `MOST_VISITED` (`hnsw/tuning.rs`), at [`VISITS_PER_ROW`]
/// each.
const ROWS_OF_ROUNDS: f64 = 2500.0;

/// Bytes of memory that a pass keeps of a row.
const BYTES_PER_ROW: f64 = 32.0;

/// Rows of a LIMIT with an unknown count: PostgreSQL assumes a tenth of all rows, and hardly any
/// query means so many (chosen, not measured).
const USUAL_LIMIT: f64 = 50.0;

/// Largest number of rows that are likely to be fetched of a cursor: PostgreSQL assumes
/// cursor_tuple_fraction of all rows, another tenth (chosen, not measured).
const USUAL_CURSOR: f64 = 500.0;

/// The cost of a scan that would only fail: beyond that of any other plan, also of one that is made
/// of nodes that settings disable (10^10 each, up to PostgreSQL 17), and not infinite, since
/// PostgreSQL subtracts costs.
const USELESS: f64 = 1e100;

/// Disabled nodes of a path that answers no query: more than settings count for another path.
const DISABLED: i32 = 2;

/// From PostgreSQL 18 on disabled nodes are counted: more than any other way to a table's rows has
/// of them.
const MOST_DISABLED: i32 = 1000;

/// The shares of an index's rows that conditions leave to a scan.
#[derive(Clone, Copy)]
struct Shares {
    /// Share that passes the conditions.
    passing: f64,
    /// The lists of the one column with value lists of which they name fewest.
    named: lists::Named,
    /// Factor of the records that a coded search visits: lanes of arrays pass tests in vain.
    in_vain: f64,
    /// Number of scans.
    loops: f64,
}

impl Shares {
    /// One scan without conditions.
    const ALL: Shares = Shares {
        passing: 1.0,
        named: lists::Named::ALL,
        in_vain: 1.0,
        loops: 1.0,
    };
}

/// Costs of a scan.
struct Costs {
    /// The first round, which returns as many rows as the search is wide.
    startup: f64,
    width: f64,
    /// Each row beyond the first round.
    row: f64,
    /// All rows by passes over the index.
    all: f64,
}

impl Costs {
    /// Cost of `rows` rows beyond the first round: rounds, then passes once the rounds have cost as
    /// much as the passes or have filled their memory.
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
    loop_count: f64,
    startup: *mut pg_sys::Cost,
    total: *mut pg_sys::Cost,
    selectivity: *mut pg_sys::Selectivity,
    correlation: *mut f64,
    pages: *mut f64,
) {
    // SAFETY: PostgreSQL passes a path over one of our indexes and places for the results.
    unsafe {
        let info = &*(*path).indexinfo;
        // A partial index holds only some of the rows.
        let held = (info.tuples / (*info.rel).tuples.max(1.0)).clamp(0.0, 1.0);
        *selectivity = held;
        *correlation = 0.0;
        *pages = f64::from(info.pages);
        let orders = (*path).indexorderbys;
        if orders.is_null() || (*orders).length != 1 {
            // The index orders by one distance, and conditions alone are no way into the graph.
            (*startup, *total) = (f64::INFINITY, f64::INFINITY);
            compat::disable(&mut (*path).path, DISABLED);
            return;
        }
        index_clauses::add_any(root, path);
        let opened = opened(info);
        let conditions = index_clauses::narrowing(&*path, &opened.columns);
        let listed = index_clauses::listed(root, &*path, &opened.columns);
        let Opened {
            is_first_round,
            is_useless,
            ..
        } = opened;
        if is_useless {
            // Without an order the path has nothing that the scan of the table does not have for
            // less, and goes: also from a partitioned table, whose other partitions keep theirs.
            (*path).path.pathkeys = std::ptr::null_mut();
            (*startup, *total) = (USELESS, USELESS);
            compat::disable(&mut (*path).path, MOST_DISABLED);
            return;
        }

        // Rows that the conditions exclude are not read from the table.
        let (mut named, mut in_vain) = (lists::Named::ALL, 1.0);
        for of_column in listed {
            let passing = passing(root, info, of_column.conditions, held);
            named = named.fewer(lists::Named::of(
                passing,
                of_column.ends(),
                of_column.sets,
                opened.lists,
            ));
            let vain = of_column.sets.map_or(0.0, |sets| sets.passed_in_vain());
            in_vain *= 1.0 + vain * (1.0 - passing) / passing;
        }
        let shares = Shares {
            passing: passing(root, info, conditions, held),
            named,
            in_vain,
            loops: loop_count.max(1.0),
        };
        let passing = shares.passing;
        *selectivity *= passing;
        let nodes = info.tuples.max(1.0);
        let costs = costs(root, info, &opened, shares);
        // Rows that the index can return: what follows is about these.
        let nodes = (nodes * passing).max(1.0);
        // Share of them that filters leave by PostgreSQL's estimate, and the likely share where
        // PostgreSQL has no statistics.
        let parameters = (*path).path.param_info;
        let rows = match parameters.is_null() {
            true => (*info.rel).rows,
            false => (*parameters).ppi_rows,
        };
        let left = (rows / nodes).clamp(f64::MIN_POSITIVE, 1.0);
        let guess = Guess::of(root, &*info.rel, |condition| index_clauses::has(&*path, condition));
        // The total is scaled so that the share of it that PostgreSQL takes is the cost of the rows
        // that are wanted.
        let wanted_rows = match opened.options.is_exact() {
            true => Wanted::All,
            false => wanted(root, rows),
        };
        let (wanted, first, run) = match wanted_rows {
            // Passes: the first row comes at the end of the first pass.
            Wanted::All => (nodes, costs.all, 0.0),
            Wanted::Rows { planned, likely } => {
                let planned = (planned / left).clamp(1.0, nodes);
                let rows = |share: f64| (likely / share).clamp(1.0, nodes);
                let likely = guess.mean(left, rows);
                // cost_index charges for rows of the table in the same proportion.
                *selectivity *= likely / planned;
                let run = guess.mean(left, |share| costs.rows(rows(share)));
                (likely, costs.startup, run * nodes / planned)
            }
            Wanted::Some(rows) => (rows / left, costs.startup, (costs.row * nodes).max(costs.all)),
        };
        (*startup, *total) = (first, first + run);
        if is_first_round && wanted > costs.width {
            // The scan returns fewer rows than are wanted, so any other path is better.
            let table = &*info.rel;
            let others = f64::from(table.pages) * pg_sys::random_page_cost
                + table.tuples.max(1.0) * (pg_sys::cpu_tuple_cost + table.baserestrictcost.per_tuple)
                + costs.all;
            *startup += 2.0 * others;
            *total += 2.0 * others;
        }
    }
}

/// Whether an index is of this access method, by the planner's description.
pub fn is_ours(info: &pg_sys::IndexOptInfo) -> bool {
    let ours: unsafe extern "C-unwind" fn(_, _, _, _, _, _, _, _) = amcostestimate;
    // The planner keeps the routine as a function of unknown arguments.
    info.amcostestimate
        .is_some_and(|estimate| estimate as usize == ours as usize)
}

/// The planner's knowledge of an index.
struct Opened {
    options: Options,
    opclass: Opclass,
    columns: Columns,
    /// Width of a search without conditions and with some, and the calibration of the index if a
    /// target gives the width.
    width: usize,
    filtered_width: usize,
    calibration: Option<Calibration>,
    /// Numbers of a vector.
    numbers: f64,
    /// Value lists of a filter column that is not one of arrays.
    lists: f64,
    /// Whether a scan ends after its first round.
    is_first_round: bool,
    /// Whether a scan would only fail.
    is_useless: bool,
}

/// # Safety
/// `info` is the planner's description of one of our indexes.
unsafe fn opened(info: &pg_sys::IndexOptInfo) -> Opened {
    // SAFETY: as the caller promises; the planner holds a lock of the index.
    unsafe {
        let index = pg_sys::index_open(info.indexoid, pg_sys::NoLock as pg_sys::LOCKMODE);
        let (options, opclass, columns) = (Options::of(index), Opclass::of(index), Columns::of(index));
        let numbers = f64::from(opclass.numbers(u32::try_from(heap_scan::base_type(index, 0).1).unwrap_or(0)));
        // With enable_indexscan off its pages are not read: queries go on if they cannot be.
        let is_useless = pg_sys::enable_indexscan && rebuild::is_to_be_rebuilt(index);
        // Plans of an index without a target do not depend on the time that its build had left to
        // measure it. A damaged meta page is left to the scan that meets the damage.
        let store = BufferStore::new(index, Mode::Normal);
        let reads = pg_sys::enable_indexscan && !is_useless;
        let target = options.effort().target().filter(|_| reads);
        let calibration = target.and_then(|_| store.read(META_BLOCK, calibration::read).unwrap_or(None));
        let has_filters = columns.kinds().iter().any(Option::is_some);
        let meta = (reads && has_filters)
            .then(|| store.read(META_BLOCK, meta::read).ok())
            .flatten();
        let list_bits = meta.map_or(FEWEST_BITS, |meta| meta.parameters.list_bits);
        pg_sys::index_close(index, pg_sys::NoLock as pg_sys::LOCKMODE);
        // Rows beyond a search of ten rows are charged as rows of further rounds.
        let asked = |is_filtered| Asked {
            is_filtered,
            ..Asked::default()
        };
        Opened {
            is_first_round: options::iteration(&options) == Iteration::Off,
            width: options.width(calibration.as_ref(), asked(false)),
            filtered_width: options.width(calibration.as_ref(), asked(true)),
            calibration,
            options,
            opclass,
            columns,
            numbers,
            lists: f64::from(1 << list_bits),
            is_useless,
        }
    }
}

/// Share of the index's rows that pass conditions; `held` is the share of the table's rows that the
/// index has.
///
/// # Safety
/// `root` is the planner's state, and `info` its description of the index.
unsafe fn passing(
    root: *mut pg_sys::PlannerInfo,
    info: &pg_sys::IndexOptInfo,
    conditions: *mut pg_sys::List,
    held: f64,
) -> f64 {
    if conditions.is_null() {
        return 1.0;
    }
    // SAFETY: as the caller promises. The condition of a partial index may imply others, as
    // PostgreSQL's genericcostestimate() has it.
    let share = unsafe {
        let info = std::ptr::from_ref(info).cast_mut();
        let conditions = pg_sys::add_predicate_to_index_quals(info, conditions);
        let (relation, join) = ((*(*info).rel).relid as i32, pg_sys::JoinType::JOIN_INNER);
        pg_sys::clauselist_selectivity(root, conditions, relation, join, std::ptr::null_mut())
    };
    (share / held.max(f64::MIN_POSITIVE)).clamp(f64::MIN_POSITIVE, 1.0)
}

/// # Safety
/// `root` is the planner's state, and `info` its description of the index.
unsafe fn costs(root: *mut pg_sys::PlannerInfo, info: &pg_sys::IndexOptInfo, opened: &Opened, shares: Shares) -> Costs {
    let (passing, numbers) = (shares.passing, opened.numbers);
    // SAFETY: as the caller promises; settings are read in a backend's only thread.
    unsafe {
        let (mut random_page_cost, mut seq_page_cost) = (0.0, 0.0);
        pg_sys::get_tablespace_page_costs(info.reltablespace, &mut random_page_cost, &mut seq_page_cost);
        let (nodes, pages) = (info.tuples.max(1.0), f64::from(info.pages));
        let cached = (f64::from(pg_sys::effective_cache_size) / pages.max(1.0)).min(1.0);
        let read = pg_sys::cpu_index_tuple_cost
            + (OPERATORS_PER_VISIT + numbers / NUMBERS_PER_OPERATOR) * pg_sys::cpu_operator_cost;
        let visit = read + (1.0 - cached) * random_page_cost;
        let width = match passing < 1.0 {
            true => opened.filtered_width,
            false => opened.width,
        };
        let (m, width) = (f64::from(opened.options.m), width as f64);
        let is_coded = opened.opclass.is_coded();
        let returned = nodes * passing;
        let passes = (returned * BYTES_PER_ROW / (f64::from(pg_sys::work_mem) * 1024.0))
            .ceil()
            .max(1.0);
        let all = passes * (pages * seq_page_cost + nodes * read) + sort(root, &*info.rel, returned.max(1.0));
        let times = match opened.options.storage() {
            Storage::Compact if is_coded => COMPACT_VISITS,
            _ => 1.0,
        };
        let visited = match &opened.calibration {
            // Searches under conditions and their alternatives are compared by one model.
            Some(calibration) if passing >= 1.0 => calibration.visits(USUAL, opened.width),
            _ => times * visits(nodes, m, width, is_coded),
        };
        let in_vain = if is_coded { shares.in_vain } else { 1.0 };
        let filtered = |width| times * in_vain * filtered_visits(m, width, is_coded, passing);
        let first = (visited + filtered(width)).min(nodes) * visit;
        let each = times * VISITS_PER_ROW + filtered(1.0);
        let row = each * visit + OPERATORS_PER_ROW * pg_sys::cpu_operator_cost;
        // Value lists name few nodes, and all of their rows are in order.
        let is_listed = lists::are_read(nodes * shares.named.matching, nodes, (first / visit, width), is_coded);
        Costs {
            // A search that visits too many records ends as a pass.
            startup: match is_listed {
                true => lists::cost(info, (numbers, is_coded), shares, random_page_cost, cached),
                false if passing < 1.0 => first.min(all),
                false => first,
            },
            width,
            row: if is_listed { pg_sys::cpu_operator_cost } else { row },
            all,
        }
    }
}

/// Estimate of the records that a search of width `ef` reads among `nodes`, of an index without a
/// calibration.
fn visits(nodes: f64, m: f64, ef: f64, coded: bool) -> f64 {
    if coded {
        CODED_VISITS_PER_LEVEL * nodes.ln().max(0.0) / (2.0 * m).ln() + CODED_VISITS * ef
    } else {
        m * nodes.ln().max(0.0) / m.ln() + PLAIN_VISITS * m * ef
    }
}

/// Records that a search reads besides because only a share of the rows pass its conditions. A
/// plain search has no signatures, so it reads all that do not pass.
fn filtered_visits(m: f64, ef: f64, coded: bool, passing: f64) -> f64 {
    match coded {
        _ if passing >= 1.0 => 0.0,
        true => CODED_VISITS * ef * (passing.powf(FILTERED_POWER).max(FILTERED_FEW / passing) - 1.0),
        false => PLAIN_VISITS * m * ef * (1.0 / passing - 1.0),
    }
}

/// PostgreSQL's cost of sorting `rows` rows of a table.
///
/// # Safety
/// `root` is the planner's state, and `table` its description of the table.
unsafe fn sort(root: *mut pg_sys::PlannerInfo, table: &pg_sys::RelOptInfo, rows: f64) -> f64 {
    // SAFETY: as the caller promises.
    unsafe { compat::sort_cost(root, rows, (*table.reltarget).width) }
}

/// Number of rows that a query wants of a table, of the rows that a filter leaves.
enum Wanted {
    All,
    /// Number of rows by PostgreSQL's estimate, and the likely number.
    Rows {
        planned: f64,
        likely: f64,
    },
    /// Least number of rows, because rows are joined before they are counted.
    Some(f64),
}

/// # Safety
/// `root` is the planner's state.
unsafe fn wanted(root: *mut pg_sys::PlannerInfo, rows: f64) -> Wanted {
    // SAFETY: as the caller promises.
    unsafe {
        let (root, query) = (&*root, &*(*root).parse);
        // Groups need all of their rows, and so does the minimum of the distance.
        let lists = [query.groupClause, query.groupingSets, query.distinctClause];
        let groups = query.hasAggs || lists.iter().any(|list| !list.is_null());
        let fraction = root.tuple_fraction;
        if groups || fraction <= 0.0 || planner::is_minimum(query.targetList) {
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
