//! `ambuild`.
//!
//! Rows of some blocks all over the table yield the centroid, the directions of the data and the
//! borders of filter columns. The leader and its threads then build the graph in memory, beyond
//! maintenance_work_mem in that of a temporary file. The leader writes it out at the end. The pages
//! are logged once, when they are complete, and an abort leaves only files that PostgreSQL removes.

use std::ffi::c_char;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pgrx::{PgBox, pg_guard, pg_sys};

use super::build_memory::BuildMemory;
use super::build_threads::{QUEUE, Row, Workers};
use super::filter::{self, Columns};
use super::ivfflat;
use super::method::Method;
use super::opclass::Opclass;
use super::options::Options;
use super::sample::Sample;
use super::{calibration, datum, heap_scan, or_raise, relation_name};
use crate::error::{Error, Result};
use crate::fallible;
use crate::filter::lists;
use crate::filter::signature::Column;
use crate::filter::values::Values;
use crate::hnsw::Graph;
use crate::hnsw::heap_tids::unplaced;
use crate::hnsw::indexed_value::RowValue;
use crate::hnsw::insert::{self, Inserter, NewRow};
use crate::hnsw::space::{Learned, Space, learning};
use crate::hnsw::vacuum::reachability;
use crate::reserve;
use crate::sqlstate::Sqlstates;
use crate::storage::buffer_store;
use crate::storage::format::{META_BLOCK, Unplaced};
use crate::storage::layout::{Encoding, FilterColumns, Layout};
use crate::storage::layout_plan::Storage;
use crate::storage::memory_store::{MemoryStore, SEGMENT_BYTES};
use crate::storage::meta;
use crate::storage::page::{self, PAGE_SIZE};
use crate::storage::parameters::{Element, Parameters, Reflections};
use crate::storage::{BlockNumber, Edit, HeapTid, PageStore, centroid, corrupted};
use crate::txn;

/// Levels are drawn from a generator with this seed, so that the same rows give the same index.
const SEED: u64 = 0x616C_6F70_6578;

const MAIN: pg_sys::ForkNumber::Type = pg_sys::ForkNumber::MAIN_FORKNUM;
const INIT: pg_sys::ForkNumber::Type = pg_sys::ForkNumber::INIT_FORKNUM;

/// Phases in pg_stat_progress_create_index, after PostgreSQL's own `initializing`.
const PHASE_LOAD: i64 = 2;
const PHASE_CONNECT: i64 = 3;
const PHASE_CALIBRATE: i64 = 4;
const PHASE_WRITE: i64 = 5;

/// Rows from which the centroid is computed: the median of so many errs by a twenty-fifth of their
/// spread.
const SAMPLE: usize = 1024;

/// Rows from which directions are learned, and the centroid beside them.
const SAMPLE_WITH_DIRECTIONS: usize = 2048;

/// Share of an index that its directions may take.
const DIRECTIONS_SHARE: f64 = 0.01;

/// Rows of a sample that yields a centroid or borders. Fewer rows say nothing of later rows, as in
/// a build of a table that is about to be filled.
const MIN_SAMPLED: usize = 64;

/// Share of a build's time that its calibration may take.
const CALIBRATION_SHARE: u32 = 20;

/// A build under way.
struct Build {
    index: pg_sys::Relation,
    parameters: Parameters,
    /// Threads besides the leader.
    threads: usize,
    /// Memory for the pages of the graph.
    bytes: usize,
    /// Rows all over the table.
    sample: Sample,
    /// The graph under construction, once there is one.
    growing: Option<Growing>,
    /// Rows of the index so far.
    indexed: i64,
}

/// The graph of a build, once rows are inserted into it.
struct Growing {
    index: pg_sys::Relation,
    space: Arc<Space>,
    inserter: Inserter,
    /// The threads that insert into `memory`; they end before it is written out.
    workers: Option<Workers>,
    memory: BuildMemory,
    /// The most pages that a row adds on average over many rows.
    each: usize,
}

/// Expressions and conditions of users run in a build: their errors reach the client with their
/// SQLSTATEs.
pub unsafe extern "C-unwind" fn ambuild(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
) -> *mut pg_sys::IndexBuildResult {
    let sqlstates = Sqlstates::default();
    // SAFETY: as PostgreSQL calls it. The guard of `build` makes all errors PostgreSQL's, and
    // nothing is to be dropped here.
    unsafe { sqlstates.keep(|| build(heap, index, info)) }
}

