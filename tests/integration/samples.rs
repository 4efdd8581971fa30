//! The sample of rows that a build learns from: enough of them, wherever they are in the table, and
//! no more evaluations of expressions than rows of the sample.

use postgres::Client;

use crate::cluster::Cluster;
use crate::data::run;

/// A table of one row a block, whose vectors are near each other and far from the origin.
const OF_ONE_ROW_A_BLOCK: &str = "
    CREATE TABLE items (id int, filler text, embedding vector(80));
    ALTER TABLE items ALTER filler SET STORAGE PLAIN;
    INSERT INTO items SELECT id, repeat('x', 7000), ARRAY(SELECT 10 + sin(id * i) FROM generate_series(1, 80) i)::real[]::vector
        FROM generate_series(1, 5000) id";

/// What a build has learned, from the meta page: whether there is a centroid, the number of
/// directions, and of borders of the first filter column.
#[derive(Debug, PartialEq, Eq)]
struct Learned {
    has_centroid: bool,
    directions: i32,
    borders: i32,
}

impl Learned {
    fn of(client: &mut Client, index: &str) -> Learned {
        run(client, "CHECKPOINT");
        let number = |at: usize| format!("get_byte(page, {at}) + 256 * get_byte(page, {at} + 1)");
        let sql = format!(
            "SELECT substring(page FROM 81 FOR 8) <> '\\x0000000000000000', {}, {}
                 FROM pg_read_binary_file(pg_relation_filepath('{index}'), 0, 8192) page",
            number(88),
            number(312)
        );
        let row = client.query_one(&sql, &[]).expect("the meta page");
        Learned {
            has_centroid: row.get(0),
            directions: row.get(1),
            borders: row.get(2),
        }
    }
}

fn count(client: &mut Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).expect("a number").get(0)
}

#[test]
fn rows_that_fill_a_block_each_have_directions() {
    let cluster = Cluster::new();
    let mut client = cluster.client();
    run(
        &mut client,
        "CREATE TABLE parts AS SELECT n, (SELECT array_agg(sin(n * (i % 23 + 1)) + cos(n % 10 * i))::real[]::vector(1152)
                 FROM generate_series(1, 1152) i) AS v FROM generate_series(1, 120) n;
         CREATE TABLE items (id serial, embedding vector(1152));
         ALTER TABLE items ALTER embedding SET STORAGE PLAIN;
         INSERT INTO items (embedding) SELECT a.v + b.v FROM parts a, parts b ORDER BY a.n * b.n % 101, b.n;
         SET max_parallel_maintenance_workers = 2",
    );
    let blocks = count(&mut client, "SELECT pg_relation_size('items') / 8192");
    assert_eq!(blocks, count(&mut client, "SELECT count(*) FROM items"));
    run(
        &mut client,
        "CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops)",
    );
    assert_eq!(Learned::of(&mut client, "items_embedding").directions, 160);
}

#[test]
fn few_rows_in_many_blocks_are_enough() {
    let cluster = Cluster::new();
    let mut client = cluster.client();
    run(&mut client, OF_ONE_ROW_A_BLOCK);
    let mut assert_learns = |when: &str, condition: &str, columns: &str| {
        when.split("; ").for_each(|statement| run(&mut client, statement));
        run(
            &mut client,
            &format!("CREATE INDEX i ON items USING hnsw (embedding vector_l2_ops{columns}) {condition}"),
        );
        let learned = Learned::of(&mut client, "i");
        assert!(learned.has_centroid, "{when} {condition}");
        assert_eq!(
            learned.borders > 0,
            columns.contains("id"),
            "{when} {condition}: {learned:?}"
        );
        run(&mut client, "DROP INDEX i");
    };
    // Here and there, and together in the first, middle and last blocks.
    for condition in ["id % 25 = 0", "id < 100", "id BETWEEN 2000 AND 2100", "id > 4900"] {
        for columns in ["", ", id", ", (id + 1)"] {
            assert_learns("", &format!("WHERE {condition}"), columns);
        }
    }
    // Vectors that are NULL for the most part.
    assert_learns(
        "UPDATE items SET embedding = NULL WHERE id % 25 <> 0; VACUUM items",
        "",
        ", id",
    );
    // A bloated table.
    assert_learns("DELETE FROM items WHERE id % 25 <> 0; VACUUM items", "", ", id");
}

