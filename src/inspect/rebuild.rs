//! `alopex_rebuild()`: builds the indexes of a database anew that queries do without.

use std::ffi::{CStr, CString, c_int};

use pgrx::pg_sys;
use pgrx::pg_sys::panic::{ErrorReport, ErrorReportWithLevel};
use pgrx::prelude::*;

use super::run_as::RunAs;
use crate::am;
use crate::error::warn_with;
use crate::pg_error::qualified_name;
use crate::sqlstate::Sqlstates;
use crate::storage::PageStore;
use crate::storage::buffer_store::{BufferStore, Mode};
use crate::storage::format::META_BLOCK;
use crate::storage::meta;
use crate::txn::subtransaction::in_subtransaction;

/// Indexes of the caller, by the size of their tables.
const INDEXES: &str = "SELECT c.oid FROM pg_class c JOIN pg_index ON indexrelid = c.oid JOIN pg_am a ON a.oid = c.relam
    WHERE c.relkind = 'i' AND amname IN ('hnsw', 'ivfflat') AND pg_has_role(c.relowner, 'USAGE')
        AND NOT pg_is_other_temp_schema(c.relnamespace)
    ORDER BY pg_table_size(indrelid), c.oid";

/// Builds each index anew that is not valid, or that another version or pgvector built: those of
/// small tables first, and each in a transaction of its own. An error keeps one index as it is, and
/// the call goes on with the others; it fails at the end. A cancel ends it at once. A further call
/// takes up the indexes that are left. In a transaction of the caller's the first error ends it,
/// since nothing would be kept.
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
    // SAFETY: fcinfo is that of the call in progress. Everything that is kept over a commit is
    // memory of Rust. The objects are there, or were.
    unsafe {
        let is_atomic = is_atomic(fcinfo);
        // An index that cannot be looked at is told of below.
        let is_needed = |&index: &pg_sys::Oid| match is_atomic {
            true => name_if_needed(index).is_some(),
            false => in_subtransaction(|| name_if_needed(index).is_some()).unwrap_or(true),
        };
        let indexes: Vec<_> = indexes.into_iter().filter(is_needed).collect();
        let options = if is_atomic { 0 } else { pg_sys::SPI_OPT_NONATOMIC };
        pg_sys::SPI_connect_ext(options as i32);
        let sqlstates = Sqlstates::default();
        let mut failures = 0;
        for (i, &index) in indexes.iter().enumerate() {
            check_for_interrupts!();
            let place = format!("({} of {})", i + 1, indexes.len());
            let rebuilt = if is_atomic {
                rebuild(index)
            } else {
                let result = in_subtransaction(|| sqlstates.keep(|| rebuild(index)));
                pg_sys::SPI_commit();
                result.unwrap_or_else(|error| {
                    let code = sqlstates.of(error.sql_error_code(), error.message());
                    failures += usize::from(warn(index, &place, code, &error));
                    None
                })
            };
            if let Some(name) = rebuilt {
                let message = format!("rebuilt index {name} {place}");
                ErrorReport::new(PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, message, "").report(PgLogLevel::NOTICE);
            }
        }
        pg_sys::SPI_finish();
        if failures > 0 {
            let message = format!("could not rebuild {failures} of {} indexes", indexes.len());
            ErrorReport::new(PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message, "")
                .set_hint(
                    "A warning names each of them and its error. A further CALL alopex_rebuild() takes up only these.",
                )
                .report(PgLogLevel::ERROR);
        }
    }
}

/// Builds an index anew if it is still needed, and returns its name.
///
/// # Safety
/// SPI is connected.
unsafe fn rebuild(index: pg_sys::Oid) -> Option<String> {
    // Somebody else may have built it since.
    // SAFETY: called in a transaction.
    let name = unsafe { name_if_needed(index) }?;
    let statement = CString::new(format!("REINDEX INDEX {name}")).unwrap_or_default();
    // SAFETY: as the caller promises.
    let done = unsafe { pg_sys::SPI_execute(statement.as_ptr(), false, 0) };
    if done != pg_sys::SPI_OK_UTILITY as i32 {
        error!("REINDEX INDEX {name} failed with code {done}");
    }
    Some(name)
}

/// Tells of an error of this SQLSTATE, packed, that kept an index as it is; returns false if the
/// index is gone meanwhile.
///
/// # Safety
/// Called in a transaction.
unsafe fn warn(index: pg_sys::Oid, place: &str, code: c_int, error: &ErrorReportWithLevel) -> bool {
    // SAFETY: as the caller promises; the names are strings that PostgreSQL allocates.
    let name = unsafe {
        let name = pg_sys::get_rel_name(index);
        if name.is_null() {
            return false;
        }
        let schema = pg_sys::get_namespace_name_or_temp(pg_sys::get_rel_namespace(index));
        CStr::from_ptr(pg_sys::quote_qualified_identifier(schema, name)).to_string_lossy()
    };
    // SAFETY: the text is in memory of PostgreSQL's own, and copied at once.
    let state = unsafe { CStr::from_ptr(pg_sys::unpack_sql_state(code)).to_string_lossy() };
    let message = error.message();
    let message = format!("could not rebuild index {name} {place}: {message} (SQLSTATE {state})");
    warn_with(code, &message, error.detail(), error.hint());
    true
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
