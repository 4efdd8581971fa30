//! `hnsw_tune()`: recall of an index over the width of its searches, for a user's queries, and the
//! width that a recall takes. The queries are passed, or sampled before by the index.
//!
//! Exact neighbors are the nearest by the stored vectors, so nothing of the table is read and no
//! code of the index runs.

use pgrx::prelude::*;
use pgrx::{AnyArray, pg_sys};

use super::recall::queries_for;
use super::{Audience, Concurrent, Inspected, sampled};
use crate::am::method::Method;
use crate::am::options::TARGET_RECALL;
use crate::am::{calibration, datum};
use crate::error::{Error, Result};
use crate::fallible::{self, TryPush};
use crate::hnsw::Graph;
use crate::hnsw::calibrate::{Measurement, Row, WIDTHS, width_for};
use crate::hnsw::indexed_value::RowValue;
use crate::pg_error::{or_raise, relation_name};
use crate::storage::PageStore;
use crate::storage::buffer_store::{BufferStore, Mode};
use crate::storage::calibration::{Calibration, KS, Source};

/// The most rows of a search.
const MOST_ROWS: i32 = 1000;

/// A row for each width: recall of the first `k` rows, the time of a search in microseconds, pages
/// read, and whether it is the least width with the recall `target`. With `apply` the index keeps
/// the measurement, and the target as its option.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "the columns of the result")]
fn hnsw_tune(
    index: pg_sys::Oid,
    queries: AnyArray,
    target: f64,
    k: i32,
    apply: bool,
) -> TableIterator<
    'static,
    (
        name!(width, i32),
        name!(recall, f64),
        name!(microseconds, f64),
        name!(pages, f64),
        name!(chosen, bool),
    ),
> {
    tabled(tune(index, Some(queries), target, k, apply))
}

/// The same for the queries that the index has sampled.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "the columns of the result")]
fn hnsw_tune_sampled(
    index: pg_sys::Oid,
    target: f64,
    k: i32,
    apply: bool,
) -> TableIterator<
    'static,
    (
        name!(width, i32),
        name!(recall, f64),
        name!(microseconds, f64),
        name!(pages, f64),
        name!(chosen, bool),
    ),
> {
    tabled(tune(index, None, target, k, apply))
}

/// The rows of a result.
fn tabled(tuned: Result<Tuned>) -> TableIterator<'static, (i32, f64, f64, f64, bool)> {
    let tuned = tuned.unwrap_or_else(|error| error.raise());
    TableIterator::new(tuned.rows.into_iter().map(move |row| {
        let of = row.of[KS.len()];
        let width = i32::from(row.width);
        (width, of.recall, of.time * 1e6, of.pages, row.width == tuned.chosen)
    }))
}

/// The outcome of all widths, in ascending order, and the width that the target takes.
struct Tuned {
    rows: Vec<Row>,
    chosen: u16,
}

fn tune(index: pg_sys::Oid, queries: Option<AnyArray>, target: f64, k: i32, apply: bool) -> Result<Tuned> {
    if !(1..=MOST_ROWS).contains(&k) {
        return Err(Error::ArgumentOutOfRange {
            name: "k",
            allowed: "from 1 to 1000",
        });
    }
    if !(TARGET_RECALL.0..=TARGET_RECALL.1).contains(&target) {
        return Err(Error::ArgumentOutOfRange {
            name: "target",
            allowed: "from 0.5 to 0.9999",
        });
    }
    let (concurrent, audience) = match apply {
        true => (Concurrent::ReadAndWrite, Audience::OwnerAlone),
        false => (Concurrent::Everything, Audience::Owner),
    };
    if apply {
        // SAFETY: they raise PostgreSQL's errors.
        unsafe {
            pg_sys::PreventCommandIfReadOnly(c"hnsw_tune(.., apply => true)".as_ptr());
            pg_sys::PreventCommandDuringRecovery(c"hnsw_tune(.., apply => true)".as_ptr());
        }
    }
    let opened = Inspected::open(index, concurrent, audience)?;
    // SAFETY: the index is open.
    if apply && unsafe { Method::of(opened.index) } != Method::Hnsw {
        // SAFETY: the same; an option of the other method says nothing of a recall.
        let relation = unsafe { relation_name(opened.index) };
        return Err(Error::NotHnswIndex { relation });
    }
    // SAFETY: the index is open and locked as long as the store lives.
    let store = unsafe { BufferStore::new(opened.index, Mode::Normal) };
    let queries = match queries {
        // SAFETY: PostgreSQL passes an array of this type, and the index is open.
        Some(queries) => unsafe { queries_for(opened.index, queries)? }.1,
        // SAFETY: the index is open.
        None => unsafe { sampled_of(opened.index, &store)? },
    };
    // SAFETY: the index is open.
    let tuned = unsafe { or_raise(opened.index, measure(&store, &queries, target, k, apply)) };
    // An index that is open here cannot be altered.
    drop(opened);
    if apply && !tuned.rows.is_empty() {
        set_target(index, target);
    }
    Ok(tuned)
}

