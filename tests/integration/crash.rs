//! Crashes: the server is killed with SIGKILL while it inserts, builds and vacuums; after each restart every committed row is
//! there and found by the index, and the index agrees with an exact scan. More than twenty kills in all.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use postgres::Client;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::answers::{assert_agree, assert_each_found};
use crate::cluster::{Cluster, wait_for};
use crate::data::{random, vector};

const WRITE_CRASHES: usize = 20;
const BUILD_CRASHES: usize = 6;
const VACUUM_CRASHES: usize = 4;

/// What clients know of the table `items`: a commit that was not answered may or may not have happened.
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

/// Inserts `ids` in one transaction.
fn insert(client: &mut Client, ids: &[i64]) -> Result<(), postgres::Error> {
    let mut transaction = client.transaction()?;
    let statement = transaction.prepare("INSERT INTO items VALUES ($1, $2::text::vector)")?;
    for id in ids {
        transaction.execute(&statement, &[id, &vector(*id)])?;
    }
    transaction.commit()
}

/// What the writing clients of a round share.
struct Round<'a> {
    cluster: &'a Cluster,
    known: &'a Mutex<Known>,
    commits: AtomicUsize,
    killed: AtomicBool,
}

/// A client that writes until the server is gone: numbers 0 to 2 insert single rows, 3 inserts batches, 4 deletes and vacuums.
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

/// Checks the table and its index against what clients know, and settles what they were unsure of.
fn verify(client: &mut Client, known: &mut Known, since: i64, random: &mut SmallRng) {
    let rows = client
        .query("SELECT id FROM items", &[])
        .expect("the table can be read");
    let stored: BTreeSet<i64> = rows.iter().map(|row| row.get(0)).collect();
    let lost: Vec<_> = known.present.difference(&stored).collect();
    assert!(lost.is_empty(), "committed rows are lost: {lost:?}");
    let invented: Vec<_> = stored
        .difference(&known.present)
        .filter(|id| !known.unsure.contains(id))
        .collect();
    assert!(invented.is_empty(), "rows nobody committed: {invented:?}");
    known.present = stored;
    known.unsure.clear();

    // All of what this round wrote, and a sample of what was there before.
    let sample = known
        .present
        .iter()
        .filter(|id| **id >= since || random.random_ratio(1, 20));
    assert_each_found(client, "items", sample.map(|id| (*id, vector(*id))));
    let targets: Vec<_> = (0..30).map(|_| vector(random.random_range(0..20_000))).collect();
    assert_agree(client, "items", &targets);
}

#[test]
fn committed_rows_survive_kills_while_writing() {
    let mut random = random("committed_rows_survive_kills_while_writing");
    let cluster = Cluster::new();
    cluster
        .client()
        .batch_execute(
            "CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(50));
             CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops)",
        )
        .expect("a table");
    let known = Mutex::new(Known::default());
    for _ in 0..WRITE_CRASHES {
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
        cluster.start();
        verify(&mut cluster.client(), &mut known.lock().unwrap(), since, &mut random);
    }
    assert!(
        known.lock().unwrap().present.len() > WRITE_CRASHES,
        "the clients wrote something"
    );
}

/// Fills `items` with the first `count` words.
fn fill(client: &mut Client, count: i64) {
    client
        .batch_execute("CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(50))")
        .expect("a table");
    crate::data::load(client, "items", count);
}

#[test]
fn half_built_indexes_are_gone_after_a_kill() {
    let mut random = random("half_built_indexes_are_gone_after_a_kill");
    let cluster = Cluster::new();
    fill(&mut cluster.client(), 20_000);
    let mut crashes = 0;
    while crashes < BUILD_CRASHES {
        // A concurrent build that dies leaves an invalid index behind, as with every access method: never one that answers.
        let concurrently = crashes % 3 == 2;
        let statement = format!(
            "CREATE INDEX {} items_embedding ON items USING hnsw (embedding vector_l2_ops)",
            if concurrently { "CONCURRENTLY" } else { "" }
        );
        let moment = random.random_range(0..20_000_i64);
        let interrupted = std::thread::scope(|scope| {
            let cluster = &cluster;
            let build = scope.spawn(move || cluster.client().batch_execute(&statement).is_err());
            let mut observer = cluster.client();
            wait_for("the build gets far enough", || {
                let query = "SELECT 1 FROM pg_stat_progress_create_index
                    WHERE command LIKE 'CREATE INDEX%' AND (tuples_done >= $1 OR blocks_done >= $1 / 40)";
                build.is_finished() || !observer.query(query, &[&moment]).expect("progress").is_empty()
            });
            cluster.kill();
            build.join().expect("the building client ends")
        });
        cluster.start();
        let mut client = cluster.client();
        let valid = "SELECT count(*) FROM pg_index WHERE indrelid = 'items'::regclass AND NOT indisprimary";
        let all: i64 = client.query_one(valid, &[]).expect("a count").get(0);
        let valid: i64 = client
            .query_one(&format!("{valid} AND indisvalid"), &[])
            .expect("a count")
            .get(0);
        if interrupted {
            crashes += 1;
            assert_eq!(valid, 0, "a half-built index is in use");
            assert!(all == 0 || concurrently, "a half-built index is left");
        }
        client
            .batch_execute("DROP INDEX IF EXISTS items_embedding")
            .expect("the index is dropped");
    }
    let mut client = cluster.client();
    client
        .batch_execute("CREATE INDEX ON items USING hnsw (embedding vector_l2_ops)")
        .expect("the index is built");
    let targets: Vec<_> = (0..100).map(|_| vector(random.random_range(0..20_000))).collect();
    assert_agree(&mut client, "items", &targets);
}

#[test]
fn the_index_survives_kills_while_vacuuming() {
    let mut random = random("the_index_survives_kills_while_vacuuming");
    let cluster = Cluster::new();
    let mut client = cluster.client();
    fill(&mut client, 10_000);
    client
        .batch_execute("CREATE INDEX ON items USING hnsw (embedding vector_l2_ops)")
        .expect("the index is built");
    let mut known = Known {
        present: (0..10_000).collect(),
        unsure: BTreeSet::new(),
        next: 10_000,
    };
    for _ in 0..VACUUM_CRASHES {
        let ids = known.give_up(2_000, &mut random);
        client
            .execute("DELETE FROM items WHERE id = ANY($1)", &[&ids])
            .expect("rows are deleted");
        known.deleted(&ids);
        drop(client);
        std::thread::scope(|scope| {
            let cluster = &cluster;
            let vacuum = scope.spawn(move || cluster.client().batch_execute("VACUUM items"));
            let mut observer = cluster.client();
            wait_for("VACUUM is at the index", || {
                let query = "SELECT 1 FROM pg_stat_progress_vacuum WHERE phase LIKE 'vacuuming %'";
                vacuum.is_finished() || !observer.query(query, &[]).expect("progress").is_empty()
            });
            cluster.kill();
            // Killed or done in time: both must leave a sound index.
            let _ = vacuum.join().expect("the vacuuming client ends");
        });
        cluster.start();
        client = cluster.client();
        client
            .batch_execute("VACUUM items")
            .expect("what was interrupted can be done again");
        let since = known.next;
        let ids = known.take(500);
        insert(&mut client, &ids).expect("freed space takes new rows");
        known.committed(&ids);
        verify(&mut client, &mut known, since, &mut random);
    }
}
