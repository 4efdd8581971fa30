//! Links to a new record: a node that it chose becomes its neighbour's neighbour too.

use crate::error::Result;
use crate::hnsw::Graph;
use crate::hnsw::neighbors::lanes;
use crate::hnsw::neighbors::selection::{NeighborCandidate, Selection, VectorAt};
use crate::hnsw::space::{Point, Space};
use crate::hnsw::tuning::neighbors::{CHOSEN_ANEW, RETRIES};
use crate::quantize::rabitq::Factors;
use crate::storage::record::{Code, RecordMut, State};
use crate::storage::{Edit, Link, PageStore};

/// What became of a link that was to be added.
enum Added {
    /// The record is no live node any more.
    Gone,
    /// The link is there.
    Linked,
    /// There is no room: the record has to choose.
    Full,
}

/// Memory for choosing, reused.
#[derive(Default)]
pub struct SelectionScratch {
    pub(in crate::hnsw) chosen: Selection,
    pub(in crate::hnsw) neighbours: Neighbours,
    pub(in crate::hnsw) lanes: lanes::Memory,
    point: Point,
    links: Vec<Link>,
    choices: Vec<NeighborCandidate>,
}

/// A record's links to be, and those back to it.
#[derive(Default)]
pub(in crate::hnsw) struct Neighbours {
    links: Vec<Neighbour>,
    words: Vec<u32>,
    each: usize,
}

struct Neighbour {
    link: Link,
    fill: bool,
    factors: Factors,
    /// Of the link back.
    back: Factors,
}

impl Neighbours {
    /// Writes them in place of a record's links.
    pub(in crate::hnsw) fn write(&self, record: &mut RecordMut<'_>) {
        record.clear_links();
        for (link, code, fill) in self.iter() {
            record.push_link(link, code, fill);
        }
    }

    /// Makes them `others`, survivors first, each with whether it is a fill, of the record whose vector is `at`.
    pub(in crate::hnsw) fn set<'a>(
        &mut self,
        space: &Space,
        others: impl Iterator<Item = (VectorAt<'a>, bool)>,
        at: &Point,
    ) {
        self.links.clear();
        self.words.clear();
        self.each = space.layout.code_words();
        for (other, fill) in others {
            let start = self.words.len();
            self.words.resize(start + self.each, 0);
            let (factors, back) = space.encode_both(other.at, at, &mut self.words[start..]);
            self.links.push(Neighbour {
                link: other.link,
                fill,
                factors,
                back,
            });
        }
    }

    /// How many they are.
    pub(in crate::hnsw) fn len(&self) -> usize {
        self.links.len()
    }

    /// How many of them are survivors.
    pub(in crate::hnsw) fn survivors(&self) -> usize {
        self.links.partition_point(|neighbour| !neighbour.fill)
    }

    /// The neighbours, their codes, and whether they are fills.
    pub(in crate::hnsw) fn iter(&self) -> impl Iterator<Item = (Link, Code<'_>, bool)> {
        (0..self.len()).map(|i| (self.links[i].link, self.code(i), self.links[i].fill))
    }

    /// Turns the codes into those of the links back.
    pub(in crate::hnsw) fn turn(&mut self) {
        for neighbour in &mut self.links {
            std::mem::swap(&mut neighbour.factors, &mut neighbour.back);
        }
        self.words.iter_mut().for_each(|word| *word = !*word);
    }

    /// Neighbour `i`, and the code of the link back from there, once they were turned.
    pub(in crate::hnsw) fn back(&self, i: usize) -> (Link, Code<'_>) {
        (self.links[i].link, self.code(i))
    }

    /// The code of neighbour `i`.
    fn code(&self, i: usize) -> Code<'_> {
        Code {
            words: &self.words[i * self.each..(i + 1) * self.each],
            factors: self.links[i].factors,
        }
    }
}

/// Whether a record is the live one that a link means.
pub(in crate::hnsw) fn is_live(record: &RecordMut<'_>, link: Link, level: u8) -> bool {
    let view = record.view();
    view.is(link.generation, level) && view.state() == State::Node
}

