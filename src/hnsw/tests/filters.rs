//! Filter columns: conditions on values that the graph keeps, with a test of every row as the
//! oracle.

use super::*;
use crate::filter::condition::{Bound, Condition, Filter, Match, Test};
use crate::filter::sets;
use crate::filter::signature::Column;
use crate::filter::values::{Kind, Values, key_of_int, mix};
use crate::hnsw::insert::NewRow;
use crate::hnsw::scan::Rounds;
use crate::hnsw::space::Learned;
use crate::hnsw::value_lists;
use crate::storage::layout::FilterColumns;
use crate::storage::list_page::{self, ListId};
use crate::storage::page as pages;

const KINDS: [Kind; 4] = [Kind::Exact, Kind::Hashed, Kind::Set, Kind::Rounded];

/// Values of a row: a number of a thousand, one of eight texts, up to three of 50 elements or ten,
/// a date; each NULL in some rows.
pub(super) fn values(row: usize) -> Values {
    let random = |salt: u64, of: u64| mix(row as u64 * 31 + salt) % of;
    let mut values = Values::NONE;
    values.set(0, (random(1, 40) > 0).then(|| key_of_int(random(2, 1000) as i64)));
    values.set(1, (random(3, 20) > 0).then(|| mix(random(4, 8))));
    let count = match random(5, 40) {
        0 => 10,
        _ => random(6, 4),
    };
    let elements = (0..count).map(|i| sets::element(random(13 + i, 50))).collect();
    values.set(2, (random(11, 15) > 0).then(|| sets::key(elements)));
    values.set(3, (random(12, 30) > 0).then(|| key_of_int(row as i64 / 3)));
    values
}

fn test_of(values: &[Values], columns: &[Column], filter: &Filter, row: usize) -> Match {
    filter.test(columns, &values[row])
}

/// An index with the filter columns, with borders of a sample or without.
pub(super) fn create<'s>(
    store: &'s MemoryStore,
    metric: Metric,
    dimensions: usize,
    sample: &[Values],
) -> Graph<'s, MemoryStore> {
    create_with(store, metric, dimensions, sample, lists::FEWEST_BITS)
}

/// As [`create`], with as many lists of a column as these bits number.
fn create_with<'s>(
    store: &'s MemoryStore,
    metric: Metric,
    dimensions: usize,
    sample: &[Values],
    list_bits: u8,
) -> Graph<'s, MemoryStore> {
    let mut parameters = parameters_of(metric, dimensions);
    parameters.shape = Layout::plan(dimensions, 16, metric, FilterColumns::of(KINDS.into_iter()))
        .unwrap()
        .shape;
    parameters.filters = KINDS.map(Some);
    parameters.list_bits = list_bits;
    let borders = |column: usize| {
        let keys = sample.iter().filter_map(|values| values.get(column)).collect();
        Column::of_sample(KINDS[column], keys).borders
    };
    let learned = Learned {
        borders: [0, 1, 2, 3].map(borders),
        ..Learned::default()
    };
    Graph::create(store, parameters, learned).unwrap()
}

pub(super) fn insert_rows(
    graph: &Graph<'_, MemoryStore>,
    vectors: &[Vec<f32>],
    rows: std::ops::Range<usize>,
    all: &[Values],
) {
    let mut inserter = Inserter::of_build();
    for row in rows {
        let new = NewRow {
            values: all[row],
            ..tid(row).into()
        };
        insert::insert(graph, &mut inserter, &vectors[row], new).unwrap();
    }
}

fn range(least: i64, most: i64) -> Test {
    let bound = |key, inclusive| {
        Some(Bound {
            key: key_of_int(key),
            inclusive,
        })
    };
    Test::Range {
        least: bound(least, true),
        most: bound(most, false),
    }
}

