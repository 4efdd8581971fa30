//! The buffers in which this backend last saw blocks, and reading from there.
//!
//! A search reads hot pages at random, and finding the buffer of each in the shared table costs more than reading it. So the
//! backend remembers in which buffer it last saw a block, and takes that one again if it still holds the block.
//!
//! What is remembered is only a guess: blocks share entries, and a buffer may hold another block by now. PostgreSQL checks it
//! against the buffer's tag.

use std::sync::atomic::{AtomicI32, Ordering};

use pgrx::pg_sys;

use super::{MAIN, file_of};
use crate::storage::BlockNumber;
use crate::storage::page::PAGE_SIZE;
use crate::storage::prefetch::prefetch;

/// Buffers of blocks, of whatever index; 0 (`InvalidBuffer`) where none was seen. A backend is a process of one thread, so the
/// atomics cost nothing. Memory is used where it is written.
static BUFFERS: [AtomicI32; 1 << 16] = [const { AtomicI32::new(0) }; 1 << 16];

/// Where a block's buffer is remembered.
///
/// # Safety
/// `relation` is open.
#[inline]
unsafe fn entry(relation: pg_sys::Relation, block: BlockNumber) -> &'static AtomicI32 {
    // Consecutive blocks have consecutive entries; files start at scattered ones.
    // SAFETY: as the caller promises.
    let start = unsafe { file_of(relation) }.wrapping_mul(0x9E37_79B1) >> 16;
    &BUFFERS[start.wrapping_add(block) as usize % BUFFERS.len()]
}

/// The buffer in which the block was last seen, perhaps.
///
/// # Safety
/// `relation` is open.
#[inline]
pub unsafe fn get(relation: pg_sys::Relation, block: BlockNumber) -> pg_sys::Buffer {
    // SAFETY: as the caller promises.
    unsafe { entry(relation, block) }.load(Ordering::Relaxed)
}

/// Remembers that the block is in this buffer.
///
/// # Safety
/// `relation` is open, and PostgreSQL has given the buffer's number (or it is 0).
#[inline]
pub unsafe fn set(relation: pg_sys::Relation, block: BlockNumber, buffer: pg_sys::Buffer) {
    // SAFETY: as the caller promises.
    unsafe { entry(relation, block) }.store(buffer, Ordering::Relaxed);
}

/// Hints to the processor that a block is pinned soon and bytes of its page are read, if it is where it was last seen: the buffer's header
/// and the way to the page in the tables of virtual memory are as far away as the page itself.
///
/// # Safety
/// `relation` is open.
#[inline]
pub unsafe fn prefetch_at(relation: pg_sys::Relation, block: BlockNumber, offset: usize, len: usize) {
    // SAFETY: as the caller promises.
    let Ok(buffer @ 1..) = usize::try_from(unsafe { get(relation, block) }) else {
        return; // Not seen yet, or in the backend's own buffers.
    };
    // SAFETY: PostgreSQL sets both when it starts. Nothing is read there.
    let (headers, pages) = unsafe { (pg_sys::BufferDescriptors, pg_sys::BufferBlocks) };
    prefetch(headers.wrapping_add(buffer - 1).cast(), 0, 1);
    prefetch(pages.wrapping_add((buffer - 1) * PAGE_SIZE).cast(), offset, len);
}

/// Pins a buffer if it holds the block of the main fork, and counts that as ReadBuffer counts a hit.
///
/// # Safety
/// `relation` is open, `temporary` tells whether it is a temporary one, and PostgreSQL has given the buffer's number (or it is 0).
#[inline]
pub unsafe fn pin(relation: pg_sys::Relation, temporary: bool, block: BlockNumber, buffer: pg_sys::Buffer) -> bool {
    // A temporary relation is in the backend's own buffers, of negative numbers. The tag does not tell it from a permanent one
    // whose file has the same number.
    if buffer == 0 || (buffer < 0) != temporary {
        return false;
    }
    // SAFETY: as the caller promises.
    unsafe {
        #[cfg(feature = "pg15")]
        let file = (*relation).rd_node;
        #[cfg(not(feature = "pg15"))]
        let file = (*relation).rd_locator;
        let pinned = pg_sys::ReadRecentBuffer(file, MAIN, block, buffer);
        if pinned {
            count_hit(relation, temporary);
        }
        pinned
    }
}

/// Counts what ReadRecentBuffer does not: it has counted the hit for EXPLAIN and pg_stat_statements, but neither for the
/// relation nor for pg_stat_io, nor for VACUUM's report and its delays.
///
/// # Safety
/// As for [`pin`].
#[inline]
unsafe fn count_hit(relation: pg_sys::Relation, _temporary: bool) {
    // SAFETY: as the caller promises.
    if let Some(counts) = unsafe { counts(relation) } {
        #[cfg(feature = "pg15")]
        {
            counts.t_blocks_fetched += 1;
            counts.t_blocks_hit += 1;
        }
        #[cfg(not(feature = "pg15"))]
        {
            counts.blocks_fetched += 1;
            counts.blocks_hit += 1;
        }
    }
    // SAFETY: counters and settings of this backend.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        {
            pg_sys::VacuumPageHit += 1;
        }
        if pg_sys::VacuumCostActive {
            pg_sys::VacuumCostBalance += pg_sys::VacuumCostPageHit;
        }
    }
    #[cfg(not(feature = "pg15"))]
    {
        let object = if _temporary {
            pg_sys::IOObject::IOOBJECT_TEMP_RELATION
        } else {
            pg_sys::IOObject::IOOBJECT_RELATION
        };
        let (context, hit) = (pg_sys::IOContext::IOCONTEXT_NORMAL, pg_sys::IOOp::IOOP_HIT);
        // SAFETY: it adds to a counter of this backend.
        unsafe {
            #[cfg(not(feature = "pg18"))]
            pg_sys::pgstat_count_io_op(object, context, hit);
            #[cfg(feature = "pg18")]
            pg_sys::pgstat_count_io_op(object, context, hit, 1, 0);
        }
    }
}

/// The relation's counters in the cumulative statistics, where they are kept (PostgreSQL's `pgstat_should_count_relation`).
///
/// # Safety
/// `relation` is open and stays so while the counters are in use; nothing else changes them meanwhile.
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
        let status = (*relation).pgstat_info.as_mut()?;
        #[cfg(feature = "pg15")]
        return Some(&mut status.t_counts);
        #[cfg(not(feature = "pg15"))]
        return Some(&mut status.counts);
    }
}
