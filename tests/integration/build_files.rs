//! Builds beyond maintenance_work_mem: the pages are in a temporary file, which is PostgreSQL's in
//! all that users see of it, and which nothing is left of, however a build ends.

use std::fs;
use std::path::{Path, PathBuf};

use postgres::Client;
use postgres::error::SqlState;

use crate::cluster::{Cluster, wait_for};
use crate::data::{load, run, vector};
use crate::exactness::{Scan, assert_sound, recall};
use crate::memory::size_of;

/// Rows of a table whose index has several times the memory of a build.
const ROWS: i64 = 6_000;

const INDEX: &str = "CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops)";

/// A table, and a session that builds beyond its memory.
fn with_table(cluster: &Cluster) -> Client {
    let mut client = cluster.client();
    run(
        &mut client,
        "CREATE TABLE items (id bigint, embedding vector(50)); SET maintenance_work_mem = '1MB'",
    );
    load(&mut client, "items", ROWS);
    client
}

/// Builds with and without threads.
const THREADS: [&str; 2] = [
    "SET max_parallel_maintenance_workers = 0",
    "SET max_parallel_maintenance_workers = 2; ALTER TABLE items SET (parallel_workers = 2)",
];

/// Temporary files of a cluster, in all of its tablespaces.
fn temporary_files(cluster: &Cluster) -> Vec<PathBuf> {
    fn find(directory: &Path, found: &mut Vec<PathBuf>) {
        // A file may be gone since it was listed.
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                find(&path, found);
            } else if entry.file_name().to_string_lossy().starts_with("pgsql_tmp") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    for directory in ["base", "pg_tblspc"] {
        find(&cluster.data().join(directory), &mut found);
    }
    found
}

fn process(client: &mut Client) -> i32 {
    let row = client.query_one("SELECT pg_backend_pid()", &[]);
    row.expect("a process").get(0)
}

/// Parts of temporary files that a process has mapped, and its threads.
fn mapped_and_threads(process: i32) -> (usize, usize) {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).expect("the process is there");
    let mapped = maps.lines().filter(|line| line.contains("pgsql_tmp")).count();
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("the process is there");
    (mapped, threads.count())
}

fn assert_nothing_is_left(cluster: &Cluster, client: &mut Client) {
    // An error comes before the end of its transaction, the answer to the next query after it.
    let process = process(client);
    assert_eq!(temporary_files(cluster), Vec::<PathBuf>::new());
    // The system takes a thread out of the list shortly after it has ended.
    wait_for("the threads and mappings are gone", || {
        mapped_and_threads(process) == (0, 1)
    });
}

/// Makes a build fail, or wait for the advisory lock 1, at the row in the midst of the table, after
/// the file was begun: a build first reads a sample, which may have the row, and then the table.
fn with_expression(client: &mut Client, at_the_row: &str) -> String {
    run(
        client,
        &format!(
            "CREATE OR REPLACE FUNCTION checked(v vector, id bigint) RETURNS vector LANGUAGE plpgsql IMMUTABLE AS
             $$ BEGIN
                 IF id = {} THEN
                     PERFORM pg_stat_clear_snapshot();
                     IF (SELECT tuples_done > 0 FROM pg_stat_progress_create_index WHERE pid = pg_backend_pid()) THEN
                         {at_the_row};
                     END IF;
                 END IF;
                 RETURN v;
             END $$",
            ROWS / 2
        ),
    );
    "CREATE INDEX items_embedding ON items USING hnsw ((checked(embedding, id)::vector(50)) vector_l2_ops)".to_string()
}

#[test]
fn a_build_beyond_its_memory_is_as_good_and_as_quiet() {
    let cluster = Cluster::new();
    let mut client = with_table(&cluster);
    let targets: Vec<_> = (ROWS..ROWS + 500).map(vector).collect();
    // From 18 on too little for a single segment of pages.
    let least = "SELECT min_val FROM pg_settings WHERE name = 'maintenance_work_mem'";
    let least: String = client.query_one(least, &[]).expect("a setting").get(0);
    for threads in THREADS {
        run(&mut client, threads);
        let mut recalls = Vec::new();
        for memory in ["64MB", "2MB", &least] {
            run(&mut client, &format!("SET maintenance_work_mem = '{memory}'; {INDEX}"));
            assert_nothing_is_left(&cluster, &mut client);
            assert_sound(&mut client, "items_embedding");
            recalls.push(recall(&mut client, "items", &targets, Scan::Index { ef_search: 40 }));
            run(&mut client, "DROP INDEX items_embedding");
        }
        println!("{threads}: {recalls:?}");
        if threads == THREADS[0] {
            // The least memory has room for fewer rows of the sample that gives a centroid.
            assert_eq!(recalls[0], recalls[1]);
        }
        assert!(recalls.iter().all(|recall| *recall > 0.97), "{recalls:?}");
    }
    // Clients of pgvector know a notice, which is not true here.
    assert!(!cluster.log().contains("maintenance_work_mem"));
}

