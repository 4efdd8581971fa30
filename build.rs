//! Link arguments of the extension's shared library, and the commit that it is built from.

use std::path::Path;
use std::process::Command;

/// What goes into the library.
const SOURCES: [&str; 6] = [
    "src",
    "sql",
    "Cargo.toml",
    "Cargo.lock",
    "build.rs",
    "pg_alopex.control",
];

fn main() {
    SOURCES
        .iter()
        .for_each(|source| println!("cargo:rerun-if-changed={source}"));
    // `cargo pgrx` reads the SQL of the extension from a section of the library that no code refers to: the linker must not
    // drop it. Said here, for the library alone, it leaves the flags of every other crate as they are; pgrx's own way
    // (rustflags) would compile them all a second time.
    let target = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if target != "macos" && target != "windows" {
        println!("cargo:rustc-link-arg-cdylib=-Wl,--no-gc-sections");
    }
    let commit = commit().unwrap_or_else(|| "unknown".to_owned());
    println!("cargo:rustc-env=PG_ALOPEX_COMMIT={commit}");
}

/// The commit of this checkout, with `-dirty` where what goes into the library differs from it; nothing without git, or where
/// the sources are not git's.
fn commit() -> Option<String> {
    git(&["ls-files", "--error-unmatch", "build.rs"])?;
    let commit = git(&["rev-parse", "--short=7", "HEAD"])?;
    watch_head();
    let changes = git(&[&["status", "--porcelain", "--"], &SOURCES[..]].concat())?;
    let dirty = if changes.is_empty() { "" } else { "-dirty" };
    Some(format!("{commit}{dirty}"))
}

/// Has this run again when another commit is checked out, or made: then a file changes that names it. Sources are looked at
/// besides, so the index of git need not be.
fn watch_head() {
    // A file that does not exist would have the library compiled anew each time.
    let path = |name: &str| git(&["rev-parse", "--git-path", name]).filter(|path| Path::new(path).exists());
    let mut names = vec!["HEAD", "logs/HEAD", "reftable"];
    let head = git(&["symbolic-ref", "--quiet", "HEAD"]).unwrap_or_default();
    match path(&head) {
        Some(_) => names.push(&head),
        // The branch is packed together with others, and gets a file of its own with its next commit.
        None => names.extend(["packed-refs", head.rsplit_once('/').map_or(".", |(parent, _)| parent)]),
    }
    for path in names.into_iter().filter_map(path) {
        println!("cargo:rerun-if-changed={path}");
    }
}

/// What git prints for this directory, which may be another user's; nothing where it fails.
fn git(arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    // As a hook runs it, it would be about another repository.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX"] {
        command.env_remove(name);
    }
    command.args(["--no-optional-locks", "-c", "safe.directory=*"]);
    let output = command.args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
