//! The machine as a whole, in small scripted exchanges: one behaviour each.
//!
//! Both initial sequence numbers are 0, so that the numbers in a line count from the SYN, and byte `n` of a
//! stream has the value `n`. Timestamps are off unless a test is about them.

mod acks;
mod close;
mod data;
mod info;
mod link;
mod open;
mod predict;
mod recovery;
mod reset;
mod room;
mod timeouts;
mod urgent;
mod windows;

use crate::config::TcpConfig;
use crate::counters::Counters;
use crate::socket::options::TcpSettings;
use crate::tcp::connection::{Connection, Resources};
use crate::tcp::open::{Handshake, OpenParams};
use crate::tcp::segment::Segment;
use crate::tcp::seq::SeqNumber;
use crate::tcp::spare::Spares;
use crate::tcp::state::State;
use crate::{Error, Readiness, RecvFlags, Result, SendFlags};
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;
use sockeye_packet::{Budget, Chunk, Instant, Payload};
use sockeye_wire::{LineBody, PacketLine, TcpHeader, TcpLine};

/// One connection and what surrounds it.
struct Test {
    connection: Connection,
    now: Instant,
    budget: Budget,
    spares: Spares,
    counters: Counters,
    config: TcpConfig,
    settings: TcpSettings,
    max_segment: usize,
    /// What was answered outside the machine.
    answers: Vec<TcpHeader>,
    /// Bytes written so far.
    written: usize,
    /// Bytes read so far.
    read: usize,
    /// Segments that were predicted so far, and whether they go the long way all the same.
    predicted: usize,
    long_way: bool,
    /// What somebody else holds of the memory.
    hogged: usize,
}

/// The bytes of a stream from `offset` on.
fn stream(offset: usize, len: usize) -> Chunk {
    Chunk::from((offset..offset + len).map(|i| i as u8).collect::<Vec<u8>>())
}

impl Test {
    fn config() -> TcpConfig {
        TcpConfig { timestamps: false, early_retrans: 0, syn_linear_timeouts: 0, ..TcpConfig::default() }
    }

