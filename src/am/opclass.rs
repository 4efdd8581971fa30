//! What an operator class tells the access method: its support function 1 returns the metric and the type of the values.

use pgrx::pg_sys;

use crate::distance::Metric;
use crate::storage::meta::Element;
use crate::types::call::sql_function;

/// The number of the support function.
const SUPPORT: u16 = 1;

/// An operator class.
#[derive(Debug, Clone, Copy)]
pub struct Opclass {
    /// Its distance.
    pub metric: Metric,
    /// The type of its values.
    pub element: Element,
}

static VECTOR_L2: Opclass = vector(Metric::L2);
static VECTOR_IP: Opclass = vector(Metric::InnerProduct);
static VECTOR_COSINE: Opclass = vector(Metric::Cosine);
static VECTOR_L1: Opclass = vector(Metric::L1);

const fn vector(metric: Metric) -> Opclass {
    Opclass {
        metric,
        element: Element::Vector,
    }
}

impl Opclass {
    /// The operator class of an index's column.
    ///
    /// # Safety
    /// `index` is an open index of this access method.
    pub unsafe fn of(index: pg_sys::Relation) -> Opclass {
        // SAFETY: the operator class has support function 1, which takes and returns `internal`: amvalidate and the owner of
        // the operator class, a superuser, answer for that. It returns one of the statics above.
        unsafe {
            let function = pg_sys::index_getprocinfo(index, 1, SUPPORT);
            let opclass = pg_sys::FunctionCall1Coll(function, pg_sys::InvalidOid, pg_sys::Datum::from(0));
            *opclass.cast_mut_ptr::<Opclass>()
        }
    }
}

fn datum(opclass: &'static Opclass) -> pg_sys::Datum {
    std::ptr::from_ref(opclass).into()
}

sql_function! {
    /// Support function of `vector_l2_ops`.
    fn hnsw_vector_l2_support() -> pg_sys::Datum { Ok(datum(&VECTOR_L2)) }

    /// Support function of `vector_ip_ops`.
    fn hnsw_vector_ip_support() -> pg_sys::Datum { Ok(datum(&VECTOR_IP)) }

    /// Support function of `vector_cosine_ops`.
    fn hnsw_vector_cosine_support() -> pg_sys::Datum { Ok(datum(&VECTOR_COSINE)) }

    /// Support function of `vector_l1_ops`.
    fn hnsw_vector_l1_support() -> pg_sys::Datum { Ok(datum(&VECTOR_L1)) }
}
