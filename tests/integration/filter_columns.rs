//! Filter columns under load: writers that change vectors and filter values, readers and VACUUM at
//! once, and a crash. No answer has a row that does not match, and in the end the index has each
//! row with its values.

use std::sync::atomic::{AtomicBool, Ordering};

use postgres::Client;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::cluster::Cluster;
use crate::data::{load, random, run, vector};
use crate::exactness::{Scan, assert_sound, choose};
use crate::search_effort::rounds;

const ROWS: i64 = 3_000;
const TENANTS: i64 = 20;
const WRITERS: i64 = 4;

/// One transaction of a writer, on rows of its own; some are rolled back.
fn write(client: &mut Client, random: &mut SmallRng, writer: i64, next: &mut i64) {
    let tenant = random.random_range(0..TENANTS);
    let id = random.random_range(0..ROWS) / WRITERS * WRITERS + writer;
    let some = format!(
        "id % {WRITERS} = {writer} AND id BETWEEN {id} AND {}",
        id + 10 * WRITERS
    );
    let statement = match random.random_range(0..5) {
        0 => {
            let rows: Vec<_> = (0..20).map(|i| *next + i * WRITERS).collect();
            *next += 20 * WRITERS;
            let rows = rows.iter().map(|id| {
                let tenant = random.random_range(0..TENANTS);
                format!("({id}, '{}', {tenant}, '{{t{tenant},all}}')", vector(*id))
            });
            let rows = rows.collect::<Vec<_>>().join(", ");
            format!("INSERT INTO items (id, embedding, tenant, tags) VALUES {rows}")
        }
        1 => format!("UPDATE items SET tenant = {tenant}, tags = '{{t{tenant},all}}' WHERE {some}"),
        2 => format!("UPDATE items SET embedding = '{}' WHERE {some}", vector(id)),
        3 => format!("UPDATE items SET tenant = NULL, tags = NULL WHERE {some}"),
        _ => format!("DELETE FROM items WHERE {some}"),
    };
    let end = if random.random_bool(0.2) { "ROLLBACK" } else { "COMMIT" };
    run(client, &format!("BEGIN; {statement}; {end}"));
}

/// Asks for the nearest rows of a tenant; every row has to be of that tenant.
fn read(client: &mut Client, random: &mut SmallRng) {
    let tenant = random.random_range(0..TENANTS);
    let condition = [
        format!("tenant = {tenant}"),
        format!("tenant IN ({tenant}, {tenant})"),
        format!("tenant BETWEEN {tenant} AND {tenant}"),
        format!("tags @> '{{t{tenant}}}'"),
    ];
    let query = format!(
        "SELECT tenant FROM items WHERE {} ORDER BY embedding <-> '{}' LIMIT 10",
        condition[random.random_range(0..condition.len())],
        vector(random.random_range(0..ROWS)),
    );
    let rows = client.query(&query, &[]).expect("an answer");
    let tenants: Vec<Option<i32>> = rows.iter().map(|row| row.get(0)).collect();
    assert!(
        tenants.iter().all(|&found| found == Some(tenant as i32)),
        "{query}: {tenants:?}"
    );
}

/// Checks that the index is sound, and that it has the rows that each condition leaves, once.
fn assert_right(client: &mut Client) {
    assert_sound(client, "items_filtered");
    let tenants = (0..TENANTS).flat_map(|tenant| {
        let tag = format!("tags && '{{t{tenant}}}'");
        [format!("tenant = {tenant}"), format!("tenant < {tenant}"), tag]
    });
    for condition in tenants.chain(["tenant IS NULL".to_owned(), "tags @> '{all}'".to_owned()]) {
        let query = format!(
            "SELECT array_agg(id ORDER BY id) FROM (SELECT id FROM items WHERE {condition}
             ORDER BY embedding <-> '{}' LIMIT (SELECT 1000000)) found",
            vector(1)
        );
        let mut ids = |scan| {
            choose(client, scan).expect("settings");
            let row = client.query_one(&query, &[]).expect("an answer");
            row.get::<_, Option<Vec<i64>>>(0)
        };
        let by_index = ids(Scan::Index { ef_search: 40 });
        assert!(by_index == ids(Scan::Exact), "{condition}");
    }
}

#[test]
fn filter_values_follow_their_rows() {
    let mut seeds = random("filter_values_follow_their_rows");
    let cluster = Cluster::new();
    let mut client = cluster.client();
    run(
        &mut client,
        "CREATE TABLE items (id bigint, embedding vector(50), tenant int, tags text[])",
    );
    load(&mut client, "items", ROWS);
    run(
        &mut client,
        &format!("UPDATE items SET tenant = id % {TENANTS}, tags = ARRAY['t' || id % {TENANTS}, 'all']"),
    );
    run(&mut client, "VACUUM ANALYZE items");
    run(
        &mut client,
        "CREATE INDEX items_filtered ON items USING hnsw (embedding vector_l2_ops, tenant, tags)",
    );
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (cluster, mut random) = (&cluster, SmallRng::seed_from_u64(seeds.random()));
                scope.spawn(move || {
                    let mut client = cluster.client();
                    let mut next = ROWS / WRITERS * WRITERS + WRITERS + writer;
                    for _ in 0..rounds(100, 1000) {
                        write(&mut client, &mut random, writer, &mut next);
                    }
                })
            })
            .collect();
        let mut random = SmallRng::seed_from_u64(seeds.random());
        let (cluster, done) = (&cluster, &done);
        scope.spawn(move || {
            let mut client = cluster.client();
            choose(&mut client, Scan::Index { ef_search: 40 }).expect("settings");
            // Bounded, for a test that fails.
            for _ in 0..rounds(10_000, 1_000_000) {
                read(&mut client, &mut random);
                if done.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        while writers.iter().any(|writer| !writer.is_finished()) {
            run(&mut client, "VACUUM items");
        }
        done.store(true, Ordering::Relaxed);
        writers
            .into_iter()
            .for_each(|writer| writer.join().expect("a writer ends"));
    });
    assert!(!cluster.has_crashed());
    assert_right(&mut client);
    run(&mut client, "VACUUM items");
    assert_right(&mut client);
    cluster.kill();
    cluster.start();
    let mut client = cluster.client();
    assert_right(&mut client);
    run(&mut client, "REINDEX INDEX items_filtered");
    assert_right(&mut client);
}
