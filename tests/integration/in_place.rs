//! A database of pgvector becomes one of pg_alopex in place, and goes back.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use postgres::Client;

use crate::cluster::Cluster;
use crate::installation::Installation;

/// Every type, kind of index, and kind of object that refers to the extension.
const SCHEMA: &str = "
    CREATE EXTENSION vector;
    CREATE ROLE reader;
    CREATE DOMAIN embedding AS vector(8) CHECK (vector_norm(VALUE) > 0);
    CREATE TABLE items (
        id int PRIMARY KEY, kind int, v vector(8) DEFAULT '[1,1,1,1,1,1,1,1]', h halfvec(8), s sparsevec(8), b bit(16),
        d embedding, a vector(8)[], n float8 GENERATED ALWAYS AS (vector_norm(v)) STORED
    );
    INSERT INTO items (id, kind, v, h, s, b, d, a)
    SELECT i, i % 5, v, v, v, (i * 37 % 65536)::bit(16), v, ARRAY[v]
    FROM (SELECT i, ARRAY[i % 7, i % 11, i % 13, i % 17, i % 19, i % 23, i / 64.0, 1]::vector(8) AS v FROM generate_series(1, 600) i) r;
    CREATE INDEX l2 ON items USING hnsw (v vector_l2_ops) WITH (m = 8);
    CREATE INDEX ip ON items USING hnsw (v vector_ip_ops);
    CREATE INDEX cosine ON items USING hnsw (v vector_cosine_ops);
    CREATE INDEX l1 ON items USING hnsw (v vector_l1_ops);
    CREATE INDEX half ON items USING hnsw (h halfvec_cosine_ops);
    CREATE INDEX sparse ON items USING hnsw (s sparsevec_l2_ops);
    CREATE INDEX hamming ON items USING hnsw (b bit_hamming_ops);
    CREATE INDEX jaccard ON items USING hnsw (b bit_jaccard_ops);
    CREATE INDEX of_domain ON items USING hnsw ((d::vector(8)) vector_l2_ops);
    CREATE INDEX partial ON items USING hnsw (v vector_l2_ops) WHERE kind = 1;
    CREATE INDEX expression ON items USING hnsw ((v::halfvec(8)) halfvec_l2_ops);
    CREATE INDEX quantized ON items USING hnsw ((binary_quantize(v)::bit(8)) bit_hamming_ops);
    CREATE INDEX lists ON items USING ivfflat (v) WITH (lists = 5);
    CREATE INDEX half_lists ON items USING ivfflat (h halfvec_ip_ops) WITH (lists = 5);
    CREATE INDEX bit_lists ON items USING ivfflat (b bit_hamming_ops) WITH (lists = 5);
    CREATE INDEX ordered ON items (v);
    CREATE TABLE parts (k int, v vector(8)) PARTITION BY LIST (k);
    CREATE TABLE part1 PARTITION OF parts FOR VALUES IN (1);
    CREATE TABLE part2 PARTITION OF parts FOR VALUES IN (2);
    INSERT INTO parts SELECT 1 + id % 2, v FROM items;
    CREATE INDEX parts_hnsw ON parts USING hnsw (v vector_l2_ops);
    CREATE INDEX parts_lists ON parts USING ivfflat (v vector_cosine_ops) WITH (lists = 3);
    CREATE VIEW near AS SELECT id, v <-> '[1,2,3,4,5,6,7,8]' AS distance FROM items;
    CREATE MATERIALIZED VIEW sums AS SELECT kind, sum(v) AS v, avg(h) AS h FROM items GROUP BY kind;
    CREATE FUNCTION nearest(q vector) RETURNS SETOF int LANGUAGE sql AS 'SELECT id FROM items ORDER BY v <-> q LIMIT 3';
    GRANT SELECT ON items, near TO reader;
    REVOKE EXECUTE ON FUNCTION l2_distance(vector, vector) FROM PUBLIC;
    GRANT EXECUTE ON FUNCTION l2_distance(vector, vector) TO reader;
    GRANT EXECUTE ON FUNCTION hnsw_bit_support(internal), ivfflathandler(internal) TO reader;
    -- Operators that scripts of an extension are not to take for PostgreSQL's.
    CREATE FUNCTION trap(name, name) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'trapped'; END$$;
    CREATE FUNCTION trap(oid, int) RETURNS boolean LANGUAGE plpgsql AS $$BEGIN RAISE 'trapped'; END$$;
    CREATE OPERATOR !~ (LEFTARG = name, RIGHTARG = name, FUNCTION = trap);
    CREATE OPERATOR >= (LEFTARG = oid, RIGHTARG = int, FUNCTION = trap);
    -- Functions of the names of support functions.
    CREATE FUNCTION l1_distance(vector, int) RETURNS float8 LANGUAGE sql IMMUTABLE STRICT AS 'SELECT 1::float8';
    CREATE FUNCTION hnsw_bit_support(int) RETURNS float8 LANGUAGE sql IMMUTABLE STRICT AS 'SELECT 1::float8';
    -- A class as pgvector's users write them.
    CREATE OPERATOR CLASS own_ops FOR TYPE vector USING hnsw AS
        OPERATOR 1 <-> (vector, vector) FOR ORDER BY float_ops, FUNCTION 1 vector_l2_squared_distance(vector, vector);
    CREATE INDEX of_own_class ON items USING hnsw (v own_ops);
