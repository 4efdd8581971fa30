//! Answers from value lists: a scan under conditions that few nodes match reads the nearest of
//! them.
//!
//! The value lists (`hnsw::value_lists`) name the nodes, and have their codes, from which a scan
//! has a lower bound of each distance. It reads the nodes in the order of these bounds, and returns
//! a node once its distance is at most all bounds of the others: so it reads as many as the rows
//! that are wanted take, and a scan of everything reads all. A bound is an estimate less a number
//! of deviations of its error, so that a node comes too late with a small probability; the order of
//! such nodes is that of a later round. Nodes without codes, and few nodes, are all read first.
//!
//! A filtered search visits the more ways, the fewer nodes match around the query: the scan
//! compares the costs of both. Lists that cost no more than to find out that share are read at
//! once.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Found, Iteration, Limits, Phase, Rounds, Scan};
use crate::error::Result;
use crate::fallible::Room;
use crate::filter::condition::Match;
use crate::filter::sets;
use crate::filter::values::Kind;
use crate::hnsw::Graph;
use crate::hnsw::distance_bounds::Keys;
use crate::hnsw::search::estimate::{self, Estimate};
use crate::hnsw::search::visited_set::VisitedSet;
use crate::hnsw::search::{self, Counts};
use crate::hnsw::space::Query;
use crate::hnsw::space::centroid_bounds::CentroidBounds;
use crate::hnsw::tuning::scan::{
    CLUSTERED, DEVIATIONS, FEW_LISTED, FEWEST_KEPT, FILTERED_VISITS, FIRST_LOOK, KEPT, LISTED_AT_ONCE, LISTED_FAR,
    MANY, MANY_LISTED, READ_FIRST, USUAL_ELEMENTS, USUAL_WIDTH, VISITS_OF_FEW, VISITS_OF_LISTED, VISITS_PER_ESTIMATE,
    VISITS_PER_LISTED,
};
use crate::hnsw::tuning::search::SEEDS;
use crate::hnsw::value_lists::matching::{self, Named, OfColumn};
use crate::quantize::rabitq::LANES;
use crate::storage::record::{Record, State};
use crate::storage::{Link, PageStore};

/// Nodes that are read at once, each hinted ahead of its turn.
const AT_ONCE: usize = 16;

/// Nodes of value lists that are to be read, in the order of lower bounds of their distances.
pub(super) struct Listed {
    unread: BinaryHeap<Reverse<Estimate>>,
    /// The least bound of nodes that are not among these, if there are any.
    others: Option<f32>,
    /// The nodes read, because lists may name one twice.
    read: VisitedSet,
    /// The lists that name the nodes.
    lists: OfColumn,
    /// Whether all are read before any is returned: without bounds, and because few nodes cost no
    /// more that way.
    reads_all: bool,
}

impl Listed {
    fn new(named: Named, lists: OfColumn, has_bounds: bool) -> Listed {
        let reads_all = are_few(named.count as f64) || !has_bounds;
        let mut nodes = named.nodes;
        if reads_all {
            // In order of their places.
            for Reverse(node) in &mut nodes {
                *node = Estimate::new(f32::NAN, node.link());
            }
        }
        Listed {
            unread: BinaryHeap::from(nodes),
            others: named.others,
            read: VisitedSet::new(),
            lists,
            reads_all,
        }
    }

    /// The distance up to which nodes that were read come before all others.
    fn bound(&self) -> f32 {
        let others = self.others.unwrap_or(f32::INFINITY);
        self.unread.peek().map_or(others, |next| {
            let bound = estimate::distance(next.0.key());
            match bound.is_nan() {
                true => f32::NEG_INFINITY,
                false => bound.min(others),
            }
        })
    }

    pub(super) fn bytes(&self) -> usize {
        self.unread.capacity() * size_of::<Estimate>() + self.read.bytes()
    }
}

/// Whether so many nodes of lists cost no more to read than to put in order by their bounds.
fn are_few(listed: f64) -> bool {
    listed * VISITS_PER_LISTED <= VISITS_OF_LISTED
}

/// Cost of an answer from so many nodes of lists, in visits of a search.
pub fn cost(listed: f64, is_estimated: bool) -> f64 {
    let all = listed * VISITS_PER_LISTED;
    match is_estimated {
        true => all.min(listed * VISITS_PER_ESTIMATE + VISITS_OF_LISTED),
        false => all,
    }
}

/// The most visits that lists may cost that a scan with a search of this width reads.
pub fn most_cost(width: f64) -> f64 {
    LISTED_FAR * width
}

/// Visits of a filtered search of this width where this share of the nodes matches.
fn visits(width: f64, share: f64) -> f64 {
    let (visits, power) = FILTERED_VISITS;
    width * (visits * share.powf(power)).max(VISITS_OF_FEW / share)
}

