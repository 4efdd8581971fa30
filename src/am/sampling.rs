//! Sampling of queries (`hnsw.sample_queries`): a share of the queries is kept in the index's own
//! pages, for `hnsw_tune()` and the index's owner.
//!
//! A page of the index is what a query can write without a transaction ID, as pruning and hint bits
//! do; a row of a table is not. Nothing is written on a standby, in a read-only transaction, and in
//! a parallel worker. A query does not fail by it: a fault of the pages is left to others to
//! report, and the only change that takes room of the file system, which may have none, runs in a
//! subtransaction.

use std::cell::RefCell;
use std::sync::Arc;

use pgrx::pg_sys;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::options;
use crate::hnsw::Graph;
use crate::hnsw::sampled_queries::{self, Added};
use crate::hnsw::space::Space;
use crate::storage::buffer_store::BufferStore;
use crate::txn::subtransaction::in_subtransaction;
use crate::types::varlena::Varlena;

thread_local! {
    static RANDOM: RefCell<Option<SmallRng>> = const { RefCell::new(None) };
}

/// Whether the query that begins is one of the share that is sampled, here and now.
#[inline]
pub fn is_due() -> bool {
    let share = options::sampled_share();
    share > 0.0 && is_drawn(share) && may_write()
}

#[cold]
fn is_drawn(share: f64) -> bool {
    // SAFETY: they read the clock and the number of the process.
    let seed = || unsafe { pg_sys::GetCurrentTimestamp() as u64 ^ u64::from(pg_sys::MyProcPid.unsigned_abs()) << 40 };
    RANDOM.with_borrow_mut(|random| {
        let random = random.get_or_insert_with(|| SmallRng::seed_from_u64(seed()));
        random.random_range(0.0..1.0) < share
    })
}

fn may_write() -> bool {
    // SAFETY: they read the state of this backend's transaction.
    unsafe { pg_sys::ParallelWorkerNumber < 0 && !pg_sys::XactReadOnly && !pg_sys::RecoveryInProgress() }
}

/// Keeps a query, unless something is in its way.
///
/// Locks: as [`sampled_queries::add`] and [`sampled_queries::add_page`]; on return: none.
///
/// # Safety
/// `value` is a value of the index's type, not NULL. Called within a scan, with no page locked.
pub unsafe fn sample(store: &BufferStore, space: &Arc<Space>, value: pg_sys::Datum) {
    let graph = Graph::with(store, Arc::clone(space));
    // SAFETY: as the caller promises; the clock of the transaction costs no call of the system.
    let (value, at) = unsafe { (Varlena::from_datum(value), pg_sys::GetCurrentStatementStartTimestamp()) };
    let added = sampled_queries::add(&graph, at, value.payload());
    // SAFETY: within a transaction.
    if added == Ok(Added::WithoutPage) && unsafe { !pg_sys::IsInParallelMode() } {
        // SAFETY: the same. The graph and the store have no state that an error leaves half-done.
        let _refused = unsafe { in_subtransaction(|| sampled_queries::add_page(&graph, at, value.payload())) };
    }
}
