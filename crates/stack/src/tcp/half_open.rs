//! Half-open connections: a SYN has come, our SYN-ACK is out, its acknowledgment is awaited
//! (SYN-RECEIVED of a passive open, RFC 9293 §3.10.7.4).
//!
//! A record holds what the SYN said and nothing else, so that a flood of SYNs costs little.

use crate::TcpConfig;
use crate::address::is_v4;
use crate::counters::Counter;
use crate::demux::{Target, Tuple};
use crate::io::{Io, Token};
use crate::ip::output::IpParams;
use crate::ip::route::Path;
use crate::slab::Key;
use crate::socket::SocketId;
use crate::socket::options::TcpSettings;
use crate::socket::tcb::Sizes;
use crate::tcp::ecn::accepts;
use crate::tcp::isn::ts_clock;
use crate::tcp::recv_window::InitialWindow;
use crate::tcp::validate::AnswerLimit;
use crate::tcp::{Handshake, SeqNumber};
use crate::wheel::TimerId;
use alloc::vec::Vec;
use core::time::Duration;
use sockeye_packet::{Instant, NicId, Payload};
use sockeye_wire::{TcpFlags, TcpHeader, TcpOptions, TcpTimestamps};

/// Who waits for a handshake to be complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opener {
    /// A listener.
    Listener(SocketId),
    /// A flow to an address that is not the host's.
    Flow(Key),
}

/// A SYN that opens a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Syn<'a> {
    pub(crate) tuple: Tuple,
    pub(crate) header: &'a TcpHeader,
    /// Our sequence numbers have to start beyond this one.
    pub(crate) floor: Option<SeqNumber>,
    /// The ECN bits of its IP header.
    pub(crate) ecn: u8,
}

/// What is known of a connection before its handshake is complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HalfOpen {
    pub(crate) tuple: Tuple,
    pub(crate) opener: Opener,
    pub(crate) nic: NicId,
    pub(crate) irs: SeqNumber,
    pub(crate) iss: SeqNumber,
    pub(crate) peer_mss: Option<u16>,
    pub(crate) peer_window_scale: Option<u8>,
    pub(crate) our_window_scale: u8,
    pub(crate) our_window: u32,
    pub(crate) local_mss: u16,
    pub(crate) sack: bool,
    /// Whether both ends use ECN.
    pub(crate) ecn: bool,
    pub(crate) ts_recent: Option<u32>,
    pub(crate) ts_offset: u32,
    pub(crate) tos: u8,
    /// When the first SYN-ACK was sent.
    pub(crate) sent_at: Instant,
    /// How often the timer has expired.
    pub(crate) retries: u8,
    /// More than one SYN-ACK was sent: they measure no round trip (Karn's algorithm).
    pub(crate) resent: bool,
    /// The peer has acknowledged it, but not with what the listener waits for, or there was no room.
    pub(crate) acked: bool,
    pub(crate) answer_limit: AnswerLimit,
    /// `TCP_RTO_MAX_MS` of the listener.
    pub(crate) max_rto: Option<Duration>,
    pub(crate) timer: Option<TimerId>,
}

impl HalfOpen {
    /// What a connection has to know of the handshake, completed at `now`.
    pub(crate) fn handshake(&self, now: Instant) -> Handshake {
        Handshake {
            irs: self.irs,
            peer_mss: self.peer_mss,
            peer_window_scale: self.peer_window_scale,
            our_window_scale: self.our_window_scale,
            our_window: self.our_window,
            sack: self.sack,
            ecn: self.ecn,
            ts_recent: self.ts_recent,
            rtt: (!self.resent).then(|| now - self.sent_at),
            timeouts: self.retries,
        }
    }

    /// Whether the SYN-ACK can have borne the timestamp that the peer echoes.
    pub(crate) fn may_echo(&self, now: Instant, stamps: TcpTimestamps) -> bool {
        let age = ts_clock(now, self.ts_offset).wrapping_sub(stamps.echo);
        stamps.echo == 0 || u128::from(age) <= now.saturating_since(self.sent_at).as_millis() + 1
    }

    fn timestamps(&self, now: Instant) -> Option<TcpTimestamps> {
        self.ts_recent.map(|echo| TcpTimestamps { value: ts_clock(now, self.ts_offset), echo })
    }

    /// The SYN-ACK.
    pub(crate) fn syn_ack(&self, now: Instant) -> TcpHeader {
        TcpHeader {
            seq: self.iss.0,
            ack: (self.irs + 1).0,
            flags: TcpFlags::SYN | TcpFlags::ACK | if self.ecn { TcpFlags::ECE } else { TcpFlags::NONE },
            window: self.our_window.min(u16::MAX.into()) as u16,
            options: TcpOptions {
                mss: Some(self.local_mss),
                window_scale: self.peer_window_scale.map(|_| self.our_window_scale),
                sack_permitted: self.sack,
                timestamps: self.timestamps(now),
                ..TcpOptions::default()
            },
            ..TcpHeader::default()
        }
    }

    /// The shift of our windows.
    fn window_shift(&self) -> u8 {
        if self.peer_window_scale.is_some() { self.our_window_scale } else { 0 }
    }

    /// The acknowledgment that answers a segment that can't be right.
    pub(crate) fn challenge(&self, now: Instant) -> TcpHeader {
        TcpHeader {
            seq: (self.iss + 1).0,
            ack: (self.irs + 1).0,
            flags: TcpFlags::ACK,
            window: (self.our_window >> self.window_shift()).min(u16::MAX.into()) as u16,
            options: TcpOptions { timestamps: self.timestamps(now), ..TcpOptions::default() },
            ..TcpHeader::default()
        }
    }

