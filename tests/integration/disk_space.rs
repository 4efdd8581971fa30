//! Disk space: space of deleted and vacuumed rows is used again, and an index of constantly
//! changing rows does not grow.

use std::collections::BTreeSet;

use postgres::Client;
use rand::Rng;

use crate::cluster::Cluster;
use crate::data::{insert, load, random, run};
use crate::exactness::{assert_agree, assert_sound};
use crate::load::targets;
use crate::search_effort::rounds;

const TABLE: &str = "CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(50));
     CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops)";

fn pages(client: &mut Client) -> i64 {
    let sql = "SELECT pg_relation_size('items_embedding') / current_setting('block_size')::int";
    client.query_one(sql, &[]).expect("a size").get(0)
}

/// `pages` and 2% more.
fn about(pages: i64) -> i64 {
    pages + pages / 50
}

#[test]
fn an_emptied_index_takes_as_much_room_again() {
    let mut random = random("an_emptied_index_takes_as_much_room_again");
    let count = rounds(4_000, 15_000);
    let cluster = Cluster::new();
    let mut client = cluster.client();
    for truncate in [true, false] {
        run(&mut client, TABLE);
        run(
            &mut client,
            &format!("ALTER TABLE items SET (vacuum_truncate = {truncate})"),
        );
        load(&mut client, "items", count);
        let full = pages(&mut client);
        for round in 0..rounds(2, 5) {
            run(&mut client, "DELETE FROM items");
            run(&mut client, "VACUUM items");
            let empty = pages(&mut client);
            if truncate {
                assert!(empty < full / 50, "round {round}: {empty} of {full} pages are left");
            } else {
                assert!(
                    empty >= full - full / 50,
                    "round {round}: {empty} of {full} pages are left"
                );
            }
            load(&mut client, "items", count);
            let again = pages(&mut client);
            assert!(again <= about(full), "round {round}: {again} pages, {full} before");
        }
        assert_sound(&mut client, "items_embedding");
        assert_agree(&mut client, "items", &targets(&mut random, 50));
        run(&mut client, "DROP TABLE items");
    }
}

#[test]
fn an_index_whose_rows_always_change_does_not_grow() {
    let mut random = random("an_index_whose_rows_always_change_does_not_grow");
    let cluster = Cluster::new();
    let mut client = cluster.client();
    run(&mut client, TABLE);
    let count = rounds(3_000, 8_000);
    load(&mut client, "items", count);
    let full = pages(&mut client);
    let mut present: BTreeSet<i64> = (0..count).collect();
    for round in 0..rounds(10, 40) {
        let gone: Vec<_> = present.iter().copied().filter(|_| random.random_ratio(3, 10)).collect();
        client
            .execute("DELETE FROM items WHERE id = ANY($1)", &[&gone])
            .expect("rows are deleted");
        gone.iter().for_each(|id| assert!(present.remove(id)));
        run(&mut client, "VACUUM items");
        // Ids that are not there.
        let mut new = BTreeSet::new();
        while new.len() < gone.len() {
            let id = random.random_range(0..20_000);
            if !present.contains(&id) {
                new.insert(id);
            }
        }
        insert(&mut client, "items", &new);
        present.extend(new);
        let now = pages(&mut client);
        assert!(now <= about(full), "round {round}: {now} pages, {full} at first");
    }
    assert_sound(&mut client, "items_embedding");
    assert_agree(&mut client, "items", &targets(&mut random, 100));
}

#[test]
fn a_file_shrinks_when_its_end_is_emptied() {
    let mut random = random("a_file_shrinks_when_its_end_is_emptied");
    let cluster = Cluster::new();
    let mut client = cluster.client();
    run(&mut client, TABLE);
    load(&mut client, "items", 3_000);
    let full = pages(&mut client);
    // Rows are in the file in the order of their insertion, rows of upper levels among them.
    run(&mut client, "DELETE FROM items WHERE id >= 1000");
    run(&mut client, "VACUUM items");
    let rest = pages(&mut client);
    assert!(rest <= about(full / 3), "{rest} of {full} pages are left");
    let size = cluster
        .relation_file(&mut client, "items_embedding")
        .metadata()
        .expect("the file is there")
        .len();
    assert_eq!(size, u64::try_from(rest).expect("a size") * 8192);
    assert_sound(&mut client, "items_embedding");
    assert_agree(&mut client, "items", &targets(&mut random, 50));
}

/// The statement counts more than the table.
#[test]
fn vacuum_is_told_whether_to_cut_off_pages() {
    let cluster = Cluster::new();
    let mut client = cluster.client();
    run(&mut client, TABLE);
    for (of_table, vacuum, truncates) in [
        (true, "VACUUM (TRUNCATE false) items", false),
        (false, "VACUUM (VERBOSE false, TRUNCATE) items", true),
        (true, "VACUUM (TRUNCATE true, TRUNCATE off, ANALYZE) items", false),
        (true, "VACUUM (ANALYZE) items", true),
    ] {
        run(
            &mut client,
            &format!("ALTER TABLE items SET (vacuum_truncate = {of_table})"),
        );
        load(&mut client, "items", 500);
        let full = pages(&mut client);
        run(&mut client, "DELETE FROM items");
        run(&mut client, vacuum);
        let left = pages(&mut client);
        assert_eq!(left < full / 10, truncates, "{vacuum}: {left} of {full} pages are left");
    }
}

/// VACUUM rests as its cost settings say, but not while nobody can use the index.
#[test]
fn vacuum_does_not_rest_while_it_keeps_others_out() {
    let cluster = Cluster::new();
    let (mut client, mut other) = (cluster.client(), cluster.client());
    run(&mut client, TABLE);
    load(&mut client, "items", 1_000);
    run(&mut client, "DELETE FROM items WHERE id >= 400");
    let full = pages(&mut client);
    run(
        &mut client,
        "SET vacuum_cost_delay = '2ms'; SET vacuum_cost_limit = 1; SET vacuum_cost_page_dirty = 0",
    );
    let mut ask = |sql| other.query_one(sql, &[]).expect("an answer").get::<_, bool>(0);
    let is_locked = "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'items_embedding'::regclass
        AND mode = 'AccessExclusiveLock' AND granted)";
    let rests = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'VacuumDelay')";
    let (mut looks, mut rested) = (0, false);
    std::thread::scope(|scope| {
        let vacuum = scope.spawn(|| run(&mut client, "VACUUM items"));
        while !vacuum.is_finished() {
            // Before and after: it takes the lock once.
            let (before, rests, after) = (ask(is_locked), ask(rests), ask(is_locked));
            assert!(!(before && rests && after), "VACUUM rests under the exclusive lock");
            looks += u32::from(before);
            rested |= rests;
        }
    });
    println!("{looks} looks at the lock");
    assert!(rested, "VACUUM did not rest at all");
    assert!(pages(&mut client) <= about(full / 2));
}
