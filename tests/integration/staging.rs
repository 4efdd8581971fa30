//! Staged writes: the index follows the transaction through all its commands. Each case ends with
//! the index holding each row of the table once, and with its answers equal to an exact scan.

use std::collections::BTreeSet;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

use postgres::Client;

use crate::cluster::{Cluster, extension, wait_for};
use crate::data::{load, run, vector};
use crate::exactness::{Scan, assert_agree, choose, nearest};

const ROWS: i64 = 400;

/// A table `items` with an index and rows 0 to `ROWS`.
const ITEMS: &str = "CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(50), note text);
     CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops)";

fn cluster() -> (Cluster, Client) {
    let cluster = Cluster::new();
    let mut client = cluster.client();
    client.batch_execute(ITEMS).expect("a table");
    load(&mut client, "items", ROWS);
    (cluster, client)
}

/// Inserts rows into `table`, as one statement.
fn insert(client: &mut Client, table: &str, ids: impl IntoIterator<Item = i64>) {
    let rows: Vec<_> = ids.into_iter().map(|id| format!("({id}, '{}')", vector(id))).collect();
    run(
        client,
        &format!("INSERT INTO {table} (id, embedding) VALUES {}", rows.join(", ")),
    );
}

fn ids(client: &mut Client, query: &str) -> Vec<i64> {
    let rows = client
        .query(query, &[])
        .unwrap_or_else(|error| panic!("{query}: {error:?}"));
    rows.iter().map(|row| row.get(0)).collect()
}

/// Checks that the index has each row of the table that the session sees once, and answers as an
/// exact scan does.
fn assert_same(client: &mut Client, table: &str) {
    run(
        client,
        "SET hnsw.max_scan_tuples = 1000000; SET hnsw.scan_mem_multiplier = 100",
    );
    choose(client, Scan::Index { ef_search: 40 }).expect("settings");
    let all = format!(
        "SELECT id FROM {table} ORDER BY embedding <-> '{}' LIMIT 1000000",
        vector(3)
    );
    let mut by_index = ids(client, &all);
    choose(client, Scan::Exact).expect("settings");
    let mut exact = ids(client, &all);
    by_index.sort_unstable();
    exact.sort_unstable();
    assert_eq!(by_index, exact, "rows of {table}");
    let targets: Vec<_> = (0..40).map(|i| vector(i * 13)).collect();
    assert_agree(client, table, &targets);
}

/// A checksum of an index's file.
fn checksum(client: &mut Client, index: &str) -> String {
    run(client, "CHECKPOINT");
    let sql = format!("SELECT md5(pg_read_binary_file(pg_relation_filepath('{index}')))");
    client.query_one(&sql, &[]).expect("a checksum").get(0)
}

/// The row nearest to the vector of row `id`.
fn found(client: &mut Client, id: i64) -> i64 {
    choose(client, Scan::Index { ef_search: 40 }).expect("settings");
    nearest(client, "items", vector(id), 1).expect("an answer")[0].id
}

#[test]
fn a_rollback_leaves_the_index_as_it_was() {
    let (_cluster, mut client) = cluster();
    let before = checksum(&mut client, "items_embedding");
    run(&mut client, "BEGIN");
    insert(&mut client, "items", ROWS..ROWS + 10_000);
    assert_eq!(found(&mut client, ROWS + 77), ROWS + 77);
    run(
        &mut client,
        "UPDATE items SET note = 'new' WHERE id < 100;
         UPDATE items SET embedding = (SELECT embedding FROM items WHERE id = 5) WHERE id = 9; ROLLBACK",
    );
    assert_eq!(checksum(&mut client, "items_embedding"), before);
    assert_same(&mut client, "items");
    // An error is one, too.
    run(&mut client, "BEGIN");
    insert(&mut client, "items", ROWS..ROWS + 10);
    client.batch_execute("SELECT 1 / 0").expect_err("a division by zero");
    run(&mut client, "ROLLBACK");
    assert_eq!(checksum(&mut client, "items_embedding"), before);
}

#[test]
fn savepoints_released_and_rolled_back_at_any_depth() {
    let (_cluster, mut client) = cluster();
    run(&mut client, "BEGIN");
    insert(&mut client, "items", [1000]);
    run(&mut client, "SAVEPOINT a");
    insert(&mut client, "items", [1001]);
    run(&mut client, "SAVEPOINT b");
    insert(&mut client, "items", [1002]);
    run(&mut client, "SAVEPOINT c; RELEASE c; SAVEPOINT d");
    insert(&mut client, "items", [1003]);
    assert_same(&mut client, "items");
    run(&mut client, "RELEASE d; ROLLBACK TO b");
    insert(&mut client, "items", [1004]);
    for (id, there) in [(1000, true), (1001, true), (1002, false), (1003, false), (1004, true)] {
        assert_eq!(found(&mut client, id) == id, there, "row {id}");
    }
    assert_same(&mut client, "items");
    run(&mut client, "RELEASE a");
    insert(&mut client, "items", [1005]);
    run(&mut client, "COMMIT");
    for (id, there) in [(1001, true), (1002, false), (1004, true), (1005, true)] {
        assert_eq!(found(&mut client, id) == id, there, "row {id}");
    }
    assert_same(&mut client, "items");
    let before = checksum(&mut client, "items_embedding");
    run(&mut client, "BEGIN; SAVEPOINT a");
    insert(&mut client, "items", [1010]);
    run(&mut client, "SAVEPOINT b");
    insert(&mut client, "items", [1011]);
    run(&mut client, "ROLLBACK TO a; COMMIT");
    assert_eq!(checksum(&mut client, "items_embedding"), before);
}

