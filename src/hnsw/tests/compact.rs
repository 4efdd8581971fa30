//! Indexes of compact records: half as many links, vectors in 8 bits a coordinate, and codes
//! without lengths.

use super::checker::faults;
use super::*;
use crate::hnsw::distance_bounds::Keys;
use crate::storage::layout_plan::Storage;
use crate::test_data::variations;

const METRICS: [Metric; 3] = [Metric::L2, Metric::Cosine, Metric::InnerProduct];

fn create<'s>(
    store: &'s MemoryStore,
    metric: Metric,
    dimensions: usize,
    m: usize,
    centroid: Vec<f32>,
) -> Graph<'s, MemoryStore> {
    let mut parameters = parameters_of(metric, dimensions);
    parameters.shape = Layout::plan_as(Storage::Compact, dimensions, m, metric, 0)
        .unwrap()
        .shape;
    assert!(parameters.shape.is_compact());
    Graph::create(store, parameters, centroid).unwrap()
}

fn filled<'s>(store: &'s MemoryStore, metric: Metric, vectors: &[Vec<f32>]) -> Graph<'s, MemoryStore> {
    let graph = create(store, metric, vectors[0].len(), 16, centroid_of(metric, vectors));
    fill(&graph, &mut Inserter::default(), vectors);
    graph
}

#[test]
fn the_nearest_are_found() {
    for (dimensions, least) in [(50, 0.93), (200, 0.95)] {
        let vectors = unit(variations(4100, dimensions));
        let (base, queries) = vectors.split_at(4000);
        let rows = (0..base.len()).collect();
        for metric in METRICS {
            let (compact, full) = (store(), store());
            let graph = filled(&compact, metric, base);
            let found = recall(&graph, base, &rows, queries, 40);
            assert!(found >= least, "{metric:?}, {dimensions} dimensions: {found}");
            build(&full, metric, base);
            let pages = [&compact, &full].map(|store| store.blocks().unwrap());
            assert!(3 * pages[0] < 2 * pages[1], "{dimensions} dimensions: {pages:?}");
        }
    }
}

#[test]
fn every_row_is_returned_once_also_after_vacuum() {
    let vectors = unit(variations(2100, 200));
    let (base, queries) = vectors.split_at(2000);
    for metric in METRICS {
        let store = store();
        let graph = filled(&store, metric, base);
        let mut inserter = Inserter::default();
        for i in 0..300 {
            insert::insert(&graph, &mut inserter, &base[3], tid(100_000 + i)).unwrap();
        }
        let all = first(&graph, &queries[0], usize::MAX, limits(40));
        assert_eq!(all.len(), base.len() + 300);
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        assert_eq!(faults(&graph).first(), None, "{metric:?}");

        let rows: HashSet<usize> = (0..base.len()).filter(|row| row % 2 == 0).collect();
        bulk_delete::remove(&graph, MEMORY, each(|tid| !rows.contains(&row(tid)))).unwrap();
        assert_eq!(unreachable(&graph), 0);
        assert_eq!(faults(&graph).first(), None, "{metric:?}");
        let left: HashSet<_> = first(&graph, &queries[0], usize::MAX, limits(40)).into_iter().collect();
        assert_eq!(left, rows);
        let found = recall(&graph, base, &rows, queries, 40);
        assert!(found >= 0.95, "{metric:?}: {found}");
        for &row in rows.iter().take(200) {
            insert::insert(&graph, &mut inserter, &base[row + 1], tid(row + 1)).unwrap();
        }
        assert_eq!(faults(&graph).first(), None, "{metric:?}");
    }
}

#[test]
fn rows_of_vectors_nearer_than_a_step_are_all_returned() {
    let mut vectors = unit(variations(500, 200));
    let near: Vec<Vec<f32>> = (0..200)
        .map(|i| {
            let mut near = vectors[7].clone();
            near[i] += 1e-6;
            near
        })
        .collect();
    vectors.extend(near);
    let store = store();
    let graph = filled(&store, Metric::L2, &vectors);
    let nearest: HashSet<_> = first(&graph, &vectors[7], 201, limits(300)).into_iter().collect();
    assert_eq!(nearest, (500..700).chain([7]).collect());
    assert_eq!(faults(&graph).first(), None);
}

