//! Pages without records at the end of the file, which VACUUM gives back.
//!
//! The caller that cuts them off holds a lock under which no other session uses the index. Records
//! on other pages may still have links to them, made while their targets died. Such links stay
//! stale, because slots of pages added later begin with a generation that no slot of the old pages
//! had.

use crate::error::Result;
use crate::hnsw::Graph;
use crate::storage::format::META_BLOCK;
use crate::storage::meta;
use crate::storage::node_page::NodePage;
use crate::storage::record::State;
use crate::storage::{BlockNumber, Edit, PageStore, page};

/// Number of pages between two calls of `goes_on`.
const ASK_EVERY: BlockNumber = 32;

/// Pages without records at the end of the file.
#[derive(Debug, Clone, Copy)]
pub struct EmptyEnd {
    /// The first of these pages.
    pub from: BlockNumber,
    /// The length of the file.
    pub blocks: BlockNumber,
    /// A generation that none of their slots had while in use.
    generation: u8,
}

impl EmptyEnd {
    /// The number of pages.
    pub fn len(&self) -> BlockNumber {
        self.blocks - self.from
    }

    /// Whether there is no such page.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The pages without records at the end of the file, as far as `goes_on`, which is called every few
/// pages, lets the caller look.
///
/// Locks: one page at a time, shared; on return: none.
pub fn empty_end<S: PageStore>(graph: &Graph<'_, S>, mut goes_on: impl FnMut() -> bool) -> Result<EmptyEnd> {
    let layout = &graph.space.layout;
    let first = graph.store.read(META_BLOCK, meta::read_first_generation)?;
    let blocks = graph.store.blocks()?;
    let mut end = EmptyEnd {
        from: blocks,
        blocks,
        generation: first,
    };
    while end.from > layout.first_block {
        let last = end.from - 1;
        if end.from.is_multiple_of(ASK_EVERY) && !goes_on() {
            break;
        }
        graph.store.check_interrupts();
        // Steps of generations since the first one. Slots of pages that were added before it was
        // raised may be behind.
        let passed = graph.store.read_in_passing(last, |bytes| {
            if page::kind_without_slots(bytes).is_some() {
                return Ok(None);
            }
            let mut passed = 0;
            for record in NodePage::new(bytes, last, layout)?.records() {
                let (_, record) = record?;
                if record.state() != State::Free {
                    return Ok(None);
                }
                passed = passed.max(record.generation().wrapping_sub(first) as i8);
            }
            Ok(Some(passed as u8))
        })?;
        let Some(passed) = passed else { break };
        end.from = last;
        let ahead = end.generation.wrapping_sub(first);
        end.generation = first.wrapping_add(ahead.max(passed));
    }
    Ok(end)
}

/// Raises the generation of new slots, before the pages are cut off.
///
/// Locks: the meta page, exclusive; on return: none.
pub fn retire<S: PageStore>(graph: &Graph<'_, S>, end: &EmptyEnd) -> Result<()> {
    graph.store.write(META_BLOCK, |page| {
        meta::set_first_generation(page, end.generation);
        Ok(Edit::Changed(()))
    })
}