";

/// Queries whose answers are compared: the index that serves each, the order, and a condition.
const ORDERS: [(&str, &str, &str); 17] = [
    ("l2", "v <-> '[3,1,4,1,5,9,2,6]'", "items WHERE true"),
    ("ip", "v <#> '[3,1,4,1,5,9,2,6]'", "items WHERE true"),
    ("cosine", "v <=> '[3,1,4,1,5,9,2,6]'", "items WHERE true"),
    ("l1", "v <+> '[3,1,4,1,5,9,2,6]'", "items WHERE true"),
    ("half", "h <=> '[3,1,4,1,5,9,2,6]'", "items WHERE true"),
    ("sparse", "s <-> '{1:3,3:4,6:9}/8'", "items WHERE true"),
    ("hamming", "b <~> B'1010101010101010'", "items WHERE true"),
    ("jaccard", "b <%> B'1010101010101010'", "items WHERE true"),
    ("of_domain", "d::vector(8) <-> '[3,1,4,1,5,9,2,6]'", "items WHERE true"),
    ("partial", "v <-> '[3,1,4,1,5,9,2,6]'", "items WHERE kind = 1"),
    (
        "expression",
        "v::halfvec(8) <-> '[3,1,4,1,5,9,2,6]'",
        "items WHERE true",
    ),
    (
        "quantized",
        "binary_quantize(v)::bit(8) <~> B'10101010'",
        "items WHERE true",
    ),
    ("lists", "v <-> '[3,1,4,1,5,9,2,6]'", "items WHERE true"),
    ("half_lists", "h <#> '[3,1,4,1,5,9,2,6]'", "items WHERE true"),
    ("bit_lists", "b <~> B'1010101010101010'", "items WHERE true"),
    ("parts_hnsw", "v <-> '[3,1,4,1,5,9,2,6]'", "parts WHERE true"),
    ("parts_lists", "v <=> '[3,1,4,1,5,9,2,6]'", "parts WHERE true"),
];

/// All else that a client may ask.
const QUERIES: [&str; 9] = [
    "SELECT md5(string_agg(i::text, ',' ORDER BY id)) FROM items i",
    "SELECT md5(string_agg(p::text, ',' ORDER BY p::text)) FROM parts p",
    "SELECT string_agg(format('%s %s', id, round(distance::numeric, 4)), ',' ORDER BY distance, id) FROM (SELECT * FROM near ORDER BY distance LIMIT 20) n",
    "SELECT string_agg(m::text, ',' ORDER BY kind) FROM sums m",
    "SELECT string_agg(sum::text, ',' ORDER BY kind) FROM (SELECT kind, sum(v)::text || avg(v)::text || avg(h)::text AS sum FROM items GROUP BY kind) s",
    "SELECT count(DISTINCT v)::text FROM items",
    "SELECT string_agg(n::text, ',') FROM nearest('[3,1,4,1,5,9,2,6]') n",
    "SELECT proacl::text FROM pg_proc WHERE oid = 'l2_distance(vector,vector)'::regprocedure",
    "SELECT string_agg(format('%s %s', indexrelid::regclass, pg_get_indexdef(indexrelid)), E'\\n' ORDER BY indexrelid::regclass::text) FROM pg_index
        WHERE indrelid IN ('items'::regclass, 'parts'::regclass, 'part1'::regclass, 'part2'::regclass)",
];

/// Indexes of both methods with pages, and how many of them serve queries.
const INDEXES: &str = "SELECT count(*), count(*) FILTER (WHERE indisvalid AND indisready) FROM pg_index
    JOIN pg_class c ON c.oid = indexrelid JOIN pg_am a ON a.oid = relam WHERE amname IN ('hnsw', 'ivfflat') AND relkind = 'i'";

fn one(client: &mut Client, query: &str) -> String {
    let row = client
        .query_one(query, &[])
        .unwrap_or_else(|error| panic!("{query}: {error:?}"));
    row.get::<_, Option<String>>(0).unwrap_or_default()
}

fn run(client: &mut Client, statement: &str) {
    client
        .batch_execute(statement)
        .unwrap_or_else(|error| panic!("{statement}: {error:?}"));
}

fn indexes(client: &mut Client) -> (i64, i64) {
    let row = client.query_one(INDEXES, &[]).expect("the indexes");
    (row.get(0), row.get(1))
}

fn version(client: &mut Client) -> String {
    one(client, "SELECT extversion FROM pg_extension WHERE extname = 'vector'")
}

