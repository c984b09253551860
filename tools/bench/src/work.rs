//! How many instructions the hot paths take, counted by valgrind's callgrind: exact, where times are noisy.
//!
//! Each is done so many times and twice as many in processes of their own, and the difference counts, so that what is
//! made once doesn't. The counts are kept in the repository, with what they depend on beside the code.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::Command;
use std::thread;

use serde::{Deserialize, Serialize};
use sockeye::{Host, HostConfig, Network};

use crate::peers::stack::{Link, Pair, WRITE};
use crate::report::output_of;

/// How many more instructions than recorded are too many.
const TOLERANCE: f64 = 0.03;
/// A segment's payload at MTU 1500, with timestamps.
const SEGMENT: usize = 1448;
/// The other connections of the path that looks one up.
const FLOWS: usize = 1_000;

/// A hot path.
struct Work {
    name: &'static str,
    /// How often it is done in the shorter process.
    times: usize,
    run: fn(usize),
}

const WORKS: [Work; 9] = [
    Work { name: "segment, MTU 1500, checksums", times: 4_000, run: |times| wire(true, times) },
    Work { name: "segment, MTU 1500", times: 4_000, run: |times| wire(false, times) },
    Work {
        name: "64 KiB in super-segments",
        times: 500,
        run: |times| _ = Pair::by_steps(&Link::MEMORY).transfer(times * WRITE),
    },
    Work {
        name: "64 KiB in super-segments, zero-copy",
        times: 2_000,
        run: |times| _ = Pair::by_steps(&Link::MEMORY).transfer_shared(times * WRITE),
    },
    Work {
        name: "round trip",
        times: 2_000,
        run: |times| _ = Pair::by_steps(&Link::MEMORY).round_trips(times as u32),
    },
    Work {
        name: "connect and both closes",
        times: 1_000,
        run: |times| _ = Pair::by_steps(&Link::MEMORY).connections(times as u32),
    },
    Work { name: "request of 1 KiB, one of 1,000 flows", times: 3_000, run: requests },
    Work {
        name: "library: UDP datagram of 64 B",
        times: 2_000,
        run: |times| datagrams(times).expect("sockets in memory"),
    },
    Work {
        name: "library: write and read of 1 KiB",
        times: 2_000,
        run: |times| writes(times).expect("sockets in memory"),
    },
];

fn wire(checksums: bool, times: usize) {
    Pair::by_steps(&Link { mtu: 1500, checksums, super_segments: false }).transfer(times * SEGMENT);
}

fn requests(times: usize) {
    let mut pair = Pair::by_steps(&Link::MEMORY);
    let flows = pair.flows(FLOWS);
    pair.requests(&flows, FLOWS + times);
}

/// Two hosts in memory. This thread does all work of its calls; the network's own sleeps.
fn hosts() -> io::Result<(Host, Host)> {
    let builder = Network::builder().seed(1);
    let builder = builder.host("near", HostConfig::default()).host("far", HostConfig::default());
    let network = builder.build()?;
    Ok((network.host("near")?, network.host("far")?))
}

fn datagrams(times: usize) -> io::Result<()> {
    let (near, far) = hosts()?;
    let receiver = far.udp_bind((far.ipv4(), 9))?;
    let sender = near.udp_bind((near.ipv4(), 0))?;
    sender.connect((far.ipv4(), 9))?;
    let mut buffer = [0; 128];
    for _ in 0..times {
        sender.send(&[0x55; 64])?;
        assert_eq!(receiver.recv(&mut buffer)?, 64);
    }
    Ok(())
}

fn writes(times: usize) -> io::Result<()> {
    let (near, far) = hosts()?;
    let listener = far.tcp_listen((far.ipv4(), 80))?;
    let mut near = near.tcp_connect((far.ipv4(), 80))?;
    let mut far = listener.accept()?.0;
    let mut buffer = [0; 1024];
    for _ in 0..times {
        near.write_all(&[0x55; 1024])?;
        far.read_exact(&mut buffer)?;
    }
    Ok(())
}

/// What is kept in the repository.
#[derive(Debug, Serialize, Deserialize)]
struct Recorded {
    /// See [`surroundings`].
    holds_for: String,
    works: Vec<Counted>,
}

