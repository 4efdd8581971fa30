//! Buffer hints: a cache of the buffers in which this backend last saw blocks.
//!
//! A search reads hot pages at random, and a lookup in the shared buffer table costs more than the
//! read of the page. So the backend remembers in which buffer it last saw a block, and pins that
//! buffer again if it still holds the block.
//!
//! A hint is only a guess, because a buffer may hold another block by now, and so may be a block of
//! another file that shares the entry. PostgreSQL checks it against the buffer's tag.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use pgrx::pg_sys;

use super::{MAIN, file_of};
use crate::compat;
use crate::storage::BlockNumber;
use crate::storage::page::PAGE_SIZE;
use crate::storage::prefetch::prefetch;

/// Number of entries: those of 8 GB of index. A backend that has seen all of them has 8 MB here.
const ENTRIES: usize = 1 << 20;

/// Blocks of all indexes, and the buffers in which they were seen, in the low half; 0
/// (`InvalidBuffer`) where none was seen. The atomics cost nothing, because a backend has one
/// thread. Untouched parts of the array take no memory.
static BUFFERS: [AtomicU64; ENTRIES] = [const { AtomicU64::new(0) }; ENTRIES];

/// Entry of a block.
///
/// # Safety
/// `relation` is open.
#[inline]
unsafe fn entry(relation: pg_sys::Relation, block: BlockNumber) -> &'static AtomicU64 {
    // Consecutive blocks have consecutive entries; the starts of files are scattered. SAFETY: as
    // the caller promises.
    let start = unsafe { file_of(relation) }.wrapping_mul(0x9E37_79B1) >> (32 - ENTRIES.ilog2());
    &BUFFERS[start.wrapping_add(block) as usize % ENTRIES]
}

/// The buffer in which the block, or one of the same number in another file, was last seen; 0 if
/// none was.
///
/// # Safety
/// `relation` is open.
#[inline]
pub unsafe fn get(relation: pg_sys::Relation, block: BlockNumber) -> pg_sys::Buffer {
    // SAFETY: as the caller promises.
    let entry = unsafe { entry(relation, block) }.load(Ordering::Relaxed);
    if (entry >> 32) as BlockNumber == block {
        (entry as u32).cast_signed()
    } else {
        0
    }
}

/// Remembers a block's buffer.
///
/// # Safety
/// `relation` is open, and PostgreSQL has given the buffer's number (or it is 0).
#[inline]
pub unsafe fn set(relation: pg_sys::Relation, block: BlockNumber, buffer: pg_sys::Buffer) {
    // SAFETY: as the caller promises.
    let entry = unsafe { entry(relation, block) };
    entry.store(
        u64::from(block) << 32 | u64::from(buffer.cast_unsigned()),
        Ordering::Relaxed,
    );
}

/// Hints to the processor that a block is pinned soon and bytes of its page are read, at the buffer
/// where it was last seen. The buffer's header is hinted as well, because it is as far away as the
/// page, and the hints also load the page's address translation.
///
/// # Safety
/// `relation` is open.
#[inline]
pub unsafe fn prefetch_at(relation: pg_sys::Relation, block: BlockNumber, offset: usize, len: usize) {
    // SAFETY: as the caller promises.
    let Ok(buffer @ 1..) = usize::try_from(unsafe { get(relation, block) }) else {
        return; // Not seen yet, or in the backend's own buffers.
    };
    // SAFETY: PostgreSQL sets both at its start; nothing is read from them.
    let (headers, pages) = unsafe { (pg_sys::BufferDescriptors, pg_sys::BufferBlocks) };
    prefetch(headers.wrapping_add(buffer - 1).cast(), 0, 1);
    prefetch(pages.wrapping_add((buffer - 1) * PAGE_SIZE).cast(), offset, len);
}

/// Pins a buffer if it holds the block of the main fork, and counts a hit as ReadBuffer does.
///
/// # Safety
/// `relation` is open, `temporary` tells whether it is a temporary one, and PostgreSQL has given
/// the buffer's number (or it is 0).
#[inline]
pub unsafe fn pin(relation: pg_sys::Relation, temporary: bool, block: BlockNumber, buffer: pg_sys::Buffer) -> bool {
    // A temporary relation is in local buffers, which have negative numbers. The tag does not
    // distinguish it from a permanent relation whose file has the same number.
    if buffer == 0 || (buffer < 0) != temporary {
        return false;
    }
    // SAFETY: as the caller promises.
    unsafe {
        let pinned = pg_sys::ReadRecentBuffer(compat::file_locator(relation), MAIN, block, buffer);
        if pinned {
            count_hit(relation, temporary);
        }
        pinned
    }
}

/// Raises the usage count of a pinned buffer by one, up to the most, as `PinBuffer` does at a
/// backend's first pin: ReadRecentBuffer does not before PostgreSQL 19, so that the clock sweep
/// would take the hottest pages of an index for cold ones.
///
/// # Safety
/// This backend has pinned the buffer.
#[inline]
pub unsafe fn raise_usage(buffer: pg_sys::Buffer) {
    let Ok(buffer @ 1..) = usize::try_from(buffer) else {
        return; // A backend's own buffer, which ReadRecentBuffer counts.
    };
    // SAFETY: PostgreSQL sets the array at its start, and has given the buffer's number; backends
    // change the word by atomic operations alone.
    let state = unsafe {
        let descriptor = pg_sys::BufferDescriptors.add(buffer - 1);
        AtomicU32::from_ptr(&raw mut (*descriptor).bufferdesc.state.value)
    };
    let seen = state.load(Ordering::Relaxed);
    let usage = (seen & pg_sys::BUF_USAGECOUNT_MASK) >> pg_sys::BUF_USAGECOUNT_SHIFT;
    // Of a buffer whose header is locked the word belongs to another backend; the next read counts.
    if usage < pg_sys::BM_MAX_USAGE_COUNT && seen & pg_sys::BM_LOCKED == 0 {
        let raised = seen + pg_sys::BUF_USAGECOUNT_ONE;
        _ = state.compare_exchange(seen, raised, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Counts a hit where ReadRecentBuffer does not: for the relation, for pg_stat_io, and for VACUUM's
/// report and delays. ReadRecentBuffer counts it for EXPLAIN and pg_stat_statements.
///
/// # Safety
/// As for [`pin`].
#[inline]
unsafe fn count_hit(relation: pg_sys::Relation, temporary: bool) {
    // SAFETY: as the caller promises.
    if let Some(counts) = unsafe { counts(relation) } {
        compat::count_block_hit(counts);
    }
    // SAFETY: counters and settings of this backend.
    unsafe {
        compat::count_vacuum_hit();
        if pg_sys::VacuumCostActive {
            pg_sys::VacuumCostBalance += pg_sys::VacuumCostPageHit;
        }
        compat::count_io_hit(temporary);
    }
}

/// The relation's counters in the cumulative statistics, if they are kept (PostgreSQL's
/// `pgstat_should_count_relation`).
///
/// # Safety
/// `relation` is open and stays so while the counters are in use; nothing else changes them
/// meanwhile.
#[inline]
pub unsafe fn counts<'a>(relation: pg_sys::Relation) -> Option<&'a mut pg_sys::PgStat_TableCounts> {
    // SAFETY: as the caller promises; the counters, where there are any, belong to this backend.
    unsafe {
        if (*relation).pgstat_info.is_null() {
            if !(*relation).pgstat_enabled {
                return None;
            }
            pg_sys::pgstat_assoc_relation(relation);
        }
        (*relation).pgstat_info.as_mut().map(compat::table_counts)
    }
}
