//! The crate `pgvector` with sqlx: a pool of connections that look types up by name, parameters, results, arrays, searches.

mod data;

use data::{
    COLUMNS, DIMENSIONS, Distance, OF_BITS, OF_NUMBERS, ROWS, Row, assert_index_scan, assert_mean, assert_nearest,
};
use pgvector::{Bit, HalfVector, SparseVector, Vector};
use sqlx::postgres::{PgPoolOptions, PgRow};
use sqlx::{AssertSqlSafe, Encode, PgPool, Postgres, Row as _, Type, query, query_as, query_scalar};

#[test]
fn statements_and_answers() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime
        .expect("a runtime")
        .block_on(check())
        .expect("no statement fails");
}

async fn check() -> Result<(), sqlx::Error> {
    // tests/clients.sh sets PGHOST and its like.
    let pool = PgPoolOptions::new().max_connections(3).connect("postgres://").await?;
    query("CREATE EXTENSION IF NOT EXISTS pg_alopex").execute(&pool).await?;
    let table = format!("CREATE TABLE items (id bigint PRIMARY KEY, {COLUMNS})");
    query(AssertSqlSafe(table)).execute(&pool).await?;
    let (rows, target) = data::rows();
    insert(&pool, &rows).await?;
    assert_stored(&pool, &rows).await?;

    for distance in &OF_NUMBERS {
        check_nearest(&pool, "vector", distance, target.vector(), &rows, &target).await?;
        check_nearest(&pool, "halfvec", distance, target.halfvec(), &rows, &target).await?;
        check_nearest(&pool, "sparsevec", distance, target.sparsevec(), &rows, &target).await?;
    }
    for distance in &OF_BITS {
        check_nearest(&pool, "bit", distance, target.bit(), &rows, &target).await?;
    }

    check_arrays(&pool, &rows).await?;
    check_aggregates(&pool, &rows).await?;
    check_errors(&pool).await
}

/// One row by one in a transaction, then as arrays of a column each.
async fn insert(pool: &PgPool, rows: &[Row]) -> Result<(), sqlx::Error> {
    let (single, bulk) = rows.split_at(100);
    let mut transaction = pool.begin().await?;
    for (id, row) in (1_i64..).zip(single) {
        let insert = query("INSERT INTO items VALUES ($1, $2, $3, $4, $5)")
            .bind(id)
            .bind(row.vector());
        let insert = insert.bind(row.halfvec()).bind(row.sparsevec()).bind(row.bit());
        insert.execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    let arrays = "$1::bigint[], $2::vector[], $3::halfvec[], $4::sparsevec[], $5::bit(64)[]";
    let statement = format!("INSERT INTO items SELECT * FROM unnest({arrays})");
    let insert = query(AssertSqlSafe(statement))
        .bind((101_i64..=ROWS as i64).collect::<Vec<_>>())
        .bind(bulk.iter().map(Row::vector).collect::<Vec<_>>())
        .bind(bulk.iter().map(Row::halfvec).collect::<Vec<_>>())
        .bind(bulk.iter().map(Row::sparsevec).collect::<Vec<_>>())
        .bind(bulk.iter().map(Row::bit).collect::<Vec<_>>());
    assert_eq!(insert.execute(pool).await?.rows_affected(), bulk.len() as u64);
    Ok(())
}

async fn assert_stored(pool: &PgPool, rows: &[Row]) -> Result<(), sqlx::Error> {
    type Stored = (Vector, HalfVector, SparseVector, Bit);
    let select = query_as::<_, Stored>("SELECT vector, halfvec, sparsevec, bit FROM items ORDER BY id");
    let found = select.fetch_all(pool).await?;
    let expected = rows
        .iter()
        .map(|row| (row.vector(), row.halfvec(), row.sparsevec(), row.bit()));
    assert_eq!(found, expected.collect::<Vec<_>>());
    Ok(())
}

async fn check_nearest<T>(
    pool: &PgPool,
    column: &str,
    distance: &Distance,
    parameter: T,
    rows: &[Row],
    target: &Row,
) -> Result<(), sqlx::Error>
where
    T: for<'a> Encode<'a, Postgres> + Type<Postgres> + Clone + Send + 'static,
{
    query(AssertSqlSafe(data::create_index(column, distance)))
        .execute(pool)
        .await?;
    let statement = data::nearest(column, distance);
    let mut transaction = pool.begin().await?;
    query("SET LOCAL hnsw.ef_search = 1000")
        .execute(&mut *transaction)
        .await?;
    query("SET LOCAL enable_seqscan = off")
        .execute(&mut *transaction)
        .await?;
    let explain = query_scalar(AssertSqlSafe(format!("EXPLAIN {statement}"))).bind(parameter.clone());
    assert_index_scan(&explain.fetch_all(&mut *transaction).await?, column, distance);
    let found = query_as(AssertSqlSafe(statement))
        .bind(parameter)
        .fetch_all(&mut *transaction)
        .await?;
    assert_nearest(&found, rows, target, distance);
    transaction.commit().await
}

async fn check_arrays(pool: &PgPool, rows: &[Row]) -> Result<(), sqlx::Error> {
    let found: PgRow = query(
        "SELECT array_agg(vector ORDER BY id), array_agg(halfvec ORDER BY id), array_agg(bit ORDER BY id) FROM items",
    )
    .fetch_one(pool)
    .await?;
    assert_eq!(
        found.try_get::<Vec<Vector>, _>(0)?,
        rows.iter().map(Row::vector).collect::<Vec<_>>()
    );
    assert_eq!(
        found.try_get::<Vec<HalfVector>, _>(1)?,
        rows.iter().map(Row::halfvec).collect::<Vec<_>>()
    );
    assert_eq!(
        found.try_get::<Vec<Bit>, _>(2)?,
        rows.iter().map(Row::bit).collect::<Vec<_>>()
    );
    Ok(())
}

async fn check_aggregates(pool: &PgPool, rows: &[Row]) -> Result<(), sqlx::Error> {
    let (mean, total): (Vector, Vector) = query_as("SELECT avg(vector), sum(vector) FROM items")
        .fetch_one(pool)
        .await?;
    assert_mean(mean.as_slice(), rows);
    assert_mean(
        &total.as_slice().iter().map(|sum| sum / ROWS as f32).collect::<Vec<_>>(),
        rows,
    );
    Ok(())
}

async fn check_errors(pool: &PgPool) -> Result<(), sqlx::Error> {
    let short = Vector::from(vec![1.0, 2.0, 3.0]);
    let insert = query("INSERT INTO items (id, vector) VALUES (0, $1)").bind(short);
    let error = insert.execute(pool).await.expect_err("the dimensions differ");
    let error = error.as_database_error().expect("an error of the server");
    assert_eq!(error.code().as_deref(), Some("22000"));
    assert_eq!(error.message(), format!("expected {DIMENSIONS} dimensions, not 3"));
    Ok(())
}
