//! Records by themselves, and what ties the records of a node together: levels, TID extensions, tails.

use super::{Report, Row, Seen, Severity, readable};
use crate::error::Result;
use crate::graph::Graph;
use crate::graph::node_set::NodeSet;
use crate::storage::record::{Record, State};
use crate::storage::{Link, NodeRef, PageStore};

impl<S: PageStore> Graph<'_, S> {
    /// A record of a node: what it says of the level below, or that it is the lowest. Remembers its rows, if there is a fingerprint of their
    /// vector.
    pub(super) fn check_node(
        &self,
        at: Link,
        record: &Record<'_>,
        fingerprint: Option<u16>,
        seen: &mut Seen,
        found: &mut impl FnMut(Severity, &str),
    ) -> Result<()> {
        if record.state() == State::Dead {
            found(
                Severity::Leftover,
                "the node is dead, and still to be removed by VACUUM",
            );
        }
        if record.level() == 0 {
            if record.owner() != at.node {
                found(Severity::Corruption, "a record on level 0 belongs to another");
            }
            self.check_tids(record, found)?;
            return self.check_chain(at, record, fingerprint, seen, found);
        }
        if record.tid_count() > 0 {
            found(Severity::Corruption, "a record on an upper level has heap TIDs");
        }
        let below = [(record.owner(), 0), (record.below(), record.level() - 1)];
        for (node, level) in below {
            let owner = if level == 0 { node } else { record.owner() };
            let is_there = self.is_node_block(node)
                && readable(self.read(node, |other| {
                    let is_node = matches!(other.state(), State::Node | State::Dead);
                    Ok(is_node && other.level() == level && other.owner() == owner)
                }))?
                .unwrap_or(true);
            if !is_there && self.is_still(at, record)? {
                found(
                    Severity::Corruption,
                    "a record on an upper level does not lead to its node",
                );
                break;
            }
        }
        Ok(())
    }

    /// The heap TIDs in a record.
    pub(super) fn check_tids(&self, record: &Record<'_>, found: &mut impl FnMut(Severity, &str)) -> Result<()> {
        if record.tids().any(|tid| tid.offset == 0) {
            found(Severity::Corruption, "a heap TID without a line pointer");
        }
        Ok(())
    }

    /// The heap TIDs of a node, and the chain of its TID extensions.
    fn check_chain(
        &self,
        at: Link,
        record: &Record<'_>,
        fingerprint: Option<u16>,
        seen: &mut Seen,
        found: &mut impl FnMut(Severity, &str),
    ) -> Result<()> {
        let mut next = record.below();
        if record.tid_count() == 0 && next == NodeRef::NONE && record.state() == State::Node {
            found(
                Severity::Leftover,
                "the node has no row, as after an interrupted VACUUM",
            );
        }
        let Seen { rows, chained, .. } = seen;
        let mut keep = |record: &Record<'_>| {
            let Some(fingerprint) = fingerprint else { return Ok(()) };
            record.tids().try_for_each(|tid| rows.add(Row::new(tid, fingerprint)))
        };
        keep(record)?;
        while let Some(extension) = next.some() {
            self.store.check_interrupts();
            let linked = self.is_node_block(extension)
                && readable(self.read(extension, |other| {
                    next = other.below();
                    let is_its = other.state() == State::Extension && other.owner() == at.node;
                    let is_linked = is_its && chained.insert(extension)?;
                    if is_linked {
                        keep(&other)?;
                    }
                    Ok(is_linked)
                }))?
                .unwrap_or(false);
            if !linked {
                if self.is_still(at, record)? {
                    found(Severity::Corruption, "the chain of a node's TID extensions is broken");
                }
                break;
            }
        }
        Ok(())
    }

    /// Reports TID extensions that no chain has. One that was added meanwhile is in its node's chain by now.
    pub(super) fn check_extensions(&self, seen: &Seen, report: &mut Report<'_>) -> Result<()> {
        for extension in seen.extensions.iter().filter(|&node| !seen.chained.contains(node)) {
            self.store.check_interrupts();
            let layout = &self.space.layout;
            let owner = self.read(extension, |record| {
                Ok((record.state() == State::Extension).then(|| record.owner()))
            })?;
            let Some(owner) = owner else { continue };
            if !self.has_extension(owner, extension)? {
                let what = "a TID extension belongs to no node";
                let (block, slot) = (layout.block(extension), layout.slot(extension));
                report.add(Severity::Corruption, block, Some(slot), what);
            }
        }
        Ok(())
    }

    fn has_extension(&self, owner: NodeRef, extension: NodeRef) -> Result<bool> {
        let mut next = owner;
        let mut passed = NodeSet::default();
        while self.is_node_block(next) && passed.insert(next)? {
            let Some((state, below)) = readable(self.read(next, |record| Ok((record.state(), record.below()))))? else {
                return Ok(false);
            };
            if next == extension {
                return Ok(true);
            }
            if state == State::Free || state == State::Tail {
                return Ok(false);
            }
            next = below;
        }
        Ok(false)
    }

    /// A tail: whether its owner knows it.
    pub(super) fn check_tail(&self, record: &Record<'_>, found: &mut impl FnMut(Severity, &str)) -> Result<()> {
        let owner = record.owner();
        let is_known = self.is_node_block(owner)
            && readable(self.read(owner, |other| Ok(other.is(record.owner_generation(), 0))))?.unwrap_or(true);
        if !is_known {
            found(Severity::Leftover, "the end of a vector that is gone, as after a crash");
        }
        Ok(())
    }

    /// Whether a reference is to a block of records.
    pub(super) fn is_node_block(&self, node: NodeRef) -> bool {
        node != NodeRef::NONE && self.space.layout.block(node) >= self.space.layout.first_block
    }

    /// Whether a record is still what it was when it was copied.
    pub(super) fn is_still(&self, at: Link, record: &Record<'_>) -> Result<bool> {
        self.read(at.node, |now| {
            Ok(now.is(at.generation, record.level()) && now.below() == record.below() && now.owner() == record.owner())
        })
    }
}
