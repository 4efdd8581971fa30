//! Truncation: empty pages at the end of an index go back to the file system, as VACUUM does with a
//! table (PostgreSQL's `lazy_truncate_heap`), if they are enough and if nobody uses the index at
//! the moment.
//!
//! Truncation takes an AccessExclusiveLock, which is logged for standbys, and a parallel VACUUM may
//! not take such a lock. It truncates when its transaction commits.

use std::cell::RefCell;
use std::ffi::{CStr, c_void};
use std::sync::Arc;

use pgrx::{PgList, pg_guard, pg_sys};

use super::vacuum_stats;
use crate::compat;
use crate::error::Result;
use crate::hnsw::Graph;
use crate::hnsw::vacuum::truncate::{self, EmptyEnd};
use crate::rebuild;
use crate::storage::BlockNumber;
use crate::storage::buffer_store::{BufferStore, Mode};

/// Least number of pages, and least share of the index, that is worth a truncation (PostgreSQL's
/// `REL_TRUNCATE_MINIMUM` and `REL_TRUNCATE_FRACTION`).
const MIN_PAGES: BlockNumber = 1000;
const MIN_FRACTION: BlockNumber = 16;

/// Attempts to take the lock, and milliseconds between two (PostgreSQL's
/// `VACUUM_TRUNCATE_LOCK_TIMEOUT` and `_WAIT_INTERVAL`).
const TRIES: usize = 100;
const WAIT: i64 = 50;

const LOCK: pg_sys::LOCKMODE = pg_sys::AccessExclusiveLock as pg_sys::LOCKMODE;

thread_local! {
    /// Indexes to be truncated when the transaction commits.
    static DEFERRED: RefCell<Vec<pg_sys::Oid>> = const { RefCell::new(Vec::new()) };
}

/// Cuts off empty pages at the end of an index if they are enough, at once or when the transaction
/// commits, and adds them to the results on the meta page; returns the number of pages cut off at
/// once.
///
/// Locks: takes AccessExclusiveLock on the index, if it is free within 5 seconds; on return:
/// released.
///
/// # Safety
/// `index` is an open index of this access method, locked as VACUUM locks it.
pub unsafe fn truncate(index: pg_sys::Relation) -> Result<BlockNumber> {
    // SAFETY: as the caller promises.
    unsafe {
        let store = BufferStore::new(index, Mode::Vacuum);
        let graph = Graph::open(&store)?;
        if !is_wanted(index) || !is_worth_while(&truncate::empty_end(&graph, || true)?) {
            return Ok(0);
        }
        if pg_sys::IsInParallelMode() {
            DEFERRED.with_borrow_mut(|deferred| deferred.push((*index).rd_id));
            return Ok(0);
        }
        let Some(_lock) = Exclusive::try_new(index) else {
            return Ok(0);
        };
        // Other sessions may have used the pages meanwhile. Sessions that wait for the lock do not
        // wait long, because VACUUM does not sleep under it.
        let store = BufferStore::new(index, Mode::Normal);
        let graph = Graph::with(&store, Arc::clone(graph.space()));
        let end = truncate::empty_end(&graph, || !pg_sys::LockHasWaitersRelation(index, LOCK))?;
        if !end.is_empty() {
            truncate::retire(&graph, &end)?;
            pg_sys::RelationTruncate(index, end.from);
            vacuum_stats::add_truncation(&store, u64::from(end.len()))?;
        }
        Ok(end.len())
    }
}

fn is_worth_while(end: &EmptyEnd) -> bool {
    !end.is_empty() && (end.len() >= MIN_PAGES || end.len() >= end.blocks / MIN_FRACTION)
}

/// Whether VACUUM truncates: as its statement says, or else the table's options.
///
/// # Safety
/// `index` is open, and its table locked.
unsafe fn is_wanted(index: pg_sys::Relation) -> bool {
    // SAFETY: called in a backend.
    if let Some(wanted) = unsafe { statement_option() } {
        return wanted;
    }
    // SAFETY: as the caller promises. The options of a table that has any are StdRdOptions.
    unsafe {
        let table = pg_sys::table_open((*(*index).rd_index).indrelid, pg_sys::NoLock as pg_sys::LOCKMODE);
        let options = (*table).rd_options.cast::<pg_sys::StdRdOptions>().as_ref();
        let wanted = compat::vacuum_truncate(options);
        pg_sys::table_close(table, pg_sys::NoLock as pg_sys::LOCKMODE);
        wanted
    }
}

/// The TRUNCATE option of the VACUUM statement under way, if there is such a statement with the
/// option: access methods do not get it.
///
/// # Safety
/// Called in a backend.
unsafe fn statement_option() -> Option<bool> {
    // SAFETY: the active portal and its statements live until it ends; nodes are read by their
    // tags.
    unsafe {
        let portal = pg_sys::ActivePortal.as_ref()?;
        let statements = PgList::<pg_sys::PlannedStmt>::from_pg(portal.stmts);
        let statement = statements
            .iter_ptr()
            .find_map(|planned| (*planned).utilityStmt.as_ref())?;
        if statement.type_ != pg_sys::NodeTag::T_VacuumStmt {
            return None;
        }
        let vacuum = std::ptr::from_ref(statement).cast::<pg_sys::VacuumStmt>();
        let options = PgList::<pg_sys::DefElem>::from_pg((*vacuum).options);
        // The last of repeated options counts.
        let is_it = |option: &*mut pg_sys::DefElem| CStr::from_ptr((**option).defname) == c"truncate";
        let option = options.iter_ptr().filter(is_it).last()?;
        Some(pg_sys::defGetBoolean(option))
    }
}

/// An AccessExclusiveLock on an index. An error leaves it to the abort of the transaction.
struct Exclusive(pg_sys::Relation);

impl Exclusive {
    /// Takes the lock if it is free within 5 seconds, without queueing before other sessions.
    ///
    /// # Safety
    /// `index` stays open as long as the guard lives.
    unsafe fn try_new(index: pg_sys::Relation) -> Option<Exclusive> {
        for _ in 0..TRIES {
            // SAFETY: as the caller promises; the latch is this process's.
            unsafe {
                if pg_sys::ConditionalLockRelation(index, LOCK) {
                    return Some(Exclusive(index));
                }
                pgrx::check_for_interrupts!();
                let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
                pg_sys::WaitLatch(pg_sys::MyLatch, events as i32, WAIT, pg_sys::PG_WAIT_EXTENSION);
                pg_sys::ResetLatch(pg_sys::MyLatch);
            }
        }
        None
    }
}

impl Drop for Exclusive {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: the guard has the lock, and the index is open.
            unsafe { pg_sys::UnlockRelation(self.0, LOCK) };
        }
    }
}

/// Registers the callback for ends of transactions: once, when the library is loaded.
pub fn register() {
    // SAFETY: in a backend's only thread.
    unsafe { pg_sys::RegisterXactCallback(Some(on_transaction), std::ptr::null_mut()) };
}

#[pg_guard]
unsafe extern "C-unwind" fn on_transaction(event: pg_sys::XactEvent::Type, _argument: *mut c_void) {
    use pg_sys::XactEvent::*;
    let deferred = DEFERRED.take();
    if event != XACT_EVENT_PRE_COMMIT {
        return;
    }
    for index in deferred {
        // SAFETY: VACUUM has it locked until its transaction ends.
        unsafe {
            let index = pg_sys::index_open(index, pg_sys::NoLock as pg_sys::LOCKMODE);
            rebuild::or_pass_by(index, truncate(index));
            pg_sys::index_close(index, pg_sys::NoLock as pg_sys::LOCKMODE);
        }
    }
}