/// Answers of all queries, exact.
fn answers(client: &mut Client) -> Vec<String> {
    run(client, "SET enable_indexscan = off; SET enable_seqscan = on");
    let orders = ORDERS.iter().map(|(_, order, from)| distances(order, from));
    let queries: Vec<String> = orders.chain(QUERIES.map(str::to_owned)).collect();
    let answers = queries.iter().map(|query| one(client, query)).collect();
    run(client, "RESET enable_indexscan");
    answers
}

fn assert_answers(client: &mut Client, expected: &[String]) {
    for (i, (answer, expected)) in answers(client).iter().zip(expected).enumerate() {
        let query = i
            .checked_sub(ORDERS.len())
            .map_or("a query with an order", |i| QUERIES[i]);
        assert_eq!(answer, expected, "{query}");
    }
}

/// The ten least distances of a query.
fn distances(order: &str, from: &str) -> String {
    format!(
        "SELECT string_agg(round(distance::numeric, 2)::text, ',' ORDER BY distance) FROM
            (SELECT {order} AS distance FROM {from} ORDER BY {order} LIMIT 10) n"
    )
}

/// Each index alone answers; ours find what an exact search finds, with searches as wide as the
/// tables. Under pgvector no answers are expected, because its recall is its own.
fn assert_served_by_indexes(client: &mut Client, expected: Option<&[String]>) {
    run(
        client,
        "SET enable_seqscan = off; SET enable_sort = off; SET hnsw.ef_search = 1000; SET ivfflat.probes = 5",
    );
    for (i, (name, order, from)) in ORDERS.iter().enumerate() {
        let query = distances(order, from);
        run(
            client,
            &format!(
                "BEGIN; UPDATE pg_index SET indisvalid = false FROM pg_class c WHERE c.oid = indexrelid AND indrelid = 'items'::regclass
                    AND indexrelid <> to_regclass('{name}') AND relam IN (SELECT oid FROM pg_am WHERE amname IN ('hnsw', 'ivfflat'))"
            ),
        );
        let plan: Vec<String> = client
            .query(&format!("EXPLAIN (COSTS OFF) {query}"), &[])
            .expect("a plan")
            .iter()
            .map(|row| row.get(0))
            .collect();
        assert!(
            plan.iter().any(|line| line.contains("Index Scan using")),
            "{name}: {plan:#?}"
        );
        let answer = one(client, &query);
        assert_eq!(answer.split(',').count(), 10, "{name}: {answer}");
        if let Some(expected) = expected {
            assert_eq!(answer, expected[i], "{name}");
        }
        run(client, "ROLLBACK");
    }
    run(client, "RESET enable_seqscan; RESET enable_sort");
}

/// Rows go and come, and stay what they were; what VACUUM and ANALYZE do is in the log if it fails.
fn write(client: &mut Client) {
    run(
        client,
        "CREATE TEMP TABLE kept AS SELECT id, kind, v, h, s, b, d, a FROM items WHERE id % 9 = 0;
        DELETE FROM items WHERE id % 9 = 0;
        INSERT INTO items (id, kind, v, h, s, b, d, a) SELECT * FROM kept;
        UPDATE items SET v = v, b = b WHERE id % 10 = 0;
        INSERT INTO parts VALUES (1, '[9,9,9,9,9,9,9,9]'); DELETE FROM parts WHERE v = '[9,9,9,9,9,9,9,9]';
        DROP TABLE kept",
    );
    for statement in ["VACUUM items", "VACUUM ANALYZE parts", "ANALYZE items"] {
        run(client, statement);
    }
}

