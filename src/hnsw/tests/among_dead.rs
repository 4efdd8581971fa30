//! Inserts among dead nodes, and among many nodes at one distance: none reads the whole index.

use super::batch::node_count;
use super::interrupted::{accesses, mark_dead};
use super::stored::parameters_of;
use super::*;
use crate::hnsw::indexed_value::Value;

const ROWS: usize = 12_000;

/// Most reads of one insert among dead nodes: a search of its surroundings, and a walk, twice each.
/// A plain search reads every record that it meets.
fn most_reads(metric: Metric) -> usize {
    if metric == Metric::L1 { 20_000 } else { 6_000 }
}

/// Builds an index of rows of which some live, inserts the others again, and checks the reads and
/// the rows found afterwards.
fn insert_among_dead(metric: Metric, lives: impl Fn(usize) -> bool) {
    let vectors = words(ROWS);
    let store = store();
    let graph = build(&store, metric, &vectors);
    mark_dead(&graph, |row| !lives(row));
    let mut expected: HashSet<usize> = (0..ROWS).filter(|&row| lives(row)).collect();
    let mut inserter = Inserter::default();
    let mut all = 0;
    let new: Vec<usize> = (0..ROWS).step_by(60).filter(|&row| !lives(row)).collect();
    for &row in &new {
        let (reads, _) = accesses(&store, |graph| {
            insert::insert(graph, &mut inserter, &vectors[row], tid(ROWS + row)).unwrap();
        });
        assert!(reads < most_reads(metric), "{metric:?}: {reads} reads for row {row}");
        all += reads;
        // The dead nodes crowd live ones out of a plain beam: these are found when the dead ones
        // are gone, and by a scan of everything.
        if metric != Metric::L1 {
            assert_eq!(first(&graph, &vectors[row], 1, limits(40)), [ROWS + row], "{metric:?}");
        }
        expected.insert(ROWS + row);
    }
    assert!(
        all / new.len() < most_reads(metric) / 2,
        "{metric:?}: {} reads a row",
        all / new.len()
    );
    let found: HashSet<_> = first(&graph, &vectors[0], usize::MAX, limits(40)).into_iter().collect();
    assert_eq!(found, expected, "{metric:?}");
    // And when VACUUM continues.
    bulk_delete::remove(&graph, MEMORY, each(|_| false)).unwrap();
    let queries: Vec<_> = expected.iter().map(|row| vectors[row % ROWS].clone()).collect();
    let of_rows: Vec<_> = vectors.iter().chain(&vectors).cloned().collect();
    let recall = recall(&graph, &of_rows, &expected, &queries, 40);
    assert!(recall > 0.995, "{metric:?}: {recall}");
    assert_eq!(unreachable(&graph), 0, "{metric:?}");
}

#[test]
fn an_insert_where_everything_is_dead_does_not_walk_over_all_of_it() {
    for metric in [Metric::L2, Metric::L1] {
        insert_among_dead(metric, |_| false);
    }
}

#[test]
fn inserts_where_hardly_anything_lives_do_not_walk_over_the_dead() {
    for metric in [Metric::L2, Metric::L1] {
        insert_among_dead(metric, |row| row % 1000 == 17);
    }
}

/// Inserts a value many times among others; returns the number of page locks of one insert, and the
/// number of nodes with the value.
fn insert_often(parameters: Parameters, others: &[impl AsRef<[u8]>], value: &[u8]) -> (usize, usize) {
    let store = store();
    let graph = Graph::create(&store, parameters, Vec::new()).unwrap();
    let mut inserter = Inserter::default();
    let mut stored = vec![0; graph.space.layout.inline_len];
    let (mut writes, times) = (0, 200);
    for (row, other) in others.iter().enumerate() {
        stored[..other.as_ref().len()].copy_from_slice(other.as_ref());
        insert::insert_stored(&graph, &mut inserter, &stored, tid(row).into()).unwrap();
        if row + times >= others.len() {
            stored.fill(0);
            stored[..value.len()].copy_from_slice(value);
            writes += accesses(&store, |graph| {
                insert::insert_stored(graph, &mut inserter, &stored, tid(others.len() + row).into()).unwrap();
            })
            .1;
        }
    }
    let found: HashSet<_> = first_stored(&graph, value).into_iter().collect();
    assert_eq!(found.len(), others.len() + times);
    (writes / times, node_count(&graph) - others.len())
}

/// All rows in order of distance from a value.
fn first_stored(graph: &Graph<'_, MemoryStore>, value: &[u8]) -> Vec<usize> {
    let query = match graph.space.layout.is_coded() {
        true => graph
            .space
            .query(&vec![0.0; graph.space.parameters.shape.dimensions as usize]),
        false => graph.space.query(Value::Stored(value)),
    };
    let mut scan = Scan::new(query, limits(40));
    std::iter::from_fn(|| scan.next(graph).unwrap()).map(row).collect()
}

/// Every vector is as far from a zero vector as the zero vector from itself.
#[test]
fn equal_zero_vectors_under_inner_product_share_nodes() {
    let vectors = words(2000);
    let bytes: Vec<Vec<u8>> = vectors
        .iter()
        .map(|vector| vector.iter().flat_map(|v| v.to_ne_bytes()).collect())
        .collect();
    let zero = vec![0; bytes[0].len()];
    let (writes, nodes) = insert_often(parameters(Metric::InnerProduct), &bytes, &zero);
    assert!(writes < 20 && nodes < 50, "{writes} changes a row, {nodes} nodes");
}

/// The Jaccard distance of a value without bits is 1 from every value.
#[test]
fn equal_values_without_bits_under_jaccard_share_nodes() {
    let values: Vec<[u8; 8]> = crate::test_data::gaussian(2000, 64, 3)
        .iter()
        .map(|vector| {
            let byte = |i: usize| (0..8).fold(0, |byte, j| byte << 1 | u8::from(vector[8 * i + j] > 0.0));
            std::array::from_fn(byte)
        })
        .collect();
    let (writes, nodes) = insert_often(parameters_of(Element::Bit, Metric::Jaccard, 64), &values, &[0; 8]);
    assert!(writes < 20 && nodes < 20, "{writes} changes a row, {nodes} nodes");
}
