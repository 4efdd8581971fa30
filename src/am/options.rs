//! Options of an index (`WITH (m = .., ef_construction = .., ef_search = .., storage = ..,
//! target_recall = ..)`) and settings of a session (`hnsw.*`). Those of `ivfflat` are in
//! `am::ivfflat`.

use std::ffi::c_void;
use std::mem::offset_of;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};
use pgrx::{pg_guard, pg_sys};

use super::explicit::{mark_float, mark_int};
use super::ivfflat;
use super::method::Method;
use super::radius_key::Rows;
use crate::compat;
use crate::error::Error;
use crate::hnsw::distance_bounds::Keys;
use crate::hnsw::scan::{Iteration, Limits, Rounds, most_width, width_of_rows};
use crate::storage::calibration::{Calibration, MOST_WIDTH, USUAL};
use crate::storage::layout_plan::Storage;

/// Links of a node on an upper level: default and bounds.
const M: (i32, i32, i32) = (16, 2, 100);
/// Width of the search for the neighbors of a new node: default and bounds.
const EF_CONSTRUCTION: (i32, i32, i32) = (64, 4, 1000);

/// Lists of an inverted file: default and bounds. The graph has none; their number says how large a
/// share of the rows `ivfflat.probes` means.
const LISTS: (i32, i32, i32) = (100, 1, 32_768);

/// Width of a search: the default of the setting, and bounds.
const EF_SEARCH_RANGE: (i32, i32, i32) = (40, 1, 1000);

/// The excess of the width of a scan under conditions over that of one without, where a recall
/// gives the width (docs/measurements.md, *Targets under conditions*).
const FILTERED_EXCESS: usize = 12;

/// Bytes that a search takes for each row that it is wide, about: a row has two to three records
/// and five estimates.
const BYTES_PER_ROW: usize = 1024;

/// The recall that an index is to have: bounds.
pub const TARGET_RECALL: (f64, f64) = (0.5, 0.9999);

/// Options of an index without explicit ones.
const DEFAULT: Options = Options {
    varlena: 0,
    m: M.0,
    ef_construction: EF_CONSTRUCTION.0,
    ef_search: 0,
    lists: 0,
    storage: Storage::Full as i32,
    target_recall: 0.0,
};

/// The options of an index, as PostgreSQL stores them.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct Options {
    varlena: i32,
    /// Links of a node on an upper level.
    pub m: i32,
    /// Width of the search for the neighbors of a new node.
    pub ef_construction: i32,
    /// Width of a search where the session does not set one; 0 if the index has no width of its
    /// own.
    ef_search: i32,
    /// Lists of an `ivfflat` index; 0 for one of `hnsw`.
    pub lists: i32,
    /// The form of records, a [`Storage`].
    storage: i32,
    /// Recall that gives the width of a search where nothing sets one; 0 if none is asked for.
    target_recall: f64,
}

/// The rows that are asked of a scan.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    /// Whether there are conditions on filter columns.
    pub is_filtered: bool,
    /// Number of rows that are likely read, if it is known.
    pub rows: Option<Rows>,
    /// Whether the scan ends at a radius, within which there may be fewer.
    pub has_radius: bool,
    /// Whether the index has codes.
    pub is_coded: bool,
    /// Rows of the index, about.
    pub of: f64,
}

/// The measure of a search.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Effort {
    /// A width.
    Width(usize),
    /// A recall, from which the width follows.
    Recall(f64),
}

impl Effort {
    /// The recall, if one is the measure.
    pub fn target(self) -> Option<f64> {
        match self {
            Effort::Recall(recall) => Some(recall),
            Effort::Width(_) => None,
        }
    }
}

impl Options {
    /// The options of an index.
    ///
    /// # Safety
    /// `index` is an open index of one of the access methods.
    pub unsafe fn of(index: pg_sys::Relation) -> Options {
        // SAFETY: rd_options points to a result of `parse`, below or of ivfflat.
        let (options, method) = unsafe {
            (
                (*index).rd_options.cast::<Options>().as_ref().copied(),
                Method::of(index),
            )
        };
        // Options from the catalog may be out of bounds.
        match method {
            Method::Hnsw => options.map_or(DEFAULT, Options::within_bounds),
            Method::Ivfflat => {
                let (default, least, most) = LISTS;
                let lists = options.map_or(default, |options| options.lists.clamp(least, most));
                Options { lists, ..DEFAULT }
            }
        }
    }

