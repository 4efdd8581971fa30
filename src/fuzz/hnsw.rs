//! A graph on damaged pages: opened, checked, searched, added to, and vacuumed.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::{Input, tolerate};
use crate::distance::Metric;
use crate::error::Result;
use crate::filter::lists;
use crate::hnsw::Graph;
use crate::hnsw::check;
use crate::hnsw::heap_tids::unplaced;
use crate::hnsw::indexed_value::OwnedValue;
use crate::hnsw::insert::{self, Inserter};
use crate::hnsw::scan::{Limits, Scan};
use crate::hnsw::space::Space;
use crate::hnsw::vacuum::{bulk_delete, reachability, truncate};
use crate::storage::format::Unplaced;
use crate::storage::layout::Encoding;
use crate::storage::memory_store::{MemoryStore, SEGMENT_BYTES};
use crate::storage::page::{PAGE_SIZE, Page};
use crate::storage::parameters::{Element, Parameters, Reflections};
use crate::storage::{Edit, HeapTid, Layout, PageStore, centroid, sparse};

const ROWS: usize = 120;
const NEW_ROWS: usize = 3;
/// Rows with the first row's vector: more than fit into a record.
const EQUAL: usize = 200;
/// Rows of each kind without a place in the graph: more than fit into an extension.
const UNPLACED: usize = 1500;
/// More rows than any scan of these graphs returns, however damaged.
pub(super) const TOO_MANY: usize = 1 << 20;
pub(super) const MEMORY: usize = 1 << 20;

/// A graph to be damaged.
struct Sample {
    space: Arc<Space>,
    pages: Vec<Page>,
    /// Values of its rows, and as many values to be added.
    values: Vec<OwnedValue>,
    rows: HashSet<HeapTid>,
}

/// One sample of each kind: with codes and a centroid, with scalars, with overflow records, and
/// plain ones.
static SAMPLES: LazyLock<[Sample; 9]> = LazyLock::new(|| {
    [
        Sample::dense(Metric::L2, 50, 10.0),
        Sample::dense(Metric::InnerProduct, 150, 0.0),
        Sample::dense(Metric::Cosine, 6_000, 0.0),
        Sample::dense(Metric::L1, 50, 0.0),
        Sample::dense(Metric::L1, 3_000, 0.0),
        Sample::bits(240),
        Sample::bits(64_000),
        Sample::sparse(40),
        Sample::sparse(600),
    ]
});

pub(super) fn tid(row: usize) -> HeapTid {
    HeapTid {
        block: row as u32 / 50,
        offset: (row % 50 + 1) as u16,
    }
}

/// Rows of a kind without a place in the graph.
fn unplaced(kind: Unplaced, count: usize) -> Vec<HeapTid> {
    let first = 1_000_000 * (1 + kind as usize);
    (first..first + count).map(tid).collect()
}

/// A store with room for a few pages more than it has.
pub(super) fn store(pages: &[Page]) -> MemoryStore {
    let store = MemoryStore::new(pages.len() * PAGE_SIZE + 2 * SEGMENT_BYTES).unwrap();
    for image in pages {
        let block = store.extend().expect("room for a page");
        let copy = |page: &mut Page| {
            page.copy_from_slice(image);
            Ok(Edit::Changed(()))
        };
        store.write(block, copy).expect("a page");
    }
    store
}

impl Sample {
    fn dense(metric: Metric, dimensions: usize, offset: f32) -> Sample {
        let mut random = SmallRng::seed_from_u64(1);
        let mut vector = || (0..dimensions).map(|_| offset + random.random::<f32>()).collect();
        let vectors: Vec<Vec<f32>> = (0..ROWS + NEW_ROWS).map(|_| vector()).collect();
        let centroid = match offset > 0.0 {
            true => centroid::of(vectors.iter().map(|vector| &vector[..]), dimensions),
            false => Vec::new(),
        };
        let layout = Layout::plan(dimensions, 16, metric, 0);
        let values = vectors.into_iter().map(OwnedValue::Dense).collect();
        Sample::build(layout, Element::Vector, metric, centroid, values)
    }

    fn bits(count: usize) -> Sample {
        let mut random = SmallRng::seed_from_u64(1);
        let mut value = || OwnedValue::Stored((0..count / 8).map(|_| random.random()).collect());
        let values = (0..ROWS + NEW_ROWS).map(|_| value()).collect();
        Sample::build(
            Layout::plain(count, 16, Encoding::Bits, 0),
            Element::Bit,
            Metric::Jaccard,
            Vec::new(),
            values,
        )
    }

    /// Sparse vectors of at most `most` components.
    fn sparse(most: i32) -> Sample {
        let mut random = SmallRng::seed_from_u64(1);
        let mut value = || {
            let count = random.random_range(1..=most);
            let components: Vec<_> = (0..count)
                .map(|i| (7 * i + random.random_range(0..7), random.random()))
                .collect();
            OwnedValue::Stored(sparse::store(components.into_iter()))
        };
        let values = (0..ROWS + NEW_ROWS).map(|_| value()).collect();
        let layout = Layout::plain(1_000_000, 16, Encoding::Sparse, 0);
        Sample::build(layout, Element::Sparsevec, Metric::L2, Vec::new(), values)
    }

