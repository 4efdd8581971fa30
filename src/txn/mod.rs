//! Staged writes: the index follows the transaction.
//!
//! What a transaction inserts is staged here, in the backend's memory, and gets into the index when the transaction commits (or is prepared), just before,
//! so that whoever sees a row finds it by the index. An abort, of the transaction or of a subtransaction, drops what it staged: the index
//! is as it was, byte for byte. The transaction's own scans return staged rows beside those of the graph ([`beside`]).
//!
//! Rows get into the index early, which is harmless since a row's visibility is decided in the table, where
//! - `hnsw.staging_memory` does not suffice; or it is 0, or the commit is under way, and nothing is staged at all;
//! - a plan with parallel workers starts ([`parallel`]): they are other processes;
//! - a statement that is a transaction by itself ends ([`statement`]).
//!
//! Staged rows belong to the contents of an index, not to its name: to the file that these were built in, which the meta page tells wherever they are
//! copied to. So rows staged before a REINDEX or TRUNCATE of the same transaction, whose build has read the table anew, are left out, and are there again if it is
//! rolled back; and those staged before ALTER INDEX .. SET TABLESPACE, or an ALTER TABLE that gives the file to another index, get where they belong.

mod commit;
pub mod last;
mod list;
pub mod parallel;
mod speculative;
mod statement;

use std::cell::RefCell;
use std::collections::HashSet;
use std::sync::Arc;

use pgrx::{PgList, pg_sys};

use crate::error::Result;
use crate::fallible::{self, Room, TryPush};
use crate::graph::Graph;
use crate::graph::bounds::Keys;
use crate::graph::insert::{Inserter, NewRow};
use crate::graph::space::{Point, Query, Space};
use crate::graph::value::RowValue;
use crate::storage::buffers::{self, BufferStore, Mode, or_raise};
use crate::storage::meta::{self, META_BLOCK};
use crate::storage::{HeapTid, PageStore};

use last::Measured;
use list::List;
use speculative::Fate;

const LOCK: pg_sys::LOCKMODE = pg_sys::RowExclusiveLock as pg_sys::LOCKMODE;

/// Rows that scans may take over from lists before these go into the indexes: a second's work or two. A list that is scanned so often costs more than
/// it spares.
const MOST_MERGED: usize = 1 << 23;

/// Temporary indexes that are remembered.
const MOST_FORGETFUL: usize = 1 << 10;
/// Staged rows after which a scan that takes them over may be interrupted.
const CHECK_EVERY: usize = 1024;

/// What a transaction has staged.
#[derive(Default)]
struct Staging {
    indexes: Vec<Staged>,
    /// The one that was staged for last.
    last: usize,
    /// Bytes of the lists that can be applied, as far as is known.
    bytes: usize,
    /// Rows that scans took over since lists were applied.
    merged: usize,
    /// Whether what was staged is in the indexes already: what comes now goes there directly.
    committing: bool,
    /// Temporary indexes, and their files, whose tables forget their rows at commit, as a commit has shown.
    forgetful: Vec<(pg_sys::Oid, u32)>,
    point: Point,
}

/// What it has staged for the contents of an index.
struct Staged {
    index: pg_sys::Oid,
    heap: pg_sys::Oid,
    /// The access method's id.
    method: pg_sys::Oid,
    /// The file that they are in, and the one that they were built in.
    file: u32,
    built_in: u32,
    space: Arc<Space>,
    list: List,
    /// Whether the rows stay in the list when they are applied: no index has its contents, or a copy that may be rolled back.
    stays: bool,
    /// Such a copy, and how many of the first rows are in it: until a subtransaction aborts.
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
        // While PostgreSQL unwinds from an error it is left to the abort.
        if !std::thread::panicking() {
            // SAFETY: it is open and locked.
            unsafe { pg_sys::relation_close(self.0, LOCK) };
        }
    }
}

impl Staged {
    /// Whether the contents that this is for are those of an open index of the table.
    ///
    /// # Safety
    /// `index` is an open index of this access method.
    unsafe fn is_for(&self, index: pg_sys::Relation) -> bool {
        // SAFETY: as the caller promises.
        unsafe {
            (*(*index).rd_index).indrelid == self.heap
                && (buffers::file_of(index) == self.file
                    || match built_in(index) {
                        // Nothing is staged for an index of another format.
                        Err(error) if error.asks_for_rebuild() => false,
                        file => or_raise(index, file) == self.built_in,
                    })
        }
    }