    fn within_bounds(self) -> Options {
        let m = self.m.clamp(M.1, M.2);
        let ef_construction = self.ef_construction.clamp(EF_CONSTRUCTION.1, EF_CONSTRUCTION.2);
        Options {
            m,
            ef_construction: ef_construction.max(2 * m),
            ef_search: self.ef_search.clamp(0, EF_SEARCH_RANGE.2),
            lists: 0,
            target_recall: match self.target_recall {
                recall if recall > 0.0 => recall.clamp(TARGET_RECALL.0, TARGET_RECALL.1),
                _ => 0.0,
            },
            ..self
        }
    }

    /// Whether answers are to be exact, whatever they cost.
    pub fn is_exact(&self) -> bool {
        self.lists > 0 && ivfflat::is_exact(self.lists)
    }

    /// The form of records.
    pub fn storage(&self) -> Storage {
        match self.storage {
            value if value == Storage::Compact as i32 => Storage::Compact,
            _ => Storage::Full,
        }
    }

    /// The measure of a search: the session's before the index's, and of each a width before a
    /// recall.
    pub fn effort(&self) -> Effort {
        if self.lists > 0 {
            return Effort::Width(ivfflat::width(self.lists));
        }
        let default = Effort::Width(EF_SEARCH.get() as usize);
        match self.ef_search {
            _ if EF_SEARCH_IS_SET.load(Ordering::Relaxed) => default,
            _ if SESSION_RECALL.get() > 0.0 => Effort::Recall(SESSION_RECALL.get()),
            width @ 1.. => Effort::Width(width as usize),
            _ if self.asks_for_recall() => Effort::Recall(self.target_recall),
            _ => default,
        }
    }

    /// The width of a search of an index with this calibration. A recall takes more under
    /// conditions on filter columns; without a calibration it gives no width, and the default
    /// applies. A scan of more rows that would go on has a wider first round, because further
    /// rounds read the records of an index with codes again; not where a bound may end it before.
    pub fn width(&self, calibration: Option<&Calibration>, asked: Asked) -> usize {
        let is_bounded = MAX_SCAN_TUPLES_IS_SET.load(Ordering::Relaxed)
            || SCAN_MEM_MULTIPLIER_IS_SET.load(Ordering::Relaxed)
            || asked.has_radius;
        let most = (memory() / BYTES_PER_ROW).min(most_width(asked.of));
        let goes_on = self.lists == 0 && !asked.is_filtered && iteration(self) != Iteration::Off;
        let at_least = |width: usize| match asked.rows {
            Some(rows) if rows.own > width as f64 && goes_on && asked.is_coded && !is_bounded => {
                width.max(width_of_rows(rows.own).min(most))
            }
            _ => width,
        };
        match (self.effort(), calibration) {
            (Effort::Width(width), _) => at_least(width),
            (Effort::Recall(_), None) => at_least(EF_SEARCH.get() as usize),
            (Effort::Recall(recall), Some(calibration)) => {
                let most = match asked.is_coded && !is_bounded {
                    true => most.max(MOST_WIDTH.into()),
                    false => MOST_WIDTH.into(),
                };
                let width = match asked.rows {
                    Some(rows) => calibration.width_for_rows(rows.all.min(most as f64), recall).min(most),
                    None => usize::from(calibration.width(USUAL, recall)),
                };
                width + if asked.is_filtered { FILTERED_EXCESS } else { 0 }
            }
        }
    }

    /// Whether the index is to have a recall.
    pub fn asks_for_recall(&self) -> bool {
        self.target_recall > 0.0
    }
}

static HNSW: OnceLock<pg_sys::relopt_kind::Type> = OnceLock::new();

