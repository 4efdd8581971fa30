//! Functions that the tests of the types share.

use pgrx::pg_sys::panic::CaughtError;
use pgrx::{PgSqlErrorCode, PgTryBuilder, Spi, pg_sys};
use std::panic::AssertUnwindSafe;

/// The SQLSTATE and text of the error that `action` raises.
pub fn error_of<T>(action: impl FnOnce() -> T) -> (PgSqlErrorCode, String) {
    PgTryBuilder::new(AssertUnwindSafe(|| {
        action();
        (PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION, String::new())
    }))
    .catch_others(|error| match error {
        CaughtError::PostgresError(report) | CaughtError::ErrorReport(report) => {
            (report.sql_error_code(), report.message().to_string())
        }
        CaughtError::RustPanic { ereport, .. } => panic!("a Rust panic: {}", ereport.message()),
    })
    .execute()
}

/// Calls the receive function of a type as PostgreSQL does with a message of these bytes.
pub fn receive(type_name: &str, bytes: &[u8], typmod: i32) -> pg_sys::Datum {
    let function = format!("SELECT '{type_name}_recv(internal, oid, integer)'::regprocedure::oid");
    let function: pg_sys::Oid = Spi::get_one(&function).unwrap().unwrap();
    let mut data = bytes.to_vec();
    let mut message = pg_sys::StringInfoData {
        data: data.as_mut_ptr().cast(),
        len: data.len() as i32,
        maxlen: data.len() as i32,
        cursor: 0,
    };
    // SAFETY: the message outlives the call.
    let datum = unsafe { pg_sys::OidReceiveFunctionCall(function, &mut message, pg_sys::InvalidOid, typmod) };
    assert_eq!(message.cursor, message.len, "bytes left");
    datum
}

/// A value of these bytes as a row stores a small one: with a 1-byte header, at an odd address in
/// `memory`.
pub fn short(data: &[u8], memory: &mut Vec<u64>) -> pg_sys::Datum {
    let mut bytes = vec![0; 3];
    bytes.push((data.len() as u8 + 1) << 1 | 1);
    bytes.extend(data);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    *memory = bytes
        .as_chunks()
        .0
        .iter()
        .map(|chunk| u64::from_ne_bytes(*chunk))
        .collect();
    // SAFETY: the value starts at byte 3.
    unsafe { memory.as_mut_ptr().byte_add(3).into() }
}
