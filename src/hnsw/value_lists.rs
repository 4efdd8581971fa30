//! Value lists: the nodes with a value of a filter column, so that conditions that few nodes match
//! are answered exactly ([`crate::storage::list_page`] has the pages).
//!
//! A list has an entry for every live node with its values from the moment at which the node's row
//! may be visible: a new node is added to its lists as part of its insertion, before it has links.
//! A record with links is thus listed, and VACUUM adds one without links to its lists before it
//! links it. Entries of nodes that
//! VACUUM frees go in the same VACUUM; until then, and after a crash in between, the generation
//! tells them from a later node in the same slot, and the record's own values decide. Two entries
//! of one node do no harm.
//!
//! VACUUM unlinks empty pages, and makes node pages of them. A reader that comes to such a page
//! begins again.

use crate::error::Result;
use crate::fallible::{Room, TryPush};
use crate::filter::values::{Kind, Values};
use crate::hnsw::Graph;
use crate::hnsw::node_set::NodeSet;
use crate::hnsw::space::Query;
use crate::storage::format::META_BLOCK;
use crate::storage::list_page::{self, LISTS, ListEntry, ListId};
use crate::storage::{BlockNumber, Edit, Link, NodeRef, PageStore, corrupted, meta, node_page, page};

/// Beginnings of a walk over one list, beyond which the index counts as corrupted.
const RETRIES: usize = 1000;

/// Nodes of a sample of those that match, and lists that they are from.
const SAMPLE: usize = 64;
const SAMPLED_LISTS: usize = 32;

/// Number of nodes in a range, by its borders, in those that may be read, from which on no entry is
/// read: borders may be older than most rows.
const MANY: f64 = 4.0;

/// Most pages of lists that a scan reads before it knows whether few nodes match.
const MOST_PAGES: usize = 256;

/// Adds a new node to the lists of its values.
///
/// Locks: one page at a time, or the meta page and a new page; on return: none.
pub(in crate::hnsw) fn add<S: PageStore>(graph: &Graph<'_, S>, link: Link, values: &Values) -> Result<()> {
    for (id, signature) in places(graph, values) {
        add_to(graph, id, &ListEntry { link, signature })?;
    }
    Ok(())
}

/// Adds a node without links to the lists of its values once more, before a link or the entry point
/// makes it known: an interrupted insertion may have left it out of them. A node with links is in
/// its lists.
///
/// Locks: as [`add`].
pub(in crate::hnsw) fn add_unlinked<S: PageStore>(graph: &Graph<'_, S>, link: Link) -> Result<()> {
    if listed(graph).next().is_none() {
        return Ok(());
    }
    let values = graph.read(link.node, |record| {
        let is_unlinked = record.is(link.generation, 0) && record.link_count() == 0;
        Ok(is_unlinked.then(|| record.values()))
    })?;
    values.map_or(Ok(()), |values| add(graph, link, &values))
}

/// The lists of values, with the signature in each.
fn places<S: PageStore>(graph: &Graph<'_, S>, values: &Values) -> impl Iterator<Item = (ListId, u16)> {
    let signatures = graph.space.signatures(values);
    listed(graph).map(move |column| {
        let signature = signatures[usize::from(column)];
        (ListId::of(usize::from(column), signature), signature)
    })
}

/// The columns that have lists.
pub(in crate::hnsw) fn listed<S: PageStore>(graph: &Graph<'_, S>) -> impl Iterator<Item = u8> + use<S> {
    let kinds = graph.space.parameters().filters;
    let has_lists = move |column: &u8| kinds[usize::from(*column)].is_some_and(|kind| kind != Kind::Set);
    (0..kinds.len() as u8).filter(has_lists)
}

