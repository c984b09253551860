//! The process in front: the one that a shell waits for, while another one supervises.
//!
//! A supervisor has to be the ancestor of its programs as long as one of them runs, also of a daemon that
//! goes on when the program that started it has ended. The shell wants to know of that end at once. So the
//! supervisor tells the process in front how the program ended, and goes on behind it.
//!
//! Between the two stands a guard: it is the supervisor's parent and does nothing but wait. Should the
//! supervisor be killed, the kernel hands all that it leaves behind to the guard, which ends it: those
//! processes' socket calls have nobody to answer them. The guard also ends the supervisor when the process
//! in front is killed, and the supervisor ends its programs when the guard is. So whichever of the three is
//! killed, nothing stays, and only a process's own children and descriptors of processes are ever killed.

use crate::family::children;
use crate::sys::{self, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitOptions, kill_process, pidfd_open, pidfd_send_signal, wait,
};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// The signals that are passed on, and the one that tells of children.
const SIGNALS: [i32; 5] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGCHLD];
/// What the supervisor answers when it could not run the program; the exit status follows.
const FAILED: u8 = 1;
/// What it answers when the program has ended; the wait status follows.
const ENDED: u8 = 0;
/// How long the guard kills what a killed supervisor left; a process may take a moment to die.
const KILLING: Duration = Duration::from_secs(5);
/// How often it looks whether more was left to it.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };

/// One of the three processes.
#[derive(Debug)]
pub enum Split {
    /// The one that the shell waits for.
    Front(Front),
    /// The one between the two.
    Guard(Guard),
    /// The one that supervises.
    Behind(Behind),
}

/// The process in front.
#[derive(Debug)]
pub struct Front {
    guard: Pid,
    report: OwnedFd,
    signals: SignalFd,
}

/// The process that outlives a killed supervisor.
#[derive(Debug)]
pub struct Guard {
    /// The process in front, until its end means nothing.
    front: Option<OwnedFd>,
    supervisor: Pid,
    /// Ends when the supervisor has let the process in front go.
    released: OwnedFd,
    signals: SignalFd,
}

/// The supervisor's way to the process in front of it.
#[derive(Debug)]
pub struct Behind {
    front: OwnedFd,
    guard: OwnedFd,
    report: File,
    /// Open as long as the supervisor is to end with the process in front.
    held: Option<OwnedFd>,
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

/// Makes three processes of this one, which must have one thread.
pub fn split() -> io::Result<Split> {
    let (report, report_end) = pipe_with(PipeFlags::CLOEXEC)?;
    let front = pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
    // The signals' mask is the supervisor's own again.
    let signals = SignalFd::new(&SIGNALS)?;
    if let Some(guard) = sys::fork()? {
        return Ok(Split::Front(Front { guard, report, signals }));
    }
    drop(report);
    rustix::process::set_child_subreaper(Pid::from_raw(1))?;
    let guard = pidfd_open(rustix::process::getpid(), PidfdFlags::empty())?;
    let (released, held) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
    match sys::fork()? {
        Some(supervisor) => Ok(Split::Guard(Guard { front: Some(front), supervisor, released, signals })),
        None => Ok(Split::Behind(Behind { front, guard, report: File::from(report_end), held: Some(held) })),
    }
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
                    Some(Signal::CHILD) => reap(),
                    // A terminal's signal has reached the program already.
                    Some(signal) if info.from_process => drop(kill_process(self.guard, signal)),
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
}

/// Clears away children that have ended: a network that this process started, the guard.
fn reap() {
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
}

impl Guard {
    /// Waits for the end of the supervisor, then ends what it left behind, and itself. Passes signals on.
    pub fn watch(mut self) -> ! {
        // Whoever waits for the end of a pipe must not wait for this process.
        let front = self.front.as_ref().map_or(self.released.as_fd(), AsFd::as_fd);
        sys::close_all_but(&[front, self.released.as_fd(), self.signals.as_fd()]);
        leave_terminal().ok();
        while self.supervisor_runs() {
            let mut ready = vec![PollFd::new(&self.signals, PollFlags::IN)];
            ready.extend(self.front.iter().map(|front| PollFd::new(front, PollFlags::IN)));
            poll(&mut ready, None).ok();
            let front_ended = ready.get(1).is_some_and(|front| !front.revents().is_empty());
            self.pass_signals();
            if front_ended {
                self.front = None;
                if !self.is_released() {
                    kill_process(self.supervisor, Signal::KILL).ok();
                }
            }
        }
        let deadline = Instant::now() + KILLING;
        while Instant::now() < deadline {
            for child in children() {
                kill_process(child, Signal::KILL).ok();
            }
            // Those who die leave their own children to this process.
            match wait(WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => drop(poll(&mut [], Some(&LOOK))),
                Err(_) => break,
            }
        }
        std::process::exit(0);
    }

    fn pass_signals(&self) {
        while let Some(info) = self.signals.read() {
            match Signal::from_named_raw(info.signal) {
                Some(Signal::CHILD) | None => {}
                // The supervisor is a child that isn't reaped, so its number is its own.
                Some(signal) => drop(kill_process(self.supervisor, signal)),
            }
        }
    }

    /// Reaps the supervisor if it has ended.
    fn supervisor_runs(&self) -> bool {
        matches!(rustix::process::waitpid(Some(self.supervisor), WaitOptions::NOHANG), Ok(None))
    }

    /// Whether the supervisor has let the process in front go, which it does before that one ends.
    fn is_released(&self) -> bool {
        matches!(rustix::io::read(&self.released, &mut [0_u8; 1]), Ok(0))
    }
}

impl Behind {
    /// The process in front.
    pub fn front(&self) -> io::Result<OwnedFd> {
        self.front.try_clone()
    }

    /// The guard, at whose end the supervisor is to end its programs.
    pub fn guard(&self) -> io::Result<OwnedFd> {
        self.guard.try_clone()
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
        // Before the process in front can end.
        self.held = None;
        let mut message = [kind, 0, 0, 0, 0];
        message[1..].copy_from_slice(&value.to_ne_bytes());
        // Nobody is left to tell if this fails.
        self.report.write_all(&message).ok();
        // Stopped, as its program was, it would not hear.
        pidfd_send_signal(&self.front, Signal::CONT).ok();
    }

    /// Leaves the terminal and the shell's care, for programs that go on when the one that was to be run
    /// has ended: then this process isn't to end with the one in front.
    pub fn detach(&mut self) -> io::Result<()> {
        self.held = None;
        leave_terminal()
    }
}

/// Closes what this process was given by who started it, but for the standard streams: a lock or a pipe of a
/// shell's is not to be held by a process that outlives it. To be called first of all.
pub fn close_inherited() {
    sys::close_inherited();
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
