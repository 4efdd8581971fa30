//! `hnsw_compaction()`: results of the last VACUUM of an index.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::{Audience, Concurrent, Inspected};
use crate::pg_error::or_raise;
use crate::storage::PageStore;
use crate::storage::buffer_store::{BufferStore, Mode};
use crate::storage::format::META_BLOCK;
use crate::storage::meta;
use crate::storage::page::PAGE_SIZE;

/// Results of the last VACUUM that removed anything; no row before the first one.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "the columns of the result")]
fn hnsw_compaction(
    index: pg_sys::Oid,
) -> TableIterator<
    'static,
    (
        name!(finished_at, Option<TimestampWithTimeZone>),
        name!(nodes_removed, i64),
        name!(links_repaired, i64),
        name!(slots_freed, i64),
        name!(pages_truncated, i64),
        name!(bytes_returned, i64),
        name!(duration, Option<Interval>),
    ),
> {
    let opened = Inspected::open(index, Concurrent::Everything, Audience::Owner).unwrap_or_else(|error| error.raise());
    // SAFETY: the index is open and locked.
    let result = unsafe {
        let store = BufferStore::new(opened.index, Mode::Normal);
        or_raise(opened.index, store.read(META_BLOCK, meta::read_compaction))
    };
    let row = (result != meta::Compaction::default()).then(|| {
        let count = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        let pages = count(result.pages_truncated);
        (
            TimestampWithTimeZone::try_from(result.finished).ok(),
            count(result.nodes_removed),
            count(result.links_repaired),
            count(result.slots_freed),
            pages,
            pages.saturating_mul(PAGE_SIZE as i64),
            interval(result.duration),
        )
    });
    TableIterator::new(row)
}

fn interval(microseconds: u64) -> Option<Interval> {
    Interval::new(0, 0, i64::try_from(microseconds).ok()?).ok()
}