impl<S: PageStore> Graph<'_, S> {
    /// In a coded index, adds the link `new` to its neighbour `i`, whose codes were turned; a full record chooses anew among its links and the new
    /// one. As a `fill` the link only gets a lane that is empty, or holds a fill farther away. Says whether the link is there afterwards.
    pub(in crate::hnsw) fn link_back_coded(
        &self,
        scratch: &mut SelectionScratch,
        i: usize,
        new: Link,
        level: u8,
        fill: bool,
    ) -> Result<bool> {
        let SelectionScratch {
            neighbours,
            lanes: memory,
            ..
        } = scratch;
        let (at, code) = neighbours.back(i);
        self.write(at.node, |nodes, slot| {
            let mut record = nodes.record(slot)?;
            if !is_live(&record, at, level) {
                return Ok(Edit::Unchanged(false));
            }
            Ok(if fill {
                lanes::fill(&mut record, new, code)
            } else {
                lanes::add(memory, &mut record, new, code)
            })
        })
    }

    /// In a plain index, adds a link to the record `at`; a full one chooses anew among its links and the new one. Says whether the link is there
    /// afterwards.
    pub(in crate::hnsw) fn link_back_plain(
        &self,
        scratch: &mut SelectionScratch,
        at: VectorAt<'_>,
        new: Link,
        level: u8,
    ) -> Result<bool> {
        for _ in 0..RETRIES {
            match self.add_plain(scratch, at.link, new, level)? {
                Added::Gone => return Ok(false),
                Added::Linked => return Ok(true),
                Added::Full => {}
            }
            // The choice reads other pages, so it is made without a lock and holds only if the record's links are then still the same.
            let before = scratch.links.clone();
            if !self.choose(scratch, at, &before, new, level)? {
                return Ok(false);
            }
            if self.replace_links(scratch, at, level, &before)? {
                return Ok(scratch.chosen.all().any(|(other, _)| other.link == new));
            }
        }
        Ok(false)
    }

    /// Adds a link if there is room; if not, leaves the record's links in `scratch`.
    fn add_plain(&self, scratch: &mut SelectionScratch, at: Link, new: Link, level: u8) -> Result<Added> {
        self.write(at.node, |nodes, slot| {
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

    /// Chooses anew for a record among its links and a new one, into `scratch`; not if one of them is dead, since the VACUUM that is
    /// removing it lets the record choose among what lies beyond it too.
    fn choose(
        &self,
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
            match self.read_point(link, level, point)? {
                Some(State::Dead) => return Ok(false),
                Some(_) => choices.push(NeighborCandidate {
                    distance: self.space.between(at.at, point),
                    link,
                }),
                None => {}
            }
        }
        choices.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        let (part, of) = CHOSEN_ANEW;
        self.select(choices, level, self.fill_to(level) * part / of, chosen)?;
        Ok(true)
    }

    /// Replaces the links of a live record by what was chosen if they are still `before`; says whether it did.
    pub(in crate::hnsw) fn replace_links(
        &self,
        scratch: &mut SelectionScratch,
        at: VectorAt<'_>,
        level: u8,
        before: &[Link],
    ) -> Result<bool> {
        let SelectionScratch { chosen, neighbours, .. } = scratch;
        neighbours.set(&self.space, chosen.all(), at.at);
        self.write(at.link.node, |nodes, slot| {
            let mut record = nodes.record(slot)?;
            if !is_live(&record, at.link, level) || !record.view().links().eq(before.iter().copied()) {
                return Ok(Edit::Unchanged(false));
            }
            neighbours.write(&mut record);
            Ok(Edit::Changed(true))
        })
    }

    /// Adds a link if there is room; says whether the record links to `new` now.
    pub(in crate::hnsw) fn link_if_room(&self, at: Link, new: VectorAt<'_>, level: u8) -> Result<bool> {
        let mut point = Point::default();
        if self.read_point(at, level, &mut point)? != Some(State::Node) {
            return Ok(false);
        }
        let mut words = vec![0; self.space.layout.code_words()];
        let factors = self.space.encode(new.at, &point, &mut words);
        let code = Code { words: &words, factors };
        self.write(at.node, |nodes, slot| {
            let mut record = nodes.record(slot)?;
            Ok(if is_live(&record, at, level) {
                lanes::add_if_room(&mut record, new.link, code)
            } else {
                Edit::Unchanged(false)
            })
        })
    }

    /// Adds a link even where the heuristic would not: a record that nothing links to is never found. If there is no room the
    /// link replaces the last one, which the new record takes over first, so that what it leads to is found at any moment. Says
    /// whether the record could be linked.
    pub(in crate::hnsw) fn force_link(&self, at: Link, new: VectorAt<'_>, level: u8) -> Result<bool> {
        let (mut here, mut other) = (Point::default(), Point::default());
        let mut words = vec![0; self.space.layout.code_words()];
        for _ in 0..RETRIES {
            if self.link_if_room(at, new, level)? {
                return Ok(true);
            }
            if self.read_point(at, level, &mut here)? != Some(State::Node) {
                return Ok(false);
            }
            let Some(last) = self.read(at.node, |record| Ok(record.links().last()))? else {
                continue;
            };
            if self.read_point(last, level, &mut other)?.is_some() && last != new.link {
                let factors = self.space.encode(&other, new.at, &mut words);
                let code = Code { words: &words, factors };
                self.write(new.link.node, |nodes, slot| {
                    let mut record = nodes.record(slot)?;
                    let view = record.view();
                    if !view.is(new.link.generation, level) || view.links().any(|link| link == last) {
                        return Ok(Edit::Unchanged(()));
                    }
                    lanes::add_or_replace_last(&mut record, last, code);
                    Ok(Edit::Changed(()))
                })?;
            }
            let factors = self.space.encode(new.at, &here, &mut words);
            let code = Code { words: &words, factors };
            let replaced = self.write(at.node, |nodes, slot| {
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
}
