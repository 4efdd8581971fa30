//! Removals of a small part of the nodes: the pages that they read, and what they leave.

use super::interrupted::accesses;
use super::*;
use crate::storage::format::META_BLOCK;
use crate::storage::meta;

fn unwalked(graph: &Graph<'_, MemoryStore>) -> u8 {
    graph.store.read(META_BLOCK, meta::read_unwalked).unwrap()
}

/// A removal without dead rows is one pass; one of few nodes takes a second pass, and some pages
/// for each node.
#[test]
fn a_small_removal_passes_twice_over_the_pages() {
    let vectors = words(6000);
    for metric in [Metric::L2, Metric::L1] {
        let store = store();
        let graph = build(&store, metric, &vectors);
        let pages = graph.node_blocks().unwrap().len();
        let mut removed = HashSet::new();
        let mut remove = |more: &[usize]| {
            removed.extend(more.iter().copied());
            let mut nodes = 0;
            let (reads, _) = accesses(&store, |graph| {
                let removal = bulk_delete::remove(graph, MEMORY, each(|tid| removed.contains(&row(tid)))).unwrap();
                assert_eq!(removal.was_walked, !more.is_empty());
                nodes = removal.nodes_removed as usize;
            });
            assert_eq!(nodes, more.len());
            reads
        };
        let none = remove(&[]);
        assert!(
            (pages..pages + 10).contains(&none),
            "{metric:?}: {none} reads of {pages} pages"
        );
        for few in [vec![17], (100..106).collect(), (1000..1060).collect()] {
            let reads = remove(&few);
            // A node has links from about as many records as it has links, and these from them.
            let most = 2 * pages + 20 + few.len() * 32 * 60;
            assert!(
                reads < most,
                "{metric:?}: {reads} reads of {pages} pages for {} nodes",
                few.len()
            );
        }
        assert_eq!(unwalked(&graph), 1 + 2 + 11);
        assert_eq!(unreachable(&graph), 0, "{metric:?}");
    }
}

/// After removals without a walk over all links no node is lost, and searches find as much as in an
/// index built anew.
#[test]
fn many_small_removals_keep_recall_and_reachability() {
    let vectors = words(6100);
    let (base, queries) = vectors.split_at(6000);
    for metric in [Metric::L2, Metric::InnerProduct, Metric::L1] {
        let store = store();
        let graph = build(&store, metric, base);
        let mut rows: HashSet<usize> = (0..base.len()).collect();
        let mut units = Vec::new();
        for round in 0..20 {
            rows.retain(|row| row % 100 != (7 * round) % 100);
            let removal = bulk_delete::remove(&graph, MEMORY, each(|tid| !rows.contains(&row(tid)))).unwrap();
            assert!(removal.nodes_removed > 0 && removal.was_walked);
            units.push(unwalked(&graph));
            let lost = unreachable(&graph);
            assert!(lost <= 1, "{metric:?}: {lost} nodes lost in round {round}");
        }
        // Each is a hundredth of the nodes; the walk follows when more than a sixteenth is gone.
        assert_eq!(units[..7], [11, 22, 33, 44, 55, 0, 11], "{metric:?}: {units:?}");
        assert_as_good_as_new(&graph, metric, (base, queries), &rows, 0.01);
        assert_eq!(checker::faults(&graph), []);
    }
}

#[test]
fn a_small_removal_links_nodes_that_nothing_links_to() {
    let vectors = words(2000);
    let store = store();
    let graph = build(&store, Metric::L1, &vectors);
    let rows: HashSet<usize> = (0..2000).step_by(19).collect();
    cut_off(&graph, &rows);
    assert!(unreachable(&graph) > rows.len() / 2);
    let removal = bulk_delete::remove(&graph, MEMORY, each(|tid| row(tid) == 1)).unwrap();
    assert!(removal.reconnected as usize > rows.len() / 2);
    assert_eq!((unwalked(&graph), unreachable(&graph)), (1, 0));
    let removal = bulk_delete::remove(&graph, MEMORY, each(|tid| row(tid) < 4)).unwrap();
    assert_eq!((removal.nodes_removed, removal.reconnected), (3, 0));
}

/// An interrupted removal counts as one, so that the walk that it left out is made in time.
#[test]
fn a_walk_that_an_interruption_left_out_is_made_up_for() {
    let vectors = words(1000);
    let store = store();
    let graph = build(&store, Metric::L2, &vectors);
    let is_dead = |tid| row(tid) % 5 == 1;
    interrupted::failing(&store, 300, |graph| {
        assert!(bulk_delete::remove(graph, MEMORY, each(is_dead)).is_err());
    });
    assert!(unwalked(&graph) >= 200);
    bulk_delete::remove(&graph, MEMORY, each(is_dead)).unwrap();
    assert_eq!((unwalked(&graph), unreachable(&graph)), (0, 0));
    // Without memory for the walk it stays due.
    bulk_delete::remove(&graph, 0, each(|tid| row(tid) % 5 == 2)).unwrap();
    assert!(unwalked(&graph) >= 200);
    bulk_delete::remove(&graph, MEMORY, each(|tid| row(tid) == 3)).unwrap();
    assert_eq!((unwalked(&graph), unreachable(&graph)), (0, 0));
    assert_eq!(checker::faults(&graph), []);
}