/// Conditions of all kinds, from half of the rows to none.
fn filters() -> Vec<Filter> {
    let number = |n| key_of_int(n);
    let tests = [
        vec![(0, range(0, 500))],
        vec![(0, range(100, 200))],
        vec![(0, range(990, 5000))],
        vec![(0, Test::one_of(vec![number(7)]))],
        vec![(0, Test::one_of((0..90).map(number).collect()))],
        vec![(0, Test::Null)],
        vec![(0, Test::NotNull)],
        vec![(0, Test::one_of(vec![number(5000)]))],
        vec![(0, Test::Nothing)],
        vec![(0, Test::Anything)],
        vec![(1, Test::one_of(vec![mix(3)]))],
        vec![(1, Test::Null), (0, range(0, 700))],
        vec![(1, range(0, 10))],
        vec![(2, Test::Overlaps(vec![sets::element(7), sets::element(8)]))],
        vec![(2, Test::Contains(vec![sets::element(3)]))],
        vec![(2, Test::Contains(vec![sets::element(4), sets::element(5)]))],
        vec![(2, Test::Contains(vec![]))],
        vec![(3, range(100, 130))],
        vec![
            (3, range(0, 400)),
            (0, range(0, 300)),
            (1, Test::one_of(vec![mix(1), mix(2)])),
        ],
    ];
    tests
        .into_iter()
        .map(|tests| {
            let of = |(column, test)| Condition { column, test };
            Filter::new(tests.into_iter().map(of).collect())
        })
        .collect()
}

/// All rows that a scan under a filter returns, each with whether it is sure to match.
fn filtered(graph: &Graph<'_, MemoryStore>, query: &[f32], filter: &Filter, limits: Limits) -> Vec<(usize, bool)> {
    let query = graph.space.filtered(graph.space.query(query), filter.clone()).unwrap();
    let mut scan = Scan::new(query, limits);
    std::iter::from_fn(|| {
        let tid = scan.next(graph).unwrap()?;
        Some((row(tid), scan.is_certain()))
    })
    .collect()
}

/// The first ten rows of a scan of this width under a filter, and its visits.
fn first_ten(graph: &Graph<'_, MemoryStore>, query: &[f32], filter: &Filter, width: usize) -> (Vec<usize>, u64) {
    let query = graph.space.filtered(graph.space.query(query), filter.clone()).unwrap();
    let mut scan = Scan::new(query, limits(width));
    let found = std::iter::from_fn(|| scan.next(graph).unwrap()).take(10).map(row);
    (found.collect(), scan.counts().visited)
}

/// Every matching row comes once, no other does, and each is certain where its keys are.
pub(super) fn assert_complete(graph: &Graph<'_, MemoryStore>, query: &[f32], rows: &HashSet<usize>, all: &[Values]) {
    for filter in filters() {
        let found = filtered(graph, query, &filter, limits(20));
        let matches = |row: usize| test_of(all, graph.space.columns(), &filter, row);
        let expected: HashSet<usize> = rows.iter().copied().filter(|&row| matches(row) > Match::No).collect();
        assert_eq!(found.len(), expected.len(), "{filter:?}");
        for (row, is_certain) in found {
            assert!(expected.contains(&row), "{filter:?}: {row}");
            assert_eq!(is_certain, matches(row) == Match::Yes, "{filter:?}: {row}");
        }
    }
}

#[test]
fn a_filtered_scan_returns_the_matching_rows() {
    let vectors = words(3000);
    let all: Vec<Values> = (0..vectors.len()).map(values).collect();
    let rows = (0..vectors.len()).collect();
    for metric in [Metric::L2, Metric::InnerProduct, Metric::L1] {
        for (sample, bits) in [(&all[..600], 7), (&[], 7), (&all[..600], 12)] {
            let store = store();
            let graph = create_with(&store, metric, vectors[0].len(), sample, bits);
            insert_rows(&graph, &vectors, 0..vectors.len(), &all);
            assert_complete(&graph, &vectors[17], &rows, &all);
            assert_eq!(
                check::check(&graph, &mut |fault| panic!("{fault:?}")).unwrap().len(),
                vectors.len()
            );
        }
    }
}

