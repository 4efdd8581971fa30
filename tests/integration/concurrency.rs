//! Writers, readers and VACUUM at once: no errors, every answer in order, and in the end the index agrees with the table.

use crate::cluster::Cluster;
use crate::data::random;
use crate::effort::rounds;
use crate::load::{self, Load, ROWS};

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
        // What is left for VACUUM to do.
        client.batch_execute("VACUUM items").expect("the table is vacuumed");
        load::assert_right(&mut client, &targets);
    }
}
