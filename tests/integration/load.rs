//! Load: clients that insert, update, delete, roll back, read and vacuum at once. No statement may
//! fail, every answer is in order.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use postgres::{Client, Statement};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::cluster::Cluster;
use crate::data::{load, vector};
use crate::exactness::{Scan, assert_agree, assert_each_found, assert_plausible, assert_sound, choose, nearest};

/// Rows of the table before the load.
pub const ROWS: i64 = 3_000;

/// Makes the table `items` with [`ROWS`] rows.
pub fn create_table(client: &mut Client) {
    client
        .batch_execute("CREATE TABLE items (id bigint PRIMARY KEY, embedding vector(50), note bigint)")
        .expect("a table");
    load(client, "items", ROWS);
}

/// Makes its index `items_embedding`.
pub fn create_index(client: &mut Client) {
    client
        .batch_execute("CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops)")
        .expect("an index");
}

/// Clients and their work.
pub struct Load<'a> {
    /// Where the writers, and one client that vacuums all the time, work.
    pub cluster: &'a Cluster,
    /// Each has rows of its own.
    pub writers: i64,
    /// Least number of steps of each client, see [`Writer::step`].
    pub steps: i64,
    /// The servers to read from, with a client for each.
    pub readers: Vec<&'a Cluster>,
    /// The first new id; later loads of one table begin where earlier ones ended.
    pub first: i64,
}

impl Load<'_> {
    /// Runs the load at least until `body` has returned, and returns its result and the ids that
    /// were taken.
    pub fn run<T>(&self, random: &mut SmallRng, body: impl FnOnce() -> T) -> (T, Range<i64>) {
        let (body_done, writers_done) = (AtomicBool::new(false), AtomicBool::new(false));
        let end = AtomicI64::new(self.first);
        let result = std::thread::scope(|scope| {
            let (body_done, writers_done, end) = (&body_done, &writers_done, &end);
            let mut others: Vec<_> = (self.readers.iter())
                .map(|cluster| {
                    let seed = random.random();
                    scope.spawn(move || read(cluster, writers_done, seed))
                })
                .collect();
            others.push(scope.spawn(move || {
                let mut client = self.cluster.client();
                while !writers_done.load(Ordering::Relaxed) {
                    client.batch_execute("VACUUM items").expect("the table is vacuumed");
                }
            }));
            let writers: Vec<_> = (0..self.writers)
                .map(|number| {
                    let seed = random.random();
                    scope.spawn(move || {
                        let mut writer = Writer::new(self, number, seed);
                        while writer.step < self.steps || !body_done.load(Ordering::Relaxed) {
                            writer.step();
                        }
                        end.fetch_max(writer.new_id(writer.step), Ordering::Relaxed);
                    })
                })
                .collect();
            // The threads must learn of its end also if it panics.
            let body = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
            body_done.store(true, Ordering::Relaxed);
            let writers: Vec<_> = writers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
            writers_done.store(true, Ordering::Relaxed);
            let others: Vec<_> = others.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
            assert!(writers.iter().all(Result::is_ok), "a writer failed");
            assert!(others.iter().all(Result::is_ok), "a reader or VACUUM failed");
            body.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        (result, self.first..end.into_inner())
    }
}

/// A client that writes.
struct Writer<'a> {
    load: &'a Load<'a>,
    number: i64,
    random: SmallRng,
    client: Client,
    insert: Statement,
    update: Statement,
    delete: Statement,
    step: i64,
}

impl<'a> Writer<'a> {
    fn new(load: &'a Load<'a>, number: i64, seed: u64) -> Self {
        let mut client = load.cluster.client();
        let mut prepare = |sql| client.prepare(sql).expect("a statement");
        Writer {
            insert: prepare("INSERT INTO items VALUES ($1, $2::text::vector)"),
            update: prepare("UPDATE items SET embedding = $2::text::vector WHERE id = $1"),
            delete: prepare("DELETE FROM items WHERE id = $1"),
            load,
            number,
            random: SmallRng::seed_from_u64(seed),
            client,
            step: 0,
        }
    }