/// The nearest matching rows are found as well as the nearest rows are without a condition.
#[test]
fn filters_do_not_lower_recall() {
    let vectors = words(8000);
    let (base, queries) = vectors.split_at(7900);
    let all: Vec<Values> = (0..base.len()).map(values).collect();
    for metric in [Metric::L2, Metric::L1] {
        let store = store();
        let graph = create(&store, metric, vectors[0].len(), &all[..1000]);
        insert_rows(&graph, base, 0..base.len(), &all);
        for filter in filters() {
            let matches = |row: &usize| test_of(&all, graph.space.columns(), &filter, *row) > Match::No;
            let rows: Vec<usize> = (0..base.len()).filter(matches).collect();
            let (mut hits, mut wanted) = (0, 0);
            for query in queries {
                let nearest = exact(metric, base, rows.iter().copied(), query);
                let Some(last) = nearest.get(9).or(nearest.last()) else {
                    continue;
                };
                let (found, _) = first_ten(&graph, query, &filter, 40);
                assert_eq!(found.len(), rows.len().min(10), "{filter:?}");
                hits += found
                    .iter()
                    .filter(|&&row| exact_sum(metric, query, &base[row]) <= last.0)
                    .count();
                wanted += found.len();
            }
            let recall = hits as f64 / wanted.max(1) as f64;
            assert!(wanted == 0 || recall >= 0.95, "{metric:?} {filter:?}: {recall}");
        }
    }
}

/// Rounds after the first one find the next rows by the graph, although the first one forgot most
/// neighbors.
#[test]
fn further_rounds_find_the_next_rows() {
    let vectors = words(8000);
    let (base, queries) = vectors.split_at(7980);
    let all: Vec<Values> = (0..base.len()).map(values).collect();
    let store = store();
    let graph = create(&store, Metric::L2, vectors[0].len(), &all[..1000]);
    insert_rows(&graph, base, 0..base.len(), &all);
    for test in [range(100, 700), range(100, 200)] {
        let filter = Filter::new(vec![Condition { column: 0, test }]);
        let rows: Vec<usize> = (0..base.len())
            .filter(|&row| test_of(&all, graph.space.columns(), &filter, row) > Match::No)
            .collect();
        let (mut hits, wanted) = (0, 150);
        for query in queries {
            let nearest = exact(Metric::L2, base, rows.iter().copied(), query);
            let query_of = graph.space.filtered(graph.space.query(query), filter.clone()).unwrap();
            let mut scan = Scan::new(query_of, limits(10));
            let found = std::iter::from_fn(|| scan.next(&graph).unwrap()).take(wanted).map(row);
            hits += found
                .filter(|&row| exact_sum(Metric::L2, query, &base[row]) <= nearest[wanted - 1].0)
                .count();
            assert_eq!(scan.counts().passes, 0);
        }
        let recall = hits as f64 / (wanted * queries.len()) as f64;
        assert!(recall >= 0.95, "{filter:?}: {recall} of {} rows", rows.len());
    }
}

/// A scan returns no row twice, whatever memory and bounds end its rounds.
#[test]
fn a_scan_with_little_memory_returns_each_row_once() {
    let vectors = words(6000);
    let all: Vec<Values> = (0..vectors.len()).map(values).collect();
    let store = store();
    let graph = create(&store, Metric::L2, vectors[0].len(), &all[..1000]);
    insert_rows(&graph, &vectors, 0..vectors.len(), &all);
    let ways = [
        (Iteration::Strict, usize::MAX),
        (Iteration::Relaxed, usize::MAX),
        (Iteration::Strict, 3000),
        (Iteration::Off, usize::MAX),
    ];
    for test in [range(0, 500), range(100, 200)] {
        let filter = Filter::new(vec![Condition { column: 0, test }]);
        let matching = (0..vectors.len())
            .filter(|&row| test_of(&all, graph.space.columns(), &filter, row) > Match::No)
            .count();
        for memory in [8, 16, 24, 32, 48, 64, 96, 128, 192, 256] {
            for (iteration, nodes) in ways {
                let limits = Limits {
                    rounds: Rounds::Cheaper,
                    memory: memory << 10,
                    iteration,
                    nodes,
                    ..limits(40)
                };
                let found = filtered(&graph, &vectors[17], &filter, limits);
                let rows: HashSet<usize> = found.iter().map(|&(row, _)| row).collect();
                assert_eq!(rows.len(), found.len(), "{limits:?}");
                let is_whole = iteration != Iteration::Off && nodes == usize::MAX;
                assert!(!is_whole || rows.len() == matching, "{limits:?}: {} rows", rows.len());
            }
        }
    }
}