    /// The index of the table that has the contents now, if any has.
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
            // One that is not ready may be what is left of a build that failed.
            indexes.find(|index| {
                (*(*index.0).rd_rel).relam == self.method && (*(*index.0).rd_index).indisready && self.is_for(index.0)
            })
        }
    }

    /// Decides on the last row if it was speculative, and that was decided.
    ///
    /// # Safety
    /// `heap` is the table, open, whose rows these are.
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

    /// Inserts all rows into their index; leaves them where there is none: they may be of another file of the table, too.
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
        unsafe { or_raise(index.0, self.apply_to(index.0)) };
    }

    /// # Safety
    /// `index` has the contents, and is open and locked for writing.
    unsafe fn apply_to(&mut self, index: pg_sys::Relation) -> Result<()> {
        // SAFETY: as the caller promises.
        let store = unsafe { BufferStore::new(index, Mode::Normal) };
        let graph = Graph::with(&store, Arc::clone(&self.space));
        let mut inserter = Inserter::default();
        // SAFETY: as the caller promises.
        let file = unsafe { buffers::file_of(index) };
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
            graph.reconnect(&mut inserter, buffers::maintenance_memory())?;
            graph.find_rows(doubtful)?
        };
        self.list.begin_insertion();
        let rows = self.list.rows().skip(copied);
        let rows = fallible::collect(rows.filter(|(row, _)| !inserted.contains(&row.tid)))?;
        let (measured, count) = (Measured::start(), rows.len());
        graph.insert_batch(&mut inserter, rows.into_iter())?;
        measured.end(count, &inserter, &store);
        // SAFETY: as the caller promises.
        unsafe {
            if file == self.file || is_final(index) {
                self.list.clear();
                self.stays = false;
                self.copied = None;
            } else {
                // The copy is gone if what made it is rolled back: who knows where the rows are then.
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

    /// As [`Staging::apply`], but for rows of temporary tables that will not have them when the commit is done.
    fn apply_lasting(&mut self) {
        let forgetful = &self.forgetful;
        let lasting = |staged: &&mut Staged| !forgetful.contains(&(staged.index, staged.file));
        self.indexes.iter_mut().filter(lasting).for_each(Staged::apply);
        self.count();
    }

    /// Drops rows of temporary tables that will not have them when the commit is done.
    fn forget_temporary(&mut self) {
        let forgetful = &self.forgetful;
        self.indexes
            .retain(|staged| !forgetful.contains(&(staged.index, staged.file)));
    }

    /// The transaction has ended.
    fn reset(&mut self) {
        let forgetful = std::mem::take(&mut self.forgetful);
        *self = Staging {
            forgetful,
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
        let (id, file) = unsafe { ((*index).rd_id, buffers::file_of(index)) };
        let is_it = |staged: &Staged| staged.index == id && staged.file == file;
        match self.indexes.get(self.last) {
            Some(last) if is_it(last) => Some(self.last),
            _ => self.indexes.iter().position(is_it),
        }
    }
}

unsafe extern "C-unwind" {
    /// PostgreSQL's (`predicate.c`), which pgrx does not have.
    fn CheckForSerializableConflictIn(relation: pg_sys::Relation, tid: pg_sys::ItemPointer, block: pg_sys::BlockNumber);
}

/// Tells PostgreSQL that rows are in the index now, for what SERIALIZABLE transactions have read there. It does so itself before `aminsert`; but
/// whoever scans the index before the rows are in it does not meet them in the table, which is where it would notice otherwise.
///
/// # Safety
/// `index` is open.
pub unsafe fn check_for_conflict(index: pg_sys::Relation) {
    let block = pg_sys::InvalidBlockNumber;
    // SAFETY: as the caller promises; errors are caught at the boundary, and nothing is to be dropped within.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| CheckForSerializableConflictIn(index, std::ptr::null_mut(), block));
    }
}

/// The file that the contents of an index were built in.
///
/// # Safety
/// `index` is an open index of this access method.
unsafe fn built_in(index: pg_sys::Relation) -> Result<u32> {
    // SAFETY: as the caller promises.
    unsafe { BufferStore::new(index, Mode::Normal) }.read(META_BLOCK, meta::read_file)
}

/// Whether an index will have the file that it has, unless the whole transaction is rolled back.
///
/// # Safety
/// `index` is open.
unsafe fn is_final(index: pg_sys::Relation) -> bool {
    // SAFETY: as the caller promises.
    let (first, last) = unsafe {
        #[cfg(feature = "pg15")]
        let changes = ((*index).rd_firstRelfilenodeSubid, (*index).rd_newRelfilenodeSubid);
        #[cfg(not(feature = "pg15"))]
        let changes = ((*index).rd_firstRelfilelocatorSubid, (*index).rd_newRelfilelocatorSubid);
        changes
    };
    // The last change is known if there is a number; 1 is the transaction itself.
    last == 1 || (first, last) == (0, 0)
}

/// What an index is, and the file that it was built in, if the transaction has staged rows for it.
///
/// # Safety
/// `index` is an open index of this access method.
pub unsafe fn known(index: pg_sys::Relation) -> Option<(Arc<Space>, u32)> {
    STAGING.with_borrow(|staging| {
        // SAFETY: as the caller promises.
        let i = unsafe { staging.find(index)? };
        let staged = &staging.indexes[i];
        Some((Arc::clone(&staged.space), staged.built_in))
    })
}

/// Whether rows are to be staged rather than inserted. Not those of deferred triggers, which run when PostgreSQL commits: no statement ends
/// then that would put us before others that commit elsewhere.
pub fn is_open() -> bool {
    // SAFETY: the statement that runs, and the kind of this process.
    let at_commit =
        unsafe { pg_sys::ActivePortal.is_null() && pg_sys::MyBackendType == pg_sys::BackendType::B_BACKEND };
    !at_commit && STAGING.with_borrow(|staging| !staging.committing)
}

/// Stages a row with its value. When all that is staged has more than `most` bytes, it goes into the indexes. Says whether the row was staged: not
/// while it is undecided whether the one before it stays, of a command that goes on.
///
/// # Safety
/// `index` is an open index of this access method, locked for writing, and `(space, built_in)` say what it is, and in which file it was built; `heap` is
/// its table, and one whose rows can be staged.
pub unsafe fn stage(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    (space, built_in): (&Arc<Space>, u32),
    value: &RowValue,
    mut row: NewRow,
    most: usize,
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
                        file: buffers::file_of(index),
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
        if staging.bytes > most {
            staging.apply();
        }
        Ok(true)
    })
}