#[test]
fn filter_columns_fit_a_build_beyond_its_memory() {
    let cluster = Cluster::new();
    let mut client = with_table(&cluster);
    run(
        &mut client,
        "ALTER TABLE items ADD a int, ADD b int; UPDATE items SET a = id % 7, b = id",
    );
    for threads in THREADS {
        run(&mut client, threads);
        run(
            &mut client,
            "CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops, a, b)",
        );
        assert_nothing_is_left(&cluster, &mut client);
        assert_sound(&mut client, "items_embedding");
        run(&mut client, "DROP INDEX items_embedding");
    }
}

#[test]
fn the_limit_of_temporary_files_holds() {
    let cluster = Cluster::new();
    let mut client = with_table(&cluster);
    for threads in THREADS {
        run(&mut client, threads);
        run(&mut client, "SET temp_file_limit = '2MB'");
        let error = client.batch_execute(INDEX).expect_err("the limit is exceeded");
        let error = error.as_db_error().expect("an error of the server");
        assert_eq!(error.code(), &SqlState::CONFIGURATION_LIMIT_EXCEEDED);
        // 18 has the name in quotes.
        let text = error.message().replace('"', "");
        assert_eq!(text, "temporary file size exceeds temp_file_limit (2048kB)");
        assert_nothing_is_left(&cluster, &mut client);
        // The file of the error counts no more: one of nearly the limit is built.
        run(&mut client, "SET temp_file_limit = '16MB'");
        run(&mut client, INDEX);
        assert_sound(&mut client, "items_embedding");
        run(&mut client, "DROP INDEX items_embedding");
    }
}

#[test]
fn a_build_that_ends_early_leaves_no_file_and_no_mapping() {
    let cluster = Cluster::new();
    let mut client = with_table(&cluster);
    for threads in THREADS {
        run(&mut client, threads);
        // An error of a row.
        let index = with_expression(&mut client, "RAISE division_by_zero");
        let error = client.batch_execute(&index).expect_err("a row fails");
        assert_eq!(error.code(), Some(&SqlState::DIVISION_BY_ZERO), "{error:?}");
        assert_nothing_is_left(&cluster, &mut client);
        // The same in a subtransaction, whose transaction goes on.
        run(
            &mut client,
            &format!("BEGIN; DO $$ BEGIN {index}; EXCEPTION WHEN division_by_zero THEN NULL; END $$"),
        );
        assert_nothing_is_left(&cluster, &mut client);
        run(&mut client, &format!("{INDEX}; COMMIT"));
        assert_nothing_is_left(&cluster, &mut client);
        assert_sound(&mut client, "items_embedding");
        run(&mut client, "DROP INDEX items_embedding");
        // A cancel, then the end of the session.
        let index = with_expression(&mut client, "PERFORM pg_advisory_xact_lock(1)");
        for (end, code) in [
            ("pg_cancel_backend", SqlState::QUERY_CANCELED),
            ("pg_terminate_backend", SqlState::ADMIN_SHUTDOWN),
        ] {
            let mut builder = cluster.client();
            run(&mut builder, "SET maintenance_work_mem = '1MB'");
            run(&mut builder, threads);
            let pid = process(&mut builder);
            std::thread::scope(|scope| {
                let _holder = with_lock(&cluster);
                let build = scope.spawn(|| builder.batch_execute(&index).expect_err("it is ended"));
                wait_for_lock(&mut client);
                assert_eq!(temporary_files(&cluster).len(), 1);
                let (mapped, present) = mapped_and_threads(pid);
                assert!(mapped > 0 && present == if threads == THREADS[0] { 1 } else { 3 });
                run(&mut client, &format!("SELECT {end}({pid})"));
                let error = build.join().expect("the session ends");
                // A client may see the end of the connection first.
                assert!(error.is_closed() || error.code() == Some(&code), "{error:?}");
            });
            if code == SqlState::QUERY_CANCELED {
                assert_nothing_is_left(&cluster, &mut builder);
            } else {
                let process = PathBuf::from(format!("/proc/{pid}"));
                wait_for("the end of the session", || !process.exists());
            }
            assert_eq!(temporary_files(&cluster), Vec::<PathBuf>::new());
        }
    }
}

