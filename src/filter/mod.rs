//! Filter columns: values of other columns that an index keeps beside its vectors, so that a scan
//! tests conditions without reading the table.
//!
//! A value is kept as a *key* of 64 bits ([`values`]), as exact as its type allows. The lanes of a
//! coded record keep a *signature* of 16 bits for each neighbor and column ([`signature`]): a
//! record tells of 32 neighbors whether they may match, for no page. A [`condition::Filter`] has
//! the conditions of a scan; it tests keys and signatures. A match of a key may be certain or not;
//! where it is not, the executor checks the condition against the table's row.

pub mod condition;
pub mod lanes;
pub mod lists;
pub mod sets;
pub mod signature;
pub mod values;
