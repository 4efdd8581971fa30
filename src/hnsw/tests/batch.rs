//! Rows inserted as a batch, staged rows, and rows marked as dead.

use super::interrupted::counted;
use super::*;
use crate::hnsw::insert::NewRow;
use crate::hnsw::scan::staged_merge::MergedScan;
use crate::hnsw::space::Point;
use crate::test_data::phrases;

/// The stored form of vectors.
pub(super) fn stored(graph: &Graph<'_, MemoryStore>, vectors: &[Vec<f32>]) -> Vec<Vec<u8>> {
    let mut point = Point::default();
    let each = vectors.iter().map(|vector| {
        graph.space.set_point(vector, &mut point);
        point.stored.clone()
    });
    each.collect()
}

/// The number of live nodes.
pub(super) fn node_count(graph: &Graph<'_, MemoryStore>) -> usize {
    let mut nodes = 0;
    for block in graph.node_blocks().unwrap() {
        graph.live_on(block, |_, _| nodes += 1).unwrap();
    }
    nodes
}

/// Builds an index of the first rows, and adds the others as one batch; returns the number of page
/// changes of the batch.
fn add_batch(store: &MemoryStore, metric: Metric, vectors: &[Vec<f32>], first: usize) -> usize {
    let graph = build(store, metric, &vectors[..first]);
    let stored = stored(&graph, vectors);
    let rows: Vec<_> = (first..vectors.len())
        .map(|row| (tid(row).into(), &stored[row][..]))
        .collect();
    counted(store, |graph| {
        insert::batch::insert(graph, &mut Inserter::default(), rows.into_iter()).unwrap();
    })
}

#[test]
fn a_batch_is_linked_as_well_as_rows_one_by_one() {
    let vectors = words(6100);
    let (base, queries) = vectors.split_at(6000);
    let rows = (0..base.len()).collect();
    for metric in [Metric::L2, Metric::InnerProduct, Metric::L1] {
        for first in [1, 1000, 5500] {
            let one_by_one = store();
            build(&one_by_one, metric, &base[..first]);
            let writes = counted(&one_by_one, |graph| {
                for (row, vector) in base.iter().enumerate().skip(first) {
                    insert::insert(graph, &mut Inserter::default(), vector, tid(row)).unwrap();
                }
            });
            let batch = store();
            let batch_writes = add_batch(&batch, metric, base, first);
            let [one_by_one, batch] = [&one_by_one, &batch].map(|store| Graph::open(store).unwrap());
            for width in [10, 40] {
                let [alone, together] = [&one_by_one, &batch].map(|graph| recall(graph, base, &rows, queries, width));
                assert!(
                    together >= alone - 0.01,
                    "{metric:?}, {first} rows before, width {width}: {together} instead of {alone}"
                );
            }
            let [alone, together] = [&one_by_one, &batch].map(unreachable);
            assert!(
                together <= alone,
                "{metric:?}, {first} rows before: {together} instead of {alone}"
            );
            if metric != Metric::L1 {
                assert!(2 * batch_writes < writes, "{batch_writes} and {writes} changes");
            }
        }
    }
}

#[test]
fn equal_vectors_of_a_batch_are_one_node() {
    let mut vectors = words(1500);
    let equal = vectors[700].clone();
    vectors.extend(std::iter::repeat_n(equal.clone(), 100));
    vectors.extend(
        words(1600)
            .split_off(1500)
            .into_iter()
            .flat_map(|word| [word.clone(), word]),
    );
    let store = store();
    add_batch(&store, Metric::L2, &vectors, 1500);
    let graph = Graph::open(&store).unwrap();
    let found = first(&graph, &equal, 101, limits(40));
    assert_eq!(
        found.into_iter().collect::<HashSet<_>>(),
        (1500..1600).chain([700]).collect()
    );
    assert_eq!(node_count(&graph), 1600);
}

