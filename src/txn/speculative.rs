//! Rows of INSERT .. ON CONFLICT. PostgreSQL puts such a row into the table and the indexes, and takes it back if another transaction was quicker:
//! it is dead at once, with no abort to tell, and its place in the table may be another row's long before this transaction ends. Whether a row
//! stays is decided before the transaction's next one, so a staged row that was speculative is looked at in the table when the list is used next.

use pgrx::pg_sys;

use crate::storage::HeapTid;

/// What there is at a row's place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// A row of this transaction that may still be taken back.
    Speculative,
    /// A row of this transaction.
    Ours,
    /// Something else.
    Gone,
}

/// What there is at a row's place.
///
/// # Safety
/// `heap` is an open table of PostgreSQL's heap access method, and has the block.
pub unsafe fn fate(heap: pg_sys::Relation, tid: HeapTid) -> Fate {
    // SAFETY: as the caller promises. The page is pinned and locked while it is read; an error in between is followed by an abort, which lets it go.
    unsafe {
        let buffer = pg_sys::ReadBuffer(heap, tid.block);
        pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
        let page = pg_sys::BufferGetPage(buffer);
        let mut fate = Fate::Gone;
        if (1..=pg_sys::PageGetMaxOffsetNumber(page)).contains(&tid.offset) {
            let item = pg_sys::PageGetItemId(page, tid.offset);
            if (*item).lp_flags() == pg_sys::LP_NORMAL {
                let row = &*pg_sys::PageGetItem(page, item).cast::<pg_sys::HeapTupleHeaderData>();
                if row.t_ctid.ip_posid == pg_sys::SpecTokenOffsetNumber as u16 {
                    fate = Fate::Speculative;
                } else if pg_sys::TransactionIdIsCurrentTransactionId(row.t_choice.t_heap.t_xmin) {
                    fate = Fate::Ours;
                }
            }
        }
        pg_sys::UnlockReleaseBuffer(buffer);
        fate
    }
}
