//! Checks of reachability from the entry point on level 0.

use super::{Report, Severity, readable, reason};
use crate::error::Result;
use crate::fallible::TryPush;
use crate::hnsw::Graph;
use crate::hnsw::check;
use crate::hnsw::node_set::NodeSet;
use crate::storage::format::META_BLOCK;
use crate::storage::record::{Record, State};
use crate::storage::{NodeRef, PageStore};

/// Number of walks that look for unreachable nodes while other sessions insert.
const WALKS: usize = 3;

/// Least number of records of a hop that are remembered one by one.
const FEWEST_REMEMBERED: usize = 1024;

/// Reports unreachable nodes, and an entry point that leads nowhere. `memory` bounds the bytes that
/// are remembered besides a bit for each slot.
pub(super) fn check<S: PageStore>(graph: &Graph<'_, S>, memory: usize, report: &mut Report<'_>) -> Result<()> {
    let entry = match graph.entry() {
        Ok(entry) => entry,
        Err(error) => {
            report.add(Severity::Corruption, META_BLOCK, None, reason(error)?);
            return Ok(());
        }
    };
    let start = match entry {
        None => None,
        Some(entry) if !graph.is_node_block(entry.link.node) => None,
        Some(entry) => readable(graph.read(entry.link.node, |record| {
            let is_it = record.is(entry.link.generation, entry.level);
            Ok(is_it.then(|| record.owner()))
        }))?
        .flatten(),
    };
    if entry.is_some() && start.is_none() {
        let what = "the entry point is not a record of its level";
        report.add(Severity::Corruption, META_BLOCK, None, what);
        return Ok(());
    }
    let most = (memory / 2 / size_of::<NodeRef>()).max(FEWEST_REMEMBERED);
    let mut unreached = unreached_from(graph, start, most)?;
    for _ in 1..WALKS {
        if unreached.is_empty() {
            break;
        }
        let again = unreached_from(graph, start, most)?;
        unreached.retain_in(&again);
    }
    for node in unreached.iter() {
        let layout = &graph.space.layout;
        let what = "the entry point does not lead to the node: a search does not find it";
        let (block, slot) = (layout.block(node), layout.slot(node));
        report.add(Severity::Leftover, block, Some(slot), what);
    }
    Ok(())
}

/// Live nodes of level 0 that are unreachable from a record. Damaged pages lead nowhere. `most`
/// records of a hop are remembered one by one.
fn unreached_from<S: PageStore>(graph: &Graph<'_, S>, start: Option<NodeRef>, most: usize) -> Result<NodeSet> {
    let end = graph.store.blocks()?;
    let mut reached: NodeSet = start.into_iter().collect();
    let mut waiting = NodeSet::default();
    let (mut hop, mut next): (Vec<NodeRef>, Vec<NodeRef>) = (start.into_iter().collect(), Vec::new());
    while !hop.is_empty() {
        hop.sort_unstable();
        for node in hop.drain(..) {
            let links = |record: Record<'_>| {
                let is_node = matches!(record.state(), State::Node | State::Dead) && record.level() == 0;
                Ok(record.links().filter(|_| is_node).collect::<Vec<_>>())
            };
            for link in readable(graph.read(node, links))?.unwrap_or_default() {
                if !graph.is_node_block(link.node) || reached.contains(link.node) {
                    continue;
                }
                // A stale link does not lead to the record that uses the slot today.
                let leads = readable(graph.read(link.node, |record| Ok(record.is(link.generation, 0))))?;
                if leads == Some(true) && reached.insert(link.node)? {
                    if next.len() < most {
                        next.try_push(link.node)?;
                    } else {
                        waiting.insert(link.node)?;
                    }
                }
            }
            graph.store.check_interrupts();
        }
        std::mem::swap(&mut hop, &mut next);
        if hop.is_empty() {
            hop = waiting.take_first(most)?;
        }
    }
    let mut unreached = NodeSet::default();
    check::each_readable(graph, |node, record| {
        let is_live = record.state() == State::Node && record.level() == 0 && record.is_complete();
        if is_live && graph.space.layout.block(node) < end && !reached.contains(node) {
            unreached.insert(node)?;
        }
        Ok(())
    })?;
    Ok(unreached)
}
