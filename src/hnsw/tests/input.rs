//! Unusual vectors: they are indexed and found like others, as far as f32 distinguishes them.

use super::*;
use crate::distance;
use crate::test_data::{gaussian, phrases, variations};

const METRICS: [Metric; 4] = [Metric::L2, Metric::InnerProduct, Metric::Cosine, Metric::L1];

/// The vectors that the access method gives the index: under cosine unit vectors, without zero
/// vectors.
fn indexed(metric: Metric, vectors: &[Vec<f32>]) -> Vec<Vec<f32>> {
    let mut vectors = vectors.to_vec();
    if metric == Metric::Cosine {
        vectors.retain_mut(|vector| distance::normalize(vector) > 0.0);
    }
    vectors
}

/// Least recall at ef_search 40, and at 400.
type Floors = (f64, f64);

const ORDINARY: Floors = (0.9, 0.99);

/// Checks an index without a centroid, and one with it if builds have one.
fn check(name: &str, metric: Metric, base: &[Vec<f32>], queries: &[Vec<f32>], floors: Floors) {
    check_with(name, metric, base, queries, [floors; 2]);
}

/// The floors are for an index without a centroid, and with it.
fn check_with(name: &str, metric: Metric, base: &[Vec<f32>], queries: &[Vec<f32>], floors: [Floors; 2]) {
    let (base, queries) = (indexed(metric, base), indexed(metric, queries));
    check_around(Vec::new(), name, metric, &base, &queries, floors[0]);
    let centroid = centroid_of(metric, &base[..base.len().min(1024)]);
    if !centroid.is_empty() {
        check_around(
            centroid,
            &format!("{name}, centered"),
            metric,
            &base,
            &queries,
            floors[1],
        );
    }
}

/// Builds an index of most vectors and inserts the others; checks that scans return every row once,
/// and that the nearest are the rows of an exact search, where there is an order: ties count as
/// hits.
fn check_around(
    centroid: Vec<f32>,
    name: &str,
    metric: Metric,
    base: &[Vec<f32>],
    queries: &[Vec<f32>],
    floors: Floors,
) {
    let name = format!("{name}, {metric:?}, {} dimensions", base[0].len());
    let (store, built) = (store(), base.len() * 9 / 10);
    let graph = build_around(centroid, &mut Inserter::of_build(), &store, metric, &base[..built]);
    reachability::reconnect(&graph, &mut Inserter::default(), MEMORY).unwrap();
    let mut inserter = Inserter::default();
    for (row, vector) in base.iter().enumerate().skip(built) {
        insert::insert(&graph, &mut inserter, vector, tid(row)).unwrap();
    }
    let rows: HashSet<usize> = (0..base.len()).collect();
    for query in [&queries[0], &base[0], &vec![0.0; base[0].len()]] {
        let found = first(&graph, query, usize::MAX, limits(40));
        assert_eq!(found.len(), base.len(), "{name}");
        assert_eq!(found.into_iter().collect::<HashSet<_>>(), rows, "{name}");
    }
    let narrow = recall(&graph, base, &rows, queries, 40);
    let wide = recall(&graph, base, &rows, queries, 400);
    assert!(
        narrow >= floors.0 && wide >= floors.1,
        "{name}: {narrow} at 40, {wide} at 400"
    );
}

fn scaled(vectors: &[Vec<f32>], factor: impl Fn(usize) -> f32) -> Vec<Vec<f32>> {
    let each = vectors.iter().enumerate();
    each.map(|(i, vector)| {
        vector
            .iter()
            .map(|v| (v * factor(i)).clamp(f32::MIN, f32::MAX))
            .collect()
    })
    .collect()
}

#[test]
fn huge_and_tiny_numbers() {
    for dimensions in [3, 50, 100] {
        let vectors = variations(1050, dimensions);
        // Longer vectors are refused if they would be quantized, and shorter ones vanish then.
        let (greatest, least) = if dimensions <= 64 {
            (f32::MAX, 1e-42)
        } else {
            (1e36, 1e-36)
        };
        for factor in [greatest, 1e30, 1e18, 1e-15, 1e-30, least] {
            let vectors = scaled(&vectors, |_| factor);
            let (base, queries) = vectors.split_at(1000);
            for metric in METRICS {
                let floors = match metric {
                    Metric::L1 | Metric::Cosine => ORDINARY,
                    // Nor do lengths of codes tell which vectors are near when a graph is made.
                    _ if factor == f32::MAX => (0.15, 0.65),
                    // The query's table has no steps as small as these.
                    Metric::InnerProduct if factor == 1e-36 => (0.7, 0.9),
                    _ => ORDINARY,
                };
                check(&format!("times {factor:e}"), metric, base, queries, floors);
            }
        }
    }
}

