//! Differences between the supported versions of PostgreSQL, and server functions that pgrx does
//! not declare.
//!
//! Each difference is a named function, so that no caller needs a `cfg` of a version; functions for
//! nodes of plans are in `scans`. A new version of PostgreSQL takes two steps: its feature in
//! `Cargo.toml` and in the lists below, and a look at each function of these two files.
//!
//! Hooks have the types that pgrx generates from the headers, so the compiler compares the steps of
//! the server that they replace (`standard_planner` and others) for each version. The other
//! declarations are compared with the headers of each version by `pgrx-config/headers.py`, which
//! `make check` runs; a `cfg` lists the versions for which they hold, and they do not exist for any
//! other. Tests call each of the functions.

mod scans;

use std::ffi::{c_char, c_int, c_void};
use std::ptr;

use pgrx::pg_sys;

pub use scans::*;

#[cfg(not(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18")))]
compile_error!(
    "unknown version of PostgreSQL: select one of the features pg15, pg16, pg17, pg18, or extend src/compat.rs"
);

#[cfg(any(
    all(feature = "pg15", any(feature = "pg16", feature = "pg17", feature = "pg18")),
    all(feature = "pg16", any(feature = "pg17", feature = "pg18")),
    all(feature = "pg17", feature = "pg18")
))]
compile_error!("several versions of PostgreSQL: select exactly one of the features pg15, pg16, pg17, pg18");

// Steps of the server that hooks replace. pgrx's functions of these names catch the errors of the
// server and raise poorer ones.
unsafe extern "C-unwind" {
    /// `optimizer/planner.h`.
    pub fn standard_planner(
        query: *mut pg_sys::Query,
        text: *const c_char,
        options: c_int,
        parameters: pg_sys::ParamListInfo,
    ) -> *mut pg_sys::PlannedStmt;

    /// `executor/executor.h`.
    pub fn standard_ExecutorStart(query: *mut pg_sys::QueryDesc, flags: c_int);

    /// `executor/executor.h`.
    pub fn standard_ExecutorFinish(query: *mut pg_sys::QueryDesc);

    /// `tcop/utility.h`.
    pub fn standard_ProcessUtility(
        statement: *mut pg_sys::PlannedStmt,
        text: *const c_char,
        read_only_tree: bool,
        context: pg_sys::ProcessUtilityContext::Type,
        parameters: pg_sys::ParamListInfo,
        environment: *mut pg_sys::QueryEnvironment,
        destination: *mut pg_sys::DestReceiver,
        completion: *mut pg_sys::QueryCompletion,
    );
}

// The compiler compares the declarations above with this version's headers.
const _: pg_sys::planner_hook_type = Some(standard_planner);
const _: pg_sys::ExecutorStart_hook_type = Some(standard_ExecutorStart);
const _: pg_sys::ExecutorFinish_hook_type = Some(standard_ExecutorFinish);
const _: pg_sys::ProcessUtility_hook_type = Some(standard_ProcessUtility);

// Compared by pgrx-config/headers.py.
#[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18"))]
unsafe extern "C-unwind" {
    /// `access/amvalidate.h`.
    pub fn opfamily_can_sort_type(family: pg_sys::Oid, value: pg_sys::Oid) -> bool;

    /// `storage/predicate.h`.
    pub fn CheckForSerializableConflictIn(
        relation: pg_sys::Relation,
        tid: pg_sys::ItemPointer,
        block: pg_sys::BlockNumber,
    );

    // `storage/bufmgr.h`. They raise an error only for a buffer that is not pinned or locked as it
    // should be, or where a backend holds 200 locks: none of it happens to the guards of
    // `storage::buffer_store`. So the calls go without pgrx's guard against errors, which takes as
    // many instructions as the functions themselves.
    pub fn LockBuffer(buffer: pg_sys::Buffer, mode: c_int);
    pub fn UnlockReleaseBuffer(buffer: pg_sys::Buffer);
    pub fn ReleaseBuffer(buffer: pg_sys::Buffer);

    // `utils/timeout.h`; none of the three raises an error.
    pub fn get_timeout_active(timeout: c_int) -> bool;
    pub fn enable_timeout_after(timeout: c_int, milliseconds: c_int);
    pub fn disable_timeout(timeout: c_int, keep_indicator: bool);

    // `utils/elog.h`; pgrx has them for its own levels only.
    pub fn errstart(level: c_int, domain: *const c_char) -> bool;
    pub fn errcode(code: c_int) -> c_int;
    pub fn errhint(format: *const c_char, ...) -> c_int;
    pub fn errfinish(file: *const c_char, line: c_int, function: *const c_char);

    // The same header: for callbacks that look at a report in progress.
    pub fn geterrcode() -> c_int;
    pub fn CopyErrorData() -> *mut pg_sys::ErrorData;
    pub fn FreeErrorData(report: *mut pg_sys::ErrorData);
}