#[test]
fn a_database_of_pgvector_is_switched_and_goes_back() {
    let Some(installation) = Installation::with_pgvector() else {
        return;
    };
    let cluster = Cluster::empty(&installation.pg_config(), &[]);
    cluster.start();
    let mut client = cluster.client();
    run(&mut client, SCHEMA);
    let expected = answers(&mut client);
    let (count, valid) = indexes(&mut client);
    assert_eq!((count, valid), (19 + 1, count));
    assert_served_by_indexes(&mut client, None);
    drop(client);
    cluster.stop();

    // The library alone: every answer is right, without the indexes.
    installation.take_name(&["--replace"]).expect("the name is taken");
    cluster.start();
    let mut client = cluster.client();
    assert_answers(&mut client, &expected);
    run(&mut client, "SET enable_seqscan = off");
    for ((name, order, from), expected) in ORDERS.iter().zip(&expected) {
        assert_eq!(&one(&mut client, &distances(order, from)), expected, "{name}");
    }
    write(&mut client);
    assert_answers(&mut client, &expected);
    drop(client);

    // The objects of the extension.
    let mut client = cluster.client();
    run(&mut client, "ALTER EXTENSION vector UPDATE");
    assert_eq!(version(&mut client), "0.8.500");
    assert_eq!(indexes(&mut client), (count, 0));
    assert_answers(&mut client, &expected);
    write(&mut client);
    assert_answers(&mut client, &expected);
    assert_same_as_new(&cluster, &mut client);
    let reader = "SET ROLE reader; SELECT v <-> v FROM items LIMIT 1; RESET ROLE";
    run(&mut client, reader);

    // Dropped without a look at their pages, and rebuilt.
    run(&mut client, "BEGIN; DROP INDEX l2; DROP INDEX lists; ROLLBACK");
    run(&mut client, "REINDEX INDEX CONCURRENTLY cosine");
    run(&mut client, "REINDEX INDEX l1");
    assert_eq!(indexes(&mut client), (count, 2));
    run(&mut client, "CALL alopex_rebuild()");
    assert_eq!(indexes(&mut client), (count, count));
    run(&mut client, "CALL alopex_rebuild()");
    assert_answers(&mut client, &expected);
    assert_served_by_indexes(&mut client, Some(&expected));
    write(&mut client);
    assert_served_by_indexes(&mut client, Some(&expected));
    let faults = "SELECT count(*)::text FROM pg_class c JOIN pg_am a ON a.oid = relam, hnsw_check(c.oid, true)
        WHERE amname IN ('hnsw', 'ivfflat') AND relkind = 'i' AND severity = 'corruption'";
    assert_eq!(one(&mut client, faults), "0");
    let invalid = "SELECT string_agg(opcname, ',') FROM pg_opclass c JOIN pg_am a ON a.oid = opcmethod
        WHERE amname IN ('hnsw', 'ivfflat') AND NOT amvalidate(c.oid)";
    assert_eq!(one(&mut client, invalid), "");
    drop(client);

    // A dump of it is one of pgvector's, and is restored in one transaction.
    let dump = cluster.data().with_file_name("dump");
    let dump = dump.to_str().expect("a path in UTF-8");
    cluster.run_client("pg_dump", &["-Fc", "-f", dump, "postgres"]);
    run(&mut cluster.client(), "CREATE DATABASE restored");
    cluster.run_client("pg_restore", &["-1", "-d", "restored", dump]);
    let mut client = cluster.client_of("restored");
    assert_eq!(answers(&mut client)[..ORDERS.len()], expected[..ORDERS.len()]);
    assert_served_by_indexes(&mut client, Some(&expected));
    drop(client);

    // One that was made under pg_alopex.
    run(&mut cluster.client(), "CREATE DATABASE own");
    run(
        &mut cluster.client_of("own"),
        "CREATE EXTENSION vector VERSION '0.8.5'; CREATE TABLE t (v vector(2)); CREATE INDEX ON t USING hnsw (v vector_l2_ops)",
    );

    // Back: first the files, then the objects.
    cluster.stop();
    installation
        .take_name(&["--restore"])
        .expect("pgvector's files are there");
    cluster.start();
    let mut client = cluster.client();
    assert_answers(&mut client, &expected);
    assert_served_by_indexes(&mut client, Some(&expected));
    drop(client);
    let mut client = cluster.client();
    run(&mut client, "ALTER EXTENSION vector UPDATE TO '0.8.5'");
    drop(client);
    // A session cannot load both libraries.
    let mut client = cluster.client();
    assert_eq!(version(&mut client), "0.8.5");
    assert_eq!(indexes(&mut client), (count, 0));
    assert_answers(&mut client, &expected);
    write(&mut client);
    run(
        &mut client,
        "REINDEX TABLE items; REINDEX TABLE part1; REINDEX TABLE part2",
    );
    assert_eq!(indexes(&mut client), (count, count));
    assert_answers(&mut client, &expected);
    assert_served_by_indexes(&mut client, None);
    run(&mut client, reader);
    assert_same_as_new(&cluster, &mut client);
    let ours = "SELECT count(*)::text FROM pg_proc WHERE probin ~ 'alopex'";
    assert_eq!(one(&mut client, ours), "0");
    let users = "SELECT provolatile::text FROM pg_proc WHERE oid = 'hnsw_bit_support(int)'::regprocedure";
    assert_eq!(one(&mut client, users), "i");
    drop(client);
    run(
        &mut cluster.client_of("own"),
        "ALTER EXTENSION vector UPDATE TO '0.8.500'; ALTER EXTENSION vector UPDATE TO '0.8.5'",
    );
    let mut client = cluster.client_of("own");
    assert_same_as_new(&cluster, &mut client);
    assert_eq!(one(&mut client, ours), "0");
    run(&mut client, "REINDEX TABLE t");
    drop(client);

    // And once more to pg_alopex.
    cluster.stop();
    installation.take_name(&["--replace"]).expect("the name is taken");
    cluster.start();
    let mut client = cluster.client();
    run(&mut client, "ALTER EXTENSION vector UPDATE; CALL alopex_rebuild()");
    assert_eq!(indexes(&mut client), (count, count));
    assert_answers(&mut client, &expected);
}

