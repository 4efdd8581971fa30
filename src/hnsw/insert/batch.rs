//! Insertion of many rows at once.
//!
//! Rows are searched for and placed one after the other, but links back to them are put off, so that a page gets all of its new links in one
//! change. A search takes links that were put off for those of the record: the rows of a batch find each other as they would if they were inserted one by
//! one. Nobody else finds them until the links are made, and the sessions that insert at the same time do not see each other's rows so long; so
//! that is not put off for longer than the index grows by a small part.

use std::collections::{HashMap, HashSet};

use crate::error::Result;
use crate::fallible::{self, Room, TryPush};
use crate::hnsw::Graph;
use crate::hnsw::insert::{Inserter, NewRow, SMALL, UNSEEN_PART};
use crate::hnsw::neighbors::back_links::is_live;
use crate::hnsw::neighbors::lanes;
use crate::hnsw::neighbors::selection::VectorAt;
use crate::hnsw::space::{Point, Query};
use crate::quantize::rabitq::Factors;
use crate::storage::format::Unplaced;
use crate::storage::record::Code;
use crate::storage::{Edit, Link, NodeRef, PageStore};

/// Bytes of links that may be put off.
const MOST_BYTES: usize = 16 << 20;

/// Links that are still to be made.
#[derive(Default)]
pub(in crate::hnsw) struct DeferredLinks {
    links: Vec<DeferredLink>,
    /// The codes of all, one after the other.
    words: Vec<u32>,
    /// Words of each.
    each: usize,
    /// The last link of each record.
    last: HashMap<NodeRef, u32>,
}

struct DeferredLink {
    at: Link,
    new: Link,
    level: u8,
    factors: Factors,
    /// The one of the same record before.
    before: Option<u32>,
}

impl DeferredLinks {
    /// Whether there is none.
    pub(in crate::hnsw) fn is_empty(&self) -> bool {
        self.links.is_empty()
    }

    pub(in crate::hnsw) fn push(&mut self, at: Link, new: Link, code: Code<'_>, level: u8) -> Result<()> {
        self.last.room(1)?;
        self.words.room(code.words.len())?;
        self.links.room(1)?;
        let before = self.last.insert(at.node, self.links.len() as u32);
        self.each = code.words.len();
        self.words.extend_from_slice(code.words);
        self.links.push(DeferredLink {
            at,
            new,
            level,
            factors: code.factors,
            before,
        });
        Ok(())
    }

    /// The links of a record, the last one first.
    pub(in crate::hnsw) fn of(&self, node: NodeRef) -> impl Iterator<Item = (Link, Code<'_>)> {
        let first = self.last.get(&node).copied();
        let all = std::iter::successors(first, |&i| self.links[i as usize].before);
        all.map(|i| (self.links[i as usize].new, self.code(i as usize)))
    }

    fn bytes(&self) -> usize {
        self.links.len() * (size_of::<DeferredLink>() + size_of::<(NodeRef, u32)>() + self.each * size_of::<u32>())
    }

    fn code(&self, i: usize) -> Code<'_> {
        Code {
            words: &self.words[i * self.each..(i + 1) * self.each],
            factors: self.links[i].factors,
        }
    }

    fn clear(&mut self) {
        self.links.clear();
        self.words.clear();
        self.last.clear();
    }
}

