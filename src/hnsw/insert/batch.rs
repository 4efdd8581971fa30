//! Insertion of many rows at once.
//!
//! Rows are searched for and placed one after the other, but the links back to them are deferred,
//! so that a page gets all of its new links in one change. A search follows deferred links like the
//! links of the record: the rows of a batch find each other as if they were inserted one by one.
//! Other sessions find the rows only when the links are made, and sessions that insert at the same
//! time do not see each other's rows until then; so links are deferred only while the index grows
//! by a small part.

use std::collections::HashSet;

use crate::error::Result;
use crate::fallible::{self, Room, TryPush};
use crate::hnsw::Graph;
use crate::hnsw::heap_tids::unplaced;
use crate::hnsw::insert::{self, Inserter, NewRow, entry_point};
use crate::hnsw::neighbors::selection::VectorAt;
use crate::hnsw::neighbors::{back_links, lanes};
use crate::hnsw::search::deferred_links::DeferredLinks;
use crate::hnsw::space::{Point, Query};
use crate::hnsw::tuning::insert::{SMALL, UNSEEN_PART};
use crate::storage::format::Unplaced;
use crate::storage::{Link, NodeRef, PageStore};

/// Bytes of links that may be deferred.
const MOST_BYTES: usize = 16 << 20;

/// Deferred links that are made between two checks for interrupts, and at most under one set of
/// locks, because a record may have any number of them.
const LINKS_TOGETHER: usize = 64;

/// Inserts rows with their stored vectors, rows without a place in the graph last. After an error
/// some rows may be in the index, and some of them without links to them.
pub fn insert<'v, S: PageStore>(
    graph: &Graph<'_, S>,
    inserter: &mut Inserter,
    rows: impl ExactSizeIterator<Item = (NewRow, &'v [u8])>,
) -> Result<()> {
    // A plain record selects among its links by reading other pages, which takes nearly all of the
    // time; a single row gains nothing.
    let together = graph.space.layout.is_coded() && rows.len() > 1;
    let mut unplaced = Unplaced::ALL.map(|kind| (kind, Vec::new()));
    let mut linked_at = graph.store.known_blocks()?;
    for (row, stored) in rows {
        if let Some(kind) = row.unplaced {
            let tids = &mut unplaced[kind as usize].1;
            tids.try_push(row.tid)?;
            continue;
        }
        if !together {
            insert::insert_stored(graph, inserter, stored, row)?;
            continue;
        }
        let blocks = graph.store.known_blocks()?;
        let grown = blocks.saturating_sub(linked_at) > blocks / UNSEEN_PART;
        if grown || inserter.search.deferred.bytes() > MOST_BYTES {
            make_deferred_links(graph, inserter)?;
            linked_at = blocks;
        }
        inserter.defers = blocks > graph.space.layout.first_block + SMALL;
        insert::insert_stored(graph, inserter, stored, row)?;
    }
    make_deferred_links(graph, inserter)?;
    unplaced
        .iter()
        .try_for_each(|(kind, tids)| unplaced::add(graph, *kind, tids))
}

/// Makes the deferred links, page by page.
///
/// Locks: as [`Graph::write_each`]; on return: none.
fn make_deferred_links<S: PageStore>(graph: &Graph<'_, S>, inserter: &mut Inserter) -> Result<()> {
    let deferred = std::mem::take(&mut inserter.search.deferred);
    let mut order = fallible::collect(0..deferred.len() as u32)?;
    // Sorting takes as much memory again.
    fallible::spare(size_of_val(&order[..]))?;
    // Stable, so that a record gets its links in the order in which they were deferred.
    order.sort_by_key(|&i| deferred.link(i).at.node);
    let mut linked: HashSet<NodeRef> = HashSet::new();
    linked.room(order.len())?; // No more is allocated while pages are locked.
    let memory = &mut inserter.scratch.lanes;
    for some in order.chunks(LINKS_TOGETHER) {
        graph.store.check_interrupts();
        graph.write_each(
            some,
            |&i| deferred.link(i).at.node,
            |nodes, slot, &i| {
                let link = deferred.link(i);
                let mut record = nodes.record(slot)?;
                if !back_links::is_live(&record, link.at, link.level) {
                    return Ok(false);
                }
                let (is_linked, is_changed) = lanes::add(memory, &mut record, link.new, deferred.code(i)).parts();
                if is_linked {
                    linked.insert(link.new.node);
                }
                Ok(is_changed)
            },
        )?;
    }
    inserter.defers = false;
    force_deferred_links(graph, inserter, &deferred, linked)?;
    inserter.search.deferred = deferred;
    inserter.search.deferred.clear();
    Ok(())
}

/// Makes sure that a link leads to every new record: from one of its neighbors, or, on level 0,
/// from another record if VACUUM has removed all of its neighbors.
fn force_deferred_links<S: PageStore>(
    graph: &Graph<'_, S>,
    inserter: &mut Inserter,
    deferred: &DeferredLinks,
    mut linked: HashSet<NodeRef>,
) -> Result<()> {
    let (mut point, mut query) = (Point::default(), Query::default());
    let mut lost: Vec<Link> = Vec::new();
    for link in deferred.iter() {
        if linked.contains(&link.new.node) || graph.read_point(link.new, link.level, &mut point)?.is_none() {
            continue;
        }
        graph.store.check_interrupts();
        let new = VectorAt {
            link: link.new,
            at: &point,
        };
        if back_links::force(graph, link.at, new, link.level)? {
            linked.room(1)?;
            linked.insert(link.new.node);
        } else if link.level == 0 && lost.last() != Some(&link.new) {
            lost.try_push(link.new)?;
        }
    }
    for link in lost {
        if !linked.contains(&link.node) && graph.read_point(link, 0, &mut point)?.is_some() {
            graph.space.set_query(&point, &mut query);
            let new = VectorAt { link, at: &point };
            entry_point::force_first_link(graph, inserter, &query, new)?;
        }
    }
    Ok(())
}
