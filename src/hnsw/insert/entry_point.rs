//! The entry point: the record, named on the meta page, where every search begins.
//!
//! The entry point is replaced only if it is still the one that the session read; of two sessions
//! that replace it at once, one reads it again. The entry point of an index without a live node may
//! be missing or dead.

use crate::error::Result;
use crate::hnsw::Graph;
use crate::hnsw::insert::{Inserter, reselect};
use crate::hnsw::neighbors::back_links;
use crate::hnsw::neighbors::selection::VectorAt;
use crate::hnsw::space::{Point, Query};
use crate::storage::format::META_BLOCK;
use crate::storage::meta::{self, EntryPoint};
use crate::storage::record::State;
use crate::storage::{Edit, Link, PageStore};

/// Links a new level-0 record that has no incoming link. Either the index has no live node, and the
/// record becomes the entry point; or another session inserted the first node, or VACUUM removed
/// all selected neighbors, and the record selects others.
///
/// If neither the neighbors nor the entry point are live, the record replaces the entry point and
/// links to the old one: live nodes beyond the dead ones are found as before, until the VACUUM that
/// removes the dead ones has linked the record.
///
/// Locks: one page at a time, or the few of links back; on entry and on return: none.
pub(super) fn force_first_link<S: PageStore>(
    graph: &Graph<'_, S>,
    inserter: &mut Inserter,
    query: &Query,
    record: VectorAt<'_>,
) -> Result<()> {
    let mut entered = Point::default();
    while !reselect::connect(graph, inserter, query, record, 0)? {
        graph.store.check_interrupts();
        let entry = graph.entry()?;
        if let Some(entry) = entry {
            // The level-0 record tells whether a node lives: upper records of a dead node are
            // marked later.
            let node = graph.read(entry.link.node, |upper| Ok(upper.owner()))?;
            let generation = graph.read(node, |lowest| Ok(lowest.generation()))?;
            let lowest = Link { node, generation };
            if node == record.link.node || back_links::force(graph, lowest, record, 0)? {
                return Ok(());
            }
            match graph.read_point(lowest, 0, &mut entered)? {
                Some(State::Node) => continue, // Other sessions keep changing it.
                Some(_) => {
                    let dead = VectorAt {
                        link: lowest,
                        at: &entered,
                    };
                    back_links::add_if_room(graph, record.link, dead, 0)?;
                }
                None => {}
            }
        }
        let this = EntryPoint {
            link: record.link,
            level: 0,
        };
        if replace(graph, entry, Some(this))? {
            return Ok(());
        }
    }
    Ok(())
}

/// Makes a record the entry point if there is none, or the current one is on a lower level or was
/// freed. A dead entry point is left to the VACUUM that is removing it, which knows the highest
/// live record.
pub(super) fn promote<S: PageStore>(graph: &Graph<'_, S>, offered: EntryPoint) -> Result<()> {
    loop {
        let current = graph.entry()?;
        if let Some(current) = current {
            let exists = graph.read(current.link.node, |record| {
                Ok(record.is(current.link.generation, current.level))
            })?;
            if exists && current.level >= offered.level {
                return Ok(());
            }
        }
        if replace(graph, current, Some(offered))? {
            return Ok(());
        }
    }
}

/// Replaces the entry point if it is still `current`; says whether it was.
///
/// Locks: the meta page, exclusive; on return: none.
pub(in crate::hnsw) fn replace<S: PageStore>(
    graph: &Graph<'_, S>,
    current: Option<EntryPoint>,
    entry: Option<EntryPoint>,
) -> Result<bool> {
    graph.store.write(META_BLOCK, |page| {
        if meta::read_entry(page)? != current {
            return Ok(Edit::Unchanged(false));
        }
        meta::set_entry(page, entry);
        Ok(Edit::Changed(true))
    })
}
