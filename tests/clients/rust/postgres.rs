//! The crate `pgvector` with `postgres`: binary parameters and results, COPY, arrays, searches, settings, aggregates.

mod data;

use data::{
    COLUMNS, DIMENSIONS, Distance, OF_BITS, OF_NUMBERS, ROWS, Row, assert_index_scan, assert_mean, assert_nearest,
};
use pgvector::{Bit, HalfVector, SparseVector, Vector};
use postgres::binary_copy::BinaryCopyInWriter;
use postgres::types::{FromSql, ToSql, Type};
use postgres::{Client, Config, NoTls};

#[test]
fn statements_and_answers() {
    let mut client = connect();
    client
        .batch_execute(&format!(
            "CREATE EXTENSION IF NOT EXISTS pg_alopex; CREATE TABLE items (id bigint PRIMARY KEY, {COLUMNS});"
        ))
        .expect("the table is created");
    let (rows, query) = data::rows();
    copy(&mut client, &rows[..200]);
    insert(&mut client, &rows[200..], 201);
    assert_stored(&mut client, &rows);

    for distance in &OF_NUMBERS {
        check_nearest(&mut client, "vector", distance, &query.vector(), &rows, &query);
        check_nearest(&mut client, "halfvec", distance, &query.halfvec(), &rows, &query);
        check_nearest(&mut client, "sparsevec", distance, &query.sparsevec(), &rows, &query);
    }
    for distance in &OF_BITS {
        check_nearest(&mut client, "bit", distance, &query.bit(), &rows, &query);
    }

    check_array(&mut client, "vector", vec![rows[0].vector(), rows[1].vector()]);
    check_array(&mut client, "halfvec", vec![rows[0].halfvec(), rows[1].halfvec()]);
    check_array(&mut client, "sparsevec", vec![rows[0].sparsevec(), rows[1].sparsevec()]);
    check_array(&mut client, "bit(64)", vec![rows[0].bit(), rows[1].bit()]);
    check_settings(&mut client, &query);
    check_aggregates(&mut client, &rows);
    check_errors(&mut client);
}

fn connect() -> Client {
    let setting = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("tests/clients.sh sets {name}"));
    Config::new()
        .host(&setting("PGHOST"))
        .port(setting("PGPORT").parse().expect("a number of a port"))
        .user(&setting("PGUSER"))
        .dbname(&setting("PGDATABASE"))
        .connect(NoTls)
        .expect("the server answers")
}

/// A type of the extension, as the server names it.
fn type_of(client: &mut Client, name: &str) -> Type {
    let statement = client
        .prepare(&format!("SELECT NULL::{name}"))
        .expect("the type is there");
    statement.columns()[0].type_().clone()
}

/// Stores the first rows, by a binary COPY.
fn copy(client: &mut Client, rows: &[Row]) {
    let types = ["bigint", "vector", "halfvec", "sparsevec", "bit"].map(|name| type_of(client, name));
    let writer = client
        .copy_in("COPY items FROM STDIN (FORMAT binary)")
        .expect("COPY starts");
    let mut writer = BinaryCopyInWriter::new(writer, &types);
    for (id, row) in (1_i64..).zip(rows) {
        let values: [&(dyn ToSql + Sync); 5] = [&id, &row.vector(), &row.halfvec(), &row.sparsevec(), &row.bit()];
        writer.write(&values).expect("a row is sent");
    }
    assert_eq!(writer.finish().expect("COPY ends"), rows.len() as u64);
}

fn insert(client: &mut Client, rows: &[Row], first: i64) {
    let statement = client
        .prepare("INSERT INTO items VALUES ($1, $2, $3, $4, $5)")
        .expect("it is prepared");
    for (id, row) in (first..).zip(rows) {
        let values: [&(dyn ToSql + Sync); 5] = [&id, &row.vector(), &row.halfvec(), &row.sparsevec(), &row.bit()];
        assert_eq!(client.execute(&statement, &values).expect("a row is inserted"), 1);
    }
}

