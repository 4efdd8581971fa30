//! `hnswhandler` and `ivfflathandler`: properties of the access methods and their callbacks.

use pgrx::{PgBox, pg_guard, pg_sys};

use super::method::Method;
use super::{build, cost, insert, options, scan, vacuum, validate};
use crate::types::call::sql_function;

sql_function! {
    /// The handler of `hnsw`.
    fn hnswhandler() -> pg_sys::Datum {
        Ok(routine(Method::Hnsw).into())
    }

    /// The handler of `ivfflat`.
    fn ivfflathandler() -> pg_sys::Datum {
        Ok(routine(Method::Ivfflat).into())
    }
}

fn routine(method: Method) -> *mut pg_sys::IndexAmRoutine {
    // SAFETY: a node of this tag and size.
    let mut am = unsafe { PgBox::<pg_sys::IndexAmRoutine>::alloc_node(pg_sys::NodeTag::T_IndexAmRoutine) };
    // Strategies are the ordering operator of a class of vectors, or the comparisons of a class of
    // filter columns.
    am.amstrategies = 0;
    am.amsupport = method.support_functions();
    am.amcanorderbyop = true;
    am.amcanmulticol = method == Method::Hnsw;
    am.amsearcharray = true;
    am.amsearchnulls = true;
    am.amoptionalkey = true;
    am.amusemaintenanceworkmem = true;
    am.amparallelvacuumoptions = pg_sys::VACUUM_OPTION_PARALLEL_BULKDEL as u8;
    am.amkeytype = pg_sys::InvalidOid;

    am.ambuild = Some(build::ambuild);
    am.ambuildempty = Some(build::ambuildempty);
    am.ambuildphasename = Some(build::ambuildphasename);
    am.aminsert = Some(insert::aminsert);
    am.ambulkdelete = Some(vacuum::ambulkdelete);
    am.amvacuumcleanup = Some(vacuum::amvacuumcleanup);
    am.amcostestimate = Some(cost::amcostestimate);
    am.amoptions = match method {
        Method::Hnsw => Some(hnsw_options),
        Method::Ivfflat => Some(ivfflat_options),
    };
    am.amvalidate = Some(validate::amvalidate);
    am.amadjustmembers = Some(validate::amadjustmembers);
    am.ambeginscan = Some(scan::ambeginscan);
    am.amrescan = Some(scan::amrescan);
    am.amgettuple = Some(scan::amgettuple);
    am.amendscan = Some(scan::amendscan);
    am.into_pg()
}

#[pg_guard]
unsafe extern "C-unwind" fn hnsw_options(reloptions: pg_sys::Datum, validate: bool) -> *mut pg_sys::bytea {
    // SAFETY: PostgreSQL calls it as amoptions.
    unsafe { options::parse(Method::Hnsw, reloptions, validate) }
}

#[pg_guard]
unsafe extern "C-unwind" fn ivfflat_options(reloptions: pg_sys::Datum, validate: bool) -> *mut pg_sys::bytea {
    // SAFETY: PostgreSQL calls it as amoptions.
    unsafe { options::parse(Method::Ivfflat, reloptions, validate) }
}