#[pg_guard]
unsafe extern "C-unwind" fn build(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
) -> *mut pg_sys::IndexBuildResult {
    // SAFETY: PostgreSQL passes the open table and the open, empty index, which nobody else sees or
    // may change.
    unsafe {
        if Method::of(index) == Method::Ivfflat {
            ivfflat::tell(index);
        }
        let started = Instant::now();
        let mut build = or_raise(index, Build::start(heap, index));
        // The build reads the table anew, so rows staged for the file are dropped.
        txn::forget_file(index);
        progress([(pg_sys::PROGRESS_CREATEIDX_SUBPHASE, PHASE_LOAD)]);
        or_raise(index, build.read_sample(heap, info));
        let whole = std::ptr::null_mut();
        let rows = heap_scan::read(heap, index, info, whole, &mut |datum, tid, values| {
            build.insert(datum, tid, values)
        });
        let mut growing = or_raise(index, build.take_growing());
        or_raise(index, growing.finish_inserts());
        begin_phase(PHASE_CONNECT, 0);
        or_raise(index, growing.reconnect(build.indexed));
        begin_phase(PHASE_CALIBRATE, 0);
        or_raise(index, growing.calibrate(started.elapsed() / CALIBRATION_SHARE));
        begin_phase(PHASE_WRITE, growing.memory.store().pages());
        or_raise(index, growing.write_out());
        if buffer_store::needs_wal(index) {
            buffer_store::log_all(index, MAIN);
        }
        let mut result = PgBox::<pg_sys::IndexBuildResult>::alloc0();
        result.heap_tuples = rows;
        result.index_tuples = build.indexed as f64;
        result.into_pg()
    }
}

#[pg_guard]
pub unsafe extern "C-unwind" fn ambuildempty(index: pg_sys::Relation) {
    // SAFETY: PostgreSQL passes the open index of an unlogged table, and nobody else changes its
    // init fork.
    unsafe {
        or_raise(index, build_empty(index));
        buffer_store::log_all(index, INIT);
    }
}

/// Adds the pages of an index without rows to the init fork.
///
/// # Safety
/// As for [`ambuildempty`].
unsafe fn build_empty(index: pg_sys::Relation) -> Result<()> {
    // SAFETY: as the caller promises.
    let (parameters, file) = unsafe { (parameters(index)?, buffer_store::file_of(index)) };
    let store = MemoryStore::new(SEGMENT_BYTES)?;
    Graph::create(&store, parameters, Learned::default())?;
    store.write(META_BLOCK, |page| {
        meta::set_file(page, file);
        Ok(Edit::Changed(()))
    })?;
    for block in 0..store.blocks()? {
        store.read(block, |page| {
            // SAFETY: as the caller promises.
            unsafe { buffer_store::append(index, INIT, page) };
            Ok(())
        })?;
    }
    Ok(())
}

#[pg_guard]
pub unsafe extern "C-unwind" fn ambuildphasename(phase: i64) -> *mut c_char {
    let name = match phase {
        1 => c"initializing",
        PHASE_LOAD => c"loading tuples",
        PHASE_CONNECT => c"connecting nodes",
        PHASE_CALIBRATE => c"measuring recall",
        PHASE_WRITE => c"writing pages",
        _ => return std::ptr::null_mut(),
    };
    name.as_ptr().cast_mut()
}

/// Parameters of a new index, from its column, operator class and options.
///
/// # Safety
/// `index` is an open index of this access method.
unsafe fn parameters(index: pg_sys::Relation) -> Result<Parameters> {
    // SAFETY: as the caller promises.
    let (opclass, options, columns, (_, typmod)) = unsafe {
        filter::check_first(index)?;
        let (opclass, columns) = (Opclass::of(index), Columns::of(index));
        (opclass, Options::of(index), columns, heap_scan::base_type(index, 0))
    };
    let dimensions = heap_scan::dimensions(typmod, || opclass.element.type_name().to_owned())?;
    let (length, m) = (dimensions as usize, options.m as usize);
    let filters = FilterColumns::of(columns.kinds().into_iter().flatten());
    let storage = options.storage();
    if storage == Storage::Compact && !opclass.is_coded() {
        return Err(Error::NoCompactStorage);
    }
    let layout = match opclass.element {
        Element::Vector | Element::Halfvec => Layout::plan_as(storage, length, m, opclass.metric, filters),
        Element::Bit => Layout::plain(length, m, Encoding::Bits, filters),
        Element::Sparsevec => Layout::plain(length, m, Encoding::Sparse, filters),
    };
    Ok(Parameters {
        // SAFETY: the index is open.
        shape: layout
            .map_err(|error| error.of_method(unsafe { Method::of(index) }.name()))?
            .shape,
        element: opclass.element,
        metric: opclass.metric,
        ef_construction: options.ef_construction as u16,
        seed: SEED,
        centroid: 0,
        filters: columns.kinds(),
        borders: 0,
        list_bits: lists::FEWEST_BITS,
        directions: Reflections::NONE,
    })
}

