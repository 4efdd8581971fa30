//! Bulk delete: VACUUM removes dead rows from a graph.
//!
//! A pass over the index takes dead TIDs out; a node without TIDs is marked dead and stays
//! navigable. A round of removal follows: upper records of dead nodes are marked dead too, every
//! live record that links to a dead one gets other links ([`crate::hnsw::vacuum::repair`]), the
//! entry point moves to a live node if it has to, and dead slots are freed, upper levels first, so
//! that a crash leaves dead level-0 records, which the next VACUUM finds. If memory does not
//! suffice for all dead nodes, rounds interrupt the pass. In the end, unreachable nodes are found
//! and linked ([`crate::hnsw::vacuum::reachability`]), and where few nodes are left, they select
//! neighbors anew.
//!
//! Readers and writers go on meanwhile: a link that they make to a dead node becomes a stale link.
//! A freed slot may be used at once, without waiting for sessions that still refer to it (as
//! nbtree's pages have to), because they know its old generation.

use std::collections::{BTreeMap, HashSet};

use crate::error::Result;
use crate::fallible::TryPush;
use crate::hnsw::Graph;
use crate::hnsw::heap_tids::list::{self, Head};
use crate::hnsw::insert::{Inserter, entry_point};
use crate::hnsw::node_set::{NodeSet, SlotBits};
use crate::hnsw::tuning::vacuum::{MOSTLY_DEAD, WALK_AFTER};
use crate::hnsw::vacuum::reachability;
use crate::hnsw::vacuum::repair::{Repair, Seen};
use crate::hnsw::value_lists;
use crate::storage::format::{META_BLOCK, Unplaced};
use crate::storage::meta::{self, EntryPoint, UNWALKED_UNIT};
use crate::storage::node_page::{NodePage, NodePageMut};
use crate::storage::record::{Record, State};
use crate::storage::{BlockNumber, Edit, HeapTid, Link, NodeRef, PageStore, corrupted, page, store};

/// Number of dead nodes after which memory use is checked again.
const LOOK_AFTER: u64 = 1024;

/// Divisor of the memory: the quotient remembers upper records.
const UPPER_SHARE: usize = 8;

/// Divisor of the memory: the quotient remembers broken records.
const REPAIR_SHARE: usize = 16;

/// Result of a bulk delete.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BulkDelete {
    /// TIDs taken out.
    pub tids_removed: u64,
    /// TIDs left.
    pub tids_left: u64,
    /// Dead nodes removed.
    pub nodes_removed: u64,
    /// Links to dead nodes that live records lost or replaced.
    pub links_repaired: u64,
    /// Unreachable nodes that were linked.
    pub reconnected: u64,
    /// Whether memory sufficed to look for unreachable nodes.
    pub was_walked: bool,
    /// Slots freed, slots of overflow records and TID extensions included.
    pub slots_freed: u64,
    /// Pages that had free slots before.
    pub pages_with_room: u64,
    /// Pages without records, pages emptied by this bulk delete included.
    pub pages_empty: u64,
    /// Pages emptied by this bulk delete.
    pub pages_emptied: u64,
}

/// A pass under way.
#[derive(Default)]
struct Pass {
    /// Level-0 records of dead nodes.
    dead: NodeSet,
    /// Owners of chains that have an extension without TIDs, and nodes that a crash left without
    /// TIDs.
    emptied: NodeSet,
    /// Level-0 records of nodes that the pass has seen, dead ones included.
    nodes: u64,
    /// The records of upper levels that the pass has seen, while there are few enough. A node that
    /// dies in this VACUUM has had all of its records since before the pass.
    upper: Vec<UpperRecord>,
    /// Whether there were more of them than are remembered.
    has_more_upper: bool,
    removal: BulkDelete,
}

/// A record of an upper level.
#[derive(Clone, Copy)]
struct UpperRecord {
    owner: NodeRef,
    link: Link,
    level: u8,
}

/// The upper levels in a round.
#[derive(Default)]
struct Upper {
    /// Records of dead nodes, by level.
    dead: BTreeMap<u8, NodeSet>,
    /// A live record on the highest level with live records.
    highest: Option<EntryPoint>,
}