#[test]
fn prepared_transactions_committed_and_rolled_back() {
    let (cluster, mut client) = cluster();
    let mut other = cluster.client();
    for (id, outcome) in [(1000, "COMMIT"), (1001, "ROLLBACK")] {
        run(&mut client, "BEGIN");
        insert(&mut client, "items", [id]);
        run(&mut client, "PREPARE TRANSACTION 'p'");
        assert_same(&mut other, "items");
        assert_ne!(found(&mut other, id), id);
        run(&mut client, &format!("{outcome} PREPARED 'p'"));
        assert_eq!(found(&mut other, id) == id, outcome == "COMMIT");
        assert_same(&mut other, "items");
    }
    run(&mut client, "VACUUM items");
    assert_same(&mut client, "items");
    // The session stages again.
    run(&mut client, "BEGIN");
    insert(&mut client, "items", [1002]);
    assert_ne!(found(&mut other, 1002), 1002);
    run(&mut client, "COMMIT");
    assert_eq!(found(&mut other, 1002), 1002);
}

#[test]
fn parallel_workers_in_the_writing_transaction() {
    let (_cluster, mut client) = cluster();
    run(&mut client, "ANALYZE items; BEGIN");
    insert(&mut client, "items", [1000, 1001]);
    choose(&mut client, Scan::Index { ef_search: 40 }).expect("settings");
    let version: i32 = client
        .query_one("SELECT current_setting('server_version_num')::int", &[])
        .expect("a version")
        .get(0);
    let force = if version < 160_000 {
        "force_parallel_mode"
    } else {
        "debug_parallel_query"
    };
    run(&mut client, &format!("SET {force} = on"));
    let query = format!("SELECT id FROM items ORDER BY embedding <-> '{}' LIMIT 1", vector(1001));
    let lines = client
        .query(&format!("EXPLAIN (ANALYZE) {query}"), &[])
        .expect("a plan");
    let plan: Vec<String> = lines.iter().map(|line| line.get(0)).collect();
    assert!(plan.iter().any(|line| line.contains("Workers Launched: 1")), "{plan:?}");
    assert_eq!(ids(&mut client, &query), [1001]);
    run(&mut client, &format!("SET {force} = off"));
    assert_same(&mut client, "items");
    run(&mut client, "COMMIT");
    assert_same(&mut client, "items");
}

/// All rows that a cursor still has.
fn fetch_all(client: &mut Client) -> Vec<i64> {
    ids(client, "FETCH ALL FROM c")
}

#[test]
fn cursors_open_across_an_early_apply() {
    let (_cluster, mut client) = cluster();
    choose(&mut client, Scan::Index { ef_search: 40 }).expect("settings");
    let declare = |hold: &str| {
        let nearest = format!(
            "SELECT id FROM items ORDER BY embedding <-> '{}' LIMIT 100000",
            vector(1000)
        );
        format!("DECLARE c CURSOR {hold} FOR {nearest}")
    };
    for fetched in [0, 1, 200] {
        run(&mut client, "BEGIN; SET LOCAL hnsw.staging_memory = '16MB'");
        insert(&mut client, "items", 1000..1200);
        run(&mut client, &declare(""));
        let mut seen = ids(&mut client, &format!("FETCH {fetched} FROM c"));
        run(&mut client, "SET LOCAL hnsw.staging_memory = '1kB'");
        insert(&mut client, "items", [1200]); // All of them get into the index, and the new one is beyond the cursor's snapshot.
        seen.extend(fetch_all(&mut client));
        assert_eq!(seen.len(), ROWS as usize + 200);
        assert_eq!(
            seen.into_iter().collect::<BTreeSet<_>>(),
            (0..ROWS).chain(1000..1200).collect()
        );
        assert_same(&mut client, "items");
        run(&mut client, "ROLLBACK");
    }
    run(&mut client, "BEGIN");
    insert(&mut client, "items", 1000..1010);
    run(&mut client, &declare("WITH HOLD"));
    let mut seen = ids(&mut client, "FETCH 3 FROM c");
    run(&mut client, "COMMIT");
    insert(&mut client, "items", 1010..1020);
    seen.extend(fetch_all(&mut client));
    assert_eq!(seen[0], 1000);
    assert_eq!(
        seen.into_iter().collect::<BTreeSet<_>>(),
        (0..ROWS).chain(1000..1010).collect()
    );
    assert_same(&mut client, "items");
}

