//! The extension under the name `vector`: versions, library, names of C functions.

use std::fs;
use std::path::Path;
use std::process::Command;

use postgres::Client;

use crate::cluster::Cluster;
use crate::in_place::database::assert_same_as_new;
use crate::installation::Installation;

/// Versions that pgvector has had, by which applications ask for it.
const VERSIONS: [&str; 8] = ["0.5.0", "0.6.2", "0.7.0", "0.7.4", "0.8.0", "0.8.4", "0.8.5", "0.8.6"];

fn one(client: &mut Client, query: &str) -> String {
    client.query_one(query, &[]).expect("an answer").get(0)
}

fn installed(client: &mut Client) -> String {
    one(client, "SELECT extversion FROM pg_extension WHERE extname = 'vector'")
}

#[test]
fn versions_that_applications_ask_for_are_accepted() {
    let installation = Installation::without_vector();
    installation.take_name(&[]).expect("the name is free");
    let cluster = Cluster::empty(&installation.pg_config(), &[]);
    cluster.configure("shared_preload_libraries = 'vector'");
    cluster.start();
    let mut client = cluster.client();
    let run = |client: &mut Client, statement: &str| client.batch_execute(statement).expect("it is accepted");
    run(&mut client, "CREATE EXTENSION vector");
    assert_eq!(installed(&mut client), "0.8.5");
    let default = "SELECT default_version FROM pg_available_extensions WHERE name = 'vector'";
    assert_eq!(one(&mut client, default), "0.8.5");
    let ours = "SELECT starts_with(alopex_version(), default_version || ' (')::text FROM pg_available_extensions WHERE name = 'pg_alopex'";
    assert_eq!(one(&mut client, ours), "true");
    for version in VERSIONS {
        run(
            &mut client,
            &format!("ALTER EXTENSION vector UPDATE TO '{version}'; ALTER EXTENSION vector UPDATE TO '{version}'"),
        );
        assert_eq!(installed(&mut client), version);
        run(&mut client, "ALTER EXTENSION vector UPDATE");
        assert_eq!(installed(&mut client), "0.8.5");
        run(
            &mut client,
            &format!("DROP EXTENSION vector; CREATE EXTENSION vector VERSION '{version}'"),
        );
        assert_eq!(installed(&mut client), version);
        assert_eq!(one(&mut client, "SELECT ('[1,2]'::vector <-> '[1,4]')::text"), "2");
        for (update, number) in [("UPDATE", "0.8.5"), ("UPDATE TO '0.8.500'", "0.8.500")] {
            run(&mut client, &format!("ALTER EXTENSION vector {update}"));
            assert_eq!(installed(&mut client), number);
        }
        run(
            &mut client,
            "SELECT FROM hnsw_index_health; DROP EXTENSION vector; CREATE EXTENSION vector",
        );
    }
    // From the first version of ours, too.
    run(
        &mut client,
        "DROP EXTENSION vector; CREATE EXTENSION vector VERSION '0.1.0'; ALTER EXTENSION vector UPDATE",
    );
    assert_eq!(installed(&mut client), "0.8.5");
    assert_same_as_new(&cluster, &mut client);
}

#[test]
fn the_library_has_both_names_and_is_loaded_once() {
    let installation = Installation::without_vector();
    installation.take_name(&[]).expect("the name is free");
    let cluster = Cluster::empty(&installation.pg_config(), &[]);
    cluster.start();
    let mut client = cluster.client();
    client
        .batch_execute("LOAD 'vector'; LOAD 'pg_alopex'; SET hnsw.ef_search = 77; CREATE EXTENSION vector")
        .expect("both names are loaded");
    assert_eq!(one(&mut client, "SHOW hnsw.ef_search"), "77");
    // The names of pgvector's C functions that ours differ from.
    for (declaration, symbol, call, expected) in [
        ("vector, vector) RETURNS float8", "l2_distance", "'[1,2]', '[4,6]'", "5"),
        (
            "vector, vector) RETURNS float8",
            "inner_product",
            "'[1,2]', '[4,6]'",
            "16",
        ),
        (
            "vector, vector) RETURNS float8",
            "cosine_distance",
            "'[1,2]', '[2,4]'",
            "0",
        ),
        ("vector, vector) RETURNS float8", "l1_distance", "'[1,2]', '[4,6]'", "7"),
        ("bit, bit) RETURNS float8", "hamming_distance", "B'101', B'110'", "2"),
        (
            "bit, bit) RETURNS float8",
            "jaccard_distance",
            "B'1010', B'1000'",
            "0.5",
        ),
        ("vector) RETURNS vector", "l2_normalize", "'[3,4]'", "[0.6,0.8]"),
        ("vector) RETURNS bit", "binary_quantize", "'[1,-1]'", "10"),
        (
            "vector, int, int) RETURNS vector",
            "subvector",
            "'[1,2,3]', 2, 2",
            "[2,3]",
        ),
        (
            "vector, int, bool) RETURNS vector",
            "vector",
            "'[1,2]', 2, true",
            "[1,2]",
        ),
        (
            "halfvec, int, bool) RETURNS halfvec",
            "halfvec",
            "'[1,2]', 2, true",
            "[1,2]",
        ),
        (
            "sparsevec, int, bool) RETURNS sparsevec",
            "sparsevec",
            "'{1:2}/3', 3, true",
            "{1:2}/3",
        ),
        (
            "int[], int, bool) RETURNS vector",
            "array_to_vector",
            "'{1,2}', 2, true",
            "[1,2]",
        ),
        (
            "real[], int, bool) RETURNS vector",
            "array_to_vector",
            "'{1.5,2}', 2, true",
            "[1.5,2]",
        ),
        (
            "float8[], int, bool) RETURNS halfvec",
            "array_to_halfvec",
            "'{1.5,2}', 2, true",
            "[1.5,2]",
        ),
        (
            "numeric[], int, bool) RETURNS sparsevec",
            "array_to_sparsevec",
            "'{1.5,0}', 2, true",
            "{1:1.5}/2",
        ),
    ] {
        let function = format!(
            "CREATE OR REPLACE FUNCTION pg_temp.called({declaration} AS '$libdir/vector', '{symbol}' LANGUAGE C STRICT"
        );
        client
            .batch_execute("DROP ROUTINE IF EXISTS pg_temp.called")
            .expect("it goes");
        client.batch_execute(&function).expect("the symbol is there");
        assert_eq!(
            one(&mut client, &format!("SELECT pg_temp.called({call})::text")),
            expected,
            "{symbol}"
        );
    }
    let refused = client
        .batch_execute(
            "CREATE FUNCTION pg_temp.other(text[], int, bool) RETURNS vector AS '$libdir/vector', 'array_to_vector' LANGUAGE C STRICT;
            SELECT pg_temp.other('{1}', 1, true)",
        )
        .expect_err("no numbers");
    assert!(
        refused
            .as_db_error()
            .is_some_and(|error| error.message() == "unsupported array type")
    );
}