impl Build {
    /// # Safety
    /// `heap` is an open table, `index` an open, empty index of it that nobody else sees.
    unsafe fn start(heap: pg_sys::Relation, index: pg_sys::Relation) -> Result<Build> {
        // SAFETY: as the caller promises.
        let (parameters, threads) = unsafe {
            if pg_sys::RelationGetNumberOfBlocksInFork(index, MAIN) > 0 {
                let relation = relation_name(index);
                return Err(Error::IndexNotEmpty { relation });
            }
            (parameters(index)?, thread_count(heap))
        };
        Ok(Build {
            index,
            parameters,
            threads,
            bytes: buffer_store::maintenance_memory(),
            sample: Sample::default(),
            growing: None,
            indexed: 0,
        })
    }

    /// # Safety
    /// `datum` is a value of the index's type.
    unsafe fn insert(&mut self, datum: Option<pg_sys::Datum>, tid: HeapTid, values: Values) -> Result<()> {
        self.indexed += 1;
        progress([(pg_sys::PROGRESS_CREATEIDX_TUPLES_DONE, self.indexed)]);
        // SAFETY: as the caller promises.
        let value = match unsafe { datum::of_row(datum, &self.parameters)? } {
            RowValue::Placed(value) => value,
            RowValue::Unplaced(kind) => return self.insert_unplaced(kind, tid),
        };
        self.growing()?.insert((value, NewRow { values, ..tid.into() }))
    }

    fn insert_unplaced(&mut self, kind: Unplaced, tid: HeapTid) -> Result<()> {
        self.growing()?.insert_unplaced(kind, tid)
    }

    /// The most vectors of the sample, which may fill a quarter of the memory. Learning of
    /// directions takes as much again.
    fn most_sampled(&self) -> usize {
        let each = self.parameters.shape.dimensions as usize * size_of::<f32>();
        let layout = Layout::of(self.parameters.shape).ok();
        match layout.and_then(|layout| layout.with_directions().next()) {
            Some(_) => SAMPLE_WITH_DIRECTIONS.min(self.bytes / 8 / each),
            None if self.parameters.allow_centroid() => SAMPLE.min(self.bytes / 4 / each),
            None => 0,
        }
    }

    /// Reads rows all over the table, where they are to tell of all rows.
    ///
    /// # Errors
    /// As [`Sample::read`].
    ///
    /// # Safety
    /// `heap` is the open table, and `info` PostgreSQL's description of the index.
    unsafe fn read_sample(&mut self, heap: pg_sys::Relation, info: *mut pg_sys::IndexInfo) -> Result<()> {
        let has_filters = self.parameters.shape.filters.count > 0;
        let most = self.most_sampled();
        // SAFETY: as the caller promises.
        self.sample = unsafe { Sample::read(heap, self.index, info, &self.parameters, most, has_filters)? };
        Ok(())
    }

    /// What the sample tells of all rows. The shape becomes that of an index with directions if
    /// there are any.
    fn learn(&mut self) -> Result<Learned> {
        let sample = std::mem::take(&mut self.sample);
        let mut learned = Learned::default();
        if sample.vectors().len() >= MIN_SAMPLED {
            let vectors = sample.vectors().map(|(vector, _)| vector);
            let centroid = centroid::of(vectors, self.parameters.shape.dimensions as usize);
            let layout = Layout::of(self.parameters.shape)?;
            let layouts = layout.with_directions();
            let layouts = layouts.filter(|layout| pays(layout, sample.rows));
            let vectors = sample.vectors();
            let found = learning::best(layouts, &layout, vectors, &centroid, &check_interrupts)?;
            if let Some(found) = found {
                (self.parameters.shape, self.parameters.directions) = (found.shape, found.name);
                learned.directions = found.directions;
            }
            if self.parameters.allow_centroid() {
                learned.centroid = centroid;
            }
        }
        if self.parameters.shape.filters.count > 0 {
            self.parameters.list_bits = lists::bits(sample.rows);
        }
        if sample.values.len() >= MIN_SAMPLED {
            let columns = learned.borders.iter_mut().zip(self.parameters.filters).enumerate();
            for (i, (borders, kind)) in columns {
                let Some(kind) = kind else { continue };
                let keys = fallible::collect(sample.values.iter().filter_map(|values| values.get(i)))?;
                *borders = Column::of_sample(kind, keys).borders;
            }
        }
        Ok(learned)
    }

