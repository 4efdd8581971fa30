//! The index scan: `ambeginscan`, `amrescan`, `amgettuple`, `amendscan`.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pgrx::{PgMemoryContexts, PgSqlErrorCode, pg_guard, pg_sys};

use super::filter::Columns;
use super::filter::scan_keys::Conditions;
use super::method::Method;
use super::opclass::STRATEGY;
use super::options::{self, Asked, Options};
use super::radius_key::{self, Wanted};
use super::rows_ahead::RowsAhead;
use super::tid_set::TidSet;
use super::{datum, item_pointer, or_raise, relation_name, sampling};
use crate::compat;
use crate::distance::Metric;
use crate::error::{Error, Result, warn_client};
use crate::fallible::Room;
use crate::hnsw::Graph;
use crate::hnsw::heap_tids::{self, Returned};
use crate::hnsw::indexed_value::OwnedValue;
use crate::hnsw::scan::staged_merge::MergedScan;
use crate::hnsw::scan::{Limits, Scan};
use crate::hnsw::search::Counts;
use crate::hnsw::space::Space;
use crate::storage::buffer_store::{BufferStore, Mode, buffer_hints};
use crate::storage::calibration;
use crate::storage::format::META_BLOCK;
use crate::storage::parameters::Parameters;
use crate::storage::{HeapTid, PageStore};
use crate::txn;

/// Dead rows that are collected before they are marked.
const MAX_DEAD: usize = 1000;

/// Rows that are passed over between looks for interrupts.
const ROWS_BETWEEN_LOOKS: u64 = 1024;

/// State of a scan between calls; freed with the memory context of the scan descriptor, also after
/// an error.
struct State {
    scan: Option<(BufferStore, Arc<Space>, MergedScan)>,
    /// Space of the index, kept for all rescans: the file stays the same while the index is open.
    space: Option<Arc<Space>>,
    /// Whether the user was warned that a bound ended a scan: once is enough for all rescans.
    warned: bool,
    /// Rows that are dead to everyone, to be marked.
    dead: Vec<Returned>,
    /// The table's length when it was last read.
    table_blocks: pg_sys::BlockNumber,
    /// Requests of the blocks of rows that are returned next.
    rows_ahead: RowsAhead,
    /// Time of the scan under way, and counters of the scans before it.
    spent: Duration,
    before: Counts,
    /// Width of the scan.
    aim: Aim,
    /// Whether the executor sorts the rows by distances that it computes; and the lower bound of
    /// the last row's distance, to which the descriptor points.
    reorders: bool,
    /// Whether the executor checks every row against the conditions, because the scan does not know
    /// all of them.
    rechecks: bool,
    distance: pg_sys::Datum,
    distance_is_null: bool,
    /// The rows to return, if not all are, and the number of rows that were passed over.
    only: Option<TidSet>,
    passed_over: u64,
}

impl Default for State {
    fn default() -> State {
        State {
            scan: None,
            space: None,
            warned: false,
            dead: Vec::new(),
            table_blocks: 0,
            rows_ahead: RowsAhead::new(),
            spent: Duration::ZERO,
            before: Counts::default(),
            aim: Aim::default(),
            reorders: false,
            rechecks: false,
            distance: pg_sys::Datum::null(),
            distance_is_null: false,
            only: None,
            passed_over: 0,
        }
    }
}

/// Counters of a scan.
#[derive(Debug, Clone, Copy)]
pub struct LastSearch {
    /// Records, pages and rows that the scan read.
    pub counts: Counts,
    /// Time of the search.
    pub spent: Duration,
    /// Its width, and the recall that gave it.
    pub aim: Aim,
}

/// The width of a scan, and the recall that gave it, if one did.
#[derive(Debug, Clone, Copy, Default)]
pub struct Aim {
    /// Width of the search.
    pub width: usize,
    /// Target of recall.
    pub target: Option<f64>,
}

thread_local! {
    static LAST: Cell<Option<LastSearch>> = const { Cell::new(None) };
}

/// Counters of the session's last scan that has ended.
pub fn last_search() -> Option<LastSearch> {
    LAST.get()
}

/// Counters of a scan, with all rescans.
///
/// # Safety
/// `descriptor` is one of ours.
pub unsafe fn counts(descriptor: pg_sys::IndexScanDesc) -> Counts {
    // SAFETY: as the caller promises.
    let state = unsafe { &*(*descriptor).opaque.cast::<State>() };
    let mut counts = state.before;
    if let Some((_, _, scan)) = &state.scan {
        counts += scan.counts();
    }
    counts
}

/// The width of a scan, or of the last of its rescans; zero before the first row.
///
/// # Safety
/// `descriptor` is one of ours.
pub unsafe fn aim_of(descriptor: pg_sys::IndexScanDesc) -> Aim {
    // SAFETY: as the caller promises.
    unsafe { (*(*descriptor).opaque.cast::<State>()).aim }
}

/// Has a scan, with its rescans, return only these rows.
///
/// # Safety
/// `descriptor` is one of ours.
pub unsafe fn restrict(descriptor: pg_sys::IndexScanDesc, rows: TidSet) {
    // SAFETY: as the caller promises.
    unsafe { (*(*descriptor).opaque.cast::<State>()).only = Some(rows) };
}