/// The objects of the extension are those of a new one but for what users have granted.
fn assert_same_as_new(cluster: &Cluster, client: &mut Client) {
    const OBJECTS: &str = "WITH members AS (
            SELECT classid, objid FROM pg_depend JOIN pg_extension e ON (refclassid, refobjid) = ('pg_extension'::regclass, e.oid)
            WHERE deptype = 'e' AND extname = 'vector'
        ), parts AS (
            SELECT * FROM members UNION SELECT d.classid, d.objid FROM pg_depend d JOIN members m ON (d.refclassid, d.refobjid) = (m.classid, m.objid)
            WHERE d.classid IN ('pg_amproc'::regclass, 'pg_amop'::regclass)
        )
        SELECT pg_describe_object(classid, objid, 0) FROM parts
        UNION ALL SELECT pg_get_functiondef(oid) FROM parts JOIN pg_proc ON oid = objid WHERE classid = 'pg_proc'::regclass AND prokind <> 'a'
        UNION ALL SELECT format('%s depends on %s %s', pg_describe_object(classid, objid, 0), pg_describe_object(refclassid, refobjid, 0), deptype)
            FROM parts JOIN pg_depend USING (classid, objid)
        UNION ALL SELECT format('%s %s %s %s', oid::regoperator, oprrest, oprjoin, oprcanmerge) FROM parts JOIN pg_operator ON oid = objid
            WHERE classid = 'pg_operator'::regclass
        UNION ALL SELECT format('%s is %s', pg_describe_object(classid, objid, 0), description) FROM parts
            JOIN pg_description ON (classoid, objoid) = (classid, objid)";
    run(client, "CREATE DATABASE new TEMPLATE template0");
    let mut new = cluster.client_of("new");
    run(&mut new, "CREATE EXTENSION vector");
    let objects = |client: &mut Client| -> Vec<String> {
        let rows = client.query(OBJECTS, &[]).expect("the objects");
        let mut objects: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        objects.retain(|object| !object.contains("own_ops"));
        objects.sort();
        objects
    };
    let (is, expected) = (objects(client), objects(&mut new));
    let missing: Vec<_> = expected.iter().filter(|object| !is.contains(object)).collect();
    let besides: Vec<_> = is.iter().filter(|object| !expected.contains(object)).collect();
    assert!(
        missing.is_empty() && besides.is_empty(),
        "missing {missing:#?}, besides {besides:#?}"
    );
    assert_eq!(is.len(), expected.len());
    drop(new);
    run(client, "DROP DATABASE new");
}

#[test]
fn an_index_that_missed_rows_is_refused_by_pgvector_until_it_is_rebuilt() {
    let Some(installation) = Installation::with_pgvector() else {
        return;
    };
    let cluster = Cluster::empty(&installation.pg_config(), &[]);
    cluster.start();
    let mut client = cluster.client();
    run(
        &mut client,
        "CREATE EXTENSION vector; CREATE TABLE t (v vector(3));
        INSERT INTO t SELECT ARRAY[i, 1, 1] FROM generate_series(1, 100) i;
        CREATE INDEX h ON t USING hnsw (v vector_l2_ops); CREATE INDEX i ON t USING ivfflat (v) WITH (lists = 2)",
    );
    drop(client);
    cluster.stop();
    installation.take_name(&["--replace"]).expect("the name is taken");
    cluster.start();
    let mut client = cluster.client();
    run(&mut client, "INSERT INTO t VALUES ('[0,0,0]')");
    // Statements about indexes work with the objects of pgvector, too.
    run(
        &mut client,
        "BEGIN; REINDEX INDEX h; REINDEX INDEX i; CREATE INDEX ON t USING ivfflat (v); CREATE INDEX ON t USING hnsw (v vector_cosine_ops);
        SET LOCAL enable_seqscan = off; SELECT v FROM t ORDER BY v <-> '[0,0,0]' LIMIT 1;
        DROP INDEX h; DROP INDEX i; ROLLBACK",
    );
    run(&mut client, "DELETE FROM t WHERE v = '[7,1,1]'");
    run(&mut client, "VACUUM t");
    let named = client.batch_execute(
        "CREATE FUNCTION pg_temp.recall(regclass, anyarray, int) RETURNS float8 AS '$libdir/vector', 'hnsw_recall_wrapper' LANGUAGE C STRICT;
        SELECT pg_temp.recall('h', ARRAY['[1,1,1]'::vector], 1)",
    );
    let error = named.expect_err("the pages are pgvector's");
    let error = error.as_db_error().expect("an error of the server");
    assert_eq!(error.message(), "index \"h\" was built by pgvector");
    assert_eq!(error.hint(), Some("Rebuild it with REINDEX INDEX public.h."));
    drop(client);
    cluster.stop();
    installation
        .take_name(&["--restore"])
        .expect("pgvector's files are there");
    cluster.start();
    let mut client = cluster.client();
    run(&mut client, "SET enable_seqscan = off");
    let nearest = "SELECT v::text FROM t ORDER BY v <-> '[0,0,0]' LIMIT 1";
    for (other, index) in [("i", "hnsw index is not valid"), ("h", "ivfflat index is not valid")] {
        run(
            &mut client,
            &format!("BEGIN; UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{other}'::regclass"),
        );
        let error = client.query_one(nearest, &[]).expect_err("the index lacks a row");
        assert_eq!(error.as_db_error().map(|error| error.message()), Some(index));
        run(&mut client, "ROLLBACK");
    }
    run(&mut client, "REINDEX TABLE t");
    assert_eq!(one(&mut client, nearest), "[0,0,0]");
}

