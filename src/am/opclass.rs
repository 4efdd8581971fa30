//! Operator classes: support function 1 of a class stands for a metric and a type of values.
//!
//! A class may be anybody's and name any function, so no function of a class is called. The catalog
//! gives the C function of each member, and a class is refused unless it has the members of one of
//! ours, or of a class of pgvector for the same distance. Dumps have classes of that form, and a
//! database of pgvector has them until the extension is updated. `am::validate` reports the faults
//! of a class.

use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::pg_sys::SysCacheIdentifier;

use super::method::Method;
use crate::distance::Metric;
use crate::error::{Error, Result};
use crate::storage::parameters::Element;
use crate::types::call::sql_function;

/// The strategy of the operator that a scan is ordered by.
pub const STRATEGY: u16 = 1;

/// The number of the support function.
pub const SUPPORT: u16 = 1;

/// The number of a support function that classes had in version 0.1.0 of the extension. PostgreSQL
/// opens no index of such a class if the access method has no such number, and indexes have to work
/// after an upgrade of the library alone; `ALTER EXTENSION UPDATE` takes the member away. So the
/// number stays, for that function and nothing else.
pub const RETIRED: u16 = 2;

/// Components of a sparse vector, where it has more dimensions: of a text's terms, say.
const USUAL_COMPONENTS: u32 = 256;

/// An operator class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opclass {
    /// Its distance.
    pub metric: Metric,
    /// The type of its values.
    pub element: Element,
}

impl Opclass {
    /// About how many numbers a distance takes of values of so many dimensions: a word of bits is
    /// one, and few components of a sparse vector are not zero.
    pub fn numbers(&self, dimensions: u32) -> u32 {
        match self.element {
            Element::Vector | Element::Halfvec => dimensions,
            Element::Bit => dimensions / u32::BITS,
            Element::Sparsevec => dimensions.min(USUAL_COMPONENTS),
        }
    }

    /// Whether its indexes have codes, but for those of the shortest vectors
    /// (`storage::layout_plan`), whose searches take as long.
    pub fn is_coded(&self) -> bool {
        matches!(self.element, Element::Vector | Element::Halfvec) && self.metric != Metric::L1
    }

    /// The operator class of an index's first column. Raises an error if it is none of ours.
    ///
    /// # Safety
    /// `index` is an open index of this access method.
    pub unsafe fn of(index: pg_sys::Relation) -> Opclass {
        // SAFETY: as the caller promises.
        unsafe { Opclass::of_column(index, 0) }.unwrap_or_else(|reason| {
            // SAFETY: as the caller promises.
            let (opclass, method) = unsafe { (name_of(index, 0), Method::of(index).name()) };
            Error::ForeignOperatorClass {
                opclass,
                method,
                reason,
            }
            .raise()
        })
    }

    /// Whether a column of an index, numbered from 0, has an operator class for vectors.
    ///
    /// # Safety
    /// `index` is an open index with this column.
    pub unsafe fn is_of_column(index: pg_sys::Relation, column: usize) -> bool {
        // SAFETY: as the caller promises.
        unsafe { Opclass::of_column(index, column) }.is_ok()
    }

    /// # Safety
    /// As for [`Opclass::is_of_column`].
    unsafe fn of_column(index: pg_sys::Relation, column: usize) -> Result<Opclass, &'static str> {
        // SAFETY: as the caller promises: the arrays have an element for each column.
        unsafe {
            let (family, value) = (*(*index).rd_opfamily.add(column), *(*index).rd_opcintype.add(column));
            Opclass::with(
                family,
                value,
                pg_sys::index_getprocid(index, column as i16 + 1, SUPPORT),
            )
        }
    }

    /// The operator class of these members, or why it is none of ours.
    ///
    /// # Safety
    /// Called in a transaction.
    unsafe fn with(family: pg_sys::Oid, value: pg_sys::Oid, support: pg_sys::Oid) -> Result<Opclass, &'static str> {
        // SAFETY: as the caller promises.
        unsafe {
            let operator = pg_sys::get_opfamily_member(family, value, value, STRATEGY as i16);
            let class = Class::of_support(support).or_else(|| Class::of_pgvector(support, operator));
            let class = class.ok_or("Its support function 1 is not one of the extension's.")?;
            if !class.is_for(value) {
                return Err("Its support function 1 is for another type.");
            }
            if !class.is_distance(operator) {
                return Err("Its operator 1 is not the distance that support function 1 is for.");
            }
            Ok(class.opclass)
        }
    }
}

/// Catalog entries of an operator class of ours: the names of C functions.
#[derive(Debug)]
pub struct Class {
    support: &'static str,
    /// The function that reads values of the type.
    input: &'static str,
    /// The function of its operator, here and in pgvector.
    distances: &'static [&'static str],
    /// Support function 1 of pgvector's class for this distance, likewise.
    distances_of_pgvector: &'static [&'static str],
    opclass: Opclass,
}

