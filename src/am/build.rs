//! `ambuild`: the graph is made in memory and written out at the end; beyond maintenance_work_mem it goes on in shared buffers.
//! Either way the pages are logged once, when they are complete, and an abort leaves nothing but a file that PostgreSQL removes.

use std::ffi::{c_char, c_void};

use pgrx::{PgBox, pg_guard, pg_sys};

use super::opclass::Opclass;
use super::options::Options;
use super::{heap_tid, indexed_form, or_raise, relation_name};
use crate::error::{Error, Result};
use crate::graph::Graph;
use crate::graph::insert::Inserter;
use crate::storage::buffers::{self, BufferStore, Mode};
use crate::storage::memory::MemoryStore;
use crate::storage::meta::{self, Parameters};
use crate::storage::page::PAGE_SIZE;
use crate::storage::{HeapTid, PageStore};
use crate::types::vector::VectorDatum;

/// Levels are drawn from a generator with this seed, so that the same rows give the same index.
const SEED: u64 = 0x616C_6F70_6578;

const MAIN: pg_sys::ForkNumber::Type = pg_sys::ForkNumber::MAIN_FORKNUM;
const INIT: pg_sys::ForkNumber::Type = pg_sys::ForkNumber::INIT_FORKNUM;

/// Phases in pg_stat_progress_create_index, after PostgreSQL's own `initializing`.
const PHASE_LOAD: i64 = 2;
const PHASE_WRITE: i64 = 3;

/// A build under way.
struct Build {
    index: pg_sys::Relation,
    parameters: Parameters,
    inserter: Inserter,
    /// The pages, while they fit.
    memory: Option<MemoryStore>,
    /// Rows that were indexed.
    indexed: f64,
}

#[pg_guard]
pub unsafe extern "C-unwind" fn ambuild(
    heap: pg_sys::Relation,
    index: pg_sys::Relation,
    info: *mut pg_sys::IndexInfo,
) -> *mut pg_sys::IndexBuildResult {
    // SAFETY: PostgreSQL passes the open table and the open, empty index, which nobody else sees or may change.
    unsafe {
        let mut build = or_raise(index, Build::start(index));
        progress(pg_sys::PROGRESS_CREATEIDX_SUBPHASE, PHASE_LOAD);
        let state = std::ptr::from_mut(&mut build).cast();
        let rows =
            pg_sys::table_index_build_scan(heap, index, info, true, true, Some(add), state, std::ptr::null_mut());
        or_raise(index, build.reconnect());
        progress(pg_sys::PROGRESS_CREATEIDX_SUBPHASE, PHASE_WRITE);
        or_raise(index, build.write_out());
        if buffers::needs_wal(index) {
            buffers::log_all(index, MAIN);
        }
        let mut result = PgBox::<pg_sys::IndexBuildResult>::alloc0();
        result.heap_tuples = rows;
        result.index_tuples = build.indexed;
        result.into_pg()
    }
}

#[pg_guard]
pub unsafe extern "C-unwind" fn ambuildempty(index: pg_sys::Relation) {
    // SAFETY: PostgreSQL passes the open index of an unlogged table, whose init fork nobody else changes.
    unsafe {
        let mut page = [0; PAGE_SIZE];
        or_raise(
            index,
            parameters(index).and_then(|parameters| meta::init(&mut page, &parameters)),
        );
        buffers::append(index, INIT, &page);
        buffers::log_all(index, INIT);
    }
}

#[pg_guard]
pub unsafe extern "C-unwind" fn ambuildphasename(phase: i64) -> *mut c_char {
    let name = match phase {
        1 => c"initializing",
        PHASE_LOAD => c"loading tuples",
        PHASE_WRITE => c"writing pages",
        _ => return std::ptr::null_mut(),
    };
    name.as_ptr().cast_mut()
}

