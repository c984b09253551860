//! The same calls on the kernel's sockets and on Sockeye's: builds and runs `tools/differ`.

use std::error::Error;
use std::path::Path;
use std::process::Command;

#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Args {
    /// Options of the check: see `cargo xtask differ --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

/// Runs the check; true when it holds, or was skipped.
pub(crate) fn run(root: &Path, args: &Args) -> Result<bool, Box<dyn Error>> {
    let mut cargo = Command::new("cargo");
    // The stack is optimized in every profile: the kernel is what takes the time.
    cargo.args(["run", "--quiet", "--package", "sockeye-differ", "--"]);
    Ok(cargo.args(&args.options).current_dir(root).status()?.success())
}