#[test]
fn truncate_and_reindex_in_the_transaction() {
    let (_cluster, mut client) = cluster();
    let reindex = "REINDEX INDEX items_embedding";
    for (command, empties) in [(reindex, false), ("TRUNCATE items", true)] {
        // Rolled back.
        run(&mut client, "BEGIN");
        insert(&mut client, "items", [1000]);
        run(&mut client, &format!("SAVEPOINT s; {command}"));
        insert(&mut client, "items", [1001]);
        assert_same(&mut client, "items");
        run(&mut client, "ROLLBACK TO s");
        insert(&mut client, "items", [1002]);
        assert_same(&mut client, "items");
        run(&mut client, "COMMIT");
        assert_same(&mut client, "items");
        assert_eq!(found(&mut client, 1000), 1000);
        run(&mut client, "DELETE FROM items WHERE id >= 1000");
        run(&mut client, "VACUUM items");
        // Committed.
        run(&mut client, "BEGIN");
        insert(&mut client, "items", [1000]);
        run(&mut client, command);
        insert(&mut client, "items", [1001]);
        run(&mut client, "COMMIT");
        assert_same(&mut client, "items");
        let count: i64 = client
            .query_one("SELECT count(*) FROM items", &[])
            .expect("a count")
            .get(0);
        assert_eq!(count, if empties { 1 } else { ROWS + 2 });
        run(&mut client, "DELETE FROM items WHERE id >= 1000");
    }
    // A table of this transaction is truncated in place.
    run(&mut client, &format!("DROP TABLE items; BEGIN; {ITEMS}"));
    insert(&mut client, "items", 0..20);
    run(&mut client, "TRUNCATE items");
    insert(&mut client, "items", 100..110);
    assert_same(&mut client, "items");
    run(&mut client, "COMMIT");
    assert_same(&mut client, "items");
    run(&mut client, "BEGIN");
    insert(&mut client, "items", 110..120);
    run(
        &mut client,
        "CREATE INDEX second ON items USING hnsw (embedding vector_cosine_ops)",
    );
    insert(&mut client, "items", 120..130);
    run(&mut client, "COMMIT; DROP INDEX second");
    assert_same(&mut client, "items");
}

#[test]
fn drop_in_the_transaction() {
    let (_cluster, mut client) = cluster();
    run(&mut client, "BEGIN");
    insert(&mut client, "items", [1000]);
    run(&mut client, "SAVEPOINT s; DROP INDEX items_embedding");
    insert(&mut client, "items", [1001]);
    run(&mut client, "ROLLBACK TO s");
    insert(&mut client, "items", [1002]);
    run(&mut client, "COMMIT");
    assert_same(&mut client, "items");
    run(&mut client, "BEGIN");
    insert(&mut client, "items", [1003]);
    run(&mut client, "DROP INDEX items_embedding; COMMIT; BEGIN");
    insert(&mut client, "items", [1004]);
    run(&mut client, "DROP TABLE items; COMMIT");
}

#[test]
fn a_column_gets_another_type_in_the_transaction() {
    let (_cluster, mut client) = cluster();
    let types = [
        "vector(50) USING (embedding::text::vector(50))", // The table is written anew.
        "vector(50)",
    ];
    for (i, to) in types.into_iter().enumerate() {
        let id = 1000 + 10 * i as i64;
        run(&mut client, "BEGIN");
        insert(&mut client, "items", [id]);
        run(
            &mut client,
            &format!("SAVEPOINT s; ALTER TABLE items ALTER embedding TYPE {to}"),
        );
        insert(&mut client, "items", [id + 1]);
        assert_same(&mut client, "items");
        run(&mut client, "ROLLBACK TO s");
        insert(&mut client, "items", [id + 2]);
        run(&mut client, &format!("ALTER TABLE items ALTER embedding TYPE {to}"));
        insert(&mut client, "items", [id + 3]);
        run(&mut client, "COMMIT");
        assert_same(&mut client, "items");
    }
}

#[test]
fn an_index_that_gets_the_file_of_another_gets_its_rows() {
    let (_cluster, mut client) = cluster();
    // The index is made anew, with the file of the one before since the type is the same.
    run(&mut client, "BEGIN");
    insert(&mut client, "items", [1000]);
    let which = "SELECT oid::int8, relfilenode::int8 FROM pg_class WHERE relname = 'items_embedding'";
    let identity = |client: &mut Client| {
        let row = client.query_one(which, &[]).expect("an index");
        (row.get::<_, i64>(0), row.get::<_, i64>(1))
    };
    let before = identity(&mut client);
    run(&mut client, "ALTER TABLE items ALTER embedding TYPE vector(50)");
    let after = identity(&mut client);
    assert!(before.0 != after.0 && before.1 == after.1, "{before:?} {after:?}");
    insert(&mut client, "items", [1001]);
    assert_same(&mut client, "items");
    run(&mut client, "COMMIT");
    assert_same(&mut client, "items");
}

#[test]
fn an_index_moves_to_another_tablespace() {
    let (cluster, mut client) = cluster();
    run(&mut client, "SET allow_in_place_tablespaces = on");
    run(&mut client, "CREATE TABLESPACE elsewhere LOCATION ''");
    // In the transaction.
    run(&mut client, "BEGIN");
    insert(&mut client, "items", [1000]);
    run(&mut client, "ALTER INDEX items_embedding SET TABLESPACE elsewhere");
    insert(&mut client, "items", [1001]);
    assert_same(&mut client, "items");
    run(&mut client, "COMMIT");
    assert_same(&mut client, "items");
    // By somebody else.
    run(&mut client, "BEGIN");
    insert(&mut client, "items", [1002]);
    run(
        &mut cluster.client(),
        "ALTER INDEX items_embedding SET TABLESPACE pg_default",
    );
    insert(&mut client, "items", [1003]);
    assert_same(&mut client, "items");
    run(&mut client, "COMMIT");
    assert_same(&mut client, "items");
}

