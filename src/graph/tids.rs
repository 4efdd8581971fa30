//! The heap TIDs of a node: a few in its level-0 record, more in a chain of extensions, so that any number of rows with equal
//! vectors are one node.
//!
//! The newest extension comes first, and only it is added to. An extension is linked in, and unlinked, together with the change of
//! the level-0 record, whose page lock whoever changes the chain holds; VACUUM takes TIDs out of an extension without it.
//!
//! A scan that is told that a row is dead to everyone marks its TID, so that later scans skip it. The TID may have been taken out meanwhile, and
//! given to another row of the same vector; but not as long as the page is as it was when the TID was read (nbtree's `_bt_killitems` goes by that
//! too).

use std::collections::HashSet;

use super::Graph;
use crate::error::Result;
use crate::fallible::Room;
use crate::storage::node_page::{NodePage, NodePageMut};
use crate::storage::page::{self, Page};
use crate::storage::record::{Entry, State};
use crate::storage::store::target_block;
use crate::storage::{BlockNumber, Edit, HeapTid, Layout, Link, NodeRef, PageStore, corrupted};

/// Two records' pages under change, which may be one page.
struct Pages<'a> {
    layout: &'a Layout,
    first: (BlockNumber, &'a mut Page),
    second: Option<(BlockNumber, &'a mut Page)>,
}

impl Pages<'_> {
    fn nodes(&mut self, block: BlockNumber) -> Result<NodePageMut<'_>> {
        match &mut self.second {
            Some((second, page)) if *second == block => NodePageMut::new(page, block, self.layout),
            _ => NodePageMut::new(self.first.1, self.first.0, self.layout),
        }
    }

    /// Whether the second page was never initialised.
    fn second_is_new(&self) -> bool {
        self.second.as_ref().is_some_and(|(_, page)| page::is_new(page))
    }
}

/// A row that a scan returned, and where it read of it.
#[derive(Debug, Clone, Copy)]
pub struct Returned {
    /// The row.
    pub tid: HeapTid,
    /// The record that has its TID.
    pub record: NodeRef,
    /// When it was read ([`crate::storage::record::Record::lsn`]).
    pub lsn: u64,
}

/// What became of a TID that was to be added.
enum Outcome {
    /// The node is not live any more.
    Gone,
    /// It was added.
    Added,
    /// The level-0 record is full; its first extension, or [`NodeRef::NONE`].
    Full(NodeRef),
    /// The chain is not what it was when it was looked at.
    Changed,
    /// There is no room in the block that was tried.
    NoRoom,
}

