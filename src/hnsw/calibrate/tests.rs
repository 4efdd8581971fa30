use super::*;
use crate::distance::Metric;
use crate::filter::lists;
use crate::hnsw::insert::{self, Inserter};
use crate::storage::memory_store::MemoryStore;
use crate::storage::parameters::{Element, Parameters, Reflections};
use crate::storage::{HeapTid, Layout};
use crate::test_data::words;

/// Time that no measurement of these tests takes.
const TIME: Duration = Duration::from_secs(600);

fn store() -> MemoryStore {
    MemoryStore::new(256 << 20).unwrap()
}

fn tid(row: usize) -> HeapTid {
    HeapTid {
        block: row as u32 / 100,
        offset: (row % 100 + 1) as u16,
    }
}

fn build<'s>(store: &'s MemoryStore, metric: Metric, vectors: &[Vec<f32>]) -> Graph<'s, MemoryStore> {
    let parameters = Parameters {
        shape: Layout::plan(vectors[0].len(), 16, metric, 0).unwrap().shape,
        element: Element::Vector,
        metric,
        ef_construction: 64,
        seed: 42,
        centroid: 0,
        filters: [None; crate::filter::values::MOST_COLUMNS],
        borders: 0,
        list_bits: lists::FEWEST_BITS,
        directions: Reflections::NONE,
    };
    let graph = Graph::create(store, parameters, Vec::new()).unwrap();
    let mut inserter = Inserter::default();
    for (i, vector) in vectors.iter().enumerate() {
        insert::insert(&graph, &mut inserter, vector, tid(i)).unwrap();
    }
    graph
}

/// Rows in order of their distance from a query, by passes alone.
fn exact<'g>(graph: &'g Graph<'_, MemoryStore>, query: &Query) -> impl Iterator<Item = (NodeRef, f32)> + 'g {
    let limits = Limits {
        rounds: Rounds::None,
        ..Limits::none(10)
    };
    let mut scan = Scan::new(query.clone(), limits);
    std::iter::from_fn(move || {
        scan.next(graph).unwrap()?;
        Some((scan.node(), scan.returned().unwrap().0))
    })
}

fn asked(query: &Query) -> Asked {
    Asked {
        query: query.clone(),
        own: NodeRef::NONE,
    }
}

/// A measurement by all pages, without a bound of time.
fn of(graph: &Graph<'_, MemoryStore>, mut asked: Vec<Asked>, ks: &[usize]) -> Measurement {
    let bounding = bounding(graph, &mut asked, ks, None).unwrap();
    Measurement::of(graph, asked, bounding, ks, 1.0, None).unwrap()
}

fn by_queries(graph: &Graph<'_, MemoryStore>, queries: Vec<Query>, ks: &[usize]) -> Vec<Row> {
    let measurement = Measurement::new(graph, queries, ks).unwrap();
    WIDTHS
        .iter()
        .map(|&width| measurement.at(graph, width).unwrap())
        .collect()
}

/// Every 20th word is a query, and no row.
fn split() -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let words = words(6_000);
    let rows = words.iter().enumerate().filter(|(i, _)| i % 20 > 0);
    let rows = rows.map(|(_, word)| word.clone()).collect();
    (rows, words.into_iter().step_by(20).collect())
}

#[test]
fn recall_of_queries_is_what_counting_by_hand_gives() {
    let (rows, queries) = split();
    for metric in [Metric::L2, Metric::L1] {
        let store = store();
        let graph = build(&store, metric, &rows);
        let queries: Vec<_> = queries
            .iter()
            .take(40)
            .map(|query| graph.space().query(query))
            .collect();
        let ks = [1, 10, 100, 7];
        let measured = by_queries(&graph, queries.clone(), &ks);
        assert_eq!(measured.len(), WIDTHS.len());
        for row in &measured {
            for (&k, outcome) in ks.iter().zip(&row.of) {
                let mut hits = 0;
                for query in &queries {
                    let nearest: Vec<_> = exact(&graph, query).take(k).map(|(node, _)| node).collect();
                    let found = scan(&graph, &asked(query), usize::from(row.width), &[k]).unwrap().found;
                    hits += found.iter().filter(|(_, node)| nearest.contains(node)).count();
                }
                let by_hand = hits as f64 / (k * queries.len()) as f64;
                // Rows as near as the kth count, of which by hand only one does.
                let more = outcome.recall - by_hand;
                assert!((-1e-9..0.002).contains(&more), "{metric:?}, {row:?}, {k}: {by_hand}");
            }
        }
        let last = &measured[measured.len() - 1].of;
        assert!(last.iter().all(|outcome| outcome.recall > 0.99), "{last:?}");
        // More rows and wider searches take more visits.
        assert!(last[0].visits <= last[1].visits && last[1].visits <= last[2].visits);
        assert!(measured.is_sorted_by(|a, b| a.of[1].visits < b.of[1].visits));
    }
}

