//! Rows without a place in the graph, and chains of TID extensions that get and lose rows.

use std::sync::atomic::{AtomicBool, Ordering};

use super::checker::{change, faults, find};
use super::interrupted::{Interrupted, counted};
use super::*;
use crate::hnsw::heap_tids::Returned;
use crate::hnsw::insert::NewRow;
use crate::hnsw::scan::staged_merge::MergedScan;
use crate::storage::format::Unplaced;
use crate::storage::meta;
use crate::storage::page::put_u32;

/// The first row of each kind.
const FIRST: [usize; 2] = [100_000, 200_000];

fn first_of(kind: Unplaced) -> usize {
    FIRST[kind as usize]
}

/// Adds rows of a kind, one by one.
fn add(graph: &Graph<'_, MemoryStore>, kind: Unplaced, rows: impl Iterator<Item = usize>) {
    rows.for_each(|row| heap_tids::unplaced::add(graph, kind, &[tid(row)]).unwrap());
}

fn all(graph: &Graph<'_, MemoryStore>, query: &[f32], limits: Limits) -> Vec<(f32, usize)> {
    let mut scan = Scan::new(graph.space.query(query), limits);
    let next = || {
        scan.next(graph)
            .unwrap()
            .map(|tid| (scan.returned().unwrap().0, row(tid)))
    };
    std::iter::from_fn(next).collect()
}

fn set(rows: &[usize]) -> HashSet<usize> {
    let set: HashSet<usize> = rows.iter().copied().collect();
    assert_eq!(set.len(), rows.len(), "a row twice");
    set
}

/// The rows of the graph, and the rows of each kind, in the order of the scan. A scan that is read
/// to its end may have held rows of the graph back.
fn parts(all: &[(f32, usize)]) -> [Vec<usize>; 3] {
    let kind = |(distance, _): &(f32, usize)| if distance.is_nan() { *distance } else { 0.0 };
    assert!(all.is_sorted_by(|a, b| kind(a).total_cmp(&kind(b)).is_le()));
    let of = |is_it: &dyn Fn(f32) -> bool| {
        let rows = all.iter().filter(|(distance, _)| is_it(*distance));
        rows.map(|&(_, row)| row).collect()
    };
    let is_of = |kind: Unplaced, distance: f32| distance.total_cmp(&kind.distance()).is_eq();
    [
        of(&|distance| !distance.is_nan()),
        of(&|distance| is_of(Unplaced::Zero, distance)),
        of(&|distance| is_of(Unplaced::Null, distance)),
    ]
}

#[test]
fn rows_without_a_place_come_after_all_others() {
    let vectors = words(300);
    for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine, Metric::L1] {
        for counts in [[0, 0], [0, 1], [1, 0], [300, 5000]] {
            let store = store();
            let graph = build(&store, metric, &vectors);
            for kind in Unplaced::ALL {
                let first = first_of(kind);
                add(&graph, kind, first..first + counts[kind as usize]);
            }
            let found = all(&graph, &vectors[5], limits(20));
            let parts = parts(&found);
            assert_eq!(set(&parts[0]), (0..300).collect());
            for kind in Unplaced::ALL {
                let first = first_of(kind);
                let rows = set(&parts[1 + kind as usize]);
                assert_eq!(rows, (first..first + counts[kind as usize]).collect(), "{metric:?}");
            }
            assert_eq!(faults(&graph), []);
            // Not if a scan has ended before.
            let ended = [
                Limits {
                    iteration: Iteration::Off,
                    ..limits(20)
                },
                Limits {
                    nodes: 50,
                    ..limits(20)
                },
                Limits {
                    beyond: 1e30,
                    ..limits(20)
                },
            ];
            for limits in ended {
                assert!(all(&graph, &vectors[5], limits).iter().all(|&(_, row)| row < 300));
            }
        }
    }
}

