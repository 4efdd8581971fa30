//! pg_alopex: vector types and the index access methods `hnsw` and `ivfflat` for PostgreSQL.
//!
//! The layers depend on each other in one direction, from top to bottom:
//! - `inspect`: SQL functions that look into an index;
//! - `am`: the access method;
//! - `txn`: staged rows of transactions;
//! - `types`: the SQL types;
//! - `hnsw`: HNSW over a page store;
//! - `storage`: pages and records;
//! - `filter`: values of filter columns, and conditions on them;
//! - `quantize`: short forms of vectors;
//! - `distance`: kernels.
//!
//! `inspect` uses `am`, and `am` uses `txn`; `types` and these three use the layers below. Below
//! `txn` only `storage::buffer_store` and `types` call PostgreSQL; `compat` holds the differences
//! between its versions.

pub mod am;
mod compat;
pub mod distance;
pub mod error;
mod fallible;
pub mod filter;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod hnsw;
mod inspect;
mod pg_error;
mod pgvector;
pub mod quantize;
mod rebuild;
mod reserve;
mod sqlstate;
pub mod storage;
pub mod txn;
pub mod types;

#[cfg(test)]
mod test_data;

pgrx::pg_module_magic!(name, version);

#[global_allocator]
static ALLOCATOR: reserve::WithReserve = reserve::WithReserve;

pgrx::extension_sql_file!("../sql/vector.sql", name = "vector");
pgrx::extension_sql_file!("../sql/halfvec.sql", name = "halfvec", requires = ["vector"]);
pgrx::extension_sql_file!(
    "../sql/sparsevec.sql",
    name = "sparsevec",
    requires = ["vector", "halfvec"]
);
pgrx::extension_sql_file!("../sql/bit.sql", name = "bit");
pgrx::extension_sql_file!(
    "../sql/hnsw.sql",
    name = "hnsw",
    requires = ["vector", "halfvec", "sparsevec", "bit"]
);
pgrx::extension_sql_file!("../sql/ivfflat.sql", name = "ivfflat", requires = ["hnsw"]);
pgrx::extension_sql_file!("../sql/filters.sql", name = "filters", requires = ["hnsw"]);
pgrx::extension_sql_file!("../sql/inspect.sql", name = "inspect", requires = ["hnsw"]);

/// Called by PostgreSQL when the library is loaded.
#[pgrx::pg_guard]
#[allow(non_snake_case)]
pub extern "C-unwind" fn _PG_init() {
    pg_error::turn_backtraces_off();
    check_block_size();
    am::register();
    txn::register();
}

/// Refuses a server with another page size than ours, which the module magic does not compare.
fn check_block_size() {
    // SAFETY: a setting that every server has; the text is the server's.
    let block_size = unsafe {
        let text = pgrx::pg_sys::GetConfigOption(c"block_size".as_ptr(), false, false);
        std::ffi::CStr::from_ptr(text)
            .to_str()
            .ok()
            .and_then(|text| text.parse::<usize>().ok())
    };
    if block_size != Some(storage::page::PAGE_SIZE) {
        error::Error::BlockSize.raise();
    }
}

/// Required by `cargo pgrx test` at the root of the crate.
#[cfg(test)]
pub mod pg_test {
    /// One-off initialization of the test framework: nothing to do.
    pub fn setup(_options: Vec<&str>) {}

    /// Settings of the test server.
    #[must_use]
    pub fn postgresql_conf_options() -> Vec<&'static str> {
        vec![]
    }
}
