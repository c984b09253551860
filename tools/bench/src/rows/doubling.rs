//! Twice the work must cost no more than a little over twice the time: bytes, flows, hosts.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use sockeye::{HostConfig, Network};

use crate::peers::stack::{Link, Pair};
use crate::row::Row;

const BYTES: usize = 1 << 27;
const FLOWS: usize = 5_000;
/// Requests of each flow.
const REQUESTS: usize = 4;
const HOSTS: usize = 200;

pub(super) fn rows() -> Vec<Row> {
    vec![
        row("doubled: bytes", |times| Ok(Pair::connected(&Link::MEMORY).transfer(BYTES * times))),
        row("doubled: flows", |times| {
            let mut pair = Pair::connected(&Link::MEMORY);
            let start = Instant::now();
            let flows = pair.flows(FLOWS * times);
            pair.requests(&flows, FLOWS * times * REQUESTS);
            Ok(start.elapsed())
        }),
        row("doubled: hosts", |times| hosts(HOSTS * times).map_err(|error| error.to_string())),
    ]
}

/// The time of double the work beside twice that of the single one: 2.1 times as much is 0.95 here.
fn row(name: &'static str, work: fn(usize) -> Result<Duration, String>) -> Row {
    let milliseconds = move |times| work(times).map(|spent| spent.as_secs_f64() * 1e3);
    Row {
        name,
        unit: "ms",
        peer: "half of it, twice",
        goal: 2.0 / 2.1,
        smaller: true,
        ours: Box::new(move || milliseconds(2)),
        theirs: Box::new(move || milliseconds(1).map(|spent| 2.0 * spent)),
    }
}

/// A network of as many hosts, each of which connects to the one before, asks it something and is answered.
fn hosts(count: usize) -> std::io::Result<Duration> {
    let start = Instant::now();
    let network = Network::builder().build()?;
    let mut last = network.add_host("first", HostConfig::default())?;
    for number in 1..count {
        let host = network.add_host(&format!("host-{number}"), HostConfig::default())?;
        let listener = last.tcp_listen((last.ipv4(), 80))?;
        let mut asking = host.tcp_connect((last.ipv4(), 80))?;
        let mut answering = listener.accept()?.0;
        let mut text = [0; 1024];
        for _ in 0..10 {
            asking.write_all(&[1; 1024])?;
            answering.read_exact(&mut text)?;
            answering.write_all(&text)?;
            asking.read_exact(&mut text)?;
        }
        last = host;
    }
    Ok(start.elapsed())
}
