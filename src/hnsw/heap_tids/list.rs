//! Chains of TID extensions: of nodes with more rows than their level-0 records hold, and of the
//! rows of each kind without a place in the graph.
//!
//! The newest extension is the first, and only the first gets TIDs. An extension is added in front
//! together with the change of the chain's head; VACUUM unlinks an extension without TIDs, wherever
//! it is, together with the change of its predecessor, and frees it. So every extension that names
//! a chain by its state and owner is in the chain, and the next of an extension stays behind it
//! until it is unlinked.
//!
//! A scan goes from one extension to the next without a lock in between. VACUUM may unlink the next
//! one meanwhile, and its slot may be used again, even for the same chain: then it is a new first
//! extension, which leads to extensions read before. [`ChainReader`] continues behind the last
//! extension that is still linked. All that it returned is before that one, so no row is returned
//! twice; and no row that a snapshot sees is left out, because its extension is not empty.

use crate::error::{Error, Result};
use crate::hnsw::Graph;
use crate::hnsw::node_set::NodeSet;
use crate::storage::format::{META_BLOCK, Unplaced};
use crate::storage::meta;
use crate::storage::node_page::NodePageMut;
use crate::storage::page::{self, Page};
use crate::storage::record::{Record, RecordMut, State};
use crate::storage::store::target_block;
use crate::storage::{BlockNumber, Edit, HeapTid, Layout, Link, NodeRef, PageStore, corrupted};

/// Restarts of a chain from its start, beyond which it counts as damaged.
const RESTARTS: usize = 1000;

/// The head of a chain, which refers to its first extension.
#[derive(Debug, Clone, Copy)]
pub(in crate::hnsw) enum Head {
    /// The level-0 record of a node.
    Node(Link),
    /// The meta page.
    Meta(Unplaced),
}

impl Head {
    /// The owner that the chain's extensions name.
    pub(in crate::hnsw) fn owner(self) -> NodeRef {
        match self {
            Head::Node(at) => at.node,
            Head::Meta(kind) => kind.owner(),
        }
    }

    fn block(self, layout: &Layout) -> BlockNumber {
        match self {
            Head::Node(at) => layout.block(at.node),
            Head::Meta(_) => META_BLOCK,
        }
    }
}

/// The pages of two blocks under change, which may be the same one.
pub(in crate::hnsw) struct Pages<'a> {
    layout: &'a Layout,
    first: (BlockNumber, &'a mut Page),
    second: Option<(BlockNumber, &'a mut Page)>,
}

impl Pages<'_> {
    fn page(&mut self, block: BlockNumber) -> &mut Page {
        match &mut self.second {
            Some((second, page)) if *second == block => page,
            _ => self.first.1,
        }
    }

    pub(in crate::hnsw) fn nodes(&mut self, block: BlockNumber) -> Result<NodePageMut<'_>> {
        let layout = self.layout;
        NodePageMut::new(self.page(block), block, layout)
    }

    /// Whether the second page is no node page: never initialised, or one of other contents.
    fn second_has_no_slots(&self) -> bool {
        let has_none = |page: &Page| page::is_new(page) || page::kind_without_slots(page).is_some();
        self.second.as_ref().is_some_and(|(_, page)| has_none(page))
    }

    /// The first extension of a chain, if its head is still live.
    fn first_of(&mut self, head: Head) -> Result<Option<NodeRef>> {
        let layout = self.layout;
        match head {
            Head::Node(at) => {
                let mut nodes = self.nodes(layout.block(at.node))?;
                let record = nodes.record(layout.slot(at.node))?;
                Ok(first_of(&record.view(), at))
            }
            Head::Meta(kind) => meta::read_unplaced(self.page(META_BLOCK), kind).map(Some),
        }
    }

    fn set_first(&mut self, head: Head, first: NodeRef) -> Result<()> {
        let layout = self.layout;
        match head {
            Head::Node(at) => {
                let mut nodes = self.nodes(layout.block(at.node))?;
                nodes.record(layout.slot(at.node))?.set_below(first);
            }
            Head::Meta(kind) => meta::set_unplaced(self.page(META_BLOCK), kind, first),
        }
        Ok(())
    }
}

