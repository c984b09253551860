//! The programs that a supervisor started: what they print, how they end, what their stopping means.

use super::{ProgramId, StdStream, Supervisor, SupervisorEvent};
use crate::sys;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, waitid};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

/// Most bytes taken from a program's output at once.
const OUTPUT: usize = 64 * 1024;
/// Most children reaped at one signal.
const REAPED: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Program {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
    pub(super) output: [Option<File>; 2],
    pub(super) leads_group: bool,
    pub(super) status: Option<ExitStatus>,
    pub(super) reported: bool,
}

impl Program {
    /// Waits until it has ended.
    pub(super) fn wait(&self) {
        if self.status.is_none() {
            waitid(WaitId::PidFd(self.pidfd.as_fd()), WaitIdOptions::EXITED).ok();
        }
    }
}

impl Supervisor {
    /// Reads what a program printed, once; says how many bytes.
    pub(super) fn on_output(&mut self, index: usize, stream: usize) -> usize {
        let Some(pipe) = self.programs.get_mut(index).and_then(|program| program.output.get_mut(stream))
        else {
            return 0;
        };
        let Some(file) = pipe else { return 0 };
        let mut data = vec![0; OUTPUT];
        match file.read(&mut data) {
            Ok(0) => *pipe = None,
            Ok(read) => {
                data.truncate(read);
                data.shrink_to_fit();
                let stream = if stream == 0 { StdStream::Stdout } else { StdStream::Stderr };
                self.events.push_back(SupervisorEvent::Output { program: ProgramId(index), stream, data });
                return read;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => *pipe = None,
        }
        0
    }

    pub(super) fn on_exit(&mut self, index: usize) {
        let Some(program) = self.programs.get_mut(index) else { return };
        if program.status.is_none() {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
            let raw = match waitid(WaitId::PidFd(program.pidfd.as_fd()), options) {
                Ok(Some(status)) => {
                    let code = status.exit_status().map(|code| code << 8);
                    code.or(status.terminating_signal()).unwrap_or(0)
                }
                Ok(None) => return,
                // Somebody else has reaped it: how it ended is not known.
                Err(_) => 0,
            };
            program.status = Some(ExitStatus::from_raw(raw));
            self.poller.forget(&program.pidfd);
        }
        // What it printed before comes first; a descendant may hold the pipe open, which isn't waited for, and
        // may print without end.
        for stream in 0..2 {
            let pipe = self.programs[index].output[stream].as_ref();
            let mut left = pipe.and_then(|pipe| rustix::io::ioctl_fionread(pipe).ok()).unwrap_or(0);
            while left > 0 {
                match self.on_output(index, stream) {
                    0 => break,
                    read => left = left.saturating_sub(read as u64),
                }
            }
        }
        let Some(program) = self.programs.get_mut(index) else { return };
        if let Some(status) = program.status
            && !std::mem::replace(&mut program.reported, true)
        {
            self.events.push_back(SupervisorEvent::Exited { program: ProgramId(index), status });
        }
    }

    pub(super) fn on_signals(&mut self) {
        while let Some(info) = self.signals.read() {
            if info.signal == libc::SIGCHLD {
                self.stop_along();
                self.reap();
                continue;
            }
            self.events
                .push_back(SupervisorEvent::Signal { signal: info.signal, from_process: info.from_process });
        }
    }

    /// Stops the process that the shell waits for when a program of its process group has stopped (itself, as
    /// editors do), so that the shell gets its prompt back; the shell's SIGCONT goes to both.
    fn stop_along(&self) {
        let group =
            || self.programs.iter().filter(|program| !program.leads_group && program.status.is_none());
        let stopped = |options| {
            let options = options | WaitIdOptions::STOPPED | WaitIdOptions::NOHANG;
            group().find_map(|program| {
                waitid(WaitId::PidFd(program.pidfd.as_fd()), options).ok().flatten()?.stopping_signal()
            })
        };
        if stopped(WaitIdOptions::NOWAIT).is_none() {
            return;
        }
        // The SIGCONT that ends a stop of the whole group may have reached this process first.
        std::thread::sleep(Duration::from_millis(1));
        // By the signal that the program was stopped by: of a terminal's the other process has got its own, and
        // is told no news.
        if let Some(signal) = stopped(WaitIdOptions::empty()).and_then(Signal::from_named_raw) {
            let _ = match &self.front {
                Some(front) => rustix::process::pidfd_send_signal(front, signal),
                None => rustix::process::kill_process(rustix::process::getpid(), Signal::STOP),
            };
        }
    }

    fn reap(&mut self) {
        if !self.reaps_orphans {
            return;
        }
        for _ in 0..REAPED {
            let Some(pid) = sys::ended_child().and_then(Pid::from_raw) else { return };
            match self.programs.iter().position(|program| program.pid == pid && program.status.is_none()) {
                Some(index) => self.on_exit(index),
                None => drop(waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG)),
            }
        }
    }
}
