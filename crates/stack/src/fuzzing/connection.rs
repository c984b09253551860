//! A connection alone, between a user and a peer who both do what they like.
//!
//! In the end the peer becomes honest: then everything that the user has sent is acknowledged in bounded
//! time, or the connection was given up before.

use super::segments::{honest, segment};
use super::source::Source;
use super::{Seen, bytes_from, first_wrong, play, trace, write_len};
use crate::config::{BufferSizes, TcpConfig};
use crate::counters::Counters;
use crate::socket::options::TcpSettings;
use crate::tcp::check::View;
use crate::tcp::{Connection, Handshake, OpenParams, Resources, Segment, SeqNumber, Spares, State};
use crate::{CongestionControl, Error, RecvFlags, SendFlags, Shutdown};
use alloc::collections::VecDeque;
use alloc::format;
use alloc::vec::Vec;
use core::time::Duration;
use sockeye_packet::{Budget, Instant, Payload};
use sockeye_wire::{TcpFlags, TcpHeader, TcpLine};

/// Most things that happen in one story.
const STEPS: usize = 600;
/// Most segments that a connection may send without anything happening in between.
const BURST: usize = 20_000;
/// How long an honest peer may need: the longest back-off is two minutes.
const PATIENCE: Duration = Duration::from_mins(30);

struct Driver {
    now: Instant,
    config: TcpConfig,
    settings: TcpSettings,
    budget: Budget,
    spares: Spares,
    counters: Counters,
    connection: Connection,
    max_segment: usize,
    /// Bytes that the user has handed over.
    written: u32,
    iss: SeqNumber,
    /// The right edge of the window that the peer was told last, once it was told.
    edge: Option<SeqNumber>,
    /// What the peer has sent, as distances from its first byte: sorted, apart from each other.
    covered: Vec<(i64, i64)>,
    base: Option<(SeqNumber, i64)>,
    closed: bool,
    /// Segments that the connection has sent.
    sent: u64,
    seen: Seen,
}

/// Plays the story that `bytes` tell.
pub fn connection(bytes: &[u8]) -> Seen {
    let mut driver = play(bytes, STEPS, Driver::new, Driver::step);
    driver.finish();
    driver.seen
}

/// Settings of TCP as a story may have them.
pub(super) fn config(source: &mut Source<'_>) -> TcpConfig {
    let sizes = |source: &mut Source<'_>| {
        let default = source.pick(&[131_072, 30_000, 5000, 2000, 700, 100, 1]);
        BufferSizes { min: 1, default, max: default.max(source.pick(&[400_000, 100_000, 1000])) }
    };
    TcpConfig {
        recv_buffer: sizes(source),
        send_buffer: sizes(source),
        timestamps: !source.chance(80),
        sack: !source.chance(80),
        window_scaling: !source.chance(80),
        congestion: source.pick(&[CongestionControl::Cubic, CongestionControl::Reno]),
        initial_window: source.pick(&[10, 2, 1]),
        ..TcpConfig::default()
    }
}

impl Driver {
    fn new(source: &mut Source<'_>) -> Driver {
        let config = config(source);
        let settings = TcpSettings::new(&config);
        let now = Instant::from_millis(1000);
        let iss = SeqNumber(source.pick(&[0, u32::MAX - 3000, (1 << 31) - 3000]));
        let irs = SeqNumber(source.pick(&[0, u32::MAX - 3000, (1 << 31) - 3000]));
        let open = OpenParams {
            config: &config,
            settings: &settings,
            iss,
            ts_offset: source.pick(&[0, u32::MAX - 500]),
            local_mss: source.pick(&[1460, 1000, 8960, 48]),
            path_mss: source.pick(&[1460, 1000, 8960, 48]),
            default_mss: 536,
        };
        let passive = source.chance(150);
        let connection = if passive {
            let handshake = Handshake {
                irs,
                peer_mss: source.pick(&[Some(1460), Some(1000), None, Some(0), Some(65_535)]),
                peer_window_scale: source.pick(&[Some(7), None, Some(0), Some(14)]),
                our_window_scale: source.pick(&[7, 0, 2]),
                our_window: source.pick(&[65_535, 1000, 1]),
                sack: !source.chance(80),
                ecn: source.chance(60),
                timeouts: source.pick(&[0, 1]),
                ts_recent: source.pick(&[Some(1), None, Some(u32::MAX)]),
                rtt: source.pick(&[Some(Duration::from_millis(10)), None]),
            };
            Connection::from_handshake(now, &open, &handshake)
        } else {
            Connection::connect(now, &open)
        };
        let budget = Budget::new(source.pick(&[64 << 20, 100_000, 10_000]));
        Driver {
            now,
            config: config.clone(),
            settings: settings.clone(),
            budget,
            spares: Spares::default(),
            counters: Counters::default(),
            connection,
            max_segment: source.pick(&[0, 65_000, 3000]),
            written: 0,
            iss,
            edge: None,
            covered: Vec::new(),
            base: passive.then_some((irs + 1, 0)),
            closed: false,
            sent: 0,
            seen: Seen::new(),
        }
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
        let outcome = call(&mut self.connection, self.now, &mut resources);
        self.connection.check_invariants();
        outcome
    }

