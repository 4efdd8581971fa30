//! Checks of the value lists: every live node is in the list of each of its values, under the code
//! of its vector. An insertion that an error or a crash interrupted leaves a node without them, as
//! one without links.

use super::links::code_fault;
use super::{Report, Seen, Severity, readable, reason};
use crate::error::{Error, Result};
use crate::hnsw::Graph;
use crate::hnsw::value_lists;
use crate::storage::page::Page;
use crate::storage::{BlockNumber, PageStore, list_page};

/// Reports live nodes that are missing in a list, and lists that cannot be read. `memory` bounds
/// the bytes that are remembered.
pub(super) fn check<S: PageStore>(graph: &Graph<'_, S>, memory: usize, report: &mut Report<'_>) -> Result<()> {
    let layout = &graph.space.layout;
    for column in value_lists::listed(graph) {
        let mut last = None;
        let checked = value_lists::upkeep::missing(graph, column, memory, |link, _| {
            if last.replace(link) == Some(link) {
                return Ok(());
            }
            let (block, slot) = (layout.block(link.node), layout.slot(link.node));
            let what = format!(
                "the node is not in the list of its value of filter column {}",
                column + 1
            );
            report.add(Severity::Leftover, block, Some(slot), what);
            Ok(())
        });
        match checked {
            Err(Error::Corrupted { block, reason, .. }) => report.add(Severity::Corruption, block, None, reason),
            other => other?,
        }
    }
    Ok(())
}

/// Reports entries of a list page whose codes are not those of their nodes' vectors. Entries of
/// nodes that were freed have no such vectors.
pub(super) fn check_page<S: PageStore>(
    graph: &Graph<'_, S>,
    page: &Page,
    block: BlockNumber,
    seen: &mut Seen,
    report: &mut Report<'_>,
) -> Result<()> {
    let layout = &graph.space.lists;
    if let Err(error) = list_page::is_of(page, block, list_page::id(page), layout) {
        report.add(Severity::Corruption, block, None, reason(error)?);
        return Ok(());
    }
    if !graph.space.layout.is_coded() {
        return Ok(());
    }
    let Seen {
        own,
        other,
        words,
        expected,
        ..
    } = seen;
    // The centroid, as the neighbor that these codes belong to.
    own.coordinates.clear();
    own.coordinates.resize(graph.space.parameters.shape.coordinates(), 0.0);
    for list in list_page::blocks(page, layout) {
        for lane in list.lanes() {
            graph.store.check_interrupts();
            let link = list.link(lane);
            if !graph.is_node_block(link.node) {
                let what = "an entry of a list leads to a page that does not hold records";
                report.add(Severity::Corruption, block, None, what);
                continue;
            }
            let Some(Some(_)) = readable(graph.read_point(link, 0, other))? else {
                continue;
            };
            let stored = list.read_code(lane, words);
            let factors = graph.space.encode_alone(other, expected);
            let fault = code_fault(graph, (stored, words), (factors, expected), (other, own));
            if let Some(fault) = fault {
                report.add(Severity::Corruption, block, None, fault);
            }
        }
    }
    Ok(())
}
