//! The page store on PostgreSQL's shared buffers.
//!
//! Every change is a generic WAL record (PostgreSQL's `generic_xlog.c`), so that an index recovers and replicates without this
//! library being loaded; a build writes unlogged and logs all pages at its end. Locks and pins are guards. While PostgreSQL
//! unwinds from an error they are left to it: aborting the (sub)transaction releases them, and its error handling
//! has already reset the counters that a release would count down.
//!
//! A search reads hot pages at random, and finding the buffer of each in the shared table costs more than reading it. So the
//! backend remembers in which buffer it last saw a block ([`recent`]) and takes that one again if it still holds the block.

pub mod recent;
#[cfg(any(test, feature = "pg_test"))]
mod tests;

use std::cell::Cell;
use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr;

use pgrx::{check_for_interrupts, pg_sys};

use super::page::{self, PAGE_SIZE, Page};
use super::prefetch::prefetch;
use super::store::{Edit, PageStore};
use super::{BlockNumber, corrupted};
use crate::error::{Error, Result};
use crate::reserve;

const MAIN: pg_sys::ForkNumber::Type = pg_sys::ForkNumber::MAIN_FORKNUM;
const INVALID_BLOCK: BlockNumber = pg_sys::InvalidBlockNumber;

/// The pages of an index relation that the caller has open and locked.
pub struct BufferStore {
    relation: pg_sys::Relation,
    /// The relation's length when it was last asked for.
    blocks: Cell<BlockNumber>,
    /// Pages changed and logged.
    changes: Cell<u64>,
    mode: Mode,
    /// The ring of buffers that passes over all pages use; null for any.
    strategy: pg_sys::BufferAccessStrategy,
    /// Whether its pages are in the backend's own buffers, whose numbers are negative.
    temporary: bool,
    /// In a scan's pass over all pages.
    ahead: Option<ReadAhead>,
}

/// What a pass knows of the cache: pages are asked for ahead of their use where the last ones had to be read.
struct ReadAhead {
    /// Blocks that the backend had read when the last window began.
    known_reads: Cell<i64>,
}

/// Pages that a pass asks for at a time.
const WINDOW: BlockNumber = 32;

/// What an operation on an index is, as far as its pages are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// A scan or an insert.
    Normal,
    /// VACUUM: it rests as its cost settings say.
    Vacuum,
    /// A build: changes are not logged, since [`log_all`] does so at the end.
    Build,
}

/// A pinned buffer, locked or not.
struct Pinned {
    buffer: pg_sys::Buffer,
    locked: bool,
}

impl Pinned {
    fn read(relation: pg_sys::Relation, block: BlockNumber, strategy: pg_sys::BufferAccessStrategy) -> Pinned {
        // SAFETY: the relation is open.
        let buffer =
            unsafe { pg_sys::ReadBufferExtended(relation, MAIN, block, pg_sys::ReadBufferMode::RBM_NORMAL, strategy) };
        Pinned { buffer, locked: false }
    }

    fn lock(mut self, mode: u32) -> Pinned {
        // SAFETY: the buffer is pinned and not locked by us.
        unsafe { pg_sys::LockBuffer(self.buffer, mode as i32) };
        self.locked = true;
        self
    }

    /// The bytes of the page. At least a share lock is held while they are in use.
    fn page(&self) -> *mut Page {
        // SAFETY: the buffer is pinned.
        unsafe { pg_sys::BufferGetPage(self.buffer).cast() }
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        // SAFETY: this guard owns the pin, and the lock if there is one.
        unsafe {
            if self.locked {
                pg_sys::UnlockReleaseBuffer(self.buffer);
            } else {
                pg_sys::ReleaseBuffer(self.buffer);
            }
        }
    }
}

/// A generic WAL record being made; aborted unless finished.
struct Record(*mut pg_sys::GenericXLogState);

impl Record {
    fn start(relation: pg_sys::Relation) -> Record {
        // SAFETY: the relation is open.
        Record(unsafe { pg_sys::GenericXLogStart(relation) })
    }