#[test]
fn numbers_of_all_magnitudes_together() {
    for dimensions in [3, 50, 100] {
        let vectors = variations(1050, dimensions);
        let vectors = scaled(&vectors, |i| [1e30, 1.0, 1e-30, 0.0, 1e15][i % 5]);
        let (base, queries) = vectors.split_at(1000);
        for metric in METRICS {
            // The large ones are far from all vectors, and all vectors from them: few links lead
            // from one kind to the other.
            let floors = match metric {
                Metric::InnerProduct => (0.4, 0.7),
                Metric::L1 => (0.6, 0.85),
                Metric::L2 => (0.85, 0.95),
                _ => ORDINARY,
            };
            check("mixed", metric, base, queries, floors);
        }
    }
}

#[test]
fn constant_and_zero_components() {
    for dimensions in [1, 3, 50, 100] {
        let values = gaussian(1050, 1, 9);
        let constant: Vec<_> = values.iter().map(|value| vec![value[0]; dimensions]).collect();
        let single: Vec<_> = values
            .iter()
            .enumerate()
            .map(|(i, value)| {
                let mut vector = vec![0.0; dimensions];
                vector[i % dimensions] = value[0];
                vector
            })
            .collect();
        let mut zero = variations(1050, dimensions);
        zero.iter_mut().step_by(3).for_each(|vector| vector.fill(0.0));
        for metric in METRICS {
            check("constant", metric, &constant[..1000], &constant[1000..], ORDINARY);
            // Every vector is nearer to the origin than to vectors on another axis.
            check("one component", metric, &single[..1000], &single[1000..], (0.7, 0.93));
            check("a third zero", metric, &zero[..1000], &zero[1000..], ORDINARY);
        }
    }
}

#[test]
fn few_dimensions() {
    for dimensions in [1, 2, 3] {
        let vectors = variations(3050, dimensions);
        let (base, queries) = vectors.split_at(3000);
        for metric in METRICS {
            check("few dimensions", metric, base, queries, ORDINARY);
        }
    }
}

#[test]
fn duplicates_by_the_thousand_beside_others() {
    for dimensions in [50, 100] {
        let mut vectors = variations(1050, dimensions);
        let queries = vectors.split_off(1000);
        for original in [17, 400, 801] {
            let copy = vectors[original].clone();
            vectors.extend(std::iter::repeat_n(copy, 2000));
        }
        for metric in METRICS {
            check("duplicates", metric, &vectors, &queries, ORDINARY);
        }
    }
}

#[test]
fn widely_spread_lengths() {
    for dimensions in [50, 384] {
        let vectors = variations(2050, dimensions);
        let lengths = gaussian(2050, 1, 14);
        for spread in [1.0, 4.0] {
            let vectors = scaled(&vectors, |i| (spread * lengths[i][0]).exp());
            let (base, queries) = vectors.split_at(2000);
            for metric in METRICS {
                // With lengths from 1e-6 to 1e6 the answer to every query is the same few rows, to
                // which few others link.
                let spread_out = metric == Metric::InnerProduct && spread > 1.0;
                let floors = if spread_out { (0.9, 0.96) } else { ORDINARY };
                check(&format!("lengths exp({spread} g)"), metric, base, queries, floors);
            }
        }
    }
}

#[test]
fn a_large_common_offset() {
    // Components differ by about 0.14: offsets of 10 and 100 times as much.
    for dimensions in [3, 50, 384] {
        for offset in [1.4, 14.0] {
            let mut vectors = variations(1050, dimensions);
            vectors.iter_mut().flatten().for_each(|value| *value += offset);
            let (base, queries) = vectors.split_at(1000);
            assert!(!centroid_of(Metric::L2, base).is_empty());
            for metric in METRICS {
                // Without a centroid 4,096 steps span the offset too, so that fewer are left for
                // the spread around it.
                let floors = if offset > 10.0 { (0.9, 0.95) } else { ORDINARY };
                check_with(&format!("offset {offset}"), metric, base, queries, [floors, ORDINARY]);
            }
        }
    }
}

#[test]
fn a_large_common_offset_of_huge_and_tiny_numbers() {
    let mut vectors = variations(1050, 100);
    vectors.iter_mut().flatten().for_each(|value| *value += 1.4);
    for factor in [1e30, 1e15, 1e-15, 1e-30] {
        let vectors = scaled(&vectors, |_| factor);
        let (base, queries) = vectors.split_at(1000);
        assert!(!centroid_of(Metric::L2, base).is_empty());
        check(
            &format!("offset, times {factor:e}"),
            Metric::L2,
            base,
            queries,
            ORDINARY,
        );
    }
}

/// Among distant vectors a few are neighbors of many, so that few survive the heuristic.
#[test]
fn hubs() {
    let vectors = phrases(1050, 384);
    let (base, queries) = vectors.split_at(1000);
    for metric in METRICS {
        check("hubs", metric, base, queries, (0.85, 0.97));
    }
}
