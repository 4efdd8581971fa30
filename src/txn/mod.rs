//! Staged writes: an index gets the rows of a transaction when the transaction commits.
//!
//! Rows that a transaction inserts are staged here, in the backend's memory. They go into the index
//! just before the transaction commits or is prepared, so a session that sees a row finds it by the
//! index. An abort of the transaction or of a subtransaction drops its staged rows and leaves the
//! index as it was, byte for byte. Scans of the same transaction return staged rows beside the rows
//! of the graph ([`staged_keys`]).
//!
//! Rows go into the index early in three cases. An early row is harmless, because the table decides
//! on its visibility.
//! - `hnsw.staging_memory` does not suffice. Nothing is staged at all if it is 0, or while the
//!   commit is under way.
//! - A plan with parallel workers starts ([`parallel`]): workers are other processes.
//! - A statement that is a transaction by itself ends ([`statement`]).
//!
//! Staged rows belong to the contents of an index and not to its name. The contents are identified
//! by the file in which they were built; the meta page holds its number, and copies of the file
//! keep it. Three consequences:
//! - Rows staged before a REINDEX or TRUNCATE of the same transaction are left out, because the
//!   build reads the table anew; they count again if the REINDEX or TRUNCATE is rolled back.
//! - Rows staged before ALTER INDEX .. SET TABLESPACE go into the copied file.
//! - Rows staged before an ALTER TABLE that gives the file to another index go into that index.

mod commit;
pub mod insert_counters;
pub mod parallel;
mod speculative;
mod staged_rows;
mod statement;
pub mod subtransaction;

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

use pgrx::{PgList, pg_sys};

use crate::compat;
use crate::error::Result;
use crate::fallible::{self, Room, TryPush};
use crate::filter::condition::Match;
use crate::hnsw::Graph;
use crate::hnsw::distance_bounds::Keys;
use crate::hnsw::heap_tids;
use crate::hnsw::indexed_value::RowValue;
use crate::hnsw::insert::{Inserter, NewRow, batch};
use crate::hnsw::space::{Point, Query, Space};
use crate::hnsw::vacuum::reachability;
use crate::hnsw::value_lists;
use crate::pg_error::or_raise;
use crate::rebuild;
use crate::storage::buffer_store::{self, BufferStore, Mode};
use crate::storage::format::META_BLOCK;
use crate::storage::meta;
use crate::storage::{HeapTid, PageStore};

use insert_counters::Measured;
use speculative::Fate;
use staged_rows::List;

const LOCK: pg_sys::LOCKMODE = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;

/// Staged rows that scans may merge before all staged rows go into their indexes: a second's work
/// or two. Beyond that, merging costs more than staging saves.
const MAX_MERGED: usize = 1 << 23;

/// Limit of the list of emptied temporary indexes.
const MAX_EMPTIED: usize = 1 << 10;
/// Staged rows that a scan merges between two checks for interrupts.
const CHECK_EVERY: usize = 1024;

/// Staged rows of a transaction, of all indexes.
#[derive(Default)]
struct Staging {
    indexes: Vec<Staged>,
    /// Position of the index that a row was staged for last.
    last: usize,
    /// Bytes of the lists that have an index to go to, as far as known.
    bytes: usize,
    /// Rows that scans have merged since the lists were last applied.
    merged: usize,
    /// Whether all staged rows are in their indexes already, so that further rows go there
    /// directly.
    committing: bool,
    /// Temporary indexes with their files that an earlier commit has emptied (ON COMMIT DELETE
    /// ROWS).
    emptied: Vec<(pg_sys::Oid, u32)>,
    point: Point,
}

/// Rows staged for the contents of one index.
struct Staged {
    index: pg_sys::Oid,
    heap: pg_sys::Oid,
    /// The access method's id.
    method: pg_sys::Oid,
    /// The file with the contents, and the file in which the contents were built.
    file: u32,
    built_in: u32,
    space: Arc<Space>,
    list: List,
    /// Whether the rows stay in the list when they are applied: either no index has their contents,
    /// or only a copy that may be rolled back has.
    stays: bool,
    /// The file of such a copy, and the number of leading rows in it; none after a subtransaction
    /// aborts.
    copied: Option<(u32, usize)>,
}

