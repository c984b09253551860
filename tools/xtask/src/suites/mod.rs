//! Real applications and the API suites of other projects, under `sockeye run` and beside it on the kernel's sockets.
//!
//! A suite is run twice in the same way, natively and under Sockeye, and judged by test name: what counts are the
//! tests that pass natively. Sources and packages are fetched with apt-get into `target/suites`, outside of the
//! repository. The table of docs/suites.md is written by `--write`; why a test fails is in `reasons.txt` beside this file.

use std::error::Error;
use std::path::{Path, PathBuf};

mod apps;
mod fetch;
mod libuv;
mod python;
mod redis;
mod report;
mod results;
mod socat;
mod stage;
mod tcl;

use report::Score;
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
    /// Write docs/suites.md
    #[arg(long)]
    write: bool,
    /// Show the end of the output of what failed
    #[arg(long)]
    verbose: bool,
    /// Only these: apps, app names, `test_socket`, python, libuv, tcl, socat, redis
    names: Vec<String>,
}

type Suite = fn(&Stage) -> Result<Score, Box<dyn Error>>;

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
    let mut scores: Vec<Score> = Vec::new();
    let mut add = |score: Result<Score, Box<dyn Error>>| -> Result<(), Box<dyn Error>> {
        let score = score?;
        println!("{}", score.line());
        scores.push(score);
        Ok(())
    };
    let reasons = report::Reasons::read();
    let wants = |name: &str| is_wanted(args, name);
    for app in apps::all(&stage)? {
        if wants("apps") || wants(&app.name) {
            // What is known to fail costs the check of every change its time, and tells nothing.
            let is_known = |mode: &apps::Mode| args.brief && reasons.of(mode.suite(), &app.name).is_some();
            // That check has minutes only: one mode of each, two hosts where that can be.
            let most = if args.brief { 1 } else { apps::MODES.len() };
            for mode in apps::MODES.into_iter().filter(|mode| !is_known(mode)).take(most) {
                add(apps::run(&stage, &app, mode))?;
            }
        }
    }
    for module in python::MODULES {
        if wants("python") || wants(module) {
            add(python::run(&stage, module))?;
        }
    }
    let others: [(&str, Suite); 4] =
        [("libuv", libuv::run), ("tcl", tcl::run), ("socat", socat::run), ("redis", redis::run)];
    for (name, suite) in others {
        if wants(name) {
            add(suite(&stage))?;
        }
    }
    if scores.is_empty() {
        return Err("no suite of that name, or no scripts: see --apps".into());
    }
    print!("{}", report::table(&scores, &reasons));
    if args.write {
        report::write(root, &scores, &reasons)?;
    }
    Ok(scores.iter().all(|score| score.failed().all(|test| reasons.of(&score.suite, test).is_some())))
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
