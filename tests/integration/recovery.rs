//! Backups: one that was taken under load starts on its own, and with an archive it recovers to a
//! point in time. The index then agrees with the table.

use std::path::PathBuf;

use postgres::Client;
use rand::rngs::SmallRng;

use crate::cluster::{Cluster, wait_for};
use crate::data::random;
use crate::load::{self, Load, ROWS};
use crate::search_effort::rounds;

/// A loaded server: one that keeps its WAL in `archive` beside its data directory.
fn primary() -> (Cluster, Client) {
    let cluster = Cluster::with(
        "archive_mode = on
         archive_command = 'mkdir -p ../archive && cp %p ../archive/part && mv ../archive/part ../archive/%f'",
    );
    let mut client = cluster.client();
    load::create_table(&mut client);
    load::create_index(&mut client);
    (cluster, client)
}

fn archive(cluster: &Cluster) -> PathBuf {
    cluster.data().with_file_name("archive")
}

/// Takes a backup under load and returns it with the next new id.
fn backup_under_load(primary: &Cluster, first: i64, random: &mut SmallRng) -> (Cluster, i64) {
    let load = Load {
        cluster: primary,
        writers: 5,
        steps: rounds(100, 300),
        readers: Vec::new(),
        first,
    };
    let (backup, taken) = load.run(random, || Cluster::backup_of(primary));
    (backup, taken.end)
}

/// Checks a server that goes on from a backup, and uses it.
fn assert_usable(cluster: &Cluster, first: i64, random: &mut SmallRng) {
    let mut client = cluster.client();
    let targets = load::targets(random, 50);
    load::assert_right(&mut client, &targets);
    let load = Load {
        cluster,
        writers: 3,
        steps: 50,
        readers: vec![cluster],
        first,
    };
    load.run(random, || ());
    load::assert_right(&mut client, &targets);
    assert!(!cluster.has_crashed());
}

#[test]
fn a_backup_of_a_loaded_server_starts_on_its_own() {
    let mut random = random("a_backup_of_a_loaded_server_starts_on_its_own");
    let (primary, _client) = primary();
    let mut first = ROWS;
    for _ in 0..rounds(1, 6) {
        let (backup, next) = backup_under_load(&primary, first, &mut random);
        first = next;
        backup.configure("archive_mode = off");
        backup.start();
        assert_usable(&backup, first, &mut random);
    }
}

fn ids(client: &mut Client) -> Vec<i64> {
    let rows = client.query("SELECT id FROM items ORDER BY id", &[]);
    rows.expect("the table can be read")
        .iter()
        .map(|row| row.get(0))
        .collect()
}

/// Makes a restore point and returns the segment of WAL that it is in.
fn restore_point(client: &mut Client, name: &str) -> String {
    let sql = "SELECT pg_walfile_name(pg_create_restore_point($1))";
    client.query_one(sql, &[&name]).expect("a restore point").get(0)
}

#[test]
fn recovery_to_a_point_in_time() {
    let mut random = random("recovery_to_a_point_in_time");
    let (primary, mut client) = primary();
    let mut first = ROWS;
    for round in 0..rounds(1, 4) {
        let backups = [(); 2].map(|()| {
            let (backup, next) = backup_under_load(&primary, first, &mut random);
            first = next;
            backup
        });
        // One in a quiet moment, when it is known which rows there are, and one amid the load.
        let points = [format!("quiet_{round}"), format!("busy_{round}")];
        let expected = ids(&mut client);
        restore_point(&mut client, &points[0]);
        let load = Load {
            cluster: &primary,
            writers: 5,
            steps: rounds(100, 300),
            readers: Vec::new(),
            first,
        };
        let (segment, taken) = load.run(&mut random, || {
            let old = ids(&mut client);
            wait_for("the load has begun", || ids(&mut client) != old);
            restore_point(&mut client, &points[1])
        });
        first = taken.end;
        client.batch_execute("SELECT pg_switch_wal()").expect("a new segment");
        wait_for("the restore points are archived", || {
            archive(&primary).join(&segment).exists()
        });

        for (number, (backup, point)) in backups.iter().zip(&points).enumerate() {
            backup.configure(&format!(
                "archive_mode = off
                 restore_command = 'cp \"{}/%f\" \"%p\"'
                 recovery_target_name = '{point}'
                 recovery_target_action = 'promote'",
                archive(&primary).display()
            ));
            backup.recover();
            let recovered = ids(&mut backup.client());
            match number {
                0 => assert_eq!(recovered, expected),
                _ => assert_ne!(recovered, expected, "the load had begun"),
            }
            assert_usable(backup, first, &mut random);
        }
    }
}
