//! Links back to a new record: its selected neighbors get it as a neighbor too.

use std::ops::Range;

use crate::error::Result;
use crate::filter::signature::Signatures;
use crate::hnsw::Graph;
use crate::hnsw::neighbors::lanes::{self, LaneScratch};
use crate::hnsw::neighbors::selection::{self, Selection, VectorAt};
use crate::hnsw::search::NeighborCandidate;
use crate::hnsw::space::{Point, Space};
use crate::hnsw::tuning::insert::FEWEST_LINKS_BACK;
use crate::hnsw::tuning::neighbors::{CHOSEN_ANEW, RETRIES};
use crate::quantize::rabitq::Factors;
use crate::storage::record::{Code, RecordMut, State};
use crate::storage::{Edit, Link, PageStore};

/// Outcome of adding a link.
enum Added {
    /// The record is no live node any more.
    Gone,
    /// The record has the link.
    Linked,
    /// The record has no room: it has to select anew.
    Full,
}

/// Memory of selections, reused.
#[derive(Default)]
pub struct SelectionScratch {
    pub(in crate::hnsw) chosen: Selection,
    pub(in crate::hnsw) neighbors: Neighbors,
    pub(in crate::hnsw) lanes: LaneScratch,
    point: Point,
    links: Vec<Link>,
    choices: Vec<NeighborCandidate>,
    order: Vec<usize>,
}

/// The future links of a record, and the links back to it.
#[derive(Default)]
pub(in crate::hnsw) struct Neighbors {
    links: Vec<Neighbor>,
    words: Vec<u32>,
    each: usize,
}

struct Neighbor {
    link: Link,
    fill: bool,
    factors: Factors,
    /// Factors of the link back.
    back: Factors,
    /// Signatures of the neighbor, and of the record for the link back.
    signatures: [Signatures; 2],
}

impl Neighbors {
    /// Writes them in place of a record's links.
    pub(in crate::hnsw) fn write(&self, record: &mut RecordMut<'_>) {
        record.clear_links();
        for (link, code, fill) in self.iter() {
            record.push_link(link, code, fill);
        }
    }

    /// Sets them to `others`, survivors first, each with whether it is a fill; `at` is the vector
    /// of the record.
    pub(in crate::hnsw) fn set<'a>(
        &mut self,
        space: &Space,
        others: impl Iterator<Item = (VectorAt<'a>, bool)>,
        at: &Point,
    ) {
        self.links.clear();
        self.words.clear();
        self.each = space.layout.code_words();
        let own = space.lane_signatures(&at.values);
        for (other, fill) in others {
            let start = self.words.len();
            self.words.resize(start + self.each, 0);
            let (factors, back) = space.encode_both(other.at, at, &mut self.words[start..]);
            self.links.push(Neighbor {
                link: other.link,
                fill,
                factors,
                back,
                signatures: [space.lane_signatures(&other.at.values), own],
            });
        }
    }

    /// The number of neighbors.
    pub(in crate::hnsw) fn len(&self) -> usize {
        self.links.len()
    }

    /// The number of survivors among them.
    pub(in crate::hnsw) fn survivors(&self) -> usize {
        self.links.partition_point(|neighbor| !neighbor.fill)
    }

    /// The neighbors, their codes, and whether each is a fill.
    pub(in crate::hnsw) fn iter(&self) -> impl Iterator<Item = (Link, Code<'_>, bool)> {
        (0..self.len()).map(|i| (self.links[i].link, self.code(i), self.links[i].fill))
    }

    /// Turns the codes into the codes of the links back.
    pub(in crate::hnsw) fn turn(&mut self) {
        for neighbor in &mut self.links {
            std::mem::swap(&mut neighbor.factors, &mut neighbor.back);
            neighbor.signatures.reverse();
        }
        self.words.iter_mut().for_each(|word| *word = !*word);
    }

    /// Neighbor `i`, and the code of its link back, after [`Neighbors::turn`].
    pub(in crate::hnsw) fn back(&self, i: usize) -> (Link, Code<'_>) {
        (self.links[i].link, self.code(i))
    }

    /// The code of neighbor `i`.
    fn code(&self, i: usize) -> Code<'_> {
        Code {
            words: &self.words[i * self.each..(i + 1) * self.each],
            factors: self.links[i].factors,
            signatures: self.links[i].signatures[0],
        }
    }
}

/// Whether a record is the live one that a link refers to.
pub(in crate::hnsw) fn is_live(record: &RecordMut<'_>, link: Link, level: u8) -> bool {
    let view = record.view();
    view.is(link.generation, level) && view.state() == State::Node
}

