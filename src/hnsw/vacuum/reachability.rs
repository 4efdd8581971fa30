//! Reachability: every live node can be found by a search.
//!
//! The heuristic keeps a link only where no kept neighbor is nearer. In data with outliers and hubs
//! (as vectors of very different lengths), some nodes keep links but no link to them; removals may
//! have the same effect. After a build and after a removal a walk over level 0 finds such nodes,
//! and each gets links from nearby nodes that the walk did reach. The walk goes hop by hop, each
//! hop in block order, so that it takes a few passes over the file rather than one random read for
//! each node.
//!
//! The walk remembers two bits for each slot; where memory does not suffice for them it is left
//! out.

use crate::distance::Metric;
use crate::error::Result;
use crate::fallible::TryPush;
use crate::hnsw::Graph;
use crate::hnsw::insert::{self, Inserter, reselect};
use crate::hnsw::neighbors::back_links;
use crate::hnsw::neighbors::selection::VectorAt;
use crate::hnsw::node_set::NodeSet;
use crate::hnsw::search;
use crate::hnsw::space::{Point, Query};
use crate::hnsw::tuning::vacuum::REACHABILITY_LINKS;
use crate::hnsw::vacuum::repair;
use crate::hnsw::value_lists;
use crate::storage::{BlockNumber, Link, NodeRef, PageStore};

/// Least number of links of a hop that are remembered one by one.
const FEWEST_REMEMBERED: usize = 1024;

/// The records that a walk has reached.
struct Reached {
    nodes: NodeSet,
    /// The end of the slots that existed when the walk began; later ones count as reached.
    end: NodeRef,
    /// Most links of a hop that are remembered one by one.
    most: usize,
    /// Records beyond that number, with links still to be followed.
    waiting: NodeSet,
}

impl Reached {
    fn contains(&self, node: NodeRef) -> bool {
        node >= self.end || self.nodes.contains(node)
    }

    /// Adds a slot; says whether it was new.
    fn insert(&mut self, node: NodeRef) -> Result<bool> {
        Ok(node < self.end && self.nodes.insert(node)?)
    }
}

/// Gives every unreachable live node of level 0 a link from a reachable one; returns the number of
/// such nodes, or none if `memory` bytes do not suffice to look for them.
///
/// Locks: one page at a time; on return: none.
pub fn reconnect<S: PageStore>(graph: &Graph<'_, S>, inserter: &mut Inserter, memory: usize) -> Result<Option<u64>> {
    reconnect_and_select(graph, inserter, memory, 0)
}

/// As [`reconnect`]; then at most `most` of the reachable records select neighbors by a search,
/// besides their present ones. An insert that an error ended may have left a node without links
/// that misses in value lists: such a node enters them before it is linked.
///
/// Locks: one page at a time; on return: none.
pub(super) fn reconnect_and_select<S: PageStore>(
    graph: &Graph<'_, S>,
    inserter: &mut Inserter,
    memory: usize,
    most: u64,
) -> Result<Option<u64>> {
    let Some(entry) = graph.entry()? else {
        return Ok(Some(0));
    };
    // A full index has slots up to the last reference there is.
    let end = graph
        .space
        .layout
        .node(graph.store.blocks()?, 0)
        .unwrap_or(NodeRef::NONE);
    if end.0 as usize / 8 * 2 > memory / 4 * 3 {
        return Ok(None);
    }
    let start = graph.read(entry.link.node, |record| Ok(record.owner()))?;
    let generation = graph.read(start, |record| Ok(record.generation()))?;
    let start = Link {
        node: start,
        generation,
    };
    let mut reached = Reached {
        nodes: NodeSet::default(),
        end,
        most: (memory / 8 / size_of::<Link>()).max(FEWEST_REMEMBERED),
        waiting: NodeSet::default(),
    };
    walk(graph, &mut reached, start)?;
    let mut connected = 0;
    for block in graph.node_blocks()? {
        graph.store.check_interrupts();
        for node in unreached_on(graph, block, &reached)? {
            // A node linked before it may lead to it.
            if !reached.contains(node.node) && attach(graph, inserter, &reached, start, node)? {
                connected += 1;
                walk(graph, &mut reached, node)?;
            }
        }
    }
    if most > 0 {
        let is_reached = |node: NodeRef| node < reached.end && reached.contains(node);
        repair::select_anew(graph, inserter, is_reached, most)?;
    }
    Ok(Some(connected))
}

/// Follows links from a record until no new record comes.
fn walk<S: PageStore>(graph: &Graph<'_, S>, reached: &mut Reached, from: Link) -> Result<()> {
    reached.insert(from.node)?;
    let (mut hop, mut next) = (vec![from], Vec::new());
    while !hop.is_empty() {
        hop.sort_unstable_by_key(|link| link.node);
        for link in hop.drain(..) {
            graph.read(link.node, |record| {
                if record.is(link.generation, 0) {
                    for link in record.links() {
                        if !reached.insert(link.node)? {
                            continue;
                        }
                        if next.len() < reached.most {
                            next.try_push(link)?;
                        } else {
                            reached.waiting.insert(link.node)?;
                        }
                    }
                } else {
                    reached.nodes.remove(link.node); // The link was stale.
                }
                Ok(())
            })?;
            graph.store.check_interrupts();
        }
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

fn unreached_on<S: PageStore>(graph: &Graph<'_, S>, block: BlockNumber, reached: &Reached) -> Result<Vec<Link>> {
    let mut unreached = Vec::new();
    graph.live_on(block, |link, _| {
        if !reached.contains(link.node) {
            unreached.push(link);
        }
    })?;
    Ok(unreached)
}

/// Links an unreachable node from the nearest reachable nodes with room, or from the nearest one in
/// place of its last link.
fn attach<S: PageStore>(
    graph: &Graph<'_, S>,
    inserter: &mut Inserter,
    reached: &Reached,
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
            .filter(|link| reached.contains(link.node))
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
