//! Pages that a search requests ahead of its reads, while pages that it reads are not in memory.
//!
//! A search visits one record after another, so each page that is not in memory costs a wait. The
//! records that it visits next are mostly known: the nearest of a queue, or the rest of a list.
//! Their pages are requested together, as many as the store says, and are on the way while the
//! search waits for the first. Each page is requested once a search. A search whose pages are in
//! memory pays a comparison a visit.

use super::visited_set::VisitedSet;
use crate::error::Result;
use crate::hnsw::Graph;
use crate::storage::{NodeRef, PageStore};

/// The pages that a search has requested.
#[derive(Default)]
pub(in crate::hnsw) struct Requests {
    /// The first record of each page; `None` before the first request of a search.
    pages: Option<VisitedSet>,
    /// A set of an earlier search, for its memory.
    spare: Option<VisitedSet>,
}

impl Requests {
    /// Forgets all pages.
    pub(super) fn reset(&mut self) {
        if let Some(mut pages) = self.pages.take() {
            pages.clear();
            self.spare = Some(pages);
        }
    }

    /// Requests the pages of the records that are read after this one, in their order, as many as
    /// the store says. To be called before each read.
    #[inline]
    pub(in crate::hnsw) fn request_list<S: PageStore>(
        &mut self,
        graph: &Graph<'_, S>,
        soon: impl Iterator<Item = NodeRef>,
    ) -> Result<()> {
        match graph.store.input_depth() {
            0 => Ok(()),
            depth => self.request(graph, soon.take(depth)),
        }
    }

    /// Requests the pages of records, but for the pages that were requested before.
    #[inline(never)]
    pub(super) fn request<S: PageStore>(
        &mut self,
        graph: &Graph<'_, S>,
        mut soon: impl Iterator<Item = NodeRef>,
    ) -> Result<()> {
        let spare = &mut self.spare;
        let pages = self.pages.get_or_insert_with(|| spare.take().unwrap_or_default());
        soon.try_for_each(|node| {
            if pages.insert(first_of_page(graph, node))? {
                graph.store.request(graph.space.layout.block(node))?;
            }
            Ok(())
        })
    }

    /// Pins the page of a record that is read soon, and requests the page unless that was done.
    #[inline]
    pub(super) fn pin<'a, S: PageStore>(&self, graph: &Graph<'a, S>, node: NodeRef) -> Result<S::Pin<'a>> {
        let block = graph.space.layout.block(node);
        match &self.pages {
            Some(pages) if pages.contains(first_of_page(graph, node)) => graph.store.pin_requested(block),
            _ => graph.store.pin(block),
        }
    }

    /// Bytes of memory in use.
    pub(super) fn bytes(&self) -> usize {
        self.pages.as_ref().map_or(0, VisitedSet::bytes) + self.spare.as_ref().map_or(0, VisitedSet::bytes)
    }
}

/// The first record of the page of a record. A damaged link may name any.
#[inline]
fn first_of_page<S: PageStore>(graph: &Graph<'_, S>, node: NodeRef) -> NodeRef {
    NodeRef(node.0 - graph.space.layout.slot(node))
}
