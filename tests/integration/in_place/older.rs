//! Objects of an older pgvector, and of users in the place of some.

use crate::cluster::Cluster;
use crate::installation::Installation;

use super::database::{assert_same_as_new, indexes, one, run, version};

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