/// The page that says how.
const PAGE: &str = include_str!("../../docs/migration.md");

/// The commands of the page's section, one after another; one that has lines of input is whole.
fn commands() -> Vec<String> {
    let (_, section) = PAGE.split_once("\n## In place\n").expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let blocks = section.split("```sh\n").skip(1);
    blocks
        .flat_map(|block| {
            let block = block.split("```").next().unwrap_or_default();
            match block.contains("<<") {
                true => vec![block.to_owned()],
                false => block.lines().map(str::to_owned).collect(),
            }
        })
        .collect()
}

#[test]
fn the_commands_of_the_page_switch_a_database_and_lead_back() {
    let Some(installation) = Installation::with_pgvector() else {
        return;
    };
    let cluster = Cluster::empty(&installation.pg_config(), &[]);
    cluster.configure("shared_preload_libraries = 'vector'");
    cluster.start();
    run(&mut cluster.client(), "CREATE DATABASE app");
    let mut client = cluster.client_of("app");
    run(&mut client, SCHEMA);
    let expected = answers(&mut client);
    let (count, _) = indexes(&mut client);
    drop(client);
    let mut valid = Vec::new();
    for command in commands() {
        match command.as_str() {
            "make install-vector-name REPLACE=1" => installation.take_name(&["--replace"]).expect("the name is taken"),
            // The server preloads the library that the database does not name any more.
            "make restore-pgvector" => installation
                .take_name(&["--restore"])
                .expect("pgvector's files are there"),
            "pg_ctl restart" => {
                cluster.stop();
                cluster.start();
            }
            _ => cluster.run_shell(&command),
        }
        let mut client = cluster.client_of("app");
        let is_between = command == "pg_ctl restart" && version(&mut client) == "0.8.500";
        if !is_between {
            assert_answers(&mut client, &expected);
            valid.push(indexes(&mut client).1);
        }
        if command.contains("alopex_rebuild") {
            // The other way to rebuild has something to do, too.
            run(
                &mut client,
                "UPDATE pg_index SET indisvalid = false, indisready = false WHERE indexrelid IN ('l2'::regclass, 'bit_lists'::regclass)",
            );
        }
    }
    // Files, restart, objects, two ways to rebuild; files, objects, REINDEX.
    assert_eq!(valid, [count, count, 0, count, count, count, 0, count]);
    assert_eq!(version(&mut cluster.client_of("app")), "0.8.5");
}

/// Makes a database as one of 0.6.2 was: without the types and distances that came with 0.7.0.
const OLDER: &str = r"CREATE EXTENSION vector;
    DELETE FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
        AND pg_describe_object(classid, objid, 0) ~ 'halfvec|sparsevec|\mbit\M|bit_|_l1_ops|l1_distance|binary_quantize|<\+>';
    SET client_min_messages = warning;
    DROP TYPE halfvec, sparsevec CASCADE;
    DO $$ DECLARE f regprocedure; BEGIN
        FOR f IN SELECT oid FROM pg_proc WHERE probin = '$libdir/vector' AND proname ~ '^(halfvec|sparsevec)_' LOOP
            EXECUTE format('DROP FUNCTION %s', f);
        END LOOP;
    END $$;
    DO $$ DECLARE f record; BEGIN
        FOR f IN SELECT opfname, amname FROM pg_opfamily JOIN pg_am a ON a.oid = opfmethod WHERE opfname ~ '^(half|sparse|bit).*_ops|vector_l1_ops'
            AND opfnamespace = 'public'::regnamespace LOOP
            EXECUTE format('DROP OPERATOR FAMILY %I USING %I CASCADE', f.opfname, f.amname);
        END LOOP;
    END $$;
    DROP FUNCTION hamming_distance(bit, bit), jaccard_distance(bit, bit), l1_distance(vector, vector), binary_quantize(vector),
        hnsw_halfvec_support(internal), hnsw_bit_support(internal), hnsw_sparsevec_support(internal),
        ivfflat_halfvec_support(internal), ivfflat_bit_support(internal) CASCADE;
    UPDATE pg_extension SET extversion = '0.6.2' WHERE extname = 'vector';
    CREATE TABLE t (v vector(3));
    INSERT INTO t SELECT ARRAY[i, 1, 1] FROM generate_series(1, 100) i;
    CREATE INDEX h ON t USING hnsw (v vector_l2_ops); CREATE INDEX i ON t USING ivfflat (v) WITH (lists = 2)";

