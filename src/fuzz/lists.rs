//! An index with filter columns on damaged pages of value lists: checked, searched under
//! conditions, added to, and vacuumed.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::hnsw::{MEMORY, TOO_MANY, store, tid, vacuum};
use super::{Input, tolerate};
use crate::distance::Metric;
use crate::error::Result;
use crate::filter::condition::{Bound, Condition, Filter, Match, Test};
use crate::filter::lists;
use crate::filter::sets;
use crate::filter::signature::Column;
use crate::filter::values::{Kind, Values, key_of_int, mix};
use crate::hnsw::Graph;
use crate::hnsw::check;
use crate::hnsw::insert::{self, Inserter, NewRow};
use crate::hnsw::scan::{Limits, Scan};
use crate::hnsw::space::{Learned, Space};
use crate::hnsw::vacuum::bulk_delete;
use crate::hnsw::value_lists;
use crate::quantize::rabitq::Factors;
use crate::storage::layout::FilterColumns;
use crate::storage::list_directory::ListDirectory;
use crate::storage::list_page::{self, Block, Code, ListEntry, ListId, ListLayout};
use crate::storage::memory_store::MemoryStore;
use crate::storage::page::{self, HEADER_SIZE, PAGE_SIZE, Page, SPECIAL};
use crate::storage::parameters::{Element, Parameters, Reflections};
use crate::storage::{BlockNumber, Edit, HeapTid, Layout, PageStore};

const KINDS: [Kind; 4] = [Kind::Exact, Kind::Hashed, Kind::Rounded, Kind::Set];
const ROWS: usize = 300;
const NEW_ROWS: usize = 4;
/// Most entries of a page of the sample's lists, so that lists have several pages.
const ENTRIES: usize = 40;
/// A width at which all answers under conditions on the columns with lists come from them, and one
/// at which answers come from searches.
const WIDTHS: [usize; 2] = [200, 4];

/// An index to be damaged.
struct Sample {
    space: Arc<Space>,
    pages: Vec<Page>,
    /// Blocks of the pages of lists.
    lists: Vec<BlockNumber>,
    /// Vectors of its rows, and of rows to be added.
    vectors: Vec<Vec<f32>>,
    /// Rows that were not removed.
    rows: HashSet<usize>,
}

/// One with codes, and a plain one.
static SAMPLES: LazyLock<[Sample; 2]> = LazyLock::new(|| [Sample::new(Metric::L2), Sample::new(Metric::L1)]);

/// The row of a TID.
fn row(tid: HeapTid) -> usize {
    tid.block as usize * 50 + usize::from(tid.offset) - 1
}

/// The values of a row: a number of ten, one of three texts, a date, up to two of eight elements or
/// more than a key has; each NULL in some rows.
fn values(row: usize) -> Values {
    let random = |salt: u64, of: u64| mix(row as u64 * 31 + salt) % of;
    let mut values = Values::NONE;
    values.set(0, (random(1, 20) > 0).then(|| key_of_int(random(2, 10) as i64)));
    values.set(1, (random(3, 20) > 0).then(|| mix(random(4, 3))));
    values.set(2, (random(5, 20) > 0).then(|| key_of_int(row as i64)));
    let elements = match random(6, 12) {
        0 => (0..9).map(sets::element).collect(),
        count => (0..count % 3).map(|i| sets::element(random(7 + i, 8))).collect(),
    };
    values.set(3, (random(9, 20) > 0).then(|| sets::key(elements)));
    values
}

/// Conditions on each column and on several.
fn filters() -> [Filter; 8] {
    let number = |key| Test::one_of(vec![key_of_int(key)]);
    let bound = |key| {
        Some(Bound {
            key: key_of_int(key),
            inclusive: true,
        })
    };
    let dates = Test::Range {
        least: bound(100),
        most: bound(140),
    };
    [
        vec![(0, number(3))],
        vec![(0, Test::Null)],
        vec![(1, Test::one_of(vec![mix(0), mix(2)]))],
        vec![(2, dates.clone())],
        vec![(2, Test::NotNull)],
        vec![(3, Test::Overlaps(vec![sets::element(5)]))],
        vec![(0, number(4)), (2, dates)],
        vec![(0, number(99))],
    ]
    .map(|tests| {
        let of = |(column, test)| Condition { column, test };
        Filter::new(tests.into_iter().map(of).collect())
    })
}

