//! The SQL types and their functions.