/// `STATEMENT_TIMEOUT` of the enum `TimeoutId` (`utils/timeout.h`; compared by
/// pgrx-config/headers.py).
#[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18"))]
pub const STATEMENT_TIMEOUT: c_int = 3;

// Compared by pgrx-config/headers.py. The function neither allocates nor raises an error, so it
// needs no guard.
#[cfg(any(feature = "pg15", feature = "pg16", feature = "pg17", feature = "pg18"))]
unsafe extern "C" {
    /// `postmaster/autovacuum.h`.
    pub static autovacuum_work_mem: c_int;

    /// `common/shortest_dec.h`: writes `f` without a terminating NUL and returns the length of the
    /// text.
    pub fn float_to_shortest_decimal_bufn(f: f32, result: *mut c_char) -> c_int;
}

/// Writes bytes to a file of PostgreSQL's at an offset; they count for temp_file_limit. 16 changed
/// types of the function, 17 made it an inline one.
///
/// # Errors
/// Error of the system. PostgreSQL's error where temp_file_limit is exceeded is raised.
///
/// # Safety
/// `file` is open.
pub unsafe fn file_write(file: pg_sys::File, bytes: &[u8], offset: i64) -> std::io::Result<()> {
    let event = pg_sys::WaitEventIO::WAIT_EVENT_BUFFILE_WRITE;
    // SAFETY: as the caller promises; the bytes are only read.
    let written = unsafe {
        #[cfg(feature = "pg15")]
        {
            pg_sys::FileWrite(
                file,
                bytes.as_ptr().cast_mut().cast(),
                bytes.len() as c_int,
                offset,
                event,
            )
        }
        #[cfg(feature = "pg16")]
        {
            pg_sys::FileWrite(file, bytes.as_ptr().cast(), bytes.len(), offset, event)
        }
        #[cfg(any(feature = "pg17", feature = "pg18"))]
        {
            let bytes = pg_sys::iovec {
                iov_base: bytes.as_ptr().cast_mut().cast(),
                iov_len: bytes.len(),
            };
            pg_sys::FileWriteV(file, &bytes, 1, offset, event)
        }
    };
    // PostgreSQL sets errno also where it wrote less.
    match usize::try_from(written) {
        Ok(written) if written == bytes.len() => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// A column of a tuple descriptor. 18 puts compact attributes before the whole ones (commit
/// 5983a4cff).
///
/// # Safety
/// `descriptor` has a column of this number (from 0).
pub unsafe fn attribute(descriptor: pg_sys::TupleDesc, column: usize) -> *const pg_sys::FormData_pg_attribute {
    // SAFETY: as the caller promises.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        return (*descriptor).attrs.as_ptr().add(column);
        #[cfg(feature = "pg18")]
        return pg_sys::TupleDescAttr(descriptor, column as c_int);
    }
}

/// Has the planner prefer every path of fewer disabled nodes. 18 compares their number before the
/// costs (commit e22253467); older versions compare costs alone.
pub fn disable(path: &mut pg_sys::Path, nodes: c_int) {
    #[cfg(feature = "pg18")]
    {
        path.disabled_nodes = nodes;
    }
    #[cfg(not(feature = "pg18"))]
    let _ = (path, nodes);
}

/// Cost of a sort of `rows` rows of `width` bytes in `work_mem`, whether or not `enable_sort` is
/// set. Versions before 18 add `disable_cost` where it is not (commit e22253467).
///
/// # Safety
/// `root` is the planner's.
pub unsafe fn sort_cost(root: *mut pg_sys::PlannerInfo, rows: f64, width: c_int) -> f64 {
    let mut sorted = pg_sys::Path::default();
    // SAFETY: as the caller promises; cost_sort fills in costs only, and settings are read in a
    // backend's only thread.
    unsafe {
        pg_sys::cost_sort(
            &mut sorted,
            root,
            ptr::null_mut(),
            #[cfg(feature = "pg18")]
            0,
            0.0,
            rows,
            width,
            0.0,
            pg_sys::work_mem,
            -1.0,
        );
        #[cfg(not(feature = "pg18"))]
        if !pg_sys::enable_sort {
            sorted.total_cost -= pg_sys::disable_cost;
        }
    }
    sorted.total_cost
}

/// The number of elements of an array, as the planner estimates it.
///
/// # Safety
/// `root` is the planner's, and `array` an expression of its query.
pub unsafe fn array_length(root: *mut pg_sys::PlannerInfo, array: *mut pg_sys::Node) -> f64 {
    #[cfg(any(feature = "pg15", feature = "pg16"))]
    {
        let _ = root;
        // SAFETY: as the caller promises.
        f64::from(unsafe { pg_sys::estimate_array_length(array) })
    }
    #[cfg(not(any(feature = "pg15", feature = "pg16")))]
    // SAFETY: as the caller promises.
    unsafe {
        pg_sys::estimate_array_length(root, array)
    }
}

/// Whether VACUUM truncates a table with these options. 18 has a setting besides, which holds where
/// the option is not set (commit 0164a0f9e).
pub fn vacuum_truncate(options: Option<&pg_sys::StdRdOptions>) -> bool {
    #[cfg(not(feature = "pg18"))]
    return options.is_none_or(|options| options.vacuum_truncate);
    #[cfg(feature = "pg18")]
    match options {
        Some(options) if options.vacuum_truncate_set => options.vacuum_truncate,
        // SAFETY: settings are read in a backend's only thread.
        _ => unsafe { pg_sys::vacuum_truncate },
    }
}

/// An option of a relation, at this offset of the parsed options. 18 can tell whether an option was
/// set.
pub fn reloption(
    name: &'static std::ffi::CStr,
    kind: pg_sys::relopt_type::Type,
    offset: usize,
) -> pg_sys::relopt_parse_elt {
    pg_sys::relopt_parse_elt {
        optname: name.as_ptr(),
        opttype: kind,
        offset: offset as i32,
        #[cfg(feature = "pg18")]
        isset_offset: 0,
    }
}

/// Memory for the extra data of a setting's check hook, which PostgreSQL frees; null, with a
/// message in the log, if there is none. 16 keeps it in a memory context (commit 407b50f2d); 15
/// frees it with `free`.
///
/// # Safety
/// Called in a backend.
pub unsafe fn guc_alloc(bytes: usize) -> *mut c_void {
    // SAFETY: as the caller promises.
    unsafe {
        #[cfg(feature = "pg15")]
        return libc::malloc(bytes);
        #[cfg(not(feature = "pg15"))]
        return pg_sys::guc_malloc(pg_sys::LOG as c_int, bytes);
    }
}

/// Counts a scan of an index in the cumulative statistics. 16 has shorter names of the counters.
pub fn count_scan(counts: &mut pg_sys::PgStat_TableCounts) {
    #[cfg(feature = "pg15")]
    {
        counts.t_numscans += 1;
    }
    #[cfg(not(feature = "pg15"))]
    {
        counts.numscans += 1;
    }
}

/// Counts a search for `EXPLAIN (ANALYZE)`, which tells of it from 18 on (commit 0fbceae84).
///
/// # Safety
/// `descriptor` is that of a scan under way.
pub unsafe fn count_search(descriptor: pg_sys::IndexScanDesc) {
    #[cfg(feature = "pg18")]
    // SAFETY: as the caller promises.
    if let Some(instrumentation) = unsafe { (*descriptor).instrument.as_mut() } {
        instrumentation.nsearches += 1;
    }
    #[cfg(not(feature = "pg18"))]
    let _ = descriptor;
}

/// Counts rows that were read by their TIDs in the cumulative statistics of their table. 16 has
/// shorter names of the counters.
pub fn count_fetches(counts: &mut pg_sys::PgStat_TableCounts, rows: i64) {
    #[cfg(feature = "pg15")]
    {
        counts.t_tuples_fetched += rows;
    }
    #[cfg(not(feature = "pg15"))]
    {
        counts.tuples_fetched += rows;
    }
}

/// A step that adds lines to a node of `EXPLAIN`.
pub type ExplainNode = unsafe extern "C-unwind" fn(
    node: *mut pg_sys::PlanState,
    ancestors: *mut pg_sys::List,
    relationship: *const c_char,
    plan_name: *const c_char,
    output: *mut pg_sys::ExplainState,
);

/// The hook of `EXPLAIN` for nodes, which 18 introduced (commit 4fd02bf7c).
pub fn explain_node_hook() -> Option<*mut Option<ExplainNode>> {
    #[cfg(feature = "pg18")]
    return Some(&raw mut pg_sys::explain_per_node_hook);
    #[cfg(not(feature = "pg18"))]
    None
}

/// Identity of a relation's file. 16 renamed the field and its type (commit b0a55e432).
#[cfg(feature = "pg15")]
pub type FileLocator = pg_sys::RelFileNode;
/// Identity of a relation's file. 16 renamed the field and its type (commit b0a55e432).
#[cfg(not(feature = "pg15"))]
pub type FileLocator = pg_sys::RelFileLocator;

/// Adds bytes to the part of the WAL record under construction that belongs to a buffer. They have
/// to live until the record is inserted.
///
/// # Safety
/// A record is under construction, and has the buffer.
#[inline]
pub unsafe fn register_buffer_data(block: u8, bytes: &[u8]) {
    // SAFETY: as the caller promises; the bytes are only read.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::XLogRegisterBufData(block, bytes.as_ptr().cast_mut().cast(), bytes.len() as _);
        #[cfg(feature = "pg18")]
        pg_sys::XLogRegisterBufData(block, bytes.as_ptr().cast(), bytes.len() as u32);
    }
}