#[test]
fn rows_as_queries_foretell_the_recall_of_other_queries() {
    let (rows, queries) = split();
    for metric in [Metric::L2, Metric::L1] {
        let store = store();
        let graph = build(&store, metric, &rows);
        let by_rows = by_rows(&graph, TIME).unwrap().unwrap();
        assert_eq!((by_rows.source, by_rows.queries), (Source::Rows, MOST_QUERIES as u16));
        let nodes = by_rows.nodes as f64 / rows.len() as f64;
        assert!((0.8..1.25).contains(&nodes), "{nodes}");
        let queries = queries.iter().map(|query| graph.space().query(query)).collect();
        let by_queries = by_queries(&graph, queries, &KS);
        for (row, measured) in by_queries.iter().zip(&by_rows.measured) {
            let (by_rows, recall) = (f64::from(measured.recall[USUAL]), row.of[USUAL].recall);
            let apart = by_rows - recall;
            assert!(
                apart.abs() < 0.05,
                "{metric:?} at {}: {by_rows} and {recall}",
                row.width
            );
        }
        let width = by_rows.width(USUAL, 0.95);
        let at = by_queries.iter().find(|row| row.width >= width).unwrap();
        assert!(at.of[USUAL].recall > 0.93, "{metric:?} at {width}: {at:?}");
    }
}

#[test]
fn a_search_without_a_node_finds_all_others() {
    let (rows, _) = split();
    for metric in [Metric::L2, Metric::L1] {
        let store = store();
        let graph = build(&store, metric, &rows[..1500]);
        let sampled = sample::nodes(&graph, 60, None).unwrap();
        assert_eq!(sampled.queries.len(), 60);
        for asked in &sampled.queries {
            let all = scan(&graph, &self::asked(&asked.query), 1500, &[2000]).unwrap().found;
            assert_eq!(all.len(), 1499);
            assert!(all.iter().all(|(_, node)| *node != asked.own));
            assert!(exact(&graph, &asked.query).all(|(node, _)| node != asked.own));
            // The own vector is a query like any other, and finds the node.
            let query = asked.query.clone().without(NodeRef::NONE, false);
            let own = exact(&graph, &query).next();
            assert_eq!(own.map(|(node, _)| node), Some(asked.own));
        }
    }
}

#[test]
fn a_share_of_the_pages_tells_about_the_rest() {
    let (rows, _) = split();
    let store = store();
    let graph = build(&store, Metric::L2, &rows);
    let sampled = sample::nodes(&graph, 300, None).unwrap();
    // Nothing is known, so the pass finds everything.
    let nothing = || sampled.queries.iter().map(|_| &[][..]);
    let pass = |share, until| exact::missed(&graph, &sampled.queries, nothing(), &[100], share, until).unwrap();
    let Exact {
        missed: whole,
        nodes,
        share,
    } = pass(1.0, None);
    assert_eq!((nodes, share), (rows.len(), 1.0));
    let about = pass(0.5, None).nodes;
    assert!(about.abs_diff(nodes) < nodes / 10, "{about} of {nodes}");
    for (asked, missed) in sampled.queries.iter().zip(&whole).take(20) {
        let by_scan = exact(&graph, &asked.query).nth(99).unwrap().1;
        assert_eq!(missed[99].0, by_scan);
    }
    assert_eq!(pass(1.0, Instant::now().checked_add(TIME)).missed, whole);
}

