//! Vectors that fill a page, and longer ones, which continue in overflow records.

use super::*;
use crate::storage::record::State;
use crate::test_data::variations;

/// Slots in use as overflow records.
pub(super) fn overflows(graph: &Graph<'_, MemoryStore>) -> usize {
    let mut count = 0;
    for block in 1..graph.store.blocks().unwrap() {
        let here = graph.store.read(block, |page| {
            let page = NodePage::new(page, block, &graph.space.layout)?;
            let states = page.records().map(|record| record.map(|(_, record)| record.state()));
            states.collect::<Result<Vec<_>>>()
        });
        count += here
            .unwrap()
            .into_iter()
            .filter(|state| *state == State::Overflow)
            .count();
    }
    count
}

fn insert(graph: &Graph<'_, MemoryStore>, vectors: &[Vec<f32>], rows: &HashSet<usize>) {
    let mut inserter = Inserter::default();
    let mut rows: Vec<_> = rows.iter().copied().collect();
    rows.sort_unstable();
    for row in rows {
        insert::insert(graph, &mut inserter, &vectors[row], tid(row)).unwrap();
    }
}

/// Inserts, searches, removes half of the rows and inserts them again, twice; the second time takes
/// no more space than the first.
fn live_through(metric: Metric, dimensions: usize, count: usize) {
    let name = format!("{metric:?}, {dimensions} dimensions");
    let vectors = variations(count + 20, dimensions);
    let (base, queries) = vectors.split_at(count);
    let store = store();
    let graph = build(&store, metric, base);
    reachability::reconnect(&graph, &mut Inserter::default(), MEMORY).unwrap();
    let (rows, nodes_have) = ((0..count).collect::<HashSet<_>>(), graph.space.layout.overflows);
    let whole = |rows: &HashSet<usize>| {
        let found = first(&graph, &queries[0], usize::MAX, limits(40));
        assert_eq!(found.len(), rows.len(), "{name}");
        assert_eq!(&found.into_iter().collect::<HashSet<_>>(), rows, "{name}");
        let (narrow, wide) = (
            recall(&graph, base, rows, queries, 40),
            recall(&graph, base, rows, queries, 400),
        );
        // Under inner product some rows are near only to others like them.
        let floor = if metric == Metric::InnerProduct { 0.95 } else { 0.99 };
        assert!(narrow >= 0.9 && wide >= floor, "{name}: {narrow} at 40, {wide} at 400");
        assert_eq!(overflows(&graph), rows.len() * nodes_have, "{name}: overflows");
    };
    whole(&rows);
    let blocks = store.blocks().unwrap();
    for round in 0..2 {
        let gone: HashSet<usize> = (0..count).filter(|row| row % 2 == round).collect();
        let removal = bulk_delete::remove(&graph, MEMORY, each(|tid| gone.contains(&row(tid)))).unwrap();
        assert_eq!(removal.nodes_removed, gone.len() as u64, "{name}");
        whole(&rows.difference(&gone).copied().collect());
        insert(&graph, base, &gone);
        whole(&rows);
        // Levels follow from the TIDs: there are as many records as before.
        assert_eq!(store.blocks().unwrap(), blocks, "{name}");
    }
}

#[test]
fn vectors_of_any_length_live_and_die_in_a_coded_index() {
    for (dimensions, count) in [
        (65, 400),
        (200, 400),
        (800, 400),
        (2000, 300),
        (3072, 300),
        (4096, 300),
        (4500, 300),
    ] {
        for metric in [Metric::L2, Metric::InnerProduct] {
            live_through(metric, dimensions, count);
        }
    }
}

#[test]
fn vectors_with_overflows_live_and_die_in_a_coded_index() {
    for (dimensions, count) in [(7000, 300), (16_000, 150)] {
        live_through(Metric::L2, dimensions, count);
        live_through(Metric::InnerProduct, dimensions, count);
    }
}

#[test]
fn vectors_with_overflows_live_and_die_in_a_plain_index() {
    for (dimensions, count) in [(1900, 300), (3000, 300), (16_000, 150)] {
        live_through(Metric::L1, dimensions, count);
    }
}

#[test]
fn equal_long_vectors_are_one_node() {
    for metric in [Metric::L2, Metric::L1] {
        let mut vectors = variations(60, 6000);
        vectors.extend(std::iter::repeat_n(vectors[7].clone(), 3000));
        // Equal except for its end, which is in the last overflow record.
        let mut other = vectors[7].clone();
        other[5999] += 1.0;
        vectors.push(other.clone());
        let store = store();
        let graph = build(&store, metric, &vectors);
        assert_eq!(overflows(&graph), 61 * graph.space.layout.overflows, "{metric:?}");
        assert_eq!(first(&graph, &other, 1, limits(40)), [3060]);
        let equal: HashSet<usize> = first(&graph, &vectors[7], 3001, limits(40)).into_iter().collect();
        assert_eq!(equal, (60..3060).chain([7]).collect());
        bulk_delete::remove(&graph, MEMORY, each(|tid| equal.contains(&row(tid)))).unwrap();
        assert_eq!(overflows(&graph), 60 * graph.space.layout.overflows, "{metric:?}");
        assert_eq!(first(&graph, &vectors[7], 1, limits(40)), [3060]);
    }
}

#[test]
fn overflows_that_a_crash_left_behind_are_freed() {
    let vectors = variations(40, 6000);
    let store = store();
    let graph = build(&store, Metric::L2, &vectors);
    let (of_one, blocks) = (graph.space.layout.overflows, store.blocks().unwrap());
    // A node without its level-0 record, and one whose insert ended before it referred to its
    // overflow records.
    let lost = [3, 4].map(|row| {
        let mut search = crate::hnsw::search::Search::new();
        search::search(&graph, &mut search, &graph.space.query(&vectors[row]), 40, 40).unwrap();
        search.beam()[0].link
    });
    graph
        .write(lost[0].node, |nodes, slot| {
            nodes.free(slot)?;
            Ok(Edit::Changed(()))
        })
        .unwrap();
    graph
        .write(lost[1].node, |nodes, slot| {
            nodes
                .record(slot)?
                .set_overflows(std::iter::repeat_n(NodeRef::NONE, of_one));
            Ok(Edit::Changed(()))
        })
        .unwrap();
    let left = |expected: &[usize]| {
        let found: HashSet<usize> = first(&graph, &vectors[0], usize::MAX, limits(40)).into_iter().collect();
        assert_eq!(found, expected.iter().copied().collect());
    };
    bulk_delete::remove(&graph, MEMORY, each(|_| false)).unwrap();
    assert_eq!(overflows(&graph), 39 * of_one);
    // The other node has a row, which is dead because its transaction ended with the server.
    bulk_delete::remove(&graph, MEMORY, each(|tid| row(tid) == 4)).unwrap();
    assert_eq!(overflows(&graph), 38 * of_one);
    left(&(0..40).filter(|row| ![3, 4].contains(row)).collect::<Vec<_>>());
    insert(&graph, &vectors, &HashSet::from([3, 4]));
    left(&(0..40).collect::<Vec<_>>());
    assert_eq!(store.blocks().unwrap(), blocks);
}
