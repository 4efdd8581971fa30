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
        reason: String,
    },
}

impl Error {
    /// The SQLSTATE of this error.
    pub fn sqlstate(&self) -> PgSqlErrorCode {
        match self {
            Error::Corrupted { .. } => PgSqlErrorCode::ERRCODE_INDEX_CORRUPTED,
        }
    }

    /// What the user can do about it, where there is something to say.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Error::Corrupted { .. } => Some("REINDEX the index."),
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