    /// The graph; begins it if necessary.
    fn growing(&mut self) -> Result<&mut Growing> {
        if self.growing.is_none() {
            self.growing = Some(self.take_growing()?);
        }
        Ok(self.growing.as_mut().expect("a graph that was begun"))
    }

    /// As [`Build::growing`]; the build has it no more.
    fn take_growing(&mut self) -> Result<Growing> {
        if let Some(growing) = self.growing.take() {
            return Ok(growing);
        }
        let learned = self.learn()?;
        Growing::start(self, learned)
    }
}

/// The most value lists that a node is in.
fn most_lists(space: &Space) -> usize {
    space.columns().iter().map(Column::most_lists).sum()
}

impl Growing {
    /// Begins the graph of a build, with what the sample tells.
    fn start(build: &Build, learned: Learned) -> Result<Growing> {
        let mut memory = BuildMemory::new(build.bytes, check_interrupts)?;
        memory.make_room(0)?;
        let store = memory.store();
        let space = Arc::clone(Graph::create(&**store, build.parameters, learned)?.space());
        // SAFETY: the index is open.
        let file = unsafe { buffer_store::file_of(build.index) };
        store.write(META_BLOCK, |page| {
            meta::set_file(page, file);
            Ok(Edit::Changed(()))
        })?;
        // A row is a record, sometimes another on an upper level, its overflow records, and
        // sometimes a page of each list that it is in.
        let layout = space.layout();
        let each = (2 + layout.overflows).div_ceil(layout.slots as usize) + 1 + most_lists(&space);
        let threads = build.threads;
        Ok(Growing {
            index: build.index,
            inserter: Inserter::of_build(),
            workers: (threads > 0).then(|| Workers::start(threads, store, &space)),
            space,
            memory,
            each,
        })
    }

    /// Makes room for the next row, and for the rows that wait or are being inserted.
    fn make_room(&mut self) -> Result<()> {
        let waiting = self.workers.as_ref().map_or(0, |workers| QUEUE + workers.count());
        self.memory.make_room(self.each * waiting)
    }

    fn insert_unplaced(&mut self, kind: Unplaced, tid: HeapTid) -> Result<()> {
        self.make_room()?;
        let graph = Graph::with(&**self.memory.store(), Arc::clone(&self.space));
        unplaced::add(&graph, kind, &[tid])
    }

    fn insert(&mut self, row: Row) -> Result<()> {
        self.make_room()?;
        let row = match &self.workers {
            Some(workers) => workers.offer(row)?,
            None => Some(row),
        };
        let Some((value, row)) = row else { return Ok(()) };
        let graph = Graph::with(&**self.memory.store(), Arc::clone(&self.space));
        insert::insert(&graph, &mut self.inserter, value.view(), row)
    }

    /// Waits until the threads have inserted their rows.
    fn finish_inserts(&mut self) -> Result<()> {
        self.workers
            .take()
            .map_or(Ok(()), |workers| workers.finish(check_interrupts))
    }

    /// Makes sure that every node can be reached; `rows` is the number of rows in the graph.
    fn reconnect(&mut self, rows: i64) -> Result<()> {
        // The few nodes without links, inserted side by side into an empty graph, may get further
        // entries in value lists.
        let of_column = 1 << self.space.parameters().list_bits;
        let lists = self.space.layout().filters() * of_column.min(most_lists(&self.space) * rows as usize);
        self.memory.make_room(lists)?;
        let graph = Graph::with(&**self.memory.store(), Arc::clone(&self.space));
        reachability::reconnect(&graph, &mut self.inserter, buffer_store::maintenance_memory())?;
        Ok(())
    }