/// Whether a row of a table can be staged: it can be looked at there if it may be taken back, and the index (which has a condition if `is_partial`) is told of the
/// row that then gets its place.
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

/// Inserts all that is staged.
pub fn apply() {
    STAGING.with_borrow_mut(Staging::apply);
}

/// The rows staged for an index, with their keys for a query.
///
/// # Safety
/// `heap` is an open table, `index` an open index of it and of this access method, and `query` one of its space.
pub unsafe fn beside(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    query: &Query,
    keys: Keys,
) -> Vec<(f32, HeapTid)> {
    STAGING.with_borrow_mut(|staging| {
        if staging.merged > MOST_MERGED {
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

/// Says that the transaction inserts a row that is not staged, at `tid`: the one before it, if it was speculative, is decided on.
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

/// Drops what is staged for the contents of a file, which are built anew in place: a TRUNCATE of a table that the transaction has made; or the end
/// of a transaction, for a temporary table with ON COMMIT DELETE ROWS, which comes after the rows are in the index. PostgreSQL does not tell
/// of it, but the file of such an index is seen here then, and its rows are left out from the next commit on.
///
/// # Safety
/// `index` is an open index of this access method.
pub unsafe fn forget(index: pg_sys::Relation) {
    // SAFETY: as the caller promises.
    let (index, heap, file, persistence) = unsafe {
        let (row, heap) = ((*index).rd_rel, (*(*index).rd_index).indrelid);
        (
            (*index).rd_id,
            heap,
            buffers::file_of(index),
            (*row).relpersistence as u8,
        )
    };
    STAGING.with_borrow_mut(|staging| {
        // A temporary file may have the number of another.
        staging
            .indexes
            .retain(|staged| (staged.heap, staged.file) != (heap, file));
        let forgetful = &mut staging.forgetful;
        if staging.committing
            && persistence == pg_sys::RELPERSISTENCE_TEMP
            && forgetful.len() < MOST_FORGETFUL
            && !forgetful.contains(&(index, file))
        {
            forgetful.push((index, file));
        }
    });
}

/// Makes PostgreSQL tell of what goes on: once, when the library is loaded.
pub fn register() {
    commit::register();
    statement::register();
    parallel::register();
}
