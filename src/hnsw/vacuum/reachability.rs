//! Reachability: every live node can be found by a search.
//!
//! The heuristic keeps a link only where no kept neighbor is nearer. In data with outliers and hubs
//! (as vectors of very different lengths), some nodes keep links but no link to them; removals may
//! have the same effect. After a build and after a removal a walk over level 0 finds such nodes,
//! and each gets links from nearby nodes that the walk did reach. The walk goes hop by hop, each
//! hop in block order and each page once a hop, so that it takes a few passes over the file rather
//! than one random read for each node.
//!
//! The walk remembers two bits for each slot; where memory does not suffice for them it is left
//! out.
//!
//! After the removal of few nodes a walk would take most of the time, and only nodes to which no
//! link leads are looked for: the pass of the repair has seen all links. A group of nodes that lead
//! to each other, and that nothing else leads to, waits for the next walk, which comes once a
//! sixteenth of the nodes was removed.

use crate::distance::Metric;
use crate::error::Result;
use crate::fallible::{self, TryPush};
use crate::hnsw::Graph;
use crate::hnsw::insert::{self, Inserter, reselect};
use crate::hnsw::neighbors::back_links;
use crate::hnsw::neighbors::selection::VectorAt;
use crate::hnsw::node_set::{NodeSet, SlotBits};
use crate::hnsw::search;
use crate::hnsw::space::{Point, Query};
use crate::hnsw::tuning::vacuum::REACHABILITY_LINKS;
use crate::hnsw::vacuum::repair::{self, Seen};
use crate::hnsw::value_lists;
use crate::storage::node_page::NodePage;
use crate::storage::record::{Record, State};
use crate::storage::{BlockNumber, Link, NodeRef, PageStore};

/// Least number of links of a hop that are remembered one by one.
const FEWEST_REMEMBERED: usize = 1024;

/// The records that a walk has reached.
struct Reached {
    /// Of the slots that existed when the walk began; later ones count as reached.
    nodes: SlotBits,
    /// Most links of a hop that are remembered one by one.
    most: usize,
    /// Records beyond that number, with links still to be followed.
    waiting: NodeSet,
}

impl Reached {
    fn contains(&self, node: NodeRef) -> bool {
        node >= self.nodes.end() || self.nodes.contains(node)
    }
}

/// The end of the slots that there are.
pub(super) fn end_of_slots<S: PageStore>(graph: &Graph<'_, S>) -> Result<NodeRef> {
    // A full index has slots up to the last reference there is.
    let blocks = graph.store.blocks()?;
    Ok(graph.space.layout.node(blocks, 0).unwrap_or(NodeRef::NONE))
}

/// Gives every unreachable live node of level 0 a link from a reachable one; returns the number of
/// such nodes, or none if `memory` bytes do not suffice to look for them.
///
/// Locks: one page at a time, or the few of links back; on return: none.
pub fn reconnect<S: PageStore>(graph: &Graph<'_, S>, inserter: &mut Inserter, memory: usize) -> Result<Option<u64>> {
    reconnect_and_select(graph, inserter, memory, None, 0)
}

