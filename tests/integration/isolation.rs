//! Isolation: sessions take their steps in every order, and at each step the index shows a session
//! the same rows as an exact scan of the same snapshot.

use postgres::Client;
use postgres::error::SqlState;

use crate::cluster::{Cluster, wait_for};
use crate::data::{run, vector};
use crate::exactness::{Neighbor, Scan, choose, nearest};

const ROWS: i64 = 60;

/// A table `items` with rows 0 to [`ROWS`] and an index.
fn cluster() -> Cluster {
    let cluster = Cluster::new();
    let mut client = cluster.client();
    client
        .batch_execute(
            "CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(50));
             CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops)",
        )
        .expect("a table");
    for id in 0..ROWS {
        run(&mut client, &insert(id, id));
    }
    cluster
}

fn insert(id: i64, like: i64) -> String {
    format!("INSERT INTO items VALUES ({id}, '{}');", vector(like))
}

fn update(id: i64, like: i64) -> String {
    format!("UPDATE items SET embedding = '{}' WHERE id = {id};", vector(like))
}

/// Every order in which sessions with so many steps each can take them: the session of each step.
fn orders(steps: &[usize]) -> Vec<Vec<usize>> {
    if steps.iter().all(|&left| left == 0) {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for session in (0..steps.len()).filter(|&session| steps[session] > 0) {
        let mut left = steps.to_vec();
        left[session] -= 1;
        all.extend(orders(&left).into_iter().map(|mut order| {
            order.insert(0, session);
            order
        }));
    }
    all
}

/// The distances of the rows nearest to the vectors that the sessions write, by the index and by an
/// exact scan.
fn look(client: &mut Client, targets: &[i64], context: &str) {
    for &target in targets {
        let mut by = |scan| {
            choose(client, scan).expect("settings");
            nearest(client, "items", vector(target), 4).expect("an answer")
        };
        let (index, exact) = (by(Scan::Index { ef_search: 100 }), by(Scan::Exact));
        let distances = |rows: &[Neighbor]| rows.iter().map(|row| row.distance).collect::<Vec<_>>();
        assert_eq!(distances(&index), distances(&exact), "{context}: {index:?} {exact:?}");
        // Rows at one distance may come in any order; beyond the fourth there may be another one.
        let last = exact.last().map_or(0.0, |row| row.distance);
        let near = |rows: &[Neighbor]| {
            let mut ids: Vec<_> = rows
                .iter()
                .filter(|row| row.distance < last)
                .map(|row| row.id)
                .collect();
            ids.sort_unstable();
            ids
        };
        assert_eq!(near(&index), near(&exact), "{context}");
    }
}

#[test]
fn a_writer_a_reader_and_vacuum_in_every_order() {
    let cluster = cluster();
    let mut sessions = [cluster.client(), cluster.client(), cluster.client()];
    // The vectors of a new row, of one that is rolled back, of one that moves there, and of one
    // that is deleted.
    let targets = [200, 201, 202, 7];
    for (case, order) in orders(&[3, 3, 2]).into_iter().enumerate() {
        let memory = ["16MB", "0", "1kB"][case % 3];
        let new = 1000 + 10 * case as i64;
        let writer = [
            format!("BEGIN; {} SAVEPOINT s; {}", insert(new, 200), insert(new + 1, 201)),
            format!("ROLLBACK TO s; {} {}", update(5, 202), insert(new + 2, 200)),
            "COMMIT".to_string(),
        ];
        let reader = ["BEGIN ISOLATION LEVEL REPEATABLE READ", "", "COMMIT"].map(String::from);
        let sweeper = ["DELETE FROM items WHERE id = 7", "VACUUM items"].map(String::from);
        let scripts: [&[String]; 3] = [&writer, &reader, &sweeper];
        run(&mut sessions[0], &format!("SET hnsw.staging_memory = '{memory}'"));
        let mut done = [0; 3];
        for &session in &order {
            run(&mut sessions[session], &scripts[session][done[session]]);
            done[session] += 1;
            let context = format!("{order:?}, {memory}, step {done:?}");
            look(&mut sessions[session], &targets, &context);
            if session != 1 && (1..3).contains(&done[1]) {
                look(&mut sessions[1], &targets, &context);
            }
        }
        let reset = format!("DELETE FROM items WHERE id >= 1000; {} {}", update(5, 5), insert(7, 7));
        run(&mut sessions[0], &reset);
        look(&mut sessions[2], &targets, &format!("{order:?}, in the end"));
    }
}

#[test]
fn serializable_transactions_conflict_by_what_the_index_showed_them() {
    let cluster = cluster();
    let mut sessions = [cluster.client(), cluster.client()];
    let (mut refused, mut overlapping) = (0, 0);
    for (case, order) in orders(&[3, 3]).into_iter().enumerate() {
        let mut done = [0; 2];
        let mut looked_before_the_first_commit = 0;
        let mut failed = [false; 2];
        let mut committed = false;
        for &session in &order {
            let client = &mut sessions[session];
            let result = match done[session] {
                0 => {
                    looked_before_the_first_commit += usize::from(!committed);
                    run(client, "BEGIN ISOLATION LEVEL SERIALIZABLE");
                    choose(client, Scan::Index { ef_search: 100 }).expect("settings");
                    nearest(client, "items", vector(200), 3).map(drop)
                }
                _ if failed[session] => Ok(()),
                1 => client.batch_execute(&insert(2000 + 10 * case as i64 + session as i64, 200)),
                _ => client.batch_execute("COMMIT"),
            };
            done[session] += 1;
            committed |= done[session] == 3;
            if let Err(error) = result {
                assert_eq!(error.code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE), "{error:?}");
                failed[session] = true;
                run(client, "ROLLBACK");
            }
        }
        let overlaps = looked_before_the_first_commit == 2;
        let failures = failed.iter().filter(|&&failed| failed).count();
        assert_eq!(failures, usize::from(overlaps), "{order:?}");
        refused += failures;
        overlapping += usize::from(overlaps);
        look(&mut sessions[0], &[200], "in the end");
    }
    assert!(overlapping > 0 && refused == overlapping);
}