#[test]
fn an_index_of_rows_without_a_place_alone_has_them() {
    let store = store();
    let graph = Graph::create(&store, parameters(Metric::Cosine), Vec::new()).unwrap();
    assert_eq!(all(&graph, &[0.0; WORD_DIMENSIONS], limits(20)), []);
    add(&graph, Unplaced::Null, 0..700);
    add(&graph, Unplaced::Zero, 700..800);
    let found = all(&graph, &[0.0; WORD_DIMENSIONS], limits(20));
    let [placed, zero, null] = parts(&found);
    assert_eq!(
        (placed.len(), set(&zero), set(&null)),
        (0, (700..800).collect(), (0..700).collect())
    );
    assert_eq!(faults(&graph), []);
    let removal = bulk_delete::remove(&graph, MEMORY, each(|tid| row(tid) != 350)).unwrap();
    assert_eq!((removal.tids_removed, removal.tids_left), (799, 1));
    assert_eq!(all(&graph, &[0.0; WORD_DIMENSIONS], limits(20)).len(), 1);
    bulk_delete::remove(&graph, MEMORY, each(|_| true)).unwrap();
    for kind in Unplaced::ALL {
        assert_eq!(
            store.read(META_BLOCK, |page| meta::read_unplaced(page, kind)),
            Ok(NodeRef::NONE)
        );
    }
    // Every page can go.
    assert_eq!(
        truncate::empty_end(&graph, || true).unwrap().from,
        graph.space.layout.first_block
    );
}

#[test]
fn a_batch_of_rows_without_a_place_takes_a_change_for_each_extension() {
    let vectors = words(100);
    let store = store();
    build(&store, Metric::L2, &vectors);
    let null = |row: usize| NewRow {
        unplaced: Some(Unplaced::Null),
        ..tid(row).into()
    };
    let rows: Vec<_> = (1000..3000).map(|row| (null(row), &[][..])).collect();
    let changes = counted(&store, |graph| {
        insert::batch::insert(graph, &mut Inserter::default(), rows.into_iter()).unwrap();
    });
    let graph = Graph::open(&store).unwrap();
    let extensions = 2000usize.div_ceil((graph.space.layout.stride - 16) / 6);
    // A look at the one before, which is full, and a new page now and then.
    assert!(changes <= 3 * extensions, "{changes} changes, {extensions} extensions");
    let [_, _, found] = parts(&all(&graph, &vectors[0], limits(20)));
    assert_eq!(set(&found), (1000..3000).collect());
}

#[test]
fn staged_rows_without_a_place_come_among_their_like_and_once() {
    let vectors = words(300);
    for into_the_index_after in [0, 250, 350, 650, usize::MAX] {
        let store = store();
        let graph = build(&store, Metric::Cosine, &vectors[..200]);
        add(&graph, Unplaced::Zero, 1000..1300);
        add(&graph, Unplaced::Null, 2000..2300);
        let stored = batch::stored(&graph, &vectors);
        let query = graph.space.query(&vectors[7]);
        let mut staged: Vec<_> = (200..300)
            .map(|row| (graph.space.whole_distance(&query, &stored[row]), tid(row)))
            .collect();
        staged.extend((2300..2400).map(|row| (Unplaced::Null.distance(), tid(row))));
        staged.extend((1300..1400).map(|row| (Unplaced::Zero.distance(), tid(row))));
        let mut scan = MergedScan::new(Scan::new(query, limits(40)), staged).unwrap();
        let mut found = Vec::new();
        while let Some(tid) = scan.next(&graph).unwrap() {
            found.push(row(tid));
            if found.len() == into_the_index_after {
                add(&graph, Unplaced::Zero, 1300..1400);
                add(&graph, Unplaced::Null, 2300..2400);
            }
        }
        set(&found);
        assert_eq!(found.len(), 300 + 400 + 400);
        assert!(found[..300].iter().all(|row| *row < 300));
        assert!(found[300..700].iter().all(|row| (1000..1400).contains(row)));
        assert!(found[700..].iter().all(|row| (2000..2400).contains(row)));
    }
}

#[test]
fn marked_rows_without_a_place_are_left_out() {
    let vectors = words(10);
    let store = store();
    let graph = build(&store, Metric::L2, &vectors);
    add(&graph, Unplaced::Null, 1000..2000);
    let mut scan = Scan::new(graph.space.query(&vectors[0]), limits(20));
    let mut marked: Vec<Returned> = Vec::new();
    while let Some(tid) = scan.next(&graph).unwrap() {
        marked.extend(scan.returned().filter(|_| row(tid) % 2 == 1).map(|(_, row)| row));
    }
    heap_tids::kill(&graph, marked).unwrap();
    let rows = |killed| {
        let all = all(&graph, &vectors[0], Limits { killed, ..limits(20) });
        set(&all.into_iter().map(|(_, row)| row).collect::<Vec<_>>())
    };
    assert_eq!(rows(true).len(), 1010);
    assert_eq!(
        rows(false),
        (0..10).chain(1000..2000).filter(|row| row % 2 == 0).collect()
    );
}

