//! Staged rows at the end of a transaction, or of a statement that is one: they are inserted before
//! the callbacks of other libraries, within the bounds of a statement, and where its work is
//! counted.

use postgres::error::SqlState;
use postgres::{Client, SimpleQueryMessage};

use crate::cluster::Cluster;
use crate::data::{load, run, vector};

const ROWS: i64 = 2_000;

/// A table with an index, and one with rows to insert into it.
fn cluster() -> (Cluster, Client) {
    let cluster = Cluster::new();
    let mut client = cluster.client();
    run(
        &mut client,
        "CREATE TABLE items (id bigint, embedding vector(50));
         CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops);
         CREATE TABLE more (id bigint, embedding vector(50))",
    );
    load(&mut client, "items", ROWS);
    load(&mut client, "more", ROWS);
    run(&mut client, "SET allow_in_place_tablespaces = on");
    run(&mut client, "CREATE TABLESPACE elsewhere LOCATION ''");
    (cluster, client)
}

/// A session that keeps everybody from the index, though not from the table, as long as it lives.
fn holder(cluster: &Cluster) -> Client {
    let mut holder = cluster.client();
    run(
        &mut holder,
        "BEGIN; ALTER INDEX items_embedding SET TABLESPACE elsewhere",
    );
    holder
}

fn number(client: &mut Client, query: &str) -> i64 {
    client
        .query_one(query, &[])
        .unwrap_or_else(|error| panic!("{query}: {error:?}"))
        .get(0)
}

fn insert(id: i64) -> String {
    format!("INSERT INTO items VALUES ({id}, '{}')", vector(id))
}

/// The first number of that name in the plan of a statement, which is executed.
fn explained(client: &mut Client, statement: &str, names: &[&str]) -> Vec<i64> {
    let explain = format!("EXPLAIN (ANALYZE, BUFFERS, WAL, FORMAT json) {statement}");
    let answer = client.simple_query(&explain).expect("a plan");
    let plan = answer.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    let plan = plan.expect("a plan").to_string();
    names.iter().map(|name| number_after(&plan, name)).collect()
}

/// The first number of that name in a plan.
fn number_after(plan: &str, name: &str) -> i64 {
    let (_, rest) = plan
        .split_once(&format!("\"{name}\": "))
        .unwrap_or_else(|| panic!("{name} in {plan}"));
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().expect("a number")
}

#[test]
fn other_servers_commit_when_the_rows_are_in_the_index() {
    let (cluster, mut client) = cluster();
    let available = "SELECT FROM pg_available_extensions WHERE name = 'postgres_fdw'";
    if client.query(available, &[]).expect("a list").is_empty() {
        println!("skipped: this PostgreSQL comes without postgres_fdw");
        return;
    }
    run(&mut client, "CREATE DATABASE other");
    run(
        &mut cluster.client_of("other"),
        "CREATE TABLE far (id bigint); CREATE TABLE far_items (id bigint, embedding text)",
    );
    let objects = format!(
        "CREATE EXTENSION postgres_fdw;
         CREATE SERVER other FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{}', port '5432', dbname 'other');
         CREATE USER MAPPING FOR postgres SERVER other OPTIONS (user 'postgres');
         CREATE FOREIGN TABLE far (id bigint) SERVER other;
         CREATE FUNCTION send() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO far VALUES (new.id); RETURN NULL; END $$;
         CREATE TABLE sent (id bigint);
         CREATE TRIGGER send AFTER INSERT ON sent FOR EACH ROW EXECUTE FUNCTION send()",
        cluster.sockets().display(),
    );
    run(&mut client, &objects);
    let there = "INSERT INTO far VALUES (1)";
    let here = insert(9000);
    let cases = [
        // The session connects to the other server first, or later; the transaction's last
        // statement may be neither.
        vec![here.clone(), there.to_string()],
        vec![there.to_string(), here.clone()],
        vec![here.clone(), there.to_string(), "SAVEPOINT s; RELEASE s".to_string()],
        vec![
            here.clone(),
            "SAVEPOINT s".to_string(),
            there.to_string(),
            "RELEASE s".to_string(),
        ],
        vec![here.clone(), "INSERT INTO sent VALUES (1)".to_string()],
        vec![here.clone(), "COPY sent FROM PROGRAM 'echo 1'".to_string()],
        vec![
            here.clone(),
            "DO $$ BEGIN INSERT INTO far VALUES (1); END $$".to_string(),
        ],
    ];
    for statements in &cases {
        println!("{statements:?}");
        let mut session = cluster.client();
        // It has loaded the library; and has no lock on the index.
        let loads = "SELECT id FROM items ORDER BY embedding <-> (SELECT embedding FROM more LIMIT 1) LIMIT 1";
        run(&mut session, loads);
        run(
            &mut session,
            "SET lock_timeout = '100ms'; SET enable_indexscan = off; BEGIN",
        );
        statements.iter().for_each(|statement| run(&mut session, statement));
        let holder = holder(&cluster);
        let error = session.batch_execute("COMMIT").expect_err("the index is not to be had");
        assert_eq!(error.code(), Some(&SqlState::LOCK_NOT_AVAILABLE), "{error:?}");
        drop(holder);
        assert_eq!(number(&mut client, "SELECT count(*) FROM far"), 0, "{statements:?}");
        assert_eq!(number(&mut client, "SELECT count(*) FROM items WHERE id = 9000"), 0);
        // And another time, when the connection is there.
        run(&mut session, "BEGIN");
        statements.iter().for_each(|statement| run(&mut session, statement));
        run(&mut session, "COMMIT");
        assert_eq!(number(&mut client, "SELECT count(*) FROM far"), 1);
        run(&mut client, "DELETE FROM far; DELETE FROM items WHERE id = 9000");
    }
}

