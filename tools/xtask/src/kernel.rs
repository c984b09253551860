//! The Linux kernel as the other end: builds and runs `tools/kernel`, as fast as Sockeye is released.

use std::error::Error;
use std::path::Path;
use std::process::Command;

#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Options of the check: see `cargo xtask kernel --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

/// Runs the check; true when it holds, or was skipped.
pub(crate) fn run(root: &Path, args: &Args) -> Result<bool, Box<dyn Error>> {
    let mut cargo = Command::new("cargo");
    cargo.args(["run", "--quiet", "--release", "--package", "sockeye-kernel", "--"]);
    Ok(cargo.args(&args.options).current_dir(root).status()?.success())
}
