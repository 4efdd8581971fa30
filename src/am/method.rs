//! The access methods of the library: `hnsw`, and `ivfflat` for schemas and dumps that name it.
//! Both build the same graph and differ in options, settings and operator classes.

use pgrx::pg_sys;

/// An access method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `hnsw`.
    Hnsw,
    /// `ivfflat`.
    Ivfflat,
}

impl Method {
    /// The access method of an index.
    ///
    /// # Safety
    /// `index` is an open index of one of them.
    pub unsafe fn of(index: pg_sys::Relation) -> Method {
        // SAFETY: as the caller promises; the routine of an open index is in its relation.
        match unsafe { (*(*index).rd_indam).amsupport } == Method::Ivfflat.support_functions() {
            true => Method::Ivfflat,
            false => Method::Hnsw,
        }
    }

    /// Its name in SQL.
    pub fn name(self) -> &'static str {
        match self {
            Method::Hnsw => "hnsw",
            Method::Ivfflat => "ivfflat",
        }
    }

    /// The highest number of a support function. pgvector's classes have functions up to these
    /// numbers, and PostgreSQL opens no index of a class with a number that is not the method's.
    /// Ours have number 1, and in version 0.1.0 had [`super::opclass::RETIRED`].
    pub fn support_functions(self) -> u16 {
        match self {
            Method::Hnsw => 3,
            Method::Ivfflat => 5,
        }
    }
}
