//! Memory that the system does not have: the statement fails, as it does where PostgreSQL allocates
//! (53200), and the server lives on.

use postgres::error::SqlState;
use postgres::{Client, Error};

use crate::cluster::Cluster;
use crate::data::{load, run, vector};

const ROWS: i64 = 6_000;

/// Memory that a backend gets beyond its use after it has read the index, in kB: too little for
/// most statements, for some, and enough. With less, PostgreSQL 15 has no memory for its own errors
/// (PANIC: ERRORDATA_STACK_SIZE exceeded).
const ROOM: [u64; 7] = [256, 512, 1024, 2048, 4096, 8192, 16_384];

/// A session that has used the index, if there is memory for that.
fn session(cluster: &Cluster) -> Result<Client, Error> {
    let mut client = cluster.try_client()?;
    client.batch_execute(
        "SET jit = off; SET enable_seqscan = off; SET max_parallel_workers_per_gather = 0; SELECT * FROM hnsw_stats('items_embedding')",
    )?;
    Ok(client)
}

/// Bytes of address space of a session.
pub fn size(client: &mut Client) -> u64 {
    let row = client.query_one("SELECT pg_backend_pid()", &[]).expect("a process");
    size_of(row.get(0))
}

/// Bytes of address space of a process.
pub fn size_of(process: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it is there");
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:"));
    let kilobytes = size.and_then(|size| size.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kilobytes.expect("a size in kB") << 10
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
    let usual = size(&mut session(&cluster).expect("a session"));
    let nearest = format!(
        "SELECT id FROM items ORDER BY embedding <-> '{}' LIMIT 1 OFFSET 5990",
        vector(7)
    );
    let unbounded = "SET work_mem = '2GB'; SET hnsw.scan_mem_multiplier = 1000; SET hnsw.max_scan_tuples = 2147483647;
        SET hnsw.staging_memory = '1GB'; BEGIN;";
    let insert = "INSERT INTO items SELECT id, embedding FROM items WHERE id < 3000";
    // A preparation, and a statement that may take more memory than there is.
    let statements = [
        ("a scan of everything", unbounded, nearest.clone()),
        ("rows beside a scan", unbounded, format!("{insert}; {nearest}")),
        ("a commit", unbounded, format!("{insert}; COMMIT; BEGIN")),
        (
            "a check",
            "BEGIN",
            "SELECT count(*) FROM hnsw_check('items_embedding', true)".to_string(),
        ),
        ("a build", "BEGIN", "REINDEX INDEX items_embedding".to_string()),
        (
            "a vacuum",
            "DELETE FROM items WHERE random() < .1",
            "VACUUM items".to_string(),
        ),
    ];
    let mut refused = [0; 6];
    drop(client);
    for room in ROOM {
        cluster.stop();
        cluster.start_within(Some(usual + (room << 10)));
        for ((what, before, statement), refused) in statements.iter().zip(&mut refused) {
            let result = session(&cluster).and_then(|mut client| {
                client.batch_execute(before)?;
                let result = client.batch_execute(statement);
                // The session goes on after any outcome.
                client.batch_execute("ROLLBACK; SELECT 1")?;
                result
            });
            if let Err(error) = result {
                // There may be no room for the library itself.
                if error.code() == Some(&SqlState::UNDEFINED_FILE) {
                    assert!(room == ROOM[0], "{what}, {room} kB: {error:?}");
                    continue;
                }
                assert_eq!(
                    error.code(),
                    Some(&SqlState::OUT_OF_MEMORY),
                    "{what}, {room} kB: {error:?}\n{}",
                    cluster.log()
                );
                *refused += 1;
            }
            assert!(!cluster.has_crashed(), "{what}, {room} kB");
        }
    }
    println!("refused: {refused:?} of {}", ROOM.len());
    assert!(refused[..5].iter().filter(|refused| **refused > 0).count() >= 3);
    cluster.stop();
    cluster.start();
    let faults = cluster.client().query(
        "SELECT * FROM hnsw_check('items_embedding', true) WHERE severity = 'corruption'",
        &[],
    );
    assert!(faults.expect("the index is checked").is_empty());
}
