//! The same seed gives the same packets at the same times.

mod common;

use common::{Memory, exchange, random_bytes};
use sockeye::Network;
use sockeye::packet::Chunk;
use std::time::Duration;

fn captured(seed: u64) -> Vec<u8> {
    let memory = Memory::default();
    let link = "delay 10ms 5ms loss 2% duplicate 1% reorder 1% corrupt 1% rate 50mbit".parse().unwrap();
    let data = Chunk::from(random_bytes(9, 1 << 19));
    let builder = Network::builder().seed(seed).capture_to(memory.clone());
    let outcome = exchange(builder, link, [&data, &data], Duration::from_mins(10)).unwrap();
    outcome.simulation.network().flush_captures().unwrap();
    memory.bytes()
}

#[test]
fn one_seed_gives_one_capture() {
    let first = captured(1);
    assert!(first.len() > 1 << 20, "{} bytes", first.len());
    assert!(first == captured(1), "two runs of one seed differ");
    assert!(first != captured(2), "two seeds give the same packets");
}
