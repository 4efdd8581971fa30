//! The index scan: `ambeginscan`, `amrescan`, `amgettuple`, `amendscan`.

mod begin;
mod last_search;
mod query;
mod rows_ahead;
mod table_order;

use std::sync::Arc;
use std::time::{Duration, Instant};

use pgrx::{PgMemoryContexts, PgSqlErrorCode, pg_guard, pg_sys};

pub use self::last_search::{Aim, LastSearch, last_search};
use self::rows_ahead::RowsAhead;
use self::table_order::TableOrder;
use super::method::Method;
use super::tid_set::TidSet;
use super::{item_pointer, or_raise, relation_name};
use crate::error::{Error, Result, warn_client};
use crate::fallible::Room;
use crate::hnsw::Graph;
use crate::hnsw::heap_tids::{self, Returned};
use crate::hnsw::scan::staged_merge::MergedScan;
use crate::hnsw::search::Counts;
use crate::hnsw::space::Space;
use crate::storage::HeapTid;
use crate::storage::buffer_store::BufferStore;

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
    /// The place of the row returned last, if it came from the graph.
    returned: Option<Returned>,
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
    /// The order of the table, with means that are kept for all rescans; and whether the scan is in
    /// that order.
    table_order: Option<TableOrder>,
    is_in_table_order: bool,
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
            returned: None,
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
            table_order: None,
            is_in_table_order: false,
            only: None,
            passed_over: 0,
        }
    }
}

/// A row of the index.
#[derive(Debug, Clone, Copy)]
struct Row {
    tid: HeapTid,
    /// Its place, if it came from the graph.
    returned: Option<Returned>,
    /// Whether it is sure to match the conditions on filter columns.
    is_certain: bool,
    /// Whether its distance is a number.
    has_distance: bool,
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
    unsafe {
        or_raise((*scan).indexRelation, end(scan));
        let state = &mut *(*scan).opaque.cast::<State>();
        if let Some(order) = state.table_order.take() {
            order.end();
        }
    }
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
    state.is_in_table_order = false;
    if let Some(order) = &mut state.table_order {
        order.clear();
    }
    let Some((store, space, scan)) = state.scan.take() else {
        return Ok(());
    };
    let counts = scan.counts();
    state.before += counts;
    last_search::keep(LastSearch {
        counts,
        spent: std::mem::take(&mut state.spent),
        aim: state.aim,
    });
    kill(&store, &space, &mut state.dead)
}

/// Remembers the row returned last if it is dead to everyone.
///
/// # Safety
/// `descriptor` is one of ours, and `state` its state.
unsafe fn remember_dead(descriptor: pg_sys::IndexScanDesc, state: &mut State) {
    // SAFETY: as the caller promises.
    let is_dead = unsafe { std::mem::take(&mut (*descriptor).kill_prior_tuple) };
    let returned = state.returned.take();
    if let Some((store, _, _)) = &state.scan
        && is_dead
        && store.has_lsns()
        // A mark only saves later scans a row, so lack of memory is no error.
        && state.dead.room(1).is_ok()
    {
        state.dead.extend(returned);
    }
}

fn kill(store: &BufferStore, space: &Arc<Space>, dead: &mut Vec<Returned>) -> Result<()> {
    match std::mem::take(dead) {
        dead if dead.is_empty() => Ok(()),
        dead => heap_tids::kill(&Graph::with(store, Arc::clone(space)), dead),
    }
}

/// Finds the next row, and fills the descriptor in.
///
/// # Safety
/// `descriptor` is one of ours, and its index is open.
unsafe fn next(descriptor: pg_sys::IndexScanDesc) -> Result<bool> {
    // SAFETY: as the caller promises; the state lives as long as the descriptor, which is ours to
    // fill in.
    unsafe {
        let state = &mut *(*descriptor).opaque.cast::<State>();
        remember_dead(descriptor, state);
        if state.scan.is_none() {
            begin::begin(descriptor, state)?;
        }
        let row = match state.table_order.take_if(|_| state.is_in_table_order) {
            Some(mut order) => {
                let row = next_in_table_order(descriptor, state, &mut order)?;
                state.table_order = Some(order);
                row
            }
            None => next_in_index_order(descriptor, state, false)?,
        };
        let Some(row) = row else {
            return Ok(false);
        };
        state.returned = row.returned;
        (*descriptor).xs_heaptid = item_pointer(row.tid);
        (*descriptor).xs_recheck = state.rechecks || !row.is_certain;
        (*descriptor).xs_recheckorderby = state.reorders;
        if state.reorders {
            let distance = state.scan.as_ref().and_then(|(_, _, scan)| scan.distance_at_least());
            state.distance = pg_sys::Datum::from(distance.unwrap_or_default().to_bits());
            state.distance_is_null = distance.is_none();
            (*descriptor).xs_orderbyvals = &raw mut state.distance;
            (*descriptor).xs_orderbynulls = &raw mut state.distance_is_null;
        }
        Ok(true)
    }
}