thread_local! {
    static STAGING: RefCell<Staging> = RefCell::default();
}

/// An open relation, locked for writing.
struct Open(pg_sys::Relation);

impl Open {
    /// Opens a relation if it still is there.
    fn try_new(relation: pg_sys::Oid) -> Option<Open> {
        // SAFETY: called within a transaction.
        let relation = unsafe { pg_sys::try_relation_open(relation, LOCK) };
        (!relation.is_null()).then(|| Open(relation))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // While PostgreSQL unwinds from an error, closing is left to the abort.
        if !std::thread::panicking() {
            // SAFETY: it is open and locked.
            unsafe { pg_sys::relation_close(self.0, LOCK) };
        }
    }
}

impl Staged {
    /// Whether an open index of the table has the contents that these rows are for.
    ///
    /// # Safety
    /// `index` is an open index of this access method.
    unsafe fn is_for(&self, index: pg_sys::Relation) -> bool {
        // SAFETY: as the caller promises.
        unsafe {
            (*(*index).rd_index).indrelid == self.heap
                && (buffer_store::file_of(index) == self.file
                    || match built_in(index) {
                        // Nothing is staged for an index of another format.
                        Err(error) if error.asks_for_rebuild() => false,
                        file => or_raise(index, file) == self.built_in,
                    })
        }
    }

    /// Opens the index of the table that has the contents now, if there is one.
    fn open(&self) -> Option<Open> {
        if let Some(index) = Open::try_new(self.index)
            // SAFETY: it is open, and an index keeps its access method.
            && unsafe { self.is_for(index.0) }
        {
            return Some(index);
        }
        let heap = Open::try_new(self.heap)?;
        // SAFETY: the table is open, and so are its indexes while they are asked.
        unsafe {
            let indexes = PgList::<pg_sys::Oid>::from_pg(pg_sys::RelationGetIndexList(heap.0));
            let mut indexes = indexes.iter_oid().filter_map(Open::try_new);
            // An index that is not ready may be the rest of a build that failed.
            indexes.find(|index| {
                (*(*index.0).rd_rel).relam == self.method && (*(*index.0).rd_index).indisready && self.is_for(index.0)
            })
        }
    }

    /// Decides on the last row if it was speculative and its fate is known by now.
    ///
    /// # Safety
    /// `heap` is the open table of these rows.
    unsafe fn settle(&mut self, heap: pg_sys::Relation) {
        if let Some((tid, command)) = self.list.speculative() {
            // SAFETY: as the caller promises; rows of other kinds of tables are not staged.
            let fate = unsafe {
                let blocks = pg_sys::RelationGetNumberOfBlocksInFork(heap, pg_sys::ForkNumber::MAIN_FORKNUM);
                if tid.block < blocks {
                    speculative::fate(heap, tid)
                } else {
                    Fate::Gone
                }
            };
            if fate != Fate::Speculative(command) {
                self.list.settle(fate == Fate::Ours(command));
            }
        }
    }

    /// As [`Staged::settle`], when the transaction has inserted another row, at `tid`.
    ///
    /// # Safety
    /// As for [`Staged::settle`].
    unsafe fn settle_before(&mut self, heap: pg_sys::Relation, tid: HeapTid) {
        if self.list.speculative().is_some_and(|(last, _)| last == tid) {
            self.list.settle(false); // The row is in its place.
        } else {
            // SAFETY: as the caller promises.
            unsafe { self.settle(heap) };
        }
    }

    /// Inserts all rows into their index. Without an index the rows stay in the list, because they
    /// may belong to another file of the table.
    fn apply(&mut self) {
        if self.list.is_empty() {
            return;
        }
        self.stays = true;
        let Some(index) = self.open() else { return };
        if self.list.speculative().is_some()
            && let Some(heap) = Open::try_new(self.heap)
        {
            // SAFETY: it is open, and the index is of it as it is now.
            unsafe { self.settle(heap.0) };
        }
        // SAFETY: it is open and locked for writing.
        unsafe {
            let applied = self.apply_to(index.0);
            if rebuild::or_pass_by(index.0, applied).is_none() {
                // Another session has given it up since: REINDEX reads the rows from the table.
                or_raise(index.0, rebuild::give_up(index.0));
                self.list.clear();
                self.stays = false;
                self.copied = None;
            }
        }
    }

