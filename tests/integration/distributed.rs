//! A table that is spread over servers by postgres_fdw: each server orders its share by its index,
//! and the results are merged.

use postgres::Client;

use crate::cluster::{Cluster, extension};
use crate::data::{load, random, run};
use crate::exactness::{Neighbor, assert_plausible, nearest};
use crate::load::targets;

const ROWS: i64 = 4_000;

/// A database for a share of the rows.
fn shard(cluster: &Cluster) -> Client {
    // Of a share as small as this all rows are sorted sooner than a tenth of them come by the
    // index.
    for statement in ["CREATE DATABASE shard", "ALTER DATABASE shard SET enable_seqscan = off"] {
        run(&mut cluster.client(), statement);
    }
    let mut client = cluster.client_of("shard");
    let objects = format!(
        "CREATE EXTENSION {};
         CREATE TABLE items (id bigint, embedding vector(50));
         CREATE VIEW last_search AS SELECT * FROM hnsw_last_search()",
        extension()
    );
    run(&mut client, &objects);
    client
}

/// Makes the database of a cluster the partition `number` of the two of `items`.
fn attach(coordinator: &mut Client, number: usize, cluster: &Cluster) {
    let objects = format!(
        "CREATE SERVER shard_{number} FOREIGN DATA WRAPPER postgres_fdw
             OPTIONS (host '{}', port '5432', dbname 'shard', extensions '{}', batch_size '1000');
         CREATE USER MAPPING FOR postgres SERVER shard_{number} OPTIONS (user 'postgres');
         CREATE FOREIGN TABLE items_{number} PARTITION OF items FOR VALUES WITH (MODULUS 2, REMAINDER {number})
             SERVER shard_{number} OPTIONS (table_name 'items');
         CREATE FOREIGN TABLE last_search_{number} (nodes_visited bigint)
             SERVER shard_{number} OPTIONS (table_name 'last_search')",
        cluster.sockets().display(),
        extension()
    );
    run(coordinator, &objects);
}

/// The queries that the plan of `query` sends to other servers.
fn remote_queries(client: &mut Client, query: &str) -> Vec<String> {
    let plan = client
        .query(&format!("EXPLAIN (VERBOSE, COSTS OFF) {query}"), &[])
        .expect("a plan");
    plan.iter()
        .filter_map(|line| Some(line.get::<_, &str>(0).split_once("Remote SQL: ")?.1.to_string()))
        .collect()
}

#[test]
fn a_table_over_two_servers_answers_as_one() {
    let mut random = random("a_table_over_two_servers_answers_as_one");
    let clusters = [Cluster::new(), Cluster::new()];
    let available = "SELECT FROM pg_available_extensions WHERE name = 'postgres_fdw'";
    if clusters[0].client().query(available, &[]).expect("a list").is_empty() {
        println!("skipped: this PostgreSQL comes without postgres_fdw");
        return;
    }
    let mut shards = clusters.each_ref().map(shard);
    let mut coordinator = clusters[0].client();
    run(
        &mut coordinator,
        "CREATE EXTENSION postgres_fdw;
         CREATE TABLE whole (id bigint, embedding vector(50));
         CREATE TABLE items (id bigint, embedding vector(50)) PARTITION BY HASH (id)",
    );
    for (number, cluster) in clusters.iter().enumerate() {
        attach(&mut coordinator, number, cluster);
    }
    load(&mut coordinator, "whole", ROWS);
    run(&mut coordinator, "INSERT INTO items SELECT * FROM whole");
    for shard in &mut shards {
        run(
            shard,
            "CREATE INDEX ON items USING hnsw (embedding vector_l2_ops); ANALYZE items",
        );
    }

    let targets = targets(&mut random, 50);
    // The order goes to each server, and with a query for each of them also the limit.
    let one = |table: &str| {
        format!(
            "SELECT id FROM {table} ORDER BY embedding <-> '{}' LIMIT 10",
            targets[0]
        )
    };
    let each = format!("({}) UNION ALL ({})", one("items_0"), one("items_1"));
    for (query, limit) in [(one("items"), false), (each, true)] {
        let sent = remote_queries(&mut coordinator, &query);
        assert_eq!(sent.len(), 2, "{sent:?}");
        for sql in sent {
            assert!(sql.contains("ORDER BY (embedding OPERATOR(public.<->)"), "{sql}");
            assert_eq!(sql.ends_with("LIMIT 10::bigint"), limit, "{sql}");
        }
    }

    let (mut hits, mut all) = (0, 0);
    for target in &targets {
        let answer = nearest(&mut coordinator, "items", target, 10).expect("an answer");
        assert_plausible(&answer);
        let mut merged: Vec<Neighbor> = shards
            .iter_mut()
            .flat_map(|shard| nearest(shard, "items", target, 10).expect("an answer"))
            .collect();
        merged.sort_by(|a, b| a.distance.total_cmp(&b.distance));
        merged.truncate(10);
        assert_eq!(answer, merged, "the answers of both, merged");

        let exact = nearest(&mut coordinator, "whole", target, 10).expect("an answer");
        hits += answer.iter().filter(|neighbor| exact.contains(neighbor)).count();
        all += exact.len();
    }
    assert!(hits * 100 >= all * 95, "{hits} of {all} rows of one table's answers");
    // The last work of postgres_fdw's sessions there was a search of the index, and of a part of
    // it.
    for number in 0..2 {
        let query = format!("SELECT nodes_visited FROM last_search_{number}");
        let visited: i64 = coordinator.query_one(&query, &[]).expect("a search").get(0);
        assert!((10..ROWS / 4).contains(&visited), "{visited} nodes visited");
    }
}

const PAGE: &str = include_str!("../../docs/distributed.md");

/// The commands of the page that look into the shards of a table by Citus, one shard after the other
/// and each with one value as its result, as `run_command_on_shards` runs them.
#[test]
fn the_page_looks_into_the_shards_of_a_table() {
    let cluster = Cluster::new();
    let mut client = cluster.client();
    run(
        &mut client,
        "CREATE TABLE items_102008 (id bigint PRIMARY KEY, embedding vector(50));
         CREATE TABLE items_102009 (LIKE items_102008);
         CREATE TABLE queries (id int, embedding vector(50))",
    );
    for shard in ["items_102008", "items_102009"] {
        load(&mut client, shard, 1_000);
        run(
            &mut client,
            &format!("CREATE INDEX {shard}_embedding ON {shard} USING hnsw (embedding vector_cosine_ops)"),
        );
    }
    run(
        &mut client,
        "INSERT INTO queries SELECT id, embedding FROM items_102008 WHERE id <= 20",
    );
    let commands: Vec<_> = PAGE
        .split("run_command_on_shards('items', $$")
        .skip(1)
        .map(|text| text.split("$$").next().expect("a command"))
        .collect();
    assert_eq!(commands.len(), 3);
    for shard in ["items_102008", "items_102009"] {
        let results: Vec<String> = commands
            .iter()
            .map(|command| {
                let command = command.replace("%s", shard);
                let sql = format!("SELECT result::text FROM ({command}) AS command (result)");
                client
                    .query_one(&sql, &[])
                    .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
                    .get(0)
            })
            .collect();
        assert!(results[0].contains("\"node_count\":1000"), "{}", results[0]);
        assert_eq!(results[1], "[]");
        let recall: f64 = results[2].parse().expect("a number");
        assert!(recall > 0.9, "{recall}");
    }
}
