//! `sockeye lab`: the hosts of a file on one private network, and their programs in order.
//!
//! A program waits until what it names in `after` holds, runs, and ends or is ended. The lab is over when
//! every program with an `expect` has ended (every program, when none has one).

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use sockeye_run::{Outside, Supervisor, SupervisorEvent};

use crate::args::LabArgs;
use crate::error::CliError;
use crate::network;
use file::{After, LabFile};
use output::Printer;
use program::{Phase, Program};

mod expect;
pub(crate) mod file;
mod output;
mod program;
mod summary;

/// How often waiting conditions and timeouts are looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long a program may take to end after SIGTERM before it gets SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// Runs the lab of a file; success when all expectations held.
pub(crate) fn run(args: &LabArgs) -> Result<ExitCode, CliError> {
    let mut scratch = tempfile::Builder::new()
        .prefix("sockeye-lab-")
        .tempdir()
        .map_err(|error| CliError::failed(format!("can't make a scratch folder: {error}")))?;
    let file = LabFile::read(&args.file, scratch.path())?;
    if args.keep {
        scratch.disable_cleanup(true);
        eprintln!("sockeye: the scratch folder is {}", scratch.path().display());
    }
    let mut lab = Lab::new(file, args.quiet)?;
    let interrupted = lab.run_to_end()?;
    lab.end_others()?;
    lab.supervisor.network().inspect(|network| network::finish_capture(network, lab.pcap.as_deref()));
    summary::print(&lab.programs, lab.seed);
    let held = !interrupted && lab.programs.iter().all(Program::held);
    Ok(if held { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

struct Lab {
    supervisor: Supervisor,
    programs: Vec<Program>,
    printer: Printer,
    pcap: Option<PathBuf>,
    seed: u64,
}

impl Lab {
    fn new(file: LabFile, quiet: bool) -> Result<Lab, CliError> {
        let seed = file.network.seed.unwrap_or_else(network::fresh_seed);
        let (network, hosts) = network::for_lab(&file, seed)?;
        let mut supervisor =
            Supervisor::new(network, Outside::Closed).map_err(|error| CliError::failed(error.to_string()))?;
        supervisor.reap_orphans();
        let printer = Printer::new(hosts.keys().map(String::as_str), quiet);
        let programs = file.programs.into_iter().map(|section| Program::new(&hosts, section)).collect();
        Ok(Lab { supervisor, programs, printer, pcap: file.network.pcap.map(PathBuf::from), seed })
    }

    /// Runs until every program that is expected to end has ended; true when a signal cut it short.
    fn run_to_end(&mut self) -> Result<bool, CliError> {
        loop {
            self.start_those_ready();
            self.end_those_overdue();
            if self.is_over() {
                return Ok(false);
            }
            if self.turn()? {
                return Ok(true);
            }
        }
    }

    /// Whether nothing is left to wait for.
    fn is_over(&self) -> bool {
        let any_expects = self.programs.iter().any(|program| program.section.expect.is_some());
        let mut awaited = self.programs.iter().filter(|p| !any_expects || p.section.expect.is_some());
        awaited.all(|program| matches!(program.phase, Phase::Ended { .. } | Phase::Failed(_)))
    }

    /// Lets programs and network work for a moment; true when the user asked to stop.
    fn turn(&mut self) -> Result<bool, CliError> {
        self.supervisor.turn(Some(LOOK)).map_err(|error| CliError::failed(error.to_string()))?;
        let mut stop = false;
        while let Some(event) = self.supervisor.poll_event() {
            match event {
                SupervisorEvent::Output { program, stream, data } => {
                    if let Some(program) = self.programs.iter_mut().find(|p| p.id() == Some(program)) {
                        program.on_output(stream, &data, &mut self.printer);
                    }
                }
                SupervisorEvent::Exited { program, status } => {
                    if let Some(program) = self.programs.iter_mut().find(|p| p.id() == Some(program)) {
                        program.on_exit(status, &mut self.printer);
                    }
                }
                SupervisorEvent::Signal { .. } => stop = true,
                _ => {}
            }
        }
        Ok(stop)
    }

    fn start_those_ready(&mut self) {
        for index in 0..self.programs.len() {
            let Phase::Waiting { since } = self.programs[index].phase else { continue };
            let open = self.programs[index].section.after.0.iter().find(|after| !self.holds(after));
            let Some(after) = open else {
                self.programs[index].start(&mut self.supervisor);
                continue;
            };
            let failure = if !self.can_still_hold(index, after) {
                Some(format!("waited for {after}, but nothing there runs any more"))
            } else if since.elapsed() > self.programs[index].section.timeout {
                Some(format!("waited {:.0} s for {after}", since.elapsed().as_secs_f64()))
            } else {
                None
            };
            if let Some(failure) = failure {
                self.programs[index].phase = Phase::Failed(failure);
            }
        }
    }

    fn holds(&self, after: &After) -> bool {
        match after {
            After::Listens { host, port } => {
                let host = self.programs.iter().find(|p| p.section.host == *host).map(|p| p.host);
                host.is_some_and(|host| self.supervisor.is_listening(host, *port))
            }
            After::Printed { host, line } => self
                .programs
                .iter()
                .filter(|program| program.section.host == *host)
                .any(|program| program.has_printed(line)),
        }
    }

    /// Whether a program of the host that `after` names is there to make it come true.
    fn can_still_hold(&self, waiting: usize, after: &After) -> bool {
        let (After::Listens { host, .. } | After::Printed { host, .. }) = after;
        // A daemon has outlived the program that started it, and may yet listen.
        let daemon = matches!(after, After::Listens { .. })
            && self.programs.iter().any(|p| p.section.host == *host && self.supervisor.is_busy(p.host));
        daemon
            || self.programs.iter().enumerate().any(|(index, program)| {
                index != waiting
                    && program.section.host == *host
                    && matches!(program.phase, Phase::Waiting { .. } | Phase::Running { .. })
            })
    }

    fn end_those_overdue(&mut self) {
        for program in &mut self.programs {
            program.end_if_overdue(&mut self.supervisor);
        }
    }

    /// Ends what still runs: SIGTERM, and SIGKILL for what doesn't heed it.
    fn end_others(&mut self) -> Result<(), CliError> {
        for signal in [libc::SIGTERM, libc::SIGKILL] {
            for program in &self.programs {
                if let Some(id) = program.running() {
                    self.supervisor.kill(id, signal);
                }
            }
            let patience = Instant::now() + GRACE;
            while self.programs.iter().any(|p| p.running().is_some()) && Instant::now() < patience {
                self.turn()?;
            }
        }
        self.supervisor.end_descendants().map_err(|error| CliError::failed(error.to_string()))
    }
}
