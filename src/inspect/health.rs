//! `hnsw_health()`: the state of an index as its meta page has it, for the view
//! `hnsw_index_health`. It reads one page, waits for no lock, and raises no error: an index that
//! cannot be looked at has no row, or empty columns.

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::{is_owner, may_scan_all};
use crate::am;
use crate::am::calibration::has_changed;
use crate::am::options::{Asked, Options};
use crate::error::Result;
use crate::storage::PageStore;
use crate::storage::buffer_store::{BufferStore, Mode};
use crate::storage::calibration::{self, Calibration, Source, USUAL};
use crate::storage::format::META_BLOCK;
use crate::storage::meta::{self, Compaction};
use crate::storage::walk::{self, Walk};

/// The contents of a meta page.
struct Health {
    calibration: Option<Calibration>,
    walk: Option<Walk>,
    compaction: Compaction,
}

type Row = (
    Option<i32>,
    Option<bool>,
    Option<f64>,
    Option<i32>,
    Option<f64>,
    Option<TimestampWithTimeZone>,
    Option<String>,
    Option<bool>,
    Option<f64>,
    Option<TimestampWithTimeZone>,
);

/// The state of an index by its meta page; no row for a caller who may not look into it, or if
/// another session holds it.
#[pg_extern(sql = false)]
#[allow(clippy::type_complexity, reason = "the columns of the result")]
fn hnsw_health(
    index: pg_sys::Oid,
) -> TableIterator<
    'static,
    (
        name!(format_version, Option<i32>),
        name!(is_readable, Option<bool>),
        name!(target_recall, Option<f64>),
        name!(width, Option<i32>),
        name!(recall, Option<f64>),
        name!(calibrated_at, Option<TimestampWithTimeZone>),
        name!(calibrated_by, Option<String>),
        name!(has_changed, Option<bool>),
        name!(unreachable_share, Option<f64>),
        name!(vacuumed_at, Option<TimestampWithTimeZone>),
    ),
> {
    // SAFETY: called in a transaction; the lock is held while the index is open.
    unsafe {
        let lock = pg_sys::AccessShareLock as pg_sys::LOCKMODE;
        // An index may be dropped until it is locked.
        let is_index = || pg_sys::get_rel_relkind(index) as u8 == pg_sys::RELKIND_INDEX;
        let is_allowed = is_index() && (is_owner(index) || may_scan_all());
        if !is_allowed || !pg_sys::ConditionalLockRelationOid(index, lock) {
            return TableIterator::new(None);
        }
        if !is_index() {
            pg_sys::UnlockRelationOid(index, lock);
            return TableIterator::new(None);
        }
        let relation = pg_sys::index_open(index, pg_sys::NoLock as pg_sys::LOCKMODE);
        let persistence = (*(*relation).rd_rel).relpersistence as u8;
        let is_foreign = persistence == pg_sys::RELPERSISTENCE_TEMP && !(*relation).rd_islocaltemp;
        // A standby has no pages of an unlogged one.
        let is_absent = persistence == pg_sys::RELPERSISTENCE_UNLOGGED && pg_sys::RecoveryInProgress();
        let row = (am::is_ours(relation) && !is_foreign && !is_absent).then(|| row(relation));
        pg_sys::index_close(relation, lock);
        TableIterator::new(row)
    }
}

/// # Safety
/// `index` is an open index of this access method.
unsafe fn row(index: pg_sys::Relation) -> Row {
    // SAFETY: as the caller promises.
    let (store, options) = unsafe { (BufferStore::new(index, Mode::Normal), Options::of(index)) };
    let version = store.read(META_BLOCK, |page| Ok(meta::version(page)));
    let blocks = store.blocks().unwrap_or(0);
    let health: Result<Health> = store.read(META_BLOCK, |page| {
        Ok(Health {
            calibration: calibration::read(page)?,
            walk: walk::read(page)?,
            compaction: meta::read_compaction(page)?,
        })
    });
    let is_readable = health.is_ok();
    let health = health.unwrap_or(Health {
        calibration: None,
        walk: None,
        compaction: Compaction::default(),
    });
    let calibration = health.calibration.as_ref();
    let width = options.width(calibration, Asked::default());
    let time = |time: i64| TimestampWithTimeZone::try_from(time).ok();
    let vacuumed = health.compaction.finished;
    (
        version.ok().map(i32::from),
        Some(is_readable),
        options.effort().target(),
        Some(width as i32),
        calibration.map(|calibration| calibration.recall(USUAL, width)),
        calibration.and_then(|calibration| time(calibration.finished)),
        calibration.map(|calibration| match calibration.source {
            Source::Rows => "rows".to_string(),
            Source::Queries => "queries".to_string(),
        }),
        calibration.map(|calibration| has_changed(calibration, blocks)),
        health
            .walk
            .map(|walk| walk.unreachable as f64 / walk.nodes.max(1) as f64),
        (vacuumed != 0).then(|| time(vacuumed)).flatten(),
    )
}
