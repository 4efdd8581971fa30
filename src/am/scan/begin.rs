//! The beginning of a scan: its keys become a query, its width and its limits.

use std::sync::Arc;
use std::time::Duration;

use pgrx::pg_sys;

use super::State;
use super::last_search::{self, Aim, LastSearch};
use super::query::{conditions, query};
use super::table_order::TableOrder;
use crate::am::options::{self, Asked, Options};
use crate::am::{radius_key, sampling};
use crate::compat;
use crate::error::Result;
use crate::hnsw::Graph;
use crate::hnsw::scan::staged_merge::MergedScan;
use crate::hnsw::scan::{Limits, Scan};
use crate::hnsw::search::Counts;
use crate::storage::PageStore;
use crate::storage::buffer_store::{BufferStore, Mode, buffer_hints};
use crate::storage::calibration;
use crate::storage::format::META_BLOCK;
use crate::txn;

/// Begins the scan of the descriptor's keys, unless no row meets their conditions.
///
/// # Safety
/// `descriptor` is one of ours, `state` its state, and its index and table are open.
pub unsafe fn begin(descriptor: pg_sys::IndexScanDesc, state: &mut State) -> Result<()> {
    // SAFETY: as the caller promises.
    let index = unsafe { (*descriptor).indexRelation };
    // SAFETY: the executor holds the index open and locked until it ends the scan.
    let store = unsafe { BufferStore::new(index, Mode::Normal) };
    let mut entry = None;
    let space = match &state.space {
        Some(space) => Arc::clone(space),
        None => {
            let (graph, meta) = Graph::open_read(&store)?;
            entry = Some(meta.entry);
            Arc::clone(state.space.insert(Arc::clone(graph.space())))
        }
    };
    // SAFETY: as the caller promises.
    let (query, wanted) = unsafe { query(descriptor, space.parameters())? };
    if let Some(value) = wanted.value
        && sampling::is_due()
    {
        // SAFETY: the value is of the index's type; no page is locked.
        unsafe { sampling::sample(&store, &space, value) };
    }
    // SAFETY: the index is open.
    unsafe { count_scan(descriptor) };
    // SAFETY: the index is open.
    let (options, rows) = unsafe { (Options::of(index), f64::from((*(*index).rd_rel).reltuples)) };
    // SAFETY: the descriptor has its keys filled in.
    let conditions = unsafe { conditions(descriptor, space.parameters())? };
    let asked = Asked {
        is_filtered: !conditions.filter.is_empty(),
        rows: wanted.rows,
        is_coded: space.layout().is_coded(),
        has_radius: wanted.radius.is_some(),
        of: rows,
    };
    state.aim = aim(&store, &options, asked)?;
    if conditions.exclude_all() {
        last_search::keep(LastSearch {
            counts: Counts::default(),
            spent: Duration::ZERO,
            aim: state.aim,
        });
        return Ok(());
    }
    state.rechecks = !conditions.is_complete;
    let query = space.filtered(space.query(query.view()), conditions.filter)?;
    // SAFETY: the descriptor is ours.
    let killed = !unsafe { (*descriptor).ignore_killed_tuples };
    let limits = Limits {
        beyond: wanted
            .radius
            .map_or(f32::INFINITY, |radius| space.max_key_within(&query, radius)),
        unplaced: wanted.nan,
        killed,
        ..options::limits(&options, state.aim.width, rows)
    };
    let mode = match options.is_exact() {
        true => radius_key::Mode::Exact,
        false => wanted.mode,
    };
    state.reorders = matches!(mode, radius_key::Mode::Reordered | radius_key::Mode::Exact);
    let limits = match mode {
        radius_key::Mode::Fast => limits,
        radius_key::Mode::Strict => limits.strict(),
        radius_key::Mode::Reordered => limits.by_least_distances(),
        radius_key::Mode::Exact => limits.by_passes(&Graph::with(&store, Arc::clone(&space)))?,
    };
    let compared_to = wanted
        .value
        .filter(|_| space.layout().shape.is_compact() && !state.reorders);
    if let Some(value) = compared_to {
        // SAFETY: as the caller promises; the value is of the index's type.
        unsafe {
            state
                .table_order
                .get_or_insert_with(|| TableOrder::new(descriptor))
                .begin(value)
        };
    }
    state.is_in_table_order = compared_to.is_some();
    // SAFETY: the table and the index are open.
    let staged = unsafe { txn::staged_keys((*descriptor).heapRelation, index, &query, limits.keys) };
    let mut scan = Scan::new(query, limits);
    if let Some(entry) = entry {
        scan = scan.entering_at(entry);
    }
    let scan = MergedScan::new(scan, staged)?;
    state.scan = Some((store, space, scan));
    Ok(())
}

/// The width of a scan of an index with these options. Only a target of recall takes a look at the
/// meta page.
///
/// Locks: the meta page, shared; on return: none.
fn aim(store: &BufferStore, options: &Options, asked: Asked) -> Result<Aim> {
    let target = options.effort().target();
    let calibration = match target {
        Some(_) => store.read(META_BLOCK, calibration::read)?,
        None => None,
    };
    Ok(Aim {
        width: options.width(calibration.as_ref(), asked),
        target,
    })
}

/// Counts the scan in the statistics (PostgreSQL's `pgstat_count_index_scan`).
///
/// # Safety
/// The descriptor's index is open.
unsafe fn count_scan(descriptor: pg_sys::IndexScanDesc) {
    // SAFETY: as the caller promises; the counters, where there are any, belong to this backend.
    unsafe {
        let index = (*descriptor).indexRelation;
        if let Some(counts) = buffer_hints::counts(index) {
            compat::count_scan(counts);
        }
        compat::count_search(descriptor);
    }
}