#[test]
fn rows_of_the_transaction_and_of_a_rewritten_table_are_sampled() {
    let cluster = Cluster::new();
    let mut client = cluster.client();
    let index = "CREATE INDEX items_embedding ON items USING hnsw (embedding vector_l2_ops, id)";
    run(&mut client, &format!("BEGIN; {OF_ONE_ROW_A_BLOCK}; {index}; COMMIT"));
    for rewrite in [
        "",
        "BEGIN; UPDATE items SET id = -id; REINDEX TABLE items; COMMIT",
        "VACUUM FULL items",
        "ALTER TABLE items ALTER id TYPE bigint",
        "BEGIN ISOLATION LEVEL SERIALIZABLE; SELECT 1; REINDEX TABLE items; COMMIT",
        "REINDEX TABLE CONCURRENTLY items",
    ] {
        rewrite.split("; ").for_each(|statement| run(&mut client, statement));
        let learned = Learned::of(&mut client, "items_embedding");
        assert!(learned.has_centroid && learned.borders > 100, "{rewrite}: {learned:?}");
    }
    // None of deleted rows, and none of an empty table.
    for empty in ["DELETE FROM items; REINDEX TABLE items", "TRUNCATE items"] {
        run(&mut client, empty);
        let learned = Learned::of(&mut client, "items_embedding");
        assert!(!learned.has_centroid && learned.borders == 0, "{empty}: {learned:?}");
    }
}

#[test]
fn expressions_are_evaluated_for_the_rows_of_the_sample_alone() {
    const ROWS: i64 = 20_000;
    let cluster = Cluster::new();
    let mut client = cluster.client();
    run(
        &mut client,
        &format!(
            "CREATE TABLE items (id int, embedding vector(80));
             INSERT INTO items SELECT id, ARRAY(SELECT 10 + sin(id * i) FROM generate_series(1, 80) i)::real[]::vector
                 FROM generate_series(1, {ROWS}) id;
             CREATE SEQUENCE calls;
             CREATE FUNCTION counted(v vector) RETURNS vector LANGUAGE plpgsql IMMUTABLE AS
                 $$ BEGIN PERFORM nextval('public.calls'); RETURN v; END $$;
             CREATE FUNCTION counted(id int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS
                 $$ BEGIN PERFORM nextval('public.calls'); RETURN id; END $$;"
        ),
    );
    let calls = |client: &mut Client, columns: &str| {
        run(client, "SELECT setval('calls', 1, false)");
        run(client, &format!("CREATE INDEX i ON items USING hnsw ({columns})"));
        let calls = count(client, "SELECT last_value FROM calls");
        let learned = Learned::of(client, "i");
        run(client, "DROP INDEX i");
        (calls - ROWS, learned)
    };
    let learned = |has_centroid, borders| Learned {
        has_centroid,
        directions: 0,
        borders,
    };
    let vector = "(counted(embedding)::vector(80))";
    for (columns, expected, learned) in [
        (format!("{vector} vector_l2_ops"), 1024, learned(true, 0)),
        (format!("{vector} vector_l2_ops, id"), 2048, learned(true, 127)),
        (
            "embedding vector_l2_ops, (counted(id))".to_string(),
            2048,
            learned(true, 127),
        ),
        (format!("{vector} vector_ip_ops, id"), 2048, learned(false, 127)),
        (format!("{vector} vector_ip_ops"), 0, learned(false, 0)),
    ] {
        assert_eq!(calls(&mut client, &columns), (expected, learned), "{columns}");
    }
    // Rows without a vector are looked at too, but not all of them.
    run(&mut client, "UPDATE items SET embedding = NULL WHERE id % 100 <> 0");
    run(&mut client, "VACUUM FULL items");
    let (most, found) = calls(&mut client, &format!("{vector} vector_l2_ops"));
    assert!((4096..4500).contains(&most), "{most}");
    assert!(!found.has_centroid);
}
