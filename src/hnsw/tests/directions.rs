//! Indexes with directions of the data.

use super::checker::faults;
use super::*;
use crate::hnsw::space::Learned;
use crate::hnsw::space::learning::{self, Found};
use crate::quantize::scalar::Width;
use crate::storage::directions;
use crate::storage::page::PageKind;
use crate::storage::parameters::Reflections;
use crate::test_data::{gaussian, variations};

const DIMENSIONS: usize = 600;

/// The directions of these rows, each of which is a run.
fn found(metric: Metric, vectors: &[Vec<f32>], centroid: &[f32]) -> Option<Found> {
    let plain = Layout::plan(DIMENSIONS, 16, metric, 0).unwrap();
    let rows = vectors.iter().enumerate().map(|(i, vector)| (&vector[..], i));
    learning::best(plain.with_directions(), &plain, rows, centroid, &|| ()).unwrap()
}

/// What a build learns of these rows, and its parameters.
fn learned(metric: Metric, vectors: &[Vec<f32>]) -> (Parameters, Learned) {
    let mut parameters = parameters_of(metric, vectors[0].len());
    let centroid = centroid_of(metric, vectors);
    let found = found(metric, vectors, &centroid).expect("rows with directions");
    (parameters.shape, parameters.directions) = (found.shape, found.name);
    let learned = Learned {
        centroid,
        directions: found.directions,
        ..Learned::default()
    };
    (parameters, learned)
}

fn filled<'s>(store: &'s MemoryStore, metric: Metric, vectors: &[Vec<f32>]) -> Graph<'s, MemoryStore> {
    let (parameters, learned) = learned(metric, vectors);
    let graph = Graph::create(store, parameters, learned).unwrap();
    fill(&graph, &mut Inserter::default(), vectors);
    graph
}

#[test]
fn the_nearest_are_found_in_a_smaller_index() {
    let vectors = unit(variations(1550, DIMENSIONS));
    let (base, queries) = vectors.split_at(1500);
    let rows = (0..base.len()).collect();
    for metric in [Metric::L2, Metric::Cosine, Metric::InnerProduct] {
        let (with, without) = (store(), store());
        let graph = filled(&with, metric, base);
        let plain = build(&without, metric, base);
        let found = [&graph, &plain].map(|graph| recall(graph, base, &rows, queries, 40));
        assert!(found[0] >= found[1] - 0.01, "{metric:?}: {found:?}");
        assert!(recall(&graph, base, &rows, queries, 400) >= 0.995);
        let pages = [&with, &without].map(|store| store.blocks().unwrap());
        assert!(pages[0] < pages[1], "{pages:?}");
        assert_eq!(faults(&graph).first(), None, "{metric:?}");
    }
}

#[test]
fn an_index_is_opened_with_its_directions_and_stays_right_through_changes() {
    let vectors = unit(variations(1600, DIMENSIONS));
    let store = store();
    filled(&store, Metric::Cosine, &vectors[..1500]);
    let graph = Graph::open(&store).unwrap();
    assert!(graph.space.parameters.directions != Reflections::NONE);
    let mut inserter = Inserter::default();
    for (i, vector) in vectors.iter().enumerate().skip(1500) {
        insert::insert(&graph, &mut inserter, vector, tid(i)).unwrap();
    }
    let rows: HashSet<usize> = (0..vectors.len()).filter(|row| row % 3 != 0).collect();
    bulk_delete::remove(&graph, MEMORY, each(|tid| !rows.contains(&row(tid)))).unwrap();
    assert_eq!(faults(&graph).first(), None);
    assert_eq!(unreachable(&graph), 0);
    for (i, vector) in vectors.iter().enumerate().filter(|(row, _)| rows.contains(row)) {
        assert_eq!(first(&graph, vector, 1, limits(40)), [i]);
    }
    let all: HashSet<_> = first(&graph, &vectors[0], usize::MAX, limits(40)).into_iter().collect();
    assert_eq!(all, rows);
}

