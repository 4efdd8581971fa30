//! Nodes that match the conditions of a query by the entries of value lists.

use std::cmp::Reverse;

use super::walk;
use crate::error::Result;
use crate::fallible::{Room, TryPush};
use crate::hnsw::Graph;
use crate::hnsw::search::estimate::{self, Estimate};
use crate::hnsw::space::Query;
use crate::hnsw::space::centroid_bounds::{self, CentroidBounds};
use crate::quantize::rabitq::LANES;
use crate::storage::list_page::{self, Block, ListId};
use crate::storage::{Link, PageStore};

/// Nodes of a sample of those that match, and lists that they are from.
const SAMPLE: usize = 64;
const SAMPLED_LISTS: usize = 32;

/// Lists whose first pages tell how many nodes lists name. Of more lists the borders of a range
/// tell.
const LOOKED_AT: usize = 4;

/// Most pages of lists that a scan reads before it knows whether few nodes match, unless twice as
/// many as may be named fill more.
const MOST_PAGES: usize = 512;

/// Lists of a column that name all nodes that may match a query's conditions: their place among
/// those of the query.
#[derive(Debug, Clone, Copy)]
pub(in crate::hnsw) struct OfColumn(usize);

impl OfColumn {
    /// The column, and its lists that have pages: most of a column with few values have none.
    fn lists<S: PageStore>(self, graph: &Graph<'_, S>, query: &Query) -> Result<(u8, Vec<u16>)> {
        let (column, lists) = &query.lists()[self.0];
        let column = *column as u8;
        Ok((column, graph.space.directory.with_pages(graph.store, column, lists)?))
    }
}

/// Whether lists name the nodes that match a query's conditions on any column.
pub(in crate::hnsw) fn are_named(query: &Query) -> bool {
    !query.lists().is_empty()
}

/// The lists of each column that name the nodes that match.
fn naming(query: &Query) -> impl Iterator<Item = OfColumn> {
    (0..query.lists().len()).map(OfColumn)
}

/// Nodes that value lists name, each with a lower bound of its distance, which is not a number
/// where bounds are none or tell nothing. A node may be there twice.
pub(in crate::hnsw) struct Named {
    /// The nodes, or the nearest by their bounds.
    pub nodes: Vec<Reverse<Estimate>>,
    /// Number of nodes.
    pub count: usize,
    /// The least bound that those may have that are not among the nodes, if any are not.
    pub others: Option<f32>,
    /// Number of nodes that are kept.
    kept: usize,
    /// Bound from which on nodes are not kept; not a number while all are.
    worst: f32,
}

impl Named {
    fn new(kept: usize) -> Named {
        Named {
            nodes: Vec::new(),
            count: 0,
            others: None,
            kept,
            worst: f32::NAN,
        }
    }

    /// Adds the entries of a block, for which there is room, that match.
    #[inline]
    fn add<S: PageStore>(
        &mut self,
        graph: &Graph<'_, S>,
        query: &Query,
        bounds: Option<&CentroidBounds<'_>>,
        block: &Block<'_>,
    ) {
        let mut lanes = query.matching_entries(block);
        if lanes == 0 {
            return;
        }
        self.count += lanes.count_ones() as usize;
        let bounds = match bounds {
            Some(bounds) => {
                let (bounds, wanted) = bounds.of_block(block, self.worst);
                lanes &= wanted;
                bounds
            }
            None => [f32::NAN; LANES],
        };
        while lanes != 0 {
            let lane = lanes.trailing_zeros() as usize;
            lanes &= lanes - 1;
            let link = block.link(lane);
            if graph.is_node_block(link.node) {
                self.nodes.push(Reverse(Estimate::new(bounds[lane], link)));
            }
        }
    }

    /// Keeps the nearest nodes if there are many more.
    fn shrink(&mut self) {
        if self.nodes.len() < self.kept.saturating_mul(2) {
            return;
        }
        let (_, &mut Reverse(last), _) = self.nodes.select_nth_unstable_by_key(self.kept - 1, |node| node.0);
        self.nodes.truncate(self.kept);
        self.worst = estimate::distance(last.key());
        self.others = Some(centroid_bounds::rounded_down(self.worst));
    }
}

