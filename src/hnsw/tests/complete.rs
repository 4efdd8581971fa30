//! Complete scans: rounds by the graph, then passes over the pages.

use super::*;
use crate::hnsw::distance_bounds::Keys;
use crate::hnsw::scan::Rounds;

/// All rows of a scan, with their keys.
fn all(graph: &Graph<'_, MemoryStore>, query: &[f32], limits: Limits) -> Vec<(f32, usize)> {
    let mut scan = Scan::new(graph.space.query(query), limits);
    let mut found = Vec::new();
    while let Some(tid) = scan.next(graph).unwrap() {
        found.push((scan.returned().unwrap().0, row(tid)));
    }
    assert!(!scan.was_bounded());
    found
}

fn is_each_once(found: &[(f32, usize)], rows: usize) -> bool {
    found.iter().map(|&(_, row)| row).collect::<HashSet<_>>().len() == rows && found.len() == rows
}

#[test]
fn passes_return_every_row_once_and_in_order_within_any_memory() {
    let mut vectors = words(2000);
    vectors.extend_from_within(..300); // Nodes of two rows.
    let store = store();
    let graph = build(&store, Metric::L2, &vectors);
    for memory in [0, 10_000, 1 << 20] {
        let limits = Limits {
            rounds: Rounds::None,
            memory,
            ..limits(40)
        };
        let found = all(&graph, &vectors[7], limits);
        assert!(is_each_once(&found, vectors.len()));
        assert!(found.is_sorted_by(|a, b| a.0 <= b.0));
        if memory > 0 {
            let mut scan = Scan::new(graph.space.query(&vectors[7]), limits);
            while scan.next(&graph).unwrap().is_some() {}
            let most = 2000 / (memory / (2 * size_of_val(&found[0]))).max(1) + 2;
            assert!((1..=3 * most as u64).contains(&scan.counts().passes));
        }
    }
}

#[test]
fn passes_take_over_where_rounds_have_cost_as_much() {
    let vectors = words(4000);
    let store = store();
    let graph = build(&store, Metric::L2, &vectors);
    for iteration in [Iteration::Strict, Iteration::Relaxed] {
        for memory in [20_000, 1 << 20] {
            let limits = Limits {
                rounds: Rounds::Cheaper,
                iteration,
                memory,
                ..limits(20)
            };
            let found = all(&graph, &vectors[7], limits);
            assert!(is_each_once(&found, vectors.len()), "{iteration:?} {memory}");
            // Out of order at most once: where the passes begin, or where rows held back begin.
            let steps_back = found.windows(2).filter(|pair| pair[1].0 < pair[0].0).count();
            match iteration {
                Iteration::Strict => assert!(steps_back <= 1, "{steps_back}"),
                _ => assert!(found[2000..].is_sorted_by(|a, b| a.0 <= b.0)),
            }
            let mut scan = Scan::new(graph.space.query(&vectors[7]), limits);
            while scan.next(&graph).unwrap().is_some() {}
            let counts = scan.counts();
            assert!(counts.passes >= 1);
            if memory > 100_000 {
                // The visits of two passes, and the cost of the rounds.
                assert!(counts.visited < 2 * vectors.len() as u64, "{counts:?}");
            }
        }
    }
}

#[test]
fn rows_far_from_the_query_come_in_order_though_nothing_leads_there_soon() {
    let mut vectors = words(3000);
    for (i, vector) in vectors.iter_mut().enumerate() {
        if i % 100 == 99 {
            vector.iter_mut().for_each(|x| *x += 5.0);
        }
    }
    let store = store();
    let graph = build(&store, Metric::L2, &vectors);
    let limits = Limits {
        rounds: Rounds::Cheaper,
        ..limits(40)
    };
    let far = |row: &usize| row % 100 == 99;
    let mut scan = Scan::new(graph.space.query(&vectors[0]), limits);
    let found: Vec<_> = std::iter::from_fn(|| scan.next(&graph).unwrap())
        .map(row)
        .filter(far)
        .take(10)
        .collect();
    let exact = exact(Metric::L2, &vectors, (0..vectors.len()).filter(far), &vectors[0]);
    assert_eq!(found, exact[..10].iter().map(|&(_, row)| row).collect::<Vec<_>>());
}

