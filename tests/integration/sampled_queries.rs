//! Sampled queries are a part of the index: they outlive a crash and reach a standby, which adds
//! none; a dump does not have them. No query fails because of them.

use std::collections::BTreeSet;

use postgres::Client;
use postgres::error::SqlState;

use crate::cluster::Cluster;
use crate::data::{VECTORS, load, run, vector};
use crate::exactness::assert_sound;
use crate::standby::wait_for_replay;

/// Makes the table `items` with its index.
fn create(client: &mut Client) {
    run(
        client,
        "CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(50))",
    );
    load(client, "items", 2_000);
    run(
        client,
        "CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops)",
    );
}

/// Searches for vectors that are no rows, with all queries sampled.
fn search(client: &mut Client, numbers: impl IntoIterator<Item = i64>) {
    run(client, "SET hnsw.sample_queries = 1; SET enable_seqscan = off");
    for number in numbers {
        let query = format!(
            "SELECT id FROM items ORDER BY embedding <-> '{}' LIMIT 10",
            vector(number)
        );
        assert_eq!(client.query(&query, &[]).expect("an answer").len(), 10);
    }
}

/// The numbers of the sampled queries.
fn sampled(client: &mut Client) -> BTreeSet<i64> {
    let rows = client.query(
        "SELECT query::vector::text FROM hnsw_sampled_queries('items_embedding')",
        &[],
    );
    let number = |text: &str| {
        let place = VECTORS.iter().position(|vector| *vector == text);
        place.unwrap_or_else(|| panic!("a query that nobody asked: {text}")) as i64
    };
    rows.expect("sampled queries")
        .iter()
        .map(|row| number(row.get(0)))
        .collect()
}

#[test]
fn a_standby_has_the_queries_of_its_primary_and_adds_none() {
    let primary = Cluster::with("wal_consistency_checking = 'Generic'");
    let standby = Cluster::standby_of(&primary);
    let (mut on_primary, mut on_standby) = (primary.client(), standby.client());
    create(&mut on_primary);
    search(&mut on_primary, 15_000..15_300);
    wait_for_replay(&mut on_primary, &mut on_standby);
    let last = sampled(&mut on_primary);
    assert!(last.len() > 100 && last.iter().all(|number| *number >= 15_000));
    assert_eq!(sampled(&mut on_standby), last);
    search(&mut on_standby, 15_500..15_510);
    assert_eq!(sampled(&mut on_standby), last);
    let tuned = on_standby.query("SELECT * FROM hnsw_tune('items_embedding', 0.9)", &[]);
    assert!(tuned.expect("a measurement").len() > 10);
    let forget = "SELECT hnsw_forget_queries('items_embedding')";
    let error = on_standby.query(forget, &[]).expect_err("a standby cannot write");
    assert_eq!(error.code(), Some(&SqlState::READ_ONLY_SQL_TRANSACTION));
    run(&mut on_primary, forget);
    search(&mut on_primary, 15_400..15_403);
    wait_for_replay(&mut on_primary, &mut on_standby);
    assert_eq!(sampled(&mut on_standby), (15_400..15_403).collect());
    let promoted = on_standby
        .query_one("SELECT pg_promote(true, 60)", &[])
        .expect("promotion");
    assert!(promoted.get::<_, bool>(0));
    search(&mut on_standby, 15_600..15_602);
    assert_eq!(
        sampled(&mut on_standby),
        (15_400..15_403).chain(15_600..15_602).collect()
    );
    assert_sound(&mut on_standby, "items_embedding");
    let log = standby.log();
    assert!(!log.contains("inconsistent page") && !standby.has_crashed(), "{log}");
}

