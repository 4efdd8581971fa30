//! Memory for the pages of a build: that of the backend within maintenance_work_mem, beyond it that
//! of a temporary file, which all threads of the build map.
//!
//! The file is one of PostgreSQL's: it is in temp_tablespaces, counts for temp_file_limit, and is
//! removed when the build ends, however that is. The leader alone calls PostgreSQL, so it makes the
//! file longer before rows need the room. It writes the zeros that the file begins with: the file
//! system has given the room before anything is mapped, so that a full disk is an error here, and
//! no signal to a thread that writes to a page.

use std::sync::Arc;

use pgrx::pg_sys;

use crate::compat;
use crate::error::{Error, Result};
use crate::storage::PageStore;
use crate::storage::mapping::Mapping;
use crate::storage::memory_store::{MemoryStore, SEGMENT_BYTES};
use crate::storage::page::{self, PAGE_SIZE};

/// The file grows by one of so many parts of the pages. So the threads of a build of any size wait
/// for the leader for an equally small part of the time, and there are few mappings.
const GROWTH: usize = 64;

/// Pages of a build, as many as there is memory or disk space for.
///
/// Of use on the backend's own thread only; other threads have the store.
pub struct BuildMemory {
    store: Arc<MemoryStore>,
    file: Option<TemporaryFile>,
}

impl BuildMemory {
    /// Memory of at most `bytes` bytes outside the file. The store runs `check_interrupts` on this
    /// thread.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn new(bytes: usize, check_interrupts: fn()) -> Result<BuildMemory> {
        Ok(BuildMemory {
            store: Arc::new(MemoryStore::new(bytes)?.with_interrupts(check_interrupts)),
            file: None,
        })
    }

    /// The pages.
    pub fn store(&self) -> &Arc<MemoryStore> {
        &self.store
    }

    /// Makes room for one more insert, if inserts under way add `waiting` pages.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], errors of a [`TemporaryFile`]; a cancel is raised.
    #[inline]
    pub fn make_room(&mut self, waiting: usize) -> Result<()> {
        while !self.store.has_room(waiting) {
            self.grow()?;
        }
        Ok(())
    }

    #[cold]
    fn grow(&mut self) -> Result<()> {
        let file = self.file.get_or_insert_with(TemporaryFile::open);
        let present = self.store.capacity() as usize * PAGE_SIZE;
        let bytes = (present / GROWTH).next_multiple_of(SEGMENT_BYTES).max(SEGMENT_BYTES);
        let start = file.bytes;
        for _ in (0..bytes).step_by(SEGMENT_BYTES) {
            self.store.check_interrupts();
            file.extend(SEGMENT_BYTES)?;
        }
        self.store.add(file.map(start)?)
    }
}

/// A temporary file of PostgreSQL, which ends with the resource owner that is current when it is
/// made, if not before.
struct TemporaryFile {
    file: pg_sys::File,
    bytes: usize,
}

impl TemporaryFile {
    /// An empty file in one of temp_tablespaces.
    fn open() -> TemporaryFile {
        // SAFETY: a build is a statement in a transaction.
        let file = unsafe {
            pg_sys::PrepareTempTablespaces();
            pg_sys::OpenTemporaryFile(false)
        };
        TemporaryFile { file, bytes: 0 }
    }

    /// Adds zeros, a multiple of a page.
    ///
    /// # Errors
    /// [`Error::FileNotWritten`], as where the disk is full. PostgreSQL's error where
    /// temp_file_limit is exceeded is raised.
    fn extend(&mut self, bytes: usize) -> Result<()> {
        for _ in (0..bytes).step_by(PAGE_SIZE) {
            // SAFETY: the file is open.
            unsafe {
                compat::file_write(self.file, &page::NEW, self.bytes as i64).map_err(|error| {
                    Error::FileNotWritten {
                        file: std::ffi::CStr::from_ptr(pg_sys::FilePathName(self.file))
                            .to_string_lossy()
                            .into_owned(),
                        errno: error.raw_os_error().unwrap_or(0),
                    }
                })?;
            }
            self.bytes += PAGE_SIZE;
        }
        Ok(())
    }

    /// Maps the bytes from `start` on that were added last.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`], [`Error::FileNotMapped`].
    fn map(&self, start: usize) -> Result<Mapping> {
        // SAFETY: the file is open. PostgreSQL may close its descriptor when it opens other files,
        // but did not since the file was written; the mapping outlives that. The bytes were
        // written, and mapped by nobody so far. PostgreSQL removes the file, but does not make it
        // shorter.
        unsafe { Mapping::of_file(pg_sys::FileGetRawDesc(self.file), start as u64, self.bytes - start) }
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        // After an error the resource owner closes it.
        if !std::thread::panicking() {
            // SAFETY: the file is open; mappings of it may live on.
            unsafe { pg_sys::FileClose(self.file) };
        }
    }
}
