//! Events between two steps of a removal or an insert, and the number of page changes of these.

use std::cell::Cell;

use super::*;
use crate::error::Error;

/// A store with one event between two steps of an operation on it.
pub(super) struct Interrupted<'m, F> {
    store: &'m MemoryStore,
    steps: Cell<usize>,
    event: Cell<Option<F>>,
    reads: Cell<usize>,
    writes: Cell<usize>,
    /// Number of page changes after which the event happens, before the next one.
    event_after: usize,
    /// Number of page changes after which the next one fails.
    fails_after: usize,
}

impl<'m, F> Interrupted<'m, F> {
    fn new(store: &'m MemoryStore, steps: usize, event: Option<F>) -> Interrupted<'m, F> {
        Interrupted {
            store,
            steps: Cell::new(steps),
            event: Cell::new(event),
            reads: Cell::new(0),
            writes: Cell::new(0),
            event_after: usize::MAX,
            fails_after: usize::MAX,
        }
    }
}

/// Runs `f` on a store on which page changes fail after this number of them.
pub(super) fn failing(store: &MemoryStore, writes: usize, f: impl FnOnce(&Graph<'_, Interrupted<'_, fn()>>)) {
    let interrupted = Interrupted::<fn()> {
        fails_after: writes,
        ..Interrupted::new(store, 0, None)
    };
    f(&Graph::open(&interrupted).unwrap());
}

/// Number of page changes of `f`.
pub(super) fn counted(store: &MemoryStore, f: impl FnOnce(&Graph<'_, Interrupted<'_, fn()>>)) -> usize {
    accesses(store, f).1
}

/// Number of page reads of `f`, and of page locks for changes.
pub(super) fn accesses(store: &MemoryStore, f: impl FnOnce(&Graph<'_, Interrupted<'_, fn()>>)) -> (usize, usize) {
    let interrupted = Interrupted::<fn()>::new(store, 0, None);
    f(&Graph::open(&interrupted).unwrap());
    (interrupted.reads.get(), interrupted.writes.get())
}

impl<'m, F: FnOnce()> Interrupted<'m, F> {
    /// A store with an event after this number of steps.
    pub(super) fn after(store: &'m MemoryStore, steps: usize, event: F) -> Self {
        Interrupted::new(store, steps, Some(event))
    }

    /// A store with an event after this number of page changes.
    pub(super) fn after_writes(store: &'m MemoryStore, writes: usize, event: F) -> Self {
        Interrupted {
            event_after: writes,
            ..Interrupted::new(store, usize::MAX, Some(event))
        }
    }

    /// Counts a page change, with the event before it, or fails in its place.
    fn begin_write(&self) -> Result<()> {
        if self.writes.get() >= self.fails_after {
            return Err(Error::OutOfMemory);
        }
        if self.writes.get() == self.event_after
            && let Some(event) = self.event.take()
        {
            event();
        }
        self.writes.set(self.writes.get() + 1);
        Ok(())
    }

    /// Whether the event has happened.
    pub(super) fn is_over(&self) -> bool {
        let event = self.event.take();
        let is_over = event.is_none();
        self.event.set(event);
        is_over
    }
}

type MemoryPin<'a> = <MemoryStore as PageStore>::Pin<'a>;

impl<F: FnOnce()> PageStore for Interrupted<'_, F> {
    type Pin<'a>
        = MemoryPin<'a>
    where
        Self: 'a;

    fn pin(&self, block: u32) -> Result<MemoryPin<'_>> {
        self.store.pin(block)
    }
    fn hint(&self, pin: &MemoryPin<'_>, offset: usize, len: usize) {
        self.store.hint(pin, offset, len);
    }
    fn read_pinned<T>(&self, pin: MemoryPin<'_>, f: impl FnOnce(&Page) -> Result<T>) -> Result<T> {
        self.reads.set(self.reads.get() + 1);
        self.store.read_pinned(pin, f)
    }
    fn blocks(&self) -> Result<u32> {
        self.store.blocks()
    }
    fn read<T>(&self, block: u32, f: impl FnOnce(&Page) -> Result<T>) -> Result<T> {
        self.reads.set(self.reads.get() + 1);
        self.store.read(block, f)
    }
    fn write<T>(&self, block: u32, f: impl FnOnce(&mut Page) -> Result<Edit<T>>) -> Result<T> {
        self.begin_write()?;
        self.store.write(block, f)
    }
    fn write_two<T>(&self, a: u32, b: u32, f: impl FnOnce(&mut Page, &mut Page) -> Result<Edit<T>>) -> Result<T> {
        self.begin_write()?;
        self.store.write_two(a, b, f)
    }
    fn extend(&self) -> Result<u32> {
        self.store.extend()
    }
    fn target(&self, full: Option<u32>) -> Result<Option<u32>> {
        self.check_interrupts();
        self.store.target(full)
    }
    fn note_free(&self, block: u32) {
        self.store.note_free(block);
    }
    fn check_interrupts(&self) {
        let left = self.steps.get();
        self.steps.set(left.saturating_sub(1));
        if left == 0
            && let Some(event) = self.event.take()
        {
            event();
        }
    }
}

