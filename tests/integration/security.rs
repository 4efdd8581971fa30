//! What users without privileges get from the extension: its objects, its errors, and nothing else.

use postgres::Client;
use postgres::error::DbError;

use crate::cluster::{Cluster, extension};
use crate::data::run;

/// The error of a statement that fails.
fn error_of(client: &mut Client, sql: &str) -> DbError {
    let error = client.batch_execute(sql).expect_err(sql);
    error
        .as_db_error()
        .unwrap_or_else(|| panic!("{sql}: {error:?}"))
        .clone()
}

fn one<T>(client: &mut Client, sql: &str) -> T
where
    T: for<'row> postgres::types::FromSql<'row>,
{
    client
        .query_one(sql, &[])
        .unwrap_or_else(|error| panic!("{sql}: {error:?}"))
        .get(0)
}

/// The server's environment has `RUST_BACKTRACE=1`, as that of every server of these tests.
#[test]
fn errors_have_no_backtraces() {
    let cluster = Cluster::new();
    let mut client = cluster.client();
    // An error of PostgreSQL below the extension, one of PL/pgSQL below a build, and one of the
    // extension.
    run(
        &mut client,
        "CREATE TABLE items (id int, embedding vector(3));
         INSERT INTO items VALUES (1, '[1,2,3]');
         CREATE FUNCTION fails(v vector) RETURNS vector(3) LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RAISE ''no''; END'",
    );
    for (sql, code) in [
        ("SELECT '[1]'::vector('a')", "22P02"),
        (
            "CREATE INDEX ON items USING hnsw ((fails(embedding)::vector(3)) vector_l2_ops)",
            "P0001",
        ),
        ("SELECT '[1]'::vector <-> '[1,2]'", "22000"),
    ] {
        let error = error_of(&mut client, sql);
        assert_eq!((error.code().code(), error.detail()), (code, None), "{sql}");
    }
    let log = cluster.log();
    assert!(!log.contains("stack backtrace") && !log.contains(".rs:"), "{log}");
}

#[test]
fn a_database_without_plpgsql_has_the_whole_extension() {
    let cluster = Cluster::empty(&crate::cluster::pg_config(), &[]);
    cluster.start();
    let mut client = cluster.client();
    run(&mut client, "DROP EXTENSION plpgsql");
    cluster.create_extension();
    run(
        &mut client,
        "CREATE TABLE items AS SELECT n AS id, ARRAY[n % 7, n % 5, n]::vector(3) AS embedding FROM generate_series(1, 300) n;
         CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops)",
    );
    let recall: f64 = one(
        &mut client,
        "SELECT hnsw_recall('items_embedding', ARRAY['[1,2,3]'::vector])",
    );
    assert!(recall > 0.9, "{recall}");
}

/// The extension is trusted: users who may create objects in a database may create it, and get no
/// more than its objects.
#[test]
fn the_owner_of_a_database_gets_the_extension_and_no_privileges_with_it() {
    let cluster = Cluster::empty(&crate::cluster::pg_config(), &[]);
    cluster.start();
    let mut admin = cluster.client();
    let name = extension();
    run(&mut admin, "CREATE ROLE plain LOGIN");
    run(&mut admin, "CREATE DATABASE app OWNER plain");
    let mut client = cluster.client_of("app");
    run(
        &mut client,
        &format!("SET SESSION AUTHORIZATION plain; CREATE EXTENSION {name}"),
    );
    // Its objects are the superuser's, and run with the rights of their caller, with no settings of
    // their own.
    let members = "FROM pg_depend JOIN pg_proc p ON p.oid = objid
        WHERE deptype = 'e' AND classid = 'pg_proc'::regclass AND refclassid = 'pg_extension'::regclass
            AND refobjid = (SELECT oid FROM pg_extension WHERE extname <> 'plpgsql')";
    let odd: i64 = one(
        &mut client,
        &format!(
            "SELECT count(*) {members}
                AND (prosecdef OR proconfig IS NOT NULL OR proowner <> 10 OR proleakproof
                    OR prolang NOT IN (SELECT oid FROM pg_language WHERE lanname IN ('c', 'internal')))"
        ),
    );
    assert_eq!(odd, 0);
    // The owner of the extension changes none of them.
    for sql in [
        "CREATE OR REPLACE FUNCTION vector_dims(vector) RETURNS integer LANGUAGE sql AS 'SELECT 1'",
        "ALTER FUNCTION vector_dims(vector) OWNER TO plain",
        "ALTER FUNCTION vector_dims(vector) SECURITY DEFINER",
        "ALTER FUNCTION vector_dims(vector) LEAKPROOF",
        "ALTER TYPE vector OWNER TO plain",
        "ALTER TYPE vector SET (RECEIVE = int4recv)",
        "ALTER OPERATOR <-> (vector, vector) SET (RESTRICT = NONE)",
        "ALTER OPERATOR FAMILY vector_l2_ops USING hnsw ADD OPERATOR 2 < (vector, vector)",
        "CREATE OPERATOR CLASS mine FOR TYPE vector USING hnsw AS OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops,
            FUNCTION 1 hnsw_vector_l2_support(internal)",
        "CREATE ACCESS METHOD mine TYPE INDEX HANDLER hnswhandler",
        "CREATE FUNCTION mine(internal) RETURNS internal LANGUAGE c AS '$libdir/pg_alopex', 'hnswhandler'",
        "CREATE CAST (vector AS text) WITH FUNCTION vector_dims(vector)",
        "LOAD 'pg_alopex.so'",
        "UPDATE pg_opclass SET opcname = opcname",
        "COMMENT ON ACCESS METHOD hnsw IS 'mine'",
        &format!("ALTER EXTENSION {name} DROP FUNCTION vector_dims(vector)"),
    ] {
        let code = error_of(&mut client, sql).code().code().to_owned();
        assert!(
            ["42501", "42P17", "42883", "58P01"].contains(&code.as_str()),
            "{sql}: {code}"
        );
    }
    // A NULL is the one value of the type `internal` that SQL has: no function crashes by it.
    let rows = client
        .query(
            &format!(
                "SELECT format('SELECT %s(%s) IS NULL', p.oid::regproc, array_to_string(array_fill('NULL'::text, ARRAY[pronargs::int]), ', '))
                    {members} AND prokind = 'f' AND 'internal'::regtype = ANY (proargtypes)"
            ),
            &[],
        )
        .expect("the functions");
    assert!(rows.len() > 10, "{}", rows.len());
    for row in rows {
        // An error, or NULL.
        let _ = client.batch_execute(row.get(0));
    }
    assert_eq!(one::<i32>(&mut client, "SELECT vector_dims('[1,2]'::vector)"), 2);
    run(
        &mut client,
        &format!("ALTER EXTENSION {name} UPDATE; DROP EXTENSION {name}"),
    );
}