#[test]
fn a_share_of_the_pages_tells_the_recall_that_all_do() {
    let (rows, queries) = split();
    let store = store();
    let graph = build(&store, Metric::L2, &rows);
    let asked: Vec<_> = queries.iter().map(|query| asked(&graph.space().query(query))).collect();
    // Narrow scans know less than others do, so there is more to find.
    let narrow = asked.iter().map(|asked| scan(&graph, asked, 10, &[10]).unwrap());
    let bounding = narrow.collect();
    let mut measurement = Measurement {
        asked,
        ks: vec![10],
        bounding,
        missed: Vec::new(),
        nodes: 0,
        share: 1.0,
    };
    let recall = |measurement: &mut Measurement, share| {
        let known = measurement.bounding.iter().map(|scanned| &scanned.found[..]);
        let pass = exact::missed(&graph, &measurement.asked, known, &[10], share, None).unwrap();
        (measurement.missed, measurement.nodes, measurement.share) = (pass.missed, pass.nodes, pass.share);
        measurement.at(&graph, 10).unwrap().of[0].recall
    };
    let whole = recall(&mut measurement, 1.0);
    assert!((0.9..0.985).contains(&whole), "{whole}");
    for share in [0.6, 0.3] {
        let part = recall(&mut measurement, share);
        assert!((part - whole).abs() < 0.012, "{part} by {share} of the pages, {whole}");
    }
    // Pages without a live node show no loss.
    measurement.missed.iter_mut().for_each(Vec::clear);
    (measurement.nodes, measurement.share) = (0, 0.05);
    let of_nothing = measurement.at(&graph, 10).unwrap().of[0].recall;
    assert!((whole..=1.0).contains(&of_nothing), "{of_nothing}");
}

#[test]
fn few_rows_or_little_time_give_no_calibration() {
    let (rows, _) = split();
    let store = store();
    let graph = build(&store, Metric::L2, &rows[..FEWEST_NODES / 2]);
    assert_eq!(by_rows(&graph, TIME).unwrap(), None);
    for row in &rows[FEWEST_NODES / 2..2 * FEWEST_NODES] {
        insert::insert(&graph, &mut Inserter::default(), row, tid(0)).unwrap();
    }
    assert_eq!(by_rows(&graph, Duration::from_millis(1)).unwrap(), None);
    assert!(by_rows(&graph, TIME).unwrap().is_some());
    let empty = MemoryStore::new(1 << 24).unwrap();
    let graph = build(&empty, Metric::L2, &rows[..1]);
    assert_eq!(by_rows(&graph, TIME).unwrap(), None);
}

#[test]
fn each_step_ends_when_its_time_is_up() {
    let (rows, _) = split();
    let store = store();
    let graph = build(&store, Metric::L2, &rows);
    let now = Some(Instant::now());
    assert_eq!(sample::nodes(&graph, 60, now).unwrap().queries.len(), 0);
    let asked = || sample::nodes(&graph, 60, None).unwrap().queries;
    let mut queries = asked();
    assert!(bounding(&graph, &mut queries, &KS, now).unwrap().is_empty() && queries.is_empty());
    let queries = asked();
    let nothing = queries.iter().map(|_| &[][..]);
    let pass = exact::missed(&graph, &queries, nothing, &KS, 1.0, now).unwrap();
    assert!(pass.share < LEAST_SHARE, "{}", pass.share);
    let whole = of(&graph, asked(), &KS);
    assert_eq!((whole.asked.len(), whole.share), (60, 1.0));
    let row = |until| whole.of_part(&graph, 10, &KS, 60, until).unwrap();
    assert_eq!(row(now).0.of[USUAL].queries, 0);
    let never = Instant::now().checked_add(TIME);
    assert_eq!(row(never).0.of[USUAL].queries, 60);
}

#[test]
fn a_search_through_the_own_node_finds_more_than_one_around_it() {
    let (rows, _) = split();
    for metric in [Metric::L2, Metric::L1] {
        let store = store();
        let graph = build(&store, metric, &rows);
        let nodes: Vec<_> = sample::nodes(&graph, 200, None).unwrap().queries;
        let recall = |leads_on| {
            let asked = nodes.iter().map(|asked| Asked {
                query: asked.query.clone().without(asked.own, leads_on),
                own: asked.own,
            });
            let measurement = of(&graph, asked.collect(), &[10]);
            for asked in &measurement.asked[..20] {
                let found = scan(&graph, asked, 10, &[10]).unwrap().found;
                assert!(found.len() == 10 && found.iter().all(|(_, node)| *node != asked.own));
            }
            measurement.at(&graph, 10).unwrap().of[0].recall
        };
        let (around, through) = (recall(false), recall(true));
        assert!(around + 0.02 < through, "{metric:?}: {around} and {through}");
    }
}
