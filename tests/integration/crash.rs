//! Crashes: the server is killed with SIGKILL while it inserts, commits a batch, builds and
//! vacuums, with and without full-page writes; after each restart every committed row is there and
//! found by the index, which is sound and agrees with an exact scan. More than 30 kills in all, in
//! the long form more than 150.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use postgres::Client;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::cluster::{Cluster, wait_for};
use crate::data::{load, random, vector};
use crate::exactness::{Scan, assert_agree, assert_each_found, assert_sound, choose, is_used};
use crate::load::targets;
use crate::search_effort::rounds;

/// Starts the server after a crash. Every other time it writes no full pages from then on: a page
/// that was being written when the processes died is whole all the same, since the kernel has it.
pub fn restart(cluster: &Cluster, round: usize) {
    cluster.configure(&format!("full_page_writes = {}", ["off", "on"][round % 2]));
    cluster.start();
}

/// Kills the server when `is_time`, or when the client that does `work` is done, and returns the
/// client's result.
fn kill_when<T: Send>(
    cluster: &Cluster,
    work: impl FnOnce(&mut Client) -> Result<T, postgres::Error> + Send,
    mut is_time: impl FnMut(&mut Client) -> bool,
) -> Result<T, postgres::Error> {
    std::thread::scope(|scope| {
        let (mut client, mut observer) = (cluster.client(), cluster.client());
        let worker = scope.spawn(move || work(&mut client));
        wait_for("the moment to kill the server", || {
            worker.is_finished() || is_time(&mut observer)
        });
        cluster.kill();
        worker.join().expect("the client ends")
    })
}

/// Bytes of WAL that the server has written.
pub fn wal(client: &mut Client) -> i64 {
    let row = client.query_one("SELECT (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::bigint", &[]);
    row.expect("a position").get(0)
}

/// Kills the server at a moment of `work` by which it has written a random part of `whole` bytes of
/// WAL.
pub fn kill_in_the_middle<T: Send>(
    cluster: &Cluster,
    random: &mut SmallRng,
    whole: i64,
    work: impl FnOnce(&mut Client) -> Result<T, postgres::Error> + Send,
) -> Result<T, postgres::Error> {
    let moment = wal(&mut cluster.client()) + random.random_range(0..=whole);
    kill_when(cluster, work, |observer| wal(observer) >= moment)
}

/// The clients' knowledge of the table `items`: a commit without an answer may or may not have
/// happened.
#[derive(Default)]
struct Known {
    present: BTreeSet<i64>,
    /// Sent for insertion or deletion, and the answer never came.
    unsure: BTreeSet<i64>,
    next: i64,
}

impl Known {
    /// New ids, unsure until they are committed.
    fn take(&mut self, count: i64) -> Vec<i64> {
        let ids: Vec<_> = (self.next..self.next + count).collect();
        self.next += count;
        self.unsure.extend(&ids);
        ids
    }

    fn committed(&mut self, ids: &[i64]) {
        for id in ids {
            self.unsure.remove(id);
            self.present.insert(*id);
        }
    }

    /// Up to `count` rows to delete, unsure until that is committed.
    fn give_up(&mut self, count: usize, random: &mut SmallRng) -> Vec<i64> {
        let start = random.random_range(0..self.next.max(1));
        let ids: Vec<_> = self.present.range(start..).take(count).copied().collect();
        for id in &ids {
            self.present.remove(id);
            self.unsure.insert(*id);
        }
        ids
    }

    fn deleted(&mut self, ids: &[i64]) {
        for id in ids {
            self.unsure.remove(id);
        }
    }
}

/// Inserts `ids` in one transaction; every fifth row without a vector.
fn insert(client: &mut Client, ids: &[i64]) -> Result<(), postgres::Error> {
    let mut transaction = client.transaction()?;
    let statement = transaction.prepare("INSERT INTO items VALUES ($1, $2::text::vector)")?;
    for id in ids {
        transaction.execute(&statement, &[id, &Some(vector(*id)).filter(|_| id % 5 != 0)])?;
    }
    transaction.commit()
}

