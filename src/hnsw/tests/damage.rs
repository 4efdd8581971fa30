//! Damaged pages: every operation ends, with an answer or with the error for corruption.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::error::Error;
use crate::storage::centroid;
use crate::storage::format::Unplaced;
use crate::storage::page::{PAGE_SIZE, SPECIAL};
use crate::test_data::variations;

/// Words that mean most in a wrong place: references, counts, and f32 or bfloat16 that are not
/// finite.
const EXTREMES: [u32; 8] = [
    0,
    1,
    0x0101_0101,
    0x7F80_7F80,
    0x7FC0_0000,
    0xFF80_FF80,
    0xFFFF_FFFE,
    u32::MAX,
];

/// Overwrites random words of the contents, first fields of records more often than their share.
fn damage(store: &MemoryStore, layout: &Layout, random: &mut SmallRng) {
    let blocks = store.blocks().unwrap();
    for _ in 0..random.random_range(1..100) {
        let block = random.random_range(1..blocks);
        let start = layout.offset(random.random_range(0..layout.slots));
        let at = if random.random() {
            start + 4 * random.random_range(0..40)
        } else {
            4 * random.random_range(6..SPECIAL / 4)
        };
        let word = if random.random() {
            EXTREMES[random.random_range(0..EXTREMES.len())]
        } else if random.random() {
            random.random_range(0..2 * blocks * layout.slots)
        } else {
            random.random()
        };
        let overwrite = |page: &mut Page| {
            if at + 4 <= PAGE_SIZE {
                page[at..at + 4].copy_from_slice(&word.to_le_bytes());
            }
            Ok(Edit::Changed(()))
        };
        store.write(block, overwrite).unwrap();
    }
}

/// The result of an operation, if it succeeded; the only error that damage may cause is the one for
/// corruption.
fn tolerate<T>(result: Result<T>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(Error::Corrupted { .. }) => None,
        // Of the meta page, if it hits both places of the version, or makes the mark.
        Err(error) if error.asks_for_rebuild() => None,
        Err(error) => panic!("{error}"),
    }
}

fn use_damaged(metric: Metric, dimensions: usize, rows: usize, rounds: u64) {
    use_damaged_at(0.0, metric, dimensions, rows, rounds);
}

/// With an offset the index has a centroid, and its pages are damaged like others.
fn use_damaged_at(offset: f32, metric: Metric, dimensions: usize, rows: usize, rounds: u64) {
    let mut vectors = variations(rows + 20, dimensions);
    vectors.iter_mut().flatten().for_each(|value| *value += offset);
    let mut centroid = Vec::new();
    if offset > 0.0 {
        centroid = centroid_of(metric, &vectors[..rows]);
        assert!(!centroid.is_empty());
    }
    let mut refused = 0;
    for round in 0..rounds {
        let mut random = SmallRng::seed_from_u64(round);
        let store = store();
        let inserter = &mut Inserter::default();
        let graph = build_around(centroid.clone(), inserter, &store, metric, &vectors[..rows]);
        for kind in Unplaced::ALL {
            let first = 10_000 * (1 + kind as usize);
            let tids: Vec<_> = (first..first + 1500).map(tid).collect();
            heap_tids::unplaced::add(&graph, kind, &tids).unwrap();
        }
        damage(&store, &graph.space.layout, &mut random);
        // This thread has the space in its cache, so that opening the graph would not read the
        // centroid.
        tolerate(centroid::read(&store, &graph.space.parameters));
        for query in &vectors[rows..rows + 5] {
            let mut scan = Scan::new(graph.space.query(query), limits(40));
            // A chain that leads to a damaged page is read again a thousand times.
            let mut left = 100 * rows + 1_000 * 3_000;
            while let Some(Some(_)) = tolerate(scan.next(&graph)) {
                left -= 1;
                assert!(left > 0, "a scan does not end");
            }
        }
        let mut inserter = Inserter::default();
        for (row, vector) in vectors.iter().enumerate().skip(rows) {
            let inserted = tolerate(insert::insert(&graph, &mut inserter, vector, tid(row)));
            refused += usize::from(inserted.is_none());
        }
        for kind in Unplaced::ALL {
            tolerate(heap_tids::unplaced::add(&graph, kind, &[tid(40_000 + kind as usize)]));
        }
        tolerate(bulk_delete::remove(
            &graph,
            MEMORY,
            each(|tid| tid.offset.is_multiple_of(3)),
        ));
        tolerate(reachability::reconnect(&graph, &mut inserter, MEMORY));
    }
    assert!(refused > 0, "{metric:?}, {dimensions} dimensions: no damage was met");
}

#[test]
fn records_with_codes() {
    use_damaged(Metric::L2, 50, 150, 60);
    use_damaged(Metric::InnerProduct, 150, 150, 60);
}

#[test]
fn records_with_overflows() {
    use_damaged(Metric::Cosine, 6000, 40, 60);
    use_damaged(Metric::L1, 3000, 40, 60);
}

#[test]
fn plain_records() {
    use_damaged(Metric::L1, 50, 150, 60);
}

#[test]
fn records_after_a_centroid() {
    use_damaged_at(14.0, Metric::L2, 50, 150, 60);
    use_damaged_at(14.0, Metric::L2, 150, 150, 60);
}
