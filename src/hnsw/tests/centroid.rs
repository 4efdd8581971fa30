//! An index with a centroid: vectors far from the origin are distinguished like others, and its
//! pages stay as they are.

use super::*;
use crate::error::Error;
use crate::storage::centroid;
use crate::test_data::{gaussian, phrases, variations};

/// Spread of the components of the test vectors.
const SPREAD: f32 = 0.14;

fn moved(vectors: &[Vec<f32>], offset: f32) -> Vec<Vec<f32>> {
    let each = vectors.iter();
    each.map(|vector| vector.iter().map(|value| value + offset).collect())
        .collect()
}

fn built<'s>(store: &'s MemoryStore, metric: Metric, vectors: &[Vec<f32>]) -> Graph<'s, MemoryStore> {
    let centroid = centroid_of(metric, &vectors[..vectors.len().min(1024)]);
    let graph = build_around(centroid, &mut Inserter::of_build(), store, metric, vectors);
    reachability::reconnect(&graph, &mut Inserter::default(), MEMORY).unwrap();
    graph
}

/// Live nodes.
fn nodes(graph: &Graph<'_, MemoryStore>) -> usize {
    let mut nodes = 0;
    for block in graph.node_blocks().unwrap() {
        graph.live_on(block, |_, _| nodes += 1).unwrap();
    }
    nodes
}

/// The centroid stored in the pages.
fn kept(graph: &Graph<'_, MemoryStore>) -> Vec<f32> {
    centroid::read(graph.store, &graph.space.parameters).unwrap()
}

#[test]
fn vectors_with_a_common_offset_are_found_as_those_without() {
    for (name, vectors) in [
        ("words", words(2550)),
        ("phrases", phrases(2550, 100)),
        ("variations", variations(2550, 384)),
    ] {
        let rows: HashSet<usize> = (0..2500).collect();
        let at = |offset: f32, centered: bool| {
            let vectors = moved(&vectors, offset);
            let (base, queries) = vectors.split_at(2500);
            let store = store();
            let graph = if centered {
                built(&store, Metric::L2, base)
            } else {
                build_by(&mut Inserter::of_build(), &store, Metric::L2, base)
            };
            recall(&graph, base, &rows, queries, 100)
        };
        let without = at(0.0, false);
        for times in [10.0, 100.0, 1000.0] {
            let with = at(times * SPREAD, true);
            assert!(
                with >= 0.97 && with >= without - 0.01,
                "{name}, {times} times: {with}, without an offset {without}"
            );
        }
        // Scalars as fine as the differences need. Short vectors are stored as they are, and
        // estimated by differences.
        let none = at(1000.0 * SPREAD, false);
        let is_short = vectors[0].len() == WORD_DIMENSIONS;
        assert!(is_short == (none > 0.9), "{name}: {none} without a centroid");
    }
}

#[test]
fn what_is_inserted_after_the_build_is_found_wherever_it_is() {
    for dimensions in [50, 384] {
        let vectors = moved(&variations(1500, dimensions), 100.0 * SPREAD);
        let (base, more) = vectors.split_at(1000);
        let store = store();
        let graph = built(&store, Metric::L2, base);
        let near = gaussian(20, dimensions, 3).into_iter().map(|noise| {
            let each = graph.space.centroid().iter().zip(noise);
            each.map(|(c, noise)| c + 0.01 * noise).collect()
        });
        let far = gaussian(40, dimensions, 4).into_iter().enumerate().map(|(i, noise)| {
            let around = [0.0, -100.0, 1e4, 1e9][i % 4] * SPREAD;
            noise
                .iter()
                .map(|noise| around + noise * around.abs().max(1.0))
                .collect()
        });
        let mut inserted: Vec<Vec<f32>> = more.to_vec();
        inserted.push(graph.space.centroid().to_vec());
        inserted.push(vec![0.0; dimensions]);
        inserted.extend(near.chain(far));
        let mut inserter = Inserter::default();
        for (i, vector) in inserted.iter().enumerate() {
            insert::insert(&graph, &mut inserter, vector, tid(1000 + i)).unwrap();
        }
        for (i, vector) in inserted.iter().enumerate() {
            assert_eq!(
                first(&graph, vector, 1, limits(100)),
                [1000 + i],
                "{dimensions} dimensions"
            );
        }
        assert_eq!(nodes(&graph), 1000 + inserted.len());
        assert_eq!(
            first(&graph, &base[0], usize::MAX, limits(40)).len(),
            1000 + inserted.len()
        );
    }
}