    /// # Safety
    /// `index` has the contents, and is open and locked for writing.
    unsafe fn apply_to(&mut self, index: pg_sys::Relation) -> Result<()> {
        // SAFETY: as the caller promises.
        let store = unsafe { BufferStore::new(index, Mode::Normal) };
        let graph = Graph::with(&store, Arc::clone(&self.space));
        let mut inserter = Inserter::default();
        // SAFETY: as the caller promises.
        let file = unsafe { buffer_store::file_of(index) };
        let copied = self
            .copied
            .filter(|&(copy, _)| copy == file)
            .map_or(0, |(_, rows)| rows);
        let mut doubtful = HashSet::new();
        doubtful.room(self.list.doubtful().len().saturating_sub(copied))?;
        doubtful.extend(self.list.doubtful().skip(copied));
        let inserted = if doubtful.is_empty() {
            HashSet::new()
        } else {
            // Links make nodes known to other sessions, whose rows may join them.
            value_lists::upkeep::complete(&graph, buffer_store::maintenance_memory())?;
            reachability::reconnect(&graph, &mut inserter, buffer_store::maintenance_memory())?;
            heap_tids::find_rows(&graph, doubtful)?
        };
        self.list.begin_insertion();
        let rows = self.list.rows().skip(copied);
        let rows = fallible::collect(rows.filter(|(row, _)| !inserted.contains(&row.tid)))?;
        let (measured, count) = (Measured::start(), rows.len());
        batch::insert(&graph, &mut inserter, rows.into_iter())?;
        measured.end(count, &inserter, &store);
        // SAFETY: as the caller promises.
        unsafe {
            if file == self.file || is_final(index) {
                self.list.clear();
                self.stays = false;
                self.copied = None;
            } else {
                // The copy is gone if the command that made it is rolled back, and the rows may
                // then belong anywhere.
                self.copied = Some((file, self.list.len()));
            }
            check_for_conflict(index);
        }
        Ok(())
    }
}

impl Staging {
    fn apply(&mut self) {
        self.indexes.iter_mut().for_each(Staged::apply);
        self.merged = 0;
        self.count();
    }

    /// As [`Staging::apply`], except for rows of temporary tables that the commit empties.
    fn apply_lasting(&mut self) {
        let emptied = &self.emptied;
        let lasting = |staged: &&mut Staged| !emptied.contains(&(staged.index, staged.file));
        self.indexes.iter_mut().filter(lasting).for_each(Staged::apply);
        self.count();
    }

    /// Drops rows of temporary tables that the commit empties.
    fn forget_temporary(&mut self) {
        let emptied = &self.emptied;
        self.indexes
            .retain(|staged| !emptied.contains(&(staged.index, staged.file)));
    }

    /// Resets all but the list of emptied indexes, at the end of a transaction.
    fn reset(&mut self) {
        let emptied = std::mem::take(&mut self.emptied);
        *self = Staging {
            emptied,
            ..Staging::default()
        };
    }

    /// Whether there are rows that are in no index yet.
    fn has_rows(&self) -> bool {
        self.indexes.iter().any(|staged| !staged.list.is_empty())
    }

    fn count(&mut self) {
        let lists = self.indexes.iter().filter(|staged| !staged.stays);
        self.bytes = lists.map(|staged| staged.list.bytes()).sum();
    }

    /// # Safety
    /// `index` is an open index of this access method.
    unsafe fn find(&self, index: pg_sys::Relation) -> Option<usize> {
        // SAFETY: as the caller promises.
        let (id, file) = unsafe { ((*index).rd_id, buffer_store::file_of(index)) };
        let is_it = |staged: &Staged| staged.index == id && staged.file == file;
        match self.indexes.get(self.last) {
            Some(last) if is_it(last) => Some(self.last),
            _ => self.indexes.iter().position(is_it),
        }
    }
}

