//! `aminsert`: stages a row, which goes into the index at the end of the statement or at COMMIT.
//!
//! Path of a row: [`aminsert`] → `txn::stage` → at the end of a statement that is a transaction by
//! itself `txn::statement`, or else at COMMIT or PREPARE `txn::commit` → `txn::Staged::apply` →
//! `hnsw::insert::batch::insert` → `hnsw::insert::insert_point`. A row that cannot be staged
//! (`hnsw.staging_memory` is 0, the commit is under way, or [`txn::can_stage`] is `false`) goes to
//! `hnsw::insert::insert` at once. Rows without a place in the graph go to
//! `hnsw::heap_tids::unplaced::add`.

use pgrx::{pg_guard, pg_sys};

use super::filter::Columns;
use super::{datum, heap_tid, options, or_raise};
use crate::error::Result;
use crate::hnsw::Graph;
use crate::hnsw::heap_tids::unplaced;
use crate::hnsw::indexed_value::RowValue;
use crate::hnsw::insert::{self, Inserter, NewRow};
use crate::rebuild;
use crate::storage::buffer_store::{BufferStore, Mode};
use crate::txn::{self, insert_counters::Measured};

#[pg_guard]
#[allow(clippy::too_many_arguments, reason = "PostgreSQL's signature")]
pub unsafe extern "C-unwind" fn aminsert(
    index: pg_sys::Relation,
    values: *mut pg_sys::Datum,
    isnull: *mut bool,
    tid: pg_sys::ItemPointer,
    heap: pg_sys::Relation,
    _check_unique: pg_sys::IndexUniqueCheck::Type,
    unchanged: bool,
    info: *mut pg_sys::IndexInfo,
) -> bool {
    // SAFETY: PostgreSQL passes an open index with the values of its columns, and the row's TID.
    unsafe {
        let row = NewRow {
            unchanged: unchanged && had_same_entry(heap, info),
            values: or_raise(index, Columns::of(index).of_row(values, isnull)),
            ..heap_tid(tid).into()
        };
        let datum = (!*isnull).then(|| *values);
        let is_partial = !(*info).ii_Predicate.is_null();
        if rebuild::or_pass_by(index, insert(heap, index, datum, row, is_partial)).is_none() {
            or_raise(index, rebuild::give_up(index));
        }
    }
    false
}

/// Whether a row updated without naming a column of the index had the same values in the index
/// before. `false` if the index has a condition, because the row may not have met it, or if a
/// trigger may have set a column.
///
/// # Safety
/// `heap` is an open table, and `info` PostgreSQL's description of an index of it.
unsafe fn had_same_entry(heap: pg_sys::Relation, info: *mut pg_sys::IndexInfo) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        let sets_columns = (*heap)
            .trigdesc
            .as_ref()
            .is_some_and(|triggers| triggers.trig_update_before_row);
        (*info).ii_Predicate.is_null() && !sets_columns
    }
}

/// # Safety
/// `heap` is an open table, `index` an open index of it and of this access method, `datum` a value
/// of its first column, or none if that is NULL.
unsafe fn insert(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    datum: Option<pg_sys::Datum>,
    row: NewRow,
    is_partial: bool,
) -> Result<()> {
    // SAFETY: the executor holds the relation open and locked for writing.
    let (store, known) = unsafe { (BufferStore::new(index, Mode::Normal), txn::staged_index(index)) };
    let (graph, built_in) = match known {
        Some((space, built_in)) => (Graph::with(&store, space), built_in),
        None => Graph::open_read(&store).map(|(graph, meta)| (graph, meta.file))?,
    };
    // SAFETY: as the caller promises.
    let value = unsafe {
        let parameters = graph.space().parameters();
        Columns::of(index).check(parameters)?;
        datum::of_row(datum, parameters)?
    };
    let max_bytes = options::staging_memory();
    // SAFETY: as above; the row is in the table.
    let can_stage = max_bytes > 0 && txn::is_staging() && unsafe { txn::can_stage(heap, row.tid, is_partial) };
    // SAFETY: as above.
    let is_staged = can_stage && unsafe { txn::stage(heap, index, (graph.space(), built_in), &value, row, max_bytes)? };
    if !is_staged {
        // SAFETY: as above.
        unsafe { txn::settle_before(heap, index, row.tid) };
        let (measured, mut inserter) = (Measured::start(), Inserter::default());
        match &value {
            RowValue::Placed(value) => insert::insert(&graph, &mut inserter, value.view(), row)?,
            RowValue::Unplaced(kind) => unplaced::add(&graph, *kind, &[row.tid])?,
        }
        measured.end(1, &inserter, &store);
        // SAFETY: as above.
        unsafe { txn::check_for_conflict(index) };
    }
    Ok(())
}