/// Few matching rows that no list names, without a set, come in order, all of them, although a
/// search would settle with some.
#[test]
fn few_matching_rows_come_in_order() {
    let vectors = words(4040);
    let (base, queries) = vectors.split_at(4000);
    for (i, count) in [12, 25, 40, 80, 100].into_iter().enumerate() {
        let mut with_set = Values::NONE;
        with_set.set(2, Some(sets::key(vec![sets::element(1)])));
        let mut all = vec![with_set; base.len()];
        for n in 0..count {
            all[(n * 97 + i * 31 + 5) % base.len()] = Values::NONE;
        }
        let store = store();
        let graph = create(&store, Metric::L2, base[0].len(), &all[..1000]);
        insert_rows(&graph, base, 0..base.len(), &all);
        let test = Test::Null;
        let filter = Filter::new(vec![Condition { column: 2, test }]);
        for query in queries {
            let query = graph.space.filtered(graph.space.query(query), filter.clone()).unwrap();
            let limits = Limits {
                rounds: Rounds::Cheaper,
                ..limits(100)
            };
            let mut scan = Scan::new(query, limits);
            let distances: Vec<f32> = std::iter::from_fn(|| {
                scan.next(&graph).unwrap()?;
                Some(scan.returned().unwrap().0)
            })
            .collect();
            assert_eq!(distances.len(), count);
            assert!(distances.is_sorted(), "{count} rows: {distances:?}");
        }
    }
}

/// Under a condition on a cluster far from the query, the search does not go on among the nodes
/// near the query: it takes the matching ones from lists if they are not many, and goes on among
/// them otherwise.
#[test]
fn a_cluster_far_from_the_query_is_found() {
    let words = words(16_000);
    let (near, far) = words.split_at(8_000);
    // Words near the origin, and words around a point far from it.
    let mut vectors = near.to_vec();
    vectors.extend(far.iter().map(|word| word.iter().map(|x| x + 1.0).collect()));
    let of_cluster = |row: usize| {
        let mut values = Values::NONE;
        let part = if row < 8_000 { 0 } else { 1 + (row % 8 / 3) as i64 };
        values.set(0, Some(key_of_int(part)));
        values
    };
    let all: Vec<Values> = (0..vectors.len()).map(of_cluster).collect();
    let sample: Vec<Values> = all.iter().step_by(16).copied().collect();
    let store = store();
    let graph = create(&store, Metric::L2, vectors[0].len(), &sample);
    insert_rows(&graph, &vectors, 0..vectors.len(), &all);
    // Lists name three eighths of the far cluster, and the whole cluster for the greater width
    // alone.
    for (least, most, width) in [(1, 2, 40), (1, 2, 10), (1, 4, 40), (1, 4, 10)] {
        let filter = Filter::new(vec![Condition {
            column: 0,
            test: range(least, most),
        }]);
        let rows: Vec<usize> = (0..vectors.len())
            .filter(|&row| test_of(&all, graph.space.columns(), &filter, row) > Match::No)
            .collect();
        let (mut hits, mut visited, mut queries) = (0, 0, 0);
        for query in vectors[..8_000].iter().step_by(400) {
            let nearest = exact(Metric::L2, &vectors, rows.iter().copied(), query);
            let query_of = graph.space.filtered(graph.space.query(query), filter.clone()).unwrap();
            let limits = Limits {
                rounds: Rounds::Cheaper,
                ..limits(width)
            };
            let mut scan = Scan::new(query_of, limits);
            let found = std::iter::from_fn(|| scan.next(&graph).unwrap()).take(10).map(row);
            hits += found
                .filter(|&row| exact_sum(Metric::L2, query, &vectors[row]) <= nearest[9].0)
                .count();
            assert_eq!(scan.counts().passes, 0);
            visited += scan.counts().visited as usize;
            queries += 1;
        }
        let recall = hits as f64 / (10 * queries) as f64;
        let case = format!("{} rows, width {width}: recall {recall}, {visited} visits", rows.len());
        match rows.len() <= 400 * width {
            true => assert!(recall >= 0.98 && visited / queries <= 400, "{case}"),
            false => assert!(recall >= 0.9 && visited / queries <= 1000, "{case}"),
        }
    }
}

