//! Rows that a scan found dead to everyone are marked in the index, and later scans do not look for
//! them in the table. Nobody else misses them.

use postgres::Client;

use crate::cluster::Cluster;
use crate::data::{load, run, vector};
use crate::exactness::{Scan, assert_agree, choose, nearest};

fn cluster(options: &str) -> (Cluster, Client) {
    let cluster = Cluster::new();
    let mut client = cluster.client();
    run(
        &mut client,
        &format!(
            "CREATE {options} TABLE items (id bigint PRIMARY KEY, embedding vector(50));
             CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops)"
        ),
    );
    load(&mut client, "items", 2000);
    (cluster, client)
}

/// Buffers that a search for the 10 rows nearest to row 0 accesses, buffers of the table included.
fn buffers(client: &mut Client) -> i64 {
    choose(client, Scan::Index { ef_search: 40 }).expect("settings");
    let query = format!("SELECT id FROM items ORDER BY embedding <-> '{}' LIMIT 10", vector(0));
    let lines = client
        .query(
            &format!("EXPLAIN (ANALYZE, BUFFERS, COSTS OFF, TIMING OFF) {query}"),
            &[],
        )
        .expect("a plan");
    let lines: Vec<String> = lines.iter().map(|line| line.get(0)).collect();
    // Buffers of a temporary table are the session's own.
    let line = lines.iter().find(|line| line.contains("Buffers: ")).expect("buffers");
    let hits = line.split("hit=").skip(1).map(|rest| rest.split([' ', ',']).next());
    hits.map(|hit| hit.and_then(|hit| hit.parse::<i64>().ok()).expect("a number"))
        .sum()
}

/// Deletes the 300 rows nearest to row 0.
fn delete_nearest(client: &mut Client) {
    choose(client, Scan::Exact).expect("settings");
    let nearest = format!("SELECT id FROM items ORDER BY embedding <-> '{}' LIMIT 300", vector(0));
    run(client, &format!("DELETE FROM items WHERE id IN ({nearest})"));
}

fn assert_right(client: &mut Client) {
    let targets: Vec<_> = (0..40).map(|i| vector(i * 13)).collect();
    assert_agree(client, "items", &targets);
}

#[test]
fn dead_rows_are_looked_for_in_the_table_once() {
    for options in ["", "TEMP"] {
        let (_cluster, mut client) = cluster(options);
        delete_nearest(&mut client);
        let (first, second) = (buffers(&mut client), buffers(&mut client));
        assert!(second + 200 < first, "{first} buffers, then {second}");
        assert_right(&mut client);
        assert_right(&mut client);
    }
}

#[test]
fn rows_that_somebody_sees_are_not_marked() {
    let (cluster, mut client) = cluster("");
    let mut old = cluster.client();
    run(&mut old, "BEGIN ISOLATION LEVEL REPEATABLE READ");
    assert_right(&mut old);
    delete_nearest(&mut client);
    for _ in 0..2 {
        buffers(&mut client);
        assert_right(&mut client);
        assert_right(&mut old);
        choose(&mut old, Scan::Index { ef_search: 40 }).expect("settings");
        assert_eq!(nearest(&mut old, "items", vector(0), 1).expect("an answer")[0].id, 0);
    }
    run(&mut old, "COMMIT");
    // PostgreSQL looks anew who is there when there was another transaction.
    run(&mut client, "SELECT txid_current()");
    let (first, second) = (buffers(&mut client), buffers(&mut client));
    assert!(second + 200 < first, "{first} buffers, then {second}");
    assert_right(&mut old);
}

#[test]
fn a_row_in_a_marked_ones_place_is_found() {
    for options in ["", "UNLOGGED"] {
        let (_cluster, mut client) = cluster(options);
        // The same vector, again and again: one node, with rows in reused places of the table.
        for round in 0..30 {
            run(&mut client, "DELETE FROM items WHERE id = 0");
            for _ in 0..2 {
                buffers(&mut client);
            }
            if round % 3 == 2 {
                run(&mut client, "VACUUM items");
            }
            run(&mut client, &format!("INSERT INTO items VALUES (0, '{}')", vector(0)));
            choose(&mut client, Scan::Index { ef_search: 40 }).expect("settings");
            let answer = nearest(&mut client, "items", vector(0), 3).expect("an answer");
            assert_eq!(answer[0].id, 0, "round {round}");
            assert!(answer[1].distance > 0.0, "round {round}: {answer:?}");
        }
        assert_right(&mut client);
    }
}

#[test]
fn an_update_of_another_column_adds_a_row_to_the_node_that_there_is() {
    let (_cluster, mut client) = cluster("");
    run(
        &mut client,
        "ALTER TABLE items ADD note int; CREATE INDEX ON items (note)",
    );
    run(&mut client, "VACUUM items");
    let size = |client: &mut Client| -> i64 {
        let row = client.query_one("SELECT pg_relation_size('items_embedding')", &[]);
        row.expect("a size").get(0)
    };
    let before = size(&mut client);
    for round in 0..5 {
        run(&mut client, &format!("UPDATE items SET note = {round}"));
        buffers(&mut client);
        if round == 2 {
            run(&mut client, "VACUUM items");
        }
    }
    assert_eq!(size(&mut client), before);
    assert_right(&mut client);
    run(&mut client, "VACUUM items");
    assert_right(&mut client);
}