/// In a coded index, adds the link `new` to the neighbors, after [`Neighbors::turn`]: to survivors,
/// and to fills as far as fewer than [`FEWEST_LINKS_BACK`] records got it. Other fills take it as a
/// fill if `offers_fills`. Returns the number of records that have it.
///
/// Locks: pages of the neighbors, exclusive, a few at a time in block order; on return: none.
pub(in crate::hnsw) fn add_coded<S: PageStore>(
    graph: &Graph<'_, S>,
    scratch: &mut SelectionScratch,
    new: Link,
    level: u8,
    offers_fills: bool,
) -> Result<usize> {
    let mut linked = add_to_survivors(graph, scratch, new, level)?;
    let (mut next, all) = (scratch.neighbors.survivors(), scratch.neighbors.len());
    while next < all && linked < FEWEST_LINKS_BACK {
        let end = all.min(next + FEWEST_LINKS_BACK - linked);
        linked += add_to(graph, scratch, next..end, new, level, lanes::add)?;
        next = end;
    }
    if offers_fills {
        add_to(graph, scratch, next..all, new, level, |_, record, new, code| {
            lanes::fill(record, new, code)
        })?;
    }
    Ok(linked)
}

/// As [`add_coded`], to survivors alone.
pub(in crate::hnsw) fn add_to_survivors<S: PageStore>(
    graph: &Graph<'_, S>,
    scratch: &mut SelectionScratch,
    new: Link,
    level: u8,
) -> Result<usize> {
    add_to(graph, scratch, 0..scratch.neighbors.survivors(), new, level, lanes::add)
}

/// Adds the link `new` to some of the neighbors as `add` does; returns the number of records that
/// have it.
fn add_to<S: PageStore>(
    graph: &Graph<'_, S>,
    scratch: &mut SelectionScratch,
    some: Range<usize>,
    new: Link,
    level: u8,
    add: impl Fn(&mut LaneScratch, &mut RecordMut<'_>, Link, Code<'_>) -> Edit<bool>,
) -> Result<usize> {
    let SelectionScratch {
        neighbors,
        lanes: memory,
        order,
        ..
    } = scratch;
    order.clear();
    order.extend(some);
    order.sort_by_key(|&i| neighbors.links[i].link.node);
    let mut linked = 0;
    graph.write_each(
        order,
        |&i| neighbors.links[i].link.node,
        |nodes, slot, &i| {
            let (at, code) = neighbors.back(i);
            let mut record = nodes.record(slot)?;
            if !is_live(&record, at, level) {
                return Ok(false);
            }
            let (is_linked, is_changed) = add(memory, &mut record, new, code).parts();
            linked += usize::from(is_linked);
            Ok(is_changed)
        },
    )?;
    Ok(linked)
}

/// In a plain index, adds a link to the record `at`; a full record selects anew among its links and
/// the new one. Says whether the record has the link afterwards.
///
/// Locks: one page at a time; on return: none.
pub(in crate::hnsw) fn add_plain<S: PageStore>(
    graph: &Graph<'_, S>,
    scratch: &mut SelectionScratch,
    at: VectorAt<'_>,
    new: Link,
    level: u8,
) -> Result<bool> {
    for _ in 0..RETRIES {
        match push_plain(graph, scratch, at.link, new, level)? {
            Added::Gone => return Ok(false),
            Added::Linked => return Ok(true),
            Added::Full => {}
        }
        // The selection reads other pages, so it is made without a lock and holds only if the
        // record's links are the same afterwards.
        let before = scratch.links.clone();
        if !choose(graph, scratch, at, &before, new, level)? {
            return Ok(false);
        }
        if replace_links(graph, scratch, at, level, &before)? {
            return Ok(scratch.chosen.all().any(|(other, _)| other.link == new));
        }
    }
    Ok(false)
}

/// Adds a link if there is room; if not, leaves the record's links in `scratch`.
fn push_plain<S: PageStore>(
    graph: &Graph<'_, S>,
    scratch: &mut SelectionScratch,
    at: Link,
    new: Link,
    level: u8,
) -> Result<Added> {
    graph.write(at.node, |nodes, slot| {
        let mut record = nodes.record(slot)?;
        if !is_live(&record, at, level) {
            return Ok(Edit::Unchanged(Added::Gone));
        }
        scratch.links.clear();
        scratch.links.extend(record.view().links());
        if scratch.links.contains(&new) {
            return Ok(Edit::Unchanged(Added::Linked));
        }
        Ok(if record.push_link(new, Code::default(), false) {
            Edit::Changed(Added::Linked)
        } else {
            Edit::Unchanged(Added::Full)
        })
    })
}