/// The next row in the order of the table's distances from the query.
///
/// # Safety
/// As for [`next_in_index_order`]; `order` has begun.
unsafe fn next_in_table_order(
    descriptor: pg_sys::IndexScanDesc,
    state: &mut State,
    order: &mut TableOrder,
) -> Result<Option<Row>> {
    while order.has_room() {
        let is_ahead = !order.is_empty();
        // SAFETY: as the caller promises.
        match unsafe { next_in_index_order(descriptor, state, is_ahead)? } {
            // SAFETY: as the caller promises.
            Some(row) => unsafe { order.add(descriptor, row)? },
            None => break,
        }
    }
    Ok(order.pop())
}

/// The next row in the order of the index, if the scan has begun; `is_ahead` of a row that is not
/// asked for yet, if it has been found: another round would cost more than it is worth. (A round
/// follows all the same where the nodes found turn out to be late, or their rows dead or staged.)
///
/// # Safety
/// `descriptor` is one of ours, `state` its state, and its index and table are open.
unsafe fn next_in_index_order(
    descriptor: pg_sys::IndexScanDesc,
    state: &mut State,
    is_ahead: bool,
) -> Result<Option<Row>> {
    // SAFETY: as the caller promises.
    let (table, index) = unsafe { ((*descriptor).heapRelation, (*descriptor).indexRelation) };
    let Some((store, space, scan)) = &mut state.scan else {
        return Ok(None);
    };
    if state.dead.len() >= MAX_DEAD {
        kill(store, space, &mut state.dead)?;
    }
    let graph = Graph::with(store, Arc::clone(space));
    // A row that is ready takes less time than a look at the clock.
    let start = (!scan.is_ready()).then(Instant::now);
    let next = next_of(scan, &graph, state.only.as_mut(), is_ahead, &mut state.passed_over)?;
    state.spent += start.map_or(Duration::ZERO, |start| start.elapsed());
    let Some(tid) = next else {
        if !is_ahead && scan.was_bounded() && !std::mem::replace(&mut state.warned, true) {
            // SAFETY: the index is open.
            unsafe { warn_of_bound(&relation_name(index), Method::of(index)) };
        }
        return Ok(None);
    };
    // SAFETY: as the caller promises.
    if tid.offset == 0 || unsafe { is_beyond_table(table, &mut state.table_blocks, tid) } {
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
            state.rows_ahead.request(table, state.table_blocks, rows);
        }
    }
    Ok(Some(Row {
        tid,
        returned: scan.returned(),
        is_certain: scan.is_certain(),
        has_distance: scan.distance_at_least().is_some_and(|distance| !distance.is_nan()),
    }))
}

/// The next row of a scan that returns all rows, or `only` these; of those found already if it is
/// read ahead.
fn next_of(
    scan: &mut MergedScan,
    graph: &Graph<BufferStore>,
    only: Option<&mut TidSet>,
    is_ahead: bool,
    passed_over: &mut u64,
) -> Result<Option<HeapTid>> {
    let Some(only) = only else {
        return match is_ahead && !scan.is_ready() {
            true => Ok(None),
            false => scan.next(graph),
        };
    };
    while !only.is_empty() && (!is_ahead || scan.is_ready()) {
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
/// `table` is open.
unsafe fn is_beyond_table(table: pg_sys::Relation, blocks: &mut pg_sys::BlockNumber, tid: HeapTid) -> bool {
    if tid.block < *blocks {
        return false;
    }
    // SAFETY: as the caller promises.
    unsafe {
        // Other table access methods are free to number rows as they like.
        if (*(*table).rd_rel).relam != pg_sys::HEAP_TABLE_AM_OID {
            return false;
        }
        *blocks = pg_sys::RelationGetNumberOfBlocksInFork(table, pg_sys::ForkNumber::MAIN_FORKNUM);
    }
    tid.block >= *blocks
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
