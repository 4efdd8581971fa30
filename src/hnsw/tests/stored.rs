//! Values that are not dense vectors: bits and sparse vectors, with and without overflow records.

use super::long::overflows;
use super::*;
use crate::hnsw::indexed_value::Value;
use crate::storage::layout::Encoding;
use crate::storage::sparse;
use crate::test_data::phrases;

pub(super) fn parameters_of(element: Element, metric: Metric, dimensions: usize) -> Parameters {
    let encoding = match element {
        Element::Bit => Encoding::Bits,
        _ => Encoding::Sparse,
    };
    Parameters {
        shape: Layout::plain(dimensions, 16, encoding, 0).unwrap().shape,
        element,
        metric,
        ..parameters(metric)
    }
}

/// The signs of vectors as a `bit` of PostgreSQL: the first in the highest bit of the first byte.
fn signs(vectors: &[Vec<f32>]) -> Vec<Vec<u8>> {
    let byte = |values: &[f32]| {
        (0..8).fold(0, |byte, i| {
            byte << 1 | u8::from(values.get(i).is_some_and(|v| *v > 0.0))
        })
    };
    vectors
        .iter()
        .map(|vector| vector.chunks(8).map(byte).collect())
        .collect()
}

/// The larger half of the components of vectors, with `gap` others between them: their number
/// differs between vectors.
fn larger(vectors: &[Vec<f32>], gap: i32, most: impl Fn(usize) -> usize) -> Vec<Vec<u8>> {
    let of = |(i, vector): (usize, &Vec<f32>)| {
        let typical = vector.iter().map(|v| v.abs()).sum::<f32>() / vector.len() as f32;
        let large = (0i32..).zip(vector.iter().copied()).filter(|(_, v)| v.abs() > typical);
        let components: Vec<_> = large.map(|(i, v)| (i * (gap + 1), v)).take(most(i)).collect();
        sparse::store(components.into_iter())
    };
    vectors.iter().enumerate().map(of).collect()
}

fn overflows_of(graph: &Graph<'_, MemoryStore>, stored: &[Vec<u8>]) -> usize {
    let layout = &graph.space.layout;
    let beyond = |stored: &Vec<u8>| stored.len().saturating_sub(layout.inline_len);
    stored
        .iter()
        .map(|stored| beyond(stored).div_ceil(layout.overflow_len))
        .sum()
}

pub(super) fn find(graph: &Graph<'_, MemoryStore>, query: &[u8], count: usize, width: usize) -> Vec<usize> {
    let mut scan = Scan::new(graph.space.query(Value::Stored(query)), limits(width));
    let rows = std::iter::from_fn(|| scan.next(graph).unwrap());
    rows.take(count).map(row).collect()
}

/// The share of the ten nearest that a scan finds, by a distance of the test's own.
fn recall_of(
    graph: &Graph<'_, MemoryStore>,
    base: &[Vec<u8>],
    rows: &HashSet<usize>,
    queries: &[Vec<u8>],
    distance: impl Fn(&[u8], &[u8]) -> f32,
) -> f64 {
    let mut hits = 0;
    for query in queries {
        let mut distances: Vec<_> = rows.iter().map(|&row| distance(query, &base[row])).collect();
        distances.sort_by(f32::total_cmp);
        let found = find(graph, query, 10, 40);
        assert!(found.len() == 10 && found.iter().all(|row| rows.contains(row)));
        hits += found
            .iter()
            .filter(|&&row| distance(query, &base[row]) <= distances[9] + 1e-6)
            .count();
    }
    hits as f64 / (10 * queries.len()) as f64
}

