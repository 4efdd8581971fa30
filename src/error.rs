//! The one error type of the project: the texts that users read, and their SQLSTATEs.
//!
//! All layers below `am` and `types` return [`Error`]; these two turn it into a PostgreSQL error
//! with [`Error::raise`]. A text that client libraries know from existing extensions is the same
//! here.

use std::ffi::{CString, c_char, c_int};
use std::ptr;

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode, pg_sys};

use crate::compat;

/// A result with the project's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// All errors, with the texts that users read.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// A page of an index with impossible contents.
    #[error("index \"{relation}\" is corrupted at block {block}: {reason}")]
    Corrupted {
        relation: String,
        block: u32,
        reason: &'static str,
    },
    /// An index whose pages have another format than this version reads. `qualified` is its name as
    /// SQL takes it.
    #[error("index \"{relation}\" has format {found}, but this version of pg_alopex reads format {expected}")]
    OtherFormat {
        relation: String,
        qualified: String,
        found: u16,
        expected: u16,
    },
    /// An index with pages of pgvector.
    #[error("index \"{relation}\" was built by pgvector")]
    BuiltByPgvector { relation: String, qualified: String },
    /// An index that a version which does not read its format has left without rows.
    #[error("index \"{relation}\" lacks changes that another version of pg_alopex did not make")]
    GivenUp { relation: String, qualified: String },
    /// References of 32 bits, or the room of a build, cannot name more records.
    #[error("hnsw index cannot hold more vectors")]
    IndexFull,
    /// Vectors longer than the format of an index has room for.
    #[error("column cannot have more than {maximum} dimensions for {method} index")]
    TooManyDimensionsForIndex { maximum: usize, method: &'static str },
    /// A vector with coordinates beyond the numbers of an index.
    #[error("vector is too long for hnsw index")]
    TooLongForIndex,
    /// An index on a column declared without dimensions.
    #[error("column does not have dimensions")]
    ColumnWithoutDimensions { type_name: String },
    /// An index with a search for neighbors narrower than their number.
    #[error("ef_construction must be greater than or equal to 2 * m")]
    EfConstructionTooSmall,
    /// Compact storage of an index without codes.
    #[error("storage = compact is not supported by this operator class")]
    NoCompactStorage,
    /// An operator class with other members than the extension's own classes.
    #[error("operator class \"{opclass}\" cannot be used by access method {method}")]
    ForeignOperatorClass {
        opclass: String,
        method: &'static str,
        reason: &'static str,
    },
    /// An index with a column before its vector.
    #[error("first column of an hnsw index must be a vector")]
    FirstColumnNotVector,
    /// An index whose first column is of a type that an operator class takes and an index cannot:
    /// its values have no common dimensions.
    #[error("type not supported for {access_method} index")]
    TypeNotSupported { access_method: String },
    /// An index with vectors in another column too.
    #[error("hnsw index cannot have more than one vector column")]
    SecondVectorColumn,
    /// An index with more columns beside its vector than the format has room for.
    #[error("hnsw index cannot have more than {maximum} filter columns")]
    TooManyFilterColumns { maximum: usize },
    /// A scan that the planner never plans.
    #[error("cannot scan hnsw index without order")]
    ScanWithoutOrder,
    /// An order-by key that no plan of ours has.
    #[error("invalid order of an hnsw index scan")]
    InvalidPlan,
    /// A scan by an operator that was added to the family of the index's operator class.
    #[error("cannot scan hnsw index by this operator")]
    ForeignOperator,
    /// A scan that would have to hold pins on returned rows.
    #[error("non-MVCC snapshots are not supported with hnsw")]
    SnapshotNotMvcc,
    /// A build into an index that has contents.
    #[error("index \"{relation}\" already contains data")]
    IndexNotEmpty { relation: String },
    /// A function for indexes, called with another relation.
    #[error("\"{relation}\" is not an hnsw index")]
    NotHnswIndex { relation: String },
    /// A function for indexes, called without the privilege.
    #[error("must be owner of index {relation}")]
    NotAllowed { relation: String },
    /// The same of a function that is for the owner alone.
    #[error("must be owner of index {relation}")]
    NotOwner { relation: String },
    /// A function that reads a table, called without the privilege to read all of it.
    #[error("permission denied for table {relation}")]
    PermissionDenied { relation: String },
    /// A table with rows that the caller may not read, where all would be read.
    #[error("query would be affected by row-level security policy for table \"{relation}\"")]
    RowSecurity { relation: String },
    /// An index under measurement that the planner does not use.
    #[error("the planner does not use index \"{relation}\"")]
    IndexNotUsed { relation: String },
    /// An index that is to be measured by the queries of its users, and has none.
    #[error("index \"{relation}\" has no sampled queries")]
    NoSampledQueries { relation: String },
    /// An index that a failed build left behind.
    #[error("index \"{relation}\" is not valid")]
    IndexNotValid { relation: String },
    /// An index with its pages in another session's memory.
    #[error("cannot access temporary indexes of other sessions")]
    OtherTemporary { relation: String },
    /// A snapshot that sees rows which the index may lack.
    #[error("index \"{relation}\" cannot be verified using transaction snapshot")]
    SnapshotTooOld { relation: String },
    /// A function called with a number out of range.
    #[error("{name} must be {allowed}")]
    ArgumentOutOfRange { name: &'static str, allowed: &'static str },
    /// Memory that the system does not have.
    #[error("out of memory")]
    OutOfMemory,
    /// A temporary file that the file system did not take more of.
    #[error("could not write to file \"{file}\": {}", system_text(*errno))]
    FileNotWritten { file: String, errno: i32 },
    /// A temporary file that the system did not map, for another reason than a lack of memory.
    #[error("could not map temporary file of index build: {}", system_text(*errno))]
    FileNotMapped { errno: i32 },
    /// A defect: a thread of a build panicked.
    #[error("a thread of the index build failed")]
    BuildThread,
    /// A server built with another block size.
    #[error("pg_alopex supports blocks of 8192 bytes only")]
    BlockSize,

    /// The text of a value does not follow its type's syntax; `expected` was not found at byte
    /// `position` (from 1).
    #[error("invalid input syntax for type {type_name}: \"{input}\"")]
    InvalidText {
        type_name: &'static str,
        input: String,
        expected: &'static str,
        position: usize,
    },
    /// A binary form that is not the type's.
    #[error("invalid binary value of type {type_name}: {reason}")]
    InvalidBinary { type_name: &'static str, reason: String },
    /// A stored value with a header that contradicts its size.
    #[error("value of type {type_name} is corrupted: {size} bytes with {count} {unit}")]
    CorruptedValue {
        type_name: &'static str,
        size: usize,
        count: usize,
        unit: &'static str,
    },
    /// A number in a text that the type cannot hold.
    #[error("\"{number}\" is out of range for type {type_name}")]
    NumberOutOfRange { type_name: &'static str, number: String },
    /// An element that is not a number.
    #[error("NaN not allowed in {type_name}")]
    NotANumber { type_name: &'static str },
    /// An element that is infinite.
    #[error("infinite value not allowed in {type_name}")]
    Infinite { type_name: &'static str },
    /// A result that does not fit the element type.
    #[error("value out of range: overflow")]
    Overflow,
    /// A zero product of two numbers other than zero.
    #[error("value out of range: underflow")]
    Underflow,
    /// A value without elements.
    #[error("{type_name} must have at least 1 dimension")]
    NoDimensions { type_name: &'static str },
    /// A value with too many elements.
    #[error("{type_name} cannot have more than {max} dimensions")]
    TooManyDimensions { type_name: &'static str, max: usize },
    /// A value with other dimensions than its column or state declares.
    #[error("expected {expected} dimensions, not {found}")]
    ExpectedDimensions { expected: usize, found: usize },
    /// Two values with different dimensions that must have the same.
    #[error("different {type_name} dimensions {left} and {right}")]
    DifferentDimensions {
        type_name: &'static str,
        left: usize,
        right: usize,
    },
    /// A sparse vector with too many elements.
    #[error("{type_name} cannot have more than {max} non-zero elements")]
    TooManyElements { type_name: &'static str, max: usize },
    /// An index of a sparse vector beyond its dimensions.
    #[error("{type_name} index out of bounds")]
    IndexOutOfBounds { type_name: &'static str },
    /// Two elements of a sparse vector for one dimension.
    #[error("{type_name} indices must not contain duplicates")]
    DuplicateIndex { type_name: &'static str },
    /// A binary form with indices out of order.
    #[error("{type_name} indices must be in ascending order")]
    IndicesNotAscending { type_name: &'static str },
    /// A binary form with a negative number of elements.
    #[error("{type_name} cannot have negative number of elements")]
    NegativeElements { type_name: &'static str },
    /// A binary form with an element that is zero.
    #[error("binary representation of {type_name} cannot contain zero values")]
    ZeroElement { type_name: &'static str },
    /// A binary form with a non-zero value in the unused field.
    #[error("expected unused to be 0, not {unused}")]
    Unused { unused: i32 },
    /// Two strings of bits with different lengths that must have the same.
    #[error("different bit lengths {left} and {right}")]
    DifferentBitLengths { left: usize, right: usize },
    /// `type(a, b)`.
    #[error("invalid type modifier")]
    InvalidTypmod { type_name: &'static str },
    /// `type(0)`.
    #[error("dimensions for type {type_name} must be at least 1")]
    TypmodTooSmall { type_name: &'static str },
    /// `type(n)` with n above the type's limit.
    #[error("dimensions for type {type_name} cannot exceed {max}")]
    TypmodTooLarge { type_name: &'static str, max: usize },
    /// A matrix where a list is wanted.
    #[error("array must be 1-D")]
    ArrayNotOneDimensional,
    /// A NULL in an array of numbers.
    #[error("array must not contain nulls")]
    ArrayWithNulls,
    /// An aggregate's support function called by hand without the state of the aggregate.
    #[error("{type_name}_{step}: expected state array")]
    AggregateState {
        type_name: &'static str,
        step: &'static str,
    },
}

/// The system's text for an error of a call, as PostgreSQL shows it.
fn system_text(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text[..end].to_owned()
}

/// Warns the client but not the server's log, because a session's own settings may cause the
/// warning over and over.
pub fn warn_client(code: PgSqlErrorCode, message: &str, detail: &str) {
    report(pg_sys::WARNING_CLIENT_ONLY, code as c_int, message, Some(detail), None);
}

/// Warns with any SQLSTATE, packed as PostgreSQL has it.
pub fn warn_with(code: c_int, message: &str, detail: Option<&str>, hint: Option<&str>) {
    report(pg_sys::WARNING, code, message, detail, hint);
}

/// Reports by PostgreSQL's own functions, which take levels and SQLSTATEs that pgrx does not have.
fn report(level: u32, code: c_int, message: &str, detail: Option<&str>, hint: Option<&str>) {
    const TEXT: *const c_char = c"%s".as_ptr();
    let text = |text: &str| CString::new(text).unwrap_or_default();
    let (message, detail, hint) = (text(message), detail.map(text), hint.map(text));
    // SAFETY: errors are caught at the boundary, and nothing is to be dropped within; the texts
    // live until the report is done.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            if compat::errstart(level as c_int, ptr::null()) {
                compat::errcode(code);
                pg_sys::errmsg_internal(TEXT, message.as_ptr());
                if let Some(detail) = &detail {
                    pg_sys::errdetail_internal(TEXT, detail.as_ptr());
                }
                if let Some(hint) = &hint {
                    compat::errhint(TEXT, hint.as_ptr());
                }
                compat::errfinish(c"".as_ptr(), 0, c"".as_ptr());
            }
        });
    }
}

impl Error {
    /// An error for a page with impossible contents; a caller that knows the relation adds its name
    /// with [`Error::in_relation`].
    pub fn corrupted(block: u32, reason: &'static str) -> Error {
        Error::Corrupted {
            relation: String::new(),
            block,
            reason,
        }
    }

    /// An index of another format; who knows the relation adds its names with
    /// [`Error::in_relation`].
    pub fn other_format(found: u16, expected: u16) -> Error {
        Error::OtherFormat {
            relation: String::new(),
            qualified: String::new(),
            found,
            expected,
        }
    }

    /// An index of pgvector, likewise.
    pub fn built_by_pgvector() -> Error {
        Error::BuiltByPgvector {
            relation: String::new(),
            qualified: String::new(),
        }
    }

    /// An index that was given up, likewise.
    pub fn given_up() -> Error {
        Error::GivenUp {
            relation: String::new(),
            qualified: String::new(),
        }
    }

    /// Whether this says that an index is of no use until it is built anew, and that nothing else
    /// is wrong.
    pub fn asks_for_rebuild(&self) -> bool {
        matches!(
            self,
            Error::OtherFormat { .. } | Error::BuiltByPgvector { .. } | Error::GivenUp { .. }
        )
    }

    /// Too many dimensions for an index of a method, named to its users; one of `hnsw` else.
    pub fn too_many_dimensions(maximum: usize) -> Error {
        let method = "hnsw";
        Error::TooManyDimensionsForIndex { maximum, method }
    }

    /// The same error of an index of another method.
    pub fn of_method(self, method: &'static str) -> Error {
        match self {
            Error::TooManyDimensionsForIndex { maximum, .. } => Error::TooManyDimensionsForIndex { maximum, method },
            other => other,
        }
    }

    /// Names the relation that this is about: by its name alone, and as SQL takes it.
    pub fn in_relation(self, name: impl FnOnce() -> String, qualified: impl FnOnce() -> String) -> Error {
        match self {
            Error::OtherFormat { found, expected, .. } => Error::OtherFormat {
                relation: name(),
                qualified: qualified(),
                found,
                expected,
            },
            Error::BuiltByPgvector { .. } => Error::BuiltByPgvector {
                relation: name(),
                qualified: qualified(),
            },
            Error::GivenUp { .. } => Error::GivenUp {
                relation: name(),
                qualified: qualified(),
            },
            Error::Corrupted {
                relation,
                block,
                reason,
            } if relation.is_empty() => Error::Corrupted {
                relation: name(),
                block,
                reason,
            },
            other => other,
        }
    }

    /// The SQLSTATE of this error.
    pub fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Error::Corrupted { .. } => PgSqlErrorCode::ERRCODE_INDEX_CORRUPTED,
            Error::IndexFull | Error::TooManyDimensionsForIndex { .. } => {
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED
            }
            Error::ForeignOperatorClass { .. } | Error::FirstColumnNotVector => {
                PgSqlErrorCode::ERRCODE_INVALID_OBJECT_DEFINITION
            }
            Error::IndexNotEmpty { .. } | Error::BuildThread | Error::InvalidPlan => {
                PgSqlErrorCode::ERRCODE_INTERNAL_ERROR
            }
            Error::NotHnswIndex { .. } => PgSqlErrorCode::ERRCODE_WRONG_OBJECT_TYPE,
            Error::NotAllowed { .. }
            | Error::NotOwner { .. }
            | Error::PermissionDenied { .. }
            | Error::RowSecurity { .. } => PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE,
            Error::IndexNotValid { .. }
            | Error::IndexNotUsed { .. }
            | Error::NoSampledQueries { .. }
            | Error::GivenUp { .. } => PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            Error::SnapshotTooOld { .. } => PgSqlErrorCode::ERRCODE_T_R_SERIALIZATION_FAILURE,
            Error::OutOfMemory => PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
            // As PostgreSQL's errcode_for_file_access() for errors of writing.
            Error::FileNotWritten { errno, .. } | Error::FileNotMapped { errno } => match *errno {
                libc::ENOSPC | libc::EDQUOT => PgSqlErrorCode::ERRCODE_DISK_FULL,
                libc::EIO => PgSqlErrorCode::ERRCODE_IO_ERROR,
                _ => PgSqlErrorCode::ERRCODE_SYSTEM_ERROR,
            },
            Error::TypeNotSupported { .. }
            | Error::SecondVectorColumn
            | Error::TooManyFilterColumns { .. }
            | Error::NoCompactStorage
            | Error::ScanWithoutOrder
            | Error::ForeignOperator
            | Error::SnapshotNotMvcc
            | Error::BlockSize
            | Error::OtherFormat { .. }
            | Error::BuiltByPgvector { .. }
            | Error::OtherTemporary { .. } => PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
            Error::InvalidText { .. } => PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION,
            Error::InvalidBinary { .. } => PgSqlErrorCode::ERRCODE_INVALID_BINARY_REPRESENTATION,
            Error::CorruptedValue { .. } => PgSqlErrorCode::ERRCODE_DATA_CORRUPTED,
            Error::NumberOutOfRange { .. } | Error::Overflow | Error::Underflow | Error::TooLongForIndex => {
                PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE
            }
            Error::NotANumber { .. }
            | Error::Infinite { .. }
            | Error::NoDimensions { .. }
            | Error::ExpectedDimensions { .. }
            | Error::DifferentDimensions { .. }
            | Error::DifferentBitLengths { .. }
            | Error::IndexOutOfBounds { .. }
            | Error::DuplicateIndex { .. }
            | Error::IndicesNotAscending { .. }
            | Error::NegativeElements { .. }
            | Error::ZeroElement { .. }
            | Error::Unused { .. }
            | Error::ArrayNotOneDimensional => PgSqlErrorCode::ERRCODE_DATA_EXCEPTION,
            Error::TooManyDimensions { .. } | Error::TooManyElements { .. } => {
                PgSqlErrorCode::ERRCODE_PROGRAM_LIMIT_EXCEEDED
            }
            Error::ColumnWithoutDimensions { .. }
            | Error::ArgumentOutOfRange { .. }
            | Error::EfConstructionTooSmall
            | Error::InvalidTypmod { .. }
            | Error::TypmodTooSmall { .. }
            | Error::TypmodTooLarge { .. }
            | Error::AggregateState { .. } => PgSqlErrorCode::ERRCODE_INVALID_PARAMETER_VALUE,
            Error::ArrayWithNulls => PgSqlErrorCode::ERRCODE_NULL_VALUE_NOT_ALLOWED,
        }
    }

    /// Detail of the error, where there is more to say than the message.
    pub fn detail(&self) -> Option<String> {
        match self {
            Error::ForeignOperatorClass { reason, .. } => Some((*reason).to_owned()),
            Error::InvalidText { expected, position, .. } => Some(format!("Expected {expected} at byte {position}.")),
            Error::TooLongForIndex => {
                Some("The norm of a vector of more than 64 dimensions cannot be above 1e+37 in an index.".to_owned())
            }
            _ => None,
        }
    }

    /// Advice to the user, if there is any.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Error::Corrupted { .. } => "REINDEX the index.",
            Error::OtherFormat { qualified, .. }
            | Error::BuiltByPgvector { qualified, .. }
            | Error::GivenUp { qualified, .. } => {
                return Some(format!("Rebuild it with REINDEX INDEX {qualified}."));
            }
            Error::IndexFull => "Partition the table.",
            Error::ForeignOperatorClass { .. } => {
                "Use an operator class of the extension, such as vector_l2_ops; amvalidate() says more."
            }
            Error::FirstColumnNotVector => {
                "Put the columns to filter by behind the vector, as in (embedding vector_cosine_ops, tenant_id)."
            }
            Error::TypeNotSupported { .. } => "Index an expression that has dimensions, as in ((column)::bit(3)).",
            Error::SecondVectorColumn => "Create an index for each vector column.",
            Error::TooManyFilterColumns { .. } => "Leave out the columns that queries filter by least.",
            Error::NotAllowed { .. } => "Or have the privileges of pg_stat_scan_tables.",
            Error::ForeignOperator => "The operator was added to the operator family of the index: drop it from there.",
            Error::RowSecurity { .. } => {
                "The index has an expression or a condition, which runs as the table's owner: call the function as owner."
            }
            Error::IndexNotUsed { .. } => {
                "Another index may serve the same query. A table that Citus distributes has its rows in the indexes of its shards: see run_command_on_shards()."
            }
            Error::NoSampledQueries { .. } => {
                "Set hnsw.sample_queries for the sessions that search, or pass queries: hnsw_tune(index, queries)."
            }
            Error::IndexNotValid { .. } => "REINDEX or drop it.",
            Error::SnapshotTooOld { .. } => "Call the function in a READ COMMITTED transaction.",
            Error::OutOfMemory => {
                "Lower the settings that let the statement take so much: work_mem, maintenance_work_mem, hnsw.scan_mem_multiplier, hnsw.staging_memory."
            }
            Error::FileNotWritten { .. } | Error::FileNotMapped { .. } => {
                "Increase maintenance_work_mem, or set temp_tablespaces to a tablespace that has room."
            }
            Error::ColumnWithoutDimensions { type_name } => {
                return Some(format!(
                    "Declare them, as in {type_name}(3), or index an expression that has them: ((column)::{type_name}(3))."
                ));
            }
            Error::TooLongForIndex => "Scale the vectors, or use cosine distance.",
            Error::EfConstructionTooSmall => "Raise ef_construction or lower m.",
            Error::NoCompactStorage => {
                "Indexes of vector and halfvec under L2 distance, inner product and cosine distance can be compact."
            }
            Error::InvalidTypmod { type_name } => {
                return Some(format!("Give the number of dimensions alone, as in {type_name}(3)."));
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }

    /// Whether the error is about the text of a value, which may be one of many that a caller
    /// tries.
    fn is_of_input(&self) -> bool {
        matches!(
            self,
            Error::InvalidText { .. }
                | Error::NumberOutOfRange { .. }
                | Error::NotANumber { .. }
                | Error::Infinite { .. }
                | Error::NoDimensions { .. }
                | Error::TooManyDimensions { .. }
                | Error::ExpectedDimensions { .. }
                | Error::TooManyElements { .. }
                | Error::IndexOutOfBounds { .. }
                | Error::DuplicateIndex { .. }
        )
    }

    /// Leaves an error about a value with the caller, as PostgreSQL's `ereturn()` does. Returns
    /// whether it did: only in a context that asks for it.
    ///
    /// # Safety
    /// `context` is the context of the call in progress: null, or a node.
    pub unsafe fn save(&self, context: *mut pg_sys::Node) -> bool {
        const TEXT: *const c_char = c"%s".as_ptr();
        // SAFETY: as the caller promises; the texts outlive the calls that copy them, and the names
        // are static.
        unsafe {
            if !self.is_of_input() || !compat::saves_errors(context) {
                return false;
            }
            if compat::errsave_start(context) {
                // No text of ours has a zero byte.
                let text = |text: String| CString::new(text).unwrap_or_default();
                let code = self.sqlstate() as c_int;
                let message = text(self.to_string());
                let (detail, hint) = (self.detail().map(text), self.hint().map(text));
                let pointer = |text: &Option<CString>| text.as_ref().map_or(ptr::null(), |text| text.as_ptr());
                let (message, detail, hint) = (message.as_ptr(), pointer(&detail), pointer(&hint));
                // Nothing would have to be dropped in it.
                pg_sys::ffi::pg_guard_ffi_boundary(|| {
                    compat::errcode(code);
                    pg_sys::errmsg_internal(TEXT, message);
                    if !detail.is_null() {
                        pg_sys::errdetail_internal(TEXT, detail);
                    }
                    if !hint.is_null() {
                        compat::errhint(TEXT, hint);
                    }
                });
                compat::errsave_finish(context, line!());
            }
        }
        true
    }

    /// Raises this error in PostgreSQL: the statement ends here.
    pub fn raise(self) -> ! {
        self.report(PgLogLevel::ERROR, self.detail());
        unreachable!("an ERROR report does not return")
    }

    /// Warns of this error, with a detail: the statement goes on.
    pub fn warn(&self, detail: Option<&str>) {
        self.report(PgLogLevel::WARNING, detail.map(str::to_owned));
    }

    fn report(&self, level: PgLogLevel, detail: Option<String>) {
        let mut report = ErrorReport::new(self.sqlstate(), self.to_string(), "");
        if let Some(detail) = detail {
            report = report.set_detail(detail);
        }
        if let Some(hint) = self.hint() {
            report = report.set_hint(hint);
        }
        report.report(level);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_format_is_no_damage_and_says_what_to_do() {
        let name = || "embedding".to_owned();
        let qualified = || "\"My schema\".embedding".to_owned();
        let other = Error::other_format(5, 6).in_relation(name, qualified);
        assert_eq!(
            other.to_string(),
            "index \"embedding\" has format 5, but this version of pg_alopex reads format 6"
        );
        assert_eq!(other.sqlstate(), PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED);
        let given_up = Error::given_up().in_relation(name, qualified);
        assert_eq!(
            given_up.sqlstate(),
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE
        );
        let pgvector = Error::built_by_pgvector().in_relation(name, qualified);
        assert_eq!(pgvector.to_string(), "index \"embedding\" was built by pgvector");
        for error in [other, given_up, pgvector] {
            assert!(error.asks_for_rebuild());
            let hint = "Rebuild it with REINDEX INDEX \"My schema\".embedding.";
            assert_eq!(error.hint().as_deref(), Some(hint));
        }
        let damage = Error::corrupted(0, "invalid page header").in_relation(name, qualified);
        assert!(!damage.asks_for_rebuild());
        assert_eq!(damage.sqlstate(), PgSqlErrorCode::ERRCODE_INDEX_CORRUPTED);
    }

    #[test]
    fn an_error_of_a_file_has_the_text_and_code_of_its_cause() {
        let of = |errno| Error::FileNotWritten {
            file: "base/pgsql_tmp/pgsql_tmp1.0".to_owned(),
            errno,
        };
        let full = of(libc::ENOSPC);
        assert_eq!(
            full.to_string(),
            "could not write to file \"base/pgsql_tmp/pgsql_tmp1.0\": No space left on device"
        );
        assert_eq!(full.sqlstate(), PgSqlErrorCode::ERRCODE_DISK_FULL);
        assert_eq!(of(libc::EIO).sqlstate(), PgSqlErrorCode::ERRCODE_IO_ERROR);
        assert_eq!(of(libc::EFBIG).sqlstate(), PgSqlErrorCode::ERRCODE_SYSTEM_ERROR);
    }
}