/// The first extension of a node, if a record is the node's live level-0 record.
fn first_of(record: &Record<'_>, at: Link) -> Option<NodeRef> {
    let is_live = record.is(at.generation, 0) && record.state() == State::Node;
    is_live.then(|| record.below())
}

/// Whether a record is an extension of an owner's chain.
fn is_extension_of(record: &Record<'_>, owner: NodeRef) -> bool {
    record.state() == State::Extension && record.owner() == owner
}

/// Adds as many TIDs as there is room for; says how many.
fn push_tids(record: &mut RecordMut<'_>, tids: &[HeapTid]) -> Result<usize> {
    let mut count = 0;
    for &tid in tids {
        if !record.view().has_room_for_tid() {
            break;
        }
        record.push_tid(tid)?;
        count += 1;
    }
    Ok(count)
}

/// Outcome of adding TIDs.
pub(in crate::hnsw) enum Outcome {
    /// The node is not live any more.
    Gone,
    /// This number of TIDs was added.
    Added(usize),
    /// The chain has changed since it was read.
    Changed,
    /// There is no room.
    NoRoom,
}

/// Outcome of unlinking an extension.
enum Unlinked {
    Done,
    /// The extension has TIDs by now.
    InUse,
    /// The extension is not behind the expected one.
    Moved,
}

