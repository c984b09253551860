//! The whole machine, against a peer that a script plays.
//!
//! Segments are lines of the packet notation. Both initial sequence numbers are 0, the peer's segment size
//! is 1000 unless a test says otherwise, timestamps and window scaling are off unless it asks for them.

mod close;
mod congestion;
mod ecn;
mod exchange;
mod loss;
mod open;
mod pacing;
mod pair;
mod windows;

use super::CaState;
use super::connection::{Connection, Resources};
use super::open::OpenParams;
use super::segment::Segment;
use super::seq::SeqNumber;
use super::spare::Spares;
use super::state::State;
use crate::config::TcpConfig;
use crate::counters::Counters;
use crate::socket::options::TcpSettings;
use crate::{Error, RecvFlags, SendFlags, Shutdown};
use alloc::collections::VecDeque;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;
use sockeye_packet::{Budget, Chunk, Instant, Payload};
use sockeye_wire::{LineBody, PacketLine, TcpFlags, TcpHeader, TcpLine};

/// One end of a connection, and the hand that plays the other.
struct Script {
    now: Instant,
    config: TcpConfig,
    settings: TcpSettings,
    budget: Budget,
    spares: Spares,
    counters: Counters,
    connection: Connection,
    /// Resets that calls answered, to be sent before all else.
    answers: Vec<TcpHeader>,
    sent: usize,
    /// As of [`Resources`].
    max_segment: usize,
}

impl Script {
    /// An active open, its SYN not sent yet.
    fn connect(setup: impl FnOnce(&mut TcpConfig)) -> Script {
        let mut config = TcpConfig {
            timestamps: false,
            window_scaling: false,
            early_retrans: 0,
            syn_linear_timeouts: 0,
            ..TcpConfig::default()
        };
        setup(&mut config);
        let settings = TcpSettings { quick_ack: false, ..TcpSettings::new(&config) };
        let now = Instant::from_millis(1000);
        let open = OpenParams {
            config: &config,
            settings: &settings,
            iss: SeqNumber(0),
            ts_offset: 0,
            local_mss: 1000,
            path_mss: 1460,
            default_mss: 536,
        };
        let connection = Connection::connect(now, &open);
        let (budget, spares, counters) = (Budget::new(64 << 20), Spares::default(), Counters::default());
        Script {
            now,
            config,
            settings,
            budget,
            spares,
            counters,
            connection,
            answers: Vec::new(),
            sent: 0,
            max_segment: 0,
        }
    }

    /// An established connection; the round trip took `rtt` milliseconds.
    fn established(rtt: u64, syn_ack: &str, setup: impl FnOnce(&mut TcpConfig)) -> Script {
        let mut script = Script::connect(setup);
        script.expect(&["S 0:0(0)"]);
        script.advance(rtt);
        script.inject(syn_ack);
        script.expect(&[". 1:1(0) ack 1"]);
        script
    }

    /// The usual one, with SACK.
    fn with_sack() -> Script {
        Script::established(100, "S. 0:0(0) ack 1 win 65535 <mss 1000,nop,nop,sackOK>", |_| ())
    }

    /// One without SACK.
    fn without_sack() -> Script {
        Script::established(100, "S. 0:0(0) ack 1 win 65535 <mss 1000>", |_| ())
    }

