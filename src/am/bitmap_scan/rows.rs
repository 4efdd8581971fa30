//! The rows of a bitmap with their distances, and their order.

use std::cmp::Ordering;

use crate::am::tid_set::{Entry, MAX_OFFSET, TidSet};
use crate::error::Result;
use crate::fallible::{Room, TryPush};
use crate::storage::HeapTid;

/// A row and its distance.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    distance: f64,
    block: u32,
    offset: u16,
    is_null: bool,
}

impl Row {
    /// A row with a distance, or NULL.
    pub fn new(tid: HeapTid, distance: Option<f64>) -> Row {
        Row {
            distance: distance.unwrap_or_default(),
            block: tid.block,
            offset: tid.offset,
            is_null: distance.is_none(),
        }
    }

    pub fn tid(self) -> HeapTid {
        HeapTid {
            block: self.block,
            offset: self.offset,
        }
    }
}

/// The rows of a bitmap.
#[derive(Debug, Default)]
pub struct Rows {
    rows: Vec<Row>,
    /// The row to return next.
    next: usize,
    /// The row up to which blocks were prefetched, and the number of these that are not read yet.
    prefetched: usize,
    blocks: usize,
}

impl Rows {
    /// Bytes of memory of rows, and of all rows of so many blocks.
    pub fn bytes(rows: u64, blocks: u64) -> u64 {
        (rows + blocks * u64::from(MAX_OFFSET)) * size_of::<Row>() as u64
    }

    /// Takes the rows of a set.
    pub fn fill(&mut self, set: &TidSet) -> Result<()> {
        self.clear();
        self.rows.room(set.rows() as usize)?;
        for entry in set.iter() {
            let (block, offsets) = match entry {
                Entry::Row(tid) => (tid.block, tid.offset..=tid.offset),
                // Offsets without a row of an index are none of the table.
                Entry::WholeBlock(block) => (block, 1..=MAX_OFFSET),
            };
            self.rows
                .try_extend(offsets.map(|offset| Row::new(HeapTid { block, offset }, None)))?;
        }
        Ok(())
    }

    /// A row, in the order of the table until they are sorted.
    pub fn get(&self, i: usize) -> Option<Row> {
        self.rows.get(i).copied()
    }

    /// Puts a row into the place of another.
    pub fn set(&mut self, i: usize, row: Row) {
        if let Some(place) = self.rows.get_mut(i) {
            *place = row;
        }
    }

    /// Keeps the first `kept` rows, and puts them into the order of their distances.
    pub fn sort(&mut self, kept: usize) {
        self.rows.truncate(kept);
        self.rows.sort_unstable_by(compare);
    }

    /// The next row.
    pub fn next(&mut self) -> Option<Row> {
        let row = self.get(self.next)?;
        self.next += 1;
        Some(row)
    }

    /// The next block to prefetch, if fewer than `most` are under way.
    pub fn next_block(&mut self, most: usize) -> Option<u32> {
        while self.blocks < most {
            let row = self.get(self.prefetched)?;
            let before = self.prefetched.checked_sub(1).and_then(|last| self.get(last));
            self.prefetched += 1;
            if before.is_none_or(|before| before.block != row.block) {
                self.blocks += 1;
                return Some(row.block);
            }
        }
        None
    }

    /// Notes that row `i`, the first of its block, is read.
    pub fn begin_block(&mut self, i: usize) {
        self.blocks = self.blocks.saturating_sub(1);
        self.prefetched = self.prefetched.max(i);
    }

    pub fn clear(&mut self) {
        *self = Rows {
            rows: std::mem::take(&mut self.rows),
            ..Rows::default()
        };
        self.rows.clear();
    }
}

/// PostgreSQL's order of distances; equal ones are in the order of the table.
fn compare(a: &Row, b: &Row) -> Ordering {
    let by_distance = || match (a.distance.is_nan(), b.distance.is_nan()) {
        (false, false) => a.distance.partial_cmp(&b.distance).unwrap_or(Ordering::Equal),
        (a, b) => a.cmp(&b),
    };
    let by_value = || match a.is_null {
        true => Ordering::Equal,
        false => by_distance(),
    };
    a.is_null
        .cmp(&b.is_null)
        .then_with(by_value)
        .then(a.tid().cmp(&b.tid()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_by_distance_then_nan_then_null() {
        let mut set = TidSet::default();
        set.insert(7, &[1, 2, 3, 4, 5, 6]).unwrap();
        let mut rows = Rows::default();
        rows.fill(&set).unwrap();
        let distances = [
            None,
            Some(f64::NAN),
            Some(2.0),
            Some(f64::INFINITY),
            Some(-1.0),
            Some(2.0),
        ];
        for (row, distance) in rows.rows.iter_mut().zip(distances) {
            *row = Row::new(row.tid(), distance);
        }
        rows.rows.sort_unstable_by(compare);
        let order: Vec<_> = rows.rows.iter().map(|row| row.offset).collect();
        assert_eq!(order, [5, 3, 6, 4, 2, 1]);
    }

    #[test]
    fn a_whole_block_has_all_offsets() {
        let mut set = TidSet::default();
        set.insert(1, &[9]).unwrap();
        set.insert_block(2).unwrap();
        let mut rows = Rows::default();
        rows.fill(&set).unwrap();
        assert_eq!(rows.rows.len(), 1 + usize::from(MAX_OFFSET));
        assert_eq!(rows.rows.len() * size_of::<Row>(), Rows::bytes(1, 1) as usize);
        assert_eq!(Rows::bytes(1, 0), 16);
    }
}
