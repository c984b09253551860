//! Programs of this project: checks of their own below `tools/`, which are built and run, and what is built for others.

use std::error::Error;
use std::path::{Path, PathBuf};
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

/// Where cargo builds: this program lies in the folder of a profile there.
pub(crate) fn target() -> Result<PathBuf, Box<dyn Error>> {
    let program = std::env::current_exe()?;
    Ok(program.ancestors().nth(2).ok_or("this program isn't where cargo builds")?.to_owned())
}

/// Builds a package as it is released; the folder with what was built.
pub(crate) fn release(root: &Path, package: &str) -> Result<PathBuf, Box<dyn Error>> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--quiet", "--release", "--package", package]).current_dir(root);
    if !cargo.status()?.success() {
        return Err(format!("{package} can't be built").into());
    }
    Ok(target()?.join("release"))
}

/// Both are built as Sockeye is released: what they are made of is compiled once for all three.
fn run(root: &Path, package: &str, args: &Args) -> Result<bool, Box<dyn Error>> {
    let mut cargo = Command::new("cargo");
    cargo.args(["run", "--quiet", "--release", "--package", package, "--"]).args(&args.options);
    Ok(cargo.current_dir(root).status()?.success())
}
