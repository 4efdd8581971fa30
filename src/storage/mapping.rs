//! Memory that the system maps for pages: of its own, or of a file.

use std::os::fd::RawFd;
use std::ptr::{self, NonNull};

use crate::error::{Error, Result};

/// Mapped memory, which is unmapped when it is dropped.
#[derive(Debug)]
pub struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

// SAFETY: the memory belongs to the mapping alone and is not tied to a thread; its users
// synchronize their accesses.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Memory of the process, all zero, in huge pages of the processor where the system gives them.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    pub fn anonymous(bytes: usize) -> Result<Mapping> {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        // SAFETY: new memory, at a place that the system chooses.
        let mapping = unsafe { Mapping::new(flags, -1, 0, bytes)? };
        // Random reads then rarely miss the TLB.
        #[cfg(target_os = "linux")]
        mapping.advise(libc::MADV_HUGEPAGE);
        Ok(mapping)
    }

    /// `bytes` bytes of a file from `offset` on, a multiple of the size of the system's pages. The
    /// file may be closed afterwards.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`] where the process may map no more, [`Error::FileNotMapped`].
    ///
    /// # Safety
    /// The file has storage for these bytes. As long as the mapping lives nobody makes the file
    /// shorter, and nobody else changes them.
    pub unsafe fn of_file(file: RawFd, offset: u64, bytes: usize) -> Result<Mapping> {
        // SAFETY: as the caller promises; the place is one that the system chooses.
        let mapping = unsafe { Mapping::new(libc::MAP_SHARED, file, offset, bytes)? };
        // A graph is read at random, so its neighbors in the file are not worth reading ahead.
        mapping.advise(libc::MADV_RANDOM);
        Ok(mapping)
    }

    /// # Safety
    /// The contents of the file, if there is one, are the caller's as long as the mapping lives.
    unsafe fn new(flags: i32, file: RawFd, offset: u64, bytes: usize) -> Result<Mapping> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let offset = libc::off_t::try_from(offset).map_err(|_| Error::FileNotMapped { errno: libc::EOVERFLOW })?;
        // SAFETY: no mapping is replaced, since the system chooses the place.
        let start = unsafe { libc::mmap(ptr::null_mut(), bytes, access, flags, file, offset) };
        if start == libc::MAP_FAILED {
            let errno = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
            return Err(match errno {
                libc::ENOMEM => Error::OutOfMemory,
                errno => Error::FileNotMapped { errno },
            });
        }
        let start = NonNull::new(start.cast()).ok_or(Error::OutOfMemory)?;
        Ok(Mapping { start, bytes })
    }

    /// Advises the system that the memory is going to be read in order.
    pub fn read_in_order(&self) {
        self.advise(libc::MADV_SEQUENTIAL);
    }

    /// Advises the system of the use of the memory; a failure does not matter.
    fn advise(&self, advice: i32) {
        // SAFETY: the range is the mapping, and the advice does not change its contents.
        unsafe { libc::madvise(self.start.as_ptr().cast(), self.bytes, advice) };
    }

    /// The first byte, at the start of a page of the system.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// The length in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the mapping is this one's, and no user outlives it.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

#[cfg(test)]
pub mod tests {
    use std::fs::{self, OpenOptions};
    use std::os::fd::AsRawFd;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Zeros of a file that has no name any more.
    pub fn of_unlinked_file(bytes: usize) -> Mapping {
        static FILES: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "pg_alopex-{}-{}",
            std::process::id(),
            FILES.fetch_add(1, Ordering::Relaxed)
        );
        let path = std::env::temp_dir().join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)
            .unwrap();
        fs::remove_file(&path).unwrap();
        file.set_len(bytes as u64).unwrap();
        // SAFETY: nobody else has the file.
        unsafe { Mapping::of_file(file.as_raw_fd(), 0, bytes) }.unwrap()
    }

    #[test]
    fn memory_of_both_kinds_is_zero_and_keeps_contents() {
        const BYTES: usize = 1 << 20;
        for mapping in [Mapping::anonymous(BYTES).unwrap(), of_unlinked_file(BYTES)] {
            assert_eq!(mapping.bytes(), BYTES);
            // SAFETY: the mapping is this test's alone.
            let bytes = unsafe { std::slice::from_raw_parts_mut(mapping.start().as_ptr(), BYTES) };
            assert!(bytes.iter().all(|byte| *byte == 0));
            bytes[BYTES - 1] = 7;
            assert_eq!(bytes[BYTES - 1], 7);
        }
    }

    #[test]
    fn memory_that_cannot_be_mapped_is_an_error() {
        assert_eq!(Mapping::anonymous(1 << 62).unwrap_err(), Error::OutOfMemory);
        // SAFETY: nothing is mapped.
        let of_none = unsafe { Mapping::of_file(-1, 0, 1 << 20) };
        assert_eq!(of_none.unwrap_err(), Error::FileNotMapped { errno: libc::EBADF });
        // SAFETY: as above.
        let beyond = unsafe { Mapping::of_file(-1, u64::MAX, 1 << 20) };
        assert!(matches!(beyond, Err(Error::FileNotMapped { .. })));
    }
}