impl Recorded {
    /// These counts, and those of works that weren't counted now, where they hold for the same.
    fn with(self, holds_for: &str, counted: Vec<Counted>) -> Vec<Counted> {
        if self.holds_for != holds_for {
            return counted;
        }
        let mut works = self.works;
        for new in counted {
            match works.iter_mut().find(|known| known.work == new.work) {
                Some(known) => *known = new,
                None => works.push(new),
            }
        }
        works.retain(|known| WORKS.iter().any(|work| work.name == known.work));
        works
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Counted {
    work: String,
    instructions: f64,
}

/// Does a work so many times, in the process that is counted.
pub(crate) fn run(name: &str, times: usize) -> Result<(), String> {
    let work =
        WORKS.iter().find(|work| work.name == name).ok_or_else(|| format!("no work is called {name:?}"))?;
    (work.run)(times);
    Ok(())
}

/// Counts the works whose names contain `only`, and compares them with the file's counts or records them there.
pub(crate) fn count(only: &str, file: &Path, is_recording: bool) -> Result<(), String> {
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("instructions are not counted: valgrind is not installed");
        return Ok(());
    }
    let counted = count_all(only)?;
    for Counted { work, instructions } in &counted {
        println!("{work:<38} {instructions:>12.1} instructions");
    }
    let holds_for = surroundings();
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let recorded: Recorded =
        serde_json::from_str(&text).map_err(|error| format!("{}: {error}", file.display()))?;
    if is_recording {
        let works = recorded.with(&holds_for, counted);
        let text = serde_json::to_string_pretty(&Recorded { holds_for, works })
            .map_err(|error| error.to_string())?;
        return std::fs::write(file, text + "\n").map_err(|error| format!("{}: {error}", file.display()));
    }
    if recorded.holds_for != holds_for {
        println!("not compared: the recorded counts are of {}, this is {holds_for}", recorded.holds_for);
        return Ok(());
    }
    compare(&counted, &recorded.works)
}

/// Counts in two processes at a time.
fn count_all(only: &str) -> Result<Vec<Counted>, String> {
    let mut counted = Vec::new();
    for work in WORKS.iter().filter(|work| work.name.contains(only)) {
        let (less, more) = thread::scope(|scope| {
            let less = scope.spawn(|| instructions_of(work.name, work.times));
            let more = instructions_of(work.name, 2 * work.times);
            (less.join().unwrap_or_else(|_| Err("a thread failed".to_string())), more)
        });
        let instructions = (more? as f64 - less? as f64) / work.times as f64;
        counted.push(Counted { work: work.name.to_string(), instructions });
    }
    Ok(counted)
}

/// Instructions of a whole process that does a work so many times.
fn instructions_of(name: &str, times: usize) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(program);
    command.args(["--work", name, "--times", &times.to_string()]);
    let output = command.output().map_err(|error| format!("can't start valgrind: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
    match collected {
        Some(instructions) if output.status.success() => Ok(instructions),
        _ => Err(format!("{name} can't be counted: {}", said.trim())),
    }
}

/// Fails where a count is above the recorded one by more than is tolerated.
fn compare(counted: &[Counted], recorded: &[Counted]) -> Result<(), String> {
    let mut worse = Vec::new();
    let mut is_better = false;
    for Counted { work, instructions } in counted {
        let Some(before) = recorded.iter().find(|recorded| recorded.work == *work) else {
            worse.push(format!("{work} is not recorded"));
            continue;
        };
        let change = instructions / before.instructions - 1.0;
        is_better |= change < -TOLERANCE;
        if change > TOLERANCE {
            let (before, percent) = (before.instructions, change * 100.0);
            worse.push(format!(
                "{work} takes {percent:.1} % more instructions: {before:.0} before, {instructions:.0} now"
            ));
        }
    }
    let again = "cargo run --release -p sockeye-bench -- --instructions --record";
    if worse.is_empty() {
        if is_better {
            println!("some take clearly fewer instructions than recorded; record them: {again}");
        }
        return Ok(());
    }
    Err(format!("{}\nif that is meant, record it: {again}", worse.join("\n")))
}

/// What counts depend on beside the code: the compiler, what the processor can do, the C library, whose copies they
/// include, and what counts them. With others counts are others.
fn surroundings() -> String {
    let [rustc, libc, valgrind] =
        [("rustc", "--version"), ("getconf", "GNU_LIBC_VERSION"), ("valgrind", "--version")]
            .map(|(program, word)| output_of(program, &[word]));
    format!("{rustc}, {}, {libc}, {valgrind}", processor())
}

/// What of the processor's abilities decides which code runs.
fn processor() -> String {
    #[cfg(target_arch = "x86_64")]
    let widest = if std::is_x86_feature_detected!("avx2") { " with AVX2" } else { "" };
    #[cfg(not(target_arch = "x86_64"))]
    let widest = "";
    format!("{}{widest}", std::env::consts::ARCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_work_does_something() {
        for work in &WORKS {
            (work.run)(20);
        }
    }

    #[test]
    fn what_was_not_counted_stays_recorded_unless_it_holds_for_something_else() {
        let [first, second] = [WORKS[0].name, WORKS[1].name];
        let count = |work: &str, instructions| Counted { work: work.to_string(), instructions };
        let recorded = || Recorded {
            holds_for: "this".to_string(),
            works: vec![count(first, 1.0), count(second, 2.0), count("a work of the past", 3.0)],
        };
        let told = |works: Vec<Counted>| -> Vec<(String, u32)> {
            works.into_iter().map(|known| (known.work, known.instructions as u32)).collect()
        };
        let works = told(recorded().with("this", vec![count(second, 5.0)]));
        assert_eq!(works, [(first.to_string(), 1), (second.to_string(), 5)]);
        let works = told(recorded().with("that", vec![count(second, 5.0)]));
        assert_eq!(works, [(second.to_string(), 5)]);
    }

    #[test]
    fn only_what_is_clearly_more_fails() {
        let counts = |instructions| vec![Counted { work: "w".to_string(), instructions }];
        assert!(compare(&counts(102.9), &counts(100.0)).is_ok());
        assert!(compare(&counts(50.0), &counts(100.0)).is_ok());
        let worse = compare(&counts(104.0), &counts(100.0)).unwrap_err();
        assert!(worse.contains("4.0 %") && worse.contains("--record"), "{worse}");
        assert!(compare(&counts(1.0), &[]).is_err());
    }
}
