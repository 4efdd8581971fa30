//! `alopex_rebuild()`: builds the indexes of a database anew that queries do without.

use std::ffi::CString;

use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use super::run_as::RunAs;
use crate::am;
use crate::pg_error::qualified_name;
use crate::storage::PageStore;
use crate::storage::buffer_store::{BufferStore, Mode};
use crate::storage::format::META_BLOCK;
use crate::storage::meta;

/// Indexes of the caller, by the size of their tables.
const INDEXES: &str = "SELECT c.oid FROM pg_class c JOIN pg_index ON indexrelid = c.oid JOIN pg_am a ON a.oid = c.relam
    WHERE c.relkind = 'i' AND amname IN ('hnsw', 'ivfflat') AND pg_has_role(c.relowner, 'USAGE')
        AND NOT pg_is_other_temp_schema(c.relnamespace)
    ORDER BY pg_table_size(indrelid), c.oid";

/// Builds each index anew that is not valid, or that another version or pgvector built: those of
/// small tables first, and each in a transaction of its own. So a call after an error or a cancel
/// goes on where the last one ended.
#[pg_extern(sql = false)]
fn alopex_rebuild(fcinfo: pg_sys::FunctionCallInfo) {
    let indexes = {
        // SAFETY: called in a transaction.
        let _run_as = unsafe { RunAs::caller() };
        let indexes: spi::SpiResult<Vec<pg_sys::Oid>> = Spi::connect(|client| {
            let rows = client.select(INDEXES, None, &[])?;
            rows.filter_map(|row| row.get::<pg_sys::Oid>(1).transpose()).collect()
        });
        indexes.unwrap_or_else(|error| error!("the catalogs cannot be read: {error}"))
    };
    // SAFETY: the objects are there, or were.
    let indexes: Vec<_> = indexes
        .into_iter()
        .filter(|&index| unsafe { name_if_needed(index) }.is_some())
        .collect();
    // SAFETY: fcinfo is that of the call in progress. Everything that is kept over a commit is
    // memory of Rust.
    unsafe {
        let is_atomic = is_atomic(fcinfo);
        let options = if is_atomic { 0 } else { pg_sys::SPI_OPT_NONATOMIC };
        pg_sys::SPI_connect_ext(options as i32);
        for (i, &index) in indexes.iter().enumerate() {
            check_for_interrupts!();
            // Somebody else may have built it since.
            let Some(name) = name_if_needed(index) else { continue };
            let statement = CString::new(format!("REINDEX INDEX {name}")).unwrap_or_default();
            let done = pg_sys::SPI_execute(statement.as_ptr(), false, 0);
            if done != pg_sys::SPI_OK_UTILITY as i32 {
                error!("REINDEX INDEX {name} failed with code {done}");
            }
            if !is_atomic {
                pg_sys::SPI_commit();
            }
            ErrorReport::new(
                PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
                format!("rebuilt index {name} ({} of {})", i + 1, indexes.len()),
                "",
            )
            .report(PgLogLevel::NOTICE);
        }
        pg_sys::SPI_finish();
    }
}

/// Whether CALL runs within a transaction that is not its own to commit.
///
/// # Safety
/// `fcinfo` is that of the call in progress.
unsafe fn is_atomic(fcinfo: pg_sys::FunctionCallInfo) -> bool {
    // SAFETY: as the caller promises: the context of a procedure's call is of this type.
    unsafe {
        let context = (*fcinfo).context;
        context.is_null()
            || (*context).type_ != pg_sys::NodeTag::T_CallContext
            || (*context.cast::<pg_sys::CallContext>()).atomic
    }
}

/// The name of an index as SQL takes it, if it is still there and queries do without it until it is
/// built anew.
///
/// # Safety
/// Called in a transaction, with an index or what was one.
unsafe fn name_if_needed(index: pg_sys::Oid) -> Option<String> {
    let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
    // SAFETY: as the caller promises; an open relation has its parts.
    unsafe {
        let relation = pg_sys::try_relation_open(index, lock);
        if relation.is_null() {
            return None;
        }
        let is_index = !(*relation).rd_index.is_null() && am::is_ours(relation);
        let is_needed = is_index && {
            let form = &*(*relation).rd_index;
            let store = BufferStore::new(relation, Mode::Normal);
            let is_of_other_format = || {
                let format = store.read(META_BLOCK, meta::check_format);
                format.is_err_and(|error| error.asks_for_rebuild())
            };
            !form.indisvalid || !form.indisready || is_of_other_format()
        };
        let name = is_needed.then(|| qualified_name(relation));
        pg_sys::relation_close(relation, lock);
        name
    }
}
