//! Answers from value lists: the nearest nodes by their codes, and all others if they are wanted.

use super::checker::faults;
use super::filters::{create, insert_rows};
use super::*;
use crate::filter::condition::{Condition, Filter, Test};
use crate::filter::values::{Values, key_of_int};
use crate::hnsw::value_lists;
use crate::storage::list_page;
use crate::storage::page as pages;

/// Rows with a number of four each.
fn numbered(rows: usize) -> Vec<Values> {
    let of = |row: usize| {
        let mut values = Values::NONE;
        values.set(0, Some(key_of_int(row as i64 % 4)));
        values
    };
    (0..rows).map(of).collect()
}

/// A scan for the rows with the number 1.
fn scan_of(graph: &Graph<'_, MemoryStore>, query: &[f32], limits: Limits) -> Scan {
    let test = Test::one_of(vec![key_of_int(1)]);
    let filter = Filter::new(vec![Condition { column: 0, test }]);
    Scan::new(graph.space.filtered(graph.space.query(query), filter).unwrap(), limits)
}

#[test]
fn a_scan_of_lists_reads_few_nodes_for_few_rows_and_returns_all_rows_once() {
    let vectors = words(8000);
    let all = numbered(vectors.len());
    for metric in [Metric::L2, Metric::InnerProduct] {
        let store = store();
        let graph = create(&store, metric, vectors[0].len(), &all[..1000]);
        insert_rows(&graph, &vectors, 0..vectors.len(), &all);
        let query = &vectors[77];
        let rows: Vec<usize> = (0..vectors.len()).filter(|row| row % 4 == 1).collect();
        let nearest = exact(metric, &vectors, rows.iter().copied(), query);

        // Some rows cost some nodes, and no search.
        let mut scan = scan_of(&graph, query, limits(10));
        let found: Vec<usize> = std::iter::from_fn(|| scan.next(&graph).unwrap().map(row))
            .take(10)
            .collect();
        let is_near = |row: &&usize| exact_sum(metric, query, &vectors[**row]) <= nearest[9].0;
        assert!(found.iter().filter(is_near).count() >= 9, "{metric:?}: {found:?}");
        let counts = scan.counts();
        assert_eq!(counts.estimates, 0, "{metric:?}");
        assert!(counts.visited < 600, "{metric:?}: {}", counts.visited);

        // All rows come once, more than a scan keeps at first, in order but for the late ones.
        let found: Vec<usize> = std::iter::once(found[0])
            .chain(found[1..].iter().copied())
            .chain(std::iter::from_fn(|| scan.next(&graph).unwrap().map(row)))
            .collect();
        assert_eq!(found.len(), rows.len(), "{metric:?}");
        assert_eq!(
            found.iter().copied().collect::<HashSet<_>>(),
            rows.iter().copied().collect()
        );
        assert_eq!(scan.counts().passes, 0);
        let distances: Vec<f64> = found
            .iter()
            .map(|&row| exact_sum(metric, query, &vectors[row]))
            .collect();
        let late = distances.windows(2).filter(|pair| pair[0] > pair[1] + 1e-4).count();
        assert!(late <= rows.len() / 20, "{metric:?}: {late} rows out of order");

        // A scan of one round returns as many as it is wide, in order.
        let alone = Limits {
            iteration: Iteration::Off,
            ..limits(10)
        };
        let mut scan = scan_of(&graph, query, alone);
        let found = std::iter::from_fn(|| scan.next(&graph).unwrap()).map(row);
        let distances: Vec<f64> = found.map(|row| exact_sum(metric, query, &vectors[row])).collect();
        assert_eq!(distances.len(), 10);
        assert!(
            distances.windows(2).all(|pair| pair[0] <= pair[1] + 1e-4),
            "{distances:?}"
        );
        let hits = distances.iter().filter(|&&distance| distance <= nearest[9].0).count();
        assert!(hits >= 9, "{metric:?}: {hits}");
    }
}

/// Rows that come while a scan of lists is under way are no error, and neither are removed ones.
#[test]
fn lists_may_change_while_a_scan_reads_them() {
    let vectors = words(6000);
    let all = numbered(vectors.len());
    let store = store();
    let graph = create(&store, Metric::L2, vectors[0].len(), &all[..1000]);
    insert_rows(&graph, &vectors, 0..5000, &all);
    let mut scan = scan_of(&graph, &vectors[5], limits(10));
    let mut found: Vec<usize> = (0..10).map(|_| row(scan.next(&graph).unwrap().unwrap())).collect();
    bulk_delete::remove(&graph, MEMORY, each(|tid| row(tid).is_multiple_of(3))).unwrap();
    insert_rows(&graph, &vectors, 5000..6000, &all);
    found.extend(std::iter::from_fn(|| scan.next(&graph).unwrap().map(row)));
    let unique: HashSet<usize> = found.iter().copied().collect();
    assert_eq!(unique.len(), found.len());
    assert!(unique.iter().all(|row| row % 4 == 1));
    // All rows that stayed are there.
    let stayed = (0..5000usize).filter(|row| row % 4 == 1 && !row.is_multiple_of(3));
    assert!(stayed.into_iter().all(|row| unique.contains(&row)));
}