/// A server of our library whose database has the objects of [`OLDER`]; none without pgvector.
fn older_under_our_library() -> Option<(Installation, Cluster)> {
    let installation = Installation::with_pgvector()?;
    let cluster = Cluster::empty(&installation.pg_config(), &[]);
    cluster.start();
    run(&mut cluster.client(), OLDER);
    cluster.stop();
    installation.take_name(&["--replace"]).expect("the name is taken");
    cluster.start();
    Some((installation, cluster))
}

#[test]
fn a_database_of_an_older_pgvector_gets_all_objects() {
    let Some((_installation, cluster)) = older_under_our_library() else {
        return;
    };
    let mut client = cluster.client();
    run(&mut client, "ALTER EXTENSION vector UPDATE");
    assert_same_as_new(&cluster, &mut client);
    run(&mut client, "CALL alopex_rebuild(); SET enable_seqscan = off");
    assert_eq!(indexes(&mut client), (2, 2));
    assert_eq!(
        one(&mut client, "SELECT v::text FROM t ORDER BY v <-> '[0,1,1]' LIMIT 1"),
        "[1,1,1]"
    );
}

#[test]
fn an_update_adopts_no_objects_of_users() {
    let Some((_installation, cluster)) = older_under_our_library() else {
        return;
    };
    let mut client = cluster.client();
    let functions = "CREATE SCHEMA s;
        CREATE FUNCTION s.of_vector(vector, vector) RETURNS float8 LANGUAGE sql AS 'SELECT 1::float8';
        CREATE FUNCTION s.of_bit(bit, bit) RETURNS float8 LANGUAGE sql AS 'SELECT 1::float8'";
    run(&mut client, functions);
    for (made, named) in [
        ("DOMAIN halfvec AS real[]", "type halfvec"),
        ("DOMAIN halfvec AS vector", "type halfvec"),
        ("TYPE sparsevec AS (i int)", "type sparsevec"),
        ("TYPE sparsevec AS ENUM ('a')", "type sparsevec"),
        ("TYPE halfvec", "type halfvec"),
        (
            "OPERATOR <+> (LEFTARG = vector, RIGHTARG = vector, FUNCTION = s.of_vector)",
            "operator <+>(vector,vector)",
        ),
        (
            "OPERATOR <%> (LEFTARG = bit, RIGHTARG = bit, FUNCTION = s.of_bit)",
            "operator <%>(bit,bit)",
        ),
        (
            "FUNCTION l1_distance(vector, vector) RETURNS float8 LANGUAGE sql AS 'SELECT 1::float8'",
            "function l1_distance(vector,vector)",
        ),
    ] {
        run(&mut client, &format!("CREATE {made}"));
        let error = client
            .batch_execute("ALTER EXTENSION vector UPDATE")
            .expect_err("it is a user's");
        let error = error.as_db_error().expect("an error of the server");
        assert_eq!(
            error.message().replace("public.", ""),
            format!("{named} is not a member of extension \"vector\""),
            "{made}"
        );
        assert_eq!(error.code().code(), "55000");
        assert_eq!(version(&mut client), "0.6.2");
        assert_eq!(indexes(&mut client), (2, 2));
        run(&mut client, &format!("DROP {named}"));
    }
    run(&mut client, "ALTER EXTENSION vector UPDATE");
    assert_same_as_new(&cluster, &mut client);
}

/// Control file and scripts of the name `vector` in a directory, and their contents.
fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(directory).expect("the directory").flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let is_of_vector = name == "vector.control" || name.starts_with("vector--");
            is_of_vector.then(|| (name, fs::read(entry.path()).expect("a file")))
        })
        .collect()
}

#[test]
fn files_that_a_package_puts_over_ours_are_put_aside_and_come_back() {
    let Some(installation) = Installation::with_pgvector() else {
        return;
    };
    let scripts = installation.scripts();
    let aside = scripts.with_file_name("pgvector");
    let library = installation.library("vector");
    // A package may have links, too.
    let (link, target) = ("vector--0.7.4--0.8.0.sql", "../linked.sql");
    fs::rename(scripts.join(link), scripts.join(target)).expect("a script of pgvector");
    symlink(target, scripts.join(link)).expect("a link");
    let theirs = files(&scripts);
    let update = || {
        for (name, contents) in &theirs {
            let file = scripts.join(name);
            fs::remove_file(&file).ok();
            match name == link {
                true => symlink(target, &file).expect("a link"),
                false => fs::write(&file, contents).expect("a file"),
            }
        }
    };
    let headers = installation.headers().join("extension/vector");
    let headers = || {
        ["vector.h", "halfvec.h", "sparsevec.h"].map(|name| fs::read_to_string(headers.join(name)).expect("a header"))
    };
    let theirs_of_c = headers();
    let assert_back = || {
        assert_eq!(headers(), theirs_of_c);
        let mut back = files(&scripts);
        for name in ["vector--0.8.500--0.8.5.sql", "vector--0.8.5--0.8.500.sql"] {
            assert!(back.remove(name).is_some(), "{name}");
        }
        assert!(back.keys().eq(theirs.keys()), "{:?}", back.keys());
        assert_eq!(back, theirs);
    };
    let take_name = |option| installation.take_name(&[option]).expect("there are files of pgvector");

    take_name("--replace");
    assert!(headers().iter().all(|header| header.contains("pg_alopex")));
    let ours = files(&scripts);
    update();
    take_name("--replace");
    assert!(files(&aside).keys().eq(theirs.keys()), "{:?}", files(&aside).keys());
    assert!(files(&scripts).keys().eq(ours.keys()));
    take_name("--restore");
    assert_back();
    take_name("--restore");
    assert_back();

    // Nothing is put aside, and all is in place.
    take_name("--replace");
    update();
    fs::rename(aside.join("vector.so"), &library).expect("the library");
    for (name, contents) in ["vector.h", "halfvec.h", "sparsevec.h"].iter().zip(&theirs_of_c) {
        fs::write(installation.headers().join("extension/vector").join(name), contents).expect("a header");
    }
    fs::remove_dir_all(&aside).expect("the directory");
    take_name("--restore");
    assert_back();

    // Equal files of a package are in place and put aside.
    let library_of_package = fs::read(&library).expect("the library");
    take_name("--replace");
    update();
    fs::remove_file(&library).expect("the link");
    fs::write(&library, &library_of_package).expect("a library");
    take_name("--restore");
    assert_back();
}

