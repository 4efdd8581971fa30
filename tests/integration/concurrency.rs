//! Writers, readers and VACUUM at once: no errors, every answer in order, and in the end the index
//! agrees with the table.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::cluster::Cluster;
use crate::data::{self, random, run};
use crate::load::{self, Load, ROWS};
use crate::search_effort::rounds;

#[test]
fn writers_readers_and_vacuum_at_once() {
    let mut random = random("writers_readers_and_vacuum_at_once");
    let cluster = Cluster::new();
    let mut client = cluster.client();
    load::create_table(&mut client);
    load::create_index(&mut client);
    let mut first = ROWS;
    for _ in 0..rounds(1, 3) {
        let load = Load {
            cluster: &cluster,
            writers: 10,
            steps: rounds(450, 600),
            readers: vec![&cluster; 3],
            first,
        };
        let ((), taken) = load.run(&mut random, || ());
        first = taken.end;
        assert!(!cluster.has_crashed());
        let targets = load::targets(&mut random, 200);
        load::assert_right(&mut client, &targets);
        // VACUUM has the last deleted rows left to remove.
        client.batch_execute("VACUUM items").expect("the table is vacuumed");
        load::assert_right(&mut client, &targets);
    }
}

#[test]
fn who_does_not_own_an_index_checks_it_beside_vacuum() {
    let rows = 3_000;
    let cluster = Cluster::new();
    let mut client = cluster.client();
    run(
        &mut client,
        "CREATE TABLE items (id bigint, embedding vector(50));
         CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops);
         CREATE ROLE scanner IN ROLE pg_stat_scan_tables",
    );
    data::load(&mut client, "items", rows);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let checks = scope.spawn(|| {
            let mut scanner = cluster.client();
            run(&mut scanner, "SET ROLE scanner");
            let mut checks = 0;
            while !done.load(Ordering::Relaxed) && checks < 10_000 {
                let faults = scanner
                    .query(
                        "SELECT * FROM hnsw_check('items_embedding', true) WHERE severity = 'corruption'",
                        &[],
                    )
                    .expect("a check");
                assert!(faults.is_empty(), "{faults:?}");
                checks += 1;
            }
            checks
        });
        for round in 0..6 {
            let some = format!("id % 3 = {}", round % 3);
            run(&mut client, &format!("DELETE FROM items WHERE {some}"));
            run(&mut client, "VACUUM items");
            let ids: Vec<i64> = (0..rows).filter(|id| id % 3 == round % 3).collect();
            data::insert(&mut client, "items", &ids);
        }
        done.store(true, Ordering::Relaxed);
        assert!(checks.join().expect("the checks find nothing") > 0);
    });
}