/// The identity of a relation's file.
///
/// # Safety
/// `relation` is open.
#[inline]
pub unsafe fn file_locator(relation: pg_sys::Relation) -> FileLocator {
    // SAFETY: as the caller promises.
    unsafe {
        #[cfg(feature = "pg15")]
        return (*relation).rd_node;
        #[cfg(not(feature = "pg15"))]
        return (*relation).rd_locator;
    }
}

/// The number of a file (`relfilenode`).
#[inline]
pub fn file_number(file: &FileLocator) -> u32 {
    #[cfg(feature = "pg15")]
    return file.relNode.to_u32();
    #[cfg(not(feature = "pg15"))]
    return file.relNumber.to_u32();
}

/// Whether a buffer's tag names a block of this file. 16 has the parts of a file's identity in the
/// tag.
pub fn is_of_file(tag: &pg_sys::buftag, file: &FileLocator) -> bool {
    #[cfg(feature = "pg15")]
    {
        let found = &tag.rnode;
        (found.spcNode, found.dbNode, found.relNode) == (file.spcNode, file.dbNode, file.relNode)
    }
    #[cfg(not(feature = "pg15"))]
    {
        (tag.spcOid, tag.dbOid, tag.relNumber) == (file.spcOid, file.dbOid, file.relNumber)
    }
}

