//! A database of pgvector becomes one of pg_alopex in place, and goes back.

pub mod database;
mod files;
mod lists;
mod moving;
mod older;

use std::path::Path;

use crate::cluster::Cluster;
use crate::installation::Installation;

use database::{
    ORDERS, SCHEMA, answers, assert_answers, assert_same_as_new, assert_served_by_indexes, distances, indexes, one,
    run, version, write,
};

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

/// The blocks of a section of the page, with their languages.
fn blocks(heading: &str) -> Vec<(&'static str, &'static str)> {
    let (_, section) = PAGE.split_once(&format!("\n## {heading}\n")).expect("the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let blocks = section.split("\n```").skip(1).step_by(2);
    blocks
        .map(|block| block.split_once('\n').expect("a language"))
        .collect()
}

/// The commands of the page's section, one after another; one that has lines of input is whole.
fn commands() -> Vec<String> {
    let blocks = blocks("In place").into_iter().filter(|(language, _)| *language == "sh");
    blocks
        .flat_map(|(_, block)| match block.contains("<<") {
            true => vec![block.to_owned()],
            false => block.lines().map(str::to_owned).collect(),
        })
        .collect()
}

#[test]
fn the_commands_of_the_page_switch_a_database_and_lead_back() {
    follow_the_page("0.8.5");
}

#[test]
fn the_commands_of_the_page_lead_back_to_another_version() {
    follow_the_page("0.8.1");
    follow_the_page("0.8.6");
}

/// Runs the commands in a database of pgvector of this version, whose objects are those of 0.8.5.
fn follow_the_page(number: &str) {
    let Some(installation) = Installation::with_pgvector() else {
        return;
    };
    installation.number_pgvector(number);
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
    assert_eq!(version(&mut cluster.client_of("app")), number);
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