/// Selects anew for a record among its links and a new one, into `scratch`. Returns false without a
/// selection if one of them is dead: the VACUUM that removes the dead node lets the record select
/// among the neighbors of that node too.
fn choose<S: PageStore>(
    graph: &Graph<'_, S>,
    scratch: &mut SelectionScratch,
    at: VectorAt<'_>,
    links: &[Link],
    new: Link,
    level: u8,
) -> Result<bool> {
    let SelectionScratch {
        choices, point, chosen, ..
    } = scratch;
    choices.clear();
    for link in links.iter().copied().chain([new]) {
        match graph.read_point(link, level, point)? {
            Some(State::Dead) => return Ok(false),
            Some(_) => choices.push(NeighborCandidate::new(link, graph.space.between(at.at, point))),
            None => {}
        }
    }
    choices.sort_by(|a, b| a.distance.total_cmp(&b.distance));
    let (part, of) = CHOSEN_ANEW;
    selection::select(
        graph,
        choices,
        level,
        selection::fill_to(graph, level) * part / of,
        chosen,
    )?;
    Ok(true)
}

/// Replaces the links of a live record by the selection if they are still `before`; says whether it
/// did.
///
/// Locks: the record's page, exclusive; on return: none.
pub(in crate::hnsw) fn replace_links<S: PageStore>(
    graph: &Graph<'_, S>,
    scratch: &mut SelectionScratch,
    at: VectorAt<'_>,
    level: u8,
    before: &[Link],
) -> Result<bool> {
    let SelectionScratch { chosen, neighbors, .. } = scratch;
    neighbors.set(&graph.space, chosen.all(), at.at);
    graph.write(at.link.node, |nodes, slot| {
        let mut record = nodes.record(slot)?;
        if !is_live(&record, at.link, level) || !record.view().links().eq(before.iter().copied()) {
            return Ok(Edit::Unchanged(false));
        }
        neighbors.write(&mut record);
        Ok(Edit::Changed(true))
    })
}

/// Adds a link if there is room; says whether the record has it afterwards.
///
/// Locks: one page at a time; on return: none.
pub(in crate::hnsw) fn add_if_room<S: PageStore>(
    graph: &Graph<'_, S>,
    at: Link,
    new: VectorAt<'_>,
    level: u8,
) -> Result<bool> {
    let mut point = Point::default();
    if graph.read_point(at, level, &mut point)? != Some(State::Node) {
        return Ok(false);
    }
    let mut words = vec![0; graph.space.layout.code_words()];
    let factors = graph.space.encode(new.at, &point, &mut words);
    let code = Code {
        words: &words,
        factors,
        signatures: graph.space.lane_signatures(&new.at.values),
    };
    graph.write(at.node, |nodes, slot| {
        let mut record = nodes.record(slot)?;
        Ok(if is_live(&record, at, level) {
            lanes::add_if_room(&mut record, new.link, code)
        } else {
            Edit::Unchanged(false)
        })
    })
}

/// Adds a link even where the heuristic would not, because a record without incoming links is never
/// found. If there is no room the link replaces the last one, which the new record takes over
/// first, so that the nodes beyond it are found at any moment. Says whether the record could be
/// linked.
///
/// Locks: one page at a time; on return: none.
pub(in crate::hnsw) fn force<S: PageStore>(
    graph: &Graph<'_, S>,
    at: Link,
    new: VectorAt<'_>,
    level: u8,
) -> Result<bool> {
    let (mut here, mut other) = (Point::default(), Point::default());
    let mut words = vec![0; graph.space.layout.code_words()];
    for _ in 0..RETRIES {
        if add_if_room(graph, at, new, level)? {
            return Ok(true);
        }
        if graph.read_point(at, level, &mut here)? != Some(State::Node) {
            return Ok(false);
        }
        let Some(last) = graph.read(at.node, |record| Ok(record.links().last()))? else {
            continue;
        };
        if graph.read_point(last, level, &mut other)?.is_some() && last != new.link {
            let factors = graph.space.encode(&other, new.at, &mut words);
            let code = Code {
                words: &words,
                factors,
                signatures: graph.space.lane_signatures(&other.values),
            };
            graph.write(new.link.node, |nodes, slot| {
                let mut record = nodes.record(slot)?;
                let view = record.view();
                if !view.is(new.link.generation, level) || view.links().any(|link| link == last) {
                    return Ok(Edit::Unchanged(()));
                }
                lanes::add_or_replace_last(&mut record, last, code);
                Ok(Edit::Changed(()))
            })?;
        }
        let factors = graph.space.encode(new.at, &here, &mut words);
        let code = Code {
            words: &words,
            factors,
            signatures: graph.space.lane_signatures(&new.at.values),
        };
        let replaced = graph.write(at.node, |nodes, slot| {
            let mut record = nodes.record(slot)?;
            let same = is_live(&record, at, level) && record.view().links().last() == Some(last);
            if !same || record.view().links().any(|link| link == new.link) {
                return Ok(Edit::Unchanged(false));
            }
            lanes::add_or_replace_last(&mut record, new.link, code);
            Ok(Edit::Changed(true))
        })?;
        if replaced {
            return Ok(true);
        }
    }
    Ok(false)
}
