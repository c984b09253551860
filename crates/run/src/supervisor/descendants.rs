//! The end of what programs leave behind: a private network ends with its programs, so nobody could reach what
//! goes on running in it, and its socket calls would have nobody to answer them.

use super::Supervisor;
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io;
use std::time::{Duration, Instant};

/// How long descendants may take to end by themselves, as those do that read the rest of a pipe.
const UNASKED: Duration = Duration::from_millis(100);
/// How long they may take to heed SIGTERM.
const HEEDING: Duration = Duration::from_secs(2);
/// How long SIGKILL may take to reach the last of them.
const KILLING: Duration = Duration::from_secs(2);
/// How often they are looked at.
const LOOK: Duration = Duration::from_millis(10);

impl Supervisor {
    /// Ends the programs' descendants that still run: waits a moment, then sends SIGTERM, then SIGKILL. Their
    /// calls are answered meanwhile. At most some four seconds.
    ///
    /// Every child of this process counts: only for a process that starts none but through this supervisor, and
    /// [reaps orphans](Supervisor::reap_orphans).
    pub fn end_descendants(&mut self) -> io::Result<()> {
        let mut asked = Vec::new();
        let start = Instant::now();
        while self.has_programs() && start.elapsed() < UNASKED + HEEDING + KILLING {
            if start.elapsed() > UNASKED {
                let kill = start.elapsed() > UNASKED + HEEDING;
                // The children of who ends become ours and have their turn then.
                for child in children() {
                    if kill {
                        kill_process(child, Signal::KILL).ok();
                    } else if !asked.contains(&child) {
                        kill_process(child, Signal::TERM).ok();
                        // A stopped process heeds nothing.
                        kill_process(child, Signal::CONT).ok();
                        asked.push(child);
                    }
                }
            }
            self.turn(Some(LOOK))?;
        }
        Ok(())
    }
}

/// The children of this process, in any thread's name.
fn children() -> Vec<Pid> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<i32>>())
        .filter_map(Pid::from_raw)
        .collect()
}
