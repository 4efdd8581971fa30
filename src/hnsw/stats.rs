//! Statistics of a graph, counted in one pass over its pages.

use crate::error::Result;
use crate::hnsw::Graph;
use crate::storage::PageStore;
use crate::storage::node_page::NodePage;
use crate::storage::page;
use crate::storage::record::State;

/// Statistics of a graph. Other sessions may change it while it is counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Nodes with rows.
    pub nodes: u64,
    /// Nodes without rows, which VACUUM will free.
    pub dead: u64,
    /// Nodes with rows that have a record on each level, from level 0 on.
    pub levels: Vec<u64>,
    /// Links that the records of nodes with rows have on level 0.
    pub links: u64,
    /// Slots in use.
    pub used: u64,
    /// All slots of the pages of records.
    pub slots: u64,
}

/// Counts the statistics of the graph.
pub fn of<S: PageStore>(graph: &Graph<'_, S>) -> Result<Statistics> {
    let mut statistics = Statistics::default();
    for block in graph.node_blocks()? {
        graph.store.check_interrupts();
        graph.store.read_in_passing(block, |page| {
            let nodes = NodePage::new(page, block, &graph.space.layout)?;
            if page::kind_without_slots(page).is_some() {
                return Ok(());
            }
            statistics.slots += u64::from(graph.space.layout.slots);
            for record in nodes.records() {
                let (_, record) = record?;
                let level = usize::from(record.level());
                statistics.used += u64::from(record.state() != State::Free);
                match record.state() {
                    State::Node => {
                        if statistics.levels.len() <= level {
                            statistics.levels.resize(level + 1, 0);
                        }
                        statistics.levels[level] += 1;
                        statistics.links += if level == 0 { record.link_count() as u64 } else { 0 };
                    }
                    State::Dead if level == 0 => statistics.dead += 1,
                    _ => {}
                }
            }
            Ok(())
        })?;
    }
    statistics.nodes = statistics.levels.first().copied().unwrap_or(0);
    Ok(statistics)
}
