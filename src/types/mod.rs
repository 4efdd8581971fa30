//! The SQL types and their functions.
//!
//! [`call`] is how PostgreSQL calls them, [`array`] how they read and make arrays. The SQL that names them is in `sql/`.

pub mod array;
pub mod call;
pub mod vector;
