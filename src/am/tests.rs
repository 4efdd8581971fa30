//! Builds with threads, in a server.

#[pgrx::pg_schema]
mod tests {
    use pgrx::prelude::*;
    use pgrx::{PgRelation, PgSqlErrorCode};

    use crate::am::build;
    use crate::hnsw::Graph;
    use crate::storage::buffer_store::{BufferStore, Mode};

    /// Rows of 8 dimensions in a table that is built by threads however small it is.
    fn table(rows: i32) {
        Spi::run("CREATE TABLE built (id int PRIMARY KEY, val vector(8)) WITH (parallel_workers = 3)").unwrap();
        Spi::run("SELECT setseed(.5)").unwrap();
        Spi::run_with_args(
            "INSERT INTO built SELECT n, ARRAY[random(), random(), random(), random(), random(), random(), random(), n % 7]::vector
             FROM generate_series(1, $1) n",
            &[rows.into()],
        )
        .unwrap();
        Spi::run("SET LOCAL max_parallel_maintenance_workers = 3").unwrap();
    }

    fn one<T: FromDatum + IntoDatum>(query: &str) -> T {
        Spi::get_one(query).unwrap().unwrap()
    }

    fn threads() -> usize {
        std::fs::read_dir("/proc/self/task").unwrap().count()
    }