    /// Measures recall over the width of searches, in about this time, or longer if the index is to
    /// have a recall.
    fn calibrate(&mut self, time: Duration) -> Result<()> {
        // SAFETY: the index is open.
        let asks = unsafe { Options::of(self.index) }.asks_for_recall();
        let time = if asks { time.max(calibration::TIME) } else { time };
        let graph = Graph::with(&**self.memory.store(), Arc::clone(&self.space));
        calibration::measure(&graph, time)
    }

    /// Writes the pages to the index, unlogged, and frees their memory.
    fn write_out(self) -> Result<()> {
        let store = self.memory.store();
        store.read_in_order();
        for block in 0..store.pages() {
            pgrx::check_for_interrupts!();
            store.read(block, |page| {
                if page::is_new(page) {
                    return corrupted(block, "a page of the build's temporary file has been lost");
                }
                // SAFETY: the index is open and ours alone, and pages come in block order.
                unsafe { buffer_store::append(self.index, MAIN, page) };
                Ok(())
            })?;
            progress([(pg_sys::PROGRESS_SCAN_BLOCKS_DONE, i64::from(block) + 1)]);
        }
        Ok(())
    }
}

/// Whether directions take a small part of an index of so many rows with this layout.
fn pays(layout: &Layout, rows: f64) -> bool {
    let numbers = learning::count(&layout.shape) * layout.shape.coordinates();
    let bytes = rows / f64::from(layout.slots) * PAGE_SIZE as f64;
    (numbers * size_of::<u16>()) as f64 <= DIRECTIONS_SHARE * bytes
}

/// Threads besides the leader: as many as PostgreSQL gives a parallel build by the table's size or
/// its `parallel_workers`, at most max_parallel_maintenance_workers and max_parallel_workers, which
/// every user may raise, and max_worker_processes, which is the server's own.
///
/// # Safety
/// `heap` is an open table.
pub(super) unsafe fn thread_count(heap: pg_sys::Relation) -> usize {
    // SAFETY: as the caller promises; the others are settings. The options of a table that has any
    // are StdRdOptions.
    unsafe {
        let options = (*heap).rd_options.cast::<pg_sys::StdRdOptions>().as_ref();
        let asked = options.map_or(-1, |options| options.parallel_workers);
        let by_size = || {
            // One more for each tripling of the table, as in PostgreSQL's
            // compute_parallel_worker(). Long vectors are out of line, so that is counted too.
            let mut blocks = pg_sys::RelationGetNumberOfBlocksInFork(heap, MAIN);
            let toast = (*(*heap).rd_rel).reltoastrelid;
            if toast != pg_sys::InvalidOid {
                let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
                let toast = pg_sys::table_open(toast, lock);
                blocks = blocks.saturating_add(pg_sys::RelationGetNumberOfBlocksInFork(toast, MAIN));
                pg_sys::table_close(toast, lock);
            }
            let smallest = u32::try_from(pg_sys::min_parallel_table_scan_size).unwrap_or(0).max(1);
            (blocks / smallest)
                .checked_ilog(3)
                .map_or(0, |triplings| triplings as i32 + 1)
        };
        let wanted = if asked >= 0 { asked } else { by_size() };
        let most = pg_sys::max_parallel_maintenance_workers
            .min(pg_sys::max_parallel_workers)
            .min(pg_sys::max_worker_processes);
        wanted.clamp(0, most.max(0)) as usize
    }
}

/// Begins a phase of a build with this total of blocks. The counter of done blocks never exceeds
/// the total.
fn begin_phase(phase: i64, blocks: BlockNumber) {
    progress([
        (pg_sys::PROGRESS_CREATEIDX_SUBPHASE, phase),
        (pg_sys::PROGRESS_SCAN_BLOCKS_TOTAL, i64::from(blocks)),
        (pg_sys::PROGRESS_SCAN_BLOCKS_DONE, 0),
    ]);
}

/// Sets counters of the build's progress, all at once.
fn progress<const N: usize>(counters: [(u32, i64); N]) {
    let (names, values) = (counters.map(|(name, _)| name as i32), counters.map(|(_, value)| value));
    // SAFETY: counters of this backend, and their values.
    unsafe { pg_sys::pgstat_progress_update_multi_param(N as i32, names.as_ptr(), values.as_ptr()) };
}

/// Ends the build if it was cancelled or memory has run out.
pub(super) fn check_interrupts() {
    if reserve::has_run_out() {
        Error::OutOfMemory.raise();
    }
    pgrx::check_for_interrupts!();
}
