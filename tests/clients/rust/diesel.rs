//! The crate `pgvector` with diesel: a table that Rust knows, rows and nulls, searches by methods
//! of columns, arrays, aggregates.

mod data;

use data::{COLUMNS, DIMENSIONS, Distance, NEAREST, OF_BITS, OF_NUMBERS, ROWS, Row};
use data::{assert_index_scan, assert_mean, assert_nearest};
use diesel::connection::SimpleConnection;
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::query_dsl::methods::LoadQuery;
use diesel::result::Error;
use diesel::sql_types::{Array, BigInt, Double, Nullable, Text};
use pgvector::{Bit, HalfVector, SparseVector, Vector, VectorExpressionMethods, sql_types};

diesel::table! {
    use diesel::sql_types::{BigInt, Nullable};
    use pgvector::sql_types::{Bit, HalfVector, SparseVector, Vector};

    items (id) {
        id -> BigInt,
        vector -> Nullable<Vector>,
        halfvec -> Nullable<HalfVector>,
        sparsevec -> Nullable<SparseVector>,
        bit -> Nullable<Bit>,
    }
}

#[derive(AsChangeset, Clone, Debug, Default, Insertable, PartialEq, Queryable, Selectable)]
#[diesel(table_name = items, treat_none_as_null = true)]
struct Item {
    id: i64,
    vector: Option<Vector>,
    halfvec: Option<HalfVector>,
    sparsevec: Option<SparseVector>,
    bit: Option<Bit>,
}

impl Item {
    fn new(id: i64, row: &Row) -> Self {
        Item {
            id,
            vector: Some(row.vector()),
            halfvec: Some(row.halfvec()),
            sparsevec: Some(row.sparsevec()),
            bit: Some(row.bit()),
        }
    }
}

#[diesel::declare_sql_function]
extern "SQL" {
    #[aggregate]
    fn sum(values: Nullable<sql_types::Vector>) -> Nullable<sql_types::Vector>;
    #[aggregate]
    fn avg(values: Nullable<sql_types::HalfVector>) -> Nullable<sql_types::HalfVector>;
}

/// A query's plan, a line in each row.
#[derive(QueryId)]
struct Explain<Q>(Q);

impl<Q> Query for Explain<Q> {
    type SqlType = Text;
}

impl<Q> RunQueryDsl<PgConnection> for Explain<Q> {}

impl<Q: QueryFragment<Pg>> QueryFragment<Pg> for Explain<Q> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("EXPLAIN ");
        self.0.walk_ast(out)
    }
}

/// A closure that makes the query of the `NEAREST` rows and distances, by a method of the column.
macro_rules! nearest {
    ($column:ident, $method:ident, $query:expr) => {
        || {
            items::table
                .select((items::id, items::$column.$method($query.$column())))
                .order(items::$column.$method($query.$column()))
                .limit(NEAREST as i64)
        }
    };
}

#[test]
fn statements_and_answers() {
    // tests/clients.sh sets PGHOST and its like.
    let mut connection = PgConnection::establish("postgres://").expect("the server answers");
    connection
        .batch_execute(&format!(
            "CREATE EXTENSION IF NOT EXISTS pg_alopex; CREATE TABLE items (id bigint PRIMARY KEY, {COLUMNS});"
        ))
        .expect("the table is created");
    let (rows, query) = data::rows();
    check(&mut connection, &rows, &query).expect("no statement fails");
    check_errors(&mut connection);
}

fn check(connection: &mut PgConnection, rows: &[Row], query: &Row) -> QueryResult<()> {
    insert(connection, rows)?;
    check_nulls(connection, rows, query)?;
    let [l2, ip, cosine, l1] = &OF_NUMBERS;
    let [hamming, jaccard] = &OF_BITS;
    let mut searches = Searches {
        connection,
        rows,
        query,
    };
    searches.check("vector", l2, nearest!(vector, l2_distance, query))?;
    searches.check("vector", ip, nearest!(vector, max_inner_product, query))?;
    searches.check("vector", cosine, nearest!(vector, cosine_distance, query))?;
    searches.check("vector", l1, nearest!(vector, l1_distance, query))?;
    searches.check("halfvec", l2, nearest!(halfvec, l2_distance, query))?;
    searches.check("halfvec", ip, nearest!(halfvec, max_inner_product, query))?;
    searches.check("halfvec", cosine, nearest!(halfvec, cosine_distance, query))?;
    searches.check("halfvec", l1, nearest!(halfvec, l1_distance, query))?;
    searches.check("sparsevec", l2, nearest!(sparsevec, l2_distance, query))?;
    searches.check("sparsevec", ip, nearest!(sparsevec, max_inner_product, query))?;
    searches.check("sparsevec", cosine, nearest!(sparsevec, cosine_distance, query))?;
    searches.check("sparsevec", l1, nearest!(sparsevec, l1_distance, query))?;
    searches.check("bit", hamming, nearest!(bit, hamming_distance, query))?;
    searches.check("bit", jaccard, nearest!(bit, jaccard_distance, query))?;
    check_sql(connection, rows, query)?;
    check_conditions(connection, rows, query)?;
    check_arrays(connection, rows)?;
    check_settings(connection, query)?;
    check_aggregates(connection, rows)
}