#[test]
fn files_of_a_later_pgvector_stay_where_they_are() {
    let Some(installation) = Installation::with_pgvector() else {
        return;
    };
    let scripts = installation.scripts();
    let aside = scripts.with_file_name("pgvector");
    let library = installation.library("vector");
    let theirs = files(&scripts);
    let bytes = fs::read(&library).expect("the library");
    let take_name = |option| installation.take_name(&[option]);
    let install_library = |bytes: &[u8]| {
        fs::remove_file(&library).ok();
        fs::write(&library, bytes).expect("a library");
    };
    let state = || {
        let is_link = fs::read_link(&library).is_ok();
        (files(&scripts), files(&aside), is_link, fs::read(&library).ok())
    };
    let refuses = |named: [&str; 2]| {
        let before = state();
        let error = take_name("--restore").expect_err("the files are others");
        assert!(named.iter().all(|name| error.contains(name)), "{error}");
        assert!(error.contains("is not the file that was put aside"), "{error}");
        assert!(before == state());
    };

    // A package has put all of another version there; the user keeps it.
    take_name("--replace").expect("the name is taken");
    for (name, contents) in &theirs {
        fs::remove_file(scripts.join(name)).ok();
        fs::write(scripts.join(name), contents).expect("a script");
    }
    let control = String::from_utf8_lossy(&theirs["vector.control"]).replace("'0.8.5'", "'0.8.6'");
    fs::write(scripts.join("vector.control"), &control).expect("a control file");
    let later = [&bytes[..], b"later"].concat();
    install_library(&later);
    refuses(["of pgvector 0.8.6", "of pgvector 0.8.5"]);
    fs::remove_dir_all(&aside).expect("the directory");
    take_name("--restore").expect("nothing is put aside");
    assert_eq!(fs::read_to_string(scripts.join("vector.control")).ok(), Some(control));
    assert!(fs::read(&library).is_ok_and(|bytes| bytes == later));

    // The library alone, of a package that is then removed.
    take_name("--replace").expect("the name is taken");
    install_library(&bytes);
    refuses(["lib/postgresql/vector.so is not", "pgvector/vector.so"]);
    fs::remove_file(&library).expect("the library");
    take_name("--restore").expect("the files are put aside");
    assert!(fs::read(&library).is_ok_and(|bytes| bytes == later));
}

#[test]
fn a_cluster_of_pgvector_is_upgraded_to_a_later_postgresql() {
    let Some(later) = std::env::var_os("PG_ALOPEX_UPGRADE_PG_CONFIG") else {
        println!("skipped: PG_ALOPEX_UPGRADE_PG_CONFIG names no pg_config");
        return;
    };
    let Some(installation) = Installation::with_pgvector() else {
        return;
    };
    let old = Cluster::empty(&installation.pg_config(), &["--data-checksums"]);
    old.start();
    let mut client = old.client();
    run(&mut client, SCHEMA);
    let expected = answers(&mut client);
    let (count, _) = indexes(&mut client);
    drop(client);
    old.stop();
    let installation = Installation::without_vector_of(Path::new(&later));
    installation.take_name(&[]).expect("the name is free");
    let new = Cluster::empty(&installation.pg_config(), &["--data-checksums"]);
    new.upgrade_from(&old);
    new.start();
    let mut client = new.client();
    assert_answers(&mut client, &expected);
    run(&mut client, "ALTER EXTENSION vector UPDATE TO '0.8.500'");
    assert_answers(&mut client, &expected);
    assert_eq!(indexes(&mut client), (count, 0));
    run(&mut client, "CALL alopex_rebuild()");
    assert_eq!(indexes(&mut client), (count, count));
    assert_served_by_indexes(&mut client, Some(&expected));
}