#[test]
fn the_name_is_not_taken_from_pgvector() {
    let installation = Installation::without_vector();
    for file in [
        installation.library("vector"),
        installation.scripts().join("vector.control"),
    ] {
        fs::write(&file, "comment = 'not ours'").expect("a file of that name");
        let refused = installation.take_name(&[]).expect_err("the name is another's");
        assert!(refused.contains("the name vector is pgvector's"), "{refused}");
        assert_eq!(fs::read(&file).expect("it is there"), b"comment = 'not ours'");
        fs::remove_file(&file).expect("it goes");
    }
    installation.take_name(&[]).expect("the name is free");
    installation.take_name(&[]).expect("the name is ours");
}

#[test]
fn an_extension_in_c_reads_and_makes_values() {
    if Command::new("cc").arg("--version").output().is_err() {
        println!("skipped: there is no C compiler");
        return;
    }
    let installation = Installation::without_vector();
    installation.take_name(&[]).expect("the name is free");
    let library = installation.library("reverse");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/extension.c");
    let output = Command::new("cc")
        .args([
            "-shared",
            "-fPIC",
            "-O1",
            "-Wall",
            "-Wextra",
            "-Wno-unused-parameter",
            "-Wno-sign-compare",
            "-Werror",
            "-I",
        ])
        .args([&installation.headers(), Path::new(source), Path::new("-o"), &library])
        .output()
        .expect("the compiler starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));

    let cluster = Cluster::empty(&installation.pg_config(), &[]);
    cluster.start();
    let mut client = cluster.client();
    client.batch_execute("CREATE EXTENSION vector").expect("the extension");
    for (type_name, value, reversed) in [
        ("vector", "[1,-2.5,1e-30]", "[1e-30,-2.5,1]"),
        ("vector", "[7]", "[7]"),
        ("halfvec", "[1,-2.5,65504]", "[65504,-2.5,1]"),
        ("sparsevec", "{1:1,3:-2,1000:4}/1000", "{1:4,998:-2,1000:1}/1000"),
        ("sparsevec", "{}/5", "{}/5"),
    ] {
        let (function, table) = (format!("reverse_{type_name}"), format!("of_{type_name}"));
        let mut run = |statement: &str| client.batch_execute(statement).expect("it runs");
        run(&format!(
            "CREATE OR REPLACE FUNCTION {function}({type_name}) RETURNS {type_name} AS '$libdir/reverse' LANGUAGE C IMMUTABLE STRICT;
             DROP TABLE IF EXISTS {table}; CREATE TABLE {table} (v {type_name}); INSERT INTO {table} VALUES ('{value}')"
        ));
        // A constant, and a value of a row, which has a short header.
        for from in [format!("(VALUES ('{value}'::{type_name})) r (v)"), table.clone()] {
            assert_eq!(
                one(&mut client, &format!("SELECT {function}(v)::text FROM {from}")),
                reversed
            );
        }
        // The results are values like others, also of one out of line.
        let long =
            format!("INSERT INTO {table} SELECT array_agg(i % 1000 + 1)::{type_name} FROM generate_series(1, 15000) i");
        client.batch_execute(&long).expect("a row");
        let sound = format!(
            "SELECT bool_and({function}({function}(v)) = v AND {function}(v) <-> {function}(v) = 0)::text FROM {table}"
        );
        assert_eq!(one(&mut client, &sound), "true");
    }
}