fn hnsw_kind() -> pg_sys::relopt_kind::Type {
    *HNSW.get_or_init(|| {
        let lock = pg_sys::AccessExclusiveLock as pg_sys::LOCKMODE;
        // SAFETY: called in a backend's only thread; names and texts are static.
        unsafe {
            let kind = pg_sys::add_reloption_kind();
            let (m, efc) = (M, EF_CONSTRUCTION);
            let text = c"Maximum number of links of a node on upper levels; level 0 has twice as many";
            pg_sys::add_int_reloption(kind, c"m".as_ptr(), text.as_ptr(), m.0, m.1, m.2, lock);
            let text = c"Width of the search for the neighbors of a new node";
            pg_sys::add_int_reloption(
                kind,
                c"ef_construction".as_ptr(),
                text.as_ptr(),
                efc.0,
                efc.1,
                efc.2,
                lock,
            );
            let (_, least, most) = EF_SEARCH_RANGE;
            let text = c"Width of index searches where hnsw.ef_search is not set";
            // A scan under way takes the old value or the new one.
            let lock = pg_sys::ShareUpdateExclusiveLock as pg_sys::LOCKMODE;
            pg_sys::add_int_reloption(kind, c"ef_search".as_ptr(), text.as_ptr(), 0, least, most, lock);
            add_storage(kind);
            let (least, most) = TARGET_RECALL;
            let text = c"Recall of index searches, which gives their width where neither setting nor ef_search does";
            pg_sys::add_real_reloption(kind, c"target_recall".as_ptr(), text.as_ptr(), 0.0, least, most, lock);
            kind
        }
    })
}

static IVFFLAT: OnceLock<pg_sys::relopt_kind::Type> = OnceLock::new();

fn ivfflat_kind() -> pg_sys::relopt_kind::Type {
    *IVFFLAT.get_or_init(|| {
        let (default, least, most) = LISTS;
        let lock = pg_sys::AccessExclusiveLock as pg_sys::LOCKMODE;
        let text = c"Number of lists of an inverted file, of which ivfflat.probes are a share of the rows";
        // SAFETY: called in a backend's only thread; names and texts are static.
        unsafe {
            let kind = pg_sys::add_reloption_kind();
            pg_sys::add_int_reloption(kind, c"lists".as_ptr(), text.as_ptr(), default, least, most, lock);
            kind
        }
    })
}

/// Adds the option `storage`.
///
/// # Safety
/// Called in a backend's only thread, for a kind of ours.
unsafe fn add_storage(kind: pg_sys::relopt_kind::Type) {
    let member = |string_val, symbol_val| pg_sys::relopt_enum_elt_def { string_val, symbol_val };
    let members = Storage::ALL.map(|storage| member(storage.name().as_ptr(), storage as i32));
    let end = member(std::ptr::null(), 0);
    // PostgreSQL keeps the address.
    let members = Box::leak(Box::new([members[0], members[1], end]));
    let text = c"Form of the index's records";
    let names = c"Valid values are \"full\" and \"compact\".";
    let lock = pg_sys::AccessExclusiveLock as pg_sys::LOCKMODE;
    // SAFETY: as the caller promises; names and texts are static.
    unsafe {
        pg_sys::add_enum_reloption(
            kind,
            c"storage".as_ptr(),
            text.as_ptr(),
            members.as_mut_ptr(),
            Storage::Full as i32,
            names.as_ptr(),
            lock,
        );
    }
}

/// Parses reloptions; with `validate`, refuses options that contradict each other.
///
/// # Safety
/// Called by PostgreSQL as `amoptions` of the access method.
pub unsafe fn parse(method: Method, reloptions: pg_sys::Datum, validate: bool) -> *mut pg_sys::bytea {
    let integer = |name, offset| compat::reloption(name, pg_sys::relopt_type::RELOPT_TYPE_INT, offset);
    let number = |name, offset| compat::reloption(name, pg_sys::relopt_type::RELOPT_TYPE_REAL, offset);
    let choice = |name, offset| compat::reloption(name, pg_sys::relopt_type::RELOPT_TYPE_ENUM, offset);
    let of_hnsw = [
        integer(c"m", offset_of!(Options, m)),
        integer(c"ef_construction", offset_of!(Options, ef_construction)),
        integer(c"ef_search", offset_of!(Options, ef_search)),
        choice(c"storage", offset_of!(Options, storage)),
        number(c"target_recall", offset_of!(Options, target_recall)),
    ];
    let of_ivfflat = [integer(c"lists", offset_of!(Options, lists))];
    let (kind, elements) = match method {
        Method::Hnsw => (hnsw_kind(), &of_hnsw[..]),
        Method::Ivfflat => (ivfflat_kind(), &of_ivfflat[..]),
    };
    // SAFETY: the elements describe `Options`.
    let parsed = unsafe {
        pg_sys::build_reloptions(
            reloptions,
            validate,
            kind,
            size_of::<Options>(),
            elements.as_ptr(),
            elements.len() as i32,
        )
    };
    // SAFETY: build_reloptions returns an `Options`, or NULL if there are none.
    if let Some(options) = unsafe { parsed.cast::<Options>().as_ref() }
        && validate
        && options.ef_construction < 2 * options.m
    {
        Error::EfConstructionTooSmall.raise();
    }
    parsed.cast()
}