#[test]
fn rows_within_a_radius_are_not_beyond_its_key() {
    let vectors = unit(variations(1500, 200));
    for metric in [Metric::L2, Metric::Cosine] {
        let store = store();
        let graph = filled(&store, metric, &vectors);
        for (i, query) in vectors.iter().enumerate().step_by(150) {
            let all = exact(metric, &vectors, 0..vectors.len(), query);
            // The operator's distances.
            let of_sum = |sum: f64| if metric == Metric::L2 { sum.sqrt() } else { sum / 2.0 };
            let radius = of_sum(all[30].0);
            let space = graph.space();
            let beyond = space.max_key_within(&space.query(query), radius);
            let within = first(&graph, query, usize::MAX, Limits { beyond, ..limits(100) });
            let within: HashSet<_> = within.into_iter().collect();
            assert!(within.len() < vectors.len() / 2);
            let missing = all[..31].iter().filter(|(_, row)| !within.contains(row)).count();
            assert!(missing <= 1, "{metric:?}, query {i}: {missing}");
        }
    }
}

#[test]
fn least_distances_are_at_most_the_true_ones_and_in_order() {
    let vectors = unit(variations(1500, 200));
    for metric in METRICS {
        let store = store();
        let graph = filled(&store, metric, &vectors);
        let limits = limits(40).by_passes(&graph).unwrap();
        assert_eq!(limits.keys, Keys::Least);
        let mut scan = Scan::new(graph.space.query(&vectors[5]), limits);
        let (mut last, mut rows) = (f32::NEG_INFINITY, 0);
        while let Some(tid) = scan.next(&graph).unwrap() {
            let (least, _) = scan.returned().unwrap();
            let sum = exact_sum(metric, &vectors[5], &vectors[row(tid)]);
            let distance = match metric {
                Metric::L2 => sum.sqrt(),
                Metric::Cosine => sum / 2.0,
                _ => sum,
            };
            assert!(f64::from(least) <= distance, "{metric:?}: {least} of {distance}");
            assert!(least >= last, "{metric:?}");
            (last, rows) = (least, rows + 1);
        }
        assert_eq!(rows, vectors.len());
    }
}

#[test]
fn clusters_much_narrower_than_their_distance_are_told_apart() {
    let centers = crate::test_data::gaussian(50, 96, 1);
    let offsets = crate::test_data::gaussian(5000, 96, 2);
    let vectors: Vec<Vec<f32>> = offsets
        .iter()
        .enumerate()
        .map(|(i, offset)| centers[i % 50].iter().zip(offset).map(|(c, o)| c + 0.05 * o).collect())
        .collect();
    let (base, queries) = vectors.split_at(4900);
    let rows = (0..base.len()).collect();
    let store = store();
    let graph = filled(&store, Metric::L2, base);
    let found = recall(&graph, base, &rows, queries, 100);
    assert!(found >= 0.85, "{found}");
}

#[test]
fn any_m_and_any_dimensions() {
    for (dimensions, m) in [(5, 2), (17, 8), (96, 24), (100, 33), (64, 100), (1600, 16), (9000, 16)] {
        let vectors = variations(if dimensions > 1000 { 60 } else { 400 }, dimensions);
        for metric in METRICS {
            let store = store();
            let graph = create(&store, metric, dimensions, m, Vec::new());
            let mut inserter = Inserter::default();
            for (i, vector) in vectors.iter().enumerate() {
                insert::insert(&graph, &mut inserter, vector, tid(i)).unwrap();
            }
            reachability::reconnect(&graph, &mut inserter, MEMORY).unwrap();
            let found: HashSet<_> = first(&graph, &vectors[0], usize::MAX, limits(20)).into_iter().collect();
            assert_eq!(found.len(), vectors.len(), "{metric:?}, {dimensions} dimensions, m {m}");
            assert_eq!(
                faults(&graph).first(),
                None,
                "{metric:?}, {dimensions} dimensions, m {m}"
            );
        }
    }
}
