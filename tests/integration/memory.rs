//! Memory that the system does not have: the statement fails, as it does where PostgreSQL allocates (53200), and the server lives on.

use postgres::error::SqlState;
use postgres::{Client, Error};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::cluster::Cluster;
use crate::data::{load, run, vector};

const ROWS: i64 = 6_000;

/// Room that a backend gets beside what it has, in kB: too little for anything, for most of it, for some, and enough.
const ROOM: [u64; 9] = [0, 128, 256, 512, 1024, 2048, 4096, 8192, 16_384];

/// Lets a session have so many kB more memory than it has.
fn limit(client: &mut Client, room: Option<u64>) {
    let row = client.query_one("SELECT pg_backend_pid()", &[]).expect("a process");
    let pid: i32 = row.get(0);
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process is there");
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let size: u64 = size
        .and_then(|size| size.trim().strip_suffix(" kB")?.parse().ok())
        .expect("a size in kB");
    let limit = Rlimit {
        current: room.map(|room| (size + room) << 10),
        maximum: None,
    };
    let process = Pid::from_raw(pid).expect("the process has a number");
    prlimit(Some(process), Resource::As, limit).expect("the limit is set");
}

/// Runs something in a session of its own with ever more memory; says how often there was too little.
fn refusals(cluster: &Cluster, what: &str, before: &str, f: impl Fn(&mut Client) -> Result<(), Error>) -> usize {
    let mut refused = 0;
    for room in ROOM {
        let mut client = cluster.client();
        run(
            &mut client,
            "SET enable_seqscan = off; SET max_parallel_workers_per_gather = 0",
        );
        // The library, and what the session needs for any statement.
        run(&mut client, "SELECT count(*) FROM hnsw_check('items_embedding')");
        run(&mut client, before);
        limit(&mut client, Some(room));
        let result = f(&mut client);
        limit(&mut client, None);
        match result {
            Ok(()) => {}
            Err(error) => {
                assert_eq!(
                    error.code(),
                    Some(&SqlState::OUT_OF_MEMORY),
                    "{what}, {room} kB: {error:?}"
                );
                refused += 1;
            }
        }
        run(&mut client, "ROLLBACK; SELECT 1");
        assert!(!cluster.has_crashed(), "{what}, {room} kB");
    }
    println!("{what}: {refused} of {} refused", ROOM.len());
    refused
}

#[test]
fn memory_that_cannot_be_had_is_an_error_of_one_statement() {
    let cluster = Cluster::new();
    let mut client = cluster.client();
    run(&mut client, "CREATE TABLE items (id bigint, embedding vector(50))");
    load(&mut client, "items", ROWS);
    run(
        &mut client,
        "CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops); ANALYZE items",
    );
    let nearest = format!(
        "SELECT id FROM items ORDER BY embedding <-> '{}' LIMIT 1 OFFSET 5990",
        vector(7)
    );
    let scans = refusals(
        &cluster,
        "a scan of everything",
        "SET work_mem = '2GB'; SET hnsw.scan_mem_multiplier = 1000; SET hnsw.max_scan_tuples = 2147483647",
        |client| client.batch_execute(&nearest),
    );
    let insert = "INSERT INTO items SELECT id, embedding FROM items";
    let commits = refusals(
        &cluster,
        "a commit",
        "SET hnsw.staging_memory = '1GB'; BEGIN",
        |client| client.batch_execute(&format!("{insert} WHERE id < 3000; COMMIT")),
    );
    let beside = refusals(
        &cluster,
        "a scan beside staged rows",
        &format!("SET hnsw.staging_memory = '1GB'; BEGIN; {insert}"),
        |client| client.batch_execute(&nearest),
    );
    let checks = refusals(&cluster, "a check", "SELECT 1", |client| {
        client.batch_execute("SELECT count(*) FROM hnsw_check('items_embedding', true)")
    });
    let builds = refusals(&cluster, "a build", "SELECT 1", |client| {
        client.batch_execute("REINDEX INDEX items_embedding")
    });
    let vacuums = refusals(
        &cluster,
        "a vacuum",
        "DELETE FROM items WHERE random() < .1",
        |client| client.batch_execute("VACUUM items"),
    );
    for refused in [scans, commits, beside, builds] {
        assert!(refused > 0, "{:?}", [scans, commits, beside, checks, builds, vacuums]);
    }
    let faults = client
        .query(
            "SELECT * FROM hnsw_check('items_embedding', true) WHERE severity = 'corruption'",
            &[],
        )
        .expect("the index is checked");
    assert!(faults.is_empty());
}