#[test]
fn an_index_is_created_concurrently_beside_writers() {
    let (cluster, mut client) = cluster();
    run(&mut client, "DROP INDEX items_embedding");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|writer| {
                let (cluster, done) = (&cluster, &done);
                scope.spawn(move || {
                    let mut client = cluster.client();
                    for first in (0..).map(|n| 1_000_000 * (writer + 1) + 10 * n) {
                        run(&mut client, "BEGIN");
                        insert(&mut client, "items", first..first + 5);
                        run(&mut client, "SAVEPOINT s");
                        insert(&mut client, "items", first + 5..first + 10);
                        run(&mut client, if first % 20 == 0 { "ROLLBACK TO s" } else { "RELEASE s" });
                        run(&mut client, if first % 30 == 0 { "ROLLBACK" } else { "COMMIT" });
                        if done.load(Ordering::Relaxed) {
                            return;
                        }
                    }
                })
            })
            .collect();
        for _ in 0..3 {
            run(
                &mut client,
                "CREATE INDEX CONCURRENTLY again ON items USING hnsw (embedding vector_l2_ops)",
            );
            run(&mut client, "DROP INDEX CONCURRENTLY IF EXISTS items_embedding");
            run(&mut client, "ALTER INDEX again RENAME TO items_embedding");
            run(&mut client, "REINDEX INDEX CONCURRENTLY items_embedding");
        }
        done.store(true, Ordering::Relaxed);
        assert!(
            writers.into_iter().all(|writer| writer.join().is_ok()),
            "a writer failed"
        );
    });
    assert_same(&mut client, "items");
}

#[test]
fn temporary_tables_that_forget_their_rows_at_commit() {
    let (_cluster, mut client) = cluster();
    let table = "CREATE TEMP TABLE mine (id bigint, embedding vector(50))";
    run(&mut client, &format!("{table} ON COMMIT DELETE ROWS"));
    run(
        &mut client,
        "CREATE INDEX mine_embedding ON mine USING hnsw (embedding vector_l2_ops)",
    );
    for _ in 0..2 {
        run(&mut client, "BEGIN");
        insert(&mut client, "mine", 0..50);
        assert_same(&mut client, "mine");
        run(&mut client, "COMMIT");
        assert_same(&mut client, "mine");
        assert!(ids(&mut client, "SELECT id FROM mine").is_empty());
    }
    run(&mut client, &format!("DROP TABLE mine; {table}"));
    run(
        &mut client,
        "CREATE INDEX mine_embedding ON mine USING hnsw (embedding vector_l2_ops)",
    );
    run(&mut client, "BEGIN");
    insert(&mut client, "mine", 0..50);
    run(&mut client, "SAVEPOINT s");
    insert(&mut client, "mine", 50..60);
    run(&mut client, "ROLLBACK TO s; COMMIT; DELETE FROM mine WHERE id < 10");
    assert_same(&mut client, "mine");
    assert_eq!(ids(&mut client, "SELECT id FROM mine").len(), 40);
}

#[test]
fn unlogged_tables() {
    let (cluster, mut client) = cluster();
    run(
        &mut client,
        "CREATE UNLOGGED TABLE fast (id bigint, embedding vector(50));
         CREATE INDEX fast_embedding ON fast USING hnsw (embedding vector_l2_ops); BEGIN",
    );
    insert(&mut client, "fast", 0..100);
    run(&mut client, "SAVEPOINT s");
    insert(&mut client, "fast", 100..200);
    run(&mut client, "ROLLBACK TO s; COMMIT");
    assert_same(&mut client, "fast");
    run(&mut client, "BEGIN");
    insert(&mut client, "fast", 200..210);
    run(&mut client, "ALTER TABLE fast SET LOGGED");
    insert(&mut client, "fast", 210..220);
    run(&mut client, "COMMIT");
    assert_same(&mut client, "fast");
    run(&mut client, "ALTER TABLE fast SET UNLOGGED");
    cluster.kill();
    cluster.start();
    let mut client = cluster.client();
    assert!(ids(&mut client, "SELECT id FROM fast").is_empty());
    run(&mut client, "BEGIN");
    insert(&mut client, "fast", 0..100);
    run(&mut client, "COMMIT");
    assert_same(&mut client, "fast");
}

