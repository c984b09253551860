//! Feeds the fuzz targets on the stable toolchain: `seeded [--seconds N] [--seed S] [--keep] [TARGET…]`, or one
//! input: `seeded --input FILE TARGET`.
//!
//! The same seed and corpus give the same inputs; how many of them depends on the time. An input that fails is
//! cut down and written to `artifacts/`, and the command that repeats it is printed. All times are processor time.

use sockeye_fuzz::clock::Moment;
use sockeye_fuzz::corpus::{self, Corpus};
use sockeye_fuzz::{TARGETS, Target, input};
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

const USAGE: &str =
    "usage: seeded [--seconds N] [--seed S] [--keep] [TARGET...] | seeded --input FILE TARGET";

/// An input that takes longer is as bad as one that panics: a thousand times what most take.
const SLOW: Duration = Duration::from_secs(5);
/// Time for cutting down an input that fails.
const CUTTING: Duration = Duration::from_secs(20);

struct Options {
    /// Processor time for all targets together, each its share.
    seconds: u64,
    seed: u64,
    /// Add to the corpus what meets something new.
    keep: bool,
    /// Only this file.
    input: Option<PathBuf>,
    targets: Vec<&'static Target>,
}

fn main() -> ExitCode {
    let options = match parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("seeded: {message}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let outcome = if let Some(file) = &options.input {
        // Here a panic is told as always.
        replay(&options, file)
    } else {
        note_panics();
        fuzz(&options)
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options { seconds: 60, seed: 1, keep: false, input: None, targets: Vec::new() };
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} wants a value"));
        let number =
            |value: String| value.parse::<u64>().map_err(|_| format!("{arg} wants a number, not '{value}'"));
        match arg.as_str() {
            "--seconds" => options.seconds = number(value()?)?,
            "--seed" => options.seed = number(value()?)?,
            "--keep" => options.keep = true,
            "--input" => options.input = Some(value()?.into()),
            name => {
                let target = TARGETS.iter().find(|target| target.name == name).ok_or_else(|| {
                    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
                    format!("no target is called '{name}': there are {}", names.join(", "))
                })?;
                options.targets.push(target);
            }
        }
    }
    if options.input.is_some() && options.targets.len() != 1 {
        return Err("--input wants one target".to_owned());
    }
    if options.targets.is_empty() {
        options.targets = TARGETS.iter().collect();
    }
    Ok(options)
}

fn fuzz(options: &Options) -> Result<(), String> {
    let shares: u64 = options.targets.iter().map(|target| target.share).sum();
    for target in &options.targets {
        let started = Moment::now();
        let time = Duration::from_secs(options.seconds) * target.share as u32 / shares.max(1) as u32;
        let (runs, corpus) = drive(target, options.seed, time)?;
        let (seconds, situations) = (started.elapsed().as_secs_f64(), corpus.situations());
        println!("{:10} {runs} inputs in {seconds:.1} s, {situations} kinds of situations", target.name);
        if options.keep && situations > 0 {
            let kept = corpus.keep(target).map_err(|error| format!("the corpus: {error}"))?;
            println!("{:10} {kept} inputs kept", target.name);
        }
    }
    Ok(())
}

/// Runs one target: first what is kept, then what is made of it. Answers how many inputs it got.
fn drive(target: &Target, seed: u64, time: Duration) -> Result<(u64, Corpus), String> {
    let started = Moment::now();
    let mut corpus = Corpus::load(target);
    for kept in corpus.inputs.clone() {
        attempt(target, &kept, &mut corpus)?;
    }
    let mut runs = 0;
    while started.elapsed() < time {
        for _ in 0..16 {
            let bytes = input(target, seed, runs, &corpus.inputs);
            attempt(target, &bytes, &mut corpus)?;
            runs += 1;
        }
    }
    Ok((runs, corpus))
}

/// Why an input failed.
#[derive(Clone, Debug, Default, PartialEq)]
struct Failure {
    /// Where it panicked; nowhere, if it took too long.
    place: String,
    message: String,
}

/// The last panic.
static LAST: Mutex<Option<Failure>> = Mutex::new(None);

/// Panics are told once, when their input was cut down.
fn note_panics() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let message = info.payload_as_str().unwrap_or("?").to_owned();
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(Failure { place, message });
    }));
}

/// Why an input fails, if it does.
fn verdict(target: &Target, bytes: &[u8], corpus: Option<&mut Corpus>) -> Option<Failure> {
    let started = Moment::now();
    match catch_unwind(AssertUnwindSafe(|| (target.run)(bytes))) {
        Err(_) => Some(LAST.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()),
        Ok(_) if started.elapsed() > SLOW => {
            let message = format!("it took {:.1} s", started.elapsed().as_secs_f64());
            Some(Failure { place: String::new(), message })
        }
        Ok(met) => {
            if let Some(corpus) = corpus {
                corpus.note(bytes, &met);
            }
            None
        }
    }
}

/// Feeds one input; writes it down if it fails.
fn attempt(target: &Target, bytes: &[u8], corpus: &mut Corpus) -> Result<(), String> {
    let Some(Failure { place, message }) = verdict(target, bytes, Some(corpus)) else { return Ok(()) };
    let same = |failure: Failure| failure.place == place;
    let small = corpus::minimise(bytes, CUTTING, |bytes| verdict(target, bytes, None).is_some_and(same));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("artifacts");
    let file = folder.join(format!("{}-{}", target.name, corpus::name(&small)));
    let written = fs::create_dir_all(&folder).and_then(|()| fs::write(&file, &small));
    let name = target.name;
    let hint = match written {
        Ok(()) => format!("repeat it with: seeded --input {} {name}", file.display()),
        Err(error) => format!("{}: {error}", file.display()),
    };
    let (len, cut) = (bytes.len(), small.len());
    Err(format!("{name} fails on an input of {len} bytes, cut down to {cut}: {place}\n{message}\n{hint}"))
}

fn replay(options: &Options, file: &Path) -> Result<(), String> {
    let bytes = fs::read(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let target = options.targets[0];
    match verdict(target, &bytes, None) {
        None => Ok(()),
        Some(Failure { place, message }) => Err(format!("{} fails: {place}\n{message}", target.name)),
    }
}