    /// The copy of an exclusively locked page that becomes the page when the record is finished.
    fn register(&mut self, buffer: &Pinned) -> *mut Page {
        // SAFETY: the caller holds the exclusive lock, so nobody else reads or writes the page.
        let new = page::is_new(unsafe { &*buffer.page() });
        // A page that was never logged has to be, as a whole: replay cannot start from a block that does not exist.
        let flags = if new { pg_sys::GENERIC_XLOG_FULL_IMAGE } else { 0 };
        // SAFETY: the record is under way, the buffer pinned and locked, and at most two are registered.
        unsafe { pg_sys::GenericXLogRegisterBuffer(self.0, buffer.buffer, flags as i32).cast() }
    }

    fn finish(self) {
        // SAFETY: the record is under way and its buffers are still locked.
        unsafe { pg_sys::GenericXLogFinish(self.0) };
        std::mem::forget(self);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // SAFETY: the record is under way.
            unsafe { pg_sys::GenericXLogAbort(self.0) };
        }
    }
}

impl BufferStore {
    /// The pages of an index.
    ///
    /// # Safety
    /// `relation` stays open and locked, with a lock that suits the mode, as long as the store lives.
    pub unsafe fn new(relation: pg_sys::Relation, mode: Mode) -> BufferStore {
        // SAFETY: an open relation has its pg_class row.
        let persistence = unsafe { (*(*relation).rd_rel).relpersistence } as u8;
        BufferStore {
            relation,
            blocks: Cell::new(0),
            changes: Cell::new(0),
            mode,
            strategy: ptr::null_mut(),
            temporary: persistence == pg_sys::RELPERSISTENCE_TEMP,
            ahead: None,
        }
    }

    /// As it is, with the ring of buffers that passes over all pages use.
    ///
    /// # Safety
    /// `strategy` is null, or lives as long as the store.
    pub unsafe fn with_strategy(self, strategy: pg_sys::BufferAccessStrategy) -> BufferStore {
        BufferStore { strategy, ..self }
    }

    /// Whether a page's LSN tells that it was changed. Those of an unlogged index do not; nor do a temporary one's, which nobody changes while this
    /// backend scans it.
    pub fn has_lsns(&self) -> bool {
        // SAFETY: the relation is open.
        let persistence = unsafe { (*(*self.relation).rd_rel).relpersistence } as u8;
        persistence != pg_sys::RELPERSISTENCE_UNLOGGED
    }

    /// Pages that were changed through this store, one as often as it was.
    pub fn changes(&self) -> u64 {
        self.changes.get()
    }

    #[inline]
    fn exists(&self, block: BlockNumber) -> Result<bool> {
        Ok(block < self.blocks.get() || block < self.blocks()?)
    }

    /// Pins a buffer if it holds the block.
    #[inline]
    fn take(&self, block: BlockNumber, buffer: pg_sys::Buffer) -> Option<Pinned> {
        // SAFETY: the relation is open, and the buffer's number is from PostgreSQL.
        let taken = unsafe { recent::pin(self.relation, self.temporary, block, buffer) };
        taken.then(|| Pinned { buffer, locked: false })
    }

    /// Pins a block where this backend last saw it, if it still is there.
    #[inline]
    fn recall(&self, block: BlockNumber) -> Option<Pinned> {
        // SAFETY: the relation is open.
        self.take(block, unsafe { recent::get(self.relation, block) })
    }

    /// Pins a block that is in a buffer that we do not know, or asks the operating system to read it.
    #[inline(never)]
    fn look_up(&self, block: BlockNumber) -> Option<Pinned> {
        // SAFETY: the relation is open, and the block is one of its.
        let buffer = unsafe { pg_sys::PrefetchBuffer(self.relation, MAIN, block) }.recent_buffer;
        let pinned = self.take(block, buffer)?;
        // SAFETY: the relation is open.
        unsafe { recent::set(self.relation, block, buffer) };
        Some(pinned)
    }

    #[inline(never)]
    fn read_in(&self, block: BlockNumber) -> Pinned {
        if self.ahead.is_some() {
            return Pinned::read(self.relation, block, self.strategy); // It is soon another block's.
        }
        let pinned = Pinned::read(self.relation, block, ptr::null_mut());
        // SAFETY: the relation is open.
        unsafe { recent::set(self.relation, block, pinned.buffer) };
        pinned
    }

    #[inline]
    fn fetch(&self, block: BlockNumber) -> Pinned {
        self.recall(block).unwrap_or_else(|| self.read_in(block))
    }

    /// Pins a block that is going to be changed.
    fn fetch_to_change(&self, block: BlockNumber) -> Result<Pinned> {
        if !self.exists(block)? {
            return corrupted(block, "a reference points beyond the end of the index");
        }
        Ok(self.fetch(block))
    }

