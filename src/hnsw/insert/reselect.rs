//! Selection of a record's neighbors by a search, and selection anew for a record that has some.

use std::collections::HashSet;

use crate::error::Result;
use crate::hnsw::Graph;
use crate::hnsw::insert::{self, Inserter};
use crate::hnsw::neighbors::selection::{self, VectorAt};
use crate::hnsw::neighbors::{back_links, candidates};
use crate::hnsw::search::{self, NeighborCandidate, Search, crowd};
use crate::hnsw::space::{Point, Query};
use crate::hnsw::tuning::insert::{SMALL, UNSEEN_PART};
use crate::hnsw::tuning::neighbors::RETRIES;
use crate::storage::{BlockNumber, PageStore};

/// Lets a linked record select once more, now that other sessions find it, if the graph was small
/// when the record searched, or has grown much since: rows that are inserted at the same time do
/// not see each other, and may be most of its surroundings. Of two records that search again after
/// they were linked, at least one sees the other.
pub(super) fn after_concurrent_inserts<S: PageStore>(
    graph: &Graph<'_, S>,
    inserter: &mut Inserter,
    query: &Query,
    record: VectorAt<'_>,
    level: u8,
    mut searched: BlockNumber,
) -> Result<()> {
    let mut blocks = graph.store.blocks()?;
    let mut again = blocks <= graph.space.layout.first_block + SMALL;
    loop {
        if !again && blocks.saturating_sub(searched) <= blocks / UNSEEN_PART {
            return Ok(());
        }
        (again, searched) = (false, blocks);
        connect(graph, inserter, query, record, level)?;
        graph.store.check_interrupts();
        blocks = graph.store.blocks()?;
    }
}

/// Selects neighbors for a record by a search, besides its present ones, and links them back; says
/// whether a link to the record was made.
///
/// Locks: one page at a time, or the few of links back; on return: none.
pub(in crate::hnsw) fn connect<S: PageStore>(
    graph: &Graph<'_, S>,
    inserter: &mut Inserter,
    query: &Query,
    record: VectorAt<'_>,
    level: u8,
) -> Result<bool> {
    for _ in 0..RETRIES {
        let (before, kept) = graph.read(record.link.node, |record| {
            Ok((
                record.links().collect::<Vec<_>>(),
                record.survivors().collect::<Vec<_>>(),
            ))
        })?;
        let Inserter {
            search,
            scratch,
            candidates,
            ..
        } = inserter;
        let mut choices = search_live(graph, search, query, level)?;
        choices.retain(|choice| choice.link.node != record.link.node);
        let known: HashSet<_> = choices.iter().map(|choice| choice.link).collect();
        let others: Vec<_> = before.iter().copied().filter(|link| !known.contains(link)).collect();
        candidates.forget();
        candidates::load(graph, candidates, &others, record, level)?;
        choices.extend(candidates.choices());
        choices.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        let chosen = &mut scratch.chosen;
        let read =
            |_, choice: &NeighborCandidate, point: &mut Point| search.kept.read_point(graph, choice, level, point);
        selection::select_keeping(
            graph,
            &kept,
            &choices,
            read,
            level,
            selection::fill_to(graph, level),
            chosen,
        )?;
        if chosen.survivors.is_empty() {
            return Ok(false);
        }
        if back_links::replace_links(graph, &mut inserter.scratch, record, level, &before)? {
            return insert::link_all_back(graph, inserter, record, level);
        }
    }
    Ok(false)
}

/// The live records of a level nearest to a vector.
pub(in crate::hnsw) fn search_live<S: PageStore>(
    graph: &Graph<'_, S>,
    search: &mut Search,
    query: &Query,
    level: u8,
) -> Result<Vec<NeighborCandidate>> {
    let width = insert::construction_width(graph);
    match search::down_to(graph, search, query, |_| level, width)? {
        Some(entry) if entry.level >= level => {
            if level == 0 {
                crowd::leave(graph, search, query, insert::entries(graph), width)?;
            }
            live_found(graph, search, query, level, width)
        }
        _ => Ok(Vec::new()),
    }
}

/// The live records that a search found, nearest first, at most `most`. If dead nodes left hardly
/// any live ones, a walk over the level from there finds some.
pub(super) fn live_found<S: PageStore>(
    graph: &Graph<'_, S>,
    search: &mut Search,
    query: &Query,
    level: u8,
    most: usize,
) -> Result<Vec<NeighborCandidate>> {
    let m = usize::from(graph.space.parameters.shape.m);
    if search.live() >= m || !search.is_among_dead() || search.found().is_some() {
        return Ok(live_choices(search, most));
    }
    search::walk_to_live(graph, search, query, level, most)
}

/// The live records that a search found, nearest first, at most `most`.
fn live_choices(search: &Search, most: usize) -> Vec<NeighborCandidate> {
    let live = search.beam().iter().filter(|candidate| candidate.live);
    live.take(most)
        .map(|candidate| NeighborCandidate {
            distance: candidate.distance,
            link: candidate.link,
            kept: candidate.kept,
        })
        .collect()
}
