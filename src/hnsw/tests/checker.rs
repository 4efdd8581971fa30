//! The checker finds nothing in a sound graph, and each kind of damage in a damaged one.

use super::*;
use crate::hnsw::check::{Fault, Row, fingerprint};
use crate::storage::format::Unplaced;
use crate::storage::meta;
use crate::storage::page::{put_u16, put_u32};
use crate::storage::record::State;
use crate::test_data::variations;

pub fn faults(graph: &Graph<'_, MemoryStore>) -> Vec<Fault> {
    let mut faults = Vec::new();
    check::check(graph, &mut |fault| faults.push(fault)).unwrap();
    faults
}

fn rows(graph: &Graph<'_, MemoryStore>) -> Vec<usize> {
    let rows = check::check(graph, &mut |_| {}).unwrap();
    rows.into_iter().map(|checked| row(checked.tid())).collect()
}

/// A graph after changes: built, with equal vectors, half of it removed and some inserted again.
fn lived<'s>(store: &'s MemoryStore, metric: Metric, vectors: &[Vec<f32>]) -> Graph<'s, MemoryStore> {
    let graph = build_around(
        centroid_of(metric, vectors),
        &mut Inserter::default(),
        store,
        metric,
        vectors,
    );
    let mut inserter = Inserter::default();
    for i in 0..300 {
        insert::insert(&graph, &mut inserter, &vectors[3], tid(100_000 + i)).unwrap();
    }
    for kind in Unplaced::ALL {
        let first = 200_000 + 10_000 * kind as usize;
        let tids: Vec<_> = (first..first + 1000).map(tid).collect();
        heap_tids::unplaced::add(&graph, kind, &tids).unwrap();
    }
    bulk_delete::remove(&graph, MEMORY, each(|tid| row(tid) % 2 == 1)).unwrap();
    for i in (1..vectors.len() / 2).step_by(2) {
        insert::insert(&graph, &mut inserter, &vectors[i], tid(i)).unwrap();
    }
    reachability::reconnect(&graph, &mut inserter, MEMORY).unwrap();
    graph
}

#[test]
fn a_sound_graph_has_no_fault() {
    for metric in [Metric::L2, Metric::InnerProduct, Metric::Cosine, Metric::L1] {
        for (dimensions, count) in [(WORD_DIMENSIONS, 2000), (200, 1000), (3000, 100), (7000, 60)] {
            let mut vectors = match dimensions {
                WORD_DIMENSIONS => words(count),
                _ => variations(count, dimensions),
            };
            if dimensions == 200 {
                vectors.iter_mut().flatten().for_each(|value| *value += 100.0);
            }
            let store = store();
            let graph = lived(&store, metric, &vectors);
            assert_eq!(faults(&graph), [], "{metric:?}, {dimensions} dimensions");
            let half = count / 2;
            let expected = (0..count)
                .filter(|row| row % 2 == 0 || *row < half)
                .chain((100_000..100_300).step_by(2))
                .chain((200_000..201_000).step_by(2))
                .chain((210_000..211_000).step_by(2));
            assert!(
                rows(&graph).into_iter().eq(expected),
                "{metric:?}, {dimensions} dimensions"
            );
        }
    }
}

#[test]
fn a_row_is_known_by_its_vector() {
    let vectors = words(500);
    let store = store();
    let graph = build(&store, Metric::Cosine, &vectors);
    let checked = check::check(&graph, &mut |fault| panic!("{fault:?}")).unwrap();
    let mut point = space::Point::default();
    let matches = |shift: usize, point: &mut space::Point| {
        let rows = checked.iter().filter(|checked| {
            let row = row(checked.tid());
            graph.space.set_point(&vectors[(row + shift) % vectors.len()], point);
            **checked == Row::new(tid(row), fingerprint(point))
        });
        rows.count()
    };
    assert_eq!(matches(0, &mut point), 500);
    assert!(matches(1, &mut point) < 3);
}

/// The page and the offset of a node's record.
fn place_of(graph: &Graph<'_, MemoryStore>, node: NodeRef) -> (BlockNumber, usize) {
    let layout = &graph.space.layout;
    (layout.block(node), layout.offset(layout.slot(node)))
}

pub fn change(graph: &Graph<'_, MemoryStore>, node: NodeRef, f: impl FnOnce(&mut Page, usize)) {
    let (block, at) = place_of(graph, node);
    let edit = |page: &mut Page| {
        f(page, at);
        Ok(Edit::Changed(()))
    };
    graph.store.write(block, edit).unwrap();
}

