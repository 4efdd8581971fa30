//! Blocks of the table that are requested ahead of the executor's reads.
//!
//! The executor reads a row when the scan has returned it, and waits for each block that is not in
//! memory. The scan knows the rows that it returns next. While blocks are read in, by the search or
//! by the executor, the blocks of the next rows are requested, as far as `effective_io_concurrency`
//! of the table's tablespace allows. A scan without misses pays a comparison a row.

use pgrx::pg_sys;

use crate::storage::buffer_store::{Mode, blocks_read, io_concurrency};
use crate::storage::{BlockNumber, HeapTid};

/// The most rows ahead whose blocks are requested. The executor may not want them, so they are
/// few, and fewer behind the first rows.
const AHEAD: usize = 8;

/// State of the requests of a scan.
#[derive(Debug)]
pub struct RowsAhead {
    /// Blocks that the backend had read in when the last row was returned.
    known_reads: i64,
    /// Rows returned after a miss.
    returned: usize,
    /// Blocks that may be under way at a time, once it is known.
    concurrency: Option<usize>,
    /// The blocks requested last, and their number so far.
    requested: [BlockNumber; 2 * AHEAD],
    count: usize,
}

impl RowsAhead {
    /// No rows. A miss counts from here on.
    pub fn new() -> RowsAhead {
        RowsAhead {
            known_reads: blocks_read(),
            returned: 0,
            concurrency: None,
            requested: [pg_sys::InvalidBlockNumber; 2 * AHEAD],
            count: 0,
        }
    }

    /// Whether blocks were read in since the last row was returned.
    #[inline]
    pub fn has_missed(&mut self) -> bool {
        let reads = blocks_read();
        std::mem::replace(&mut self.known_reads, reads) != reads
    }

    /// Requests the blocks of the rows that are returned next, of a table of so many blocks, before
    /// a row is returned after a miss. Returns the number of blocks requested.
    ///
    /// # Safety
    /// `table` is open, and no buffer is locked.
    #[cold]
    pub unsafe fn request(
        &mut self,
        table: pg_sys::Relation,
        blocks: BlockNumber,
        rows: impl Iterator<Item = HeapTid>,
    ) -> usize {
        // SAFETY: as the caller promises.
        unsafe {
            // Other table access methods are free to number rows as they like.
            if (*(*table).rd_rel).relam != pg_sys::HEAP_TABLE_AM_OID {
                return 0;
            }
            let concurrency = *self
                .concurrency
                .get_or_insert_with(|| io_concurrency(table, Mode::Normal));
            self.returned += 1;
            let most = concurrency.min(AHEAD).min(2 * self.returned);
            let before = self.count;
            // A damaged page may name any block.
            for row in rows.take(most).filter(|row| row.block < blocks) {
                if self.add(row.block) {
                    pg_sys::PrefetchBuffer(table, pg_sys::ForkNumber::MAIN_FORKNUM, row.block);
                }
            }
            self.count - before
        }
    }

    /// Adds a block; says whether it was not among those requested last.
    fn add(&mut self, block: BlockNumber) -> bool {
        let is_new = !self.requested.contains(&block);
        if is_new {
            self.requested[self.count % self.requested.len()] = block;
            self.count += 1;
        }
        is_new
    }
}

#[cfg(any(test, feature = "pg_test"))]
#[pgrx::pg_schema]
mod tests {
    use pgrx::PgRelation;
    use pgrx::prelude::*;

    use super::*;
    use crate::storage::buffer_store::evict;

    /// A table of several blocks, and a row in each of them.
    fn table() -> (PgRelation, Vec<HeapTid>) {
        Spi::run("CREATE TABLE wide (t text); ALTER TABLE wide ALTER t SET STORAGE PLAIN").unwrap();
        Spi::run("INSERT INTO wide SELECT repeat(n::text, 1500) FROM generate_series(1000, 1099) n").unwrap();
        let table = PgRelation::open_with_name_and_share_lock("wide").unwrap();
        let rows = (0..20).map(|block| HeapTid { block, offset: 1 }).collect();
        (table, rows)
    }

    fn request(ahead: &mut RowsAhead, table: &PgRelation, rows: &[HeapTid]) -> usize {
        // SAFETY: the table is open.
        unsafe { ahead.request(table.as_ptr(), 20, rows.iter().copied()) }
    }

    #[pg_test]
    fn the_blocks_of_the_next_rows_are_requested_once_and_more_with_each_row() {
        Spi::run("SET LOCAL effective_io_concurrency = 6").unwrap();
        let (table, rows) = table();
        let mut ahead = RowsAhead::new();
        let requested: Vec<usize> = (0..5)
            .map(|row| request(&mut ahead, &table, &rows[row + 1..]))
            .collect();
        // Two, four and six rows ahead, and no more than the setting.
        assert_eq!(requested, [2, 3, 3, 1, 1]);
        // A damaged page names a block that the table does not have.
        let beyond = [HeapTid { block: 20, offset: 1 }];
        assert_eq!(request(&mut ahead, &table, &beyond), 0);
        Spi::run("SET LOCAL effective_io_concurrency = 0").unwrap();
        assert_eq!(request(&mut RowsAhead::new(), &table, &rows), 0);
    }

    #[pg_test]
    fn a_scan_misses_where_blocks_are_read_in() {
        let (table, _) = table();
        let count = || Spi::get_one::<i64>("SELECT count(*) FROM wide").unwrap();
        count();
        let mut ahead = RowsAhead::new();
        count();
        assert!(!ahead.has_missed());
        // SAFETY: the test alone uses its table.
        unsafe { evict(table.as_ptr()) };
        count();
        assert!(ahead.has_missed());
        assert!(!ahead.has_missed());
    }
}
