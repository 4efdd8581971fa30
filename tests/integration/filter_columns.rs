//! Filter columns under load, through crashes and on a standby: writers that change vectors and
//! filter values, readers and VACUUM at once. Every answer under conditions has the rows that the
//! same snapshot sees without the index, and after each crash the index has each row with its
//! values. The four columns are one of few values, one of many, one for ranges, and an array.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};

use postgres::{Client, Error};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::cluster::{Cluster, wait_for};
use crate::crash::{goes_on, kill_in_the_middle, restart, wal};
use crate::data::{load, random, run, vacuum_index, vector};
use crate::exactness::{Neighbor, Scan, assert_plausible, assert_sound, choose};
use crate::search_effort::rounds;
use crate::standby::{remove_dead_rows, wait_for_replay};

/// Rows of the table before the load, a multiple of the number of writers.
const ROWS: i64 = 3_000;
const WRITERS: i64 = 4;
/// Rows of an insert.
const BATCH: i64 = 20;
/// More rows than the table ever has.
const ALL: i64 = 1_000_000;

// Numbers of values of the columns.
const STATUSES: i64 = 3;
const TENANTS: i64 = 400;
const DAYS: i64 = 1_000;
const TAGS: i64 = 30;

/// Rows that a condition leaves, up to which the nearest ten may be out of order.
const FEW: usize = 30;

/// The least share of the ten nearest rows under a condition that the index finds, over all
/// conditions.
const RECALL: f64 = 0.95;

/// Makes the table `items`; its rows have values in the order of their ids.
fn create_table(client: &mut Client) {
    run(
        client,
        "CREATE TABLE items (id bigint, embedding vector(50), status smallint, tenant bigint, day date, tags text[])",
    );
    load(client, "items", ROWS);
    run(
        client,
        &format!(
            "UPDATE items SET status = id % {STATUSES}, tenant = id * 7919 % {TENANTS},
                day = '2026-01-01'::date + (id * 31 % {DAYS})::int, tags = ARRAY['t' || id % {TAGS}, 'all']"
        ),
    );
    run(client, "VACUUM ANALYZE items");
}

/// Makes its index.
fn create_index(client: &mut Client) {
    run(
        client,
        "CREATE INDEX items_filtered ON items USING hnsw (embedding vector_l2_ops, status, tenant, day, tags)",
    );
}

/// A value of each column, in SQL; some are NULL.
fn values(random: &mut SmallRng) -> [String; 4] {
    let (status, tenant) = (random.random_range(0..STATUSES), random.random_range(0..TENANTS));
    let (day, tag) = (random.random_range(0..DAYS), random.random_range(0..TAGS));
    [
        status.to_string(),
        tenant.to_string(),
        format!("'2026-01-01'::date + {day}"),
        match random.random_ratio(1, 10) {
            true => format!("'{{t{tag},all,1,2,3,4,5,6,7}}'"),
            false => format!("'{{t{tag},all}}'"),
        },
    ]
    .map(|value| match random.random_ratio(1, 20) {
        true => "NULL".to_owned(),
        false => value,
    })
}

/// A statement that inserts rows of these ids, some without a vector.
fn insert(random: &mut SmallRng, ids: impl Iterator<Item = i64>) -> String {
    let rows = ids.map(|id| {
        let embedding = match random.random_ratio(1, 50) {
            true => "NULL".to_owned(),
            false => format!("'{}'", vector(id)),
        };
        format!("({id}, {embedding}, {})", values(random).join(", "))
    });
    format!("INSERT INTO items VALUES {}", rows.collect::<Vec<_>>().join(", "))
}

/// The first id of new rows.
fn next_id() -> AtomicI64 {
    AtomicI64::new(ROWS)
}

/// Ids of new rows.
fn take(next: &AtomicI64, count: i64) -> Range<i64> {
    let first = next.fetch_add(count, Ordering::Relaxed);
    first..first + count
}

