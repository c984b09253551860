//! Checks that are programs of their own below `tools/`: builds and runs them.

use std::error::Error;
use std::path::Path;
use std::process::Command;

#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Options of the check: see its `--help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

/// Runs `tools/kernel`; true when it holds, or was skipped.
pub(crate) fn kernel(root: &Path, args: &Args) -> Result<bool, Box<dyn Error>> {
    run(root, "sockeye-kernel", args)
}

/// Runs `tools/differ`; true when there is no difference, or it was skipped.
pub(crate) fn differ(root: &Path, args: &Args) -> Result<bool, Box<dyn Error>> {
    run(root, "sockeye-differ", args)
}

/// Both are built as Sockeye is released: what they are made of is compiled once for all three.
fn run(root: &Path, package: &str, args: &Args) -> Result<bool, Box<dyn Error>> {
    let mut cargo = Command::new("cargo");
    cargo.args(["run", "--quiet", "--release", "--package", package, "--"]).args(&args.options);
    Ok(cargo.current_dir(root).status()?.success())
}