/// Takes out every TID that `find_dead` returns, and the nodes left without TIDs. `find_dead` gets
/// every TID once, one page's at a time, and returns the dead ones. `memory` bounds the bytes that
/// are remembered of the index.
pub fn remove<S: PageStore>(
    graph: &Graph<'_, S>,
    memory: usize,
    mut find_dead: impl FnMut(&[HeapTid]) -> HashSet<HeapTid>,
) -> Result<BulkDelete> {
    let mut pass = Pass::default();
    let mut inserter = Inserter::default();
    let mut blocks = graph.node_blocks()?;
    let most_upper = memory / UPPER_SHARE / size_of::<UpperRecord>();
    let mut last_look = 0;
    let seen = loop {
        let is_done = loop {
            let Some(block) = blocks.next() else { break true };
            graph.store.check_interrupts();
            remove_tids(graph, block, &mut find_dead, most_upper, &mut pass)?;
            if pass.removal.nodes_removed >= last_look + LOOK_AFTER {
                last_look = pass.removal.nodes_removed;
                if pass.dead.bytes() + pass.emptied.bytes() > memory / 2 {
                    break false;
                }
            }
        };
        settle_chains(graph, &mut pass)?;
        let seen = if pass.dead.is_empty() {
            None
        } else {
            remove_nodes(graph, &mut inserter, &mut pass, memory, is_done)?
        };
        if is_done {
            break seen;
        }
        // Slots of this round's nodes may be used again, so that they are other records.
        (pass.upper, pass.has_more_upper) = (Vec::new(), true);
    };
    let mut removal = pass.removal;
    free_overflows(graph, &mut removal)?;
    if removal.nodes_removed > 0 {
        let live = pass.nodes.saturating_sub(removal.nodes_removed);
        let reconnected = connect(graph, &mut inserter, memory, live, removal.nodes_removed, seen)?;
        removal.was_walked = reconnected.is_some();
        removal.reconnected = reconnected.unwrap_or(0);
    }
    Ok(removal)
}

/// Gives nodes that cannot be reached links after a removal; returns their number, or none if
/// memory does not suffice to look for them. As long as few nodes were removed since the last walk
/// over all links, the pass of the repair tells enough.
fn connect<S: PageStore>(
    graph: &Graph<'_, S>,
    inserter: &mut Inserter,
    memory: usize,
    live: u64,
    removed: u64,
    seen: Option<Seen>,
) -> Result<Option<u64>> {
    let unwalked = graph.store.read(META_BLOCK, meta::read_unwalked)?;
    if let Some(seen) = &seen
        && u64::from(unwalked) * WALK_AFTER <= UNWALKED_UNIT
    {
        return Ok(Some(reachability::link_unlinked(graph, inserter, seen)?));
    }
    // A node has hardly more than one record.
    let anew = match MOSTLY_DEAD * live <= removed {
        true => 2 * live,
        false => 0,
    };
    let live = seen.map(|seen| seen.live);
    let reconnected = reachability::reconnect_and_select(graph, inserter, memory, live, anew)?;
    if reconnected.is_some() {
        graph.store.write(META_BLOCK, |page| {
            meta::set_unwalked(page, 0);
            Ok(Edit::Changed(()))
        })?;
    }
    Ok(reconnected)
}

/// Adds the nodes that a round removes to the removals since the last walk; before they are
/// removed, so that a removal that is interrupted counts.
///
/// Locks: the meta page, exclusive; on return: none.
fn count_unwalked<S: PageStore>(graph: &Graph<'_, S>, removed: u64, nodes: u64) -> Result<()> {
    let units = (removed * UNWALKED_UNIT).div_ceil(nodes.max(1)).min(u64::from(u8::MAX)) as u8;
    graph.store.write(META_BLOCK, |page| {
        let before = meta::read_unwalked(page)?;
        meta::set_unwalked(page, before.saturating_add(units));
        Ok(Edit::Changed(()))
    })
}

