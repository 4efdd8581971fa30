//! Upkeep of value lists: entries of freed nodes go, and missing ones come.

use super::{add_where, listed, walk};
use crate::error::Result;
use crate::fallible::TryPush;
use crate::filter::signature::Signatures;
use crate::hnsw::Graph;
use crate::hnsw::node_set::NodeSet;
use crate::hnsw::space::Point;
use crate::storage::format::META_BLOCK;
use crate::storage::list_page::{self, ListEntry, ListId};
use crate::storage::page::Page;
use crate::storage::{BlockNumber, Edit, Link, NodeRef, PageStore, corrupted, meta, node_page};

/// Takes the entries of freed nodes out of all lists, and frees pages without entries. `freed` has
/// the level-0 records that were freed; a slot may have another node again.
///
/// Locks: one page at a time, exclusive, or two of a list, or one of the directory and one of a
/// list; on return: none.
pub(in crate::hnsw) fn clean<S: PageStore>(graph: &Graph<'_, S>, freed: &NodeSet) -> Result<()> {
    if freed.is_empty() {
        return Ok(());
    }
    for column in listed(graph) {
        for list in graph.space.directory.lists() {
            clean_list(graph, ListId { column, list }, freed)?;
        }
    }
    Ok(())
}

fn clean_list<S: PageStore>(graph: &Graph<'_, S>, id: ListId, freed: &NodeSet) -> Result<()> {
    let layout = &graph.space.lists;
    let mut before: Option<BlockNumber> = None;
    let mut block = graph.space.directory.read(graph.store, id)?;
    let (mut pages, mut kept) = (0, 0);
    while block != 0 {
        graph.store.check_interrupts();
        pages += 1;
        if pages > graph.store.blocks()? {
            return corrupted(block, "a list of a filter column has no end");
        }
        let (next, is_empty, found) = graph.store.read_in_passing(block, |page| {
            if !list_page::is_of(page, block, id, layout)? {
                return corrupted(block, "a list of a filter column leads to a page that is not its own");
            }
            let mut found = Vec::new();
            for entry in list_page::entries(page, layout).filter(|entry| freed.contains(entry.link.node)) {
                found.try_push(entry.link)?;
            }
            Ok((list_page::next(page), list_page::is_empty(page, layout), found))
        })?;
        let mut stale = Vec::new();
        for link in found {
            graph.store.check_interrupts();
            if !graph.read(link.node, |record| Ok(record.is(link.generation, 0)))? {
                stale.try_push((link.node, link.generation))?;
            }
        }
        stale.sort_unstable();
        let is_empty = match stale.is_empty() {
            true => is_empty,
            false => graph.store.write(block, |page| {
                let is_stale = |entry: &ListEntry| {
                    let link = (entry.link.node, entry.link.generation);
                    stale.binary_search(&link).is_ok()
                };
                let gone = list_page::retain(page, layout, |entry| !is_stale(entry));
                let is_empty = list_page::is_empty(page, layout);
                Ok(match gone {
                    0 => Edit::Unchanged(is_empty),
                    _ => Edit::Changed(is_empty),
                })
            })?,
        };
        if !is_empty || !unlink(graph, id, before, block)? {
            before = Some(block);
            kept += 1;
        }
        block = next;
    }
    set_pages(graph, id, kept)
}

/// Makes the first page of a list tell the number of pages if it tells of more than twice as many.
fn set_pages<S: PageStore>(graph: &Graph<'_, S>, id: ListId, pages: u32) -> Result<()> {
    let first = graph.space.directory.read(graph.store, id)?;
    let is_wrong = |page: &Page| {
        let is_of = list_page::is_of(page, first, id, &graph.space.lists)?;
        Ok(is_of && list_page::pages(page) / 2 > pages)
    };
    if first == 0 || !graph.store.read(first, is_wrong)? {
        return Ok(());
    }
    graph.store.write(first, |page| {
        Ok(match is_wrong(page)? {
            true => {
                list_page::set_pages(page, pages.max(1));
                Edit::Changed(())
            }
            false => Edit::Unchanged(()),
        })
    })
}