#[test]
fn deferred_triggers_that_insert_at_commit() {
    let (cluster, mut client) = cluster();
    run(
        &mut client,
        "CREATE FUNCTION echo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             IF new.id < 2000 THEN INSERT INTO items VALUES (new.id + 1000, new.embedding); END IF; RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER echo AFTER INSERT ON items DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION echo(); BEGIN",
    );
    insert(&mut client, "items", 1000..1010);
    run(&mut client, "COMMIT");
    assert_same(&mut client, "items");
    let answer = nearest(&mut cluster.client(), "items", vector(1003), 2).expect("an answer");
    assert_eq!(
        answer.iter().map(|row| row.id).collect::<BTreeSet<_>>(),
        [1003, 2003].into()
    );
    // One that fails at commit takes everything along.
    run(
        &mut client,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
         CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON items DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    let before = checksum(&mut client, "items_embedding");
    run(&mut client, "BEGIN");
    insert(&mut client, "items", 3000..3010);
    client.batch_execute("COMMIT").expect_err("the trigger refuses");
    assert_eq!(checksum(&mut client, "items_embedding"), before);
}

#[test]
fn exception_blocks_of_plpgsql() {
    let (_cluster, mut client) = cluster();
    run(
        &mut client,
        "CREATE TABLE words AS SELECT id, embedding FROM items;
         DO $$ BEGIN
             FOR n IN 0..99 LOOP
                 BEGIN
                     INSERT INTO items SELECT 1000 + n, embedding FROM words WHERE id = n;
                     IF n % 3 = 0 THEN RAISE division_by_zero; END IF;
                     BEGIN
                         INSERT INTO items SELECT 2000 + n, embedding FROM words WHERE id = n;
                         INSERT INTO items SELECT 0, embedding FROM words WHERE id = n; -- There is a row 0.
                     EXCEPTION WHEN unique_violation THEN NULL;
                     END;
                 EXCEPTION WHEN division_by_zero THEN NULL;
                 END;
             END LOOP;
         END $$",
    );
    assert_same(&mut client, "items");
    let inserted = ids(&mut client, "SELECT id FROM items WHERE id >= 1000");
    assert_eq!(inserted.len(), 66);
    run(
        &mut client,
        "CREATE PROCEDURE fill() LANGUAGE plpgsql AS $$ BEGIN
             FOR n IN 0..9 LOOP
                 INSERT INTO items SELECT 3000 + n, embedding FROM words WHERE id = n;
                 IF n % 2 = 0 THEN COMMIT; ELSE ROLLBACK; END IF;
             END LOOP;
         END $$;",
    );
    run(&mut client, "CALL fill()");
    assert_same(&mut client, "items");
    assert_eq!(ids(&mut client, "SELECT id FROM items WHERE id >= 3000").len(), 5);
}

#[test]
fn logical_replication_applies_through_the_list() {
    let (cluster, mut client) = cluster();
    run(&mut client, "CREATE DATABASE replica");
    let mut replica = cluster.client_of("replica");
    run(&mut replica, &format!("CREATE EXTENSION {}", extension()));
    run(&mut replica, ITEMS);
    run(&mut client, "CREATE PUBLICATION all_items FOR TABLE items");
    run(
        &mut client,
        "SELECT pg_create_logical_replication_slot('s', 'pgoutput')",
    );
    let source = cluster.connection_string("postgres");
    run(
        &mut replica,
        &format!(
            "CREATE SUBSCRIPTION s CONNECTION '{source}' PUBLICATION all_items WITH (create_slot = false, slot_name = 's')"
        ),
    );
    run(&mut client, "BEGIN");
    insert(&mut client, "items", 1000..1100);
    run(&mut client, "SAVEPOINT s");
    insert(&mut client, "items", 1100..1200);
    run(
        &mut client,
        "ROLLBACK TO s; COMMIT; UPDATE items SET note = 'x' WHERE id < 10; DELETE FROM items WHERE id = 20",
    );
    insert(&mut client, "items", [1300]);
    static COUNT: LazyLock<&str> = LazyLock::new(|| "SELECT id FROM items WHERE id = 1300");
    wait_for("the rows are replicated", || !ids(&mut replica, *COUNT).is_empty());
    assert_same(&mut replica, "items");
    assert_eq!(ids(&mut replica, "SELECT id FROM items").len(), ROWS as usize - 1 + 101);
    run(
        &mut replica,
        "ALTER SUBSCRIPTION s DISABLE; ALTER SUBSCRIPTION s SET (slot_name = NONE); DROP SUBSCRIPTION s",
    );
}

#[test]
fn an_error_in_the_midst_of_a_batch() {
    let (cluster, mut client) = cluster();
    run(
        &mut client,
        "CREATE TABLE more AS SELECT id FROM items LIMIT 0; ALTER TABLE more ADD embedding vector(50)",
    );
    load(&mut client, "more", 20_000);
    // At commit: the transaction is gone, and its rest is of no consequence.
    run(
        &mut client,
        "BEGIN; INSERT INTO items SELECT 10000 + id, embedding FROM more",
    );
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut other = cluster.client();
            let cancel = "SELECT 1::int8 FROM pg_stat_activity
                 WHERE CASE WHEN query = 'COMMIT' AND state = 'active' THEN pg_cancel_backend(pid) END";
            wait_for("the commit is cancelled", || !ids(&mut other, cancel).is_empty());
        });
        let error = client.batch_execute("COMMIT").expect_err("the batch takes longer");
        assert_eq!(
            error.code(),
            Some(&postgres::error::SqlState::QUERY_CANCELED),
            "{error:?}"
        );
    });
    assert_same(&mut client, "items");
    run(&mut client, "VACUUM items");
    assert_same(&mut client, "items");
    // In a subtransaction: the rows from before it get in once.
    run(
        &mut client,
        "BEGIN; INSERT INTO items SELECT 10000 + id, embedding FROM more; SAVEPOINT s;
         SET LOCAL hnsw.staging_memory = '64kB'; SET LOCAL statement_timeout = '100ms'",
    );
    let insert_one = format!("INSERT INTO items VALUES (5000, '{}')", vector(5000));
    let error = client.batch_execute(&insert_one).expect_err("the batch takes longer");
    assert_eq!(
        error.code(),
        Some(&postgres::error::SqlState::QUERY_CANCELED),
        "{error:?}"
    );
    run(&mut client, "ROLLBACK TO s; SET LOCAL statement_timeout = 0");
    assert_same(&mut client, "items");
    run(&mut client, "COMMIT");
    assert_same(&mut client, "items");
    assert_eq!(ids(&mut client, "SELECT id FROM items").len(), ROWS as usize + 20_000);
}

