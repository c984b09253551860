//! Chores of the project: `cargo xtask NAME`.

#![forbid(unsafe_code)]

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod capi;
mod conform;
mod labs;
mod loc;
mod options;
mod rfc;
mod suites;
mod tool;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", about = "Chores of the project")]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Check that no file and no function is too long to be read
    Loc,
    /// Write docs/options.md, the options of sockets and what is done about them
    Options(options::Args),
    /// Write crates/capi/include/sockeye.h, the header of the C library
    Header(capi::HeaderArgs),
    /// Build the C library, and install it with its header and a file for pkg-config
    InstallC(capi::InstallArgs),
    /// Play packet scripts against the stack, and count those that pass
    Conform(conform::Args),
    /// Run real programs under `sockeye lab`, on the lab files of labs/
    Labs(labs::Args),
    /// Make the same random calls on the kernel's sockets and on Sockeye's, and compare the answers
    Differ(tool::Args),
    /// Measure transfers between Sockeye and the Linux kernel beside kernel to kernel (needs root)
    Kernel(tool::Args),
    /// Run applications and other projects' suites natively and under `sockeye run`, and compare
    Suites(suites::Args),
    /// List RFC 9293's labelled requirements, and the code and the tests that cite them
    Rfc(rfc::Args),
}

fn main() -> ExitCode {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let outcome = match Args::parse().chore {
        Chore::Loc => loc::run(&root),
        Chore::Options(args) => options::run(&root, &args),
        Chore::Header(args) => capi::header(&root, &args),
        Chore::InstallC(args) => capi::install(&root, &args).map(|()| true),
        Chore::Conform(args) => conform::run(&root, &args),
        Chore::Labs(args) => labs::run(&root, &args),
        Chore::Differ(args) => tool::differ(&root, &args),
        Chore::Kernel(args) => tool::kernel(&root, &args),
        Chore::Suites(args) => suites::run(&root, &args),
        Chore::Rfc(args) => rfc::run(&root, &args),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::from(2)
        }
    }
}
