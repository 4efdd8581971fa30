//! Checks of records, and of the references between the records of a node: levels, TID extensions,
//! overflow records. Also of the chains of rows without a place in the graph.

use super::{Report, Row, Seen, Severity, readable, reason};
use crate::error::Result;
use crate::hnsw::Graph;
use crate::hnsw::heap_tids::list::{self, ChainReader, Head};
use crate::hnsw::node_set::NodeSet;
use crate::storage::format::{META_BLOCK, Unplaced};
use crate::storage::record::{Record, State};
use crate::storage::{Link, NodeRef, PageStore};

/// Checks a record of a node, and its reference to the level below. Remembers its rows, if there is
/// a fingerprint of their vector.
pub(super) fn check_node<S: PageStore>(
    graph: &Graph<'_, S>,
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
        check_tids(record, found);
        return check_chain(graph, at, record, fingerprint, seen, found);
    }
    if record.tid_count() > 0 {
        found(Severity::Corruption, "a record on an upper level has heap TIDs");
    }
    let below = [(record.owner(), 0), (record.below(), record.level() - 1)];
    for (node, level) in below {
        let owner = if level == 0 { node } else { record.owner() };
        let is_there = graph.is_node_block(node)
            && readable(graph.read(node, |other| {
                let is_node = matches!(other.state(), State::Node | State::Dead);
                Ok(is_node && other.level() == level && other.owner() == owner)
            }))?
            .unwrap_or(true);
        if !is_there && is_still(graph, at, record)? {
            found(
                Severity::Corruption,
                "a record on an upper level does not lead to its node",
            );
            break;
        }
    }
    Ok(())
}

/// Checks the heap TIDs in a record.
pub(super) fn check_tids(record: &Record<'_>, found: &mut impl FnMut(Severity, &str)) {
    if record.tids().any(|tid| tid.offset == 0) {
        found(Severity::Corruption, "a heap TID without a line pointer");
    }
}

/// Checks the heap TIDs of a node, and its chain of TID extensions.
fn check_chain<S: PageStore>(
    graph: &Graph<'_, S>,
    at: Link,
    record: &Record<'_>,
    fingerprint: Option<u16>,
    seen: &mut Seen,
    found: &mut impl FnMut(Severity, &str),
) -> Result<()> {
    if record.tid_count() == 0 && record.below() == NodeRef::NONE && record.state() == State::Node {
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
    let mut chain = ChainReader::new(Head::Node(at));
    let is_whole = loop {
        let read = chain.read_next(graph, |extension, other| {
            if chained.insert(extension)? {
                keep(other)?;
            }
            Ok(())
        });
        match read {
            Ok(true) => {}
            Ok(false) => break true,
            Err(error) => {
                reason(error)?;
                break false;
            }
        }
    };
    if !is_whole && is_still(graph, at, record)? {
        found(Severity::Corruption, "the chain of a node's TID extensions is broken");
    }
    Ok(())
}

/// Checks the chains of rows without a place in the graph, and remembers the rows.
pub(super) fn check_unplaced<S: PageStore>(
    graph: &Graph<'_, S>,
    seen: &mut Seen,
    report: &mut Report<'_>,
) -> Result<()> {
    for kind in Unplaced::ALL {
        let mut chain = ChainReader::new(Head::Meta(kind));
        loop {
            let read = chain.read_next(graph, |extension, record| {
                if seen.chained.insert(extension)? {
                    let rows = &mut seen.rows;
                    record.tids().try_for_each(|tid| rows.add(Row::unplaced(tid, kind)))?;
                }
                Ok(())
            });
            match read {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    reason(error)?;
                    let what = match kind {
                        Unplaced::Zero => "the chain of rows with a zero vector is broken",
                        Unplaced::Null => "the chain of rows without a vector is broken",
                    };
                    report.add(Severity::Corruption, META_BLOCK, None, what);
                    break;
                }
            }
        }
    }
    Ok(())
}

/// Reports TID extensions without a chain. An extension that was added meanwhile is in its chain by
/// now.
pub(super) fn check_extensions<S: PageStore>(graph: &Graph<'_, S>, seen: &Seen, report: &mut Report<'_>) -> Result<()> {
    for extension in seen.extensions.iter().filter(|&node| !seen.chained.contains(node)) {
        graph.store.check_interrupts();
        let layout = &graph.space.layout;
        let owner = graph.read(extension, |record| {
            Ok((record.state() == State::Extension).then(|| record.owner()))
        })?;
        let Some(owner) = owner else { continue };
        if !has_extension(graph, owner, extension)? {
            let what = match Unplaced::of_owner(owner) {
                Some(_) => "a TID extension is in no chain",
                None => "a TID extension belongs to no node",
            };
            let (block, slot) = (layout.block(extension), layout.slot(extension));
            report.add(Severity::Corruption, block, Some(slot), what);
        }
    }
    Ok(())
}

fn has_extension<S: PageStore>(graph: &Graph<'_, S>, owner: NodeRef, extension: NodeRef) -> Result<bool> {
    let mut next = match Unplaced::of_owner(owner) {
        Some(kind) => list::first_extension(graph, Head::Meta(kind))?,
        None => owner,
    };
    let mut passed = NodeSet::default();
    while graph.is_node_block(next) && passed.insert(next)? {
        let Some((state, below)) = readable(graph.read(next, |record| Ok((record.state(), record.below()))))? else {
            return Ok(false);
        };
        if next == extension {
            return Ok(true);
        }
        if state == State::Free || state == State::Overflow {
            return Ok(false);
        }
        next = below;
    }
    Ok(false)
}

/// Checks that the owner of an overflow record exists.
pub(super) fn check_overflow<S: PageStore>(
    graph: &Graph<'_, S>,
    record: &Record<'_>,
    found: &mut impl FnMut(Severity, &str),
) -> Result<()> {
    let owner = record.owner();
    let is_known = graph.is_node_block(owner)
        && readable(graph.read(owner, |other| Ok(other.is(record.owner_generation(), 0))))?.unwrap_or(true);
    if !is_known {
        found(Severity::Leftover, "the end of a vector that is gone, as after a crash");
    }
    Ok(())
}

/// Whether a record is unchanged since it was copied.
pub(super) fn is_still<S: PageStore>(graph: &Graph<'_, S>, at: Link, record: &Record<'_>) -> Result<bool> {
    graph.read(at.node, |now| {
        Ok(now.is(at.generation, record.level()) && now.below() == record.below() && now.owner() == record.owner())
    })
}
