//! Link arguments of the extension's shared library.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // `cargo pgrx` reads the SQL of the extension from a section of the library that no code refers to: the linker must not
    // drop it. Said here, for the library alone, it leaves the flags of every other crate as they are; pgrx's own way
    // (rustflags) would compile them all a second time.
    let target = std::env::var("CARGO_CFG_TARGET_OS").unwrap_or_default();
    if target != "macos" && target != "windows" {
        println!("cargo:rustc-link-arg-cdylib=-Wl,--no-gc-sections");
    }
}