    /// Runs a change of locked pages, and logs it.
    fn change<T, const N: usize>(
        &self,
        buffers: [&Pinned; N],
        f: impl FnOnce([&mut Page; N]) -> Result<Edit<T>>,
    ) -> Result<T> {
        if self.mode == Mode::Build {
            // SAFETY: the buffers are different ones, pinned and exclusively locked.
            return Ok(match f(buffers.map(|buffer| unsafe { &mut *buffer.page() }))? {
                Edit::Changed(value) => {
                    // SAFETY: as above.
                    let _ = buffers.map(|buffer| unsafe { pg_sys::MarkBufferDirty(buffer.buffer) });
                    value
                }
                Edit::Unchanged(value) => value,
            });
        }
        let mut record = Record::start(self.relation);
        // SAFETY: each is a private copy that lives until the record ends.
        let pages = buffers.map(|buffer| unsafe { &mut *record.register(buffer) });
        match f(pages)? {
            Edit::Changed(value) => {
                self.changes.set(self.changes.get() + N as u64);
                record.finish();
                Ok(value)
            }
            Edit::Unchanged(value) => Ok(value),
        }
    }

    /// Asks the operating system for the next window of a pass if pages of this one were not in a buffer.
    fn read_ahead(&self, block: BlockNumber) -> Result<()> {
        let Some(ahead) = self.ahead.as_ref().filter(|_| block.is_multiple_of(WINDOW)) else {
            return Ok(());
        };
        let reads = blocks_read();
        if ahead.known_reads.replace(reads) == reads {
            return Ok(());
        }
        let window = block.saturating_add(WINDOW)..block.saturating_add(2 * WINDOW);
        for next in window.start..window.end.min(self.blocks.get()) {
            // SAFETY: the relation is open, and the block is one of its.
            unsafe { pg_sys::PrefetchBuffer(self.relation, MAIN, next) };
        }
        Ok(())
    }

    /// The backend's last target, as the heap keeps it (PostgreSQL's `hio.c`).
    fn last_target(&self) -> BlockNumber {
        // SAFETY: the relation is open; its storage manager entry, where there is one, is this backend's.
        unsafe { (*self.relation).rd_smgr.as_ref() }.map_or(INVALID_BLOCK, |smgr| smgr.smgr_targblock)
    }

    fn remember_target(&self, block: BlockNumber) -> BlockNumber {
        // SAFETY: as above; no reference to the entry is held.
        if let Some(smgr) = unsafe { (*self.relation).rd_smgr.as_mut() } {
            smgr.smgr_targblock = block;
        }
        block
    }
}

/// A page that was asked for ahead of its use; pinned if it was in a buffer.
pub struct Pin<'a> {
    block: BlockNumber,
    exists: bool,
    pinned: Option<Pinned>,
    store: PhantomData<&'a BufferStore>,
}

impl PageStore for BufferStore {
    type Pin<'a> = Pin<'a>;

    fn blocks(&self) -> Result<BlockNumber> {
        // SAFETY: the relation is open.
        self.blocks
            .set(unsafe { pg_sys::RelationGetNumberOfBlocksInFork(self.relation, MAIN) });
        Ok(self.blocks.get())
    }