#[test]
fn equal_vectors_share_a_node() {
    for dimensions in [50, 100, 384] {
        let vectors = moved(&variations(1000, dimensions), 100.0 * SPREAD);
        let store = store();
        let graph = built(&store, Metric::L2, &vectors);
        assert_eq!(nodes(&graph), 1000);
        let mut inserter = Inserter::default();
        for (row, vector) in vectors.iter().enumerate() {
            insert::insert(&graph, &mut inserter, vector, tid(1000 + row)).unwrap();
        }
        assert_eq!(nodes(&graph), 1000, "{dimensions} dimensions");
        let mut found = first(&graph, &vectors[7], 2, limits(40));
        found.sort_unstable();
        assert_eq!(found, [7, 1007]);
    }
}

#[test]
fn its_pages_are_left_alone_while_rows_come_and_go() {
    for (metric, dimensions, count, pages) in [
        (Metric::L2, 50, 1000, 1),
        (Metric::Cosine, 384, 600, 1),
        (Metric::L2, 3000, 300, 2),
        (Metric::L2, 6000, 60, 3),
    ] {
        let mut vectors = moved(&variations(count, dimensions), 1.0);
        if metric == Metric::Cosine {
            vectors.iter_mut().for_each(|vector| {
                crate::distance::normalize(vector);
            });
        }
        let store = store();
        let graph = built(&store, metric, &vectors);
        let expected = centroid_of(metric, &vectors);
        assert_eq!(graph.space.layout.first_block, 1 + pages);
        let blocks = store.blocks().unwrap();
        for round in 0..3 {
            // A wrong entry of the free space map.
            store.note_free(1 + round % pages);
            let dead = |row: usize| round == 2 || row % 2 == round as usize;
            let gone: Vec<usize> = (0..count).filter(|&row| dead(row)).collect();
            let removal = bulk_delete::remove(&graph, MEMORY, each(|tid| dead(row(tid)))).unwrap();
            assert_eq!(removal.nodes_removed, gone.len() as u64);
            store.note_free(1 + round % pages);
            assert_eq!(
                first(&graph, &vectors[0], usize::MAX, limits(40)).len(),
                count - gone.len()
            );
            let mut inserter = Inserter::default();
            for &row in &gone {
                insert::insert(&graph, &mut inserter, &vectors[row], tid(row)).unwrap();
            }
            assert_eq!(first(&graph, &vectors[0], usize::MAX, limits(40)).len(), count);
            assert_eq!(unreachable(&graph), 0);
            for row in (0..count).step_by(7) {
                assert_eq!(first(&graph, &vectors[row], 1, limits(100)), [row], "{metric:?}");
            }
            assert_eq!(kept(&graph), expected, "{metric:?}, {dimensions} dimensions");
            let now = store.blocks().unwrap();
            assert!(now <= blocks + blocks / 20 + 1, "{now} blocks after {blocks}");
        }
    }
}

#[test]
fn chains_of_rows_do_not_grow_into_its_pages() {
    let vector = moved(&words(1), 14.0).remove(0);
    let store = store();
    let vectors = vec![vector.clone(); 500];
    let graph = built(&store, Metric::L2, &vectors);
    let mut inserter = Inserter::default();
    for row in 500..1000 {
        store.note_free(1);
        insert::insert(&graph, &mut inserter, &vector, tid(row)).unwrap();
    }
    assert_eq!((nodes(&graph), kept(&graph)), (1, vector.clone()));
    assert_eq!(first(&graph, &vector, usize::MAX, limits(40)).len(), 1000);
}

#[test]
fn an_index_is_opened_with_its_centroid_and_not_with_another() {
    let vectors = moved(&variations(300, 100), 77.0);
    let store = store();
    let graph = built(&store, Metric::L2, &vectors);
    let damaged = |damage: &dyn Fn(&mut Page)| {
        let before = store.read(1, |page| Ok(*page)).unwrap();
        let write = |f: &dyn Fn(&mut Page)| {
            let change = |page: &mut Page| {
                f(page);
                Ok(Edit::Changed(()))
            };
            store.write(1, change).unwrap();
        };
        write(damage);
        assert!(matches!(Graph::open(&store), Err(Error::Corrupted { .. })));
        write(&|page| *page = before);
    };
    damaged(&|page| page[24] ^= 1);
    damaged(&|page| page.fill(0));
    let opened = Graph::open(&store).unwrap();
    assert_eq!(opened.space.centroid(), centroid_of(Metric::L2, &vectors));
    for query in &vectors[..20] {
        let found = |graph| first(graph, query, 50, limits(40));
        assert_eq!(found(&opened), found(&graph));
    }
}

#[test]
fn the_same_rows_give_the_same_pages() {
    let vectors = moved(&variations(500, 100), 14.0);
    assert!(!centroid_of(Metric::L2, &vectors).is_empty());
    let (a, b) = (store(), store());
    built(&a, Metric::L2, &vectors);
    built(&b, Metric::L2, &vectors);
    assert_eq!(a.blocks(), b.blocks());
    for block in 0..a.blocks().unwrap() {
        let page = |store: &MemoryStore| store.read(block, |page| Ok(*page)).unwrap();
        assert!(page(&a) == page(&b), "block {block}");
    }
}
