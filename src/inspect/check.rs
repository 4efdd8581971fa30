//! `hnsw_check()`: the graph's checker (`hnsw::check`), and the comparison of the index with its
//! table.
//!
//! The snapshot is taken before the index is read. Each row that it sees was in the index by then,
//! because rows of a transaction are in the index before it commits; and the row stays there as
//! long as the snapshot lives.

use std::ops::Range;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::run_as::RunAs;
use super::{Audience, Concurrent, Inspected};
use crate::am;
use crate::error::{Error, Result};
use crate::fallible::{self, TryPush};
use crate::filter::values::Values;
use crate::hnsw::Graph;
use crate::hnsw::check::{self, Fault, Row, Severity, fingerprint};
use crate::hnsw::indexed_value::RowValue;
use crate::hnsw::space::Point;
use crate::pg_error::{or_raise, relation_name};
use crate::storage::HeapTid;
use crate::storage::buffer_store::{self, BufferStore, Mode, Ring};
use crate::txn;

/// Reads the whole index and returns a row for each fault; see the documentation of its SQL
/// declaration.
#[pg_extern(sql = false)]
fn hnsw_check(
    index: pg_sys::Oid,
    heapallindexed: bool,
) -> TableIterator<
    'static,
    (
        name!(severity, String),
        name!(block, Option<i64>),
        name!(slot, Option<i32>),
        name!(fault, String),
    ),
> {
    // Rows that this transaction has staged are not in the index yet.
    txn::apply();
    let opened =
        Inspected::open(index, Concurrent::ReadAndWrite, Audience::Owner).unwrap_or_else(|error| error.raise());
    // SAFETY: table and index are open and locked.
    let faults = unsafe {
        let _guise = RunAs::owner(opened.heap);
        or_raise(opened.index, faults(&opened, heapallindexed))
    };
    TableIterator::new(faults.into_iter().map(|fault| {
        let severity = match fault.severity {
            Severity::Corruption => "corruption",
            Severity::Leftover => "leftover",
        };
        (
            severity.to_owned(),
            fault.block.map(i64::from),
            fault.slot.map(|slot| slot as i32),
            fault.what,
        )
    }))
}

/// Faults to be reported. Where no lock keeps VACUUM out, VACUUM may change one page between the
/// reads of two, so faults are looked for a second time, and a fault that is found only once is the
/// trace of such a change.
fn faults(opened: &Inspected, heapallindexed: bool) -> Result<Vec<Fault>> {
    let all = || {
        let mut faults = Vec::new();
        let mut memory = Ok(());
        check(opened, heapallindexed, &mut |fault| {
            // Room for the fault and for its text.
            let added = fallible::spare(0).and_then(|()| faults.try_push(fault));
            if memory.is_ok() {
                memory = added;
            }
        })?;
        memory.map(|()| faults)
    };
    let mut faults: Vec<Fault> = all()?;
    let is_corruption = |fault: &Fault| fault.severity == Severity::Corruption;
    if !opened.keeps_vacuum_out() && faults.iter().any(is_corruption) {
        let again = all()?;
        let passing = |fault: &&mut Fault| is_corruption(fault) && !again.contains(fault);
        faults
            .iter_mut()
            .filter(passing)
            .for_each(|fault| fault.severity = Severity::Leftover);
    }
    Ok(faults)
}

