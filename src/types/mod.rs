//! The SQL types and their functions.
//!
//! - [`call`]: calls from PostgreSQL.
//! - [`varlena`], [`array`], [`wire`]: reading and making of values.
//! - [`text`]: reading and printing of numbers.
//! - [`dimensions`]: checks of dimensions.
//! - [`dense`]: `vector` and `halfvec`.
//! - [`sparsevec`]: the type of that name.
//! - [`bit`]: distances of PostgreSQL's own type.
//!
//! The SQL declarations are in `sql/`.

pub mod array;
pub mod bit;
pub mod call;
pub mod dense;
pub mod dimensions;
pub mod sparsevec;
pub mod text;
pub mod varlena;
pub mod wire;

#[cfg(any(test, feature = "pg_test"))]
mod testing;