#[test]
fn more_rows_than_the_memory_for_them() {
    let (_cluster, mut client) = cluster();
    run(&mut client, "BEGIN; SET LOCAL hnsw.staging_memory = '100kB'");
    insert(&mut client, "items", 1000..4000);
    assert_same(&mut client, "items");
    run(&mut client, "SAVEPOINT s");
    insert(&mut client, "items", 4000..5000);
    run(&mut client, "ROLLBACK TO s");
    assert_same(&mut client, "items");
    run(&mut client, "ROLLBACK");
    assert_same(&mut client, "items");
    run(&mut client, "VACUUM items");
    run(&mut client, "SET hnsw.staging_memory = 0; BEGIN");
    insert(&mut client, "items", 1000..1100);
    run(&mut client, "ROLLBACK");
    insert(&mut client, "items", 1000..1100);
    assert_same(&mut client, "items");
}

#[test]
fn a_backend_that_is_told_to_end_while_it_inserts_lets_go_of_everything() {
    let (cluster, mut client) = cluster();
    run(
        &mut client,
        "CREATE TABLE more AS SELECT id FROM items LIMIT 0; ALTER TABLE more ADD embedding vector(50)",
    );
    load(&mut client, "more", 20_000);
    let terminate = "SELECT 1 FROM pg_stat_activity
         WHERE CASE WHEN state = 'active' AND query = $1 THEN pg_terminate_backend(pid) END";
    let one_more = format!("INSERT INTO items VALUES (9000, '{}')", vector(3));
    let early = "SAVEPOINT s; SET LOCAL hnsw.staging_memory = '1kB'";
    for (before, last) in [("", "COMMIT"), (early, &one_more)] {
        let mut other = cluster.client();
        run(
            &mut other,
            "BEGIN; INSERT INTO items SELECT 10000 + id, embedding FROM more",
        );
        run(&mut other, before);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                wait_for("the backend is terminated", || {
                    !client.query(terminate, &[&last]).expect("the sessions").is_empty()
                });
            });
            other.batch_execute(last).expect_err("the backend is terminated");
        });
        run(
            &mut client,
            "SET lock_timeout = '20s'; BEGIN; LOCK TABLE items IN ACCESS EXCLUSIVE MODE; COMMIT",
        );
        assert_same(&mut client, "items");
    }
    assert!(!cluster.has_crashed());
}

/// A table of 100 rows with a unique key that waits, the second time that a session asks for it,
/// between the look for conflicts and the insertion.
const CLAIMS: &str =
    "CREATE FUNCTION key(id bigint) RETURNS bigint LANGUAGE plpgsql IMMUTABLE AS $$ DECLARE n int; BEGIN
         n := coalesce(nullif(current_setting('gate.count', true), ''), '9')::int + 1;
         PERFORM set_config('gate.count', n::text, false);
         IF n = 2 THEN PERFORM pg_advisory_lock_shared(1); PERFORM pg_advisory_unlock_shared(1); END IF;
         RETURN id; END $$;
     CREATE TABLE claims (id bigint, embedding vector(50), note text, marks int)";

fn claims(cluster: &Cluster, condition: &str) -> Client {
    let mut client = cluster.client();
    run(&mut client, CLAIMS);
    // The vector's index is older than the key's, so its turn comes first.
    run(
        &mut client,
        &format!(
            "CREATE INDEX claims_embedding ON claims USING hnsw (embedding vector_l2_ops) {condition};
             CREATE UNIQUE INDEX claims_key ON claims (key(id))"
        ),
    );
    insert(&mut client, "claims", 0..100);
    client
}

/// Runs `statement`, which inserts a speculative row, and `meanwhile` while that is in the table
/// and undecided.
fn undecided(cluster: &Cluster, client: &mut Client, statement: &str, meanwhile: impl FnOnce(&mut Client)) -> Client {
    run(client, "SELECT pg_advisory_lock(1)");
    let mut slow = cluster.client();
    run(&mut slow, "BEGIN; SET gate.count = '0'");
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| run(&mut slow, statement));
        let waits = "SELECT 1::int8 FROM pg_stat_activity WHERE wait_event = 'advisory'";
        wait_for("the row is in the table", || !ids(client, waits).is_empty());
        meanwhile(client);
        run(client, "SELECT pg_advisory_unlock(1)");
        assert!(waiting.join().is_ok(), "the statement succeeds");
    });
    slow
}

