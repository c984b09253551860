//! One simulation after the other, each with a seed of its own; one that fails is played again with a
//! capture.

use super::Simulation;
use crate::{Error, Network};
use sockeye_packet::Instant;
use std::any::Any;
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;

/// The environment variable that has [`simulate`] play one seed only.
const SEED: &str = "SOCKEYE_SEED";

/// What a program of a simulation, or a whole one, ends with: nothing, or a `Result` whose error fails it.
///
/// So what [`simulate`] is given, and `Simulation::program`, may use `?`:
///
/// ```
/// use sockeye::simulation::Outcome;
/// use sockeye::{HostConfig, Simulation};
/// use std::time::Duration;
///
/// fn datagram_arrives(sim: &mut Simulation) -> std::io::Result<()> {
///     let [a, b] = ["a", "b"].map(|name| sim.add_host(name, HostConfig::default()));
///     let (a, b) = (a?, b?);
///     let socket = b.udp_bind("b:9")?;
///     a.udp_bind("a:0")?.send_to(b"hello", "b:9")?;
///     sim.run_for(Duration::from_secs(1));
///     socket.set_nonblocking(true)?;
///     assert_eq!(socket.recv(&mut [0; 16])?, 5); // `WouldBlock`, and the seed, if nothing came.
///     Ok(())
/// }
///
/// sockeye::simulate(0..3, datagram_arrives);
///
/// // What is told of an error:
/// let lost: Result<(), &str> = Err("nothing came");
/// assert_eq!(lost.into_result(), Err("nothing came".to_owned()));
/// ```
pub trait Outcome {
    /// The error, if it is one, in words.
    fn into_result(self) -> Result<(), String>;
}

impl Outcome for () {
    fn into_result(self) -> Result<(), String> {
        Ok(())
    }
}

impl<T, E: Display> Outcome for Result<T, E> {
    fn into_result(self) -> Result<(), String> {
        self.map(drop).map_err(|error| error.to_string())
    }
}

impl Outcome for Never {
    fn into_result(self) -> Result<(), String> {
        self
    }
}

/// What a program that loops forever ends with: the type that is written `!`, which can't be named otherwise yet.
type Never = <fn() -> ! as Returns>::Output;

/// A function's type, which says what the function returns.
pub trait Returns {
    /// What it returns.
    type Output;
}

impl<R> Returns for fn() -> R {
    type Output = R;
}

/// How one seed ended.
enum Ending {
    Well,
    Panic(Box<dyn Any + Send>),
    Error(String),
}

/// Plays a simulation for each seed. `body` gets one that has the seed and no hosts yet.
///
/// When it fails, by a panic or with an error, the seed is printed, and the virtual time in seconds at which it
/// failed; then it is played once more with a capture of every packet, whose path is printed, and the failure is
/// passed on. With `SOCKEYE_SEED=17` in the environment, seed 17 is played and no other.
///
/// In the capture the simulation's time counts from 1970-01-01 00:00:00 UTC. It has each packet as its host sends
/// it, before links and partitions: also those that don't arrive. What a host got is seen with
/// [`HostConfig::capture`](crate::HostConfig::capture).
///
/// ```
/// use sockeye::{HostConfig, NetemConfig};
/// use std::time::Duration;
///
/// sockeye::simulate(0..10, |sim| {
///     let link: NetemConfig = "delay 20ms loss 5%".parse().unwrap();
///     let [a, b] = ["a", "b"].map(|name| {
///         sim.add_host(name, HostConfig { link: link.into(), ..HostConfig::default() }).unwrap()
///     });
///     sim.network().partition(&a, &b);
///     sim.run_for(Duration::from_secs(60));
/// });
/// ```
///
/// # Panics
///
/// As `body` does, and when it returns an error.
#[track_caller]
pub fn simulate<R: Outcome>(seeds: impl IntoIterator<Item = u64>, body: impl Fn(&mut Simulation) -> R) {
    let Ok(only) = std::env::var(SEED) else {
        for seed in seeds {
            play_and_tell(seed, &body);
        }
        return;
    };
    match only.parse() {
        Ok(seed) => play_and_tell(seed, &body),
        Err(error) => {
            panic!("{SEED} is {only:?}, which is no seed ({error}): set it to a number or unset it")
        }
    }
}

/// Plays a seed; if it fails, says so and plays it again with a capture.
#[track_caller]
fn play_and_tell<R: Outcome>(seed: u64, body: &impl Fn(&mut Simulation) -> R) {
    let (ending, time) = match play(seed, None, body) {
        Ok((Ending::Well, _)) => return,
        Ok(ended) => ended,
        Err(error) => panic!("seed {seed} can't be played: {error}"),
    };
    eprintln!(
        "seed {seed} failed at {time} s; {SEED}={seed} plays it alone. Now it is played again with a capture:"
    );
    let path = capture_path(seed);
    match play(seed, Some(path.clone()), body) {
        Ok((Ending::Well, _)) => eprintln!(
            "seed {seed} did not fail again: something else than the seed decides. The capture of the \
             good run is {}",
            path.display()
        ),
        Ok(_) => eprintln!("the packets of seed {seed} are in {}", path.display()),
        Err(error) => eprintln!("seed {seed} can't be captured: {error}"),
    }
    match ending {
        Ending::Panic(payload) => resume_unwind(payload),
        Ending::Error(error) => panic!("seed {seed} failed: {error}"),
        Ending::Well => {}
    }
}

/// Plays a seed, and says when it ended.
fn play<R: Outcome>(
    seed: u64,
    capture: Option<PathBuf>,
    body: impl Fn(&mut Simulation) -> R,
) -> Result<(Ending, Instant), Error> {
    let mut builder = Network::builder().seed(seed);
    if let Some(path) = capture {
        builder = builder.capture(path);
    }
    let mut simulation = builder.simulate()?;
    let result = catch_unwind(AssertUnwindSafe(|| body(&mut simulation).into_result()));
    if let Err(error) = simulation.network().flush_captures() {
        return Err(Error::Capture { path: None, error });
    }
    let ending = match result {
        Ok(Ok(())) => Ending::Well,
        Ok(Err(error)) => Ending::Error(error),
        Err(payload) => Ending::Panic(payload),
    };
    Ok((ending, simulation.now()))
}

/// Where a seed's packets go: the name says which test it was, if its thread has a test's name.
fn capture_path(seed: u64) -> PathBuf {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("simulation");
    let name: String = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    std::env::temp_dir().join(format!("sockeye-{name}-seed-{seed}.pcapng"))
}

#[cfg(all(test, not(sockeye_model)))]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_failure_has_its_time() {
        let (ending, time) = play(1, None, |sim| {
            sim.run_for(Duration::from_millis(2500));
            Err::<(), _>("late")
        })
        .unwrap();
        assert!(matches!(ending, Ending::Error(error) if error == "late"));
        assert_eq!(time.to_string(), "2.500000");
    }
}