#[test]
fn statement_timeout_holds_at_commit() {
    let (cluster, mut client) = cluster();
    // Longer than the other, for this session only: otherwise lock_timeout would end the statement.
    run(&mut client, "SET lock_timeout = '30s'");
    for prepared in [false, true] {
        run(&mut client, "BEGIN");
        run(&mut client, &insert(9000));
        let holder = holder(&cluster);
        run(&mut client, "SET statement_timeout = '200ms'");
        let commit = if prepared { "PREPARE TRANSACTION 'p'" } else { "COMMIT" };
        let error = client.batch_execute(commit).expect_err("the index is not to be had");
        assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED), "{error:?}");
        assert!(error.to_string().contains("statement timeout") || format!("{error:?}").contains("statement timeout"));
        drop(holder);
        run(&mut client, "SET statement_timeout = 0");
        assert_eq!(number(&mut client, "SELECT count(*) FROM items WHERE id = 9000"), 0);
    }
    // One that is not reached is over then.
    run(&mut client, "BEGIN");
    run(&mut client, &insert(9001));
    run(
        &mut client,
        "SET statement_timeout = '20s'; COMMIT; SET statement_timeout = 0",
    );
    assert_eq!(number(&mut client, "SELECT count(*) FROM items WHERE id = 9001"), 1);
    // A procedure has one of its own, which goes on.
    run(
        &mut client,
        "CREATE PROCEDURE fill() LANGUAGE plpgsql AS $$ BEGIN
             FOR n IN 1..3 LOOP INSERT INTO items SELECT 9100 + n, embedding FROM more WHERE id = n; COMMIT; END LOOP;
         END $$; SET statement_timeout = '30s'",
    );
    run(&mut client, "CALL fill()");
    assert_eq!(number(&mut client, "SELECT count(*) FROM items WHERE id > 9100"), 3);
    assert_eq!(
        number(&mut client, "SELECT count(*) FROM hnsw_check('items_embedding', true)"),
        0
    );
}

