//! Operator classes of filter columns, and their operators.
//!
//! As with classes of vectors (`am::opclass`), nothing of a class is trusted: support function 1
//! tells the class by its C symbol, and is never called. Types and operators are PostgreSQL's own,
//! so their object IDs are known. A scan goes by the function of an operator, so an operator that
//! somebody added to a family excludes no row: the executor checks it.

use pgrx::pg_sys;
use pgrx::pg_sys::Oid;

use super::value::Scalar;
use crate::am::opclass::{SUPPORT, symbol_in_c};
use crate::filter::values::Kind;
use crate::types::call::sql_function;

/// Values that compare with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Domain {
    Bool,
    Integer,
    Float,
    Numeric,
    Date,
    Timestamp,
    TimestampTz,
    Uuid,
    Text,
    Enum,
    Array,
}

/// An operator class of ours.
#[derive(Debug)]
pub struct Class {
    support: &'static str,
    /// The type that the class is for.
    pub value: Oid,
    /// The form of its values, or of the elements of its arrays.
    pub scalar: Scalar,
    pub domain: Domain,
}

/// Comparison of a column's value with another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Less,
    LessOrEqual,
    Equal,
    GreaterOrEqual,
    Greater,
    /// The arrays have a common element.
    Overlaps,
    /// The column's array has all elements of the other.
    Contains,
}

/// The operators between two types.
#[derive(Debug)]
pub struct Operators {
    pub domain: Domain,
    pub left: Oid,
    pub right: Oid,
    /// The form of values on the right, which for arrays the class tells.
    pub scalar: Option<Scalar>,
    /// PostgreSQL's functions, in the order of strategies, which are numbered from 1.
    functions: &'static [u32],
}

impl Operators {
    /// The number of strategies.
    pub fn strategies(&self) -> u16 {
        self.functions.len() as u16
    }

    /// The function of the operator with a strategy.
    pub fn function(&self, strategy: u16) -> Option<Oid> {
        let i = usize::from(strategy).checked_sub(1)?;
        self.functions.get(i).map(|&function| Oid::from(function))
    }

    fn comparison(&self, i: usize) -> Comparison {
        use Comparison::{Contains, Equal, Greater, GreaterOrEqual, Less, LessOrEqual, Overlaps};
        const OF_ORDER: [Comparison; 5] = [Less, LessOrEqual, Equal, GreaterOrEqual, Greater];
        const OF_SETS: [Comparison; 2] = [Overlaps, Contains];
        match self.domain {
            Domain::Array => OF_SETS[i],
            _ => OF_ORDER[i],
        }
    }
}

/// The operators that call a function of PostgreSQL's, and the comparison that it makes.
pub fn operator(function: Oid) -> Option<(&'static Operators, Comparison)> {
    let function = function.to_u32();
    OPERATORS.iter().find_map(|operators| {
        let i = operators.functions.iter().position(|&other| other == function)?;
        Some((operators, operators.comparison(i)))
    })
}

/// The operators between two types.
pub fn operators_between(left: Oid, right: Oid) -> Option<&'static Operators> {
    OPERATORS
        .iter()
        .find(|operators| (operators.left, operators.right) == (left, right))
}

impl Class {
    /// The class with this support function.
    ///
    /// # Safety
    /// Called in a transaction.
    pub unsafe fn of_support(function: Oid) -> Option<&'static Class> {
        // SAFETY: as the caller promises.
        let name = unsafe { symbol_in_c(function)? };
        CLASSES.iter().find(|class| class.support == name)
    }

    /// The class of a column of an open index; none if it is none of ours.
    ///
    /// # Safety
    /// `index` is an open index with this column, numbered from 0.
    pub unsafe fn of_column(index: pg_sys::Relation, column: usize) -> Option<&'static Class> {
        // SAFETY: as the caller promises.
        unsafe {
            let support = pg_sys::index_getprocid(index, column as i16 + 1, SUPPORT);
            let value = *(*index).rd_opcintype.add(column);
            Class::of_support(support).filter(|class| class.value == value)
        }
    }

    /// The relation of keys to values.
    pub fn kind(&self) -> Kind {
        match (self.domain, self.scalar) {
            (Domain::Array, _) => Kind::Set,
            (_, Scalar::Text | Scalar::Enum) => Kind::Hashed,
            (_, Scalar::Numeric | Scalar::Uuid) => Kind::Rounded,
            _ => Kind::Exact,
        }
    }

    /// The operators between two values of the type.
    pub fn operators(&self) -> Option<&'static Operators> {
        let side = match self.domain {
            Domain::Array => pg_sys::ANYARRAYOID,
            _ => self.value,
        };
        operators_between(side, side)
    }
}

