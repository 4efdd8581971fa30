//! Nodes that an interrupted insertion left out of value lists: a row that joins such a node later
//! is found under conditions all the same.

use super::filters::{assert_complete, create, insert_rows, values};
use super::*;
use crate::filter::sets;
use crate::filter::values::{Values, key_of_int, mix};
use crate::hnsw::insert::NewRow;
use crate::hnsw::tests::interrupted::{Interrupted, failing};
use crate::hnsw::value_lists;
use crate::storage::list_page;
use crate::storage::page as pages;

/// Rows of the index, of which the last is inserted with an interruption.
const ROWS: usize = 400;

/// Values of the rows, and of one row more, which has the last row's values.
fn all_values() -> Vec<Values> {
    let mut all: Vec<Values> = (0..ROWS).map(values).collect();
    let mut last = Values::NONE;
    last.set(0, Some(key_of_int(7)));
    last.set(1, Some(mix(3)));
    last.set(2, Some(sets::key([3, 7, 45].map(sets::element).to_vec())));
    last.set(3, Some(key_of_int(110)));
    all[ROWS - 1] = last;
    all.push(last);
    all
}

/// Number of entries of all lists.
fn entries(graph: &Graph<'_, MemoryStore>) -> usize {
    let of_page = |page: &Page| {
        Ok(match pages::is_list(page) {
            true => list_page::entries(page, &graph.space.lists).count(),
            false => 0,
        })
    };
    let blocks = graph.node_blocks().unwrap();
    blocks.map(|block| graph.store.read(block, of_page).unwrap()).sum()
}

/// An index whose last insertion was interrupted after this number of page changes.
fn interrupted_after<'s>(
    store: &'s MemoryStore,
    metric: Metric,
    vectors: &[Vec<f32>],
    all: &[Values],
    writes: usize,
) -> Graph<'s, MemoryStore> {
    let graph = create(store, metric, vectors[0].len(), all);
    insert_rows(&graph, vectors, 0..ROWS - 1, all);
    failing(store, writes, |late| {
        let row = NewRow {
            values: all[ROWS - 1],
            ..tid(ROWS - 1).into()
        };
        let inserted = insert::insert(late, &mut Inserter::default(), &vectors[ROWS - 1], row);
        assert!(inserted.is_err(), "the insertion made only {writes} changes");
    });
    graph
}

/// A VACUUM removes neighbors of the interrupted node, from a few to all rows but it. A row with
/// its vector and values comes then, and perhaps joins the node.
fn assert_found_after_removal(metric: Metric, writes: usize, removed: usize) {
    let (vectors, all) = (words(ROWS), all_values());
    let last = ROWS - 1;
    let store = store();
    let graph = interrupted_after(&store, metric, &vectors, &all, writes);
    let around = exact(metric, &vectors, 0..last, &vectors[last]);
    let dead: HashSet<usize> = around[..removed].iter().map(|&(_, row)| row).collect();
    bulk_delete::remove(&graph, MEMORY, each(|tid| dead.contains(&row(tid)))).unwrap();
    let joining = NewRow {
        values: all[ROWS],
        ..tid(ROWS).into()
    };
    insert::insert(&graph, &mut Inserter::default(), &vectors[last], joining).unwrap();
    // The row of the interrupted insertion is dead, as no transaction with such an error commits.
    bulk_delete::remove(&graph, MEMORY, each(|tid| row(tid) == last)).unwrap();
    let rows: HashSet<usize> = (0..=ROWS).filter(|row| *row != last && !dead.contains(row)).collect();
    let mut of_rows = vectors.clone();
    of_rows.push(vectors[last].clone());
    assert_complete(&graph, &of_rows[ROWS], &rows, &all);
    let live = check::check(&graph, &mut |fault| panic!("{fault:?}")).unwrap().len();
    assert_eq!(live, rows.len());
    // Nodes with links are not entered again.
    let of_row = |row: &usize| {
        let columns = value_lists::listed(&graph);
        columns
            .map(|column| graph.space.lists_of(&all[*row], column).as_slice().len())
            .sum::<usize>()
    };
    let (entries, least) = (entries(&graph), rows.iter().map(of_row).sum());
    assert!(
        (least..least + 8).contains(&entries),
        "{entries} entries, {least} values"
    );
}

#[test]
fn a_row_that_joins_an_interrupted_node_is_found_under_conditions() {
    for metric in [Metric::L2, Metric::L1, Metric::InnerProduct] {
        // The record, six lists, its links, and the first link back.
        for writes in 0..=9 {
            for removed in [3, 40, ROWS - 1] {
                assert_found_after_removal(metric, writes, removed);
            }
        }
    }
}

/// A VACUUM that comes between the steps of an insertion links the new node; the insertion keeps
/// these links.
#[test]
fn a_node_that_vacuum_links_before_its_insertion_does_is_found_under_conditions() {
    let (vectors, all) = (words(ROWS), all_values());
    for metric in [Metric::L2, Metric::L1] {
        for writes in 0..11 {
            let store = store();
            let graph = create(&store, metric, vectors[0].len(), &all);
            insert_rows(&graph, &vectors, 0..ROWS - 1, &all);
            let dead: HashSet<usize> = (0..40).collect();
            let interrupted = Interrupted::after_writes(&store, writes, || {
                bulk_delete::remove(&graph, MEMORY, each(|tid| dead.contains(&row(tid)))).unwrap();
            });
            let late = Graph::open(&interrupted).unwrap();
            let new = NewRow {
                values: all[ROWS - 1],
                ..tid(ROWS - 1).into()
            };
            insert::insert(&late, &mut Inserter::default(), &vectors[ROWS - 1], new).unwrap();
            assert!(interrupted.is_over(), "nothing was removed meanwhile");
            let rows = (40..ROWS).collect();
            assert_complete(&graph, &vectors[ROWS - 1], &rows, &all);
            assert_eq!(unreachable(&graph), 0, "after {writes} changes");
        }
    }
}
