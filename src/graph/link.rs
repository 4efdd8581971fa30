//! Links back: a node that others were chosen for becomes their neighbour too.

use super::Graph;
use super::select::{Choice, Chosen, decode};
use crate::error::Result;
use crate::storage::record::State;
use crate::storage::{Edit, Link, PageStore};

/// How often a record that others are changing at the same time is chosen for anew, before its new link is given up.
const RETRIES: usize = 8;

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
pub struct Linker {
    pub(super) chosen: Chosen,
    vector: Vec<f32>,
    links: Vec<Link>,
    choices: Vec<Choice>,
}

impl<S: PageStore> Graph<'_, S> {
    /// Adds a link to the record `at`; when it is full, lets it choose anew among its links and the new one. Says whether
    /// the record links to `new` afterwards.
    ///
    /// The choice reads other pages, so it is made without a lock and holds only if the record's links are then still the same.
    pub(super) fn link_back(&self, linker: &mut Linker, at: Link, new: Link, level: u8) -> Result<bool> {
        for _ in 0..RETRIES {
            match self.add_link(linker, at, new, level)? {
                Added::Gone => return Ok(false),
                Added::Linked => return Ok(true),
                Added::Full => {}
            }
            let before = linker.links.clone();
            let candidates = before.iter().copied().chain([new]);
            let Some(selected) = self.choose(linker, candidates, level)? else {
                return Ok(false);
            };
            if self.replace_links(at, level, &before, &selected)? {
                return Ok(selected.contains(&new));
            }
        }
        Ok(false)
    }

    /// Adds a link if there is room; if not, leaves the record's vector and links in `linker`.
    fn add_link(&self, linker: &mut Linker, at: Link, new: Link, level: u8) -> Result<Added> {
        self.write(at.node, |nodes, slot| {
            let mut record = nodes.record(slot)?;
            let view = record.view();
            if !view.is(at.generation, level) || view.state() != State::Node {
                return Ok(Edit::Unchanged(Added::Gone));
            }
            linker.links.clear();
            linker.links.extend(view.links());
            if linker.links.contains(&new) {
                return Ok(Edit::Unchanged(Added::Linked));
            }
            decode(view.vector(), &mut linker.vector);
            Ok(if record.push_link(new) {
                Edit::Changed(Added::Linked)
            } else {
                Edit::Unchanged(Added::Full)
            })
        })
    }

    /// Chooses among `candidates` for the record whose vector is in `linker`; not if one of them is dead, since the VACUUM that is
    /// removing it lets the record choose among what lies beyond it too.
    fn choose(
        &self,
        linker: &mut Linker,
        candidates: impl IntoIterator<Item = Link>,
        level: u8,
    ) -> Result<Option<Vec<Link>>> {
        linker.choices.clear();
        for link in candidates {
            let met = self.read(link.node, |record| {
                let judge = || (record.state(), self.distance(&linker.vector, &record));
                Ok(record.is(link.generation, level).then(judge))
            })?;
            match met {
                Some((State::Dead, _)) => return Ok(None),
                Some((_, distance)) => linker.choices.push(Choice { distance, link }),
                None => {}
            }
        }
        linker.choices.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        let choices = linker.choices.iter().copied();
        let capacity = self.layout.link_capacity(level);
        self.select(choices, capacity, level, &mut linker.chosen).map(Some)
    }

    /// Replaces the links of a live record if they are still `before`; says whether it did.
    pub(super) fn replace_links(&self, at: Link, level: u8, before: &[Link], links: &[Link]) -> Result<bool> {
        self.write(at.node, |nodes, slot| {
            let mut record = nodes.record(slot)?;
            let view = record.view();
            let same = view.is(at.generation, level) && view.state() == State::Node;
            if !same || !view.links().eq(before.iter().copied()) {
                return Ok(Edit::Unchanged(false));
            }
            record.set_links(links);
            Ok(Edit::Changed(true))
        })
    }

    /// Adds a link if there is room; says whether the record links to `new` now.
    pub(super) fn link_if_room(&self, at: Link, new: Link, level: u8) -> Result<bool> {
        self.write(at.node, |nodes, slot| {
            let mut record = nodes.record(slot)?;
            let live = record.view().is(at.generation, level) && record.view().state() == State::Node;
            if live && record.view().links().any(|link| link == new) {
                return Ok(Edit::Unchanged(true));
            }
            Ok(if live && record.push_link(new) {
                Edit::Changed(true)
            } else {
                Edit::Unchanged(false)
            })
        })
    }

    /// Adds a link even where the heuristic would not: a record that nothing links to is never found. If there is no room the
    /// link replaces the last one, which the new record takes over first, so that what it leads to is found at any moment. Says
    /// whether the record could be linked.
    pub(super) fn force_link(&self, at: Link, new: Link, level: u8) -> Result<bool> {
        for _ in 0..RETRIES {
            if self.link_if_room(at, new, level)? {
                return Ok(true);
            }
            let last = self.read(at.node, |record| {
                let live = record.is(at.generation, level) && record.state() == State::Node;
                Ok(record.links().last().filter(|_| live))
            })?;
            let Some(last) = last else { return Ok(false) };
            self.write(new.node, |nodes, slot| {
                let mut record = nodes.record(slot)?;
                let view = record.view();
                if !view.is(new.generation, level) || last == new || view.links().any(|link| link == last) {
                    return Ok(Edit::Unchanged(()));
                }
                record.push_or_replace_link(last);
                Ok(Edit::Changed(()))
            })?;
            let replaced = self.write(at.node, |nodes, slot| {
                let mut record = nodes.record(slot)?;
                let view = record.view();
                let live = view.is(at.generation, level) && view.state() == State::Node;
                if !live || view.links().last() != Some(last) || view.links().any(|link| link == new) {
                    return Ok(Edit::Unchanged(false));
                }
                record.push_or_replace_link(new);
                Ok(Edit::Changed(true))
            })?;
            if replaced {
                return Ok(true);
            }
        }
        Ok(false)
    }
}
