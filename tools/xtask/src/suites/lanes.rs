//! The parts of a run, two at a time, and what they have come to.

use super::parts::Part;
use super::report::{self, Reasons, Score};
use super::stage::Stage;
use super::times::Times;
use std::error::Error;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How many seconds a suite takes at most that runs again although its failures have a reason.
const SHORT: u64 = 120;

/// What a part has come to.
enum Outcome {
    /// Not run yet, or no longer.
    Waits,
    Scored(Score),
    /// It could not be run.
    Failed(String),
}

struct State {
    outcomes: Vec<Outcome>,
    times: Times,
}

/// A run.
pub(super) struct Board<'a> {
    stage: &'a Stage,
    reasons: &'a Reasons,
    parts: Vec<Part>,
    /// After this no part begins.
    deadline: Instant,
    /// Where docs/suites.md is written.
    root: Option<&'a Path>,
    state: Mutex<State>,
}

impl<'a> Board<'a> {
    pub(super) fn new(
        stage: &'a Stage,
        parts: Vec<Part>,
        reasons: &'a Reasons,
        minutes: u64,
        root: Option<&'a Path>,
    ) -> Board<'a> {
        let outcomes = parts.iter().map(|_| Outcome::Waits).collect();
        let state = Mutex::new(State { outcomes, times: Times::read(&stage.kept) });
        let deadline = Instant::now() + Duration::from_secs(minutes * 60);
        Board { stage, reasons, parts, deadline, root, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs applications and suites beside each other, then alone what failed without a reason.
    pub(super) fn run(&self) -> Result<(), Box<dyn Error>> {
        let lane =
            |apps: bool| (0..self.parts.len()).filter(move |&index| self.parts[index].is_app() == apps);
        let seconds = [true, false].map(|apps| {
            let state = self.state();
            lane(apps).map(|index| state.times.expected(&self.parts[index].name)).sum::<u64>()
        });
        println!("{} parts, about {} minutes", self.parts.len(), seconds[0].max(seconds[1]).div_ceil(60));
        std::thread::scope(|scope| {
            let apps = scope.spawn(|| lane(true).try_for_each(|index| self.run_part(index, "")));
            let suites = lane(false).try_for_each(|index| self.run_part(index, ""));
            let apps = apps.join().unwrap_or_else(|_| Err("a thread panicked".to_owned()));
            apps.and(suites)
        })?;
        for index in 0..self.parts.len() {
            // A known reason may be that the machine is busy; what takes long isn't tried again for that.
            let is_short = self.state().times.expected(&self.parts[index].name) <= SHORT;
            let tries_again = !self.parts[index].is_app() && is_short && !self.is_perfect(index);
            if tries_again || !self.is_well(index) {
                self.run_part(index, ", again, alone")?;
            }
        }
        Ok(())
    }

    /// Whether a part has run, and nothing failed.
    fn is_perfect(&self, index: usize) -> bool {
        matches!(&self.state().outcomes[index], Outcome::Scored(score) if score.failed().next().is_none())
    }

    /// Whether a part has run, and all of its failures have a reason.
    fn is_well(&self, index: usize) -> bool {
        match &self.state().outcomes[index] {
            Outcome::Scored(score) => {
                score.failed().all(|test| self.reasons.of(&score.suite, test).is_some())
            }
            Outcome::Waits | Outcome::Failed(_) => false,
        }
    }

    fn run_part(&self, index: usize, how: &str) -> Result<(), String> {
        let begin = Instant::now();
        if begin > self.deadline {
            return Ok(());
        }
        let part = &self.parts[index];
        let result = part.run(self.stage);
        let seconds = begin.elapsed().as_secs();
        let mut state = self.state();
        match result {
            Ok(score) => {
                println!("{} ({seconds} s{how})", score.line(&part.name));
                state.times.took(&part.name, seconds);
                state.outcomes[index] = Outcome::Scored(score);
            }
            Err(error) => {
                println!("{}: not run: {error}", part.name);
                state.outcomes[index] = Outcome::Failed(error.to_string());
            }
        }
        // What is known so far stays, should somebody end this.
        let written = state.times.write().map_err(|error| error.to_string());
        drop(state);
        written.and_then(|()| self.write().map_err(|error| error.to_string()))
    }

    /// The scores so far, in the order of the parts.
    pub(super) fn scores(&self) -> Vec<Score> {
        let state = self.state();
        let scored = state.outcomes.iter().filter_map(|outcome| match outcome {
            Outcome::Scored(score) => Some(score.clone()),
            Outcome::Waits | Outcome::Failed(_) => None,
        });
        scored.collect()
    }

    /// Parts without a score, and why.
    fn missing(&self) -> Vec<String> {
        let state = self.state();
        let missing = self.parts.iter().zip(&state.outcomes).filter_map(|(part, outcome)| match outcome {
            Outcome::Scored(_) => None,
            Outcome::Waits => Some(part.name.clone()),
            Outcome::Failed(error) => Some(format!("{} ({error})", part.name)),
        });
        missing.collect()
    }

    fn write(&self) -> Result<(), Box<dyn Error>> {
        let Some(root) = self.root else { return Ok(()) };
        report::write(root, &self.scores(), &self.missing(), self.reasons)
    }

    /// Whether everything ran, and all that pass natively pass, but for those with a reason.
    pub(super) fn finish(&self) -> Result<bool, Box<dyn Error>> {
        let missing = self.missing();
        if !missing.is_empty() {
            println!("not run: {}", missing.join(", "));
        }
        self.write()?;
        Ok((0..self.parts.len()).all(|index| self.is_well(index)))
    }
}