/// `hnsw.iterative_scan`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
pub enum IterativeScan {
    /// A scan returns only the rows of its first round.
    #[name = c"off"]
    Off,
    /// A scan goes on as long as rows are wanted; they may come somewhat out of order.
    #[name = c"relaxed_order"]
    Relaxed,
    /// A scan goes on as long as rows are wanted, and returns them in order.
    #[name = c"strict_order"]
    Strict,
}

static EF_SEARCH: GucSetting<i32> = GucSetting::<i32>::new(EF_SEARCH_RANGE.0);
static SESSION_RECALL: GucSetting<f64> = GucSetting::<f64>::new(0.0);
/// Whether a setting was set explicitly: in the session, for the role or database, or in the
/// server's configuration.
static EF_SEARCH_IS_SET: AtomicBool = AtomicBool::new(false);
static MAX_SCAN_TUPLES_IS_SET: AtomicBool = AtomicBool::new(false);
static SCAN_MEM_MULTIPLIER_IS_SET: AtomicBool = AtomicBool::new(false);
static SAMPLE_QUERIES: GucSetting<f64> = GucSetting::<f64>::new(0.0);
static ITERATIVE_SCAN: GucSetting<IterativeScan> = GucSetting::<IterativeScan>::new(IterativeScan::Strict);
static MAX_SCAN_TUPLES: GucSetting<i32> = GucSetting::<i32>::new(20_000);
static SCAN_MEM_MULTIPLIER: GucSetting<f64> = GucSetting::<f64>::new(1.0);
static ENABLE_BITMAP_FILTER: GucSetting<bool> = GucSetting::<bool>::new(true);
static STAGING_MEMORY: GucSetting<i32> = GucSetting::<i32>::new(16 * 1024);

/// Registers options and settings: once, when the library is loaded.
pub fn register() {
    hnsw_kind();
    ivfflat_kind();
    let flags = GucFlags::default();
    // SAFETY: the hooks are guarded.
    unsafe {
        GucRegistry::define_int_guc_with_hooks(
            c"hnsw.ef_search",
            c"Sets the width of index searches.",
            c"A wider search finds more of the nearest rows and takes longer. If it is not set, the option ef_search of the index applies.",
            &EF_SEARCH,
            EF_SEARCH_RANGE.1,
            EF_SEARCH_RANGE.2,
            GucContext::Userset,
            flags,
            Some(mark_int),
            Some(assign_ef_search),
            None,
        );
        GucRegistry::define_int_guc_with_hooks(
            c"hnsw.max_scan_tuples",
            c"Sets the maximum number of rows that an index scan visits.",
            c"If it is not set, a scan continues as long as more rows are requested.",
            &MAX_SCAN_TUPLES,
            1,
            i32::MAX,
            GucContext::Userset,
            flags,
            Some(mark_int),
            Some(assign_max_scan_tuples),
            None,
        );
        GucRegistry::define_float_guc_with_hooks(
            c"hnsw.scan_mem_multiplier",
            c"Sets the maximum memory of an index scan, as a multiple of work_mem.",
            c"If it is not set, a scan continues within work_mem as long as more rows are requested.",
            &SCAN_MEM_MULTIPLIER,
            1.0,
            1000.0,
            GucContext::Userset,
            flags,
            Some(mark_float),
            Some(assign_scan_mem_multiplier),
            None,
        );
    }
    GucRegistry::define_float_guc(
        c"hnsw.target_recall",
        c"Sets the recall of index searches, from which their width follows.",
        c"Zero leaves it to the options of the index. hnsw.ef_search takes precedence if it is set.",
        &SESSION_RECALL,
        0.0,
        TARGET_RECALL.1,
        GucContext::Userset,
        GucFlags::EXPLAIN,
    );
    // Queries are data of their users, and the pages are those of the index's owner.
    GucRegistry::define_float_guc(
        c"hnsw.sample_queries",
        c"Sets the share of queries that are kept in the pages of their index.",
        c"The owner of the index sees the last of them, and hnsw_tune() uses them.",
        &SAMPLE_QUERIES,
        0.0,
        1.0,
        GucContext::Suset,
        flags,
    );
    GucRegistry::define_enum_guc(
        c"hnsw.iterative_scan",
        c"Controls whether an index scan continues when its first round returns too few rows.",
        c"",
        &ITERATIVE_SCAN,
        GucContext::Userset,
        flags,
    );
    GucRegistry::define_bool_guc(
        c"hnsw.enable_bitmap_filter",
        c"Enables the planner's use of index scans that are filtered by a bitmap of other indexes.",
        c"",
        &ENABLE_BITMAP_FILTER,
        GucContext::Userset,
        GucFlags::EXPLAIN,
    );
    GucRegistry::define_int_guc(
        c"hnsw.staging_memory",
        c"Sets the maximum memory for rows that a transaction has inserted and that are not in their indexes yet.",
        c"The rows are inserted into the indexes at commit, or when they need more memory. Zero inserts each row at once.",
        &STAGING_MEMORY,
        0,
        i32::MAX,
        GucContext::Userset,
        GucFlags::UNIT_KB,
    );
    // SAFETY: a static name, in a backend's only thread.
    unsafe { pg_sys::MarkGUCPrefixReserved(c"hnsw".as_ptr()) };
}