/// All rows in one statement, whose answer is the same rows.
fn insert(connection: &mut PgConnection, rows: &[Row]) -> QueryResult<()> {
    let expected: Vec<_> = (1_i64..).zip(rows).map(|(id, row)| Item::new(id, row)).collect();
    let statement = diesel::insert_into(items::table).values(&expected);
    let returned: Vec<Item> = statement.returning(Item::as_returning()).get_results(connection)?;
    assert_eq!(returned, expected);
    let stored: Vec<Item> = items::table.order(items::id).load(connection)?;
    assert_eq!(stored, expected);
    Ok(())
}

/// Distances of a row's four columns.
type Distances = (Option<f64>, Option<f64>, Option<f64>, Option<f64>);

/// A row of nulls beside one of values: its distances are nulls too. It becomes a row of values and
/// goes again.
fn check_nulls(connection: &mut PgConnection, rows: &[Row], query: &Row) -> QueryResult<()> {
    let id = ROWS as i64 + 1;
    let empty = Item { id, ..Item::default() };
    diesel::insert_into(items::table).values(&empty).execute(connection)?;
    let both = || items::table.filter(items::id.ge(id - 1)).order(items::id);
    let last = Item::new(id - 1, &rows[ROWS - 1]);
    assert_eq!(both().load::<Item>(connection)?, [last, empty.clone()]);
    let distances = both().select((
        items::vector.l2_distance(query.vector()),
        items::halfvec.cosine_distance(query.halfvec()),
        items::sparsevec.l1_distance(query.sparsevec()),
        items::bit.hamming_distance(query.bit()),
    ));
    let distances: Vec<Distances> = distances.load(connection)?;
    let ((Some(l2), Some(cosine), Some(l1), Some(hamming)), nulls) = (distances[0], distances[1]) else {
        panic!("{distances:?}");
    };
    let by = [
        (l2, &OF_NUMBERS[0]),
        (cosine, &OF_NUMBERS[2]),
        (l1, &OF_NUMBERS[3]),
        (hamming, &OF_BITS[0]),
    ];
    for (found, distance) in by {
        let exact = (distance.exact)(&rows[ROWS - 1], query);
        assert!((found - exact).abs() < 1e-5, "{}: {found}, {exact}", distance.operator);
    }
    assert_eq!(nulls, (None, None, None, None));

    let filled = Item::new(id, query);
    for item in [&filled, &empty] {
        let statement = diesel::update(items::table.find(id)).set(item);
        let returned: Item = statement.returning(Item::as_returning()).get_result(connection)?;
        assert_eq!(&returned, item);
    }
    let gone = diesel::delete(items::table.filter(items::vector.is_null())).execute(connection)?;
    assert_eq!(gone, 1);
    Ok(())
}

struct Searches<'a> {
    connection: &'a mut PgConnection,
    rows: &'a [Row],
    query: &'a Row,
}

impl Searches<'_> {
    /// The statement, which orders by this distance of the column, scans the index that is made
    /// for it and finds the nearest rows.
    fn check<Q>(&mut self, column: &str, distance: &Distance, statement: impl Fn() -> Q) -> QueryResult<()>
    where
        Q: QueryFragment<Pg> + QueryId + for<'a> LoadQuery<'a, PgConnection, (i64, Option<f64>)>,
    {
        self.connection.batch_execute(&data::create_index(column, distance))?;
        let (plan, found) = self.connection.transaction(|connection| {
            connection.batch_execute("SET LOCAL hnsw.ef_search = 1000; SET LOCAL enable_seqscan = off")?;
            let plan: Vec<String> = Explain(statement()).load(connection)?;
            Ok::<_, Error>((plan, statement().load(connection)?))
        })?;
        assert_index_scan(&plan, column, distance);
        let found = found
            .into_iter()
            .map(|(id, distance)| (id, distance.expect("no row is null")));
        assert_nearest(&found.collect::<Vec<_>>(), self.rows, self.query, distance);
        Ok(())
    }
}

/// A search that is written in SQL, with the vector as its parameter.
fn check_sql(connection: &mut PgConnection, rows: &[Row], query: &Row) -> QueryResult<()> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = BigInt)]
        id: i64,
        #[diesel(sql_type = Double)]
        distance: f64,
    }
    let [l2, ..] = &OF_NUMBERS;
    let statement = format!(
        "SELECT * FROM ({}) AS found (id, distance)",
        data::nearest("vector", l2)
    );
    let found = connection.transaction(|connection| {
        connection.batch_execute("SET LOCAL hnsw.ef_search = 1000")?;
        diesel::sql_query(statement)
            .bind::<sql_types::Vector, _>(query.vector())
            .load::<Found>(connection)
    })?;
    let found: Vec<_> = found.iter().map(|found| (found.id, found.distance)).collect();
    assert_nearest(&found, rows, query, l2);
    Ok(())
}

