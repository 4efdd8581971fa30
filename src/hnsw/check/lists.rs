//! Checks of the value lists: every live node is in the list of each of its values. An insertion
//! that an error or a crash interrupted leaves a node without them, as one without links.

use super::{Report, Severity, reason};
use crate::error::Result;
use crate::hnsw::Graph;
use crate::hnsw::value_lists;
use crate::storage::PageStore;
use crate::storage::format::META_BLOCK;

/// Reports live nodes that are missing in a list, and lists that cannot be read. `memory` bounds
/// the bytes that are remembered.
pub(super) fn check<S: PageStore>(graph: &Graph<'_, S>, memory: usize, report: &mut Report<'_>) -> Result<()> {
    let layout = &graph.space.layout;
    for column in value_lists::listed(graph) {
        let checked = value_lists::upkeep::missing(graph, column, memory, |link| {
            let (block, slot) = (layout.block(link.node), layout.slot(link.node));
            let what = format!(
                "the node is not in the list of its value of filter column {}",
                column + 1
            );
            report.add(Severity::Leftover, block, Some(slot), what);
            Ok(())
        });
        if let Err(error) = checked {
            report.add(Severity::Corruption, META_BLOCK, None, reason(error)?);
        }
    }
    Ok(())
}
