//! Tests of the whole graph in memory, on real vectors, with exact search as the oracle.

mod among_dead;
mod batch;
mod centroid;
mod checker;
mod clusters;
mod cold;
mod compact;
mod complete;
mod damage;
mod directions;
mod filters;
mod input;
mod interrupted;
mod listed;
mod long;
mod plain;
mod sampled;
mod small_removals;
mod stored;
mod unlisted;
mod unplaced;

use std::collections::HashSet;

use super::*;
use crate::distance::{Metric, wide};
use crate::filter::lists;
use crate::hnsw::check::Severity;
use crate::hnsw::insert::Inserter;
use crate::hnsw::neighbors::selection;
use crate::hnsw::scan::{Iteration, Limits, Scan};
use crate::hnsw::vacuum::{bulk_delete, reachability, truncate};
use crate::storage::memory_store::MemoryStore;
use crate::storage::page::Page;
use crate::storage::parameters::{Element, Reflections};
use crate::storage::record::Code;
use crate::storage::{HeapTid, Layout, Link};
use crate::test_data::{WORD_DIMENSIONS, words};

/// More memory than the repair of any of these graphs needs.
const MEMORY: usize = 1 << 26;

fn parameters(metric: Metric) -> Parameters {
    parameters_of(metric, WORD_DIMENSIONS)
}

/// Parameters as the access method chooses them: plain for L1, coded for the others.
fn parameters_of(metric: Metric, dimensions: usize) -> Parameters {
    Parameters {
        shape: Layout::plan(dimensions, 16, metric, 0).unwrap().shape,
        element: Element::Vector,
        metric,
        ef_construction: 64,
        seed: 42,
        centroid: 0,
        filters: [None; crate::filter::values::MOST_COLUMNS],
        borders: 0,
        list_bits: lists::FEWEST_BITS,
        directions: Reflections::NONE,
    }
}

fn tid(row: usize) -> HeapTid {
    HeapTid {
        block: row as u32 / 100,
        offset: (row % 100 + 1) as u16,
    }
}

fn row(tid: HeapTid) -> usize {
    tid.block as usize * 100 + usize::from(tid.offset) - 1
}

fn store() -> MemoryStore {
    MemoryStore::new(256 << 20).unwrap()
}

fn build<'s>(store: &'s MemoryStore, metric: Metric, vectors: &[Vec<f32>]) -> Graph<'s, MemoryStore> {
    build_by(&mut Inserter::default(), store, metric, vectors)
}

fn build_by<'s>(
    inserter: &mut Inserter,
    store: &'s MemoryStore,
    metric: Metric,
    vectors: &[Vec<f32>],
) -> Graph<'s, MemoryStore> {
    build_around(Vec::new(), inserter, store, metric, vectors)
}

/// Builds an index with a centroid, unless it is empty.
fn build_around<'s>(
    centroid: Vec<f32>,
    inserter: &mut Inserter,
    store: &'s MemoryStore,
    metric: Metric,
    vectors: &[Vec<f32>],
) -> Graph<'s, MemoryStore> {
    let graph = Graph::create(store, parameters_of(metric, vectors[0].len()), centroid).unwrap();
    fill(&graph, inserter, vectors);
    graph
}

/// Inserts the rows into an empty index.
fn fill(graph: &Graph<'_, MemoryStore>, inserter: &mut Inserter, vectors: &[Vec<f32>]) {
    for (i, vector) in vectors.iter().enumerate() {
        insert::insert(graph, inserter, vector, tid(i)).unwrap();
    }
}

/// The vectors at length 1.
fn unit(mut vectors: Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    for vector in &mut vectors {
        crate::distance::normalize(vector);
    }
    vectors
}

/// The centroid of an index that is built over these rows; empty under metrics without one.
fn centroid_of(metric: Metric, vectors: &[Vec<f32>]) -> Vec<f32> {
    match metric {
        Metric::L2 | Metric::Cosine => crate::storage::centroid::of(vectors.iter().map(|v| &v[..]), vectors[0].len()),
        _ => Vec::new(),
    }
}

/// Asks about one TID after the other.
fn each(is_dead: impl Fn(HeapTid) -> bool) -> impl FnMut(&[HeapTid]) -> HashSet<HeapTid> {
    move |tids| tids.iter().copied().filter(|&tid| is_dead(tid)).collect()
}

