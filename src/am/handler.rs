//! `hnswhandler`: properties of the access method and its callbacks.

use pgrx::{PgBox, pg_guard, pg_sys};

use super::opclass::RETIRED;
use super::{build, cost, insert, options, scan, vacuum, validate};
use crate::types::call::sql_function;

sql_function! {
    /// The handler of the access method.
    fn hnswhandler() -> pg_sys::Datum {
        Ok(routine().into())
    }
}

fn routine() -> *mut pg_sys::IndexAmRoutine {
    // SAFETY: a node of this tag and size.
    let mut am = unsafe { PgBox::<pg_sys::IndexAmRoutine>::alloc_node(pg_sys::NodeTag::T_IndexAmRoutine) };
    // Strategies are the ordering operator of a class of vectors, or the comparisons of a class of
    // filter columns.
    am.amstrategies = 0;
    am.amsupport = RETIRED;
    am.amcanorderbyop = true;
    am.amcanmulticol = true;
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
    am.amoptions = Some(amoptions);
    am.amvalidate = Some(validate::amvalidate);
    am.amadjustmembers = Some(validate::amadjustmembers);
    am.ambeginscan = Some(scan::ambeginscan);
    am.amrescan = Some(scan::amrescan);
    am.amgettuple = Some(scan::amgettuple);
    am.amendscan = Some(scan::amendscan);
    am.into_pg()
}

#[pg_guard]
unsafe extern "C-unwind" fn amoptions(reloptions: pg_sys::Datum, validate: bool) -> *mut pg_sys::bytea {
    // SAFETY: PostgreSQL calls it as amoptions.
    unsafe { options::parse(reloptions, validate) }
}