/// State that the writing clients of a round share.
struct Round<'a> {
    cluster: &'a Cluster,
    known: &'a Mutex<Known>,
    commits: AtomicUsize,
    killed: AtomicBool,
}

/// A client that writes until the server is gone: numbers 0 to 2 insert single rows, 3 inserts
/// batches, 4 deletes and vacuums.
fn write_until_killed(round: &Round, client_number: u64) {
    let Round {
        cluster,
        known,
        commits,
        killed,
    } = round;
    let mut random = SmallRng::seed_from_u64(client_number);
    let mut client = match cluster.try_client() {
        Ok(client) => client,
        // The others were quicker.
        Err(_) if killed.load(Ordering::Acquire) => return,
        Err(error) => panic!("no connection: {error:?}"),
    };
    loop {
        let deletes = client_number == 4;
        let ids = match client_number {
            0..=2 => known.lock().unwrap().take(1),
            3 => known.lock().unwrap().take(50),
            _ => known.lock().unwrap().give_up(30, &mut random),
        };
        let result = if deletes {
            client
                .execute("DELETE FROM items WHERE id = ANY($1)", &[&ids])
                .inspect(|_| known.lock().unwrap().deleted(&ids))
                .and_then(|_| client.batch_execute("VACUUM items"))
        } else {
            insert(&mut client, &ids).inspect(|()| known.lock().unwrap().committed(&ids))
        };
        match result {
            // Deleting from a table that is still empty is no progress.
            Ok(()) => commits.fetch_add(usize::from(!ids.is_empty()), Ordering::Relaxed),
            Err(error) => {
                assert!(
                    killed.load(Ordering::Acquire),
                    "a client failed before the server was killed: {error:?}"
                );
                return;
            }
        };
    }
}

/// Checks the table and its index against the clients' knowledge, and settles their uncertain
/// commits.
fn verify(client: &mut Client, known: &mut Known, since: i64, random: &mut SmallRng) {
    let rows = client
        .query("SELECT id, embedding IS NULL FROM items", &[])
        .expect("the table can be read");
    let stored: BTreeSet<i64> = rows.iter().map(|row| row.get(0)).collect();
    let without_vector = rows.iter().filter(|row| row.get(1)).map(|row| row.get(0));
    let without_vector: BTreeSet<i64> = without_vector.collect();
    let lost: Vec<_> = known.present.difference(&stored).collect();
    assert!(lost.is_empty(), "committed rows are lost: {lost:?}");
    let invented: Vec<_> = stored
        .difference(&known.present)
        .filter(|id| !known.unsure.contains(id))
        .collect();
    assert!(invented.is_empty(), "rows nobody committed: {invented:?}");
    known.present = stored;
    known.unsure.clear();

    // All rows that this round wrote, and a sample of the earlier ones.
    let sample = known
        .present
        .difference(&without_vector)
        .filter(|id| **id >= since || random.random_ratio(1, 20));
    assert_each_found(client, "items", sample.map(|id| (*id, vector(*id))));
    assert_agree(client, "items", &targets(random, 30));
    assert_sound(client, "items_embedding");
}

const TABLE: &str = "CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(50));";
const INDEX: &str = "CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops)";

#[test]
fn committed_rows_survive_kills_while_writing() {
    let mut random = random("committed_rows_survive_kills_while_writing");
    let cluster = Cluster::new();
    cluster
        .client()
        .batch_execute(&format!("{TABLE} {INDEX}"))
        .expect("a table");
    let known = Mutex::new(Known::default());
    let crashes = rounds(20, 60);
    for crash in 0..crashes {
        let since = known.lock().unwrap().next;
        let (cluster, known) = (&cluster, &known);
        let round = Round {
            cluster,
            known,
            commits: AtomicUsize::new(0),
            killed: AtomicBool::new(false),
        };
        let moment = random.random_range(1..400);
        std::thread::scope(|scope| {
            let round = &round;
            for number in 0..5 {
                scope.spawn(move || write_until_killed(round, number));
            }
            wait_for("commits before the kill", || {
                round.commits.load(Ordering::Relaxed) >= moment
            });
            round.killed.store(true, Ordering::Release);
            cluster.kill();
        });
        restart(cluster, crash);
        verify(&mut cluster.client(), &mut known.lock().unwrap(), since, &mut random);
    }
    assert!(
        known.lock().unwrap().present.len() > crashes,
        "the clients wrote something"
    );
}

