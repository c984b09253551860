//! The examples of simulations: what they print, and that a seed decides every packet.

#![cfg(feature = "simulation")]

mod common;
#[path = "../examples/election.rs"]
mod election;
#[path = "../examples/swarm.rs"]
mod swarm;

use common::Memory;
use sockeye::{Network, Simulation};
use std::error::Error;

/// A simulation, which reports what it was like.
type Run = fn(&mut Simulation) -> Result<String, Box<dyn Error>>;

/// What a simulation reports, and all its packets.
fn captured(seed: u64, run: Run) -> (String, Vec<u8>) {
    let memory = Memory::default();
    let mut sim = Network::builder().seed(seed).capture_to(memory.clone()).simulate().unwrap();
    let report = run(&mut sim).unwrap();
    sim.network().flush_captures().unwrap();
    (report, memory.bytes())
}

/// The same seed gives the same packets at the same times, another seed others.
fn assert_decided_by_the_seed(run: Run) -> String {
    let (report, packets) = captured(1, run);
    assert!(packets.len() > 10_000, "{} bytes", packets.len());
    let (again, packets_again) = captured(1, run);
    assert!(report == again && packets == packets_again, "two runs of one seed differ");
    assert!(packets != captured(2, run).1, "two seeds give the same packets");
    report
}

#[test]
fn a_seed_decides_a_swarm() {
    let report = assert_decided_by_the_seed(swarm::run);
    assert_eq!(report.lines().count(), 49, "{report}");
    let last = report.lines().last().unwrap();
    assert!(last.ends_with("peer-7 has the file"), "who crashed isn't the last: {report}");
}

#[test]
fn a_seed_decides_an_election() {
    let report = assert_decided_by_the_seed(election::run);
    assert_eq!(report.lines().filter(|line| line.contains(" leads term ")).count(), 20, "{report}");
}

#[test]
fn elections_have_one_leader_whatever_the_seed() {
    sockeye::simulate(100..110, election::run);
}