#[test]
fn an_equal_vector_is_found_without_its_surroundings() {
    let vectors = words(3000);
    for metric in [Metric::L2, Metric::L1] {
        let store = store();
        let graph = build(&store, metric, &vectors);
        let mut inserter = Inserter::default();
        let (mut met, mut met_by_new) = (0, 0);
        for (row, vector) in vectors.iter().enumerate().take(300) {
            insert::insert(&graph, &mut inserter, vector, tid(3000 + row)).unwrap();
            met += inserter.search.met().len();
        }
        for (row, vector) in words(3300)[3000..].iter().enumerate() {
            insert::insert(&graph, &mut inserter, vector, tid(4000 + row)).unwrap();
            met_by_new += inserter.search.met().len();
        }
        assert!(3 * met < 2 * met_by_new, "{metric:?}: {met} and {met_by_new} records");
        for (row, vector) in vectors[..300].iter().enumerate() {
            let found = first(&graph, vector, 2, limits(40));
            assert_eq!(found.into_iter().collect::<HashSet<_>>(), [row, 3000 + row].into());
        }
    }
}

#[test]
fn rows_beside_the_graph_come_in_their_place_and_once() {
    let vectors = words(2000);
    for into_the_graph_after in [0, 5, 1500, usize::MAX] {
        let store = store();
        let graph = build(&store, Metric::L2, &vectors[..1500]);
        let stored = stored(&graph, &vectors);
        let query = graph.space.query(&vectors[1700]);
        let staged: Vec<_> = (1500..2000)
            .map(|row| (graph.space.whole_distance(&query, &stored[row]), tid(row)))
            .collect();
        let mut scan = MergedScan::new(Scan::new(query.clone(), limits(40)), staged).unwrap();
        let mut found = Vec::new();
        while let Some(tid) = scan.next(&graph).unwrap() {
            found.push(row(tid));
            assert_eq!(scan.returned().is_some(), row(tid) < 1500);
            if found.len() == into_the_graph_after {
                let rows: Vec<_> = (1500..2000)
                    .map(|row| (super::tid(row).into(), &stored[row][..]))
                    .collect();
                insert::batch::insert(&graph, &mut Inserter::default(), rows.into_iter()).unwrap();
            }
        }
        assert_eq!(found[0], 1700);
        let distances: Vec<_> = found
            .iter()
            .map(|&row| graph.space.whole_distance(&query, &stored[row]))
            .collect();
        // Late rows come last.
        assert!(distances[..1000].is_sorted());
        assert_eq!(found.len(), 2000);
        assert_eq!(found.into_iter().collect::<HashSet<_>>().len(), 2000);
    }
}

#[test]
fn rows_marked_as_dead_are_left_out_unless_they_are_asked_for() {
    let mut vectors = words(1000);
    vectors.extend(std::iter::repeat_n(vectors[3].clone(), 300)); // A node with extensions.
    let store = store();
    let graph = build(&store, Metric::L2, &vectors);
    let dead = |row: usize| row.is_multiple_of(3);
    let mut scan = Scan::new(graph.space.query(&vectors[5]), limits(40));
    let mut marked = Vec::new();
    while let Some(tid) = scan.next(&graph).unwrap() {
        let (_, returned) = scan.returned().unwrap();
        assert_eq!(returned.tid, tid);
        marked.extend(dead(row(tid)).then_some(returned));
    }
    heap_tids::kill(&graph, marked).unwrap();
    let all = |killed| first(&graph, &vectors[5], usize::MAX, Limits { killed, ..limits(40) });
    assert_eq!(all(true).len(), vectors.len());
    let alive: HashSet<_> = (0..vectors.len()).filter(|&row| !dead(row)).collect();
    assert_eq!(all(false).len(), alive.len());
    assert_eq!(all(false).into_iter().collect::<HashSet<_>>(), alive);
    let off = Limits {
        iteration: Iteration::Off,
        ..limits(40)
    };
    let found = first(&graph, &vectors[0], usize::MAX, off);
    let nodes: HashSet<_> = found.iter().map(|&row| if row < 1000 { row } else { 3 }).collect();
    assert_eq!(nodes.len(), 40, "they take nobody's place");
    // VACUUM finds them by their TIDs, marked or not.
    let removal = bulk_delete::remove(&graph, MEMORY, each(|tid| dead(row(tid)))).unwrap();
    assert_eq!(removal.tids_removed as usize, vectors.len() - alive.len());
    assert_eq!(all(true).len(), alive.len());
}

