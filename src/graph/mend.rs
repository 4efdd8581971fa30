//! Mending: live records that link to dead ones get other links, from what lies beyond these.
//!
//! Candidates are the neighbours of the dead ones that were removed from a record. A plain record chooses anew among them and its own. In a coded
//! index a record keeps what it has: links are many, and what was linked once may have no other link. Lanes of dead ones are emptied,
//! and the candidates come in by estimates from codes, under the page's lock ([`lanes::mend`]); only their own vectors are read.

use std::collections::HashSet;

use super::Graph;
use super::insert::Inserter;
use super::lanes;
use super::link::is_live;
use super::node_set::NodeSet;
use super::select::{Choice, Located};
use super::space::{Point, Query};
use crate::error::Result;
use crate::storage::node_page::NodePage;
use crate::storage::record::{Code, Record, State};
use crate::storage::{BlockNumber, Edit, Link, PageStore};

/// Neighbours of dead ones that a coded record may take for them, for each dead survivor: those nearest to the dead one.
const CANDIDATES: usize = 16;

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
        for &(record, level) in &broken {
            self.store.check_interrupts();
            if self.space.layout.is_coded() {
                self.mend_coded(record, level, dead, inserter)?;
            } else {
                self.mend_plain(record, level, dead, inserter)?;
            }
        }
        Ok(links)
    }

    fn mend_coded(&self, link: Link, level: u8, dead: &NodeSet, inserter: &mut Inserter) -> Result<()> {
        let mut point = Point::default();
        if self.read_point(link, level, &mut point)?.is_none() {
            return Ok(());
        }
        let at = Located { link, at: &point };
        let beyond = self.beyond_dead(link, level, dead)?;
        let each = self.space.layout.code_words();
        let (mut other, mut candidates, mut words) = (Point::default(), Vec::new(), Vec::new());
        for candidate in beyond {
            if self.read_point(candidate, level, &mut other)? == Some(State::Node) {
                let start = words.len();
                words.resize(start + each, 0);
                let factors = self.space.encode(&other, at.at, &mut words[start..]);
                candidates.push((candidate, factors));
            }
        }
        let codes = words.chunks_exact(each);
        let candidates: Vec<_> = candidates
            .into_iter()
            .zip(codes)
            .map(|((link, factors), words)| (link, Code { words, factors }))
            .collect();
        let limit = self.survivor_limit(level);
        let memory = inserter.linker.lanes();
        let (linked, is_lonely) = self.write(link.node, |nodes, slot| {
            let mut record = nodes.record(slot)?;
            if !is_live(&record, link, level) {
                return Ok(Edit::Unchanged((Vec::new(), false)));
            }
            let linked = lanes::mend(memory, &mut record, |link| dead.contains(link.node), &candidates, limit);
            let is_lonely = record.view().survivors().next().is_none();
            Ok(Edit::Changed((linked, is_lonely)))
        })?;
        for i in linked {
            if self.read_point(candidates[i].0, level, &mut other)? == Some(State::Node) {
                let other = Located {
                    link: candidates[i].0,
                    at: &other,
                };
                self.link_back(&mut inserter.linker, other, at, level)?;
            }
        }
        if is_lonely {
            // All around it is gone: start again from the entry point, which is replaced only afterwards.
            let mut query = Query::default();
            self.space.set_query(&point, &mut query);
            self.connect(inserter, &query, at, level)?;
        }
        Ok(())
    }

    /// What lies beyond the dead survivors of a record: their live links, nearest to them first.
    fn beyond_dead(&self, link: Link, level: u8, dead: &NodeSet) -> Result<Vec<Link>> {
        let (gone, mut known) = self.read(link.node, |record| {
            let gone = record.survivors().filter(|link| dead.contains(link.node));
            let known = record.links().map(|link| link.node);
            Ok((gone.collect::<Vec<_>>(), known.collect::<HashSet<_>>()))
        })?;
        known.insert(link.node);
        let mut beyond = Vec::new();
        for gone in gone {
            self.read(gone.node, |record| {
                if record.is(gone.generation, level) {
                    let live = live_links(&record, dead);
                    beyond.extend(live.into_iter().take(CANDIDATES).filter(|link| known.insert(link.node)));
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
                let mut query = Query::default();
                self.space.set_query(&point, &mut query);
                self.replace_links(&mut inserter.linker, at, level, &before)?;
                self.connect(inserter, &query, at, level)?;
                return Ok(());
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
        let mut met = HashSet::from([at.link.node]);
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
        let mut point = Point::default();
        let mut choices = Vec::new();
        for link in around {
            if met.insert(link.node) && self.read_point(link, level, &mut point)? == Some(State::Node) {
                let distance = self.space.between(at.at, &point);
                choices.push(Choice { distance, link });
            }
        }
        choices.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        Ok(choices)
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