/// Whether another crash follows: until `wanted` crashes have happened, and beyond that while none
/// has interrupted anything, because the work may be done before the server is killed.
pub fn goes_on(crashes: usize, wanted: usize, interrupted: usize) -> bool {
    crashes < wanted || (interrupted == 0 && crashes < 20 * wanted)
}

/// Fills `items` with the first `count` words.
fn fill(client: &mut Client, count: i64) -> Known {
    client.batch_execute(TABLE).expect("a table");
    load(client, "items", count);
    Known {
        present: (0..count).collect(),
        unsure: BTreeSet::new(),
        next: count,
    }
}

#[test]
fn a_batch_is_there_as_a_whole_or_not_at_all() {
    const BATCH: i64 = 1_500;
    let mut random = random("a_batch_is_there_as_a_whole_or_not_at_all");
    let cluster = Cluster::new();
    let mut client = cluster.client();
    let mut known = fill(&mut client, 1_000);
    client.batch_execute(INDEX).expect("the index is built");
    let before = wal(&mut client);
    let ids = known.take(BATCH);
    insert(&mut client, &ids).expect("a batch is inserted");
    known.committed(&ids);
    let whole = wal(&mut client) - before;
    let (mut interrupted, mut crash) = (0, 0);
    while goes_on(crash, rounds(5, 30), interrupted) {
        let (since, ids) = (known.next, known.take(BATCH));
        // All at COMMIT, some in between, or each at once.
        let memory = ["16MB", "100kB", "0"][random.random_range(0..3)];
        let result = kill_in_the_middle(&cluster, &mut random, whole, |client| {
            client.batch_execute(&format!("SET hnsw.staging_memory = '{memory}'"))?;
            insert(client, &ids)
        });
        interrupted += usize::from(result.is_err());
        if result.is_ok() {
            known.committed(&ids);
        }
        restart(&cluster, crash);
        let mut client = cluster.client();
        verify(&mut client, &mut known, since, &mut random);
        let there = known.present.range(since..).count();
        assert!(
            there == 0 || there == ids.len(),
            "{there} rows of a transaction are there"
        );
        if crash % 3 == 2 {
            client.batch_execute("VACUUM items").expect("the table is vacuumed");
            verify(&mut client, &mut known, since, &mut random);
        }
        crash += 1;
    }
    assert!(interrupted > 0, "no transaction was interrupted");
}

/// Whether the index is valid, if it is there.
fn validity(client: &mut Client) -> Option<bool> {
    let sql = "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('items_embedding')";
    client.query_opt(sql, &[]).expect("the catalog").map(|row| row.get(0))
}

