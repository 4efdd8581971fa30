//! Order-by keys that carry more than the value to search for: the order in which rows are
//! returned, their likely number, and the radius at which the scan ends.
//!
//! The planner's hook (`planner`) puts `ARRAY[ROW(value, program, operand, ..)]` in the place of
//! the value. Such a key calls no function, so it needs no EXECUTE privilege, and its evaluation
//! cannot fail. The program is a `bytea`: a byte for the mode; a byte each for the operands that
//! are the counts of a LIMIT and an OFFSET (0: none); the number of rows to be added to both, the
//! ratio of rows that are read to rows that are wanted, and the share of them that is read of this
//! scan (f32, little-endian); then conditions on the distance (`bound`).
//!
//! A key is an array or a value of the index's type, both with a size in the first four bytes. The
//! next four bytes of such an array are the number of its dimensions, 1. In a value they are its
//! number of dimensions or bits, and a value of one dimension is smaller than the array.

use pgrx::varlena::{varatt_is_4b_u, vardata_4b, varsize_4b};
use pgrx::{PgTupleDesc, pg_sys};

use super::bound::{self, Operand};
use crate::error::{Error, Result};
use crate::types::varlena::Varlena;

/// Order of the rows of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Mode {
    /// Order of the graph: by distance within the precision of stored vectors, except that rows
    /// found late come last.
    Fast,
    /// Order of the graph without late rows, even if `hnsw.iterative_scan` does not ask for it.
    Strict,
    /// Order of the graph; the executor sorts by the table's distances.
    Reordered,
    /// All rows, in the order of the table's distances.
    Exact,
}

/// Rows that a scan has to return.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// The value to search for; none if it is NULL.
    pub value: Option<pg_sys::Datum>,
    /// Distance beyond which no row is wanted; below zero if no row is wanted at all. With a
    /// radius, rows of distance NULL are not wanted either.
    pub radius: Option<f64>,
    /// Whether rows of distance NaN are wanted with a radius.
    pub nan: bool,
    pub mode: Mode,
    /// Likely number of rows that are read of the scan, if the plan says one.
    pub rows: Option<Rows>,
}

/// Likely number of rows that are read of a scan.
#[derive(Debug, Clone, Copy)]
pub struct Rows {
    /// Of it and of the scans that are merged with it.
    pub all: f64,
    /// Of it alone, and no more than a node above takes; 0 if that is not known.
    pub own: f64,
}

/// The part of a program before its conditions.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    pub mode: Mode,
    /// The operands that are the counts of a LIMIT and an OFFSET.
    pub limit: Option<u8>,
    pub offset: Option<u8>,
    /// Rows wanted besides these; 0 without operands: an unknown number is wanted.
    pub known: f32,
    /// Rows that are read of the scan for a row that is wanted, on average ([`rows_read`]).
    pub read: f32,
    /// Share of the rows that is likely read of the scan; 0 if it is not known.
    pub share: f32,
}

impl Program {
    pub fn head(self) -> [u8; HEAD] {
        let operand = |operand: Option<u8>| operand.map_or(0, |operand| operand + 1);
        let mut head = [0; HEAD];
        head[..3].copy_from_slice(&[self.mode as u8, operand(self.limit), operand(self.offset)]);
        head[3..7].copy_from_slice(&self.known.to_le_bytes());
        head[7..11].copy_from_slice(&self.read.to_le_bytes());
        head[11..].copy_from_slice(&self.share.to_le_bytes());
        head
    }
}

/// Rows that are likely read of a scan for so many that are wanted, with `read` of it for one of
/// these on average: more where rows are refused, fewer where other scans have a part. The standard
/// deviation of their number is added, because half of all scans read more than the mean, and a
/// scan that reads more rows than it is wide reads records again.
pub fn rows_read(wanted: f64, read: f64) -> f64 {
    let mean = wanted * read;
    mean + (mean * (read - 1.0).abs()).sqrt()
}

/// Bytes of a program before its conditions.
const HEAD: usize = 15;

