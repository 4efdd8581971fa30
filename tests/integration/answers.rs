//! What a nearest-neighbour query answers, by the index and by an exact scan, and how the two must agree.

use postgres::Client;

/// A row of an answer, nearest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbour {
    pub id: i64,
    pub distance: f64,
}

/// How to find neighbours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scan {
    /// Look at every row.
    Exact,
    /// By the index, with this `hnsw.ef_search`.
    Index { ef_search: u16 },
}

/// Makes the session answer by `scan`.
pub fn choose(client: &mut Client, scan: Scan) -> Result<(), postgres::Error> {
    match scan {
        Scan::Exact => client.batch_execute("SET enable_indexscan = off; SET enable_seqscan = on"),
        Scan::Index { ef_search } => client.batch_execute(&format!(
            "SET enable_indexscan = on; SET enable_seqscan = off; SET hnsw.ef_search = {ef_search}"
        )),
    }
}

/// The `limit` rows of `table` nearest to `target` by L2 distance, in the order they came.
pub fn nearest(client: &mut Client, table: &str, target: &str, limit: i64) -> Result<Vec<Neighbour>, postgres::Error> {
    let query = format!(
        "SELECT id, embedding <-> $1::text::vector FROM {table} ORDER BY embedding <-> $1::text::vector LIMIT $2"
    );
    let rows = client.query(&query, &[&target, &limit])?;
    Ok(rows
        .iter()
        .map(|row| Neighbour {
            id: row.get(0),
            distance: row.get(1),
        })
        .collect())
}

/// How far an answer may be out of order: an index of more than 64 dimensions orders by vectors of 12 bits a coordinate.
const ROUNDING: f64 = 1e-3;

/// Checks that an answer is in order and names no row twice.
pub fn assert_plausible(answer: &[Neighbour]) {
    for pair in answer.windows(2) {
        assert!(
            pair[0].distance <= pair[1].distance * (1.0 + ROUNDING),
            "out of order: {:?} before {:?}",
            pair[0],
            pair[1]
        );
    }
    let mut ids: Vec<_> = answer.iter().map(|neighbour| neighbour.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), answer.len(), "a row came twice: {answer:?}");
}

/// Compares the index with the exact scan on `table` for each target: answers in order, as many rows, every row one that the
/// exact scan knows at that distance, and at least .95 of the ten nearest found.
pub fn assert_agree(client: &mut Client, table: &str, targets: &[&str]) {
    let plan =
        "EXPLAIN SELECT id FROM {table} ORDER BY embedding <-> $1::text::vector LIMIT 10".replace("{table}", table);
    choose(client, Scan::Index { ef_search: 100 }).expect("settings");
    let lines = client.query(&plan, &[&targets[0]]).expect("a plan");
    let plan: Vec<String> = lines.iter().map(|line| line.get(0)).collect();
    assert!(
        plan.iter().any(|line| line.contains("Index Scan using")),
        "the index is not used: {plan:?}"
    );
    let found: Vec<_> = targets
        .iter()
        .map(|target| nearest(client, table, target, 10).expect("an answer"))
        .collect();

    choose(client, Scan::Exact).expect("settings");
    let (mut hits, mut all) = (0, 0);
    for (target, found) in targets.iter().zip(&found) {
        let exact = nearest(client, table, target, 10).expect("an answer");
        assert_plausible(found);
        assert_eq!(found.len(), exact.len(), "rows for {target}");
        // A row as near as the farthest of the exact answer is as good, whichever it is.
        let farthest = exact.last().map_or(f64::INFINITY, |neighbour| neighbour.distance);
        hits += found.iter().filter(|neighbour| neighbour.distance <= farthest).count();
        all += exact.len();
    }
    // An empty table has nothing to miss.
    #[allow(clippy::cast_precision_loss)]
    let recall = if all == 0 { 1.0 } else { hits as f64 / all as f64 };
    assert!(recall >= 0.95, "recall@10 is {recall} on {} queries", targets.len());
}

/// Checks that the index finds every row of `ids`, given as id and vector: a row is nearest to its own vector.
pub fn assert_each_found(client: &mut Client, table: &str, ids: impl Iterator<Item = (i64, &'static str)>) {
    let ids: Vec<_> = ids.collect();
    let mut missing = ids.clone();
    // Some rows need a wider search, as they would in any graph; none may stay hidden from the widest.
    for ef_search in [40, 1000] {
        choose(client, Scan::Index { ef_search }).expect("settings");
        let limit = if ef_search == 1000 { 100 } else { 10 };
        missing.retain(|(id, vector)| {
            let answer = nearest(client, table, vector, limit).expect("an answer");
            assert_plausible(&answer);
            !answer.iter().any(|neighbour| neighbour.id == *id)
        });
    }
    assert!(
        missing.is_empty(),
        "the index does not find {} of {} rows: {:?}",
        missing.len(),
        ids.len(),
        &missing[..1]
    );
}