    #[inline]
    fn pin(&self, block: BlockNumber) -> Result<Pin<'_>> {
        let exists = self.exists(block)?;
        let pinned = || self.recall(block).or_else(|| self.look_up(block));
        Ok(Pin {
            block,
            exists,
            pinned: if exists { pinned() } else { None },
            store: PhantomData,
        })
    }

    #[inline]
    fn hint(&self, pin: &Pin<'_>, offset: usize, len: usize) {
        if let Some(pinned) = &pin.pinned {
            prefetch(pinned.page().cast_const().cast(), offset, len);
        }
    }

    #[inline]
    fn prefetch(&self, block: BlockNumber, offset: usize, len: usize) {
        // SAFETY: the relation is open.
        unsafe { recent::prefetch_at(self.relation, block, offset, len) };
    }

    #[inline]
    fn read_pinned<T>(&self, pin: Pin<'_>, f: impl FnOnce(&Page) -> Result<T>) -> Result<T> {
        if !pin.exists {
            return f(&page::NEW);
        }
        let pinned = pin.pinned.unwrap_or_else(|| self.read_in(pin.block));
        let buffer = pinned.lock(pg_sys::BUFFER_LOCK_SHARE);
        // SAFETY: the buffer is pinned and locked; nobody changes the page.
        f(unsafe { &*buffer.page() })
    }

    #[inline]
    fn read<T>(&self, block: BlockNumber, f: impl FnOnce(&Page) -> Result<T>) -> Result<T> {
        if !self.exists(block)? {
            return f(&page::NEW);
        }
        let buffer = self.fetch(block).lock(pg_sys::BUFFER_LOCK_SHARE);
        // SAFETY: the buffer is pinned and locked; nobody changes the page.
        f(unsafe { &*buffer.page() })
    }

    fn read_in_passing<T>(&self, block: BlockNumber, f: impl FnOnce(&Page) -> Result<T>) -> Result<T> {
        if !self.exists(block)? {
            return f(&page::NEW);
        }
        self.read_ahead(block)?;
        let buffer = Pinned::read(self.relation, block, self.strategy).lock(pg_sys::BUFFER_LOCK_SHARE);
        // SAFETY: the buffer is pinned and locked; nobody changes the page.
        f(unsafe { &*buffer.page() })
    }

    fn in_passing<T>(&self, f: impl FnOnce(&Self) -> Result<T>) -> Result<T> {
        let ring = Ring::new();
        let ahead = ReadAhead {
            known_reads: Cell::new(blocks_read()),
        };
        f(&BufferStore {
            blocks: self.blocks.clone(),
            changes: Cell::new(0),
            strategy: ring.strategy(),
            ahead: Some(ahead),
            ..*self
        })
    }

    fn write<T>(&self, block: BlockNumber, f: impl FnOnce(&mut Page) -> Result<Edit<T>>) -> Result<T> {
        let buffer = self.fetch_to_change(block)?.lock(pg_sys::BUFFER_LOCK_EXCLUSIVE);
        self.change([&buffer], |[page]| f(page))
    }

    fn write_two<T>(
        &self,
        first: BlockNumber,
        second: BlockNumber,
        f: impl FnOnce(&mut Page, &mut Page) -> Result<Edit<T>>,
    ) -> Result<T> {
        assert_ne!(first, second, "two different pages");
        // Both are read in before the first lock is taken.
        let low = self.fetch_to_change(first.min(second))?;
        let high = self.fetch_to_change(first.max(second))?;
        let low = low.lock(pg_sys::BUFFER_LOCK_EXCLUSIVE);
        let high = high.lock(pg_sys::BUFFER_LOCK_EXCLUSIVE);
        let buffers = if first < second { [&low, &high] } else { [&high, &low] };
        self.change(buffers, |[a, b]| f(a, b))
    }

    fn extend(&self) -> Result<BlockNumber> {
        let lock = pg_sys::ExclusiveLock as i32;
        // SAFETY: the relation is open. An error in between is followed by an abort, which releases the extension lock.
        let block = unsafe {
            pg_sys::LockRelationForExtension(self.relation, lock);
            let new = Pinned::read(self.relation, INVALID_BLOCK, ptr::null_mut()); // P_NEW
            let block = pg_sys::BufferGetBlockNumber(new.buffer);
            pg_sys::UnlockRelationForExtension(self.relation, lock);
            block
        };
        Ok(self.remember_target(block))
    }

    fn target(&self, full: Option<BlockNumber>) -> Result<Option<BlockNumber>> {
        let blocks = self.blocks()?;
        if full.is_none() {
            let last = self.last_target();
            let block = if last < blocks { last } else { blocks.saturating_sub(1) };
            return Ok((block > 0).then_some(block));
        }
        if self.mode == Mode::Build {
            return Ok(None);
        }
        // SAFETY: the relation is open. The page is then no longer in the map, so this ends.
        let block = unsafe { pg_sys::GetFreeIndexPage(self.relation) };
        Ok((block > 0 && block < blocks).then(|| self.remember_target(block)))
    }

    fn note_free(&self, block: BlockNumber) {
        if self.mode == Mode::Build {
            return; // Nobody else looks for a page, and this backend remembers its own.
        }
        // SAFETY: the relation is open.
        unsafe { pg_sys::RecordFreeIndexPage(self.relation, block) };
    }

    fn check_interrupts(&self) {
        if reserve::has_run_out() {
            Error::OutOfMemory.raise();
        }
        if self.mode == Mode::Vacuum {
            // SAFETY: VACUUM calls us; no buffer is locked between two steps.
            unsafe {
                #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))]
                pg_sys::vacuum_delay_point();
                #[cfg(feature = "pg18")]
                pg_sys::vacuum_delay_point(false);
            }
        } else {
            check_for_interrupts!();
        }
    }
}

