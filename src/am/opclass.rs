//! What an operator class tells the access method: its support function 1 returns the metric and the type of the values.

use pgrx::pg_sys;

use crate::distance::Metric;
use crate::storage::meta::Element;
use crate::types::call::sql_function;

/// The number of the support function.
const SUPPORT: u16 = 1;

/// Components of a sparse vector, where it has more dimensions: of a text's terms, say.
const USUAL_COMPONENTS: u32 = 256;

/// An operator class.
#[derive(Debug, Clone, Copy)]
pub struct Opclass {
    /// Its distance.
    pub metric: Metric,
    /// The type of its values.
    pub element: Element,
}

impl Opclass {
    /// About how many numbers a distance takes of values of so many dimensions: a word of bits is one, and few components of a sparse vector are
    /// not zero.
    pub fn numbers(&self, dimensions: u32) -> u32 {
        match self.element {
            Element::Vector | Element::Halfvec => dimensions,
            Element::Bit => dimensions / u32::BITS,
            Element::Sparsevec => dimensions.min(USUAL_COMPONENTS),
        }
    }

    /// Whether its indexes have codes (`storage::layout`).
    pub fn is_coded(&self) -> bool {
        matches!(self.element, Element::Vector | Element::Halfvec) && self.metric != Metric::L1
    }

    /// The operator class of an index's column.
    ///
    /// # Safety
    /// `index` is an open index of this access method.
    pub unsafe fn of(index: pg_sys::Relation) -> Opclass {
        // SAFETY: the operator class has support function 1, which takes and returns `internal`: amvalidate and the owner of
        // the operator class, a superuser, answer for that. It returns one of the statics below.
        unsafe {
            let function = pg_sys::index_getprocinfo(index, 1, SUPPORT);
            let opclass = pg_sys::FunctionCall1Coll(function, pg_sys::InvalidOid, pg_sys::Datum::from(0));
            *opclass.cast_mut_ptr::<Opclass>()
        }
    }
}

/// Defines support functions, each of which returns its operator class.
macro_rules! support_functions {
    ($($function:ident: $element:ident, $metric:ident;)*) => {$(
        sql_function! {
            /// The support function of an operator class.
            fn $function() -> pg_sys::Datum {
                static OPCLASS: Opclass = Opclass { metric: Metric::$metric, element: Element::$element };
                Ok(std::ptr::from_ref(&OPCLASS).into())
            }
        }
    )*};
}

support_functions! {
    hnsw_vector_l2_support: Vector, L2;
    hnsw_vector_ip_support: Vector, InnerProduct;
    hnsw_vector_cosine_support: Vector, Cosine;
    hnsw_vector_l1_support: Vector, L1;
    hnsw_halfvec_l2_support: Halfvec, L2;
    hnsw_halfvec_ip_support: Halfvec, InnerProduct;
    hnsw_halfvec_cosine_support: Halfvec, Cosine;
    hnsw_halfvec_l1_support: Halfvec, L1;
    hnsw_sparsevec_l2_support: Sparsevec, L2;
    hnsw_sparsevec_ip_support: Sparsevec, InnerProduct;
    hnsw_sparsevec_cosine_support: Sparsevec, Cosine;
    hnsw_sparsevec_l1_support: Sparsevec, L1;
    hnsw_bit_hamming_support: Bit, Hamming;
    hnsw_bit_jaccard_support: Bit, Jaccard;
}
