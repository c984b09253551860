//! One program of a lab: from waiting to its end.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use indexmap::IndexMap;
use regex::Regex;
use sockeye::HostId;
use sockeye_run::{ProgramId, ProgramSpec, StdStream, Stdio, Supervisor};

use super::expect;
use super::file::ProgramSection;
use super::output::{Lines, Printer};

/// How much of a program's output `expect.stdout` looks at.
const OUTPUT_KEPT: usize = 1 << 20;

pub(super) struct Program {
    pub(super) section: ProgramSection,
    pub(super) host: HostId,
    pub(super) phase: Phase,
    /// The start of what it has printed on standard output, and of all its lines on both.
    stdout: Vec<u8>,
    printed: Vec<u8>,
    lines: [Lines; 2],
}

pub(super) enum Phase {
    /// What it names in `after` doesn't hold yet.
    Waiting {
        since: Instant,
    },
    Running {
        id: ProgramId,
        since: Instant,
        overdue: Option<Instant>,
    },
    /// It has ended; with what it fell short of.
    Ended {
        id: ProgramId,
        status: ExitStatus,
        took: Duration,
        shortfalls: Vec<String>,
    },
    /// It was never started.
    Failed(String),
}

impl Program {
    pub(super) fn new(hosts: &IndexMap<String, HostId>, section: ProgramSection) -> Program {
        Program {
            host: hosts[&section.host],
            section,
            phase: Phase::Waiting { since: Instant::now() },
            stdout: Vec::new(),
            printed: Vec::new(),
            lines: Default::default(),
        }
    }

    pub(super) fn start(&mut self, supervisor: &mut Supervisor) {
        let spec = ProgramSpec {
            host: Some(self.host),
            argv: self.section.run.0.iter().map(Into::into).collect(),
            env: self.section.env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
            cwd: self.section.cwd.clone(),
            stdin: Stdio::Null,
            stdout: Stdio::Pipe,
            stderr: Stdio::Pipe,
        };
        self.phase = match supervisor.spawn(&spec) {
            Ok(id) => Phase::Running { id, since: Instant::now(), overdue: None },
            Err(error) => Phase::Failed(error.to_string()),
        };
    }

    pub(super) fn on_output(&mut self, stream: StdStream, data: &[u8], printer: &mut Printer) {
        if stream == StdStream::Stdout {
            let room = OUTPUT_KEPT - self.stdout.len().min(OUTPUT_KEPT);
            self.stdout.extend_from_slice(&data[..data.len().min(room)]);
        }
        let lines = &mut self.lines[usize::from(stream == StdStream::Stderr)];
        for line in lines.push(data) {
            let room = OUTPUT_KEPT - self.printed.len().min(OUTPUT_KEPT);
            self.printed.extend_from_slice(&line[..line.len().min(room)]);
            self.printed.push(b'\n');
            printer.print(&self.section.host, &line);
        }
    }

    pub(super) fn on_exit(&mut self, status: ExitStatus, printer: &mut Printer) {
        let Phase::Running { id, since, overdue } = self.phase else { return };
        for lines in &mut self.lines {
            if let Some(rest) = lines.finish() {
                printer.print(&self.section.host, &rest);
            }
        }
        let mut shortfalls = Vec::new();
        if overdue.is_some() {
            shortfalls.push(format!("not done after {} s", self.section.timeout.as_secs_f64()));
        } else if let Some(expect) = &self.section.expect {
            let folder = self.section.cwd.clone().unwrap_or_default();
            shortfalls = expect::shortfalls(expect, status, &self.stdout, &folder);
        }
        self.phase = Phase::Ended { id, status, took: since.elapsed(), shortfalls };
    }

    /// Ends the program when its time is up: SIGTERM, and SIGKILL if it doesn't heed that.
    pub(super) fn end_if_overdue(&mut self, supervisor: &mut Supervisor) {
        let Phase::Running { id, since, overdue } = &mut self.phase else { return };
        if self.section.expect.is_none() || since.elapsed() < self.section.timeout {
            return;
        }
        let asked = overdue.get_or_insert_with(|| {
            supervisor.kill(*id, libc::SIGTERM);
            Instant::now()
        });
        if asked.elapsed() > super::GRACE {
            supervisor.kill(*id, libc::SIGKILL);
        }
    }

    pub(super) fn has_printed(&self, line: &Regex) -> bool {
        String::from_utf8_lossy(&self.printed).lines().any(|printed| line.is_match(printed))
    }

    /// Its id since it was started.
    pub(super) fn id(&self) -> Option<ProgramId> {
        match self.phase {
            Phase::Running { id, .. } | Phase::Ended { id, .. } => Some(id),
            Phase::Waiting { .. } | Phase::Failed(_) => None,
        }
    }

    /// Its id while it runs.
    pub(super) fn running(&self) -> Option<ProgramId> {
        if let Phase::Running { id, .. } = self.phase { Some(id) } else { None }
    }

    /// Whether nothing that was expected of it is missing.
    pub(super) fn held(&self) -> bool {
        match &self.phase {
            Phase::Ended { shortfalls, .. } => shortfalls.is_empty(),
            Phase::Failed(_) => false,
            Phase::Waiting { .. } | Phase::Running { .. } => self.section.expect.is_none(),
        }
    }
}
