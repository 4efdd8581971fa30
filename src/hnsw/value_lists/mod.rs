//! Value lists: the nodes with a value of a filter column, so that conditions that few nodes match
//! are answered from them ([`crate::storage::list_page`] has the pages).
//!
//! A list has an entry for every live node with its values from the moment at which the node's row
//! may be visible: a new node is added to its lists as part of its insertion, before it has links.
//! A record with links is thus listed, and VACUUM adds one without links to its lists before it
//! links it. A node has an entry in each list of the elements of a set ([`crate::filter::sets`]).
//! Entries of nodes that VACUUM frees go in the same VACUUM; until then, and after a
//! crash in between, the generation tells them from a later node in the same slot, and the record's
//! own values decide. Two entries of one node do no harm.
//!
//! An entry of a coded index has the code of the node's vector relative to the centroid: a scan
//! estimates the distances of all nodes that a list names, and reads the nearest
//! ([`matching`]). VACUUM unlinks empty pages, and makes node pages of them ([`upkeep`]). A reader
//! that comes to such a page begins again.

pub(in crate::hnsw) mod matching;
pub mod upkeep;

use crate::error::Result;
use crate::fallible::Room;
use crate::hnsw::Graph;
use crate::hnsw::space::Point;
use crate::storage::format::META_BLOCK;
use crate::storage::list_page::{self, Code, ListEntry, ListId};
use crate::storage::{BlockNumber, Edit, Link, PageStore, corrupted, page};

/// Beginnings of a walk over one list, beyond which the index counts as corrupted.
const RETRIES: usize = 1000;

/// Adds a new node to the lists of its values.
///
/// Locks: one page at a time, or a page of the directory and a new page; on return: none.
pub(in crate::hnsw) fn add<S: PageStore>(graph: &Graph<'_, S>, link: Link, point: &Point) -> Result<()> {
    add_where(graph, link, point, |_| true)
}

/// As [`add`], to the lists for which `is_wanted` is true.
fn add_where<S: PageStore>(
    graph: &Graph<'_, S>,
    link: Link,
    point: &Point,
    is_wanted: impl Fn(ListId) -> bool,
) -> Result<()> {
    let signatures = graph.space.signatures(&point.values);
    let mut words = Vec::new();
    words.room(graph.space.layout.code_words())?;
    words.resize(graph.space.layout.code_words(), 0);
    let factors = graph.space.encode_alone(point, &mut words);
    let code = Code { words: &words, factors };
    for column in listed(graph) {
        for &list in graph.space.lists_of(&point.values, column).as_slice() {
            let id = ListId { column, list };
            if !is_wanted(id) {
                continue;
            }
            add_to(graph, id, &ListEntry { link, signatures }, &code)?;
        }
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
    let is_unlinked = graph.read(link.node, |record| {
        Ok(record.is(link.generation, 0) && record.link_count() == 0)
    })?;
    let mut point = Point::default();
    match is_unlinked && graph.read_point(link, 0, &mut point)?.is_some() {
        true => add(graph, link, &point),
        false => Ok(()),
    }
}

/// The columns that have lists: all filter columns.
pub(in crate::hnsw) fn listed<S: PageStore>(graph: &Graph<'_, S>) -> impl Iterator<Item = u8> + use<S> {
    0..graph.space.columns().len() as u8
}

fn add_to<S: PageStore>(graph: &Graph<'_, S>, id: ListId, entry: &ListEntry, code: &Code<'_>) -> Result<()> {
    let (layout, directory) = (&graph.space.lists, &graph.space.directory);
    for _ in 0..RETRIES {
        let first = directory.read(graph.store, id)?;
        let mut pages = 0;
        if first != 0 {
            let added = graph.store.write(first, |page| {
                if !list_page::is_of(page, first, id, layout)? {
                    return Ok(Edit::Unchanged(None)); // VACUUM has unlinked it: it is not the first any more.
                }
                pages = list_page::pages(page);
                Ok(match list_page::push(page, layout, entry, code) {
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
        let added = graph.store.write_two(directory.block(id), block, |names, new| {
            let is_first = directory.get(names, id)? == first;
            if !is_first || !page::is_new(new) {
                return Ok(Edit::Unchanged(false));
            }
            list_page::init(new, id, layout, first, pages.saturating_add(1));
            directory.set(names, id, block);
            Ok(Edit::Changed(list_page::push(new, layout, entry, code)))
        })?;
        if added {
            return Ok(());
        }
        crate::storage::store::init(graph.store, &graph.space.layout, block)?;
        graph.store.note_free(block);
        graph.store.check_interrupts();
    }
    corrupted(
        directory.block(id),
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
        let mut block = graph.space.directory.read(graph.store, id)?;
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
                if !list_page::is_of(page, block, id, &graph.space.lists)? {
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
        graph.space.directory.block(id),
        "a list of a filter column leads to pages that are not its own",
    )
}