/// Tells PostgreSQL that rows are in the index now, for conflicts with reads of SERIALIZABLE
/// transactions. PostgreSQL does so before `aminsert`; but a transaction that scans the index
/// before the rows are in it does not meet them in the table either, so it would not notice the
/// conflict there.
///
/// # Safety
/// `index` is open.
pub unsafe fn check_for_conflict(index: pg_sys::Relation) {
    let block = pg_sys::InvalidBlockNumber;
    // SAFETY: as the caller promises; errors are caught at the boundary, and nothing is to be
    // dropped within.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            compat::CheckForSerializableConflictIn(index, std::ptr::null_mut(), block)
        });
    }
}

/// The file in which the contents of an index were built.
///
/// # Safety
/// `index` is an open index of this access method.
unsafe fn built_in(index: pg_sys::Relation) -> Result<u32> {
    // SAFETY: as the caller promises.
    unsafe { BufferStore::new(index, Mode::Normal) }.read(META_BLOCK, meta::read_file)
}

/// Whether an index keeps its file, unless the whole transaction is rolled back.
///
/// # Safety
/// `index` is open.
unsafe fn is_final(index: pg_sys::Relation) -> bool {
    // SAFETY: as the caller promises.
    let (first, last) = unsafe { compat::file_subtransactions(index) };
    // The subtransaction of the last change is known if it is not 0; 1 is the transaction itself.
    last == 1 || (first, last) == (0, 0)
}

/// The space of an index and the file in which it was built, if the transaction has staged rows for
/// it.
///
/// # Safety
/// `index` is an open index of this access method.
pub unsafe fn staged_index(index: pg_sys::Relation) -> Option<(Arc<Space>, u32)> {
    STAGING.with_borrow(|staging| {
        // SAFETY: as the caller promises.
        let i = unsafe { staging.find(index)? };
        let staged = &staging.indexes[i];
        Some((Arc::clone(&staged.space), staged.built_in))
    })
}

/// Whether rows are staged rather than inserted. Rows of deferred triggers are inserted, because
/// these run at commit: no statement ends after them that would put this library's callback before
/// callbacks that commit on other servers.
pub fn is_staging() -> bool {
    // SAFETY: the statement that runs, and the kind of this process.
    let at_commit =
        unsafe { pg_sys::ActivePortal.is_null() && pg_sys::MyBackendType == pg_sys::BackendType::B_BACKEND };
    !at_commit && STAGING.with_borrow(|staging| !staging.committing)
}

/// Stages a row with its value. All staged rows go into their indexes once they take more than
/// `max_bytes` bytes. Returns whether the row was staged; it is not while the fate of the row
/// before it, of a command that goes on, is undecided.
///
/// # Safety
/// `index` is an open index of this access method, locked for writing, `space` is its space, and
/// `built_in` the file in which it was built; `heap` is its table, and its rows can be staged.
pub unsafe fn stage(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    (space, built_in): (&Arc<Space>, u32),
    value: &RowValue,
    mut row: NewRow,
    max_bytes: usize,
) -> Result<bool> {
    STAGING.with_borrow_mut(|staging| {
        // SAFETY: as the caller promises.
        let i = match unsafe { staging.find(index) } {
            Some(i) => i,
            None => {
                // SAFETY: as the caller promises.
                let staged = unsafe {
                    Staged {
                        index: (*index).rd_id,
                        heap: (*heap).rd_id,
                        method: (*(*index).rd_rel).relam,
                        file: buffer_store::file_of(index),
                        built_in,
                        space: Arc::clone(space),
                        list: List::default(),
                        stays: false,
                        copied: None,
                    }
                };
                staging.indexes.push(staged);
                staging.indexes.len() - 1
            }
        };
        staging.last = i;
        match value {
            RowValue::Placed(value) => space.set_point(value.view(), &mut staging.point),
            RowValue::Unplaced(kind) => {
                row.unplaced = Some(*kind);
                staging.point.stored.clear();
            }
        }
        let staged = &mut staging.indexes[i];
        // SAFETY: as the caller promises; called within a transaction.
        unsafe {
            staged.settle_before(heap, row.tid);
            if staged.list.speculative().is_some() {
                return Ok(false);
            }
            let level = pg_sys::GetCurrentTransactionNestLevel();
            let speculative = match speculative::fate(heap, row.tid) {
                Fate::Speculative(command) => Some(command),
                Fate::Ours(_) | Fate::Gone => None,
            };
            staged.list.push(level, row, &staging.point.stored, speculative)?;
        }
        staging.bytes += List::EACH + staging.point.stored.len();
        if staging.bytes > max_bytes {
            staging.apply();
        }
        Ok(true)
    })
}