/// Counters of a relation's statistics. 16 has a shorter name of the field.
#[inline]
pub fn table_counts(status: &mut pg_sys::PgStat_TableStatus) -> &mut pg_sys::PgStat_TableCounts {
    #[cfg(feature = "pg15")]
    return &mut status.t_counts;
    #[cfg(not(feature = "pg15"))]
    return &mut status.counts;
}

/// Counts a block that was found in a buffer. 16 has shorter names of the counters.
#[inline]
pub fn count_block_hit(counts: &mut pg_sys::PgStat_TableCounts) {
    #[cfg(feature = "pg15")]
    {
        counts.t_blocks_fetched += 1;
        counts.t_blocks_hit += 1;
    }
    #[cfg(not(feature = "pg15"))]
    {
        counts.blocks_fetched += 1;
        counts.blocks_hit += 1;
    }
}

/// Blocks fetched, and blocks found in a buffer.
#[cfg(any(test, feature = "pg_test"))]
pub fn blocks_fetched_and_hit(counts: &pg_sys::PgStat_TableCounts) -> (i64, i64) {
    #[cfg(feature = "pg15")]
    return (counts.t_blocks_fetched, counts.t_blocks_hit);
    #[cfg(not(feature = "pg15"))]
    return (counts.blocks_fetched, counts.blocks_hit);
}

/// Counts a block that was found in a buffer for VACUUM's report, which has a counter of its own
/// before 18.
///
/// # Safety
/// Called in a backend.
#[inline]
pub unsafe fn count_vacuum_hit() {
    #[cfg(not(feature = "pg18"))]
    // SAFETY: a counter of this backend.
    unsafe {
        pg_sys::VacuumPageHit += 1;
    }
}

/// VACUUM's own counter of blocks that were found in a buffer; none from 18 on.
#[cfg(any(test, feature = "pg_test"))]
pub fn vacuum_hits() -> Option<i64> {
    #[cfg(not(feature = "pg18"))]
    // SAFETY: a counter of this backend.
    return Some(unsafe { pg_sys::VacuumPageHit });
    #[cfg(feature = "pg18")]
    None
}