/// A statement that changes one of the columns, or all of them, of some rows.
fn update(random: &mut SmallRng, rows: &str) -> String {
    let [status, tenant, day, tags] = values(random);
    let change = match random.random_range(0..6) {
        0 => format!("status = {status}"),
        1 => format!("tenant = {tenant}"),
        2 => format!("day = {day}"),
        3 => format!("tags = {tags}"),
        4 => format!("status = {status}, tenant = {tenant}, day = {day}, tags = {tags}"),
        _ => format!("embedding = '{}'", vector(random.random_range(0..20_000))),
    };
    format!("UPDATE items SET {change} WHERE {rows}")
}

/// One transaction of a writer, on rows of its own; some are rolled back.
fn write(client: &mut Client, random: &mut SmallRng, writer: i64, next: &AtomicI64) -> Result<(), Error> {
    let id = random.random_range(0..ROWS) / WRITERS * WRITERS + writer;
    let last = id + 10 * WRITERS;
    let some = format!("id % {WRITERS} = {writer} AND id BETWEEN {id} AND {last}");
    let statement = match random.random_range(0..5) {
        0 => {
            let ids = take(next, BATCH * WRITERS);
            insert(random, ids.filter(|id| id % WRITERS == writer))
        }
        1..=3 => update(random, &some),
        _ => format!("DELETE FROM items WHERE {some}"),
    };
    let end = if random.random_bool(0.2) { "ROLLBACK" } else { "COMMIT" };
    client.batch_execute(&format!("BEGIN; {statement}; {end}"))
}

/// Conditions of each kind that the index takes, with values at random: from most of the rows to
/// none.
fn conditions(random: &mut SmallRng) -> Vec<String> {
    let (status, tenant) = (random.random_range(0..STATUSES), random.random_range(0..TENANTS));
    let (day, tag) = (random.random_range(0..DAYS), random.random_range(0..TAGS));
    let date = |day: i64| format!("'2026-01-01'::date + {day}");
    vec![
        format!("status = {status}"),
        format!("status IN ({status}, {})", (status + 1) % STATUSES),
        "status IS NULL".to_owned(),
        format!("tenant = {tenant}"),
        format!("tenant = ANY ('{{{tenant},{},{}}}')", tenant + 1, tenant + 50),
        format!("tenant < {tenant}"),
        "tenant IS NULL".to_owned(),
        format!("day BETWEEN {} AND {}", date(day), date(day + 7)),
        format!("day >= {}", date(day)),
        "day IS NOT NULL".to_owned(),
        format!("tags @> '{{t{tag}}}'"),
        format!("tags && '{{t{tag},t{}}}'", (tag + 1) % TAGS),
        "tags IS NULL".to_owned(),
        format!("status = {status} AND day < {}", date(day)),
        format!("tenant = {tenant} AND tags @> '{{all}}'"),
        format!(
            "status = {status} AND tenant BETWEEN {tenant} AND {} AND tags IS NOT NULL",
            tenant + 9
        ),
        format!("tenant = {}", TENANTS + 7),
    ]
}

/// The `limit` rows under a condition that are nearest to a vector, in the order they came.
fn nearest(client: &mut Client, condition: &str, target: &str, limit: i64) -> Result<Vec<Neighbor>, Error> {
    let query = format!(
        "SELECT id, embedding <-> '{target}' FROM items WHERE {condition}
         ORDER BY embedding <-> '{target}' LIMIT (SELECT {limit})"
    );
    let neighbors = client.query(&query, &[])?.into_iter().map(|row| Neighbor {
        id: row.get(0),
        distance: row.get::<_, Option<f64>>(1).unwrap_or(f64::INFINITY),
    });
    Ok(neighbors.collect())
}

/// Whether the session, as it is set, tests conditions by the index.
fn tests_by_index(client: &mut Client, condition: &str) -> bool {
    let target = vector(0);
    let plan = format!(
        "EXPLAIN SELECT id FROM items WHERE {condition} ORDER BY embedding <-> '{target}' LIMIT (SELECT {ALL})"
    );
    let lines = client.query(&plan, &[]).expect("a plan");
    let has = |what: &str| lines.iter().any(|line| line.get::<_, &str>(0).contains(what));
    has("Index Scan using items_filtered") && has("Index Cond:")
}