#[test]
fn damaged_directions_are_refused() {
    let vectors = unit(variations(600, DIMENSIONS));
    let (parameters, learned) = learned(Metric::Cosine, &vectors);
    let refuses = |damage: &dyn Fn(&mut Page), of: f64| {
        let store = store();
        let parameters = Graph::create(&store, parameters, learned.clone())
            .unwrap()
            .space
            .parameters;
        let blocks = parameters.first_node_block() - parameters.first_directions_block();
        assert!(blocks > 1);
        assert!(directions::read(&store, &parameters).is_ok());
        let block = parameters.first_directions_block() + (of * f64::from(blocks - 1)) as u32;
        let damage = |page: &mut Page| {
            damage(page);
            Ok(Edit::Changed(()))
        };
        store.write(block, damage).unwrap();
        assert!(directions::read(&store, &parameters).is_err());
    };
    for of in [0.0, 0.5, 1.0] {
        for at in [24, 25, 500, 701] {
            refuses(&|page| page[at] ^= 0x40, of);
        }
        for at in [12, 13, 14, 16, page::SPECIAL, page::SPECIAL + 2, page::SPECIAL + 15] {
            refuses(&|page| page[at] ^= 1, of);
        }
        refuses(&|page| page.fill(0), of);
        refuses(&|page| page[24..4000].fill(0xFF), of);
        refuses(&|page| page::init(page, PageKind::Node, 0), of);
    }
}

#[test]
fn the_check_reads_what_a_build_learned_also_where_an_earlier_scan_has_it() {
    let vectors = unit(variations(600, DIMENSIONS));
    let store = store();
    let graph = filled(&store, Metric::Cosine, &vectors);
    assert_eq!(faults(&graph).first(), None);
    let parameters = graph.space.parameters;
    for block in [1, parameters.first_directions_block() + 1] {
        let damage = |by: u8| {
            let flip = |page: &mut Page| {
                page[500] ^= by;
                Ok(Edit::Changed(()))
            };
            store.write(block, flip).unwrap();
        };
        damage(0x40);
        let found = faults(&Graph::with(&store, graph.space.clone()));
        assert_eq!(found.len(), 1, "block {block}: {found:?}");
        assert_eq!(found[0].severity, Severity::Corruption);
        damage(0x40);
    }
    assert_eq!(faults(&graph).first(), None);
}

#[test]
fn rows_without_directions_and_few_rows_have_none() {
    let of = |vectors: &[Vec<f32>], centroid: &[f32]| found(Metric::L2, vectors, centroid);
    assert!(of(&gaussian(800, DIMENSIONS, 1), &[]).is_none());
    assert!(of(&unit(variations(100, DIMENSIONS)), &[]).is_none());
    assert!(of(&unit(variations(800, DIMENSIONS)), &[]).is_some());
    for number in [0.0, f32::MAX] {
        let vector = vec![number; DIMENSIONS];
        assert!(of(&vec![vector.clone(); 800], &vector).is_none(), "{number}");
    }
}

#[test]
fn layouts_of_long_vectors_have_more_records_or_no_coarser_vectors() {
    for (dimensions, slots) in [
        (512, 5),
        (768, 4),
        (1024, 4),
        (1280, 3),
        (1536, 3),
        (2048, 2),
        (3072, 2),
    ] {
        let plain = Layout::plan(dimensions, 16, Metric::Cosine, 0).unwrap();
        let layouts: Vec<Layout> = plain.with_directions().collect();
        assert_eq!(layouts[0].slots, slots, "{dimensions}");
        for layout in layouts {
            let eight = layout.shape.encoding.rest_width() == Some(Width::Eight);
            assert!(
                layout.slots > plain.slots || layout.slots == plain.slots && !eight,
                "{dimensions}"
            );
            assert!((192..=512).contains(&layout.shape.code_bits), "{dimensions}");
        }
    }
    for (dimensions, m, metric) in [
        (128, 16, Metric::L2),
        (384, 16, Metric::Cosine),
        (384, 32, Metric::Cosine),
        (1536, 16, Metric::L1),
        (5000, 16, Metric::L2),
    ] {
        let plain = Layout::plan(dimensions, m, metric, 0).unwrap();
        assert_eq!(plain.with_directions().count(), 0, "{dimensions}");
    }
}
