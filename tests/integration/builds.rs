//! CREATE INDEX as other sessions see it: reports of its progress and of its memory, and cancels at
//! any time.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use postgres::error::SqlState;
use postgres::{Client, Config, NoTls};

use crate::cluster::{Cluster, wait_for};
use crate::data::{load, run};

/// A row of `pg_stat_progress_create_index`.
#[derive(Debug)]
struct Progress {
    phase: String,
    done: i64,
    total: i64,
}

fn progress(client: &mut Client) -> Option<Progress> {
    let sql = "SELECT phase, blocks_done, blocks_total FROM pg_stat_progress_create_index";
    let row = client.query_opt(sql, &[]).expect("progress")?;
    Some(Progress {
        phase: row.get(0),
        done: row.get(1),
        total: row.get(2),
    })
}

/// Vectors of widely different lengths under inner product: to many of their nodes nothing leads
/// after the load.
const LONG_AND_SHORT: &str = "CREATE TABLE items AS SELECT ARRAY(SELECT (random() - .5) * exp(6 * size)
        FROM generate_series(1, 8), (SELECT n) each)::real[]::vector(8) AS embedding
    FROM (SELECT n, random() AS size FROM generate_series(1, 8000) n) s";

const INDEX: &str = "CREATE INDEX items_embedding ON items USING hnsw (embedding vector_ip_ops)";

#[test]
fn progress_never_passes_its_end() {
    let cluster = Cluster::new();
    let (mut client, mut other) = (cluster.client(), cluster.client());
    run(&mut client, LONG_AND_SHORT);
    // With threads and without, in memory and beyond it.
    for settings in [
        "SET maintenance_work_mem = '64MB'; SET max_parallel_maintenance_workers = 0",
        "SET maintenance_work_mem = '64MB'; ALTER TABLE items SET (parallel_workers = 2)",
        "SET maintenance_work_mem = '1MB'",
    ] {
        run(&mut client, settings);
        let phases = std::thread::scope(|scope| {
            let build = scope.spawn(|| run(&mut client, INDEX));
            let mut phases: Vec<String> = Vec::new();
            while !build.is_finished() {
                let Some(now) = progress(&mut other) else { continue };
                assert!(now.done <= now.total, "{settings}: {now:?}");
                if phases.last() != Some(&now.phase) {
                    phases.push(now.phase);
                }
            }
            phases
        });
        let position = |phase: &str| {
            phases
                .iter()
                .position(|name| name == &format!("building index: {phase}"))
        };
        let (loading, connecting) = (position("loading tuples"), position("connecting nodes"));
        assert!(loading.is_some() && loading < connecting, "{settings}: {phases:?}");
        run(&mut client, "DROP INDEX items_embedding");
    }
}

#[test]
fn a_build_is_cancelled_while_it_connects_nodes() {
    let cluster = Cluster::new();
    let (mut client, mut other) = (cluster.client(), cluster.client());
    run(&mut client, LONG_AND_SHORT);
    run(
        &mut client,
        "SET maintenance_work_mem = '64MB'; ALTER TABLE items SET (parallel_workers = 2)",
    );
    std::thread::scope(|scope| {
        let build = scope.spawn(|| client.batch_execute(INDEX).expect_err("it is cancelled"));
        wait_for("the phase in which nodes are connected", || {
            progress(&mut other).is_some_and(|now| now.phase == "building index: connecting nodes")
        });
        let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_progress_create_index";
        other.query(cancel, &[]).expect("the build is cancelled");
        while !build.is_finished() {
            let phase = progress(&mut other).map(|now| now.phase);
            assert_ne!(phase.as_deref(), Some("building index: writing pages"));
        }
        let error = build.join().expect("the session ends");
        assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED), "{error:?}");
    });
    assert!(
        other
            .query_opt("SELECT FROM pg_class WHERE relname = 'items_embedding'", &[])
            .unwrap()
            .is_none()
    );
}

/// A session, and the notices that it gets: message, detail and hint.
fn with_notices(cluster: &Cluster) -> (Client, Receiver<[String; 3]>) {
    let (sender, notices) = channel();
    let client = Config::new()
        .host_path(cluster.sockets())
        .user("postgres")
        .dbname("postgres")
        .notice_callback(move |notice| {
            let text = |text: Option<&str>| text.unwrap_or_default().to_string();
            let parts = [notice.message().to_string(), text(notice.detail()), text(notice.hint())];
            sender.send(parts).expect("the test waits for it");
        })
        .connect(NoTls)
        .expect("a connection");
    (client, notices)
}

/// The warning of a scan that a bound ended is the client's: a log that has it for each such query
/// is of no use.
#[test]
fn a_bounded_scan_warns_its_client_alone() {
    let cluster = Cluster::new();
    let (mut client, notices) = with_notices(&cluster);
    run(
        &mut client,
        "CREATE TABLE items (id bigint, embedding vector(50)); SET enable_seqscan = off; SET hnsw.max_scan_tuples = 100",
    );
    load(&mut client, "items", 2_000);
    run(
        &mut client,
        "CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops); ANALYZE items",
    );
    notices.try_iter().for_each(drop);
    run(
        &mut client,
        "SELECT id FROM items WHERE id < 0 ORDER BY embedding <-> (SELECT embedding FROM items LIMIT 1) LIMIT 1",
    );
    let heard = notices.recv_timeout(Duration::from_secs(60)).expect("a warning");
    assert_eq!(
        heard[0],
        "scan of index \"items_embedding\" stopped before it had seen every row"
    );
    // The server logs before the client has its answer.
    assert!(!cluster.log().contains("stopped before it had seen every row"));
    run(&mut client, "DO $$ BEGIN RAISE WARNING 'of another kind'; END $$");
    assert!(cluster.log().contains("of another kind"));
}