/// A session with the advisory lock, which a test that fails gives up.
fn with_lock(cluster: &Cluster) -> Client {
    let mut holder = cluster.client();
    run(&mut holder, "SELECT pg_advisory_lock(1)");
    holder
}

/// Waits until a build waits for the advisory lock.
fn wait_for_lock(client: &mut Client) {
    let waiting = "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted)";
    wait_for("the row in the midst of the table", || {
        client.query_one(waiting, &[]).expect("an answer").get(0)
    });
}

/// A backend gets less room while it builds: address space, or length of files.
#[test]
fn room_that_the_system_refuses_is_an_error_of_the_statement() {
    let cluster = Cluster::new();
    let mut client = with_table(&cluster);
    let index = with_expression(&mut client, "PERFORM pg_advisory_xact_lock(1)");
    for threads in THREADS {
        for (resource, code, text) in [
            ("as", SqlState::OUT_OF_MEMORY, "out of memory"),
            ("fsize", SqlState::SYSTEM_ERROR, "File too large"),
        ] {
            let mut builder = cluster.client();
            run(&mut builder, "SET maintenance_work_mem = '1MB'");
            run(&mut builder, threads);
            let pid = process(&mut builder);
            std::thread::scope(|scope| {
                let mut holder = with_lock(&cluster);
                let build = scope.spawn(|| builder.batch_execute(&index).expect_err("it is refused"));
                wait_for_lock(&mut client);
                let most = match resource {
                    "as" => size_of(pid) + (1 << 19),
                    _ => 4 << 20,
                };
                let before = cluster.limit_process(pid, resource, &most.to_string());
                run(&mut holder, "SELECT pg_advisory_unlock(1)");
                let error = build.join().expect("the session goes on");
                cluster.limit_process(pid, resource, &before);
                let error = error.as_db_error().expect("an error of the server");
                assert_eq!(error.code(), &code, "{error:?}");
                assert!(error.message().ends_with(text), "{error:?}");
            });
            assert_nothing_is_left(&cluster, &mut builder);
            run(&mut builder, INDEX);
            assert_sound(&mut builder, "items_embedding");
            run(&mut builder, "DROP INDEX items_embedding");
        }
    }
}

#[test]
fn temporary_files_of_builds_count_as_those_of_sorts() {
    let cluster = Cluster::with("log_temp_files = 0\nallow_in_place_tablespaces = on");
    let mut client = with_table(&cluster);
    let mut other = cluster.client();
    run(&mut other, "CREATE TABLESPACE elsewhere LOCATION ''");
    run(&mut other, "SELECT pg_stat_reset()");
    let index = with_expression(&mut client, "PERFORM pg_advisory_xact_lock(1)");
    run(&mut client, "SET temp_tablespaces = elsewhere");
    let path = std::thread::scope(|scope| {
        let mut holder = with_lock(&cluster);
        let build = scope.spawn(|| run(&mut client, &index));
        wait_for_lock(&mut other);
        let files = temporary_files(&cluster);
        run(&mut holder, "SELECT pg_advisory_unlock(1)");
        build.join().expect("the index is built");
        let [path] = &files[..] else { panic!("{files:?}") };
        path.clone()
    });
    let path = path.strip_prefix(cluster.data()).expect("a file of the cluster");
    assert!(path.starts_with("pg_tblspc"), "{path:?}");
    assert_nothing_is_left(&cluster, &mut client);
    let log = cluster.log();
    let line = format!("temporary file: path \"{}\", size ", path.display());
    let line = log
        .lines()
        .find(|found| found.contains(&line))
        .expect("the log tells of it");
    let bytes: i64 = line.rsplit(' ').next().unwrap().parse().expect("a size");
    assert!(bytes > 1 << 20, "{line}");
    // The session reports its counters at the latest when it ends.
    drop(client);
    let mut counters = (0, 0);
    let counted = "SELECT temp_files, temp_bytes FROM pg_stat_database WHERE datname = 'postgres'";
    wait_for("the counters", || {
        let row = other.query_one(counted, &[]).expect("counters");
        counters = (row.get::<_, i64>(0), row.get::<_, i64>(1));
        counters.0 > 0
    });
    assert_eq!(counters, (1, bytes));
}
