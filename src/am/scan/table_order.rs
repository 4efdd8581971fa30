//! The order of the table's vectors, of an index whose own vectors tell less of it.
//!
//! A compact record has its vector in 8 bits a coordinate, so that rows at nearly one distance come
//! in another order than the operator's. The scan reads some rows of the table ahead of the row
//! that it returns, and returns the nearest of them by the operator's distances. The rows read
//! ahead are few and were found already, so rows still come as they are asked for; the executor
//! reads each row once more. Its own reorder queue (`nodeIndexscan.c`) has no such bound: it takes
//! all rows of equal vectors first, and rows of it have no `ctid`.

use pgrx::pg_sys;

use super::Row;
use crate::am::item_pointer;
use crate::error::Result;
use crate::fallible::Room;

/// Rows that are read ahead of the first one, rows returned for each further one, and the most: the
/// farther rows are, the more of them have nearly one distance (docs/measurements.md, *Compact
/// records*).
const AHEAD: (usize, usize, usize) = (4, 8, 64);

/// The rows of a scan that were read ahead, and the means to compute distances.
pub struct TableOrder {
    /// Rows with their distances, the nearest last; rows of equal distances in reverse order of the
    /// index.
    ahead: Vec<(f64, Row)>,
    returned: usize,
    /// The value to search for: a copy, or null.
    query: *mut pg_sys::varlena,
    /// The memory context of the scan's descriptor.
    memory: pg_sys::MemoryContext,
    info: *mut pg_sys::IndexInfo,
    executor: *mut pg_sys::EState,
    context: *mut pg_sys::ExprContext,
    slot: *mut pg_sys::TupleTableSlot,
}

impl TableOrder {
    /// The means, for all rescans of a scan; allocated in the memory context of the descriptor.
    ///
    /// # Safety
    /// `descriptor` is one of ours, its index and table are open, and both stay open until
    /// [`TableOrder::end`].
    pub unsafe fn new(descriptor: pg_sys::IndexScanDesc) -> TableOrder {
        // SAFETY: as the caller promises.
        unsafe {
            let (table, index) = ((*descriptor).heapRelation, (*descriptor).indexRelation);
            let memory = pg_sys::GetMemoryChunkContext(descriptor.cast());
            let before = pg_sys::MemoryContextSwitchTo(memory);
            let info = pg_sys::BuildIndexInfo(index);
            take_first_column(&mut *info);
            let executor = pg_sys::CreateExecutorState();
            let context = pg_sys::MakePerTupleExprContext(executor);
            let slot = pg_sys::table_slot_create(table, std::ptr::null_mut());
            (*context).ecxt_scantuple = slot;
            pg_sys::MemoryContextSwitchTo(before);
            TableOrder {
                ahead: Vec::new(),
                returned: 0,
                query: std::ptr::null_mut(),
                memory,
                info,
                executor,
                context,
                slot,
            }
        }
    }

    /// Begins a scan for the neighbors of a value.
    ///
    /// # Safety
    /// `query` is a value of the index's type.
    pub unsafe fn begin(&mut self, query: pg_sys::Datum) {
        self.clear();
        // SAFETY: as the caller promises: vectors are varlenas.
        unsafe {
            let before = pg_sys::MemoryContextSwitchTo(self.memory);
            self.query = pg_sys::pg_detoast_datum_copy(query.cast_mut_ptr());
            pg_sys::MemoryContextSwitchTo(before);
        }
    }

    /// Forgets the rows and the value.
    pub fn clear(&mut self) {
        self.ahead.clear();
        self.returned = 0;
        let query = std::mem::replace(&mut self.query, std::ptr::null_mut());
        if !query.is_null() {
            // SAFETY: `begin` allocated it.
            unsafe { pg_sys::pfree(query.cast()) };
        }
    }

    /// Gives back what refers to the table. After an error PostgreSQL does.
    pub fn end(self) {
        // SAFETY: both are of `new`.
        unsafe {
            pg_sys::ExecDropSingleTupleTableSlot(self.slot);
            pg_sys::FreeExecutorState(self.executor);
        }
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
    /// `descriptor` is the one of [`TableOrder::new`], and its scan has begun.
    pub unsafe fn add(&mut self, descriptor: pg_sys::IndexScanDesc, row: Row) -> Result<()> {
        self.ahead.room(1)?;
        let distance = match row.has_distance {
            // SAFETY: as the caller promises.
            true => unsafe { self.distance(descriptor, row) }.unwrap_or(f64::NEG_INFINITY),
            false => f64::NAN,
        };
        let is_farther = |(other, _): &(f64, Row)| other.total_cmp(&distance).is_gt();
        let place = self.ahead.partition_point(is_farther);
        self.ahead.insert(place, (distance, row));
        Ok(())
    }

    /// Takes the nearest row out.
    pub fn pop(&mut self) -> Option<Row> {
        let (_, row) = self.ahead.pop()?;
        self.returned += 1;
        Some(row)
    }

    /// The operator's distance of a row; none if the snapshot of the scan sees no version of it.
    ///
    /// # Safety
    /// As for [`TableOrder::add`].
    unsafe fn distance(&mut self, descriptor: pg_sys::IndexScanDesc, row: Row) -> Option<f64> {
        let (mut value, mut is_null) = (pg_sys::Datum::null(), true);
        let mut tid = item_pointer(row.tid);
        // An MVCC snapshot sees one version at most.
        let mut more = false;
        // SAFETY: as the caller promises. The executor fetches by the same state, each row anew.
        // The order-by key is of our operator, which takes a row's value and the query. The
        // description of the index has one column.
        unsafe {
            let (fetch, snapshot) = ((*descriptor).xs_heapfetch, (*descriptor).xs_snapshot);
            let no = std::ptr::null_mut();
            if !pg_sys::table_index_fetch_tuple(fetch, &mut tid, snapshot, self.slot, &mut more, no) {
                return None;
            }
            let before = pg_sys::MemoryContextSwitchTo((*self.context).ecxt_per_tuple_memory);
            pg_sys::FormIndexDatum(self.info, self.slot, self.executor, &mut value, &mut is_null);
            let distance = match is_null {
                true => f64::NAN,
                false => {
                    let (key, query) = ((*descriptor).orderByData, pg_sys::Datum::from(self.query));
                    let function = &raw mut (*key).sk_func;
                    let distance = pg_sys::FunctionCall2Coll(function, (*key).sk_collation, value, query);
                    f64::from_bits(distance.value() as u64)
                }
            };
            pg_sys::MemoryContextSwitchTo(before);
            pg_sys::ExecClearTuple(self.slot);
            pg_sys::MemoryContextReset((*self.context).ecxt_per_tuple_memory);
            Some(distance)
        }
    }
}

/// Leaves the first column alone in a description of an index: expressions of other columns may be
/// functions that the query does not call, and its user must not.
fn take_first_column(info: &mut pg_sys::IndexInfo) {
    info.ii_NumIndexAttrs = 1;
    info.ii_NumIndexKeyAttrs = 1;
    info.ii_Expressions = match info.ii_IndexAttrNumbers[0] {
        // SAFETY: the list of the expressions of an index, in the order of their columns.
        0 => unsafe { pg_sys::list_truncate(info.ii_Expressions, 1) },
        _ => std::ptr::null_mut(),
    };
}