    #[pg_test]
    fn a_build_by_threads_finds_the_nearest_rows() {
        table(4000);
        let before = threads();
        Spi::run("CREATE INDEX ON built USING hnsw (val vector_l2_ops)").unwrap();
        assert_eq!(threads(), before);
        Spi::run("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off").unwrap();
        Spi::run(
            "CREATE TEMP TABLE found AS SELECT q.id AS query, n.id FROM (SELECT * FROM built WHERE id <= 50) q
             CROSS JOIN LATERAL (SELECT id FROM built ORDER BY val <-> q.val LIMIT 10) n",
        )
        .unwrap();
        Spi::run("SET LOCAL enable_indexscan = off; SET LOCAL enable_seqscan = on; SET LOCAL enable_sort = on")
            .unwrap();
        let hits: i64 = one(
            "SELECT count(*) FROM found JOIN (SELECT q.id AS query, n.id FROM (SELECT * FROM built WHERE id <= 50) q
             CROSS JOIN LATERAL (SELECT id FROM built ORDER BY val <-> q.val LIMIT 10) n) exact USING (query, id)",
        );
        assert_eq!(one::<i64>("SELECT count(*) FROM found"), 500);
        assert!(hits >= 475, "{hits} of 500");
        assert_eq!(
            one::<f32>("SELECT reltuples FROM pg_class WHERE relname = 'built_val_idx'"),
            4000.0
        );
    }

    #[pg_test]
    fn no_user_starts_more_threads_than_the_server_has_worker_processes() {
        Spi::run("CREATE TABLE built (val vector(8)) WITH (parallel_workers = 1024)").unwrap();
        let count = || {
            // SAFETY: the table is open as long as it is used.
            unsafe {
                let table = PgRelation::open_with_name("built").unwrap();
                build::thread_count(table.as_ptr())
            }
        };
        let processes: i32 = one("SELECT current_setting('max_worker_processes')::int");
        Spi::run("SET LOCAL max_parallel_maintenance_workers = 1024; SET LOCAL max_parallel_workers = 1024").unwrap();
        assert_eq!(count(), processes as usize);
        Spi::run("SET LOCAL max_parallel_workers = 2").unwrap();
        assert_eq!(count(), 2);
        Spi::run("SET LOCAL max_parallel_maintenance_workers = 1").unwrap();
        assert_eq!(count(), 1);
    }

    #[pg_test]
    fn an_error_in_a_build_leaves_no_thread_and_no_index() {
        table(3000);
        let before = threads();
        // The function fails for a row in the midst of the table, while the threads have work.
        Spi::run(
            "CREATE FUNCTION fails(v vector, id int) RETURNS vector LANGUAGE plpgsql IMMUTABLE AS
             $$ BEGIN IF id = 2000 THEN RAISE division_by_zero; END IF; RETURN v; END $$",
        )
        .unwrap();
        let failed = PgTryBuilder::new(|| {
            Spi::run("CREATE INDEX built_fails ON built USING hnsw ((fails(val, id)::vector(8)) vector_l2_ops)")
                .is_err()
        })
        .catch_when(PgSqlErrorCode::ERRCODE_DIVISION_BY_ZERO, |_| true)
        .execute();
        assert!(failed);
        assert_eq!(threads(), before);
    }

    #[pg_test]
    fn a_build_beyond_its_memory_goes_on_in_a_file() {
        table(12_000);
        Spi::run("SET LOCAL maintenance_work_mem = '1MB'").unwrap();
        Spi::run("CREATE INDEX built_small ON built USING hnsw (val vector_l2_ops)").unwrap();
        assert!(one::<i64>("SELECT pg_relation_size('built_small')") > 2 << 20);
        Spi::run("SET LOCAL enable_seqscan = off; SET LOCAL hnsw.max_scan_tuples = 1000000").unwrap();
        Spi::run("SET LOCAL hnsw.scan_mem_multiplier = 100").unwrap();
        let all =
            "SELECT count(DISTINCT id) FROM (SELECT id FROM built ORDER BY val <-> '[0,0,0,0,0,0,0,0]' LIMIT 20000) n";
        assert_eq!(one::<i64>(all), 12_000);
    }

    /// Components of the centroid of an index.
    fn centroid(index: &str) -> Vec<f32> {
        let index = PgRelation::open_with_name_and_share_lock(index).unwrap();
        // SAFETY: the index stays open and locked while the store lives.
        let store = unsafe { BufferStore::new(index.as_ptr(), Mode::Normal) };
        Graph::open(&store).unwrap().space().centroid().to_vec()
    }

    /// Rows with components of about 1000 that differ by 1.
    fn far_table(rows: i32, dimensions: i32) {
        Spi::run(&format!(
            "CREATE TABLE far (id int PRIMARY KEY, val vector({dimensions})) WITH (parallel_workers = 2)"
        ))
        .unwrap();
        Spi::run("SELECT setseed(.5)").unwrap();
        Spi::run_with_args(
            "INSERT INTO far SELECT n, ARRAY(SELECT 1000 + random() + 0 * n FROM generate_series(1, $2))::vector
             FROM generate_series(1, $1) n",
            &[rows.into(), dimensions.into()],
        )
        .unwrap();
    }

    fn recall_of_far() -> f64 {
        Spi::run("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL hnsw.ef_search = 200")
            .unwrap();
        let nearest = "SELECT q.id AS query, n.id FROM (SELECT * FROM far WHERE id <= 20) q
             CROSS JOIN LATERAL (SELECT id FROM far ORDER BY val <-> q.val LIMIT 10) n";
        Spi::run(&format!("CREATE TEMP TABLE found AS {nearest}")).unwrap();
        Spi::run("SET LOCAL enable_indexscan = off; SET LOCAL enable_seqscan = on; SET LOCAL enable_sort = on")
            .unwrap();
        let hits: i64 = one(&format!(
            "SELECT count(*) FROM found JOIN ({nearest}) exact USING (query, id)"
        ));
        Spi::run("DROP TABLE found; SET LOCAL enable_indexscan = on").unwrap();
        hits as f64 / 200.0
    }

    #[pg_test]
    fn a_build_subtracts_what_its_rows_have_in_common() {
        far_table(2000, 70);
        for workers in [0, 2] {
            Spi::run(&format!("SET LOCAL max_parallel_maintenance_workers = {workers}")).unwrap();
            Spi::run("CREATE INDEX far_l2 ON far USING hnsw (val vector_l2_ops)").unwrap();
            let centroid = centroid("far_l2");
            assert_eq!(centroid.len(), 70);
            assert!(
                centroid.iter().all(|value| (1000.4..1000.6).contains(value)),
                "{centroid:?}"
            );
            let recall = recall_of_far();
            assert!(recall >= 0.97, "{recall}");
            assert_eq!(
                one::<f32>("SELECT reltuples FROM pg_class WHERE relname = 'far_l2'"),
                2000.0
            );
            Spi::run("DROP INDEX far_l2").unwrap();
        }
        Spi::run("CREATE INDEX far_cosine ON far USING hnsw (val vector_cosine_ops)").unwrap();
        assert_eq!(centroid("far_cosine").len(), 70);
        Spi::run("CREATE INDEX far_ip ON far USING hnsw (val vector_ip_ops)").unwrap();
        Spi::run("CREATE INDEX far_l1 ON far USING hnsw (val vector_l1_ops)").unwrap();
        assert!(centroid("far_ip").is_empty() && centroid("far_l1").is_empty());
    }

    #[pg_test]
    fn an_index_that_begins_empty_gets_its_centroid_from_reindex() {
        Spi::run("CREATE TABLE far (id int PRIMARY KEY, val vector(70))").unwrap();
        Spi::run("CREATE INDEX far_l2 ON far USING hnsw (val vector_l2_ops)").unwrap();
        assert!(centroid("far_l2").is_empty());
        Spi::run("DROP TABLE far").unwrap();
        far_table(63, 70);
        Spi::run("CREATE INDEX far_l2 ON far USING hnsw (val vector_l2_ops)").unwrap();
        assert!(centroid("far_l2").is_empty(), "too few rows to tell");
        Spi::run("INSERT INTO far SELECT 64, val FROM far WHERE id = 1").unwrap();
        Spi::run("REINDEX INDEX far_l2").unwrap();
        assert_eq!(centroid("far_l2").len(), 70);
        Spi::run("TRUNCATE far").unwrap();
        assert!(centroid("far_l2").is_empty());
        Spi::run("INSERT INTO far SELECT n, array_fill(n, ARRAY[70])::vector FROM generate_series(100, 300) n")
            .unwrap();
        assert!(centroid("far_l2").is_empty());
        Spi::run("REINDEX INDEX far_l2").unwrap();
        assert_eq!(centroid("far_l2"), [200.0; 70]);
    }

    #[pg_test]
    fn a_build_around_a_centroid_goes_on_in_a_file() {
        far_table(3000, 200);
        Spi::run("SET LOCAL maintenance_work_mem = '1MB'").unwrap();
        Spi::run("CREATE INDEX far_l2 ON far USING hnsw (val vector_l2_ops)").unwrap();
        assert_eq!(centroid("far_l2").len(), 200);
        Spi::run("INSERT INTO far SELECT 3000 + id, val FROM far WHERE id <= 100").unwrap();
        Spi::run("SET LOCAL enable_seqscan = off; SET LOCAL hnsw.max_scan_tuples = 1000000").unwrap();
        Spi::run("SET LOCAL hnsw.scan_mem_multiplier = 100").unwrap();
        let all = "SELECT count(DISTINCT id) FROM
             (SELECT id FROM far ORDER BY val <-> (SELECT val FROM far WHERE id = 5) LIMIT 20000) n";
        assert_eq!(one::<i64>(all), 3100);
    }
}