/// Answers by the index and without it.
struct Compared {
    /// The nearest ten.
    first: Vec<Neighbor>,
    exact: Vec<Neighbor>,
}

/// Asks for all rows under a condition, by the index and without it, and for the nearest ten by the
/// index. All rows have to be the same ones, and the ten are of them, in order if they are not [`FEW`].
fn compare(client: &mut Client, condition: &str, target: &str) -> Compared {
    choose(client, Scan::Index { ef_search: 100 }).expect("settings");
    let mut ask = |limit| nearest(client, condition, target, limit).expect("an answer");
    let (whole, first) = (ask(ALL), ask(10));
    choose(client, Scan::Exact).expect("settings");
    let exact = nearest(client, condition, target, ALL).expect("an answer");
    let ids = |rows: &[Neighbor]| {
        let mut ids: Vec<_> = rows.iter().map(|row| row.id).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(
        ids(&whole),
        ids(&exact),
        "{condition}: rows by the index and without it"
    );
    assert_eq!(first.len(), exact.len().min(10), "{condition}");
    // A scan that is read to its end returns the rows that it held back last. Ten rows may be all
    // that it has beside those, if the condition leaves few: entries of dead rows are in order too.
    if exact.len() > FEW {
        assert_plausible(&first);
    }
    let distinct: BTreeSet<_> = first.iter().map(|row| row.id).collect();
    assert_eq!(distinct.len(), first.len(), "{condition}: a row came twice");
    let all: BTreeSet<_> = exact.iter().map(|row| row.id).collect();
    assert!(first.iter().all(|row| all.contains(&row.id)), "{condition}: {first:?}");
    Compared { first, exact }
}

/// Reads under a random condition, in one snapshot.
fn read(client: &mut Client, random: &mut SmallRng) {
    let mut conditions = conditions(random);
    let condition = conditions.swap_remove(random.random_range(0..conditions.len()));
    run(client, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    compare(client, &condition, vector(random.random_range(0..20_000)));
    run(client, "COMMIT");
}

/// Checks that the index is sound, that it has the rows that each condition leaves, once, and that
/// it finds the nearest.
fn assert_right(client: &mut Client, random: &mut SmallRng) {
    assert_sound(client, "items_filtered");
    let (mut hits, mut all) = (0, 0);
    for _ in 0..2 {
        for condition in conditions(random) {
            choose(client, Scan::Index { ef_search: 100 }).expect("settings");
            assert!(tests_by_index(client, &condition), "{condition}: not by the index");
            let Compared { first, exact } = compare(client, &condition, vector(random.random_range(0..20_000)));
            let farthest = exact.get(9).or(exact.last()).map_or(f64::INFINITY, |row| row.distance);
            hits += first.iter().filter(|row| row.distance <= farthest).count();
            all += first.len();
        }
    }
    #[allow(clippy::cast_precision_loss)]
    let recall = if all == 0 { 1.0 } else { hits as f64 / all as f64 };
    assert!(recall >= RECALL, "{hits} of the {all} nearest rows");
}

/// Checks that each node is in the lists of its values, after [`vacuum_index`]: it has removed the
/// nodes that an interrupted insertion had left without.
fn assert_listed(client: &mut Client) {
    let check =
        "SELECT block, slot, fault FROM hnsw_check('items_filtered') WHERE fault LIKE '%the list of its value%'";
    let missing = client.query(check, &[]).expect("the index is checked");
    assert!(
        missing.is_empty(),
        "{} entries are missing: {:?}",
        missing.len(),
        missing[0]
    );
}

/// Writers, VACUUM and a reader of each of the servers, until the writers are done.
fn run_load(cluster: &Cluster, readers: &[&Cluster], random: &mut SmallRng, next: &AtomicI64) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let done = &done;
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let mut random = SmallRng::seed_from_u64(random.random());
                scope.spawn(move || {
                    let mut client = cluster.client();
                    for _ in 0..rounds(100, 500) {
                        write(&mut client, &mut random, writer, next).expect("a transaction ends");
                    }
                })
            })
            .collect();
        for reader in readers {
            let mut random = SmallRng::seed_from_u64(random.random());
            scope.spawn(move || {
                let mut client = reader.client();
                while !done.load(Ordering::Relaxed) {
                    read(&mut client, &mut random);
                }
            });
        }
        scope.spawn(move || {
            let mut client = cluster.client();
            while !done.load(Ordering::Relaxed) {
                run(&mut client, "VACUUM items");
            }
        });
        let writers: Vec<_> = writers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        done.store(true, Ordering::Relaxed);
        assert!(writers.iter().all(Result::is_ok), "a writer failed");
    });
}

