//! `hnsw_sampled_queries()` and `hnsw_forget_queries()`: queries of its users that an index
//! has sampled (`hnsw.sample_queries`). Queries are data, so they are for the index's owner
//! alone, who owns the rows that they are compared with.

use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::{Audience, Concurrent, Inspected};
use crate::error::Result;
use crate::fallible;
use crate::hnsw::{Graph, sampled_queries};
use crate::pg_error::or_raise;
use crate::storage::buffer_store::{BufferStore, Mode};
use crate::types::varlena;

/// The sampled queries of an index, the newest first: time and text of each.
#[pg_extern(sql = false)]
fn hnsw_sampled_queries(
    index: pg_sys::Oid,
) -> TableIterator<'static, (name!(sampled_at, Option<TimestampWithTimeZone>), name!(query, String))> {
    let opened =
        Inspected::open(index, Concurrent::Everything, Audience::OwnerAlone).unwrap_or_else(|error| error.raise());
    // SAFETY: the index is open and locked; the values are of the type of its first column.
    let rows = unsafe {
        let store = BufferStore::new(opened.index, Mode::Normal);
        let sampled = or_raise(opened.index, queries(&store));
        let (mut output, mut is_varlena) = (pg_sys::InvalidOid, false);
        pg_sys::getTypeOutputInfo(*(*opened.index).rd_opcintype, &mut output, &mut is_varlena);
        let rows = sampled.into_iter().map(|(at, value)| {
            let text = pg_sys::OidOutputFunctionCall(output, value);
            let row = CStr::from_ptr(text).to_string_lossy().into_owned();
            pg_sys::pfree(text.cast());
            (TimestampWithTimeZone::try_from(at).ok(), row)
        });
        or_raise(opened.index, fallible::collect(rows))
    };
    TableIterator::new(rows)
}

/// The times and values of the sampled queries, the newest first, in the current memory context.
/// The values have sound headers and the index's dimensions.
pub(super) fn queries(store: &BufferStore) -> Result<Vec<(i64, pg_sys::Datum)>> {
    let graph = Graph::open(store)?;
    let parameters = *graph.space().parameters();
    let mut queries = Vec::new();
    for sampled in sampled_queries::all(&graph)? {
        let value = varlena::of_payload(&sampled.value);
        // SAFETY: the value has a plain header.
        unsafe { crate::am::datum::of_query(value, &parameters)? };
        fallible::TryPush::try_push(&mut queries, (sampled.at, value))?;
    }
    Ok(queries)
}

/// Makes an index forget its sampled queries. Returns their number.
#[pg_extern(sql = false)]
fn hnsw_forget_queries(index: pg_sys::Oid) -> i64 {
    // SAFETY: they raise PostgreSQL's errors.
    unsafe {
        pg_sys::PreventCommandIfReadOnly(c"hnsw_forget_queries()".as_ptr());
        pg_sys::PreventCommandDuringRecovery(c"hnsw_forget_queries()".as_ptr());
    }
    let opened =
        Inspected::open(index, Concurrent::ReadAndWrite, Audience::OwnerAlone).unwrap_or_else(|error| error.raise());
    // SAFETY: the index is open and locked.
    unsafe {
        let store = BufferStore::new(opened.index, Mode::Normal);
        let forgotten = Graph::open(&store).and_then(|graph| sampled_queries::forget(&graph));
        or_raise(opened.index, forgotten) as i64
    }
}