#[test]
fn rows_of_the_index_are_told_from_others() {
    let vectors = words(500);
    let store = store();
    let graph = build(&store, Metric::L2, &vectors);
    let asked: HashSet<_> = (400..600).map(tid).collect();
    assert_eq!(
        heap_tids::find_rows(&graph, asked).unwrap(),
        (400..500).map(tid).collect()
    );
}

#[test]
fn a_node_that_is_known_to_be_there_is_sought_harder() {
    let vectors = words(4000);
    let mut parameters = parameters(Metric::L2);
    // A graph in which searches for neighbors miss many.
    parameters.shape = Layout::plan(WORD_DIMENSIONS, 2, Metric::L2, 0).unwrap().shape;
    parameters.ef_construction = 4;
    let nodes_made = |unchanged: bool| {
        let store = store();
        let graph = Graph::create(&store, parameters, Vec::new()).unwrap();
        let mut inserter = Inserter::default();
        for (row, vector) in vectors.iter().enumerate() {
            insert::insert(&graph, &mut inserter, vector, tid(row)).unwrap();
        }
        let before = node_count(&graph);
        for (row, vector) in vectors.iter().enumerate() {
            let tid = tid(10_000 + row);
            insert::insert(
                &graph,
                &mut inserter,
                vector,
                NewRow {
                    unchanged,
                    ..tid.into()
                },
            )
            .unwrap();
        }
        node_count(&graph) - before
    };
    let (known, unknown) = (nodes_made(true), nodes_made(false));
    assert!(unknown > 20 && 5 * known < unknown, "{known} and {unknown} new nodes");
}

#[test]
fn an_equal_vector_is_sought_behind_others_at_its_distance() {
    // Under inner product (1, 5) is as far from (1, 0) as (1, 0) from itself.
    let mut vectors = vec![vec![1.0, 5.0], vec![1.0, 0.0]];
    vectors.extend((0..50).map(|i| vec![(i % 7) as f32, (i % 11) as f32]));
    let distinct: HashSet<_> = vectors.iter().map(|v| (v[0] as u32, v[1] as u32)).collect();
    vectors.extend(std::iter::repeat_n(vec![1.0, 0.0], 40));
    let store = store();
    let graph = build(&store, Metric::InnerProduct, &vectors);
    let nodes = node_count(&graph);
    // A search may miss a vector as short as this once or twice, but not 40 times.
    assert!(
        nodes <= distinct.len() + 2,
        "{nodes} nodes of {} vectors",
        distinct.len()
    );
}

#[test]
fn a_row_whose_vector_is_not_all_there_counts_as_none() {
    let vectors = phrases(5, 7000);
    let store = store();
    let graph = build(&store, Metric::L2, &vectors);
    assert!(graph.space.layout.overflows > 0);
    let asked = || (0..10).map(tid).collect::<HashSet<_>>();
    assert_eq!(
        heap_tids::find_rows(&graph, asked()).unwrap(),
        (0..5).map(tid).collect()
    );
    let mut incomplete = None;
    graph
        .node_blocks()
        .unwrap()
        .for_each(|block| graph.live_on(block, |link, _| incomplete = Some(link)).unwrap());
    let (node, overflows) = (incomplete.unwrap().node, graph.space.layout.overflows);
    let lost = graph
        .read(node, |record| Ok(record.tids().collect::<Vec<_>>()))
        .unwrap();
    graph
        .write(node, |nodes, slot| {
            nodes
                .record(slot)?
                .set_overflows(std::iter::repeat_n(NodeRef::NONE, overflows));
            Ok(Edit::Changed(()))
        })
        .unwrap();
    let expected = (0..5).map(tid).filter(|tid| !lost.contains(tid)).collect();
    assert_eq!(heap_tids::find_rows(&graph, asked()).unwrap(), expected);
}