impl Class {
    /// The class with this support function.
    ///
    /// # Safety
    /// Called in a transaction.
    pub unsafe fn of_support(function: pg_sys::Oid) -> Option<&'static Class> {
        // SAFETY: as the caller promises.
        let name = unsafe { symbol_in_c(function)? };
        CLASSES.iter().find(|class| class.support == name)
    }

    /// The class that stands for a class of pgvector with this support function 1 and operator.
    ///
    /// # Safety
    /// Called in a transaction.
    pub unsafe fn of_pgvector(function: pg_sys::Oid, operator: pg_sys::Oid) -> Option<&'static Class> {
        // SAFETY: as the caller promises.
        unsafe {
            let name = symbol_in_c(function)?;
            CLASSES
                .iter()
                .find(|class| class.distances_of_pgvector.contains(&name.as_str()) && class.is_distance(operator))
        }
    }

    /// Whether it is for values of a type.
    ///
    /// # Safety
    /// Called in a transaction.
    pub unsafe fn is_for(&self, value: pg_sys::Oid) -> bool {
        if self.opclass.element == Element::Bit {
            return value == pg_sys::BITOID;
        }
        let (mut input, mut parameter) = (pg_sys::InvalidOid, pg_sys::InvalidOid);
        // SAFETY: as the caller promises; values of variable length are the ones that ours are.
        unsafe {
            if pg_sys::get_typlen(value) != -1 {
                return false;
            }
            pg_sys::getTypeInputInfo(value, &mut input, &mut parameter);
            symbol_in_c(input).is_some_and(|name| name == self.input)
        }
    }

    /// Whether an operator is its distance.
    ///
    /// # Safety
    /// Called in a transaction.
    pub unsafe fn is_distance(&self, operator: pg_sys::Oid) -> bool {
        // SAFETY: as the caller promises.
        let function = unsafe { symbol_in_c(pg_sys::get_opcode(operator)) };
        function.is_some_and(|name| self.distances.contains(&name.as_str()))
    }
}

/// Whether a type has an operator class for vectors.
///
/// # Safety
/// Called in a transaction.
pub unsafe fn is_vector_type(value: pg_sys::Oid) -> bool {
    // SAFETY: as the caller promises.
    value == pg_sys::VARBITOID || CLASSES.iter().any(|class| unsafe { class.is_for(value) })
}

/// Whether a function is one that pgvector's classes have as another support function than the
/// first: a distance or a norm for clusters, a norm for cosine distances, or a stub.
///
/// # Safety
/// Called in a transaction.
pub unsafe fn is_of_pgvector(function: pg_sys::Oid) -> bool {
    // SAFETY: as the caller promises.
    let name = unsafe { symbol_in_c(function) };
    name.is_some_and(|name| OTHERS_OF_PGVECTOR.contains(&name.as_str()))
}

/// Whether a function is the retired support function.
///
/// # Safety
/// Called in a transaction.
pub unsafe fn is_retired(function: pg_sys::Oid) -> bool {
    // SAFETY: as the caller promises.
    let function = unsafe { symbol_in_c(function) };
    function.is_some_and(|name| name == "hnsw_within")
}

sql_function! {
    /// The retired support function, which the script of version 0.1.0 names. Nobody calls it.
    fn hnsw_within(_value: pg_sys::Datum, _radius: f64) -> pg_sys::Datum {
        Ok(pg_sys::Datum::from(0))
    }
}

/// PostgreSQL's language `c` (`pg_language.dat`).
const C: u32 = 13;

/// The symbol of a function in C; none if there is no such function or it is in another language.
///
/// # Safety
/// Called in a transaction.
pub unsafe fn symbol_in_c(function: pg_sys::Oid) -> Option<String> {
    let cache = SysCacheIdentifier::PROCOID as i32;
    // SAFETY: as the caller promises: a tuple of the cache is its catalog's until it is released.
    unsafe {
        let tuple = pg_sys::SearchSysCache1(cache, function.into());
        if tuple.is_null() {
            return None;
        }
        let language = (*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_proc>()).prolang;
        let mut is_null = false;
        let source = pg_sys::SysCacheGetAttr(cache, tuple, pg_sys::Anum_pg_proc_prosrc as i16, &mut is_null);
        let name = (!is_null).then(|| {
            let text = pg_sys::text_to_cstring(source.cast_mut_ptr());
            let name = CStr::from_ptr(text).to_string_lossy().into_owned();
            pg_sys::pfree(text.cast());
            name
        });
        pg_sys::ReleaseSysCache(tuple);
        name.filter(|_| language.to_u32() == C)
    }
}

