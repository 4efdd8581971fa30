//! Filter columns of an index: the columns behind its vector.
//!
//! - `classes`: their operator classes and operators;
//! - `value`: keys of values;
//! - `index_clauses`: the conditions of a path;
//! - `set_statistics`: statistics of columns of arrays;
//! - `scan_keys`: the conditions of a scan.
//!
//! The rules for keys are those of `crate::filter`. The key of a text is a hash of its bytes, which
//! equal texts share under a deterministic collation alone. Under another one all texts have one
//! key, so an equality excludes no text.

pub mod classes;
pub mod index_clauses;
pub mod scan_keys;
mod set_statistics;
mod value;

use pgrx::pg_sys;

use super::method::Method;
use super::opclass::{self, Opclass};
use crate::error::{Error, Result};
use crate::filter::values::{Kind, MOST_COLUMNS, Values};
use crate::storage::format::META_BLOCK;
use crate::storage::parameters::Parameters;
use classes::{Class, Domain};
pub use set_statistics::SetStatistics;
use value::{Elements, Scalar};

/// The error of an index with more filter columns than there may be.
pub const TOO_MANY: Error = Error::TooManyFilterColumns { maximum: MOST_COLUMNS };

/// Refuses an index whose first column is a filter column.
///
/// # Errors
/// [`Error::FirstColumnNotVector`].
///
/// # Safety
/// `index` is an open index of this access method.
pub unsafe fn check_first(index: pg_sys::Relation) -> Result<()> {
    // SAFETY: as the caller promises.
    match unsafe { Class::of_column(index, 0) } {
        Some(_) => Err(Error::FirstColumnNotVector),
        None => Ok(()),
    }
}

/// A filter column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    class: &'static Class,
    /// Whether texts are equal only if their bytes are.
    by_bytes: bool,
}

/// The filter columns of an index, in order.
#[derive(Debug, Clone, Copy)]
pub struct Columns([Option<Column>; MOST_COLUMNS]);

impl Columns {
    /// The filter columns of an index. Raises an error if one has an operator class that is none of
    /// ours, or if there are too many.
    ///
    /// # Safety
    /// `index` is an open index of this access method.
    pub unsafe fn of(index: pg_sys::Relation) -> Columns {
        // SAFETY: as the caller promises. The cache is this access method's, of the memory of the
        // relation; PostgreSQL frees both together.
        unsafe {
            if (*(*index).rd_att).natts <= 1 {
                return Columns([None; MOST_COLUMNS]);
            }
            let cache = (*index).rd_amcache.cast::<Columns>();
            if !cache.is_null() {
                return *cache;
            }
            let columns = Columns::look_up(index).unwrap_or_else(|error| error.raise());
            let cache = pg_sys::MemoryContextAlloc((*index).rd_indexcxt, size_of::<Columns>()).cast::<Columns>();
            cache.write(columns);
            (*index).rd_amcache = cache.cast();
            columns
        }
    }

    /// # Safety
    /// As for [`Columns::of`].
    unsafe fn look_up(index: pg_sys::Relation) -> Result<Columns> {
        let mut columns = [None; MOST_COLUMNS];
        // SAFETY: as the caller promises: the arrays have an element for each column.
        unsafe {
            let count = (*(*index).rd_att).natts as usize - 1;
            let columns = columns.get_mut(..count).ok_or(TOO_MANY)?;
            for (i, column) in columns.iter_mut().enumerate() {
                let class = Class::of_column(index, i + 1).ok_or_else(|| match Opclass::is_of_column(index, i + 1) {
                    true => Error::SecondVectorColumn,
                    false => Error::ForeignOperatorClass {
                        opclass: opclass::name_of(index, i + 1),
                        method: Method::of(index).name(),
                        reason: "Its support function 1 is not one of the extension's for a filter column of this type.",
                    },
                })?;
                let collation = *(*index).rd_indcollation.add(i + 1);
                *column = Some(Column {
                    class,
                    by_bytes: class.scalar != Scalar::Text
                        || collation == pg_sys::InvalidOid
                        || pg_sys::get_collation_isdeterministic(collation),
                });
            }
        }
        Ok(Columns(columns))
    }

    /// The kind of each column's keys.
    pub fn kinds(&self) -> [Option<Kind>; MOST_COLUMNS] {
        self.0.map(|column| column.map(|column| column.class.kind()))
    }

    /// The number of columns.
    pub fn count(&self) -> usize {
        self.0.iter().flatten().count()
    }

    /// A column, numbered from 0.
    fn get(&self, column: usize) -> Option<Column> {
        self.0.get(column).copied().flatten()
    }

    /// Checks that these are the columns that an index was built with.
    ///
    /// # Errors
    /// [`Error::Corrupted`].
    pub fn check(&self, parameters: &Parameters) -> Result<()> {
        match self.kinds() == parameters.filters {
            true => Ok(()),
            false => Err(Error::corrupted(
                META_BLOCK,
                "filter columns that are not those of the index",
            )),
        }
    }

    /// The filter values of a row.
    ///
    /// # Errors
    /// [`Error::OutOfMemory`].
    ///
    /// # Safety
    /// `values` and `nulls` are the columns of a row of this index, the vector first.
    pub unsafe fn of_row(&self, values: *const pg_sys::Datum, nulls: *const bool) -> Result<Values> {
        let mut keys = Values::NONE;
        for (i, column) in self.0.iter().flatten().enumerate() {
            // SAFETY: as the caller promises.
            unsafe {
                if !*nulls.add(i + 1) {
                    keys.set(i, Some(column.key(*values.add(i + 1))?));
                }
            }
        }
        Ok(keys)
    }
}

impl Column {
    /// # Safety
    /// `datum` is a value of the column, not NULL.
    unsafe fn key(&self, datum: pg_sys::Datum) -> Result<u64> {
        // SAFETY: as the caller promises.
        unsafe {
            match self.class.domain {
                Domain::Array if !self.by_bytes => Ok(0),
                Domain::Array => Elements::key(datum, self.class.scalar, true),
                _ => Ok(self.class.scalar.key(datum, self.by_bytes)),
            }
        }
    }
}