/// As [`reconnect`]; then at most `most` of the reachable records select neighbors by a search,
/// besides their present ones. `live` are the live nodes, if they are known. An insert that an
/// error ended may have left a node without links that misses in value lists: such a node enters
/// them before it is linked.
///
/// Locks: one page at a time, or the few of links back; on return: none.
pub(super) fn reconnect_and_select<S: PageStore>(
    graph: &Graph<'_, S>,
    inserter: &mut Inserter,
    memory: usize,
    live: Option<SlotBits>,
    most: u64,
) -> Result<Option<u64>> {
    let Some(start) = start(graph)? else {
        return Ok(Some(0));
    };
    let end = end_of_slots(graph)?;
    let sets = if live.is_some() { 3 } else { 2 };
    if sets * SlotBits::bytes(end) > memory / 4 * 3 {
        return Ok(None);
    }
    let mut reached = Reached {
        nodes: SlotBits::new(end)?,
        most: (memory / 8 / size_of::<Link>()).max(FEWEST_REMEMBERED),
        waiting: NodeSet::default(),
    };
    walk(graph, &mut reached, start)?;
    let mut connected = 0;
    let mut reach = |node: Link, reached: &mut Reached| {
        // A node linked before it may lead to it.
        if !reached.contains(node.node) && attach(graph, inserter, |node| reached.contains(node), start, node)? {
            connected += 1;
            walk(graph, reached, node)?;
        }
        Ok(())
    };
    if let Some(live) = live {
        for node in fallible::collect(live.without(&reached.nodes))? {
            graph.store.check_interrupts();
            if let Some(node) = live_node(graph, node)? {
                reach(node, &mut reached)?;
            }
        }
    } else {
        for block in graph.node_blocks()? {
            graph.store.check_interrupts();
            for node in unreached_on(graph, block, &reached)? {
                reach(node, &mut reached)?;
            }
        }
    }
    if most > 0 {
        let is_reached = |node: NodeRef| node < reached.nodes.end() && reached.contains(node);
        repair::select_anew(graph, inserter, is_reached, most)?;
    }
    Ok(Some(connected))
}

/// Gives every live node of level 0 to which no link leads one from another node; returns the
/// number of such nodes. `seen` is from the pass of a repair, which has made links since.
///
/// Locks: one page at a time, or the few of links back; on return: none.
pub(super) fn link_unlinked<S: PageStore>(graph: &Graph<'_, S>, inserter: &mut Inserter, seen: &Seen) -> Result<u64> {
    let Some(start) = start(graph)? else { return Ok(0) };
    let mut connected = 0;
    let is_linked = |node| node == start.node || node >= seen.linked.end() || seen.linked.contains(node);
    for node in fallible::collect(seen.live.without(&seen.linked))? {
        graph.store.check_interrupts();
        let Some(node) = live_node(graph, node)?.filter(|node| *node != start) else {
            continue;
        };
        connected +=
            u64::from(!is_linked_near(graph, inserter, node)? && attach(graph, inserter, is_linked, start, node)?);
    }
    Ok(connected)
}