/// Whether a type has an operator class for filter columns.
///
/// # Safety
/// Called in a transaction.
pub unsafe fn is_filter_type(value: Oid) -> bool {
    // SAFETY: as the caller promises.
    value == pg_sys::VARCHAROID
        || CLASSES.iter().any(|class| class.value == value)
        || unsafe { pg_sys::type_is_enum(value) }
}

const fn operators(
    domain: Domain,
    left: Oid,
    (right, scalar): (Oid, Option<Scalar>),
    functions: &'static [u32],
) -> Operators {
    Operators {
        domain,
        left,
        right,
        scalar,
        functions,
    }
}

const BOOL: (Oid, Option<Scalar>) = (pg_sys::BOOLOID, Some(Scalar::Bool));
const INT2: (Oid, Option<Scalar>) = (pg_sys::INT2OID, Some(Scalar::Int2));
const INT4: (Oid, Option<Scalar>) = (pg_sys::INT4OID, Some(Scalar::Int4));
const INT8: (Oid, Option<Scalar>) = (pg_sys::INT8OID, Some(Scalar::Int8));
const FLOAT4: (Oid, Option<Scalar>) = (pg_sys::FLOAT4OID, Some(Scalar::Float4));
const FLOAT8: (Oid, Option<Scalar>) = (pg_sys::FLOAT8OID, Some(Scalar::Float8));
const NUMERIC: (Oid, Option<Scalar>) = (pg_sys::NUMERICOID, Some(Scalar::Numeric));
const DATE: (Oid, Option<Scalar>) = (pg_sys::DATEOID, Some(Scalar::Int4));
const TIMESTAMP: (Oid, Option<Scalar>) = (pg_sys::TIMESTAMPOID, Some(Scalar::Int8));
const TIMESTAMPTZ: (Oid, Option<Scalar>) = (pg_sys::TIMESTAMPTZOID, Some(Scalar::Int8));
const UUID: (Oid, Option<Scalar>) = (pg_sys::UUIDOID, Some(Scalar::Uuid));
const TEXT: (Oid, Option<Scalar>) = (pg_sys::TEXTOID, Some(Scalar::Text));
const ENUM: (Oid, Option<Scalar>) = (pg_sys::ANYENUMOID, Some(Scalar::Enum));
const ARRAY: (Oid, Option<Scalar>) = (pg_sys::ANYARRAYOID, None);

