//! List of the rows that a transaction has staged for one index, in order.
//!
//! A row belongs to the subtransaction that staged it, identified by its nesting level (1 is the
//! transaction itself). A subtransaction that commits leaves its rows to the level above; one that
//! aborts drops them. Rows are always staged on the innermost level, so the rows of a level and of
//! the levels in it are the end of the list. A mark at the first row of each level therefore
//! suffices.

use super::speculative::Command;
use crate::error::Result;
use crate::fallible::Room;
use crate::hnsw::insert::NewRow;
use crate::storage::HeapTid;

/// Rows, each with its stored vector.
#[derive(Debug, Default)]
pub struct List {
    rows: Vec<NewRow>,
    /// The stored vectors, one after the other.
    stored: Vec<u8>,
    /// End of each stored vector.
    ends: Vec<usize>,
    /// First row of each level, outermost level first; no level twice.
    marks: Vec<Mark>,
    /// Number of leading rows that may be in the index, because an error ended their insertion, or
    /// because a copy of the index has them.
    doubtful: usize,
    /// Command of the last row, if the row is speculative.
    speculative: Option<Command>,
}

#[derive(Debug, Clone, Copy)]
struct Mark {
    level: i32,
    start: usize,
}

impl List {
    /// Bytes of a row without its vector.
    pub const EACH: usize = size_of::<NewRow>() + size_of::<usize>();

    /// Adds a row that is staged on a level, with its command if it is speculative.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`](crate::error::Error::OutOfMemory).
    pub fn push(&mut self, level: i32, row: NewRow, stored: &[u8], speculative: Option<Command>) -> Result<()> {
        self.rows.room(1)?;
        self.ends.room(1)?;
        self.stored.room(stored.len())?;
        self.marks.room(1)?;
        debug_assert!(self.marks.last().is_none_or(|mark| mark.level <= level));
        if self.marks.last().is_none_or(|mark| mark.level < level) {
            self.marks.push(Mark {
                level,
                start: self.len(),
            });
        }
        self.rows.push(row);
        self.stored.extend_from_slice(stored);
        self.ends.push(self.stored.len());
        self.speculative = speculative;
        Ok(())
    }

    /// The last row and its command, if it is speculative.
    pub fn speculative(&self) -> Option<(HeapTid, Command)> {
        let last = self.rows.last()?;
        Some((last.tid, self.speculative?))
    }

    /// Decides on the last row, which was speculative.
    pub fn settle(&mut self, stays: bool) {
        self.speculative = None;
        if !stays {
            self.truncate(self.len().saturating_sub(1));
        }
    }

    /// Drops all rows behind the first `len`.
    fn truncate(&mut self, len: usize) {
        self.rows.truncate(len);
        self.ends.truncate(len);
        self.stored.truncate(self.ends.last().copied().unwrap_or(0));
        self.doubtful = self.doubtful.min(len);
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Bytes of the rows.
    pub fn bytes(&self) -> usize {
        self.rows.len() * List::EACH + self.stored.len()
    }

    /// The rows.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = (NewRow, &[u8])> {
        self.rows.iter().enumerate().map(|(i, &row)| {
            let start = if i == 0 { 0 } else { self.ends[i - 1] };
            (row, &self.stored[start..self.ends[i]])
        })
    }

    /// Commits the innermost subtransaction, on this level.
    pub fn commit(&mut self, level: i32) {
        let Some(mark) = self.marks.pop_if(|mark| mark.level >= level) else {
            return;
        };
        let above = level - 1;
        if self.marks.last().is_none_or(|outer| outer.level < above) {
            self.marks.push(Mark { level: above, ..mark });
        }
    }

    /// Aborts the innermost subtransaction, on this level.
    pub fn abort(&mut self, level: i32) {
        while let Some(mark) = self.marks.pop_if(|mark| mark.level >= level) {
            self.truncate(mark.start);
            self.speculative = None;
        }
    }

    /// Marks all rows as doubtful before their insertion: after an error, nobody knows which of
    /// them are in the index.
    pub fn begin_insertion(&mut self) {
        self.doubtful = self.len();
    }

