//! The end of what programs leave behind: a private network ends with its programs, so nobody could reach what
//! goes on running in it, and its socket calls would have nobody to answer them.

use super::Supervisor;
use crate::family::{children, is_stopped_and_deaf};
use rustix::process::{Pid, Signal, kill_process};
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

/// Asks a child to end. A stopped process heeds nothing till it goes on; one that then would not heed SIGTERM
/// either is killed: if it is an interactive shell, all it would do is to take the terminal.
fn ask(child: Pid) {
    let signal = if is_stopped_and_deaf(child) { Signal::KILL } else { Signal::TERM };
    kill_process(child, signal).ok();
    kill_process(child, Signal::CONT).ok();
}

impl Supervisor {
    /// Ends the programs' descendants that still run: waits a moment, then sends SIGTERM, then SIGKILL. Their
    /// calls are answered meanwhile. At most some four seconds.
    ///
    /// Every child of this process counts: only for a process that starts none but through this supervisor, and
    /// [reaps orphans](Supervisor::reap_orphans).
    pub fn end_descendants(&mut self) -> io::Result<()> {
        self.end_after(UNASKED, HEEDING)
    }

    /// Kills the programs and their descendants at once, as somebody has killed a process that belongs to this
    /// one. What [`Supervisor::end_descendants`] says of children holds here too.
    pub fn kill_descendants(&mut self) -> io::Result<()> {
        self.end_after(Duration::ZERO, Duration::ZERO)
    }

    fn end_after(&mut self, unasked: Duration, heeding: Duration) -> io::Result<()> {
        let mut asked = Vec::new();
        let start = Instant::now();
        while self.has_programs() && start.elapsed() < unasked + heeding + KILLING {
            // Without a guard there is no time: who else would end them if this process were killed?
            if start.elapsed() > unasked || self.is_unguarded {
                let kill = start.elapsed() > unasked + heeding || self.is_unguarded;
                // The children of who ends become ours and have their turn then.
                for child in children() {
                    if kill {
                        kill_process(child, Signal::KILL).ok();
                    } else if !asked.contains(&child) {
                        ask(child);
                        asked.push(child);
                    }
                }
            }
            self.turn(Some(LOOK))?;
        }
        Ok(())
    }
}
