//! The process in front: the one that a shell waits for, while another one supervises.
//!
//! A supervisor has to be the ancestor of its programs as long as one of them runs, also of a daemon that
//! goes on when the program that started it has ended. The shell wants to know of that end at once. So there
//! are two: the supervisor tells the process in front how the program ended, and goes on behind it.

use crate::sys::{self, SignalFd};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, set_parent_process_death_signal, wait};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

/// The signals that are passed on, and the one that tells of children.
const SIGNALS: [i32; 5] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGCHLD];
/// What the supervisor answers when it could not run the program; the exit status follows.
const FAILED: u8 = 1;
/// What it answers when the program has ended; the wait status follows.
const ENDED: u8 = 0;

/// One of the two processes.
#[derive(Debug)]
pub enum Split {
    /// The one that the shell waits for.
    Front(Front),
    /// The one that supervises.
    Behind(Behind),
}

/// The process in front.
#[derive(Debug)]
pub struct Front {
    supervisor: Pid,
    report: OwnedFd,
    signals: SignalFd,
}

/// The supervisor's way to the process in front of it.
#[derive(Debug)]
pub struct Behind {
    front: Pid,
    report: File,
}

/// How the program went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It ended so.
    Program(ExitStatus),
    /// It could not be run; the supervisor has said why, and names the exit status.
    Failed(u8),
    /// The supervisor is gone, and the program with it.
    Lost,
}

/// Makes two processes of this one, which must have one thread. The one behind dies with the one in front.
pub fn split() -> io::Result<Split> {
    let (report, report_end) = pipe_with(PipeFlags::CLOEXEC)?;
    let front = rustix::process::getpid();
    // The signals' mask is the child's own again.
    let signals = SignalFd::new(&SIGNALS)?;
    if let Some(supervisor) = sys::fork()? {
        return Ok(Split::Front(Front { supervisor, report, signals }));
    }
    drop((signals, report));
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // Who was in front may have died before that.
    if rustix::process::getppid() != Some(front) {
        return Err(io::ErrorKind::BrokenPipe.into());
    }
    Ok(Split::Behind(Behind { front, report: File::from(report_end) }))
}

impl Front {
    /// Waits until the supervisor tells how the program went, and passes signals on meanwhile.
    pub fn wait(self) -> io::Result<Ended> {
        loop {
            let mut ready =
                [PollFd::new(&self.report, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
            match poll(&mut ready, None) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
            while let Some(info) = self.signals.read() {
                match Signal::from_named_raw(info.signal) {
                    Some(Signal::CHILD) => self.reap(),
                    // A terminal's signal has reached the program already.
                    Some(signal) if info.from_process => drop(kill_process(self.supervisor, signal)),
                    _ => {}
                }
            }
            let told = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
            if ready[0].revents().intersects(told) {
                return self.read_report();
            }
        }
    }

    fn read_report(&self) -> io::Result<Ended> {
        let mut message = [0; 5];
        match File::from(self.report.try_clone()?).read_exact(&mut message) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Ended::Lost),
            Err(error) => return Err(error),
        }
        let [kind, value @ ..] = message;
        let value = i32::from_ne_bytes(value);
        Ok(if kind == ENDED {
            Ended::Program(ExitStatus::from_raw(value))
        } else {
            Ended::Failed(value as u8)
        })
    }

    /// Clears away a network that it started and that has ended.
    fn reap(&self) {
        while let Ok(Some((pid, _))) = wait(WaitOptions::NOHANG) {
            if pid == self.supervisor {
                return;
            }
        }
    }
}

impl Behind {
    /// The process in front.
    pub fn front(&self) -> Pid {
        self.front
    }

    /// Tells that the program has ended.
    pub fn ended(self, status: ExitStatus) {
        self.say(ENDED, status.into_raw());
    }

    /// Tells that the program could not be run, for which the exit status stands.
    pub fn failed(self, exit: u8) {
        self.say(FAILED, exit.into());
    }

    fn say(mut self, kind: u8, value: i32) {
        let mut message = [kind, 0, 0, 0, 0];
        message[1..].copy_from_slice(&value.to_ne_bytes());
        // Nobody is left to tell if this fails.
        self.report.write_all(&message).ok();
    }

    /// Leaves the terminal and the shell's care, for programs that go on when the one that was to be run
    /// has ended: then this process isn't to die with the one in front.
    pub fn detach(&self) -> io::Result<()> {
        set_parent_process_death_signal(None)?;
        leave_terminal()
    }
}

/// Makes this process one that goes on in the background: a session of its own, and nothing of the terminal.
pub fn leave_terminal() -> io::Result<()> {
    rustix::process::setsid()?;
    rustix::process::chdir("/")?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(null.as_fd())?;
    rustix::stdio::dup2_stdout(null.as_fd())?;
    Ok(rustix::stdio::dup2_stderr(null.as_fd())?)
}