/// Inserts, searches, removes half of the rows and inserts them again, and runs the checker.
fn live_through(parameters: Parameters, values: &[Vec<u8>], distance: impl Fn(&[u8], &[u8]) -> f32) {
    let name = format!("{:?}, {:?}", parameters.shape, parameters.metric);
    let (base, queries) = values.split_at(values.len() - 20);
    let store = store();
    let graph = Graph::create(&store, parameters, Vec::new()).unwrap();
    let insert = |rows: &mut dyn Iterator<Item = usize>| {
        let mut inserter = Inserter::default();
        rows.for_each(|row| insert::insert(&graph, &mut inserter, Value::Stored(&base[row]), tid(row)).unwrap());
        reachability::reconnect(&graph, &mut inserter, MEMORY).unwrap();
    };
    insert(&mut (0..base.len()));
    let all: HashSet<_> = (0..base.len()).collect();
    let look = |rows: &HashSet<usize>| {
        let recall = recall_of(&graph, base, rows, queries, &distance);
        assert!(recall >= 0.9, "{name}: {recall}");
        let found: HashSet<_> = find(&graph, &queries[0], usize::MAX, 40).into_iter().collect();
        assert_eq!(&found, rows, "{name}");
        let mut faults = Vec::new();
        check::check(&graph, &mut |fault| faults.push(fault)).unwrap();
        assert_eq!(faults, [], "{name}");
    };
    look(&all);
    assert_eq!(overflows(&graph), overflows_of(&graph, base), "{name}");
    let gone: HashSet<usize> = all.iter().copied().filter(|row| row % 2 == 0).collect();
    bulk_delete::remove(&graph, MEMORY, each(|tid| gone.contains(&row(tid)))).unwrap();
    look(&all.difference(&gone).copied().collect());
    insert(&mut gone.iter().copied());
    look(&all);
    assert_eq!(overflows(&graph), overflows_of(&graph, base), "{name}");
}

#[test]
fn bits_live_and_die() {
    let hamming = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>() as f32;
    let jaccard = |a: &[u8], b: &[u8]| {
        let count = |f: fn(u8, u8) -> u8| a.iter().zip(b).map(|(a, b)| f(*a, *b).count_ones()).sum::<u32>() as f32;
        1.0 - count(|a, b| a & b) / count(|a, b| a | b)
    };
    for (dimensions, count) in [(100, 600), (1001, 600), (64_000, 120)] {
        let values = signs(&phrases(count, dimensions));
        live_through(
            parameters_of(Element::Bit, Metric::Hamming, dimensions),
            &values,
            hamming,
        );
        live_through(
            parameters_of(Element::Bit, Metric::Jaccard, dimensions),
            &values,
            jaccard,
        );
    }
}

#[test]
fn sparse_vectors_live_and_die() {
    let dense = |stored: &[u8]| sparse::components(stored).collect::<std::collections::HashMap<_, _>>();
    let l2 = |a: &[u8], b: &[u8]| {
        let (a, b) = (dense(a), dense(b));
        let in_a = a
            .iter()
            .map(|(i, v)| (v - b.get(i).unwrap_or(&0.0)).powi(2))
            .sum::<f32>();
        in_a + b
            .iter()
            .filter(|(i, _)| !a.contains_key(i))
            .map(|(_, v)| v * v)
            .sum::<f32>()
    };
    // Some without any component, some in the record alone, some with overflow records.
    for (dimensions, gap, count, most) in [(60, 0, 600, 60), (1000, 7, 400, 1000), (12_000, 80_000, 150, 12_000)] {
        let values = larger(&phrases(count, dimensions), gap, |i| most / (1 + i % 3));
        let dimensions = dimensions * (gap as usize + 1);
        live_through(parameters_of(Element::Sparsevec, Metric::L2, dimensions), &values, l2);
    }
}

#[test]
fn equal_sparse_vectors_are_one_node_and_others_are_not() {
    let values = larger(&phrases(40, 3000), 9, |_| usize::MAX);
    let store = store();
    let graph = Graph::create(
        &store,
        parameters_of(Element::Sparsevec, Metric::L1, 30_000),
        Vec::new(),
    )
    .unwrap();
    let mut inserter = Inserter::default();
    let components: Vec<_> = sparse::components(&values[7]).collect();
    for (i, value) in values.iter().chain([&values[7], &values[7]]).enumerate() {
        insert::insert(&graph, &mut inserter, Value::Stored(value), tid(i)).unwrap();
    }
    let cut = sparse::store(components[..components.len() - 1].iter().copied());
    insert::insert(&graph, &mut inserter, Value::Stored(&cut), tid(42)).unwrap();
    let nearest: HashSet<_> = find(&graph, &values[7], 3, 40).into_iter().collect();
    assert_eq!(nearest, HashSet::from([7, 40, 41]));
    assert_eq!(find(&graph, &cut, 1, 40), [42]);
    assert_eq!(
        overflows(&graph),
        overflows_of(&graph, &values) + overflows_of(&graph, &[cut])
    );
}