impl<S: PageStore> Graph<'_, S> {
    /// Inserts rows with their stored vectors; those without a place in the graph last. After an error some of them may be in the index,
    /// and not all that are linked.
    pub fn insert_batch<'v>(
        &self,
        inserter: &mut Inserter,
        rows: impl ExactSizeIterator<Item = (NewRow, &'v [u8])>,
    ) -> Result<()> {
        // A plain record chooses among its links by reading other pages, which takes all the time; a single row gains nothing.
        let together = self.space.layout.is_coded() && rows.len() > 1;
        let mut unplaced = Unplaced::ALL.map(|kind| (kind, Vec::new()));
        let mut linked_at = self.store.blocks()?;
        for (row, stored) in rows {
            if let Some(kind) = row.unplaced {
                let tids = &mut unplaced[kind as usize].1;
                tids.try_push(row.tid)?;
                continue;
            }
            if !together {
                self.insert_stored(inserter, stored, row)?;
                continue;
            }
            let blocks = self.store.blocks()?;
            let grown = blocks.saturating_sub(linked_at) > blocks / UNSEEN_PART;
            if grown || inserter.search.deferred.bytes() > MOST_BYTES {
                self.link_pending(inserter)?;
                linked_at = blocks;
            }
            inserter.defers = blocks > self.space.layout.first_block + SMALL;
            self.insert_stored(inserter, stored, row)?;
        }
        self.link_pending(inserter)?;
        unplaced
            .iter()
            .try_for_each(|(kind, tids)| self.add_unplaced(*kind, tids))
    }

    /// Makes the links that were put off, page by page.
    fn link_pending(&self, inserter: &mut Inserter) -> Result<()> {
        let layout = &self.space.layout;
        let pending = std::mem::take(&mut inserter.search.deferred);
        let mut order = fallible::collect(0..pending.links.len() as u32)?;
        // Sorting takes as much again.
        fallible::spare(size_of_val(&order[..]))?;
        // Stable, so that a record gets its links in the order in which they were put off.
        order.sort_by_key(|&i| pending.links[i as usize].at.node);
        let block = |&i: &u32| layout.block(pending.links[i as usize].at.node);
        let mut pages = order.chunk_by(|a, b| block(a) == block(b)).peekable();
        let mut linked: HashSet<NodeRef> = HashSet::new();
        let memory = &mut inserter.scratch.lanes;
        while let Some(here) = pages.next() {
            self.store.check_interrupts();
            if let Some(next) = pages.peek() {
                self.prefetch_to_change(pending.links[next[0] as usize].at.node);
            }
            let made = self.write(pending.links[here[0] as usize].at.node, |nodes, _| {
                let mut made = Vec::new();
                let mut changed = false;
                for &i in here {
                    let link = &pending.links[i as usize];
                    let mut record = nodes.record(layout.slot(link.at.node))?;
                    if !is_live(&record, link.at, link.level) {
                        continue;
                    }
                    let (is_linked, edited) = match lanes::add(memory, &mut record, link.new, pending.code(i as usize))
                    {
                        Edit::Changed(is_linked) => (is_linked, true),
                        Edit::Unchanged(is_linked) => (is_linked, false),
                    };
                    changed |= edited;
                    made.extend(is_linked.then_some(link.new.node));
                }
                Ok(if changed {
                    Edit::Changed(made)
                } else {
                    Edit::Unchanged(made)
                })
            })?;
            linked.room(made.len())?;
            linked.extend(made);
        }
        inserter.defers = false;
        self.force_pending(inserter, &pending, linked)?;
        inserter.search.deferred = pending;
        inserter.search.deferred.clear();
        Ok(())
    }

    /// Makes sure that every new record is linked: from one of those that it chose, or, on level 0, where VACUUM has come to all of these, from
    /// another one.
    fn force_pending(
        &self,
        inserter: &mut Inserter,
        pending: &DeferredLinks,
        mut linked: HashSet<NodeRef>,
    ) -> Result<()> {
        let (mut point, mut query) = (Point::default(), Query::default());
        let mut lost: Vec<Link> = Vec::new();
        for link in &pending.links {
            if linked.contains(&link.new.node) || self.read_point(link.new, link.level, &mut point)?.is_none() {
                continue;
            }
            self.store.check_interrupts();
            let new = VectorAt {
                link: link.new,
                at: &point,
            };
            if self.force_link(link.at, new, link.level)? {
                linked.room(1)?;
                linked.insert(link.new.node);
            } else if link.level == 0 && lost.last() != Some(&link.new) {
                lost.try_push(link.new)?;
            }
        }
        for link in lost {
            if !linked.contains(&link.node) && self.read_point(link, 0, &mut point)?.is_some() {
                self.space.set_query(&point, &mut query);
                let new = VectorAt { link, at: &point };
                self.force_first_link(inserter, &query, new)?;
            }
        }
        Ok(())
    }
}
