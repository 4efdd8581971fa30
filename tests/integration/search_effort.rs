//! How much a test does: `make test` runs the short form of each, `make soak` (`PG_ALOPEX_SOAK=1`)
//! the long one.

use std::sync::LazyLock;

static IS_LONG: LazyLock<bool> = LazyLock::new(|| std::env::var_os("PG_ALOPEX_SOAK").is_some_and(|value| value == "1"));

/// How often to do something: `short` times, or `long` times in the long form.
pub fn rounds<T>(short: T, long: T) -> T {
    if *IS_LONG { long } else { short }
}
