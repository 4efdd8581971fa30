//! Writers, readers and VACUUM at once: no errors, every answer in order, and in the end the index agrees with the table.

use std::sync::atomic::{AtomicBool, Ordering};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::answers::{Scan, assert_agree, assert_each_found, assert_plausible, choose, nearest};
use crate::cluster::Cluster;
use crate::data::{load, random, vector};

const ROWS: i64 = 3_000;
const WRITERS: i64 = 3;
const STEPS: i64 = 1_500;

/// Inserts new rows, moves old ones to other vectors, and deletes some: each writer has its own rows.
fn write(cluster: &Cluster, writer: i64, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut client = cluster.client();
    let insert = client
        .prepare("INSERT INTO items VALUES ($1, $2::text::vector)")
        .expect("a statement");
    let update = client
        .prepare("UPDATE items SET embedding = $2::text::vector WHERE id = $1")
        .expect("a statement");
    let delete = client.prepare("DELETE FROM items WHERE id = $1").expect("a statement");
    for step in 0..STEPS {
        let id = ROWS + step * WRITERS + writer;
        client.execute(&insert, &[&id, &vector(id)]).expect("a row is inserted");
        let old = random.random_range(0..ROWS / WRITERS) * WRITERS + writer;
        match step % 3 {
            0 => client
                .execute(&update, &[&old, &vector(old + 10_000)])
                .expect("a row is updated"),
            1 => client.execute(&delete, &[&old]).expect("a row is deleted"),
            _ => 0,
        };
    }
}

/// Queries with and without a condition until told to stop.
fn read(cluster: &Cluster, done: &AtomicBool, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut client = cluster.client();
    choose(&mut client, Scan::Index { ef_search: 40 }).expect("settings");
    while !done.load(Ordering::Relaxed) {
        let target = vector(random.random_range(0..20_000));
        let answer = nearest(&mut client, "items", target, 10).expect("an answer");
        assert_plausible(&answer);
        assert_eq!(answer.len(), 10);
    }
}

#[test]
fn writers_readers_and_vacuum_at_once() {
    let mut random = random("writers_readers_and_vacuum_at_once");
    let cluster = Cluster::new();
    let mut client = cluster.client();
    client
        .batch_execute("CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(50))")
        .expect("a table");
    load(&mut client, "items", ROWS);
    client
        .batch_execute("CREATE INDEX ON items USING hnsw (embedding vector_l2_ops)")
        .expect("an index");

    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (cluster, done) = (&cluster, &done);
        let mut others: Vec<_> = (0..2)
            .map(|_| {
                let seed = random.random();
                scope.spawn(move || read(cluster, done, seed))
            })
            .collect();
        others.push(scope.spawn(move || {
            let mut client = cluster.client();
            while !done.load(Ordering::Relaxed) {
                client.batch_execute("VACUUM items").expect("the table is vacuumed");
            }
        }));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let seed = random.random();
                scope.spawn(move || write(cluster, writer, seed))
            })
            .collect();
        let results: Vec<_> = writers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        assert!(results.iter().all(Result::is_ok), "a writer failed");
        assert!(
            others.into_iter().all(|other| other.join().is_ok()),
            "a reader or VACUUM failed"
        );
    });

    let rows = client
        .query("SELECT id, embedding::text FROM items", &[])
        .expect("the table can be read");
    let targets: Vec<_> = (0..200).map(|_| vector(random.random_range(0..20_000))).collect();
    assert_agree(&mut client, "items", &targets);
    // The rows that were never moved, by the vectors they came with.
    let unmoved = rows.iter().filter(|row| row.get::<_, &str>(1) == vector(row.get(0)));
    assert_each_found(
        &mut client,
        "items",
        unmoved.map(|row| row.get(0)).map(|id| (id, vector(id))),
    );
}