/// All operators of our classes.
#[rustfmt::skip]
static OPERATORS: &[Operators] = {
    use pg_sys::*;
    &[
        operators(Domain::Bool, BOOLOID, BOOL, &[F_BOOLLT, F_BOOLLE, F_BOOLEQ, F_BOOLGE, F_BOOLGT]),
        operators(Domain::Integer, INT2OID, INT2, &[F_INT2LT, F_INT2LE, F_INT2EQ, F_INT2GE, F_INT2GT]),
        operators(Domain::Integer, INT2OID, INT4, &[F_INT24LT, F_INT24LE, F_INT24EQ, F_INT24GE, F_INT24GT]),
        operators(Domain::Integer, INT2OID, INT8, &[F_INT28LT, F_INT28LE, F_INT28EQ, F_INT28GE, F_INT28GT]),
        operators(Domain::Integer, INT4OID, INT2, &[F_INT42LT, F_INT42LE, F_INT42EQ, F_INT42GE, F_INT42GT]),
        operators(Domain::Integer, INT4OID, INT4, &[F_INT4LT, F_INT4LE, F_INT4EQ, F_INT4GE, F_INT4GT]),
        operators(Domain::Integer, INT4OID, INT8, &[F_INT48LT, F_INT48LE, F_INT48EQ, F_INT48GE, F_INT48GT]),
        operators(Domain::Integer, INT8OID, INT2, &[F_INT82LT, F_INT82LE, F_INT82EQ, F_INT82GE, F_INT82GT]),
        operators(Domain::Integer, INT8OID, INT4, &[F_INT84LT, F_INT84LE, F_INT84EQ, F_INT84GE, F_INT84GT]),
        operators(Domain::Integer, INT8OID, INT8, &[F_INT8LT, F_INT8LE, F_INT8EQ, F_INT8GE, F_INT8GT]),
        operators(Domain::Float, FLOAT4OID, FLOAT4,
            &[F_FLOAT4LT, F_FLOAT4LE, F_FLOAT4EQ, F_FLOAT4GE, F_FLOAT4GT]),
        operators(Domain::Float, FLOAT4OID, FLOAT8,
            &[F_FLOAT48LT, F_FLOAT48LE, F_FLOAT48EQ, F_FLOAT48GE, F_FLOAT48GT]),
        operators(Domain::Float, FLOAT8OID, FLOAT4,
            &[F_FLOAT84LT, F_FLOAT84LE, F_FLOAT84EQ, F_FLOAT84GE, F_FLOAT84GT]),
        operators(Domain::Float, FLOAT8OID, FLOAT8,
            &[F_FLOAT8LT, F_FLOAT8LE, F_FLOAT8EQ, F_FLOAT8GE, F_FLOAT8GT]),
        operators(Domain::Numeric, NUMERICOID, NUMERIC,
            &[F_NUMERIC_LT, F_NUMERIC_LE, F_NUMERIC_EQ, F_NUMERIC_GE, F_NUMERIC_GT]),
        operators(Domain::Date, DATEOID, DATE, &[F_DATE_LT, F_DATE_LE, F_DATE_EQ, F_DATE_GE, F_DATE_GT]),
        operators(Domain::Timestamp, TIMESTAMPOID, TIMESTAMP,
            &[F_TIMESTAMP_LT, F_TIMESTAMP_LE, F_TIMESTAMP_EQ, F_TIMESTAMP_GE, F_TIMESTAMP_GT]),
        operators(Domain::TimestampTz, TIMESTAMPTZOID, TIMESTAMPTZ,
            &[F_TIMESTAMPTZ_LT, F_TIMESTAMPTZ_LE, F_TIMESTAMPTZ_EQ, F_TIMESTAMPTZ_GE, F_TIMESTAMPTZ_GT]),
        operators(Domain::Uuid, UUIDOID, UUID, &[F_UUID_LT, F_UUID_LE, F_UUID_EQ, F_UUID_GE, F_UUID_GT]),
        operators(Domain::Text, TEXTOID, TEXT, &[F_TEXT_LT, F_TEXT_LE, F_TEXTEQ, F_TEXT_GE, F_TEXT_GT]),
        operators(Domain::Enum, ANYENUMOID, ENUM, &[F_ENUM_LT, F_ENUM_LE, F_ENUM_EQ, F_ENUM_GE, F_ENUM_GT]),
        operators(Domain::Array, ANYARRAYOID, ARRAY, &[F_ARRAYOVERLAP, F_ARRAYCONTAINS]),
    ]
};

/// Defines support functions: the operator class of each is known by the function's name, so none
/// is ever called.
macro_rules! support_functions {
    ($($function:ident: $value:ident, $scalar:ident, $domain:ident;)*) => {
        /// Our operator classes.
        static CLASSES: &[Class] = &[$(Class {
            support: stringify!($function),
            value: pg_sys::$value,
            scalar: Scalar::$scalar,
            domain: Domain::$domain,
        }),*];

        $(sql_function! {
            /// The support function of an operator class.
            fn $function(_nothing: pg_sys::Datum) -> pg_sys::Datum {
                Ok(pg_sys::Datum::from(0))
            }
        })*
    };
}

support_functions! {
    hnsw_bool_support: BOOLOID, Bool, Bool;
    hnsw_int2_support: INT2OID, Int2, Integer;
    hnsw_int4_support: INT4OID, Int4, Integer;
    hnsw_int8_support: INT8OID, Int8, Integer;
    hnsw_float4_support: FLOAT4OID, Float4, Float;
    hnsw_float8_support: FLOAT8OID, Float8, Float;
    hnsw_numeric_support: NUMERICOID, Numeric, Numeric;
    hnsw_date_support: DATEOID, Int4, Date;
    hnsw_timestamp_support: TIMESTAMPOID, Int8, Timestamp;
    hnsw_timestamptz_support: TIMESTAMPTZOID, Int8, TimestampTz;
    hnsw_uuid_support: UUIDOID, Uuid, Uuid;
    hnsw_text_support: TEXTOID, Text, Text;
    hnsw_enum_support: ANYENUMOID, Enum, Enum;
    hnsw_int4_array_support: INT4ARRAYOID, Int4, Array;
    hnsw_text_array_support: TEXTARRAYOID, Text, Array;
}