    /// Time from one SYN-ACK to the next (RFC 6298 §5.5).
    fn timeout(&self, config: &TcpConfig) -> Duration {
        let max_rto = self.max_rto.unwrap_or(config.max_rto);
        config.initial_rto.saturating_mul(1_u32 << self.retries.min(16)).min(max_rto)
    }
}

/// An initial sequence number that lies behind those of the connection before, whose segments may still be on
/// their way.
pub(crate) fn beyond(iss: SeqNumber, floor: Option<SeqNumber>) -> SeqNumber {
    match floor.filter(|floor| !iss.after(*floor)) {
        Some(floor) => floor + 65_537,
        None => iss,
    }
}

impl Io {
    /// Sends a segment that no connection sends: its ports are those of the tuple.
    pub(crate) fn send_control(&mut self, nic: NicId, tuple: &Tuple, header: TcpHeader, tos: u8) {
        let header = TcpHeader { src_port: tuple.local_port, dst_port: tuple.remote_port, ..header };
        let ip = IpParams::of_flow(&self.demux, tuple, self.config.default_ttl, tos);
        self.counters.bump(if header.flags.rst() { Counter::TcpOutRsts } else { Counter::TcpOutSegs });
        let packet = self.tcp_packet(nic, &ip, &header, Payload::EMPTY, 0);
        self.reply(nic, packet);
    }

    /// What is to be known of the connection that a SYN opens over `path`, with `settings`.
    pub(crate) fn half_open_of(
        &self,
        now: Instant,
        syn: &Syn<'_>,
        path: &Path,
        settings: &TcpSettings,
        opener: Opener,
        tos: u8,
    ) -> HalfOpen {
        let Syn { tuple, header, floor, ecn } = *syn;
        let config = &self.config.tcp;
        let sizes = Sizes::new(is_v4(&tuple.local), path, &self.nic(path.nic).config, settings);
        let iss = beyond(self.secrets.isn(now, &tuple), floor);
        let options = &header.options;
        let timestamps = options.timestamps.filter(|_| config.timestamps);
        let stamps_len = if timestamps.is_some() { 12 } else { 0 };
        let initial = InitialWindow::new(config, settings, sizes.local.saturating_sub(stamps_len));
        HalfOpen {
            tuple,
            opener,
            nic: path.nic,
            irs: SeqNumber(header.seq),
            iss,
            peer_mss: options.mss,
            peer_window_scale: options.window_scale.filter(|_| config.window_scaling),
            our_window_scale: initial.shift,
            our_window: initial.window,
            local_mss: sizes.local,
            sack: config.sack && options.sack_permitted,
            ecn: accepts(config.ecn, header.flags, ecn),
            ts_recent: timestamps.map(|timestamps| timestamps.value),
            ts_offset: self.secrets.ts_offset(&tuple),
            tos,
            sent_at: now,
            retries: 0,
            resent: false,
            acked: false,
            answer_limit: AnswerLimit::default(),
            max_rto: settings.max_rto,
            timer: None,
        }
    }

    /// Keeps a half-open connection, whose four-tuple is nobody's, and sends its first SYN-ACK.
    pub(crate) fn add_half_open(&mut self, now: Instant, record: HalfOpen) {
        let key = self.half_open.insert(record);
        self.demux.insert(&record.tuple, Target::HalfOpen(key));
        self.set_syn_ack_timer(now, key);
        self.send_control(record.nic, &record.tuple, record.syn_ack(now), record.tos);
    }

    /// Sets when the next SYN-ACK is due.
    pub(crate) fn set_syn_ack_timer(&mut self, now: Instant, key: Key) {
        let Some(record) = self.half_open.get_mut(key) else { return };
        let at = now + record.timeout(&self.config.tcp);
        match record.timer {
            Some(timer) => self.wheel.reset(timer, at),
            None => record.timer = Some(self.wheel.set(at, Token::HalfOpen(key))),
        }
    }

    /// Sends the SYN-ACK again.
    pub(crate) fn repeat_syn_ack(&mut self, now: Instant, key: Key) {
        let Some(record) = self.half_open.get_mut(key) else { return };
        record.resent = true;
        self.counters.bump(Counter::TcpSynRetrans);
        let copy = *record;
        self.set_syn_ack_timer(now, key);
        self.send_control(copy.nic, &copy.tuple, copy.syn_ack(now), copy.tos);
    }

    /// Forgets all half-open connections of a listener.
    pub(crate) fn forget_half_open_of(&mut self, listener: SocketId) {
        let opener = Opener::Listener(listener);
        let of_listener = self.half_open.iter().filter(|(_, record)| record.opener == opener);
        let keys: Vec<Key> = of_listener.map(|(key, _)| key).collect();
        for key in keys {
            self.take_half_open(key);
        }
    }

    /// Forgets a half-open connection. What its opener is to know is the caller's.
    pub(crate) fn take_half_open(&mut self, key: Key) -> Option<HalfOpen> {
        let record = self.half_open.remove(key)?;
        if let Some(timer) = record.timer {
            self.wheel.cancel(timer);
        }
        self.demux.remove(&record.tuple, Target::HalfOpen(key));
        Some(record)
    }
}
