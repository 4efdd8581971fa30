//! The order of the table's vectors, of an index whose own vectors tell less of it.
//!
//! A compact record has its vector in 8 bits a coordinate, so that rows at nearly one distance come
//! in another order than the operator's. The scan reads some rows of the table ahead of the row
//! that it returns, and returns the nearest of them by the operator's distances. The rows read
//! ahead are few and belong to the round under way, so rows still come as they are asked for; the
//! executor reads each row once more. Its own reorder queue (`nodeIndexscan.c`) has no such bound:
//! it takes all rows of equal vectors first, and rows of it have no `ctid`.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use pgrx::pg_sys;

use super::Row;
use crate::am::item_pointer;
use crate::am::opclass::STRATEGY;
use crate::error::Result;
use crate::fallible::Room;

/// Rows that are read ahead of the first one, rows returned for each further one, and the most: the
/// farther rows are, the more of them have nearly one distance (docs/measurements.md, *Compact
/// records*).
const AHEAD: (usize, usize, usize) = (4, 8, 64);

/// A row that was read ahead.
struct Ahead {
    distance: f64,
    /// Its place in the order of the index, which decides between equal distances.
    place: u64,
    row: Row,
}

impl Ord for Ahead {
    fn cmp(&self, other: &Ahead) -> Ordering {
        let order = self.distance.total_cmp(&other.distance);
        order.then(self.place.cmp(&other.place))
    }
}