    fn view(&self) -> View {
        self.connection.view(self.now)
    }

    /// One thing happens.
    fn step(&mut self, source: &mut Source<'_>) {
        let what = source.byte();
        match what {
            0..=119 => {
                let view = self.view();
                let (header, payload) = segment(source, &view);
                self.inject(header, payload, source.pick(&[0, 0, 0, 0, 1, 2, 3]));
            }
            120..=149 => self.write(source),
            150..=174 => self.read(source),
            175..=214 => self.pass(source),
            215..=229 => self.reliable_peer(source.pick(&[0, 1000, 100, 1])),
            230..=233 => {
                let how = source.pick(&[Shutdown::Write, Shutdown::Read, Shutdown::Both]);
                if !self.closed {
                    self.call(|connection, _, resources| connection.shutdown(how, resources));
                }
            }
            234..=238 => self.options(source),
            239..=242 => {
                let mss = source.pick(&[1460, 536, 48, 1000, 8960, 0]);
                self.call(|connection, _, resources| connection.on_path_mss(mss, resources.settings));
            }
            243..=245 => {
                let hard = source.chance(128);
                self.call(|connection, _, resources| {
                    connection.on_unreachable(hard, Error::HostUnreachable, resources.budget);
                });
            }
            246..=247 => self.close(source),
            248..=250 => drop(self.connection.take_error()),
            _ => return self.note(), // Nothing is sent meanwhile.
        }
        self.drain();
        self.note();
    }

    fn note(&mut self) {
        self.seen.insert(self.connection.signature());
    }

    fn inject(&mut self, header: TcpHeader, payload: Payload, ecn: u8) {
        trace(|| format!("{:?} < {}", self.now, TcpLine::new(&header, payload.len() as u32)));
        self.cover(&header, payload.len());
        let mut segment = Segment { header, payload, ecn, gso_size: 0 };
        self.call(|connection, now, resources| connection.on_segment(now, &mut segment, resources));
        let view = self.view();
        if !matches!(view.state, State::SynSent | State::Closed) && self.base.is_none() {
            // The SYN that was taken decides where the peer's stream begins.
            self.base = Some((view.irs + 1, 0));
            self.covered.clear();
            let syn_data = view.rcv_nxt.since(view.irs + 1);
            self.covered.push((0, i64::from(syn_data)));
        }
        // Nothing is taken for received that was not sent.
        if let Some((start, _)) = self.base {
            let fin = u32::from(view.fin_received);
            let got = i64::from(view.rcv_nxt.since(start) - fin);
            let reach = self.covered.first().filter(|range| range.0 <= 0).map_or(0, |range| range.1);
            assert!(got <= reach, "{got} bytes received, {reach} sent");
        }
    }

    /// Notes what the peer has sent.
    fn cover(&mut self, header: &TcpHeader, len: usize) {
        let Some((start, _)) = self.base else { return };
        let view = self.view();
        let position = i64::from(view.rcv_nxt.since(start));
        let first = SeqNumber(header.seq) + u32::from(header.flags.syn());
        let from = position + i64::from(first - view.rcv_nxt);
        let mut new = (from.max(0), from + len as i64);
        if new.1 <= new.0 {
            return;
        }
        self.covered.retain(|&(from, to)| {
            let apart = to < new.0 || new.1 < from;
            if !apart {
                new = (new.0.min(from), new.1.max(to));
            }
            apart
        });
        let at = self.covered.partition_point(|range| range.0 < new.0);
        self.covered.insert(at, new);
    }