/// The lists that name the nodes that match a query's conditions, with the number of these among
/// `nodes` nodes by the borders of a range or by the first pages of lists: the fewest first.
///
/// Locks: one page at a time, shared; on return: none.
pub(in crate::hnsw) fn expected<S: PageStore>(
    graph: &Graph<'_, S>,
    query: &Query,
    nodes: f64,
) -> Result<Vec<(OfColumn, f64)>> {
    let mut expected = Vec::new();
    for of_column in naming(query) {
        let (column, lists) = of_column.lists(graph, query)?;
        let looked_at = lists.len().min(LOOKED_AT);
        let count = match query.range_share(usize::from(column)) {
            Some(share) if lists.len() > looked_at => share * nodes,
            _ => {
                // The first one, which may be that of long arrays, stands for itself alone.
                let (mut first, mut others) = (0.0, 0.0);
                for (i, &list) in lists[..looked_at].iter().enumerate() {
                    let of_list = expected_of(graph, query, ListId { column, list })?;
                    *(if i == 0 { &mut first } else { &mut others }) += of_list;
                }
                let of_others = lists.len().saturating_sub(1) as f64 / looked_at.saturating_sub(1).max(1) as f64;
                first + others * of_others
            }
        };
        expected.try_push((of_column, count))?;
    }
    expected.sort_by(|(_, a), (_, b)| a.total_cmp(b));
    Ok(expected)
}

/// About the number of nodes that a list names, by its first page.
fn expected_of<S: PageStore>(graph: &Graph<'_, S>, query: &Query, list: ListId) -> Result<f64> {
    let layout = &graph.space.lists;
    let mut expected = 0.0;
    let again = |expected: &mut f64| *expected = 0.0;
    walk(graph, list, &mut expected, again, |expected, _, page| {
        let matching: u32 = list_page::blocks(page, layout)
            .map(|block| query.matching_entries(&block).count_ones())
            .sum();
        let others = f64::from(list_page::pages(page).saturating_sub(1)) * layout.most_entries() as f64;
        let share = f64::from(matching) / list_page::count(page, layout).max(1) as f64;
        *expected = f64::from(matching) + share * others;
        Ok(false)
    })?;
    Ok(expected)
}

/// Some nodes whose entries match a query's conditions, from all over the column's lists that are
/// fewest.
///
/// Locks: one page at a time, shared; on return: none.
pub(in crate::hnsw) fn sample<S: PageStore>(graph: &Graph<'_, S>, query: &Query) -> Result<Vec<Link>> {
    let mut sample = Vec::new();
    let mut fewest: Option<(u8, Vec<u16>)> = None;
    for of_column in naming(query) {
        let (column, lists) = of_column.lists(graph, query)?;
        if fewest.as_ref().is_none_or(|(_, fewest)| lists.len() < fewest.len()) {
            fewest = Some((column, lists));
        }
    }
    let Some((column, lists)) = fewest else {
        return Ok(sample);
    };
    let step = lists.len().div_ceil(SAMPLED_LISTS).max(1);
    let each = SAMPLE.div_ceil(lists.len().div_ceil(step).max(1));
    for &list in lists.iter().step_by(step) {
        let list = ListId { column, list };
        let before = sample.len();
        let again = |sample: &mut Vec<Link>| sample.truncate(before);
        walk(graph, list, &mut sample, again, |sample, _, page| {
            let entries = || list_page::blocks(page, &graph.space.lists).flat_map(|block| links(query, block));
            let step = entries().count().div_ceil(each).max(1);
            sample.try_extend(entries().step_by(step))?;
            Ok(false)
        })?;
    }
    sample.retain(|link| graph.is_node_block(link.node));
    Ok(sample)
}

/// The nodes of a block whose entries match.
fn links<'a>(query: &Query, block: Block<'a>) -> impl Iterator<Item = Link> + use<'a> {
    let lanes = query.matching_entries(&block);
    (0..LANES)
        .filter(move |lane| lanes >> lane & 1 == 1)
        .map(move |lane| block.link(lane))
}

/// The nodes that lists of a column name, and of these about the nearest `kept` by their
/// bounds, or twice as many; none where they are more than `most`, or many pages have to be read.
///
/// Locks: one page at a time, shared; on return: none.
pub(in crate::hnsw) fn named<S: PageStore>(
    graph: &Graph<'_, S>,
    query: &Query,
    bounds: Option<&CentroidBounds<'_>>,
    of_column: OfColumn,
    (most, kept): (usize, usize),
) -> Result<Option<Named>> {
    let layout = &graph.space.lists;
    let (mut named, mut pages) = (Named::new(kept), 0);
    let most_pages = MOST_PAGES.max(most.saturating_mul(2) / layout.most_entries());
    let (column, lists) = of_column.lists(graph, query)?;
    for list in lists {
        let list = ListId { column, list };
        let (before, mut is_whole) = (named.count, true);
        // Nodes of a walk that begins again are there twice, which does no harm.
        let again = |named: &mut Named| named.count = before;
        walk(graph, list, &mut named, again, |named, _, page| {
            pages += 1;
            named.nodes.room(layout.most_entries())?;
            list_page::blocks(page, layout).for_each(|block| named.add(graph, query, bounds, &block));
            named.shrink();
            is_whole = named.count <= most && pages <= most_pages;
            Ok(is_whole)
        })?;
        if !is_whole {
            return Ok(None);
        }
    }
    Ok(Some(named))
}