impl PartialOrd for Ahead {
    fn partial_cmp(&self, other: &Ahead) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ahead {
    fn eq(&self, other: &Ahead) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ahead {}

/// The rows of a scan that were read ahead.
pub struct TableOrder {
    distances: Distances,
    ahead: BinaryHeap<Reverse<Ahead>>,
    /// Number of rows read, and of rows returned.
    read: u64,
    returned: usize,
}

impl TableOrder {
    /// No rows, for all rescans of a scan.
    ///
    /// # Safety
    /// As for [`Distances::begin`].
    pub unsafe fn begin(descriptor: pg_sys::IndexScanDesc) -> TableOrder {
        TableOrder {
            // SAFETY: as the caller promises.
            distances: unsafe { Distances::begin(descriptor) },
            ahead: BinaryHeap::new(),
            read: 0,
            returned: 0,
        }
    }

    /// Begins anew.
    pub fn reset(&mut self) {
        self.ahead.clear();
        (self.read, self.returned) = (0, 0);
    }

    /// Gives back what refers to the table. After an error PostgreSQL does.
    pub fn end(self) {
        self.distances.end();
    }

    /// Whether no row is ahead.
    pub fn is_empty(&self) -> bool {
        self.ahead.is_empty()
    }

    /// Whether fewer rows are ahead than the order takes.
    pub fn has_room(&self) -> bool {
        let (first, each, most) = AHEAD;
        self.ahead.len() <= (first + self.returned / each).min(most)
    }

    /// Adds the row that comes next in the order of the index. A row without a distance comes last,
    /// as there; a row that the snapshot does not see comes at once, for the executor to find out
    /// whether it is dead to everyone.
    ///
    /// # Safety
    /// As for [`Distances::of`].
    pub unsafe fn add(&mut self, descriptor: pg_sys::IndexScanDesc, row: Row, query: pg_sys::Datum) -> Result<()> {
        self.ahead.room(1)?;
        let distance = match row.has_distance {
            // SAFETY: as the caller promises.
            true => unsafe { self.distances.of(descriptor, row, query) }.unwrap_or(f64::NEG_INFINITY),
            false => f64::NAN,
        };
        self.read += 1;
        self.ahead.push(Reverse(Ahead {
            distance,
            place: self.read,
            row,
        }));
        Ok(())
    }

    /// Takes the nearest row out.
    pub fn pop(&mut self) -> Option<Row> {
        let Reverse(nearest) = self.ahead.pop()?;
        self.returned += 1;
        Some(nearest.row)
    }
}

/// Distances between the query and the vectors of rows of the table, by the operator's function.
struct Distances {
    info: *mut pg_sys::IndexInfo,
    executor: *mut pg_sys::EState,
    context: *mut pg_sys::ExprContext,
    slot: *mut pg_sys::TupleTableSlot,
    function: pg_sys::FmgrInfo,
}

impl Distances {
    /// Allocates in the memory context of the descriptor.
    ///
    /// # Safety
    /// `descriptor` is one of ours, its index and table are open, and both stay open until
    /// [`Distances::end`].
    unsafe fn begin(descriptor: pg_sys::IndexScanDesc) -> Distances {
        // SAFETY: as the caller promises. The operator class of an open index has its operator.
        unsafe {
            let (table, index) = ((*descriptor).heapRelation, (*descriptor).indexRelation);
            let own = pg_sys::GetMemoryChunkContext(descriptor.cast());
            let before = pg_sys::MemoryContextSwitchTo(own);
            let executor = pg_sys::CreateExecutorState();
            let context = pg_sys::MakePerTupleExprContext(executor);
            let slot = pg_sys::table_slot_create(table, std::ptr::null_mut());
            (*context).ecxt_scantuple = slot;
            let (family, value) = (*(*index).rd_opfamily, *(*index).rd_opcintype);
            let operator = pg_sys::get_opfamily_member(family, value, value, STRATEGY as i16);
            let mut function = pg_sys::FmgrInfo::default();
            pg_sys::fmgr_info(pg_sys::get_opcode(operator), &mut function);
            let info = pg_sys::BuildIndexInfo(index);
            pg_sys::MemoryContextSwitchTo(before);
            Distances {
                info,
                executor,
                context,
                slot,
                function,
            }
        }
    }

    /// The distance of a row; none if the snapshot of the scan sees no version of it.
    ///
    /// # Safety
    /// `descriptor` is the one of [`Distances::begin`], and `query` a value of the index's type.
    unsafe fn of(&mut self, descriptor: pg_sys::IndexScanDesc, row: Row, query: pg_sys::Datum) -> Option<f64> {
        let mut values = [pg_sys::Datum::null(); pg_sys::INDEX_MAX_KEYS as usize];
        let mut nulls = [true; pg_sys::INDEX_MAX_KEYS as usize];
        let mut tid = item_pointer(row.tid);
        // An MVCC snapshot sees one version at most.
        let mut more = false;
        // SAFETY: as the caller promises; the executor fetches by the same state. An index has no
        // more columns than there is room for.
        unsafe {
            let (fetch, snapshot) = ((*descriptor).xs_heapfetch, (*descriptor).xs_snapshot);
            if !pg_sys::table_index_fetch_tuple(fetch, &mut tid, snapshot, self.slot, &mut more, std::ptr::null_mut()) {
                return None;
            }
            let before = pg_sys::MemoryContextSwitchTo((*self.context).ecxt_per_tuple_memory);
            pg_sys::FormIndexDatum(
                self.info,
                self.slot,
                self.executor,
                values.as_mut_ptr(),
                nulls.as_mut_ptr(),
            );
            let distance = match nulls[0] {
                true => f64::NAN,
                false => {
                    let distance = pg_sys::FunctionCall2Coll(&mut self.function, pg_sys::InvalidOid, values[0], query);
                    f64::from_bits(distance.value() as u64)
                }
            };
            pg_sys::MemoryContextSwitchTo(before);
            // The page of the row is not pinned between calls.
            pg_sys::ExecClearTuple(self.slot);
            pg_sys::MemoryContextReset((*self.context).ecxt_per_tuple_memory);
            Some(distance)
        }
    }

    fn end(self) {
        // SAFETY: both are of `begin`.
        unsafe {
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            pg_sys::FreeExecutorState(self.executor);
        }
    }
}