#[test]
fn queries_survive_a_kill_and_are_in_no_dump() {
    let cluster = Cluster::new();
    let mut client = cluster.client();
    create(&mut client);
    search(&mut client, 15_000..15_050);
    run(&mut client, "CHECKPOINT");
    search(&mut client, 15_050..15_100);
    cluster.kill();
    cluster.start();
    client = cluster.client();
    let found = sampled(&mut client);
    assert!(found.is_superset(&(15_000..15_050).collect()) && found.iter().all(|number| *number < 15_100));
    assert_sound(&mut client, "items_embedding");
    run(&mut client, "CREATE DATABASE restored");
    cluster.run_shell("pg_dump postgres | psql -qX -v ON_ERROR_STOP=1 restored");
    let mut restored = cluster.client_of("restored");
    assert_eq!(sampled(&mut restored), BTreeSet::new());
    search(&mut restored, [16_000]);
    assert_eq!(sampled(&mut restored), BTreeSet::from([16_000]));
}

/// A query whose sample would take room of a file system that has none.
#[test]
fn a_query_does_not_fail_where_its_sample_finds_no_room() {
    let cluster = Cluster::new();
    let mut client = cluster.client();
    create(&mut client);
    let pid: i32 = client
        .query_one("SELECT pg_backend_pid()", &[])
        .expect("a process")
        .get(0);
    let size = "SELECT pg_relation_size('items_embedding')";
    let full: i64 = client.query_one(size, &[]).expect("a size").get(0);
    let before = cluster.limit_process(pid, "fsize", &full.to_string());
    run(&mut client, "BEGIN; SAVEPOINT s");
    search(&mut client, 15_000..15_020);
    run(&mut client, "COMMIT");
    search(&mut client, 15_020..15_040);
    assert_eq!(sampled(&mut client), BTreeSet::new());
    cluster.limit_process(pid, "fsize", &before);
    search(&mut client, 15_040..15_042);
    assert_eq!(sampled(&mut client), BTreeSet::from([15_040, 15_041]));
    assert!(client.query_one(size, &[]).expect("a size").get::<_, i64>(0) > full);
    assert_sound(&mut client, "items_embedding");
}

/// Workers of a parallel plan sample nothing; many sessions at once keep the ring sound.
#[test]
fn sessions_sample_side_by_side() {
    let cluster = Cluster::new();
    let mut client = cluster.client();
    create(&mut client);
    std::thread::scope(|scope| {
        for session in 0..4 {
            let cluster = &cluster;
            scope.spawn(move || {
                let mut client = cluster.client();
                for round in 0..4 {
                    let first = 15_000 + 400 * session + 100 * round;
                    search(&mut client, first..first + 100);
                    if session == 0 {
                        run(&mut client, "SELECT hnsw_forget_queries('items_embedding')");
                    }
                }
            });
        }
    });
    assert_sound(&mut client, "items_embedding");
    let pages = |client: &mut Client| -> i64 {
        let size = "SELECT pg_relation_size('items_embedding') / 8192";
        client.query_one(size, &[]).expect("a size").get(0)
    };
    search(&mut client, 16_000..16_300);
    let before = pages(&mut client);
    search(&mut client, 16_000..16_600);
    assert_eq!(pages(&mut client), before);
    let found = sampled(&mut client);
    assert!(
        found.len() > 150 && found.iter().all(|number| *number >= 16_300),
        "{found:?}"
    );
    run(
        &mut client,
        "SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
         SET max_parallel_workers_per_gather = 2; SET parallel_leader_participation = off;
         CREATE TABLE asked AS SELECT embedding FROM items LIMIT 50;
         SELECT hnsw_forget_queries('items_embedding')",
    );
    let query = "SELECT count(nearest.id) FROM asked, LATERAL
        (SELECT id FROM items ORDER BY items.embedding <-> asked.embedding LIMIT 1) nearest";
    let plan = client.query(&format!("EXPLAIN {query}"), &[]).expect("a plan");
    let is_parallel = plan.iter().any(|row| row.get::<_, &str>(0).contains("Workers Planned"));
    let answer: i64 = client.query_one(query, &[]).expect("an answer").get(0);
    assert_eq!(answer, 50);
    if is_parallel {
        assert_eq!(sampled(&mut client), BTreeSet::new());
    }
}