/// The name of an open relation.
///
/// # Safety
/// `relation` is open.
pub unsafe fn relation_name(relation: pg_sys::Relation) -> String {
    // SAFETY: an open relation has its pg_class row, whose name ends with a zero byte.
    unsafe { CStr::from_ptr((*(*relation).rd_rel).relname.data.as_ptr()) }
        .to_string_lossy()
        .into_owned()
}

/// The name of an open relation as SQL takes it: with its schema, and quoted where it has to be.
unsafe fn qualified_name(relation: pg_sys::Relation) -> String {
    // SAFETY: as for `relation_name`; the names are strings that PostgreSQL allocates.
    unsafe {
        let row = (*relation).rd_rel;
        let schema = pg_sys::get_namespace_name_or_temp((*row).relnamespace);
        let name = pg_sys::quote_qualified_identifier(schema, (*row).relname.data.as_ptr());
        CStr::from_ptr(name).to_string_lossy().into_owned()
    }
}

/// An error with the names of the relation that it is about.
///
/// # Safety
/// `relation` is open.
pub unsafe fn in_relation(relation: pg_sys::Relation, error: Error) -> Error {
    // SAFETY: as the caller promises.
    unsafe { error.in_relation(|| relation_name(relation), || qualified_name(relation)) }
}

/// Gives the value, or raises the error in PostgreSQL.
///
/// # Safety
/// `relation`, the index at work, is open.
pub unsafe fn or_raise<T>(relation: pg_sys::Relation, result: Result<T>) -> T {
    match result {
        Ok(value) => value,
        // SAFETY: as the caller promises.
        Err(error) => unsafe { in_relation(relation, error) }.raise(),
    }
}

/// The number of a relation's file (PostgreSQL's `relfilenode`).
///
/// # Safety
/// `relation` is open.
#[inline]
pub unsafe fn file_of(relation: pg_sys::Relation) -> u32 {
    // SAFETY: as the caller promises.
    unsafe {
        #[cfg(feature = "pg15")]
        let file = (*relation).rd_node.relNode;
        #[cfg(not(feature = "pg15"))]
        let file = (*relation).rd_locator.relNumber;
        file.to_u32()
    }
}

/// Whether changes of the relation's main fork have to be logged (PostgreSQL's `RelationNeedsWAL`).
///
/// # Safety
/// `relation` is open.
pub unsafe fn needs_wal(relation: pg_sys::Relation) -> bool {
    // SAFETY: an open relation has these fields.
    unsafe {
        #[cfg(feature = "pg15")]
        let new_file = (*relation).rd_firstRelfilenodeSubid;
        #[cfg(not(feature = "pg15"))]
        let new_file = (*relation).rd_firstRelfilelocatorSubid;
        let none = pg_sys::SubTransactionId::default(); // InvalidSubTransactionId
        let permanent = (*(*relation).rd_rel).relpersistence as u8 == pg_sys::RELPERSISTENCE_PERMANENT;
        let logged = pg_sys::wal_level >= pg_sys::WalLevel::WAL_LEVEL_REPLICA as i32;
        permanent && (logged || ((*relation).rd_createSubid == none && new_file == none))
    }
}

/// A small ring of buffers for passes over all pages of an index, so that they leave those of others where they are.
pub struct Ring(pg_sys::BufferAccessStrategy);

impl Ring {
    /// A ring for reading.
    #[allow(clippy::new_without_default, reason = "it allocates")]
    pub fn new() -> Ring {
        // SAFETY: called in a backend.
        Ring(unsafe { pg_sys::GetAccessStrategy(pg_sys::BufferAccessStrategyType::BAS_BULKREAD) })
    }

    /// What PostgreSQL knows it by; it has to live as long as this is used.
    pub fn strategy(&self) -> pg_sys::BufferAccessStrategy {
        self.0
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // An error frees it with its memory context.
        if !std::thread::panicking() {
            // SAFETY: it is from GetAccessStrategy.
            unsafe { pg_sys::FreeAccessStrategy(self.0) };
        }
    }
}

