//! The same seed gives the same packets at the same times.

mod common;

use common::{exchange, random_bytes};
use sockeye::Network;
use sockeye::packet::Chunk;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A capture kept in memory.
#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(data);
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn captured(seed: u64) -> Vec<u8> {
    let memory = Memory::default();
    let link = "delay 10ms 5ms loss 2% duplicate 1% reorder 1% corrupt 1% rate 50mbit".parse().unwrap();
    let data = Chunk::from(random_bytes(9, 1 << 19));
    let builder = Network::builder().seed(seed).capture_to(memory.clone());
    let outcome = exchange(builder, link, [&data, &data], Duration::from_mins(10)).unwrap();
    outcome.simulation.network().flush_captures().unwrap();
    memory.0.lock().unwrap().clone()
}

#[test]
fn one_seed_gives_one_capture() {
    let first = captured(1);
    assert!(first.len() > 1 << 20, "{} bytes", first.len());
    assert!(first == captured(1), "two runs of one seed differ");
    assert!(first != captured(2), "two seeds give the same packets");
}