fn assert_stored(client: &mut Client, rows: &[Row]) {
    let found = client.query("SELECT vector, halfvec, sparsevec, bit FROM items ORDER BY id", &[]);
    let found = found.expect("an answer");
    assert_eq!(found.len(), rows.len());
    for (found, row) in found.iter().zip(rows) {
        assert_eq!(found.get::<_, Vector>(0), row.vector());
        assert_eq!(found.get::<_, HalfVector>(1), row.halfvec());
        assert_eq!(found.get::<_, SparseVector>(2), row.sparsevec());
        assert_eq!(found.get::<_, Bit>(3), row.bit());
    }
}

fn check_nearest(
    client: &mut Client,
    column: &str,
    distance: &Distance,
    parameter: &(dyn ToSql + Sync),
    rows: &[Row],
    query: &Row,
) {
    let statement = data::nearest(column, distance);
    client
        .batch_execute(&data::create_index(column, distance))
        .expect("the index is built");
    let mut transaction = client.transaction().expect("a transaction");
    let set = "SET LOCAL hnsw.ef_search = 1000; SET LOCAL enable_seqscan = off";
    transaction.batch_execute(set).expect("they are settings");
    let plan = transaction
        .query(&format!("EXPLAIN {statement}"), &[parameter])
        .expect("a plan");
    assert_index_scan(
        &plan.iter().map(|line| line.get(0)).collect::<Vec<_>>(),
        column,
        distance,
    );
    let found = transaction.query(&statement, &[parameter]).expect("an answer");
    let found: Vec<_> = found.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_nearest(&found, rows, query, distance);
}

fn check_array<T>(client: &mut Client, name: &str, values: Vec<T>)
where
    T: ToSql + Sync + for<'a> FromSql<'a> + PartialEq + std::fmt::Debug,
{
    let array = client
        .query_one(&format!("SELECT $1::{name}[]"), &[&values])
        .expect("an answer");
    assert_eq!(array.get::<_, Vec<T>>(0), values);
}

fn check_settings(client: &mut Client, query: &Row) {
    client
        .batch_execute("SET enable_seqscan = off; SET hnsw.ef_search = 10")
        .expect("they are settings");
    let statement = "SELECT id FROM items ORDER BY vector <-> $1 LIMIT 100";
    for (mode, expected) in [
        ("off", 1..=10),
        ("relaxed_order", 100..=100),
        ("strict_order", 100..=100),
    ] {
        client
            .batch_execute(&format!("SET hnsw.iterative_scan = {mode}"))
            .expect("it is a setting");
        let found = client.query(statement, &[&query.vector()]).expect("an answer");
        assert!(expected.contains(&found.len()), "{mode}: {} rows", found.len());
    }
}

fn check_aggregates(client: &mut Client, rows: &[Row]) {
    let query = "SELECT avg(vector), sum(vector), count(*) FROM items";
    let row = client.query_one(query, &[]).expect("an answer");
    assert_mean(row.get::<_, Vector>(0).as_slice(), rows);
    let total = row.get::<_, Vector>(1);
    assert_mean(
        &total.as_slice().iter().map(|sum| sum / ROWS as f32).collect::<Vec<_>>(),
        rows,
    );
    assert_eq!(row.get::<_, i64>(2), ROWS as i64);
}

fn check_errors(client: &mut Client) {
    let short = Vector::from(vec![1.0, 2.0, 3.0]);
    let error = client.execute("INSERT INTO items (id, vector) VALUES (0, $1)", &[&short]);
    let error = error.expect_err("the dimensions differ");
    let error = error.as_db_error().expect("an error of the server");
    assert_eq!(error.code().code(), "22000");
    assert_eq!(error.message(), format!("expected {DIMENSIONS} dimensions, not 3"));
}
