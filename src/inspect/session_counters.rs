//! `hnsw_last_search()` and `hnsw_last_insert()`: counters of the session's last search and
//! inserts.

use pgrx::prelude::*;

use crate::am::scan::{LastSearch, last_search};
use crate::txn::insert_counters::last_insert;

fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Counters of the session's last index scan; no row before the first scan. The function of version
/// 0.1.0, whose catalogs name its C symbol; another result takes another symbol, so that no catalog
/// reads the result of a library that has other columns.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "the columns of the result")]
fn hnsw_last_search() -> TableIterator<
    'static,
    (
        name!(nodes_visited, i64),
        name!(estimates, i64),
        name!(pages, i64),
        name!(tails_read, i64),
        name!(rows_skipped, i64),
        name!(search_time_us, f64),
    ),
> {
    let rows = last_search().map(|last| {
        let (visited, estimates, pages, overflows, dead_rows, spent, _) = columns(&last);
        (visited, estimates, pages, overflows, dead_rows, spent)
    });
    TableIterator::new(rows)
}

/// Counters of the session's last index scan, with its passes and its width; `hnsw_last_search()`
/// since version 0.2.0.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "the columns of the result")]
fn hnsw_last_search_with_width() -> TableIterator<
    'static,
    (
        name!(nodes_visited, i64),
        name!(estimates, i64),
        name!(pages, i64),
        name!(tails_read, i64),
        name!(rows_skipped, i64),
        name!(search_time_us, f64),
        name!(passes, i64),
        name!(width, i32),
        name!(target_recall, Option<f64>),
    ),
> {
    TableIterator::new(last_search().map(|last| {
        let (visited, estimates, pages, overflows, dead_rows, spent, passes) = columns(&last);
        let (width, target) = (last.aim.width as i32, last.aim.target);
        (
            visited, estimates, pages, overflows, dead_rows, spent, passes, width, target,
        )
    }))
}

fn columns(last: &LastSearch) -> (i64, i64, i64, i64, i64, f64, i64) {
    let counts = last.counts;
    (
        count(counts.visited),
        count(counts.estimates),
        count(counts.pages),
        count(counts.overflows),
        count(counts.dead_rows),
        last.spent.as_secs_f64() * 1e6,
        count(counts.passes),
    )
}

/// Counters of the session's last inserts into an index; no row before the first insert.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "the columns of the result")]
fn hnsw_last_insert() -> TableIterator<
    'static,
    (
        name!(node_id, i64),
        name!(level, Option<i32>),
        name!(connected_neighbors, Option<i32>),
        name!(rows, i64),
        name!(pages, i64),
        name!(wal_bytes, i64),
    ),
> {
    TableIterator::new(last_insert().map(|last| {
        (
            i64::from(last.inserted.node.0),
            last.inserted.new.map(|(level, _)| i32::from(level)),
            last.inserted.new.map(|(_, links)| links as i32),
            count(last.rows),
            count(last.pages),
            count(last.wal_bytes),
        )
    }))
}
