//! `hnsw_recall()`: the share of the nearest rows that an index finds, compared with an exact
//! search for each query.
//!
//! Both searches are queries that run as the table's owner ([`RunAs`]), for a caller who may read
//! all of the table, because planning a query evaluates parts of the table's indexes, of this one
//! and of others. Under row security policies a caller measures the rows that they leave, under the
//! caller's own name, as long as the index has no code of its own.

use std::ffi::CStr;

use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;
use pgrx::spi::{SpiClient, SpiError, SpiResult, SpiTupleTable};
use pgrx::{AnyArray, pg_sys};

use super::run_as::RunAs;
use super::{Audience, Concurrent, Inspected};
use crate::error::{Error, Result};
use crate::pg_error::{or_raise, relation_name};
use crate::storage::PageStore;
use crate::storage::buffer_store::{BufferStore, Mode};
use crate::storage::format::META_BLOCK;
use crate::storage::meta;

/// The share of the k nearest rows that queries find by an index, with the settings of the session.
/// All rows as near as the kth count.
#[pg_extern(sql = false)]
fn hnsw_recall(index: pg_sys::Oid, queries: AnyArray, k: i32) -> Option<f64> {
    recall(index, queries, k).unwrap_or_else(|error| error.raise())
}

fn recall(index: pg_sys::Oid, queries: AnyArray, k: i32) -> Result<Option<f64>> {
    if k < 1 {
        return Err(Error::ArgumentOutOfRange {
            name: "k",
            allowed: "at least 1",
        });
    }
    let opened = Inspected::open(index, Concurrent::Everything, Audience::Anyone)?;
    // SAFETY: PostgreSQL passes an array of this type, and the index is open.
    let (value, queries) = unsafe { queries_for(opened.index, queries)? };
    // SAFETY: both are open and locked.
    let run_as = unsafe {
        match may_read_all(opened.heap) {
            Ok(()) => RunAs::owner(opened.heap),
            Err(error) if has_code(opened.index) => return Err(error),
            Err(_) => RunAs::caller(),
        }
    };
    // A measurement asks no queries of users.
    run_as.set(c"hnsw.sample_queries", c"0");
    run_as.set(c"hnsw.enable_bitmap_filter", c"off");
    // The planner would do without an index that cannot be read.
    // SAFETY: as above.
    unsafe {
        let store = BufferStore::new(opened.index, Mode::Normal);
        or_raise(opened.index, store.read(META_BLOCK, meta::check_format));
    }
    Spi::connect_mut(|client| {
        let nearest = nearest(client, index);
        let mut measured = Measured {
            client,
            run_as: &run_as,
            nearest,
            element: value,
            k,
        };
        measured.all(&opened, &queries)
    })
}

/// Whether an index has expressions or a condition.
///
/// # Safety
/// `index` is an open index.
unsafe fn has_code(index: pg_sys::Relation) -> bool {
    // SAFETY: as the caller promises: the relation has its pg_index row.
    let has =
        |column: u32| unsafe { !pg_sys::heap_attisnull((*index).rd_indextuple, column as i32, std::ptr::null_mut()) };
    has(pg_sys::Anum_pg_index_indexprs) || has(pg_sys::Anum_pg_index_indpred)
}

/// Refuses a caller who may not read all rows and columns of a table.
///
/// # Safety
/// `heap` is an open table.
unsafe fn may_read_all(heap: pg_sys::Relation) -> Result<()> {
    // SAFETY: as the caller promises.
    unsafe {
        let (table, user, owner) = ((*heap).rd_id, pg_sys::GetUserId(), (*(*heap).rd_rel).relowner);
        if user == owner {
            return Ok(()); // The queries run as this user.
        }
        let select = pg_sys::AclMode::from(pg_sys::ACL_SELECT);
        let any = pg_sys::AclMaskHow::ACLMASK_ALL;
        if pg_sys::pg_class_aclcheck(table, user, select) != pg_sys::AclResult::ACLCHECK_OK
            && pg_sys::pg_attribute_aclcheck_all(table, user, select, any) != pg_sys::AclResult::ACLCHECK_OK
        {
            let relation = relation_name(heap);
            return Err(Error::PermissionDenied { relation });
        }
        if pg_sys::check_enable_rls(table, pg_sys::InvalidOid, false)
            == pg_sys::CheckEnableRlsResult::RLS_ENABLED as i32
        {
            let relation = relation_name(heap);
            return Err(Error::RowSecurity { relation });
        }
    }
    Ok(())
}