/// The pass over one page. TIDs that are added to the page while `find_dead` runs are live.
///
/// Locks: the page, shared, then exclusive; none while `find_dead` runs; on return: none.
fn remove_tids<S: PageStore>(
    graph: &Graph<'_, S>,
    block: BlockNumber,
    find_dead: &mut impl FnMut(&[HeapTid]) -> HashSet<HeapTid>,
    most_upper: usize,
    pass: &mut Pass,
) -> Result<()> {
    let Pass {
        dead,
        emptied,
        nodes,
        upper,
        has_more_upper,
        removal,
    } = pass;
    let mut tids = Vec::new();
    let layout = &graph.space.layout;
    let (is_new, free, found, seen) = graph.store.read_in_passing(block, |page| {
        let records = NodePage::new(page, block, layout)?;
        let most = match page::kind_without_slots(page) {
            Some(_) => 0,
            None => layout.slots,
        };
        let mut free = most - records.len().min(most);
        let (mut found, mut seen) = (0, 0);
        for record in records.records() {
            let (node, record) = record?;
            for tid in record.tids() {
                if tid.offset == 0 {
                    return corrupted(block, "a heap TID without a line pointer");
                }
                tids.push(tid);
            }
            let is_node = matches!(record.state(), State::Node | State::Dead);
            seen += u64::from(is_node && record.level() == 0);
            if is_node && record.level() > 0 {
                if upper.len() < most_upper && !*has_more_upper {
                    upper.try_push(UpperRecord::of(node, &record))?;
                } else {
                    *has_more_upper = true;
                }
            }
            match record.state() {
                State::Free => free += 1,
                // An interrupted VACUUM left it.
                State::Dead if record.level() == 0 => found += u64::from(dead.insert(node)?),
                // A crash left it while its chain was being settled.
                State::Node if is_empty_node(&record) => {
                    emptied.insert(node)?;
                }
                State::Extension if record.tid_count() == 0 => {
                    emptied.insert(record.owner())?;
                }
                _ => {}
            }
        }
        Ok((page::is_new(page), free, found, seen))
    })?;
    *nodes += seen;
    removal.nodes_removed += found;
    if is_new {
        store::init(graph.store, layout, block)?; // A crash left it so.
    }
    removal.pages_empty += u64::from(free == layout.slots);
    if free > 0 {
        removal.pages_with_room += 1;
        graph.store.note_free(block);
    }
    let rows = find_dead(&tids);
    removal.tids_removed += rows.len() as u64;
    removal.tids_left += (tids.len() - rows.len()) as u64;
    if rows.is_empty() {
        return Ok(());
    }
    removal.nodes_removed += graph.store.write(block, |page| {
        let mut nodes = NodePageMut::new(page, block, layout)?;
        let mut died = 0;
        for slot in 0..nodes.view().len() {
            let mut record = nodes.record(slot)?;
            let removed = record.retain_tids(|tid| !rows.contains(&tid));
            let view = record.view();
            if removed > 0 && is_empty_node(&view) {
                record.set_dead();
                died += u64::from(dead.insert(layout.node(block, slot)?)?);
            } else if removed > 0 && view.state() == State::Extension && view.tid_count() == 0 {
                emptied.insert(view.owner())?;
            }
        }
        Ok(Edit::Changed(died))
    })?;
    Ok(())
}

/// Drops extensions without TIDs from their chains, and finds nodes without TIDs in any record.
///
/// Locks: one page at a time, or two of a chain; on return: none.
fn settle_chains<S: PageStore>(graph: &Graph<'_, S>, pass: &mut Pass) -> Result<()> {
    for owner in std::mem::take(&mut pass.emptied).iter() {
        graph.store.check_interrupts();
        if let Some(kind) = Unplaced::of_owner(owner) {
            pass.removal.slots_freed += list::drop_empty_extensions(graph, Head::Meta(kind))?;
            continue;
        }
        if !graph.is_node_block(owner) {
            continue; // The checker reports such damage.
        }
        let generation = graph.read(owner, |record| Ok(record.generation()))?;
        let at = Link {
            node: owner,
            generation,
        };
        pass.removal.slots_freed += list::drop_empty_extensions(graph, Head::Node(at))?;
        let is_empty = graph.read(owner, |record| Ok(is_empty_node(&record)))?;
        let died = is_empty
            && graph.write(owner, |nodes, slot| {
                let mut record = nodes.record(slot)?;
                if !is_empty_node(&record.view()) {
                    return Ok(Edit::Unchanged(false));
                }
                record.set_dead();
                Ok(Edit::Changed(true))
            })?;
        if died && pass.dead.insert(owner)? {
            pass.removal.nodes_removed += 1;
        }
    }
    Ok(())
}

/// A round: removes the nodes that are dead so far. After the last one returns the records of level
/// 0 that there are, if memory suffices.
fn remove_nodes<S: PageStore>(
    graph: &Graph<'_, S>,
    inserter: &mut Inserter,
    pass: &mut Pass,
    memory: usize,
    is_last: bool,
) -> Result<Option<Seen>> {
    let mut dead = std::mem::take(&mut pass.dead);
    count_unwalked(graph, dead.len(), pass.nodes)?;
    let upper = if is_last && !pass.has_more_upper {
        mark_known(graph, &mut dead, &pass.upper)?
    } else {
        mark_upper(graph, &mut dead)?
    };
    let end = reachability::end_of_slots(graph)?;
    let seen = match is_last && 4 * SlotBits::bytes(end) <= memory / 4 * 3 {
        true => Some(Seen::new(end)?),
        false => None,
    };
    let mut repair = Repair::new(&dead, memory / REPAIR_SHARE, seen);
    // All blocks as of now: a record added meanwhile may have been linked before its neighbor died.
    for block in graph.node_blocks()? {
        graph.store.check_interrupts();
        repair.page(graph, block, inserter)?;
    }
    let (links, seen) = repair.finish(graph, inserter)?;
    pass.removal.links_repaired += links;
    move_entry(graph, &dead, &upper)?;
    // From the highest level down: the records that an interruption leaves still lead to the level
    // below.
    for nodes in upper.dead.values().rev().chain([&dead]) {
        free(graph, nodes, &mut pass.removal)?;
    }
    value_lists::upkeep::clean(graph, &dead)?;
    Ok(seen)
}

