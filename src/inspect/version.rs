//! `alopex_version()`: which library is loaded.

use pgrx::prelude::*;

/// The version of the loaded library, and the commit that it was built from: the catalog knows only
/// which script made the extension.
#[pg_extern(sql = false)]
fn alopex_version() -> &'static str {
    concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("PG_ALOPEX_COMMIT"), ")")
}
