//! Threads of a build, which insert rows into the graph in memory. The leader, the backend's own
//! thread, reads the rows from the table.
//!
//! Threads never call PostgreSQL, and they block all signals, because signals are the backend's.
//! They end when the leader has no more rows or drops [`Workers`], also by an error or a cancel;
//! the drop waits for the row that each thread is inserting.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::hnsw::Graph;
use crate::hnsw::indexed_value::OwnedValue;
use crate::hnsw::insert::{self, Inserter, NewRow};
use crate::hnsw::space::Space;
use crate::storage::memory_store::MemoryStore;

/// Rows that wait for a thread: enough that none is idle while the leader reads a page.
pub const QUEUE: usize = 64;

/// Time between two looks at threads that insert their last rows.
const WAIT: Duration = Duration::from_millis(1);

/// A row of the table: its vector as the index keeps it, and the rest.
pub type Row = (OwnedValue, NewRow);

/// Threads at work.
pub struct Workers {
    rows: Option<SyncSender<Row>>,
    threads: Vec<JoinHandle<()>>,
    failure: Arc<OnceLock<Error>>,
    /// Whether the build is given up: rows that wait are of no use.
    abandoned: Arc<AtomicBool>,
}

impl Workers {
    /// Starts `count` threads, or as many as there may be.
    pub fn start(count: usize, memory: &Arc<MemoryStore>, space: &Arc<Space>) -> Workers {
        let (sender, receiver) = sync_channel(QUEUE);
        let receiver = Arc::new(Mutex::new(receiver));
        let failure = Arc::new(OnceLock::new());
        let abandoned = Arc::new(AtomicBool::new(false));
        let spawn = || {
            let (memory, space) = (Arc::clone(memory), Arc::clone(space));
            let (receiver, failure) = (Arc::clone(&receiver), Arc::clone(&failure));
            let abandoned = Arc::clone(&abandoned);
            thread::Builder::new()
                .name("hnsw build".into())
                .spawn(move || {
                    if let Err(error) = work(&memory, space, &receiver, &abandoned) {
                        let _ = failure.set(error); // The first one is reported.
                    }
                })
                .ok()
        };
        let threads = without_signals(|| (0..count).map_while(|_| spawn()).collect());
        Workers {
            rows: Some(sender),
            threads,
            failure,
            abandoned,
        }
    }

    /// The number of threads.
    pub fn count(&self) -> usize {
        self.threads.len()
    }

    /// Gives a row to the threads; returns it, for the leader to insert, if they have enough to do.
    ///
    /// # Errors
    /// The error of a thread.
    pub fn offer(&self, row: Row) -> Result<Option<Row>> {
        if let Some(error) = self.failure.get() {
            return Err(error.clone());
        }
        match &self.rows {
            Some(rows) if !self.threads.is_empty() => match rows.try_send(row) {
                Ok(()) => Ok(None),
                Err(TrySendError::Full(row) | TrySendError::Disconnected(row)) => Ok(Some(row)),
            },
            _ => Ok(Some(row)),
        }
    }

    /// Waits until every row is inserted, and meanwhile runs `check_interrupts`, which may raise.
    ///
    /// # Errors
    /// The error of a thread.
    pub fn finish(mut self, check_interrupts: impl Fn()) -> Result<()> {
        self.rows = None;
        while self.threads.iter().any(|thread| !thread.is_finished()) {
            check_interrupts();
            thread::sleep(WAIT);
        }
        self.stop();
        match self.failure.get() {
            Some(error) => Err(error.clone()),
            None => Ok(()),
        }
    }

    fn stop(&mut self) {
        self.rows = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                let _ = self.failure.set(Error::BuildThread);
            }
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.abandoned.store(true, Ordering::Relaxed);
        self.stop();
    }
}

fn work(memory: &MemoryStore, space: Arc<Space>, rows: &Mutex<Receiver<Row>>, abandoned: &AtomicBool) -> Result<()> {
    let graph = Graph::with(memory, space);
    let mut inserter = Inserter::of_build();
    loop {
        let row = rows.lock().recv();
        let Ok((value, row)) = row else { return Ok(()) };
        if abandoned.load(Ordering::Relaxed) {
            return Ok(());
        }
        insert::insert(&graph, &mut inserter, value.view(), row)?;
    }
}