/// The most nodes up to this number that lists may name where `is_cheap` of their cost and them.
fn most_where(nodes: f64, is_estimated: bool, is_cheap: impl Fn(f64, f64) -> bool) -> usize {
    let (mut least, mut most) = (0.0, nodes);
    while most - least > 1.0 + 0.01 * least {
        let middle = (least + most) / 2.0;
        match is_cheap(cost(middle, is_estimated), middle) {
            true => least = middle,
            false => most = middle,
        }
    }
    least as usize
}

/// The most nodes that the index may have.
fn most_nodes<S: PageStore>(graph: &Graph<'_, S>) -> Result<f64> {
    Ok(graph.node_blocks()?.len() as f64 * f64::from(graph.space.layout.slots))
}

impl Scan {
    /// Takes all matching nodes from value lists where these tell that the nodes are so few that no
    /// search is needed to know that it costs more, and says whether it did.
    pub(super) fn list_at_once<S: PageStore>(&mut self, graph: &Graph<'_, S>) -> Result<bool> {
        if !self.query.is_filtered() {
            return Ok(false);
        }
        let nodes = most_nodes(graph)?;
        let width = super::beam_width(graph, self.limits.width) as f64;
        let columns = graph.space.columns();
        let is_set = |(column, _): &(usize, _)| columns.get(*column).is_some_and(|column| column.kind == Kind::Set);
        // Signatures of sets pass many neighbors that do not match, which a search would visit.
        let (most, in_vain) = match self.query.lists().iter().all(is_set) {
            true => (LISTED_FAR, sets::passed_in_vain(USUAL_ELEMENTS)),
            false => (LISTED_AT_ONCE, 0.0),
        };
        self.list_where(graph, nodes, |cost, listed| {
            let share = listed / nodes;
            cost <= (most * width).min(visits(width, share) * (1.0 + in_vain / share))
        })
    }

    /// As [`Scan::list_at_once`], after a search has found the share of the nodes that match around
    /// the query: where going on with it costs more.
    pub(super) fn list_few<S: PageStore>(&mut self, graph: &Graph<'_, S>, share: f64) -> Result<bool> {
        let width = super::beam_width(graph, self.limits.width) as f64;
        let most = visits(width, share).min(most_cost(width));
        self.list_where(graph, most_nodes(graph)?, |cost, _| cost <= most)
    }

    /// As [`Scan::list_at_once`], where the matching nodes are far from the query and a search
    /// would visit more records. If it does not, the search gets a sample of the matching nodes.
    pub(super) fn list_far<S: PageStore>(&mut self, graph: &Graph<'_, S>) -> Result<bool> {
        let most = most_cost(super::beam_width(graph, self.limits.width) as f64);
        if self.list_where(graph, most_nodes(graph)?, |cost, _| cost <= most)? {
            return Ok(true);
        }
        self.search.add_to_sample(matching::sample(graph, &self.query)?)?;
        Ok(false)
    }

    /// Takes the matching nodes from lists if these name no more than `is_cheap` of their cost and
    /// number allows, and the bounds set by the user have room for them; says whether it did.
    fn list_where<S: PageStore>(
        &mut self,
        graph: &Graph<'_, S>,
        nodes: f64,
        is_cheap: impl Fn(f64, f64) -> bool,
    ) -> Result<bool> {
        let has_bounds = self.bounds(graph, nodes).is_some();
        let most = most_where(nodes, has_bounds, is_cheap);
        let most = most.min(self.limits.memory / (2 * size_of::<Found>()));
        // Without bounds all are read.
        let kept = match has_bounds {
            true => (KEPT * self.limits.width).max(FEWEST_KEPT),
            false => usize::MAX,
        };
        for (lists, expected) in matching::expected(graph, &self.query, nodes)? {
            // Reading entries in vain costs as much as a part of a search.
            if expected > MANY * most as f64 {
                continue;
            }
            // Few nodes are all read: their codes need not be.
            let bounds = self.bounds(graph, expected).filter(|_| !are_few(expected));
            let mut named = matching::named(graph, &self.query, bounds.as_ref(), lists, (most, kept))?;
            if bounds.is_none() && named.as_ref().is_some_and(|named| !are_few(named.count as f64)) {
                let bounds = self.bounds(graph, expected);
                named = matching::named(graph, &self.query, bounds.as_ref(), lists, (most, kept))?;
            }
            let Some(named) = named else {
                continue;
            };
            if !self.limits.have_room(named.count) {
                return Ok(false);
            }
            self.listed = Some(Listed::new(named, lists, has_bounds));
            self.phase = Phase::Listed;
            return Ok(true);
        }
        Ok(false)
    }