    fn write(&mut self, source: &mut Source<'_>) {
        if self.closed {
            return;
        }
        let len = write_len(source);
        let flags = SendFlags {
            more: source.chance(20),
            oob: source.chance(10),
            dont_route: false,
            // Drawn from nothing of its own: what was kept would mean something else.
            eor: len % 5 == 3,
        };
        let mut chunks = VecDeque::from([bytes_from((self.iss + 1 + self.written).0, len)]);
        let taken =
            self.call(|connection, now, resources| connection.send(now, &mut chunks, flags, resources));
        self.written += taken.unwrap_or(0) as u32;
    }

    fn read(&mut self, source: &mut Source<'_>) {
        if self.closed {
            return;
        }
        let max = source.pick(&[100_000, 1000, 100, 1, 0]);
        let flags = RecvFlags { peek: source.chance(30), oob: source.chance(10) };
        self.read_up_to(max, flags);
    }

    fn read_up_to(&mut self, max: usize, flags: RecvFlags) {
        let before = self.view();
        let read = self.call(|connection, now, resources| connection.recv(now, max, flags, resources));
        let Ok(payload) = read else { return };
        let data = payload.to_vec();
        assert!(data.len() <= max || flags.oob, "{} bytes for a buffer of {max}", data.len());
        if flags.oob {
            return;
        }
        // An urgent byte that is not in line is left out.
        let skipped = u32::from(before.urgent == Some(before.read_seq) && !self.settings.oob_inline);
        let wrong = first_wrong((before.read_seq + skipped).0, &data);
        assert_eq!(wrong, None, "read {} bytes at {:?}", data.len(), before.read_seq);
    }

    fn pass(&mut self, source: &mut Source<'_>) {
        let until = match source.byte() {
            0..=119 => self.connection.poll_timeout().map_or(self.now, |(at, _)| at.max(self.now)),
            120..=169 => self.now + Duration::from_millis(source.below(50) as u64),
            170..=209 => self.now + Duration::from_micros(source.below(2000) as u64),
            210..=239 => self.now + Duration::from_millis(source.below(5000) as u64),
            240..=249 => self.now + Duration::from_secs(source.below(300) as u64),
            _ => self.now + Duration::from_hours(24 * source.below(60) as u64),
        };
        self.pass_until(until);
    }

    /// Time passes; what is due at a moment is done with in a few calls.
    fn pass_until(&mut self, until: Instant) {
        for _ in 0..1000 {
            let Some((at, _)) = self.connection.poll_timeout().filter(|(at, _)| *at <= until) else { break };
            self.now = self.now.max(at);
            for call in 0.. {
                assert!(call < 8, "what is due stays due: {:?}", self.connection.poll_timeout());
                self.call(Connection::on_timeout);
                self.drain();
                if self.connection.poll_timeout().is_none_or(|(at, _)| at > self.now) {
                    break;
                }
            }
        }
        self.now = self.now.max(until);
    }

    fn options(&mut self, source: &mut Source<'_>) {
        let settings = &mut self.settings;
        match source.below(12) {
            0 => settings.no_delay = source.chance(128),
            1 => settings.cork = source.chance(128),
            2 => settings.quick_ack = source.chance(128),
            3 => settings.keep_alive = source.chance(128),
            4 => settings.oob_inline = source.chance(128),
            5 => settings.max_segment = source.pick(&[None, Some(536), Some(88)]),
            6 => settings.user_timeout = Duration::from_millis(source.below(20_000) as u64),
            7 => settings.recv_buffer = source.pick(&[None, Some(1), Some(2000), Some(200_000)]),
            8 => settings.send_buffer = source.pick(&[None, Some(1), Some(2000), Some(200_000)]),
            9 => settings.window_clamp = source.pick(&[0, 1152, 5000]),
            10 => settings.linger = source.pick(&[None, Some(Duration::ZERO), Some(Duration::from_secs(1))]),
            _ => settings.not_sent_low_water = source.pick(&[u32::MAX, 1, 5000]),
        }
        self.call(Connection::apply_settings);
    }

    fn close(&mut self, source: &mut Source<'_>) {
        if self.closed {
            return;
        }
        self.closed = true;
        if source.chance(50) {
            self.call(|connection, _, resources| connection.abort(resources.budget));
        } else {
            self.call(Connection::close);
        }
    }

    /// Everything that can be sent goes out, and is looked at.
    fn drain(&mut self) {
        for _ in 0..BURST {
            let Some(segment) = self.call(Connection::poll_transmit) else {
                return self.connection.check_settled();
            };
            self.sent += 1;
            self.judge(&segment);
        }
        panic!("it does not stop sending");
    }

