//! Link arguments of the fuzz targets.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // The extension calls functions that only a server has. What is fuzzed calls none of them, but instrumented code is kept also
    // where nothing calls it.
    println!("cargo:rustc-link-arg-bins=-Wl,--unresolved-symbols=ignore-all");
}
