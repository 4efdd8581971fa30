//! A database of pgvector moves to another database or server, as docs/migration.md says.

use crate::cluster::{Cluster, test_dir, wait_for};
use crate::installation::Installation;

use super::blocks;
use super::database::{SCHEMA, answers, assert_answers, assert_served_by_indexes, indexes, one, run};

#[test]
fn the_commands_of_the_page_move_a_database() {
    let Some(installation) = Installation::with_pgvector() else {
        return;
    };
    let old = Cluster::empty(&installation.pg_config(), &[]);
    old.start();
    run(&mut old.client(), "CREATE DATABASE app");
    let mut client = old.client_of("app");
    run(&mut client, SCHEMA);
    let expected = answers(&mut client);
    let (count, _) = indexes(&mut client);
    let new = Cluster::empty(&installation.pg_config(), &[]);
    new.start();
    run(&mut new.client(), "CREATE ROLE reader");

    let directory = tempfile::tempdir_in(test_dir()).expect("a directory");
    let host = old.sockets().to_str().expect("a path in UTF-8");
    let here = |block: &str| {
        let block = block.replace("-h old", &format!("-h {host}"));
        format!("cd {}\n{block}", directory.path().display())
    };
    let [dump, publication, tables, subscription, rest, end] =
        blocks("How to move").try_into().expect("blocks of two ways");
    assert!([dump, tables, rest].iter().all(|(language, _)| *language == "sh"));
    let assert_moved = |cluster: &Cluster| {
        let mut client = cluster.client_of("app_new");
        assert_answers(&mut client, &expected);
        assert_eq!(indexes(&mut client), (count, count));
        assert_served_by_indexes(&mut client, Some(&expected));
        let theirs = "SELECT count(*)::text FROM pg_proc WHERE probin = '$libdir/vector'";
        assert_eq!(one(&mut client, theirs), "0");
    };

    // A dump, into the same server.
    old.run_shell(&here(dump.1));
    assert_moved(&old);

    // Replication, to another; rows come while the tables are copied and later.
    let identities = "ALTER TABLE part1 REPLICA IDENTITY FULL; ALTER TABLE part2 REPLICA IDENTITY FULL";
    run(&mut client, identities);
    run(&mut client, publication.1);
    new.run_shell(&here(tables.1));
    let mut replica = new.client_of("app_new");
    run(
        &mut replica,
        &subscription.1.replace("host=old", &format!("host={host}")),
    );
    run(&mut client, "INSERT INTO parts VALUES (1, '[9,9,9,9,9,9,9,9]')");
    wait_for("the tables are copied", || {
        one(
            &mut replica,
            "SELECT bool_and(srsubstate = 'r')::text FROM pg_subscription_rel",
        ) == "true"
    });
    new.run_shell(&here(rest.1));
    run(
        &mut client,
        "DELETE FROM parts WHERE v = '[9,9,9,9,9,9,9,9]'; INSERT INTO items (id, kind, v) VALUES (0, 0, '[1,1,1,1,1,1,1,1]')",
    );
    let rows = "SELECT count(*) || ' ' || (SELECT count(*) FROM parts) FROM items";
    let replicated = one(&mut client, rows);
    wait_for("the rows are replicated", || one(&mut replica, rows) == replicated);
    run(&mut client, "DELETE FROM items WHERE id = 0");
    let replicated = one(&mut client, rows);
    wait_for("the rows are replicated", || one(&mut replica, rows) == replicated);
    run(&mut replica, "REFRESH MATERIALIZED VIEW sums");
    run(&mut replica, end.1);
    assert_moved(&new);
}
