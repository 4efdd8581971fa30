//! `aminsert`: one row at a time.

use pgrx::{pg_guard, pg_sys};

use super::{heap_tid, indexed_form, or_raise};
use crate::error::Result;
use crate::graph::Graph;
use crate::graph::insert::Inserter;
use crate::storage::HeapTid;
use crate::storage::buffers::{BufferStore, Mode};
use crate::types::vector::VectorDatum;

#[pg_guard]
#[allow(clippy::too_many_arguments, reason = "PostgreSQL's signature")]
pub unsafe extern "C-unwind" fn aminsert(
    index: pg_sys::Relation,
    values: *mut pg_sys::Datum,
    isnull: *mut bool,
    tid: pg_sys::ItemPointer,
    _heap: pg_sys::Relation,
    _check_unique: pg_sys::IndexUniqueCheck::Type,
    _index_unchanged: bool,
    _info: *mut pg_sys::IndexInfo,
) -> bool {
    // SAFETY: PostgreSQL passes an open index with its one column, and the row's TID.
    unsafe {
        if !*isnull {
            let value = VectorDatum::from_datum(*values);
            or_raise(index, insert(index, &value, heap_tid(tid)));
        }
    }
    false
}

/// # Safety
/// `index` is an open index of this access method.
unsafe fn insert(index: pg_sys::Relation, value: &VectorDatum, tid: HeapTid) -> Result<()> {
    // SAFETY: the executor holds the relation open and locked for writing.
    let store = unsafe { BufferStore::new(index, Mode::Normal) };
    let graph = Graph::open(&store)?;
    match indexed_form(value, graph.space().parameters())? {
        Some(vector) => graph.insert(&mut Inserter::default(), &vector, tid),
        None => Ok(()),
    }
}