/// Rows within a distance, and rows whose vector is one of several.
fn check_conditions(connection: &mut PgConnection, rows: &[Row], query: &Row) -> QueryResult<()> {
    let [l2, ..] = &OF_NUMBERS;
    let radius = 8.0;
    let ids = (1_i64..).zip(rows);
    let within: Vec<_> = ids
        .filter(|(_, row)| (l2.exact)(row, query) < radius)
        .map(|(id, _)| id)
        .collect();
    assert!((1..ROWS).contains(&within.len()), "{} rows", within.len());
    let found = items::table.filter(items::vector.l2_distance(query.vector()).lt(radius));
    assert_eq!(
        found.select(items::id).order(items::id).load::<i64>(connection)?,
        within
    );

    let some = [4, 9, 16].map(|i| rows[i].vector());
    let found = items::table
        .filter(items::vector.eq_any(some))
        .select(items::id)
        .order(items::id);
    assert_eq!(found.load::<i64>(connection)?, [5, 10, 17]);
    let equal = items::table
        .filter(items::sparsevec.eq(rows[2].sparsevec()))
        .select(items::id);
    assert_eq!(equal.load::<i64>(connection)?, [3]);
    Ok(())
}

fn check_arrays(connection: &mut PgConnection, rows: &[Row]) -> QueryResult<()> {
    type Arrays = (Vec<Vector>, Vec<HalfVector>, Vec<SparseVector>, Vec<Bit>);
    let arrays = items::table.select((
        diesel::dsl::sql::<Array<sql_types::Vector>>("array_agg(vector ORDER BY id)"),
        diesel::dsl::sql::<Array<sql_types::HalfVector>>("array_agg(halfvec ORDER BY id)"),
        diesel::dsl::sql::<Array<sql_types::SparseVector>>("array_agg(sparsevec ORDER BY id)"),
        diesel::dsl::sql::<Array<sql_types::Bit>>("array_agg(bit ORDER BY id)"),
    ));
    let found: Arrays = arrays.first(connection)?;
    assert_eq!(found.0, rows.iter().map(Row::vector).collect::<Vec<_>>());
    assert_eq!(found.1, rows.iter().map(Row::halfvec).collect::<Vec<_>>());
    assert_eq!(found.2, rows.iter().map(Row::sparsevec).collect::<Vec<_>>());
    assert_eq!(found.3, rows.iter().map(Row::bit).collect::<Vec<_>>());
    Ok(())
}

fn check_settings(connection: &mut PgConnection, query: &Row) -> QueryResult<()> {
    connection.batch_execute("SET enable_seqscan = off; SET hnsw.ef_search = 10")?;
    for (mode, expected) in [
        ("off", 1..=10),
        ("relaxed_order", 100..=100),
        ("strict_order", 100..=100),
    ] {
        connection.batch_execute(&format!("SET hnsw.iterative_scan = {mode}"))?;
        let statement = items::table.order(items::vector.l2_distance(query.vector())).limit(100);
        let found = statement.select(items::id).load::<i64>(connection)?;
        assert!(expected.contains(&found.len()), "{mode}: {} rows", found.len());
    }
    Ok(())
}

fn check_aggregates(connection: &mut PgConnection, rows: &[Row]) -> QueryResult<()> {
    let statement = items::table.select((sum(items::vector), avg(items::halfvec)));
    let (total, mean): (Option<Vector>, Option<HalfVector>) = statement.first(connection)?;
    let total = total.expect("there are rows");
    assert_mean(
        &total.as_slice().iter().map(|sum| sum / ROWS as f32).collect::<Vec<_>>(),
        rows,
    );
    let exact = |i: usize| rows.iter().map(|row| f64::from(row.numbers[i])).sum::<f64>() / ROWS as f64;
    let rounded: Vec<_> = (0..DIMENSIONS).map(|i| half::f16::from_f64(exact(i))).collect();
    assert_eq!(mean.expect("there are rows"), HalfVector::from(rounded));
    Ok(())
}

fn check_errors(connection: &mut PgConnection) {
    let short = (items::id.eq(0), items::vector.eq(Vector::from(vec![1.0, 2.0, 3.0])));
    let error = diesel::insert_into(items::table).values(short).execute(connection);
    let Err(Error::DatabaseError(_, error)) = error else {
        panic!("{error:?} is no error of the server");
    };
    assert_eq!(error.message(), format!("expected {DIMENSIONS} dimensions, not 3"));
}