/// Of matching rows around the query some are read, although reading all would cost less than a
/// search for as many rows at random.
#[test]
fn a_cluster_around_the_query_is_read_in_part() {
    let vectors = words(16_000);
    let query = &vectors[17];
    let (width, count) = (10, 700);
    let nearest = exact(Metric::L2, &vectors, 0..vectors.len(), query);
    let mut all = vec![Values::NONE; vectors.len()];
    all.iter_mut().for_each(|values| values.set(0, Some(key_of_int(0))));
    for &(_, row) in &nearest[..count] {
        all[row].set(0, Some(key_of_int(1)));
    }
    let store = store();
    let graph = create(&store, Metric::L2, vectors[0].len(), &all);
    insert_rows(&graph, &vectors, 0..vectors.len(), &all);
    let test = Test::one_of(vec![key_of_int(1)]);
    let filter = Filter::new(vec![Condition { column: 0, test }]);
    let (found, visits) = first_ten(&graph, query, &filter, width);
    let hits = found
        .iter()
        .filter(|&&row| exact_sum(Metric::L2, query, &vectors[row]) <= nearest[9].0);
    assert!(hits.count() >= 9, "{found:?}");
    assert!(visits < count as u64 * 3 / 4, "{visits} visits");
}

/// Where half of the rows match, a scan visits hardly more records than one without a condition.
#[test]
fn half_of_the_rows_cost_few_more_visits() {
    let vectors = words(16_000);
    let (base, queries) = vectors.split_at(15_900);
    let mut all = vec![Values::NONE; base.len()];
    for (row, values) in all.iter_mut().enumerate() {
        values.set(0, Some(key_of_int((mix(row as u64) % 2) as i64)));
    }
    let store = store();
    let graph = create(&store, Metric::L2, vectors[0].len(), &all);
    insert_rows(&graph, base, 0..base.len(), &all);
    let one = Test::one_of(vec![key_of_int(1)]);
    let visits_and_recall = |filter: Filter| {
        let (mut visits, mut hits) = (0, 0);
        for query in queries {
            let matches = |&row: &usize| test_of(&all, graph.space.columns(), &filter, row) > Match::No;
            let nearest = exact(Metric::L2, base, (0..base.len()).filter(matches), query);
            let (found, visited) = first_ten(&graph, query, &filter, 40);
            hits += found
                .iter()
                .filter(|&&row| exact_sum(Metric::L2, query, &base[row]) <= nearest[9].0)
                .count();
            visits += visited;
        }
        (visits, hits as f64 / (10 * queries.len()) as f64)
    };
    let (of_all, _) = visits_and_recall(Filter::new(Vec::new()));
    let (of_half, recall) = visits_and_recall(Filter::new(vec![Condition { column: 0, test: one }]));
    assert!(recall >= 0.95, "{recall}");
    assert!(of_half * 10 < of_all * 16, "{of_half} and {of_all} visits");
}

/// The nearest matching rows are found where none of the many nodes around the query match, though
/// all others do.
#[test]
fn a_hole_around_the_query_is_left() {
    let vectors = words(16_000);
    for (query, hole) in [(17, 60), (5_000, 150)] {
        let query = &vectors[query];
        let nearest = exact(Metric::L2, &vectors, 0..vectors.len(), query);
        let mut all = vec![Values::NONE; vectors.len()];
        all.iter_mut().for_each(|values| values.set(0, Some(key_of_int(1))));
        for &(_, row) in &nearest[..hole] {
            all[row].set(0, Some(key_of_int(0)));
        }
        let store = store();
        let graph = create(&store, Metric::L2, vectors[0].len(), &all);
        insert_rows(&graph, &vectors, 0..vectors.len(), &all);
        let test = Test::one_of(vec![key_of_int(1)]);
        let filter = Filter::new(vec![Condition { column: 0, test }]);
        for width in [40, 100] {
            let (found, _) = first_ten(&graph, query, &filter, width);
            let is_near = |&&row: &&usize| exact_sum(Metric::L2, query, &vectors[row]) <= nearest[hole + 9].0;
            let hits = found.iter().filter(is_near).count();
            assert_eq!(found.len(), 10);
            assert!(hits >= 8, "{hits} of 10 beyond {hole} nodes in a width of {width}");
        }
    }
}