/// Blocks of an index that are in shared buffers, about: the buffers are looked at while others use them. Nothing for a temporary index, which
/// is not in shared buffers.
///
/// # Safety
/// `index` is open.
pub unsafe fn buffered_blocks(index: pg_sys::Relation) -> Option<BlockNumber> {
    // SAFETY: as the caller promises; the headers are in shared memory as long as the server runs, and a torn read of one counts wrongly, no more.
    unsafe {
        if (*(*index).rd_rel).relpersistence as u8 == pg_sys::RELPERSISTENCE_TEMP {
            return None;
        }
        let mut blocks = 0;
        for i in 0..pg_sys::NBuffers.max(0) as usize {
            if i % (1 << 16) == 0 {
                pgrx::check_for_interrupts!();
            }
            let tag = std::ptr::read_volatile(&raw const (*pg_sys::BufferDescriptors.add(i)).bufferdesc.tag);
            #[cfg(feature = "pg15")]
            let is_of_index = {
                let (file, own) = (tag.rnode, (*index).rd_node);
                (file.spcNode, file.dbNode, file.relNode) == (own.spcNode, own.dbNode, own.relNode)
            };
            #[cfg(not(feature = "pg15"))]
            let is_of_index = {
                let own = (*index).rd_locator;
                (tag.spcOid, tag.dbOid, tag.relNumber) == (own.spcOid, own.dbOid, own.relNumber)
            };
            blocks += BlockNumber::from(is_of_index && tag.forkNum == MAIN);
        }
        Some(blocks)
    }
}

/// Blocks that this backend has read in.
fn blocks_read() -> i64 {
    // SAFETY: counters of this backend.
    unsafe { pg_sys::pgBufferUsage.shared_blks_read + pg_sys::pgBufferUsage.local_blks_read }
}

/// Bytes of WAL that this backend has written.
pub fn wal_bytes() -> u64 {
    // SAFETY: a counter of this backend.
    unsafe { pg_sys::pgWalUsage.wal_bytes }
}

/// Bytes of memory that maintenance of an index may use.
pub fn maintenance_memory() -> usize {
    unsafe extern "C" {
        /// PostgreSQL's setting, which pgrx does not have.
        static autovacuum_work_mem: std::ffi::c_int;
    }
    // SAFETY: settings; the process's kind is fixed when it starts.
    let kilobytes = unsafe {
        let is_autovacuum = pg_sys::MyBackendType == pg_sys::BackendType::B_AUTOVAC_WORKER;
        if is_autovacuum && autovacuum_work_mem != -1 {
            autovacuum_work_mem
        } else {
            pg_sys::maintenance_work_mem
        }
    };
    kilobytes as usize * 1024
}

/// Logs every page of a fork as it stands.
///
/// # Safety
/// `relation` is open and nobody else changes it.
pub unsafe fn log_all(relation: pg_sys::Relation, fork: pg_sys::ForkNumber::Type) {
    // SAFETY: as the caller promises.
    unsafe {
        let blocks = pg_sys::RelationGetNumberOfBlocksInFork(relation, fork);
        pg_sys::log_newpage_range(relation, fork, 0, blocks, true);
    }
}

/// Adds a page to a fork that only we see, unlogged.
///
/// # Safety
/// `relation` is open and nobody else changes the fork.
pub unsafe fn append(relation: pg_sys::Relation, fork: pg_sys::ForkNumber::Type, page: &Page) {
    const {
        assert!(
            pg_sys::BLCKSZ as usize == PAGE_SIZE,
            "pages have the size of a PostgreSQL block"
        )
    };
    // SAFETY: as the caller promises.
    unsafe {
        let mode = pg_sys::ReadBufferMode::RBM_NORMAL;
        let lock = pg_sys::ExclusiveLock as i32;
        pg_sys::LockRelationForExtension(relation, lock);
        let buffer = pg_sys::ReadBufferExtended(relation, fork, INVALID_BLOCK, mode, ptr::null_mut());
        pg_sys::UnlockRelationForExtension(relation, lock);
        let buffer = Pinned { buffer, locked: false }.lock(pg_sys::BUFFER_LOCK_EXCLUSIVE);
        *buffer.page() = *page;
        pg_sys::MarkBufferDirty(buffer.buffer);
    }
}
