//! pg_upgrade: an index made by one major version of PostgreSQL serves the next.
//! `PG_ALOPEX_UPGRADE_PG_CONFIG` names the `pg_config` of the later one, which has the extension
//! too; without it there is nothing to test.

use std::path::Path;

use crate::cluster::{Cluster, pg_config};
use crate::data::random;
use crate::load::{self, Load, ROWS};

#[test]
fn an_index_survives_pg_upgrade() {
    let Some(later) = std::env::var_os("PG_ALOPEX_UPGRADE_PG_CONFIG") else {
        println!("skipped: PG_ALOPEX_UPGRADE_PG_CONFIG names no pg_config");
        return;
    };
    let mut random = random("an_index_survives_pg_upgrade");
    // Both with checksums, or both without, because the default differs between versions.
    let old = Cluster::empty(&pg_config(), &["--data-checksums"]);
    old.start();
    old.create_extension();
    let mut client = old.client();
    load::create_table(&mut client);
    load::create_index(&mut client);
    let load = |cluster, first| Load {
        cluster,
        writers: 3,
        steps: 200,
        readers: vec![cluster],
        first,
    };
    let ((), taken) = load(&old, ROWS).run(&mut random, || ());
    let targets = load::targets(&mut random, 100);
    load::assert_right(&mut client, &targets);
    drop(client);
    old.stop();

    let new = Cluster::empty(Path::new(&later), &["--data-checksums"]);
    new.upgrade_from(&old);
    new.start();
    let mut client = new.client();
    load::assert_right(&mut client, &targets);
    load(&new, taken.end).run(&mut random, || ());
    load::assert_right(&mut client, &targets);
    assert!(!new.has_crashed());
}
