//! The processes that are this one's to end.

use libc::SIGTERM;
use rustix::process::Pid;
use std::fs;

/// The children of this process, in any thread's name.
pub(crate) fn children() -> Vec<Pid> {
    children_of("self")
}

/// The children of this process, theirs, and so on.
pub(crate) fn descendants() -> Vec<Pid> {
    let mut found = children();
    let mut next = 0;
    while let Some(&process) = found.get(next) {
        found.extend(children_of(&process.as_raw_nonzero().to_string()));
        next += 1;
    }
    found
}

fn children_of(process: &str) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>())
        .filter_map(Pid::from_raw)
        .collect()
}

/// Whether a child is stopped and ignores SIGTERM.
pub(crate) fn is_stopped_and_deaf(child: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", child.as_raw_nonzero())).unwrap_or_default();
    let field = |name| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let ignored = field("SigIgn:").and_then(|signals| u64::from_str_radix(signals, 16).ok()).unwrap_or(0);
    field("State:").is_some_and(|state| state.starts_with('T')) && ignored & 1 << (SIGTERM - 1) != 0
}