    fn new_id(&self, step: i64) -> i64 {
        self.load.first + step * self.load.writers + self.number
    }

    /// One of this writer's rows, deleted or not.
    fn old_id(&mut self) -> i64 {
        match self.random.random() {
            true => self.random.random_range(0..ROWS / self.load.writers) * self.load.writers + self.number,
            false => {
                let step = self.random.random_range(0..=self.step);
                self.new_id(step)
            }
        }
    }

    fn run(&mut self, sql: &str) {
        self.client
            .batch_execute(sql)
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    fn insert(&mut self, id: i64) {
        self.client
            .execute(&self.insert, &[&id, &vector(id)])
            .expect("a row is inserted");
    }

    fn update(&mut self, id: i64, like: i64) {
        self.client
            .execute(&self.update, &[&id, &vector(like)])
            .expect("a row is updated");
    }

    fn delete(&mut self, id: i64) {
        self.client.execute(&self.delete, &[&id]).expect("a row is deleted");
    }

    /// Inserts a row and changes another one, or begins to and takes it back.
    fn step(&mut self) {
        let (new, old, other) = (self.new_id(self.step), self.old_id(), self.old_id());
        match self.random.random_range(0..7) {
            0 => {
                self.insert(new);
                self.update(old, old + 10_000);
            }
            1 => {
                self.insert(new);
                self.delete(old);
            }
            2 => {
                self.insert(new);
                // Leaves the vector alone.
                self.run(&format!("UPDATE items SET note = {new} WHERE id IN ({old}, {other})"));
            }
            3 => {
                self.run("BEGIN");
                self.insert(new);
                self.update(old, old + 5_000);
                self.delete(other);
                self.run("ROLLBACK");
            }
            4 => {
                self.run("BEGIN");
                self.insert(new);
                self.run("SAVEPOINT s");
                self.delete(new);
                self.update(old, old + 5_000);
                self.run("ROLLBACK TO s");
                self.delete(other);
                self.run("COMMIT");
            }
            // Without a vector.
            5 => {
                self.run(&format!("INSERT INTO items VALUES ({new}, NULL)"));
                self.run(&format!("UPDATE items SET embedding = NULL WHERE id = {old}"));
            }
            // Into the index at once, where a rollback leaves it to VACUUM.
            _ => {
                self.run("BEGIN; SET LOCAL hnsw.staging_memory = 0");
                self.insert(new);
                self.update(old, old + 5_000);
                let end = ["COMMIT", "ROLLBACK"][self.random.random_range(0..2)];
                self.run(end);
            }
        }
        self.step += 1;
    }
}

/// Queries until told to stop.
fn read(cluster: &Cluster, done: &AtomicBool, seed: u64) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut client = cluster.client();
    choose(&mut client, Scan::Index { ef_search: 40 }).expect("settings");
    while !done.load(Ordering::Relaxed) {
        let target = vector(random.random_range(0..20_000));
        let answer = nearest(&mut client, "items", target, 10).expect("an answer");
        assert_plausible(&answer);
        assert_eq!(answer.len(), 10);
    }
}

/// Random vectors to ask for.
pub fn targets(random: &mut SmallRng, count: usize) -> Vec<&'static str> {
    (0..count).map(|_| vector(random.random_range(0..20_000))).collect()
}

/// Checks the index against the table as it is by now.
pub fn assert_right(client: &mut Client, targets: &[&str]) {
    assert_sound(client, "items_embedding");
    assert_agree(client, "items", targets);
    // The rows that were never moved, by the vectors they came with.
    let rows = client
        .query("SELECT id, embedding::text FROM items", &[])
        .expect("the table can be read");
    let unmoved = rows
        .iter()
        .filter(|row| row.get::<_, Option<&str>>(1) == Some(vector(row.get(0))));
    let unmoved: Vec<i64> = unmoved.map(|row| row.get(0)).collect();
    assert!(!unmoved.is_empty(), "no row has the vector that it came with");
    assert_each_found(client, "items", unmoved.into_iter().map(|id| (id, vector(id))));
}
