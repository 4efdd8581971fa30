//! Sampled queries: a bounded ring of pages, which no other operation of the index minds.

use super::checker::faults;
use super::*;
use crate::error::Error;
use crate::hnsw::sampled_queries::{self, Added};
use crate::storage::page as pages;
use crate::storage::query_page;
use crate::test_data::phrases;

/// Adds a query as a session does.
fn sample(graph: &Graph<'_, MemoryStore>, at: i64, value: &[u8]) {
    if sampled_queries::add(graph, at, value).unwrap() == Added::WithoutPage {
        sampled_queries::add_page(graph, at, value).unwrap();
    }
}

fn value(n: usize, len: usize) -> Vec<u8> {
    (0..len).map(|i| (n * 31 + i) as u8).collect()
}

fn times(graph: &Graph<'_, MemoryStore>) -> Vec<i64> {
    sampled_queries::all(graph)
        .unwrap()
        .iter()
        .map(|sampled| sampled.at)
        .collect()
}

fn query_pages(graph: &Graph<'_, MemoryStore>) -> usize {
    let is_one = |block| graph.store.read(block, |page| Ok(pages::is_queries(page))).unwrap();
    graph.node_blocks().unwrap().filter(|&block| is_one(block)).count()
}

#[test]
fn the_last_queries_stay_within_bounds_and_are_forgotten_as_a_whole() {
    for (len, count, most, least) in [
        (20, 1000, 256, 192),
        (1_540, 1000, 260, 250),
        (6_148, 300, 128, 127),
        (query_page::MOST_LEN, 300, 128, 127),
    ] {
        let (store, vectors) = (store(), phrases(200, 16));
        let graph = build(&store, Metric::L2, &vectors);
        assert_eq!(times(&graph), [0; 0]);
        for n in 0..count {
            sample(&graph, n as i64, &value(n, len));
        }
        let all = sampled_queries::all(&graph).unwrap();
        assert!((least..=most).contains(&all.len()), "{len}: {}", all.len());
        let last = (count - all.len()..count).rev();
        assert!(all.iter().map(|sampled| sampled.at as usize).eq(last), "{len}");
        assert!(
            all.iter()
                .all(|sampled| sampled.value == value(sampled.at as usize, len))
        );
        assert!(query_pages(&graph) <= query_page::MOST_PAGES);
        sampled_queries::check(&graph).unwrap();
        // Longer ones are dropped.
        sample(&graph, 9999, &value(0, query_page::MOST_LEN + 1));
        assert_eq!(times(&graph)[0], count as i64 - 1);
        assert_eq!(sampled_queries::forget(&graph), Ok(all.len()));
        assert_eq!((query_pages(&graph), times(&graph).len()), (0, 0));
        assert_eq!(sampled_queries::forget(&graph), Ok(0));
        sample(&graph, 7, &value(7, len));
        assert_eq!(times(&graph), [7]);
    }
}

#[test]
fn other_operations_pass_over_sampled_queries() {
    let (store, vectors) = (store(), phrases(3_000, 16));
    let graph = build(&store, Metric::L2, &vectors[..1_000]);
    for n in 0..100 {
        sample(&graph, n, &value(n as usize, 500));
    }
    let kept = times(&graph);
    assert_eq!(kept.len(), 100);
    let mut inserter = Inserter::default();
    for (i, vector) in vectors.iter().enumerate().skip(1_000) {
        insert::insert(&graph, &mut inserter, vector, tid(i)).unwrap();
    }
    bulk_delete::remove(&graph, MEMORY, each(|tid| row(tid).is_multiple_of(2))).unwrap();
    assert_eq!(times(&graph), kept);
    assert_eq!(faults(&graph), []);
    // Pages of queries at the end are no empty pages; forgotten, they are.
    bulk_delete::remove(&graph, MEMORY, each(|_| true)).unwrap();
    for n in 0..10 {
        sample(&graph, 100 + n, &value(n as usize, 5_000));
    }
    let end = truncate::empty_end(&graph, || true).unwrap();
    let is_queries = |block| store.read(block, |page| Ok(pages::is_queries(page))).unwrap();
    assert!((end.from..end.blocks).all(|block| !is_queries(block)));
    sampled_queries::forget(&graph).unwrap();
    let end = truncate::empty_end(&graph, || true).unwrap();
    assert_eq!(end.from, graph.space.layout.first_block);
}

#[test]
fn a_damaged_ring_is_reported_and_sampling_goes_on_without_it() {
    let vectors = phrases(300, 16);
    for damaged in 0..5 {
        let store = store();
        let graph = build(&store, Metric::L2, &vectors);
        for n in 0..20 {
            sample(&graph, n, &value(n as usize, 3_000));
        }
        let blocks = graph.store.blocks().unwrap();
        let block = [
            META_BLOCK,
            graph.space.layout.first_block,
            blocks - 1,
            blocks + 7,
            u32::MAX - 1,
        ][damaged];
        store
            .write(META_BLOCK, |page| {
                query_page::set_block(page, query_page::ring(page)?.current, block);
                query_page::set_block(page, 0, block);
                Ok(Edit::Changed(()))
            })
            .unwrap();
        let checked = sampled_queries::check(&graph);
        assert!(
            matches!(checked, Err(Error::Corrupted { .. })),
            "block {block}: {checked:?}"
        );
        for n in 0..10 {
            _ = sampled_queries::add(&graph, n, &value(n as usize, 3_000));
        }
        _ = sampled_queries::all(&graph);
        assert!(sampled_queries::forget(&graph).is_err(), "block {block}");
        assert_eq!(faults(&graph).len(), 1, "block {block}");
    }
}