/// An array of one dimension without NULLs, as PostgreSQL lays it out (`utils/array.h`), before its
/// element.
#[repr(C)]
struct Header {
    varlena: i32,
    dimensions: i32,
    offset: i32,
    element: pg_sys::Oid,
    length: i32,
    first: i32,
}

impl Header {
    const ONE_ROW: Header = Header {
        varlena: 0,
        dimensions: 1,
        offset: 0,
        element: pg_sys::RECORDOID,
        length: 1,
        first: 1,
    };
}

/// The size of the largest value of one dimension: a sparse vector with its one component. Arrays
/// with a row are larger.
const MAX_OF_ONE: usize = 24;

/// Fields of a row before its operands.
pub const FIXED_FIELDS: usize = 2;

/// Largest number of operands of a program.
pub const MAX_OPERANDS: usize = 100;

/// Splits a scan key into its parts.
///
/// # Errors
/// [`Error::InvalidPlan`], if it is an array and not one of ours.
///
/// # Safety
/// `datum` is a value of the index's type or the array that a plan has in its place, detoasted by
/// the executor or a constant; or it is NULL.
pub unsafe fn split_radius_key(datum: pg_sys::Datum, is_null: bool) -> Result<Wanted> {
    let plain = |value| Wanted {
        value,
        radius: None,
        nan: true,
        mode: Mode::Fast,
        rows: None,
    };
    if is_null {
        return Ok(plain(None));
    }
    // SAFETY: as the caller promises. Both have four bytes behind a header of four.
    unsafe {
        let header = datum.cast_mut_ptr::<Header>();
        if !varatt_is_4b_u(header.cast()) || varsize_4b(header.cast()) <= MAX_OF_ONE || (*header).dimensions != 1 {
            return Ok(plain(Some(datum)));
        }
        let (value, program, operands) = fields(header)?;
        let Some((&[mode, limit, offset, ref numbers @ ..], conditions)) = program.split_first_chunk::<HEAD>() else {
            return Err(Error::InvalidPlan);
        };
        let number = |at: usize| f64::from(f32::from_le_bytes([0, 1, 2, 3].map(|i| numbers[at + i])));
        let count = |operand: u8| match usize::from(operand).checked_sub(1).map(|operand| operands.get(operand)) {
            None => Ok(Some(0.0)),
            Some(Some(Operand::Number(count))) => Ok(Some(*count)),
            Some(Some(Operand::Null)) => Ok(None),
            _ => Err(Error::InvalidPlan),
        };
        let (limit, offset) = (count(limit)?, count(offset)?.unwrap_or(0.0));
        let rows = rows_read(limit.unwrap_or(0.0) + offset + number(0), number(4));
        let own = rows_read(rows, number(8));
        let is_limited = limit.is_some();
        let mode = match mode {
            _ if !is_limited => Mode::Exact,
            _ if mode == Mode::Fast as u8 => Mode::Fast,
            _ if mode == Mode::Strict as u8 => Mode::Strict,
            _ if mode == Mode::Reordered as u8 => Mode::Reordered,
            _ if mode == Mode::Exact as u8 => Mode::Exact,
            _ => return Err(Error::InvalidPlan),
        };
        let bound = bound::bound(conditions, &operands)?;
        Ok(Wanted {
            value,
            radius: bound.map(|bound| bound.radius),
            nan: bound.is_none_or(|bound| bound.nan),
            mode,
            rows: (is_limited && rows > 0.0).then_some(Rows { all: rows, own }),
        })
    }
}

