//! HNSW (Malkov and Yashunin, arXiv 1603.09320) over a page store, independent of PostgreSQL.
//!
//! A node of level `l` is `l + 1` records, one on each level 0..=l, each with the vector and the
//! links of its level. A record refers to the record of its node one level down (`below`) and to
//! the level-0 record (`owner`). A search enters at the meta page's entry point, descends greedily,
//! and searches level 0 best-first.
//!
//! Invariants, also between the steps of an insert or a VACUUM, on a standby, and after a crash:
//! - A record is complete (vector, links, TIDs) before any link leads to it, and level-0 records
//!   come first, so that `below` always leads to an older record.
//! - Links are hints. A stale link (to a free or reused slot: the generation differs) is skipped; a
//!   missing link costs recall and never makes an answer wrong, because a record is judged by its
//!   own vector and its own TIDs.
//! - A dead node gets no TID and no link again; its slot is freed only after live nodes got other
//!   links in place of links to it.
//! - Pages are cut off from the end of the file only while no other session uses the index, and
//!   slots of pages added later begin with a generation that no slot there had.
//! - One page is locked at a time; two only where a TID extension and its predecessor change
//!   together, in block order.

pub mod calibrate;
pub mod check;
pub mod distance_bounds;
pub mod heap_tids;
pub mod indexed_value;
pub mod insert;
mod neighbors;
mod node_set;
pub mod order_key;
mod overflow_vectors;
pub mod sampled_queries;
pub mod scan;
pub mod search;
pub mod space;
pub mod stats;
mod tuning;
pub mod vacuum;
pub mod value_lists;

use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::storage::format::META_BLOCK;
use crate::storage::meta::{self, Borders, EntryPoint, Meta};
use crate::storage::node_page::{NodePage, NodePageMut};
use crate::storage::parameters::Parameters;
use crate::storage::record::{Record, State};
use crate::storage::{BlockNumber, Edit, Link, MOST_TOGETHER, NodeRef, PageStore, centroid, directions, page};

use overflow_vectors::Owner;
use space::{Learned, Point, Query, Space};

/// A graph in a page store: access to its records and its entry point. The operations on it are
/// functions of their modules.
pub struct Graph<'s, S> {
    store: &'s S,
    space: Arc<Space>,
}

/// Reads and checks all that the build of an index learned.
///
/// Locks: one page at a time, shared; on return: none.
fn read_learned<S: PageStore>(store: &S, parameters: &Parameters) -> Result<Learned> {
    Ok(Learned {
        centroid: centroid::read(store, parameters)?,
        directions: directions::read(store, parameters)?,
        borders: match parameters.borders {
            0 => Borders::default(),
            hash => store.read(META_BLOCK, |page| meta::read_borders(page, hash))?,
        },
    })
}

impl<'s, S: PageStore> Graph<'s, S> {
    /// Makes the graph of a new, empty index: the pages before its records. The parameters name the
    /// directions, and get the hashes of all else that was learned.
    pub fn create(store: &'s S, parameters: Parameters, learned: impl Into<Learned>) -> Result<Self> {
        let learned = learned.into();
        let parameters = Parameters {
            centroid: if learned.centroid.is_empty() {
                0
            } else {
                centroid::hash(&learned.centroid)
            },
            borders: meta::borders_hash(&learned.borders),
            ..parameters
        };
        debug_assert_eq!(usize::from(parameters.directions.count), learned.directions.count());
        let block = store.extend()?;
        debug_assert_eq!(block, META_BLOCK);
        store.write(META_BLOCK, |page| {
            meta::init(page, &parameters)?;
            meta::set_borders(page, &learned.borders);
            Ok(Edit::Changed(()))
        })?;
        centroid::write(store, &learned.centroid)?;
        directions::write(store, &parameters, &learned.directions)?;
        parameters.list_directory().write(store)?;
        Ok(Self::with(store, Arc::new(Space::new(parameters, learned)?)))
    }

    /// Opens the graph of an index.
    pub fn open(store: &'s S) -> Result<Self> {
        Ok(Self::open_read(store)?.0)
    }