impl Sample {
    fn new(metric: Metric) -> Sample {
        const DIMENSIONS: usize = 8;
        let mut random = SmallRng::seed_from_u64(1);
        let mut vector = || (0..DIMENSIONS).map(|_| random.random()).collect();
        let vectors: Vec<Vec<f32>> = (0..ROWS + NEW_ROWS).map(|_| vector()).collect();
        let layout = Layout::plan(DIMENSIONS, 8, metric, FilterColumns::of(KINDS.into_iter())).expect("a layout");
        let parameters = Parameters {
            shape: layout.shape,
            element: Element::Vector,
            metric,
            ef_construction: 32,
            seed: 1,
            centroid: 0,
            filters: KINDS.map(Some),
            borders: 0,
            list_bits: lists::FEWEST_BITS,
            directions: Reflections::NONE,
        };
        // The dates have no borders, and so lists of hashes.
        let mut learned = Learned::default();
        let numbers = (0..ROWS).filter_map(|row| values(row).get(0)).collect();
        learned.borders[0] = Column::of_sample(KINDS[0], numbers).borders;
        let store = MemoryStore::new(64 << 20).expect("a store");
        let graph = Graph::create(&store, parameters, learned).expect("a graph");
        let mut inserter = Inserter::default();
        for (row, vector) in vectors[..ROWS].iter().enumerate() {
            add(&graph, &mut inserter, vector, row).expect("a row is added");
        }
        // Free slots.
        let is_dead = |tid: &HeapTid| tid.offset.is_multiple_of(5);
        let dead = |tids: &[HeapTid]| tids.iter().copied().filter(is_dead).collect();
        bulk_delete::remove(&graph, MEMORY, dead).expect("rows are removed");
        for column in 0..KINDS.len() as u8 {
            let directory = graph.space().parameters().list_directory();
            directory
                .lists()
                .for_each(|list| split(&store, &directory, &layout, ListId { column, list }));
        }
        let blocks = store.blocks().expect("a number");
        let pages: Vec<Page> = (0..blocks)
            .map(|block| store.read(block, |page| Ok(*page)).expect("a page"))
            .collect();
        Sample {
            space: Arc::clone(graph.space()),
            lists: (0..blocks)
                .filter(|&block| page::is_list(&pages[block as usize]))
                .collect(),
            pages,
            vectors,
            rows: (0..ROWS).filter(|&row| !is_dead(&tid(row))).collect(),
        }
    }

    /// A block: of a list, any, or one that there may not be.
    fn block(&self, input: &mut Input) -> BlockNumber {
        match input.u8() {
            0..128 => self.lists[input.u16() % self.lists.len()],
            128..224 => (input.u16() % (self.pages.len() + 2)) as BlockNumber,
            _ => BlockNumber::from_le_bytes([input.u8(), input.u8(), input.u8(), input.u8()]),
        }
    }
}

fn add(graph: &Graph<'_, MemoryStore>, inserter: &mut Inserter, vector: &[f32], row: usize) -> Result<()> {
    let new = NewRow {
        values: values(row),
        ..tid(row).into()
    };
    insert::insert(graph, inserter, vector, new)
}

/// The entries of a page, with their codes.
fn coded_entries(page: &Page, layout: &ListLayout) -> Vec<(ListEntry, Vec<u32>, Factors)> {
    let of_block = |block: Block<'_>| {
        let read = |lane| {
            let mut words = vec![0; layout.words()];
            let factors = block.read_code(lane, &mut words);
            (block.entry(lane), words, factors)
        };
        block.lanes().map(read).collect::<Vec<_>>()
    };
    list_page::blocks(page, layout).flat_map(of_block).collect()
}

/// Moves entries of a list to pages of their own until no page has more than [`ENTRIES`].
fn split(store: &MemoryStore, directory: &ListDirectory, layout: &Layout, id: ListId) {
    let lists = ListLayout::of(layout);
    loop {
        let first = directory.read(store, id).expect("a block");
        if first == 0 {
            return;
        }
        let read = |page: &Page| Ok(coded_entries(page, &lists));
        let entries = store.read(first, read).expect("entries");
        if entries.len() <= ENTRIES {
            return;
        }
        let moved = &entries[..entries.len() - ENTRIES];
        let block = store.extend().expect("room for a page");
        let split = |old: &mut Page, new: &mut Page| {
            list_page::retain(old, &lists, |entry| moved.iter().all(|(moved, ..)| moved != entry));
            list_page::init(new, id, &lists, first, 1);
            for (entry, words, factors) in moved {
                let (words, factors) = (&words[..], *factors);
                assert!(list_page::push(new, &lists, entry, &Code { words, factors }));
            }
            Ok(Edit::Changed(()))
        };
        store.write_two(first, block, split).expect("two pages");
        let put_first = |names: &mut Page| {
            directory.set(names, id, block);
            Ok(Edit::Changed(()))
        };
        store.write(directory.block(id), put_first).expect("the directory");
    }
}

/// Overwrites fields of a list, so that it is still one of entries: the next page, an entry, the
/// list's name, or its first page.
fn mislead(sample: &Sample, pages: &mut [Page], input: &mut Input) {
    let at = sample.lists[input.u16() % sample.lists.len()] as usize;
    let list = &mut pages[at];
    match input.u8() % 4 {
        0 => list_page::set_next(list, sample.block(input)),
        1 => {
            let start = page::upper(list);
            let entry = start + input.u16() % (SPECIAL - start).max(1);
            let bytes = input.bytes((SPECIAL - entry).min(8));
            list[entry..entry + bytes.len()].copy_from_slice(bytes);
        }
        2 => list[SPECIAL + 8 + usize::from(input.u8() % 2)] = input.u8(),
        _ => {
            let id = ListId {
                column: input.u8() % KINDS.len() as u8,
                list: u16::from(input.u8()) % lists::FEWEST as u16,
            };
            let directory = sample.space.parameters().list_directory();
            directory.set(&mut pages[directory.block(id) as usize], id, sample.block(input));
        }
    }
}