/// The fields of the row: the value to search for, the program, and its operands.
///
/// # Safety
/// `array` has a plain header with the size of the value.
unsafe fn fields(array: *mut Header) -> Result<(Option<pg_sys::Datum>, Vec<u8>, Vec<Operand>)> {
    // SAFETY: sizes are checked before the bytes that they announce are read; PostgreSQL splits a
    // row by its own description.
    unsafe {
        let expected = Header::ONE_ROW;
        let size = varsize_4b(array.cast());
        let start = size_of::<Header>();
        let least = start + size_of::<pg_sys::HeapTupleHeaderData>();
        if size < least
            || (*array).offset != expected.offset
            || (*array).element != expected.element
            || (*array).length != expected.length
            || (*array).first != expected.first
        {
            return Err(Error::InvalidPlan);
        }
        let row = array.add(1).cast::<pg_sys::HeapTupleHeaderData>();
        let datum = (*row).t_choice.t_datum;
        if !varatt_is_4b_u(row.cast())
            || !(least - start..=size - start).contains(&varsize_4b(row.cast()))
            || datum.datum_typeid != pg_sys::RECORDOID
        {
            return Err(Error::InvalidPlan);
        }
        let description = PgTupleDesc::from_pg(pg_sys::lookup_rowtype_tupdesc(pg_sys::RECORDOID, datum.datum_typmod));
        if !(FIXED_FIELDS..=FIXED_FIELDS + MAX_OPERANDS).contains(&description.len()) {
            return Err(Error::InvalidPlan);
        }
        let mut tuple = pg_sys::HeapTupleData {
            t_len: varsize_4b(row.cast()) as u32,
            t_data: row,
            ..Default::default()
        };
        let mut values = vec![pg_sys::Datum::null(); description.len()];
        let mut nulls = vec![false; description.len()];
        pg_sys::heap_deform_tuple(
            &mut tuple,
            description.as_ptr(),
            values.as_mut_ptr(),
            nulls.as_mut_ptr(),
        );
        let type_of = |field| description.get(field).map(|attribute| attribute.atttypid);
        let (value, value_type) = ((!nulls[0]).then_some(values[0]), type_of(0));
        if nulls[1] || type_of(1) != Some(pg_sys::BYTEAOID) {
            return Err(Error::InvalidPlan);
        }
        let program = Varlena::from_datum(values[1]);
        let bytes = std::slice::from_raw_parts(
            vardata_4b(program.as_ptr()).cast::<u8>(),
            program.size() - pg_sys::VARHDRSZ,
        );
        let mut operands = Vec::with_capacity(description.len() - FIXED_FIELDS);
        for field in FIXED_FIELDS..description.len() {
            operands.push(match type_of(field) {
                _ if nulls[field] => Operand::Null,
                Some(number) if is_number(number) => Operand::Number(number_of(values[field], number)),
                other if other == value_type => Operand::Query(value.is_some_and(|value| same(value, values[field]))),
                _ => return Err(Error::InvalidPlan),
            });
        }
        Ok((value, bytes.to_vec(), operands))
    }
}

/// Whether operands may have this type of numbers.
pub fn is_number(number: pg_sys::Oid) -> bool {
    matches!(
        number,
        pg_sys::FLOAT8OID
            | pg_sys::FLOAT4OID
            | pg_sys::INT2OID
            | pg_sys::INT4OID
            | pg_sys::INT8OID
            | pg_sys::NUMERICOID
    )
}

/// # Safety
/// `datum` is of the type `number`, one of those above.
unsafe fn number_of(datum: pg_sys::Datum, number: pg_sys::Oid) -> f64 {
    let bits = datum.value();
    match number {
        pg_sys::FLOAT8OID => f64::from_bits(bits as u64),
        pg_sys::FLOAT4OID => f64::from(f32::from_bits(bits as u32)),
        pg_sys::INT2OID => f64::from(bits as i16),
        pg_sys::INT4OID => f64::from(bits as i32),
        pg_sys::INT8OID => bits as i64 as f64,
        // SAFETY: as the caller promises. It is NULL for no number, and infinite for one too large.
        _ => unsafe {
            pgrx::direct_function_call::<f64>(pg_sys::numeric_float8_no_overflow, &[Some(datum)]).unwrap_or(f64::NAN)
        },
    }
}

/// Whether two values of one type with variable length have the same bytes.
///
/// # Safety
/// They are such values.
unsafe fn same(a: pg_sys::Datum, b: pg_sys::Datum) -> bool {
    // SAFETY: as the caller promises.
    unsafe {
        let (a, b) = (Varlena::from_datum(a), Varlena::from_datum(b));
        let bytes = |value: &Varlena| std::slice::from_raw_parts(value.as_ptr::<u8>(), value.size());
        bytes(&a) == bytes(&b)
    }
}
