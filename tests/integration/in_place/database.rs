//! A database with all that refers to the extension, and its answers.

use postgres::Client;

use crate::cluster::Cluster;

/// Every type, kind of index, and kind of object that refers to the extension.
pub const SCHEMA: &str = "
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
pub const ORDERS: [(&str, &str, &str); 17] = [
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

pub fn one(client: &mut Client, query: &str) -> String {
    let row = client
        .query_one(query, &[])
        .unwrap_or_else(|error| panic!("{query}: {error:?}"));
    row.get::<_, Option<String>>(0).unwrap_or_default()
}

pub fn run(client: &mut Client, statement: &str) {
    client
        .batch_execute(statement)
        .unwrap_or_else(|error| panic!("{statement}: {error:?}"));
}

pub fn indexes(client: &mut Client) -> (i64, i64) {
    let row = client.query_one(INDEXES, &[]).expect("the indexes");
    (row.get(0), row.get(1))
}

pub fn version(client: &mut Client) -> String {
    one(client, "SELECT extversion FROM pg_extension WHERE extname = 'vector'")
}

/// Answers of all queries, exact.
pub fn answers(client: &mut Client) -> Vec<String> {
    run(client, "SET enable_indexscan = off; SET enable_seqscan = on");
    let orders = ORDERS.iter().map(|(_, order, from)| distances(order, from));
    let queries: Vec<String> = orders.chain(QUERIES.map(str::to_owned)).collect();
    let answers = queries.iter().map(|query| one(client, query)).collect();
    run(client, "RESET enable_indexscan");
    answers
}

pub fn assert_answers(client: &mut Client, expected: &[String]) {
    for (i, (answer, expected)) in answers(client).iter().zip(expected).enumerate() {
        let query = i
            .checked_sub(ORDERS.len())
            .map_or("a query with an order", |i| QUERIES[i]);
        assert_eq!(answer, expected, "{query}");
    }
}

/// The ten least distances of a query.
pub fn distances(order: &str, from: &str) -> String {
    format!(
        "SELECT string_agg(round(distance::numeric, 2)::text, ',' ORDER BY distance) FROM
            (SELECT {order} AS distance FROM {from} ORDER BY {order} LIMIT 10) n"
    )
}

/// Each index alone answers; ours find what an exact search finds, with searches as wide as the
/// tables. Under pgvector no answers are expected, because its recall is its own.
pub fn assert_served_by_indexes(client: &mut Client, expected: Option<&[String]>) {
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
pub fn write(client: &mut Client) {
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

/// The objects of the extension are those of a new one but for what users have granted.
pub fn assert_same_as_new(cluster: &Cluster, client: &mut Client) {
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