    /// Opens the graph of an index; also returns what its meta page has.
    pub fn open_read(store: &'s S) -> Result<(Self, Meta)> {
        let meta = store.read(META_BLOCK, meta::read)?;
        let space = Space::shared(meta.parameters, || read_learned(store, &meta.parameters))?;
        Ok((Self::with(store, space), meta))
    }

    /// The graph of an index with a known space.
    pub fn with(store: &'s S, space: Arc<Space>) -> Self {
        Graph { store, space }
    }

    /// The pages.
    pub fn store(&self) -> &'s S {
        self.store
    }

    /// The space of the vectors.
    pub fn space(&self) -> &Arc<Space> {
        &self.space
    }

    /// The block of a record.
    pub fn block(&self, node: NodeRef) -> BlockNumber {
        self.space.layout.block(node)
    }

    /// The blocks that may hold records, as of now.
    fn node_blocks(&self) -> Result<Range<BlockNumber>> {
        Ok(self.space.layout.first_block..self.store.blocks()?)
    }

    /// Whether a reference is to a block of records.
    fn is_node_block(&self, node: NodeRef) -> bool {
        node != NodeRef::NONE && self.space.layout.block(node) >= self.space.layout.first_block
    }

    /// The entry point of searches.
    fn entry(&self) -> Result<Option<EntryPoint>> {
        self.store.read(META_BLOCK, meta::read_entry)
    }

    /// Reads a record.
    ///
    /// Locks: the record's page, shared, while `f` runs; on return: none.
    #[inline]
    fn read<T>(&self, node: NodeRef, f: impl FnOnce(Record<'_>) -> Result<T>) -> Result<T> {
        let block = self.space.layout.block(node);
        self.store.read(block, |page| {
            f(NodePage::new(page, block, &self.space.layout)?.record(self.space.layout.slot(node))?)
        })
    }

    /// As [`Graph::read`], for a record reached by links; see [`NodePage::visited`].
    #[inline]
    fn read_visited<T>(&self, node: NodeRef, f: impl FnOnce(Record<'_>) -> Result<T>) -> Result<T> {
        let block = self.space.layout.block(node);
        self.store.read(block, |page| {
            f(NodePage::visited(page, block, &self.space.layout)?.record(self.space.layout.slot(node))?)
        })
    }

    /// Reads a record, with its distance to a query.
    ///
    /// Locks: the record's page, shared, while `f` runs; the pages of overflow records before; on
    /// return: none.
    #[inline]
    fn read_distance<T>(
        &self,
        query: &Query,
        node: NodeRef,
        f: impl FnOnce(Record<'_>, f32) -> Result<T>,
    ) -> Result<T> {
        if self.space.layout.overflows == 0 {
            return self.read(node, |record| f(record, self.distance(query, &record)));
        }
        overflow_vectors::read_distance(self, query, node, f)
    }

    /// The distance to a vector that is entirely in its record.
    #[inline]
    fn distance(&self, query: &Query, record: &Record<'_>) -> f32 {
        self.space.distance(query, record.vector())
    }

    /// Reads a node's point if the link is not stale; returns the record's state then.
    ///
    /// Locks: one page at a time, shared; on return: none.
    fn read_point(&self, link: Link, level: u8, point: &mut Point) -> Result<Option<State>> {
        let read = self.read_visited(link.node, |record| {
            point.stored.clear();
            point.stored.extend_from_slice(record.vector());
            point.values = record.values();
            let owner = (self.space.layout.overflows > 0).then(|| Owner::of(&record, &self.space.layout));
            Ok(record.is(link.generation, level).then_some((record.state(), owner)))
        })?;
        let Some((state, owner)) = read else { return Ok(None) };
        if let Some(owner) = owner
            && !overflow_vectors::append(self, &owner, &mut point.stored)?
        {
            return Ok(None);
        }
        self.space.decode(&point.stored, &mut point.coordinates);
        Ok(Some(state))
    }

    /// Passes `f` every live, complete level-0 record of a page.
    ///
    /// Locks: the page, shared, while `f` runs; on return: none.
    fn live_on(&self, block: BlockNumber, mut f: impl FnMut(Link, &Record<'_>)) -> Result<()> {
        self.store.read(block, |page| {
            for record in NodePage::new(page, block, &self.space.layout)?.records() {
                let (node, record) = record?;
                if record.state() == State::Node && record.level() == 0 && record.is_complete() {
                    let generation = record.generation();
                    f(Link { node, generation }, &record);
                }
            }
            Ok(())
        })
    }

    /// The number of live nodes. Reads all pages.
    fn live_count(&self) -> Result<usize> {
        self.store.in_passing(|store| {
            let graph = Graph::with(store, Arc::clone(&self.space));
            let mut count = 0;
            for block in graph.node_blocks()? {
                store.check_interrupts();
                store.read_in_passing(block, |page| {
                    for record in NodePage::new(page, block, &graph.space.layout)?.records() {
                        let (_, record) = record?;
                        count += usize::from(record.state() == State::Node && record.level() == 0);
                    }
                    Ok(())
                })?;
            }
            Ok(count)
        })
    }

    /// Changes the page of a record; `f` also gets the record's slot.
    ///
    /// Locks: the record's page, exclusive, while `f` runs; on return: none.
    fn write<T>(&self, node: NodeRef, f: impl FnOnce(&mut NodePageMut<'_>, u32) -> Result<Edit<T>>) -> Result<T> {
        let block = self.space.layout.block(node);
        self.store.write(block, |page| {
            f(
                &mut NodePageMut::new(page, block, &self.space.layout)?,
                self.space.layout.slot(node),
            )
        })
    }

    /// Changes the records that `items` name, a few pages at a time; `f` also gets a record's slot,
    /// and says whether it changed the record. The items are in the order of their nodes.
    ///
    /// Locks: as [`PageStore::write_each`], while `f` runs; on return: none.
    fn write_each<I>(
        &self,
        items: &[I],
        node: impl Fn(&I) -> NodeRef,
        mut f: impl FnMut(&mut NodePageMut<'_>, u32, &I) -> Result<bool>,
    ) -> Result<()> {
        let layout = &self.space.layout;
        let block = |item: &I| layout.block(node(item));
        let mut pages = items.chunk_by(|a, b| block(a) == block(b));
        loop {
            let together: Vec<&[I]> = pages.by_ref().take(MOST_TOGETHER).collect();
            if together.is_empty() {
                return Ok(());
            }
            for next in pages.clone().take(MOST_TOGETHER) {
                self.prefetch_to_change(node(&next[0]));
            }
            let blocks: Vec<BlockNumber> = together.iter().map(|items| block(&items[0])).collect();
            self.store.write_each(&blocks, |i, page| {
                let mut nodes = NodePageMut::new(page, blocks[i], layout)?;
                let mut is_changed = false;
                for item in together[i] {
                    is_changed |= f(&mut nodes, layout.slot(node(item)), item)?;
                }
                Ok(if is_changed {
                    Edit::Changed(())
                } else {
                    Edit::Unchanged(())
                })
            })?;
        }
    }

    /// Hints that a record will be read soon.
    #[inline]
    fn prefetch(&self, node: NodeRef) {
        self.prefetch_start(node, self.space.layout.visited_len());
    }

    /// Hints that the first bytes of a record will be read soon.
    #[inline]
    fn prefetch_start(&self, node: NodeRef, len: usize) {
        let layout = &self.space.layout;
        self.store
            .prefetch(layout.block(node), layout.offset(layout.slot(node)), len);
    }

    /// Hints that the vector of a record will be read soon.
    fn prefetch_vector(&self, node: NodeRef) {
        let layout = &self.space.layout;
        let at = layout.offset(layout.slot(node));
        let vector = layout.vector_range();
        self.prefetch_start(node, 1);
        self.store.prefetch(layout.block(node), at + vector.start, vector.len());
    }

    /// Hints that a record will be changed soon, before which its whole page is checked.
    fn prefetch_to_change(&self, node: NodeRef) {
        self.prefetch(node);
        self.store.prefetch(self.space.layout.block(node), page::SPECIAL, 1);
    }

    /// Hints that a record on a pinned page will be read soon.
    #[inline]
    fn hint(&self, pin: &S::Pin<'_>, node: NodeRef) {
        let layout = &self.space.layout;
        self.store.hint(pin, 0, 1);
        self.store
            .hint(pin, layout.offset(layout.slot(node)), layout.visited_len());
    }
}

#[cfg(test)]
mod tests;