/// Rows of one vector and different values are nodes of their own.
#[test]
fn a_node_is_one_vector_with_one_set_of_values() {
    let vector = words(1).remove(0);
    let other = words(2).remove(1);
    let all: Vec<Values> = (0..600)
        .map(|row| {
            let mut values = Values::NONE;
            values.set(0, Some(key_of_int(row / 2)));
            values
        })
        .collect();
    let store = store();
    let graph = create(&store, Metric::L2, vector.len(), &[]);
    let vectors: Vec<Vec<f32>> = (0..600)
        .map(|row| if row < 500 { vector.clone() } else { other.clone() })
        .collect();
    insert_rows(&graph, &vectors, 0..600, &all);
    assert!((300..600).contains(&graph.live_count().unwrap()));
    reachability::reconnect(&graph, &mut Inserter::of_build(), MEMORY).unwrap();
    for row in [0, 77, 249, 299] {
        let filter = Filter::new(vec![Condition {
            column: 0,
            test: Test::one_of(vec![key_of_int(row)]),
        }]);
        let mut found = filtered(&graph, &vector, &filter, limits(10));
        found.sort_unstable();
        assert_eq!(found, [(2 * row as usize, true), (2 * row as usize + 1, true)]);
    }
    assert_eq!(first(&graph, &vector, usize::MAX, limits(10)).len(), 600);
    check::check(&graph, &mut |fault| panic!("{fault:?}")).unwrap();
}

/// Values come and go; lists keep to the live nodes, and their pages are used again.
#[test]
fn lists_follow_inserts_and_vacuum() {
    let vectors = words(4000);
    let all: Vec<Values> = (0..vectors.len()).map(values).collect();
    let store = store();
    let graph = create_with(&store, Metric::L2, vectors[0].len(), &all[..500], 9);
    insert_rows(&graph, &vectors, 0..2000, &all);
    let mut rows: HashSet<usize> = (0..2000).collect();
    let mut most = 0;
    for round in 0..8 {
        let gone: HashSet<usize> = rows.iter().copied().filter(|row| (row + round) % 3 == 0).collect();
        bulk_delete::remove(&graph, MEMORY, each(|tid| gone.contains(&row(tid)))).unwrap();
        rows.retain(|row| !gone.contains(row));
        let mut inserter = Inserter::default();
        for &row in &gone {
            // The row comes back with another's values.
            let new = NewRow {
                values: all[row],
                ..tid(row).into()
            };
            insert::insert(&graph, &mut inserter, &vectors[row + 2000], new).unwrap();
            rows.insert(row);
        }
        if round == 1 {
            most = store.blocks().unwrap();
        }
    }
    assert!(
        store.blocks().unwrap() <= most + most / 4,
        "{} {most}",
        store.blocks().unwrap()
    );
    assert_complete(&graph, &vectors[3], &rows, &all);
    assert_eq!(
        check::check(&graph, &mut |fault| panic!("{fault:?}")).unwrap().len(),
        rows.len()
    );
    bulk_delete::remove(&graph, MEMORY, each(|_| true)).unwrap();
    assert_complete(&graph, &vectors[3], &HashSet::new(), &all);
    // No page of a list is left.
    let mut lists = 0;
    for block in graph.node_blocks().unwrap() {
        store
            .read(block, |page| {
                lists += usize::from(pages::is_list(page));
                Ok(())
            })
            .unwrap();
    }
    assert_eq!(lists, 0);
}

/// A list with many pages loses all but one, and its pages become node pages.
#[test]
fn pages_of_a_long_list_are_freed() {
    let vectors = words(3);
    let store = store();
    let graph = create(&store, Metric::L2, vectors[0].len(), &[]);
    let rows = 3 * graph.space.lists.most_entries();
    let mut all = vec![Values::NONE; rows];
    for (row, values) in all.iter_mut().enumerate() {
        values.set(0, Some(key_of_int(row as i64)));
    }
    let near: Vec<Vec<f32>> = (0..rows)
        .map(|row| vectors[row % 3].iter().map(|x| x + row as f32 * 1e-3).collect())
        .collect();
    insert_rows(&graph, &near, 0..rows, &all);
    let count = |graph: &Graph<'_, MemoryStore>| {
        let blocks = graph.node_blocks().unwrap();
        blocks
            .filter(|&block| store.read(block, |page| Ok(pages::is_list(page))).unwrap())
            .count()
    };
    let before = count(&graph);
    assert!(before >= 3, "{before}");
    bulk_delete::remove(&graph, MEMORY, each(|tid| !row(tid).is_multiple_of(500))).unwrap();
    bulk_delete::remove(&graph, MEMORY, each(|tid| row(tid) > 0)).unwrap();
    assert!(count(&graph) < before);
    check::check(&graph, &mut |fault| panic!("{fault:?}")).unwrap();
    let filter = Filter::new(vec![Condition {
        column: 0,
        test: range(-1, 5000),
    }]);
    assert_eq!(filtered(&graph, &near[0], &filter, limits(10)), [(0, true)]);
}