/// Removes `dead` of `vectors`, and inserts every third of them again during the removal; returns
/// the number of unreachable nodes.
fn insert_while_removing(metric: Metric, vectors: &[Vec<f32>], dead: &HashSet<usize>, share: usize) -> usize {
    let store = store();
    let graph = build(&store, metric, vectors);
    let mut again: Vec<usize> = dead.iter().copied().filter(|row| row % 3 == 0).collect();
    again.sort_unstable();
    let insert_again = || {
        for &row in &again {
            insert::insert(&graph, &mut Inserter::default(), &vectors[row], tid(10_000 + row)).unwrap();
        }
    };
    let interrupted = Interrupted::new(&store, store.blocks().unwrap() as usize * share / 4, Some(insert_again));
    let late = Graph::open(&interrupted).unwrap();
    bulk_delete::remove(&late, MEMORY, each(|tid| dead.contains(&row(tid)))).unwrap();
    assert!(interrupted.event.take().is_none(), "nothing was inserted meanwhile");
    let expected = (0..vectors.len()).filter(|row| !dead.contains(row));
    let expected: HashSet<_> = expected.chain(again.iter().map(|row| 10_000 + row)).collect();
    let found = first(&graph, &vectors[17], usize::MAX, limits(40));
    assert_eq!(
        (found.len(), found.into_iter().collect::<HashSet<_>>()),
        (expected.len(), expected)
    );
    for &row in &again {
        assert_eq!(
            first(&graph, &vectors[row], 1, limits(100)),
            [10_000 + row],
            "at {share}/4"
        );
    }
    assert!(graph.entry().unwrap().unwrap().level >= 1);
    unreachable(&graph)
}

/// Inserts the corner of a grid, and after this number of steps the rest of it, except for a few
/// rows that exist; returns whether there were so many steps.
fn insert_a_corner_late(m: u16, plain: bool, steps: usize) -> bool {
    const SIDE: usize = 40;
    let at = |row: usize| vec![(row % SIDE) as f32, (row / SIDE) as f32];
    let store = store();
    let mut shape = Layout::plan(
        2,
        usize::from(m),
        if plain { Metric::L1 } else { Metric::InnerProduct },
        0,
    )
    .unwrap()
    .shape;
    shape.m = m;
    let parameters = Parameters {
        shape,
        ef_construction: 32,
        ..parameters_of(Metric::L2, 2)
    };
    let graph = Graph::create(&store, parameters, Vec::new()).unwrap();
    let insert = |row: usize| insert::insert(&graph, &mut Inserter::default(), &at(row), tid(row)).unwrap();
    let first_rows = SIDE - 4..SIDE;
    first_rows.clone().for_each(insert);
    let the_others = || {
        let others = (1..SIDE * SIDE).filter(|row| !first_rows.contains(row));
        others.for_each(insert);
    };
    let interrupted = Interrupted::new(&store, steps, Some(the_others));
    let late = Graph::open(&interrupted).unwrap();
    insert::insert(&late, &mut Inserter::default(), &at(0), tid(0)).unwrap();
    if interrupted.event.take().is_some() {
        return false;
    }
    for row in [0, 1, SIDE, SIDE + 1] {
        assert_eq!(first(&graph, &at(row), 1, limits(10)), [row], "after {steps} steps");
    }
    assert_eq!(unreachable(&graph), 0, "after {steps} steps");
    true
}

#[test]
fn a_row_is_found_that_was_inserted_while_most_others_were() {
    for plain in [false, true] {
        let steps = (0..).take_while(|&steps| insert_a_corner_late(8, plain, steps)).count();
        assert!(steps > 5, "{steps} steps");
    }
}