/// Number of rows that a scan, with its rescans, found and did not return.
///
/// # Safety
/// `descriptor` is one of ours.
pub unsafe fn passed_over(descriptor: pg_sys::IndexScanDesc) -> u64 {
    // SAFETY: as the caller promises.
    unsafe { (*(*descriptor).opaque.cast::<State>()).passed_over }
}

#[pg_guard]
pub unsafe extern "C-unwind" fn ambeginscan(index: pg_sys::Relation, keys: i32, orders: i32) -> pg_sys::IndexScanDesc {
    // SAFETY: PostgreSQL passes an open index and expects a descriptor in the current memory
    // context.
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
    // SAFETY: PostgreSQL passes a descriptor of ours with an open index.
    unsafe { or_raise((*scan).indexRelation, next(scan)) }
}

#[pg_guard]
pub unsafe extern "C-unwind" fn amendscan(scan: pg_sys::IndexScanDesc) {
    // SAFETY: PostgreSQL passes a descriptor of ours with an open index; the state goes with its
    // memory context.
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
        remember_dead(descriptor, state);
        state
    };
    let Some((store, space, scan)) = state.scan.take() else {
        return Ok(());
    };
    let counts = scan.counts();
    state.before += counts;
    LAST.set(Some(LastSearch {
        counts,
        spent: std::mem::take(&mut state.spent),
        aim: state.aim,
    }));
    kill(&store, &space, &mut state.dead)
}

/// Remembers the row returned last if it is dead to everyone.
///
/// # Safety
/// `descriptor` is one of ours, and `state` its state.
unsafe fn remember_dead(descriptor: pg_sys::IndexScanDesc, state: &mut State) {
    // SAFETY: as the caller promises.
    let is_dead = unsafe { std::mem::take(&mut (*descriptor).kill_prior_tuple) };
    if let Some((store, _, scan)) = &state.scan
        && is_dead
        && store.has_lsns()
        // A mark only saves later scans a row, so lack of memory is no error.
        && state.dead.room(1).is_ok()
    {
        state.dead.extend(scan.returned());
    }
}

fn kill(store: &BufferStore, space: &Arc<Space>, dead: &mut Vec<Returned>) -> Result<()> {
    match std::mem::take(dead) {
        dead if dead.is_empty() => Ok(()),
        dead => heap_tids::kill(&Graph::with(store, Arc::clone(space)), dead),
    }
}