/// Changes the pages of two blocks, which may be the same one.
///
/// Locks: the pages, exclusive, in block order, while `f` runs; on return: none.
pub(in crate::hnsw) fn write_pair<S: PageStore, T>(
    graph: &Graph<'_, S>,
    first: BlockNumber,
    second: BlockNumber,
    f: impl FnOnce(&mut Pages<'_>) -> Result<Edit<T>>,
) -> Result<T> {
    let layout = &graph.space.layout;
    if first == second {
        return graph.store.write(first, |page| {
            f(&mut Pages {
                layout,
                first: (first, page),
                second: None,
            })
        });
    }
    graph.store.write_two(first, second, |a, b| {
        f(&mut Pages {
            layout,
            first: (first, a),
            second: Some((second, b)),
        })
    })
}

/// The first extension of a chain; none if the chain is empty, or the node is gone.
pub(in crate::hnsw) fn first_extension<S: PageStore>(graph: &Graph<'_, S>, head: Head) -> Result<NodeRef> {
    match head {
        Head::Node(at) => graph.read(at.node, |record| Ok(first_of(&record, at).unwrap_or(NodeRef::NONE))),
        Head::Meta(kind) => graph.store.read(META_BLOCK, |page| meta::read_unplaced(page, kind)),
    }
}

/// The reason for which a chain does not begin with `first`, if it does not.
fn is_changed(pages: &mut Pages<'_>, head: Head, first: NodeRef) -> Result<Option<Outcome>> {
    Ok(match pages.first_of(head)? {
        None => Some(Outcome::Gone),
        Some(now) if now != first => Some(Outcome::Changed),
        Some(_) => None,
    })
}

/// Adds TIDs to the first extension of a node's chain, as many as it has room for.
///
/// Locks: the pages of the node and of the extension, exclusive; on return: none.
pub(in crate::hnsw) fn fill_first_of<S: PageStore>(
    graph: &Graph<'_, S>,
    at: Link,
    extension: NodeRef,
    tids: &[HeapTid],
) -> Result<Outcome> {
    let layout = &graph.space.layout;
    let (head, block) = (Head::Node(at), layout.block(extension));
    write_pair(graph, head.block(layout), block, |pages| {
        if let Some(changed) = is_changed(pages, head, extension)? {
            return Ok(Edit::Unchanged(changed));
        }
        let mut nodes = pages.nodes(block)?;
        let mut record = nodes.record(layout.slot(extension))?;
        if !is_extension_of(&record.view(), at.node) {
            return corrupted(block, "a node's TID extension is not its own");
        }
        Ok(match push_tids(&mut record, tids)? {
            0 => Edit::Unchanged(Outcome::NoRoom),
            count => Edit::Changed(Outcome::Added(count)),
        })
    })
}

/// Adds TIDs to an extension of a chain of the meta page, as many as it has room for. Such an
/// extension is in its chain, so no other page has to be locked.
///
/// Locks: the extension's page, exclusive; on return: none.
pub(in crate::hnsw) fn fill<S: PageStore>(
    graph: &Graph<'_, S>,
    kind: Unplaced,
    extension: NodeRef,
    tids: &[HeapTid],
) -> Result<Outcome> {
    graph.write(extension, |nodes, slot| {
        let mut record = nodes.record(slot)?;
        if !is_extension_of(&record.view(), kind.owner()) {
            return Ok(Edit::Unchanged(Outcome::Changed));
        }
        Ok(match push_tids(&mut record, tids)? {
            0 => Edit::Unchanged(Outcome::NoRoom),
            count => Edit::Changed(Outcome::Added(count)),
        })
    })
}

/// Adds a new extension in front of `first`, with as many of the TIDs as it takes.
///
/// Locks: the pages of the head and of the extension, exclusive; on return: none.
pub(in crate::hnsw) fn add_extension<S: PageStore>(
    graph: &Graph<'_, S>,
    head: Head,
    first: NodeRef,
    tids: &[HeapTid],
) -> Result<Outcome> {
    let layout = &graph.space.layout;
    let mut full = None;
    loop {
        let block = target_block(graph.store, layout, full)?;
        let added = write_pair(graph, head.block(layout), block, |pages| {
            if let Some(changed) = is_changed(pages, head, first)? {
                return Ok(Edit::Unchanged(changed));
            }
            if pages.second_has_no_slots() {
                return Ok(Edit::Unchanged(Outcome::NoRoom));
            }
            let mut nodes = pages.nodes(block)?;
            let Some(slot) = nodes.free_slot()? else {
                return Ok(Edit::Unchanged(Outcome::NoRoom));
            };
            let extension = nodes.occupy(slot, State::Extension, 0, head.owner(), first)?;
            let count = push_tids(&mut nodes.record(slot)?, tids)?;
            pages.set_first(head, extension.node)?;
            Ok(Edit::Changed(Outcome::Added(count)))
        })?;
        match added {
            Outcome::NoRoom => full = Some(block),
            added => {
                if full.is_some() {
                    graph.store.note_free(block); // A new target: its other slots are for everybody.
                }
                return Ok(added);
            }
        }
        graph.store.check_interrupts();
    }
}

/// Unlinks and frees the extensions of a chain that have no TIDs, while no other session unlinks
/// any; returns their number. Ends early where the chain is damaged.
///
/// Locks: the pages of an extension and of its predecessor, exclusive; on return: none.
pub(in crate::hnsw) fn drop_empty_extensions<S: PageStore>(graph: &Graph<'_, S>, head: Head) -> Result<u64> {
    let mut freed = 0;
    let layout = &graph.space.layout;
    let mut met = NodeSet::default();
    let mut before = None;
    let mut next = first_extension(graph, head)?;
    while let Some(extension) = next.some() {
        graph.store.check_interrupts();
        if !met.insert(extension)? || !graph.is_node_block(extension) {
            return Ok(freed);
        }
        let read = graph.read(extension, |record| {
            let is_its = is_extension_of(&record, head.owner());
            Ok(is_its.then(|| (record.below(), record.tid_count() == 0)))
        })?;
        let Some((after, is_empty)) = read else {
            return Ok(freed);
        };
        let unlinked = match is_empty {
            true => unlink(graph, head, before, extension)?,
            false => Unlinked::InUse,
        };
        match unlinked {
            Unlinked::Done => {
                freed += 1;
                graph.store.note_free(layout.block(extension));
                met.remove(extension);
                next = after;
            }
            Unlinked::InUse => (before, next) = (Some(extension), after),
            // Others were added before the first one.
            Unlinked::Moved if before.is_none() => {
                met = NodeSet::default();
                next = first_extension(graph, head)?;
            }
            Unlinked::Moved => return Ok(freed),
        }
    }
    Ok(freed)
}

/// Unlinks and frees an extension without TIDs that is behind another, or the first of its chain.
///
/// Locks: the pages of the extension and of its predecessor, exclusive; on return: none.
fn unlink<S: PageStore>(
    graph: &Graph<'_, S>,
    head: Head,
    before: Option<NodeRef>,
    extension: NodeRef,
) -> Result<Unlinked> {
    let layout = &graph.space.layout;
    let block = layout.block(extension);
    let block_before = before.map_or(head.block(layout), |before| layout.block(before));
    write_pair(graph, block_before, block, |pages| {
        let next = match before {
            None => pages.first_of(head)?,
            Some(before) => {
                let mut nodes = pages.nodes(block_before)?;
                let record = nodes.record(layout.slot(before))?;
                let is_its = is_extension_of(&record.view(), head.owner());
                is_its.then(|| record.view().below())
            }
        };
        if next != Some(extension) {
            return Ok(Edit::Unchanged(Unlinked::Moved));
        }
        let mut nodes = pages.nodes(block)?;
        let record = nodes.record(layout.slot(extension))?;
        let view = record.view();
        if !is_extension_of(&view, head.owner()) || view.tid_count() > 0 {
            return Ok(Edit::Unchanged(Unlinked::InUse));
        }
        let after = view.below();
        nodes.free(layout.slot(extension))?;
        match before {
            None => pages.set_first(head, after)?,
            Some(before) => pages.nodes(block_before)?.record(layout.slot(before))?.set_below(after),
        }
        Ok(Edit::Changed(Unlinked::Done))
    })
}

/// A reader of the extensions of a chain, one after the other, while other sessions change it.
pub(in crate::hnsw) struct ChainReader {
    head: Head,
    /// The next extension; none before the first was read.
    next: Option<NodeRef>,
    /// Extensions read, each behind the one before it.
    path: Vec<Link>,
    /// Extensions read, including the ones that have gone since.
    met: NodeSet,
    restarts: usize,
}

impl ChainReader {
    pub(in crate::hnsw) fn new(head: Head) -> ChainReader {
        ChainReader {
            head,
            next: None,
            path: Vec::new(),
            met: NodeSet::default(),
            restarts: 0,
        }
    }

    /// Passes `f` the next extension; says whether there was one.
    ///
    /// Locks: the extension's page, shared, while `f` runs; on return: none.
    pub(in crate::hnsw) fn read_next<S: PageStore>(
        &mut self,
        graph: &Graph<'_, S>,
        mut f: impl FnMut(NodeRef, &Record<'_>) -> Result<()>,
    ) -> Result<bool> {
        loop {
            let next = match self.next {
                Some(next) => next,
                None => first_extension(graph, self.head)?,
            };
            let Some(extension) = next.some() else {
                self.next = Some(NodeRef::NONE);
                return Ok(false);
            };
            graph.store.check_interrupts();
            self.path.try_reserve(1).map_err(|_| Error::OutOfMemory)?;
            if self.met.insert(extension)? {
                let read = graph.read(extension, |record| {
                    if !is_extension_of(&record, self.head.owner()) {
                        return Ok(None);
                    }
                    f(extension, &record)?;
                    Ok(Some((record.generation(), record.below())))
                })?;
                if let Some((generation, below)) = read {
                    self.path.push(Link {
                        node: extension,
                        generation,
                    });
                    self.next = Some(below);
                    return Ok(true);
                }
                self.met.remove(extension);
            }
            self.find_way_on(graph, extension)?;
        }
    }

    /// Returns to the last extension read that is still linked and has another next extension than
    /// before: than `missed`, or than one read after it, which were unlinked since. An extension
    /// that was read after its slot was reused, as the first of the chain, leads to the ones read
    /// before it, as if it were new. If the whole path is unchanged, the chain leads nowhere, or in
    /// a circle.
    fn find_way_on<S: PageStore>(&mut self, graph: &Graph<'_, S>, missed: NodeRef) -> Result<()> {
        let owner = self.head.owner();
        let (mut after, mut is_as_it_was) = (missed, !self.path.is_empty());
        for (i, last) in self.path.iter().enumerate().rev() {
            graph.store.check_interrupts();
            let below = graph.read(last.node, |record| {
                let is_same = is_extension_of(&record, owner) && record.generation() == last.generation;
                Ok(is_same.then(|| record.below()))
            })?;
            match below {
                Some(below) if below != after => {
                    self.path.truncate(i + 1);
                    self.next = Some(below);
                    return Ok(());
                }
                Some(_) => {}
                None => is_as_it_was = false,
            }
            after = last.node;
        }
        self.restarts += 1;
        if is_as_it_was || self.restarts > RESTARTS {
            return corrupted(
                graph.space.layout.block(missed),
                "the chain of TID extensions is broken",
            );
        }
        self.path.clear();
        self.met = NodeSet::default();
        self.next = None;
        Ok(())
    }
}
