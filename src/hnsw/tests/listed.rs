//! Answers from value lists: the nearest nodes by their codes, and all others if they are wanted.

use super::filters::{create, insert_rows};
use super::*;
use crate::filter::condition::{Condition, Filter, Test};
use crate::filter::values::{Values, key_of_int};

/// Rows with a number of four each.
fn numbered(rows: usize) -> Vec<Values> {
    let of = |row: usize| {
        let mut values = Values::NONE;
        values.set(0, Some(key_of_int(row as i64 % 4)));
        values
    };
    (0..rows).map(of).collect()
}

/// A scan for the rows with the number 1.
fn scan_of(graph: &Graph<'_, MemoryStore>, query: &[f32], limits: Limits) -> Scan {
    let test = Test::one_of(vec![key_of_int(1)]);
    let filter = Filter::new(vec![Condition { column: 0, test }]);
    Scan::new(graph.space.filtered(graph.space.query(query), filter).unwrap(), limits)
}

#[test]
fn a_scan_of_lists_reads_few_nodes_for_few_rows_and_returns_all_rows_once() {
    let vectors = words(8000);
    let all = numbered(vectors.len());
    for metric in [Metric::L2, Metric::InnerProduct] {
        let store = store();
        let graph = create(&store, metric, vectors[0].len(), &all[..1000]);
        insert_rows(&graph, &vectors, 0..vectors.len(), &all);
        let query = &vectors[77];
        let rows: Vec<usize> = (0..vectors.len()).filter(|row| row % 4 == 1).collect();
        let nearest = exact(metric, &vectors, rows.iter().copied(), query);

        // Some rows cost some nodes, and no search.
        let mut scan = scan_of(&graph, query, limits(10));
        let found: Vec<usize> = std::iter::from_fn(|| scan.next(&graph).unwrap().map(row))
            .take(10)
            .collect();
        let is_near = |row: &&usize| exact_sum(metric, query, &vectors[**row]) <= nearest[9].0;
        assert!(found.iter().filter(is_near).count() >= 9, "{metric:?}: {found:?}");
        let counts = scan.counts();
        assert_eq!(counts.estimates, 0, "{metric:?}");
        assert!(counts.visited < 600, "{metric:?}: {}", counts.visited);

        // All rows come once, more than a scan keeps at first, in order but for the late ones.
        let found: Vec<usize> = std::iter::once(found[0])
            .chain(found[1..].iter().copied())
            .chain(std::iter::from_fn(|| scan.next(&graph).unwrap().map(row)))
            .collect();
        assert_eq!(found.len(), rows.len(), "{metric:?}");
        assert_eq!(
            found.iter().copied().collect::<HashSet<_>>(),
            rows.iter().copied().collect()
        );
        assert_eq!(scan.counts().passes, 0);
        let distances: Vec<f64> = found
            .iter()
            .map(|&row| exact_sum(metric, query, &vectors[row]))
            .collect();
        let late = distances.windows(2).filter(|pair| pair[0] > pair[1] + 1e-4).count();
        assert!(late <= rows.len() / 20, "{metric:?}: {late} rows out of order");

        // A first round alone may read them all as well.
        let mut scan = scan_of(
            &graph,
            query,
            Limits {
                iteration: Iteration::Off,
                ..limits(10)
            },
        );
        let found = std::iter::from_fn(|| scan.next(&graph).unwrap()).map(row);
        assert_eq!(found.collect::<HashSet<_>>().len(), rows.len());
    }
}

/// Rows that come while a scan of lists is under way are no error, and neither are removed ones.
#[test]
fn lists_may_change_while_a_scan_reads_them() {
    let vectors = words(6000);
    let all = numbered(vectors.len());
    let store = store();
    let graph = create(&store, Metric::L2, vectors[0].len(), &all[..1000]);
    insert_rows(&graph, &vectors, 0..5000, &all);
    let mut scan = scan_of(&graph, &vectors[5], limits(10));
    let mut found: Vec<usize> = (0..10).map(|_| row(scan.next(&graph).unwrap().unwrap())).collect();
    bulk_delete::remove(&graph, MEMORY, each(|tid| row(tid).is_multiple_of(3))).unwrap();
    insert_rows(&graph, &vectors, 5000..6000, &all);
    found.extend(std::iter::from_fn(|| scan.next(&graph).unwrap().map(row)));
    let unique: HashSet<usize> = found.iter().copied().collect();
    assert_eq!(unique.len(), found.len());
    assert!(unique.iter().all(|row| row % 4 == 1));
    // All rows that stayed are there.
    let stayed = (0..5000usize).filter(|row| row % 4 == 1 && !row.is_multiple_of(3));
    assert!(stayed.into_iter().all(|row| unique.contains(&row)));
}