/// Entries that a crash of VACUUM left, of nodes in whose places others are, hide none of these.
#[test]
fn stale_entries_hide_no_nodes() {
    let vectors = words(3000);
    let all = numbered(vectors.len());
    let store = store();
    let graph = create(&store, Metric::L2, vectors[0].len(), &all);
    insert_rows(&graph, &vectors, 0..2000, &all);
    bulk_delete::remove(&graph, MEMORY, each(|tid| row(tid).is_multiple_of(2))).unwrap();
    insert_rows(&graph, &vectors, 2000..3000, &all);
    let all_of = |width| {
        let mut scan = scan_of(&graph, &vectors[1], limits(width));
        let mut rows: Vec<usize> = std::iter::from_fn(|| scan.next(&graph).unwrap().map(row)).collect();
        rows.sort_unstable();
        rows
    };
    let expected: Vec<usize> = (0..3000).filter(|row| row % 4 == 1).collect();
    assert_eq!(all_of(10), expected);
    let (mut stale, mut point) = (0, Point::default());
    for block in graph.node_blocks().unwrap() {
        if store.read(block, |page| Ok(pages::is_list(page))).unwrap() {
            continue;
        }
        let mut here = Vec::new();
        graph.live_on(block, |link, _| here.push(link)).unwrap();
        for link in here.into_iter().filter(|link| link.generation > 0) {
            graph.read_point(link, 0, &mut point).unwrap();
            let earlier = Link {
                generation: link.generation - 1,
                ..link
            };
            value_lists::add(&graph, earlier, &point).unwrap();
            stale += 1;
        }
    }
    assert!(stale > 100, "{stale}");
    assert_eq!(all_of(10), expected);
    assert_eq!(all_of(400), expected);
}

/// Rows that come and go leave the number of a list's pages as it is.
#[test]
fn the_number_of_pages_follows_vacuum() {
    let vectors = words(400);
    let all = vec![numbered(2)[1]; vectors.len()];
    let store = store();
    let graph = create(&store, Metric::L2, vectors[0].len(), &all[..100]);
    let most = graph.space.lists.most_entries();
    assert!(most < 300);
    for _ in 0..6 {
        insert_rows(&graph, &vectors, 0..400, &all);
        bulk_delete::remove(&graph, MEMORY, each(|tid| row(tid) > 0)).unwrap();
        bulk_delete::remove(&graph, MEMORY, each(|tid| row(tid) == 0)).unwrap();
    }
    insert_rows(&graph, &vectors, 0..400, &all);
    for block in graph.node_blocks().unwrap() {
        store
            .read(block, |page| {
                let told = pages::is_list(page).then(|| list_page::pages(page));
                assert!(
                    told.is_none_or(|told| told as usize <= 2 * (400 / most + 2)),
                    "{told:?}"
                );
                Ok(())
            })
            .unwrap();
    }
}

#[test]
fn the_checker_compares_codes_of_lists() {
    let vectors = words(2000);
    let all = numbered(vectors.len());
    let store = store();
    let graph = create(&store, Metric::L2, vectors[0].len(), &all);
    insert_rows(&graph, &vectors, 0..2000, &all);
    assert_eq!(faults(&graph), []);
    let is_list = |block: &u32| store.read(*block, |page| Ok(pages::is_list(page))).unwrap();
    let block = graph.node_blocks().unwrap().find(is_list).unwrap();
    let offsets = store.read(block, |page| {
        let (_, offsets, _) = list_page::blocks(page, &graph.space.lists).next().unwrap().codes();
        Ok(offsets.as_ptr() as usize - page[pages::upper(page)..].as_ptr() as usize)
    });
    // A bit of a code, an offset.
    for at in [3, offsets.unwrap() + 1] {
        let flip = |page: &mut pages::Page| {
            page[pages::upper(page) + at] ^= 0x40;
            Ok(Edit::Changed(()))
        };
        store.write(block, flip).unwrap();
        let found = faults(&graph);
        assert!(found.iter().all(|fault| fault.block == Some(block)), "{found:?}");
        assert!(
            found.iter().any(|fault| fault.severity == Severity::Corruption),
            "byte {at}"
        );
        store.write(block, flip).unwrap();
        assert_eq!(faults(&graph), []);
    }
}