/// The first record that satisfies a condition.
pub fn find(graph: &Graph<'_, MemoryStore>, is_it: impl Fn(&Record<'_>) -> bool) -> NodeRef {
    for block in graph.node_blocks().unwrap() {
        let found = graph.store.read(block, |page| {
            for record in NodePage::new(page, block, &graph.space.layout)?.records() {
                let (node, record) = record?;
                if is_it(&record) {
                    return Ok(Some(node));
                }
            }
            Ok(None)
        });
        if let Some(node) = found.unwrap() {
            return node;
        }
    }
    panic!("no such record");
}

/// Damages a graph after changes, and expects at least one fault of a kind.
fn expect(severity: Severity, what: &str, damage: impl FnOnce(&Graph<'_, MemoryStore>)) {
    expect_in(Metric::L2, &words(1500), severity, what, damage);
}

fn expect_in(
    metric: Metric,
    vectors: &[Vec<f32>],
    severity: Severity,
    what: &str,
    damage: impl FnOnce(&Graph<'_, MemoryStore>),
) {
    let store = store();
    let graph = lived(&store, metric, vectors);
    assert_eq!(faults(&graph), []);
    damage(&graph);
    let faults = faults(&graph);
    let expected = |fault: &&Fault| fault.severity == severity && fault.what.contains(what);
    assert!(faults.iter().any(|fault| expected(&fault)), "{what}: {faults:?}");
}

fn node(record: &Record<'_>) -> bool {
    record.state() == State::Node && record.level() == 0
}

fn upper(record: &Record<'_>) -> bool {
    record.state() == State::Node && record.level() > 0
}

#[test]
fn every_kind_of_damage_is_found() {
    use Severity::{Corruption, Leftover};
    const OWNER: usize = 8;
    const BELOW: usize = 12;
    const LINKS: usize = 16;
    let corrupts = |what: &str, is_it: &dyn Fn(&Record<'_>) -> bool, f: &dyn Fn(&mut Page, usize)| {
        expect(Corruption, what, |graph| change(graph, find(graph, is_it), f));
    };
    corrupts("not a page of an hnsw index", &node, &|page, _| page[8190] ^= 1);
    corrupts("do not end with a record", &node, &|page, _| page[12] ^= 1);
    corrupts("invalid record state", &node, &|page, at| page[at] = 9);
    corrupts("invalid level, link or TID count", &node, &|page, at| {
        page[at + 3] = 200
    });
    corrupts("belongs to another", &node, &|page, at| put_u32(page, at + OWNER, 5));
    corrupts("does not lead to its node", &upper, &|page, at| {
        put_u32(page, at + OWNER, 5)
    });
    corrupts("does not lead to its node", &upper, &|page, at| {
        put_u32(page, at + BELOW, 0)
    });
    corrupts("has heap TIDs", &upper, &|page, at| put_u16(page, at + 4, 1));
    corrupts("links to itself", &node, &|page, at| {
        let own = page[at + OWNER..at + OWNER + 4].to_vec();
        page[at + LINKS..at + LINKS + 4].copy_from_slice(&own);
    });
    corrupts("does not hold records", &node, &|page, at| put_u32(page, at + LINKS, 0));
    corrupts("two links to the same", &node, &|page, at| {
        page.copy_within(at + LINKS..at + LINKS + 4, at + LINKS + 4);
        let generations = at + LINKS + 4 * 24;
        page[generations + 1] = page[generations];
    });
    corrupts("chain of a node's TID extensions is broken", &node, &|page, at| {
        page.copy_within(at + OWNER..at + OWNER + 4, at + BELOW);
    });
    corrupts(
        "belongs to no node",
        &|record| node(record) && record.below() != NodeRef::NONE,
        &|page, at| {
            put_u32(page, at + BELOW, NodeRef::NONE.0);
        },
    );
    corrupts(
        "without a line pointer",
        &|record| record.state() == State::Extension,
        &|page, at| {
            put_u16(page, at + 16 + 4, 0);
        },
    );
    corrupts(
        "more than once",
        &|record| record.state() == State::Extension,
        &|page, at| {
            page.copy_within(at + 16..at + 22, at + 22);
        },
    );
    expect(Corruption, "entry point is not a record", |graph| {
        let set = |page: &mut Page| {
            let mut entry = meta::read_entry(page)?.unwrap();
            entry.link.generation ^= 1;
            meta::set_entry(page, Some(entry));
            Ok(Edit::Changed(()))
        };
        graph.store.write(META_BLOCK, set).unwrap();
    });
    expect(Corruption, "the level of the entry point", |graph| {
        let set = |page: &mut Page| {
            page[37] = 99;
            Ok(Edit::Changed(()))
        };
        graph.store.write(META_BLOCK, set).unwrap();
    });

    let leaves = |what: &str, f: &dyn Fn(&mut Page, usize)| {
        expect(Leftover, what, |graph| change(graph, find(graph, node), f));
    };
    leaves("freed since", &|page, at| page[at + LINKS + 4 * 24] ^= 1);
    leaves("leads to a dead node", &|page, at| page[at] = State::Dead as u8);
    leaves("still to be removed", &|page, at| page[at] = State::Dead as u8);
    leaves("has no row", &|page, at| put_u16(page, at + 4, 0));
    leaves("never used", &|page, _| page.fill(0));
    expect_in(
        Metric::L1,
        &words(1500),
        Leftover,
        "does not lead to the node",
        |graph| cut_off(graph, &HashSet::from([100])),
    );
}

#[test]
fn damaged_codes_and_vectors_are_found() {
    use Severity::{Corruption, Leftover};
    // Records of vectors of 50 dimensions: 96 bits of code for each of 24 lanes, then the vector.
    let (offsets, scales, codes) = (16 + 5 * 24 + 3, 16 + 7 * 24 + 3, 16 + 9 * 24 + 3);
    let vector = codes + 24 * 96 / 8;
    let corrupts = |what: &str, f: &dyn Fn(&mut Page, usize)| {
        expect(Corruption, what, |graph| change(graph, find(graph, node), f));
    };
    corrupts("a code does not match the vector", &|page, at| page[at + codes] ^= 0xFF);
    corrupts("factors of a code", &|page, at| page[at + scales + 1] ^= 0x01);
    corrupts("factors of a code", &|page, at| page[at + offsets + 1] ^= 0x80);
    corrupts("a code does not match the vector", &|page, at| {
        for i in 0..50 {
            page[at + vector + 4 * i + 3] ^= 0x80;
        }
    });
    corrupts("not finite", &|page, at| put_u32(page, at + vector, f32::NAN.to_bits()));

    let long = variations(60, 7000);
    let overflow = |record: &Record<'_>| record.state() == State::Overflow;
    expect_in(Metric::L2, &long, Corruption, "not where the record says", |graph| {
        change(graph, find(graph, overflow), |page, at| page[at] = State::Free as u8);
    });
    expect_in(Metric::L2, &long, Leftover, "end of a vector that is gone", |graph| {
        change(graph, find(graph, node), |page, at| page[at + 1] ^= 1);
    });
}

/// Rows beyond the memory for them take several passes, with the same faults.
#[test]
fn a_check_in_several_passes_finds_the_same() {
    let vectors = words(2000);
    let store = store();
    let graph = build(&store, Metric::L2, &vectors);
    let mut inserter = Inserter::default();
    for i in 0..2000 {
        insert::insert(&graph, &mut inserter, &vectors[i % 20], tid(5000 + i)).unwrap();
    }
    // Rows that are twice in the index: of the first pass, of the last, and of a block larger than
    // any pass.
    for i in [3, 6998] {
        insert::insert(&graph, &mut inserter, &vectors[1000], tid(i)).unwrap();
    }
    for i in 0..3000 {
        let tid = HeapTid {
            block: 500,
            offset: i + 1,
        };
        insert::insert(&graph, &mut inserter, &vectors[usize::from(i % 7)], tid).unwrap();
    }
    let whole = faults(&graph);
    assert_eq!(whole.len(), 2, "{whole:?}");
    let (mut found, mut rows, mut passes) = (Vec::new(), Vec::new(), Vec::new());
    check::within(&graph, 0, &mut |fault| found.push(fault), &mut |part, blocks| {
        assert!(part.is_sorted());
        assert!(part.iter().all(|row| blocks.contains(&u64::from(row.tid().block))));
        rows.extend(part.iter().copied());
        passes.push(blocks);
        Ok(())
    })
    .unwrap();
    assert_eq!(found, whole);
    assert_eq!(rows, check::check(&graph, &mut |_| {}).unwrap());
    assert!(passes.len() > 3, "{passes:?}");
    assert!(passes.windows(2).all(|pair| pair[0].end == pair[1].start));
    assert_eq!((passes[0].start, passes[passes.len() - 1].end), (0, 1 << 32));
}
