//! HNSW (Malkov and Yashunin, arXiv 1603.09320) over a page store. Knows no PostgreSQL.
//!
//! A node of level `l` is `l + 1` records, one on each level 0..=l, each with the vector and the links of that level; the
//! records of a node are tied downwards (`below`) and to the level-0 record (`owner`). A search enters at the meta page's entry
//! record, walks down greedily, and searches level 0 best-first.
//!
//! What holds at any moment, also between the steps of an insert or a vacuum, on a standby, and after a crash:
//! - a record is complete (vector, links, TIDs) before anything points to it, and level-0 first, so that `below` always leads to
//!   a record that was there before;
//! - links are hints: a stale one (free or reused slot: the generation differs) is skipped, a missing one costs recall and never
//!   a wrong answer, because a record is judged by its own vector and its own TIDs;
//! - a dead node gets no TID and no link again; its slot is freed only after the live nodes were re-linked around it;
//! - one page is locked at a time, two only where a node and its TID extension change together, in block order.

pub mod insert;
pub mod level;
pub mod link;
pub mod reconnect;
pub mod repair;
pub mod scan;
pub mod search;
mod select;
mod tids;
mod visited;

use crate::distance::Kernel;
use crate::error::Result;
use crate::storage::meta::{self, EntryPoint, META_BLOCK, Parameters};
use crate::storage::record::{NodePage, NodePageMut, Record, State};
use crate::storage::{BlockNumber, Edit, Layout, Link, NodeRef, PageStore, page};

/// A graph in a page store: what every operation on it needs.
pub struct Graph<'s, S> {
    store: &'s S,
    layout: Layout,
    kernel: Kernel,
    parameters: Parameters,
}

impl<'s, S: PageStore> Graph<'s, S> {
    /// Makes the graph of a new, empty index: its meta page.
    pub fn create(store: &'s S, parameters: Parameters) -> Result<Self> {
        let block = store.extend()?;
        debug_assert_eq!(block, META_BLOCK);
        store.write(META_BLOCK, |page| meta::init(page, &parameters).map(Edit::Changed))?;
        Self::with(store, parameters)
    }

    /// Opens the graph of an index.
    pub fn open(store: &'s S) -> Result<Self> {
        let meta = store.read(META_BLOCK, meta::read)?;
        Self::with(store, meta.parameters)
    }

    /// The graph with known parameters.
    pub fn with(store: &'s S, parameters: Parameters) -> Result<Self> {
        let layout = Layout::plan(parameters.dimensions as usize, usize::from(parameters.m))?;
        Ok(Graph {
            store,
            layout,
            kernel: parameters.metric.kernel(),
            parameters,
        })
    }

    /// What the index is.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    /// Where a search enters.
    fn entry(&self) -> Result<Option<EntryPoint>> {
        self.store.read(META_BLOCK, meta::read_entry)
    }

    /// Reads a record under its page's share lock.
    #[inline]
    fn read<T>(&self, node: NodeRef, f: impl FnOnce(Record<'_>) -> Result<T>) -> Result<T> {
        let block = self.layout.block(node);
        self.store.read(block, |page| {
            f(NodePage::new(page, block, &self.layout)?.record(self.layout.slot(node))?)
        })
    }

    /// Shows `f` every live level-0 record of a page, under the page's share lock.
    fn live_on(&self, block: BlockNumber, mut f: impl FnMut(Link, &Record<'_>)) -> Result<()> {
        self.store.read(block, |page| {
            if page::is_new(page) {
                return Ok(());
            }
            for record in NodePage::new(page, block, &self.layout)?.records() {
                let (node, record) = record?;
                if record.state() == State::Node && record.level() == 0 {
                    let generation = record.generation();
                    f(Link { node, generation }, &record);
                }
            }
            Ok(())
        })
    }

    /// Changes the page of a record under its exclusive lock; `f` also gets the record's slot.
    fn write<T>(&self, node: NodeRef, f: impl FnOnce(&mut NodePageMut<'_>, u32) -> Result<Edit<T>>) -> Result<T> {
        let block = self.layout.block(node);
        self.store.write(block, |page| {
            f(
                &mut NodePageMut::new(page, block, &self.layout)?,
                self.layout.slot(node),
            )
        })
    }

    /// Hints that a record is read soon.
    #[inline]
    fn prefetch(&self, node: NodeRef) {
        self.store.prefetch(
            self.layout.block(node),
            self.layout.offset(self.layout.slot(node)),
            self.layout.stride,
        );
    }
}

#[cfg(test)]
mod tests;