    /// What every segment that is sent has to be.
    fn judge(&mut self, segment: &Segment) {
        let Segment { header, payload, gso_size, .. } = segment;
        trace(|| format!("{:?} > {}", self.now, TcpLine::new(header, payload.len() as u32)));
        let view = self.view();
        let first = SeqNumber(header.seq) + u32::from(header.flags.syn());
        assert_eq!(
            first_wrong(first.0, &payload.to_vec()),
            None,
            "sent {} bytes at {first:?}",
            payload.len()
        );
        let end = first + payload.len() as u32;
        let last = self.iss + 1 + self.written;
        assert!(payload.is_empty() || !end.after(last), "sent {end:?} of {last:?}");
        let plain = payload.len() <= usize::from(view.snd_mss);
        assert!(plain || *gso_size > 0 && *gso_size <= view.snd_mss, "a segment of {}", payload.len());
        assert!(header.flags.syn() || header.options.mss.is_none(), "MUST-65");
        if header.flags.rst() || !header.flags.ack() || !view.state.is_synchronized() {
            return;
        }
        assert!(!SeqNumber(header.ack).after(view.rcv_nxt), "acknowledged what was not received");
        // SHLD-14, but for what the shift rounds off, and when there is no memory for what was offered.
        let shift = view.rcv_wscale;
        let edge = SeqNumber(header.ack) + (u32::from(header.window) << shift);
        let unit = 1 << shift;
        if let Some(before) = self.edge {
            let starved = header.window == 0 && self.connection.is_starved();
            assert!(starved || (edge + unit).after(before), "the window shrank from {before:?} to {edge:?}");
        }
        self.edge = Some(self.edge.map_or(edge, |before| before.max(edge)));
    }

    /// A peer that means well takes what was sent in order, and sends `len` bytes itself.
    fn reliable_peer(&mut self, len: usize) {
        let view = self.view();
        match view.state {
            State::SynSent => {
                let header = TcpHeader {
                    seq: view.irs.0.wrapping_add(77),
                    ack: view.snd_nxt.0,
                    flags: TcpFlags::SYN | TcpFlags::ACK,
                    window: u16::MAX,
                    ..TcpHeader::default()
                };
                self.inject(header, Payload::EMPTY, 0);
            }
            State::Closed => {}
            _ => {
                let len = len.min(view.rcv_wnd as usize);
                let (header, payload) = honest(&view, view.snd_nxt.0, len);
                self.inject(header, payload, 0);
            }
        }
    }

    fn is_done(&self) -> bool {
        let view = self.view();
        let all = view.snd_una == view.snd_nxt && view.unsent == 0;
        let fin = matches!(view.state, State::FinWait1 | State::Closing | State::LastAck);
        // Who has told a window from behind its own FIN can tell no other, to the kernel neither.
        let mute = view.fin_received && view.snd_wl1.after(view.rcv_nxt) && view.snd_wnd == 0;
        mute || all && !fin && view.state.is_synchronized() || view.state == State::Closed
    }

    /// The peer is honest from now on: it acknowledges what it gets and, for a while, fills the window that it
    /// was told. Where it did so for ever, this end's longer timers would hardly come nearer.
    fn finish(&mut self) {
        let start = self.now;
        for round in 0..20_000 {
            if self.is_done() {
                break;
            }
            if !self.closed {
                self.read_up_to(1_000_000, RecvFlags::default());
            }
            self.drain();
            let window = if round < 1_000 { self.view().rcv_wnd.min(60_000) as usize } else { 0 };
            self.reliable_peer(window);
            let sent = self.sent;
            self.drain();
            if self.is_done() {
                break;
            }
            // An answer to what was sent comes at once; else something has to become due.
            let soon = self.now + Duration::from_millis(1);
            let next = self.connection.poll_timeout().map_or(soon, |(at, _)| at);
            self.pass_until(if self.sent > sent { soon } else { self.now.max(next) });
            let waited = self.now.saturating_since(start);
            assert!(waited < PATIENCE, "{:?} in {waited:?}: {:?}", self.view(), self.connection);
        }
        assert!(self.is_done(), "no end: {:?}", self.connection);
        self.note();
        self.connection.release(&mut self.budget);
        assert_eq!(self.budget.used(), 0, "memory stays charged");
    }
}
