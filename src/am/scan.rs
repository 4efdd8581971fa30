//! The index scan: `ambeginscan`, `amrescan`, `amgettuple`, `amendscan`.

use std::sync::Arc;

use pgrx::{PgLogLevel, PgMemoryContexts, PgSqlErrorCode, ereport, pg_guard, pg_sys};

use super::{item_pointer, options, or_raise, relation_name};
use crate::distance::{self, Metric};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::graph::beside::BesideScan;
use crate::graph::scan::Scan;
use crate::graph::space::Space;
use crate::graph::tids::Returned;
use crate::storage::HeapTid;
use crate::storage::buffers::{BufferStore, Mode, recent};
use crate::storage::meta::Parameters;
use crate::txn;
use crate::types::dense::{Element, VectorDatum};

/// Dead rows that are remembered before they are marked.
const MOST_DEAD: usize = 1000;

/// What a scan keeps between calls; freed with the memory context of the scan descriptor, also after an error.
#[derive(Default)]
struct State {
    scan: Option<(BufferStore, Arc<Space>, BesideScan)>,
    /// What the index is, for all rescans: its file is the same as long as it is open.
    space: Option<Arc<Space>>,
    /// Whether the user was told that a bound ended a scan: once is enough for all rescans.
    warned: bool,
    /// Rows that are dead to everyone, to be marked.
    dead: Vec<Returned>,
    /// The table's length when it was last asked for.
    table_blocks: pg_sys::BlockNumber,
}

#[pg_guard]
pub unsafe extern "C-unwind" fn ambeginscan(index: pg_sys::Relation, keys: i32, orders: i32) -> pg_sys::IndexScanDesc {
    // SAFETY: PostgreSQL passes an open index and expects a descriptor in the current memory context.
    unsafe {
        let scan = pg_sys::RelationGetIndexScan(index, keys, orders);
        let state = PgMemoryContexts::CurrentMemoryContext.leak_and_drop_on_delete(State::default());
        (*scan).opaque = state.cast();
        scan
    }
}

#[pg_guard]
pub unsafe extern "C-unwind" fn amrescan(
    scan: pg_sys::IndexScanDesc,
    keys: pg_sys::ScanKey,
    key_count: i32,
    orders: pg_sys::ScanKey,
    order_count: i32,
) {
    // SAFETY: PostgreSQL passes a descriptor of ours, and as many keys as it has room for.
    unsafe {
        or_raise((*scan).indexRelation, end(scan));
        if !keys.is_null() && key_count > 0 {
            std::ptr::copy(keys, (*scan).keyData, key_count as usize);
        }
        if !orders.is_null() && order_count > 0 {
            std::ptr::copy(orders, (*scan).orderByData, order_count as usize);
        }
    }
}

#[pg_guard]
pub unsafe extern "C-unwind" fn amgettuple(
    scan: pg_sys::IndexScanDesc,
    direction: pg_sys::ScanDirection::Type,
) -> bool {
    debug_assert_eq!(direction, pg_sys::ScanDirection::ForwardScanDirection);
    // SAFETY: PostgreSQL passes a descriptor of ours whose index is open.
    unsafe { or_raise((*scan).indexRelation, next(scan)) }
}

#[pg_guard]
pub unsafe extern "C-unwind" fn amendscan(scan: pg_sys::IndexScanDesc) {
    // SAFETY: PostgreSQL passes a descriptor of ours whose index is open; the state itself goes with its memory context.
    unsafe { or_raise((*scan).indexRelation, end(scan)) };
}

/// Ends a scan: marks the rows that were found dead to everyone.
///
/// # Safety
/// `descriptor` is one of ours, and its index is open.
unsafe fn end(descriptor: pg_sys::IndexScanDesc) -> Result<()> {
    // SAFETY: as the caller promises.
    let state = unsafe {
        let state = &mut *(*descriptor).opaque.cast::<State>();
        note_dead(descriptor, state);
        state
    };
    match state.scan.take() {
        Some((store, space, _)) => kill(&store, &space, &mut state.dead),
        None => Ok(()),
    }
}

/// Remembers the row returned last if it is dead to everyone.
///
/// # Safety
/// `descriptor` is one of ours, whose state this is.
unsafe fn note_dead(descriptor: pg_sys::IndexScanDesc, state: &mut State) {
    // SAFETY: as the caller promises.
    let is_dead = unsafe { std::mem::take(&mut (*descriptor).kill_prior_tuple) };
    if let Some((store, _, scan)) = &state.scan
        && is_dead
        && store.has_lsns()
    {
        state.dead.extend(scan.returned());
    }
}

fn kill(store: &BufferStore, space: &Arc<Space>, dead: &mut Vec<Returned>) -> Result<()> {
    match std::mem::take(dead) {
        dead if dead.is_empty() => Ok(()),
        dead => Graph::with(store, Arc::clone(space)).kill(dead),
    }
}

