//! Real applications and the API suites of other projects, under `sockeye run` and beside it on the kernel's sockets.
//!
//! A suite is run twice in the same way, natively and under Sockeye, and judged by test name: what counts are the
//! tests that pass natively. Sources and packages are fetched with apt-get into `target/suites`, outside of the
//! repository. The table of docs/suites.md is written by `--write`; why a test fails is in `reasons.txt` beside this file.
//!
//! Two parts run at a time: an application, and a suite. What fails then, and needn't, is run again alone.

use std::error::Error;
use std::path::{Path, PathBuf};

mod apps;
mod fetch;
mod lanes;
mod libuv;
mod parts;
mod python;
mod redis;
mod report;
mod results;
mod socat;
mod stage;
mod tcl;
mod times;

use lanes::Board;
use stage::Stage;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Six of the applications and `CPython`'s `test_socket` only, for the check of every change
    #[arg(long)]
    brief: bool,
    /// Run what needs no root as this user (when started by root)
    #[arg(long, value_name = "NAME", default_value = "sockeye-ci")]
    user: String,
    /// Folder of the application scripts
    #[arg(long, value_name = "DIR")]
    apps: Option<PathBuf>,
    /// The command under test, built already [default: a release build made first]
    #[arg(long, value_name = "FILE")]
    sockeye: Option<PathBuf>,
    /// Write docs/suites.md, anew after each part
    #[arg(long)]
    write: bool,
    /// Begin no part after so many minutes
    #[arg(long, value_name = "N", default_value_t = 40)]
    minutes: u64,
    /// Show the end of the output of what failed
    #[arg(long)]
    verbose: bool,
    /// Only these: apps, app names, `test_socket`, python, libuv, tcl, socat, redis
    names: Vec<String>,
}

/// The part of the tests that `--brief` runs.
const BRIEF: [&str; 7] = [
    "web-nginx-curl",
    "db-redis",
    "dns-dnsmasq-dig",
    "msg-mosquitto",
    "name-nc-socat",
    "web-python-wget",
    "test_socket",
];

/// Runs the suites; true when all that pass natively pass, but for those with a reason.
pub(crate) fn run(root: &Path, args: &Args) -> Result<bool, Box<dyn Error>> {
    let stage = Stage::new(root, args)?;
    let reasons = report::Reasons::read();
    let parts = parts::wanted(&stage, args, &reasons)?;
    if parts.is_empty() {
        return Err("no suite of that name, or no scripts: see --apps".into());
    }
    let board = Board::new(&stage, parts, &reasons, args.minutes, args.write.then_some(root));
    board.run()?;
    print!("{}", report::table(&board.scores(), &reasons));
    board.finish()
}

/// Whether a suite, or all of a kind, is among those asked for.
fn is_wanted(args: &Args, name: &str) -> bool {
    if !args.names.is_empty() {
        return args.names.iter().any(|wanted| wanted == name);
    }
    if args.brief {
        BRIEF.contains(&name)
    } else {
        ["apps", "python", "libuv", "tcl", "socat", "redis"].contains(&name)
    }
}
