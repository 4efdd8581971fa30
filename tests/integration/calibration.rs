//! The measurement behind a target of recall is a part of the index: it outlives a crash, reaches a
//! standby, and a dump has the target, by which the restored index is measured.

use postgres::Client;
use postgres::error::SqlState;

use crate::cluster::Cluster;
use crate::crash::restart;
use crate::data::{VECTORS, load, run, vector};
use crate::exactness::assert_sound;
use crate::standby::wait_for_replay;

const TARGET: f64 = 0.995;

/// Rows of the table before it grows.
const ROWS: i64 = 3_000;

/// Makes the table `items`, and its index with a target.
fn create(client: &mut Client) {
    run(
        client,
        "CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(50))",
    );
    load(client, "items", ROWS);
    let options = format!("WITH (target_recall = {TARGET})");
    run(
        client,
        &format!("CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops) {options}"),
    );
}

/// Adds half as many rows.
fn grow(client: &mut Client) {
    let ids: Vec<_> = (ROWS..ROWS * 3 / 2).collect();
    crate::data::insert(client, "items", &ids);
}

/// The measurement of the index, as text.
fn measurement(client: &mut Client) -> String {
    run(client, "RESET hnsw.target_recall");
    let query = "SELECT (target_recall, width, recall, calibrated_at, calibrated_by)::text
        FROM hnsw_health('items_embedding') WHERE recall IS NOT NULL";
    let row = client.query_opt(query, &[]).expect("the state of the index");
    row.expect("the index was measured").get(0)
}

/// The width of a search with these settings.
fn width(client: &mut Client, settings: &str) -> i32 {
    run(client, &format!("{settings}; SET enable_seqscan = off"));
    let query = format!("SELECT id FROM items ORDER BY embedding <-> '{}' LIMIT 10", vector(7));
    assert_eq!(client.query(&query, &[]).expect("an answer").len(), 10);
    let query = "SELECT width FROM hnsw_last_search()";
    client.query_one(query, &[]).expect("the search").get(0)
}

/// Measures the index with queries; says by how many widths.
fn tune(client: &mut Client, apply: bool) -> Result<i64, postgres::Error> {
    let queries = VECTORS[15_000..15_050].join("','");
    let query = format!(
        "SELECT count(*) FROM hnsw_tune('items_embedding', ARRAY['{queries}']::vector[], {TARGET}, apply => {apply})"
    );
    Ok(client.query_one(&query, &[])?.get(0))
}

#[test]
fn a_calibration_survives_kills() {
    let cluster = Cluster::new();
    let mut client = cluster.client();
    create(&mut client);
    let built = measurement(&mut client);
    let mut before = built.clone();
    let widths = [
        width(&mut client, "RESET hnsw.target_recall"),
        width(&mut client, "SET hnsw.target_recall = 0.8"),
    ];
    for round in 0..4 {
        cluster.kill();
        restart(&cluster, round);
        client = cluster.client();
        assert_eq!(measurement(&mut client), before, "after {round} kills");
        assert_sound(&mut client, "items_embedding");
        match round {
            0 => {
                let again = [
                    width(&mut client, "RESET hnsw.target_recall"),
                    width(&mut client, "SET hnsw.target_recall = 0.8"),
                ];
                assert_eq!(again, widths);
                assert!(again[1] < again[0], "{again:?}");
                grow(&mut client);
                run(&mut client, "ANALYZE items");
            }
            1 => {
                run(&mut client, "DELETE FROM items WHERE id % 2 = 0");
                run(&mut client, "VACUUM items");
                // VACUUM's own transactions have no number, so their commits do not wait for the disk
                // (RecordTransactionCommit); this one does.
                run(&mut client, "SELECT pg_logical_emit_message(true, 'after VACUUM', '')");
            }
            _ => assert!(tune(&mut client, true).expect("a measurement") > 5),
        }
        let after = measurement(&mut client);
        assert_ne!(after, before, "after step {round}");
        before = after;
    }
}

#[test]
fn a_standby_searches_by_the_calibration_of_its_primary() {
    let primary = Cluster::with("wal_consistency_checking = 'Generic'");
    let standby = Cluster::standby_of(&primary);
    let (mut on_primary, mut on_standby) = (primary.client(), standby.client());
    create(&mut on_primary);
    let mut last = String::new();
    for round in 0..3 {
        wait_for_replay(&mut on_primary, &mut on_standby);
        let measured = measurement(&mut on_primary);
        assert_ne!(measured, last);
        assert_eq!(measurement(&mut on_standby), measured);
        for settings in [
            "RESET hnsw.target_recall",
            "SET hnsw.target_recall = 0.8",
            "SET hnsw.target_recall = 0.999",
        ] {
            assert_eq!(
                width(&mut on_standby, settings),
                width(&mut on_primary, settings),
                "{settings}"
            );
        }
        last = measured;
        match round {
            0 => {
                grow(&mut on_primary);
                run(&mut on_primary, "VACUUM items");
            }
            _ => assert!(tune(&mut on_primary, true).expect("a measurement") > 5),
        }
    }
    // A standby measures, and keeps nothing.
    assert!(tune(&mut on_standby, false).expect("a measurement") > 5);
    let error = tune(&mut on_standby, true).expect_err("a standby cannot write");
    assert_eq!(error.code(), Some(&SqlState::READ_ONLY_SQL_TRANSACTION));
    wait_for_replay(&mut on_primary, &mut on_standby);
    let before = measurement(&mut on_standby);
    let promoted = on_standby
        .query_one("SELECT pg_promote(true, 60)", &[])
        .expect("promotion");
    assert!(promoted.get::<_, bool>(0));
    assert_eq!(measurement(&mut on_standby), before);
    assert!(tune(&mut on_standby, true).expect("a measurement") > 5);
    assert_ne!(measurement(&mut on_standby), before);
    let log = standby.log();
    assert!(!log.contains("inconsistent page") && !standby.has_crashed(), "{log}");
}

#[test]
fn a_dump_keeps_the_target_and_the_restored_index_is_measured() {
    let cluster = Cluster::new();
    let mut client = cluster.client();
    create(&mut client);
    run(
        &mut client,
        "CREATE INDEX items_wide ON items USING hnsw (embedding vector_cosine_ops) WITH (ef_search = 77);
         ALTER INDEX items_wide SET (target_recall = 0.8)",
    );
    run(&mut client, "CREATE DATABASE restored");
    cluster.run_shell("pg_dump postgres | psql -qX -v ON_ERROR_STOP=1 restored");
    let mut restored = cluster.client_of("restored");
    let options = "SELECT relname::text, reloptions FROM pg_class WHERE relname LIKE 'items\\_%' AND reloptions IS NOT NULL ORDER BY 1";
    let options = |client: &mut Client| -> Vec<(String, Vec<String>)> {
        let rows = client.query(options, &[]).expect("the catalog");
        rows.iter().map(|row| (row.get(0), row.get(1))).collect()
    };
    let before = options(&mut client);
    assert_eq!(before.len(), 2);
    assert_eq!(options(&mut restored), before);
    assert!(measurement(&mut restored).starts_with(&format!("({TARGET},")));
    assert_ne!(measurement(&mut restored), measurement(&mut client));
}
