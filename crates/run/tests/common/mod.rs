//! Two hosts, `a` and `b`, and programs on them; every test ends by itself.

#![allow(dead_code, reason = "each test file uses its part")]

use sockeye::{HostConfig, NetemConfig, Network};
use sockeye_run::{
    LaunchError, Outside, ProgramId, ProgramSpec, StdStream, Stdio, Supervisor, SupervisorEvent,
};
use std::collections::HashMap;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// How long a test may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What became of a program.
#[derive(Debug, Default, Clone)]
pub(crate) struct Outcome {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) status: Option<ExitStatus>,
}

pub(crate) struct Lab {
    pub(crate) supervisor: Supervisor,
    pub(crate) outcomes: HashMap<ProgramId, Outcome>,
}

impl Lab {
    pub(crate) fn new() -> Lab {
        Lab::with_link("")
    }

    pub(crate) fn with_link(link: &str) -> Lab {
        let link: NetemConfig = link.parse().unwrap();
        let host = || HostConfig { link: link.into(), ..HostConfig::default() };
        let network = Network::builder().seed(1).host("a", host()).host("b", host()).build_manual().unwrap();
        Lab { supervisor: Supervisor::new(network, Outside::Closed).unwrap(), outcomes: HashMap::new() }
    }

    pub(crate) fn try_start(&mut self, host: &str, argv: &[&str]) -> Result<ProgramId, LaunchError> {
        let spec = ProgramSpec {
            host: Some(self.supervisor.network().unwrap().host(host).unwrap().id()),
            argv: argv.iter().map(Into::into).collect(),
            env: vec![("PYTHONUNBUFFERED".into(), "1".into())],
            cwd: None,
            stdin: Stdio::Null,
            stdout: Stdio::Pipe,
            stderr: Stdio::Pipe,
        };
        let id = self.supervisor.spawn(&spec)?;
        self.outcomes.insert(id, Outcome::default());
        Ok(id)
    }

    pub(crate) fn start(&mut self, host: &str, argv: &[&str]) -> ProgramId {
        self.try_start(host, argv).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn python(&mut self, host: &str, script: &str) -> ProgramId {
        self.start(host, &["/usr/bin/python3", "-c", script])
    }

    pub(crate) fn until(&mut self, what: &str, mut done: impl FnMut(&Lab) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < PATIENCE, "{what} did not happen: {:#?}", self.outcomes);
            self.supervisor.turn(Some(Duration::from_millis(100))).unwrap();
            while let Some(event) = self.supervisor.poll_event() {
                match event {
                    SupervisorEvent::Output { program, stream, data } => {
                        let outcome = self.outcomes.entry(program).or_default();
                        let text = String::from_utf8_lossy(&data);
                        match stream {
                            StdStream::Stdout => outcome.stdout.push_str(&text),
                            StdStream::Stderr => outcome.stderr.push_str(&text),
                        }
                    }
                    SupervisorEvent::Exited { program, status } => {
                        self.outcomes.entry(program).or_default().status = Some(status);
                    }
                    _ => {}
                }
            }
        }
    }

    pub(crate) fn until_listening(&mut self, host: &str, port: u16) {
        let host = self.supervisor.network().unwrap().host(host).unwrap().id();
        self.until("listening", |lab| lab.supervisor.is_listening(host, port));
    }

    pub(crate) fn until_printed(&mut self, program: ProgramId, text: &str) {
        self.until("printing", |lab| lab.outcomes[&program].stdout.contains(text));
    }

    pub(crate) fn finish(&mut self, program: ProgramId) -> Outcome {
        self.until("the end", |lab| lab.outcomes[&program].status.is_some());
        self.outcomes[&program].clone()
    }

    /// The program's output; it must have succeeded.
    pub(crate) fn output(&mut self, program: ProgramId) -> String {
        let outcome = self.finish(program);
        assert!(outcome.status.unwrap().success(), "{outcome:?} {:#?}", self.outcomes);
        outcome.stdout
    }
}

/// Whether a program the test needs is here; says so when it isn't.
pub(crate) fn has(program: &str) -> bool {
    let found = std::path::Path::new(program).exists();
    if !found {
        eprintln!("skipped: {program} is not installed");
    }
    found
}
