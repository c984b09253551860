//! Explicit congestion notification (RFC 3168) over a bottleneck that marks.

mod common;

use common::{exchange_from, random_bytes};
use sockeye::packet::Chunk;
use sockeye::stack::{Config, Counter, Ecn};
use sockeye::{HostConfig, NetemConfig, Network};
use std::time::Duration;

/// What was sent again, and how many marked packets arrived, when so much is sent to the server.
fn upload(link: &str, len: usize, ecn: Ecn) -> (u64, u64) {
    let link: NetemConfig = link.parse().unwrap();
    let mut stack = Config::default();
    stack.tcp.ecn = ecn;
    let client = HostConfig { link: link.into(), stack, ..HostConfig::default() };
    let data = Chunk::from(random_bytes(3, len));
    let (builder, limit) = (Network::builder().seed(1), Duration::from_mins(10));
    let outcome = exchange_from(builder, client, [&data, &Chunk::from(Vec::new())], limit).unwrap();
    let count = |host: &str, counter| {
        let host = outcome.simulation.network().host(host).unwrap();
        host.with_stack(|stack, _| stack.counters()[counter])
    };
    (count("client", Counter::TcpRetransSegs), count("server", Counter::IpInCePkts))
}

#[test]
fn a_bottleneck_that_marks_costs_no_retransmission() {
    let link = "rate 20mbit delay 10ms limit 200 ecn";
    let (resent, marked) = upload(link, 10 << 20, Ecn::Request);
    assert!(resent == 0 && marked > 0, "{resent} sent again, {marked} marked");
    // Who did not ask for it is told by losses.
    let (resent, marked) = upload(link, 10 << 20, Ecn::Accept);
    assert!(resent > 0 && marked == 0, "{resent} sent again, {marked} marked");
}
