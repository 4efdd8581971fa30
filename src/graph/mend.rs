//! Mending: live records that link to dead ones get other links, from what lies beyond these.
//!
//! A record chooses among its live neighbours and those of the dead ones that it is losing, by exact distances: choosing by estimates from codes costs
//! recall at narrow searches (docs/design.md). A plain record chooses everything anew. A coded one keeps its live survivors, since what was linked once
//! may have no other link, and takes others beside them.
//! The choice is made without a lock, and holds only if the record's links are then still the same.

use super::Graph;
use super::insert::Inserter;
use super::lanes;
use super::link::{Linker, is_live};
use super::node_set::NodeSet;
use super::select::{Choice, Located};
use super::space::{Point, Query};
use super::visited::Visited;
use crate::error::Result;
use crate::storage::node_page::NodePage;
use crate::storage::record::{Record, State};
use crate::storage::{BlockNumber, Edit, Link, PageStore};

/// Neighbours of each dead survivor among which a coded record chooses: those nearest to the dead one.
const CANDIDATES: usize = 24;

/// Records that are hinted before they are read.
const AHEAD: usize = 4;

impl<S: PageStore> Graph<'_, S> {
    /// Mends every live record of a page that links to a dead one; says how many such links there were.
    pub(super) fn mend_page(&self, block: BlockNumber, dead: &NodeSet, inserter: &mut Inserter) -> Result<u64> {
        let mut links = 0;
        let broken = self.store.read_in_passing(block, |page| {
            let mut broken = Vec::new();
            for record in NodePage::new(page, block, &self.space.layout)?.records() {
                let (node, record) = record?;
                if record.state() != State::Node {
                    continue;
                }
                let to_dead = record.links().filter(|link| dead.contains(link.node)).count();
                if to_dead > 0 {
                    links += to_dead as u64;
                    let generation = record.generation();
                    broken.push((Link { node, generation }, record.level()));
                }
            }
            Ok(broken)
        })?;
        let mut around = Around::new();
        for &(record, level) in &broken {
            self.store.check_interrupts();
            if self.space.layout.is_coded() {
                self.mend_coded(record, level, dead, &mut around, inserter)?;
            } else {
                self.mend_plain(record, level, dead, inserter)?;
            }
        }
        Ok(links)
    }

    fn mend_coded(
        &self,
        link: Link,
        level: u8,
        dead: &NodeSet,
        around: &mut Around,
        inserter: &mut Inserter,
    ) -> Result<()> {
        let is_dead = |link: &Link| dead.contains(link.node);
        let mut point = Point::default();
        loop {
            self.store.check_interrupts();
            if self.read_point(link, level, &mut point)?.is_none() {
                return Ok(());
            }
            let at = Located { link, at: &point };
            let (before, survivors) = self.read(link.node, |record| {
                Ok((
                    record.links().collect::<Vec<_>>(),
                    record.survivors().collect::<Vec<_>>(),
                ))
            })?;
            let (gone, kept): (Vec<_>, Vec<_>) = survivors.into_iter().partition(is_dead);
            if gone.is_empty() && !kept.is_empty() {
                return self.write(link.node, |nodes, slot| {
                    let mut record = nodes.record(slot)?;
                    Ok(if is_live(&record, link, level) {
                        lanes::retain(&mut record, |link, fill| (!is_dead(&link)).then_some(fill))
                    } else {
                        Edit::Unchanged(())
                    })
                });
            }
            let live = before.iter().copied().filter(|link| !is_dead(link));
            let links = live.chain(self.beyond(&gone, level, dead)?).collect();
            self.gather(links, at, level, around)?;
            let Linker { chosen, neighbours, .. } = &mut inserter.linker;
            let (choices, read) = around.choices();
            self.select_read(&kept, choices, read, level, self.fill_to(level), chosen)?;
            let stay: Vec<_> = chosen.all().map(|(other, fill)| (other.link, fill)).collect();
            let new = chosen.all().filter(|(other, _)| !before.contains(&other.link));
            neighbours.set(&self.space, new, at.at);
            let is_mended = self.write(link.node, |nodes, slot| {
                let mut record = nodes.record(slot)?;
                if !is_live(&record, link, level) || !record.view().links().eq(before.iter().copied()) {
                    return Ok(Edit::Unchanged(false));
                }
                lanes::retain(&mut record, |link, _| {
                    let stays = stay.iter().find(|(other, _)| *other == link);
                    stays.map(|&(_, fill)| fill)
                });
                for (link, code, fill) in neighbours.iter() {
                    record.push_link(link, code, fill);
                }
                Ok(Edit::Changed(true))
            })?;
            if !is_mended {
                continue;
            }
            if chosen.survivors.is_empty() {
                return self.connect_lonely(inserter, at, level);
            }
            neighbours.turn();
            for i in 0..inserter.linker.neighbours.survivors() {
                self.link_neighbour_back(&mut inserter.linker, i, link, level, false)?;
            }
            return Ok(());
        }
    }

    /// Starts again from the entry point, which is replaced only afterwards, where all around a record is gone.
    fn connect_lonely(&self, inserter: &mut Inserter, record: Located<'_>, level: u8) -> Result<()> {
        let mut query = Query::default();
        self.space.set_query(record.at, &mut query);
        self.connect(inserter, &query, record, level).map(drop)
    }

    /// What lies beyond dead records: the live links of each, nearest to it first, up to [`CANDIDATES`].
    fn beyond(&self, gone: &[Link], level: u8, dead: &NodeSet) -> Result<Vec<Link>> {
        let mut beyond = Vec::new();
        for gone in gone {
            self.read(gone.node, |record| {
                if record.is(gone.generation, level) {
                    beyond.extend(live_links(&record, dead).into_iter().take(CANDIDATES));
                }
                Ok(())
            })?;
        }
        Ok(beyond)
    }

    fn mend_plain(&self, link: Link, level: u8, dead: &NodeSet, inserter: &mut Inserter) -> Result<()> {
        let mut point = Point::default();
        loop {
            self.store.check_interrupts();
            if self.read_point(link, level, &mut point)?.is_none() {
                return Ok(());
            }
            let at = Located { link, at: &point };
            let before = self.read(link.node, |record| Ok(record.links().collect::<Vec<_>>()))?;
            let choices = self.choices_around(&before, at, level, dead)?;
            let chosen = &mut inserter.linker.chosen;
            // As many links as before: a record that has lost half of them would be reached, and lead on, half as often.
            let fill_to = self.fill_to(level).max(before.len());
            self.select(choices, level, fill_to, chosen)?;
            if chosen.survivors.is_empty() {
                self.replace_links(&mut inserter.linker, at, level, &before)?;
                return self.connect_lonely(inserter, at, level);
            }
            if self.replace_links(&mut inserter.linker, at, level, &before)? {
                let chosen = std::mem::take(&mut inserter.linker.chosen);
                let new = |other: &Located<'_>| !before.contains(&other.link);
                for other in chosen.survivors.iter().filter(new) {
                    self.link_back(&mut inserter.linker, other, at, level)?;
                }
                inserter.linker.chosen = chosen;
                return Ok(());
            }
        }
    }

    /// The live neighbours of a record and the live neighbours of its dead ones, in order of distance.
    pub(super) fn choices_around(
        &self,
        links: &[Link],
        at: Located<'_>,
        level: u8,
        dead: &NodeSet,
    ) -> Result<Vec<Choice>> {
        let mut around = Vec::new();
        for link in links {
            if !dead.contains(link.node) {
                around.push(*link);
                continue;
            }
            self.read(link.node, |record| {
                if record.is(link.generation, level) {
                    around.extend(record.links().filter(|link| !dead.contains(link.node)));
                }
                Ok(())
            })?;
        }
        let mut places = Around::new();
        self.gather(around, at, level, &mut places)?;
        Ok(places.choices.into_iter().map(|(choice, _)| choice).collect())
    }

    /// Reads those of the links that lead to live records.
    fn gather(&self, mut links: Vec<Link>, at: Located<'_>, level: u8, around: &mut Around) -> Result<()> {
        around.choices.clear();
        around.met.clear();
        around.met.insert(at.link.node);
        links.retain(|link| around.met.insert(link.node));
        for (i, &link) in links.iter().enumerate() {
            if let Some(soon) = links.get(i + AHEAD) {
                self.prefetch(soon.node);
            }
            let place = around.choices.len();
            if place == around.points.len() {
                around.points.push(Point::default());
            }
            let point = &mut around.points[place];
            if self.read_point(link, level, point)? == Some(State::Node) {
                let distance = self.space.between(at.at, point);
                around.choices.push((Choice { distance, link }, place));
            }
        }
        around.choices.sort_by(|a, b| a.0.distance.total_cmp(&b.0.distance));
        Ok(())
    }
}

