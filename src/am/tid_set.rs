//! The set of rows that a bitmap of PostgreSQL names.
//!
//! A row is its block times 512, plus its offset number: bitmaps have no offset above 291. So a
//! container of the set (65,536 values) holds 128 blocks, at two bytes for each row of few and at
//! most 64 bytes for each block of many, which is about the memory of the bitmap itself. Offset 0,
//! which no row has, stands for all rows of a block that the bitmap has only as a whole.

use roaring::RoaringTreemap;

use crate::error::Result;
use crate::fallible;
use crate::storage::HeapTid;

/// Bits of an offset number.
const OFFSET_BITS: u32 = 9;

/// Largest offset number of a page of 8 kB (`MaxHeapTuplesPerPage`).
pub const MAX_OFFSET: u16 = 291;

/// A set of rows.
#[derive(Debug, Default)]
pub struct TidSet {
    bits: RoaringTreemap,
    /// Blocks of which all rows are in the set.
    whole_blocks: u64,
    /// The last container that got a row: another may take memory.
    container: Option<u64>,
}

/// Rows of a block in a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    Row(HeapTid),
    WholeBlock(u32),
}

impl TidSet {
    /// Adds rows of a block.
    pub fn insert(&mut self, block: u32, offsets: &[u16]) -> Result<()> {
        self.room(block)?;
        for offset in offsets.iter().filter(|offset| (1..=MAX_OFFSET).contains(offset)) {
            self.bits.insert(key(block, *offset));
        }
        Ok(())
    }

    /// Adds all rows of a block.
    pub fn insert_block(&mut self, block: u32) -> Result<()> {
        self.room(block)?;
        self.whole_blocks += u64::from(self.bits.insert(key(block, 0)));
        Ok(())
    }

    fn room(&mut self, block: u32) -> Result<()> {
        let container = Some(key(block, 0) >> 16);
        if container != self.container {
            fallible::spare(0)?;
            self.container = container;
        }
        Ok(())
    }

    /// Whether a row is in the set. A row that is in it by itself is taken out, since an index
    /// returns it once.
    pub fn take(&mut self, tid: HeapTid) -> bool {
        (1..=MAX_OFFSET).contains(&tid.offset)
            && (self.bits.remove(key(tid.block, tid.offset))
                || self.whole_blocks > 0 && self.bits.contains(key(tid.block, 0)))
    }

    /// Whether the set has no rows, or none any more.
    pub fn is_empty(&self) -> bool {
        self.bits.is_empty()
    }

    /// Rows that are in the set by themselves.
    pub fn rows(&self) -> u64 {
        self.bits.len() - self.whole_blocks
    }

    /// Blocks of which all rows are in the set.
    pub fn whole_blocks(&self) -> u64 {
        self.whole_blocks
    }

    /// The rows in the order of the table.
    pub fn iter(&self) -> impl Iterator<Item = Entry> {
        self.bits.iter().map(|key| {
            let (block, offset) = ((key >> OFFSET_BITS) as u32, key & ((1 << OFFSET_BITS) - 1));
            match u16::try_from(offset).unwrap_or(0) {
                0 => Entry::WholeBlock(block),
                offset => Entry::Row(HeapTid { block, offset }),
            }
        })
    }
}

fn key(block: u32, offset: u16) -> u64 {
    u64::from(block) << OFFSET_BITS | u64::from(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_rows_and_whole_blocks() {
        let tid = |block, offset| HeapTid { block, offset };
        let mut set = TidSet::default();
        assert!(set.is_empty());
        set.insert(3, &[1, 2, MAX_OFFSET, 0, MAX_OFFSET + 1]).unwrap();
        set.insert_block(4).unwrap();
        set.insert_block(4).unwrap();
        set.insert(u32::MAX - 1, &[7]).unwrap();
        assert_eq!((set.rows(), set.whole_blocks()), (4, 1));
        let entries = [
            Entry::Row(tid(3, 1)),
            Entry::Row(tid(3, 2)),
            Entry::Row(tid(3, MAX_OFFSET)),
            Entry::WholeBlock(4),
            Entry::Row(tid(u32::MAX - 1, 7)),
        ];
        assert!(set.iter().eq(entries));

        assert!(!set.take(tid(3, 3)) && !set.take(tid(2, 1)) && !set.take(tid(5, 1)));
        assert!(set.take(tid(4, 9)) && set.take(tid(4, 9)));
        assert!(set.take(tid(3, 2)) && !set.take(tid(3, 2)));
        assert!(set.take(tid(u32::MAX - 1, 7)));
        assert_eq!((set.rows(), set.whole_blocks()), (2, 1));
        assert!(!set.is_empty());
        assert!(set.take(tid(3, 1)) && set.take(tid(3, MAX_OFFSET)));
        assert!(!set.is_empty());
    }
}
