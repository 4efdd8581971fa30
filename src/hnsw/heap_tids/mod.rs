//! The heap TIDs of a node: a few in its level-0 record, others in a chain of extensions
//! ([`crate::hnsw::heap_tids::list`]), so that any number of rows with equal vectors are one node.
//!
//! The first extension gets TIDs while the level-0 record, which tells whether the node is live, is
//! locked too; VACUUM takes TIDs out of an extension without that.
//!
//! A scan that learns that a row is dead to every snapshot marks its TID, so that later scans skip
//! it. Meanwhile the TID may have been taken out and given to another row with the same vector, but
//! not while the page is as it was when the TID was read (nbtree's `_bt_killitems` relies on that
//! too).

pub(in crate::hnsw) mod list;
pub mod unplaced;

use std::collections::HashSet;

use crate::error::Result;
use crate::fallible::Room;
use crate::hnsw::Graph;
use crate::hnsw::heap_tids::list::{Head, Outcome};
use crate::hnsw::overflow_vectors;
use crate::hnsw::space::Point;
use crate::storage::node_page::NodePage;
use crate::storage::record::{Entry, State};
use crate::storage::{Edit, HeapTid, Link, NodeRef, PageStore};

/// A row that a scan returned, and the record that it was read from.
#[derive(Debug, Clone, Copy)]
pub struct Returned {
    /// The row.
    pub tid: HeapTid,
    /// The record that has its TID.
    pub record: NodeRef,
    /// LSN of the record when it was read ([`crate::storage::record::Record::lsn`]).
    pub lsn: u64,
}

/// Outcome of adding a TID to a level-0 record.
enum Inline {
    /// The node is not live any more.
    Gone,
    /// The TID was added.
    Added,
    /// The record is full; its first extension, or [`NodeRef::NONE`].
    Full(NodeRef),
}

/// Adds a TID to the node `at` if it is live and its stored vector and filter values are the
/// point's; says whether it did.
///
/// Locks: one page at a time, or the pages of the node and of its first extension, exclusive; on
/// return: none.
pub(in crate::hnsw) fn add<S: PageStore>(graph: &Graph<'_, S>, at: Link, point: &Point, tid: HeapTid) -> Result<bool> {
    if !overflow_vectors::equal(graph, at, &point.stored)? {
        return Ok(false);
    }
    loop {
        let first = match add_inline(graph, at, point, tid)? {
            Inline::Full(first) => first,
            added => return Ok(matches!(added, Inline::Added)),
        };
        let added = match first.some() {
            Some(extension) => list::fill_first_of(graph, at, extension, &[tid])?,
            None => Outcome::NoRoom,
        };
        let added = if let Outcome::NoRoom = added {
            list::add_extension(graph, Head::Node(at), first, &[tid])?
        } else {
            added
        };
        match added {
            Outcome::Added(_) => return Ok(true),
            Outcome::Gone => return Ok(false),
            Outcome::Changed | Outcome::NoRoom => graph.store.check_interrupts(),
        }
    }
}

fn add_inline<S: PageStore>(graph: &Graph<'_, S>, at: Link, point: &Point, tid: HeapTid) -> Result<Inline> {
    let start = &point.stored[..graph.space.layout.inline_len];
    graph.write(at.node, |nodes, slot| {
        let mut record = nodes.record(slot)?;
        let view = record.view();
        let is_live = view.is(at.generation, 0) && view.state() == State::Node;
        if !is_live || view.vector() != start || view.values() != point.values {
            return Ok(Edit::Unchanged(Inline::Gone));
        }
        if !view.has_room_for_tid() {
            return Ok(Edit::Unchanged(Inline::Full(view.below())));
        }
        record.push_tid(tid)?;
        Ok(Edit::Changed(Inline::Added))
    })
}

/// Passes `f` the TIDs of a node's level-0 record, none if the link is stale; returns the first
/// extension and the record's LSN.
pub(in crate::hnsw) fn read_first<S: PageStore>(
    graph: &Graph<'_, S>,
    at: Link,
    f: impl FnMut(Entry),
) -> Result<(NodeRef, u64)> {
    graph.read(at.node, |record| {
        if !record.is(at.generation, 0) {
            return Ok((NodeRef::NONE, 0));
        }
        record.entries().for_each(f);
        Ok((record.below(), record.lsn()))
    })
}

/// Passes `f` the TIDs of one extension of a node; returns the next extension and the LSN; `None`
/// if VACUUM has just unlinked this one.
pub(in crate::hnsw) fn read_more<S: PageStore>(
    graph: &Graph<'_, S>,
    at: Link,
    extension: NodeRef,
    f: impl FnMut(Entry),
) -> Result<Option<(NodeRef, u64)>> {
    graph.read(extension, |record| {
        if record.state() != State::Extension || record.owner() != at.node {
            return Ok(None);
        }
        record.entries().for_each(f);
        Ok(Some((record.below(), record.lsn())))
    })
}

/// The rows among these that the index has. Reads all pages.
pub fn find_rows<S: PageStore>(graph: &Graph<'_, S>, rows: HashSet<HeapTid>) -> Result<HashSet<HeapTid>> {
    let mut found = HashSet::new();
    for block in graph.node_blocks()? {
        graph.store.check_interrupts();
        graph.store.read(block, |page| {
            for record in NodePage::new(page, block, &graph.space.layout)?.records() {
                let (_, record) = record?;
                // A node without all of its overflow records is not found by a search, and never
                // will be.
                if record.state() == State::Extension || record.is_complete() {
                    for tid in record.tids().filter(|tid| rows.contains(tid)) {
                        found.room(1)?;
                        found.insert(tid);
                    }
                }
            }
            Ok(())
        })?;
    }
    Ok(found)
}

/// Marks rows that are dead to every snapshot, on pages that are unchanged since they were read.
///
/// Locks: one page at a time, exclusive; on return: none.
pub fn kill<S: PageStore>(graph: &Graph<'_, S>, mut rows: Vec<Returned>) -> Result<()> {
    let layout = &graph.space.layout;
    rows.sort_unstable_by_key(|row| row.record);
    for here in rows.chunk_by(|a, b| layout.block(a.record) == layout.block(b.record)) {
        graph.write(here[0].record, |nodes, _| {
            let lsn = nodes.lsn();
            let mut killed = false;
            for row in here.iter().filter(|row| row.lsn == lsn) {
                killed |= nodes.record(layout.slot(row.record))?.kill(row.tid);
            }
            Ok(if killed { Edit::Changed(()) } else { Edit::Unchanged(()) })
        })?;
    }
    Ok(())
}
