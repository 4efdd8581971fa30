//! Pins and remembered buffers, in a server.

#[pgrx::pg_schema]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use pgrx::prelude::*;
    use pgrx::{PgRelation, pg_sys};

    use super::super::{BufferStore, Mode, Pin, blocks_read, buffer_hints, evict, io_concurrency};
    use crate::compat;
    use crate::error::Error;
    use crate::storage::page::{self, Page};
    use crate::storage::{BlockNumber, Edit, PageStore};

    /// An index of a few pages.
    fn index(kind: &str) -> PgRelation {
        Spi::run(&format!(
            "CREATE {kind} TABLE kept AS SELECT ARRAY[n, n % 7, n % 11]::vector::vector(3) AS val FROM generate_series(1, 300) n"
        ))
        .unwrap();
        Spi::run("CREATE INDEX kept_idx ON kept USING hnsw (val vector_l2_ops)").unwrap();
        PgRelation::open_with_name_and_share_lock("kept_idx").unwrap()
    }

    fn store(index: &PgRelation, mode: Mode) -> BufferStore {
        // SAFETY: the index stays open and locked through the test.
        let store = unsafe { BufferStore::new(index.as_ptr(), mode) };
        assert!(store.blocks().unwrap() > 3);
        // PostgreSQL looks up the tablespace once in a session, in pages that it counts too.
        // SAFETY: the index is open.
        unsafe { io_concurrency(index.as_ptr(), mode) };
        store
    }

    fn remembered(index: &PgRelation, block: BlockNumber) -> pg_sys::Buffer {
        // SAFETY: the index is open.
        unsafe { buffer_hints::get(index.as_ptr(), block) }
    }

    fn remember(index: &PgRelation, block: BlockNumber, buffer: pg_sys::Buffer) {
        // SAFETY: the index is open; the tests give buffers that there are.
        unsafe { buffer_hints::set(index.as_ptr(), block, buffer) };
    }

    fn copy(page: &Page) -> crate::error::Result<Page> {
        Ok(*page)
    }

    /// Blocks fetched and hit as the relation counts them, and hits as EXPLAIN, VACUUM's report
    /// (until PostgreSQL 17) and its delays do.
    fn counted(index: &PgRelation) -> [i64; 5] {
        // SAFETY: the index is open, and the counters are this backend's.
        unsafe {
            let counts = buffer_hints::counts(index.as_ptr()).unwrap();
            let (fetched, hit) = compat::blocks_fetched_and_hit(counts);
            let usage = pg_sys::pgBufferUsage;
            let used = usage.shared_blks_hit + usage.local_blks_hit;
            let reported = compat::vacuum_hits().unwrap_or(used);
            let cost = i64::from(pg_sys::VacuumCostBalance / pg_sys::VacuumCostPageHit);
            [fetched, hit, used, reported, cost]
        }
    }

    fn every_read_counts_alike(kind: &str) {
        let index = index(kind);
        let store = store(&index, Mode::Normal);
        // SAFETY: a variable of this backend, as VACUUM sets it.
        unsafe { pg_sys::VacuumCostActive = true };
        for block in 0..store.blocks().unwrap() {
            // A pass over the index asks PostgreSQL for every block.
            let by_postgresql = || store.read_in_passing(block, copy).unwrap();
            let expected = by_postgresql();
            let forget = || remember(&index, block, 0);
            let reads: [(&str, &dyn Fn() -> Page); 5] = [
                ("read in", &|| {
                    forget();
                    let pin = Pin {
                        exists: true,
                        block,
                        pinned: None,
                        store: std::marker::PhantomData,
                    };
                    store.read_pinned(pin, copy).unwrap()
                }),
                ("by PostgreSQL", &by_postgresql),
                ("remembered", &|| {
                    assert!(remembered(&index, block) != 0);
                    store.read(block, copy).unwrap()
                }),
                ("pinned", &|| {
                    let pin = store.pin(block).unwrap();
                    assert!(pin.pinned.is_some());
                    store.hint(&pin, 0, 100);
                    store.read_pinned(pin, copy).unwrap()
                }),
                ("looked up", &|| {
                    forget();
                    let pin = store.pin(block).unwrap();
                    assert!(pin.pinned.is_some());
                    store.read_pinned(pin, copy).unwrap()
                }),
            ];
            for (way, read) in reads {
                let before = counted(&index);
                assert!(read() == expected, "block {block} {way}");
                assert_eq!(counted(&index), before.map(|count| count + 1), "block {block} {way}");
                assert!(store.recall(block).is_some(), "block {block} {way}");
            }
        }
        // SAFETY: as above.
        unsafe { pg_sys::VacuumCostActive = false };
    }

    #[pg_test]
    fn every_read_of_a_permanent_index_counts_alike() {
        every_read_counts_alike("");
    }

    #[pg_test]
    fn every_read_of_a_temporary_index_counts_alike() {
        every_read_counts_alike("TEMPORARY");
    }

    fn usage(buffer: pg_sys::Buffer) -> u32 {
        // SAFETY: the number is that of a shared buffer.
        let state = unsafe {
            (*pg_sys::BufferDescriptors.add(buffer as usize - 1))
                .bufferdesc
                .state
                .value
        };
        (state & pg_sys::BUF_USAGECOUNT_MASK) >> pg_sys::BUF_USAGECOUNT_SHIFT
    }

    /// The clock sweep takes pages with a low usage count first.
    #[pg_test]
    fn hot_pages_look_hot() {
        let index = index("");
        let store = store(&index, Mode::Normal);
        let cool = |block| {
            store.read(block, copy).unwrap();
            let buffer = remembered(&index, block);
            // SAFETY: the number is that of a shared buffer, whose word all backends change by
            // atomic operations.
            let state = unsafe {
                let descriptor = pg_sys::BufferDescriptors.add(buffer as usize - 1);
                AtomicU32::from_ptr(&raw mut (*descriptor).bufferdesc.state.value)
            };
            state.fetch_and(!pg_sys::BUF_USAGECOUNT_MASK, Ordering::Relaxed);
            buffer
        };
        let buffer = cool(2);
        for _ in 0..8 {
            store.read(2, copy).unwrap();
        }
        assert_eq!(usage(buffer), pg_sys::BM_MAX_USAGE_COUNT);
        // So do pages that a search pins ahead.
        let buffer = cool(3);
        let pin = store.pin(3).unwrap();
        store.read_pinned(pin, copy).unwrap();
        assert_eq!(usage(buffer), 1);
    }

    #[pg_test]
    fn a_wrong_guess_is_harmless() {
        let index = index("");
        let store = store(&index, Mode::Normal);
        let [first, second]: [Page; 2] = [1, 2].map(|block| store.read(block, copy).unwrap());
        assert!(first != second);
        let right = remembered(&index, 1);
        for wrong in [remembered(&index, 2), -1] {
            remember(&index, 1, wrong);
            assert!(store.recall(1).is_none());
            assert!(store.read(1, copy).unwrap() == first);
            assert_eq!(remembered(&index, 1), right);
        }
    }

    #[pg_test]
    fn a_pin_is_released_when_it_is_read_or_dropped() {
        let index = index("TEMPORARY");
        let store = store(&index, Mode::Normal);
        store.read(1, copy).unwrap();
        let buffer = remembered(&index, 1);
        assert!(buffer < 0);
        // SAFETY: the backend has this local buffer.
        let pins = || unsafe { *pg_sys::LocalRefCount.offset((-buffer - 1) as isize) };
        assert_eq!(pins(), 0);
        let (read, dropped) = (store.pin(1).unwrap(), store.pin(1).unwrap());
        assert_eq!(pins(), 2);
        store.read_pinned(read, copy).unwrap();
        assert_eq!(pins(), 1);
        drop(dropped);
        assert_eq!(pins(), 0);
    }

    fn evicted(index: &PgRelation) {
        // SAFETY: the test alone uses its index.
        unsafe { evict(index.as_ptr()) };
    }

    fn store_of_vacuum(index: &PgRelation) -> BufferStore {
        store(index, Mode::Vacuum)
    }

    /// Reads that are left until no page is requested ahead.
    fn reads_left(store: &BufferStore) -> usize {
        std::iter::repeat_with(|| store.input_depth())
            .take_while(|&depth| depth > 0)
            .count()
    }

    #[pg_test]
    fn pages_are_requested_ahead_after_a_miss_alone() {
        Spi::run("SET LOCAL effective_io_concurrency = 5").unwrap();
        let index = index("");
        let warm = store(&index, Mode::Normal);
        for block in 0..warm.blocks().unwrap() {
            warm.read(block, copy).unwrap();
            drop(warm.pin(block).unwrap());
            assert_eq!(warm.input_depth(), 0);
        }
        let misses: [&dyn Fn(&BufferStore); 3] = [
            &|store| assert!(store.pin(1).unwrap().pinned.is_none()),
            &|store| store.request(1).unwrap(),
            &|store| _ = store.read(1, copy).unwrap(),
        ];
        for miss in misses {
            evicted(&index);
            let store = store(&index, Mode::Normal);
            assert_eq!(store.input_depth(), 0);
            miss(&store);
            assert_eq!(store.input_depth(), 5);
            assert_eq!(reads_left(&store), 15);
            // The page is in a buffer from its read on.
            store.read(1, copy).unwrap();
            reads_left(&store);
            assert!(store.recall(1).is_some());
            store.request(1).unwrap();
            assert_eq!(store.input_depth(), 0);
        }
    }

    #[pg_test]
    fn a_request_reads_nothing_and_counts_nothing() {
        let index = index("");
        let store = store(&index, Mode::Normal);
        evicted(&index);
        let before = (counted(&index), blocks_read());
        for block in 0..store.blocks().unwrap() + 1 {
            store.request(block).unwrap();
        }
        assert_eq!((counted(&index), blocks_read()), before);
        assert!(store.pin_requested(1).unwrap().pinned.is_none());
    }

    #[pg_test]
    fn effective_io_concurrency_0_requests_nothing() {
        Spi::run("SET LOCAL effective_io_concurrency = 0").unwrap();
        let index = index("");
        let store = store(&index, Mode::Normal);
        evicted(&index);
        for block in 0..store.blocks().unwrap() {
            let pin = store.pin(block).unwrap();
            assert!(pin.pinned.is_none());
            store.read_pinned(pin, copy).unwrap();
            assert_eq!(store.input_depth(), 0);
        }
        // VACUUM has a setting of its own.
        Spi::run("SET LOCAL maintenance_io_concurrency = 3").unwrap();
        let store = store_of_vacuum(&index);
        evicted(&index);
        store.read(1, copy).unwrap();
        assert_eq!(store.input_depth(), 3);
    }

    #[pg_test]
    fn a_block_beyond_the_end_is_new_and_cannot_be_changed() {
        let index = index("");
        let store = store(&index, Mode::Normal);
        for block in [store.blocks().unwrap(), BlockNumber::MAX] {
            assert!(store.read(block, |page| Ok(page::is_new(page))).unwrap());
            let pin = store.pin(block).unwrap();
            assert!(store.read_pinned(pin, |page| Ok(page::is_new(page))).unwrap());
            assert!(matches!(
                store.write(block, |_| Ok(Edit::Changed(()))),
                Err(Error::Corrupted { .. })
            ));
        }
    }

    #[pg_test]
    fn pages_change_together_in_one_record_or_not_at_all() {
        let index = index("");
        let store = store(&index, Mode::Normal);
        let blocks = [1, 2, 4, 5];
        let pages = || blocks.map(|block| store.read(block, copy).unwrap());
        // SAFETY: a counter of this backend.
        let records = || unsafe { pg_sys::pgWalUsage.wal_records };
        let (before, logged, changes) = (pages(), records(), store.changes());

        let change = |i: usize, page: &mut Page| {
            if i == 2 {
                return Ok(Edit::Unchanged(()));
            }
            page[100] ^= 1;
            Ok(Edit::Changed(()))
        };
        store.write_each(&blocks, change).unwrap();
        assert_eq!((records() - logged, store.changes() - changes), (1, 3));
        let after = pages();
        for (i, (before, after)) in before.iter().zip(&after).enumerate() {
            let is_changed = i != 2;
            assert_eq!(before[100] ^ u8::from(is_changed), after[100]);
            assert_eq!(page::lsn(after) > page::lsn(before), is_changed);
        }
        assert!([0, 1, 3].iter().all(|&i| page::lsn(&after[i]) == page::lsn(&after[0])));

        let fail = |i: usize, page: &mut Page| match i {
            3 => Err(Error::OutOfMemory),
            _ => change(i, page),
        };
        assert_eq!(store.write_each(&blocks, fail), Err(Error::OutOfMemory));
        store.write_each(&blocks, |_, _| Ok(Edit::Unchanged(()))).unwrap();
        store.write_each(&blocks, |_, _| Ok(Edit::Changed(()))).unwrap();
        assert_eq!((records() - logged, store.changes() - changes), (1, 3));
        assert!(pages() == after);
        let beyond = [1, store.blocks().unwrap()];
        assert!(matches!(
            store.write_each(&beyond, change),
            Err(Error::Corrupted { .. })
        ));
        assert!(pages() == after);
    }
}
