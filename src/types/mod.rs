//! The SQL types and their functions.
//!
//! [`call`] is how PostgreSQL calls them, [`varlena`], [`array`] and [`wire`] how they read and make its values, [`text`]
//! how they read and print numbers, [`dimensions`] what they say of dimensions. [`dense`] is `vector` and `halfvec`,
//! [`sparsevec`] what its name says, [`bit`] distances of PostgreSQL's own type. The SQL that names all this is in `sql/`.

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
