//! Buffer hints: a cache of the buffers in which this backend last saw blocks.
//!
//! A search reads hot pages at random, and a lookup in the shared buffer table costs more than the
//! read of the page. So the backend remembers in which buffer it last saw a block, and pins that
//! buffer again if it still holds the block.
//!
//! A hint is only a guess, because blocks share entries and a buffer may hold another block by now.
//! PostgreSQL checks it against the buffer's tag.

use std::sync::atomic::{AtomicI32, Ordering};

use pgrx::pg_sys;

use super::{MAIN, file_of};
use crate::compat;
use crate::storage::BlockNumber;
use crate::storage::page::PAGE_SIZE;
use crate::storage::prefetch::prefetch;

/// Buffers of the blocks of all indexes; 0 (`InvalidBuffer`) where none was seen. The atomics cost
/// nothing, because a backend has one thread. Untouched parts of the array take no memory.
static BUFFERS: [AtomicI32; 1 << 16] = [const { AtomicI32::new(0) }; 1 << 16];

/// Entry of a block.
///
/// # Safety
/// `relation` is open.
#[inline]
unsafe fn entry(relation: pg_sys::Relation, block: BlockNumber) -> &'static AtomicI32 {
    // Consecutive blocks have consecutive entries; the starts of files are scattered. SAFETY: as
    // the caller promises.
    let start = unsafe { file_of(relation) }.wrapping_mul(0x9E37_79B1) >> 16;
    &BUFFERS[start.wrapping_add(block) as usize % BUFFERS.len()]
}

/// The buffer in which the block, or another one of its entry, was last seen.
///
/// # Safety
/// `relation` is open.
#[inline]
pub unsafe fn get(relation: pg_sys::Relation, block: BlockNumber) -> pg_sys::Buffer {
    // SAFETY: as the caller promises.
    unsafe { entry(relation, block) }.load(Ordering::Relaxed)
}

/// Remembers a block's buffer.
///
/// # Safety
/// `relation` is open, and PostgreSQL has given the buffer's number (or it is 0).
#[inline]
pub unsafe fn set(relation: pg_sys::Relation, block: BlockNumber, buffer: pg_sys::Buffer) {
    // SAFETY: as the caller promises.
    unsafe { entry(relation, block) }.store(buffer, Ordering::Relaxed);
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