/// Rows of one vector, or of a kind without a place.
#[derive(Debug, Clone, Copy)]
enum Rows {
    OfOneVector,
    Unplaced(Unplaced),
}

const ALL_ROWS: [Rows; 3] = [
    Rows::OfOneVector,
    Rows::Unplaced(Unplaced::Zero),
    Rows::Unplaced(Unplaced::Null),
];

impl Rows {
    fn add(self, graph: &Graph<'_, MemoryStore>, rows: impl Iterator<Item = usize>) {
        match self {
            Rows::OfOneVector => {
                let (vector, mut inserter) = (vec![1.0; WORD_DIMENSIONS], Inserter::default());
                rows.for_each(|row| insert::insert(graph, &mut inserter, &vector, tid(row)).unwrap());
            }
            Rows::Unplaced(kind) => add(graph, kind, rows),
        }
    }
}

fn scan(graph: &Graph<'_, MemoryStore>) -> Scan {
    Scan::new(graph.space.query(&[1.0; WORD_DIMENSIONS][..]), limits(40))
}

fn rows_of(graph: &Graph<'_, MemoryStore>) -> Vec<usize> {
    let mut scan = scan(graph);
    std::iter::from_fn(|| scan.next(graph).unwrap()).map(row).collect()
}

#[test]
fn a_queue_of_rows_takes_no_more_room_than_its_rows() {
    for kind in ALL_ROWS {
        let store = store();
        let graph = Graph::create(&store, parameters(Metric::L2), Vec::new()).unwrap();
        let mut most = 0;
        for round in 0..50 {
            kind.add(&graph, 1000 * round..1000 * (round + 1));
            let oldest = (1000 * round).saturating_sub(1000);
            bulk_delete::remove(&graph, MEMORY, each(|tid| row(tid) < oldest + 500)).unwrap();
            assert_eq!(set(&rows_of(&graph)), (oldest + 500..1000 * (round + 1)).collect());
            let blocks = store.blocks().unwrap();
            match round {
                0..4 => most = blocks,
                _ => assert!(
                    blocks <= most + 1,
                    "{kind:?}, round {round}: {blocks} pages, {most} at first"
                ),
            }
        }
        assert_eq!(faults(&graph), []);
    }
}

#[test]
fn extensions_are_freed_wherever_they_are() {
    for kind in ALL_ROWS {
        for dead in [0..600, 600..1400, 1400..2000, 100..1900, 0..2000] {
            for others in [vec![], vec![700, 1000]] {
                let store = store();
                let graph = build(&store, Metric::L2, &words(20));
                kind.add(&graph, 10_000..12_000);
                let is_dead =
                    |row: usize| row >= 10_000 && dead.contains(&(row - 10_000)) && !others.contains(&(row - 10_000));
                let used = |graph: &Graph<'_, MemoryStore>| stats::of(graph).unwrap().used;
                let before = used(&graph);
                let removal = bulk_delete::remove(&graph, MEMORY, each(|tid| is_dead(row(tid)))).unwrap();
                assert_eq!(before - used(&graph), removal.slots_freed);
                // All extensions except the ones at the ends of the dead range, and with a row
                // left.
                let each = (graph.space.layout.stride - 16) / 6;
                let fewest = (dead.len() / each).saturating_sub(1 + others.len());
                assert!(
                    removal.slots_freed as usize >= fewest,
                    "{kind:?}, {dead:?}: {removal:?}"
                );
                let left = (0..20).chain(10_000..12_000).filter(|row| !is_dead(*row)).collect();
                assert_eq!(set(&rows_of(&graph)), left, "{kind:?}, {dead:?}");
                assert_eq!(faults(&graph), []);
                // The space is used again.
                let blocks = store.blocks().unwrap();
                kind.add(&graph, (10_000..12_000).filter(|row| is_dead(*row)));
                assert!(store.blocks().unwrap() <= blocks + 1);
                assert_eq!(set(&rows_of(&graph)).len(), 2020);
            }
        }
    }
}

