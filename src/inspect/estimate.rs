//! `hnsw_estimate()`: the size of an index before it is built.

use pgrx::prelude::*;

use crate::distance::Metric;
use crate::error::{Error, Result};
use crate::filter::lists;
use crate::filter::values::MOST_COLUMNS;
use crate::storage::Layout;
use crate::storage::layout_plan::Storage;
use crate::storage::list_directory::ListDirectory;
use crate::storage::list_page::ListLayout;
use crate::storage::page::PAGE_SIZE;

/// The function of version 0.1.0, which knows no filter columns; a server has its SQL until ALTER
/// EXTENSION UPDATE.
#[pg_extern(sql = false, immutable, parallel_safe)]
fn hnsw_estimate(
    rows: i64,
    dims: i32,
    m: i32,
) -> TableIterator<'static, (name!(index_bytes, i64), name!(build_memory_bytes, i64))> {
    hnsw_estimate_of_storage(rows, dims, m, 0, "full")
}

/// Size of an index over a number of vectors with so many filter columns and this option
/// `storage`, and memory of its build, in bytes.
#[pg_extern(sql = false, immutable, parallel_safe)]
fn hnsw_estimate_of_storage(
    rows: i64,
    dims: i32,
    m: i32,
    filters: i32,
    storage: &str,
) -> TableIterator<'static, (name!(index_bytes, i64), name!(build_memory_bytes, i64))> {
    let bytes = estimate(rows, dims, m, filters, storage).unwrap_or_else(|error| error.raise());
    // A build holds the index in memory until it is complete.
    TableIterator::once((bytes, bytes))
}

/// Bytes of an index. Filter columns are taken to have one value for each row, and at least as many
/// different ones as a column has lists, evenly spread: others have fewer list pages, arrays more.
///
/// # Errors
/// [`Error::ArgumentOutOfRange`], and those of [`Layout::plan`].
fn estimate(rows: i64, dimensions: i32, m: i32, filters: i32, storage: &str) -> Result<i64> {
    let refused = |name, allowed| Error::ArgumentOutOfRange { name, allowed };
    let rows = usize::try_from(rows).map_err(|_| refused("rows", "at least 0"))?;
    let dimensions = usize::try_from(dimensions).ok().filter(|&dimensions| dimensions > 0);
    let dimensions = dimensions.ok_or(refused("dims", "at least 1"))?;
    let m = usize::try_from(m).ok().filter(|m| (2..=100).contains(m));
    let m = m.ok_or(refused("m", "between 2 and 100"))?;
    let filters = usize::try_from(filters).ok().filter(|&filters| filters <= MOST_COLUMNS);
    let filters = filters.ok_or(refused("filters", "between 0 and 4"))?;
    let storage = Storage::of_name(storage).ok_or(refused("storage", "full or compact"))?;
    let layout = Layout::plan_as(storage, dimensions, m, Metric::L2, filters)?;
    // One node in `level_ratio` is on the next level, one in its square on the one after that, and
    // so on.
    let records = rows as f64 * (1.0 + 1.0 / (layout.level_ratio() as f64 - 1.0));
    let slots = records + rows as f64 * layout.overflows as f64;
    let node_pages = (slots / f64::from(layout.slots)).ceil();
    let list_pages = (filters * ListLayout::of(&layout).pages(rows)) as f64;
    let directory = ListDirectory::new(0, filters, lists::bits(rows as f64)).pages();
    let pages = node_pages + list_pages + f64::from(layout.first_block + directory);
    Ok((pages * PAGE_SIZE as f64) as i64)
}
