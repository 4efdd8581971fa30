//! Pages that are requested ahead of their reads, on a store that says none is in memory.

use std::cell::RefCell;

use super::filters;
use super::*;
use crate::filter::condition::{Bound, Condition, Filter, Test};
use crate::filter::values::key_of_int;

/// A store whose reads all miss.
struct Cold<'m> {
    store: &'m MemoryStore,
    depth: usize,
    requested: RefCell<HashSet<u32>>,
    /// Pages read, by whether they had been requested.
    read_late: RefCell<HashSet<u32>>,
    read_soon: RefCell<HashSet<u32>>,
}

impl<'m> Cold<'m> {
    fn new(store: &'m MemoryStore, depth: usize) -> Cold<'m> {
        Cold {
            store,
            depth,
            requested: RefCell::default(),
            read_late: RefCell::default(),
            read_soon: RefCell::default(),
        }
    }

    fn note_read(&self, block: u32) {
        match self.requested.borrow().contains(&block) {
            true => self.read_soon.borrow_mut().insert(block),
            false => self.read_late.borrow_mut().insert(block),
        };
    }
}

type MemoryPin<'a> = <MemoryStore as PageStore>::Pin<'a>;

impl PageStore for Cold<'_> {
    type Pin<'a>
        = MemoryPin<'a>
    where
        Self: 'a;

    fn input_depth(&self) -> usize {
        self.depth
    }
    fn request(&self, block: u32) -> Result<()> {
        assert!(
            self.requested.borrow_mut().insert(block),
            "block {block} was requested before"
        );
        Ok(())
    }
    fn pin_requested(&self, block: u32) -> Result<MemoryPin<'_>> {
        assert!(self.requested.borrow().contains(&block));
        self.pin(block)
    }
    fn pin(&self, block: u32) -> Result<MemoryPin<'_>> {
        self.note_read(block);
        self.store.pin(block)
    }
    fn hint(&self, pin: &MemoryPin<'_>, offset: usize, len: usize) {
        self.store.hint(pin, offset, len);
    }
    fn read_pinned<T>(&self, pin: MemoryPin<'_>, f: impl FnOnce(&Page) -> Result<T>) -> Result<T> {
        self.store.read_pinned(pin, f)
    }
    fn blocks(&self) -> Result<u32> {
        self.store.blocks()
    }
    fn read<T>(&self, block: u32, f: impl FnOnce(&Page) -> Result<T>) -> Result<T> {
        self.note_read(block);
        self.store.read(block, f)
    }
    fn write<T>(&self, block: u32, f: impl FnOnce(&mut Page) -> Result<Edit<T>>) -> Result<T> {
        self.store.write(block, f)
    }
    fn write_two<T>(&self, a: u32, b: u32, f: impl FnOnce(&mut Page, &mut Page) -> Result<Edit<T>>) -> Result<T> {
        self.store.write_two(a, b, f)
    }
    fn extend(&self) -> Result<u32> {
        self.store.extend()
    }
    fn target(&self, full: Option<u32>) -> Result<Option<u32>> {
        self.store.target(full)
    }
    fn note_free(&self, block: u32) {
        self.store.note_free(block);
    }
    fn check_interrupts(&self) {}
}

/// The first ten rows of a scan.
fn ten<S: PageStore>(graph: &Graph<'_, S>, query: &[f32], filter: &Filter) -> Vec<usize> {
    let query = graph.space.filtered(graph.space.query(query), filter.clone()).unwrap();
    let mut scan = Scan::new(query, limits(20));
    std::iter::from_fn(|| scan.next(graph).unwrap())
        .take(10)
        .map(row)
        .collect()
}

/// Pages that scans of several queries requested, read and both, and read without a request.
#[derive(Debug, Default)]
struct Pages {
    requested: usize,
    soon: usize,
    late: usize,
}

fn pages_of(store: &MemoryStore, queries: &[Vec<f32>], filter: &Filter) -> Pages {
    let warm = Graph::open(store).unwrap();
    let mut pages = Pages::default();
    for query in queries {
        let expected = ten(&warm, query, filter);
        let none = Cold::new(store, 0);
        assert_eq!(ten(&Graph::open(&none).unwrap(), query, filter), expected);
        assert!(none.requested.borrow().is_empty());

        let cold = Cold::new(store, 16);
        assert_eq!(ten(&Graph::open(&cold).unwrap(), query, filter), expected);
        pages.requested += cold.requested.borrow().len();
        pages.soon += cold.read_soon.borrow().len();
        pages.late += cold.read_late.borrow().len();
    }
    pages
}

/// Of the pages requested few are not read; the others are of the descent and the first visits.
#[test]
fn a_search_requests_each_page_once_and_few_in_vain() {
    let vectors = words(8000);
    let (base, queries) = vectors.split_at(7960);
    let none = Filter::new(Vec::new());
    for metric in [Metric::L2, Metric::InnerProduct, Metric::L1] {
        let store = store();
        build(&store, metric, base);
        let pages = pages_of(&store, queries, &none);
        assert!(10 * pages.soon >= 8 * pages.requested, "{metric:?}: {pages:?}");
        assert!(pages.soon >= pages.late, "{metric:?}: {pages:?}");
    }
}

#[test]
fn a_filtered_search_requests_pages_ahead() {
    let vectors = words(8000);
    let (base, queries) = vectors.split_at(7960);
    let all: Vec<_> = (0..base.len()).map(filters::values).collect();
    let store = store();
    let graph = filters::create(&store, Metric::L2, base[0].len(), &all[..1000]);
    filters::insert_rows(&graph, base, 0..base.len(), &all);
    let range = |least, most| {
        let bound = |key| {
            Some(Bound {
                key: key_of_int(key),
                inclusive: true,
            })
        };
        let test = Test::Range {
            least: bound(least),
            most: bound(most),
        };
        Filter::new(vec![Condition { column: 0, test }])
    };
    // Half of the rows: a search.
    let pages = pages_of(&store, queries, &range(0, 500));
    assert!(10 * pages.soon >= 7 * pages.requested, "{pages:?}");
    assert!(pages.soon >= pages.late, "{pages:?}");
    // One in a hundred: the lists name the pages of their nodes.
    let pages = pages_of(&store, queries, &range(100, 110));
    assert!(pages.soon == pages.requested, "{pages:?}");
    assert!(pages.soon >= 4 * pages.late, "{pages:?}");
}