/// # Safety
/// `descriptor` is one of ours, and its index is open.
unsafe fn next(descriptor: pg_sys::IndexScanDesc) -> Result<bool> {
    // SAFETY: as the caller promises; the state lives as long as the descriptor.
    let (index, state) = unsafe { ((*descriptor).indexRelation, &mut *(*descriptor).opaque.cast::<State>()) };
    // SAFETY: as the caller promises.
    unsafe { note_dead(descriptor, state) };
    if state.scan.is_none() {
        // SAFETY: the executor holds the index open and locked until it ends the scan.
        let store = unsafe { BufferStore::new(index, Mode::Normal) };
        let space = match &state.space {
            Some(space) => Arc::clone(space),
            None => Arc::clone(state.space.insert(Arc::clone(Graph::open(&store)?.space()))),
        };
        // SAFETY: as the caller promises.
        let query = unsafe { query(descriptor, space.parameters())? };
        // SAFETY: the index is open.
        unsafe { count_scan(descriptor) };
        let query = space.query(&query);
        // SAFETY: the table and the index are open.
        let beside = unsafe { txn::beside((*descriptor).heapRelation, index, &query) };
        // SAFETY: the descriptor is ours.
        let killed = !unsafe { (*descriptor).ignore_killed_tuples };
        let scan = BesideScan::new(Scan::new(query, options::limits(killed)), beside);
        state.scan = Some((store, space, scan));
    }
    let Some((store, space, scan)) = &mut state.scan else {
        return Ok(false);
    };
    if state.dead.len() >= MOST_DEAD {
        kill(store, space, &mut state.dead)?;
    }
    let graph = Graph::with(store, Arc::clone(space));
    let Some(tid) = scan.next(&graph)? else {
        if scan.was_bounded() && !std::mem::replace(&mut state.warned, true) {
            // SAFETY: the index is open.
            warn_of_bound(&unsafe { relation_name(index) });
        }
        return Ok(false);
    };
    // SAFETY: as the caller promises.
    if tid.offset == 0 || unsafe { is_beyond_table(descriptor, &mut state.table_blocks, tid) } {
        return Err(Error::corrupted(
            scan.block(&graph),
            "a heap TID that the table cannot have",
        ));
    }
    // SAFETY: the descriptor is ours to fill in.
    unsafe {
        (*descriptor).xs_heaptid = item_pointer(tid);
        (*descriptor).xs_recheck = false;
        (*descriptor).xs_recheckorderby = false;
    }
    Ok(true)
}

/// Whether a TID cannot be one of the table's, which a damaged page may hold. The table does not shrink under a scan.
///
/// # Safety
/// `descriptor` is one of ours whose table is open.
unsafe fn is_beyond_table(descriptor: pg_sys::IndexScanDesc, blocks: &mut pg_sys::BlockNumber, tid: HeapTid) -> bool {
    if tid.block < *blocks {
        return false;
    }
    // SAFETY: as the caller promises.
    unsafe {
        let table = (*descriptor).heapRelation;
        // Other table access methods are free to number rows as they like.
        if (*(*table).rd_rel).relam != pg_sys::HEAP_TABLE_AM_OID {
            return false;
        }
        *blocks = pg_sys::RelationGetNumberOfBlocksInFork(table, pg_sys::ForkNumber::MAIN_FORKNUM);
    }
    tid.block >= *blocks
}

/// The vector to search for, as the index keeps vectors.
///
/// # Safety
/// `descriptor` is one of ours with its keys filled in.
unsafe fn query(descriptor: pg_sys::IndexScanDesc, parameters: &Parameters) -> Result<Vec<f32>> {
    let dimensions = parameters.shape.dimensions as usize;
    // SAFETY: as the caller promises; an order-by key's argument is of the operator class's type, or NULL.
    unsafe {
        if (*descriptor).numberOfOrderBys != 1 {
            return Err(Error::ScanWithoutOrder);
        }
        let snapshot = (*(*descriptor).xs_snapshot).snapshot_type;
        // Rows are returned without a pin on their page: only a snapshot protects them from being replaced (see nbtree's README).
        if snapshot != pg_sys::SnapshotType::SNAPSHOT_MVCC && snapshot != pg_sys::SnapshotType::SNAPSHOT_HISTORIC_MVCC {
            return Err(Error::SnapshotNotMvcc);
        }
        let key = &*(*descriptor).orderByData;
        if key.sk_flags & pg_sys::SK_ISNULL as i32 != 0 {
            // Every distance is NULL: any order will do.
            return Ok(vec![0.0; dimensions]);
        }
        let value = VectorDatum::from_datum(key.sk_argument);
        let mut query = value.as_slice().to_vec();
        if query.len() != dimensions {
            return Err(Error::DifferentDimensions {
                type_name: f32::TYPE_NAME,
                left: dimensions,
                right: query.len(),
            });
        }
        if parameters.metric == Metric::Cosine {
            distance::normalize(&mut query);
        }
        Ok(query)
    }
}

fn warn_of_bound(index: &str) {
    ereport!(
        PgLogLevel::WARNING,
        PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        format!("scan of index \"{index}\" stopped before it had seen every row"),
        "hnsw.max_scan_tuples and hnsw.scan_mem_multiplier bound a scan."
    );
}

/// Counts the scan in the statistics (PostgreSQL's `pgstat_count_index_scan`).
///
/// # Safety
/// The descriptor's index is open.
unsafe fn count_scan(descriptor: pg_sys::IndexScanDesc) {
    // SAFETY: as the caller promises; the counters, where there are any, belong to this backend.
    unsafe {
        let index = (*descriptor).indexRelation;
        if let Some(counts) = recent::counts(index) {
            #[cfg(feature = "pg15")]
            {
                counts.t_numscans += 1;
            }
            #[cfg(not(feature = "pg15"))]
            {
                counts.numscans += 1;
            }
        }
        #[cfg(feature = "pg18")]
        if let Some(instrumentation) = (*descriptor).instrument.as_mut() {
            instrumentation.nsearches += 1;
        }
    }
}
