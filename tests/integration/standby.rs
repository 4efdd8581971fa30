//! A streaming standby answers as its primary does, also while the primary is under load, and goes
//! on after promotion. The standby compares each page that it has replayed with the primary's.

use postgres::Client;

use crate::cluster::{Cluster, wait_for};
use crate::data::{random, vacuum_index, vector};
use crate::exactness::{Neighbor, Scan, assert_each_found, choose, nearest};
use crate::load::{self, Load, ROWS};
use crate::search_effort::rounds;

/// Waits until the standby has replayed all WAL of the primary so far.
pub fn wait_for_replay(primary: &mut Client, standby: &mut Client) {
    let lsn: String = primary
        .query_one("SELECT pg_current_wal_insert_lsn()::text", &[])
        .expect("a position")
        .get(0);
    // The last transactions' unflushed WAL would arrive only with the next flush.
    primary.batch_execute("CHECKPOINT").expect("a checkpoint");
    wait_for("the standby has caught up", || {
        let query = "SELECT coalesce(pg_last_wal_replay_lsn() >= $1::text::pg_lsn, false)";
        standby.query_one(query, &[&lsn]).expect("a position").get(0)
    });
}

/// Vacuums until no dead row is left, as the standby's feedback allows. A scan on the primary marks
/// rows that are dead to everyone and later ones skip them; one on the standby does not, and with
/// as many dead rows among its nearest it may find others.
pub fn remove_dead_rows(primary: &mut Client) {
    wait_for("no dead row is left", || {
        vacuum_index(primary);
        let query = "SELECT n_dead_tup = 0 FROM pg_stat_user_tables WHERE relname = 'items'";
        primary.query_one(query, &[]).expect("statistics").get(0)
    });
}

/// The answers to many queries.
fn answers(client: &mut Client, targets: &[&str]) -> Vec<Vec<Neighbor>> {
    choose(client, Scan::Index { ef_search: 40 }).expect("settings");
    targets
        .iter()
        .map(|target| nearest(client, "items", target, 10).expect("an answer"))
        .collect()
}

#[test]
fn a_standby_answers_as_its_primary() {
    let mut random = random("a_standby_answers_as_its_primary");
    let primary = Cluster::with("wal_consistency_checking = 'Generic'");
    let mut on_primary = primary.client();
    load::create_table(&mut on_primary);
    let standby = Cluster::standby_of(&primary);
    // Built after the standby was made: the build too has to arrive by WAL.
    load::create_index(&mut on_primary);
    let mut on_standby = standby.client();
    wait_for_replay(&mut on_primary, &mut on_standby);
    let targets = load::targets(&mut random, 100);
    assert_eq!(
        answers(&mut on_primary, &targets),
        answers(&mut on_standby, &targets),
        "after the build"
    );

    let mut first = ROWS;
    for _ in 0..rounds(1, 5) {
        let load = Load {
            cluster: &primary,
            writers: 10,
            steps: rounds(200, 500),
            readers: vec![&standby; 2],
            first,
        };
        let ((), taken) = load.run(&mut random, || ());
        first = taken.end;
        remove_dead_rows(&mut on_primary);
        wait_for_replay(&mut on_primary, &mut on_standby);
        assert_eq!(
            answers(&mut on_primary, &targets),
            answers(&mut on_standby, &targets),
            "after the load"
        );
        for client in [&mut on_primary, &mut on_standby] {
            load::assert_right(client, &targets);
        }
    }
    let log = standby.log();
    assert!(!log.contains("inconsistent page") && !standby.has_crashed(), "{log}");

    assert!(
        on_standby
            .query_one("SELECT pg_promote(true, 60)", &[])
            .expect("promotion")
            .get::<_, bool>(0)
    );
    let new = first..first + 200;
    for id in new.clone() {
        on_standby
            .execute("INSERT INTO items VALUES ($1, $2::text::vector)", &[&id, &vector(id)])
            .expect("the promoted standby takes rows");
    }
    on_standby
        .batch_execute("VACUUM items")
        .expect("the promoted standby vacuums");
    assert_each_found(&mut on_standby, "items", new.map(|id| (id, vector(id))));
    load::assert_right(&mut on_standby, &targets);
}