/// Marks upper records of dead nodes, adds them to `dead`, and looks for live records where a
/// search may enter: a pass over all pages.
fn mark_upper<S: PageStore>(graph: &Graph<'_, S>, dead: &mut NodeSet) -> Result<Upper> {
    let mut upper = Upper::default();
    for block in graph.node_blocks()? {
        graph.store.check_interrupts();
        let any = graph.store.read_in_passing(block, |page| {
            let mut any = false;
            for record in NodePage::new(page, block, &graph.space.layout)?.records() {
                let (node, record) = record?;
                if record.state() == State::Node && record.level() > 0 {
                    upper.note(&UpperRecord::of(node, &record), dead);
                }
                any |= is_upper_of(&record, dead);
            }
            Ok(any)
        })?;
        if any {
            mark_on(graph, block, dead, &mut upper)?;
        }
    }
    upper.add_to(dead)?;
    Ok(upper)
}

/// As [`mark_upper`], of upper records that are known, in block order.
fn mark_known<S: PageStore>(graph: &Graph<'_, S>, dead: &mut NodeSet, known: &[UpperRecord]) -> Result<Upper> {
    let layout = &graph.space.layout;
    let mut upper = Upper::default();
    let block = |record: &UpperRecord| layout.block(record.link.node);
    for here in known.chunk_by(|a, b| block(a) == block(b)) {
        here.iter().for_each(|record| upper.note(record, dead));
        if here.iter().any(|record| dead.contains(record.owner)) {
            graph.store.check_interrupts();
            mark_on(graph, block(&here[0]), dead, &mut upper)?;
        }
    }
    upper.add_to(dead)?;
    Ok(upper)
}

/// Marks the upper records of dead nodes on a page.
///
/// Locks: the page, exclusive; on return: none.
fn mark_on<S: PageStore>(graph: &Graph<'_, S>, block: BlockNumber, dead: &NodeSet, upper: &mut Upper) -> Result<()> {
    graph.store.write(block, |page| {
        let mut nodes = NodePageMut::new(page, block, &graph.space.layout)?;
        for slot in 0..nodes.view().len() {
            let mut record = nodes.record(slot)?;
            if is_upper_of(&record.view(), dead) {
                record.set_dead();
                let node = graph.space.layout.node(block, slot)?;
                upper.dead.entry(record.view().level()).or_default().insert(node)?;
            }
        }
        Ok(Edit::Changed(()))
    })
}

/// Moves the entry point to a live record on the highest level with any, if it is dead or on a
/// lower level.
fn move_entry<S: PageStore>(graph: &Graph<'_, S>, dead: &NodeSet, upper: &Upper) -> Result<()> {
    loop {
        let entry = graph.entry()?;
        let usable = entry.filter(|entry| !dead.contains(entry.link.node));
        let level = |entry: Option<EntryPoint>| entry.map(|entry| entry.level);
        if usable.is_some() && level(usable) >= level(upper.highest) {
            return Ok(());
        }
        let best = match upper.highest {
            Some(best) => Some(best),
            None => find_live(graph)?.map(|link| EntryPoint { link, level: 0 }),
        };
        if usable == entry && level(usable) >= level(best) {
            return Ok(());
        }
        if let Some(EntryPoint { link, level: 0 }) = best {
            value_lists::add_unlinked(graph, link)?;
        }
        // An index that looks empty is searched once more after it lost its entry point: a row
        // inserted meanwhile is found then, or makes itself the entry point.
        if entry_point::replace(graph, entry, best)? && best.is_some() {
            return Ok(());
        }
    }
}

/// A live level-0 record, if there is one; it was inserted after the first pass.
fn find_live<S: PageStore>(graph: &Graph<'_, S>) -> Result<Option<Link>> {
    for block in graph.node_blocks()? {
        graph.store.check_interrupts();
        let mut live = None;
        graph.live_on(block, |link, _| live = live.or(Some(link)))?;
        if live.is_some() {
            return Ok(live);
        }
    }
    Ok(None)
}

