//! Indexes of another format: queries go on without them, changes of the table and VACUUM pass them
//! by, functions that look into one say so, and REINDEX mends them. Nothing of another format was
//! ever released, so an index is given another version.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::mpsc::{Receiver, channel};

use postgres::error::{DbError, SqlState};
use postgres::{Client, Config, NoTls};

use crate::cluster::Cluster;
use crate::data::{load, run, vector};
use crate::exactness::{Scan, assert_agree, assert_each_found, assert_sound, choose, nearest};
use crate::memory;

/// The version that this one reads.
const CURRENT: u16 = 6;
/// Its two places on the meta page, and the mark in the second one of an index that was given up.
const VERSION_AT: u64 = 28;
const REPEATED_AT: u64 = 8178;
const GIVEN_UP: u16 = 0xA1DE;

const ROWS: i64 = 500;
const TABLE: &str = "\"Old\".items";
const INDEX: &str = "\"Old\".items_l2";

fn open(path: &Path) -> File {
    OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .expect("the index file opens")
}

/// Makes the meta page that of another version.
fn set_version(path: &Path, version: u16) {
    let file = open(path);
    let write = |bytes: &[u8], at| file.write_all_at(bytes, at).expect("the file is written");
    write(&u32::from(version).to_le_bytes(), VERSION_AT);
    write(&version.to_le_bytes(), REPEATED_AT);
}

/// A session, and the warnings about formats that it gets.
fn session(cluster: &Cluster) -> (Client, Receiver<DbError>) {
    let (sender, warnings) = channel();
    let client = Config::new()
        .host_path(cluster.sockets())
        .user("postgres")
        .dbname("postgres")
        .notice_callback(move |notice| {
            // Where pages have checksums, the server tells of the changed ones, in words of its
            // version.
            let is_of_checksum = ["page verification failed", "checksum"].map(|words| notice.message().contains(words));
            let is_told = notice.severity() == "WARNING" && is_of_checksum == [false; 2];
            // Each worker of a parallel VACUUM is a process of its own.
            let is_of_worker = notice
                .where_()
                .is_some_and(|context| context.contains("parallel worker"));
            if is_told && !is_of_worker {
                sender.send(notice).expect("the test waits for it");
            }
        })
        .connect(NoTls)
        .expect("a connection");
    (client, warnings)
}

fn message(version: u16) -> String {
    format!("index \"items_l2\" has format {version}, but this version of pg_alopex reads format {CURRENT}")
}

const HINT: &str = "Rebuild it with REINDEX INDEX \"Old\".items_l2.";

/// Checks that a partition with such an index is sorted, and others are not.
fn assert_others_are_used(client: &mut Client) {
    let target = vector(7);
    let query = format!("SELECT id FROM \"Old\".parts ORDER BY embedding <-> '{target}' LIMIT 5");
    run(client, "SET enable_seqscan = off");
    let plan = explain(client, &query);
    assert!(plan.contains("Merge Append") && plan.contains("Sort"), "{plan}");
    assert!(
        plan.contains("using parts_2_l2") && !plan.contains("parts_1_l2"),
        "{plan}"
    );
    let rows = client.query(&query, &[]).expect("rows");
    run(client, "SET enable_indexscan = off; SET enable_seqscan = on");
    let exact = client.query(&query, &[]).expect("rows");
    let ids = |rows: &[postgres::Row]| rows.iter().map(|row| row.get(0)).collect::<Vec<i64>>();
    assert_eq!(ids(&rows), ids(&exact));
    run(client, "RESET ALL");
}

/// Checks that a session was warned of the index once, and of no other that is named here.
fn assert_warned_once(warnings: &Receiver<DbError>, version: u16) {
    let warnings: Vec<_> = warnings.try_iter().collect();
    let messages: Vec<_> = warnings.iter().map(DbError::message).collect();
    let warned: Vec<_> = warnings
        .iter()
        .filter(|warning| warning.message() == message(version))
        .collect();
    assert_eq!(warned.len(), 1, "{messages:?}");
    assert_eq!(warned[0].hint(), Some(HINT));
    assert_eq!(*warned[0].code(), SqlState::FEATURE_NOT_SUPPORTED);
    // One of each index that is of another format, and nothing else.
    assert!(warnings.len() <= 2, "{messages:?}");
}