/// Runs `f` with all signals blocked, which threads made in it inherit: PostgreSQL's handlers are
/// for the backend's own thread.
fn without_signals<T>(f: impl FnOnce() -> T) -> T {
    // SAFETY: plain signal masks of this thread; the one before is restored.
    unsafe {
        let mut all = std::mem::zeroed();
        let mut before = std::mem::zeroed();
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let result = f();
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distance::Metric;
    use crate::filter::lists;
    use crate::hnsw::scan::{Limits, Scan};
    use crate::storage::layout::{Encoding, FilterColumns, Shape};
    use crate::storage::mapping::tests::of_unlinked_file;
    use crate::storage::memory_store::SEGMENT_BYTES;
    use crate::storage::page::PAGE_SIZE;
    use crate::storage::parameters::{Element, Parameters, Reflections};
    use crate::storage::{HeapTid, PageStore};

    const PARAMETERS: Parameters = Parameters {
        shape: Shape {
            dimensions: 2,
            m: 8,
            encoding: Encoding::Float32,
            code_bits: 128,
            filters: FilterColumns::NONE,
        },
        element: Element::Vector,
        metric: Metric::L2,
        ef_construction: 32,
        seed: 1,
        centroid: 0,
        filters: [None; crate::filter::values::MOST_COLUMNS],
        borders: 0,
        list_bits: lists::FEWEST_BITS,
        directions: Reflections::NONE,
    };

    fn rows(count: u32) -> impl Iterator<Item = Row> {
        (0..count).map(|n| {
            (
                OwnedValue::Dense(vec![(n % 71) as f32, (n / 71) as f32]),
                HeapTid { block: n, offset: 1 }.into(),
            )
        })
    }

    #[test]
    fn every_row_is_inserted_whoever_inserts_it() {
        for count in [0, 1, 4] {
            let memory = Arc::new(MemoryStore::new(SEGMENT_BYTES).unwrap());
            let graph = Graph::create(&*memory, PARAMETERS, Vec::new()).unwrap();
            let workers = Workers::start(count, &memory, graph.space());
            let mut inserter = Inserter::default();
            for row in rows(3000) {
                while !memory.has_room(QUEUE + count) {
                    memory.add(of_unlinked_file(SEGMENT_BYTES)).unwrap();
                }
                if let Some((vector, row)) = workers.offer(row).unwrap() {
                    insert::insert(&graph, &mut inserter, vector.view(), row).unwrap();
                }
            }
            workers.finish(|| ()).unwrap();
            let mut scan = Scan::new(graph.space().query(&[0.0, 0.0][..]), Limits::none(40));
            let mut found: Vec<_> = std::iter::from_fn(|| scan.next(&graph).unwrap())
                .map(|tid| tid.block)
                .collect();
            assert_eq!(found[0], 0);
            found.sort_unstable();
            assert_eq!(found, (0..3000).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_graph_is_the_same_in_memory_and_in_a_file() {
        let pages = |bytes: usize| {
            let memory = MemoryStore::new(bytes).unwrap();
            let graph = Graph::create(&memory, PARAMETERS, Vec::new()).unwrap();
            let mut inserter = Inserter::of_build();
            for (vector, row) in rows(3000) {
                if !memory.has_room(0) {
                    memory.add(of_unlinked_file(SEGMENT_BYTES)).unwrap();
                }
                insert::insert(&graph, &mut inserter, vector.view(), row).unwrap();
            }
            let read = |block| memory.read(block, |page| Ok(*page)).unwrap();
            (0..memory.pages()).map(read).collect::<Vec<_>>()
        };
        let (in_memory, in_file) = (pages(64 << 20), pages(SEGMENT_BYTES));
        assert!(in_file.len() * PAGE_SIZE > 2 * SEGMENT_BYTES);
        assert!(in_file == in_memory);
    }

    #[test]
    fn a_failure_in_a_thread_reaches_the_leader() {
        let memory = Arc::new(MemoryStore::new(1 << 20).unwrap()); // Room for a few pages only.
        let graph = Graph::create(&*memory, PARAMETERS, Vec::new()).unwrap();
        let workers = Workers::start(2, &memory, graph.space());
        let refused = rows(100_000).find_map(|mut row| {
            loop {
                match workers.offer(row) {
                    Ok(None) => return None,
                    Ok(Some(back)) => row = back, // The threads are busy: this leader leaves everything to them.
                    Err(error) => return Some(error),
                }
                thread::yield_now();
            }
        });
        assert_eq!(refused, Some(Error::IndexFull));
        assert_eq!(workers.finish(|| ()), Err(Error::IndexFull));
    }
}
