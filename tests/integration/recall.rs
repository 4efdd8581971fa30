//! Recall after removal: an index from which half of the rows were vacuumed finds as many of the
//! true neighbors as a new one.

use postgres::Client;
use rand::Rng;
use rand::seq::SliceRandom;

use crate::cluster::Cluster;
use crate::data::{insert, load, random, vector};
use crate::exactness::{Scan, assert_sound, recall};
use crate::search_effort::rounds;

const ROWS: i64 = 9_000;

#[test]
fn half_of_the_rows_removed_leave_the_recall_of_a_new_index() {
    let mut random = random("half_of_the_rows_removed_leave_the_recall_of_a_new_index");
    let cluster = Cluster::new();
    let mut client = cluster.client();
    client
        .batch_execute("CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(50))")
        .expect("a table");
    load(&mut client, "items", ROWS);
    client
        .batch_execute("CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops)")
        .expect("an index");
    // Words that are no rows. With so many of them, chance alone moves the recall of either index
    // by much less than the tolerance.
    let mut others: Vec<_> = (ROWS..20_000).map(vector).collect();
    others.shuffle(&mut random);
    others.truncate(rounds(4_000, 5_000));
    let widths = [10, 40];
    for _ in 0..rounds(1, 4) {
        let gone: Vec<i64> = (0..ROWS).filter(|_| random.random()).collect();
        client
            .execute("DELETE FROM items WHERE id = ANY($1)", &[&gone])
            .expect("rows are deleted");
        client.batch_execute("VACUUM items").expect("the table is vacuumed");
        assert_sound(&mut client, "items_embedding");
        let recalls =
            |client: &mut Client| widths.map(|ef_search| recall(client, "items", &others, Scan::Index { ef_search }));
        let repaired = recalls(&mut client);
        client
            .batch_execute("REINDEX INDEX items_embedding")
            .expect("the index is built anew");
        let built = recalls(&mut client);
        println!("{repaired:?} after VACUUM, {built:?} after REINDEX, at ef_search {widths:?}");
        for (repaired, built) in repaired.into_iter().zip(built) {
            assert!(
                repaired >= built - 0.005,
                "{repaired} after VACUUM, {built} after REINDEX"
            );
        }
        insert(&mut client, "items", &gone);
    }
    assert_sound(&mut client, "items_embedding");
}
