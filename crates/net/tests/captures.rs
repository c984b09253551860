//! What captures show of a host that talks to itself, and that they show it in time.

use sockeye::packet::Chunk;
use sockeye::stack::{Counter, Domain, Owner, SendFlags, SockAddr, SocketType};
mod common;

use common::Memory;
use sockeye::{HostConfig, Instant, Network};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A file name of this process in the folder for such, removed when dropped, unless the test fails: then somebody
/// will want to look at it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        Scratch(std::env::temp_dir().join(format!("sockeye-{name}-{}.pcapng", std::process::id())))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            drop(std::fs::remove_file(&self.0));
        }
    }
}

/// The blocks of a capture that ends with a whole one: their types and bodies.
fn blocks(bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let word = |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().unwrap());
    let (mut blocks, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let len = word(at + 4) as usize;
        blocks.push((word(at), bytes[at + 8..at + len - 4].to_vec()));
        at += len;
    }
    blocks
}

/// Sends `data` from a host to itself and reads it there.
fn transfer(network: &Network, to: SocketAddr, data: &[u8]) {
    let host = network.host("web").unwrap();
    let listener = host.tcp_listen(to).unwrap();
    let mut client = host.tcp_connect(to).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let mut received = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            client.write_all(data).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
        });
        server.read_to_end(&mut received).unwrap();
    });
    assert!(received == data);
}

