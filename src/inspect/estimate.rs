//! `hnsw_estimate()`: how large an index will be.

use pgrx::prelude::*;

use crate::error::{Error, Result};
use crate::storage::Layout;
use crate::storage::page::PAGE_SIZE;

/// The size of an index over so many vectors, and the memory that building it takes, in bytes.
#[pg_extern(sql = false, immutable, parallel_safe)]
fn hnsw_estimate(
    rows: i64,
    dims: i32,
    m: i32,
) -> TableIterator<'static, (name!(index_bytes, i64), name!(build_memory_bytes, i64))> {
    let bytes = estimate(rows, dims, m).unwrap_or_else(|error| error.raise());
    // A build holds the index in memory until it is complete.
    TableIterator::once((bytes, bytes))
}

fn estimate(rows: i64, dimensions: i32, m: i32) -> Result<i64> {
    let argument = |value: i64, least: i64, most: i64, name| match (least..=most).contains(&value) {
        true => Ok(value as usize),
        false => Err(Error::ArgumentOutOfRange { name, least, most }),
    };
    let rows = argument(rows, 0, i64::MAX, "rows")?;
    let dimensions = argument(dimensions.into(), 1, i64::MAX, "dims")?;
    let m = argument(m.into(), 2, 100, "m")?;
    let layout = Layout::plan(dimensions, m, true)?;
    // One node in `level_ratio` is on the next level, one in its square on the one after that, and so on.
    let records = rows as f64 * (1.0 + 1.0 / (layout.level_ratio() as f64 - 1.0));
    let slots = records + (rows * layout.tails) as f64;
    let pages = (slots / f64::from(layout.slots)).ceil() + f64::from(layout.first_block);
    Ok((pages * PAGE_SIZE as f64) as i64)
}
