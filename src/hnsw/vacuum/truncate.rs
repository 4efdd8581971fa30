//! Pages without records at the end of the file, which VACUUM gives back.
//!
//! Whoever cuts them off holds a lock that nobody else uses the index under. What nobody then knows of, records on other pages may still: a link that was made
//! while its target died is left there. It stays stale, since slots of pages that are added later begin with a generation that nothing on those cut off had.

use crate::error::Result;
use crate::hnsw::Graph;
use crate::storage::format::META_BLOCK;
use crate::storage::meta;
use crate::storage::node_page::NodePage;
use crate::storage::record::State;
use crate::storage::{BlockNumber, Edit, PageStore};

/// Pages after which a look at them may be interrupted.
const ASK_EVERY: BlockNumber = 32;

/// Pages without records at the end of the file.
#[derive(Debug, Clone, Copy)]
pub struct EmptyEnd {
    /// The first of them.
    pub from: BlockNumber,
    /// The length of the file.
    pub blocks: BlockNumber,
    /// A generation that none of their slots had while it was in use.
    generation: u8,
}

impl EmptyEnd {
    /// How many there are.
    pub fn len(&self) -> BlockNumber {
        self.blocks - self.from
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<S: PageStore> Graph<'_, S> {
    /// The pages without records at the end, as far as `goes_on`, which is asked now and then, lets us look.
    pub fn empty_end(&self, mut goes_on: impl FnMut() -> bool) -> Result<EmptyEnd> {
        let layout = &self.space.layout;
        let first = self.store.read(META_BLOCK, meta::read_first_generation)?;
        let blocks = self.store.blocks()?;
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
            self.store.check_interrupts();
            // How far generations have come since the first one. Those of pages that were added before it was raised may be behind.
            let passed = self.store.read_in_passing(last, |page| {
                let mut passed = 0;
                for record in NodePage::new(page, last, layout)?.records() {
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

    /// Prepares for pages at the end to be cut off.
    pub fn retire(&self, end: &EmptyEnd) -> Result<()> {
        self.store.write(META_BLOCK, |page| {
            meta::set_first_generation(page, end.generation);
            Ok(Edit::Changed(()))
        })
    }
}