#[test]
fn bounds_that_somebody_set_end_a_scan_before_any_pass() {
    let vectors = words(3000);
    let store = store();
    let graph = build(&store, Metric::L2, &vectors);
    let bounded = [
        Limits {
            nodes: 500,
            rounds: Rounds::Cheaper,
            ..limits(20)
        },
        Limits {
            nodes: 500,
            ..limits(20)
        }
        .by_passes(&graph)
        .unwrap(),
        Limits {
            bytes: 30_000,
            memory: 30_000,
            rounds: Rounds::Cheaper,
            ..limits(20)
        },
    ];
    for limits in bounded {
        let mut scan = Scan::new(graph.space.query(&vectors[3]), limits);
        let found = std::iter::from_fn(|| scan.next(&graph).unwrap()).count();
        assert!((20..2900).contains(&found), "{found} rows");
        assert!(scan.was_bounded());
        assert_eq!(scan.counts().passes, 0);
    }
    let roomy = Limits {
        nodes: 1_000_000,
        rounds: Rounds::Cheaper,
        ..limits(20)
    };
    assert!(is_each_once(&all(&graph, &vectors[3], roomy), 3000));
}

/// The distance that the operator returns, without its rounding.
fn operator(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let pairs = || a.iter().zip(b).map(|(&a, &b)| (f64::from(a), f64::from(b)));
    let product = || pairs().map(|(a, b)| a * b).sum::<f64>();
    let norm = |v: &[f32]| v.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
    match metric {
        Metric::L2 => pairs().map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt(),
        Metric::InnerProduct => -product(),
        Metric::Cosine => 1.0 - product() / (norm(a) * norm(b)),
        _ => pairs().map(|(a, b)| (a - b).abs()).sum(),
    }
}

#[test]
fn least_distances_are_lower_bounds_and_near() {
    for dimensions in [3, 64, 100, 384, 1536, 5000] {
        for scale in [1e-6, 1.0, 1e6] {
            for offset in [0.0, 100.0] {
                let mut vectors = crate::test_data::phrases(60, dimensions);
                vectors.iter_mut().flatten().for_each(|x| *x = (*x + offset) * scale);
                for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct, Metric::L1] {
                    let given = vectors.clone();
                    let mut vectors = vectors.clone();
                    if metric == Metric::Cosine {
                        vectors.iter_mut().for_each(|v| {
                            crate::distance::normalize(v);
                        });
                    }
                    let store = store();
                    let graph = build(&store, metric, &vectors);
                    let limits = |keys| Limits {
                        rounds: Rounds::None,
                        keys,
                        ..limits(40)
                    };
                    let least: std::collections::HashMap<_, _> = all(&graph, &vectors[0], limits(Keys::Least))
                        .into_iter()
                        .map(|(key, row)| (row, key))
                        .collect();
                    for (_, row) in all(&graph, &vectors[0], limits(Keys::Stored)) {
                        let distance = operator(metric, &given[0], &given[row]);
                        let length = operator(Metric::L2, &given[0], &vec![0.0; dimensions]);
                        let least = f64::from(least[&row]);
                        let what = format!("{metric:?} {dimensions} {scale} {offset}: {least} {distance}");
                        assert!(least <= distance, "{what}");
                        let slack = match metric {
                            Metric::InnerProduct => 0.02 * length * length,
                            Metric::Cosine => 0.02,
                            Metric::L1 => 2e-4 * distance,
                            Metric::L2 => 0.02 * length,
                            _ => unreachable!(),
                        };
                        assert!(distance - least <= slack, "{what}");
                    }
                }
            }
        }
    }
}
