//! How the shared library is linked. Programs ask for it by a name that all versions below 1.0 with the same second
//! number have.

fn main() {
    let number = |name: &str| std::env::var(name).unwrap_or_default();
    let (major, minor) = (number("CARGO_PKG_VERSION_MAJOR"), number("CARGO_PKG_VERSION_MINOR"));
    println!("cargo:rerun-if-changed=build.rs");
    // A thread of a network, and what threads leave behind, may outlive a dlclose.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libsockeye.so.{major}.{minor}");
}
