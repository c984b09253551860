//! Ending as a program ended.

use crate::sys;
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