/// A scan stops after a number of rows, or steps; then rows die on both sides of its position,
/// VACUUM runs, and others take their space.
#[test]
fn a_chain_that_changes_under_a_scan_gives_every_row_once() {
    for kind in ALL_ROWS {
        for stop in [1, 5, 190, 500, 900, 1500] {
            for (round, dead) in [0..300, 300..700, 700..1300, 1300..1990, 0..2000]
                .into_iter()
                .enumerate()
            {
                let store = store();
                let graph = build(&store, Metric::L2, &words(1));
                kind.add(&graph, 10_000..12_000);
                let mut scan = scan(&graph);
                let mut found: Vec<_> = (0..stop).map(|_| row(scan.next(&graph).unwrap().unwrap())).collect();
                // The newest rows are the first of the chain.
                let dead = 12_000 - dead.end..12_000 - dead.start;
                for turn in 0..=round {
                    bulk_delete::remove(&graph, MEMORY, each(|tid| dead.contains(&row(tid)))).unwrap();
                    kind.add(&graph, 20_000 + 2000 * turn..21_000 + 2000 * turn);
                    bulk_delete::remove(&graph, MEMORY, each(|tid| row(tid) >= 20_500 + 2000 * turn)).unwrap();
                }
                found.extend(std::iter::from_fn(|| scan.next(&graph).unwrap()).map(row));
                let found = set(&found);
                let lost = (10_000..12_000).filter(|row| !dead.contains(row) && !found.contains(row));
                assert_eq!(lost.count(), 0, "{kind:?}, after {stop}, without {dead:?}");
            }
        }
    }
}

/// As the test above, at each step of a scan.
#[test]
fn a_chain_may_change_between_any_two_steps_of_a_scan() {
    for kind in Unplaced::ALL {
        for dead in [400..1600, 0..800, 1200..2000, 0..2000] {
            for steps in 0.. {
                let store = store();
                let graph = build(&store, Metric::L2, &words(1));
                add(&graph, kind, 10_000..12_000);
                let interrupted = Interrupted::after(&store, steps, || {
                    bulk_delete::remove(
                        &graph,
                        MEMORY,
                        each(|tid| row(tid) >= 10_000 && dead.contains(&(row(tid) - 10_000))),
                    )
                    .unwrap();
                    add(&graph, kind, 20_000..20_700);
                    bulk_delete::remove(&graph, MEMORY, each(|tid| row(tid) >= 20_200)).unwrap();
                    add(&graph, kind, 30_000..30_300);
                });
                let scanned = Graph::open(&interrupted).unwrap();
                let mut scan = Scan::new(graph.space.query(&[1.0; WORD_DIMENSIONS][..]), limits(40));
                let found: Vec<_> = std::iter::from_fn(|| scan.next(&scanned).unwrap()).map(row).collect();
                let found = set(&found);
                let stays = |row: &usize| !dead.contains(&(row - 10_000));
                assert!(
                    (10_000..12_000).filter(stays).all(|row| found.contains(&row)),
                    "after {steps} steps"
                );
                if !interrupted.is_over() {
                    assert!(steps > 10, "{steps} steps");
                    break;
                }
            }
        }
    }
}

#[test]
fn scans_inserts_and_vacuum_at_once_lose_no_row() {
    for kind in ALL_ROWS {
        let store = store();
        let graph = build(&store, Metric::L2, &words(1));
        // Every hundredth row stays.
        let stays = |row: usize| row.is_multiple_of(100);
        kind.add(&graph, 10_000..13_000);
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let (graph, done) = (&graph, &done);
            scope.spawn(move || {
                for round in 0..40 {
                    let rows = 20_000 + 1000 * round..21_000 + 1000 * round;
                    kind.add(graph, rows.filter(|row| row % 2 == 0));
                    let limit = if round == 0 { 13_000 } else { 20_000 + 1000 * round };
                    let is_dead = |row: usize| (10_000..limit).contains(&row) && !stays(row);
                    bulk_delete::remove(graph, MEMORY, each(|tid| is_dead(row(tid)))).unwrap();
                }
                done.store(true, Ordering::Relaxed);
            });
            scope.spawn(move || {
                for round in 0.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    // Never more than the extents of tids().
                    let row = 100_001 + 2 * round;
                    kind.add(graph, std::iter::once(row));
                }
            });
            for _ in 0..2 {
                scope.spawn(move || {
                    while !done.load(Ordering::Relaxed) {
                        let found = rows_of(graph);
                        let found = match kind {
                            Rows::OfOneVector => set(&found),
                            // A slot that is used again may be read twice, with rows newer than the
                            // scan.
                            Rows::Unplaced(_) => {
                                let old: Vec<_> = found.iter().copied().filter(|&row| row < 13_000).collect();
                                set(&old)
                            }
                        };
                        assert!((10_000..13_000).step_by(100).all(|row| found.contains(&row)));
                    }
                });
            }
        });
        let left = set(&rows_of(&graph));
        assert!((10_000..13_000).step_by(100).all(|row| left.contains(&row)));
        assert_eq!(faults(&graph), []);
    }
}