#[test]
fn rows_inserted_while_their_surroundings_are_removed_are_found() {
    let vectors = words(3000);
    let around = exact(Metric::L2, &vectors, 0..vectors.len(), &vectors[17]);
    let dead = around[..900].iter().map(|&(_, row)| row).collect();
    for metric in [Metric::L2, Metric::L1] {
        // From the first pass to the middle of repair.
        for share in [1, 2, 3, 4, 6, 9, 14, 21, 32] {
            assert_eq!(insert_while_removing(metric, &vectors, &dead, share), 0, "at {share}/4");
        }
    }
}

#[test]
fn rows_inserted_while_everything_is_removed_are_found() {
    let vectors = words(1000);
    let dead = (0..vectors.len()).collect();
    for share in 1..=6 {
        assert_eq!(
            insert_while_removing(Metric::L2, &vectors, &dead, share),
            0,
            "at {share}/4"
        );
    }
}

/// Marks every node as dead, like a VACUUM that stops after its first pass.
fn mark_all_dead(graph: &Graph<'_, MemoryStore>) {
    mark_dead(graph, |_| true);
}

/// Marks the nodes of these rows as dead.
pub(super) fn mark_dead(graph: &Graph<'_, MemoryStore>, is_dead: impl Fn(usize) -> bool) {
    for block in graph.node_blocks().unwrap() {
        let mark_lowest = |page: &mut Page| {
            let mut nodes = NodePageMut::new(page, block, &graph.space.layout)?;
            for slot in 0..nodes.view().len() {
                let mut record = nodes.record(slot)?;
                if record.view().level() == 0 && record.view().tids().all(|tid| is_dead(row(tid))) {
                    record.retain_tids(|_| false);
                    record.set_dead();
                }
            }
            Ok(Edit::Changed(()))
        };
        graph.store.write(block, mark_lowest).unwrap();
    }
}

#[test]
fn a_batch_is_found_after_all_of_its_neighbors_died_meanwhile() {
    let vectors = words(900);
    for steps in [0, 10, 100, 300] {
        let store = store();
        let graph = build(&store, Metric::L2, &vectors[..700]);
        let stored = batch::stored(&graph, &vectors[700..]);
        let interrupted = Interrupted::new(&store, steps, Some(|| mark_all_dead(&graph)));
        let inserting = Graph::open(&interrupted).unwrap();
        let rows: Vec<_> = (700..720)
            .map(|row| (tid(row).into(), &stored[row - 700][..]))
            .collect();
        insert::batch::insert(&inserting, &mut Inserter::default(), rows.into_iter()).unwrap();
        assert!(interrupted.event.take().is_none(), "nothing died meanwhile");
        // Nodes placed before are dead too.
        let mut alive = HashSet::new();
        for block in graph.node_blocks().unwrap() {
            graph
                .live_on(block, |_, record| alive.extend(record.tids().map(row)))
                .unwrap();
        }
        for row in alive {
            assert_eq!(
                first(&graph, &vectors[row], 1, limits(40)),
                [row],
                "after {steps} steps"
            );
        }
        assert_eq!(unreachable(&graph), 0, "after {steps} steps");
    }
}

#[test]
fn a_row_is_inserted_where_vacuum_stopped_after_its_first_pass() {
    let vectors = words(600);
    let store = store();
    let graph = build(&store, Metric::L2, &vectors);
    mark_all_dead(&graph);
    let mut inserter = Inserter::default();
    for (row, vector) in vectors[..50].iter().enumerate() {
        insert::insert(&graph, &mut inserter, vector, tid(row)).unwrap();
        assert_eq!(first(&graph, vector, 1, limits(40)), [row]);
    }
    bulk_delete::remove(&graph, MEMORY, each(|_| false)).unwrap();
    let found: HashSet<_> = first(&graph, &vectors[0], usize::MAX, limits(40)).into_iter().collect();
    assert_eq!((found, unreachable(&graph)), ((0..50).collect(), 0));
}

/// The last phase of a build checks for interrupts as often as it reads pages.
#[test]
fn a_reconnection_in_memory_looks_for_interrupts() {
    thread_local! {
        static CHECKS: Cell<usize> = const { Cell::new(0) };
    }
    let store = store().with_interrupts(|| CHECKS.set(CHECKS.get() + 1));
    let graph = build(&store, Metric::InnerProduct, &words(500));
    CHECKS.set(0);
    reachability::reconnect(&graph, &mut Inserter::default(), MEMORY).unwrap();
    let pages = graph.node_blocks().unwrap().len();
    assert!(CHECKS.get() > 2 * pages, "{} times for {pages} pages", CHECKS.get());
}