/// The element type of an array, and its elements that are not NULL.
///
/// # Safety
/// `array` is an array of the type that it names.
unsafe fn elements(array: AnyArray) -> (pg_sys::Oid, Vec<pg_sys::Datum>) {
    // SAFETY: as the caller promises; deconstruct_array allocates in the call's memory context.
    unsafe {
        let array = pg_sys::pg_detoast_datum(array.datum().cast_mut_ptr()).cast::<pg_sys::ArrayType>();
        let element = (*array).elemtype;
        let (mut length, mut by_value, mut align) = (0, false, 0);
        pg_sys::get_typlenbyvalalign(element, &mut length, &mut by_value, &mut align);
        let (mut values, mut nulls, mut count) = (std::ptr::null_mut(), std::ptr::null_mut(), 0);
        pg_sys::deconstruct_array(
            array,
            element,
            i32::from(length),
            by_value,
            align,
            &mut values,
            &mut nulls,
            &mut count,
        );
        let queries = (0..count as usize).filter(|&i| !*nulls.add(i)).map(|i| *values.add(i));
        (element, queries.collect())
    }
}

/// The type that an index is for, and the elements of an array, without NULLs. They have to be of
/// that type or of a domain over it: a cast from another type would be the caller's code, and run
/// as the owner.
///
/// # Safety
/// `array` is an array, and `index` is open; its first column is the vector.
pub(super) unsafe fn queries_for(
    index: pg_sys::Relation,
    array: AnyArray,
) -> Result<(pg_sys::Oid, Vec<pg_sys::Datum>)> {
    // SAFETY: as the caller promises; called in a transaction.
    unsafe {
        let ((element, queries), value) = (elements(array), *(*index).rd_opcintype);
        match pg_sys::getBaseType(element) == value {
            true => Ok((value, queries)),
            false => Err(Error::ArgumentOutOfRange {
                name: "queries",
                allowed: "an array of the type that the index is for",
            }),
        }
    }
}

/// The query for the nearest rows by an index, with their distances. Distances of rows without a
/// vector are NULL and come last. The column is cast to the type that the operator is for: of a
/// domain, the parser would prefer an operator for this domain, which anybody may have made who may
/// make objects in the operator's schema.
fn nearest(client: &mut SpiClient<'_>, index: pg_sys::Oid) -> String {
    let query = "SELECT format(
            'SELECT %1$s OPERATOR(%2$s) $1 AS distance FROM %3$s WHERE %4$s ORDER BY %1$s OPERATOR(%2$s) $1 LIMIT $2',
            format('(%s)::%I.%I', pg_get_indexdef(i.indexrelid, 1, false), tn.nspname, t.typname),
            format('%I.%s', n.nspname, o.oprname),
            i.indrelid::regclass,
            coalesce(pg_get_expr(i.indpred, i.indrelid), 'true'))
        FROM pg_index i
        JOIN pg_opclass oc ON oc.oid = i.indclass[0]
        JOIN pg_amop p ON p.amopfamily = oc.opcfamily AND p.amoplefttype = oc.opcintype AND p.amoprighttype = oc.opcintype
            AND p.amopstrategy = 1
        JOIN pg_operator o ON o.oid = p.amopopr
        JOIN pg_namespace n ON n.oid = o.oprnamespace
        JOIN pg_type t ON t.oid = oc.opcintype
        JOIN pg_namespace tn ON tn.oid = t.typnamespace
        WHERE i.indexrelid = $1";
    one(client.update(query, None, &[index.into()])).expect("an index has an operator class with an operator")
}