fn limits(width: usize) -> Limits {
    Limits::none(width)
}

fn first(graph: &Graph<'_, MemoryStore>, query: &[f32], count: usize, limits: Limits) -> Vec<usize> {
    let mut scan = Scan::new(graph.space.query(query), limits);
    std::iter::from_fn(|| scan.next(graph).unwrap())
        .take(count)
        .map(row)
        .collect()
}

/// The sum that distances order by, in f64.
fn exact_sum(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let pairs = a.iter().zip(b).map(|(&x, &y)| (f64::from(x), f64::from(y)));
    wide::sum(pairs, metric.term())
}

fn exact(metric: Metric, vectors: &[Vec<f32>], rows: impl Iterator<Item = usize>, query: &[f32]) -> Vec<(f64, usize)> {
    let mut all: Vec<_> = rows.map(|row| (exact_sum(metric, query, &vectors[row]), row)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    all
}

/// The share of the ten nearest that a scan finds; ties count.
fn recall(
    graph: &Graph<'_, MemoryStore>,
    vectors: &[Vec<f32>],
    rows: &HashSet<usize>,
    queries: &[Vec<f32>],
    width: usize,
) -> f64 {
    let metric = graph.space.parameters.metric;
    let mut hits = 0;
    for query in queries {
        let farthest = exact(metric, vectors, rows.iter().copied(), query)[9].0;
        let found = first(graph, query, 10, limits(width));
        assert_eq!(found.len(), 10);
        assert!(found.iter().all(|row| rows.contains(row)), "a row that is not there");
        hits += found
            .iter()
            .filter(|&&row| exact_sum(metric, query, &vectors[row]) <= farthest)
            .count();
    }
    hits as f64 / (10 * queries.len()) as f64
}

/// Live records of level 0 that a search cannot reach.
fn unreachable(graph: &Graph<'_, MemoryStore>) -> usize {
    let origin = vec![0.0; graph.space.parameters.shape.dimensions as usize];
    let mut scan = Scan::new(graph.space.query(&origin), limits(100));
    while scan.next(graph).unwrap().is_some() {}
    scan.unmet()
}

#[test]
fn every_metric_finds_the_nearest_words() {
    let vectors = words(8000);
    let (base, queries) = vectors.split_at(7900);
    let rows = (0..base.len()).collect();
    for metric in [Metric::L2, Metric::Cosine, Metric::L1, Metric::InnerProduct] {
        let store = store();
        let graph = build(&store, metric, base);
        let (narrow, wide) = (
            recall(&graph, base, &rows, queries, 40),
            recall(&graph, base, &rows, queries, 200),
        );
        assert!(
            narrow >= 0.95 && wide >= 0.99,
            "{metric:?}: {narrow} at 40, {wide} at 200"
        );
        assert_eq!(unreachable(&graph), 0, "{metric:?}");
    }
}

#[test]
fn a_scan_without_bounds_returns_every_row_once_and_in_order() {
    let vectors = words(3000);
    let store = store();
    let graph = build(&store, Metric::L2, &vectors);
    for width in [1, 10, 100, 5000] {
        let found = first(&graph, &vectors[17], usize::MAX, limits(width));
        assert_eq!(found.len(), vectors.len());
        assert_eq!(found.iter().collect::<HashSet<_>>().len(), vectors.len());
        let kernel = Metric::L2.kernel().unwrap();
        let distances: Vec<_> = found
            .iter()
            .map(|&row| kernel.distance(&vectors[17], &vectors[row]))
            .collect();
        assert!(distances[..1000].is_sorted(), "width {width}");
    }
}

#[test]
fn a_bound_ends_a_scan_and_says_so() {
    let vectors = words(3000);
    let store = store();
    let graph = build(&store, Metric::L2, &vectors);
    for limits in [
        Limits {
            nodes: 500,
            ..limits(20)
        },
        Limits {
            bytes: 30_000,
            ..limits(20)
        },
    ] {
        let mut scan = Scan::new(graph.space.query(&vectors[3]), limits);
        let mut found = 0;
        while scan.next(&graph).unwrap().is_some() {
            found += 1;
        }
        assert!((20..2900).contains(&found), "{found} rows");
        assert!(scan.was_bounded());
    }
    let off = Limits {
        iteration: Iteration::Off,
        ..limits(20)
    };
    assert_eq!(first(&graph, &vectors[3], usize::MAX, off).len(), 20);
}

#[test]
fn equal_vectors_are_one_node_however_many() {
    let mut vectors = words(1000);
    let equal = vectors[500].clone();
    vectors.extend(std::iter::repeat_n(equal.clone(), 5000));
    for metric in [Metric::L2, Metric::InnerProduct] {
        let store = store();
        let graph = build(&store, metric, &vectors);
        let found = first(&graph, &equal, usize::MAX, limits(40));
        assert_eq!(found.iter().collect::<HashSet<_>>().len(), vectors.len());
        if metric == Metric::L2 {
            let with_distance_zero: HashSet<_> = found[..5001].iter().copied().collect();
            assert_eq!(with_distance_zero, (1000..6000).chain([500]).collect());
            let alone = self::store();
            build(&alone, metric, &vectors[..1000]);
            let pages = |store: &MemoryStore| store.blocks().unwrap();
            assert!(
                pages(&store) < pages(&alone) + 20,
                "{} and {}",
                pages(&store),
                pages(&alone)
            );
        }
    }
}

#[test]
fn removal_leaves_no_dead_row_and_keeps_recall() {
    let vectors = words(6100);
    let (base, queries) = vectors.split_at(6000);
    let store = store();
    let graph = build(&store, Metric::L2, base);
    let rows: HashSet<usize> = (0..base.len()).filter(|row| row % 2 == 0).collect();
    let removal = bulk_delete::remove(&graph, MEMORY, each(|tid| !rows.contains(&row(tid)))).unwrap();
    assert_eq!(
        (removal.tids_removed, removal.tids_left, removal.nodes_removed),
        (3000, 3000, 3000)
    );
    assert_eq!(unreachable(&graph), 0);

    assert_as_good_as_new(&graph, Metric::L2, (base, queries), &rows, 0.005);
}

/// After removals searches find at most `loss` less than in an index of the rows that are left,
/// and complete scans return these.
fn assert_as_good_as_new(
    graph: &Graph<'_, MemoryStore>,
    metric: Metric,
    (base, queries): (&[Vec<f32>], &[Vec<f32>]),
    rows: &HashSet<usize>,
    loss: f64,
) {
    let fresh_store = self::store();
    let fresh = Graph::create(&fresh_store, parameters(metric), Vec::new()).unwrap();
    for &row in rows {
        insert::insert(&fresh, &mut Inserter::default(), &base[row], tid(row)).unwrap();
    }
    let (repaired, built) = (
        recall(graph, base, rows, queries, 40),
        recall(&fresh, base, rows, queries, 40),
    );
    assert!(
        repaired >= built - loss,
        "{metric:?}: {repaired} after removals, {built} freshly built"
    );
    let all: HashSet<_> = first(graph, &queries[0], usize::MAX, limits(40)).into_iter().collect();
    assert_eq!(all, *rows);
}

/// A record has the links that stay and the ones that come, each with its code, in any combination.
#[test]
fn replaced_lanes_hold_what_stays_and_what_is_new() {
    use crate::quantize::rabitq::Factors;
    use rand::rngs::SmallRng;
    use rand::seq::SliceRandom;
    use rand::{Rng, SeedableRng};

    let vectors = words(2);
    let store = store();
    let graph = build(&store, Metric::L2, &vectors);
    let entry = graph.entry().unwrap().unwrap();
    let (words, lanes) = (graph.space.layout.code_words(), graph.space.layout.link_capacity(0));
    let link = |i: u32| Link {
        node: NodeRef(i),
        generation: 1,
    };
    let code_of = |i: u32| vec![i; words];
    let mut random = SmallRng::seed_from_u64(5);
    for _ in 0..2000 {
        let mut numbers: Vec<u32> = (0..3 * lanes as u32).collect();
        numbers.shuffle(&mut random);
        let new = numbers.split_off(lanes);
        numbers.truncate(random.random_range(0..=lanes));
        let before: Vec<(u32, bool)> = numbers.into_iter().map(|i| (i, random.random())).collect();
        // The links that stay, and whether each becomes a fill.
        let mut staying = before.clone();
        staying.retain(|_| random.random());
        staying.iter_mut().for_each(|(_, fill)| *fill = random.random());
        let new = &new[..random.random_range(0..=lanes - staying.len())];
        let mut after = graph
            .write(entry.link.node, |nodes, slot| {
                let mut record = nodes.record(slot)?;
                let factors = Factors::default();
                record.clear_links();
                for &(i, fill) in &before {
                    let words = &code_of(i);
                    record.push_link(
                        link(i),
                        Code {
                            words,
                            factors,
                            signatures: Default::default(),
                        },
                        fill,
                    );
                }
                let stays = |other: Link, _| staying.iter().find(|&&(i, _)| link(i) == other).map(|&(_, fill)| fill);
                let codes: Vec<_> = new.iter().map(|&i| (i, code_of(i))).collect();
                let new = codes.iter().map(|(i, words)| {
                    (
                        link(*i),
                        Code {
                            words,
                            factors,
                            signatures: Default::default(),
                        },
                        i % 2 == 0,
                    )
                });
                neighbors::lanes::replace(&mut record, stays, new);
                let (view, mut code) = (record.view(), vec![0; words]);
                let mut after = Vec::new();
                for lane in 0..view.link_count() {
                    view.read_code(lane, &mut code);
                    assert_eq!(code, code_of(view.link(lane).node.0));
                    after.push((view.link(lane).node.0, view.is_fill(lane)));
                }
                Ok(Edit::Changed(after))
            })
            .unwrap();
        // Links that stay keep their lanes if others come for the ones that go.
        if staying.len() + new.len() >= before.len() {
            for (lane, (i, _)) in before.iter().enumerate() {
                let stays = staying.iter().any(|(other, _)| other == i);
                assert_eq!(after.get(lane).is_some_and(|(other, _)| other == i), stays);
            }
        }
        let mut expected: Vec<_> = staying
            .into_iter()
            .chain(new.iter().map(|&i| (i, i % 2 == 0)))
            .collect();
        expected.sort_unstable();
        after.sort_unstable();
        assert_eq!(after, expected);
    }
}

/// Fills complete the lanes of a record with few survivors.
#[test]
fn removal_leaves_no_lane_empty() {
    let vectors = words(3000);
    let mut parameters = parameters(Metric::L2);
    parameters.shape = Layout::plan(WORD_DIMENSIONS, 4, Metric::L2, 0).unwrap().shape;
    let store = store();
    let graph = Graph::create(&store, parameters, Vec::new()).unwrap();
    for (i, vector) in vectors.iter().enumerate() {
        insert::insert(&graph, &mut Inserter::default(), vector, tid(i)).unwrap();
    }
    let lanes = graph.space.layout.link_capacity(0);
    assert!(selection::survivor_limit(&graph, 0) < lanes);
    bulk_delete::remove(&graph, MEMORY, each(|tid| row(tid).is_multiple_of(2))).unwrap();
    let (mut records, mut links) = (0, 0);
    for block in graph.node_blocks().unwrap() {
        graph
            .live_on(block, |_, record| {
                records += 1;
                links += record.link_count();
            })
            .unwrap();
    }
    assert_eq!(records, 1500);
    assert!(
        links * 100 >= records * lanes * 98,
        "{links} links of {records} records of {lanes} lanes"
    );
}

#[test]
fn removal_with_little_memory_is_done_in_rounds() {
    let vectors = words(6000);
    let store = store();
    let graph = build(&store, Metric::L2, &vectors);
    // Equal vectors, with TIDs on many pages.
    let mut inserter = Inserter::default();
    for i in 0..500 {
        insert::insert(&graph, &mut inserter, &vectors[7], tid(10_000 + i)).unwrap();
    }
    let is_dead = |row: usize| !row.is_multiple_of(3) && row != 10_499;
    let removal = bulk_delete::remove(&graph, 0, each(|tid| is_dead(row(tid)))).unwrap();
    let left: HashSet<usize> = (0..6000).chain(10_000..10_500).filter(|&row| !is_dead(row)).collect();
    assert_eq!((removal.nodes_removed, removal.was_walked), (4000 - 1, false));
    assert_eq!(removal.tids_left, left.len() as u64);
    assert_eq!(
        first(&graph, &vectors[0], usize::MAX, limits(40))
            .into_iter()
            .collect::<HashSet<_>>(),
        left
    );
    // Nodes that were not looked for are found later.
    reachability::reconnect(&graph, &mut inserter, MEMORY).unwrap();
    assert_eq!(unreachable(&graph), 0);
    assert_eq!(checker::faults(&graph), []);
}

#[test]
fn pages_cut_off_from_the_end_come_back_and_stale_links_stay_stale() {
    let vectors = words(2000);
    let store = store();
    let graph = build(&store, Metric::L2, &vectors);
    let blocks = store.blocks().unwrap();
    let none = truncate::empty_end(&graph, || true).unwrap();
    assert!(none.is_empty() && none.from == blocks);
    let half = 1000;
    // Links into the second half, as a session leaves them that was about to make them when their
    // targets died.
    let mut stale: Vec<Link> = Vec::new();
    for round in 0..3 {
        let in_use: Vec<_> = (blocks / 2..store.blocks().unwrap())
            .map(|block| {
                let node = graph.space.layout.node(block, 0).unwrap();
                let generation = graph.read(node, |record| Ok(record.generation())).unwrap();
                Link { node, generation }
            })
            .collect();
        bulk_delete::remove(&graph, MEMORY, each(|tid| row(tid) >= half)).unwrap();
        let end = truncate::empty_end(&graph, || true).unwrap();
        assert!(end.len() > blocks / 3, "{end:?}");
        assert!(truncate::empty_end(&graph, || false).unwrap().len() < 32);
        truncate::retire(&graph, &end).unwrap();
        store.truncate(end.from);
        stale.extend(in_use.into_iter().filter(|link| graph.block(link.node) >= end.from));
        let is_stale = |link: &Link| {
            let leads = graph.read(link.node, |record| Ok(record.is(link.generation, record.level())));
            !leads.unwrap()
        };
        assert!(stale.iter().all(is_stale), "round {round}, cut off");
        let mut inserter = Inserter::default();
        let first_record = graph.space.layout.node(graph.space.layout.first_block, 0).unwrap();
        graph
            .write(first_record, |nodes, slot| {
                let mut record = nodes.record(slot)?;
                for (i, &link) in stale.iter().rev().take(3).enumerate() {
                    let words = vec![0; graph.space.layout.code_words()];
                    let code = Code {
                        words: &words,
                        ..Code::default()
                    };
                    record.put_link(record.view().link_count() - 1 - i, link, code, false);
                }
                Ok(Edit::Changed(()))
            })
            .unwrap();
        assert_eq!(first(&graph, &vectors[0], usize::MAX, limits(40)).len(), half);
        for (row, vector) in vectors.iter().enumerate().skip(half) {
            insert::insert(&graph, &mut inserter, vector, tid(row)).unwrap();
        }
        assert!(store.blocks().unwrap() <= blocks + 2);
        assert!(stale.iter().all(is_stale), "round {round}, used again");
        assert_eq!(first(&graph, &vectors[0], usize::MAX, limits(40)).len(), vectors.len());
        let faults = checker::faults(&graph);
        assert!(
            faults.iter().all(|fault| fault.severity == Severity::Leftover),
            "{faults:?}"
        );
    }
}

#[test]
fn freed_slots_are_used_again() {
    let vectors = words(3000);
    let store = store();
    let graph = build(&store, Metric::L2, &vectors);
    let blocks = store.blocks().unwrap();
    for round in 0..3 {
        let half: HashSet<usize> = (0..vectors.len()).filter(|row| row % 2 == round % 2).collect();
        bulk_delete::remove(&graph, MEMORY, each(|tid| half.contains(&row(tid)))).unwrap();
        let mut inserter = Inserter::default();
        for &row in &half {
            insert::insert(&graph, &mut inserter, &vectors[row], tid(row)).unwrap();
        }
        assert!(
            store.blocks().unwrap() <= blocks + blocks / 50,
            "{} of {blocks}",
            store.blocks().unwrap()
        );
        let found = first(&graph, &vectors[0], usize::MAX, limits(40));
        assert_eq!(found.len(), vectors.len());
        assert_eq!(unreachable(&graph), 0);
    }
}

#[test]
fn an_emptied_index_is_empty_and_fills_again() {
    let vectors = words(500);
    let store = store();
    let graph = build(&store, Metric::Cosine, &vectors);
    assert_eq!(
        bulk_delete::remove(&graph, MEMORY, each(|_| true))
            .unwrap()
            .nodes_removed,
        500
    );
    assert_eq!(graph.entry().unwrap(), None);
    assert!(first(&graph, &vectors[0], usize::MAX, limits(40)).is_empty());
    let blocks = store.blocks().unwrap();
    let mut inserter = Inserter::default();
    for (i, vector) in vectors.iter().enumerate() {
        insert::insert(&graph, &mut inserter, vector, tid(i)).unwrap();
    }
    assert_eq!(store.blocks().unwrap(), blocks);
    assert_eq!(first(&graph, &vectors[0], 1, limits(40)), [0]);
    assert_eq!(first(&graph, &vectors[0], usize::MAX, limits(40)).len(), 500);
}

#[test]
fn rows_of_one_vector_are_removed_from_a_long_chain() {
    let vector = words(1).remove(0);
    let store = store();
    let graph = build(&store, Metric::L2, &vec![vector.clone(); 2000]);
    let removal = bulk_delete::remove(&graph, MEMORY, each(|tid| !row(tid).is_multiple_of(10))).unwrap();
    assert_eq!(
        (removal.tids_removed, removal.tids_left, removal.nodes_removed),
        (1800, 200, 0)
    );
    let found: HashSet<_> = first(&graph, &vector, usize::MAX, limits(40)).into_iter().collect();
    assert_eq!(found, (0..2000).step_by(10).collect());
    assert_eq!(
        bulk_delete::remove(&graph, MEMORY, each(|_| true))
            .unwrap()
            .nodes_removed,
        1
    );
    assert!(first(&graph, &vector, usize::MAX, limits(40)).is_empty());
}

#[test]
fn a_stale_link_does_not_hide_what_uses_the_slot_today() {
    let vectors = words(60);
    let store = store();
    let graph = build(&store, Metric::L1, &vectors);
    // Every record gets stale links in front of its links: to the same records, of the generation
    // before.
    for block in 1..store.blocks().unwrap() {
        store
            .write(block, |page| {
                let mut nodes = NodePageMut::new(page, block, &graph.space.layout)?;
                for slot in 0..nodes.view().len() {
                    let mut record = nodes.record(slot)?;
                    let links: Vec<_> = record.view().links().collect();
                    let stale = |link: &Link| Link {
                        generation: link.generation.wrapping_sub(1),
                        ..*link
                    };
                    let room = graph.space.layout.link_capacity(record.view().level()) - links.len();
                    let stale: Vec<_> = links.iter().map(stale).take(room).collect();
                    record.clear_links();
                    for link in stale.into_iter().chain(links) {
                        record.push_link(link, Code::default(), false);
                    }
                }
                Ok(Edit::Changed(()))
            })
            .unwrap();
    }
    assert_eq!(unreachable(&graph), 0);
    assert_eq!(first(&graph, &vectors[3], usize::MAX, limits(40)).len(), vectors.len());
}

#[test]
fn a_chain_that_is_shortened_under_a_scan_gives_every_row_once() {
    let vector = words(1).remove(0);
    let store = store();
    let graph = build(&store, Metric::L2, &vec![vector.clone(); 3000]);
    for stop in [5, 50, 500, 1500] {
        let mut scan = Scan::new(graph.space.query(&vector), limits(40));
        let mut found: Vec<usize> = (0..stop).map(|_| row(scan.next(&graph).unwrap().unwrap())).collect();
        // The newest rows are in the first extension: it goes while the scan is about to read it,
        // or has read it.
        let youngest: HashSet<usize> = (0..3000).rev().filter(|row| !found.contains(row)).take(400).collect();
        bulk_delete::remove(&graph, MEMORY, each(|tid| youngest.contains(&row(tid)))).unwrap();
        found.extend(std::iter::from_fn(|| scan.next(&graph).unwrap()).map(row));
        let distinct: HashSet<usize> = found.iter().copied().collect();
        assert_eq!(found.len(), distinct.len(), "a row twice");
        let left: HashSet<usize> = first(&graph, &vector, usize::MAX, limits(40)).into_iter().collect();
        assert!(
            left.is_subset(&distinct),
            "{} rows lost",
            left.difference(&distinct).count()
        );
        for &row in &youngest {
            insert::insert(&graph, &mut Inserter::default(), &vector, tid(row)).unwrap();
        }
    }
}

/// Takes out every link on level 0 to the nodes of the given rows.
fn cut_off(graph: &Graph<'_, MemoryStore>, rows: &HashSet<usize>) {
    for block in 1..graph.store.blocks().unwrap() {
        let nodes = graph.store.read(block, |page| {
            let page = NodePage::new(page, block, &graph.space.layout)?;
            page.records()
                .map(|record| record.map(|(node, _)| node))
                .collect::<Result<Vec<_>>>()
        });
        for node in nodes.unwrap() {
            let links = graph
                .read(node, |record| Ok(record.links().collect::<Vec<_>>()))
                .unwrap();
            let leads_there = |link: &Link| {
                graph
                    .read(link.node, |record| {
                        Ok(record.tids().any(|tid| rows.contains(&row(tid))))
                    })
                    .unwrap()
            };
            let links: Vec<_> = links.into_iter().filter(|link| !leads_there(link)).collect();
            let cut = |nodes: &mut NodePageMut<'_>, slot| {
                let mut record = nodes.record(slot)?;
                record.clear_links();
                for &link in &links {
                    record.push_link(link, Code::default(), false);
                }
                Ok(Edit::Changed(()))
            };
            graph.write(node, cut).unwrap();
        }
    }
}

