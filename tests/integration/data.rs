//! The data all tests work on: the words of `examples/words.csv.gz`, 50 dimensions each; and the
//! seed of their random choices.

use std::io::Write;
use std::process::Command;
use std::sync::LazyLock;
use std::time::UNIX_EPOCH;

use postgres::Client;
use rand::SeedableRng;
use rand::rngs::SmallRng;

/// The text of every vector, as SQL takes it, in the order of the file.
pub static VECTORS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/words.csv.gz");
    let output = Command::new("gzip").args(["-dc", path]).output().expect("gzip runs");
    assert!(
        output.status.success(),
        "gzip -dc {path}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("the file is UTF-8");
    text.lines()
        .map(|line| line.split('"').nth(1).expect("a line is word,\"vector\"").to_string())
        .collect()
});

/// The vector of row `id`: rows beyond the file's end start again at its beginning.
pub fn vector(id: i64) -> &'static str {
    let index = usize::try_from(id).expect("ids are not negative") % VECTORS.len();
    &VECTORS[index]
}

/// Runs statements that have to succeed.
pub fn run(client: &mut Client, sql: &str) {
    client
        .batch_execute(sql)
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
}

/// Vacuums the table `items` and its indexes, however few its dead rows are: by default VACUUM
/// leaves the indexes alone while less than a fiftieth of the pages has any.
pub fn vacuum_index(client: &mut Client) {
    run(client, "VACUUM (INDEX_CLEANUP ON) items");
}

/// A generator of random choices; prints its seed, which the test harness shows when the test
/// fails.
pub fn random(test: &str) -> SmallRng {
    let seed = match std::env::var("PG_ALOPEX_TEST_SEED") {
        Ok(seed) => seed.parse().expect("PG_ALOPEX_TEST_SEED is a number"),
        Err(_) => UNIX_EPOCH.elapsed().expect("a time after 1970").as_micros() as u64,
    };
    println!("{test}: PG_ALOPEX_TEST_SEED={seed}");
    SmallRng::seed_from_u64(seed)
}

/// Copies the first `count` rows into `table (id, embedding)`.
pub fn load(client: &mut Client, table: &str, count: i64) {
    insert(client, table, &(0..count).collect::<Vec<_>>());
}

/// Copies the rows `ids` into `table (id, embedding)`, in one transaction.
pub fn insert<'a>(client: &mut Client, table: &str, ids: impl IntoIterator<Item = &'a i64>) {
    let mut copy = client
        .copy_in(&format!("COPY {table} (id, embedding) FROM STDIN"))
        .expect("COPY starts");
    let mut count = 0;
    for &id in ids {
        writeln!(copy, "{id}\t{}", vector(id)).expect("a row is sent");
        count += 1;
    }
    assert_eq!(copy.finish().expect("COPY ends"), count);
}