/// The name of the operator class of an index's column, numbered from 0.
///
/// # Safety
/// `index` is an open index with this column.
pub unsafe fn name_of(index: pg_sys::Relation, column: usize) -> String {
    // SAFETY: as the caller promises: the relation has its pg_index row, which names the class of
    // each column.
    unsafe {
        let (cache, mut is_null) = (SysCacheIdentifier::INDEXRELID as i32, false);
        let attribute = pg_sys::Anum_pg_index_indclass as i16;
        let classes = pg_sys::SysCacheGetAttr(cache, (*index).rd_indextuple, attribute, &mut is_null);
        let class = *(*classes.cast_mut_ptr::<pg_sys::oidvector>())
            .values
            .as_ptr()
            .add(column);
        let tuple = pg_sys::SearchSysCache1(SysCacheIdentifier::CLAOID as i32, class.into());
        if tuple.is_null() {
            return class.to_u32().to_string();
        }
        let row = &*pg_sys::GETSTRUCT(tuple).cast::<pg_sys::FormData_pg_opclass>();
        let name = CStr::from_ptr(row.opcname.data.as_ptr()).to_string_lossy().into_owned();
        pg_sys::ReleaseSysCache(tuple);
        name
    }
}

/// Defines support functions: the operator class of each is known by the function's name, so none
/// is ever called.
macro_rules! support_functions {
    ($($function:ident: $element:ident, $input:literal, $metric:ident, $distances:expr, $of_pgvector:expr;)*) => {
        /// Our operator classes.
        static CLASSES: &[Class] = &[$(Class {
            support: stringify!($function),
            input: $input,
            distances: &$distances,
            distances_of_pgvector: &$of_pgvector,
            opclass: Opclass { metric: Metric::$metric, element: Element::$element },
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
    hnsw_vector_l2_support: Vector, "vector_in", L2, ["vector_l2_distance", "l2_distance"], ["vector_l2_squared_distance"];
    hnsw_vector_ip_support: Vector, "vector_in", InnerProduct, ["vector_negative_inner_product"], ["vector_negative_inner_product"];
    hnsw_vector_cosine_support: Vector, "vector_in", Cosine, ["vector_cosine_distance", "cosine_distance"], ["vector_negative_inner_product"];
    hnsw_vector_l1_support: Vector, "vector_in", L1, ["vector_l1_distance", "l1_distance"], ["vector_l1_distance", "l1_distance"];
    hnsw_halfvec_l2_support: Halfvec, "halfvec_in", L2, ["halfvec_l2_distance"], ["halfvec_l2_squared_distance"];
    hnsw_halfvec_ip_support: Halfvec, "halfvec_in", InnerProduct, ["halfvec_negative_inner_product"], ["halfvec_negative_inner_product"];
    hnsw_halfvec_cosine_support: Halfvec, "halfvec_in", Cosine, ["halfvec_cosine_distance"], ["halfvec_negative_inner_product"];
    hnsw_halfvec_l1_support: Halfvec, "halfvec_in", L1, ["halfvec_l1_distance"], ["halfvec_l1_distance"];
    hnsw_sparsevec_l2_support: Sparsevec, "sparsevec_in", L2, ["sparsevec_l2_distance"], ["sparsevec_l2_squared_distance"];
    hnsw_sparsevec_ip_support: Sparsevec, "sparsevec_in", InnerProduct, ["sparsevec_negative_inner_product"], ["sparsevec_negative_inner_product"];
    hnsw_sparsevec_cosine_support: Sparsevec, "sparsevec_in", Cosine, ["sparsevec_cosine_distance"], ["sparsevec_negative_inner_product"];
    hnsw_sparsevec_l1_support: Sparsevec, "sparsevec_in", L1, ["sparsevec_l1_distance"], ["sparsevec_l1_distance"];
    hnsw_bit_hamming_support: Bit, "bit_in", Hamming, ["bit_hamming_distance", "hamming_distance"], ["bit_hamming_distance", "hamming_distance"];
    hnsw_bit_jaccard_support: Bit, "bit_in", Jaccard, ["bit_jaccard_distance", "jaccard_distance"], ["bit_jaccard_distance", "jaccard_distance"];
}

/// Support functions of pgvector's classes beyond the first.
const OTHERS_OF_PGVECTOR: [&str; 15] = [
    "vector_norm",
    "halfvec_l2_norm",
    "sparsevec_l2_norm",
    "vector_l2_distance",
    "l2_distance",
    "halfvec_l2_distance",
    "vector_spherical_distance",
    "halfvec_spherical_distance",
    "bit_hamming_distance",
    "hamming_distance",
    "hnsw_halfvec_support",
    "hnsw_bit_support",
    "hnsw_sparsevec_support",
    "ivfflat_halfvec_support",
    "ivfflat_bit_support",
];
