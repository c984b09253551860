//! Skeleton.
use std::path::Path;
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}
pub(crate) fn run(_root: &Path, _args: &Args) -> Result<bool, Box<dyn std::error::Error>> {
    Ok(true)
}
