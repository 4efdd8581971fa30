//! A streaming standby answers as its primary does, also while the primary writes and vacuums, and goes on after promotion.

use std::sync::atomic::{AtomicBool, Ordering};

use postgres::Client;
use rand::Rng;

use crate::answers::{Neighbour, Scan, assert_agree, assert_each_found, assert_plausible, choose, nearest};
use crate::cluster::{Cluster, wait_for};
use crate::data::{load, random, vector};

const ROWS: i64 = 6_000;
const LOAD: i64 = 2_000;

/// Waits until the standby has replayed what the primary has written so far.
fn catch_up(primary: &mut Client, standby: &mut Client) {
    let lsn: String = primary
        .query_one("SELECT pg_current_wal_insert_lsn()::text", &[])
        .expect("a position")
        .get(0);
    // What the last transactions left unflushed would arrive only with the next flush.
    primary.batch_execute("CHECKPOINT").expect("a checkpoint");
    wait_for("the standby has caught up", || {
        let query = "SELECT coalesce(pg_last_wal_replay_lsn() >= $1::text::pg_lsn, false)";
        standby.query_one(query, &[&lsn]).expect("a position").get(0)
    });
}

/// Vacuums until no dead row is left, as the standby's feedback allows. A scan on the primary marks rows that are dead to everyone
/// and later ones skip them; one on the standby does not, and with as many dead rows among its nearest it may find others.
fn remove_dead_rows(primary: &mut Client) {
    wait_for("no dead row is left", || {
        primary.batch_execute("VACUUM items").expect("the table is vacuumed");
        let query = "SELECT n_dead_tup = 0 FROM pg_stat_user_tables WHERE relname = 'items'";
        primary.query_one(query, &[]).expect("statistics").get(0)
    });
}

/// The answers to many queries.
fn answers(client: &mut Client, targets: &[&str]) -> Vec<Vec<Neighbour>> {
    choose(client, Scan::Index { ef_search: 40 }).expect("settings");
    targets
        .iter()
        .map(|target| nearest(client, "items", target, 10).expect("an answer"))
        .collect()
}

/// Inserts, deletes and vacuums.
fn write_on_primary(cluster: &Cluster) {
    let mut client = cluster.client();
    let insert = client
        .prepare("INSERT INTO items VALUES ($1, $2::text::vector)")
        .expect("a statement");
    for id in ROWS..ROWS + LOAD {
        client.execute(&insert, &[&id, &vector(id)]).expect("a row is inserted");
        client
            .execute("DELETE FROM items WHERE id = $1", &[&(id - ROWS)])
            .expect("a row is deleted");
        if id % 500 == 0 {
            client.batch_execute("VACUUM items").expect("the table is vacuumed");
        }
    }
}

/// Queries until told to stop; every answer must be in order, and none may be an error.
fn read_on_standby(cluster: &Cluster, done: &AtomicBool) {
    let mut client = cluster.client();
    choose(&mut client, Scan::Index { ef_search: 40 }).expect("settings");
    for id in (0..).take_while(|_| !done.load(Ordering::Relaxed)) {
        let answer = nearest(&mut client, "items", vector(id), 10).expect("the standby answers");
        assert_plausible(&answer);
        assert_eq!(answer.len(), 10);
    }
}

#[test]
fn a_standby_answers_as_its_primary() {
    let mut random = random("a_standby_answers_as_its_primary");
    let primary = Cluster::new();
    let mut on_primary = primary.client();
    on_primary
        .batch_execute("CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(50))")
        .expect("a table");
    load(&mut on_primary, "items", ROWS);
    let standby = Cluster::standby_of(&primary);
    // Built after the standby was made: the build too has to arrive by WAL.
    on_primary
        .batch_execute("CREATE INDEX ON items USING hnsw (embedding vector_l2_ops)")
        .expect("an index");
    let mut on_standby = standby.client();
    catch_up(&mut on_primary, &mut on_standby);
    let targets: Vec<_> = (0..100).map(|_| vector(random.random_range(0..20_000))).collect();
    assert_eq!(
        answers(&mut on_primary, &targets),
        answers(&mut on_standby, &targets),
        "after the build"
    );

    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| read_on_standby(&standby, &done));
        let writer = scope.spawn(|| write_on_primary(&primary));
        let result = writer.join();
        done.store(true, Ordering::Relaxed);
        reader.join().expect("the reader on the standby succeeds");
        result.expect("the writer on the primary succeeds");
    });
    remove_dead_rows(&mut on_primary);
    catch_up(&mut on_primary, &mut on_standby);
    assert_eq!(
        answers(&mut on_primary, &targets),
        answers(&mut on_standby, &targets),
        "after the load"
    );
    assert_agree(&mut on_standby, "items", &targets);
    for client in [&mut on_primary, &mut on_standby] {
        let check = "SELECT severity, fault FROM hnsw_check('items_embedding_idx', true) WHERE severity = 'corruption'";
        let faults = client.query(check, &[]).expect("the index is checked");
        assert!(faults.is_empty(), "{faults:?}");
    }

    assert!(
        on_standby
            .query_one("SELECT pg_promote(true, 60)", &[])
            .expect("promotion")
            .get::<_, bool>(0)
    );
    let new = ROWS + LOAD..ROWS + LOAD + 200;
    for id in new.clone() {
        on_standby
            .execute("INSERT INTO items VALUES ($1, $2::text::vector)", &[&id, &vector(id)])
            .expect("the promoted standby takes rows");
    }
    on_standby
        .batch_execute("VACUUM items")
        .expect("the promoted standby vacuums");
    assert_each_found(&mut on_standby, "items", new.map(|id| (id, vector(id))));
    assert_agree(&mut on_standby, "items", &targets);
}
