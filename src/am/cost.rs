//! `amcostestimate`: what a scan costs until its first row, and what each further row costs.
//!
//! A plain search of width `ef` over `n` nodes reads about `m` new nodes for each of the `ef` it expands, and as many on each level on the way
//! down; a coded one reads those that it visits, which are about half more than `ef`, and few on the way. That is the start-up cost: it grows with
//! the logarithm of `n`, so a partition costs little to start. Rows beyond come at the price of going on: a scan of everything reads everything. As
//! for a btree's upper pages, pages that stay in the cache cost only processor time: input is counted for the share of the index
//! that effective_cache_size does not hold.

use pgrx::{pg_guard, pg_sys};

use super::opclass::Opclass;
use super::options::Options;
use super::table;

/// Processor cost of a visit, in cpu_operator_cost: a part that all have, and one for so many numbers (measured: 0.75 us at 384 dimensions,
/// where a row of a sequential scan takes about 0.1 us).
const OPERATORS_PER_VISIT: f64 = 4.0;
const NUMBERS_PER_OPERATOR: f64 = 32.0;

/// Records that a coded search visits for each of its width, and on each level above the lowest (measured).
const CODED_VISITS: f64 = 1.5;
const CODED_VISITS_PER_LEVEL: f64 = 2.0;

#[pg_guard]
#[allow(clippy::too_many_arguments, reason = "PostgreSQL's signature")]
pub unsafe extern "C-unwind" fn amcostestimate(
    _root: *mut pg_sys::PlannerInfo,
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
        pg_sys::index_close(index, pg_sys::NoLock as pg_sys::LOCKMODE);

        let mut random_page_cost = 0.0;
        pg_sys::get_tablespace_page_costs(info.reltablespace, &mut random_page_cost, std::ptr::null_mut());
        let nodes = info.tuples.max(1.0);
        let cached = (f64::from(pg_sys::effective_cache_size) / f64::from(info.pages).max(1.0)).min(1.0);
        let visit = pg_sys::cpu_index_tuple_cost
            + (OPERATORS_PER_VISIT + f64::from(numbers) / NUMBERS_PER_OPERATOR) * pg_sys::cpu_operator_cost
            + (1.0 - cached) * random_page_cost;
        let (m, ef) = (f64::from(options.m), options.ef_search() as f64);
        *startup = visits(nodes, m, ef, opclass.is_coded()) * visit;
        *total = (nodes * visit).max(*startup);
    }
}

/// About how many records a search of width `ef` reads among `nodes`.
fn visits(nodes: f64, m: f64, ef: f64, coded: bool) -> f64 {
    let visits = if coded {
        CODED_VISITS_PER_LEVEL * nodes.ln().max(0.0) / (2.0 * m).ln() + CODED_VISITS * ef
    } else {
        m * nodes.ln().max(0.0) / m.ln() + m * ef
    };
    visits.min(nodes)
}
