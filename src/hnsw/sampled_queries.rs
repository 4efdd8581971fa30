//! Sampled queries: a ring of pages of the index ([`crate::storage::query_page`] has the pages).
//!
//! A query that another session's change gets in the way of is dropped: it is one of many. Every
//! change is of a query page, or of one and the meta page, so a crash leaves all of it or nothing.

use std::cmp::Reverse;

use crate::error::Result;
use crate::hnsw::Graph;
use crate::storage::format::META_BLOCK;
use crate::storage::query_page::{self, MOST_LEN, Ring, Sampled};
use crate::storage::{BlockNumber, Edit, PageStore, corrupted, meta, node_page, page};

/// Removals of pages, beyond which the index counts as corrupted: others may add some meanwhile.
const REMOVALS: usize = 10 * query_page::MOST_PAGES;

/// The outcome of [`add`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// The query was added, or dropped.
    Done,
    /// The ring has to have another page first ([`add_page`]).
    WithoutPage,
}

fn ring_of<S: PageStore>(graph: &Graph<'_, S>) -> Result<(Ring, Option<BlockNumber>)> {
    graph.store.read(META_BLOCK, |page| {
        let ring = query_page::ring(page)?;
        Ok((ring, query_page::block(page, ring.current)?))
    })
}

/// Adds a query to the current page, or to the next one, which loses its own; drops one that is
/// longer than a page.
///
/// Locks: the current page, exclusive, or the meta page and the next one; on return: none.
pub fn add<S: PageStore>(graph: &Graph<'_, S>, at: i64, value: &[u8]) -> Result<Added> {
    if value.len() > MOST_LEN {
        return Ok(Added::Done);
    }
    let stride = graph.space.layout.stride;
    let (ring, current) = ring_of(graph)?;
    let Some(current) = current else {
        return Ok(Added::WithoutPage);
    };
    let is_full = graph.store.write(current, |page| {
        if !query_page::is_of(page, current, ring.current, stride)? {
            return Ok(Edit::Unchanged(None)); // Somebody has emptied the ring.
        }
        Ok(match query_page::push(page, at, value) {
            true => Edit::Changed(None),
            false => Edit::Unchanged(Some(query_page::count(page))),
        })
    })?;
    let Some(count) = is_full else { return Ok(Added::Done) };
    if ring.pages < query_page::pages_for(count) {
        return Ok(Added::WithoutPage);
    }
    let next = (ring.current + 1) % ring.pages;
    let Some(block) = graph.store.read(META_BLOCK, |page| query_page::block(page, next))? else {
        return Ok(Added::Done);
    };
    graph.store.write_two(META_BLOCK, block, |meta, page| {
        if query_page::ring(meta)? != ring || !query_page::is_of(page, block, next, stride)? {
            return Ok(Edit::Unchanged(()));
        }
        query_page::init(page, next, stride);
        query_page::push(page, at, value);
        query_page::set_ring(meta, Ring { current: next, ..ring });
        Ok(Edit::Changed(()))
    })?;
    Ok(Added::Done)
}

/// Adds a page with a query to the ring.
///
/// Locks: the relation's extension lock, then the meta page and the new one, exclusive; on return:
/// none.
pub fn add_page<S: PageStore>(graph: &Graph<'_, S>, at: i64, value: &[u8]) -> Result<()> {
    let layout = &graph.space.layout;
    let (ring, _) = ring_of(graph)?;
    if ring.pages == query_page::MOST_PAGES || value.len() > MOST_LEN {
        return Ok(());
    }
    let block = graph.store.extend()?;
    let is_added = graph.store.write_two(META_BLOCK, block, |meta, page| {
        if query_page::ring(meta)? != ring || !page::is_new(page) {
            return Ok(Edit::Unchanged(false));
        }
        let pages = ring.pages + 1;
        query_page::init(page, ring.pages, layout.stride);
        query_page::push(page, at, value);
        query_page::set_ring(
            meta,
            Ring {
                pages,
                current: ring.pages,
            },
        );
        query_page::set_block(meta, ring.pages, block);
        Ok(Edit::Changed(true))
    })?;
    if !is_added {
        crate::storage::store::init(graph.store, layout, block)?;
        graph.store.note_free(block);
    }
    Ok(())
}

/// All sampled queries, the newest first.
///
/// Locks: one page at a time, shared; on return: none.
pub fn all<S: PageStore>(graph: &Graph<'_, S>) -> Result<Vec<Sampled>> {
    let mut all = Vec::new();
    for place in 0..query_page::MOST_PAGES {
        graph.store.check_interrupts();
        let Some(block) = graph.store.read(META_BLOCK, |page| query_page::block(page, place))? else {
            break;
        };
        graph.store.read(block, |page| {
            match query_page::is_of(page, block, place, graph.space.layout.stride)? {
                true => query_page::read(page, &mut all),
                false => Ok(()), // Somebody has emptied the ring.
            }
        })?;
    }
    all.sort_by_key(|sampled: &Sampled| Reverse(sampled.at));
    Ok(all)
}

/// Forgets all sampled queries, and makes node pages of their pages. Returns their number.
///
/// Locks: the meta page and one other, exclusive; on return: none.
pub fn forget<S: PageStore>(graph: &Graph<'_, S>) -> Result<usize> {
    let layout = &graph.space.layout;
    let mut forgotten = 0;
    for _ in 0..REMOVALS {
        graph.store.check_interrupts();
        let generation = graph.store.read(META_BLOCK, meta::read_first_generation)?;
        let last = graph.store.read(META_BLOCK, |page| {
            let ring = query_page::ring(page)?;
            let block = query_page::block(page, ring.pages.wrapping_sub(1))?;
            Ok(block.map(|block| (ring, block)))
        })?;
        let Some((ring, block)) = last else {
            return Ok(forgotten);
        };
        let place = ring.pages - 1;
        if block < layout.first_block {
            return corrupted(META_BLOCK, "the ring of sampled queries names a page of others");
        }
        let gone = graph.store.write_two(META_BLOCK, block, |meta, page| {
            if query_page::ring(meta)? != ring || query_page::block(meta, place)? != Some(block) {
                return Ok(Edit::Unchanged(None));
            }
            if !query_page::is_of(page, block, place, layout.stride)? {
                return corrupted(block, "the ring of sampled queries leads to a page that is not its own");
            }
            let count = query_page::count(page);
            node_page::init(page, layout, generation);
            query_page::set_block(meta, place, 0);
            let current = ring.current.min(place.saturating_sub(1));
            query_page::set_ring(meta, Ring { pages: place, current });
            Ok(Edit::Changed(Some(count)))
        })?;
        if let Some(count) = gone {
            forgotten += count;
            graph.store.note_free(block);
        }
    }
    corrupted(META_BLOCK, "the ring of sampled queries has no end")
}

/// Checks the pages of the ring.
///
/// Locks: as [`all`].
pub(in crate::hnsw) fn check<S: PageStore>(graph: &Graph<'_, S>) -> Result<()> {
    let stride = graph.space.layout.stride;
    let block_of = |place| graph.store.read(META_BLOCK, |page| query_page::block(page, place));
    for place in 0..query_page::MOST_PAGES {
        graph.store.check_interrupts();
        let Some(block) = block_of(place)? else { break };
        let is_own = graph
            .store
            .read(block, |page| query_page::is_of(page, block, place, stride))?;
        // Somebody may have emptied the ring in between.
        if !is_own && block_of(place)? == Some(block) {
            return corrupted(block, "the ring of sampled queries leads to a page that is not its own");
        }
    }
    Ok(())
}