impl<S: PageStore> Graph<'_, S> {
    /// Changes the pages of two blocks, which may be the same one.
    fn write_pair<T>(
        &self,
        first: BlockNumber,
        second: BlockNumber,
        f: impl FnOnce(&mut Pages<'_>) -> Result<Edit<T>>,
    ) -> Result<T> {
        let layout = &self.space.layout;
        if first == second {
            return self.store.write(first, |page| {
                f(&mut Pages {
                    layout,
                    first: (first, page),
                    second: None,
                })
            });
        }
        self.store.write_two(first, second, |a, b| {
            f(&mut Pages {
                layout,
                first: (first, a),
                second: Some((second, b)),
            })
        })
    }

    /// Adds a TID to the node `at` if it is live and its stored vector is `vector`, byte for byte; says whether it was.
    pub(super) fn add_tid(&self, at: Link, stored: &[u8], tid: HeapTid) -> Result<bool> {
        if !self.has_tails_of(at, stored)? {
            return Ok(false);
        }
        let vector = &stored[..self.space.layout.inline_len];
        loop {
            let first = match self.add_tid_inline(at, vector, tid)? {
                Outcome::Full(first) => first,
                added => return Ok(matches!(added, Outcome::Added)),
            };
            let added = match first.some() {
                Some(extension) => self.add_tid_to(at, extension, tid)?,
                None => Outcome::NoRoom,
            };
            let added = if let Outcome::NoRoom = added {
                self.add_extension(at, first, tid)?
            } else {
                added
            };
            match added {
                Outcome::Added => return Ok(true),
                Outcome::Gone => return Ok(false),
                _ => self.store.check_interrupts(),
            }
        }
    }

    fn add_tid_inline(&self, at: Link, vector: &[u8], tid: HeapTid) -> Result<Outcome> {
        self.write(at.node, |nodes, slot| {
            let mut record = nodes.record(slot)?;
            let view = record.view();
            if !view.is(at.generation, 0) || view.state() != State::Node || view.vector() != vector {
                return Ok(Edit::Unchanged(Outcome::Gone));
            }
            if !view.has_room_for_tid() {
                return Ok(Edit::Unchanged(Outcome::Full(view.below())));
            }
            record.push_tid(tid)?;
            Ok(Edit::Changed(Outcome::Added))
        })
    }

    /// Whether the node's chain still starts with `first`.
    fn is_chain(&self, pages: &mut Pages<'_>, at: Link, first: NodeRef) -> Result<Option<Outcome>> {
        let mut nodes = pages.nodes(self.space.layout.block(at.node))?;
        let record = nodes.record(self.space.layout.slot(at.node))?;
        let view = record.view();
        Ok(if !view.is(at.generation, 0) || view.state() != State::Node {
            Some(Outcome::Gone)
        } else if view.below() != first {
            Some(Outcome::Changed)
        } else {
            None
        })
    }

    fn add_tid_to(&self, at: Link, extension: NodeRef, tid: HeapTid) -> Result<Outcome> {
        let block = self.space.layout.block(extension);
        self.write_pair(self.space.layout.block(at.node), block, |pages| {
            if let Some(changed) = self.is_chain(pages, at, extension)? {
                return Ok(Edit::Unchanged(changed));
            }
            let mut nodes = pages.nodes(block)?;
            let mut record = nodes.record(self.space.layout.slot(extension))?;
            if record.view().state() != State::Extension || record.view().owner() != at.node {
                return corrupted(block, "a node's TID extension is not its own");
            }
            if !record.view().has_room_for_tid() {
                return Ok(Edit::Unchanged(Outcome::NoRoom));
            }
            record.push_tid(tid)?;
            Ok(Edit::Changed(Outcome::Added))
        })
    }

    /// Puts a new extension with one TID before `first`.
    fn add_extension(&self, at: Link, first: NodeRef, tid: HeapTid) -> Result<Outcome> {
        let mut full = None;
        loop {
            let block = target_block(self.store, &self.space.layout, full)?;
            let added = self.write_pair(self.space.layout.block(at.node), block, |pages| {
                if let Some(changed) = self.is_chain(pages, at, first)? {
                    return Ok(Edit::Unchanged(changed));
                }
                if pages.second_is_new() {
                    return Ok(Edit::Unchanged(Outcome::NoRoom));
                }
                let mut nodes = pages.nodes(block)?;
                let Some(slot) = nodes.free_slot()? else {
                    return Ok(Edit::Unchanged(Outcome::NoRoom));
                };
                let extension = nodes.occupy(slot, State::Extension, 0, at.node, first)?;
                nodes.record(slot)?.push_tid(tid)?;
                let mut nodes = pages.nodes(self.space.layout.block(at.node))?;
                nodes.record(self.space.layout.slot(at.node))?.set_below(extension.node);
                Ok(Edit::Changed(Outcome::Added))
            })?;
            match added {
                Outcome::NoRoom => full = Some(block),
                added => {
                    if full.is_some() {
                        self.store.note_free(block); // A new target: its other slots are for everybody.
                    }
                    return Ok(added);
                }
            }
            self.store.check_interrupts();
        }
    }

    /// Reads the TIDs of a node that its level-0 record holds, none if the link is stale, and says where the chain of the
    /// others starts, and when that was.
    pub(super) fn first_tids(&self, at: Link, f: impl FnMut(Entry)) -> Result<(NodeRef, u64)> {
        self.read(at.node, |record| {
            if !record.is(at.generation, 0) {
                return Ok((NodeRef::NONE, 0));
            }
            record.entries().for_each(f);
            Ok((record.below(), record.lsn()))
        })
    }

    /// Reads the TIDs of one extension of a node, and says where the next one is, and when that was; `None` if VACUUM has just unlinked this
    /// one.
    pub(super) fn more_tids(
        &self,
        at: Link,
        extension: NodeRef,
        f: impl FnMut(Entry),
    ) -> Result<Option<(NodeRef, u64)>> {
        self.read(extension, |record| {
            if record.state() != State::Extension || record.owner() != at.node {
                return Ok(None);
            }
            record.entries().for_each(f);
            Ok(Some((record.below(), record.lsn())))
        })
    }

    /// Those of these rows that the index has. Reads all of it.
    pub fn find_rows(&self, rows: HashSet<HeapTid>) -> Result<HashSet<HeapTid>> {
        let mut found = HashSet::new();
        for block in self.node_blocks()? {
            self.store.check_interrupts();
            self.store.read(block, |page| {
                for record in NodePage::new(page, block, &self.space.layout)?.records() {
                    let (_, record) = record?;
                    // One whose tails are missing is not found by a search, and never will be.
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

    /// Marks rows that are dead to everyone, where their pages are as they were read; one change a page.
    pub fn kill(&self, mut rows: Vec<Returned>) -> Result<()> {
        let layout = &self.space.layout;
        rows.sort_unstable_by_key(|row| row.record);
        for here in rows.chunk_by(|a, b| layout.block(a.record) == layout.block(b.record)) {
            self.write(here[0].record, |nodes, _| {
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

    /// Unlinks and frees the first extension of a node's chain if it has no TIDs; says whether it did.
    pub(super) fn drop_empty_extension(&self, node: NodeRef, extension: NodeRef) -> Result<bool> {
        let (head, block) = (self.space.layout.block(node), self.space.layout.block(extension));
        self.write_pair(head, block, |pages| {
            let mut nodes = pages.nodes(head)?;
            let first = nodes.record(self.space.layout.slot(node))?.view().below();
            let mut nodes = pages.nodes(block)?;
            let record = nodes.record(self.space.layout.slot(extension))?;
            let view = record.view();
            if first != extension || view.state() != State::Extension || view.owner() != node || view.tid_count() > 0 {
                return Ok(Edit::Unchanged(false));
            }
            let next = view.below();
            nodes.free(self.space.layout.slot(extension))?;
            pages.nodes(head)?.record(self.space.layout.slot(node))?.set_below(next);
            Ok(Edit::Changed(true))
        })
    }
}
