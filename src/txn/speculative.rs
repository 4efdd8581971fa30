//! Speculative rows, of INSERT .. ON CONFLICT.
//!
//! PostgreSQL puts such a row into the table and the indexes, and takes it back if another
//! transaction was quicker. The row is then dead at once, without an abort, and its place in the
//! table may be another row's long before this transaction ends. The decision is made before the
//! transaction's next row, so a staged speculative row is looked up in the table when the list is
//! next used.
//!
//! A row of this transaction in that place need not be the staged row. It may be a later version of
//! which the index is not told, because an update within the page made it; so the staged row is
//! identified by its command, too, and by not being such a version. It may also be a row of the
//! same command that the condition of a partial index leaves out; so speculative rows of partial
//! indexes are not staged.

use pgrx::pg_sys;

use crate::storage::HeapTid;

/// State of a row's place in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// A row of this transaction and command that may still be taken back.
    Speculative(Command),
    /// A row of this transaction and command.
    Ours(Command),
    /// Any other state.
    Gone,
}

/// The number of a command in its transaction.
pub type Command = pg_sys::CommandId;

/// The state of a row's place in the table.
///
/// # Safety
/// `heap` is an open table of PostgreSQL's heap access method, and has the block.
pub unsafe fn fate(heap: pg_sys::Relation, tid: HeapTid) -> Fate {
    // SAFETY: as the caller promises. The page is pinned and locked while it is read; an error in
    // between is followed by an abort, which lets it go.
    unsafe {
        let buffer = pg_sys::ReadBuffer(heap, tid.block);
        pg_sys::LockBuffer(buffer, pg_sys::BUFFER_LOCK_SHARE as i32);
        let page = pg_sys::BufferGetPage(buffer);
        let mut fate = Fate::Gone;
        if (1..=pg_sys::PageGetMaxOffsetNumber(page)).contains(&tid.offset) {
            let item = pg_sys::PageGetItemId(page, tid.offset);
            if (*item).lp_flags() == pg_sys::LP_NORMAL {
                fate = fate_of(pg_sys::PageGetItem(page, item).cast());
            }
        }
        pg_sys::UnlockReleaseBuffer(buffer);
        fate
    }
}

/// # Safety
/// `row` is a row of the table, which nobody changes meanwhile.
unsafe fn fate_of(row: pg_sys::HeapTupleHeader) -> Fate {
    // SAFETY: as the caller promises; who inserted a row of this transaction that is not frozen is
    // known.
    unsafe {
        let is_frozen = u32::from((*row).t_infomask) & pg_sys::HEAP_XMIN_FROZEN == pg_sys::HEAP_XMIN_FROZEN;
        let is_version = u32::from((*row).t_infomask2) & pg_sys::HEAP_ONLY_TUPLE != 0;
        if is_frozen || is_version || !pg_sys::TransactionIdIsCurrentTransactionId((*row).t_choice.t_heap.t_xmin) {
            return Fate::Gone;
        }
        let command = pg_sys::HeapTupleHeaderGetCmin(row);
        if (*row).t_ctid.ip_posid == pg_sys::SpecTokenOffsetNumber as u16 {
            Fate::Speculative(command)
        } else {
            Fate::Ours(command)
        }
    }
}
