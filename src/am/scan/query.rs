//! The keys of a scan: the value to search for, the order and radius of the rows, and the
//! conditions on filter columns.

use pgrx::pg_sys;

use crate::am::datum;
use crate::am::filter::Columns;
use crate::am::filter::scan_keys::Conditions;
use crate::am::opclass::STRATEGY;
use crate::am::radius_key::{self, Wanted};
use crate::distance::Metric;
use crate::error::{Error, Result};
use crate::hnsw::indexed_value::OwnedValue;
use crate::storage::parameters::Parameters;

/// The value to search for, and the order and radius of the rows.
///
/// # Safety
/// `descriptor` is one of ours with its keys filled in.
pub unsafe fn query(descriptor: pg_sys::IndexScanDesc, parameters: &Parameters) -> Result<(OwnedValue, Wanted)> {
    // SAFETY: as the caller promises; an order-by key's argument is of the operator class's type,
    // or NULL.
    unsafe {
        if (*descriptor).numberOfOrderBys != 1 {
            return Err(Error::ScanWithoutOrder);
        }
        let snapshot = (*(*descriptor).xs_snapshot).snapshot_type;
        // Rows are returned without a pin on their page: only a snapshot protects them from being
        // replaced (see nbtree's README).
        if snapshot != pg_sys::SnapshotType::SNAPSHOT_MVCC && snapshot != pg_sys::SnapshotType::SNAPSHOT_HISTORIC_MVCC {
            return Err(Error::SnapshotNotMvcc);
        }
        let key = &*(*descriptor).orderByData;
        if !is_ours(&*(*descriptor).indexRelation, key) {
            return Err(Error::ForeignOperator);
        }
        let mut wanted = radius_key::split_radius_key(key.sk_argument, key.sk_flags & pg_sys::SK_ISNULL as i32 != 0)?;
        let Some(value) = wanted.value else {
            // Every distance is NULL, so any order is right.
            wanted.mode = radius_key::Mode::Fast;
            wanted.radius = wanted.radius.map(|_| f64::NEG_INFINITY);
            wanted.nan = false;
            return Ok((datum::zero(parameters), wanted));
        };
        let value = datum::of_query(value, parameters)?;
        // Bounds hold for distances not below zero. No distance from zero is a number under cosine,
        // so all rows pass or none.
        let has_radius = match parameters.metric {
            Metric::InnerProduct => false,
            Metric::Cosine => !wanted.nan || value != datum::zero(parameters),
            _ => true,
        };
        wanted.radius = wanted.radius.filter(|_| has_radius);
        if parameters.metric == Metric::Cosine && value == datum::zero(parameters) {
            // No distance is a number, so any order is right.
            wanted.mode = radius_key::Mode::Fast;
            wanted.value = None;
        }
        Ok((value, wanted))
    }
}

/// The conditions on filter columns.
///
/// # Safety
/// `descriptor` is one of ours with its keys filled in.
pub unsafe fn conditions(descriptor: pg_sys::IndexScanDesc, parameters: &Parameters) -> Result<Conditions> {
    // SAFETY: as the caller promises.
    unsafe {
        let columns = Columns::of((*descriptor).indexRelation);
        columns.check(parameters)?;
        let keys = match usize::try_from((*descriptor).numberOfKeys) {
            Ok(count) if count > 0 => std::slice::from_raw_parts((*descriptor).keyData, count),
            _ => &[],
        };
        Conditions::of(&columns, keys)
    }
}

/// Whether an order-by key is the index's own distance: a family may have other operators.
fn is_ours(index: &pg_sys::RelationData, key: &pg_sys::ScanKeyData) -> bool {
    // SAFETY: an index has the type of its first column.
    let value = unsafe { *index.rd_opcintype };
    key.sk_attno == 1 && key.sk_strategy == STRATEGY && [pg_sys::InvalidOid, value].contains(&key.sk_subtype)
}