/// Overwrites bytes of a page of a list, of its header or of its end, or of any other page, or the
/// whole page by another.
fn overwrite(sample: &Sample, pages: &mut [Page], input: &mut Input) {
    let at = sample.lists[input.u16() % sample.lists.len()] as usize;
    match input.u8() % 5 {
        0 => {
            let contents = input.bytes(SPECIAL - HEADER_SIZE);
            pages[at][SPECIAL - contents.len()..SPECIAL].copy_from_slice(contents);
        }
        1 => pages[at][12 + usize::from(input.u8() % 8)] = input.u8(),
        2 => pages[at][SPECIAL + usize::from(input.u8() % 16)] = input.u8(),
        3 => {
            let other = input.u16() % pages.len();
            pages[at] = pages[other];
        }
        _ => {
            let (block, at) = (input.u16() % pages.len(), input.u16());
            let len = usize::from(input.u8() % 16);
            let bytes = input.bytes(1 + len);
            let at = at % (PAGE_SIZE - bytes.len());
            pages[block][at..at + bytes.len()].copy_from_slice(bytes);
        }
    }
}

/// Damages the lists of an index according to the input, and uses the index. An undamaged one must
/// answer with all rows that match; one with damage of the lists alone, with no other row, and with
/// none twice.
pub fn damaged_lists(input: &[u8]) {
    let mut input = Input(input);
    let sample = &SAMPLES[usize::from(input.u8()) % SAMPLES.len()];
    let is_mild = input.u8().is_multiple_of(2);
    let mut pages = sample.pages.clone();
    while !input.is_empty() {
        match is_mild || input.u8().is_multiple_of(2) {
            true => mislead(sample, &mut pages, &mut input),
            false => overwrite(sample, &mut pages, &mut input),
        }
    }
    let store = store(&pages);
    let graph = Graph::with(&store, Arc::clone(&sample.space));
    let mut faults = 0;
    let checked = tolerate(check::check(&graph, &mut |_| faults += 1)).is_some();
    let is_sound = pages == sample.pages;
    assert!(!is_sound || checked && faults == 0, "a sound index has faults");
    scan_all(&graph, sample, is_mild, |filter, found| {
        if is_sound {
            let expected = sample.rows.iter().copied();
            let expected: HashSet<usize> = expected.filter(|&row| matches(sample, filter, row)).collect();
            assert_eq!(found, expected, "{filter:?}");
        }
    });
    let mut inserter = Inserter::default();
    for (row, vector) in sample.vectors.iter().enumerate().skip(ROWS) {
        tolerate(add(&graph, &mut inserter, vector, row));
    }
    tolerate(value_lists::upkeep::complete(&graph, MEMORY));
    vacuum(&graph, &mut inserter);
    let mut faults = 0;
    let checked = tolerate(check::check(&graph, &mut |_| faults += 1)).is_some();
    assert!(
        !is_sound || checked && faults == 0,
        "a sound index has faults after changes"
    );
    scan_all(&graph, sample, is_mild, |_, _| ());
}

fn matches(sample: &Sample, filter: &Filter, row: usize) -> bool {
    filter.test(sample.space.columns(), &values(row)) > Match::No
}

/// Passes `f` the rows of each scan that does not meet damage.
fn scan_all(
    graph: &Graph<'_, MemoryStore>,
    sample: &Sample,
    is_mild: bool,
    mut f: impl FnMut(&Filter, HashSet<usize>),
) {
    for (filter, width) in filters().iter().flat_map(|filter| WIDTHS.map(|width| (filter, width))) {
        if let Some(found) = scan(graph, sample, filter, width, is_mild) {
            f(filter, found);
        }
    }
}

/// All rows of a scan under a filter; none if it met damage. With mild damage every row matches and
/// comes once.
fn scan(
    graph: &Graph<'_, MemoryStore>,
    sample: &Sample,
    filter: &Filter,
    width: usize,
    is_mild: bool,
) -> Option<HashSet<usize>> {
    let query = graph.space().query(&sample.vectors[ROWS]);
    let query = tolerate(graph.space().filtered(query, filter.clone()))?;
    let mut scan = Scan::new(query, Limits::none(width));
    let mut found = HashSet::new();
    for _ in 0..TOO_MANY {
        let Some(tid) = tolerate(scan.next(graph))? else {
            return Some(found);
        };
        let is_right = found.insert(row(tid)) && matches(sample, filter, row(tid));
        assert!(is_right || !is_mild, "{filter:?}: row {}", row(tid));
    }
    panic!("a scan does not end");
}
