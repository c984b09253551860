//! What happened so far, line by line, and how a script fails.

use core::fmt;
use core::time::Duration;

/// A script that did not play as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Line of the event that failed, from 1; 0 for the script as a whole.
    pub line: usize,
    /// Text of the event.
    pub text: String,
    /// When it failed, since the start of the script.
    pub at: Duration,
    /// What was expected.
    pub expected: String,
    /// What came.
    pub came: String,
    /// What happened until then, one line each.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            writeln!(f, "{}", self.text)?;
        } else {
            writeln!(f, "line {}: {}", self.line, self.text)?;
        }
        writeln!(f, "  at       {}", seconds(self.at))?;
        writeln!(f, "  expected {}", self.expected)?;
        writeln!(f, "  came     {}", self.came)?;
        f.write_str("  so far")?;
        self.trace.iter().try_for_each(|line| write!(f, "\n    {line}"))
    }
}

impl std::error::Error for Failure {}

/// A time as scripts write it.
pub(super) fn seconds(time: Duration) -> String {
    format!("{}.{:06}", time.as_secs(), time.subsec_micros())
}

/// What is wrong with an event: what was expected, and what came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) expected: String,
    pub(super) came: String,
}

impl Wrong {
    pub(super) fn new(expected: impl Into<String>, came: impl Into<String>) -> Wrong {
        Wrong { expected: expected.into(), came: came.into() }
    }
}

/// An event that can't be played at all.
impl From<String> for Wrong {
    fn from(came: String) -> Wrong {
        Wrong::new("an event that can be played", came)
    }
}

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Trace(Vec<String>);

impl Trace {
    pub(super) fn note(&mut self, at: Duration, what: impl fmt::Display) {
        self.0.push(format!("{} {what}", seconds(at)));
    }

    pub(super) fn take(&mut self) -> Vec<String> {
        core::mem::take(&mut self.0)
    }
}