#[test]
fn half_built_indexes_are_gone_or_invalid_after_a_kill() {
    let mut random = random("half_built_indexes_are_gone_or_invalid_after_a_kill");
    let cluster = Cluster::new();
    let mut client = cluster.client();
    let count = rounds(5_000, 20_000);
    let mut known = fill(&mut client, count);
    let before = wal(&mut client);
    client.batch_execute(INDEX).expect("the index is built");
    let whole = wal(&mut client) - before;
    client
        .batch_execute("DROP INDEX items_embedding")
        .expect("the index is dropped");
    drop(client);
    let (mut crashes, mut starts) = (0, 0);
    while crashes < rounds(6, 40) {
        let concurrently = starts % 2 == 1;
        let statement = match concurrently {
            true => INDEX.replace("INDEX items", "INDEX CONCURRENTLY items"),
            false => INDEX.to_string(),
        };
        let build = |client: &mut Client| client.batch_execute(&statement);
        let result = if random.random() {
            // While it reads the table.
            let moment = random.random_range(0..count);
            kill_when(&cluster, build, |observer| {
                let query = "SELECT 1 FROM pg_stat_progress_create_index
                    WHERE command LIKE 'CREATE INDEX%' AND (tuples_done >= $1 OR blocks_done >= $1 / 40)";
                !observer.query(query, &[&moment]).expect("progress").is_empty()
            })
        } else {
            // While it writes pages, or later.
            kill_in_the_middle(&cluster, &mut random, whole, build)
        };
        restart(&cluster, starts);
        starts += 1;
        let mut client = cluster.client();
        let validity = validity(&mut client);
        assert!(result.is_err() || validity == Some(true), "a finished index is lost");
        match validity {
            // Finished, whether the client was told or not.
            Some(true) => {}
            // A concurrent build that dies leaves an invalid index behind, as with every access
            // method: never one that answers.
            Some(false) => {
                assert!(concurrently, "a half-built index is left");
                choose(&mut client, Scan::Index { ef_search: 40 }).expect("settings");
                assert!(
                    !is_used(&mut client, "items", vector(0)),
                    "a half-built index is in use"
                );
                let ids = known.take(10);
                insert(&mut client, &ids).expect("rows can be inserted");
                known.committed(&ids);
                client
                    .batch_execute("REINDEX INDEX items_embedding")
                    .expect("the index is built anew");
            }
            None => {
                crashes += 1;
                continue;
            }
        }
        crashes += usize::from(validity == Some(false));
        assert_sound(&mut client, "items_embedding");
        assert_agree(&mut client, "items", &targets(&mut random, 20));
        client
            .batch_execute("DROP INDEX items_embedding")
            .expect("the index is dropped");
    }
    let mut client = cluster.client();
    client.batch_execute(INDEX).expect("the index is built");
    assert_sound(&mut client, "items_embedding");
    assert_agree(&mut client, "items", &targets(&mut random, 100));
}

#[test]
fn the_index_survives_kills_while_vacuuming() {
    let mut random = random("the_index_survives_kills_while_vacuuming");
    let cluster = Cluster::new();
    let mut client = cluster.client();
    let mut known = fill(&mut client, 5_000);
    client.batch_execute(INDEX).expect("the index is built");
    let delete = |client: &mut Client, known: &mut Known, random: &mut SmallRng| {
        let ids = known.give_up(1_000, random);
        client
            .execute("DELETE FROM items WHERE id = ANY($1)", &[&ids])
            .expect("rows are deleted");
        known.deleted(&ids);
    };
    delete(&mut client, &mut known, &mut random);
    let before = wal(&mut client);
    client.batch_execute("VACUUM items").expect("the table is vacuumed");
    let whole = wal(&mut client) - before;
    let (mut interrupted, mut crash) = (0, 0);
    while goes_on(crash, rounds(4, 30), interrupted) {
        let since = known.next;
        let ids = known.take(1_000);
        insert(&mut client, &ids).expect("freed space takes new rows");
        known.committed(&ids);
        delete(&mut client, &mut known, &mut random);
        drop(client);
        let result = kill_in_the_middle(&cluster, &mut random, whole, |client| {
            client.batch_execute("VACUUM items")
        });
        interrupted += usize::from(result.is_err());
        restart(&cluster, crash);
        client = cluster.client();
        verify(&mut client, &mut known, since, &mut random);
        client
            .batch_execute("VACUUM items")
            .expect("what was interrupted can be done again");
        // A sample is enough here.
        let since = known.next;
        verify(&mut client, &mut known, since, &mut random);
        crash += 1;
    }
    assert!(interrupted > 0, "no VACUUM was interrupted");
}
