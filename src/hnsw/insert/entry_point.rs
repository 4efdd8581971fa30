//! The entry point: the record on the meta page where every search begins.
//!
//! It is replaced by compare-and-set under the meta page's lock, so of two sessions that offer
//! themselves one looks again. An index without a live node may have none, or a dead one.

use crate::error::Result;
use crate::hnsw::Graph;
use crate::hnsw::insert::Inserter;
use crate::hnsw::neighbors::selection::VectorAt;
use crate::hnsw::space::{Point, Query};
use crate::storage::meta::{self, EntryPoint, META_BLOCK};
use crate::storage::record::State;
use crate::storage::{Edit, Link, PageStore};

impl<S: PageStore> Graph<'_, S> {
    /// A new level-0 record that nothing links to: it is the first of an index without a live node, and the entry point then;
    /// or somebody else was first, or what it was to be linked to was removed meanwhile, and there is another place for it.
    ///
    /// If nothing around is live, nor the entry point, it takes that one's place, and links to it: what is live beyond the dead is
    /// found as before, until the VACUUM that removes them has linked it.
    pub(super) fn force_first_link(&self, inserter: &mut Inserter, query: &Query, record: VectorAt<'_>) -> Result<()> {
        let mut entered = Point::default();
        while !self.connect(inserter, query, record, 0)? {
            self.store.check_interrupts();
            let entry = self.entry()?;
            if let Some(entry) = entry {
                // The level-0 record tells whether a node lives: the upper ones of a dead node are marked later.
                let node = self.read(entry.link.node, |upper| Ok(upper.owner()))?;
                let generation = self.read(node, |lowest| Ok(lowest.generation()))?;
                let lowest = Link { node, generation };
                if node == record.link.node || self.force_link(lowest, record, 0)? {
                    return Ok(());
                }
                match self.read_point(lowest, 0, &mut entered)? {
                    Some(State::Node) => continue, // Others keep changing it.
                    Some(_) => {
                        let dead = VectorAt {
                            link: lowest,
                            at: &entered,
                        };
                        self.link_if_room(record.link, dead, 0)?;
                    }
                    None => {}
                }
            }
            let this = EntryPoint {
                link: record.link,
                level: 0,
            };
            if self.replace_entry(entry, Some(this))? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Makes a record the entry point if there is none, it is on a lower level, or it was freed. A dead one is left to the VACUUM
    /// that is removing it, which knows the highest live record.
    pub(super) fn promote_entry_point(&self, offered: EntryPoint) -> Result<()> {
        loop {
            let current = self.entry()?;
            if let Some(current) = current {
                let exists = self.read(current.link.node, |record| {
                    Ok(record.is(current.link.generation, current.level))
                })?;
                if exists && current.level >= offered.level {
                    return Ok(());
                }
            }
            if self.replace_entry(current, Some(offered))? {
                return Ok(());
            }
        }
    }

    /// Replaces the entry point if it is still `current`; says whether it was.
    pub(in crate::hnsw) fn replace_entry(
        &self,
        current: Option<EntryPoint>,
        entry: Option<EntryPoint>,
    ) -> Result<bool> {
        self.store.write(META_BLOCK, |page| {
            if meta::read_entry(page)? != current {
                return Ok(Edit::Unchanged(false));
            }
            meta::set_entry(page, entry);
            Ok(Edit::Changed(true))
        })
    }
}
