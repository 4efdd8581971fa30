//! Builds with threads, in a server.

#[pgrx::pg_schema]
mod tests {
    use pgrx::PgSqlErrorCode;
    use pgrx::prelude::*;

    /// Rows of 8 dimensions in a table whose builds take threads however small it is.
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
    fn a_build_beyond_its_memory_goes_on_in_shared_buffers() {
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
}