#[test]
fn nodes_that_nothing_links_to_are_connected_again() {
    let vectors = words(2000);
    let store = store();
    let graph = build(&store, Metric::L1, &vectors);
    let rows: HashSet<usize> = (0..2000).step_by(19).collect();
    cut_off(&graph, &rows);
    assert!(unreachable(&graph) > rows.len() / 2);
    assert!(reachability::reconnect(&graph, &mut Inserter::default(), MEMORY).unwrap() > Some(0));
    assert_eq!(unreachable(&graph), 0);
    assert_eq!(
        reachability::reconnect(&graph, &mut Inserter::default(), MEMORY).unwrap(),
        Some(0)
    );
}

#[test]
fn many_threads_insert_into_an_empty_index() {
    let vectors = words(240);
    for _ in 0..60 {
        let store = store();
        let graph = Graph::create(&store, parameters(Metric::Cosine), Vec::new()).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let (graph, vectors) = (&graph, &vectors);
                scope.spawn(move || {
                    let mut inserter = Inserter::default();
                    for row in (thread..240).step_by(8) {
                        insert::insert(graph, &mut inserter, &vectors[row], tid(row)).unwrap();
                    }
                });
            }
        });
        assert_eq!(first(&graph, &vectors[0], usize::MAX, limits(40)).len(), 240);
        assert_eq!(unreachable(&graph), 0);
    }
}

