//! Plays scripts side by side, each within a bound of real time.

use std::any::Any;
use std::panic;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use sockeye_drill::script::Script;
use sockeye_drill::{IpVersion, PlayOptions, play};

use super::collect::Job;

/// How long a script may play in real time, in one IP version.
const LIMIT: Duration = Duration::from_secs(20);

/// How a script did.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) name: String,
    pub(super) category: String,
    /// For each version that it is meant for, what failed if anything did.
    pub(super) versions: Vec<(IpVersion, Option<String>)>,
}

impl Outcome {
    /// Whether it passes in all its versions.
    pub(super) fn passed(&self) -> bool {
        self.versions.iter().all(|(_, failure)| failure.is_none())
    }

    /// The versions in which it fails, and how.
    pub(super) fn failures(&self) -> impl Iterator<Item = (IpVersion, &str)> {
        self.versions.iter().filter_map(|(version, failure)| Some((*version, failure.as_deref()?)))
    }
}

/// One script in one version.
struct Run {
    job: usize,
    version: IpVersion,
    script: Script,
}

/// Plays all of `jobs`.
pub(super) fn all(jobs: &[Job]) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = jobs
        .iter()
        .map(|job| Outcome { name: job.name.clone(), category: job.category.clone(), versions: Vec::new() })
        .collect();
    let mut runs = Vec::new();
    for (place, job) in jobs.iter().enumerate() {
        for &version in &job.versions {
            match &job.script {
                Ok(script) => runs.push(Run { job: place, version, script: script.clone() }),
                Err(error) => outcomes[place].versions.push((version, Some(error.clone()))),
            }
        }
    }
    let workers = thread::available_parallelism().map_or(1, usize::from);
    for (job, version, failure) in play_runs(runs, workers, LIMIT) {
        outcomes[job].versions.push((version, failure));
    }
    for (outcome, job) in outcomes.iter_mut().zip(jobs) {
        let place = |version| job.versions.iter().position(|wanted| *wanted == version);
        outcome.versions.sort_by_key(|(version, _)| place(*version));
    }
    outcomes
}

/// Plays `runs`, `workers` at a time. One that takes longer than `limit` has failed; its thread is left to
/// itself, for the end of the program to end it.
fn play_runs(runs: Vec<Run>, workers: usize, limit: Duration) -> Vec<(usize, IpVersion, Option<String>)> {
    let (sender, receiver) = mpsc::channel();
    let mut waiting = runs.into_iter().enumerate();
    let mut playing: Vec<(usize, usize, IpVersion, Instant)> = Vec::new();
    let mut done = Vec::new();
    loop {
        while playing.len() < workers
            && let Some((place, run)) = waiting.next()
        {
            playing.push((place, run.job, run.version, Instant::now() + limit));
            start(place, run, sender.clone());
        }
        let Some(deadline) = playing.iter().map(|&(.., deadline)| deadline).min() else { return done };
        match receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok((place, failure)) => {
                // What comes after its time is counted already.
                if let Some(at) = playing.iter().position(|&(playing, ..)| playing == place) {
                    let (_, job, version, _) = playing.swap_remove(at);
                    done.push((job, version, failure));
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                let now = Instant::now();
                playing.retain(|&(_, job, version, deadline)| {
                    let overdue = deadline <= now;
                    if overdue {
                        done.push((
                            job,
                            version,
                            Some(format!("no end after {} s of real time", limit.as_secs())),
                        ));
                    }
                    !overdue
                });
            }
            Err(RecvTimeoutError::Disconnected) => unreachable!("this function holds a sender"),
        }
    }
}

/// Plays one run in a thread of its own; a panic is a failure.
fn start(place: usize, run: Run, sender: Sender<(usize, Option<String>)>) {
    thread::spawn(move || {
        let options = PlayOptions { ip_version: run.version };
        let played =
            panic::catch_unwind(|| play(&run.script, &options).err().map(|failure| failure.to_string()));
        let failure = played.unwrap_or_else(|panic| Some(format!("panicked: {}", panic_message(&*panic))));
        // Nobody listens any more when the run was overdue at the very end.
        let _ = sender.send((place, failure));
    });
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}
