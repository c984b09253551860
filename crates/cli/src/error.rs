//! What the command says when it can't do its work: one line, and an exit status.

use std::fmt;
use std::io;

use sockeye_run::{ControlError, PlaceError, PublishSpecError};

/// Exit status when the command itself failed, apart from a program's own (as `env` and `timeout`).
const EXIT_FAILED: u8 = 125;
/// Exit status for a wrong command line or lab file.
const EXIT_USAGE: u8 = 2;

/// An error for the user, printed once by `main`.
#[derive(Debug)]
pub(crate) struct CliError {
    message: String,
    exit: u8,
}

impl CliError {
    /// The user's input is wrong: `message` names it and says what to write instead.
    pub(crate) fn usage(message: impl Into<String>) -> CliError {
        CliError { message: message.into(), exit: EXIT_USAGE }
    }

    /// Something else went wrong.
    pub(crate) fn failed(message: impl Into<String>) -> CliError {
        CliError { message: message.into(), exit: EXIT_FAILED }
    }

    /// A failure with an exit status of its own, as 127 for a missing program.
    pub(crate) fn with_exit(message: impl Into<String>, exit: u8) -> CliError {
        CliError { message: message.into(), exit }
    }

    /// The same with what it is about in front.
    pub(crate) fn about(self, what: &str) -> CliError {
        CliError { message: format!("{what}: {}", self.message), ..self }
    }

    pub(crate) fn exit(&self) -> u8 {
        self.exit
    }
}

/// Something of sockeye's own failed; nothing more is known of it.
impl From<io::Error> for CliError {
    fn from(error: io::Error) -> CliError {
        CliError::failed(error.to_string())
    }
}

impl From<ControlError> for CliError {
    fn from(error: ControlError) -> CliError {
        match error {
            ControlError::Misused(why) => CliError::usage(why),
            error => CliError::failed(error.to_string()),
        }
    }
}

impl From<PlaceError> for CliError {
    fn from(error: PlaceError) -> CliError {
        match error {
            PlaceError::BadName(_) => CliError::usage(error.to_string()),
            _ => CliError::failed(error.to_string()),
        }
    }
}

impl From<PublishSpecError> for CliError {
    fn from(error: PublishSpecError) -> CliError {
        CliError::usage(error.to_string())
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // One line, whatever a message brought along.
        let line =
            self.message.lines().map(str::trim).filter(|l| !l.is_empty()).collect::<Vec<_>>().join("; ");
        f.write_str(&line)
    }
}

impl std::error::Error for CliError {}