/// Live records around one, nearest first, with their vectors. Memory that is reused.
struct Around {
    met: Visited,
    /// Each with the place of its vector.
    choices: Vec<(Choice, usize)>,
    points: Vec<Point>,
}

impl Around {
    fn new() -> Around {
        Around {
            met: Visited::new(),
            choices: Vec::new(),
            points: Vec::new(),
        }
    }

    /// As [`Graph::select_read`] takes them: they can be read once.
    fn choices(
        &mut self,
    ) -> (
        impl Iterator<Item = Choice>,
        impl FnMut(&Choice, &mut Point) -> Result<Option<State>>,
    ) {
        let Around { choices, points, .. } = self;
        let mut places = choices.iter().map(|(_, place)| *place);
        let read = move |_: &Choice, point: &mut Point| {
            let place = places.next();
            Ok(place.map(|place| {
                std::mem::swap(&mut points[place], point);
                State::Node
            }))
        };
        (choices.iter().map(|(choice, _)| *choice), read)
    }
}

/// The links of a coded record that do not lead to dead ones, nearest first.
fn live_links(record: &Record<'_>, dead: &NodeSet) -> Vec<Link> {
    let mut live: Vec<_> = (0..record.link_count())
        .map(|i| (record.length(i), record.link(i)))
        .filter(|(_, link)| !dead.contains(link.node))
        .collect();
    live.sort_by(|a, b| a.0.total_cmp(&b.0));
    live.into_iter().map(|(_, link)| link).collect()
}