/// The checker finds a node without its entry, and [`value_lists::complete`] adds it.
#[test]
fn a_missing_entry_is_found_and_added() {
    let vectors = words(300);
    let all: Vec<Values> = (0..vectors.len()).map(values).collect();
    let store = store();
    let graph = create(&store, Metric::L2, vectors[0].len(), &all);
    insert_rows(&graph, &vectors, 0..vectors.len(), &all);
    let mut gone = HashSet::new();
    for block in graph.node_blocks().unwrap() {
        store
            .write(block, |page| {
                if pages::is_list(page) {
                    let ListId { column, list } = list_page::id(page);
                    list_page::retain(page, &graph.space.lists, |entry| {
                        let is_gone = entry.link.node.0 % 7 == u32::from(list) % 7;
                        if is_gone {
                            gone.insert((column, entry.link.node));
                        }
                        !is_gone
                    });
                }
                Ok(Edit::Changed(()))
            })
            .unwrap();
    }
    let mut faults = 0;
    check::check(&graph, &mut |fault| {
        assert!(fault.severity == Severity::Leftover && fault.what.contains("not in the list"));
        faults += 1;
    })
    .unwrap();
    assert_eq!(faults, gone.len());
    assert!(gone.iter().any(|(column, _)| *column == 2));
    value_lists::upkeep::complete(&graph, 1 << 12).unwrap();
    check::check(&graph, &mut |fault| panic!("{fault:?}")).unwrap();
    assert_complete(&graph, &vectors[3], &(0..vectors.len()).collect(), &all);
}

/// A page of a list at the end of the file is in use, although it has no records.
#[test]
fn pages_of_lists_are_not_cut_off() {
    let vectors = words(3000);
    let all: Vec<Values> = (0..vectors.len()).map(values).collect();
    let store = store();
    let graph = create(&store, Metric::L2, vectors[0].len(), &all[..500]);
    insert_rows(&graph, &vectors, 0..vectors.len(), &all);
    bulk_delete::remove(&graph, MEMORY, each(|tid| row(tid) >= 100)).unwrap();
    let end = truncate::empty_end(&graph, || true).unwrap();
    let mut lists = 0;
    for block in graph.node_blocks().unwrap() {
        let is_list = store.read(block, |page| Ok(pages::is_list(page))).unwrap();
        assert!(!is_list || block < end.from, "block {block} of {}", end.from);
        lists += usize::from(is_list);
    }
    assert!(lists > 0);
    bulk_delete::remove(&graph, MEMORY, each(|_| true)).unwrap();
    assert_eq!(
        truncate::empty_end(&graph, || true).unwrap().from,
        graph.space.layout.first_block
    );
    insert_rows(&graph, &vectors, 0..200, &all);
    assert_complete(&graph, &vectors[3], &(0..200).collect(), &all);
}

/// A VACUUM that keeps the entry point adds no second entries of its node.
#[test]
fn a_lasting_entry_point_is_in_its_lists_once() {
    let vectors = words(8);
    let all: Vec<Values> = (0..vectors.len()).map(values).collect();
    let store = store();
    let graph = create(&store, Metric::L2, vectors[0].len(), &[]);
    insert_rows(&graph, &vectors, 0..8, &all);
    // No row has a higher level.
    assert_eq!(graph.entry().unwrap().unwrap().level, 0);
    for _ in 0..32 {
        bulk_delete::remove(&graph, MEMORY, each(|tid| row(tid) == 7)).unwrap();
        insert_rows(&graph, &vectors, 7..8, &all);
    }
    let mut entries = 0;
    for block in graph.node_blocks().unwrap() {
        let of_page = |page: &Page| {
            Ok(match pages::is_list(page) {
                true => list_page::entries(page, &graph.space.lists).count(),
                false => 0,
            })
        };
        entries += store.read(block, of_page).unwrap();
    }
    let lists = |values: &Values| {
        (0..KINDS.len() as u8)
            .map(|column| graph.space.lists_of(values, column).as_slice().len())
            .sum::<usize>()
    };
    assert_eq!(entries, all.iter().map(lists).sum::<usize>());
}