#[test]
fn damaged_chains_are_found_and_end() {
    const BELOW: usize = 12;
    let damaged = |what: &str, damage: &dyn Fn(&Graph<'_, MemoryStore>)| {
        let store = store();
        let graph = build(&store, Metric::L2, &words(100));
        add(&graph, Unplaced::Zero, 1000..1700);
        add(&graph, Unplaced::Null, 2000..2700);
        assert_eq!(faults(&graph), []);
        damage(&graph);
        let faults = faults(&graph);
        let is_expected = |fault: &check::Fault| fault.severity == Severity::Corruption && fault.what.contains(what);
        assert!(faults.iter().any(is_expected), "{what}: {faults:?}");
        let mut scan = scan(&graph);
        let mut left = 10_000_000;
        while let Ok(Some(_)) = scan.next(&graph) {
            left -= 1;
            assert!(left > 0, "a scan does not end");
        }
        let _ = bulk_delete::remove(&graph, MEMORY, each(|tid| row(tid).is_multiple_of(2)));
        let _ = heap_tids::unplaced::add(&graph, Unplaced::Null, &[tid(5000)]);
    };
    let first_of = |graph: &Graph<'_, MemoryStore>, kind| {
        graph
            .store
            .read(META_BLOCK, |page| meta::read_unplaced(page, kind))
            .unwrap()
    };
    let set_first = |graph: &Graph<'_, MemoryStore>, kind, first| {
        let edit = |page: &mut Page| {
            meta::set_unplaced(page, kind, first);
            Ok(Edit::Changed(()))
        };
        graph.store.write(META_BLOCK, edit).unwrap();
    };
    let broken = |kind| match kind {
        Unplaced::Zero => "the chain of rows with a zero vector is broken",
        Unplaced::Null => "the chain of rows without a vector is broken",
    };
    for kind in Unplaced::ALL {
        for first in [0, 1, 77, 1_000_000, u32::MAX - 1] {
            damaged(broken(kind), &|graph| set_first(graph, kind, NodeRef(first)));
        }
        damaged("in no chain", &|graph| set_first(graph, kind, NodeRef::NONE));
        let other = Unplaced::ALL[1 - kind as usize];
        damaged(broken(kind), &|graph| set_first(graph, kind, first_of(graph, other)));
        for to in [0, 1, 1_000_000] {
            damaged(broken(kind), &|graph| {
                change(graph, first_of(graph, kind), |page, at| put_u32(page, at + BELOW, to));
            });
        }
        // A circle.
        damaged(broken(kind), &|graph| {
            let first = first_of(graph, kind);
            change(graph, first, |page, at| put_u32(page, at + BELOW, first.0));
        });
        damaged(broken(kind), &|graph| {
            let first = first_of(graph, kind);
            let is_last = |record: &Record<'_>| {
                let is_its = record.state() == State::Extension && record.owner() == kind.owner();
                is_its && record.below() == NodeRef::NONE
            };
            change(graph, find(graph, is_last), |page, at| {
                put_u32(page, at + BELOW, first.0)
            });
        });
        damaged("more than once", &|graph| {
            change(graph, first_of(graph, kind), |page, at| {
                page.copy_within(at + 16..at + 22, at + 22)
            });
        });
        damaged("more than once", &|graph| {
            heap_tids::unplaced::add(graph, kind, &[tid(7)]).unwrap()
        });
    }
}