    /// The rows that may be in the index.
    pub fn doubtful(&self) -> impl ExactSizeIterator<Item = HeapTid> {
        self.rows[..self.doubtful].iter().map(|row| row.tid)
    }

    /// Drops all rows; levels stay.
    pub fn clear(&mut self) {
        // The memory is freed, because a transaction may write to many indexes one after another.
        self.rows = Vec::new();
        self.stored = Vec::new();
        self.ends = Vec::new();
        self.marks.iter_mut().for_each(|mark| mark.start = 0);
        self.doubtful = 0;
        self.speculative = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tid(row: u32) -> HeapTid {
        HeapTid { block: row, offset: 1 }
    }

    fn push(list: &mut List, level: i32, row: u32) {
        list.push(level, tid(row).into(), &[row as u8; 3], None).unwrap();
    }

    fn rows(list: &List) -> Vec<u32> {
        for (row, stored) in list.rows() {
            assert_eq!(stored, [row.tid.block as u8; 3]);
        }
        list.rows().map(|(row, _)| row.tid.block).collect()
    }

    #[test]
    fn a_level_that_aborts_takes_its_rows_along_and_nothing_else() {
        let mut list = List::default();
        push(&mut list, 1, 10);
        push(&mut list, 3, 30); // Level 2 has none of its own.
        push(&mut list, 3, 31);
        push(&mut list, 4, 40);
        list.abort(4);
        assert_eq!(rows(&list), [10, 30, 31]);
        push(&mut list, 4, 41);
        list.commit(4);
        push(&mut list, 3, 32);
        assert_eq!(rows(&list), [10, 30, 31, 41, 32]);
        list.abort(3);
        assert_eq!(rows(&list), [10]);
        list.abort(2);
        list.commit(2);
        assert_eq!(rows(&list), [10]);
        assert_eq!(list.bytes(), List::EACH + 3);
        list.abort(1);
        assert!(list.is_empty());
    }

    #[test]
    fn a_level_that_commits_leaves_its_rows_to_the_one_above() {
        let mut list = List::default();
        push(&mut list, 3, 30);
        list.commit(3);
        push(&mut list, 2, 20);
        push(&mut list, 3, 31);
        list.abort(3);
        assert_eq!(rows(&list), [30, 20]);
        list.commit(2);
        push(&mut list, 1, 10);
        push(&mut list, 2, 21);
        list.abort(2);
        assert_eq!(rows(&list), [30, 20, 10]);
        push(&mut list, 5, 50);
        list.commit(5);
        list.commit(4);
        list.abort(3);
        assert_eq!(rows(&list), [30, 20, 10]);
    }

    #[test]
    fn a_row_that_is_taken_back_was_the_last_one() {
        let mut list = List::default();
        push(&mut list, 1, 10);
        assert_eq!(list.speculative(), None);
        for (stays, left) in [(false, vec![10]), (true, vec![10, 11])] {
            list.push(1, tid(11).into(), &[11; 3], Some(7)).unwrap();
            assert_eq!(list.speculative(), Some((tid(11), 7)));
            list.settle(stays);
            assert_eq!((rows(&list), list.speculative()), (left, None));
        }
        list.push(2, tid(20).into(), &[20; 3], Some(8)).unwrap();
        list.abort(2);
        assert_eq!((rows(&list), list.speculative()), (vec![10, 11], None));
    }

    #[test]
    fn rows_that_are_in_the_index_leave_the_list_and_levels_stay() {
        let mut list = List::default();
        for (level, row) in [(1, 10), (1, 11), (2, 20), (2, 21), (3, 30)] {
            push(&mut list, level, row);
        }
        list.begin_insertion();
        assert_eq!(list.doubtful().len(), 5);
        list.abort(3);
        assert_eq!(list.doubtful().len(), 4);
        push(&mut list, 3, 31);
        assert!(list.doubtful().eq([10, 11, 20, 21].map(tid)));
        list.clear();
        assert_eq!((list.len(), list.doubtful().len()), (0, 0));
        list.abort(3);
        push(&mut list, 2, 22);
        list.commit(2);
        push(&mut list, 1, 12);
        push(&mut list, 2, 23);
        list.abort(2);
        assert_eq!(rows(&list), [22, 12]);
        list.abort(1);
        assert!(list.is_empty());
    }
}