/// A session with a transaction that has inserted a row which was taken back, under the vector of
/// row 300; the row's place is free.
fn taken_back(cluster: &Cluster, client: &mut Client) -> Client {
    let row = format!("INSERT INTO claims VALUES (5000, '{}')", vector(300));
    let statement = format!("{row} ON CONFLICT (key(id)) DO NOTHING");
    let slow = undecided(cluster, client, &statement, |_| {
        insert(&mut cluster.client(), "claims", [5000]);
    });
    run(client, "VACUUM (INDEX_CLEANUP ON) claims");
    slow
}

/// The place of the row that was inserted last or is going to be taken back: the next one of the
/// table's last page.
fn next_place(client: &mut Client) -> String {
    let place = "SELECT format('(%s,%s)', block, 1 + row) FROM (
             SELECT (max(ctid)::text::point)[0]::int AS block, (max(ctid)::text::point)[1]::int AS row FROM claims) last";
    client.query_one(place, &[]).expect("a place").get(0)
}

/// Checks that the index has the rows that it should have, each under its own vector, and no other.
fn assert_sound(client: &mut Client, condition: &str) {
    let nodes = format!(
        "SELECT node_count, (SELECT count(DISTINCT embedding) FROM claims {condition}) FROM hnsw_stats('claims_embedding')"
    );
    let row = client.query_one(&nodes, &[]).expect("a count");
    assert_eq!(
        row.get::<_, i64>(0),
        row.get::<_, i64>(1),
        "vectors in the index, and in the table"
    );
    let faults = client
        .query(
            "SELECT fault FROM hnsw_check('claims_embedding', true) WHERE severity = 'corruption'",
            &[],
        )
        .expect("a check");
    let faults: Vec<String> = faults.iter().map(|row| row.get(0)).collect();
    assert!(faults.is_empty(), "{faults:?}");
}

#[test]
fn rows_of_the_transaction_in_the_place_of_one_that_was_taken_back() {
    let (all, null) = ("", "WHERE note IS NULL");
    let other = vector(7000);
    // The transaction's next command, the row that has the place after that, and the index's
    // condition.
    let cases = [
        // The index is not told of a version that is on the page of the one before.
        (
            "UPDATE claims SET marks = 1 WHERE id = 99; COMMIT".to_string(),
            Some(99),
            all,
        ),
        (
            "SAVEPOINT s; UPDATE claims SET marks = 1 WHERE id = 99; RELEASE s; COMMIT".to_string(),
            Some(99),
            all,
        ),
        (
            format!("SET LOCAL hnsw.staging_memory = 0; INSERT INTO claims VALUES (7000, '{other}'); COMMIT"),
            Some(7000),
            all,
        ),
        (
            format!("INSERT INTO claims VALUES (7000, '{other}'); COMMIT"),
            Some(7000),
            all,
        ),
        (
            "INSERT INTO claims VALUES (7000, NULL, repeat('n', 150)); COMMIT".to_string(),
            Some(7000),
            all,
        ),
        // Nor of a row that its condition leaves out.
        (
            format!("INSERT INTO claims VALUES (7000, '{other}', 'n'); COMMIT"),
            Some(7000),
            null,
        ),
        (
            format!("INSERT INTO claims VALUES (7000, '{other}'); COMMIT"),
            Some(7000),
            null,
        ),
        (
            "UPDATE claims SET marks = 1 WHERE id = 99; COMMIT".to_string(),
            Some(99),
            null,
        ),
        ("COMMIT".to_string(), None, null),
    ];
    for (finish, holder, condition) in cases {
        println!("{finish} {condition}");
        let cluster = Cluster::new();
        let mut client = claims(&cluster, condition);
        let place = next_place(&mut client);
        let mut slow = taken_back(&cluster, &mut client);
        run(&mut slow, &finish);
        if let Some(id) = holder {
            let has_it = format!("SELECT id FROM claims WHERE ctid = '{place}'");
            assert_eq!(ids(&mut client, &has_it), [id]);
        }
        assert_sound(&mut client, condition);
        // The place is another row's once more.
        run(&mut client, "UPDATE claims SET marks = 2 WHERE marks = 1");
        run(&mut client, "VACUUM claims");
        insert(&mut client, "claims", 8000..8005);
        assert_sound(&mut client, condition);
        run(&mut client, "DELETE FROM claims WHERE embedding IS NULL");
        if condition == all {
            assert_same(&mut client, "claims");
        }
    }
}

#[test]
fn a_speculative_row_of_another_session_in_the_place_of_one_that_was_taken_back() {
    let cluster = Cluster::new();
    let mut client = claims(&cluster, "");
    let mut slow = taken_back(&cluster, &mut client);
    let row = format!("INSERT INTO claims VALUES (7000, '{}')", vector(7000));
    let mut other = undecided(
        &cluster,
        &mut client,
        &format!("{row} ON CONFLICT (key(id)) DO NOTHING"),
        |_| {
            run(&mut slow, "COMMIT");
        },
    );
    run(&mut other, "COMMIT");
    assert_sound(&mut client, "");
    assert_same(&mut client, "claims");
}