#[test]
fn a_statement_by_itself_counts_the_work_on_the_index() {
    let (_cluster, mut client) = cluster();
    let work = |client: &mut Client| {
        let last = "SELECT rows, pages, wal_bytes FROM hnsw_last_insert()";
        let row = client.query_one(last, &[]).expect("an insert");
        [0, 1, 2].map(|column| row.get::<_, i64>(column))
    };
    let names = ["WAL Bytes", "WAL Records", "Shared Hit Blocks"];
    let several = "INSERT INTO items SELECT 10000 + id, embedding FROM more LIMIT 500";
    let returning = format!("{} RETURNING id", insert(9002));
    let with = format!("WITH i AS ({} RETURNING id) SELECT * FROM i", insert(9003));
    let update = "UPDATE items SET embedding = (SELECT embedding FROM more WHERE id = 77) WHERE id = 5";
    for (statement, rows) in [
        (&*insert(9000), 1),
        (several, 500),
        (&returning, 1),
        (&with, 1),
        (update, 1),
    ] {
        let [bytes, records, hits] = explained(&mut client, statement, &names)[..] else {
            unreachable!()
        };
        let [inserted, pages, wal] = work(&mut client);
        assert_eq!(inserted, rows, "{statement}: rows in one batch");
        assert!(
            wal > 0 && bytes > wal,
            "{statement}: {bytes} bytes of WAL in the plan, {wal} of the index"
        );
        assert!(
            records >= 2 && hits >= pages,
            "{statement}: {records} records, {hits} hits, {pages} pages"
        );
    }
    // Statements that are part of a transaction leave it to the commit, which is one batch: a
    // block, several at once, a function.
    run(&mut client, "BEGIN");
    let [bytes] = explained(&mut client, &insert(9010), &names[..1])[..] else {
        unreachable!()
    };
    run(&mut client, &insert(9011));
    run(&mut client, "COMMIT");
    let [rows, _, wal] = work(&mut client);
    assert_eq!(rows, 2);
    assert!(bytes < wal / 2, "{bytes} bytes of WAL in the plan, {wal} of the index");
    run(&mut client, &[9012, 9013, 9014].map(insert).join("; "));
    assert_eq!(work(&mut client)[0], 3);
    run(
        &mut client,
        "DO $$ BEGIN FOR n IN 1..4 LOOP INSERT INTO items SELECT 9020 + n, embedding FROM more WHERE id = n; END LOOP; END $$",
    );
    assert_eq!(work(&mut client)[0], 4);
    run(
        &mut client,
        "CREATE FUNCTION fill(n bigint) RETURNS bigint LANGUAGE sql AS
             'INSERT INTO items SELECT 9030 + n, embedding FROM more WHERE id = n RETURNING id'",
    );
    run(&mut client, "SELECT fill(n) FROM generate_series(1, 5) n");
    assert_eq!(work(&mut client)[0], 5);
    // Rows of triggers belong to the statement; rows of deferred triggers come with the commit.
    for (deferred, batch) in [("", 2), ("DEFERRABLE INITIALLY DEFERRED", 1)] {
        run(
            &mut client,
            &format!(
                "CREATE OR REPLACE FUNCTION echo() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                     IF new.id < 20000 THEN INSERT INTO items VALUES (new.id + 20000, new.embedding); END IF; RETURN NULL; END $$;
                 CREATE CONSTRAINT TRIGGER echo AFTER INSERT ON items {deferred} FOR EACH ROW EXECUTE FUNCTION echo()"
            ),
        );
        run(&mut client, &insert(9040 + batch));
        assert_eq!(work(&mut client)[0], batch, "{deferred}");
        run(&mut client, "DROP TRIGGER echo ON items");
    }
    assert_eq!(
        number(&mut client, "SELECT count(*) FROM hnsw_check('items_embedding', true)"),
        0
    );
}

#[test]
fn auto_explain_counts_the_work_on_the_index() {
    let (cluster, mut client) = cluster();
    if client.batch_execute("LOAD 'auto_explain'").is_err() {
        println!("skipped: this PostgreSQL comes without auto_explain");
        return;
    }
    for (setting, value) in [
        ("log_format", "json"),
        ("log_analyze", "on"),
        ("log_buffers", "on"),
        ("log_wal", "on"),
        ("log_min_duration", "0"),
    ] {
        run(&mut client, &format!("SET auto_explain.{setting} = '{value}'"));
    }
    run(&mut client, &insert(9000));
    run(&mut client, "SET auto_explain.log_min_duration = -1");
    let wal = number(&mut client, "SELECT wal_bytes FROM hnsw_last_insert()");
    let log = cluster.log();
    let (_, plan) = log
        .split_once("INSERT INTO items VALUES (9000")
        .expect("a plan in the log");
    let logged = number_after(plan, "WAL Bytes");
    assert!(
        wal > 0 && logged > wal,
        "{logged} bytes of WAL in the log, {wal} of the index"
    );
}

