//! `alopex_version()`: version of the loaded library.

use pgrx::prelude::*;

/// Version of the loaded library, and the commit from which it was built. The catalog knows only
/// the script that made the extension.
#[pg_extern(sql = false)]
fn alopex_version() -> &'static str {
    concat!(env!("CARGO_PKG_VERSION"), " (commit ", env!("PG_ALOPEX_COMMIT"), ")")
}
