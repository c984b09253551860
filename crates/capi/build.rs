//! The name by which programs ask for the shared library: versions below 1.0 with the same second number fit.

fn main() {
    let number = |name: &str| std::env::var(name).unwrap_or_default();
    let (major, minor) = (number("CARGO_PKG_VERSION_MAJOR"), number("CARGO_PKG_VERSION_MINOR"));
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libsockeye.so.{major}.{minor}");
}