fn add_to<S: PageStore>(graph: &Graph<'_, S>, id: ListId, entry: &ListEntry) -> Result<()> {
    let stride = graph.space.layout.stride;
    for _ in 0..RETRIES {
        let first = graph.store.read(META_BLOCK, |page| meta::read_list(page, id))?;
        if first != 0 {
            let added = graph.store.write(first, |page| {
                if !list_page::is_of(page, first, id, stride)? {
                    return Ok(Edit::Unchanged(None)); // VACUUM has unlinked it: it is not the first any more.
                }
                Ok(match list_page::push(page, entry) {
                    true => Edit::Changed(Some(true)),
                    false => Edit::Unchanged(Some(false)),
                })
            })?;
            match added {
                Some(true) => return Ok(()),
                Some(false) => {}
                None => {
                    graph.store.check_interrupts();
                    continue;
                }
            }
        }
        // VACUUM or another backend may take the new page for one of nodes; then this one takes
        // another.
        let block = graph.store.extend()?;
        let added = graph.store.write_two(META_BLOCK, block, |meta, new| {
            let is_first = meta::read_list(meta, id)? == first;
            if !is_first || !page::is_new(new) {
                return Ok(Edit::Unchanged(false));
            }
            list_page::init(new, id, stride, first);
            meta::set_list(meta, id, block);
            Ok(Edit::Changed(list_page::push(new, entry)))
        })?;
        if added {
            return Ok(());
        }
        crate::storage::store::init(graph.store, &graph.space.layout, block)?;
        graph.store.note_free(block);
        graph.store.check_interrupts();
    }
    corrupted(
        META_BLOCK,
        "a list of a filter column changes its first page without end",
    )
}

/// Passes `f` the pages of a list, from the first one on, until it returns false; begins again,
/// after a call of `again`, where VACUUM has unlinked the page that comes next.
///
/// Locks: the page, shared, while `f` runs; on return: none.
fn walk<S: PageStore, T>(
    graph: &Graph<'_, S>,
    id: ListId,
    state: &mut T,
    again: impl Fn(&mut T),
    mut f: impl FnMut(&mut T, BlockNumber, &page::Page) -> Result<bool>,
) -> Result<()> {
    // The blocks that there are for sure; a look at the length of the file costs a system call.
    let mut blocks = META_BLOCK + 2;
    for _ in 0..RETRIES {
        again(state);
        let mut block = graph.store.read(META_BLOCK, |page| meta::read_list(page, id))?;
        let (mut pages, mut is_whole) = (0, true);
        while block != 0 && is_whole {
            graph.store.check_interrupts();
            pages += 1;
            if pages > blocks {
                blocks = blocks.max(graph.store.blocks()?);
                if pages > blocks {
                    return corrupted(block, "a list of a filter column has no end");
                }
            }
            let next = graph.store.read(block, |page| {
                if !list_page::is_of(page, block, id, graph.space.layout.stride)? {
                    return Ok(None);
                }
                let goes_on = f(state, block, page)?;
                Ok(Some(if goes_on { list_page::next(page) } else { 0 }))
            })?;
            is_whole = next.is_some();
            block = next.unwrap_or(0);
        }
        if is_whole {
            return Ok(());
        }
    }
    corrupted(
        META_BLOCK,
        "a list of a filter column leads to pages that are not its own",
    )
}

/// Whether lists name the nodes that match a query's conditions on any column.
pub(in crate::hnsw) fn are_named<S: PageStore>(graph: &Graph<'_, S>, query: &Query) -> bool {
    listed(graph).any(|column| query.signature_set(usize::from(column)).is_some())
}

/// The nodes whose entries match a query's conditions on one column, in order of their places and
/// each once; none where no column's lists name at most `most` of about `nodes` nodes after a few
/// pages.
///
/// Locks: one page at a time, shared; on return: none.
pub(in crate::hnsw) fn matching<S: PageStore>(
    graph: &Graph<'_, S>,
    query: &Query,
    nodes: f64,
    most: usize,
) -> Result<Option<Vec<Link>>> {
    for (column, set) in sets(graph, query) {
        // Reading entries in vain costs as much as a part of a search.
        let share = query.range_share(usize::from(column));
        if share.is_some_and(|share| share * nodes > MANY * most as f64) {
            continue;
        }
        if let Some(mut all) = entries_in(graph, column, set, most)? {
            let first = graph.space.layout.first_block;
            all.retain(|link| graph.space.layout.block(link.node) >= first);
            all.sort_unstable_by_key(|link| (link.node, link.generation));
            all.dedup();
            return Ok(Some(all));
        }
    }
    Ok(None)
}

