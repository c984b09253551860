//! Has crates/net/src/sync.rs take shuttle's threads and locks.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-cfg=sockeye_model");
}
