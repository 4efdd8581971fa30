//! The settings of `ivfflat`. An inverted file reads `probes` of its `lists`, a
//! share of the rows; the graph under this name is searched so widely that it finds more.

use std::ffi::c_void;
use std::sync::atomic::{AtomicBool, Ordering};

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting, PostgresGucEnum};
use pgrx::{PgLogLevel, pg_guard, pg_sys};

use super::explicit::mark_int;
use crate::hnsw::scan::Iteration;
use crate::pg_error::relation_name;

/// Probed lists: default of `ivfflat.probes`, and bounds.
const PROBES: (i32, i32, i32) = (1, 1, 32_768);

/// Width of a search at the least share of the rows, and at all of them. Under the defaults, 1 list
/// of 100, an inverted file finds a half of the nearest rows of embeddings, and the graph at the
/// least width more than nine tenths.
const WIDTH: (f64, f64) = (40.0, 1000.0);

/// `ivfflat.iterative_scan`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PostgresGucEnum)]
pub enum IterativeScan {
    /// A scan ends after the share of the rows that `ivfflat.probes` is of the lists, if somebody
    /// set this.
    #[name = c"off"]
    Off,
    /// A scan goes on as long as rows are wanted; they may come somewhat out of order.
    #[name = c"relaxed_order"]
    Relaxed,
}

static SETTING_PROBES: GucSetting<i32> = GucSetting::<i32>::new(PROBES.0);
static MAX_PROBES: GucSetting<i32> = GucSetting::<i32>::new(PROBES.2);
static ITERATIVE_SCAN: GucSetting<IterativeScan> = GucSetting::<IterativeScan>::new(IterativeScan::Off);
static ITERATIVE_SCAN_IS_SET: AtomicBool = AtomicBool::new(false);
static MAX_PROBES_IS_SET: AtomicBool = AtomicBool::new(false);

/// Registers the settings: once, when the library is loaded.
pub fn register() {
    let flags = GucFlags::default();
    GucRegistry::define_int_guc(
        c"ivfflat.probes",
        c"Sets the number of lists that a scan of an ivfflat index would probe.",
        c"The index is a graph: the larger the share of its option lists, the wider is the search, and with all lists it is exact.",
        &SETTING_PROBES,
        PROBES.1,
        PROBES.2,
        GucContext::Userset,
        flags,
    );
    // SAFETY: the hooks are guarded.
    unsafe {
        GucRegistry::define_enum_guc_with_hooks(
            c"ivfflat.iterative_scan",
            c"Controls whether a scan of an ivfflat index continues when it returns too few rows.",
            c"If it is not set, a scan continues in strict order. If it is set to off, a scan ends after the share of the rows that ivfflat.probes is of the lists.",
            &ITERATIVE_SCAN,
            GucContext::Userset,
            flags,
            Some(mark_int),
            Some(assign_iterative_scan),
            None,
        );
        GucRegistry::define_int_guc_with_hooks(
            c"ivfflat.max_probes",
            c"Sets the maximum number of lists that an iterative scan of an ivfflat index would probe.",
            c"If it is not set, a scan continues as long as more rows are requested.",
            &MAX_PROBES,
            PROBES.1,
            PROBES.2,
            GucContext::Userset,
            flags,
            Some(mark_int),
            Some(assign_max_probes),
            None,
        );
        pg_sys::MarkGUCPrefixReserved(c"ivfflat".as_ptr());
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn assign_iterative_scan(_value: i32, mark: *mut c_void) {
    ITERATIVE_SCAN_IS_SET.store(!mark.is_null(), Ordering::Relaxed);
}

#[pg_guard]
unsafe extern "C-unwind" fn assign_max_probes(_value: i32, mark: *mut c_void) {
    MAX_PROBES_IS_SET.store(!mark.is_null(), Ordering::Relaxed);
}

/// Share of an index's rows in so many of its lists.
fn share(probes: i32, lists: i32) -> f64 {
    (f64::from(probes) / f64::from(lists.max(1))).min(1.0)
}

/// Width of a search of an index with so many lists, as set.
pub fn width(lists: i32) -> usize {
    (WIDTH.0 + (WIDTH.1 - WIDTH.0) * share(SETTING_PROBES.get(), lists)) as usize
}

/// Whether all lists of an index are to be read, as set: the answer is then exact.
pub fn is_exact(lists: i32) -> bool {
    SETTING_PROBES.get() >= lists
}

/// Continuation of a scan after the first round, as set.
pub fn iteration() -> Iteration {
    match ITERATIVE_SCAN.get() {
        IterativeScan::Off => Iteration::Strict,
        IterativeScan::Relaxed => Iteration::Relaxed,
    }
}

/// Nodes after which a scan of an index with so many lists and rows ends; `usize::MAX` where
/// somebody set no bound.
pub fn most_nodes(lists: i32, rows: f64) -> usize {
    let probes = match ITERATIVE_SCAN.get() {
        IterativeScan::Off if ITERATIVE_SCAN_IS_SET.load(Ordering::Relaxed) => SETTING_PROBES.get(),
        IterativeScan::Relaxed if MAX_PROBES_IS_SET.load(Ordering::Relaxed) => {
            MAX_PROBES.get().max(SETTING_PROBES.get())
        }
        _ => return usize::MAX,
    };
    match share(probes, lists) {
        1.0 => usize::MAX,
        share => ((rows.max(0.0) * share) as usize).max(width(lists)),
    }
}

/// Says what is built in place of an inverted file, unless an index is built again.
///
/// # Safety
/// `index` is an open index of `ivfflat`.
pub unsafe fn tell(index: pg_sys::Relation) {
    // SAFETY: as the caller promises.
    unsafe {
        if pg_sys::ReindexIsProcessingIndex((*index).rd_id) {
            return;
        }
        let name = relation_name(index);
        pgrx::pg_sys::panic::ErrorReport::new(
            pgrx::PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION,
            format!("ivfflat index \"{name}\" is built as a graph, as an hnsw index is"),
            "",
        )
        .set_detail("Its option lists and the setting ivfflat.probes decide how wide a search is.")
        .report(PgLogLevel::NOTICE);
    }
}