/// Counts a block that was found in a buffer for `pg_stat_io`, which 16 introduced. 18 counts bytes
/// as well.
///
/// # Safety
/// Called in a backend.
#[inline]
pub unsafe fn count_io_hit(is_temporary: bool) {
    #[cfg(feature = "pg15")]
    let _ = is_temporary;
    #[cfg(not(feature = "pg15"))]
    {
        let object = if is_temporary {
            pg_sys::IOObject::IOOBJECT_TEMP_RELATION
        } else {
            pg_sys::IOObject::IOOBJECT_RELATION
        };
        let (context, hit) = (pg_sys::IOContext::IOCONTEXT_NORMAL, pg_sys::IOOp::IOOP_HIT);
        // SAFETY: it adds to a counter of this backend.
        unsafe {
            #[cfg(not(feature = "pg18"))]
            pg_sys::pgstat_count_io_op(object, context, hit);
            #[cfg(feature = "pg18")]
            pg_sys::pgstat_count_io_op(object, context, hit, 1, 0);
        }
    }
}

/// VACUUM's pause, also for interrupts. 18 tells VACUUM from ANALYZE.
///
/// # Safety
/// Called in a VACUUM, with no buffer locked.
pub unsafe fn vacuum_delay_point() {
    // SAFETY: as the caller promises.
    unsafe {
        #[cfg(not(feature = "pg18"))]
        pg_sys::vacuum_delay_point();
        #[cfg(feature = "pg18")]
        pg_sys::vacuum_delay_point(false);
    }
}

/// The subtransactions that made the first and the newest file of a relation which is new in this
/// transaction (0: none). 16 renamed the fields (commit b0a55e432).
///
/// # Safety
/// `relation` is open.
pub unsafe fn file_subtransactions(relation: pg_sys::Relation) -> (pg_sys::SubTransactionId, pg_sys::SubTransactionId) {
    // SAFETY: as the caller promises.
    unsafe {
        #[cfg(feature = "pg15")]
        return ((*relation).rd_firstRelfilenodeSubid, (*relation).rd_newRelfilenodeSubid);
        #[cfg(not(feature = "pg15"))]
        return (
            (*relation).rd_firstRelfilelocatorSubid,
            (*relation).rd_newRelfilelocatorSubid,
        );
    }
}

/// Whether a user owns a relation. 16 has one function for all objects (commit afbfc0298).
///
/// # Safety
/// Called in a transaction.
pub unsafe fn owns_relation(relation: pg_sys::Oid, user: pg_sys::Oid) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        #[cfg(feature = "pg15")]
        return pg_sys::pg_class_ownercheck(relation, user);
        #[cfg(not(feature = "pg15"))]
        return pg_sys::object_ownercheck(pg_sys::RelationRelationId, relation, user);
    }
}

/// Whether the context of a call takes errors of input instead of having them raised:
/// `ErrorSaveContext`, from 16 on.
///
/// # Safety
/// `context` is null or a node.
pub unsafe fn saves_errors(context: *mut pg_sys::Node) -> bool {
    #[cfg(feature = "pg15")]
    {
        let _ = context;
        false
    }
    #[cfg(not(feature = "pg15"))]
    // SAFETY: as the caller promises.
    unsafe {
        !context.is_null() && (*context).type_ == pg_sys::NodeTag::T_ErrorSaveContext
    }
}

/// Begins an error for a context that [`saves_errors`]; `true` if the context wants the details,
/// which are filled in before [`errsave_finish`].
///
/// # Safety
/// [`saves_errors`] said so.
pub unsafe fn errsave_start(context: *mut pg_sys::Node) -> bool {
    #[cfg(feature = "pg15")]
    {
        let _ = context;
        false
    }
    #[cfg(not(feature = "pg15"))]
    // SAFETY: as the caller promises.
    unsafe {
        pg_sys::errsave_start(context, ptr::null())
    }
}

/// Leaves an error with its context.
///
/// # Safety
/// [`errsave_start`] was `true`.
pub unsafe fn errsave_finish(context: *mut pg_sys::Node, line: u32) {
    #[cfg(feature = "pg15")]
    let _ = (context, line);
    #[cfg(not(feature = "pg15"))]
    // SAFETY: as the caller promises; the names are static.
    unsafe {
        pg_sys::errsave_finish(context, c"error.rs".as_ptr(), line as c_int, c"save".as_ptr());
    }
}