fn explain(client: &mut Client, query: &str) -> String {
    let lines = client.query(&format!("EXPLAIN {query}"), &[]).expect("a plan");
    lines
        .iter()
        .map(|line| line.get::<_, String>(0))
        .collect::<Vec<_>>()
        .join("\n")
}

/// Checks that no setting makes the planner use the index, and that queries answer.
fn assert_not_used(client: &mut Client) {
    let target = vector(7);
    let query = format!("SELECT id FROM {TABLE} ORDER BY embedding <-> '{target}' LIMIT 5");
    choose(client, Scan::Exact).expect("settings");
    let exact: Vec<_> = (0..20)
        .map(|id| nearest(client, TABLE, vector(id), 10).expect("rows"))
        .collect();
    for settings in [
        "RESET enable_seqscan; RESET enable_indexscan",
        "SET enable_seqscan = off; SET enable_indexscan = on",
        "SET enable_sort = off",
    ] {
        run(client, settings);
        let plan = explain(client, &query);
        assert!(
            plan.contains("Sort") && !plan.contains("items_l2"),
            "{settings}: {plan}"
        );
        for (id, exact) in exact.iter().enumerate() {
            let target = vector(i64::try_from(id).expect("a number"));
            assert_eq!(nearest(client, TABLE, target, 10).as_ref().ok(), Some(exact));
        }
    }
    run(client, "RESET ALL");
}

/// Checks that a query is refused with this error.
fn assert_refused(client: &mut Client, query: &str, code: &SqlState, message: &str) {
    let error = client.batch_execute(query).expect_err(query);
    let error = error.as_db_error().expect("an error of the server");
    assert_eq!((error.code(), error.message()), (code, message), "{query}");
    assert_eq!(error.hint(), Some(HINT), "{query}");
}

fn assert_looked_into_in_vain(client: &mut Client, code: &SqlState, message: &str) {
    for function in [
        "hnsw_check('INDEX')",
        "hnsw_check('INDEX', true)",
        "hnsw_stats('INDEX')",
        "hnsw_compaction('INDEX')",
        "hnsw_recall('INDEX', array_agg(embedding)) FROM \"Old\".items",
    ] {
        let query = format!("SELECT {}", function.replace("INDEX", INDEX));
        assert_refused(client, &query, code, message);
    }
    // A plan that is forced.
    let target = vector(7);
    let query = format!(
        "SET enable_indexscan = off; SET enable_seqscan = off; SET enable_sort = off;
         SELECT id FROM {TABLE} ORDER BY embedding <-> '{target}' LIMIT 5"
    );
    assert_refused(client, &query, code, message);
    run(client, "RESET ALL");
}

/// The formats of the table's indexes, as docs/operations.md has a superuser ask for them.
fn formats(client: &mut Client) -> Vec<(String, i32, bool)> {
    run(client, "CHECKPOINT");
    let query =
        "SELECT c.relname::text, get_byte(pg_read_binary_file(pg_relation_filepath(c.oid), 28, 1), 0) AS format,
            pg_read_binary_file(pg_relation_filepath(c.oid), 8178, 2) = '\\xdea1' AS given_up
        FROM pg_class c JOIN pg_am a ON a.oid = c.relam AND a.amname = 'hnsw'
        WHERE c.relkind = 'i' AND c.relpersistence <> 't' AND c.relname LIKE 'items%' ORDER BY 1";
    let rows = client.query(query, &[]).expect("formats");
    rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect()
}

/// Everything that changes a table.
fn change(client: &mut Client, first: i64) {
    for id in first..first + 20 {
        let insert = format!("INSERT INTO {TABLE} VALUES ($1, $2::text::vector)");
        client.execute(&insert, &[&id, &vector(id)]).expect("a row is inserted");
    }
    crate::data::insert(client, TABLE, &(first + 20..first + 60).collect::<Vec<_>>());
    run(client, &format!("INSERT INTO {TABLE} VALUES (-{first}, NULL)"));
    let move_row = format!("UPDATE {TABLE} SET id = $2, embedding = $3::text::vector WHERE id = $1");
    for id in first..first + 5 {
        let moved = id + 60;
        client
            .execute(&move_row, &[&id, &moved, &vector(moved)])
            .expect("a row is updated");
    }
    run(
        client,
        &format!(
            "BEGIN; INSERT INTO {TABLE} SELECT id + 100000, embedding FROM {TABLE}; SAVEPOINT a;
             DELETE FROM {TABLE}; ROLLBACK TO a; SELECT id FROM {TABLE} ORDER BY embedding <-> '{}' LIMIT 5; ROLLBACK",
            vector(3)
        ),
    );
    let (from, to) = (first / 10, first / 10 + 20);
    run(client, &format!("DELETE FROM {TABLE} WHERE id BETWEEN {from} AND {to}"));
    run(
        client,
        &format!("INSERT INTO {TABLE} SELECT id, embedding FROM {TABLE} WHERE id = 0 ON CONFLICT DO NOTHING"),
    );
    run(client, &format!("VACUUM {TABLE}"));
    run(client, &format!("VACUUM (PARALLEL 2, TRUNCATE false) {TABLE}"));
}