#[test]
fn a_scan_with_a_radius_returns_what_is_within_and_ends() {
    for dimensions in [50, 200] {
        let vectors = crate::test_data::variations(3000, dimensions);
        let (base, queries) = vectors.split_at(2980);
        for metric in [Metric::L2, Metric::Cosine, Metric::L1] {
            let unit = |vectors: &[Vec<f32>]| {
                let mut vectors = vectors.to_vec();
                if metric == Metric::Cosine {
                    for vector in &mut vectors {
                        crate::distance::normalize(vector);
                    }
                }
                vectors
            };
            let (base, queries) = (unit(base), unit(queries));
            let store = store();
            let graph = build(&store, metric, &base);
            let (mut wanted, mut missed) = (0, 0);
            for query in &queries {
                let exact = exact(metric, &base, 0..base.len(), query);
                let key = exact[60].0;
                let radius = match metric {
                    Metric::L2 => key.sqrt(),
                    Metric::Cosine => key / 2.0,
                    _ => key,
                };
                let bounded = graph.space.query(query);
                let beyond = graph.space.max_key_within(&bounded, radius);
                let mut scan = Scan::new(bounded, Limits { beyond, ..limits(40) });
                let found: HashSet<_> = std::iter::from_fn(|| scan.next(&graph).unwrap()).map(row).collect();
                assert!(found.len() < 400, "{metric:?}: {} rows of 61", found.len());
                wanted += 61;
                missed += exact[..61].iter().filter(|(_, row)| !found.contains(row)).count();
                let mut nothing = Scan::new(
                    graph.space.query(query),
                    Limits {
                        beyond: -1.0,
                        ..limits(40)
                    },
                );
                assert_eq!(nothing.next(&graph), Ok(None));
            }
            assert!(
                missed * 50 < wanted,
                "{metric:?}, {dimensions}: {missed} of {wanted} missed"
            );
        }
    }
}
