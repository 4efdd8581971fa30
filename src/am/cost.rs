//! `amcostestimate`: what a scan costs until its first row, and what each further row costs.
//!
//! A search of width `ef` over `n` nodes meets about `m` new nodes for each of the `ef` it expands, and a few on the way down; that is
//! the start-up cost. Rows beyond come at the price of going on: a scan of everything meets everything. As for a btree's upper
//! pages, pages that stay in the cache cost only processor time: input is counted for the share of the index
//! that effective_cache_size does not hold.

use pgrx::{pg_guard, pg_sys};

use super::options::Options;

/// Processor cost of a distance, in cpu_operator_cost: a vector is hundreds of numbers.
const OPERATORS_PER_DISTANCE: f64 = 4.0;

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
        let options = Options::of(index);
        pg_sys::index_close(index, pg_sys::NoLock as pg_sys::LOCKMODE);

        let mut random_page_cost = 0.0;
        pg_sys::get_tablespace_page_costs(info.reltablespace, &mut random_page_cost, std::ptr::null_mut());
        let nodes = info.tuples.max(1.0);
        let cached = (f64::from(pg_sys::effective_cache_size) / f64::from(info.pages).max(1.0)).min(1.0);
        let visit = pg_sys::cpu_index_tuple_cost
            + OPERATORS_PER_DISTANCE * pg_sys::cpu_operator_cost
            + (1.0 - cached) * random_page_cost;
        *startup = nodes_met(nodes, f64::from(options.m), options.ef_search() as f64) * visit;
        *total = (nodes * visit).max(*startup);
    }
}

/// About how many nodes a search of width `ef` meets among `nodes`.
fn nodes_met(nodes: f64, m: f64, ef: f64) -> f64 {
    let descent = m * nodes.ln().max(0.0) / m.ln();
    (descent + m * ef).min(nodes)
}