    fn with(
        config: TcpConfig,
        settings: TcpSettings,
        make: impl FnOnce(Instant, &OpenParams<'_>) -> Connection,
    ) -> Test {
        let now = Instant::from_millis(1000);
        let open = OpenParams {
            config: &config,
            settings: &settings,
            iss: SeqNumber(0),
            ts_offset: 0,
            local_mss: 1460,
            path_mss: 1460,
            default_mss: 536,
        };
        let connection = make(now, &open);
        Test {
            connection,
            now,
            budget: Budget::new(64 << 20),
            spares: Spares::default(),
            counters: Counters::default(),
            config,
            settings,
            max_segment: 0,
            answers: Vec::new(),
            written: 0,
            read: 0,
            predicted: 0,
            long_way: false,
            hogged: 0,
        }
    }

    /// In SYN-SENT, its SYN not yet sent.
    fn connect_with(config: TcpConfig, change: impl FnOnce(&mut TcpSettings)) -> Test {
        let mut settings = TcpSettings::new(&config);
        change(&mut settings);
        Test::with(config, settings, Connection::connect)
    }

    fn connect() -> Test {
        Test::connect_with(Test::config(), |_| {})
    }

    /// An active open, complete: MSS 1000, SACK, no scaling on the peer's side, a window of 60,000.
    fn established_with(change: impl FnOnce(&mut TcpSettings)) -> Test {
        let mut t = Test::connect_with(Test::config(), change);
        t.handshake("S. 0:0(0) ack 1 win 60000 <mss 1000,nop,nop,sackOK>");
        t
    }

    fn established() -> Test {
        Test::established_with(|_| {})
    }

    /// As `established`, but the peer doesn't know SACK.
    fn without_sack() -> Test {
        let mut t = Test::connect();
        t.handshake("S. 0:0(0) ack 1 win 60000 <mss 1000>");
        t
    }

    fn handshake(&mut self, syn_ack: &str) {
        assert!(self.poll().is_some(), "a SYN");
        self.inject(syn_ack);
        let ack = self.poll().expect("the third segment of the handshake");
        assert_eq!((ack.header.seq, ack.header.ack), (1, 1));
        self.expect_nothing();
        assert_eq!(self.connection.state(), State::Established);
    }

    /// A passive open, complete.
    fn accepted() -> Test {
        let handshake = Handshake {
            irs: SeqNumber(0),
            peer_mss: Some(1000),
            peer_window_scale: None,
            our_window_scale: 7,
            our_window: 65_535,
            ecn: false,
            sack: true,
            ts_recent: None,
            rtt: Some(Duration::from_millis(10)),
            timeouts: 0,
        };
        let config = Test::config();
        let settings = TcpSettings::new(&config);
        Test::with(config, settings, |now, open| Connection::from_handshake(now, open, &handshake))
    }

    fn call<T>(&mut self, call: impl FnOnce(&mut Connection, Instant, &mut Resources<'_>) -> T) -> T {
        let mut resources = Resources {
            budget: &mut self.budget,
            spares: &mut self.spares,
            counters: &mut self.counters,
            config: &self.config,
            settings: &self.settings,
            max_segment: self.max_segment,
        };
        call(&mut self.connection, self.now, &mut resources)
    }

    /// The peer sends what `line` says.
    fn inject(&mut self, line: &str) {
        let line = parse(line);
        let mut header = line.header(0, 0);
        header.window = line.window.unwrap_or(60_000);
        // Data of the peer: byte n of the stream has sequence number n + 1.
        let first = line.seq.wrapping_add(u32::from(line.flags.syn())).wrapping_sub(1) as usize;
        let payload =
            if line.len > 0 { Payload::from(stream(first, line.len as usize)) } else { Payload::EMPTY };
        self.inject_segment(Segment { header, payload, ecn: 0, gso_size: 0 });
    }

    fn inject_segment(&mut self, mut segment: Segment) {
        let predicted = self.connection.is_predicted(&segment.header, segment.payload.len());
        self.predicted += usize::from(predicted);
        let short = predicted && !self.long_way;
        let answer = self.call(|c, now, r| c.take_in(now, &mut segment, short, r));
        self.answers.extend(answer);
    }

    fn poll(&mut self) -> Option<Segment> {
        self.call(Connection::poll_transmit)
    }

    /// The next segment is what `line` says; where it leaves something open, anything.
    fn expect(&mut self, line: &str) {
        let segment = self.poll();
        let Some(segment) = segment else { panic!("nothing was sent, expected {line}") };
        let first = segment.header.seq.wrapping_add(u32::from(segment.header.flags.syn())).wrapping_sub(1);
        if !segment.payload.is_empty() {
            assert_eq!(segment.payload.to_vec(), *stream(first as usize, segment.payload.len()));
        }
        assert_line(&segment.header, segment.payload.len(), line);
    }

    fn expect_nothing(&mut self) {
        if let Some(segment) = self.poll() {
            panic!("sent {}", show(&segment.header, segment.payload.len()));
        }
    }

    /// The answer outside the machine is what `line` says.
    fn expect_answer(&mut self, line: &str) {
        assert!(!self.answers.is_empty(), "no answer, expected {line}");
        let header = self.answers.remove(0);
        assert_line(&header, 0, line);
    }

    /// Time passes; timers fire when they are due.
    fn sleep(&mut self, millis: u64) {
        let end = self.now + Duration::from_millis(millis);
        while let Some((at, _)) = self.connection.poll_timeout()
            && at <= end
        {
            self.now = self.now.max(at);
            let answer = self.call(Connection::on_timeout);
            self.answers.extend(answer);
            // What is due goes out at the end of the sleep, unless it arms the next timer.
            if self.connection.poll_timeout().is_some_and(|(next, _)| next <= self.now) {
                break;
            }
        }
        self.now = end;
    }

    /// Jumps to the next deadline, which is to be `millis` away, and lets it fire.
    fn fire(&mut self, millis: u64) {
        let (at, timer) = self.connection.poll_timeout().expect("a timer");
        assert_eq!((at - self.now).as_millis(), u128::from(millis), "{timer:?}");
        self.now = at;
        let answer = self.call(Connection::on_timeout);
        self.answers.extend(answer);
    }

    fn try_write(&mut self, len: usize, flags: SendFlags) -> Result<usize> {
        let mut chunks = VecDeque::from([stream(self.written, len)]);
        let taken = self.call(|c, now, r| c.send(now, &mut chunks, flags, r))?;
        self.written += taken;
        Ok(taken)
    }

    fn write(&mut self, len: usize) {
        assert_eq!(self.try_write(len, SendFlags::default()), Ok(len));
    }

    fn try_read(&mut self, max: usize) -> Result<Vec<u8>> {
        self.call(|c, now, r| c.recv(now, max, RecvFlags::default(), r)).map(|payload| payload.to_vec())
    }

    /// Reads exactly `len` bytes of the stream.
    fn read(&mut self, len: usize) {
        let mut left = len;
        while left > 0 {
            let data = self.try_read(left).expect("data");
            assert!(!data.is_empty(), "end of file");
            assert_eq!(data, *stream(self.read, data.len()));
            self.read += data.len();
            left -= data.len();
        }
    }

    fn shutdown_write(&mut self) {
        self.call(|c, _, r| c.shutdown(crate::Shutdown::Write, r));
    }

    fn close(&mut self) {
        let answer = self.call(Connection::close);
        self.answers.extend(answer);
    }

    fn ready(&self) -> Readiness {
        self.connection.readiness(&self.settings, &self.config)
    }

    fn state(&self) -> State {
        self.connection.state()
    }

    fn error(&mut self) -> Option<Error> {
        self.connection.take_error()
    }
}

fn parse(line: &str) -> TcpLine {
    match line.parse::<PacketLine>() {
        Ok(PacketLine { body: LineBody::Tcp(tcp), .. }) => tcp,
        other => panic!("{line}: {other:?}"),
    }
}

fn show(header: &TcpHeader, len: usize) -> String {
    format!("{}", TcpLine::new(header, len as u32))
}

fn assert_line(header: &TcpHeader, len: usize, line: &str) {
    let wanted = parse(line);
    let mut got = TcpLine::new(header, len as u32);
    if wanted.window.is_none() {
        got.window = None;
    }
    if wanted.options.is_none() {
        got.options = None;
    }
    assert!(got == wanted, "sent     {}\nexpected {line}", show(header, len));
}
