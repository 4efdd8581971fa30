//! The one error type of the project: what can go wrong, in the words a user reads, and the SQLSTATE that goes with it.
//!
//! Everything below `am` and `types` returns [`Error`]; these two turn it into a PostgreSQL error with [`Error::raise`].
//! Where client libraries know a text from existing extensions, the text here is the same.

use pgrx::pg_sys::panic::ErrorReport;
use pgrx::{PgLogLevel, PgSqlErrorCode};

/// A result with the project's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, with the text a user reads.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// A page of an index that does not make sense.
    #[error("index \"{relation}\" is corrupted at block {block}: {reason}")]
    Corrupted {
        relation: String,
        block: u32,
        reason: &'static str,
    },
    /// References of 32 bits, or the memory of a build, cannot name more records.
    #[error("hnsw index cannot hold more vectors")]
    IndexFull,
    /// A record would not fit a page.
    #[error("column cannot have more than {maximum} dimensions for hnsw index")]
    TooManyDimensionsForIndex { maximum: usize },
}

impl Error {
    /// A page that does not make sense; who knows the relation adds its name with [`Error::in_relation`].
    pub fn corrupted(block: u32, reason: &'static str) -> Error {
        Error::Corrupted {
            relation: String::new(),
            block,
            reason,
        }
    }

    /// Names the relation that a corrupted page belongs to.
    pub fn in_relation(self, name: impl FnOnce() -> String) -> Error {
        match self {
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
        }
    }

    /// What the user can do about it, where there is something to say.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Error::Corrupted { .. } => Some("REINDEX the index."),
            Error::IndexFull => Some("Partition the table."),
            Error::TooManyDimensionsForIndex { .. } => Some("A lower m leaves more room for the vector."),
        }
    }

    /// Raises this error in PostgreSQL: the statement ends here.
    pub fn raise(self) -> ! {
        let mut report = ErrorReport::new(self.sqlstate(), self.to_string(), "");
        if let Some(hint) = self.hint() {
            report = report.set_hint(hint);
        }
        report.report(PgLogLevel::ERROR);
        unreachable!("an ERROR report does not return")
    }
}