/// # Safety
/// `descriptor` is one of ours, and its index is open.
unsafe fn next(descriptor: pg_sys::IndexScanDesc) -> Result<bool> {
    // SAFETY: as the caller promises; the state lives as long as the descriptor.
    let (index, state) = unsafe { ((*descriptor).indexRelation, &mut *(*descriptor).opaque.cast::<State>()) };
    // SAFETY: as the caller promises.
    unsafe { remember_dead(descriptor, state) };
    if state.scan.is_none() {
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
            LAST.set(Some(LastSearch {
                counts: Counts::default(),
                spent: Duration::ZERO,
                aim: state.aim,
            }));
            return Ok(false);
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
        // SAFETY: the table and the index are open.
        let staged = unsafe { txn::staged_keys((*descriptor).heapRelation, index, &query, limits.keys) };
        let mut scan = Scan::new(query, limits);
        if let Some(entry) = entry {
            scan = scan.entering_at(entry);
        }
        let scan = MergedScan::new(scan, staged)?;
        state.scan = Some((store, space, scan));
    }
    let Some((store, space, scan)) = &mut state.scan else {
        return Ok(false);
    };
    if state.dead.len() >= MAX_DEAD {
        kill(store, space, &mut state.dead)?;
    }
    let graph = Graph::with(store, Arc::clone(space));
    // A row that is ready takes less time than a look at the clock.
    let start = (!scan.is_ready()).then(Instant::now);
    let next = next_of(scan, &graph, state.only.as_mut(), &mut state.passed_over)?;
    state.spent += start.map_or(Duration::ZERO, |start| start.elapsed());
    let Some(tid) = next else {
        if scan.was_bounded() && !std::mem::replace(&mut state.warned, true) {
            // SAFETY: the index is open.
            unsafe { warn_of_bound(&relation_name(index), Method::of(index)) };
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
    // Of a scan of some rows, most of the next ones are passed over.
    if state.rows_ahead.has_missed() && state.only.is_none() {
        // SAFETY: the table is open.
        unsafe {
            let rows = scan.ready_rows();
            state
                .rows_ahead
                .request((*descriptor).heapRelation, state.table_blocks, rows);
        }
    }
    // SAFETY: the descriptor is ours to fill in.
    unsafe {
        (*descriptor).xs_heaptid = item_pointer(tid);
        (*descriptor).xs_recheck = state.rechecks || !scan.is_certain();
        (*descriptor).xs_recheckorderby = state.reorders;
        if state.reorders {
            let distance = scan.distance_at_least();
            state.distance = pg_sys::Datum::from(distance.unwrap_or_default().to_bits());
            state.distance_is_null = distance.is_none();
            (*descriptor).xs_orderbyvals = &raw mut state.distance;
            (*descriptor).xs_orderbynulls = &raw mut state.distance_is_null;
        }
    }
    Ok(true)
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

/// The next row of a scan that returns all rows, or `only` these.
fn next_of(
    scan: &mut MergedScan,
    graph: &Graph<BufferStore>,
    only: Option<&mut TidSet>,
    passed_over: &mut u64,
) -> Result<Option<HeapTid>> {
    let Some(only) = only else {
        return scan.next(graph);
    };
    while !only.is_empty() {
        match scan.next(graph)? {
            Some(tid) if !only.take(tid) => {
                *passed_over += 1;
                if passed_over.is_multiple_of(ROWS_BETWEEN_LOOKS) {
                    pgrx::check_for_interrupts!();
                }
            }
            next => return Ok(next),
        }
    }
    Ok(None)
}

/// Whether a TID, perhaps of a damaged page, lies beyond the end of the table. The table does not
/// shrink under a scan.
///
/// # Safety
/// `descriptor` is one of ours, and its table is open.
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

/// The value to search for, and the order and radius of the rows.
///
/// # Safety
/// `descriptor` is one of ours with its keys filled in.
unsafe fn query(descriptor: pg_sys::IndexScanDesc, parameters: &Parameters) -> Result<(OwnedValue, Wanted)> {
    // SAFETY: as the caller promises; an order-by key's argument is of the operator class's type,
    // or NULL.
    unsafe {
        if (*descriptor).numberOfOrderBys != 1 {
            return Err(Error::ScanWithoutOrder);
        }
        let snapshot = (*(*descriptor).xs_snapshot).snapshot_type;
        // Rows are returned without a pin on their page: only a snapshot protects them from being
        // replaced (see nbtree's README).
        if snapshot != pg_sys::SnapshotType::SNAPSHOT_MVCC && snapshot != pg_sys::SnapshotType::SNAPSHOT_HISTORIC_MVCC {
            return Err(Error::SnapshotNotMvcc);
        }
        let key = &*(*descriptor).orderByData;
        if !is_ours(&*(*descriptor).indexRelation, key) {
            return Err(Error::ForeignOperator);
        }
        let mut wanted = radius_key::split_radius_key(key.sk_argument, key.sk_flags & pg_sys::SK_ISNULL as i32 != 0)?;
        let Some(value) = wanted.value else {
            // Every distance is NULL, so any order is right.
            wanted.mode = radius_key::Mode::Fast;
            wanted.radius = wanted.radius.map(|_| f64::NEG_INFINITY);
            wanted.nan = false;
            return Ok((datum::zero(parameters), wanted));
        };
        let value = datum::of_query(value, parameters)?;
        // Bounds hold for distances not below zero. No distance from zero is a number under cosine,
        // so all rows pass or none.
        let has_radius = match parameters.metric {
            Metric::InnerProduct => false,
            Metric::Cosine => !wanted.nan || value != datum::zero(parameters),
            _ => true,
        };
        wanted.radius = wanted.radius.filter(|_| has_radius);
        if parameters.metric == Metric::Cosine && value == datum::zero(parameters) {
            wanted.mode = radius_key::Mode::Fast; // No distance is a number, so any order is right.
        }
        Ok((value, wanted))
    }
}

/// The conditions on filter columns.
///
/// # Safety
/// `descriptor` is one of ours with its keys filled in.
unsafe fn conditions(descriptor: pg_sys::IndexScanDesc, parameters: &Parameters) -> Result<Conditions> {
    // SAFETY: as the caller promises.
    unsafe {
        let columns = Columns::of((*descriptor).indexRelation);
        columns.check(parameters)?;
        let keys = match usize::try_from((*descriptor).numberOfKeys) {
            Ok(count) if count > 0 => std::slice::from_raw_parts((*descriptor).keyData, count),
            _ => &[],
        };
        Conditions::of(&columns, keys)
    }
}

/// Whether an order-by key is the index's own distance: a family may have other operators.
fn is_ours(index: &pg_sys::RelationData, key: &pg_sys::ScanKeyData) -> bool {
    // SAFETY: an index has the type of its first column.
    let value = unsafe { *index.rd_opcintype };
    key.sk_attno == 1 && key.sk_strategy == STRATEGY && [pg_sys::InvalidOid, value].contains(&key.sk_subtype)
}

fn warn_of_bound(index: &str, method: Method) {
    warn_client(
        PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED,
        &format!("scan of index \"{index}\" stopped before it had seen every row"),
        match method {
            Method::Hnsw => "hnsw.max_scan_tuples and hnsw.scan_mem_multiplier bound a scan.",
            Method::Ivfflat => {
                "ivfflat.probes, ivfflat.max_probes and hnsw.scan_mem_multiplier bound a scan; ivfflat.iterative_scan lets it go on."
            }
        },
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
        if let Some(counts) = buffer_hints::counts(index) {
            compat::count_scan(counts);
        }
        compat::count_search(descriptor);
    }
}
