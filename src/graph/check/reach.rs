//! What the entry point leads to on level 0.

use super::{Report, Severity, readable, reason};
use crate::error::Result;
use crate::graph::Graph;
use crate::graph::node_set::NodeSet;
use crate::storage::meta::META_BLOCK;
use crate::storage::record::{Record, State};
use crate::storage::{Link, NodeRef, PageStore};

/// How often nodes that were not reached are looked for, while others insert.
const WALKS: usize = 3;

impl<S: PageStore> Graph<'_, S> {
    /// Reports nodes that the entry point does not lead to, and an entry point that leads nowhere.
    pub(super) fn check_reach(&self, report: &mut Report<'_>) -> Result<()> {
        let entry = match self.entry() {
            Ok(entry) => entry,
            Err(error) => {
                report.add(Severity::Corruption, META_BLOCK, None, reason(error)?);
                return Ok(());
            }
        };
        let start = match entry {
            None => None,
            Some(entry) if !self.is_node_block(entry.link.node) => None,
            Some(entry) => readable(self.read(entry.link.node, |record| {
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
        let mut unreached = self.unreached_from(start)?;
        for _ in 1..WALKS {
            if unreached.is_empty() {
                break;
            }
            let again: NodeSet = self.unreached_from(start)?.iter().map(|link| link.node).collect();
            unreached.retain(|link| again.contains(link.node));
        }
        for link in unreached {
            let layout = &self.space.layout;
            let what = "the entry point does not lead to the node: a search does not find it";
            let (block, slot) = (layout.block(link.node), layout.slot(link.node));
            report.add(Severity::Leftover, block, Some(slot), what);
        }
        Ok(())
    }

    /// Live nodes that level 0 does not lead to from a record. Damaged pages lead nowhere.
    fn unreached_from(&self, start: Option<NodeRef>) -> Result<Vec<Link>> {
        let end = self.store.blocks()?;
        let mut reached: NodeSet = start.into_iter().collect();
        let (mut hop, mut next): (Vec<NodeRef>, Vec<NodeRef>) = (start.into_iter().collect(), Vec::new());
        while !hop.is_empty() {
            hop.sort_unstable();
            for node in hop.drain(..) {
                let links = |record: Record<'_>| {
                    let is_node = matches!(record.state(), State::Node | State::Dead) && record.level() == 0;
                    Ok(record.links().filter(|_| is_node).collect::<Vec<_>>())
                };
                for link in readable(self.read(node, links))?.unwrap_or_default() {
                    if !self.is_node_block(link.node) || reached.contains(link.node) {
                        continue;
                    }
                    // A stale link does not lead to what uses the slot today.
                    let leads = readable(self.read(link.node, |record| Ok(record.is(link.generation, 0))))?;
                    if leads == Some(true) && reached.insert(link.node) {
                        next.push(link.node);
                    }
                }
                self.store.check_interrupts();
            }
            std::mem::swap(&mut hop, &mut next);
        }
        let mut unreached = Vec::new();
        self.each_readable(|node, record| {
            let is_live = record.state() == State::Node && record.level() == 0 && record.is_complete();
            if is_live && self.space.layout.block(node) < end && !reached.contains(node) {
                let generation = record.generation();
                unreached.push(Link { node, generation });
            }
        })?;
        Ok(unreached)
    }
}
