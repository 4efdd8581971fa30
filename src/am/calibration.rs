//! Calibration of an index at the end of a build, and anew by VACUUM and ANALYZE.

use std::time::Duration;

use pgrx::pg_sys;

use super::options::Options;
use crate::error::Result;
use crate::hnsw::{Graph, calibrate};
use crate::storage::buffer_store::{BufferStore, Mode};
use crate::storage::calibration::{self, Calibration, Source};
use crate::storage::format::META_BLOCK;
use crate::storage::{BlockNumber, Edit, PageStore};

/// Time of a calibration: of VACUUM, and the least of a build whose index is to have a recall.
pub const TIME: Duration = Duration::from_secs(2);

/// Growth of an index, in pages, from which on it is measured anew: (numerator, denominator).
const GROWN: (BlockNumber, BlockNumber) = (4, 3);

/// Divisor of the nodes: an index that has lost more than the quotient is measured anew.
const CHANGED_PART: u64 = 3;

/// Measures an index in about this time, and keeps the result on its meta page, unless it is too
/// small or the time too short.
///
/// Locks: one page at a time, shared, then the meta page, exclusive; on return: none.
pub fn measure<S: PageStore>(graph: &Graph<'_, S>, time: Duration) -> Result<()> {
    match calibrate::by_rows(graph, time)? {
        Some(calibration) => keep(graph.store(), calibration),
        None => Ok(()),
    }
}

/// Keeps a calibration on the meta page, as one that ended now.
///
/// Locks: the meta page, exclusive; on return: none.
pub fn keep<S: PageStore>(store: &S, calibration: Calibration) -> Result<()> {
    // SAFETY: it reads the clock.
    let finished = unsafe { pg_sys::GetCurrentTimestamp() };
    let calibration = Calibration {
        finished,
        ..calibration
    };
    store.write(META_BLOCK, |page| {
        calibration::set(page, &calibration)?;
        Ok(Edit::Changed(()))
    })
}

/// Measures an index anew if it has changed enough, or is to have a recall and was never measured.
///
/// Locks: as [`measure`].
///
/// # Safety
/// `info` is that of a VACUUM or ANALYZE, with the open index.
pub unsafe fn renew(info: *mut pg_sys::IndexVacuumInfo) -> Result<()> {
    // The time is bounded, so cost-based delays do not apply: they would leave less of it.
    // SAFETY: as the caller promises.
    let (options, store) = unsafe {
        let index = (*info).index;
        (Options::of(index), BufferStore::new(index, Mode::Normal))
    };
    let graph = Graph::open(&store)?;
    let before = store.read(META_BLOCK, calibration::read)?;
    if is_due(before.as_ref(), store.blocks()?, options.asks_for_recall()) {
        measure(&graph, TIME)?;
    }
    Ok(())
}

/// Whether an index of so many pages is to be measured.
pub fn is_due(before: Option<&Calibration>, blocks: BlockNumber, asks_for_recall: bool) -> bool {
    match before {
        None => asks_for_recall,
        // Rows would say less.
        Some(before) if before.source == Source::Queries => false,
        Some(before) => has_changed(before, blocks),
    }
}

/// Whether an index of so many pages has changed much since it was measured.
pub fn has_changed(before: &Calibration, blocks: BlockNumber) -> bool {
    let (more, than) = GROWN;
    u64::from(blocks) * u64::from(than) > u64::from(before.blocks) * u64::from(more)
        || before.removed > before.nodes / CHANGED_PART
}