    /// Calls the machine with what it may use.
    fn call<T>(&mut self, call: impl FnOnce(&mut Connection, Instant, &mut Resources<'_>) -> T) -> T {
        let mut resources = Resources {
            budget: &mut self.budget,
            spares: &mut self.spares,
            counters: &mut self.counters,
            config: &self.config,
            settings: &self.settings,
            max_segment: self.max_segment,
        };
        let outcome = call(&mut self.connection, self.now, &mut resources);
        self.connection.check_invariants();
        outcome
    }

    /// A segment from the peer. Data is a pattern of the position in the stream.
    #[track_caller]
    fn inject(&mut self, line: &str) {
        self.inject_marked(0, line);
    }

    /// The same, in a packet with these ECN bits.
    #[track_caller]
    fn inject_marked(&mut self, ecn: u8, line: &str) {
        let line = parse(line);
        let start = line.seq as usize + usize::from(line.flags.syn());
        let payload = Chunk::from(stream(start, line.len as usize)).into();
        let mut segment = Segment { header: line.header(0, 0), payload, ecn, gso_size: 0 };
        let answer =
            self.call(|connection, now, resources| connection.on_segment(now, &mut segment, resources));
        self.answers.extend(answer);
    }

    /// Exactly these segments are sent now. What a line doesn't say (window, options) may be anything, and
    /// so may PSH.
    #[track_caller]
    fn expect(&mut self, lines: &[&str]) {
        let sent = self.transmit();
        let matches = sent.len() == lines.len()
            && sent.iter().zip(lines).all(|(sent, line)| fits(sent, &parse(line), line.contains('<')));
        let sent: Vec<String> = sent.into_iter().map(show).collect();
        assert!(matches, "expected {lines:#?}, sent {sent:#?} at {}", self.now);
    }

    fn transmit(&mut self) -> Vec<TcpLine> {
        let mut sent: Vec<TcpLine> = self.answers.drain(..).map(|header| TcpLine::new(&header, 0)).collect();
        while let Some(segment) = self.call(Connection::poll_transmit) {
            let line = TcpLine::new(&segment.header, segment.payload.len() as u32);
            assert_eq!(segment.payload.to_vec(), stream(line.seq as usize, line.len as usize));
            sent.push(line);
            assert!(sent.len() < 10_000, "it does not stop sending");
        }
        sent
    }

    /// Lets `millis` pass; timers fire when they are due.
    #[track_caller]
    fn advance(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        for _ in 0..1000 {
            match self.connection.poll_timeout() {
                Some((at, _)) if at <= end => {
                    self.now = self.now.max(at);
                    let answer = self.call(Connection::on_timeout);
                    self.answers.extend(answer);
                }
                _ => {
                    self.now = end;
                    return;
                }
            }
        }
        panic!("timers fire for ever");
    }

    /// Nothing is sent for `millis`, less one.
    #[track_caller]
    fn silent(&mut self, millis: u64) {
        self.advance(millis - 1);
        self.expect(&[]);
        self.advance(1);
    }

    /// The user sends `len` bytes of the pattern.
    #[track_caller]
    fn send(&mut self, len: usize) {
        let mut chunks = VecDeque::from([Chunk::from(stream(self.sent + 1, len))]);
        let taken = self.call(|connection, now, resources| {
            connection.send(now, &mut chunks, SendFlags::default(), resources)
        });
        assert_eq!(taken, Ok(len));
        self.sent += len;
    }

    /// The user reads up to `max` bytes.
    fn read(&mut self, max: usize) -> Result<Payload, Error> {
        self.call(|connection, now, resources| connection.recv(now, max, RecvFlags::default(), resources))
    }

    fn shutdown(&mut self) {
        self.call(|connection, _, resources| connection.shutdown(Shutdown::Write, resources));
    }

    fn close(&mut self) {
        let answer = self.call(Connection::close);
        self.answers.extend(answer);
    }

    fn state(&self) -> State {
        self.connection.state()
    }
}

impl Drop for Script {
    /// Whatever happened, everything that was charged is given back.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.connection.release(&mut self.budget);
            assert_eq!(self.budget.used(), 0);
        }
    }
}

fn stream(from: usize, len: usize) -> Vec<u8> {
    (from..from + len).map(|i| (i % 251) as u8).collect()
}

#[track_caller]
fn parse(line: &str) -> TcpLine {
    match line.parse() {
        Ok(PacketLine { body: LineBody::Tcp(tcp), .. }) => tcp,
        other => panic!("{line}: {other:?}"),
    }
}

fn fits(sent: &TcpLine, line: &TcpLine, options: bool) -> bool {
    let flags = |line: &TcpLine| line.flags.bits() & !TcpFlags::PSH.bits();
    flags(sent) == flags(line)
        && (sent.seq, sent.len, sent.ack, sent.urgent) == (line.seq, line.len, line.ack, line.urgent)
        && line.window.is_none_or(|window| sent.window == Some(window))
        && (!options || line.options.is_none_or(|options| sent.options == Some(options)))
}

fn show(line: TcpLine) -> String {
    PacketLine { endpoints: None, body: LineBody::Tcp(line) }.to_string()
}