fn check(opened: &Inspected, heapallindexed: bool, report: &mut dyn FnMut(Fault)) -> Result<()> {
    // SAFETY: the index is open.
    let snapshot = unsafe {
        if heapallindexed
            && (*(*opened.index).rd_index).indcheckxmin
            && pg_sys::XactIsoLevel >= pg_sys::XACT_REPEATABLE_READ as i32
        {
            // Rows that the snapshot sees may be older than the index, and left out of it on
            // purpose (see `validate_index`).
            let relation = relation_name(opened.index);
            return Err(Error::SnapshotTooOld { relation });
        }
        heapallindexed.then(|| Snapshot::take())
    };
    let ring = Ring::new();
    // SAFETY: the index is open and locked, and the ring outlives the store.
    let store = unsafe { BufferStore::new(opened.index, Mode::Normal).with_strategy(ring.strategy()) };
    let graph = Graph::open(&store)?;
    let mut missing = Vec::new();
    check::within(
        &graph,
        buffer_store::maintenance_memory(),
        report,
        &mut |rows, blocks| {
            let Some(snapshot) = &snapshot else { return Ok(()) };
            let mut comparison = Comparison {
                opened,
                graph: &graph,
                rows,
                point: Point::default(),
                missing: &mut missing,
            };
            // SAFETY: table and index are open and locked.
            unsafe { comparison.scan_table(snapshot, blocks) };
            Ok(())
        },
    )?;
    missing.sort_unstable_by_key(|&(tid, _): &(HeapTid, _)| (tid.block, tid.offset));
    missing.dedup_by_key(|&mut (tid, _)| tid);
    for (tid, what) in missing {
        report(Fault {
            severity: Severity::Corruption,
            block: None,
            slot: None,
            what: format!("row ({},{}) of the table {what}", tid.block, tid.offset),
        });
    }
    Ok(())
}

/// A registered snapshot.
struct Snapshot(pg_sys::Snapshot);

impl Snapshot {
    /// # Safety
    /// Called in a transaction.
    unsafe fn take() -> Snapshot {
        // SAFETY: as the caller promises.
        Snapshot(unsafe { pg_sys::RegisterSnapshot(pg_sys::GetTransactionSnapshot()) })
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: it is registered.
            unsafe { pg_sys::UnregisterSnapshot(self.0) };
        }
    }
}

/// Comparison of the rows of some blocks of a table with the rows of its index.
struct Comparison<'c> {
    opened: &'c Inspected,
    graph: &'c Graph<'c, BufferStore>,
    rows: &'c [Row],
    point: Point,
    missing: &'c mut Vec<(HeapTid, &'static str)>,
}

impl Comparison<'_> {
    /// Looks up each row that the index should have. The table is read as CREATE INDEX reads it,
    /// but with a snapshot of ours.
    ///
    /// # Safety
    /// Table and index are open and locked.
    unsafe fn scan_table(&mut self, snapshot: &Snapshot, blocks: Range<u64>) {
        // SAFETY: as the caller promises; the scan is ended by the function that reads it.
        unsafe {
            let (heap, index) = (self.opened.heap, self.opened.index);
            let info = pg_sys::BuildIndexInfo(index);
            (*info).ii_Concurrent = true;
            let all = pg_sys::RelationGetNumberOfBlocksInFork(heap, pg_sys::ForkNumber::MAIN_FORKNUM);
            let end = blocks.end.min(u64::from(all)) as pg_sys::BlockNumber;
            if blocks.start >= u64::from(end) {
                return;
            }
            let scan = pg_sys::table_beginscan_strat(heap, snapshot.0, 0, std::ptr::null_mut(), true, false);
            let blocks = blocks.start as pg_sys::BlockNumber..end;
            am::heap_scan::read_blocks(heap, index, info, scan, blocks, &mut |datum, tid, values| {
                self.compare(datum, tid, values)
            });
        }
    }

    /// # Safety
    /// `datum` is a value of the index's type.
    unsafe fn compare(&mut self, datum: Option<pg_sys::Datum>, tid: HeapTid, values: Values) -> Result<()> {
        let space = self.graph.space();
        // SAFETY: as the caller promises.
        let row = match unsafe { am::datum::of_row(datum, space.parameters())? } {
            RowValue::Placed(value) => {
                space.set_point(value.view(), &mut self.point);
                self.point.values = values;
                Row::new(tid, fingerprint(&self.point))
            }
            RowValue::Unplaced(kind) => Row::unplaced(tid, kind),
        };
        if self.rows.binary_search(&row).is_err() {
            let is_there = self.rows.binary_search_by_key(&(tid.block, tid.offset), |row| {
                let tid = row.tid();
                (tid.block, tid.offset)
            });
            let what = match is_there {
                Ok(_) if space.parameters().filter_kinds().next().is_none() => "has another vector in the index",
                Ok(_) => "has another vector or filter value in the index",
                Err(_) => "is not in the index",
            };
            self.missing.try_push((tid, what))?;
        }
        Ok(())
    }
}