#[test]
fn an_index_that_has_moved_is_walked_once() {
    let (_cluster, mut client) = cluster();
    let batch = |first: i64| format!("INSERT INTO items SELECT {first} + id, embedding FROM more LIMIT 200");
    let hits = |client: &mut Client, first: i64| explained(client, &batch(first), &["Shared Hit Blocks"])[0];
    let early = "SET LOCAL hnsw.staging_memory = '4kB'";
    for (i, (before, after)) in [("", ""), ("SAVEPOINT s;", ""), ("SAVEPOINT s;", "RELEASE s;")]
        .into_iter()
        .enumerate()
    {
        let base = 10_000 * (1 + i as i64);
        run(&mut client, &format!("BEGIN; {early}"));
        let usual = hits(&mut client, base);
        run(&mut client, "ROLLBACK");
        run(&mut client, "BEGIN");
        run(&mut client, &batch(base + 1_000));
        let to = if i % 2 == 0 { "elsewhere" } else { "pg_default" };
        run(
            &mut client,
            &format!("{before} ALTER INDEX items_embedding SET TABLESPACE {to}; {after} {early}"),
        );
        run(&mut client, &batch(base + 2_000)); // The rows from before are known to be there now.
        let moved = hits(&mut client, base + 3_000);
        assert!(
            moved < 2 * usual,
            "{moved} pages read after the move, {usual} without one"
        );
        run(&mut client, "COMMIT");
        assert_eq!(
            number(&mut client, "SELECT count(*) FROM hnsw_check('items_embedding', true)"),
            0
        );
    }
    // A copy and the note of it go together.
    run(&mut client, "BEGIN");
    run(&mut client, &batch(50_000));
    run(
        &mut client,
        &format!("SAVEPOINT s; ALTER INDEX items_embedding SET TABLESPACE elsewhere; {early}"),
    );
    run(&mut client, &batch(51_000));
    run(&mut client, "SAVEPOINT t");
    run(&mut client, &batch(52_000));
    run(&mut client, "ROLLBACK TO t");
    run(&mut client, &batch(53_000));
    run(&mut client, "ROLLBACK TO s; COMMIT");
    assert_eq!(
        number(&mut client, "SELECT count(*) FROM hnsw_check('items_embedding', true)"),
        0
    );
}

#[test]
fn rows_that_a_commit_deletes_are_not_inserted_first() {
    let (_cluster, mut client) = cluster();
    run(
        &mut client,
        "CREATE TEMP TABLE mine (id bigint, embedding vector(50)) ON COMMIT DELETE ROWS;
         CREATE INDEX mine_embedding ON mine USING hnsw (embedding vector_l2_ops);
         CREATE TEMP TABLE kept (id bigint, embedding vector(50));
         CREATE INDEX kept_embedding ON kept USING hnsw (embedding vector_l2_ops)",
    );
    let fill = |client: &mut Client, table: &str, rows: i64| {
        run(
            client,
            &format!("BEGIN; INSERT INTO {table} SELECT * FROM more LIMIT {rows}"),
        );
        let nearest = format!("SELECT id FROM {table} ORDER BY embedding <-> '{}' LIMIT 1", vector(3));
        run(client, "SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off");
        assert_eq!(number(client, &nearest), 3);
        run(client, "COMMIT");
        number(client, "SELECT rows FROM hnsw_last_insert()")
    };
    // The commit of the table itself has shown that it is emptied.
    assert_eq!(number(&mut client, "SELECT rows FROM hnsw_last_insert()"), ROWS);
    for rows in [50, 60, 70] {
        assert_eq!(fill(&mut client, "mine", rows), ROWS);
        assert_eq!(number(&mut client, "SELECT count(*) FROM mine"), 0);
        assert_eq!(
            number(&mut client, "SELECT count(*) FROM hnsw_check('mine_embedding', true)"),
            0
        );
    }
    for rows in [80, 90] {
        assert_eq!(fill(&mut client, "kept", rows), rows);
        assert_eq!(
            number(&mut client, "SELECT count(*) FROM hnsw_check('kept_embedding', true)"),
            0
        );
    }
    // A rollback that takes the rows along takes the note of them along.
    run(
        &mut client,
        "BEGIN; SAVEPOINT s; TRUNCATE kept; TRUNCATE mine; ROLLBACK TO s; COMMIT",
    );
    assert_eq!(fill(&mut client, "mine", 55), 90);
    assert_eq!(fill(&mut client, "kept", 65), 65);
    run(
        &mut client,
        "BEGIN; TRUNCATE kept; INSERT INTO kept SELECT * FROM more LIMIT 10; COMMIT",
    );
    assert_eq!(
        number(&mut client, "SELECT count(*) FROM hnsw_check('kept_embedding', true)"),
        0
    );
    assert_eq!(fill(&mut client, "kept", 75), 75);
}