/// The packets of a capture that pass a display filter, checksums checked, as lines of these fields.
fn tshark(capture: &Path, filter: &str, fields: &[&str]) -> Vec<String> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(capture).args(["-n", "-Y", filter, "-T", "fields", "-E", "separator= "]);
    command.args(["-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"]);
    // The data is no HTTP, whatever some segment of it may look like.
    command.args(["-d", "tcp.port==80,data"]);
    for field in fields {
        command.args(["-e", field]);
    }
    let output = command.stderr(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn captures_show_what_a_host_sends_to_itself() {
    if Command::new("tshark").arg("--version").output().is_err() {
        eprintln!("skipped: tshark is not installed");
        return;
    }
    let (all, own) = (Scratch::new("all"), Scratch::new("own"));
    let config = HostConfig { capture: Some(own.0.clone()), ..HostConfig::default() };
    let network = Network::builder().seed(1).capture(&all.0).host("web", config).build().unwrap();
    let data: Vec<u8> = (0..2_000_000_u32).map(|i| (i * 31 / 7) as u8).collect();
    for to in ["127.0.0.1:80", "[::1]:80", "10.77.0.2:80"] {
        transfer(&network, to.parse().unwrap(), &data);
    }
    // A reader that is late, as on a busy machine, lets the sender's tail loss probe go out (RFC 8985 §7.2).
    let sent_again =
        network.host("web").unwrap().with_stack(|stack, _| stack.counters()[Counter::TcpRetransSegs]);
    drop(network);
    // Each connection's packets are there once and in order: nothing looks lost.
    let wrong = "_ws.malformed || tcp.checksum.status == 0 || ip.checksum.status == 0 || tcp.analysis.lost_segment \
        || tcp.analysis.ack_lost_segment || frame.interface_name != \"web:lo\"";
    for Scratch(capture) in [&all, &own] {
        assert_eq!(tshark(capture, wrong, &["frame.number", "_ws.expert.message"]), Vec::<String>::new());
        let (mut repeated, mut flows) = (0, BTreeMap::<[String; 2], Flow>::new());
        for line in
            tshark(capture, "tcp", &["tcp.stream", "tcp.srcport", "tcp.flags.str", "tcp.seq", "tcp.len"])
        {
            let [stream, port, flags, seq, len] = line.split(' ').collect::<Vec<_>>().try_into().unwrap();
            let has = |flag| flags.contains(flag);
            assert!(!has('R'));
            let length = len.parse::<u64>().unwrap() + u64::from(has('S')) + u64::from(has('F'));
            let flow = flows.entry([stream, port].map(str::to_owned)).or_default();
            repeated += u64::from(!flow.goes_on(seq.parse().unwrap(), length));
            flow.is_over |= has('F');
        }
        assert_eq!(repeated, sent_again);
        assert!(flows.values().all(|flow| flow.is_over));
        // Each connection has two ends, and SYN and FIN count as one.
        let mut sent: Vec<u64> = flows.values().map(|flow| flow.next).collect();
        sent.sort_unstable();
        assert_eq!(sent, [[2; 3], [data.len() as u64 + 2; 3]].concat());
    }
}

/// What one end of a connection has sent, in sequence numbers from 0.
#[derive(Default)]
struct Flow {
    next: u64,
    is_over: bool,
}

impl Flow {
    /// Adds a segment; false when it was sent before.
    fn goes_on(&mut self, seq: u64, length: u64) -> bool {
        assert!(seq <= self.next, "the segment before is missing");
        let is_new = length == 0 || seq + length > self.next;
        self.next = self.next.max(seq + length);
        is_new
    }
}

/// A datagram to itself.
fn datagram(network: &Network, now: Instant) {
    network.set_now(now);
    network.host("web").unwrap().with_stack(|stack, now| {
        let to = SockAddr::new(Ipv4Addr::LOCALHOST.into(), 9);
        let id = stack.socket(Domain::Inet, SocketType::Datagram, Owner::default()).unwrap();
        stack.bind(id, to).unwrap();
        stack.send_to(now, id, Chunk::from_static(b"x").into(), Some(to), SendFlags::default()).unwrap();
        stack.close(now, id).unwrap();
    });
}

#[test]
fn packets_have_their_own_time_and_are_written_within_a_tenth_of_a_second() {
    let memory = Memory::default();
    let builder = Network::builder().seed(1).capture_to(memory.clone()).wall_offset(Duration::from_nanos(7));
    let network = builder.host("web", HostConfig::default()).build_manual().unwrap();
    assert_eq!(blocks(&memory.bytes()).len(), 3, "a section, the gateway, the host");
    datagram(&network, Instant::from_millis(1));
    datagram(&network, Instant::from_millis(2));
    assert_eq!(network.turn(Instant::from_millis(50)), Some(Instant::from_millis(101)));
    network.turn(Instant::from_millis(101));
    let blocks = blocks(&memory.bytes());
    assert!(blocks[3].0 == 1 && blocks[3].1.windows(6).any(|name| name == b"web:lo"));
    let times: Vec<u32> = blocks[4..]
        .iter()
        .map(|(kind, body)| {
            assert_eq!((*kind, body[..4].to_vec()), (6, 2_u32.to_le_bytes().to_vec()));
            u32::from_le_bytes(body[8..12].try_into().unwrap())
        })
        .collect();
    assert_eq!(times, [1_000_007, 2_000_007]);
}

#[test]
fn without_a_capture_nothing_is_copied() {
    let memory = Memory::default();
    for captured in [false, true] {
        let mut builder = Network::builder().host("web", HostConfig::default());
        if captured {
            builder = builder.capture_to(memory.clone());
        }
        let network = builder.build_manual().unwrap();
        let tapped = network.host("web").unwrap().with_stack(|stack, now| {
            let to = SockAddr::new(Ipv4Addr::LOCALHOST.into(), 9);
            let id = stack.socket(Domain::Inet, SocketType::Datagram, Owner::default()).unwrap();
            stack.bind(id, to).unwrap();
            stack.send_to(now, id, Chunk::from_static(b"x").into(), Some(to), SendFlags::default()).unwrap();
            stack.poll_tap().is_some()
        });
        assert_eq!(tapped, captured);
    }
}

#[test]
fn a_second_capture_is_refused_before_the_file_of_the_first_is_emptied() {
    let file = Scratch::new("twice");
    let network = Network::builder().seed(1).host("a", HostConfig::default()).build_manual().unwrap();
    let host = network.host("a").unwrap();
    network.capture_host(&host, &file.0).unwrap();
    network.flush_captures().unwrap();
    let before = std::fs::read(&file.0).unwrap();
    assert!(!before.is_empty());
    let error = network.capture_host(&host, &file.0).unwrap_err();
    assert!(matches!(error, sockeye::Error::CapturedAlready { .. }), "{error}");
    assert_eq!(std::fs::read(&file.0).unwrap(), before);
}

#[test]
fn two_captures_do_not_share_a_file() {
    let file = Scratch::new("shared");
    let make = |seed| Network::builder().seed(seed).host("a", HostConfig::default()).build_manual().unwrap();
    let (first, second) = (make(1), make(2));
    first.capture_host(&first.host("a").unwrap(), &file.0).unwrap();
    first.flush_captures().unwrap();
    let before = std::fs::read(&file.0).unwrap();
    let host = second.host("a").unwrap();
    let error = second.capture_host(&host, &file.0).unwrap_err();
    assert!(error.to_string().contains("another capture"), "{error}");
    assert_eq!(std::fs::read(&file.0).unwrap(), before);
    drop(first);
    second.capture_host(&host, &file.0).unwrap();
}
