//! Tests that start servers of their own: kill them, replicate them, corrupt their files, load them
//! from many sides.
//!
//! `make test` says by two environment variables where: `PG_ALOPEX_PG_CONFIG` names the `pg_config`
//! of a PostgreSQL with the extension installed, `PG_ALOPEX_TEST_DIR` a directory for the clusters.
//! Each test has clusters of its own. `PG_ALOPEX_TEST_SEED` repeats the random choices of a failed
//! run, as far as timing allows; every failure names it. `PG_ALOPEX_SOAK=1` runs the long form of
//! those that have one (see [`effort`]).

mod build_files;
mod builds;
mod calibration;
mod cluster;
mod commit;
mod concurrency;
mod corruption;
mod crash;
mod data;
mod disk_space;
mod distributed;
mod exactness;
mod filter_columns;
mod format;
mod in_place;
mod input;
mod installation;
mod isolation;
mod killed_tuples;
mod load;
mod memory;
mod recall;
mod recovery;
mod reference;
mod sampled_queries;
mod samples;
mod search_effort;
mod security;
mod staging;
mod standby;
mod upgrade;
mod vector_name;