    fn build(
        layout: Result<Layout>,
        element: Element,
        metric: Metric,
        centroid: Vec<f32>,
        values: Vec<OwnedValue>,
    ) -> Sample {
        let parameters = Parameters {
            shape: layout.expect("a layout").shape,
            element,
            metric,
            ef_construction: 64,
            seed: 1,
            centroid: 0,
            filters: [None; crate::filter::values::MOST_COLUMNS],
            borders: 0,
            list_bits: lists::FEWEST_BITS,
            directions: Reflections::NONE,
        };
        let store = MemoryStore::new(64 << 20).unwrap();
        let graph = Graph::create(&store, parameters, centroid).expect("a graph");
        let mut inserter = Inserter::default();
        let equal = std::iter::repeat_n(&values[0], EQUAL);
        for (row, value) in values[..ROWS].iter().chain(equal).enumerate() {
            insert::insert(&graph, &mut inserter, value.view(), tid(row)).expect("a row is added");
        }
        for kind in Unplaced::ALL {
            unplaced::add(&graph, kind, &unplaced(kind, UNPLACED)).expect("rows are added");
        }
        // Free slots.
        let is_dead = |tid: &HeapTid| tid.offset.is_multiple_of(5);
        let dead = |tids: &[HeapTid]| tids.iter().copied().filter(is_dead).collect();
        bulk_delete::remove(&graph, MEMORY, dead).expect("rows are removed");
        let blocks = store.blocks().expect("a number");
        Sample {
            space: Arc::clone(graph.space()),
            pages: (0..blocks)
                .map(|block| store.read(block, |page| Ok(*page)).expect("a page"))
                .collect(),
            rows: (0..ROWS + EQUAL)
                .map(tid)
                .chain(Unplaced::ALL.into_iter().flat_map(|kind| unplaced(kind, UNPLACED)))
                .filter(|tid| !is_dead(tid))
                .collect(),
            values,
        }
    }
}

/// Overwrites bytes anywhere in a graph according to the input, and uses the graph. An undamaged
/// graph must have all of its rows.
pub fn damaged_graph(input: &[u8]) {
    let mut input = Input(input);
    let sample = &SAMPLES[usize::from(input.u8()) % SAMPLES.len()];
    let mut pages = sample.pages.clone();
    while !input.is_empty() {
        let (block, at, len) = (input.u16(), input.u16(), usize::from(input.u8()));
        let bytes = input.bytes(1 + len % 16);
        let at = at % (PAGE_SIZE - bytes.len());
        let count = pages.len();
        pages[block % count][at..at + bytes.len()].copy_from_slice(bytes);
    }
    let store = store(&pages);
    // A damaged meta page is one case; behind it, further pages are damaged too.
    let graph = tolerate(Graph::open(&store)).filter(|graph| graph.space().parameters() == sample.space.parameters());
    let graph = graph.unwrap_or_else(|| Graph::with(&store, Arc::clone(&sample.space)));
    let mut faults = 0;
    let checked = tolerate(check::check(&graph, &mut |_| faults += 1)).is_some();
    let found = scan(&graph, &sample.values[ROWS]);
    if pages == sample.pages {
        assert!(checked && faults == 0, "a sound graph has faults");
        assert_eq!(found, Some(sample.rows.clone()));
    }
    let mut inserter = Inserter::default();
    for (row, value) in sample.values[ROWS..].iter().enumerate() {
        tolerate(insert::insert(
            &graph,
            &mut inserter,
            value.view(),
            tid(ROWS + EQUAL + row),
        ));
    }
    for kind in Unplaced::ALL {
        tolerate(unplaced::add(
            &graph,
            kind,
            &unplaced(kind, UNPLACED + NEW_ROWS)[UNPLACED..],
        ));
    }
    vacuum(&graph, &mut inserter);
    tolerate(check::check(&graph, &mut |_| ()));
    scan(&graph, &sample.values[ROWS]);
}

/// Removes a third of the rows, as VACUUM does.
pub(super) fn vacuum(graph: &Graph<'_, MemoryStore>, inserter: &mut Inserter) {
    let dead = |tids: &[HeapTid]| {
        tids.iter()
            .copied()
            .filter(|tid| tid.offset.is_multiple_of(3))
            .collect()
    };
    tolerate(bulk_delete::remove(graph, MEMORY, dead));
    tolerate(reachability::reconnect(graph, inserter, MEMORY));
    if let Some(end) = tolerate(truncate::empty_end(graph, || true)) {
        tolerate(truncate::retire(graph, &end));
    }
}

/// All rows of a scan; none if it met damage.
fn scan(graph: &Graph<'_, MemoryStore>, query: &OwnedValue) -> Option<HashSet<HeapTid>> {
    let mut scan = Scan::new(graph.space().query(query.view()), Limits::none(20));
    let mut found = HashSet::new();
    for _ in 0..TOO_MANY {
        match tolerate(scan.next(graph))? {
            Some(tid) => found.insert(tid),
            None => return Some(found),
        };
    }
    panic!("a scan does not end");
}