#[pg_guard]
unsafe extern "C-unwind" fn assign_ef_search(_value: i32, mark: *mut c_void) {
    EF_SEARCH_IS_SET.store(!mark.is_null(), Ordering::Relaxed);
}

#[pg_guard]
unsafe extern "C-unwind" fn assign_max_scan_tuples(_value: i32, mark: *mut c_void) {
    MAX_SCAN_TUPLES_IS_SET.store(!mark.is_null(), Ordering::Relaxed);
}

#[pg_guard]
unsafe extern "C-unwind" fn assign_scan_mem_multiplier(_value: f64, mark: *mut c_void) {
    SCAN_MEM_MULTIPLIER_IS_SET.store(!mark.is_null(), Ordering::Relaxed);
}

/// Whether the planner may filter index scans by bitmaps.
pub fn bitmap_filter() -> bool {
    ENABLE_BITMAP_FILTER.get()
}

/// The share of queries that are sampled, as set.
#[inline]
pub fn sampled_share() -> f64 {
    SAMPLE_QUERIES.get()
}

/// Bytes that a transaction may stage, as set.
pub fn staging_memory() -> usize {
    STAGING_MEMORY.get() as usize * 1024
}

/// Continuation of a scan of an index with these options after its first round, as set.
pub fn iteration(options: &Options) -> Iteration {
    if options.lists > 0 {
        return ivfflat::iteration();
    }
    match ITERATIVE_SCAN.get() {
        IterativeScan::Off => Iteration::Off,
        IterativeScan::Relaxed => Iteration::Relaxed,
        IterativeScan::Strict => Iteration::Strict,
    }
}

/// Bytes of memory of a scan, as set.
fn memory() -> usize {
    // SAFETY: a setting, read in a backend's only thread.
    let work_mem = unsafe { pg_sys::work_mem } as f64 * 1024.0;
    (work_mem * SCAN_MEM_MULTIPLIER.get()) as usize
}

/// Bounds of a scan of this width of an index with these options and about so many rows, as set. A
/// bound that nobody has set does not end a scan, although its default is a number: `SHOW` then
/// gives the default that users of pgvector expect.
pub fn limits(options: &Options, width: usize, rows: f64) -> Limits {
    let memory = memory();
    let if_set = |is_set: &AtomicBool, value| {
        if is_set.load(Ordering::Relaxed) {
            value
        } else {
            usize::MAX
        }
    };
    Limits {
        width,
        iteration: iteration(options),
        nodes: match options.lists {
            0 => if_set(&MAX_SCAN_TUPLES_IS_SET, MAX_SCAN_TUPLES.get() as usize),
            lists => ivfflat::most_nodes(lists, rows),
        },
        bytes: if_set(&SCAN_MEM_MULTIPLIER_IS_SET, memory),
        rounds: Rounds::Cheaper,
        memory,
        keys: Keys::Stored,
        killed: false,
        beyond: f32::INFINITY,
        unplaced: false,
    }
}