/// Some nodes whose entries match a query's conditions on the column with the fewest signatures,
/// from lists all over these.
///
/// Locks: one page at a time, shared; on return: none.
pub(in crate::hnsw) fn sample<S: PageStore>(graph: &Graph<'_, S>, query: &Query) -> Result<Vec<Link>> {
    let mut sample = Vec::new();
    let Some((column, set)) = sets(graph, query).into_iter().next() else {
        return Ok(sample);
    };
    let lists: Vec<u8> = (0..LISTS as u8).filter(|&list| has_any(set, list)).collect();
    let step = lists.len().div_ceil(SAMPLED_LISTS).max(1);
    let each = SAMPLE.div_ceil(lists.len().div_ceil(step).max(1));
    for &list in lists.iter().step_by(step) {
        let before = sample.len();
        let again = |sample: &mut Vec<Link>| sample.truncate(before);
        walk(graph, ListId { column, list }, &mut sample, again, |sample, _, page| {
            let entries = || list_page::entries(page).filter(|entry| has(set, entry.signature));
            let step = entries().count().div_ceil(each).max(1);
            sample.try_extend(entries().step_by(step).map(|entry| entry.link))?;
            Ok(false)
        })?;
    }
    let first = graph.space.layout.first_block;
    sample.retain(|link| graph.space.layout.block(link.node) >= first);
    Ok(sample)
}

/// The columns that have lists and conditions on their signatures, with the signatures that match:
/// the fewest first.
fn sets<'q, S: PageStore>(graph: &Graph<'_, S>, query: &'q Query) -> Vec<(u8, &'q [u64])> {
    let mut sets: Vec<(u8, &[u64])> = listed(graph)
        .filter_map(|column| query.signature_set(usize::from(column)).map(|set| (column, set)))
        .collect();
    sets.sort_by_key(|(_, set)| set.iter().map(|word| word.count_ones()).sum::<u32>());
    sets
}

/// Whether a set has a signature.
fn has(set: &[u64], signature: u16) -> bool {
    set[usize::from(signature / 64)] >> (signature % 64) & 1 == 1
}

/// Whether a set has any signature of a list.
fn has_any(set: &[u64], list: u8) -> bool {
    let words = set.len() / LISTS;
    set[usize::from(list) * words..][..words].iter().any(|&word| word != 0)
}

/// The nodes of a column's entries with signatures of a set; none where they are more than `most`,
/// or more pages have to be read.
fn entries_in<S: PageStore>(graph: &Graph<'_, S>, column: u8, set: &[u64], most: usize) -> Result<Option<Vec<Link>>> {
    let (mut all, mut pages): (Vec<Link>, usize) = (Vec::new(), 0);
    for list in (0..LISTS as u8).filter(|&list| has_any(set, list)) {
        let (before, mut is_whole) = (all.len(), true);
        let again = |all: &mut Vec<Link>| all.truncate(before);
        walk(graph, ListId { column, list }, &mut all, again, |all, _, page| {
            pages += 1;
            let entries = list_page::entries(page);
            all.room(entries.len())?;
            all.extend(
                entries
                    .filter(|entry| has(set, entry.signature))
                    .map(|entry| entry.link),
            );
            is_whole = all.len() <= most && pages <= MOST_PAGES;
            Ok(is_whole)
        })?;
        if !is_whole {
            return Ok(None);
        }
    }
    Ok(Some(all))
}

/// Takes the entries of freed nodes out of all lists, and frees pages without entries. `freed` has
/// the level-0 records that were freed; a slot may have another node again.
///
/// Locks: one page at a time, exclusive, or two of a list; on return: none.
pub(in crate::hnsw) fn clean<S: PageStore>(graph: &Graph<'_, S>, freed: &NodeSet) -> Result<()> {
    if freed.is_empty() {
        return Ok(());
    }
    for column in listed(graph) {
        for list in 0..LISTS as u8 {
            clean_list(graph, ListId { column, list }, freed)?;
        }
    }
    Ok(())
}