/// Whether a node that a search for it would find has a link to it.
fn is_linked_near<S: PageStore>(graph: &Graph<'_, S>, inserter: &mut Inserter, node: Link) -> Result<bool> {
    let (mut point, mut query) = (Point::default(), Query::default());
    if graph.read_point(node, 0, &mut point)?.is_none() {
        return Ok(true);
    }
    graph.space.set_query(&point, &mut query);
    for near in reselect::search_live(graph, &mut inserter.search, &query, 0)? {
        if graph.read(near.link.node, |record| Ok(record.links().any(|link| link == node)))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The level-0 record of the entry point.
fn start<S: PageStore>(graph: &Graph<'_, S>) -> Result<Option<Link>> {
    let Some(entry) = graph.entry()? else { return Ok(None) };
    let node = graph.read(entry.link.node, |record| Ok(record.owner()))?;
    let generation = graph.read(node, |record| Ok(record.generation()))?;
    Ok(Some(Link { node, generation }))
}

/// The link to a level-0 record, if it is live and complete.
fn live_node<S: PageStore>(graph: &Graph<'_, S>, node: NodeRef) -> Result<Option<Link>> {
    graph.read(node, |record| {
        let is_live = record.state() == State::Node && record.level() == 0 && record.is_complete();
        let generation = record.generation();
        Ok(is_live.then_some(Link { node, generation }))
    })
}

/// Follows links from a record until no new record comes.
fn walk<S: PageStore>(graph: &Graph<'_, S>, reached: &mut Reached, from: Link) -> Result<()> {
    reached.nodes.insert(from.node);
    let layout = &graph.space.layout;
    let (mut hop, mut next) = (vec![from], Vec::new());
    while !hop.is_empty() {
        hop.sort_unstable_by_key(|link| link.node);
        for here in hop.chunk_by(|a, b| layout.block(a.node) == layout.block(b.node)) {
            let block = layout.block(here[0].node);
            graph.store.read(block, |page| {
                let nodes = NodePage::new(page, block, layout)?;
                here.iter()
                    .try_for_each(|&link| follow(&nodes.record(layout.slot(link.node))?, link, reached, &mut next))
            })?;
            graph.store.check_interrupts();
        }
        hop.clear();
        std::mem::swap(&mut hop, &mut next);
        if hop.is_empty() {
            // Their links were not kept, so the current generation stands for the link's.
            for node in reached.waiting.take_first(reached.most)? {
                let generation = graph.read(node, |record| Ok(record.generation()))?;
                hop.try_push(Link { node, generation })?;
            }
        }
    }
    Ok(())
}

/// Adds the targets of a record's links to the next hop, or takes the record out if the link to it
/// is stale.
fn follow(record: &Record<'_>, link: Link, reached: &mut Reached, next: &mut Vec<Link>) -> Result<()> {
    if !record.is(link.generation, 0) {
        reached.nodes.remove(link.node);
        return Ok(());
    }
    for link in record.links() {
        if !reached.nodes.insert(link.node) {
            continue;
        }
        if next.len() < reached.most {
            next.try_push(link)?;
        } else {
            reached.waiting.insert(link.node)?;
        }
    }
    Ok(())
}

fn unreached_on<S: PageStore>(graph: &Graph<'_, S>, block: BlockNumber, reached: &Reached) -> Result<Vec<Link>> {
    let mut unreached = Vec::new();
    graph.live_on(block, |link, _| {
        if !reached.contains(link.node) {
            unreached.push(link);
        }
    })?;
    Ok(unreached)
}

/// Links a node that is not reachable from the nearest nodes with room that are, or from the
/// nearest one in place of its last link.
fn attach<S: PageStore>(
    graph: &Graph<'_, S>,
    inserter: &mut Inserter,
    is_reached: impl Fn(NodeRef) -> bool,
    start: Link,
    node: Link,
) -> Result<bool> {
    let (mut point, mut query) = (Point::default(), Query::default());
    if graph.read_point(node, 0, &mut point)?.is_none() {
        return Ok(false);
    }
    value_lists::add_unlinked(graph, node)?;
    graph.space.set_query(&point, &mut query);
    let at = VectorAt { link: node, at: &point };
    if graph.read(node.node, |record| Ok(record.link_count() == 0))? {
        reselect::connect(graph, inserter, &query, at, 0)?;
    }
    let near = |links: Vec<Link>| {
        links
            .into_iter()
            .filter(|link| is_reached(link.node))
            .collect::<Vec<_>>()
    };
    let around = reselect::search_live(graph, &mut inserter.search, &query, 0)?;
    let mut reached_near = near(around.into_iter().map(|choice| choice.link).collect());
    if reached_near.is_empty() {
        // The whole neighborhood is unreachable.
        let search = &mut inserter.search;
        let width = insert::construction_width(graph);
        search::from_node(graph, search, &query, start.node, width)?;
        let live = search.beam().iter().filter(|candidate| candidate.live);
        reached_near = near(live.map(|candidate| candidate.link).collect());
    }
    let mut links = 0;
    for &other in with_room(graph, &reached_near) {
        links += usize::from(back_links::add_if_room(graph, other, at, 0)?);
        if links == REACHABILITY_LINKS {
            break;
        }
    }
    if links > 0 {
        return Ok(true);
    }
    for &other in &reached_near {
        if back_links::force(graph, other, at, 0)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The nodes, nearest first, whose empty lanes may lead to an unreachable node: none under inner
/// product, where the nearest nodes of all others are the same few long vectors. Links from there
/// to the many unreachable short ones have estimates with errors as large as the difference of
/// lengths, and keep better candidates out of the queue of every search (docs/measurements.md,
/// *Inner products of vectors of different lengths*).
fn with_room<'l, S: PageStore>(graph: &Graph<'_, S>, reached_near: &'l [Link]) -> &'l [Link] {
    match graph.space.parameters.metric {
        Metric::InnerProduct => &[],
        _ => reached_near,
    }
}