#[test]
fn filter_values_follow_their_rows() {
    let mut random = random("filter_values_follow_their_rows");
    let cluster = Cluster::new();
    let mut client = cluster.client();
    create_table(&mut client);
    create_index(&mut client);
    run_load(&cluster, &[&cluster; 2], &mut random, &next_id());
    assert!(!cluster.has_crashed());
    assert_right(&mut client, &mut random);
    vacuum_index(&mut client);
    assert_right(&mut client, &mut random);
    assert_listed(&mut client);
    cluster.kill();
    cluster.start();
    let mut client = cluster.client();
    assert_right(&mut client, &mut random);
    run(&mut client, "REINDEX INDEX items_filtered");
    assert_right(&mut client, &mut random);
    assert_listed(&mut client);
}

/// Writers and VACUUM until the server is killed, after `commits` transactions.
fn write_until_killed(cluster: &Cluster, random: &mut SmallRng, next: &AtomicI64, commits: usize) {
    let (done, killed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (done, killed) = (&done, &killed);
    std::thread::scope(|scope| {
        let assert_killed = |result: Result<(), Error>| {
            if let Err(error) = result {
                assert!(
                    killed.load(Ordering::Acquire),
                    "before the server was killed: {error:?}"
                );
            }
        };
        let mut writers = Vec::new();
        for writer in 0..WRITERS {
            let mut random = SmallRng::seed_from_u64(random.random());
            let mut client = cluster.client();
            writers.push(scope.spawn(move || {
                let mut transaction = || {
                    write(&mut client, &mut random, writer, next)?;
                    done.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                };
                let end = loop {
                    let result = transaction();
                    if result.is_err() {
                        break result;
                    }
                };
                assert_killed(end);
            }));
        }
        let mut client = cluster.client();
        scope.spawn(move || {
            let end = loop {
                let result = client.batch_execute("VACUUM items");
                if result.is_err() {
                    break result;
                }
            };
            assert_killed(end);
        });
        wait_for("commits before the kill", || {
            done.load(Ordering::Relaxed) >= commits || writers.iter().any(|writer| writer.is_finished())
        });
        killed.store(true, Ordering::Release);
        cluster.kill();
    });
}

#[test]
fn filter_values_survive_kills_while_they_change() {
    let mut random = random("filter_values_survive_kills_while_they_change");
    let cluster = Cluster::new();
    let mut client = cluster.client();
    create_table(&mut client);
    create_index(&mut client);
    drop(client);
    let next = next_id();
    for crash in 0..rounds(6, 15) {
        let commits = random.random_range(1..150);
        write_until_killed(&cluster, &mut random, &next, commits);
        restart(&cluster, crash);
        let mut client = cluster.client();
        assert_right(&mut client, &mut random);
        if crash % 2 == 1 {
            vacuum_index(&mut client);
            assert_right(&mut client, &mut random);
            assert_listed(&mut client);
        }
    }
}

/// A change of many rows.
#[derive(Debug, Clone, Copy)]
enum Change {
    Insert,
    Update,
    Vacuum,
}

impl Change {
    /// The work before it that is not to be interrupted: rows to remove, and others in their place.
    fn prepare(self, client: &mut Client, random: &mut SmallRng, next: &AtomicI64) {
        if let Change::Vacuum = self {
            run(
                client,
                "DELETE FROM items WHERE id IN (SELECT id FROM items ORDER BY random() LIMIT 600)",
            );
            run(client, &insert(random, take(next, 600)));
        }
    }

    /// The statements of the change.
    fn statements(self, random: &mut SmallRng, next: &AtomicI64) -> Vec<String> {
        match self {
            Change::Insert => {
                // All at COMMIT, some in between, or each at once.
                let memory = ["16MB", "50kB", "0"][random.random_range(0..3)];
                vec![
                    format!("SET hnsw.staging_memory = '{memory}'"),
                    insert(random, take(next, 500)),
                ]
            }
            Change::Update => {
                let rows = format!("id % 6 = {}", random.random_range(0..6));
                vec![update(random, &rows)]
            }
            Change::Vacuum => vec!["VACUUM items".to_owned()],
        }
    }
}

#[test]
fn lists_survive_kills_in_the_middle_of_a_change() {
    let mut random = random("lists_survive_kills_in_the_middle_of_a_change");
    let cluster = Cluster::new();
    let mut client = cluster.client();
    create_table(&mut client);
    create_index(&mut client);
    let next = next_id();
    for change in [Change::Insert, Change::Update, Change::Vacuum] {
        change.prepare(&mut client, &mut random, &next);
        let before = wal(&mut client);
        for statement in change.statements(&mut random, &next) {
            run(&mut client, &statement);
        }
        let whole = wal(&mut client) - before;
        let (mut interrupted, mut crash) = (0, 0);
        while goes_on(crash, rounds(3, 6), interrupted) {
            change.prepare(&mut client, &mut random, &next);
            drop(client);
            let statements = change.statements(&mut random, &next);
            let result = kill_in_the_middle(&cluster, &mut random, whole, |client| {
                statements
                    .iter()
                    .try_for_each(|statement| client.batch_execute(statement))
            });
            interrupted += usize::from(result.is_err());
            restart(&cluster, crash);
            client = cluster.client();
            assert_right(&mut client, &mut random);
            vacuum_index(&mut client);
            assert_right(&mut client, &mut random);
            assert_listed(&mut client);
            crash += 1;
        }
        assert!(interrupted > 0, "{change:?}: none was interrupted");
    }
}

#[test]
fn a_standby_answers_conditions_while_its_primary_changes_rows() {
    let mut random = random("a_standby_answers_conditions_while_its_primary_changes_rows");
    let primary = Cluster::with("wal_consistency_checking = 'Generic'");
    let mut on_primary = primary.client();
    create_table(&mut on_primary);
    let standby = Cluster::standby_of(&primary);
    // Built after the standby was made: the build too has to arrive by WAL.
    create_index(&mut on_primary);
    let mut on_standby = standby.client();
    wait_for_replay(&mut on_primary, &mut on_standby);
    assert_right(&mut on_standby, &mut random);

    let next = next_id();
    for _ in 0..rounds(1, 2) {
        run_load(&primary, &[&standby; 2], &mut random, &next);
        wait_for_replay(&mut on_primary, &mut on_standby);
        assert_right(&mut on_standby, &mut random);
        remove_dead_rows(&mut on_primary);
        wait_for_replay(&mut on_primary, &mut on_standby);
        for client in [&mut on_primary, &mut on_standby] {
            assert_right(client, &mut random);
            assert_listed(client);
        }
    }
    let log = standby.log();
    assert!(!log.contains("inconsistent page") && !standby.has_crashed(), "{log}");

    // The primary dies amid changes, and the standby takes its place.
    let commits = random.random_range(1..100);
    write_until_killed(&primary, &mut random, &next, commits);
    assert!(
        on_standby
            .query_one("SELECT pg_promote(true, 60)", &[])
            .expect("promotion")
            .get::<_, bool>(0)
    );
    assert_right(&mut on_standby, &mut random);
    run_load(&standby, &[&standby], &mut random, &next);
    assert_right(&mut on_standby, &mut random);
    remove_dead_rows(&mut on_standby);
    assert_right(&mut on_standby, &mut random);
    assert_listed(&mut on_standby);
    assert!(!standby.has_crashed());
}