/// The queries that an index has sampled.
///
/// # Safety
/// `index` is open.
unsafe fn sampled_of(index: pg_sys::Relation, store: &BufferStore) -> Result<Vec<pg_sys::Datum>> {
    // SAFETY: as the caller promises.
    let sampled = unsafe { or_raise(index, sampled::queries(store)) };
    if sampled.is_empty() {
        // SAFETY: as the caller promises.
        let relation = unsafe { relation_name(index) };
        return Err(Error::NoSampledQueries { relation });
    }
    fallible::collect(sampled.into_iter().map(|(_, value)| value))
}

/// Makes a recall the option of an index, as the caller.
fn set_target(index: pg_sys::Oid, target: f64) {
    let command =
        format!("SELECT pg_catalog.format('ALTER INDEX %s SET (target_recall = {target})', $1::pg_catalog.regclass)");
    Spi::connect_mut(|client| {
        let command = client
            .update(&command, None, &[index.into()])?
            .first()
            .get_one::<String>()?;
        client.update(&command.unwrap_or_default(), None, &[])?;
        Ok::<_, pgrx::spi::Error>(())
    })
    .unwrap_or_else(|error| panic!("hnsw_tune() could not alter the index: {error}"));
}

/// Measures the widths, and keeps the result if `apply` is set.
fn measure(store: &BufferStore, queries: &[pg_sys::Datum], target: f64, k: i32, apply: bool) -> Result<Tuned> {
    let graph = Graph::open(store)?;
    let mut asked = Vec::new();
    for &query in queries {
        // SAFETY: the values are of the index's type.
        if let RowValue::Placed(value) = unsafe { datum::of_row(Some(query), graph.space().parameters())? } {
            asked.try_push(graph.space().query(value.view()))?;
        }
    }
    let mut tuned = Tuned {
        rows: Vec::new(),
        chosen: 0,
    };
    if asked.is_empty() {
        return Ok(tuned);
    }
    let count = asked.len();
    let mut ks = KS.to_vec();
    ks.push(k as usize);
    let measurement = Measurement::new(&graph, asked, &ks)?;
    if measurement.nodes() == 0 {
        return Ok(tuned);
    }
    for width in WIDTHS {
        tuned.rows.push(measurement.at(&graph, width)?);
    }
    // A search that keeps fewer rows than are wanted takes further rounds.
    let wide = tuned.rows.partition_point(|row| usize::from(row.width) < k as usize);
    tuned.chosen = width_for(&tuned.rows[wide..], KS.len(), target).max(k as u16);
    let place = tuned.rows.partition_point(|row| row.width < tuned.chosen);
    if tuned.rows.get(place).is_none_or(|row| row.width != tuned.chosen) {
        tuned.rows.insert(place, measurement.at(&graph, tuned.chosen)?);
    }
    if apply {
        let blocks = store.blocks()?;
        let calibration = Calibration {
            finished: 0,
            nodes: measurement.nodes() as u64,
            removed: 0,
            blocks,
            queries: u16::try_from(count).unwrap_or(u16::MAX),
            source: Source::Queries,
            measured: tuned.rows.iter().map(Row::measured).collect(),
        };
        calibration::keep(store, calibration)?;
    }
    Ok(tuned)
}