/// Whether a row of a table can be staged. A row that may be taken back must be looked up in the
/// table later; and the index must be told of the row that then gets its place, which an index with
/// a condition (`is_partial`) need not be.
///
/// # Safety
/// `heap` is an open table, and `tid` one of its rows.
pub unsafe fn can_stage(heap: pg_sys::Relation, tid: HeapTid, is_partial: bool) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        (*(*heap).rd_rel).relam == pg_sys::HEAP_TABLE_AM_OID
            && !(is_partial && matches!(speculative::fate(heap, tid), Fate::Speculative(_)))
    }
}

/// Inserts all staged rows into their indexes.
pub fn apply() {
    STAGING.with_borrow_mut(Staging::apply);
}

/// The rows staged for an index that may pass a query's conditions, with their keys.
///
/// # Safety
/// `heap` is an open table, `index` an open index of it and of this access method, and `query` one
/// of its space.
pub unsafe fn staged_keys(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    query: &Query,
    keys: Keys,
) -> Vec<(f32, HeapTid)> {
    STAGING.with_borrow_mut(|staging| {
        if staging.merged > MAX_MERGED {
            staging.apply();
        }
        let mut rows = Vec::new();
        for staged in &mut staging.indexes {
            // SAFETY: as the caller promises.
            unsafe {
                if staged.list.is_empty() || !staged.is_for(index) {
                    continue;
                }
                staged.settle(heap);
            }
            for (i, (row, stored)) in staged.list.rows().enumerate() {
                if i % CHECK_EVERY == 0 {
                    pgrx::check_for_interrupts!();
                }
                if staged.space.test(query, &row.values) == Match::No {
                    continue;
                }
                let key = match row.unplaced {
                    Some(kind) => kind.distance(),
                    None => staged.space.whole_key(query, stored, keys),
                };
                let found = rows.try_push((key, row.tid));
                found.unwrap_or_else(|error| error.raise());
            }
        }
        staging.merged += rows.len();
        rows
    })
}

/// Decides on the last staged row, if it is speculative, because the transaction inserts a further
/// row, at `tid`, without staging it.
///
/// # Safety
/// `heap` is an open table, and `index` an open index of it and of this access method.
pub unsafe fn settle_before(heap: pg_sys::Relation, index: pg_sys::Relation, tid: HeapTid) {
    STAGING.with_borrow_mut(|staging| {
        // SAFETY: as the caller promises; rows of other kinds of tables are not staged.
        unsafe {
            if let Some(i) = staging.find(index) {
                staging.indexes[i].settle_before(heap, tid);
            }
        }
    });
}

/// Drops the rows staged for a file because its contents are built anew in place. The cause is a
/// TRUNCATE of a table that the transaction has made, or the end of a transaction for a temporary
/// table with ON COMMIT DELETE ROWS, which PostgreSQL empties after the rows are in the index.
/// PostgreSQL announces neither; but the file of such an index is remembered here, and its rows are
/// left out from the next commit on.
///
/// # Safety
/// `index` is an open index of this access method.
pub unsafe fn forget_file(index: pg_sys::Relation) {
    // SAFETY: as the caller promises.
    let (index, heap, file, persistence) = unsafe {
        let (row, heap) = ((*index).rd_rel, (*(*index).rd_index).indrelid);
        (
            (*index).rd_id,
            heap,
            buffer_store::file_of(index),
            (*row).relpersistence as u8,
        )
    };
    STAGING.with_borrow_mut(|staging| {
        // A temporary file may have the same number as another file.
        staging
            .indexes
            .retain(|staged| (staged.heap, staged.file) != (heap, file));
        let emptied = &mut staging.emptied;
        if staging.committing
            && persistence == pg_sys::RELPERSISTENCE_TEMP
            && emptied.len() < MAX_EMPTIED
            && !emptied.contains(&(index, file))
        {
            emptied.push((index, file));
        }
    });
}

/// Registers callbacks and hooks: once, when the library is loaded.
pub fn register() {
    commit::register();
    statement::register();
}