fn clean_list<S: PageStore>(graph: &Graph<'_, S>, id: ListId, freed: &NodeSet) -> Result<()> {
    let stride = graph.space.layout.stride;
    let mut before: Option<BlockNumber> = None;
    let mut block = graph.store.read(META_BLOCK, |page| meta::read_list(page, id))?;
    let mut pages = 0;
    while block != 0 {
        graph.store.check_interrupts();
        pages += 1;
        if pages > graph.store.blocks()? {
            return corrupted(block, "a list of a filter column has no end");
        }
        let (next, count, found) = graph.store.read_in_passing(block, |page| {
            if !list_page::is_of(page, block, id, stride)? {
                return corrupted(block, "a list of a filter column leads to a page that is not its own");
            }
            let mut found = Vec::new();
            for entry in list_page::entries(page).filter(|entry| freed.contains(entry.link.node)) {
                found.try_push(entry.link)?;
            }
            Ok((list_page::next(page), list_page::entries(page).len(), found))
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
            true => count == 0,
            false => graph.store.write(block, |page| {
                let is_stale = |entry: &ListEntry| {
                    let link = (entry.link.node, entry.link.generation);
                    stale.binary_search(&link).is_ok()
                };
                let gone = list_page::retain(page, |entry| !is_stale(entry));
                let is_empty = list_page::entries(page).len() == 0;
                Ok(match gone {
                    0 => Edit::Unchanged(is_empty),
                    _ => Edit::Changed(is_empty),
                })
            })?,
        };
        if !is_empty || !unlink(graph, id, before, block)? {
            before = Some(block);
        }
        block = next;
    }
    Ok(())
}

/// Takes a page out of its list, and makes a node page of it, if it is still empty, and still comes
/// after `before`, or first: backends add entries to first pages, and new pages before them. Says
/// whether it did.
///
/// Locks: the page and the one before it or the meta page, exclusive; on return: none.
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
    let is_unlinked = graph
        .store
        .write_two(before.unwrap_or(META_BLOCK), block, |other, page| {
            let next = match before {
                Some(_) => list_page::next(other),
                None => meta::read_list(other, id)?,
            };
            if list_page::entries(page).len() > 0 || next != block {
                return Ok(Edit::Unchanged(false));
            }
            match before {
                Some(_) => list_page::set_next(other, list_page::next(page)),
                None => meta::set_list(other, id, list_page::next(page)),
            }
            node_page::init(page, &graph.space.layout, generation);
            Ok(Edit::Changed(true))
        })?;
    if is_unlinked {
        graph.store.note_free(block);
    }
    Ok(is_unlinked)
}

/// Passes `f` the live nodes that a column's lists do not have under their present generation.
/// About `memory` bytes are used at a time.
///
/// Locks: one page at a time, shared; while `f` runs: none.
pub(in crate::hnsw) fn missing<S: PageStore>(
    graph: &Graph<'_, S>,
    column: u8,
    memory: usize,
    mut f: impl FnMut(Link) -> Result<()>,
) -> Result<()> {
    type Place = (NodeRef, u8, u16);
    let slots = graph.space.layout.slots;
    let each = u32::try_from(memory / (2 * size_of::<Place>()) / slots as usize).unwrap_or(u32::MAX);
    let blocks = graph.node_blocks()?;
    let mut start = blocks.start;
    while start < blocks.end {
        let part = start..start.saturating_add(each.max(1)).min(blocks.end);
        start = part.end;
        // Nodes first: a node that comes meanwhile is in its list and not here.
        let mut nodes: Vec<Place> = Vec::new();
        for block in part.clone() {
            graph.store.check_interrupts();
            let mut here = Vec::new();
            graph.live_on(block, |link, record| here.push((link, record.values())))?;
            nodes.room(here.len())?;
            nodes.extend(here.into_iter().map(|(link, values)| {
                let signature = graph.space.signatures(&values)[usize::from(column)];
                (link.node, link.generation, signature)
            }));
        }
        let mut listed: Vec<Place> = Vec::new();
        for list in 0..LISTS as u8 {
            let before = listed.len();
            let again = |listed: &mut Vec<Place>| listed.truncate(before);
            walk(graph, ListId { column, list }, &mut listed, again, |listed, _, page| {
                let is_here = |entry: &ListEntry| {
                    let block = graph.space.layout.block(entry.link.node);
                    part.contains(&block) && entry.signature >> 9 == u16::from(list)
                };
                for ListEntry { link, signature } in list_page::entries(page).filter(is_here) {
                    listed.try_push((link.node, link.generation, signature))?;
                }
                Ok(true)
            })?;
        }
        listed.sort_unstable();
        nodes.retain(|node| listed.binary_search(node).is_err());
        for (node, generation, _) in nodes {
            // VACUUM may have removed it.
            if graph.read(node, |record| Ok(record.is(generation, 0)))? {
                f(Link { node, generation })?;
            }
        }
    }
    Ok(())
}

/// Adds the nodes that an interrupted insertion has left out of their lists. About `memory` bytes
/// are used at a time.
///
/// Locks: one page at a time, or the meta page and a new page; on return: none.
pub fn complete<S: PageStore>(graph: &Graph<'_, S>, memory: usize) -> Result<()> {
    for column in listed(graph) {
        missing(graph, column, memory, |link| {
            let values = graph.read(link.node, |record| Ok(record.values()))?;
            match places(graph, &values).find(|(id, _)| id.column == column) {
                Some((id, signature)) => add_to(graph, id, &ListEntry { link, signature }),
                None => Ok(()),
            }
        })?;
    }
    Ok(())
}