#[test]
fn a_filtered_scan_tests_a_row_again_that_changed_while_it_waited_for_it() {
    let cluster = Cluster::new();
    let [mut writer, mut reader, mut observer] = [cluster.client(), cluster.client(), cluster.client()];
    run(
        &mut writer,
        "CREATE TABLE items (id int, tenant int, note text, embedding vector(3));
         INSERT INTO items SELECT i, i % 20, '', ARRAY[i * 7919 % 4001, i * 104729 % 4003, 1]
             FROM generate_series(1, 4000) i;
         CREATE INDEX ON items USING hnsw (embedding vector_l2_ops);
         CREATE INDEX ON items (tenant);
         ANALYZE items;
         CREATE FUNCTION nearest() RETURNS SETOF int LANGUAGE sql SET enable_indexscan = off AS
             $$ SELECT id FROM items WHERE tenant = 7 ORDER BY embedding <-> '[2000,2000,1]' LIMIT 3 $$",
    );
    let query = "SELECT id, note FROM items WHERE tenant = 7 ORDER BY embedding <-> '[2000,2000,1]' LIMIT 3 FOR UPDATE";
    // Rows that are read and sorted, and rows that are passed over.
    for (settings, way) in [
        (
            "SET cpu_index_tuple_cost = 1; SET hnsw.ef_search = 1000",
            "Exact Searches: 1",
        ),
        (
            "SET cpu_tuple_cost = 100; SET effective_cache_size = '8kB'",
            "Graph Searches: 1",
        ),
    ] {
        run(
            &mut reader,
            &format!("RESET ALL; SET enable_sort = off; SET enable_seqscan = off; {settings}"),
        );
        let plan = reader.query(&format!("EXPLAIN ANALYZE {query}"), &[]).expect("a plan");
        let plan: Vec<&str> = plan.iter().map(|line| line.get(0)).collect();
        assert!(plan.iter().any(|line| line.contains(way)), "{plan:#?}");
        let nearest = |client: &mut Client| -> Vec<i32> {
            let rows = client.query("SELECT nearest()", &[]).expect("an answer");
            rows.iter().map(|row| row.get(0)).collect()
        };
        let before = nearest(&mut writer);
        run(
            &mut writer,
            &format!(
                "BEGIN; UPDATE items SET note = '{way}' WHERE id = {}; UPDATE items SET tenant = 8 WHERE id = {}",
                before[0], before[1]
            ),
        );
        let rows = std::thread::scope(|scope| {
            let answer = scope.spawn(|| reader.query(query, &[]).expect("an answer"));
            wait_for("the reader to wait for a row", || {
                let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock')";
                observer.query_one(waits, &[]).expect("an answer").get(0)
            });
            run(&mut writer, "COMMIT");
            answer.join().expect("the reader ends")
        });
        let ids: Vec<i32> = rows.iter().map(|row| row.get(0)).collect();
        assert_eq!(ids, nearest(&mut writer), "{way}");
        assert_eq!((ids[0], ids[1]), (before[0], before[2]), "{way}");
        assert_eq!(rows[0].get::<_, &str>(1), way);
    }
}
