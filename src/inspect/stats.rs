//! `hnsw_stats()`: contents of an index in numbers.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::{Audience, Concurrent, Inspected};
use crate::error::Result;
use crate::hnsw::Graph;
use crate::hnsw::stats::{self, Statistics};
use crate::pg_error::or_raise;
use crate::storage::buffer_store::{self, BufferStore, Mode, Ring};
use crate::storage::format::FORMAT_VERSION;
use crate::storage::page::PAGE_SIZE;
use crate::storage::{BlockNumber, PageStore};

/// Contents of an index in numbers; reads all of it.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "the columns of the result")]
fn hnsw_stats(
    index: pg_sys::Oid,
) -> TableIterator<
    'static,
    (
        name!(node_count, i64),
        name!(deleted_count, i64),
        name!(level_distribution, Vec<i64>),
        name!(avg_edges_per_node, Option<f64>),
        name!(index_bytes, i64),
        name!(memory_bytes, Option<i64>),
        name!(page_fill, Option<f64>),
        name!(format_version, i32),
    ),
> {
    let opened = Inspected::open(index, Concurrent::Everything, Audience::Owner).unwrap_or_else(|error| error.raise());
    // SAFETY: the index is open and locked.
    let ((statistics, blocks), in_memory) = unsafe {
        // Taken first, because reading the index changes the buffers.
        let in_memory = buffer_store::buffered_blocks(opened.index);
        (or_raise(opened.index, statistics(&opened)), in_memory)
    };
    let count = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    TableIterator::once((
        count(statistics.nodes),
        count(statistics.dead),
        statistics.levels.iter().copied().map(count).collect(),
        share(statistics.links, statistics.nodes),
        i64::from(blocks) * PAGE_SIZE as i64,
        in_memory.map(|blocks| i64::from(blocks) * PAGE_SIZE as i64),
        share(statistics.used, statistics.slots),
        i32::from(FORMAT_VERSION),
    ))
}

fn statistics(opened: &Inspected) -> Result<(Statistics, BlockNumber)> {
    let ring = Ring::new();
    // SAFETY: the index is open and locked, and the ring outlives the store.
    let store = unsafe { BufferStore::new(opened.index, Mode::Normal).with_strategy(ring.strategy()) };
    let graph = Graph::open(&store)?;
    Ok((stats::of(&graph)?, store.blocks()?))
}