fn pass_by_and_rebuild(version: u16, rebuild: &str) {
    let cluster = Cluster::with("ignore_checksum_failure = on\nmin_parallel_index_scan_size = 0");
    let mut client = cluster.client();
    run(
        &mut client,
        &format!("CREATE SCHEMA \"Old\"; CREATE TABLE {TABLE} (id bigint UNIQUE, embedding vector(50))"),
    );
    load(&mut client, TABLE, ROWS);
    run(
        &mut client,
        &format!(
            "CREATE INDEX items_l2 ON {TABLE} USING hnsw (embedding vector_l2_ops);
             CREATE INDEX items_cosine ON {TABLE} USING hnsw (embedding vector_cosine_ops);
             CREATE INDEX items_l1 ON {TABLE} USING hnsw (embedding vector_l1_ops)"
        ),
    );
    run(
        &mut client,
        &format!(
            "CREATE TABLE \"Old\".parts (id bigint, embedding vector(50)) PARTITION BY HASH (id);
             CREATE TABLE \"Old\".parts_1 PARTITION OF \"Old\".parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
             CREATE TABLE \"Old\".parts_2 PARTITION OF \"Old\".parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
             INSERT INTO \"Old\".parts SELECT * FROM {TABLE};
             CREATE INDEX parts_1_l2 ON \"Old\".parts_1 USING hnsw (embedding vector_l2_ops);
             CREATE INDEX parts_2_l2 ON \"Old\".parts_2 USING hnsw (embedding vector_l2_ops)"
        ),
    );
    let files =
        [INDEX, "\"Old\".items_l1", "\"Old\".parts_1_l2"].map(|index| cluster.relation_file(&mut client, index));
    drop(client);
    cluster.stop();
    files.iter().for_each(|file| set_version(file, version));
    cluster.start();

    // Queries alone leave the index as it is.
    let (mut client, warnings) = session(&cluster);
    assert_eq!(
        formats(&mut client),
        [("items_cosine", CURRENT), ("items_l1", version), ("items_l2", version)].map(|(name, format)| (
            name.to_string(),
            i32::from(format),
            false
        ))
    );
    assert_not_used(&mut client);
    assert_warned_once(&warnings, version);
    assert_looked_into_in_vain(&mut client, &SqlState::FEATURE_NOT_SUPPORTED, &message(version));
    assert_eq!(warnings.try_iter().count(), 0);
    assert_others_are_used(&mut client);
    run(&mut client, &format!("ALTER INDEX {INDEX} SET (ef_search = 80)"));
    run(
        &mut client,
        &format!("ALTER TABLE {TABLE} ALTER COLUMN embedding TYPE vector(50)"),
    );
    drop(client);

    let (mut client, warnings) = session(&cluster);
    change(&mut client, 1000);
    assert_warned_once(&warnings, version);
    assert_not_used(&mut client);
    let given_up: Vec<_> = formats(&mut client)
        .into_iter()
        .map(|(_, _, given_up)| given_up)
        .collect();
    assert_eq!(given_up, [false, true, true]);
    run(&mut client, "DROP INDEX \"Old\".items_l1");
    run(
        &mut client,
        &format!("CREATE INDEX CONCURRENTLY items_again ON {TABLE} USING hnsw (embedding vector_l1_ops)"),
    );
    // Indexes beside it have every row.
    for index in ["items_cosine", "items_again"] {
        assert_sound(&mut client, &format!("\"Old\".{index}"));
    }
    drop(client);

    // Now a version that reads the format has to see that rows are missing, also after a crash.
    cluster.kill();
    cluster.start();
    cluster.stop();
    let file = open(&files[0]);
    let mut repeated = [0; 2];
    file.read_exact_at(&mut repeated, REPEATED_AT)
        .expect("the file is read");
    assert_eq!(u16::from_le_bytes(repeated), GIVEN_UP);
    file.write_all_at(&u32::from(CURRENT).to_le_bytes(), VERSION_AT)
        .expect("the file is written");
    cluster.start();
    let (mut client, warnings) = session(&cluster);
    let given_up = "index \"items_l2\" lacks changes that another version of pg_alopex did not make";
    assert_not_used(&mut client);
    assert_looked_into_in_vain(&mut client, &SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE, given_up);
    change(&mut client, 2000);
    assert_eq!(warnings.try_iter().count(), 1);

    run(&mut client, rebuild);
    assert_sound(&mut client, INDEX);
    run(&mut client, "DROP INDEX \"Old\".items_cosine, \"Old\".items_again");
    let targets: Vec<_> = (0..50).map(vector).collect();
    assert_agree(&mut client, TABLE, &targets);
    let ids: BTreeSet<i64> = client
        .query(&format!("SELECT id FROM {TABLE} WHERE embedding IS NOT NULL"), &[])
        .expect("ids")
        .iter()
        .map(|row| row.get(0))
        .collect();
    assert!(ids.contains(&1064) && ids.contains(&2059) && !ids.contains(&1000));
    assert_each_found(&mut client, TABLE, ids.iter().map(|&id| (id, vector(id))));
    change(&mut client, 3000);
    assert_sound(&mut client, INDEX);
    assert_eq!(warnings.try_iter().count(), 0);
    assert!(!cluster.has_crashed());
}

