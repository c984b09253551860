//! Half-open connections: a SYN has come, our SYN-ACK is out, its acknowledgment is awaited
//! (SYN-RECEIVED of a passive open, RFC 9293 §3.10.7.4).
//!
//! A record holds what the SYN said and nothing else, so that a flood of SYNs costs little.

use crate::demux::{Target, Tuple};
use crate::io::{Io, Token};
use crate::ip::output::IpParams;
use crate::slab::Key;
use crate::socket::SocketId;
use crate::tcp::isn::ts_clock;
use crate::tcp::{Handshake, SeqNumber};
use crate::wheel::TimerId;
use core::time::Duration;
use sockeye_packet::{Instant, NicId, Payload};
use sockeye_wire::{TcpFlags, TcpHeader, TcpOptions, TcpTimestamps};

/// What is known of a connection before its handshake is complete.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HalfOpen {
    pub(crate) tuple: Tuple,
    pub(crate) listener: SocketId,
    pub(crate) nic: NicId,
    pub(crate) irs: SeqNumber,
    pub(crate) iss: SeqNumber,
    pub(crate) peer_mss: Option<u16>,
    pub(crate) peer_window_scale: Option<u8>,
    pub(crate) our_window_scale: u8,
    pub(crate) our_window: u16,
    pub(crate) local_mss: u16,
    pub(crate) sack: bool,
    pub(crate) ts_recent: Option<u32>,
    pub(crate) ts_offset: u32,
    pub(crate) tos: u8,
    pub(crate) sent_at: Instant,
    pub(crate) retries: u8,
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
            ts_recent: self.ts_recent,
            // Karn's algorithm: a SYN-ACK that was sent twice measures nothing.
            rtt: (self.retries == 0).then(|| now - self.sent_at),
        }
    }

    fn timestamps(&self, now: Instant) -> Option<TcpTimestamps> {
        self.ts_recent.map(|echo| TcpTimestamps { value: ts_clock(now, self.ts_offset), echo })
    }

    /// The SYN-ACK.
    pub(crate) fn syn_ack(&self, now: Instant) -> TcpHeader {
        TcpHeader {
            seq: self.iss.0,
            ack: (self.irs + 1).0,
            flags: TcpFlags::SYN | TcpFlags::ACK,
            window: self.our_window,
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

    /// The acknowledgment that answers a segment that can't be right.
    pub(crate) fn challenge(&self, now: Instant) -> TcpHeader {
        TcpHeader {
            seq: (self.iss + 1).0,
            ack: (self.irs + 1).0,
            flags: TcpFlags::ACK,
            window: self.our_window,
            options: TcpOptions { timestamps: self.timestamps(now), ..TcpOptions::default() },
            ..TcpHeader::default()
        }
    }

    /// Time from one SYN-ACK to the next (RFC 6298 §5.5).
    pub(crate) fn timeout(&self, initial: Duration, max: Duration) -> Duration {
        initial.saturating_mul(1_u32 << self.retries.min(16)).min(max)
    }
}

impl Io {
    /// Sends a segment that no connection sends: its ports are those of the tuple.
    pub(crate) fn send_control(&mut self, nic: NicId, tuple: &Tuple, header: TcpHeader, tos: u8) {
        let header = TcpHeader { src_port: tuple.local_port, dst_port: tuple.remote_port, ..header };
        let ip = IpParams::of_flow(&self.demux, tuple, self.config.default_ttl, tos);
        let packet = self.tcp_packet(nic, &ip, &header, Payload::EMPTY, 0);
        self.reply(nic, packet);
    }

    /// Keeps a half-open connection and sends its first SYN-ACK.
    pub(crate) fn add_half_open(&mut self, now: Instant, record: HalfOpen) {
        let key = self.half_open.insert(record);
        if !self.demux.insert(record.tuple, Target::HalfOpen(key)) {
            self.half_open.remove(key);
            return;
        }
        let at = now + record.timeout(self.config.tcp.initial_rto, self.config.tcp.max_rto);
        let timer = self.wheel.set(at, Token::HalfOpen(key));
        if let Some(record) = self.half_open.get_mut(key) {
            record.timer = Some(timer);
        }
        self.send_control(record.nic, &record.tuple, record.syn_ack(now), record.tos);
    }

    /// Forgets a half-open connection. The listener's count is the caller's.
    pub(crate) fn take_half_open(&mut self, key: Key) -> Option<HalfOpen> {
        let record = self.half_open.remove(key)?;
        if let Some(timer) = record.timer {
            self.wheel.cancel(timer);
        }
        self.demux.remove(&record.tuple, Target::HalfOpen(key));
        Some(record)
    }
}
