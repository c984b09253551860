//! Ending as a program ended.

use crate::sys::{self, SignalFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitCode, ExitStatus};

/// The exit code for a process that ends as the program with this status did. If a signal killed the program,
/// this process kills itself with the same one, so that its parent sees what it would have seen.
pub fn end_as(status: ExitStatus) -> ExitCode {
    if let Some(signal) = status.signal() {
        sys::die_of(signal);
        return ExitCode::from(128_u8.wrapping_add(signal as u8));
    }
    ExitCode::from(status.code().unwrap_or_default() as u8)
}

/// The signals by which people and systems end a process (`SIGINT`, `SIGTERM`, `SIGHUP`), held back from the calling thread,
/// so that it can clear away first. Readable once one has come.
pub struct EndSignals {
    signals: SignalFd,
}

impl EndSignals {
    /// Holds them back from now on, until this is dropped.
    pub fn hold() -> io::Result<EndSignals> {
        Ok(EndSignals { signals: SignalFd::new(&[libc::SIGINT, libc::SIGTERM, libc::SIGHUP])? })
    }

    /// Ends the process by the signal that has come; the exit code for it if it doesn't end so.
    pub fn end(self) -> ExitCode {
        let signal = self.signals.read().map_or(libc::SIGTERM, |info| info.signal);
        sys::die_of(signal);
        ExitCode::from(128_u8.wrapping_add(signal as u8))
    }
}

impl AsFd for EndSignals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.signals.as_fd()
    }
}