#[test]
fn an_index_of_an_older_format_is_passed_by_until_it_is_rebuilt() {
    pass_by_and_rebuild(5, "REINDEX INDEX \"Old\".items_l2");
}

#[test]
fn an_index_of_a_newer_format_is_passed_by_until_it_is_rebuilt() {
    pass_by_and_rebuild(7, "REINDEX INDEX CONCURRENTLY \"Old\".items_l2");
}

/// The bound of the memory that 200,000 rows may take, in bytes: five a row.
const MOST_MEMORY: u64 = 1 << 20;

#[test]
fn rows_that_pass_an_index_by_take_no_memory() {
    let cluster = Cluster::with("ignore_checksum_failure = on");
    let mut client = cluster.client();
    // At the end of a statement, before the statement's memory is freed.
    run(
        &mut client,
        &format!(
            "CREATE SCHEMA \"Old\"; CREATE TABLE {TABLE} (id bigint, embedding vector(3));
             CREATE INDEX items_l2 ON {TABLE} USING hnsw (embedding vector_l2_ops);
             CREATE TABLE used (bytes bigint);
             CREATE FUNCTION note_memory() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                 INSERT INTO used SELECT sum(total_bytes) FROM pg_backend_memory_contexts;
                 RETURN NULL;
             END $$;
             CREATE TRIGGER used AFTER INSERT ON {TABLE} FOR EACH STATEMENT EXECUTE FUNCTION note_memory()"
        ),
    );
    let file = cluster.relation_file(&mut client, INDEX);
    drop(client);
    cluster.stop();
    set_version(&file, CURRENT - 1);
    cluster.start();

    let (mut client, warnings) = session(&cluster);
    run(&mut client, "BEGIN");
    let mut insert = |rows: u64| {
        let insert = format!("INSERT INTO {TABLE} SELECT generate_series(1, {rows}), '[1,2,3]'");
        run(&mut client, &insert);
        let used = client.query_one("SELECT bytes FROM used ORDER BY ctid DESC LIMIT 1", &[]);
        let used: i64 = used.expect("a size").get(0);
        (u64::try_from(used).expect("a size"), memory::size(&mut client))
    };
    insert(1000); // Catalogs are read, and the session is warned.
    let (contexts, address_space) = insert(1000);
    let (contexts_after, address_space_after) = insert(200_000);
    assert!(
        contexts_after < contexts + MOST_MEMORY,
        "{contexts} and {contexts_after} bytes in memory contexts"
    );
    assert!(
        address_space_after < address_space + MOST_MEMORY,
        "{address_space} and {address_space_after} bytes of address space"
    );
    run(&mut client, "COMMIT");
    assert_warned_once(&warnings, CURRENT - 1);
    assert!(!cluster.has_crashed());
}
