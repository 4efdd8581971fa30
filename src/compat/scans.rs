//! Differences and functions for the scans of a plan's nodes.

#[cfg(not(feature = "pg18"))]
use std::ptr;

use pgrx::pg_sys;

// Compared with the headers of 16 and 18.
#[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18"))]
unsafe extern "C-unwind" {
    // `executor/executor.h` and `utils/memutils.h`. pgrx's functions of these names catch errors
    // and raise poorer ones, without the context of a function's error.
    pub fn ExecScan(
        scan: *mut pg_sys::ScanState,
        next: pg_sys::ExecScanAccessMtd,
        recheck: pg_sys::ExecScanRecheckMtd,
    ) -> *mut pg_sys::TupleTableSlot;
    pub fn MultiExecProcNode(node: *mut pg_sys::PlanState) -> *mut pg_sys::Node;
    pub fn ExecReScan(node: *mut pg_sys::PlanState);
    pub fn MemoryContextReset(context: pg_sys::MemoryContext);
}

/// Begins the scan of a node of a plan, as PostgreSQL's node does. 18 counts searches for
/// `EXPLAIN (ANALYZE)` (commit 0fbceae84).
///
/// # Safety
/// The node has begun.
pub unsafe fn begin_index_scan(node: &mut pg_sys::IndexScanState) -> pg_sys::IndexScanDesc {
    // SAFETY: as the caller promises.
    unsafe {
        pg_sys::index_beginscan(
            node.ss.ss_currentRelation,
            node.iss_RelationDesc,
            (*node.ss.ps.state).es_snapshot,
            #[cfg(feature = "pg18")]
            &mut node.iss_Instrument,
            node.iss_NumScanKeys,
            node.iss_NumOrderByKeys,
        )
    }
}

/// Most rows of a block that a bitmap has by themselves, and more (`MaxHeapTuplesPerPage` is 291).
pub const MAX_BITMAP_OFFSETS: usize = 512;

/// The blocks of a bitmap of rows.
pub struct BitmapBlocks {
    #[cfg(not(feature = "pg18"))]
    iterator: *mut pg_sys::TBMIterator,
    #[cfg(feature = "pg18")]
    iterator: *mut pg_sys::TBMPrivateIterator,
}

impl BitmapBlocks {
    /// # Safety
    /// `bitmap` is a bitmap, and lives longer.
    pub unsafe fn of(bitmap: *mut pg_sys::TIDBitmap) -> BitmapBlocks {
        // SAFETY: as the caller promises.
        unsafe {
            BitmapBlocks {
                #[cfg(not(feature = "pg18"))]
                iterator: pg_sys::tbm_begin_iterate(bitmap),
                #[cfg(feature = "pg18")]
                iterator: pg_sys::tbm_begin_private_iterate(bitmap),
            }
        }
    }

    /// The next block, and the offset numbers of its rows, or none if all are meant. 18 has another
    /// iterator, which leaves the offsets to a function (commits 7f9d4187e, bfe56cdf9).
    ///
    /// # Safety
    /// The bitmap has not changed.
    pub unsafe fn next<'o>(
        &mut self,
        offsets: &'o mut [u16; MAX_BITMAP_OFFSETS],
    ) -> Option<(pg_sys::BlockNumber, Option<&'o [u16]>)> {
        // SAFETY: as the caller promises.
        #[cfg(not(feature = "pg18"))]
        unsafe {
            let block = pg_sys::tbm_iterate(self.iterator).as_ref()?;
            let Ok(rows) = usize::try_from(block.ntuples) else {
                return Some((block.blockno, None));
            };
            let rows = rows.min(MAX_BITMAP_OFFSETS);
            ptr::copy_nonoverlapping(block.offsets.as_ptr(), offsets.as_mut_ptr(), rows);
            Some((block.blockno, Some(&offsets[..rows])))
        }
        // SAFETY: as the caller promises.
        #[cfg(feature = "pg18")]
        unsafe {
            let mut block = pg_sys::TBMIterateResult::default();
            if !pg_sys::tbm_private_iterate(self.iterator, &mut block) {
                return None;
            }
            if block.lossy {
                return Some((block.blockno, None));
            }
            let most = MAX_BITMAP_OFFSETS as u32;
            let rows = pg_sys::tbm_extract_page_tuple(&mut block, offsets.as_mut_ptr(), most);
            let rows = usize::try_from(rows).unwrap_or(0).min(MAX_BITMAP_OFFSETS);
            Some((block.blockno, Some(&offsets[..rows])))
        }
    }

    /// Frees the iterator; the bitmap stays.
    ///
    /// # Safety
    /// The bitmap is still there.
    pub unsafe fn end(self) {
        // SAFETY: as the caller promises.
        unsafe {
            #[cfg(not(feature = "pg18"))]
            pg_sys::tbm_end_iterate(self.iterator);
            #[cfg(feature = "pg18")]
            pg_sys::tbm_end_private_iterate(self.iterator);
        }
    }
}