/// Takes a page out of its list, and makes a node page of it, if it is still empty, and still comes
/// after `before`, or first: backends add entries to first pages, and new pages before them. Says
/// whether it did.
///
/// Locks: the page and the one before it or that of the directory, exclusive; on return: none.
fn unlink<S: PageStore>(
    graph: &Graph<'_, S>,
    id: ListId,
    before: Option<BlockNumber>,
    block: BlockNumber,
) -> Result<bool> {
    if before == Some(block) {
        return corrupted(block, "a page of a list of a filter column leads to itself");
    }
    let generation = graph.store.read(META_BLOCK, meta::read_first_generation)?;
    let directory = &graph.space.directory;
    let is_unlinked = graph
        .store
        .write_two(before.unwrap_or(directory.block(id)), block, |other, page| {
            let next = match before {
                Some(_) => list_page::next(other),
                None => directory.get(other, id)?,
            };
            if !list_page::is_empty(page, &graph.space.lists) || next != block {
                return Ok(Edit::Unchanged(false));
            }
            match before {
                Some(_) => list_page::set_next(other, list_page::next(page)),
                None => directory.set(other, id, list_page::next(page)),
            }
            node_page::init(page, &graph.space.layout, generation);
            Ok(Edit::Changed(true))
        })?;
    if is_unlinked {
        graph.store.note_free(block);
    }
    Ok(is_unlinked)
}

/// Passes `f` the live nodes, with each list of a column that does not have the node though it is
/// one of its value's: under its present generation, with the signatures of its values. Lists of
/// one node come one after the other. About `memory` bytes are used at a time.
///
/// Locks: one page at a time, shared; while `f` runs: none.
pub(in crate::hnsw) fn missing<S: PageStore>(
    graph: &Graph<'_, S>,
    column: u8,
    memory: usize,
    mut f: impl FnMut(Link, u16) -> Result<()>,
) -> Result<()> {
    type Place = (NodeRef, u8, u16, Signatures);
    // The entries of lists are about as many.
    let most = memory / (2 * size_of::<Place>());
    let blocks = graph.node_blocks()?;
    let mut end = blocks.start;
    while end < blocks.end {
        let start = end;
        // Nodes first: a node that comes meanwhile is in its list and not here.
        let mut nodes: Vec<Place> = Vec::new();
        while end < blocks.end && (end == start || nodes.len() < most) {
            graph.store.check_interrupts();
            let block = end;
            end += 1;
            let mut here = Vec::new();
            graph.live_on(block, |link, record| here.push((link, record.values())))?;
            for (link, values) in here {
                let signatures = graph.space.signatures(&values);
                let lists = graph.space.lists_of(&values, column);
                let places = lists.as_slice().iter();
                nodes.try_extend(places.map(|&list| (link.node, link.generation, list, signatures)))?;
            }
        }
        let part = start..end;
        let mut listed: Vec<Place> = Vec::new();
        for list in graph.space.directory.lists() {
            let before = listed.len();
            let again = |listed: &mut Vec<Place>| listed.truncate(before);
            walk(graph, ListId { column, list }, &mut listed, again, |listed, _, page| {
                for ListEntry { link, signatures } in list_page::entries(page, &graph.space.lists) {
                    if part.contains(&graph.space.layout.block(link.node)) {
                        listed.try_push((link.node, link.generation, list, signatures))?;
                    }
                }
                Ok(true)
            })?;
        }
        listed.sort_unstable();
        nodes.retain(|node| listed.binary_search(node).is_err());
        for (node, generation, list, _) in nodes {
            // VACUUM may have removed it.
            if graph.read(node, |record| Ok(record.is(generation, 0)))? {
                f(Link { node, generation }, list)?;
            }
        }
    }
    Ok(())
}

/// Adds the nodes that an interrupted insertion has left out of their lists. About `memory` bytes
/// are used at a time.
///
/// Locks: one page at a time, or a page of the directory and a new page; on return: none.
pub fn complete<S: PageStore>(graph: &Graph<'_, S>, memory: usize) -> Result<()> {
    let mut point = Point::default();
    for column in listed(graph) {
        missing(graph, column, memory, |link, list| {
            match graph.read_point(link, 0, &mut point)? {
                Some(_) => add_where(graph, link, &point, |id| id == ListId { column, list }),
                None => Ok(()),
            }
        })?;
    }
    Ok(())
}