/// The first column of a query's one row.
fn one<T: FromDatum + IntoDatum>(table: SpiResult<SpiTupleTable<'_>>) -> Option<T> {
    table.and_then(|table| table.first().get_one()).unwrap_or_else(failed)
}

/// A measurement under way.
struct Measured<'m, 'conn> {
    client: &'m mut SpiClient<'conn>,
    run_as: &'m RunAs,
    nearest: String,
    element: pg_sys::Oid,
    k: i32,
}

impl Measured<'_, '_> {
    fn all(&mut self, opened: &Inspected, queries: &[pg_sys::Datum]) -> Result<Option<f64>> {
        let (mut rows, mut hits) = (0, 0);
        for &query in queries {
            pgrx::check_for_interrupts!();
            self.choose(false);
            let exact = format!("SELECT count(distance), max(distance) FROM ({}) exact", self.nearest);
            let (count, farthest) = self.exact(&exact, query);
            self.choose(true);
            if rows == 0 && !self.uses(opened, query) {
                // SAFETY: the index is open.
                let relation = unsafe { relation_name(opened.index) };
                return Err(Error::IndexNotUsed { relation });
            }
            rows += count;
            hits += farthest.map_or(0, |farthest| self.found(query, farthest)).min(count);
        }
        Ok((rows > 0).then(|| hits as f64 / rows as f64))
    }

    /// Makes the planner use the index, or do without it.
    fn choose(&self, index: bool) {
        let of = |on: bool| if on { c"on" } else { c"off" };
        let settings: [(&CStr, bool); 3] = [
            (c"enable_seqscan", !index),
            (c"enable_sort", !index),
            (c"enable_indexscan", index),
        ];
        for (name, on) in settings {
            self.run_as.set(name, of(on));
        }
    }

    /// Runs a query with the parameters vector, `k` and perhaps a distance.
    fn run(&mut self, sql: &str, query: pg_sys::Datum, farthest: Option<f64>) -> SpiResult<SpiTupleTable<'_>> {
        // SAFETY: the datum is a value of the type, and outlives the query.
        let query = unsafe { DatumWithOid::new(query, self.element) };
        let mut arguments = vec![query, self.k.into()];
        arguments.extend(farthest.map(DatumWithOid::from));
        self.client.update(sql, None, &arguments)
    }

    /// The number of rows, and the distance of the farthest row.
    fn exact(&mut self, sql: &str, query: pg_sys::Datum) -> (i64, Option<f64>) {
        let row = self.run(sql, query, None).and_then(|table| table.first().get_two());
        let (count, farthest): (Option<i64>, _) = row.unwrap_or_else(failed);
        (count.unwrap_or(0), farthest)
    }

    /// Number of rows that the index finds within the distance `farthest`.
    fn found(&mut self, query: pg_sys::Datum, farthest: f64) -> i64 {
        let sql = format!(
            "SELECT count(*) FILTER (WHERE distance <= $3) FROM ({}) found",
            self.nearest
        );
        one(self.run(&sql, query, Some(farthest))).unwrap_or(0)
    }

    /// Whether the planner uses the index.
    fn uses(&mut self, opened: &Inspected, query: pg_sys::Datum) -> bool {
        let explain = format!("EXPLAIN (FORMAT json) {}", self.nearest);
        let plan = self.run(&explain, query, None);
        let plan = plan
            .and_then(|table| table.first().get_datum_by_ordinal(1))
            .unwrap_or_else(failed);
        // SAFETY: EXPLAIN returns one value of type json, which lives as long as the connection;
        // the index is open.
        let (plan, name) = unsafe { (DatumWithOid::new(plan, pg_sys::JSONOID), relation_name(opened.index)) };
        let sql = r#"SELECT jsonb_path_exists($1::jsonb, '$.**."Index Name" ? (@ == $name)', jsonb_build_object('name', $2))"#;
        one(self.client.update(sql, None, &[plan, name.into()])).unwrap_or(false)
    }
}

/// Reports a query that could not be run.
fn failed<T>(error: SpiError) -> T {
    panic!("a query of hnsw_recall() failed: {error}")
}
