//! The parts of a run: an application in one mode, a file of `CPython`'s tests, or another project's suite.

use super::apps::{self, App, Mode};
use super::report::{Reasons, Score};
use super::stage::Stage;
use super::{Args, is_wanted, libuv, python, redis, socat, tcl};
use std::error::Error;
use std::sync::Arc;

type Suite = fn(&Stage) -> Result<Score, Box<dyn Error>>;

const SUITES: [(&str, Suite); 4] =
    [("libuv", libuv::run), ("tcl", tcl::run), ("socat", socat::run), ("redis", redis::run)];

/// Something that runs by itself and gives a score.
pub(super) struct Part {
    /// As which it is told about.
    pub(super) name: String,
    job: Job,
}

enum Job {
    App(Arc<App>, Mode),
    Python(&'static str),
    Suite(Suite),
}

impl Part {
    /// Whether it is an application.
    pub(super) fn is_app(&self) -> bool {
        matches!(self.job, Job::App(..))
    }

    /// Runs it, natively and under Sockeye.
    pub(super) fn run(&self, stage: &Stage) -> Result<Score, Box<dyn Error>> {
        match &self.job {
            Job::App(app, mode) => apps::run(stage, app, *mode),
            Job::Python(module) => python::run(stage, module),
            Job::Suite(run) => run(stage),
        }
    }
}

/// The parts that are asked for, in the order of the table.
pub(super) fn wanted(stage: &Stage, args: &Args, reasons: &Reasons) -> Result<Vec<Part>, Box<dyn Error>> {
    let mut parts = Vec::new();
    let wants = |name: &str| is_wanted(args, name);
    let apps = apps::all(stage)?.into_iter().filter(|app| wants("apps") || wants(&app.name));
    for app in apps.map(Arc::new) {
        // What is known to fail costs the check of every change its time, and tells nothing.
        let is_known = |mode: &Mode| args.brief && reasons.of(mode.suite(), &app.name).is_some();
        // That check has minutes only: one mode of each, two hosts where that can be.
        let most = if args.brief { 1 } else { apps::MODES.len() };
        for mode in apps::MODES.into_iter().filter(|mode| !is_known(mode)).take(most) {
            let name = format!("{}: {}", mode.suite(), app.name);
            parts.push(Part { name, job: Job::App(Arc::clone(&app), mode) });
        }
    }
    for module in python::MODULES.into_iter().filter(|module| wants("python") || wants(module)) {
        parts.push(Part { name: module.to_owned(), job: Job::Python(module) });
    }
    for (name, run) in SUITES.into_iter().filter(|(name, _)| wants(name)) {
        parts.push(Part { name: name.to_owned(), job: Job::Suite(run) });
    }
    Ok(parts)
}
