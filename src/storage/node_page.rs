//! Node pages: slots of the index's stride, used from the first one on. Used slots lie below
//! `pd_lower`.
//!
//! A slot that was never used reads as a free one, on a page of any kind, because links may lead to
//! blocks that VACUUM cut off and that were added again.

use super::page::{self, HEADER_SIZE, Page, PageKind};
use super::record::{Record, RecordMut, State};
use super::{BlockNumber, Layout, Link, NodeRef, corrupted};
use crate::error::Result;

/// Read view of a node page.
pub struct NodePage<'a> {
    page: &'a Page,
    block: BlockNumber,
    layout: &'a Layout,
}

/// Checks a node page, or one of other contents beside them, and counts its used slots.
#[inline]
fn used_slots(page: &Page, block: BlockNumber, layout: &Layout) -> Result<u32> {
    let kind = page::kind_without_slots(page).unwrap_or(PageKind::Node);
    page::check(page, block, kind, layout.stride)?;
    let used = page::lower(page) - HEADER_SIZE;
    if !used.is_multiple_of(layout.stride) {
        return corrupted(block, "contents do not end with a record");
    }
    Ok((used / layout.stride) as u32)
}

impl<'a> NodePage<'a> {
    /// Reads `page` as a node page. A list or query page has no records.
    #[inline]
    pub fn new(page: &'a Page, block: BlockNumber, layout: &'a Layout) -> Result<NodePage<'a>> {
        let page = match page::is_new(page) {
            true => &page::NEW, // Its other bytes do not matter.
            false => {
                used_slots(page, block, layout)?;
                page
            }
        };
        Ok(NodePage { page, block, layout })
    }

    /// Reads a page that a reference leads to, without a look at its special space, which is
    /// another cache line. Other contents than records are checked as records are.
    #[inline]
    pub fn visited(page: &'a Page, block: BlockNumber, layout: &'a Layout) -> Result<NodePage<'a>> {
        if block < layout.first_block {
            return corrupted(block, "a reference names a page that is not one of records");
        }
        let page = match page::check_header(page, block) {
            Ok(()) => page,
            Err(_) if page::is_new(page) => &page::NEW,
            Err(error) => return Err(error),
        };
        Ok(NodePage { page, block, layout })
    }

    /// Slots in use or freed; later ones, up to the layout's `slots`, were never used.
    pub fn len(&self) -> u32 {
        (page::lower(self.page).saturating_sub(HEADER_SIZE) / self.layout.stride) as u32
    }

    /// Whether no slot was ever used.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether no slot is in use, and the page has no other contents.
    pub fn is_unused(&self) -> Result<bool> {
        if page::kind_without_slots(self.page).is_some() {
            return Ok(false);
        }
        for record in self.records() {
            if record?.1.state() != State::Free {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The record in a slot.
    #[inline]
    pub fn record(&self, slot: u32) -> Result<Record<'a>> {
        let start = self.layout.offset(slot);
        let page = if start + self.layout.stride > page::lower(self.page) {
            &page::NEW
        } else {
            self.page
        };
        let bytes = &page[start..start + self.layout.stride];
        Record::new(bytes, self.block, self.layout, page::lsn(self.page))
    }

    /// All records with their addresses, including free slots.
    pub fn records(&self) -> impl Iterator<Item = Result<(NodeRef, Record<'a>)>> + '_ {
        (0..self.len()).map(|slot| Ok((self.layout.node(self.block, slot)?, self.record(slot)?)))
    }
}

/// Makes an empty node page of a page that was never initialised; `first_generation` is that of its
/// slots.
pub fn init(page: &mut Page, layout: &Layout, first_generation: u8) {
    page::init(page, PageKind::Node, layout.stride);
    page::set_first_generation(page, first_generation);
}

/// A node page under change.
pub struct NodePageMut<'a> {
    page: &'a mut Page,
    block: BlockNumber,
    layout: &'a Layout,
}

impl<'a> NodePageMut<'a> {
    /// Reads `page` as a node page that is going to be changed. A list or query page has no room
    /// for records.
    pub fn new(page: &'a mut Page, block: BlockNumber, layout: &'a Layout) -> Result<NodePageMut<'a>> {
        used_slots(page, block, layout)?;
        Ok(NodePageMut { page, block, layout })
    }

    /// The read view.
    pub fn view(&self) -> NodePage<'_> {
        NodePage {
            page: self.page,
            block: self.block,
            layout: self.layout,
        }
    }

    /// As [`Record::lsn`].
    pub fn lsn(&self) -> u64 {
        page::lsn(self.page)
    }

    /// A slot that is free or was never used, if there is one.
    pub fn free_slot(&self) -> Result<Option<u32>> {
        if page::kind_without_slots(self.page).is_some() {
            return Ok(None);
        }
        let view = self.view();
        for slot in 0..view.len() {
            if view.record(slot)?.state() == State::Free {
                return Ok(Some(slot));
            }
        }
        Ok((view.len() < self.layout.slots).then_some(view.len()))
    }

    /// Puts an empty record of a state and level into a free slot. `owner` [`NodeRef::NONE`] means
    /// the record itself.
    ///
    /// Returns the link to it.
    pub fn occupy(&mut self, slot: u32, state: State, level: u8, owner: NodeRef, below: NodeRef) -> Result<Link> {
        let node = self.layout.node(self.block, slot)?;
        let end = self.layout.offset(slot) + self.layout.stride;
        if page::lower(self.page) < end {
            page::set_lower(self.page, end);
            let first_generation = page::first_generation(self.page);
            self.record(slot)?.set_generation(first_generation);
        }
        Ok(self.record(slot)?.occupy(node, state, level, owner, below))
    }

    /// Frees a slot: links to it become stale.
    pub fn free(&mut self, slot: u32) -> Result<()> {
        self.record(slot)?.free();
        Ok(())
    }

    /// The record in a slot.
    pub fn record(&mut self, slot: u32) -> Result<RecordMut<'_>> {
        let start = self.layout.offset(slot);
        let end = start + self.layout.stride;
        if end > page::lower(self.page) {
            return corrupted(self.block, "a reference names a slot that was never used");
        }
        RecordMut::new(&mut self.page[start..end], self.block, self.layout)
    }
}