#[test]
fn rows_that_on_conflict_takes_back() {
    let cluster = Cluster::new();
    let mut client = claims(&cluster, "");
    run(&mut client, ITEMS);
    load(&mut client, "items", ROWS);
    for finish in [
        "COMMIT",
        "SAVEPOINT s; ROLLBACK TO s; COMMIT",
        "INSERT INTO claims SELECT 9000; COMMIT",
    ] {
        let mut slow = taken_back(&cluster, &mut client);
        // Its place gets another row.
        insert(&mut cluster.client(), "claims", 6000..6005);
        run(&mut slow, finish);
        run(&mut client, "DELETE FROM claims WHERE embedding IS NULL");
        assert_same(&mut client, "claims");
        run(&mut client, "DELETE FROM claims WHERE id >= 1000");
        run(&mut client, "VACUUM claims");
    }
    // The table may have another file by then.
    let upsert_claim = |id: i64| {
        let row = format!("INSERT INTO claims VALUES ({id}, '{}')", vector(id));
        format!("{row} ON CONFLICT (key(id)) DO UPDATE SET embedding = excluded.embedding")
    };
    run(&mut client, &format!("BEGIN; {}", upsert_claim(4000)));
    run(&mut client, "SAVEPOINT s; TRUNCATE claims");
    insert(&mut client, "claims", [4001]);
    run(&mut client, "SET LOCAL hnsw.staging_memory = '1kB'");
    insert(&mut client, "claims", 4002..4020);
    assert_same(&mut client, "claims");
    run(&mut client, "ROLLBACK TO s; COMMIT");
    assert_same(&mut client, "claims");
    run(&mut client, &format!("BEGIN; {}", upsert_claim(4030)));
    run(&mut client, "TRUNCATE claims; COMMIT");
    assert_same(&mut client, "claims");
    // So may rows that the index does not get be in its place; and one that it does get.
    run(&mut client, &format!("BEGIN; {}", upsert_claim(4040)));
    run(&mut client, "INSERT INTO claims VALUES (4041, NULL)");
    run(&mut client, &upsert_claim(4042));
    run(&mut client, "COMMIT; DELETE FROM claims WHERE embedding IS NULL");
    assert_same(&mut client, "claims");
    assert_eq!(ids(&mut client, "SELECT id FROM claims ORDER BY id"), [4040, 4042]);
    // Upserts are staged.
    let before = checksum(&mut client, "items_embedding");
    let upsert = |id: i64| {
        let row = format!(
            "INSERT INTO items (id, embedding) VALUES ({id}, '{}')",
            vector(id + 7000)
        );
        format!("{row} ON CONFLICT (id) DO UPDATE SET embedding = excluded.embedding")
    };
    run(&mut client, "BEGIN");
    for id in [3, 1000, 1001, 5] {
        run(&mut client, &upsert(id));
        assert_same(&mut client, "items");
    }
    run(&mut client, "ROLLBACK");
    assert_eq!(checksum(&mut client, "items_embedding"), before);
    run(&mut client, &upsert(3));
    run(&mut client, &upsert(1000));
    assert_same(&mut client, "items");
    assert_eq!(found(&mut client, 7003), 3);
}

#[test]
fn a_copy_of_the_index_that_is_rolled_back_after_an_early_apply() {
    let (_cluster, mut client) = cluster();
    run(&mut client, "SET allow_in_place_tablespaces = on");
    run(&mut client, "CREATE TABLESPACE elsewhere LOCATION ''");
    run(&mut client, "BEGIN");
    insert(&mut client, "items", 1000..1050);
    run(
        &mut client,
        "SAVEPOINT s; ALTER INDEX items_embedding SET TABLESPACE elsewhere; SET LOCAL hnsw.staging_memory = '1kB'",
    );
    insert(&mut client, "items", 1050..1060);
    assert_same(&mut client, "items");
    run(&mut client, "ROLLBACK TO s");
    assert_same(&mut client, "items");
    run(&mut client, "COMMIT");
    assert_same(&mut client, "items");
}

#[test]
fn an_index_that_gets_the_file_of_another_and_moves_or_is_temporary() {
    let (_cluster, mut client) = cluster();
    run(&mut client, "SET allow_in_place_tablespaces = on");
    run(&mut client, "CREATE TABLESPACE elsewhere LOCATION ''");
    run(&mut client, "BEGIN");
    insert(&mut client, "items", [1000]);
    run(
        &mut client,
        "ALTER TABLE items ALTER embedding TYPE vector(50);
         ALTER INDEX items_embedding SET TABLESPACE elsewhere",
    );
    insert(&mut client, "items", [1001]);
    assert_same(&mut client, "items");
    run(&mut client, "COMMIT");
    assert_same(&mut client, "items");
    run(
        &mut client,
        "CREATE TEMP TABLE mine (id bigint, embedding vector(50));
         CREATE INDEX ON mine USING hnsw (embedding vector_l2_ops)",
    );
    run(&mut client, "BEGIN");
    insert(&mut client, "mine", 0..50);
    run(&mut client, "ALTER TABLE mine ALTER embedding TYPE vector(50)");
    insert(&mut client, "mine", 50..60);
    assert_same(&mut client, "mine");
    run(&mut client, "COMMIT");
    assert_same(&mut client, "mine");
}