/// Frees overflow records without an owner: it went with this bulk delete, or before a crash. An
/// owner always exists before its overflow records.
fn free_overflows<S: PageStore>(graph: &Graph<'_, S>, removal: &mut BulkDelete) -> Result<()> {
    if graph.space.layout.overflows == 0 {
        return Ok(());
    }
    for block in graph.node_blocks()? {
        graph.store.check_interrupts();
        let overflows = graph.store.read_in_passing(block, |page| {
            let mut overflows = Vec::new();
            for record in NodePage::new(page, block, &graph.space.layout)?.records() {
                let (node, record) = record?;
                if record.state() == State::Overflow {
                    overflows.push((node, record.owner(), record.owner_generation()));
                }
            }
            Ok(overflows)
        })?;
        for (overflow, owner, generation) in overflows {
            if graph.read(owner, |record| Ok(record.is(generation, 0)))? {
                continue;
            }
            let is_orphan = |record: &Record<'_>| {
                let is_its = record.owner() == owner && record.owner_generation() == generation;
                record.state() == State::Overflow && is_its
            };
            free_on(graph, block, [overflow].into_iter(), is_orphan, removal)?;
        }
    }
    Ok(())
}

/// Frees dead records, page by page.
fn free<S: PageStore>(graph: &Graph<'_, S>, nodes: &NodeSet, removal: &mut BulkDelete) -> Result<()> {
    let layout = &graph.space.layout;
    let mut nodes = nodes.iter().peekable();
    while let Some(&first) = nodes.peek() {
        graph.store.check_interrupts();
        let block = layout.block(first);
        let here = std::iter::from_fn(|| nodes.next_if(|&node| layout.block(node) == block));
        free_on(graph, block, here, |record| record.state() == State::Dead, removal)?;
    }
    Ok(())
}

/// Frees the records of a page for which `is_meant` holds.
///
/// Locks: the page, exclusive; on return: none.
fn free_on<S: PageStore>(
    graph: &Graph<'_, S>,
    block: BlockNumber,
    nodes: impl Iterator<Item = NodeRef>,
    is_meant: impl Fn(&Record<'_>) -> bool,
    removal: &mut BulkDelete,
) -> Result<()> {
    let layout = &graph.space.layout;
    let (freed, is_empty) = graph.store.write(block, |page| {
        let mut page = NodePageMut::new(page, block, layout)?;
        let mut freed = 0;
        for slot in nodes.map(|node| layout.slot(node)) {
            if is_meant(&page.record(slot)?.view()) {
                page.free(slot)?;
                freed += 1;
            }
        }
        let is_empty = page.view().is_unused()?;
        Ok(if freed > 0 {
            Edit::Changed((freed, is_empty))
        } else {
            Edit::Unchanged((0, false))
        })
    })?;
    removal.slots_freed += freed;
    if freed > 0 {
        removal.pages_emptied += u64::from(is_empty);
        removal.pages_empty += u64::from(is_empty);
        graph.store.note_free(block);
    }
    Ok(())
}

/// Whether a record is the level-0 record of a live node without rows.
fn is_empty_node(record: &Record<'_>) -> bool {
    record.state() == State::Node && record.level() == 0 && record.tid_count() == 0 && record.below() == NodeRef::NONE
}

/// Whether a record is an upper record of a dead node.
fn is_upper_of(record: &Record<'_>, dead: &NodeSet) -> bool {
    matches!(record.state(), State::Node | State::Dead) && record.level() > 0 && dead.contains(record.owner())
}

impl UpperRecord {
    fn of(node: NodeRef, record: &Record<'_>) -> UpperRecord {
        let generation = record.generation();
        UpperRecord {
            owner: record.owner(),
            link: Link { node, generation },
            level: record.level(),
        }
    }
}

impl Upper {
    /// Remembers a record where a search may enter, unless its node is dead.
    fn note(&mut self, record: &UpperRecord, dead: &NodeSet) {
        let &UpperRecord { owner, link, level } = record;
        if !dead.contains(owner) && self.highest.is_none_or(|highest| highest.level < level) {
            self.highest = Some(EntryPoint { link, level });
        }
    }

    /// Adds the records of dead nodes to the dead ones.
    fn add_to(&self, dead: &mut NodeSet) -> Result<()> {
        for node in self.dead.values().flat_map(NodeSet::iter) {
            dead.insert(node)?;
        }
        Ok(())
    }
}