/// What a new index is, from its column, operator class and options.
///
/// # Safety
/// `index` is an open index of this access method.
unsafe fn parameters(index: pg_sys::Relation) -> Result<Parameters> {
    // SAFETY: an open index has a tuple descriptor with its one column.
    let (opclass, options, typmod) = unsafe {
        #[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17"))]
        let column = (*(*index).rd_att).attrs.as_ptr();
        #[cfg(feature = "pg18")]
        let column = pg_sys::TupleDescAttr((*index).rd_att, 0);
        (Opclass::of(index), Options::of(index), (*column).atttypmod)
    };
    let dimensions = u32::try_from(typmod).ok().filter(|&dimensions| dimensions > 0);
    Ok(Parameters {
        dimensions: dimensions.ok_or(Error::ColumnWithoutDimensions)?,
        element: opclass.element,
        metric: opclass.metric,
        m: options.m as u16,
        ef_construction: options.ef_construction as u16,
        seed: SEED,
    })
}

impl Build {
    /// # Safety
    /// `index` is an open, empty index that nobody else sees.
    unsafe fn start(index: pg_sys::Relation) -> Result<Build> {
        // SAFETY: as the caller promises; the other is a setting.
        let (parameters, kilobytes) = unsafe {
            if pg_sys::RelationGetNumberOfBlocksInFork(index, MAIN) > 0 {
                return Err(Error::IndexNotEmpty {
                    relation: relation_name(index),
                });
            }
            (parameters(index)?, pg_sys::maintenance_work_mem)
        };
        let memory = MemoryStore::new(kilobytes as usize * 1024);
        Graph::create(&memory, parameters)?;
        Ok(Build {
            index,
            parameters,
            inserter: Inserter::default(),
            memory: Some(memory),
            indexed: 0.0,
        })
    }

    fn insert(&mut self, value: &VectorDatum, tid: HeapTid) -> Result<()> {
        let Some(vector) = indexed_form(value, self.parameters.dimensions, self.parameters.metric)? else {
            return Ok(());
        };
        if self.memory.as_ref().is_some_and(MemoryStore::is_full) {
            self.write_out()?;
        }
        let (index, inserter) = (self.index, &mut self.inserter);
        match &self.memory {
            Some(memory) => Graph::with(memory, self.parameters)?.insert(inserter, &vector, tid)?,
            None => Graph::with(&buffers_of(index), self.parameters)?.insert(inserter, &vector, tid)?,
        }
        self.indexed += 1.0;
        Ok(())
    }

    /// Makes sure that every node can be found.
    fn reconnect(&mut self) -> Result<()> {
        let (index, inserter) = (self.index, &mut self.inserter);
        match &self.memory {
            Some(memory) => Graph::with(memory, self.parameters)?.reconnect(inserter)?,
            None => Graph::with(&buffers_of(index), self.parameters)?.reconnect(inserter)?,
        };
        Ok(())
    }

    /// Writes the pages in memory to the index, unlogged; what comes next goes there directly.
    fn write_out(&mut self) -> Result<()> {
        let Some(memory) = self.memory.take() else {
            return Ok(());
        };
        for block in 0..memory.blocks()? {
            pgrx::check_for_interrupts!();
            memory.read(block, |page| {
                // SAFETY: the index is open and ours alone, and pages come in block order.
                unsafe { buffers::append(self.index, MAIN, page) };
                Ok(())
            })?;
        }
        Ok(())
    }
}

/// The pages of an index that is being built.
fn buffers_of(index: pg_sys::Relation) -> BufferStore {
    // SAFETY: the index is open and this backend's alone.
    unsafe { BufferStore::new(index, Mode::Build) }
}

/// Takes one row of the table.
#[pg_guard]
unsafe extern "C-unwind" fn add(
    index: pg_sys::Relation,
    tid: pg_sys::ItemPointer,
    values: *mut pg_sys::Datum,
    isnull: *mut bool,
    _alive: bool,
    state: *mut c_void,
) {
    // SAFETY: PostgreSQL passes a row of the index's one column, and the state that `ambuild` gave it.
    unsafe {
        if !*isnull {
            let value = VectorDatum::from_datum(*values);
            or_raise(index, (*state.cast::<Build>()).insert(&value, heap_tid(tid)));
        }
    }
}

fn progress(parameter: u32, value: i64) {
    // SAFETY: a counter of this backend.
    unsafe { pg_sys::pgstat_progress_update_param(parameter as i32, value) };
}
