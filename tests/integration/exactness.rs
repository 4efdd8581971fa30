//! Answers of a nearest-neighbor query, by the index and by an exact scan, and the agreement that
//! is required of them; and the checker's verdict on an index.

use postgres::Client;

/// A row of an answer, nearest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Neighbor {
    pub id: i64,
    /// Infinite where it is NULL: such rows are the last.
    pub distance: f64,
}

/// How to find neighbors.
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
pub fn nearest(client: &mut Client, table: &str, target: &str, limit: i64) -> Result<Vec<Neighbor>, postgres::Error> {
    let query = format!(
        "SELECT id, embedding <-> $1::text::vector FROM {table} ORDER BY embedding <-> $1::text::vector LIMIT $2"
    );
    let rows = client.query(&query, &[&target, &limit])?;
    Ok(rows
        .iter()
        .map(|row| Neighbor {
            id: row.get(0),
            distance: row.get::<_, Option<f64>>(1).unwrap_or(f64::INFINITY),
        })
        .collect())
}

/// How far an answer may be out of order: an index of more than 64 dimensions orders by vectors of
/// 12 bits a coordinate.
const ROUNDING: f64 = 1e-3;

/// Checks that an answer is in order and names no row twice.
pub fn assert_plausible(answer: &[Neighbor]) {
    for pair in answer.windows(2) {
        assert!(
            pair[0].distance <= pair[1].distance * (1.0 + ROUNDING),
            "out of order: {:?} before {:?}",
            pair[0],
            pair[1]
        );
    }
    let mut ids: Vec<_> = answer.iter().map(|neighbor| neighbor.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), answer.len(), "a row came twice: {answer:?}");
}

/// Whether the session, as it is set, would use an index of `table`.
pub fn is_used(client: &mut Client, table: &str, target: &str) -> bool {
    let plan = format!("EXPLAIN SELECT id FROM {table} ORDER BY embedding <-> '{target}' LIMIT 10");
    let lines = client.query(&plan, &[]).expect("a plan");
    lines
        .iter()
        .any(|line| line.get::<_, &str>(0).contains("Index Scan using"))
}

/// The share of the ten nearest rows of `table` that the index finds, over all targets. Checks that
/// the index is used, that its answers are in order, and that they have as many rows as the answers
/// of the exact scan.
pub fn recall(client: &mut Client, table: &str, targets: &[&str], scan: Scan) -> f64 {
    choose(client, scan).expect("settings");
    assert!(is_used(client, table, targets[0]), "no index of {table} is used");
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
        let farthest = exact.last().map_or(f64::INFINITY, |neighbor| neighbor.distance);
        hits += found.iter().filter(|neighbor| neighbor.distance <= farthest).count();
        all += exact.len();
    }
    // An empty table has nothing to miss.
    #[allow(clippy::cast_precision_loss)]
    if all == 0 { 1.0 } else { hits as f64 / all as f64 }
}

/// Checks that the index answers as the exact scan on `table` does: see [`recall`], of which at
/// least .95 is asked.
pub fn assert_agree(client: &mut Client, table: &str, targets: &[&str]) {
    let recall = recall(client, table, targets, Scan::Index { ef_search: 100 });
    assert!(recall >= 0.95, "recall@10 is {recall} on {} queries", targets.len());
}

/// Checks that an index is sound and has each row of its table.
pub fn assert_sound(client: &mut Client, index: &str) {
    let check = "SELECT block, slot, fault FROM hnsw_check($1::text::regclass, true) WHERE severity = 'corruption'";
    let faults = client.query(check, &[&index]).expect("the index is checked");
    assert!(faults.is_empty(), "{index}: {} faults, {:?}", faults.len(), faults[0]);
}

/// Checks that the index finds every row of `ids`, given as id and vector: a row is nearest to its
/// own vector.
pub fn assert_each_found(client: &mut Client, table: &str, ids: impl Iterator<Item = (i64, &'static str)>) {
    let ids: Vec<_> = ids.collect();
    let mut missing = ids.clone();
    // Some rows need a wider search, as they would in any graph; none may stay hidden from the
    // widest.
    for ef_search in [40, 1000] {
        choose(client, Scan::Index { ef_search }).expect("settings");
        let limit = if ef_search == 1000 { 100 } else { 10 };
        missing.retain(|(id, vector)| {
            let answer = nearest(client, table, vector, limit).expect("an answer");
            assert_plausible(&answer);
            !answer.iter().any(|neighbor| neighbor.id == *id)
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