    /// Lower bounds of the distances of so many nodes from the codes of lists, if there are any:
    /// distances in another form have none, and no node within a radius may be missed.
    fn bounds<S: PageStore>(&self, graph: &Graph<'_, S>, nodes: f64) -> Option<CentroidBounds<'_>> {
        let has_bounds = self.limits.keys == Keys::Stored && self.limits.beyond == f32::INFINITY;
        let wider = (self.limits.width as f64 / USUAL_WIDTH).max(1.0).sqrt().sqrt();
        let (of_many, of_fewer) = DEVIATIONS;
        let fewer = MANY_LISTED / nodes.clamp(FEW_LISTED, MANY_LISTED);
        let deviations = wider * (of_many + of_fewer * fewer.log10());
        has_bounds.then(|| graph.space.centroid_bounds(&self.query, deviations))?
    }

    /// Takes the nodes that are not among the nearest from the lists once more.
    fn list_others<S: PageStore>(&mut self, graph: &Graph<'_, S>, listed: &mut Listed) -> Result<()> {
        // Bounds of another number of deviations are as good for what comes this late.
        let bounds = self.bounds(graph, MANY_LISTED);
        let all = matching::named(
            graph,
            &self.query,
            bounds.as_ref(),
            listed.lists,
            (usize::MAX, usize::MAX),
        )?;
        let nodes = all.map_or(Vec::new(), |all| all.nodes);
        (listed.unread, listed.others) = (BinaryHeap::from(nodes), None);
        Ok(())
    }

    /// Reads nodes until some are nearer than all others may be, and makes these ready; ends the
    /// phase if there are none. Makes a search instead where the query is in a cluster whose nodes
    /// match, because codes tell little of the order within a cluster.
    pub(super) fn read_listed<S: PageStore>(&mut self, graph: &Graph<'_, S>) -> Result<()> {
        let Some(mut listed) = self.listed.take() else {
            self.phase = Phase::Late;
            return Ok(());
        };
        if !listed.reads_all && listed.read.len() == 0 {
            for _ in 0..READ_FIRST / AT_ONCE {
                self.read_next(graph, &mut listed)?;
            }
            if self.may_be_around(graph, &listed)? && self.search_around(graph)? {
                return Ok(());
            }
        }
        // A scan of one round returns its rows in order, and no more of them.
        let (wanted, is_last) = match self.limits.iteration {
            Iteration::Off => (self.limits.width, true),
            Iteration::Relaxed | Iteration::Strict => (1, false),
        };
        let mut near = Vec::new();
        loop {
            if listed.unread.is_empty() && listed.others.is_some() {
                self.list_others(graph, &mut listed)?;
            }
            let bound = listed.bound();
            if bound > f32::NEG_INFINITY {
                near.room(self.farther.len())?;
                near.extend(self.farther.extract_if(.., |found| found.distance <= bound));
            }
            if near.len() >= wanted || listed.unread.is_empty() {
                break;
            }
            self.read_next(graph, &mut listed)?;
        }
        if is_last {
            self.farther = near;
            self.take_nearest(wanted)?;
            self.farther.clear();
            self.phase = Phase::End;
        } else if near.is_empty() {
            self.phase = Phase::Late;
        } else {
            self.make_ready(near);
            self.listed = Some(listed);
        }
        Ok(())
    }

    /// Whether a search may cost less than to read the other nodes that may be nearer: these are
    /// many, and most nodes match around the nearest of those that were read.
    fn may_be_around<S: PageStore>(&mut self, graph: &Graph<'_, S>, listed: &Listed) -> Result<bool> {
        let wanted = self.limits.width.div_ceil(4).max(1);
        // A bound set by the user that has room for the lists may have none for a search.
        let is_bounded = self.limits.nodes < usize::MAX || self.limits.bytes < usize::MAX;
        if is_bounded || self.limits.rounds == Rounds::None {
            return Ok(false);
        }
        self.farther.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance));
        let Some(last) = self.farther.get(wanted - 1).map(|found| estimate::key(found.distance)) else {
            return Ok(false);
        };
        let nearer = listed.unread.iter().filter(|next| next.0.key() <= last).count();
        let width = super::beam_width(graph, self.limits.width) as f64;
        if nearer as f64 * VISITS_PER_LISTED <= visits(width, 1.0) {
            return Ok(false);
        }
        let (mut matching, mut all) = (0, 1);
        for found in self.farther.iter().take(SEEDS) {
            graph.read(found.link.node, |record| {
                let links = match record.is(found.link.generation, 0) {
                    true => record.link_count(),
                    false => 0,
                };
                for (block, start) in (0..links).step_by(LANES).enumerate() {
                    let used = u32::MAX >> (LANES - (links - start).min(LANES));
                    matching += (self.query.matching_lanes(&record, block) & used).count_ones();
                }
                all += links;
                Ok(())
            })?;
        }
        Ok(f64::from(matching) > CLUSTERED * all as f64)
    }

    /// Makes a search the first round if many nodes match around the query, and says whether it
    /// did. The nodes that were read are among its results.
    fn search_around<S: PageStore>(&mut self, graph: &Graph<'_, S>) -> Result<bool> {
        let width = super::beam_width(graph, self.limits.width);
        self.bound_search(graph, width / FIRST_LOOK)?;
        search::search(graph, &mut self.search, &self.query, self.limits.width, width)?;
        if self.search.paused_at().is_some() || self.search.was_cut() {
            return Ok(false);
        }
        let read = std::mem::take(&mut self.farther);
        self.collect()?;
        self.farther.room(read.len())?;
        for found in read {
            if self.search.add_met(found.link.node)? {
                self.round.live += 1;
                self.farther.push(found);
            }
        }
        self.complete_round(graph)?;
        Ok(true)
    }

    /// Reads the next nodes of lists, and keeps the matching ones.
    fn read_next<S: PageStore>(&mut self, graph: &Graph<'_, S>, listed: &mut Listed) -> Result<()> {
        let mut next = Vec::new();
        next.room(AT_ONCE)?;
        while next.len() < AT_ONCE
            && let Some(Reverse(estimate)) = listed.unread.pop()
        {
            let link = estimate.link();
            if !listed.read.contains(link.node) {
                graph.prefetch_vector(link.node);
                next.push(link);
            }
        }
        self.farther.room(next.len())?;
        for (i, &link) in next.iter().enumerate() {
            self.search
                .requests
                .request_list(graph, next[i + 1..].iter().map(|soon| soon.node))?;
            if let Some(found) = self.read_named(graph, link, &mut listed.read)? {
                self.farther.push(found);
            }
        }
        graph.store.check_interrupts();
        Ok(())
    }

    /// Reads a node that a list names, and adds it to those read; none if it does not match, was
    /// read before, or the scan does not return it.
    fn read_named<S: PageStore>(
        &mut self,
        graph: &Graph<'_, S>,
        link: Link,
        read: &mut VisitedSet,
    ) -> Result<Option<Found>> {
        let (query, limits, counts) = (&self.query, &self.limits, &mut self.counts);
        if graph.space.layout.overflows == 0 {
            return graph.read(link.node, |record| {
                counts.add_record(&record, false);
                Ok(match judged(graph, query, link, &record, read, counts)? {
                    Match::No => None,
                    matches => {
                        let distance = graph.distance(query, &record);
                        found(graph, query, limits, (link, distance, matches), &record, counts)
                    }
                })
            });
        }
        counts.pages += 1;
        match graph.read(link.node, |record| judged(graph, query, link, &record, read, counts))? {
            Match::No => Ok(None),
            matches => graph.read_distance(query, link.node, |record, distance| {
                counts.add_record(&record, true);
                Ok(found(graph, query, limits, (link, distance, matches), &record, counts))
            }),
        }
    }
}

