//! Searches of an `ivfflat` index before and after the switch.

use postgres::Client;

use crate::cluster::Cluster;
use crate::installation::Installation;

use super::database::{indexes, one, run};

/// Rows, queries, and the nearest rows of each as a sort finds them.
const TABLES: &str = "CREATE EXTENSION vector;
    SELECT setseed(0.25);
    CREATE FUNCTION any_vector(int) RETURNS vector LANGUAGE sql VOLATILE AS
        'SELECT array_agg(random()) FROM generate_series(1, 16) WHERE $1 IS NOT NULL';
    CREATE TABLE t AS SELECT i AS id, any_vector(i)::vector(16) AS v FROM generate_series(1, 4000) i;
    CREATE TABLE queries AS SELECT q.v, ARRAY(SELECT id FROM t ORDER BY t.v <-> q.v LIMIT 10) AS nearest
        FROM (SELECT any_vector(i) AS v FROM generate_series(1, 50) i) q;
    CREATE INDEX lists ON t USING ivfflat (v) WITH (lists = 40);
    ANALYZE";

const FOUND: &str = "SELECT q.nearest, ARRAY(SELECT id FROM t ORDER BY t.v <-> q.v LIMIT 10) AS found FROM queries q";

/// The share of the nearest rows that the index finds with these probes.
fn recall(client: &mut Client, probes: i32) -> f64 {
    run(
        client,
        &format!("SET enable_seqscan = off; SET ivfflat.probes = {probes}"),
    );
    let plan = client.query(&format!("EXPLAIN {FOUND}"), &[]).expect("a plan");
    assert!(
        plan.iter()
            .any(|row| row.get::<_, &str>(0).contains("Index Scan using lists"))
    );
    let share = format!(
        "SELECT avg((SELECT count(*) FROM unnest(nearest) n WHERE n = ANY(found)) / 10.0)::text FROM ({FOUND} OFFSET 0) f"
    );
    one(client, &share).parse().expect("a number")
}

#[test]
fn an_index_of_lists_finds_as_much_as_that_of_pgvector() {
    const PROBES: [i32; 4] = [1, 5, 20, 40];
    let Some(installation) = Installation::with_pgvector() else {
        return;
    };
    let cluster = Cluster::empty(&installation.pg_config(), &[]);
    cluster.start();
    let mut client = cluster.client();
    run(&mut client, TABLES);
    let theirs = PROBES.map(|probes| recall(&mut client, probes));
    drop(client);
    cluster.stop();
    installation.take_name(&["--replace"]).expect("the name is taken");
    cluster.start();
    let mut client = cluster.client();
    run(&mut client, "ALTER EXTENSION vector UPDATE; CALL alopex_rebuild()");
    assert_eq!(indexes(&mut client), (1, 1));
    let ours = PROBES.map(|probes| recall(&mut client, probes));
    println!("probes {PROBES:?}: {ours:?}, with pgvector {theirs:?}");
    assert!(
        ours.iter().zip(&theirs).all(|(ours, theirs)| ours >= theirs),
        "{ours:?} {theirs:?}"
    );
    // All lists: exact.
    assert_eq!((ours[3], theirs[3]), (1.0, 1.0));
}