/// Tests the filter values of a record that an entry of a list names, before its vector is looked
/// at: some entries of a range's first and last place are beyond the range. No record but the live
/// and complete one of the entry passes, and none twice.
fn judged<S: PageStore>(
    graph: &Graph<'_, S>,
    query: &Query,
    link: Link,
    record: &Record<'_>,
    read: &mut VisitedSet,
    counts: &mut Counts,
) -> Result<Match> {
    // Marked as read only now: a stale entry must not hide the record that uses the slot today.
    let is_wanted = is_live(link, record) && record.is_complete() && !query.passes_over(record);
    if !is_wanted || !read.insert(link.node)? {
        return Ok(Match::No);
    }
    counts.visited += 1;
    Ok(graph.space.test(query, &record.values()))
}

/// The node of a record at this distance, with the outcome of the test, if the scan returns it.
fn found<S: PageStore>(
    graph: &Graph<'_, S>,
    query: &Query,
    limits: &Limits,
    (link, distance, matches): (Link, f32, Match),
    record: &Record<'_>,
    counts: &mut Counts,
) -> Option<Found> {
    if !is_live(link, record) || distance > limits.beyond {
        return None;
    }
    let row = record.only_entry();
    if !limits.killed && row.is_some_and(|row| row.killed) {
        counts.dead_rows += 1;
        return None;
    }
    Some(Found {
        distance: search::key_of(graph, limits.keys, query, record, distance),
        link,
        row: row.map(|row| row.tid),
        lsn: record.lsn(),
        certain: matches == Match::Yes,
    })
}

fn is_live(link: Link, record: &Record<'_>) -> bool {
    record.is(link.generation, 0) && record.state() == State::Node
}
